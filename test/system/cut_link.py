"""A TCP link between a client and a server that a test can cut, shorten and take down.

    with Link(server.port) as link:
        run(client, link.url)
        link.cut()           # all connections end at once; new ones are taken
        link.down()          # … and new ones are refused, until up()
        link.bytes_max = 99  # a connection ends after this many bytes from the server
"""
import socket
import threading


class Link:
    def __init__(self, target_port):
        self.target_port = target_port
        self.bytes_max = None
        self.taken = 0               # connections so far
        self.answers = 0             # heads of HTTP answers carried so far
        self.lock = threading.Lock()
        self.pairs, self.threads = [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
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
            self.start(self.pump, client, server, None)
            self.start(self.pump, server, client, self.bytes_max)

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
            pass  # the other direction, or the test, has closed it
        close_both(source, drain)

    def cut(self):
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for pair in pairs:
            close_both(*pair)

    def down(self):
        if self.listener is not None:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
        self.cut()

    def up(self):
        self.listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self.start(self.accept, self.listener)


def close_both(*ends):
    for end in ends:
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # closed already
        end.close()
