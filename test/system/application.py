"""An application for tests: it answers the connect hook and hands out key sets, or misbehaves as it is told.

    with Application() as application:
        application.answer = lambda question: (200, {"user": question["token"]})
        Server(config=f"[connect_hook]\\nurl = {application.url}/hook")
        application.questions       # what came, oldest first
"""
import http.server
import json
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):      # noqa: N802
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.owner.take_question(self, json.loads(body))

    def do_GET(self):       # noqa: N802
        self.server.owner.take_get(self)

    def reply(self, status, thing):
        body = thing if isinstance(thing, bytes) else json.dumps(thing).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Listener(http.server.ThreadingHTTPServer):
    request_queue_size = 128    # five are the default: of twenty at once some would wait a second for a repeated SYN


class Application:
    """answer    question → (status, object or bytes), or a function of the handler that does as it likes
    documents   path → object: what GET is answered
    """

    def __init__(self):
        self.questions, self.paths, self.documents = [], [], {}
        self.answer = lambda question: (200, {"user": "ann"})
        self.is_over = threading.Event()
        self.http = Listener(("127.0.0.1", 0), Handler)
        self.http.owner = self
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http.server_address[1]}"

    def take_question(self, handler, question):
        self.questions.append(question)
        answer = self.answer(question)
        if callable(answer):
            answer(handler)
        else:
            handler.reply(*answer)

    def take_get(self, handler):
        self.paths.append(handler.path)
        if handler.path in self.documents:
            handler.reply(200, self.documents[handler.path])
        else:
            handler.reply(404, {})

    def hang(self, _handler):
        """Says nothing until the test is over."""
        self.is_over.wait(60)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.http.shutdown()
        self.http.server_close()
