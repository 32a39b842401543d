"""`longwired --take-over`: a new process takes the place of the one that serves, with its sockets and its links (threats 24, 44,
45; docs/decisions/0124).
"""
import contextlib

import pytest

from longwire_client import BROKEN_LINK, TRANSPORTS, Api, Publisher, Reader, audit_history, audit_reader
from longwire_server import Server, is_built
from waiting import wait_until

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
