"""The diagnostic echo, and with it what Autobahn's test suite asks of a WebSocket server, re-expressed: each section
below bears the number of the cases it stands for (1 framing, 2 pings, 3 reserved bits, 4 opcodes, 5 fragmentation,
6 UTF-8, 7 closing, 9 limits). The suite itself isn't in Debian. threats 70, 72, 73"""
import random

import pytest

from longwire_server import Server
from waiting import wait_until
from wire import (BINARY, CLOSE, CONT, PING, PONG, TEXT, Wire, Ws, fresh, handshake_bytes, metric, path_of, request,
                  request_bytes, ws_frame)

MB = 1024 * 1024
ECHO_MAX = 32 * MB


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server(flags=["--diagnostic-echo"]) as server:
        yield server


class Echo(Wire):
    """Sends and receives frames."""

    def __init__(self, server):
        super().__init__(server)
        self.send(handshake_bytes("/v1/echo"))
        self.head().want(101)

    def hear(self):
        first, length = self.exactly(2)
        assert length < 128, "a server masks nothing"
        if length > 125:
            length = int.from_bytes(self.exactly(2 if length == 126 else 8), "big")
        return first, self.exactly(length)

    def want(self, opcode, payload):
        assert self.hear() == (0x80 | opcode, payload)

    def want_end(self, code):
        """Expects a Close of this code (None: without one), then the end of the connection, soon."""
        first, data = self.hear()
        assert first == 0x80 | CLOSE, (first, data[:100])
        assert (int.from_bytes(data[:2], "big") if data else None) == code, data
        data[2:].decode()
        self.want_closed()

    def bye(self):
        self.send(ws_frame(CLOSE, b"\x03\xe8"))
        self.want_end(1000)


@pytest.fixture(name="echo")
def fixture_echo(server):
    with Echo(server) as echo:
        yield echo


# --- plain HTTP ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW", "PROPFIND"])
def test_any_method_gets_its_body_back(server, method):
    body = bytes(range(256)) * 10
    answer = request(server, method, "/v1/echo?x=1", body, content_type="image/x-any").want(200)
    assert (answer.body, answer.field("Content-Type")) == (body, "image/x-any")
    assert request(server, method, "/v1/echo").want(200).body == b""


def test_head_gets_a_length_and_no_body(server):
    answer = request(server, "HEAD", "/v1/echo", b"12345").want(200)
    assert answer.field("Content-Length") == "5"


def test_large_and_chunked_bodies_come_back(server):
    body = random.Random(1).randbytes(20 * MB)
    assert request(server, "POST", "/v1/echo", body).want(200).body == body
    with Wire(server) as wire:
        wire.send(request_bytes("PUT", "/v1/echo", transfer_encoding="chunked") + b"3\r\na\r\n\r\n2\r\nbc\r\n0\r\n\r\n")
        assert wire.answer().want(200).body == b"a\r\nbc"
    request(server, "POST", "/v1/echo", content_length=ECHO_MAX + 1).want_problem(413)


def test_a_media_type_comes_back_without_breaking_out(server):  # threat 58
    for media in (b"text/plain;\tx=y", b"a/b; x=\"\\\"\"", b"\xc3\xa9/x"):
        answer = request(server, "POST", "/v1/echo", b"x", content_type=media).want(200)
        assert answer.field("Content-Type").encode("latin-1") == media and answer.body == b"x"


def test_off_by_default():
    with Server() as server:
        request(server, "POST", "/v1/echo", b"x").want_problem(404)
        with Wire(server) as wire:
            wire.send(handshake_bytes("/v1/echo"))
            wire.answer().want_problem(404)


def test_through_an_independent_client(server):
    with Ws(server, protocol=None, path="/v1/echo") as ws:
        ws.peer.send_text("héllo 😀".encode())
        ws.peer.send_binary(b"\x00\xff")
        ws.peer.send_ping(b"still there?")
        ws.pump()
        frames = [ws.raw_frame() for _ in range(3)]
        assert [(frame.opcode.name, frame.data) for frame in frames] == [
            ("TEXT", "héllo 😀".encode()), ("BINARY", b"\x00\xff"), ("PONG", b"still there?")]
        ws.peer.send_close(1000, "bye")
        ws.pump()
        assert ws.closing()[0] == 1000


# --- 1: framing ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 125, 126, 127, 128, 65535, 65536])
def test_1_sizes(echo, opcode, size):
    payload = b"*" * size if opcode == TEXT else bytes([0xfe]) * size
    echo.send(ws_frame(opcode, payload))
    echo.want(opcode, payload)
    frame = ws_frame(opcode, payload)
    for start in range(0, len(frame), 997):  # 1.1.8, 1.2.8: in chops
        echo.send(frame[start:start + 997])
    echo.want(opcode, payload)
    echo.bye()


# --- 2: pings --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("payload", [b"", b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125])
def test_2_pings(echo, payload):
    echo.send(ws_frame(PING, payload))
    echo.want(PONG, payload)
    for byte in ws_frame(PING, payload):
        echo.send(bytes([byte]))
    echo.want(PONG, payload)
    echo.send(ws_frame(PONG, b"unasked") + ws_frame(PONG) + ws_frame(PING, payload))
    echo.want(PONG, payload)
    echo.bye()


def test_2_many_pings(echo):
    for i in range(10):
        echo.send(ws_frame(PING, b"payload-%d" % i))
    for i in range(10):
        echo.want(PONG, b"payload-%d" % i)
    echo.bye()


def test_2_a_ping_too_long(echo):
    echo.send(ws_frame(PING, b"\xfe" * 126))
    echo.want_end(1002)


# --- 3, 4: reserved bits and opcodes ---------------------------------------------------------------------------------

@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
def test_3_reserved_bits(echo, rsv, opcode):
    echo.send(ws_frame(TEXT, b"before") + ws_frame(opcode, b"", rsv=rsv) + ws_frame(PING))
    echo.want(TEXT, b"before")
    echo.want_end(1002)


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_4_reserved_opcodes(server, opcode):
    for payload in (b"", b"reserved"):
        with Echo(server) as echo:
            echo.send(ws_frame(TEXT, b"before") + ws_frame(opcode, payload) + ws_frame(PING))
            echo.want(TEXT, b"before")
            echo.want_end(1002)


# --- 5: fragmentation ------------------------------------------------------------------------------------------------

def test_5_control_frames_are_not_fragmented(server):
    for opcode in (PING, PONG):
        with Echo(server) as echo:
            echo.send(ws_frame(opcode, b"fragment1", fin=False) + ws_frame(CONT, b"fragment2"))
            echo.want_end(1002)


@pytest.mark.parametrize("pieces", [["a"], ["ab", "cd"], ["", ""], ["", "x", ""], ["é", "b", "c", "d", "e"]])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_5_fragments(echo, pieces, opcode):
    pieces = [piece.encode() for piece in pieces]
    wire = b""
    for i, piece in enumerate(pieces):
        wire += ws_frame(opcode if i == 0 else CONT, piece, fin=i == len(pieces) - 1)
        wire += ws_frame(PING, b"%d" % i) if i < len(pieces) - 1 else b""
    for chop in (len(wire), 1):
        for start in range(0, len(wire), chop):
            echo.send(wire[start:start + chop])
        for i in range(len(pieces) - 1):
            echo.want(PONG, b"%d" % i)
        echo.want(opcode, b"".join(pieces))
    echo.bye()


@pytest.mark.parametrize("frames", [
    [ws_frame(CONT, b"alone")], [ws_frame(CONT, b"alone", fin=False)],
    [ws_frame(TEXT, b"whole"), ws_frame(CONT, b"behind")],
    [ws_frame(TEXT, b"open", fin=False), ws_frame(TEXT, b"inside")],
    [ws_frame(TEXT, b"open", fin=False), ws_frame(BINARY, b"inside", fin=False)]])
def test_5_sequences_that_are_none(echo, frames):
    echo.send(b"".join(frames))
    if len(frames) == 2 and frames[0] == ws_frame(TEXT, b"whole"):
        echo.want(TEXT, b"whole")
    echo.want_end(1002)


# --- 6: UTF-8 --------------------------------------------------------------------------------------------------------

GOOD = ["", "Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "\x00", "\x7f", "\x80", "\u07ff", "\u0800", "\uffff", "\ufdd0",
        "\ud7ff", "\ue000", "\ufffd", "\U00010000", "\U0010ffff", "\U0001fffe", "\ufeffbom", "日本語", "😀" * 100]
BAD = [b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", b"\xf4\x90\x80\x80", b"\x80", b"\xbf",
       b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xe0\x9f\xbf", b"\xf0\x80\x80\xaf", b"\xf0\x8f\xbf\xbf",
       b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80", b"\xfe", b"\xff", b"\xed\xa0\x80", b"\xed\xaf\xbf",
       b"\xed\xb0\x80", b"\xed\xbf\xbf", b"\xce", b"\xe2\x82", b"\xf0\x9f\x98", b"\xc3\x28", b"a\xe2\x28\xa1"]


@pytest.mark.parametrize("text", GOOD)
def test_6_good_text(echo, text):
    payload = text.encode("utf-8", "surrogatepass")
    echo.send(ws_frame(TEXT, payload))
    echo.want(TEXT, payload)
    for size in (1, 2):  # 6.2: a fragment may end inside a character
        pieces = [payload[i:i + size] for i in range(0, len(payload), size)] or [b""]
        echo.send(b"".join(ws_frame(TEXT if i == 0 else CONT, piece, fin=i == len(pieces) - 1)
                           for i, piece in enumerate(pieces)))
        echo.want(TEXT, payload)
    echo.bye()


@pytest.mark.parametrize("payload", BAD)
def test_6_bad_text(server, payload):
    for wire in (ws_frame(TEXT, payload),
                 ws_frame(TEXT, payload[:1], fin=False) + ws_frame(CONT, payload[1:], fin=False) + ws_frame(CONT)):
        with Echo(server) as echo:
            echo.send(wire)
            echo.want_end(1007)
    with Echo(server) as echo:
        echo.send(ws_frame(BINARY, payload))
        echo.want(BINARY, payload)


def test_6_4_bad_text_is_told_before_the_message_ends(echo):
    """6.4: fail fast; the rest of the message never comes."""
    echo.send(ws_frame(TEXT, "κόσμε".encode(), fin=False) + ws_frame(CONT, b"\xf4\x90", fin=False))
    echo.want_end(1007)


# --- 7: closing ------------------------------------------------------------------------------------------------------

def test_7_nothing_is_echoed_after_a_close(echo):
    echo.send(ws_frame(TEXT, b"before") + ws_frame(CLOSE, b"\x03\xe8") + ws_frame(TEXT, b"behind") + ws_frame(PING) +
              ws_frame(CLOSE, b"\x03\xe8"))
    echo.want(TEXT, b"before")
    echo.want_end(1000)


def test_7_a_close_inside_a_message(echo):
    echo.send(ws_frame(TEXT, b"open", fin=False) + ws_frame(CLOSE, b"\x03\xe8") + ws_frame(CONT, b"never"))
    echo.want_end(1000)


@pytest.mark.parametrize("payload, code", [
    (b"", None), (b"\x03\xe8", 1000), (b"\x03\xe8" + b"*" * 123, 1000), (b"\x03\xe8" + "é".encode() * 61, 1000),
    (b"\x03", 1002), (b"\x03\xe8" + b"*" * 124, 1002), (b"\x03\xe8\xce\xba\xff", 1007)])
def test_7_payloads_of_a_close(echo, payload, code):
    echo.send(ws_frame(CLOSE, payload))
    echo.want_end(code)


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
def test_7_codes_that_are_allowed(echo, code):
    echo.send(ws_frame(CLOSE, code.to_bytes(2, "big") + b"reason"))
    echo.want_end(code)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_7_codes_that_are_not(echo, code):
    echo.send(ws_frame(CLOSE, code.to_bytes(2, "big") + b"reason"))
    echo.want_end(1002)


# --- 9: limits -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [64 * 1024, MB, 4 * MB, 16 * MB])
def test_9_1_and_9_2_large_messages(echo, opcode, size):
    payload = b"*" * size if opcode == TEXT else bytes(range(256)) * (size // 256)
    echo.send(ws_frame(opcode, payload))
    echo.want(opcode, payload)
    echo.bye()


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("fragment", [64, 1024, 65536, MB])
def test_9_3_and_9_4_messages_of_many_fragments(echo, opcode, fragment):
    size = 4 * MB if fragment > 64 else MB
    payload = b"*" * size
    pieces = [payload[i:i + fragment] for i in range(0, size, fragment)]
    echo.send(b"".join(ws_frame(opcode if i == 0 else CONT, piece, fin=i == len(pieces) - 1)
                       for i, piece in enumerate(pieces)))
    echo.want(opcode, payload)
    echo.bye()


def test_9_5_a_message_in_small_writes(echo):
    payload = b"*" * MB
    frame = ws_frame(TEXT, payload)
    for start in range(0, len(frame), 2048):
        echo.send(frame[start:start + 2048])
    echo.want(TEXT, payload)
    echo.bye()


@pytest.mark.parametrize("size", [0, 16, 64, 256, 1024])
def test_9_7_many_messages(echo, size):
    payload = b"*" * size
    for _ in range(10):
        echo.send(ws_frame(TEXT, payload) * 100)
        for _ in range(100):
            echo.want(TEXT, payload)
    echo.bye()


def test_above_the_documented_limit_is_1009(echo):  # threat 72
    echo.send(b"\x82\xff" + (ECHO_MAX + 1).to_bytes(8, "big"))
    echo.want_end(1009)


def test_exactly_the_documented_limit(server):
    payload = bytes(ECHO_MAX)
    with Echo(server) as echo:
        echo.send(ws_frame(BINARY, payload))
        echo.want(BINARY, payload)
        echo.bye()


def test_a_length_costs_nothing_before_its_bytes_come(server):  # threat 73
    links = [Echo(server) for _ in range(20)]
    before = memory_of(server)
    for link in links:
        link.send(b"\x82\xff" + ECHO_MAX.to_bytes(8, "big") + b"\0\0\0\0" + b"x" * 10)
    with Echo(server) as echo:
        echo.send(ws_frame(PING, b"1"))
        echo.want(PONG, b"1")
    assert memory_of(server) - before < 20 * MB
    for link in links:
        link.close()


def memory_of(server):
    with open(f"/proc/{server.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


def test_frames_of_every_cut(server):
    """The same dialogue, cut in two at every byte."""
    wire = (ws_frame(TEXT, b"a", fin=False) + ws_frame(PING, b"p" * 20) + ws_frame(CONT, "é".encode()) +
            ws_frame(BINARY, b"b" * 130) + ws_frame(CLOSE, b"\x03\xe8x"))
    for cut in range(len(wire) + 1):
        with Echo(server) as echo:
            echo.send(wire[:cut])
            echo.send(wire[cut:])
            echo.want(PONG, b"p" * 20)
            echo.want(TEXT, b"a\xc3\xa9")
            echo.want(BINARY, b"b" * 130)
            echo.want_end(1000)


def test_a_stop_says_so():  # threat 24
    """RFC 6455 7.4.1: close 1001, after what was to be echoed."""
    with Server(flags=["--diagnostic-echo"]) as server, Echo(server) as echo:
        echo.send(ws_frame(TEXT, b"last words"))
        echo.want(TEXT, b"last words")
        process = server.terminate()
        echo.want_end(1001)
        echo.close()
        server.wait_stopped(process)


def test_echoes_leave_nothing_behind(server):
    rng = random.Random(12)
    for _ in range(50):
        echo = Echo(server)
        echo.send(ws_frame(BINARY, bytes(100000))[:rng.randrange(100000)])
        echo.reset() if rng.random() < 0.5 else echo.close()
    wait_until(lambda: metric(server, "longwire_http_connections") == 1)
    channel = fresh()
    request(server, "POST", path_of(channel) + "/messages", b"x").want(201)
