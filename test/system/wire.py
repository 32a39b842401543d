"""Clients for tests that look at every byte: HTTP/1.1 and WebSocket over plain sockets, and a strict reader for each
transport, so that what one of them says can be held against what the others say.

    answer = request(server, "POST", path_of("topic:a") + "/messages", b"hello")
    with READERS["sse"](server, "channel=topic:a&after=0") as reader:
        event = reader.next()        # {"type": "message", "seq": 1, "payload": b"hello", …}
        place = reader.cursor        # good for any other reader

Nothing here is lenient: what RFC 9112, the event stream grammar, RFC 2046 or RFC 6455 (here python3-websockets judges)
doesn't allow fails the test.
"""
import base64
import itertools
import json
import os
import re
import socket
import struct
import urllib.parse

import websockets.client
import websockets.connection
import websockets.frames
import websockets.uri

from waiting import SECONDS, wait_until

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
JSON_MEDIA = re.compile(r"application/json(\s*;.*)?|[^;]+\+json(\s*;.*)?", re.IGNORECASE)
FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t\x20-\x7e\x80-\xff]*)")
numbers = itertools.count()


def fresh(namespace="topic"):
    """A channel that no other test has used."""
    return f"{namespace}:t{os.getpid()}-{next(numbers)}"


def path_of(channel):
    return "/v1/channels/" + urllib.parse.quote(channel, safe="")


def query_of(*channels):
    """query_of("topic:a", ("topic:b", "after=3")): channels, each with its own place."""
    words = []
    for channel in channels:
        name, place = (channel, None) if isinstance(channel, str) else channel
        words.append("channel=" + urllib.parse.quote(name, safe=""))
        words += [place] if place else []
    return "&".join(words)


class Answer:
    def __init__(self, status, fields, minor):
        self.status, self.fields, self.minor = status, fields, minor
        self.body = b""

    def field(self, name):
        values = [value for at, value in self.fields if at.lower() == name.lower()]
        assert len(values) <= 1, (name, values)
        return values[0] if values else None

    def json(self):
        return json.loads(self.body.decode())

    def want(self, status):
        assert self.status == status, (self.status, self.body[:2000])
        return self

    def want_problem(self, status):
        """RFC 9457, and says the same status as the answer's first line."""
        self.want(status)
        assert self.field("Content-Type") == "application/problem+json", self.fields
        problem = self.json()
        assert problem["status"] == status and problem["title"] and problem["detail"], problem
        return problem


class Closed(Exception):
    """The other end has closed or reset the connection."""


class Ended(Closed):
    """The stream was ended in order: by its last chunk."""


class Wire:
    """One TCP connection to the server, and a strict reader of HTTP/1.1 answers."""

    def __init__(self, server, receive_bytes=None, seconds=SECONDS):
        self.socket = socket.socket()
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(seconds)
        self.socket.connect(("127.0.0.1", server.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.seen = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Closes with RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def more(self):
        try:
            got = self.socket.recv(1 << 16)
        except ConnectionResetError:
            got = b""
        if not got:
            raise Closed
        self.seen += got

    def until(self, mark):
        start = 0
        while (at := self.seen.find(mark, start)) < 0:
            start = max(0, len(self.seen) - len(mark) + 1)
            self.more()
        text, self.seen = self.seen[:at], self.seen[at + len(mark):]
        return text

    def exactly(self, count):
        pieces, have = [self.seen], len(self.seen)
        while have < count:
            self.seen = b""
            self.more()
            pieces.append(self.seen)
            have += len(self.seen)
        all_of_it = b"".join(pieces)
        self.seen = all_of_it[count:]
        return all_of_it[:count]

    def rest(self):
        """All that comes until the server closes."""
        try:
            while True:
                self.more()
        except Closed:
            rest, self.seen = self.seen, b""
            return rest

    def want_closed(self):
        rest = self.rest()
        assert rest == b"", rest[:500]

    def head(self):
        lines = self.until(b"\r\n\r\n").split(b"\r\n")
        first = re.fullmatch(rb"HTTP/1\.(\d) (\d{3}) ([\x20-\x7e]+)", lines[0])
        assert first, lines
        fields = []
        for line in lines[1:]:
            field = FIELD_LINE.fullmatch(line)
            assert field, line
            fields.append((field[1].decode(), field[2].decode("latin-1")))
        return Answer(int(first[2]), fields, int(first[1]))

    def chunk(self):
        """RFC 9112 7.1, as we send it: without extensions and trailers. b"": the last."""
        size = self.until(b"\r\n")
        assert re.fullmatch(rb"[0-9a-fA-F]{1,8}", size), size
        data = self.exactly(int(size, 16))
        assert self.exactly(2) == b"\r\n"
        return data

    def answer(self, method="GET"):
        answer = self.head()
        if answer.status == 101 or method == "HEAD" or answer.status in (100, 204, 304):
            return answer
        length = answer.field("Content-Length")
        assert (length is None) != (answer.field("Transfer-Encoding") is None), answer.fields
        if length is not None:
            answer.body = self.exactly(int(length))
        else:
            while piece := self.chunk():
                answer.body += piece
        return answer

    def ask(self, method, target, body=None, **fields):
        self.send(request_bytes(method, target, body, **fields))
        return self.answer(method)


def request_bytes(method, target, body=None, minor=1, **fields):
    """Fields are named with underscores: content_type="text/plain". A value of None leaves it out."""
    fields = {"host": "localhost", **fields}
    if body is not None and "content_length" not in fields and "transfer_encoding" not in fields:
        fields["content_length"] = len(body)
    lines = [f"{method} {target} HTTP/1.{minor}".encode()]
    for name, value in fields.items():
        if value is not None:
            text = value if isinstance(value, bytes) else str(value).encode()
            lines.append(name.replace("_", "-").encode() + b": " + text)
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def request(server, method, target, body=None, **fields):
    """One request on a connection of its own."""
    with Wire(server) as wire:
        return wire.ask(method, target, body, **fields)


def publish(server, channel, payload=b"x", media=None, query="", **fields):
    """The receipt of a message that was taken."""
    body = payload.encode() if isinstance(payload, str) else payload
    return request(server, "POST", f"{path_of(channel)}/messages{query}", body, content_type=media,
                   **fields).want(201).json()


def publish_many(server, channel, payloads, media="application/octet-stream"):
    """All in one batch; their seqs."""
    messages = [{"channel": channel, "data_base64": base64.b64encode(p).decode(), "media": media} for p in payloads]
    results = request(server, "POST", "/v1/messages", json.dumps({"messages": messages}).encode(),
                      content_type="application/json").want(200).json()["results"]
    assert all(result["status"] == 201 for result in results), results
    return [result["seq"] for result in results]


def history(server, channel, query=""):
    return request(server, "GET", f"{path_of(channel)}/messages{query}").want(200)


# --- message objects --------------------------------------------------------------------------------------------------

def members_of(text):
    """An object's members as (value, raw text): the raw text of `data` is the payload byte for byte."""
    decoder, at, members = json.JSONDecoder(), 1, {}
    assert text[0] == "{" and text[-1] == "}", text[:200]
    while text[at - 1] != "}":
        name, at = decoder.raw_decode(text, at)
        assert text[at] == ":" and name not in members, text[:200]
        start = at + 1
        value, at = decoder.raw_decode(text, re.compile(r"[ \t\r\n]*").match(text, start).end())
        at = re.compile(r"[ \t\r\n]*").match(text, at).end()
        assert text[at] in ",}", text[:200]
        members[name] = (value, text[start:at])
        at += 1
    assert at == len(text), text[:200]
    return members


def event_of(text):
    """A message, recall or gap object; `data` and `data_base64` become `payload`, the bytes that were published."""
    members = members_of(text)
    event = {name: value for name, (value, _) in members.items()}
    assert not ("data" in event and "data_base64" in event), text[:200]
    if "data_base64" in event:
        event["payload"] = base64.b64decode(event.pop("data_base64"), validate=True)
    elif "data" in event:
        value, raw = members["data"]
        is_json = JSON_MEDIA.fullmatch(event["media"]) and not (raw == '""' and value == "")
        event["payload"] = (raw if is_json else value).encode()
        del event["data"]
    return event


# --- transports: each yields events, and knows the cursor behind the last one ---------------------------------------

class Reader:
    """next() gives the next event, heartbeats passed over and counted; Closed at the end of the stream."""
    media = None

    def __init__(self, server, query, receive_bytes=None, minor=1, seconds=SECONDS, **fields):
        self.server, self.query, self.fields = server, query, fields
        self.cursor, self.heartbeats, self.minor = None, 0, minor
        self.wire = Wire(server, receive_bytes, seconds)
        self.open()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wire.close()

    def open(self):
        self.wire.send(request_bytes("GET", "/v1/subscribe?" + self.query, accept=self.media, minor=self.minor,
                                     **self.fields))
        self.answer = self.wire.head().want(200)
        self.is_chunked = self.answer.field("Transfer-Encoding") == "chunked"
        assert self.is_chunked == (self.minor == 1)
        self.text = b""

    def fill(self):
        """More of the body; what stands around it is seen to here."""
        if self.is_chunked:
            piece = self.wire.chunk()
            if piece == b"":
                raise Ended
        else:
            if not self.wire.seen:
                self.wire.more()
            piece, self.wire.seen = self.wire.seen, b""
        self.text += piece

    def take_until(self, mark):
        while mark not in self.text:
            self.fill()
        piece, self.text = self.text.split(mark, 1)
        return piece

    def take(self, count):
        while len(self.text) < count:
            self.fill()
        piece, self.text = self.text[:count], self.text[count:]
        return piece

    def next(self):
        raise NotImplementedError

    def several(self, count):
        return [self.next() for _ in range(count)]

    def settle(self):
        """Returns once the server has said where this reader stands, so that what is published next reaches it."""
        while self.cursor is None:
            self.one()

    def wait_for_heartbeat(self):
        before = self.heartbeats
        while self.heartbeats == before:
            assert self.one() is None


class Sse(Reader):
    """WHATWG HTML 9.2.6, but strict: only the fields and the line ends that we send."""
    media = "text/event-stream"
    retry = None

    def one(self):
        """An event, or None for what isn't one: a comment, or the place alone. Each empty line ends an event with data,
        because many readers outside of browsers take every empty line as an event."""
        name, data = "message", None
        while line := self.take_until(b"\n"):
            assert b"\r" not in line, line
            if line == b":":
                assert data is None
                self.heartbeats += 1
                return None
            if line.startswith(b"id: "):
                self.cursor = line[4:].decode()
            elif line.startswith(b"event: "):
                name = line[7:].decode()
            elif line.startswith(b"retry: "):
                self.retry = int(line[7:])
            else:
                assert line.startswith(b"data: ") and data is None, line
                data = line[6:].decode()
        assert data is not None
        event = event_of(data)
        if name == "cursor":
            assert event == {"type": "cursor", "cursor": self.cursor}, event
            return None
        assert name == (event["type"] if event["type"] in ("gap", "notify", "join", "leave", "presence") else "message"), (name, event)
        return event

    def next(self):
        while (event := self.one()) is None:
            pass
        return event


class Ndjson(Reader):
    media = "application/x-ndjson"

    def one(self):
        line = self.take_until(b"\n")
        assert b"\r" not in line
        event = event_of(line.decode())
        self.cursor = event.pop("cursor", self.cursor)
        if event["type"] == "ping":
            self.heartbeats += 1
            return None
        return event

    next = Sse.next


class Multipart(Reader):
    media = "multipart/mixed"

    def open(self):
        super().open()
        kind, boundary = self.answer.field("Content-Type").split("; boundary=")
        assert kind == self.media and re.fullmatch(r"[0-9A-Za-z_-]{16,70}", boundary)
        self.delimiter = b"--" + boundary.encode()
        assert self.take_until(b"\r\n") == self.delimiter
        self.is_over = False

    def part(self):
        """Headers and body of the next part; the delimiter behind it must be there at once."""
        if self.is_over:
            self.fill()
        assert not self.is_over, "something stands behind the closing delimiter"
        headers = {}
        for line in self.take_until(b"\r\n\r\n").split(b"\r\n"):
            field = FIELD_LINE.fullmatch(line)
            assert field and field[1] not in headers, line
            headers[field[1].decode()] = field[2].decode()
        body = self.take(int(headers["Content-Length"]))
        assert self.take(2 + len(self.delimiter)) == b"\r\n" + self.delimiter
        ending = self.take(2)
        assert ending in (b"\r\n", b"--")
        if ending == b"--":
            self.is_over = True
            assert self.take(2) == b"\r\n"
        return headers, body

    def one(self):
        headers, body = self.part()
        self.cursor = urllib.parse.unquote(headers.get("Longwire-Cursor", "")) or self.cursor
        if headers["Content-Type"] == "application/vnd.longwire.ping+json":
            assert json.loads(body) == {"type": "ping"}
            self.heartbeats += 1
            return None
        if headers["Content-Type"] in ("application/vnd.longwire.gap+json", "application/vnd.longwire.notify+json"):
            return event_of(body.decode())
        event = {"type": "message", "channel": urllib.parse.unquote(headers["Longwire-Channel"], errors="strict"),
                 "epoch": headers["Longwire-Epoch"], "from": headers.get("Longwire-From")}
        event.update({name.lower(): int(headers["Longwire-" + name]) for name in ("Seq", "Id", "Time")})
        if "Longwire-Recall" in headers:
            event.update(type="recall", target=int(headers["Longwire-Recall"]))
        elif "Longwire-Recalled" in headers:
            event.update(recalled=True)
        else:
            event.update(media=headers["Content-Type"], payload=body)
        return event

    next = Sse.next

    def settle(self):
        """No part says the place of a reader that has had nothing: the API says that it is there."""
        wait_for_subscribers(self.server, self.query)


class FormData(Multipart):
    media = "multipart/form-data"


class Poll(Reader):
    """Asks again, with the cursor that the last answer gave."""
    media = "application/json"
    page_bytes = None   # of the last answer

    def open(self):
        self.waiting = []

    def ask(self, query, **fields):
        return self.wire.ask("GET", "/v1/subscribe?" + query, accept=self.media, **self.fields, **fields)

    def page(self, wait=None):
        """One poll's events."""
        query = "cursor=" + self.cursor if self.cursor else self.query
        answer = self.ask(query if wait is None else f"{query}&wait={wait}").want(200)
        assert answer.field("Content-Type") == "application/json"
        self.page_bytes = len(answer.body)
        members = members_of(answer.body.decode())
        assert list(members) == ["messages", "cursor"]
        if members["cursor"][0] is not None:
            self.cursor = members["cursor"][0]
        self.heartbeats += 1
        return [event_of(text) for text in items_of(members["messages"][1])]

    def next(self):
        while not self.waiting:
            self.waiting = self.page()
        return self.waiting.pop(0)

    def one(self):
        assert not self.waiting
        self.waiting = self.page()
        return None

    def settle(self):
        self.waiting += self.page(wait=0)
        assert self.cursor is not None


def items_of(text):
    """The raw texts of a list's items."""
    decoder, at, items = json.JSONDecoder(), 1, []
    assert text[0] == "[" and text[-1] == "]"
    while text[at] != "]":
        _, end = decoder.raw_decode(text, at)
        items.append(text[at:end])
        at = end + (text[end] == ",")
    assert at == len(text) - 1
    return items


class Ws(Reader):
    """longwire.json.v1; python3-websockets, without its I/O, does the handshake and judges every frame."""
    protocol = "longwire.json.v1"
    path = "/v1/ws"

    def __init__(self, server, query="", receive_bytes=None, seconds=SECONDS, protocol=protocol, path=path, extensions=None,
                 **fields):
        self.protocol, self.path, self.extensions = protocol, path, extensions
        super().__init__(server, query, receive_bytes, seconds=seconds, **fields)

    def open(self):
        address = f"ws://localhost:{self.server.port}{self.path}" + ("?" + self.query if self.query else "")
        self.peer = websockets.client.ClientConnection(
            websockets.uri.parse_uri(address), subprotocols=[self.protocol] if self.protocol else None,
            extensions=self.extensions, max_size=None)
        shake = self.peer.connect()
        for name, value in self.fields.items():
            name = name.replace("_", "-")
            if name in shake.headers:
                del shake.headers[name]
            shake.headers[name] = value
        self.peer.send_request(shake)
        self.frames, self.others, self.placed = [], [], 0
        self.pump()
        while self.peer.state is websockets.connection.State.CONNECTING:
            self.more()
        assert self.peer.handshake_exc is None, self.peer.handshake_exc
        assert self.peer.subprotocol == self.protocol
        self.greeting = self.frame("connected") if self.path == "/v1/ws" else None

    def pump(self):
        for data in self.peer.data_to_send():
            if data:
                self.wire.send(data)

    def more(self):
        try:
            self.wire.more()
        except Closed:
            self.peer.receive_eof()
            self.events()
            raise
        data, self.wire.seen = self.wire.seen, b""
        self.peer.receive_data(data)
        self.events()
        self.pump()

    def events(self):
        for event in self.peer.events_received():
            if isinstance(event, websockets.frames.Frame):
                if event.opcode is websockets.frames.Opcode.PING:
                    self.heartbeats += 1
                self.frames.append(event)

    def raw_frame(self):
        while not self.frames:
            self.more()
        return self.frames.pop(0)

    def frame_text(self):
        """The next text frame, whatever it says."""
        while (frame := self.raw_frame()).opcode is not websockets.frames.Opcode.TEXT:
            assert frame.opcode is not websockets.frames.Opcode.CLOSE, frame
        assert frame.fin
        return frame.data.decode()

    def frame(self, kind, channel=None):
        """The next frame of that type, and of that channel if there is one; messages and gaps before it are kept for next()."""
        while True:
            got = event_of(self.frame_text())
            self.placed += got["type"] == "subscribed"
            if got["type"] == kind and channel in (None, got.get("channel")):
                return got
            assert got["type"] in ("message", "gap", "recall", "notify", "subscribed"), got
            if got["type"] != "subscribed":
                self.others.append(got)

    def say(self, kind, **members):
        self.say_text(json.dumps({"type": kind, **members}))

    def say_text(self, text):
        self.peer.send_text(text.encode())
        self.pump()

    def ask(self, kind, answer, **members):
        """The answer. That a session's own channels are followed may be said between, and is not taken for it."""
        self.say(kind, **members)
        return self.frame(answer, members.get("channel") if answer == "subscribed" else None)

    def next(self):
        while not self.others:
            got = event_of(self.frame_text())
            self.placed += got["type"] == "subscribed"
            if got["type"] != "subscribed":
                assert got["type"] in ("message", "gap", "recall", "notify"), got
                return got
        return self.others.pop(0)

    def one(self):
        frame = self.raw_frame()
        assert frame.opcode is websockets.frames.Opcode.PING, frame

    def settle(self):
        """All the channels that the query named have said subscribed."""
        while self.placed < max(1, self.query.count("channel=")):
            self.frame("subscribed")

    @property
    def cursor(self):
        return self.ask("cursor", "cursor")["cursor"]

    @cursor.setter
    def cursor(self, _):
        pass  # asked for, never kept

    def closing(self):
        """The server's Close frame: (code, reason)."""
        while True:
            frame = self.raw_frame()
            if frame.opcode is websockets.frames.Opcode.CLOSE:
                close = websockets.frames.Close.parse(frame.data)
                return int(close.code), close.reason


READERS = {"ws": Ws, "sse": Sse, "ndjson": Ndjson, "poll": Poll, "multipart": Multipart, "form-data": FormData}
STREAMS = {name: READERS[name] for name in ("sse", "ndjson", "multipart", "form-data")}


def ws_frame(opcode, payload=b"", fin=True, rsv=0, mask=b"\x37\xfa\x21\x3d", form=None):
    """A client's frame. form: the length in 0, 2 or 8 bytes of its own. mask: None leaves it unmasked."""
    if form is None:
        form = 0 if len(payload) < 126 else 2 if len(payload) < 65536 else 8
    bit = 0x80 if mask is not None else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    head += {0: bytes([bit | len(payload) & 127]), 2: bytes([bit | 126]) + struct.pack("!H", len(payload) & 0xffff),
             8: bytes([bit | 127]) + struct.pack("!Q", len(payload))}[form]
    return head + (payload if mask is None else mask + masked(payload, mask))


def masked(payload, mask):
    length = len(payload)
    key = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
    return (int.from_bytes(payload, "big") ^ key).to_bytes(length, "big")


def handshake_bytes(path="/v1/ws", **fields):
    return request_bytes("GET", path, **{
        "upgrade": "websocket", "connection": "Upgrade", "sec_websocket_version": "13",
        "sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==", **fields})


# --- waiting ----------------------------------------------------------------------------------------------------------

def metric(server, name):
    """The sum of a metric over its labels."""
    text = request(server, "GET", "/metrics").want(200).body.decode()
    values = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
              if re.match(re.escape(name) + r"[ {]", line)]
    assert values, name
    return sum(values)


def wait_for_subscribers(server, query, count=1):
    for name, channel in urllib.parse.parse_qsl(query):
        if name == "channel":
            wait_until(lambda at=channel: subscribers(server, at) >= count)


def subscribers(server, channel):
    answer = request(server, "GET", path_of(channel))
    return answer.json()["subscribers"] if answer.status == 200 else 0
