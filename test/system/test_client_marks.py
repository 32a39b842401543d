"""Read marks and mode `notify` with both client libraries against the real server, on each of their transports."""
import itertools
import json
import urllib.parse
import urllib.request

import pytest

from client_driver import C, JAVASCRIPT, NODE, Driver
from cut_link import Link
from longwire_server import Server, is_built
from waiting import SECONDS

pytestmark = [pytest.mark.skipif(not is_built(), reason="longwired is not built"),
              pytest.mark.skipif(not NODE, reason="node is not installed")]

QUICK = {"base_ms": 20, "cap_ms": 200, "factor": 2, "jitter": 1}
OVER = {"binary": {"transports": ["websocket"], "encodings": ["binary"]}, "json": {"transports": ["websocket"], "encodings": ["json"]},
        "sse": {"transports": ["sse"]}, "poll": {"transports": ["poll"], "pollWaitS": 2}}
JAVASCRIPTS = pytest.mark.parametrize("how", OVER)
ALL = pytest.mark.parametrize("how", ["c", *OVER])
numbers = itertools.count()


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server(config="reconnect_ms = 20\n") as server:
        yield server


def call(server, method, path, body=None):
    request = urllib.request.Request(server.url + path, body.encode() if body is not None else None, {"Content-Type": "text/plain"},
                                     method=method)
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return json.load(answer)


def publish(server, channel, *texts):
    for text in texts:
        call(server, "POST", f"/v1/channels/{urllib.parse.quote(channel, safe='')}/messages", text)


def driver(server, how, channels, link=None, **options):
    """A client; through `link` if there is one."""
    if how == "c":
        port = (link or server).port if link else server.tcp_port
        return Driver(C, f"tcp://127.0.0.1:{port}", channels, backOff=QUICK, **options)
    return Driver(JAVASCRIPT, link.url if link else server.url, channels, backOff=QUICK, **OVER[how], **options)


def through(server, how):
    return Link(server.tcp_port if how == "c" else server.port)


# --- read marks ---------------------------------------------------------------------------------------------------------


def marks(client):
    """The marks that it was told of: C tells them as the control message that it decodes."""
    return [(event.get("target_channel", event["channel"]), event.get("target", event.get("seq"))) for event in client.of("read")]


@ALL
def test_a_mark_is_told_to_the_other_devices(server, how):
    user, channel = f"marks{next(numbers)}", f"topic:marks{next(numbers)}"
    publish(server, channel, "1", "2", "3")
    follow = {channel: {"after": 0}}
    with driver(server, how, follow, user=user, device="phone", session=True) as phone, \
         driver(server, "json", {}, user=user, device="laptop", session=True) as laptop, \
         driver(server, "c", {}, user=user, device="tablet", session=True) as tablet:
        for client in (phone, laptop, tablet):
            client.until_live()
        phone.until_count(channel, 3)
        phone.say("read", channel=channel, seq=2)
        for client in (laptop, tablet):
            client.until(lambda at=client: marks(at) == [(channel, 2)], "no mark came")
        if how != "c":
            phone.until(lambda: phone.of("marked", channel), "no answer")
            assert phone.of("marked", channel)[0]["seq"] == 2
        phone.say("read", channel=channel, seq=3)
        for client in (laptop, tablet):
            client.until(lambda at=client: marks(at) == [(channel, 2), (channel, 3)], "no mark came")


@ALL
def test_marks_come_in_order_through_cuts(server, how):
    """Each mark once, none back, whatever happens to the link of who is told."""
    user, channel = f"marks{next(numbers)}", f"topic:marks{next(numbers)}"
    publish(server, channel, *[str(n) for n in range(12)])
    with through(server, how) as link, driver(server, how, {}, link, user=user, device="phone", session=True) as phone:
        phone.until_live()
        for seq in range(1, 13):
            body = json.dumps({"read": {channel: seq}})
            request = urllib.request.Request(f"{server.url}/v1/ack?user={user}", body.encode(), {"Content-Type": "application/json"})
            assert json.load(urllib.request.urlopen(request, timeout=SECONDS)) == {"read": {channel: seq}}
            if seq % 4 == 0:
                link.cut()
        phone.until(lambda: marks(phone)[-1:] == [(channel, 12)], "the last mark did not come")
        assert marks(phone) == [(channel, seq) for seq in range(1, 13)]


# --- notify -------------------------------------------------------------------------------------------------------------


def heads(client, channel):
    return [event["head"] for event in client.of("notify", channel)]


@JAVASCRIPTS
def test_notified_then_pulled(server, how):
    channel = f"topic:notify{next(numbers)}"
    publish(server, channel, "before")
    with driver(server, how, {channel: {"after": 1, "mode": "notify"}}) as client:
        client.until_live()
        publish(server, channel, *[str(n) for n in range(20)])
        client.until(lambda: heads(client, channel)[-1:] == [21], "not told of the last one")
        assert len(heads(client, channel)) < 10 and client.messages(channel) == []
        client.say("pull", channel=channel)
        client.until(lambda: client.of("pulled", channel), "not pulled")
        assert client.texts(channel) == [str(n) for n in range(20)]
        publish(server, channel, "more")
        client.until(lambda: heads(client, channel)[-1] == 22, "not told of the next one")
        client.say("pull", channel=channel)
        client.until_count(channel, 21)
        assert client.texts(channel)[-1] == "more"


@JAVASCRIPTS
def test_what_was_not_pulled_is_told_again_after_a_cut(server, how):
    channel = f"topic:notify{next(numbers)}"
    with through(server, how) as link, driver(server, how, {channel: {"after": 0, "mode": "notify"}}, link) as client:
        client.until_live()
        publish(server, channel, "1", "2")
        client.until(lambda: heads(client, channel)[-1:] == [2], "not told")
        told = len(heads(client, channel))
        link.cut()
        client.until(lambda: len(heads(client, channel)) > told and heads(client, channel)[-1] == 2, "not told again")
        client.say("pull", channel=channel)
        client.until_count(channel, 2)
        assert client.texts(channel) == ["1", "2"]


@pytest.mark.parametrize("how", ["binary", "json"])
def test_a_session_pulls_each_message_once(server, how):
    """What it handled is acknowledged, so the next run of the device is not told of it."""
    user = f"notify{next(numbers)}"
    channel = f"user:{user}"
    publish(server, channel, "long ago")
    with driver(server, how, {}, user=user, device="phone", session=True, mode="notify") as client:
        client.until_live()
        for round_ in range(3):
            publish(server, channel, f"a{round_}", f"b{round_}")
            client.until(lambda at=3 + 2 * round_: heads(client, channel)[-1:] == [at], "not told")
            client.say("pull", channel=channel)
            client.until_count(channel, 2 * round_ + 2)
        assert client.texts(channel) == ["a0", "b0", "a1", "b1", "a2", "b2"]
    with driver(server, how, {}, user=user, device="phone", session=True, mode="notify") as client:
        client.until_live()
        publish(server, channel, "new")
        client.until(lambda: heads(client, channel) == [8], "not told")
        client.say("pull", channel=channel)
        client.until_count(channel, 1)
        assert client.texts(channel) == ["new"]


def test_c_is_notified_and_pulls_by_following_anew(server):
    channel = f"topic:notify{next(numbers)}"
    publish(server, channel, "1")
    with driver(server, "c", {channel: {"after": 0, "mode": "notify"}}) as client:
        client.until(lambda: heads(client, channel) == [1], "not told")
        for _ in range(50):
            publish(server, channel, "x")
        client.until(lambda: heads(client, channel)[-1] == 51, "not told of the last one")
        assert len(heads(client, channel)) < 20 and client.messages(channel) == []
        client.say("unsubscribe", channel=channel)
        client.say("subscribe", channel=channel, after=0)
        client.until_count(channel, 51)
        assert client.texts(channel) == ["1"] + ["x"] * 50
