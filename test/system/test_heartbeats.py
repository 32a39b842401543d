"""Heartbeats of WebSocket and native clients that beat by themselves: what is agreed, what a promise does, and who is dropped for
silence."""
import time

import pytest

from longwire_client import Api
from longwire_server import Server
from native_link import NativeLink
from waiting import wait_until
from wire import Ws, fresh, metric

QUICK = """
heartbeat_s_min = 1
heartbeat_s_offered = 2
heartbeat_s_max = 60
pong_timeout_s = 5
"""


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server() as server:
        yield server


both = pytest.mark.parametrize("link", [Ws, NativeLink])


@both
@pytest.mark.parametrize("offer, holds", [(0, 120), (60, 60), (1, 10), (86400, 1800)])
def test_what_is_agreed(server, link, offer, holds):
    with link(server) as ws:
        assert ws.greeting["heartbeat"] == 25
        assert ws.ask("connect", "connected", heartbeat=offer)["heartbeat"] == holds
        assert ws.ask("connect", "connected")["heartbeat"] == holds  # a further `connect` without one changes nothing


@pytest.mark.parametrize("kind, members", [
    ("connect", {"heartbeat": -1}), ("connect", {"heartbeat": 86401}), ("connect", {"heartbeat": "25"}),
    ("ping", {"next_ms": 0}), ("ping", {"next_ms": 86400001}), ("ping", {"next_ms": 1.5}), ("ping", {"next": 5}),
])
def test_what_is_no_heartbeat(server, kind, members):
    with Ws(server) as ws:
        assert ws.ask(kind, "error", **members)["code"] == 400
        assert ws.ask("ping", "pong", ref=7)["ref"] == 7


@both
def test_a_grown_up_link_is_dropped_when_it_is_silent_and_a_young_one_is_not(link):
    with Server(config=QUICK) as server, link(server) as young, link(server) as old, link(server) as beats:
        for ws in (young, old, beats):
            assert ws.ask("connect", "connected", heartbeat=1)["heartbeat"] == 1
        for count in range(12):
            old.ask("ping", "pong", ref=count)
            beats.ask("ping", "pong", ref=count)
        # Nobody reads what `old` and `young` are sent, so their pings are not answered.
        wait_until(lambda: beats.ask("ping", "pong", next_ms=1000) and
                   metric(server, "longwire_silent_clients_closed_total") == 1)
        with pytest.raises(Exception):
            old.ask("ping", "pong", ref=0)
        assert young.ask("ping", "pong", ref=1)["ref"] == 1
        assert beats.ask("ping", "pong", ref=2)["ref"] == 2
        assert metric(server, "longwire_beats_total") > 26


@both
def test_a_promise_moves_the_timer_both_ways(link):
    with Server(config=QUICK) as server, link(server) as soon, link(server) as late:
        for ws in (soon, late):
            ws.ask("connect", "connected", heartbeat=2)
            for count in range(12):
                ws.ask("ping", "pong", ref=count)
        late.ask("ping", "pong", next_ms=60000)
        soon.ask("ping", "pong", next_ms=1000)
        wait_until(lambda: metric(server, "longwire_silent_clients_closed_total") == 1)
        assert late.ask("ping", "pong", ref=1)["ref"] == 1


@both
def test_a_network_where_links_are_lost_is_told_a_shorter_interval(link):
    with Server(config=QUICK + "loops = 1\n") as server:
        lost = [link(server) for _ in range(3)]
        for ws in lost:
            assert ws.ask("connect", "connected", heartbeat=0)["heartbeat"] == 2
            for count in range(12):
                ws.ask("ping", "pong", ref=count)
        wait_until(lambda: metric(server, "longwire_silent_clients_closed_total") == 3)
        with link(server) as ws:
            assert ws.ask("connect", "connected", heartbeat=0)["heartbeat"] == 1
            assert ws.ask("connect", "connected", heartbeat=60)["heartbeat"] == 1
        wait_until(lambda: metric(server, "longwire_networks_learned") == 1)


def test_who_takes_a_backlog_slowly_is_not_silent():
    """Threats 31 and 34: the ping lies behind megabytes in the server's kernel, and is answered when they have come."""
    channel, count, payload = fresh(), 120, b"x" * 30_000
    with Server(config=QUICK + "heartbeat_s = 1\n") as server:
        api = Api(server.url)
        for _ in range(count):
            assert api.publish(channel, payload).status == 201
        api.close()
        with Ws(server, receive_bytes=8192) as ws:
            ws.say("subscribe", channel=channel, after=0)
            for number in range(1, count + 1):
                time.sleep(0.1)  # the network is slow
                assert ws.next()["seq"] == number
            assert ws.ask("ping", "pong", ref=1)["ref"] == 1
            assert metric(server, "longwire_silent_clients_closed_total") == 0


def test_who_takes_nothing_is_given_up_in_time():
    """Threats 34 and 52: what waits in the server's kernel does not keep a client that never reads, nor answers."""
    channel, payload = fresh(), b"x" * 30_000
    with Server(config=QUICK + "heartbeat_s = 1\nslow_reader_timeout_s = 3\n") as server:
        api = Api(server.url)
        for _ in range(20):
            assert api.publish(channel, payload).status == 201
        api.close()
        with Ws(server, receive_bytes=8192) as ws:
            ws.say("subscribe", channel=channel, after=0)
            wait_until(lambda: metric(server, "longwire_silent_clients_closed_total") == 1)
