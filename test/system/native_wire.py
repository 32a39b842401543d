"""longwire.bin.v1 as docs/protocol.md section 9 specifies it, written from that page alone: the tests hold the server's codec
against it. Frames are dicts, as in test/vectors/bin_frames.json.

    with NativeClient(server.tcp_port) as client:
        client.send({"type": "subscribe", "channel": "topic:a", "ref": 1})
        client.expect("subscribed")
"""
import asyncio
import socket
import time

import websockets

from waiting import SECONDS

NUMBER, TEXT, FLAG, FIXED, PLACES, HEADERS = "number", "text", "flag", "fixed", "places", "headers"
FORM = {FLAG: 0, NUMBER: 1, TEXT: 2, PLACES: 2, HEADERS: 2, FIXED: 3}

FIELDS = {  # number → name, what it is
    1: ("ref", NUMBER), 2: ("channel", TEXT), 3: ("epoch", FIXED), 4: ("seq", NUMBER), 5: ("id", NUMBER),
    6: ("time", NUMBER), 7: ("media", TEXT), 8: ("from", TEXT), 9: ("event", TEXT), 10: ("head", NUMBER),
    11: ("alias", NUMBER), 12: ("code", NUMBER), 13: ("reason", TEXT), 14: ("key", TEXT), 15: ("ttl", NUMBER),
    16: ("token", TEXT), 17: ("user", TEXT), 18: ("device", TEXT), 19: ("standing", FLAG), 20: ("session", TEXT),
    21: ("connection", FIXED), 22: ("generation", NUMBER), 23: ("ticket", TEXT), 24: ("resume", PLACES),
    25: ("cursor", TEXT), 26: ("heartbeat", NUMBER), 27: ("next_ms", NUMBER), 28: ("digest", FIXED),
    29: ("mode", NUMBER), 30: ("priority", NUMBER), 31: ("class", TEXT), 32: ("keep", FLAG), 33: ("presence", FLAG),
    34: ("after", NUMBER), 35: ("last", NUMBER), 36: ("gap_from", NUMBER), 37: ("gap_to", NUMBER),
    38: ("why", NUMBER), 39: ("target", NUMBER), 40: ("recalled", FLAG), 41: ("resumed", FLAG),
    42: ("replayed", FLAG), 43: ("collapse_key", TEXT), 44: ("base_ms", NUMBER), 45: ("factor", NUMBER),
    46: ("cap_ms", NUMBER), 47: ("jitter", NUMBER), 48: ("after_ms", NUMBER), 49: ("where", TEXT), 50: ("in", NUMBER),
    51: ("count", NUMBER), 52: ("frame_max", NUMBER), 53: ("request", TEXT), 54: ("method", TEXT), 55: ("path", TEXT),
    56: ("headers", HEADERS), 58: ("timeout_ms", NUMBER), 60: ("features", NUMBER), 61: ("version", NUMBER),
    62: ("places", FLAG), 63: ("unfenced", FLAG),
}
NUMBERS = {name: (number, kind) for number, (name, kind) in FIELDS.items()}

CLIENT_TYPES = {1: "connect", 2: "subscribe", 3: "unsubscribe", 4: "publish", 5: "cursor", 6: "ack", 7: "read",
                8: "ping", 9: "pong", 0x0a: "request", 0x0b: "cancel"}
SERVER_TYPES = {1: "connected", 2: "subscribed", 3: "unsubscribed", 4: "published", 5: "cursor", 6: "ack", 7: "read",
                8: "ping", 9: "pong", 0x0a: "accepted", 0x10: "alias", 0x11: "message", 0x12: "full", 0x13: "gap", 0x14: "notify",
                0x15: "join", 0x16: "leave", 0x17: "presence", 0x20: "error", 0x21: "reconnect", 0x22: "replaced", 0x23: "expiring",
                0x24: "closing"}
BEFORE, PAYLOAD, VITAL = 0x40, 0x80, 4
GAP_WHYS = ["expired", "trimmed", "epoch", "ahead", "corrupt", "collapsed"]


class WireFault(ValueError):
    """Bytes that the page does not allow."""


# --- from bytes ----------------------------------------------------------------------------------------------------

def cut_varint(data, at, most=10):
    """The value, and the index behind it; None: not whole."""
    value = shift = 0
    for index in range(at, min(len(data), at + most)):
        value |= (data[index] & 0x7f) << shift
        shift += 7
        if data[index] < 0x80:
            if (data[index] == 0 and index > at) or value >= 1 << 64:
                raise WireFault("a varint that is too long")
            return value, index + 1
    if len(data) - at >= most:
        raise WireFault("a varint without an end")
    return None


def need(cut):
    if cut is None:
        raise WireFault("not whole")
    return cut


def cut_places(data):
    places, at = [], 0
    while at < len(data):
        length, at = need(cut_varint(data, at))
        place = {"channel": data[at:at + length].decode()}
        place["seq"], at = need(cut_varint(data, at + length))
        if data[at]:
            place["epoch"] = data[at + 1:at + 9].hex()
        at += 1 + data[at]
        places.append(place)
    return places


def cut_headers(data):
    words, at = [], 0
    while at < len(data):
        length, at = need(cut_varint(data, at))
        words.append(data[at:at + length].decode())
        at += length
    return [list(pair) for pair in zip(words[::2], words[1::2])]


def cut_fields(data):
    fields, at = {}, 0
    while at < len(data):
        key, at = need(cut_varint(data, at))
        number, form = key >> 3, key & 3
        value = True
        if form == 1:
            value, at = need(cut_varint(data, at))
        elif form == 2:
            length, at = need(cut_varint(data, at))
            value, at = data[at:at + length], at + length
        elif form == 3:
            value, at = data[at:at + 8], at + 8
        if at > len(data):
            raise WireFault("a field ends behind its frame")
        if number not in FIELDS:
            continue
        name, kind = FIELDS[number]
        if FORM[kind] != form or name in fields:
            raise WireFault(f"{name} is twice there, or of another form")
        fields[name] = (value.decode() if kind == TEXT else cut_places(value) if kind == PLACES
                        else cut_headers(value) if kind == HEADERS
                        else value.hex() if kind == FIXED else value)
    return fields


def put_payload(frame, payload):
    if payload:
        try:
            frame["payload"] = payload.decode()
        except UnicodeDecodeError:
            frame["payload_hex"] = payload.hex()


def decode(inside, types):
    """One frame without its length."""
    kind, flags, body = types[inside[0] & 0x3f], inside[0] & 0xc0, inside[1:]
    frame, payload = {"type": kind}, b""
    if kind == "connect":
        if body[:2] != b"LW" or len(body) < 4:
            raise WireFault("not LW")
        frame["versions"], body = [body[2], body[3]], body[4:]
    if kind == "message":
        at = 0
        if flags & BEFORE:
            frame["before"] = True
        for name in ("alias", "seq", "id", "time"):
            frame[name], at = need(cut_varint(body, at))
        body = body[at:]
    if flags & PAYLOAD:
        length, at = need(cut_varint(body, 0))
        if at + length > len(body):
            raise WireFault("fields longer than their frame")
        body, payload = body[at:at + length], body[at + length:]
    elif kind == "message":
        body, payload = b"", body
    frame.update(cut_fields(body))
    put_payload(frame, payload)
    return frame


def split(data):
    """The frames of a stream without their lengths, and what is left."""
    frames, at = [], 0
    while True:
        cut = cut_varint(data, at, 5)
        if cut is None or cut[1] + cut[0] > len(data):
            return frames, data[at:]
        length, begin = cut
        if length == 0:
            raise WireFault("a length of 0")
        frames.append(data[begin:begin + length])
        at = begin + length


# --- to bytes ------------------------------------------------------------------------------------------------------

def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def put_places(places):
    out = b""
    for place in places:
        name, epoch = place["channel"].encode(), bytes.fromhex(place.get("epoch", ""))
        out += varint(len(name)) + name + varint(place["seq"]) + bytes([len(epoch)]) + epoch
    return out


def put_headers(headers):
    return b"".join(varint(len(word.encode())) + word.encode() for pair in headers for word in pair)


def put_fields(frame, skip, vital):
    out = b""
    for name in sorted((name for name in frame if name in NUMBERS and name not in skip), key=lambda n: NUMBERS[n][0]):
        number, kind = NUMBERS[name]
        value = frame[name]
        out += varint(number << 3 | vital | FORM[kind])
        if kind == NUMBER:
            out += varint(value)
        elif kind == FIXED:
            out += bytes.fromhex(value)
        elif kind in (TEXT, PLACES, HEADERS):
            raw = value.encode() if kind == TEXT else put_places(value) if kind == PLACES else put_headers(value)
            out += varint(len(raw)) + raw
    return out


def encode(frame, side="client", with_length=True):
    types = CLIENT_TYPES if side == "client" else SERVER_TYPES
    number = next(number for number, name in types.items() if name == frame["type"])
    payload = bytes.fromhex(frame["payload_hex"]) if "payload_hex" in frame else frame.get("payload", "")
    payload = payload.encode() if isinstance(payload, str) else payload
    start, skip = b"", ()
    if frame["type"] == "connect":
        start = b"LW" + bytes(frame.get("versions", (1, 1)))
    if frame["type"] == "message":
        skip = ("alias", "seq", "id", "time")
        start = b"".join(varint(frame[name]) for name in skip)
    fields = put_fields(frame, skip, VITAL if side == "client" else 0)
    has_flag = bool(fields) if frame["type"] == "message" else bool(payload)
    flags = (PAYLOAD if has_flag else 0) | (BEFORE if frame.get("before") else 0)
    inside = bytes([number | flags]) + start + (varint(len(fields)) if has_flag else b"") + fields + payload
    return varint(len(inside)) + inside if with_length else inside


# --- aliases -------------------------------------------------------------------------------------------------------

class Aliases:
    """What each alias stands for on one link."""

    def __init__(self):
        self.at = {}

    def take(self, frame):
        """Keeps an alias; a message by alias becomes what `full` says."""
        if frame["type"] == "alias":
            self.at[frame["alias"]] = frame
        elif frame["type"] == "message":
            base = self.at[frame.pop("alias")]
            sign = -1 if frame.pop("before", False) else 1
            frame = {**{name: base[name] for name in ("media", "from") if name in base}, **frame, "type": "full",
                     "channel": base["channel"], "epoch": base["epoch"],
                     **{name: base[name] + sign * frame[name] for name in ("seq", "id", "time")}}
        elif "alias" in frame:
            frame = {**frame, "channel": self.at[frame["alias"]]["channel"]}
            del frame["alias"]
        return frame


# --- a client ------------------------------------------------------------------------------------------------------

class NativeClient:
    """A link of its own. `frames` are all that came, aliases left out and messages made whole; `raw` the bytes."""

    def __init__(self, port, connect=True, tls=None, link=None, **members):
        """`link`: a socket that is connected already."""
        self.socket = link or socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.aliases = Aliases()
        self.left, self.raw, self.waiting = b"", b"", []
        self.is_ended = False
        if connect:
            self.send({"type": "connect", **members})
            self.connected = self.expect("connected")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, *frames):
        self.send_bytes(b"".join(encode(frame) for frame in frames))

    def send_bytes(self, data):
        self.socket.sendall(data)

    def read_some(self, timeout=SECONDS):
        """False: the server has ended its side."""
        self.socket.settimeout(timeout)
        try:
            got = self.socket.recv(1 << 16)
        except ConnectionResetError:
            got = b""
        if not got:
            self.is_ended = True
            return False
        self.raw += got
        frames, self.left = split(self.left + got)
        for inside in frames:
            frame = self.aliases.take(decode(inside, SERVER_TYPES))
            if frame["type"] != "alias":
                self.waiting.append(frame)
        return True

    def next(self, timeout=SECONDS):
        """The next frame; None at the end of the stream."""
        deadline = time.monotonic() + timeout
        while not self.waiting:
            if self.is_ended or not self.read_some(max(0.01, deadline - time.monotonic())):
                return None
        return self.waiting.pop(0)

    def expect(self, *types):
        """The next frame, which is of one of these types. Pings are answered and passed over."""
        while True:
            frame = self.next()
            if frame is not None and frame["type"] == "ping" and "ping" not in types:
                self.send({"type": "pong"})
                continue
            if frame is None or frame["type"] not in types:
                raise AssertionError(f"expected {types}, got {frame}")
            return frame

    def messages(self, count):
        return [self.expect("full") for _ in range(count)]

    def until_end(self, timeout=SECONDS):
        """All frames up to the end of the stream."""
        frames = []
        while (frame := self.next(timeout)) is not None:
            frames.append(frame)
        return frames


class BinSocket:
    """The subprotocol longwire.bin.v1 of a WebSocket: a frame without its length is a message."""

    def __init__(self, server, query=""):
        self.loop = asyncio.new_event_loop()
        self.link = self.run(lambda: websockets.connect(f"ws://127.0.0.1:{server.port}/v1/ws?{query}",
                                                        subprotocols=["longwire.bin.v1"], open_timeout=SECONDS))
        assert self.link.subprotocol == "longwire.bin.v1"
        self.aliases = Aliases()

    def run(self, what):
        async def bounded():
            return await asyncio.wait_for(what(), SECONDS)
        return self.loop.run_until_complete(bounded())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.run(self.link.close)
        self.loop.close()

    def send(self, frame):
        self.send_message(encode(frame, with_length=False))

    def send_message(self, message):
        self.run(lambda: self.link.send(message))

    def next(self):
        while True:
            inside = self.run(self.link.recv)
            assert isinstance(inside, bytes)
            frame = self.aliases.take(decode(inside, SERVER_TYPES))
            if frame["type"] != "alias":
                return frame
