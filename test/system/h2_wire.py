"""An HTTP/2 client for tests, frame by frame: what a test gives it is sent as it is, right or wrong.

    with H2Wire(port).start() as wire:
        wire.request(1)
        wire.wait_frame(HEADERS, stream=1)
        wire.fields                        # of the last header block that came, decoded by python3-hpack

Header blocks are written without a dynamic table and without Huffman's code, so that their bytes are known. Nothing is
answered by itself but the server's SETTINGS; windows are what HTTP/2 begins with unless settings say otherwise.
"""
import collections
import contextlib
import socket
import struct
import time

import hpack

from waiting import SECONDS

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
KINDS = ("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE",
         "CONTINUATION")
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR,
 REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM) = range(12)
CODES = ("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
         "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM")
(HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE) = \
    range(1, 7)
ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES = 8, 9
HEAD_BYTES = 9
RECV_BYTES = 65536


class Frame(collections.namedtuple("Frame", "kind flags stream payload")):
    @property
    def code(self):
        """The error code of RST_STREAM or GOAWAY."""
        return struct.unpack_from(">I", self.payload, 0 if self.kind == RST_STREAM else 4)[0]

    @property
    def is_end(self):
        return self.kind in (DATA, HEADERS) and self.flags & END_STREAM != 0

    def __str__(self):
        name = KINDS[self.kind] if self.kind < len(KINDS) else f"type {self.kind}"
        more = f" {code_name(self.code)}" if self.kind in (RST_STREAM, GOAWAY) else ""
        return f"{name} stream={self.stream} flags={self.flags:#x} length={len(self.payload)}{more}"


def code_name(code):
    return CODES[code] if code < len(CODES) else str(code)


def frame(kind, flags, stream, payload=b"", length=None):
    """The bytes of a frame; `length` lies about its payload."""
    return struct.pack(">I", len(payload) if length is None else length)[1:] + bytes((kind, flags)) + \
        struct.pack(">I", stream) + payload


def string(text):
    """An HPACK string literal, not compressed."""
    text = text.encode() if isinstance(text, str) else text
    return integer(len(text), 7) + text


def integer(value, bits, first=0):
    """An HPACK integer (RFC 7541 5.1) whose first byte has `first` above its `bits` low bits."""
    top = (1 << bits) - 1
    if value < top:
        return bytes((first | value,))
    out, value = bytearray((first | top,)), value - top
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def literal(name, value):
    """A field without indexing, with its name spelled out."""
    return b"\0" + string(name) + string(value)


def block(fields):
    return b"".join(literal(name, value) for name, value in fields)


def settings(pairs):
    return b"".join(struct.pack(">HI", name, value) for name, value in pairs)


def window_update(stream, increment):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def rst_stream(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


class H2Wire:
    """One connection. `path`: what request() asks for; `tls`: a context of a client, for a server on `https`."""

    def __init__(self, port, path="/healthz", tls=None, receive_bytes=None, host="127.0.0.1", name="localhost"):
        self.path, self.authority = path, f"{name}:{port}"
        self.scheme = "https" if tls else "http"
        self.sock = socket.socket()
        self.sock.settimeout(SECONDS)
        if receive_bytes is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.sock.connect((host, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            tls.set_alpn_protocols(["h2"])
            self.sock = tls.wrap_socket(self.sock, server_hostname=name)
            assert self.sock.selected_alpn_protocol() == "h2", self.sock.selected_alpn_protocol()
        self.seen, self.is_closed, self.record = b"", False, []
        self.decoder, self.fields, self.peer_settings, self.pending = hpack.Decoder(), [], {}, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    # --- what is sent ------------------------------------------------------------------------------------------

    def send(self, data):
        """A server that has closed reads no more; what it said before still counts."""
        with contextlib.suppress(OSError):
            self.sock.sendall(data)

    def start(self, *pairs):
        """The prefaces of both, and their acknowledgements."""
        self.send(PREFACE + frame(SETTINGS, 0, 0, settings(pairs)))
        first = self.next()
        assert first is not None and first.kind == SETTINGS and not first.flags & ACK, first and str(first)
        self.wait_frame(SETTINGS, flags=ACK)
        return self

    def set(self, *pairs):
        self.send(frame(SETTINGS, 0, 0, settings(pairs)))

    def common(self, method="GET", path=None, **changed):
        """The pseudo-fields of a request, in their order; a changed one that is None is left out."""
        fields = {"method": method, "scheme": self.scheme, "path": path or self.path, "authority": self.authority, **changed}
        return [(":" + name, value) for name, value in fields.items() if value is not None]

    def headers(self, stream, fields=None, end=True, last=True, more=b"", pad=None, priority=None, fragment=None):
        """A HEADERS frame. `more`: bytes behind the encoded fields; `fragment`: the whole payload of fields instead."""
        payload = block(self.common() if fields is None else fields) + more if fragment is None else fragment
        flags = end * END_STREAM | last * END_HEADERS
        if priority is not None:
            payload, flags = priority_of(*priority) + payload, flags | HAS_PRIORITY
        if pad is not None:
            payload, flags = bytes((pad,)) + payload + bytes(pad), flags | PADDED
        self.send(frame(HEADERS, flags, stream, payload))

    def request(self, stream, method="GET", more=(), end=True, path=None):
        self.headers(stream, self.common(method, path) + list(more), end)

    def continuation(self, stream, fields=(("x-more", "yes"),), last=True, fragment=None):
        self.send(frame(CONTINUATION, last * END_HEADERS, stream, block(fields) if fragment is None else fragment))

    def data(self, stream, payload=b"test", end=True, pad=None):
        flags = end * END_STREAM
        if pad is not None:
            payload, flags = bytes((pad,)) + payload + bytes(pad), flags | PADDED
        self.send(frame(DATA, flags, stream, payload))

    def priority(self, stream, depends_on=0, weight=255, is_exclusive=False):
        self.send(frame(PRIORITY, 0, stream, priority_of(depends_on, weight, is_exclusive)))

    def reset(self, stream, code=CANCEL):
        self.send(rst_stream(stream, code))

    def ping(self, payload=b"longwire", flags=0):
        self.send(frame(PING, flags, 0, payload))

    def window(self, stream, increment):
        self.send(window_update(stream, increment))

    def goaway(self, last=0, code=NO_ERROR, text=b""):
        self.send(frame(GOAWAY, 0, 0, struct.pack(">II", last, code) + text))

    # --- what comes --------------------------------------------------------------------------------------------

    def fill(self, size):
        """False: the server has closed before that many bytes came."""
        while len(self.seen) < size:
            try:
                data = self.sock.recv(RECV_BYTES)
            except ConnectionError:
                data = b""
            if not data:
                self.is_closed = True
                return False
            self.seen += data
        return True

    def next(self):
        """The next frame; None once the server has closed."""
        if not self.fill(HEAD_BYTES):
            return None
        length, kind, flags, stream = struct.unpack(">I", b"\0" + self.seen[:3])[0], self.seen[3], self.seen[4], \
            struct.unpack(">I", self.seen[5:9])[0]
        if not self.fill(HEAD_BYTES + length):
            return None
        came = Frame(kind, flags, stream, self.seen[HEAD_BYTES:HEAD_BYTES + length])
        self.seen = self.seen[HEAD_BYTES + length:]
        self.record.append(came)
        self.note(came)
        return came

    def note(self, came):
        if came.kind == SETTINGS and not came.flags & ACK:
            for at in range(0, len(came.payload), 6):
                name, value = struct.unpack_from(">HI", came.payload, at)
                self.peer_settings[name] = value
            self.send(frame(SETTINGS, ACK, 0))
        elif came.kind in (HEADERS, CONTINUATION):
            self.pending = (self.pending or b"") + came.payload   # the servers that we test pad nothing
            if came.flags & END_HEADERS:
                self.fields, self.pending = self.decoder.decode(self.pending), None

    def wait(self, what, said):
        """Reads until what(frame) holds; fails when the server closes or says nothing more."""
        deadline = time.monotonic() + SECONDS
        while (came := self.next()) is not None:
            if what(came):
                return came
            assert time.monotonic() < deadline, (said, self.transcript())
        raise AssertionError(f"closed before {said}: {self.transcript()}")

    def wait_frame(self, kind, stream=None, flags=0):
        return self.wait(lambda came: came.kind == kind and stream in (None, came.stream) and came.flags & flags == flags,
                         f"{KINDS[kind]} stream={stream} flags={flags:#x}")

    def wait_end(self, stream):
        """The server's half of the stream has ended."""
        return self.wait(lambda came: came.stream == stream and came.is_end, f"the end of stream {stream}")

    def wait_closed(self):
        """All frames until the server closes."""
        while self.next() is not None:
            pass

    def answer(self, stream):
        """The status and the body of a whole answer, with windows as they are."""
        self.wait_frame(HEADERS, stream)
        status, body = int(dict(self.fields)[":status"]), b""
        while not self.record[-1].is_end or self.record[-1].stream != stream:
            came = self.wait(lambda came: came.stream == stream and came.kind in (DATA, HEADERS), f"stream {stream} to end")
            body += came.payload if came.kind == DATA else b""
        return status, body

    def transcript(self):
        return [str(came) for came in self.record[-12:]] + (["closed"] if self.is_closed else [])


def priority_of(depends_on=0, weight=255, is_exclusive=False):
    return struct.pack(">IB", depends_on | is_exclusive << 31, weight)
