"""Clients for system tests, made of foreign parts: http.client, and python3-websockets' protocol machine on a plain
socket. They remember their own place, reconnect by themselves and record what they get.

    api = Api(server.url)
    api.publish("topic:a", b"one").json["seq"]
    api.history_all("topic:a")
    with Reader(server.url, "sse", ["topic:a"]) as reader:     # one of TRANSPORTS
        reader.wait_for(lambda: reader.count("topic:a") == 1)
        reader.messages("topic:a")                             # what Loss audits look at

A Reader drops nothing and repairs nothing: its record keeps what comes twice or out of order, as it came.
"""
import base64
import collections
import contextlib
import http.client
import json
import socket
import threading
import time
import urllib.parse

import websockets.client
import websockets.exceptions
import websockets.frames
import websockets.uri

from waiting import SECONDS

RECV_BYTES = 65536
COME_BACK_SECONDS = 0.02
BROKEN_LINK = (OSError, http.client.HTTPException)

Answer = collections.namedtuple("Answer", "status headers body")
Answer.json = property(lambda self: json.loads(self.body))
# One line of a reader's record. kind: "message", "recall" or "gap"; payload: bytes, or None for a recall and what is
# left of its target; for a gap seq is its end, and object says the rest.
Event = collections.namedtuple("Event", "kind channel epoch seq payload object")


def host_and_port(url):
    parts = urllib.parse.urlsplit(url)
    return parts.hostname, parts.port


# For https: whom clients trust, and what they show of themselves. A test that speaks https makes one.
tls_context = None


def trust(context):
    global tls_context
    tls_context = context


def http_connection(url, timeout=SECONDS):
    if url.startswith("https:"):
        return http.client.HTTPSConnection(*host_and_port(url), timeout=timeout, context=tls_context)
    return http.client.HTTPConnection(*host_and_port(url), timeout=timeout)


def channel_path(channel):
    return "/v1/channels/" + urllib.parse.quote(channel, safe=":")


def payload_of(message):
    """The bytes that were published, however the JSON carries them; JSON values in their shortest spelling."""
    if "data_base64" in message:
        return base64.b64decode(message["data_base64"], validate=True)
    if "data" not in message:
        return None
    if isinstance(message["data"], str) and "json" not in message.get("media", ""):
        return message["data"].encode()
    return json.dumps(message["data"], separators=(",", ":"), ensure_ascii=False).encode()


def event_of(thing):
    """A JSON object as its transport gave it; None for pings and the like."""
    kind = thing.get("type")
    if kind not in ("message", "recall", "gap", "membership", "read", "response"):
        return None
    seq = thing["to"] if kind == "gap" else thing["seq"]
    return Event(kind, thing["channel"], thing["epoch"], seq, payload_of(thing), thing)


IDLE_SECONDS = 40  # after so long without a request a connection isn't used again: the server ends it after 75 s


class Api:
    """The HTTP calls, over one connection that is kept open; for one thread at a time."""

    def __init__(self, url, token=None, timeout=SECONDS):
        self.url, self.timeout = url, timeout
        self.headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.connection, self.used_at = None, 0.0

    def call(self, method, path, body=None, headers=None):
        """Sends one request and never repeats it: after an OSError or HTTPException nobody knows whether it was
        served."""
        if time.monotonic() - self.used_at > IDLE_SECONDS:
            self.close()
        if self.connection is None:
            self.connection = http_connection(self.url, self.timeout)
        try:
            self.connection.request(method, path, body, {**self.headers, **(headers or {})})
            answer = self.connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        except BaseException:
            self.close()
            raise
        finally:
            self.used_at = time.monotonic()

    def get(self, path):
        return self.call("GET", path)

    def publish(self, channel, payload, media=None, key=None, ttl=None):
        headers = {"Content-Type": media} if media else {}
        if key is not None:
            headers["Idempotency-Key"] = key
        return self.call("POST", channel_path(channel) + "/messages" + ("" if ttl is None else f"?ttl={ttl}"),
                         payload, headers)

    def batch(self, messages):
        """messages: the objects of the batch. Gives the results, one a message."""
        answer = self.call("POST", "/v1/messages", json.dumps({"messages": messages}),
                           {"Content-Type": "application/json"})
        assert answer.status == 200, answer
        return answer.json["results"]

    def recall(self, channel, seq):
        return self.call("DELETE", f"{channel_path(channel)}/messages/{seq}")

    def history(self, channel, **query):
        answer = self.get(f"{channel_path(channel)}/messages?{urllib.parse.urlencode(query)}")
        assert answer.status == 200, answer
        return answer.json

    def history_all(self, channel):
        """Every entry from the first kept one to the head, page by page, as objects."""
        entries, after = [], 0
        while True:
            page = self.history(channel, after=after, limit=1000)
            entries += page["messages"]
            if after >= page["head"]:
                return entries
            after = event_of(page["messages"][-1]).seq

    def metrics(self):
        """Every sample of /metrics: {'name{label="value"}': number}."""
        answer = self.get("/metrics")
        assert answer.status == 200, answer
        samples = (line.rsplit(" ", 1) for line in answer.body.decode().splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


# --- one connection of each transport: generators of JSON objects, that end when the link does ---------------------

def query_of(channels, after):
    words = []
    for channel in channels:
        words.append(("channel", channel))
        if after is not None:
            words.append(("after", after))
    return urllib.parse.urlencode(words)


def http_stream(place, accept):
    """Opens /v1/subscribe from `place`; gives the answer to read from."""
    connection = http_connection(place.url)
    connection.connect()
    place.hold(connection.sock)
    path = "/v1/subscribe?" + query_of(place.channels, place.after)
    if place.cursor is not None:
        path += "&" + urllib.parse.urlencode({"cursor": place.cursor})
    connection.request("GET", path + place.more_query, headers={"Accept": accept, **place.headers})
    answer = connection.getresponse()
    if answer.status != 200:
        raise RefusedError(answer.status, answer.read())
    return answer


def follow_sse(place):
    answer, fields = http_stream(place, "text/event-stream"), {}
    for line in answer:
        name, colon, value = line.decode().rstrip("\r\n").partition(":")
        if colon or name:
            fields[name] = value[1:] if value.startswith(" ") else value
            continue
        if "id" in fields:
            place.cursor = fields["id"]
        if "data" in fields:
            yield json.loads(fields["data"])
        fields = {}


def follow_ndjson(place):
    for line in http_stream(place, "application/x-ndjson"):
        if not line.endswith(b"\n"):
            return  # cut off in the middle
        thing = json.loads(line)
        place.cursor = thing.pop("cursor", place.cursor)
        yield thing


def read_part(answer):
    """Reads headers and body of the next part; None at the end."""
    headers, line = {}, answer.readline()
    while line.strip():
        name, _, value = line.decode().rstrip("\r\n").partition(": ")
        headers[name.lower()] = value
        line = answer.readline()
    if "content-length" not in headers:
        return None
    size = int(headers["content-length"])
    body = answer.read(size)
    tail = answer.readline() + answer.readline()  # CR LF, then the delimiter that closes the part at once
    return (headers, body) if len(body) == size and tail.endswith(b"\r\n") else None


def object_of_part(headers, body):
    if headers["content-type"].startswith("application/vnd.longwire."):
        return json.loads(body)
    thing = {"channel": urllib.parse.unquote(headers["longwire-channel"]), "epoch": headers["longwire-epoch"],
             "seq": int(headers["longwire-seq"]), "id": int(headers["longwire-id"]),
             "time": int(headers["longwire-time"]), "media": headers["content-type"], "type": "message"}
    if "longwire-recall" in headers:
        return {**thing, "type": "recall", "target": int(headers["longwire-recall"])}
    if "longwire-recalled" in headers:
        return {**thing, "recalled": True}
    return {**thing, "data_base64": base64.b64encode(body).decode()}


def follow_multipart(place):
    answer = http_stream(place, "multipart/mixed")
    answer.readline()  # the first delimiter
    while (part := read_part(answer)) is not None:
        thing = object_of_part(*part)
        place.cursor = part[0].get("longwire-cursor", place.cursor)
        yield thing


def follow_poll(place):
    """Sends one poll after another, each on a connection of its own, so that each may meet a server that is gone."""
    while True:
        answer = json.loads(http_stream(place, "application/json").read())
        yield from answer["messages"]
        place.cursor = answer["cursor"] or place.cursor


class WebSocket:
    """A WebSocket on a socket of its own, frame by frame."""

    def __init__(self, url, headers=None, path="/v1/ws", hold=lambda sock: None, receive_buffer=None, link=None):
        """`link`: a socket that is connected already, by whatever way."""
        self.sock = link or socket.socket()
        self.sock.settimeout(SECONDS)
        hold(self.sock)
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if link is None:
            self.sock.connect(host_and_port(url))
        if url.startswith("https:"):
            self.sock = tls_context.wrap_socket(self.sock, server_hostname=host_and_port(url)[0])
            hold(self.sock)
        self.wire = websockets.client.ClientConnection(websockets.uri.parse_uri("ws" + url[4:] + path),
                                                       subprotocols=["longwire.json.v1"], max_size=None)
        request = self.wire.connect()
        for name, value in (headers or {}).items():
            request.headers[name] = value
        self.wire.send_request(request)
        self.flush()
        self.events = collections.deque()
        self.response = next(self.frames(), None)
        if self.response is None:
            raise ConnectionError("closed before it answered")
        if self.wire.handshake_exc is not None:
            status = self.response.status_code if self.response else 0
            raise RefusedError(status, self.response.body if self.response else b"")

    def flush(self):
        for data in self.wire.data_to_send():
            if data:
                self.sock.sendall(data)
            else:
                self.sock.shutdown(socket.SHUT_WR)

    def frames(self):
        """Every frame as it comes, until the link ends."""
        while True:
            while self.events:
                yield self.events.popleft()
            data = self.sock.recv(RECV_BYTES)
            if not data:
                return
            self.wire.receive_data(data)
            with contextlib.suppress(OSError):  # it may be gone; what it said still counts
                self.flush()
            self.events.extend(self.wire.events_received())

    def objects(self):
        text = b""
        for frame in self.frames():
            if frame.opcode in (websockets.frames.Opcode.TEXT, websockets.frames.Opcode.CONT):
                text += frame.data
                if frame.fin:
                    yield json.loads(text)
                    text = b""

    def say(self, thing):
        try:
            self.wire.send_text(json.dumps(thing).encode())
        except websockets.exceptions.InvalidState as why:  # its Close came with what was read before
            raise ConnectionResetError(str(why)) from why
        self.flush()

    @property
    def close_code(self):
        return self.wire.close_rcvd.code if self.wire.close_rcvd else None

    def close(self):
        self.sock.close()


def follow_ws(place):
    link = WebSocket(place.url, headers=place.headers, hold=place.hold)
    for channel in place.channels:
        request = {"type": "subscribe", "channel": channel}
        if channel in place.stands:
            epoch, seq = place.stands[channel]
            request.update(after=seq, epoch=epoch)
        elif place.after is not None:
            request["after"] = place.after
        link.say(request)
    for thing in link.objects():
        yield thing
        if (event := event_of(thing)) is not None:
            place.stands[event.channel] = (event.epoch, event.seq)


TRANSPORTS = {"ws": follow_ws, "sse": follow_sse, "ndjson": follow_ndjson, "multipart": follow_multipart,
              "poll": follow_poll}


class RefusedError(Exception):
    """The server refused: status, body."""


class Place:
    """Where a reader stands, and the socket that it has open. It takes a link for dead that is silent for `silence_s`."""

    def __init__(self, url, channels, after=0, cursor=None, headers=None, more_query="", silence_s=SECONDS):
        self.url, self.channels = url, list(channels)
        self.after, self.cursor, self.headers, self.more_query = after, cursor, headers or {}, more_query
        self.stands = {}     # channel: (epoch, seq), for WebSockets
        self.silence_s, self.sock, self.is_over = silence_s, None, False
        self.lock = threading.Lock()

    def hold(self, sock):
        with self.lock:
            self.sock = sock
            sock.settimeout(self.silence_s)
            if self.is_over:
                raise OSError("the reader has been closed")

    def let_go(self):
        with self.lock:
            if self.sock is not None:
                self.sock.close()
            self.sock = None

    def close(self):
        with self.lock:
            self.is_over = True
            if self.sock is not None:
                with contextlib.suppress(OSError):
                    self.sock.shutdown(socket.SHUT_RDWR)


def follow(transport, place, on_break=lambda why: None):
    """Gives every object that comes, for ever: when a connection ends it opens a new one from its place. A transport is one of
    TRANSPORTS, or a function as they are."""
    follow_once = TRANSPORTS.get(transport, transport)
    while not place.is_over:
        try:
            yield from follow_once(place)
            on_break("ended")
        except (OSError, http.client.HTTPException, ValueError, RefusedError) as why:
            on_break(why)
        place.let_go()
        time.sleep(COME_BACK_SECONDS)


class Reader:
    """A client in a thread of its own that follows channels and records what it gets."""

    def __init__(self, url, transport, channels, **more):
        self.place, self.transport = Place(url, channels, **more), transport
        self.events, self.breaks, self.others = [], [], []
        self.news = threading.Condition()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        for thing in follow(self.transport, self.place, self.breaks.append):
            event = event_of(thing)
            with self.news:
                (self.others if event is None else self.events).append(thing if event is None else event)
                self.news.notify_all()

    def wait_for(self, what, seconds=SECONDS):
        with self.news:
            assert self.news.wait_for(what, seconds), (self.transport, len(self.events), self.events[-2:],
                                                       self.breaks[-5:])

    def of(self, channel):
        return [event for event in self.events if event.channel == channel]

    def messages(self, channel):
        return [event for event in self.of(channel) if event.kind == "message"]

    def gaps(self, channel):
        return [event.object for event in self.of(channel) if event.kind == "gap"]

    def count(self, channel):
        return len(self.of(channel))

    def head(self, channel):
        return next((event.seq for event in reversed(self.events) if event.channel == channel), 0)

    def wait_head(self, channel, seq, seconds=SECONDS):
        self.wait_for(lambda: self.head(channel) >= seq, seconds)

    def close(self):
        self.place.close()
        self.thread.join(SECONDS)
        assert not self.thread.is_alive(), "the reader does not end"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.close()


class Publisher(threading.Thread):
    """Publishes numbered payloads until it is closed, over as many connections as necessary, and records what was
    acknowledged. With keys it repeats a publish whose outcome is unknown until it is known."""

    def __init__(self, url, name, channel, has_keys):
        super().__init__()
        self.api, self.name_of, self.channel, self.has_keys = Api(url), name, channel, has_keys
        self.answered, self.sent, self.refused, self.replayed = {}, 0, [], 0
        self.is_over = self.is_given_up = False

    def publish(self, payload):
        answer = self.api.publish(self.channel, payload, key=payload.decode() if self.has_keys else None)
        if answer.status not in (200, 201):
            self.refused.append(answer)
            return
        self.replayed += answer.status == 200
        self.answered[payload] = (answer.json["epoch"], answer.json["seq"])

    def run(self):
        while not self.is_over:
            payload = f"{self.name_of}-{self.sent}".encode()
            self.sent += 1
            while payload not in self.answered and not self.is_given_up:
                try:
                    self.publish(payload)
                except BROKEN_LINK:
                    time.sleep(COME_BACK_SECONDS)
                    if not self.has_keys:
                        break
        self.api.close()

    def close(self):
        """Returns once the outcome of the last publish is known."""
        self.is_over = True
        self.join()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        self.is_given_up = kind is not None     # there may be no server any more to tell its fate
        self.close()


# --- the Loss audit -----------------------------------------------------------------------------------------------

def audit_history(api, channel, answered):
    """`answered`: {payload: (epoch, seq)} of every publish that was acknowledged. Checks that history has all of it,
    once, where the acknowledgement said, and that the seqs are dense. Gives history as {seq: payload}."""
    entries = [event_of(entry) for entry in api.history_all(channel)]
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1)), "seqs are not dense"
    assert all(entry.kind == "message" for entry in entries), [e.object for e in entries if e.kind != "message"][:3]
    payloads = {entry.seq: entry.payload for entry in entries}
    epochs = {entry.seq: entry.epoch for entry in entries}
    assert len(set(payloads.values())) == len(payloads), "a message is there twice"
    lost = {payload: place for payload, place in answered.items()
            if payloads.get(place[1]) != payload or epochs[place[1]] != place[0]}
    assert not lost, f"{len(lost)} of {len(answered)} acknowledged messages are lost or moved: {list(lost.items())[:3]}"
    return payloads


def audit_reader(reader, channel, history):
    """Checks that the reader's record equals history: each message once, in order, none left out. A gap fails, because
    nothing was deleted."""
    got = [(event.kind, event.seq, event.payload) for event in reader.of(channel)]
    assert got == [("message", seq, payload) for seq, payload in history.items()], (
        reader.transport, len(got), len(history), first_difference(got, history))


def first_difference(got, history):
    for place, (event, wanted) in enumerate(zip(got, history.items())):
        if event[1:] != wanted:
            return {"at": place, "got": got[place:place + 3], "wanted": wanted, "before": got[max(0, place - 2):place]}
    return "one is shorter"
