"""How far a message came with each device: acknowledged, written, pending; on every transport, over restarts, for groups page
by page; and who may ask."""
import contextlib
import time
from urllib.parse import quote

import pytest

from longwire_client import Api
from longwire_server import Server, is_built
from native_wire import NativeClient
from test_groups import join, leave
from test_sessions import Device, Stream
from waiting import wait_until
from wire import path_of, publish, request

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

names = iter(f"r{n}" for n in range(1000000))


@pytest.fixture(scope="module", name="server")
def server_fixture():
    with Server() as running:
        yield running


@pytest.fixture(name="user")
def user_fixture():
    return next(names)


@pytest.fixture(name="api")
def api_fixture(server):
    with contextlib.closing(Api(server.url)) as api:
        yield api


def page(server, channel, seq, query=""):
    return request(server, "GET", f"{path_of(channel)}/messages/{seq}/receipts{query}").want(200).json()


def receipts(server, channel, seq):
    answer = page(server, channel, seq)
    assert (answer["channel"], answer["seq"]) == (channel, seq) and "next" not in answer
    return answer["devices"]


def states(server, channel, seq):
    return {one["device"]: one["state"] for one in receipts(server, channel, seq)}


def wait_for(server, channel, seq, **wanted):
    wait_until(lambda: states(server, channel, seq) == wanted, lambda: states(server, channel, seq))


def begin(server, user, device):
    """A device that has a session, and no link."""
    with Device(server, user, device) as one:
        one.connect()


def test_three_devices_in_three_states(server, user):
    channel = f"user:{user}"
    begin(server, user, "tablet")
    with Device(server, user, "phone") as phone, Device(server, user, "watch") as watch:
        phone.connect()
        watch.connect()
        before = publish(server, channel)
        assert before["seq"] == 1
        phone.read(1)
        watch.read(1)
        assert phone.ack(channel, 1) == 1
        wait_for(server, channel, 1, phone="acknowledged", watch="written", tablet="pending")
        times = {one["device"]: one["time"] for one in receipts(server, channel, 1)}
        assert times["tablet"] is None and before["time"] <= times["phone"] <= time.time() * 1000 + 1000
        assert before["time"] <= times["watch"]
        assert [one["device"] for one in receipts(server, channel, 1)] == ["phone", "tablet", "watch"]
        assert {one["user"] for one in receipts(server, channel, 1)} == {user}
    # What was written to a link that is gone is pending again: nobody knows whether it arrived.
    wait_for(server, channel, 1, phone="acknowledged", watch="pending", tablet="pending")


def test_a_session_that_began_later_is_left_out(server, user):
    channel = f"user:{user}"
    begin(server, user, "old")
    before = publish(server, channel)["time"]
    wait_until(lambda: time.time() * 1000 > before + 2)  # the clock of the log counts milliseconds
    begin(server, user, "new")
    assert states(server, channel, 1) == {"old": "pending"}
    publish(server, channel)
    assert states(server, channel, 2) == {"old": "pending", "new": "pending"}


def test_a_device_channel_is_for_one(server, user):
    begin(server, user, "other")
    with Device(server, user, "phone") as phone:
        phone.connect()
        publish(server, f"device:{user}/phone")
        phone.read(1)
        wait_for(server, f"device:{user}/phone", 1, phone="written")
    publish(server, f"device:{user}/nowhere")
    assert receipts(server, f"device:{user}/nowhere", 1) == []


def test_over_native(server, user):
    channel = f"user:{user}"
    with NativeClient(server.tcp_port, user=user, device="phone", standing=True) as phone:
        publish(server, channel)
        while phone.next()["type"] not in ("message", "full"):
            pass
        wait_for(server, channel, 1, phone="written")
        phone.send({"type": "ack", "channel": channel, "seq": 1})
        wait_for(server, channel, 1, phone="acknowledged")


@pytest.mark.parametrize("kind", ["sse", "ndjson", "multipart", "poll"])
def test_over_http_transports(server, user, kind):
    channel = f"user:{user}"
    with Stream(server, kind, user) as phone:
        phone.open()
        phone.settle()
        wait_until(lambda: request(server, "GET", f"/v1/users/{user}").json()["devices"])
        publish(server, channel)
        assert phone.read(1) == [("user", 1)]
        # A poll that was answered is no link any more.
        wait_for(server, channel, 1, phone="pending" if kind == "poll" else "written")
        phone.open()
        phone.settle()
        wait_for(server, channel, 1, phone="acknowledged")


def test_what_a_full_socket_did_not_take_is_pending(server, user):
    channel = f"user:{user}"
    with Device(server, user, "phone") as phone:
        phone.connect()
        last = [publish(server, channel, b"x" * 1000000)["seq"] for _ in range(30)][-1]
        wait_for(server, channel, 1, phone="written")
        assert states(server, channel, last) == {"phone": "pending"}
        phone.read(last)
        wait_for(server, channel, last, phone="written")


def test_what_is_acknowledged_stays_so_over_kill_9(user):
    """Threat 18: a receipt never goes back."""
    channel = f"user:{user}"
    with Server() as server, Device(server, user, "phone") as phone, Device(server, user, "watch") as watch:
        for device in (phone, watch):
            device.connect()
        publish(server, channel)
        phone.read(1)
        phone.ack(channel, 1)
        wait_until(lambda: receipts(server, channel, 1)[0]["state"] == "acknowledged")
        told = receipts(server, channel, 1)
        server.kill()
        server.start()
        assert states(server, channel, 1) == {"phone": "acknowledged", "watch": "pending"}
        assert receipts(server, channel, 1)[0] == told[0]  # with its time


def test_redeliveries_are_counted(user):
    channel = f"user:{user}"
    with Server() as server, contextlib.closing(Api(server.url)) as api:
        with Device(server, user, "phone") as phone:
            phone.connect()
            for _ in range(5):
                publish(server, channel)
            phone.read(5)
            phone.ack(channel, 2)
        wait_until(lambda: api.metrics()["longwire_redeliveries_total"] == 3)
        with Device(server, user, "phone") as phone:
            phone.connect()
            phone.read(3)
            phone.ack(channel, 5)
        wait_until(lambda: not request(server, "GET", f"/v1/users/{user}").json()["devices"][0]["online"])
        assert api.metrics()["longwire_redeliveries_total"] == 3
        assert api.metrics()["longwire_admissions_total"] == 2


# --- groups -----------------------------------------------------------------------------------------------------------

def test_a_message_of_a_group_is_for_who_was_a_member(server, api, user):
    group, others = f"g{user}", [f"{user}{letter}" for letter in "abc"]
    for other in others:
        begin(server, other, "phone")
    join(api, group, others[0])
    join(api, group, others[1])
    publish(server, f"group:{group}")
    leave(api, group, others[1])
    join(api, group, others[2])
    publish(server, f"group:{group}")

    def who(seq):
        return [one["user"] for one in receipts(server, f"group:{group}", seq)]

    assert who(1) == [others[0]]  # who has left is no member any more
    assert who(2) == [others[0], others[2]]
    with Device(server, others[2], "phone") as phone:
        phone.connect()
        phone.ws.frame("membership")
        phone.read(1)
        wait_until(lambda: receipts(server, f"group:{group}", 2)[1]["state"] == "written")


def test_a_large_group_page_by_page(server, api, user):
    """More members than a page looks at, most of them without a device."""
    group, channel = f"g{user}", f"group:g{user}"
    members = [f"{user}-{n:04}" for n in range(600)]
    for member in members:
        join(api, group, member)
    with_devices = members[3:600:97]
    for member in with_devices:
        for device in ("a", "b", "c"):
            begin(server, member, device)
    publish(server, channel)
    wanted = [(member, device) for member in with_devices for device in "abc"]
    for limit in (1, 2, 7, 500, 100000):
        found, after, pages = [], None, 0
        while after is not None or pages == 0:
            answer = page(server, channel, 1, f"?limit={limit}" + (f"&next={quote(after, safe='')}" if after else ""))
            assert len(answer["devices"]) <= limit
            found += [(one["user"], one["device"]) for one in answer["devices"]]
            after, pages = answer.get("next"), pages + 1
        assert found == wanted, limit
        assert pages >= 3  # 256 members each


# --- what is refused -------------------------------------------------------------------------------------------------

def test_what_is_no_question(server, user):
    channel = f"user:{user}"
    publish(server, channel)

    def refused(target, status):
        return request(server, "GET", target).want_problem(status)["detail"]

    at = f"{path_of(channel)}/messages"
    assert "no such message yet" in refused(f"{at}/2/receipts", 404)
    for seq in ("0", "-1", "x", "1.0", str(1 << 64)):
        refused(f"{at}/{seq}/receipts", 400)
    for query in ("limit=0", "limit=x", "next=", "next=alice", "next=/phone", "next=a/b/c", "next=%00/", "other=1", "limit=1&limit=2"):
        refused(f"{at}/1/receipts?{query}", 400)
    assert "GET /v1/why" in refused("/v1/channels/topic:a/messages/1/receipts", 404)
    assert request(server, "POST", f"{at}/1/receipts", b"").want_problem(405)
