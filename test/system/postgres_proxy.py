"""A proxy between longwired and PostgreSQL that cuts connections behind a COMMIT: the server gets it and carries it out, and
its answer never comes back.

    with PostgresProxy(postgres.port) as proxy:
        Server(flags=["--store", proxy.url])
        proxy.cut_every = 10        # each tenth COMMIT
        proxy.refuse_seconds = 2    # and then nobody is let in for so long
        proxy.entries_left = 2      # so many more connections are let in; None: any number
"""
import contextlib
import selectors
import socket
import threading
import time

# The Bind of the prepared statement `commit`, or of one that is a transaction by itself.
COMMITS = (b"\0commit\0", b"\0store\0", b"\0store_plain\0")
CHUNK = 65536


class Pair:
    def __init__(self, client, server):
        self.client, self.server = client, server
        self.is_mute = False        # the server's next bytes end the pair …
        self.refuse_seconds = 0     # … and then nobody is let in for so long

    def close(self):
        for end in (self.client, self.server):
            end.close()


class PostgresProxy:
    def __init__(self, port):
        self.target = ("127.0.0.1", port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.cut_every, self.refuse_seconds = 0, 0
        self.commits, self.cuts = 0, 0
        self.refuse_until = 0.0
        self.entries_left, self.refused = None, 0
        self.is_over = False
        self.selector = selectors.DefaultSelector()
        self.pairs = {}
        self.thread = threading.Thread(target=self.run)

    @property
    def url(self):
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def accept(self):
        client, _ = self.listener.accept()
        if time.monotonic() < self.refuse_until or self.entries_left == 0:
            self.refused += 1
            client.close()
            return
        if self.entries_left is not None:
            self.entries_left -= 1
        try:
            pair = Pair(client, socket.create_connection(self.target))
        except OSError:
            client.close()
            return
        for end in (pair.client, pair.server):
            self.pairs[end] = pair
            self.selector.register(end, selectors.EVENT_READ)

    def end(self, pair):
        for end in (pair.client, pair.server):
            with contextlib.suppress(KeyError, ValueError):
                self.selector.unregister(end)
            self.pairs.pop(end, None)
        pair.close()

    def note_commit(self, pair, data):
        self.commits += 1
        if self.cut_every and self.commits % self.cut_every == 0:
            pair.is_mute, pair.refuse_seconds = True, self.refuse_seconds

    def take(self, end):
        pair = self.pairs[end]
        try:
            data = end.recv(CHUNK)
        except OSError:
            data = b""
        if not data or (end is pair.server and pair.is_mute):
            if data:
                self.refuse_until = max(self.refuse_until, time.monotonic() + pair.refuse_seconds)
                self.cuts += 1
            self.end(pair)
            return
        if end is pair.client and any(commit in data for commit in COMMITS):
            self.note_commit(pair, data)
        try:
            (pair.server if end is pair.client else pair.client).sendall(data)
        except OSError:
            self.end(pair)

    def run(self):
        self.selector.register(self.listener, selectors.EVENT_READ)
        while not self.is_over:
            for key, _ in self.selector.select(0.05):
                if key.fileobj is self.listener:
                    self.accept()
                elif key.fileobj in self.pairs:
                    self.take(key.fileobj)
        for pair in set(self.pairs.values()):
            self.end(pair)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        self.thread.join()
        self.listener.close()
