"""A back end that takes uploads: it notes each batch, and holds them against what a forwarder promises.

    with contextlib.closing(BackEnd()) as back_end:
        back_end.judge = lambda path, lines: 503
        back_end.check("up:positions", 250)
"""
import http.server
import json
import threading

from application import Listener
from longwire_server import free_port
from waiting import SECONDS


class Batches(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):      # noqa: N802
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, headers = self.server.owner.take(self.path, self.headers, body)
        if status is None:      # it has died: the request is lost with its connection
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class BackEnd:
    """judge    (path, lines) → status. `batches`: (key, lines) that were taken, in the order of their coming."""

    def __init__(self, port=None):
        self.batches, self.lock, self.judge = [], threading.Lock(), lambda path, lines: 200
        self.tries, self.open, self.is_dead = 0, threading.Event(), False
        self.open.set()
        self.http = Listener(("127.0.0.1", port or free_port()), Batches)   # it may be closed and opened again
        self.http.owner = self
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def take(self, path, headers, body):
        lines = [json.loads(line) for line in body.splitlines()] if body[:1] != b"[" else json.loads(body)
        self.open.wait(SECONDS)
        with self.lock:
            if self.is_dead:
                return None, {}
            self.tries += 1
            status = self.judge(path, lines)
            if 200 <= status < 300:
                self.batches.append((headers["Idempotency-Key"], lines, dict(headers), body))
        return status, {}

    def seqs(self, channel):
        with self.lock:
            return [line["seq"] for _, lines, _, _ in self.batches for line in lines
                    if line.get("channel") == channel and line["type"] == "message"]

    def has_all(self, channel, last):
        return set(range(1, last + 1)) <= set(self.seqs(channel))

    def check(self, channel, last):
        """In order, each at least once; what came again came as the same batch."""
        following, ranges = 1, {}
        with self.lock:
            for key, lines, _, _ in self.batches:
                if not key.startswith(channel + "/"):
                    continue
                first, end = map(int, key.rsplit("/", 1)[1].split("-"))
                assert first <= following, f"{key} came before {following}"
                assert [line["seq"] for line in lines] == list(range(first, end + 1)), key
                assert ranges.setdefault(first, end) == end, f"{key} came again with another end than {ranges[first]}"
                following = max(following, end + 1)
        assert following == last + 1

    def close(self):
        self.is_dead = True
        self.open.set()
        self.http.shutdown()
        self.http.server_close()
