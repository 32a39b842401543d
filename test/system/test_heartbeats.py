"""Heartbeats of WebSocket and native clients that beat by themselves: what is agreed, what a promise does, and who is dropped for
silence."""
import pytest

from longwire_server import Server
from native_link import NativeLink
from waiting import wait_until
from wire import Ws, metric

QUICK = """
heartbeat_s_min = 1
heartbeat_s_offered = 2
heartbeat_s_max = 60
pong_timeout_s = 1
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
