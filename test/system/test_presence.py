"""Presence: which devices follow a channel now, asked for and told by `join` and `leave`, alike on all transports."""
import contextlib
import json
import time

import jwt
import pytest

from longwire_server import Server, is_built
from native_wire import NativeClient
from waiting import wait_until
from wire import Multipart, Ndjson, Poll, Sse, Ws, fresh, metric, path_of, publish, request

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

CONFIG = """
[namespace room]
presence = true
[namespace group]
presence = true
"""


@pytest.fixture(scope="module", name="server")
def server_fixture():
    with Server(config=CONFIG) as running:
        yield running


def ask_page(server, channel, query=""):
    return request(server, "GET", f"{path_of(channel)}/subscribers{query}").want(200).json()


def present(server, channel):
    """Who is in the set, as {"user/device": transport}."""
    answer = ask_page(server, channel, "?limit=1000")
    assert answer["channel"] == channel and answer["count"] == len(answer["subscribers"])
    return {f"{one['user']}/{one['device']}": one["transport"] for one in answer["subscribers"]}


def wait_for_set(server, channel, *who):
    wait_until(lambda: set(present(server, channel)) == set(who), lambda: f"{present(server, channel)}, not {who}")


def ws_of(server, user, device="phone"):
    return Ws(server, f"user={user}&device={device}")


def told(reader):
    """The next frame about presence, as (type, "user/device" or None, count)."""
    while True:
        frame = json.loads(reader.frame_text()) if isinstance(reader, Ws) else reader.next()
        if frame["type"] in ("join", "leave", "presence"):
            who = f"{frame['user']}/{frame['device']}" if "user" in frame else None
            return frame["type"], who, frame["count"]
        assert frame["type"] in ("subscribed", "connected", "unsubscribed"), frame


# --- the set --------------------------------------------------------------------------------------------------------

def test_who_follows_is_there(server):
    channel = fresh("room")
    before = time.time() * 1000 - 1000
    assert ask_page(server, channel) == {"channel": channel, "count": 0, "subscribers": []}
    with ws_of(server, "ann") as ann:
        ann.ask("subscribe", "subscribed", channel=channel)
        wait_for_set(server, channel, "ann/phone")
        one, = ask_page(server, channel)["subscribers"]
        assert (one["user"], one["device"], one["transport"]) == ("ann", "phone", "websocket")
        assert before < one["since"] < time.time() * 1000 + 1000
        ann.ask("unsubscribe", "unsubscribed", channel=channel)
        wait_for_set(server, channel)


def test_join_and_leave_are_told(server):
    channel = fresh("room")
    with ws_of(server, "ann") as ann:
        ann.ask("subscribe", "subscribed", channel=channel, presence=True)
        assert told(ann) == ("presence", None, 1)
        with ws_of(server, "bob") as bob:
            bob.ask("subscribe", "subscribed", channel=channel)
            assert told(ann) == ("join", "bob/phone", 2)
            bob.ask("unsubscribe", "unsubscribed", channel=channel)
            assert told(ann) == ("leave", "bob/phone", 1)


def test_a_namespace_without_presence_says_so(server):
    channel = fresh("topic")
    problem = request(server, "GET", f"{path_of(channel)}/subscribers").want_problem(409)
    assert "presence = true" in problem["detail"]
    with ws_of(server, "ann") as ann:
        error = ann.ask("subscribe", "error", channel=channel, presence=True, ref=1)
        assert (error["code"], error["ref"]) == (409, 1) and "presence = true" in error["reason"]
    problem = request(server, "GET", f"/v1/subscribe?channel={channel}&presence=1").want_problem(409)
    assert "presence = true" in problem["detail"]


# --- alike on every transport -----------------------------------------------------------------------------------------

class Told:
    """What a follower makes of what it is told: docs/protocol.md section 11, how a client keeps the set."""

    def __init__(self, server, channel):
        self.server, self.channel, self.set, self.asked = server, channel, None, 0

    def take(self, frame):
        if "user" in frame and self.set is not None:
            who = f"{frame['user']}/{frame['device']}"
            (self.set.add if frame["type"] == "join" else self.set.discard)(who)
            if len(self.set) == frame["count"]:
                return
        self.set = set(present(self.server, self.channel))
        self.asked += 1


class NativeReader:
    """The frames of a native client, as the other readers have them."""
    transport = "native"

    def __init__(self, server, channel, user):
        self.client = NativeClient(server.tcp_port, user=user, device="d")
        self.client.send({"type": "subscribe", "channel": channel, "presence": True})

    def next(self):
        while (frame := self.client.expect("presence", "join", "leave", "subscribed"))["type"] == "subscribed":
            pass
        return frame

    def close(self):
        self.client.close()


class WsReader:
    transport = "websocket"

    def __init__(self, server, channel, user):
        self.ws = Ws(server, f"channel={channel}&presence=1&user={user}&device=d")

    def next(self):
        while (frame := json.loads(self.ws.frame_text()))["type"] == "subscribed":
            pass
        return frame

    def close(self):
        self.ws.wire.close()


class HttpReader:
    def __init__(self, kind, transport):
        self.kind, self.transport = kind, transport

    def __call__(self, server, channel, user):
        self.reader = self.kind(server, f"channel={channel}&presence=1&user={user}&device=d")
        return self

    def next(self):
        return self.reader.next()

    def close(self):
        self.reader.wire.close()


READERS = {"websocket": lambda: WsReader, "native": lambda: NativeReader, "sse": lambda: HttpReader(Sse, "sse"),
           "ndjson": lambda: HttpReader(Ndjson, "ndjson"), "multipart": lambda: HttpReader(MultipartNotes, "multipart")}


class MultipartNotes(Multipart):
    """Parts application/vnd.longwire.join+json and the like."""

    def next(self):
        while True:
            headers, body = self.part()
            kind = headers["Content-Type"]
            if kind.startswith("application/vnd.longwire.") and kind.endswith("+json") and b"count" in body:
                frame = json.loads(body)
                assert kind == f"application/vnd.longwire.{frame['type']}+json"
                return frame


def who_of(frame):
    return frame["type"], f"{frame['user']}/{frame['device']}" if "user" in frame else None, frame["count"]


@pytest.mark.parametrize("name", READERS)
def test_each_transport_is_there_and_is_told(server, name):
    channel = fresh("room")
    reader = READERS[name]()(server, channel, "ann")
    assert who_of(reader.next()) == ("presence", None, 1)
    assert present(server, channel) == {"ann/d": reader.transport}
    with ws_of(server, "bob\u00e9") as bob:
        bob.ask("subscribe", "subscribed", channel=channel)
        assert who_of(reader.next()) == ("join", "bob\u00e9/phone", 2)
        bob.ask("unsubscribe", "unsubscribed", channel=channel)
        assert who_of(reader.next()) == ("leave", "bob\u00e9/phone", 1)
    reader.close()
    wait_for_set(server, channel)


def test_a_poller_is_told_and_is_there_between_polls(server):
    channel = fresh("room")
    with Poll(server, f"channel={channel}&presence=1&user=ann&device=d&after=0") as poll, ws_of(server, "bob") as bob:
        assert [who_of(frame) for frame in poll.page(wait=0)] == [("presence", None, 1)]
        assert present(server, channel) == {"ann/d": "poll"}
        bob.ask("subscribe", "subscribed", channel=channel)
        wait_for_set(server, channel, "ann/d", "bob/phone")
        poll.query = f"channel={channel}&presence=1&user=ann&device=d"
        poll.cursor = None
        poll.wire.send(f"GET /v1/subscribe?{poll.query}&wait=60 HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n".encode())
        wait_until(lambda: request(server, "GET", path_of(channel)).json()["subscribers"] == 2)
        with ws_of(server, "eve") as eve:
            eve.ask("subscribe", "subscribed", channel=channel)
            answer = poll.wire.answer().want(200).json()
        assert [who_of(frame) for frame in answer["messages"]] == [("presence", None, 2), ("join", "eve/phone", 3)]
        assert "ann/d" in present(server, channel)


def test_a_poll_of_messages_has_both(server):
    channel = fresh("room")
    publish(server, channel, b"one")
    with Poll(server, f"channel={channel}&presence=1&user=ann&after=0") as poll:
        first, second = poll.page(wait=0)
        assert who_of(first) == ("presence", None, 1) and second["payload"] == b"one"
    assert "ann/poll" in present(server, channel)


# --- who is there -----------------------------------------------------------------------------------------------------

def test_nobody_is_in_no_set(server):
    channel = fresh("room")
    with Ws(server) as nobody, ws_of(server, "ann") as ann:
        nobody.ask("subscribe", "subscribed", channel=channel, presence=True)
        assert told(nobody) == ("presence", None, 0)
        ann.ask("subscribe", "subscribed", channel=channel)
        assert told(nobody) == ("join", "ann/phone", 1)
        assert request(server, "GET", path_of(channel)).json()["subscribers"] == 2


def test_a_link_without_a_device_is_one_by_its_key(server):
    channel = fresh("room")
    with Ws(server, "user=ann") as one, Ws(server, "user=ann") as other:
        for ws in (one, other):
            ws.ask("subscribe", "subscribed", channel=channel)
        wait_for_set(server, channel, *(f"ann/{ws.greeting['connection']}" for ws in (one, other)))


def test_several_links_of_a_device_count_once(server):
    channel = fresh("room")
    with ws_of(server, "bob") as bob:
        bob.ask("subscribe", "subscribed", channel=channel, presence=True)
        assert told(bob) == ("presence", None, 1)
        with ws_of(server, "ann") as one, Sse(server, f"channel={channel}&user=ann&device=phone"):
            assert told(bob) == ("join", "ann/phone", 2)
            one.ask("subscribe", "subscribed", channel=channel)
            one.ask("unsubscribe", "unsubscribed", channel=channel)
            wait_for_set(server, channel, "ann/phone", "bob/phone")
        assert told(bob) == ("leave", "ann/phone", 1)


def test_a_link_that_becomes_another_device_moves(server):
    channel = fresh("room")
    with ws_of(server, "bob") as bob, Ws(server, f"channel={channel}") as ann:
        bob.ask("subscribe", "subscribed", channel=channel, presence=True)
        assert told(bob) == ("presence", None, 1)
        ann.frame("subscribed")
        ann.ask("connect", "connected", user="ann", device="pad", session=True)
        assert told(bob) == ("join", "ann/pad", 2)


# --- for how long -----------------------------------------------------------------------------------------------------

def test_a_goodbye_counts_at_once_and_a_cut_later():
    """The first server keeps the place of a cut link for an hour: who is told there that ann has left was told for her goodbye."""
    for is_cut, return_s in ((False, 3600), (True, 2)):
        with Server(config=CONFIG + "\n", flags=["--presence-return-s", str(return_s)]) as server, ws_of(server, "bob") as bob:
            channel = fresh("room")
            bob.ask("subscribe", "subscribed", channel=channel, presence=True)
            assert told(bob) == ("presence", None, 1)
            with ws_of(server, "ann") as ann:
                ann.ask("subscribe", "subscribed", channel=channel)
                assert told(bob) == ("join", "ann/phone", 2)
                began = time.monotonic()
                if is_cut:
                    ann.wire.reset()
                else:
                    ann.peer.send_close(1000)
                    ann.pump()
                assert told(bob) == ("leave", "ann/phone", 1)
                assert not is_cut or time.monotonic() - began >= 1.9


def test_who_comes_back_has_not_left():
    """Cut twenty times, and never gone: a frame would come before the one of eve."""
    channel = fresh("room")
    with Server(config=CONFIG, flags=["--presence-return-s", "3600"]) as server, ws_of(server, "bob") as bob:
        bob.ask("subscribe", "subscribed", channel=channel, presence=True)
        assert told(bob) == ("presence", None, 1)
        for turn in range(20):
            with ws_of(server, "ann") as ann:
                ann.ask("subscribe", "subscribed", channel=channel)
                ann.wire.reset()
        assert told(bob) == ("join", "ann/phone", 2)
        with ws_of(server, "ann") as ann, ws_of(server, "eve") as eve:
            ann.ask("subscribe", "subscribed", channel=channel)
            eve.ask("subscribe", "subscribed", channel=channel)
            assert told(bob) == ("join", "eve/phone", 3)


def test_a_silent_link_is_absent_until_it_is_heard():
    flags = ["--heartbeat-s-min", "1", "--pong-timeout-s", "1", "--presence-lease-s", "1"]
    with Server(config=CONFIG, flags=flags) as server, ws_of(server, "bob") as bob:
        channel = fresh("room")
        bob.ask("subscribe", "subscribed", channel=channel, presence=True)
        assert told(bob) == ("presence", None, 1)
        with NativeClient(server.tcp_port, user="ann", device="pad", heartbeat=1) as ann:
            ann.send({"type": "subscribe", "channel": channel})
            ann.expect("subscribed")
            assert told(bob) == ("join", "ann/pad", 2)
            assert told(bob) == ("leave", "ann/pad", 1)     # young: its link lives for twelve beats
            ann.send({"type": "ping"})
            ann.expect("pong")
            assert told(bob) == ("join", "ann/pad", 2)


def test_after_a_kill_everybody_is_absent_until_they_come_again():
    with Server(config=CONFIG) as server:
        channel = fresh("room")
        with ws_of(server, "ann") as ann:
            ann.ask("subscribe", "subscribed", channel=channel)
            wait_for_set(server, channel, "ann/phone")
            server.kill()
        server.restart()
        assert present(server, channel) == {}
        with ws_of(server, "ann") as ann:
            ann.ask("subscribe", "subscribed", channel=channel)
            wait_for_set(server, channel, "ann/phone")


# --- sessions ---------------------------------------------------------------------------------------------------------

def member(server, method, group, user):
    request(server, method, f"/v1/groups/{group}/members/{user}").want(200)


def next_of(ws, *kinds):
    """The next frame of these types, whatever comes before it."""
    while (frame := json.loads(ws.frame_text()))["type"] not in kinds:
        pass
    return frame


def test_the_groups_of_a_session(server):
    """A session is in the sets of its groups by itself; it asks to be told with subscribe, and its place stays."""
    group, one, two = fresh("group"), *(fresh("u").replace(":", "-") for _ in range(2))
    name = group.split(":")[1]
    for user in (one, two):
        member(server, "PUT", name, user)
    publish(server, group, b"before")
    with Ws(server) as ann, Ws(server) as bob:
        ann.ask("connect", "connected", session=True, user=one, device="pad")
        wait_for_set(server, group, f"{one}/pad")
        ann.say("subscribe", channel=group, presence=True, ref=7)
        while "ref" not in (said := next_of(ann, "subscribed", "error")):
            pass
        assert (said["type"], said["channel"], said["ref"], said["after"]) == ("subscribed", group, 7, 1)
        assert who_of(next_of(ann, "presence", "join")) == ("presence", None, 1)
        bob.ask("connect", "connected", session=True, user=two, device="web")
        assert who_of(next_of(ann, "join", "leave")) == ("join", f"{two}/web", 2)
        member(server, "DELETE", name, two)
        assert who_of(next_of(ann, "join", "leave")) == ("leave", f"{two}/web", 1)
        publish(server, group, b"after")
        assert next_of(ann, "message", "gap")["data"] == "after"


def test_a_session_on_a_stream_is_told_of_its_groups(server):
    group, user = fresh("group"), fresh("u").replace(":", "-")
    member(server, "PUT", group.split(":")[1], user)
    with Sse(server, f"session=1&user={user}&device=tab&presence=1") as stream:
        while (frame := stream.next())["type"] != "presence":
            pass
        assert frame == {"type": "presence", "channel": group, "count": 1}
        assert present(server, group) == {f"{user}/tab": "sse"}


# --- users ------------------------------------------------------------------------------------------------------------

def online(server, *users):
    return request(server, "POST", "/v1/presence", json.dumps({"users": users}).encode()).want(200).json()["users"]


def test_many_users_at_once(server):
    channel, ann, bob, eve = fresh("room"), *(fresh("u").replace(":", "-") for _ in range(3))
    assert online(server, ann) == {ann: {"online": False, "devices": 0}}
    with Ws(server) as one, Ws(server) as two, Ws(server, f"user={bob}&device=web") as three:
        one.ask("connect", "connected", session=True, user=ann, device="pad")
        two.ask("connect", "connected", session=True, user=ann, device="phone")
        three.ask("subscribe", "subscribed", channel=channel)   # without a session: known by its channel
        two.ask("subscribe", "subscribed", channel=channel)
        wait_for_set(server, channel, f"{ann}/phone", f"{bob}/web")
        wanted = {ann: {"online": True, "devices": 2}, bob: {"online": True, "devices": 1}, eve: {"online": False, "devices": 0}}
        wait_until(lambda: online(server, ann, bob, eve, ann) == wanted, lambda: online(server, ann, bob, eve))
        device, = request(server, "GET", f"/v1/users/{bob}").want(200).json()["devices"]
        assert (device["device"], device["session"], device["online"], device["transport"]) == ("web", None, True, "websocket")
        devices = request(server, "GET", f"/v1/users/{ann}").want(200).json()["devices"]
        assert [(one["device"], one["session"], one["online"]) for one in devices] == [
            ("pad", f"{ann}/pad", True), ("phone", f"{ann}/phone", True)]
    wait_until(lambda: online(server, ann)[ann]["devices"] == 0)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"users":[]}', b'{"users":"ann"}', b'{"users":[1]}', b'{"users":["a/b"]}',
                                  b'{"users":["ann"],"more":1}', json.dumps({"users": ["a"] * 1001}).encode()])
def test_what_is_no_list_of_users(server, body):
    request(server, "POST", "/v1/presence", body).want_problem(400)


def test_a_thousand_users(server):
    users = [f"many{number}" for number in range(1000)]
    assert set(online(server, *users)) == set(users)


# --- pages and bounds -------------------------------------------------------------------------------------------------

def test_pages(server):
    channel = fresh("room")
    with contextlib.ExitStack() as stack:
        for number in range(7):
            ws = stack.enter_context(ws_of(server, f"u{number}"))
            ws.ask("subscribe", "subscribed", channel=channel)
            # Links of two loops that are told `subscribed` one after the other may come in the other order.
            wait_until(lambda so_many=number + 1: ask_page(server, channel)["count"] == so_many)
        page, got = ask_page(server, channel, "?limit=3"), []
        while True:
            assert page["count"] == 7 and len(page["subscribers"]) <= 3
            got += [one["user"] for one in page["subscribers"]]
            if "next" not in page:
                break
            page = ask_page(server, channel, f"?limit=3&next={page['next']}")
        assert got == [f"u{number}" for number in range(7)]
    for query in ("?limit=0", "?limit=x", "?next=x", "?after=1"):
        request(server, "GET", f"{path_of(channel)}/subscribers{query}").want_problem(400)


def test_a_storm_is_told_as_a_number():
    with Server(config=CONFIG, flags=["--presence-frames-per-s", "3"]) as server, ws_of(server, "bob") as bob:
        channel = fresh("room")
        bob.ask("subscribe", "subscribed", channel=channel, presence=True)
        assert told(bob) == ("presence", None, 1)
        with contextlib.ExitStack() as stack:
            crowd = [stack.enter_context(ws_of(server, f"u{number}")) for number in range(12)]
            for ws in crowd:    # all at one moment
                ws.say("subscribe", channel=channel)
            kinds = []
            while True:
                kind, _, count = told(bob)
                kinds.append(kind)
                if count == 13:
                    break
            assert "presence" in kinds and len(kinds) < 12


def test_a_client_that_reads_slowly_is_told_the_number(server):
    """Nothing is queued for it beyond 64 KiB: it is told no changes meanwhile, and the number when it has read on."""
    channels = [f"room:{'r' * 180}{fresh('x')[2:]}-{number}" for number in range(400)]
    left_out = lambda: metric(server, "longwire_presence_told_total") - metric(server, "longwire_presence_frames_total")
    user = "u" * 120
    with Ws(server, "user=bob&device=phone", receive_bytes=4096) as bob, ws_of(server, user) as ann:
        for channel in channels:
            bob.ask("subscribe", "subscribed", channel=channel, presence=True)
            assert told(bob) == ("presence", None, 1)
        before, rounds = left_out(), 0
        while left_out() - before < 2 * len(channels):
            for kind, answer in (("subscribe", "subscribed"), ("unsubscribe", "unsubscribed")):
                for channel in channels:
                    ann.say(kind, channel=channel)
                for _ in channels:
                    assert next_of(ann, answer, "error")["type"] == answer
            rounds += 1
            assert rounds < 500
        for channel in channels:
            ann.ask("subscribe", "subscribed", channel=channel)
        counts, numbers = {}, set()
        while not numbers or len(counts) < len(channels) or set(counts.values()) != {2}:
            frame = json.loads(bob.frame_text())
            counts[frame["channel"]] = frame["count"]
            if frame["type"] == "presence":
                numbers.add(frame["channel"])
        assert numbers


# --- rights: threat 104 -----------------------------------------------------------------------------------------------

RIGHTS = CONFIG + """
[namespace room]
subscribe = grant
[key back]
secret = back-secret-0123456789
rights = subscribe
[key front]
secret = front-secret-0123456789
rights = publish
[jwt app]
algorithms = HS256
secret = app-secret-0123456789-app-secret-0123456789
"""


def token_of(user, *can):
    now = int(time.time())
    claims = {"sub": user, "iat": now, "exp": now + 600, "channels": [{"match": "room:*", "can": list(can)}] if can else []}
    return jwt.encode(claims, "app-secret-0123456789-app-secret-0123456789", "HS256")


@pytest.fixture(scope="module", name="guarded")
def guarded_fixture():
    with Server(config=RIGHTS.replace("[namespace room]\npresence = true\n", "").replace(
            "[namespace room]\nsubscribe", "[namespace room]\npresence = true\nsubscribe")) as running:
        yield running


CALLERS = {"nobody": None, "back": "back-secret-0123456789", "front": "front-secret-0123456789", "user": (), "follower": ("subscribe",),
           "sees": ("presence",), "both": ("subscribe", "presence")}


def authorization(caller):
    credential = CALLERS[caller]
    if credential is None:
        return {}
    return {"authorization": "Bearer " + (token_of("ann", *credential) if isinstance(credential, tuple) else credential)}


@pytest.mark.parametrize("caller, room, group, own, others", [
    ("nobody", 401, 401, 401, 401), ("back", 200, 200, 200, 200), ("front", 403, 403, 403, 403), ("user", 403, 200, 200, 403),
    ("follower", 403, 200, 200, 403), ("sees", 200, 200, 200, 403), ("both", 200, 200, 200, 403)])
def test_who_may_ask(guarded, caller, room, group, own, others):
    """`group:g` has ann as a member."""
    request(guarded, "PUT", "/v1/groups/g/members/ann", authorization="Bearer front-secret-0123456789").want(200)
    fields = authorization(caller)
    assert request(guarded, "GET", "/v1/channels/room:a/subscribers", **fields).status == room
    assert request(guarded, "GET", "/v1/channels/group:g/subscribers", **fields).status == group
    ask = lambda *users: request(guarded, "POST", "/v1/presence", json.dumps({"users": users}).encode(), **fields).status
    assert ask("ann") == own
    assert ask("bob") == others and ask("ann", "bob") == others
    if caller in ("user", "both"):
        for channel in ("group:other", "room:a" if caller == "user" else "nope:a"):
            assert request(guarded, "GET", f"/v1/channels/{channel}/subscribers", **fields).status == 403


@pytest.mark.parametrize("caller, code", [("back", None), ("follower", 403), ("both", None)])
def test_who_may_be_told(guarded, caller, code):
    with Ws(guarded, **authorization(caller)) as ws:
        said = ws.ask("subscribe", "error" if code else "subscribed", channel="room:b", presence=True, ref=1)
        assert said["ref"] == 1 and said.get("code") == code
    answer = request(guarded, "GET", "/v1/subscribe?channel=room:b&presence=1&wait=0", accept="application/json",
                     **authorization(caller))
    assert answer.status == (code or 200)
    answer.want_problem(code) if code else None


def test_a_token_without_the_right_ends_being_told(guarded):
    with Ws(guarded, **authorization("both")) as ann, Ws(guarded) as bob:
        ann.ask("subscribe", "subscribed", channel="room:c", presence=True)
        assert told(ann) == ("presence", None, 1)
        ann.ask("connect", "connected", token=token_of("ann", "subscribe"))
        bob.ask("connect", "connected", token=token_of("bob", "subscribe"))
        bob.ask("subscribe", "subscribed", channel="room:c")
        wait_until(lambda: request(guarded, "GET", "/v1/channels/room:c/subscribers", **authorization("back")).json()["count"] == 2)
        ann.ask("ping", "pong")   # nothing came before it


def test_a_channel_that_was_kept_by_a_grant_is_no_membership(guarded):
    """`presence=1` of a session's stream: of what it follows as a member alone."""
    grant = [{"match": "group:kept", "can": ["subscribe"]}]
    token = jwt.encode({"sub": "kate", "iat": int(time.time()), "exp": time.time() + 600, "channels": grant},
                       "app-secret-0123456789-app-secret-0123456789", "HS256")
    fields = {"authorization": f"Bearer {token}"}
    request(guarded, "PUT", "/v1/groups/mine/members/kate", authorization="Bearer front-secret-0123456789").want(200)
    with Ws(guarded, **fields) as ws:
        ws.ask("connect", "connected", session=True, device="d")
        ws.say("subscribe", channel="group:kept", keep=True, ref=1)
        while "ref" not in (said := next_of(ws, "subscribed", "error")):
            pass
        assert said["type"] == "subscribed"
        ws.say("subscribe", channel="group:kept", presence=True, ref=2)
        assert next_of(ws, "error")["code"] == 403
    wait_until(lambda: request(guarded, "GET", "/v1/channels/group:kept/subscribers", **authorization("back")).json()["count"] == 1)
    with Sse(guarded, "session=1&device=d&presence=1", **fields) as stream, Ws(guarded, **fields) as other:
        while (frame := stream.next())["type"] != "presence":
            pass
        assert frame["channel"] == "group:mine"
        other.ask("subscribe", "subscribed", channel="group:kept")
        publish(guarded, "group:kept", b"x", authorization="Bearer front-secret-0123456789")
        assert stream.next()["channel"] == "group:kept"   # and no join before it
