"""People, by both client libraries: who is there, how far a message came, what was read, and groups that are left and joined again,
on every transport."""
import contextlib

import pytest

from client_driver import C, JAVASCRIPT, NODE, Driver
from longwire_client import Api
from longwire_server import Server, is_built
from waiting import wait_until

pytestmark = pytest.mark.skipif(not is_built() or not NODE, reason="longwired is not built, or node is not installed")

CONFIG = "[namespace group]\npresence = true\n"
WAYS = {"binary": {"transports": ["websocket"], "encodings": ["binary"]}, "json": {"transports": ["websocket"], "encodings": ["json"]},
        "sse": {"transports": ["sse"]}, "poll": {"transports": ["poll"]}}


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server(config=CONFIG) as server:
        yield server


@pytest.fixture(name="api")
def fixture_api(server):
    with contextlib.closing(Api(server.url)) as api:
        yield api


def person(server, user, device="phone", **how):
    return Driver(JAVASCRIPT, server.url, {}, user=user, device=device, session=True, presence=True, **how)


def member(api, method, group, user):
    assert api.call(method, f"/v1/groups/{group}/members/{user}").status == 200


def until_roster(client, users):
    client.until(lambda: client.of("roster") and client.of("roster")[-1]["users"] == users, f"not {users}")


@pytest.mark.parametrize("way", WAYS)
def test_who_is_there(server, api, way):
    group, channel = f"there-{way}", f"group:there-{way}"
    for user in ("ann", "bob"):
        member(api, "PUT", group, user)
    with person(server, "ann", **WAYS[way]) as ann:
        ann.until_live()
        ann.say("roster", channel=channel)
        until_roster(ann, ["ann"])
        with person(server, "bob", transports=["websocket"]) as bob:
            until_roster(ann, ["ann", "bob"])
            bob.say("presence", channel=channel)
            bob.until(lambda: bob.of("subscribers"))
            assert bob.of("subscribers")[0]["count"] == 2
        until_roster(ann, ["ann"])


@pytest.mark.parametrize("way", WAYS)
def test_a_group_that_is_left_and_joined_again(server, api, way):
    group, channel = f"again-{way}", f"group:again-{way}"
    member(api, "PUT", group, "ann")
    with person(server, "ann", **WAYS[way]) as ann:
        ann.until_live()
        for round_number in range(3):
            assert api.publish(channel, f"in {round_number}".encode()).status == 201
            ann.until(lambda wanted=f"in {round_number}": wanted in ann.texts(channel), "a message is missing")
            member(api, "DELETE", group, "ann")
            assert api.publish(channel, b"out").status == 201
            member(api, "PUT", group, "ann")
        assert api.publish(channel, b"last").status == 201
        ann.until(lambda: "last" in ann.texts(channel), "the last one is missing")
        assert ann.texts(channel) == ["in 0", "in 1", "in 2", "last"]
        assert ann.of("error") == []


def away(server, api, user, group):
    """Three times in and out, and in again, of which their devices hear when they are back."""
    for round_number in range(3):
        member(api, "PUT", group, user)
        assert api.publish(f"group:{group}", f"in {round_number}".encode()).status == 201
        member(api, "DELETE", group, user)
        assert api.publish(f"group:{group}", b"out").status == 201
    member(api, "PUT", group, user)
    assert api.publish(f"group:{group}", b"last").status == 201


def test_the_c_library_goes_on_in_a_group_that_was_joined_again_while_it_was_away(server, api):
    """On the same link: what the user was no member for is a gap, not a fault of the link."""
    how = {"user": "gus", "device": "pad", "session": True}
    with Driver(C, f"tcp://127.0.0.1:{server.tcp_port}", {}, **how) as gus:
        gus.until_live()
    away(server, api, "gus", "often")
    with Driver(C, f"tcp://127.0.0.1:{server.tcp_port}", {}, **how) as gus:
        gus.until(lambda: "last" in gus.texts("group:often"), "the last one is missing")
        assert gus.texts("group:often") == ["in 0", "in 1", "in 2", "last"]
        assert [state["name"] for state in gus.of("state")].count("live") == 1


@pytest.mark.parametrize("way", WAYS)
def test_receipts_and_read_marks(server, api, way):
    group, channel = f"marks-{way}", f"group:marks-{way}"
    for user in ("eve", "zoe"):
        member(api, "PUT", group, user)
    with person(server, "eve", **WAYS[way]) as eve, person(server, "eve", "tablet", **WAYS[way]) as tablet, \
            person(server, "zoe", **WAYS[way]) as zoe:
        for client in (eve, tablet, zoe):
            client.until_live()
        eve.say("publish", channel=channel, data="hello")
        for client in (eve, tablet, zoe):
            client.until_count(channel, 1)

        def states():
            count = len(eve.of("receipts")) + 1     # before the question: its answer may be quick
            eve.say("receipts", channel=channel, seq=1)
            eve.until(lambda: len(eve.of("receipts")) >= count or eve.of("error"))
            return {f"{one['user']}/{one['device']}": one["state"] for one in eve.of("receipts")[-1]["devices"]}
        wait_until(lambda: set(states().values()) == {"acknowledged"}, states)
        assert set(states()) == {"eve/phone", "eve/tablet", "zoe/phone"}
        eve.say("read", channel=channel, seq=1)
        eve.until(lambda: eve.of("marked"))
        assert eve.of("marked")[0]["seq"] == 1
        tablet.until(lambda: tablet.of("read"), "the other device is not told")
        assert (tablet.of("read")[0]["target_channel"], tablet.of("read")[0]["target"]) == (channel, 1)
        assert zoe.of("read") == []


@pytest.mark.parametrize("session", [False, True])
@pytest.mark.parametrize("way", ["binary", "json", "c"])
def test_what_is_published_to_the_connection_comes_unasked(server, api, way, session):
    program, url, how = (C, f"tcp://127.0.0.1:{server.tcp_port}", {}) if way == "c" else (JAVASCRIPT, server.url, WAYS[way])
    with Driver(program, url, {"topic:a": {}}, user=f"conn-{way}", device="pad", **({"session": True} if session else {}), **how) as client:
        client.until_live()
        channel = f"conn:{client.of('connected')[-1]['connection']}"
        for text in ("one", "two"):
            assert api.publish(channel, text.encode()).status == 201
        client.until_count(channel, 2)
        assert client.texts(channel) == ["one", "two"]
        assert client.of("error") == []


def test_the_c_library_tells_who_comes_and_goes(server, api):
    member(api, "PUT", "native", "bob")
    with Driver(C, f"tcp://127.0.0.1:{server.tcp_port}", {"group:native": {"presence": True}}, user="ann", device="pad") as ann:
        ann.until(lambda: ann.of("presence"), "no number")
        assert ann.of("presence")[0]["count"] == 1
        with person(server, "bob", transports=["websocket"]):
            ann.until(lambda: ann.of("join"), "nobody came")
        ann.until(lambda: ann.of("leave"), "nobody went")
        for kind, count in (("join", 2), ("leave", 1)):
            event = ann.of(kind)[0]
            assert (event["channel"], event["user"], event["device"], event["count"]) == ("group:native", "bob", "phone", count)
