"""A TCP link between a client and a server that a test can cut, shorten and take down.

    with Link(server.port) as link:
        run(client, link.url)
        link.cut()           # all connections end at once; new ones are taken
        link.down()          # … and new ones are refused, until up()
        link.bytes_max = 99  # a connection ends after this many bytes from the server
"""
import socket
import threading

from longwire_server import free_port


class Link:
    def __init__(self, target_port):
        self.target_port = target_port
        self.bytes_max = None
        self.taken = 0               # connections so far
        self.answers = 0             # heads of HTTP answers carried so far
        self.lock = threading.Lock()
        self.pairs, self.threads = [], []
        self.port = free_port()
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        self.start(self.accept, self.listener)
        return self

    def __exit__(self, *_):
        self.down()
        for thread in self.threads:
            thread.join()

    def start(self, run, *args):
        thread = threading.Thread(target=run, args=args)
        self.threads.append(thread)
        thread.start()

    def accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target_port))
            except OSError:
                client.close()
                continue
            with self.lock:
                self.taken += 1
                self.pairs.append((client, server))
                if self.listener is not listener:  # it came while down() was under way
                    end_both(client, server)
            self.start(self.carry, client, server, self.bytes_max)

    def carry(self, client, server, bytes_max):
        """Both directions, each on a thread. The sockets are closed when no thread reads them any more: a new connection
        may get the number of a closed one, and a thread about to read by that number would take what is not its own."""
        down = threading.Thread(target=self.pump, args=(server, client, bytes_max))
        down.start()
        self.pump(client, server, None)
        down.join()
        client.close()
        server.close()

    def pump(self, source, drain, left):
        try:
            while left is None or left > 0:
                data = source.recv(65536 if left is None else min(left, 65536))
                if not data:
                    break
                drain.sendall(data)
                self.answers += data.count(b"HTTP/1.1 ")
                left = None if left is None else left - len(data)
        except OSError:
            pass  # the other direction, or the test, has ended it
        end_both(source, drain)

    def cut(self):
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for pair in pairs:
            end_both(*pair)

    def down(self):
        if self.listener is not None:
            listener = self.listener
            with self.lock:
                self.listener = None
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()

    def up(self):
        self.listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self.start(self.accept, self.listener)


def end_both(*ends):
    for end in ends:
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # ended already
