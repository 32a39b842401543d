"""Groups of a session's user: followed and left at once, by links that are there and by devices that were away."""
import contextlib
import json
import threading

import pytest

from longwire_client import Api
from longwire_server import Server, is_built
from native_link import NativeLink
from wire import Ws

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")


@pytest.fixture(scope="module", name="server", params=[Ws, NativeLink])
def server_fixture(request):
    with Server() as server:
        server.link = request.param  # what devices come by
        yield server


@pytest.fixture(name="api")
def api_fixture(server):
    with contextlib.closing(Api(server.url)) as api:
        yield api


def member(api, method, group, user):
    answer = api.call(method, f"/v1/groups/{group}/members/{user}")
    assert answer.status == 200
    return answer.json["seq"]


def join(api, group, user):
    return member(api, "PUT", group, user)


def leave(api, group, user):
    return member(api, "DELETE", group, user)


def publish(api, channel, data):
    assert api.publish(channel, str(data).encode()).status == 201


@contextlib.contextmanager
def device(server, user, name="phone"):
    with server.link(server) as ws:
        ws.ask("connect", "connected", session=True, user=user, device=name)
        yield ws


def next_frame(ws):
    return ws.others.pop(0) if ws.others else json.loads(ws.frame_text())


def until(ws, last):
    """The data of the messages up to this one, and what membership messages say, in the order in which they came."""
    came = []
    while True:
        frame = next_frame(ws)
        if frame["type"] == "membership":
            came.append(("joined" if frame["joined"] else "left", frame["group"]))
        elif frame["type"] == "message":
            if frame["data"] == last:
                return came
            came.append(frame["data"])


def end_of(api, user, ws):
    publish(api, f"user:{user}", "end")
    return until(ws, "end")


def test_a_link_follows_and_leaves(server, api):
    user = "ann"
    publish(api, "group:live", "before")
    with device(server, user) as ws:
        join(api, "live", user)
        publish(api, "group:live", "1")
        assert until(ws, "1") == [("joined", "live")]
        publish(api, "group:live", "2")
        assert until(ws, "2") == []
        leave(api, "live", user)
        kinds = [next_frame(ws)["type"] for _ in range(2)]
        assert kinds == ["membership", "unsubscribed"]      # at once, and not with the next message
        publish(api, "group:live", "not for ann")
        assert end_of(api, user, ws) == []
        join(api, "live", user)
        publish(api, "group:live", "3")
        assert until(ws, "3") == [("joined", "live")]


def test_a_device_that_was_away_gets_what_was_published_to_a_member(server, api):
    user = "bob"
    with device(server, user):
        pass
    join(api, "away", user)
    publish(api, "group:away", "1")
    leave(api, "away", user)
    publish(api, "group:away", "not for bob")
    join(api, "away", user)
    publish(api, "group:away", "2")
    publish(api, "group:away", "3")
    leave(api, "away", user)
    publish(api, "group:away", "not for bob either")
    with device(server, user) as ws:
        came = until(ws, "3")
        assert [data for data in came if isinstance(data, str)] == ["1", "2"]
        assert end_of(api, user, ws).count("not for bob") == 0
    join(api, "away", user)
    publish(api, "group:away", "4")
    with device(server, user) as ws:
        came = until(ws, "4")
        assert not any("not for bob" in data for data in came if isinstance(data, str))


def test_who_is_a_member_again_is_an_ordinary_reader(server, api):
    """Behind the spans of the time before, the link compares its places, and the next leave is felt as ever."""
    user = "fay"
    with device(server, user):
        join(api, "again", user)
        publish(api, "group:again", "1")
    leave(api, "again", user)
    publish(api, "group:again", "not for fay")
    join(api, "again", user)
    publish(api, "group:again", "2")
    with device(server, user) as ws:
        assert [data for data in until(ws, "2") if isinstance(data, str)] == ["1"]
        publish(api, "group:again", "3")
        assert until(ws, "3") == []
        places = ws.ask("ping", "pong", places=True)["places"]
        assert places["group:again"]["seq"] == 4 and f"user:{user}" in places
        leave(api, "again", user)
        publish(api, "group:again", "not for fay")
        assert end_of(api, user, ws) == [("left", "again")]
        join(api, "again", user)
        publish(api, "group:again", "4")
        assert until(ws, "4") == [("joined", "again")]


def test_what_was_given_before_a_leave_is_acknowledged_after_it(server, api):
    """The client hears of the leave before it has said that it has the last messages. They are not sent with each link anew."""
    user = "hal"
    with device(server, user) as ws:
        join(api, "gone", user)
        publish(api, "group:gone", "1")
        publish(api, "group:gone", "2")
        assert until(ws, "2") == [("joined", "gone")] + ["1"]
        leave(api, "gone", user)
        assert [next_frame(ws)["type"] for _ in range(2)] == ["membership", "unsubscribed"]
        assert ws.ask("ack", "ack", channel="group:gone", seq=1, ref=1)["seq"] == 1
    with device(server, user) as ws:
        assert until(ws, "2")[-1] != "1"
        assert end_of(api, user, ws) == []
        assert ws.ask("ack", "ack", channel="group:gone", seq=9, ref=1)["seq"] == 2   # beyond what was given counts as that
        ws.ask("ack", "error", channel="group:never", seq=1, ref=2)
    with device(server, user) as ws:
        assert end_of(api, user, ws)[-1:] != ["2"]


def test_many_groups_that_were_left_are_acknowledged(server, api):
    user, groups = "ivy", [f"many-{n}" for n in range(40)]
    with device(server, user):
        pass
    for group in groups:
        join(api, group, user)
        publish(api, f"group:{group}", group)
        leave(api, group, user)
    with device(server, user) as ws:
        channels, told = {f"group:{group}" for group in groups}, {"message": set(), "unsubscribed": set()}
        while told["message"] != channels or told["unsubscribed"] != channels:
            frame = next_frame(ws)
            told.setdefault(frame["type"], set()).add(frame["channel"])
        for number, channel in enumerate(sorted(channels)):
            assert ws.ask("ack", "ack", channel=channel, seq=1, ref=number)["seq"] == 1
    with device(server, user) as ws:
        assert not [data for data in end_of(api, user, ws) if data in groups]
        publish(api, f"device:{user}/phone", "last")
        assert until(ws, "last") == []


def test_changes_while_a_stream_flows(server, api):
    """A publisher that never rests, and a member that comes and goes: each message between the answers of a join and of the
    next leave comes, once and in order; none comes that was published outside."""
    user, stop, sent = "cat", threading.Event(), []

    def flow():
        with contextlib.closing(Api(server.url)) as mine:
            while not stop.is_set():
                sent.append(mine.publish("group:flow", b"x").json["seq"])

    got = []
    with device(server, user) as ws:
        publisher = threading.Thread(target=flow)
        publisher.start()
        spans = []
        try:
            for _ in range(15):
                begun = len(sent)
                join(api, "flow", user)
                joined = len(sent)
                while len(sent) < joined + 10:
                    pass
                leaving = len(sent)
                leave(api, "flow", user)
                spans.append((begun, joined, leaving, len(sent)))
        finally:
            stop.set()
            publisher.join()
        publish(api, f"user:{user}", "end")
        while True:
            frame = next_frame(ws)
            if frame["type"] == "message" and frame["data"] == "end":
                break
            if frame["type"] == "message":
                got.append(frame["seq"])
    assert got == sorted(set(got))
    must, may = set(), set()
    for begun, joined, leaving, left in spans:
        must |= set(sent[joined + 1:leaving])
        may |= set(sent[max(begun - 1, 0):left + 1])
    assert must <= set(got) <= may, (sorted(must - set(got))[:5], sorted(set(got) - may)[:5])
