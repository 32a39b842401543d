"""An HTTP/2 server for tests, which misbehaves as paths say: python3-h2 speaks, over TLS or without.

    with H2BackEnd(tls=context) as back_end:
        back_end.url
        back_end.count("/ok")     # how often it was asked for this
    
    /once/WHAT does WHAT the first time, and answers later on.
    refuse: RST_STREAM, REFUSED_STREAM    goaway: GOAWAY, whose last stream is the one before this
    reset: RST_STREAM, INTERNAL_ERROR     leave: GOAWAY that takes this stream in, then the end of the connection
    close: the end of the connection      abort: the same, by a reset of TCP
Anything else is answered with the path.
"""
import collections
import contextlib
import socket
import struct
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events

from waiting import SECONDS


class H2BackEnd:
    def __init__(self, tls=None):
        self.tls, self.seen, self.lock = tls, collections.Counter(), threading.Lock()
        if tls is not None:
            tls.set_alpn_protocols(["h2"])
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(SECONDS)
        self.listener.close()

    def count(self, path):
        with self.lock:
            return self.seen[path]

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                link = self.listener.accept()[0]
                threading.Thread(target=self.serve, args=(link,), daemon=True).start()

    def serve(self, link):
        with contextlib.suppress(OSError):
            link.settimeout(SECONDS)
            if self.tls is not None:
                link = self.tls.wrap_socket(link, server_side=True)
            with link:
                H2Link(self, link).run()

    def what_to_do(self, path):
        with self.lock:
            self.seen[path] += 1
            if path.startswith("/once/") and self.seen[path] > 1:
                return "answer"
        return path.rpartition("/")[2]


class H2Link:
    def __init__(self, back_end, link):
        self.back_end, self.link, self.is_over, self.paths = back_end, link, False, {}
        self.peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))

    def run(self):
        self.peer.initiate_connection()
        self.link.sendall(self.peer.data_to_send())
        while not self.is_over and (data := self.link.recv(65536)):
            for event in self.peer.receive_data(data):
                self.take(event)
            if not self.is_over:
                self.link.sendall(self.peer.data_to_send())

    def take(self, event):
        if isinstance(event, h2.events.RequestReceived):
            self.paths[event.stream_id] = dict(event.headers)[b":path"].decode()
        elif isinstance(event, h2.events.DataReceived):
            self.peer.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            path = self.paths.pop(event.stream_id)
            self.act(event.stream_id, path, self.back_end.what_to_do(path))

    def goaway(self, last):
        """h2 itself would forget the connection."""
        self.link.sendall(self.peer.data_to_send() + struct.pack(">I", 8)[1:] + b"\x07\0" + struct.pack(">III", 0, last, 0))

    def act(self, stream, path, what):
        if what == "refuse":
            self.peer.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
        elif what == "reset":
            self.peer.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
        elif what == "goaway":
            self.goaway(max(stream - 2, 0))
        elif what in ("leave", "close", "abort"):
            if what == "leave":
                self.goaway(stream)
            if what == "abort":
                self.link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.is_over = True
        else:
            self.peer.send_headers(stream, [(":status", "200"), ("content-type", "text/plain")])
            self.peer.send_data(stream, path.encode(), end_stream=True)
