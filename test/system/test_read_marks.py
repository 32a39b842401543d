"""Read marks: what a user has read on one device is told to the user's other devices, in order, online or not; it never goes
back; a client that scrolls through a channel does not fill the log of its user."""
import json
import time
import urllib.parse

import jwt
import pytest

from longwire_server import Server, free_port, is_built
from native_wire import NativeClient
from test_cli import run
from waiting import wait_until
from wire import Sse, Ws, history, publish, request

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

SECRET = "a-secret-of-the-issuer-0123456789-abcdef"
KEY = "backend-secret-0123456789"
CONFIG = f"""
[jwt app]
secret = {SECRET}
[key backend]
secret = {KEY}
rights = publish, subscribe, admin
"""
names = iter(f"reader{n}" for n in range(1000000))


@pytest.fixture(scope="module", name="tcp")
def tcp_fixture():
    return free_port()


@pytest.fixture(scope="module", name="server")
def server_fixture(tcp):
    with Server(flags=("--tcp", f"127.0.0.1:{tcp}")) as running:
        yield running


@pytest.fixture(scope="module", name="guarded")
def guarded_fixture():
    with Server(config=CONFIG) as running:
        yield running


@pytest.fixture(name="user")
def user_fixture():
    return next(names)


def session(server, user, device):
    ws = Ws(server).__enter__()
    ws.ask("connect", "connected", session=True, user=user, device=device)
    return ws


def control(ws):
    """The next control message `read`; other messages are passed over."""
    while True:
        frame = json.loads(ws.frame_text())
        if frame["type"] == "read" and "target" in frame:
            return frame


def mark(ws, channel, seq, **members):
    """Sets a mark; what it is then. Control messages that come meanwhile are passed over."""
    ws.say("read", channel=channel, seq=seq, ref="mark", **members)
    while True:
        frame = json.loads(ws.frame_text())
        if frame.get("ref") == "mark":
            return frame


def marks_in_log(server, user):
    return [(m["target_channel"], m["target"]) for m in history(server, f"user:{user}", "?limit=1000").json()["messages"]
            if m["type"] == "read"]


def fill(server, channel, count):
    for _ in range(count):
        publish(server, channel)


def test_other_devices_are_told_in_order(server, user):
    channel = f"topic:{user}"
    fill(server, channel, 5)
    with session(server, user, "phone") as phone, session(server, user, "laptop") as laptop:
        answer = mark(phone, channel, 3)
        assert answer == {"type": "read", "channel": channel, "seq": 3, "ref": "mark"}
        told = control(laptop)
        assert told["channel"] == f"user:{user}" and told["target_channel"] == channel and told["target"] == 3
        assert told["device"] == "phone" and told["from"] == f"user:{user}" and len(told["target_epoch"]) == 16
        assert "media" not in told and "data" not in told
        assert mark(phone, channel, 99)["seq"] == 5, "beyond the head counts as the head"
        assert control(laptop)["target"] == 5
        assert mark(laptop, channel, 2)["seq"] == 5, "never back"
    assert marks_in_log(server, user) == [(channel, 3), (channel, 5)]


def test_a_device_that_was_away_is_told(server, user):
    channel = f"group:{user}"
    request(server, "PUT", f"/v1/groups/{user}/members/{user}").want(200)
    fill(server, channel, 3)
    with session(server, user, "laptop") as laptop:
        laptop.wire.reset()
    with session(server, user, "phone") as phone:
        mark(phone, channel, 2)
    server.kill()
    server.start()
    with session(server, user, "laptop") as laptop:
        assert control(laptop)["target"] == 2
    with session(server, user, "phone") as phone:
        assert mark(phone, channel, 1)["seq"] == 2, "kill -9 does not set it back"


def test_a_scroll_is_few_messages(server, user):
    """Five hundred marks: the first goes at once, the newest after it; no more than one a second."""
    channel = f"topic:{user}"
    fill(server, channel, 500)
    with session(server, user, "phone") as phone, session(server, user, "laptop") as laptop:
        began = time.monotonic()
        for seq in range(1, 501):
            phone.say("read", channel=channel, seq=seq)
        while control(laptop)["target"] != 500:
            pass
        took = time.monotonic() - began
        marks = marks_in_log(server, user)
        assert marks[-1] == (channel, 500)
        assert len(marks) <= 2 + took, (marks, took)


def test_what_waits_at_the_end_of_the_link_counts(server, user):
    channel = f"topic:{user}"
    fill(server, channel, 9)
    with session(server, user, "phone") as phone:
        for seq in range(1, 10):
            phone.say("read", channel=channel, seq=seq)
        phone.say("ping")
        while json.loads(phone.frame_text())["type"] != "pong":   # a mark of its own may come before
            pass
        phone.wire.reset()
    wait_until(lambda: marks_in_log(server, user)[-1:] == [(channel, 9)])


def test_each_ref_is_answered(server, user):
    channel = f"topic:{user}"
    fill(server, channel, 50)
    with session(server, user, "phone") as phone:
        for seq in range(1, 51):
            phone.say("read", channel=channel, seq=seq, ref=seq)
        answers = {}
        while len(answers) < 50:
            frame = json.loads(phone.frame_text())
            if frame["type"] == "read" and "ref" in frame:
                answers[frame["ref"]] = frame["seq"]
        assert all(ref <= seq for ref, seq in answers.items()) and answers[50] == 50


def test_an_epoch_of_another_life_counts_as_nothing(server, user):
    channel = f"topic:{user}"
    fill(server, channel, 2)
    with session(server, user, "phone") as phone:
        assert mark(phone, channel, 2, epoch="00000000000000ff")["seq"] == 0
        epoch = history(server, channel).json()["epoch"]
        assert mark(phone, channel, 2, epoch=epoch)["seq"] == 2


def test_refusals(server, guarded, user):
    with Ws(server) as ws:
        assert mark(ws, "topic:a", 1)["code"] == 401, "nobody has no marks"
    with session(server, user, "phone") as phone:
        assert mark(phone, "nowhere:a", 1)["code"] == 404
        assert mark(phone, "topic:a", 0)["code"] == 400
        phone.say("read", channel="topic:a", ref="mark")
        error = json.loads(phone.frame_text())
        while error.get("ref") != "mark":
            error = json.loads(phone.frame_text())
        assert error["code"] == 400 and "channel and seq" in error["reason"]
    backend = {"authorization": f"Bearer {KEY}"}
    publish(guarded, "group:club", **backend)
    publish(guarded, "user:somebody", **backend)
    with Ws(guarded) as ws:
        ws.ask("connect", "connected", token=token("ann"))
        assert mark(ws, "user:somebody", 1)["code"] == 403
        assert mark(ws, "group:club", 1)["code"] == 403
        request(guarded, "PUT", "/v1/groups/club/members/ann", **backend).want(200)
        wait_until(lambda: "code" not in mark(ws, "group:club", 1))


def token(user, **claims):
    return jwt.encode({"sub": user, "exp": int(time.time()) + 600, **claims}, SECRET, "HS256")


def test_native_links(server, tcp, user):
    channel = f"topic:{user}"
    fill(server, channel, 4)
    with NativeClient(tcp, standing=True, user=user, device="phone") as phone, \
         NativeClient(tcp, standing=True, user=user, device="tablet") as tablet:
        phone.send({"type": "read", "channel": channel, "seq": 4, "ref": 7})
        told = next_of(tablet, "full")
        assert told["media"] == "application/vnd.longwire.read+json"
        said = json.loads(told["payload"])
        assert (said["target_channel"], said["target"], said["device"]) == (channel, 4, "phone")
        answer = next_of(phone, "read")
        assert (answer["channel"], answer["seq"], answer["ref"]) == (channel, 4, 7)


def next_of(client, kind):
    while (frame := client.next())["type"] != kind:
        assert frame["type"] in ("subscribed", "full", "ping"), frame
    return frame


def ack(server, body, user, **fields):
    return request(server, "POST", f"/v1/ack?user={urllib.parse.quote(user)}", json.dumps(body).encode(),
                   content_type="application/json", **fields)


def test_over_http(server, user):
    """For clients that only read: beside the acknowledgements, or alone, and then without a session."""
    channel = f"topic:{user}"
    fill(server, channel, 5)
    assert ack(server, {"read": {channel: 4}}, user).want(200).json() == {"read": {channel: 4}}
    assert ack(server, {"read": {channel: 3}}, user).want(200).json() == {"read": {channel: 4}}
    with Sse(server, f"session=1&user={user}&device=phone") as phone:
        publish(server, f"user:{user}")
        phone.next()
        answer = ack(server, {"device": "phone", "places": {f"user:{user}": 1}, "read": {channel: 9}}, user)
        assert answer.want(200).json() == {"places": {f"user:{user}": 1}, "read": {channel: 5}}
        told = phone.next()
        assert (told["type"], told["target"], told["device"]) == ("read", 5, "phone")
    assert ack(server, {"device": "none", "places": {f"user:{user}": 1}, "read": {channel: 5}}, user).status == 404


def test_over_http_refusals(server, guarded, user):
    for wrong in ({}, [], {"topic:a": 0}, {"topic:a": -1}, {"topic:a": "1"}, {f"topic:{n}": 1 for n in range(101)}):
        ack(server, {"read": wrong}, user).want_problem(400)
    ack(server, {"read": {"nowhere:a": 1}}, user).want_problem(404)
    request(server, "POST", "/v1/ack", b'{"read":{"topic:a":1}}', content_type="application/json").want_problem(401)
    of_ann = {"authorization": f"Bearer {token('anton')}", "content_type": "application/json"}
    for channel in ("group:closed", "user:somebody"):
        request(guarded, "POST", "/v1/ack", json.dumps({"read": {channel: 1}}).encode(), **of_ann).want_problem(403)


# --- looking at it ----------------------------------------------------------------------------------------------------

def listed(server, user, what, query="", **fields):
    return request(server, "GET", f"/v1/users/{urllib.parse.quote(user)}/{what}{query}", **fields)


def test_places_and_marks_are_listed(server, user):
    channel = f"topic:{user}"
    fill(server, channel, 3)
    fill(server, f"user:{user}", 2)
    assert listed(server, user, "marks").want(200).json() == {"user": user, "marks": []}
    with session(server, user, "phone") as phone:
        mark(phone, channel, 2)
        phone.say("subscribe", channel=channel, after=1, keep=True, ref="keep")
        while json.loads(phone.frame_text()).get("ref") != "keep":
            pass
    wait_until(lambda: len(listed(server, user, "places").want(200).json()["places"]) == 3,
               lambda: str(listed(server, user, "places").json()))
    marks = listed(server, user, "marks").want(200).json()["marks"]
    assert [(m["channel"], m["seq"], m["head"]) for m in marks] == [(channel, 2, 3)]
    places = listed(server, user, "places").want(200).json()["places"]
    assert [(p["device"], p["channel"], p["seq"], p["head"], p["kept"]) for p in places] == [
        ("phone", f"device:{user}/phone", 0, 0, False), ("phone", channel, 1, 3, True), ("phone", f"user:{user}", 2, 3, False)]
    pages, after = [], ""
    while after is not None:
        page = listed(server, user, "places", f"?limit=1&after={urllib.parse.quote(after, safe='')}").want(200).json()
        pages += page["places"]
        after = page.get("next")
    assert pages == places
    for query in ("?limit=0", "?after=" + "x" * 300, "?other=1"):
        listed(server, user, "places", query).want_problem(400)


def test_listings_are_the_users_own(guarded):
    of_bob = {"authorization": f"Bearer {token('bob')}"}
    for what in ("places", "marks"):
        listed(guarded, "bob", what, **of_bob).want(200)
        listed(guarded, "ann", what, **of_bob).want_problem(403)
        listed(guarded, "ann", what).want_problem(401)
        listed(guarded, "ann", what, authorization=f"Bearer {KEY}").want(200)


def test_what_came_after_a_user_left_a_group_is_no_lag(server, user):
    """The place stays, because a device that was away gets what is its user's of the group."""
    group, member = f"group:{user}", f"/v1/groups/{user}/members/{user}"

    def lag(what="places"):
        return next(([place["seq"], place["head"], place.get("left")] for place in listed(server, user, what).want(200).json()[what]
                     if place["channel"] == group), None)
    request(server, "PUT", member).want(200)
    with session(server, user, "phone") as phone:
        fill(server, group, 3)
        phone.say("ack", channel=group, seq=2)
        mark(phone, group, 1)
        wait_until(lambda: lag() == [2, 3, None], lambda: str(lag()))
    request(server, "DELETE", member).want(200)
    fill(server, group, 2)
    assert lag() == [2, 5, 3] and lag("marks") == [1, 5, 3]
    said = run(server, "who", user).stdout.decode()
    assert f"    {group}  2 of 3, 1 behind, left  (" in said and f"    {group}  1 of 3, 2 behind, left  (" in said, said
    with session(server, user, "phone") as phone:
        phone.say("ack", channel=group, seq=3)
        wait_until(lambda: lag() == [3, 5, 3], lambda: str(lag()))
    assert f"    {group}  3 of 3, left  (" in run(server, "who", user).stdout.decode()
    request(server, "PUT", member).want(200)
    assert lag() == [3, 5, None]


def test_the_tool_says_who(server, user):
    channel = f"topic:{user}"
    fill(server, channel, 3)
    assert run(server, "who", user).stdout == b"no device has a session\n"
    with session(server, user, "phone") as phone:
        fill(server, f"user:{user}", 2)
        mark(phone, channel, 2)
        said = run(server, "who", user).stdout.decode()
        assert said.startswith("phone  online by websocket at ") and "  generation 1\n" in said
        assert f"    user:{user}  0 of 3, 3 behind  (" in said
        assert f"read\n    {channel}  2 of 3, 1 behind  (" in said
    wait_until(lambda: run(server, "who", user).stdout.startswith(b"phone  away  last seen "))
    answers = [json.loads(line) for line in run(server, "who", user, "--json").stdout.splitlines()]
    assert [sorted(answer)[0] for answer in answers] == ["places", "devices", "marks"]
    assert run(server, "who", code=64).stderr
