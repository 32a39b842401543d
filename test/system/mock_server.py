"""A small server that keeps the HTTP contract in memory, and misbehaves on command.

It stands in for `longwired` where a client's answer to trouble is tested: refusals that go away, links cut in
the middle of a line, silence. `faults` is a list of functions; each is called with the request handler before
a request is served and may answer it itself (then it returns True and is dropped from the list).
"""
import base64
import http.server
import json
import threading
import time
import urllib.parse


class Log:
    def __init__(self):
        self.messages, self.keys = [], {}


class Mock:
    def __init__(self, port=0):
        self.logs, self.lock = {}, threading.Condition()
        self.requests, self.faults = [], []
        self.put_off = []           # payloads that a batch refuses once, with 429
        self.batch_messages_max = 1000
        self.heartbeat = None       # seconds between heartbeats
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", port), type("Bound", (Handler,), {"mock": self}))
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.is_closed = False
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.05,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        with self.lock:
            self.is_closed = True
            self.lock.notify_all()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    def publish(self, channel, payload, media=None, key=None):
        with self.lock:
            log = self.logs.setdefault(channel, Log())
            if key is not None and key in log.keys:
                return 200, self.receipt(channel, log.keys[key])
            text = payload.decode() if is_utf8(payload) else None
            message = {"type": "message", "channel": channel, "epoch": "e1", "seq": len(log.messages) + 1,
                       "id": 1000 + len(log.messages), "time": int(time.time() * 1000),
                       "media": media or ("text/plain" if text is not None else "application/octet-stream")}
            if message["media"].endswith("json"):
                message["data"] = json.loads(payload)
            elif text is not None:
                message["data"] = text
            else:
                message["data_base64"] = base64.b64encode(payload).decode()
            log.messages.append(message)
            if key is not None:
                log.keys[key] = message
            self.lock.notify_all()
            return 201, self.receipt(channel, message)

    @staticmethod
    def receipt(channel, message):
        return {"channel": channel, **{name: message[name] for name in ("epoch", "seq", "id", "time")}}

    def payloads(self, channel):
        return [message.get("data") for message in self.logs.get(channel, Log()).messages]

    def waiting(self, places):
        """Gives what lies behind the places, and moves them there; called with the lock held."""
        for channel in places:
            for message in self.logs.get(channel, Log()).messages[places[channel]:]:
                places[channel] = message["seq"]
                yield {**message, "cursor": token(places)}


def is_utf8(payload):
    try:
        payload.decode()
        return True
    except UnicodeDecodeError:
        return False


def token(places):
    return base64.urlsafe_b64encode(json.dumps(places).encode()).decode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    mock = None

    def log_message(self, *_):
        pass

    def answer(self, status, value, headers=()):
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, text in headers:
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def problem(self, status, title, detail="", headers=()):
        self.answer(status, {"type": "about:blank", "title": title, "status": status, "detail": detail}, headers)

    def serve(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urllib.parse.urlsplit(self.path)
        self.query = urllib.parse.parse_qsl(url.query, keep_blank_values=True)
        self.mock.requests.append((self.command, self.path, dict(self.headers.items()), self.body))
        if self.mock.faults and self.mock.faults[0](self):
            self.mock.faults.pop(0)
            return
        parts = [urllib.parse.unquote(part) for part in url.path.split("/")[1:]]
        if parts in (["healthz"], ["readyz"]):
            self.answer(200, {"status": "ok", "version": "0.0-mock"})
        elif parts == ["v1", "subscribe"]:
            self.subscribe()
        elif parts == ["v1", "messages"]:
            self.batch()
        elif parts[:2] == ["v1", "channels"]:
            self.channel(parts[2], parts[3:])
        else:
            self.problem(404, "Not found")

    do_GET = do_POST = do_DELETE = serve

    def batch(self):
        results, items = [], json.loads(self.body)["messages"]
        if len(items) > self.mock.batch_messages_max:
            self.problem(413, "Too many messages in one batch")
            return
        for item in items:
            if not item["channel"].startswith(("topic:", "user:")):
                results.append({"status": 404, "title": "Unknown namespace", "detail": item["channel"]})
                continue
            payload = item["data"].encode() if "data" in item else base64.b64decode(item["data_base64"])
            if payload == b"refuse me":
                results.append({"status": 422, "title": "Refused", "detail": "as asked"})
                continue
            if payload in self.mock.put_off:
                self.mock.put_off.remove(payload)
                results.append({"status": 429, "title": "Not now", "detail": "as asked"})
                continue
            status, receipt = self.mock.publish(item["channel"], payload, item.get("media"), item.get("key"))
            results.append({"status": status, **receipt})
        self.answer(200, {"results": results})

    def channel(self, name, rest):
        if not name.startswith(("topic:", "user:")):
            self.problem(404, "Unknown namespace", f"there is no namespace for {name}")
        elif self.command == "POST":
            if len(self.body) > 1 << 20:
                self.problem(413, "Payload too large", "the maximum is 1048576 bytes")
                return
            self.answer(*self.mock.publish(name, self.body, self.headers.get("Content-Type"),
                                           self.headers.get("Idempotency-Key")))
        elif self.command == "DELETE":
            self.recall(name, int(rest[1]))
        elif rest:
            self.history(name, dict(self.query))
        elif name not in self.mock.logs:
            self.problem(404, "No such channel", f"{name} was never used")
        else:
            self.answer(200, {"channel": name, "epoch": "e1", "first": 1, "head": len(self.mock.logs[name].messages)})

    def recall(self, name, seq):
        with self.mock.lock:
            messages = self.mock.logs[name].messages
            if not 0 < seq <= len(messages):
                self.problem(404, "No such message")
                return
            old = messages[seq - 1]
            messages[seq - 1] = {"type": "message", "channel": name, "epoch": "e1", "seq": seq, "recalled": True}
            messages.append({**old, "type": "recall", "seq": len(messages) + 1, "target": seq})
            messages[-1].pop("data", None)
            self.mock.lock.notify_all()
        self.answer(200, {"channel": name, "seq": len(messages)})

    def history(self, name, query):
        messages = self.mock.logs.get(name, Log()).messages
        limit = min(int(query.get("limit", 100)), 1000)
        if "before" in query:
            found = [message for message in messages if message["seq"] < int(query["before"])][-limit:]
        else:
            found = [message for message in messages if message["seq"] > int(query.get("after", 0))][:limit]
        self.answer(200, {"channel": name, "epoch": "e1", "first": 1, "head": len(messages), "messages": found})

    def places(self):
        query, places, channel = dict(self.query), {}, None
        cursor = self.headers.get("Last-Event-ID", query.get("cursor"))
        if cursor is not None:
            places = json.loads(base64.urlsafe_b64decode(cursor))
        for key, value in self.query:
            if key == "channel":
                channel = value
                places.setdefault(channel, len(self.mock.logs.get(channel, Log()).messages))
            elif key == "after":
                places[channel] = int(value)
            elif key == "last":
                places[channel] = max(0, places[channel] - int(value))
        return places

    def subscribe(self):
        with self.mock.lock:
            places = self.places()
        unknown = [name for name in places if not name.startswith(("topic:", "user:"))]
        if unknown:
            self.problem(404, "Unknown namespace", f"there is no namespace for {unknown[0]}")
        elif self.headers["Accept"] == "application/json":
            with self.mock.lock:
                found = list(self.mock.waiting(places))
            self.answer(200, {"messages": found, "cursor": token(places)})
        else:
            self.stream(places)

    def stream(self, places):
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        last_heartbeat = time.monotonic()
        while True:
            with self.mock.lock:
                found = list(self.mock.waiting(places))
                if not found and not self.mock.is_closed:
                    self.mock.lock.wait(0.05)
            if self.mock.is_closed:
                self.close_connection = True
                return
            if self.mock.heartbeat and time.monotonic() - last_heartbeat > self.mock.heartbeat:
                last_heartbeat = time.monotonic()
                found.append({"type": "ping", "cursor": token(places)})
            text = b"".join(json.dumps(one).encode() + b"\n" for one in found)
            if text:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
                self.wfile.flush()
