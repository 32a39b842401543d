"""A server and its clients with a bad network between them (threats 29 to 31): packets that vanish, both ways or one, many lost
packets, a narrow link, connections that are reset in the middle of a frame. On every transport the server notices a dead link, and
whoever comes back has each message once and in order.

LW_BAD_NETWORK_SECONDS  how long each lasts; 4 unless told otherwise
"""
import contextlib
import os
import random
import time

import pytest

from longwire_client import TRANSPORTS, Api, Publisher, Reader, audit_history, audit_reader
from longwire_server import is_built
from namespaced_server import TOKEN, NamespacedServer
from namespaces import Bridge, may_make
from native_reader import native_transport
from waiting import wait_until

pytestmark = [pytest.mark.skipif(not is_built(), reason="longwired is not built"),
              pytest.mark.skipif(not may_make(), reason="only root may make network namespaces (ip, iptables)")]

BAD_SECONDS = float(os.environ.get("LW_BAD_NETWORK_SECONDS", "4"))
CONFIG = """
heartbeat_s = 1
pong_timeout_s = 1
poll_wait_s = 1
"""
# A ping after 1 s of silence, 1 s for the answer; what was said must be acknowledged as quickly. The defaults come to more than this.
NOTICED_SECONDS = 30
SESSIONS = [f'longwire_sessions{{transport="{name}"}}' for name in ("websocket", "sse", "ndjson", "multipart", "poll", "native")]
SILENCE_SECONDS = 5     # of a client that has heard nothing, not even a heartbeat


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Bridge() as bridge, NamespacedServer(bridge, CONFIG) as server:
        yield server


@contextlib.contextmanager
def readers_of(server, channel):
    """One on each transport, none of which has missed anything yet."""
    with contextlib.ExitStack() as stack:
        transports = [*TRANSPORTS, native_transport(server.tcp_port)]
        readers = [stack.enter_context(Reader(server.url, transport, [channel], silence_s=SILENCE_SECONDS)) for transport in transports]
        answered = {b"first": server.publish_inside(channel, "first")}
        for reader in readers:
            reader.wait_head(channel, 1)
        yield readers, answered


def audit(server, channel, readers, answered):
    with contextlib.closing(Api(server.url, TOKEN)) as api:
        history = audit_history(api, channel, answered)
    for reader in readers:
        reader.wait_head(channel, len(history))
        audit_reader(reader, channel, history)


@pytest.mark.parametrize("way", ["cut", "drop_out", "drop_in"])
def test_a_link_that_dies_without_a_word_is_noticed(server, way):
    """Threats 29, 30."""
    channel = f"topic:dead-{way}"
    with readers_of(server, channel) as (readers, answered):
        wait_until(lambda: all(server.metrics()[name] == 1 for name in SESSIONS[:4] + SESSIONS[5:]))
        getattr(server, way)()
        began = time.monotonic()
        try:
            answered[b"meanwhile"] = server.publish_inside(channel, "meanwhile")
            # Where only the server's packets get through, or only the clients', new links can't come to be either.
            wait_until(lambda: all(server.metrics()[name] == 0 for name in SESSIONS), lambda: repr(server.metrics()))
            assert time.monotonic() - began < NOTICED_SECONDS
            assert server.metrics()["longwire_publishes_waiting"] == 0
        finally:
            server.heal()
        answered[b"afterwards"] = server.publish_inside(channel, "afterwards")
        audit(server, channel, readers, answered)
        # A poll may have been between two links.
        assert all(reader.breaks or reader.transport == "poll" for reader in readers)


def spoil(server, how, seconds):
    if how == "loss":
        server.lose(0.4)
    else:
        server.slow_down("1mbit")
    until = time.monotonic() + seconds
    rng = random.Random(how)
    while time.monotonic() < until:
        time.sleep(rng.uniform(0.05, 0.3))  # the moment is the fault that is injected
        if how == "reset":
            server.reset_links()


@pytest.mark.parametrize("how", ["loss", "narrow", "reset"])
def test_what_a_bad_link_loses_comes_again(server, how):
    """Threat 31: 40 % of the packets lost, 1 Mbit/s for more than it carries, resets in mid-frame on that narrow link."""
    channel = f"topic:bad-{how}"
    with readers_of(server, channel) as (readers, answered), contextlib.ExitStack() as stack:
        publishers = [Publisher(server.url, f"{number}-{'.' * 3000}", channel, has_keys=False) for number in range(2)]
        for publisher in publishers:
            publisher.api.headers = {"Authorization": f"Bearer {TOKEN}"}
            publisher.api.timeout = 10      # a reset may be lost as any packet: then no word comes of a link that has ended
            stack.enter_context(publisher)
        try:
            spoil(server, how, BAD_SECONDS)
        finally:
            server.heal()
        wait_until(lambda: all(publisher.answered for publisher in publishers))
        for publisher in publishers:
            publisher.close()
            assert publisher.refused == []
            answered.update(publisher.answered)
        audit(server, channel, readers, answered)
        if how == "reset":
            assert all(reader.breaks or reader.transport == "poll" for reader in readers)
