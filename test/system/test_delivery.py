"""Collapse keys and priorities: who is behind gets the newest of a key, and what may wait wakes no link."""
import json

import pytest

from longwire_server import Server
from waiting import wait_until
from wire import STREAMS, Poll, Ws, fresh, history, path_of, publish, query_of, request


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server(config="heartbeat_s_min = 1\n[namespace passing]\ndurability = none\n") as server:
        yield server


def shape(event):
    return (event["from"], event["to"], event["why"]) if event["type"] == "gap" else event["seq"]


def publish_scores(server, channel):
    """a b a a - b: seqs 1 to 6."""
    for key in ("a", "b", "a", "a", None, "b"):
        publish(server, channel, b"x", collapse_key=key)


WANT = [(1, 3, "collapsed"), 4, 5, 6]


@pytest.mark.parametrize("kind", ["ws", "poll", *STREAMS])
def test_who_is_behind_gets_the_newest_of_a_key(server, kind):
    channel = fresh()
    publish_scores(server, channel)
    reader_type = {"ws": Ws, "poll": Poll, **STREAMS}[kind]
    with reader_type(server, query_of(channel) + "&after=0") as reader:
        assert [shape(reader.next()) for _ in WANT] == WANT
    assert [message["seq"] for message in history(server, channel).json()["messages"]] == [1, 2, 3, 4, 5, 6]


def test_after_a_restart_too():
    channel = fresh()
    with Server() as server:
        publish_scores(server, channel)
        server.kill()
        server.restart()
        with Ws(server, query_of(channel) + "&after=0") as ws:
            assert [shape(ws.next()) for _ in WANT] == WANT


def test_who_is_up_to_date_gets_all(server):
    channel = fresh()
    with Ws(server, query_of(channel)) as ws:
        ws.settle()
        for seq in range(1, 6):
            publish(server, channel, collapse_key="a")
            assert ws.next()["seq"] == seq


def test_in_batches_and_frames(server):
    channel = fresh()
    batch = {"messages": [{"channel": channel, "data": n, "collapse_key": "é"} for n in range(3)]}
    request(server, "POST", "/v1/messages", json.dumps(batch).encode(), content_type="application/json").want(200)
    with Ws(server) as ws:
        ws.ask("publish", "published", channel=channel, data=3, collapse_key="é")
    publish(server, channel, collapse_key="%C3%A9")
    with Ws(server, query_of(channel) + "&after=0") as ws:
        assert [shape(ws.next()), shape(ws.next())] == [(1, 4, "collapsed"), 5]


@pytest.mark.parametrize("fields, query", [({"collapse_key": "x" * 65}, ""), ({"collapse_key": "%0A"}, ""),
                                           ({"collapse_key": "%"}, ""), ({}, "?priority=soon"), ({}, "?priority=%00")])
def test_what_is_refused(server, fields, query):
    assert request(server, "POST", path_of(fresh()) + "/messages" + query, b"x", **fields).status == 400




def test_what_may_wait_leaves_with_the_next_beat(server):
    channel = fresh()
    with Ws(server, query_of(channel)) as ws, Ws(server, query_of(channel)) as other:
        for reader in (ws, other):
            reader.ask("connect", "connected", heartbeat=600)
            reader.settle()
        publish(server, channel, b"waits", query="?priority=beat")
        publish(server, channel, b"waits", query="?priority=beat")
        wait_until(lambda: request(server, "GET", path_of(channel)).json()["head"] == 2)
        assert not ws.others
        ws.ask("ping", "pong")
        assert [ws.next()["seq"], ws.next()["seq"]] == [1, 2]
        publish(server, channel, b"now")  # it takes along what waits, in order
        assert [other.next()["seq"] for _ in range(3)] == [1, 2, 3]
        assert ws.next()["seq"] == 3


def test_another_parameter_is_no_priority(server):
    publish(server, fresh(), query="?ttl=60")
    publish(server, fresh(), query="?ttl=60&priority=now")


def test_what_no_log_keeps_does_not_wait(server):
    channel = fresh("passing")
    with Ws(server, query_of(channel)) as ws:
        ws.settle()
        publish(server, channel, b"x", query="?priority=beat")
        assert ws.next()["seq"] == 1
