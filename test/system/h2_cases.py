"""What RFC 9113 and RFC 7541 demand of a server, as a table: what is sent, and what has to come. Its first part has the cases
of h2spec (github.com/summerwind/h2spec, with -S), section by section; its second part what h2spec does not look at.

An error has to be told with its code before the connection is closed; h2spec accepts a bare close.

    python3 test/system/h2_cases.py PORT [PATH]     # against any server with prior knowledge; PATH answers with a body
"""
import collections
import struct
import sys

from h2_wire import (
    ACK, CANCEL, COMPRESSION_ERROR, DATA, ENABLE_CONNECT_PROTOCOL, ENABLE_PUSH, END_HEADERS, END_STREAM,
    FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, GOAWAY, HEADER_TABLE_SIZE, HEADERS, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE, NO_RFC7540_PRIORITIES, PADDED, PING, PREFACE, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE, REFUSED_STREAM,
    RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE, H2Wire, block, code_name, frame, integer, settings, string)

Case = collections.namedtuple("Case", "section name send want")
TOP = 2**31 - 1
USER_AGENT_HUFFMAN, H2SPEC_HUFFMAN = b"\x87\xb5\x05\xb1\x61\xcc\x5a\x93", b"\x84\x9c\x48\xac\xa4"
X_TEST_HUFFMAN = b"\x85\xf2\xb2\x4a\x84\xff"


# --- what has to come ------------------------------------------------------------------------------------------------

def names(codes):
    return " or ".join(map(code_name, codes))


def connection_error(*codes):
    """GOAWAY with one of these codes, and then the end of the connection."""
    def want(wire):
        came = wire.wait_frame(GOAWAY)
        assert came.code in codes, f"GOAWAY {code_name(came.code)} instead of {names(codes)}"
        wire.wait_closed()
    return want


def stream_error(*codes):
    """RST_STREAM with one of these codes, or GOAWAY."""
    def want(wire):
        came = wire.wait(lambda came: came.kind in (RST_STREAM, GOAWAY), names(codes))
        assert came.code in codes, f"{came} instead of {names(codes)}"
    return want


def reset_alone(*codes):
    """RST_STREAM, and nothing else suffers."""
    def want(wire):
        came = wire.wait(lambda came: came.kind in (RST_STREAM, GOAWAY), names(codes))
        assert came.kind == RST_STREAM and came.code in codes, f"{came} instead of RST_STREAM {names(codes)}"
        wire.ping(b"go on...")
        pong(b"go on...")(wire)
    return want


def malformed(wire):
    """The request is malformed (RFC 9113 8.1.1): its stream is reset, or it is answered 400; the connection goes on."""
    came = wire.wait(lambda came: came.kind in (RST_STREAM, GOAWAY, HEADERS), "RST_STREAM or HEADERS")
    assert came.kind == HEADERS and (b":status", b"400") in [(name.encode(), value.encode()) for name, value in wire.fields] \
        or came.kind == RST_STREAM and came.code == PROTOCOL_ERROR, f"{came} {wire.fields}"
    wire.ping(b"go on...")
    pong(b"go on...")(wire)


def closes(wire):
    wire.wait_closed()


def answers(wire):
    wire.wait_frame(HEADERS, stream=1)


def status(*codes):
    def want(wire):
        wire.wait_frame(HEADERS, stream=1)
        assert int(dict(wire.fields)[":status"]) in codes, wire.fields
    return want


def pong(payload=b"longwire"):
    def want(wire):
        wire.wait(lambda came: came.kind == PING and came.flags & ACK and came.payload == payload, "the answer to PING")
    return want


def pong_alone(wire):
    """Of two PINGs only the one that is no answer is answered."""
    came = wire.wait_frame(PING)
    assert came.flags & ACK and came.payload == b"longwire", came


def data_bytes(size):
    def want(wire):
        came = wire.wait_frame(DATA, stream=1)
        assert len(came.payload) == size, came
    return want


def settings_first(wire):
    came = wire.next()
    assert came is not None and came.kind == SETTINGS and not came.flags & ACK, came


def acknowledged(wire):
    wire.wait_frame(SETTINGS, flags=ACK)


# --- what is sent, where a line does not hold it ---------------------------------------------------------------------

def crowd(wire):
    """One stream more than the server allows at once; no window lets one end."""
    most = wire.peer_settings[MAX_CONCURRENT_STREAMS]
    wire.set((INITIAL_WINDOW_SIZE, 0))
    for number in range(most + 1):
        wire.request(2 * number + 1)


def ended(wire, stream=1):
    wire.request(stream)
    wire.wait_end(stream)


def shrink(wire):
    """Three bytes come; then the window is -1, and 2 more make it 1."""
    wire.set((INITIAL_WINDOW_SIZE, 3))
    wire.wait_frame(SETTINGS, flags=ACK)
    wire.request(1)
    wire.wait_frame(DATA)
    wire.set((INITIAL_WINDOW_SIZE, 2))
    wire.wait_frame(SETTINGS, flags=ACK)
    wire.window(1, 2)


def grow(wire):
    wire.set((INITIAL_WINDOW_SIZE, 0))
    wire.wait_frame(SETTINGS, flags=ACK)
    wire.request(1)
    wire.set((INITIAL_WINDOW_SIZE, 1))


def windowed(size):
    def send(wire):
        wire.set(*((INITIAL_WINDOW_SIZE, each) for each in size))
        wire.wait_frame(SETTINGS, flags=ACK)
        wire.request(1)
    return send


def table_update(size):
    return integer(size, 5, 0x20)


def with_more(more):
    return lambda c: c.headers(1, more=more)


def with_fields(*fields):
    return lambda c: c.request(1, more=fields)


def post_of(length, *parts):
    """A publish that says its length, in DATA frames of these sizes."""
    def send(c):
        c.request(1, "POST", more=[("content-length", length)], end=not parts)
        for at, size in enumerate(parts):
            c.data(1, b"x" * size, end=at == len(parts) - 1)
    return send


def trailed(trailers, end=True):
    return lambda c: (c.request(1, "POST", end=False), c.data(1, end=False), c.headers(1, trailers, end=end))



def zero_ended_header(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x40"))


BIG = b"x" * 16385
OUR_FIELDS = [("x-dummy", "x" * 4000)] * 5

GENERIC = [
    Case("generic 1", "the preface of the server is a SETTINGS frame", lambda c: c.send(PREFACE + frame(SETTINGS, 0, 0)),
         settings_first),
    Case("generic 2", "PRIORITY on an idle stream", lambda c: (c.priority(1), c.ping()), pong()),
    Case("generic 2", "WINDOW_UPDATE on a half-closed stream",
         lambda c: (c.set((INITIAL_WINDOW_SIZE, 0)), c.request(1), c.window(1, 1)), data_bytes(1)),
    Case("generic 2", "PRIORITY on a half-closed stream",
         lambda c: (c.set((INITIAL_WINDOW_SIZE, 0)), c.request(1), c.priority(1), c.window(1, 1)), data_bytes(1)),
    Case("generic 2", "RST_STREAM on a half-closed stream", lambda c: (c.request(1), c.reset(1), c.ping()), pong()),
    Case("generic 2", "PRIORITY on a closed stream", lambda c: (ended(c), c.priority(1), c.ping()), pong()),
    Case("generic 3.1", "DATA", lambda c: (c.request(1, "POST", end=False), c.data(1)), answers),
    Case("generic 3.1", "several DATA frames",
         lambda c: (c.request(1, "POST", end=False), c.data(1, end=False), c.data(1)), answers),
    Case("generic 3.1", "DATA with padding", lambda c: (c.request(1, "POST", end=False), c.data(1, pad=8)), answers),
    Case("generic 3.2", "HEADERS", lambda c: c.headers(1), answers),
    Case("generic 3.2", "HEADERS with padding", lambda c: c.headers(1, pad=8), answers),
    Case("generic 3.2", "HEADERS with priority", lambda c: c.headers(1, priority=(0, 255)), answers),
    Case("generic 3.3", "PRIORITY of weight 1", lambda c: (c.priority(1, 0, 0), c.headers(1)), answers),
    Case("generic 3.3", "PRIORITY of weight 256", lambda c: (c.priority(1, 0, 255), c.headers(1)), answers),
    Case("generic 3.3", "PRIORITY that depends on another stream", lambda c: (c.priority(3, 1, 0), c.headers(1)), answers),
    Case("generic 3.3", "exclusive PRIORITY", lambda c: (c.priority(1, 0, 0, True), c.headers(1)), answers),
    Case("generic 3.3", "PRIORITY of a higher idle stream", lambda c: (c.priority(3), c.headers(1)), answers),
    Case("generic 3.4", "RST_STREAM", lambda c: (c.request(1, end=False), c.reset(1), c.ping()), pong()),
    Case("generic 3.5", "SETTINGS", lambda c: c.set((ENABLE_PUSH, 0)), acknowledged),
    Case("generic 3.7", "PING", lambda c: c.ping(), pong()),
    Case("generic 3.8", "GOAWAY without an error: the server closes", lambda c: c.goaway(text=b"bye"), closes),
    Case("generic 3.9", "WINDOW_UPDATE of the connection", lambda c: (c.window(0, 1), c.ping()), pong()),
    Case("generic 3.9", "WINDOW_UPDATE of a stream", lambda c: (c.request(1), c.window(1, 1)), answers),
    Case("generic 3.10", "CONTINUATION", lambda c: (
        c.headers(1, last=False, fragment=block(c.common())[:5]), c.continuation(1, fragment=block(c.common())[5:])), answers),
    Case("generic 3.10", "several CONTINUATION frames", lambda c: (
        c.headers(1, last=False, fragment=block(c.common())[:5]),
        c.continuation(1, last=False, fragment=block(c.common())[5:10]),
        c.continuation(1, fragment=block(c.common())[10:])), answers),
    Case("generic 4", "GET", lambda c: c.request(1), answers),
    Case("generic 4", "HEAD", lambda c: c.request(1, "HEAD"), answers),
    Case("generic 4", "POST", lambda c: (c.request(1, "POST", end=False), c.data(1)), answers),
    Case("generic 4", "POST with trailers", lambda c: (
        c.request(1, "POST", end=False, more=[("trailer", "x-test")]), c.data(1, end=False), c.headers(1, [("x-test", "ok")])),
         answers),
    Case("generic 5", "indexed field", with_more(b"\xba"), answers),
    *(Case("generic 5", f"literal {what}, {name}", with_more(bytes((first,)) + rest), answers)
      for what, first in (("with indexing", 0x40), ("without indexing", 0x00), ("never indexed", 0x10))
      for name, rest in (
          ("indexed name", b"" + string("user-agent") + string("h2spec")),
          ("indexed name, Huffman", USER_AGENT_HUFFMAN + H2SPEC_HUFFMAN),
          ("new name", string("x-test") + string("h2spec")),
          ("new name, Huffman", X_TEST_HUFFMAN + H2SPEC_HUFFMAN))),
    Case("generic 5", "table size update", lambda c: c.headers(1, fragment=b"\x20" + block(c.common())), answers),
    Case("generic 5", "several table size updates",
         lambda c: c.headers(1, fragment=b"\x20" + table_update(4096) + block(c.common())), answers),
]

HTTP2 = [
    Case("3.5", "the first frame of the server is SETTINGS", lambda c: c.send(PREFACE + frame(SETTINGS, 0, 0)),
         settings_first),
    Case("3.5", "a wrong preface: the server closes", lambda c: c.send(b"INVALID CONNECTION PREFACE\r\n\r\n"), closes),
    Case("4.1", "unknown type", lambda c: (c.send(frame(0x16, 0, 0, bytes(8))), c.ping()), pong()),
    Case("4.1", "undefined flags", lambda c: c.ping(flags=0x16), pong()),
    Case("4.1", "reserved bit", lambda c: c.send(frame(PING, 0x16, 0x80000000, b"longwire")), pong()),
    Case("4.2", "DATA of 2^14 bytes", lambda c: (c.request(1, "POST", end=False), c.data(1, BIG[1:])), answers),
    Case("4.2", "DATA above the maximum size", lambda c: (c.request(1, "POST", end=False), c.data(1, BIG)),
         stream_error(FRAME_SIZE_ERROR)),
    Case("4.2", "HEADERS above the maximum size", lambda c: c.headers(1, c.common() + OUR_FIELDS),
         connection_error(FRAME_SIZE_ERROR)),
    Case("4.3", "a header block that ends early", zero_ended_header, connection_error(COMPRESSION_ERROR)),
    Case("4.3", "PRIORITY amid a header block", lambda c: (c.headers(1, end=False, last=False), c.priority(1), c.continuation(1)),
         connection_error(PROTOCOL_ERROR)),
    Case("4.3", "HEADERS of another stream amid a header block",
         lambda c: (c.headers(1, end=False, last=False), c.headers(3), c.continuation(1)), connection_error(PROTOCOL_ERROR)),
    Case("5.1", "idle: DATA", lambda c: c.data(1), connection_error(PROTOCOL_ERROR)),
    Case("5.1", "idle: RST_STREAM", lambda c: c.reset(1), connection_error(PROTOCOL_ERROR)),
    Case("5.1", "idle: WINDOW_UPDATE", lambda c: c.window(1, 100), connection_error(PROTOCOL_ERROR)),
    Case("5.1", "idle: CONTINUATION", lambda c: c.continuation(1, c.common()), connection_error(PROTOCOL_ERROR)),
    Case("5.1", "half-closed: DATA", lambda c: (c.request(1), c.data(1)), stream_error(STREAM_CLOSED)),
    Case("5.1", "half-closed: HEADERS", lambda c: (c.request(1), c.request(1)), stream_error(STREAM_CLOSED)),
    Case("5.1", "half-closed: CONTINUATION", lambda c: (c.request(1), c.continuation(1, c.common())),
         stream_error(STREAM_CLOSED, PROTOCOL_ERROR)),
    Case("5.1", "closed: DATA behind RST_STREAM", lambda c: (c.request(1, end=False), c.reset(1), c.data(1)),
         stream_error(STREAM_CLOSED)),
    Case("5.1", "closed: HEADERS behind RST_STREAM", lambda c: (c.request(1, end=False), c.reset(1), c.request(1)),
         stream_error(STREAM_CLOSED)),
    Case("5.1", "closed: CONTINUATION behind RST_STREAM", lambda c: (c.request(1, end=False), c.reset(1), c.continuation(1)),
         stream_error(STREAM_CLOSED, PROTOCOL_ERROR)),
    Case("5.1", "closed: DATA", lambda c: (ended(c), c.data(1)), connection_error(STREAM_CLOSED)),
    Case("5.1", "closed: HEADERS", lambda c: (ended(c), c.request(1)), connection_error(STREAM_CLOSED)),
    Case("5.1", "closed: CONTINUATION", lambda c: (ended(c), c.continuation(1)), connection_error(STREAM_CLOSED, PROTOCOL_ERROR)),
    Case("5.1.1", "even stream id", lambda c: c.request(2), connection_error(PROTOCOL_ERROR)),
    Case("5.1.1", "stream id below an earlier one", lambda c: (c.request(5), c.request(3)), connection_error(PROTOCOL_ERROR)),
    Case("5.1.1", "HEADERS on a half-closed stream", lambda c: (c.request(5), c.request(5)), stream_error(STREAM_CLOSED)),
    Case("5.1.2", "more streams than allowed", crowd, stream_error(PROTOCOL_ERROR, REFUSED_STREAM)),
    Case("5.3.1", "HEADERS that depends on itself", lambda c: c.headers(1, priority=(1, 255)), stream_error(PROTOCOL_ERROR)),
    # The one that differs: RFC 9113 has no such rule any more, and what PRIORITY says is not looked at.
    Case("5.3.1", "PRIORITY that depends on itself", lambda c: (c.priority(1, 1), c.ping()), pong()),
    Case("5.4.1", "the server closes after an error", lambda c: c.send(frame(PING, 0, 3, bytes(8))), closes),
    Case("5.4.1", "the server says GOAWAY first", lambda c: c.send(frame(PING, 0, 3, bytes(8))),
         connection_error(PROTOCOL_ERROR)),
    Case("5.5", "unknown extension frame", lambda c: (c.send(frame(0x16, 0, 0, bytes(8))), c.ping()), pong()),
    Case("5.5", "unknown extension frame amid a header block",
         lambda c: (c.headers(1, last=False), c.send(frame(0x16, 0, 0, bytes(8)))), connection_error(PROTOCOL_ERROR)),
    Case("6.1", "DATA on stream 0", lambda c: c.data(0), connection_error(PROTOCOL_ERROR)),
    Case("6.1", "DATA on a stream that is not open", lambda c: (c.request(1, "POST"), c.data(1)), stream_error(STREAM_CLOSED)),
    Case("6.1", "DATA with more padding than bytes", lambda c: (
        c.request(1, "POST", end=False, more=[("content-length", "4")]), c.send(frame(DATA, END_STREAM | PADDED, 1, b"\6Test"))),
         connection_error(PROTOCOL_ERROR)),
    Case("6.2", "HEADERS without END_HEADERS, then PRIORITY",
         lambda c: (c.headers(1, end=False, last=False), c.priority(1), c.continuation(1)), connection_error(PROTOCOL_ERROR)),
    Case("6.2", "HEADERS without END_HEADERS, then HEADERS of another stream",
         lambda c: (c.headers(1, end=False, last=False), c.headers(3), c.continuation(1)), connection_error(PROTOCOL_ERROR)),
    Case("6.2", "HEADERS on stream 0", lambda c: c.headers(0), connection_error(PROTOCOL_ERROR)),
    Case("6.2", "HEADERS with more padding than bytes", lambda c: c.send(
        frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, bytes((len(block(c.common())) + 2,)) + block(c.common()))),
         stream_error(PROTOCOL_ERROR)),
    Case("6.3", "PRIORITY on stream 0", lambda c: c.priority(0), connection_error(PROTOCOL_ERROR)),
    Case("6.3", "PRIORITY of 4 bytes", lambda c: (c.request(1), c.send(frame(PRIORITY, 0, 1, b"\x80\0\0\1"))),
         stream_error(FRAME_SIZE_ERROR)),
    Case("6.3", "PRIORITY of an idle stream, then a lower one", lambda c: (c.priority(3), c.request(1)), answers),
    Case("6.4", "RST_STREAM on stream 0", lambda c: c.reset(0), connection_error(PROTOCOL_ERROR)),
    Case("6.4", "RST_STREAM on an idle stream", lambda c: c.reset(1), connection_error(PROTOCOL_ERROR)),
    Case("6.4", "RST_STREAM of 3 bytes", lambda c: (c.request(1), c.send(frame(RST_STREAM, 0, 1, bytes(3)))),
         stream_error(FRAME_SIZE_ERROR)),
    Case("6.5", "an acknowledgement with settings", lambda c: c.send(frame(SETTINGS, ACK, 0, b"\0")),
         connection_error(FRAME_SIZE_ERROR)),
    Case("6.5", "SETTINGS on a stream", lambda c: c.send(frame(SETTINGS, 0, 1, settings([(MAX_CONCURRENT_STREAMS, 100)]))),
         connection_error(PROTOCOL_ERROR)),
    Case("6.5", "SETTINGS of 9 bytes", lambda c: c.send(frame(SETTINGS, 0, 0, b"\0\3\0\0\0\x64\0\2\0")),
         connection_error(FRAME_SIZE_ERROR)),
    Case("6.5.2", "ENABLE_PUSH = 2", lambda c: c.set((ENABLE_PUSH, 2)), connection_error(PROTOCOL_ERROR)),
    Case("6.5.2", "INITIAL_WINDOW_SIZE = 2^31", lambda c: c.set((INITIAL_WINDOW_SIZE, TOP + 1)),
         connection_error(FLOW_CONTROL_ERROR)),
    Case("6.5.2", "MAX_FRAME_SIZE = 2^14 - 1", lambda c: c.set((MAX_FRAME_SIZE, 16383)), connection_error(PROTOCOL_ERROR)),
    Case("6.5.2", "MAX_FRAME_SIZE = 2^24", lambda c: c.set((MAX_FRAME_SIZE, 1 << 24)), connection_error(PROTOCOL_ERROR)),
    Case("6.5.2", "unknown setting", lambda c: (c.set((0xff, 1)), c.ping()), pong()),
    Case("6.5.3", "a setting twice: the last one counts", windowed((100, 1)), data_bytes(1)),
    Case("6.5.3", "SETTINGS are acknowledged at once", lambda c: c.set((ENABLE_PUSH, 0)), acknowledged),
    Case("6.7", "PING is answered with its bytes", lambda c: c.ping(b"h2spec\0\0"), pong(b"h2spec\0\0")),
    Case("6.7", "an answer to PING is not answered", lambda c: (c.ping(b"invalid\0", flags=ACK), c.ping()), pong_alone),
    Case("6.7", "PING on a stream", lambda c: c.send(frame(PING, 0, 1, bytes(8))), connection_error(PROTOCOL_ERROR)),
    Case("6.7", "PING of 6 bytes", lambda c: c.send(frame(PING, 0, 0, bytes(6))), connection_error(FRAME_SIZE_ERROR)),
    Case("6.8", "GOAWAY on a stream", lambda c: c.send(frame(GOAWAY, 0, 1, bytes(8))), connection_error(PROTOCOL_ERROR)),
    Case("6.9", "WINDOW_UPDATE by 0", lambda c: c.window(0, 0), connection_error(PROTOCOL_ERROR)),
    Case("6.9", "WINDOW_UPDATE by 0 on a stream", lambda c: (c.request(1, end=False), c.window(1, 0)),
         stream_error(PROTOCOL_ERROR)),
    Case("6.9", "WINDOW_UPDATE of 3 bytes", lambda c: c.send(frame(WINDOW_UPDATE, 0, 0, b"\0\0\1")),
         connection_error(FRAME_SIZE_ERROR)),
    Case("6.9.1", "a window of 1 lets 1 byte out", windowed((1,)), data_bytes(1)),
    Case("6.9.1", "the connection's window above 2^31 - 1", lambda c: (c.window(0, TOP), c.window(0, TOP)),
         connection_error(FLOW_CONTROL_ERROR)),
    Case("6.9.1", "a stream's window above 2^31 - 1",
         lambda c: (c.request(1, "POST", end=False), c.window(1, TOP), c.window(1, TOP)), reset_alone(FLOW_CONTROL_ERROR)),
    Case("6.9.2", "a new initial window holds for open streams", grow, data_bytes(1)),
    Case("6.9.2", "a window can be negative", shrink, data_bytes(1)),
    Case("6.9.2", "INITIAL_WINDOW_SIZE above 2^31 - 1", lambda c: c.set((INITIAL_WINDOW_SIZE, TOP + 1)),
         connection_error(FLOW_CONTROL_ERROR)),
    Case("6.10", "several CONTINUATION frames", lambda c: (c.headers(1, last=False), c.continuation(1, last=False),
                                                           c.continuation(1)), answers),
    Case("6.10", "CONTINUATION, then DATA", lambda c: (
        c.headers(1, c.common("POST"), end=False, last=False), c.continuation(1, last=False), c.data(1)),
         connection_error(PROTOCOL_ERROR)),
    Case("6.10", "CONTINUATION on stream 0", lambda c: (c.headers(1, last=False), c.continuation(0)),
         connection_error(PROTOCOL_ERROR)),
    Case("6.10", "CONTINUATION behind a whole header block", lambda c: (c.request(1), c.continuation(1)),
         connection_error(PROTOCOL_ERROR)),
    Case("6.10", "CONTINUATION behind the last CONTINUATION",
         lambda c: (c.headers(1, last=False), c.continuation(1), c.continuation(1)), connection_error(PROTOCOL_ERROR)),
    Case("6.10", "CONTINUATION behind DATA", lambda c: (
        c.headers(1, c.common("POST"), end=False, last=False), c.data(1), c.continuation(1, last=False), c.continuation(0)),
         connection_error(PROTOCOL_ERROR)),
    Case("7", "GOAWAY with an unknown code", lambda c: c.goaway(code=0xff), closes),
    Case("7", "RST_STREAM with an unknown code", lambda c: (c.request(1, "POST", end=False), c.reset(1, 0xff), c.ping()), pong()),
    Case("8.1", "a second HEADERS without END_STREAM", trailed([("x-test", "ok")], end=False), stream_error(PROTOCOL_ERROR)),
    Case("8.1.2", "a name in capitals", with_fields(("X-TEST", "ok")), stream_error(PROTOCOL_ERROR)),
    Case("8.1.2.1", "unknown pseudo-field", with_fields((":test", "ok")), stream_error(PROTOCOL_ERROR)),
    Case("8.1.2.1", "pseudo-field of responses", with_fields((":status", "200")), stream_error(PROTOCOL_ERROR)),
    Case("8.1.2.1", "pseudo-field in trailers", trailed([(":method", "POST")], end=False), stream_error(PROTOCOL_ERROR)),
    Case("8.1.2.1", "pseudo-field behind a field", lambda c: c.headers(1, [("x-test", "ok"), *c.common()]),
         stream_error(PROTOCOL_ERROR)),
    Case("8.1.2.2", "connection", with_fields(("connection", "keep-alive")), stream_error(PROTOCOL_ERROR)),
    Case("8.1.2.2", "te other than trailers", with_fields(("trailers", "test"), ("te", "trailers, deflate")),
         stream_error(PROTOCOL_ERROR)),
    Case("8.1.2.3", "empty :path", lambda c: c.headers(1, c.common()[:2] + [(":path", "")] + c.common()[3:]),
         stream_error(PROTOCOL_ERROR)),
    Case("8.1.2.3", "no :method", lambda c: c.headers(1, c.common(method=None)), stream_error(PROTOCOL_ERROR)),
    Case("8.1.2.3", "no :scheme", lambda c: c.headers(1, c.common(scheme=None)), stream_error(PROTOCOL_ERROR)),
    Case("8.1.2.3", "no :path", lambda c: c.headers(1, c.common()[:2] + c.common()[3:]), stream_error(PROTOCOL_ERROR)),
    Case("8.1.2.3", ":method twice", lambda c: c.headers(1, c.common() + c.common()[:1]), stream_error(PROTOCOL_ERROR)),
    Case("8.1.2.3", ":scheme twice", lambda c: c.headers(1, c.common() + c.common()[1:2]), stream_error(PROTOCOL_ERROR)),
    Case("8.1.2.3", ":path twice", lambda c: c.headers(1, c.common() + c.common()[2:3]), stream_error(PROTOCOL_ERROR)),
    Case("8.1.2.6", "content-length 1, 4 bytes", post_of("1", 4), stream_error(PROTOCOL_ERROR)),
    Case("8.1.2.6", "content-length 1, 8 bytes in two frames", post_of("1", 4, 4), stream_error(PROTOCOL_ERROR)),
    Case("8.2", "PUSH_PROMISE", lambda c: c.send(frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 3) + block(c.common()))),
         connection_error(PROTOCOL_ERROR)),
]

HPACK = [
    Case("hpack 2.3.3", "an index beyond the tables", with_more(b"\xfe"), connection_error(COMPRESSION_ERROR)),
    Case("hpack 2.3.3", "a name's index beyond the tables", with_more(b"\x7f\x7f" + string("ok")),
         connection_error(COMPRESSION_ERROR)),
    Case("hpack 4.2", "table size update at the end", with_more(b"\x21"), connection_error(COMPRESSION_ERROR)),
    Case("hpack 5.2", "Huffman padding of more than 7 bits", with_more(b"\0" + X_TEST_HUFFMAN + b"\x84\x49\x50\x9f\xff"),
         connection_error(COMPRESSION_ERROR)),
    Case("hpack 5.2", "Huffman padding of zeros", with_more(b"\0" + X_TEST_HUFFMAN + b"\x83\x49\x50\x90"),
         connection_error(COMPRESSION_ERROR)),
    Case("hpack 5.2", "Huffman with the end-of-string symbol",
         with_more(b"\0\x85\xf2\xb2\x4a\x87\xff\xff\xff\xfd\x25\x42\x7f"), connection_error(COMPRESSION_ERROR)),
    Case("hpack 6.1", "index 0", with_more(b"\x80"), connection_error(COMPRESSION_ERROR)),
    Case("hpack 6.3", "table size update above the limit", lambda c: c.headers(
        1, fragment=table_update(c.peer_settings.get(HEADER_TABLE_SIZE, 4096) + 1) + block(c.common())),
         connection_error(COMPRESSION_ERROR)),
]

H2SPEC = GENERIC + HTTP2 + HPACK

# What a server of ours has to do beyond that. A malformed request hurts its own stream alone.
OURS = [
    *(Case("8.2.1", f"a value with {name}", with_fields(("x-test", value)), malformed)
      for name, value in (("NUL", b"a\0b"), ("CR", b"a\rb"), ("LF", b"a\nb"), ("CR LF and a field", b"a\r\nx-admin: yes"))),
    *(Case("8.2.1", f"a name with {name}", with_fields((value, "ok")), malformed)
      for name, value in (("a space", b"x test"), ("a colon", b"x:test"), ("CR LF", b"x\r\ntest"), ("NUL", b"x\0test"),
                          ("a byte above 127", b"x-\xe4"))),
    Case("8.2.1", "an empty name", with_fields(("", "ok")), malformed),
    *(Case("8.2.2", f"{name}: {value}", with_fields((name, value)), malformed)
      for name, value in (("transfer-encoding", "chunked"), ("upgrade", "websocket"), ("keep-alive", "timeout=5"),
                          ("proxy-connection", "keep-alive"), ("te", "gzip"))),
    Case("8.2.2", "te: trailers", with_fields(("te", "trailers")), status(200)),
    Case("8.3.1", ":path without a slash", lambda c: c.headers(1, c.common(path="healthz")), malformed),
    Case("8.3.1", ":path = *", lambda c: c.headers(1, c.common(path="*")), malformed),
    Case("8.3.1", ":path with a space", lambda c: c.headers(1, c.common(path="/a b")), malformed),
    Case("8.3.1", ":path with CR LF", lambda c: c.headers(1, c.common(path="/ HTTP/1.1\r\nx: y")), malformed),
    Case("8.3.1", ":path that ends in a newline", lambda c: c.headers(1, c.common(path=c.path + "\n")), malformed),
    Case("8.3.1", ":method with a space", lambda c: c.headers(1, c.common("GET /")), malformed),
    Case("8.3.1", "empty :method", lambda c: c.headers(1, c.common("")), malformed),
    Case("8.3.1", "no :authority and no host", lambda c: c.headers(1, c.common(authority=None)), malformed),
    Case("8.3.1", "host instead of :authority",
         lambda c: c.headers(1, c.common(authority=None) + [("host", c.authority)]), status(200)),
    Case("8.3.1", "host that is not :authority", with_fields(("host", "elsewhere.example")), malformed),
    Case("8.3.1", "two hosts", lambda c: c.headers(1, c.common(authority=None) + [("host", c.authority), ("host", "b")]), malformed),
    Case("8.3.1", ":authority with a user", lambda c: c.headers(1, c.common(authority="root@" + c.authority)), malformed),
    Case("8.3.1", ":authority twice", lambda c: c.headers(1, c.common() + [(":authority", c.authority)]), malformed),
    Case("8.3.1", ":protocol on a GET", lambda c: c.headers(1, c.common() + [(":protocol", "websocket")]), malformed),
    Case("8441 4", "CONNECT for another protocol", lambda c: c.headers(
        1, c.common("CONNECT", "/v1/ws") + [(":protocol", "connect-udp")], end=False), status(501)),
    Case("8441 4", "CONNECT with a length", lambda c: c.headers(
        1, c.common("CONNECT", "/v1/ws") + [(":protocol", "websocket"), ("content-length", "4")], end=False), malformed),
    Case("8441 4", "CONNECT without :path", lambda c: c.headers(
        1, c.common("CONNECT", path=None, scheme=None)[:1] + [(":authority", c.authority), (":protocol", "websocket")], end=False),
         malformed),
    Case("8441 5", "CONNECT where no WebSocket is", lambda c: c.headers(
        1, c.common("CONNECT", "/healthz") + [(":protocol", "websocket"), ("sec-websocket-version", "13")], end=False), status(404)),
    Case("8441 5", "CONNECT with another version", lambda c: c.headers(
        1, c.common("CONNECT", "/v1/ws") + [(":protocol", "websocket"), ("sec-websocket-version", "8")], end=False), status(426)),
    Case("8441 5", "CONNECT opens", lambda c: c.headers(
        1, c.common("CONNECT", "/v1/ws") + [(":protocol", "websocket"), ("sec-websocket-version", "13")], end=False), status(200)),
    Case("8.5", "CONNECT with :path", lambda c: c.headers(1, c.common("CONNECT")), malformed),
    Case("8.1.1", "content-length 5, no body", post_of("5"), malformed),
    Case("8.1.1", "content-length 5, 4 bytes", post_of("5", 4), malformed),
    Case("8.1.1", "content-length +5", post_of("+5", 5), malformed),
    Case("8.1.1", "content-length 5,5", post_of("5,5", 5), malformed),
    Case("8.1.1", "content-length 2^64", post_of(str(2**64), 5), malformed),
    Case("8.1.1", "content-length twice", lambda c: (
        c.request(1, "POST", more=[("content-length", "4"), ("content-length", "4")], end=False), c.data(1)), malformed),
    Case("8.1", "trailers in capitals", trailed([("X-Test", "ok")]), malformed),
    Case("8.1", "DATA behind trailers", lambda c: (trailed([("x-test", "ok")])(c), c.data(1)), stream_error(STREAM_CLOSED)),
    Case("6.5.2", "ENABLE_CONNECT_PROTOCOL = 2", lambda c: c.set((ENABLE_CONNECT_PROTOCOL, 2)), connection_error(PROTOCOL_ERROR)),
    Case("6.5.2", "NO_RFC7540_PRIORITIES = 2", lambda c: c.set((NO_RFC7540_PRIORITIES, 2)), connection_error(PROTOCOL_ERROR)),
    Case("6.9.2", "settings that push a window above 2^31 - 1", lambda c: (
        c.request(1, "POST", end=False), c.window(1, TOP - 65535), c.set((INITIAL_WINDOW_SIZE, 65536))),
         stream_error(FLOW_CONTROL_ERROR)),   # nghttp2 resets the streams alone
    Case("6.1", "DATA whose padding is all of it, and counts for windows",
         lambda c: (c.request(1, "POST", end=False), c.data(1, b"", end=False, pad=255), c.data(1)), status(200, 201)),
    Case("6.2", "padding is the whole frame", lambda c: c.send(frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b"\1")),
         connection_error(PROTOCOL_ERROR)),
    Case("6.2", "HEADERS without room for its priority",
         lambda c: c.send(frame(HEADERS, END_HEADERS | END_STREAM | 0x20, 1, b"\0\0\0")), connection_error(FRAME_SIZE_ERROR,
                                                                                                       PROTOCOL_ERROR)),
    Case("6.8", "GOAWAY of 7 bytes", lambda c: c.send(frame(GOAWAY, 0, 0, bytes(7))), connection_error(FRAME_SIZE_ERROR)),
    Case("6.10", "a frame of 0 bytes, then the block", lambda c: (
        c.headers(1, last=False, fragment=b""), c.continuation(1, last=False, fragment=b""),
        c.continuation(1, fragment=block(c.common()))), status(200)),
    Case("9218", "PRIORITY_UPDATE", lambda c: (c.send(frame(0x10, 0, 0, struct.pack(">I", 1) + b"u=1")), c.request(1)),
         status(200)),
    Case("5.1", "RST_STREAM on a closed stream", lambda c: (ended(c), c.reset(1), c.request(3), c.wait_end(3), c.ping()), pong()),
    Case("5.1", "WINDOW_UPDATE on a closed stream", lambda c: (ended(c), c.window(1, 1), c.ping()), pong()),
    Case("5.1", "a body is cancelled: the next request is served",
         lambda c: (c.request(1, "POST", end=False), c.data(1, end=False), c.reset(1, CANCEL), c.request(3), c.wait_end(3),
                    c.ping()), pong()),
    Case("hpack 5.1", "an integer that never ends", with_more(b"\0\x7f" + b"\xff" * 12), connection_error(COMPRESSION_ERROR)),
    Case("hpack 5.2", "a string longer than the block", with_more(b"\0\x05ab"), connection_error(COMPRESSION_ERROR)),
    Case("hpack 6.3", "table size update of 2^31", lambda c: c.headers(1, fragment=table_update(1 << 31) + block(c.common())),
         connection_error(COMPRESSION_ERROR)),
    Case("3.4", "the preface, and then no SETTINGS", lambda c: c.ping(), None),
]


def run(case, port, path, tls=None):
    """Raises AssertionError if something else comes than has to."""
    with H2Wire(port, path, tls) as wire:
        if case.want is None:
            wire.send(PREFACE + frame(PING, 0, 0, bytes(8)))
            return connection_error(PROTOCOL_ERROR)(wire)
        if case.want is not settings_first and "preface" not in case.name:
            wire.start()
        case.send(wire)
        return case.want(wire)


def main(port, path="/"):
    failed = 0
    for group, cases in (("h2spec", H2SPEC), ("ours", OURS)):
        bad = 0
        for case in cases:
            try:
                run(case, int(port), path)
            except (AssertionError, OSError) as why:
                bad += 1
                print(f"{group} {case.section} {case.name}: {why}")
        print(f"{group}: {len(cases) - bad} of {len(cases)}")
        failed += bad
    return failed


if __name__ == "__main__":
    sys.exit(min(1, main(*sys.argv[1:])))
