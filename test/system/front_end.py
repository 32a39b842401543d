"""A web server of somebody else's front end: it hands out a page and libraries, and passes /v1/ on to Longwire, so that
page and events have one origin, as behind any proxy.

The libraries are those of test/javascript, see setup/javascript.
"""
import socket
import threading

from longwire_server import BUILD

LIBRARIES = BUILD / "javascript"


def read_head(link):
    head = b""
    while b"\r\n\r\n" not in head:
        piece = link.recv(65536)
        if not piece:
            return None
        head += piece
    return head


def pump(source, target):
    """Passes on what comes, until one of them ends."""
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
    except OSError:
        pass
    for link in (source, target):
        try:
            link.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class FrontEnd:
    """`pages` are texts by path; /lib/NAME is a file of the libraries."""

    def __init__(self, port, pages):
        self.upstream, self.pages = port, pages
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        while True:
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(link,), daemon=True).start()

    def serve(self, link):
        with link:
            head = read_head(link)
            if head is None:
                return
            path = head.split(b" ", 2)[1].decode()
            if path.startswith("/v1/"):
                self.pass_on(link, head)
            else:
                body = self.file(path)
                kind = "text/javascript" if path.startswith("/lib/") else "text/html"
                link.sendall(f"HTTP/1.1 {404 if body is None else 200} X\r\nContent-Type: {kind}; charset=utf-8\r\n"
                             f"Content-Length: {len(body or b'')}\r\nConnection: close\r\n\r\n".encode() + (body or b""))

    def pass_on(self, link, head):
        try:
            upstream = socket.create_connection(("127.0.0.1", self.upstream))
        except OSError:
            return  # as if the link had broken; a proxy that answers 502 needs the configuration of docs/operations.md
        with upstream:
            upstream.sendall(head)
            up = threading.Thread(target=pump, args=(link, upstream), daemon=True)
            up.start()
            pump(upstream, link)
            up.join()   # a socket that a thread still reads must not be closed: a new one may get its number

    def file(self, path):
        if path in self.pages:
            return self.pages[path].encode()
        file = LIBRARIES / "node_modules" / path.removeprefix("/lib/")
        if not file.suffix:
            file = file.with_suffix(".js")  # modules import one another without it
        return file.read_bytes() if path.startswith("/lib/") and file.is_file() else None
