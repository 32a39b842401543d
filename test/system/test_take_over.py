"""`longwired --take-over`: a new process takes the place of the one that serves, with its sockets and its links (threats 24, 44,
45; docs/decisions/0124).
"""
import contextlib
import os
import socket
import struct

import pytest

from longwire_client import BROKEN_LINK, TRANSPORTS, Api, Publisher, Reader, audit_history, audit_reader
from longwire_server import Server, is_built
from waiting import SECONDS, wait_until

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

MEMORY = "[namespace ram]\ndurability = memory\nkeep_count = 100000\n"


class CountingPublisher(Publisher):
    """Knows how many of its connections broke."""
    broken = 0

    def publish(self, payload):
        try:
            super().publish(payload)
        except BROKEN_LINK:
            self.broken += 1
            raise


def audit(server, readers, publishers, channels):
    api = Api(server.url)
    for channel in channels:
        answered = {payload: place for publisher in publishers if publisher.channel == channel
                    for payload, place in publisher.answered.items()}
        history = audit_history(api, channel, answered)
        for reader in readers:
            reader.wait_head(channel, len(history))
            audit_reader(reader, channel, history)


def test_links_go_on_over_several_take_overs_under_load():
    """Threats 24 and 44: no link of a kind that moves is closed, none gets a message twice, late or never."""
    channels = ["topic:one", "user:two", "ram:three"]
    with Server(config=MEMORY) as server, contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reader(server.url, transport, channels)) for transport in TRANSPORTS for _ in range(5)]
        publishers = [stack.enter_context(CountingPublisher(server.url, f"p{i}", channels[i % 3], has_keys=True))
                      for i in range(6)]
        for _ in range(3):
            sent = [publisher.sent for publisher in publishers]
            wait_until(lambda: all(publisher.sent > before + 20 for publisher, before in zip(publishers, sent)))
            server.take_over()
        for publisher in publishers:
            publisher.close()
            assert publisher.refused == [], publisher.refused[:1]
        audit(server, readers, publishers, channels)
        assert [(reader.transport, reader.breaks) for reader in readers if reader.breaks] == []
        assert [publisher.broken for publisher in publishers] == [0] * len(publishers)


# --- take-overs that fail --------------------------------------------------------------------------------------------

HELLO, REFUSAL, OFFER, LISTEN, READY, PART, SOCKETS, TAKEN = 8, 9, 10, 11, 12, 13, 14, 15   # src/codec/handover/handover.h
VERSION = 3


def record(kind, body=b""):
    return struct.pack("<BI", kind, len(body)) + body


def text(value):
    return struct.pack("<I", len(value)) + value


class Taker:
    """What a new process says, by hand; it may end at any step."""

    def __init__(self, server):
        self.data = server.data
        wait_until(self.connects)   # the server listens there once it serves

    def connects(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(SECONDS)
        try:
            self.socket.connect(str(self.data / "take-over"))
        except (FileNotFoundError, ConnectionRefusedError):
            self.socket.close()
            return False
        return True

    def hello(self, version=VERSION, loops=2):
        place = os.stat(self.data)
        body = struct.pack("<II", version, loops) + text(b"test") + text(f"directory {place.st_dev}:{place.st_ino}".encode())
        self.socket.send(record(HELLO, body))

    def hear(self, *until):
        """Messages up to one of these kinds, which is given with its body. Descriptors are closed at once."""
        while True:
            message, descriptors, _, _ = socket.recv_fds(self.socket, 65536, 253)
            for descriptor in descriptors:
                os.close(descriptor)
            assert message, "the server has closed"
            if message[0] in until:
                return message[0], message[5:]

    def close(self):
        self.socket.close()


def ends_before_hello(taker):
    del taker


def ends_behind_the_offer(taker):
    taker.hello()
    taker.hear(READY)


def ends_while_the_server_stands_still(taker):
    taker.hello()
    taker.hear(READY)
    taker.socket.send(record(READY))
    taker.hear(PART)


def ends_with_everything(taker):
    taker.hello()
    taker.hear(READY)
    taker.socket.send(record(READY))
    taker.hear(READY)


def talks_nonsense(taker):
    taker.hello()
    taker.hear(READY)
    taker.socket.send(b"\xff" * 100)


@pytest.mark.parametrize("step", [ends_before_hello, ends_behind_the_offer, ends_while_the_server_stands_still,
                                  ends_with_everything, talks_nonsense])
def test_the_server_goes_on_whenever_the_new_process_ends(step):
    """Threat 44: links, store and numbers are as they were."""
    with Server(config=MEMORY, flags=["--loops", "2"]) as server, contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reader(server.url, transport, ["topic:one", "ram:two"])) for transport in TRANSPORTS]
        publishers = [stack.enter_context(CountingPublisher(server.url, f"p{i}", channel, has_keys=True))
                      for i, channel in enumerate(["topic:one", "ram:two"])]
        wait_until(lambda: all(publisher.sent > 10 for publisher in publishers))
        taker = Taker(server)
        step(taker)
        taker.close()
        wait_until(lambda: "not_handed_over" in server.log())
        sent = [publisher.sent for publisher in publishers]
        wait_until(lambda: all(publisher.sent > before + 10 for publisher, before in zip(publishers, sent)))
        server.take_over()      # one that works comes next
        for publisher in publishers:
            publisher.close()
            assert publisher.refused == []
        audit(server, readers, publishers, ["topic:one", "ram:two"])
        assert [reader.breaks for reader in readers] == [[]] * len(readers)


@pytest.mark.parametrize(("says", "why"), [({"version": VERSION + 1}, b"hands over in version"), ({"loops": 63}, b"loops")])
def test_who_does_not_fit_is_refused_with_a_sentence(says, why):
    """Threat 44."""
    with Server() as server:
        taker = Taker(server)
        taker.hello(**says)
        kind, body = taker.hear(REFUSAL)
        assert kind == REFUSAL and why in body, body
        taker.close()
        assert Api(server.url).publish("topic:a", b"one").status == 201


def test_a_new_process_with_a_wrong_configuration_or_other_data_leaves_the_old_one_alone():
    """Threat 44."""
    with Server() as server, Reader(server.url, "sse", ["topic:a"]) as reader:
        assert server.start_beside("--take-over", "--loops", "nonsense").wait(SECONDS) == 2
        Taker(server).close()
        other = Server(flags=["--take-over-socket", str(server.data / "take-over")])
        other.data.mkdir()
        assert other.start_beside("--take-over").wait(SECONDS) == 1
        assert "serves other data" in other.log()
        other.close()
        assert Api(server.url).publish("topic:a", b"one").status == 201
        reader.wait_head("topic:a", 1)
        assert reader.breaks == []


def test_without_a_server_nothing_is_taken_over():
    with Server() as server:
        server.stop()
        process = server.start_beside("--take-over")
        assert process.wait(SECONDS) == 1
        assert "start without --take-over" in server.log()
