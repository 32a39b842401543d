"""An ordinary HTTP service for the uplink to call: it answers with what it was asked, and says who asked how often.

    with BackEnd() as back_end:
        …                                # GET /anything → 200 "GET /anything"
        back_end.gate.clear()            # … /gated/… waits until gate.set()
        back_end.requests_of("/gated/1") # [{"method", "path", "key", "body", "headers"}]

Paths: /status/N answers N; /subscribe/C and /unsubscribe/C answer with that instruction; /echo answers with body and media type.
"""
import http.server
import threading
import urllib.parse


class Quiet(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024   # nodes open many connections at once; one that does not fit would wait for a retransmission

    def handle_error(self, *_):
        """A node that was killed takes no answer."""


class BackEnd:
    def __init__(self):
        self.requests, self.lock = [], threading.Lock()
        self.gate = threading.Event()
        self.gate.set()
        self.http = Quiet(("127.0.0.1", 0), type("Bound", (Handler,), {"back_end": self}))
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.05,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.gate.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    def requests_of(self, path):
        with self.lock:
            return [request for request in self.requests if request["path"] == path]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    back_end = None

    def setup(self):
        super().setup()
        self.connection.setsockopt(6, 1, 1)   # TCP_NODELAY: an answer is two writes

    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.back_end.lock:
            self.back_end.requests.append({"method": self.command, "path": self.path, "key": self.headers.get("Idempotency-Key"),
                                           "body": body, "headers": dict(self.headers)})
        if self.path.startswith("/gated"):
            self.back_end.gate.wait()
        what, _, more = self.path.lstrip("/").partition("/")
        status, media, answer = 200, "text/plain", f"{self.command} {self.path}".encode()
        headers = {}
        if what == "status":
            status = int(more)
        if what in ("subscribe", "unsubscribe"):
            headers[f"Longwire-{what.capitalize()}"] = urllib.parse.quote(urllib.parse.unquote(more))
        if what == "echo":
            media, answer = self.headers.get("Content-Type", ""), body
        self.send_response(status)
        for name, value in {**headers, "Content-Type": media, "Content-Length": str(len(answer))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = serve

    def log_message(self, *_):
        pass
