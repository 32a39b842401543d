"""permessage-deflate (RFC 7692): what is offered and answered, messages both ways, and what a client may not send. What
Autobahn's sections 12 and 13 ask of a server is here as tables. threat 71"""
import json
import random
import zlib

import pytest
import websockets.extensions.permessage_deflate as deflate
import wsproto
import wsproto.events
import wsproto.extensions

from browser import needs_chromium, open_chromium
from h2_gateway import H2Gateway
from longwire_server import Server
from waiting import wait_until
from wire import (BINARY, CLOSE, CONT, PING, PONG, TEXT, Wire, Ws, fresh, handshake_bytes, metric, publish,
                  wait_for_subscribers, ws_frame)

RSV1 = 0x40
OFFER = "permessage-deflate; client_max_window_bits"
ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
TAIL = b"\x00\x00\xff\xff"
PROSE = " ".join(f"the {n}th bird of {n * 7919 % 1000} sat on a wire and sang" for n in range(3000)).encode()


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server(flags=["--diagnostic-echo", "--websocket-compression", "on", "--loops", "1",
                       "--frame-bytes-max", "2M"]) as server:
        yield server


@pytest.fixture(name="either", scope="module", params=["HTTP/1.1", "HTTP/2"])
def fixture_either(server, request):
    """The same server, and the same over HTTP/2 (RFC 8441), where frames leave as DATA."""
    if request.param == "HTTP/1.1":
        yield server
    else:
        with H2Gateway(server) as through:
            yield through


def squeeze(data, bits=15, flush=zlib.Z_SYNC_FLUSH):
    """RFC 7692 7.2.1, by Python's zlib."""
    machine = zlib.compressobj(9, zlib.DEFLATED, -bits)
    out = machine.compress(data) + machine.flush(flush)
    return out[:-4] if flush == zlib.Z_SYNC_FLUSH else out


def stretch(data, bits=15):
    return zlib.decompressobj(-bits).decompress(data + TAIL)


class Link(Wire):
    """A WebSocket whose frames are all made and read here."""

    def __init__(self, server, path="/v1/echo", offer=OFFER, **fields):
        super().__init__(server)
        self.send(handshake_bytes(path, sec_websocket_extensions=offer, **fields))
        self.extensions = self.head().want(101).field("Sec-WebSocket-Extensions")

    def hear(self):
        first, length = self.exactly(2)
        if length > 125:
            length = int.from_bytes(self.exactly(2 if length == 126 else 8), "big")
        return first, self.exactly(length)

    def message(self, bits=15):
        """The next message, and whether it came compressed."""
        first, data = self.hear()
        assert first in (0x80 | TEXT, 0x80 | BINARY, 0x80 | RSV1 | TEXT, 0x80 | RSV1 | BINARY), (first, data[:100])
        return (stretch(data, bits), True) if first & RSV1 else (data, False)

    def frame(self, kind):
        while (got := json.loads(self.message()[0]))["type"] != kind:
            pass
        return got

    def want_end(self, code):
        while True:
            first, data = self.hear()
            if first == 0x80 | CLOSE:
                break
        assert int.from_bytes(data[:2], "big") == code, data
        self.send(ws_frame(CLOSE, data[:2]))
        self.want_closed()


# --- the handshake (7.1) ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("offer, answer", [
    ("permessage-deflate", ANSWER),
    ("permessage-deflate; client_max_window_bits", ANSWER),
    ("permessage-deflate; client_max_window_bits=10", ANSWER),
    ("permessage-deflate; client_max_window_bits=\"10\"", ANSWER),
    ("permessage-deflate;server_no_context_takeover;client_no_context_takeover", ANSWER),
    ("permessage-deflate; server_max_window_bits=15", ANSWER + "; server_max_window_bits=15"),
    ("permessage-deflate; server_max_window_bits=14", ANSWER + "; server_max_window_bits=12"),
    ("permessage-deflate; server_max_window_bits=12; client_max_window_bits=12", ANSWER + "; server_max_window_bits=12"),
    ("permessage-deflate; server_max_window_bits=11", ANSWER + "; server_max_window_bits=9"),
    ("permessage-deflate; server_max_window_bits=9", ANSWER + "; server_max_window_bits=9"),
    # zlib can't keep to 8, so the offer behind it is taken
    ("permessage-deflate; server_max_window_bits=8", None),
    ("permessage-deflate; server_max_window_bits=8, permessage-deflate", ANSWER),
    ("permessage-deflate; unknown, x-other; a=b, permessage-deflate; server_max_window_bits=10", ANSWER + "; server_max_window_bits=9"),
    # a wrong value, a value where none belongs, a parameter twice: that offer is declined
    ("permessage-deflate; server_max_window_bits", None),
    ("permessage-deflate; server_max_window_bits=16", None),
    ("permessage-deflate; server_max_window_bits=015", None),
    ("permessage-deflate; client_max_window_bits=7", None),
    ("permessage-deflate; server_no_context_takeover=1", None),
    ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
    ("x-webkit-deflate-frame", None),
    ("", None),
])
def test_offers(either, offer, answer):
    for path in ("/v1/ws", "/v1/echo"):
        with Link(either, path, offer) as link:
            assert link.extensions == answer


@pytest.mark.parametrize("offer", ["permessage-deflate; =1", "permessage-deflate permessage-deflate", ";", "a; b=\"c", "a/b"])
def test_what_is_no_offer_at_all(server, offer):
    with Wire(server) as wire:
        wire.send(handshake_bytes(sec_websocket_extensions=offer))
        wire.answer().want_problem(400)


def test_offers_on_several_lines(server):
    with Wire(server) as wire:
        wire.send(handshake_bytes(sec_websocket_extensions="permessage-deflate; server_max_window_bits=8",
                                  Sec_WebSocket_Extensions="permessage-deflate"))
        assert wire.head().want(101).field("Sec-WebSocket-Extensions") == ANSWER


@pytest.mark.parametrize("path", ["/v1/ws", "/v1/echo"])
def test_where_it_is_off_the_bit_means_nothing(path):
    with Server(flags=["--diagnostic-echo", "--websocket-compression", "off"]) as server, Link(server, path) as link:
        assert link.extensions is None
        link.send(ws_frame(RSV1 | TEXT, squeeze(b"{}")))
        link.want_end(1002)


# --- both ways, with clients of others ------------------------------------------------------------------------------

FACTORIES = [deflate.ClientPerMessageDeflateFactory(), deflate.ClientPerMessageDeflateFactory(server_max_window_bits=9),
             deflate.ClientPerMessageDeflateFactory(server_max_window_bits=12, client_max_window_bits=12),
             deflate.ClientPerMessageDeflateFactory(server_max_window_bits=15, client_max_window_bits=9,
                                                    client_no_context_takeover=True)]


@pytest.mark.parametrize("factory", FACTORIES)
def test_with_python3_websockets(either, factory):
    server, channel = either, fresh()
    with Ws(server, f"channel={channel}&after=0", extensions=[factory]) as ws:
        assert len(ws.peer.extensions) == 1
        ws.settle()
        before = metric(server, "longwire_sent_bytes_total")
        receipt = publish(server, channel, PROSE, media="text/plain")
        got = ws.next()
        assert (got["seq"], got["payload"]) == (receipt["seq"], PROSE)
        sent = wait_until(lambda: metric(server, "longwire_sent_bytes_total") - before)   # counted behind the write
        assert 0 < sent < len(PROSE) // 2
        # The client compresses what it publishes.
        answer = ws.ask("publish", "published", channel=channel, data=PROSE.decode(), media="text/plain")
        assert answer["seq"] == 2
        assert ws.next()["payload"] == PROSE
        assert ws.ask("publish", "published", channel=channel, data="x", media="text/plain")["seq"] == 3
        assert ws.next()["payload"] == b"x"


@pytest.mark.parametrize("protocol", ["longwire.json.v1", "longwire.bin.v1"])
def test_a_message_is_compressed_once_for_all(either, protocol):
    server, channel = either, fresh()
    path = f"/v1/ws?channel={channel}&after=0"
    names = ("messages", "bytes_before", "bytes_after")
    with Link(server, path, sec_websocket_protocol=protocol) as one, Link(server, path, sec_websocket_protocol=protocol) as two:
        before = [metric(server, f"longwire_compressed_{name}_total") for name in names]
        wait_for_subscribers(server, f"channel={channel}", 2)
        publish(server, channel, PROSE, media="text/plain")
        for link in (one, two):
            while not (got := link.message())[1]:
                pass
            assert PROSE in got[0]
        messages, bytes_before, bytes_after = [
            metric(server, f"longwire_compressed_{name}_total") - was for name, was in zip(names, before)]
        assert messages == 1
        assert bytes_after < bytes_before / 2 and len(PROSE) < bytes_before < len(PROSE) + 1000


@pytest.mark.parametrize("payload, media", [
    (b"short", "text/plain"), (bytes(5000), "image/jpeg"), (random.Random(7).randbytes(5000), "text/plain")])
def test_what_does_not_pay_stays_as_it_is(server, payload, media):
    channel = fresh()
    with Link(server, f"/v1/ws?channel={channel}&after=0", sec_websocket_protocol="longwire.bin.v1") as link:
        wait_for_subscribers(server, f"channel={channel}")
        before = metric(server, "longwire_uncompressed_messages_total")
        publish(server, channel, payload, media=media)
        while payload not in (got := link.message())[0]:
            pass
        assert not got[1]
        assert metric(server, "longwire_uncompressed_messages_total") == before + 1


@pytest.mark.parametrize("bits", [9, 12, 15])
def test_with_python3_wsproto(either, bits):
    server, channel = either, fresh()
    peer = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    extension = wsproto.extensions.PerMessageDeflate(server_max_window_bits=bits, client_max_window_bits=bits)
    with Wire(server) as wire:
        wire.send(peer.send(wsproto.events.Request(host="localhost", target=f"/v1/ws?channel={channel}&after=0",
                                                   extensions=[extension])))
        texts, text = [], ""

        def hear(mark):
            nonlocal text
            while not any(mark in said for said in texts):
                wire.more()
                peer.receive_data(wire.seen)
                wire.seen = b""
                for event in peer.events():
                    if isinstance(event, wsproto.events.TextMessage):
                        text += event.data
                        if event.message_finished:
                            texts.append(text)
                            text = ""

        hear('"subscribed"')
        assert extension.enabled() and extension.server_max_window_bits == bits
        said = {"type": "publish", "channel": channel, "data": PROSE.decode(), "media": "text/plain"}
        wire.send(peer.send(wsproto.events.TextMessage(json.dumps(said))))
        hear('"message"')
        assert [json.loads(said)["data"] for said in texts if '"message"' in said] == [PROSE.decode()]


FOLLOW = """
const [url, channel, protocol, done] = arguments;
const socket = new WebSocket(url, protocol);
socket.binaryType = 'arraybuffer';
window.socket = socket;
window.seen = [];
socket.onmessage = ({ data }) => {
    if (typeof data !== 'string') { seen.push(data.byteLength); return; }
    const frame = JSON.parse(data);
    if (frame.type === 'message' || frame.type === 'published') seen.push(frame);
};
socket.onopen = () => done(socket.extensions);
socket.onerror = () => done('refused');
"""


def origin_of(host, server):
    return f"http://{host}:{server.port}"


@needs_chromium
def test_in_chromium(server):
    """A browser offers it by itself. Its page on another origin is not let in (threat 76)."""
    channel = fresh()
    path = f"/v1/ws?channel={channel}&after=0"
    with open_chromium("--host-resolver-rules=MAP evil.example 127.0.0.1") as chromium:
        chromium.get(server.url + "/")
        before = metric(server, "longwire_compressed_messages_total")
        assert chromium.execute_async_script(FOLLOW, path, channel, "longwire.json.v1").startswith("permessage-deflate")
        publish(server, channel, PROSE, media="text/plain")
        seen = lambda count: wait_until(lambda: len(chromium.execute_script("return seen")) >= count)
        seen(1)
        chromium.execute_script("socket.send(JSON.stringify({type: 'publish', channel: arguments[0], data: seen[0].data}))", channel)
        seen(3)
        frames = chromium.execute_script("return seen")
        assert [frame["data"] for frame in frames if frame["type"] == "message"] == [PROSE.decode()] * 2
        assert metric(server, "longwire_compressed_messages_total") - before == 2
        chromium.get(server.url + "/")
        chromium.execute_async_script(FOLLOW, path, channel, "longwire.bin.v1")
        seen(4)
        assert sum(size > len(PROSE) for size in chromium.execute_script("return seen")) == 2
        chromium.get(origin_of("evil.example", server) + "/")
        assert chromium.execute_async_script(FOLLOW, f"ws://127.0.0.1:{server.port}" + path, channel, "longwire.json.v1") == "refused"


# --- Autobahn's section 12 (sizes) and 13 (parameters): what goes in comes back ---------------------------------------

SIZES = [0, 1, 16, 64, 255, 256, 257, 1024, 4096, 8192, 16384, 32768, 65536, 131072]


def payload_of(kind, size):
    if kind == "prose":
        return (PROSE * (size // len(PROSE) + 1))[:size]
    if kind == "zeros":
        return bytes(size)
    return random.Random(size).randbytes(size)


def fragments(opcode, data, size):
    """With a ping behind the first, if there are several."""
    pieces = [data[at:at + size] for at in range(0, max(1, len(data)), size)]
    frames = [ws_frame(CONT if i else opcode, piece, fin=i == len(pieces) - 1) for i, piece in enumerate(pieces)]
    return b"".join(frames[:1] + ([ws_frame(PING, b"between")] if len(frames) > 1 else []) + frames[1:])


@pytest.mark.parametrize("kind", ["prose", "zeros", "noise"])
@pytest.mark.parametrize("bits", [9, 12, 15])
def test_12_and_13_sizes_windows_and_fragments(either, bits, kind):
    offer = f"permessage-deflate; server_max_window_bits={bits}; client_max_window_bits={bits}"
    opcode = TEXT if kind == "prose" else BINARY
    with Link(either, offer=offer) as link:
        for size in SIZES:
            payload = payload_of(kind, size)
            data = squeeze(payload, bits)
            for piece in (len(data) + 1, 64, 1) if size <= 256 else (len(data) + 1, 1024):
                link.send(fragments(RSV1 | opcode, data, piece))
                if len(data) > piece:
                    assert link.hear() == (0x80 | PONG, b"between")
                assert link.message(bits)[0] == payload, (size, piece)
            link.send(ws_frame(opcode, payload))  # without compression
            assert link.message(bits) == (payload, False)


def blocks_of(data, *flushes):
    """RFC 7692 7.2.3: several blocks in one message, uncompressed ones, and blocks with BFINAL."""
    machine = zlib.compressobj(9, zlib.DEFLATED, -15)
    out = b""
    for at, flush in enumerate(flushes):
        out += machine.compress(data[at * 100:(at + 1) * 100]) + machine.flush(flush)
    return out[:-4]


@pytest.mark.parametrize("data, payload", [
    (bytes.fromhex("f248cdc9c90700"), b"Hello"),                            # 7.2.3.1
    (bytes.fromhex("000500faff48656c6c6f00"), b"Hello"),                    # 7.2.3.3
    (bytes.fromhex("f348cdc9c9070000"), b"Hello"),                          # 7.2.3.4
    (bytes.fromhex("f348cdc9c90700"), b"Hello"),                            # the same, its end left out
    (bytes.fromhex("f248050000 00ffffcac9c90700".replace(" ", "")), b"Hello"),  # 7.2.3.5
    (bytes.fromhex("00"), b""),                                             # 7.2.3.6
    (b"", b""),
    (squeeze(PROSE[:500], flush=zlib.Z_FINISH) + b"\x00", PROSE[:500]),
    (squeeze(PROSE[:500], flush=zlib.Z_FINISH) + squeeze(PROSE[500:900]), PROSE[:900]),
    (blocks_of(PROSE, *[zlib.Z_SYNC_FLUSH] * 5), PROSE[:500]),
    (blocks_of(PROSE, zlib.Z_FULL_FLUSH, zlib.Z_SYNC_FLUSH), PROSE[:200]),
], ids=range(11))
def test_messages_of_rfc_7692(server, data, payload):
    with Link(server) as link:
        for opcode in (TEXT, BINARY):
            link.send(ws_frame(RSV1 | opcode, data))
            assert link.message()[0] == payload


# --- what a client may not do ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("frames, code", [
    (ws_frame(RSV1 | PING, b"x"), 1002),
    (ws_frame(RSV1 | CLOSE, b"\x03\xe8"), 1002),
    (ws_frame(RSV1 | TEXT, squeeze(b"abc"), fin=False) + ws_frame(RSV1 | CONT, b""), 1002),
    (ws_frame(TEXT, b"{", fin=False) + ws_frame(RSV1 | CONT, b"}"), 1002),
    (ws_frame(TEXT, b"{}", rsv=2), 1002), (ws_frame(TEXT, b"{}", rsv=1), 1002), (ws_frame(TEXT, squeeze(b"{}"), rsv=6), 1002),
    (ws_frame(RSV1 | TEXT, b"\xff\xff\xff"), 1007),                         # no block at all
    (ws_frame(RSV1 | TEXT, squeeze(PROSE)[:-500]), 1007),                   # cut off
    (ws_frame(RSV1 | TEXT, squeeze(b"\xff\xfe")), 1007),                    # not UTF-8
    (ws_frame(RSV1 | TEXT, squeeze(b"ok \xe2\x82")), 1007),
    (ws_frame(RSV1 | TEXT, squeeze(PROSE[:100])) +
     ws_frame(RSV1 | TEXT, bytes.fromhex("f200110000")), 1007),             # the context of the message before: 7.2.3.2
    (ws_frame(RSV1 | TEXT, squeeze(bytes(100 * 2**20))), 1009),             # 100 KB become 100 MiB
], ids=range(13))
@pytest.mark.parametrize("path", ["/v1/echo", "/v1/ws"])
def test_faults(server, path, frames, code):
    with Link(server, path) as link:
        link.send(frames)
        link.want_end(code)


def test_a_message_that_is_too_long_is_answered(server):
    """It is no bomb, so the link goes on."""
    channel = fresh()
    said = json.dumps({"type": "publish", "channel": channel, "data": "x" * (3 * 2**20)}).encode()
    noise = random.Random(3).randbytes(2**21 + 100)
    with Link(server, "/v1/ws") as link:
        for data in (squeeze(said), squeeze(noise), squeeze(noise * 2)):
            link.send(ws_frame(RSV1 | TEXT, data))
            assert link.frame("error")["code"] == 413
        said = json.dumps({"type": "publish", "channel": channel, "data": "x" * 2**20}).encode()
        link.send(ws_frame(RSV1 | TEXT, squeeze(said)))
        assert link.frame("published")["seq"] == 1


def test_leaving_at_any_byte_of_a_compressed_message(server):  # threats 71, 77
    said = json.dumps({"type": "publish", "channel": fresh(), "data": "x" * 300}).encode()
    wire = fragments(RSV1 | TEXT, squeeze(said), 20)
    for cut in range(len(wire) + 1):
        link = Link(server, "/v1/ws")
        link.send(wire[:cut])
        link.reset() if cut % 2 else link.close()
    wait_until(lambda: metric(server, "longwire_sessions") == 0)


def resident_kb(server):
    with open(f"/proc/{server.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def test_a_bomb_is_refused_before_it_takes_memory(server):
    """A megabyte that would become a gigabyte."""
    bomb = squeeze(bytes(2**20), flush=zlib.Z_FULL_FLUSH) * 1024
    assert len(bomb) < 1.1 * 2**20
    before = resident_kb(server)
    for _ in range(3):
        with Link(server, "/v1/ws") as link:
            link.send(ws_frame(RSV1 | TEXT, bomb[:-4]))
            link.want_end(1009)
    assert resident_kb(server) - before < 64 * 1024


@pytest.mark.parametrize("data", [squeeze(b" " * 2**20), squeeze(b""), squeeze(b" " * (3 * 2**20))], ids=["blank", "empty", "long"])
def test_who_makes_us_inflate_without_end_is_closed(server, data):
    with Link(server, "/v1/ws") as link:
        link.send(ws_frame(RSV1 | TEXT, data) * 101)
        link.want_end(1008)
