"""Mode `notify`: a link is told that a channel has something new, and the client pulls it. A busy channel wakes it seldom; nothing is
missed; a session's places are what it acknowledges."""
import json
import urllib.parse

import pytest

from longwire_server import Server, free_port, is_built
from native_wire import NativeClient
from waiting import wait_until
from wire import READERS, Ndjson, Sse, Ws, fresh, history, metric, publish, publish_many, request

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

STREAMS = pytest.mark.parametrize("transport", ["ws", "sse", "ndjson", "multipart", "form-data"])
names = iter(f"sleeper{n}" for n in range(1000000))


@pytest.fixture(scope="module", name="tcp")
def tcp_fixture():
    return free_port()


@pytest.fixture(scope="module", name="server")
def server_fixture(tcp):
    with Server(flags=("--tcp", f"127.0.0.1:{tcp}")) as running:
        yield running


@pytest.fixture(name="user")
def user_fixture():
    return next(names)


def head_of(event, channel):
    assert event["type"] == "notify" and event["channel"] == channel and len(event["epoch"]) == 16, event
    assert "payload" not in event and "seq" not in event
    return event["head"]


@STREAMS
def test_a_stream_is_told_heads(server, transport):
    channel = fresh()
    publish(server, channel)
    with READERS[transport](server, f"channel={channel}&mode=notify") as reader:
        reader.settle()
        publish(server, channel)
        event = reader.next()
        assert head_of(event, channel) == 2 and event["epoch"] == history(server, channel).json()["epoch"]


@STREAMS
def test_a_place_behind_the_head_is_told_at_once(server, transport):
    channel = fresh()
    publish_many(server, channel, [b"x"] * 7)
    with READERS[transport](server, f"channel={channel}&after=3&mode=notify") as reader:
        assert head_of(reader.next(), channel) == 7


@STREAMS
def test_a_thousand_messages_are_few_notifies(server, transport):
    """What this saves a phone: counted in frames. The last notify tells the head, so nothing is missed."""
    channel = fresh()
    with READERS[transport](server, f"channel={channel}&mode=notify") as reader:
        reader.settle()
        for _ in range(10):
            publish_many(server, channel, [b"x"] * 100)
        heads = []
        while heads[-1:] != [1000]:
            heads.append(head_of(reader.next(), channel))
        assert len(heads) <= 10 and heads == sorted(set(heads)), heads


def poll(server, query):
    return request(server, "GET", f"/v1/subscribe?{query}", accept="application/json").want(200).json()


def test_polls(server):
    channel = fresh()
    place = poll(server, f"channel={channel}&mode=notify&wait=0")
    assert place["messages"] == []
    publish_many(server, channel, [b"x"] * 5)
    told = poll(server, f"cursor={place['cursor']}&mode=notify&wait=20")
    assert [head_of(event, channel) for event in told["messages"]] == [5]
    assert poll(server, f"cursor={told['cursor']}&mode=notify&wait=0")["messages"] == [], "it was told of these"
    publish(server, channel)
    assert [e["head"] for e in poll(server, f"cursor={told['cursor']}&mode=notify&wait=20")["messages"]] == [6]
    by_post = request(server, "POST", "/v1/subscribe", content_type="application/json", accept="application/json",
                      body=json.dumps({"channels": [{"channel": channel, "after": 2}], "mode": "notify"}).encode())
    assert [e["head"] for e in by_post.want(200).json()["messages"]] == [6]


def test_several_channels_of_one_link(server):
    channels = [fresh() for _ in range(20)]
    query = "&".join(f"channel={channel}" for channel in channels)
    with Ndjson(server, query + "&mode=notify") as reader:
        reader.settle()
        for channel in channels:
            publish_many(server, channel, [b"x"] * 3)
        assert sorted(reader.next()["channel"] for _ in channels) == sorted(channels)


def test_frames_of_json_and_native(server, tcp):
    channel, other = fresh(), fresh()
    publish(server, channel)
    with Ws(server) as ws, NativeClient(tcp) as native:
        ws.ask("subscribe", "subscribed", channel=channel, after=0, mode="notify")
        assert head_of(ws.next(), channel) == 1
        native.send({"type": "subscribe", "channel": channel, "after": 0, "mode": 1})
        assert native.expect("subscribed")["head"] == 1
        frame = native.expect("notify")
        assert (frame["channel"], frame["head"]) == (channel, 1) and frame["epoch"]
        # the other channel of the same link is not changed by it
        ws.ask("subscribe", "subscribed", channel=other)
        publish(server, other, b"whole")
        assert ws.next()["payload"] == b"whole"


def test_mode_of_connect_holds_for_what_follows(server, tcp):
    channel, pushed = fresh(), fresh()
    publish(server, channel)
    with Ws(server) as ws:
        ws.ask("connect", "connected", mode="notify", resume={channel: {"seq": 0}})
        assert head_of(ws.next(), channel) == 1
        ws.ask("subscribe", "subscribed", channel=pushed, mode="push")
        publish(server, pushed, b"whole")
        assert ws.next()["payload"] == b"whole"
    with NativeClient(tcp, mode=1) as native:
        native.send({"type": "subscribe", "channel": channel, "after": 0})
        native.expect("subscribed")
        assert native.expect("notify")["head"] == 1


def test_words_that_are_no_mode(server, tcp):
    with Ws(server) as ws:
        assert "push or notify" in ws.ask("connect", "error", mode="pull")["reason"]
        assert "push or notify" in ws.ask("subscribe", "error", channel="topic:a", mode=1)["reason"]
    with NativeClient(tcp) as native:
        native.send({"type": "subscribe", "channel": "topic:a", "mode": 2, "ref": 1})
        assert native.expect("error")["code"] == 400
    assert request(server, "GET", "/v1/subscribe?channel=topic:a&mode=x").want_problem(400)
    request(server, "POST", "/v1/subscribe", b'{"channels":["topic:a"],"mode":"x"}', content_type="application/json").want_problem(400)


def test_what_is_not_kept_is_pushed(server):
    """Nothing could be pulled there."""
    with Ws(server) as ws:
        ws.ask("connect", "connected", mode="notify")
        publish(server, f"conn:{ws.greeting['connection']}", b"now or never")
        assert ws.next()["payload"] == b"now or never"


def test_pulling_on_the_link(server, tcp):
    """A `subscribe` with its place brings the messages; another one makes the channel silent again."""
    channel = fresh()
    publish_many(server, channel, [b"a", b"b", b"c"])
    with Ws(server) as ws:
        ws.ask("subscribe", "subscribed", channel=channel, after=1, mode="notify")
        assert head_of(ws.next(), channel) == 3
        assert ws.ask("subscribe", "error", channel=channel, mode="push", ref=1)["code"] == 400, "from where?"
        assert ws.ask("subscribe", "error", channel=channel, after=1, ref=1)["code"] == 409, "followed already"
        assert ws.ask("subscribe", "subscribed", channel=channel, after=1, mode="push", ref=2)["ref"] == 2
        assert [ws.next()["payload"] for _ in range(2)] == [b"b", b"c"]
        assert ws.ask("subscribe", "subscribed", channel=channel, mode="notify", ref=3)["head"] == 3
        publish(server, channel, b"d")
        assert head_of(ws.next(), channel) == 4
    with NativeClient(tcp) as native:
        native.send({"type": "subscribe", "channel": channel, "after": 2, "mode": 1})
        native.expect("subscribed")
        assert native.expect("notify")["head"] == 4
        native.send({"type": "subscribe", "channel": channel, "after": 2, "mode": 0})
        native.expect("subscribed")
        assert [m["payload"] for m in native.messages(2)] == ["c", "d"]


# --- sessions -----------------------------------------------------------------------------------------------------------

def session(server, user, **members):
    ws = Ws(server).__enter__()
    ws.ask("connect", "connected", session=True, user=user, device="phone", mode="notify", **members)
    return ws


def test_a_session_is_told_again_until_it_acknowledges(server, user):
    channel = f"user:{user}"
    with session(server, user) as ws:
        publish_many(server, channel, [b"x"] * 3)
        heads = [head_of(ws.next(), channel)]
        while heads[-1] != 3:
            heads.append(head_of(ws.next(), channel))
        ws.wire.reset()
    with session(server, user) as ws:
        assert head_of(ws.next(), channel) == 3, "it has not said that it has them"
        assert ws.ask("ack", "ack", channel=channel, seq=2, ref=1)["seq"] == 2
        ws.wire.reset()
    with session(server, user) as ws:
        assert head_of(ws.next(), channel) == 3
        assert ws.ask("ack", "ack", channel=channel, seq=3, ref=1)["seq"] == 3
        ws.wire.reset()
    with session(server, user) as ws:
        ws.ask("ping", "pong")
        publish(server, channel)
        assert head_of(ws.next(), channel) == 4, "nothing was told before"


def test_an_acknowledgement_lets_the_next_notify_go(server, user):
    """Who has not pulled is told at most once a heartbeat (25 s); who has, at once."""
    channel = f"user:{user}"
    with session(server, user) as ws:
        for seq in range(1, 6):
            publish(server, channel)
            assert head_of(ws.next(), channel) == seq
            ws.say("ack", channel=channel, seq=seq)


def test_a_session_follows_groups_that_its_user_joins(server, user):
    """The server listens to the user's log although the client is not sent it."""
    group = f"group:{user}"
    with session(server, user) as ws:
        request(server, "PUT", f"/v1/groups/{user}/members/{user}").want(200)
        assert head_of(ws.next(), f"user:{user}") == 1
        publish(server, group)
        assert head_of(ws.next(), group) == 1
        ws.say("ack", channel=group, seq=1)
        request(server, "DELETE", f"/v1/groups/{user}/members/{user}").want(200)
        assert ws.frame("unsubscribed")["channel"] == group
        publish(server, group)
        ws.ask("ping", "pong")
        assert all(event["channel"] == f"user:{user}" for event in ws.others)


def test_a_session_changes_the_mode_of_its_own_channels(server, user):
    channel, group = f"user:{user}", f"group:{user}"
    with Ws(server) as ws:
        ws.ask("connect", "connected", session=True, user=user, device="phone")
        publish(server, channel, b"one")
        assert ws.next()["payload"] == b"one"
        ws.ask("subscribe", "subscribed", channel=channel, mode="notify", ref=1)
        publish(server, channel, b"two")
        assert head_of(ws.next(), channel) == 2
        request(server, "PUT", f"/v1/groups/{user}/members/{user}").want(200)
        publish(server, group, b"to the group")
        while (event := ws.next())["type"] == "notify":
            assert event["channel"] == channel
        assert event["payload"] == b"to the group", "the link still hears of groups; they are pushed"
        ws.ask("subscribe", "subscribed", channel=channel, after=1, mode="push", ref=2)
        assert ws.next()["payload"] == b"two"


def test_a_session_over_sse(server, user):
    """Its ids acknowledge nothing of what was only told."""
    channel = f"user:{user}"
    query = f"session=1&user={user}&device=phone&mode=notify"
    with Sse(server, query) as sse:
        sse.settle()
        publish_many(server, channel, [b"x"] * 2)
        while head_of(sse.next(), channel) != 2:
            pass
        last = sse.cursor
    with Sse(server, f"user={user}&mode=notify", last_event_id=last) as sse:
        assert head_of(sse.next(), channel) == 2
        request(server, "POST", f"/v1/ack?user={user}", json.dumps({"device": "phone", "places": {channel: 2}}).encode(),
                content_type="application/json").want(200)
        last = sse.cursor
    with Sse(server, f"user={user}&mode=notify", last_event_id=last) as sse:
        sse.settle()
        publish(server, channel)
        assert head_of(sse.next(), channel) == 3


def test_polls_of_a_session_do_not_spin(server, user):
    """A client that does not acknowledge what it was told is told again, about once a second."""
    channel = f"user:{user}"
    query = f"user={urllib.parse.quote(user)}&mode=notify"
    cursor = poll(server, f"session=1&device=phone&wait=0&{query}")["cursor"]
    publish(server, channel)
    polls = []
    for _ in range(3):
        answer = poll(server, f"cursor={cursor}&wait=20&{query}")
        assert [head_of(event, channel) for event in answer["messages"]] == [1]
        cursor = answer["cursor"]
        polls.append(answer)
    assert len(polls) == 3
    request(server, "POST", f"/v1/ack?user={user}", json.dumps({"device": "phone", "places": {channel: 1}}).encode(),
            content_type="application/json").want(200)
    assert poll(server, f"cursor={cursor}&wait=1&{query}")["messages"] == []


def test_metrics_count_notifies_and_no_gaps(server):
    channel = fresh()
    before, gaps = metric(server, "longwire_notifies_total"), metric(server, "longwire_gaps_total")
    with Sse(server, f"channel={channel}&mode=notify") as sse:
        sse.settle()
        publish(server, channel)
        sse.next()
    wait_until(lambda: metric(server, "longwire_notifies_total") > before)
    assert metric(server, "longwire_gaps_total") == gaps
