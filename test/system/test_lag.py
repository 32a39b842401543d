"""Readers that stop reading (threat 34): what each costs the server does not grow with what it misses, the other
readers don't notice, and when it reads again it gets everything in order, or an honest gap.

LW_LAG_MB    megabytes published past the stalled readers; 24 unless told otherwise. How long another reader waits for what was
             acknowledged, without and with them, is printed and not judged: a machine that is busy would decide.
"""
import contextlib
import json
import os
import pathlib
import re
import socket
import time

import pytest

from longwire_client import Api, Place, Reader, event_of, follow
from longwire_server import PatientServer, Server, is_built
from waiting import SECONDS, wait_until
from wire import handshake_bytes

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

LAG_BYTES = int(os.environ.get("LW_LAG_MB", "24")) << 20
PAYLOAD_BYTES = 2 * 1024
BATCH = 200
STALLED = 300  # many: what each holds is to stand out from the 2 MB or so that come and go in the server anyhow
RING_COUNT = 3000  # 6 MB: more than the kernel ever takes for one reader (tcp_wmem), so who stopped stays behind
PER_READER_BYTES_MAX = 64 * 1024  # all that the server grew by, its own warming up to reading the log included
MORE_BYTES_MAX = 16 * 1024    # a reader, when it misses as much again
LOOK_SECONDS = 2


def stall(server, transport, channel):
    """Asks for the channel and reads nothing; its small receive buffer leaves the kernel little room."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(SECONDS)
    sock.connect(("127.0.0.1", server.port))
    if transport == "sse":
        sock.sendall(f"GET /v1/subscribe?channel={channel}&after=1 HTTP/1.1\r\nHost: localhost\r\n"
                     "Accept: text/event-stream\r\n\r\n".encode())
    else:
        sock.sendall(f"GET /v1/ws?channel={channel}&after=1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
    return sock


def rss_bytes(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) * 1024


def held_bytes(pid):
    """What the server holds: the smallest of many samples. Samples above it include temporary memory of the publisher's
    batches, RocksDB's own work and an allocator that frees late; no sample is below what the server holds."""
    deadline, least = time.monotonic() + LOOK_SECONDS, rss_bytes(pid)
    while time.monotonic() < deadline:
        time.sleep(0.05)
        least = min(least, rss_bytes(pid))
    return least


def wait_metric(api, name, wanted):
    wait_until(lambda: api.metrics()[name] == wanted, lambda: (name, api.metrics()[name]))


def publish_much(api, channel, start, count, keep_up=lambda head: None, size=PAYLOAD_BYTES, batch=BATCH):
    """Publishes count messages that carry their number; keep_up(head) waits for the readers that don't lag."""
    assert count % batch == 0
    for at in range(start, start + count, batch):
        results = api.batch([{"channel": channel, "data": f"{number}-".ljust(size, "x")}
                             for number in range(at, at + batch)])
        assert all(result["status"] == 201 for result in results)
        keep_up(at + batch)


class KeepingUp:
    """A reader that doesn't lag, and how long after each batch's answer it has all of the batch."""

    def __init__(self, reader, channel):
        self.reader, self.channel, self.seconds = reader, channel, []

    def __call__(self, head):
        began = time.monotonic()
        self.reader.wait_head(self.channel, head)
        self.seconds.append(time.monotonic() - began)

    def p99_ms(self):
        ordered, self.seconds = sorted(self.seconds), []
        return 1000 * ordered[len(ordered) * 99 // 100]


def numbers_of(events):
    return [int(event.payload.partition(b"-")[0]) for event in events if event.kind == "message"]


def read_stalled_sse(sock, last):
    """Reads the rest of what stall() asked for."""
    events, data = [], b""
    with sock.makefile("rb") as stream:
        assert stream.readline().startswith(b"HTTP/1.1 200")
        while stream.readline().strip():
            pass
        while not events or events[-1].seq < last:
            size = int(stream.readline(), 16)
            data += stream.read(size)
            assert stream.readline() == b"\r\n"
            *whole, data = data.split(b"\n\n")
            events += parse_events(whole)
    return events


def parse_events(blocks):
    for block in blocks:
        for line in block.split(b"\n"):
            if line.startswith(b"data: "):
                yield event_of(json.loads(line[6:]))


@pytest.mark.parametrize("channel", ["topic:lag", "live:lag"])
@pytest.mark.parametrize("transport", ["ws", "sse"])
def test_readers_that_stop_cost_a_cursor_and_no_queue(transport, channel):
    """Compares what the server holds before the readers come, when it is full of what it keeps for everyone, with what
    it holds when they have missed half of the traffic, and all of it. The difference belongs to these readers, and
    doesn't grow the second time."""
    third = LAG_BYTES // PAYLOAD_BYTES // BATCH // 3 * BATCH
    count = 3 * third
    flags = ["--tail-bytes-max", "4M", "--store-memory-bytes", "1M", "--write-buffer-bytes", "1M"]
    config = f"[namespace live]\nkeep_count = {RING_COUNT}\n"
    # ASan is to keep nothing of what was freed: that would count as held.
    env = {"ASAN_OPTIONS": "quarantine_size_mb=0:thread_local_quarantine_size_kb=0:"
                           "allocator_release_to_os_interval_ms=100"}
    with PatientServer(flags=flags, env=env, config=config) as server, contextlib.ExitStack() as stack:
        api = Api(server.url)
        good = stack.enter_context(Reader(server.url, "ndjson", [channel]))
        keep_up = KeepingUp(good, channel)
        publish_much(api, channel, 0, third, keep_up)
        p99_ms = [keep_up.p99_ms()]
        rss = [held_bytes(server.pid)]
        stalled = [stack.enter_context(contextlib.closing(stall(server, transport, channel))) for _ in range(STALLED)]
        for part in (1, 2):
            publish_much(api, channel, part * third, third, keep_up)
            p99_ms.append(keep_up.p99_ms())
            wait_metric(api, "longwire_lagging_readers", STALLED)
            rss.append(held_bytes(server.pid))
        each = [(later - rss[0]) / STALLED for later in rss[1:]]
        print(f"{each[0] / 1024:.1f}, then {each[1] / 1024:.1f} KB for each of {STALLED} that miss "
              f"{third * PAYLOAD_BYTES >> 20}, then {2 * third * PAYLOAD_BYTES >> 20} MB; p99 of another reader: "
              f"{p99_ms[0]:.1f} ms without them, {p99_ms[1]:.1f} and {p99_ms[2]:.1f} with them")
        assert max(rss[1:]) <= rss[0] + STALLED * PER_READER_BYTES_MAX
        assert rss[2] <= rss[1] + STALLED * MORE_BYTES_MAX, "it grows with what is missed"
        assert api.metrics()["longwire_lagging_readers"] == STALLED
        assert numbers_of(good.of(channel)) == list(range(count)) and not good.gaps(channel)
        assert good.breaks == []
        if transport == "sse":
            for sock in stalled[:2]:
                check_record(read_stalled_sse(sock, count), channel, count, 2)
        api.close()


def check_record(events, channel, count, next_seq=1):
    """Checks that each seq occurs once, in order; on a memory channel a gap stands for what the ring dropped."""
    for event in events:
        first = event.object["from"] if event.kind == "gap" else event.seq
        assert first == next_seq, (first, next_seq)
        next_seq = event.seq + 1
        if event.kind == "message":
            assert int(event.payload.partition(b"-")[0]) == event.seq - 1
        else:
            assert channel.startswith("live:") and event.object["why"] == "trimmed", event.object
    assert next_seq == count + 1


@pytest.mark.parametrize("transport", ["ws", "sse", "ndjson", "multipart"])
def test_a_reader_that_pauses_gets_everything_afterwards(transport):
    """In the middle of a stream: the client reads a part, stops while much is published, and reads on over the same
    link."""
    channel, count = "topic:pause", 320
    with Server() as server, contextlib.closing(Api(server.url)) as api:
        place, breaks = Place(server.url, [channel]), []
        things = follow(transport, place, breaks.append)
        publish_much(api, channel, 0, 16, size=65536, batch=16)
        events = read_until(things, 16)
        publish_much(api, channel, 16, count - 16, size=65536, batch=16)
        wait_metric(api, "longwire_lagging_readers", 1)
        events += read_until(things, count)
        check_record(events, channel, count)
        wait_metric(api, "longwire_lagging_readers", 0)
        assert breaks == []
        things.close()
        place.let_go()


def read_until(things, seq):
    events = []
    for thing in things:
        if (event := event_of(thing)) is not None:
            events.append(event)
            if event.seq >= seq:
                return events
    return events


def test_a_reader_that_takes_nothing_for_too_long_is_let_go():
    """slow_reader_timeout: closed and counted; its cursor stays good."""
    with Server(flags=["--slow-reader-timeout-s", "2", "--heartbeat-s", "1"]) as server:
        api = Api(server.url)
        socks = [stall(server, transport, "topic:slow") for transport in ("ws", "sse")]
        publish_much(api, "topic:slow", 0, 160, size=65536, batch=16)
        wait_metric(api, "longwire_slow_readers_closed_total", 2)
        wait_metric(api, "longwire_lagging_readers", 0)
        for sock in socks:
            sock.close()
        with Reader(server.url, "ws", ["topic:slow"]) as reader:
            reader.wait_head("topic:slow", 160)
            check_record(reader.of("topic:slow"), "topic:slow", 160)
        api.close()


# --- large messages ---------------------------------------------------------------------------------------------------

LARGE_BYTES = 1 << 20
LARGE_COUNT = 320
LARGE_PLACES = 300
STREAMS = {
    "ws": None,
    "sse": "text/event-stream",
    "ndjson": "application/x-ndjson",
    "multipart": "multipart/mixed",
}


def stall_behind(server, transport, channel, after):
    """Asks for the channel from this place on and reads nothing."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(SECONDS)
    sock.connect(("127.0.0.1", server.port))
    if transport == "ws":
        sock.sendall(handshake_bytes(f"/v1/ws?channel={channel}&after={after}", host="localhost"))
    else:
        sock.sendall(f"GET /v1/subscribe?channel={channel}&after={after} HTTP/1.1\r\nHost: localhost\r\n"
                     f"Accept: {STREAMS[transport]}\r\n\r\n".encode())
    return sock


@pytest.fixture(name="large", scope="module")
def fixture_large():
    """A server with a channel of 1 MiB messages."""
    env = {"ASAN_OPTIONS": "quarantine_size_mb=0:thread_local_quarantine_size_kb=0:"
                           "allocator_release_to_os_interval_ms=100"}
    flags = ["--loops", "2", "--tail-bytes-max", "8M", "--store-memory-bytes", "4M", "--write-buffer-bytes", "4M"]
    with PatientServer(flags=flags, env=env) as server, contextlib.closing(Api(server.url)) as api:
        publish_much(api, "topic:large", 0, LARGE_COUNT, size=LARGE_BYTES - 1024, batch=4)
        stop_readers(server, api, "ws", "topic:large", 4)  # what reading the log costs once
        yield server


@pytest.mark.parametrize("transport", STREAMS)
def test_a_slow_reader_of_large_messages_costs_64_kb(large, transport):
    """Threat 34: 300 readers stopped at 300 places of a channel of 1 MiB messages, on each kind of stream. Each is in
    the middle of a message of its own; together they cost no more than 64 KB each, the metric says what is held, and
    each gets the rest of its message, to the byte."""
    with contextlib.closing(Api(large.url)) as api:
        before = api.metrics()["longwire_cut_frames_remade_total"]
        stop_readers(large, api, transport, "topic:large", LARGE_PLACES)
        assert api.metrics()["longwire_cut_frames_remade_total"] > before
        assert api.metrics()["longwire_cut_frames_lost_total"] == 0


def stop_readers(server, api, transport, channel, count):
    """So many stop, each at a place of its own. Some of them read on afterwards."""
    before = held_bytes(server.pid)
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(contextlib.closing(stall_behind(server, transport, channel, after)))
                 for after in range(count)]
        wait_metric(api, "longwire_lagging_readers", count)
        each, held = (held_bytes(server.pid) - before) / LARGE_PLACES, api.metrics()["longwire_cut_frames_bytes"]
        print(f"{transport}: {each / 1024:.1f} KB for each of {count}, {held / 1024 / 1024:.1f} MB of cut frames")
        assert 0 < held <= LARGE_PLACES * PER_READER_BYTES_MAX
        assert each <= PER_READER_BYTES_MAX
        for at in (0, 1, count // 2):
            check_large_message(transport, socks[at], at)
    wait_metric(api, "longwire_lagging_readers", 0)
    wait_metric(api, "longwire_cut_frames_bytes", 0)


def check_large_message(transport, sock, number):
    """Reads on until the first two messages have come, whole."""
    text = b""
    for at in (number, number + 1):
        payload = f"{at}-".ljust(LARGE_BYTES - 1024, "x").encode()
        while payload not in unframed(transport, text):
            piece = sock.recv(LARGE_BYTES, socket.MSG_WAITALL)
            assert piece and len(text) < 16 * LARGE_BYTES
            text += piece


def unframed(transport, text):
    """What has come, without the sizes of its chunks."""
    head, _, body = text.partition(b"\r\n\r\n")
    whole = b"" if transport != "ws" else body
    while body and transport != "ws":
        size, found, behind = body.partition(b"\r\n")
        if not found:
            break
        whole, body = whole + behind[:int(size, 16)], behind[int(size, 16) + 2:]
    return whole
