"""Clients that abuse HTTP/2: what costs them little and a server much. Each is told GOAWAY and cut at the bound that docs/limits.md
says, the server's memory stays where it was, and others are served meanwhile (threats 62, 63, 64, 65, 66, 68, 69)."""
import contextlib
import re
import socket
import struct
import threading

import pytest

from h2_wire import (
    CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS, PING, PREFACE, PRIORITY, RST_STREAM, SETTINGS, H2Wire, block, code_name, frame, integer,
    literal, priority_of, rst_stream, settings, string, window_update)
from longwire_client import Api
from longwire_server import Server, is_built
from waiting import SECONDS
from wire import Wire, fresh, request_bytes

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

MANY = 20000
STREAMS_MAX = 2000                  # that a flood may begin before it is told to leave
MORE_BYTES_MAX = 48 * 1024 * 1024   # of memory, sanitizers' own included
KEEPS_NOTHING = "quarantine_size_mb=0:thread_local_quarantine_size_kb=0:detect_leaks=0:verify_asan_link_order=0"


@pytest.fixture(scope="module")
def server():
    with Server(flags=["--store", "memory"], env={"ASAN_OPTIONS": KEEPS_NOTHING}) as running:
        yield running


def rss_bytes(server):
    with open(f"/proc/{server.pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) * 1024


@contextlib.contextmanager
def others_go_on(server):
    """An honest client publishes all the while over HTTP/1.1, and another one over HTTP/2; memory stays bounded."""
    before, is_over, told = rss_bytes(server), threading.Event(), []

    def publish():
        with contextlib.closing(Api(server.url)) as api, H2Wire(server.port).start() as wire:
            stream = 1
            while not is_over.is_set() or stream < 20:
                told.append(api.publish("topic:honest", b"x").status)
                wire.request(stream)
                told.append(201 if wire.answer(stream)[0] == 200 else 0)
                stream += 2

    honest = threading.Thread(target=publish)
    honest.start()
    try:
        yield
    finally:
        is_over.set()
        honest.join(SECONDS)
    assert len(told) >= 20 and set(told) == {201}
    assert rss_bytes(server) < before + MORE_BYTES_MAX


def end_of(wire, *codes):
    """The GOAWAY by which the server ends it; returns the number of streams that it has begun."""
    frames = []
    while (came := wire.next()) is not None:
        frames.append(came)
    goaway = next((came for came in frames if came.kind == GOAWAY), None)
    assert goaway is not None, [str(came) for came in frames[-5:]]
    assert goaway.code in codes, code_name(goaway.code)
    return (struct.unpack_from(">I", goaway.payload)[0] + 1) // 2


def flood(wire, pieces):
    """Sends as fast as the server takes it, and does not read. Returns how many pieces could be sent, whole batches of them."""
    sent, batch = 0, []
    with contextlib.suppress(OSError):
        for piece in pieces:
            batch.append(piece)
            if len(batch) == 100:
                wire.sock.sendall(b"".join(batch))
                sent, batch = sent + 100, []
        wire.sock.sendall(b"".join(batch))
    return sent


GET = block([(":method", "GET"), (":scheme", "http"), (":path", "/healthz"), (":authority", "localhost")])
POST = block([(":method", "POST"), (":scheme", "http"), (":path", "/v1/channels/topic:flood/messages"), (":authority", "localhost")])


def get(stream, more=b""):
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, GET + more)


def post(stream, *fields):
    return frame(HEADERS, END_HEADERS, stream, POST + block(fields))


# --- streams that end before their time ------------------------------------------------------------------------------

RESETS = {
    # threat 62
    "rapid reset": lambda n: get(n) + rst_stream(n),
    "rapid reset of bodies": lambda n: post(n) + frame(DATA, 0, n, b"x") + rst_stream(n),
    # threat 63: the server is made to reset
    "window update of 0": lambda n: post(n) + window_update(n, 0),
    "window above its maximum": lambda n: post(n) + window_update(n, 2**31 - 1),
    "data on a half-closed stream": lambda n: get(n) + frame(DATA, END_STREAM, n, b"x"),
    "headers on a half-closed stream": lambda n: get(n) + get(n),
    "priority on itself": lambda n: post(n) + frame(PRIORITY, 0, n, priority_of(n)),
    "priority of 4 bytes": lambda n: post(n) + frame(PRIORITY, 0, n, bytes(4)),
    "a name in capitals": lambda n: get(n, more=literal("X-Test", "y")),
    "connection": lambda n: get(n, more=literal("connection", "close")),
    "content-length above the body": lambda n: post(n, ("content-length", "5")) + frame(DATA, END_STREAM, n, b"x"),
    "trailers without an end": lambda n: post(n) + frame(HEADERS, END_HEADERS, n, block([("x", "y")])),
}


@pytest.mark.parametrize("what", RESETS)
def test_streams_that_end_before_their_time(server, what):
    with others_go_on(server), H2Wire(server.port).start() as wire:
        flood(wire, (RESETS[what](2 * number + 1) for number in range(MANY)))
        assert end_of(wire, *range(1, 12)) < STREAMS_MAX


# --- header blocks (threat 64) ---------------------------------------------------------------------------------------

def begun(fragment=b""):
    return frame(HEADERS, END_STREAM, 1, GET + fragment)


def continued(piece, count=MANY):
    return [frame(CONTINUATION, 0, 1, piece)] * count


def bomb():
    """A field of 4,000 bytes, and then its index a thousand times in each frame."""
    yield begun(b"\x40" + string("x") + string("y" * 4000))
    yield from continued(b"\xbe" * 16000, 100)


BLOCKS = {
    "empty CONTINUATION": lambda: [begun(), *continued(b"")],
    "small fields": lambda: [begun(), *continued(literal("x", "y"))],
    "large fields": lambda: [begun(), *continued(literal("x", "y" * 16000), 2000)],
    "a bomb": bomb,
    "Huffman without an end": lambda: [
        begun(b"\0" + string("x") + integer(1 << 24, 7, 0x80) + b"\x1c" * 8000), *continued(b"\x1c" * 16000, 1000)],
    "an integer without an end": lambda: [begun(b"\0\x7f"), *continued(b"\xff" * 16000, 1000)],
    "table size updates": lambda: [frame(HEADERS, END_STREAM, 1, b"\x20\x3f\xe1\x1f" * 4000), *continued(b"\x20" * 16000, 100)],
}


@pytest.mark.parametrize("what", BLOCKS)
def test_header_blocks_without_an_end(server, what):
    with others_go_on(server), H2Wire(server.port).start() as wire:
        flood(wire, BLOCKS[what]())
        end_of(wire, *range(1, 12))


def test_a_bomb_within_one_frame(server):
    """64 MB out of 16 KB: refused, and what the connection says next is served or it is closed."""
    with others_go_on(server), H2Wire(server.port).start() as wire:
        wire.headers(1, more=b"\x40" + string("x") + string("y" * 4000) + b"\xbe" * 11000)
        came = wire.wait(lambda came: came.kind in (HEADERS, GOAWAY, RST_STREAM), "a refusal")
        assert came.kind != HEADERS or dict(wire.fields)[":status"] == "431", wire.fields


# --- frames that bring nothing, while nothing is read (threat 65) -----------------------------------------------------

IDLE = {
    "SETTINGS": frame(SETTINGS, 0, 0, settings([(INITIAL_WINDOW_SIZE, 65535)])),
    "empty SETTINGS": frame(SETTINGS, 0, 0),
    "PING": frame(PING, 0, 0, bytes(8)),
    "PRIORITY": frame(PRIORITY, 0, 3, priority_of(0)),
    "empty DATA": frame(DATA, 0, 1),
    "padding": frame(DATA, 0x8, 1, b"\0"),
    "WINDOW_UPDATE": window_update(0, 1),
    "unknown frames": frame(0x16, 0, 0, bytes(8)),
    "PRIORITY_UPDATE": frame(0x10, 0, 0, struct.pack(">I", 1) + b"u=1"),
}


@pytest.mark.parametrize("what", IDLE)
def test_frames_that_bring_nothing(server, what):
    with others_go_on(server), H2Wire(server.port, receive_bytes=4096).start() as wire:
        wire.send(post(1))
        flood(wire, (IDLE[what] for _ in range(100000)))
        end_of(wire, ENHANCE_YOUR_CALM)


# --- answers that nobody takes (threats 66, 68) -----------------------------------------------------------------------

def filled(server, count=8, size=100000):
    channel = fresh()
    with contextlib.closing(Api(server.url)) as api:
        for _ in range(count):
            assert api.publish(channel, b"y" * size).status == 201
    return channel


def drip(wire):
    """Opens windows byte by byte until the server ends the stream that it sends."""
    while (came := wire.next()) is not None and came.kind != RST_STREAM:
        if came.kind in (HEADERS, DATA):
            wire.window(came.stream, 1)


def test_windows_of_nothing():
    """A thousand streams over ten links ask for a page of 800 KB each. Half of the links have no window, the others get one byte
    more at a time. The server makes one page for each link, and resets its stream when the time for it is up."""
    with Server(flags=["--store", "memory", "--request-timeout-s", "2"], env={"ASAN_OPTIONS": KEEPS_NOTHING}) as server, \
            contextlib.ExitStack() as links:
        path = f"/v1/channels/{filled(server)}/messages?after=0"
        with others_go_on(server):
            wires = [links.enter_context(H2Wire(server.port, path)).start((INITIAL_WINDOW_SIZE, 0)) for _ in range(10)]
            for wire in wires:
                assert wire.peer_settings[MAX_CONCURRENT_STREAMS] == 100
                for number in range(100):
                    wire.request(2 * number + 1)
            for number, wire in enumerate(wires):
                drip(wire) if number % 2 else wire.wait_frame(RST_STREAM)


def test_one_of_a_hundred_streams_is_not_read(server):
    """99 of 100 SSE streams of one link get all, the one without a window its first bytes; and the rest once it is read."""
    channel, size, count, unread = fresh(), 20000, 5, 1
    with H2Wire(server.port).start() as wire, contextlib.closing(Api(server.url)) as api:
        wire.window(0, 2**30)
        for number in range(100):
            wire.request(2 * number + 1, path=f"/v1/subscribe?channel={channel}&after=0", more=[("accept", "text/event-stream")])
        for _ in range(count):
            assert api.publish(channel, b"z" * size).status == 201
        got = {2 * number + 1: 0 for number in range(100)}

        def take(wants):
            while not wants():
                came = wire.next()
                assert came is not None, wire.transcript()
                if came.kind == DATA:
                    got[came.stream] += len(came.payload)
                    if came.stream != unread and came.payload:
                        wire.window(came.stream, len(came.payload))

        take(lambda: all(got[stream] >= size * count for stream in got if stream != unread))
        assert got[unread] <= 65535
        wire.window(unread, 2**30)
        take(lambda: got[unread] >= size * count)


# --- what is no HTTP/2 (threat 69) ------------------------------------------------------------------------------------

def test_an_upgrade_to_h2c_is_not_taken(server):
    """RFC 9113 has no Upgrade any more: the request is answered over HTTP/1.1, its body included."""
    with Wire(server) as wire:
        wire.send(request_bytes("POST", "/v1/channels/topic:upgraded/messages", b"body", upgrade="h2c", http2_settings="AAMAAABk",
                                connection="Upgrade, HTTP2-Settings"))
        assert wire.answer("POST").want(201).json()["seq"] == 1
        assert wire.ask("GET", "/healthz").status == 200


@pytest.mark.parametrize("preface", [b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"PRI * HTTP/2.0\r\nHost: a\r\n\r\nSM\r\n\r\n", b"PRI /x HTTP/2.0\r\n\r\n",
                                     b"PRI * HTTP/1.1\r\nHost: localhost\r\n\r\n", PREFACE.replace(b"SM", b"sm"),
                                     PREFACE + b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", PREFACE + PREFACE])
def test_wrong_prefaces(server, preface):
    """They are answered in the version that they resemble most, and closed."""
    with others_go_on(server), socket.create_connection(("127.0.0.1", server.port), SECONDS) as sock:
        sock.sendall(preface)
        said = b""
        with contextlib.suppress(ConnectionError):
            while data := sock.recv(65536):
                said += data
        if not preface.startswith(PREFACE):
            assert re.match(rb"HTTP/1.1 (400|404|405|501|505) |$", said), said


def test_a_preface_byte_by_byte(server):
    with H2Wire(server.port) as wire:
        for byte in PREFACE + frame(SETTINGS, 0, 0) + get(1):
            wire.send(bytes((byte,)))
        assert wire.answer(1)[0] == 200
