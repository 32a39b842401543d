"""Sessions of the JavaScript client against the real server: what a device has is kept by the server, its user's channels and groups
come by themselves, and of two links of one device the newer one counts."""
import json
import urllib.parse
import urllib.request

import pytest

from client_driver import JAVASCRIPT, NODE, Driver
from cut_link import Link
from longwire_server import Server, is_built
from waiting import SECONDS

pytestmark = [pytest.mark.skipif(not is_built(), reason="longwired is not built"),
              pytest.mark.skipif(not NODE, reason="node is not installed")]

QUICK = {"base_ms": 20, "cap_ms": 200, "factor": 2, "jitter": 1}
OVER = {"binary": {"transports": ["websocket"], "encodings": ["binary"]}, "json": {"transports": ["websocket"], "encodings": ["json"]},
        "sse": {"transports": ["sse"]}, "poll": {"transports": ["poll"], "pollWaitS": 2}}
ALL = pytest.mark.parametrize("how", OVER)
WEBSOCKETS = pytest.mark.parametrize("how", ["binary", "json"])


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server(config="reconnect_ms = 20\n") as server:
        yield server


def call(server, method, path, body=None, key=None):
    headers = {"Content-Type": "text/plain", **({"Authorization": f"Bearer {key}"} if key else {})}
    request = urllib.request.Request(server.url + path, body.encode() if body is not None else None, headers, method=method)
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return json.load(answer)


def publish(server, channel, text, key=None):
    return call(server, "POST", f"/v1/channels/{urllib.parse.quote(channel, safe='')}/messages", text, key)


def device(server, user, name, how, **more):
    return Driver(JAVASCRIPT, server.url, {}, user=user, device=name, session=True, backOff=QUICK, **OVER[how], **more)


@ALL
def test_each_message_once_although_links_are_cut(server, how):
    """To the user, to the device, and to a group; and what came in between is told after a cut."""
    user = f"cut-{how}"
    channels = [f"user:{user}", f"device:{user}/phone", f"group:{user}"]
    call(server, "PUT", f"/v1/groups/{user}/members/{user}")
    with Link(server.port) as link, device(link, user, "phone", how) as client:
        client.until_live()
        for number in range(60):
            for channel in channels:
                publish(server, channel, f"{number} of {channel}")
            if number % 6 == 5:
                link.cut()
        for channel in channels:
            client.until_count(channel, 60)
            assert client.texts(channel) == [f"{number} of {channel}" for number in range(60)]


@ALL
def test_what_is_handled_does_not_come_again_to_the_device(server, how):
    """Nothing is kept by the program: the server knows what the device has."""
    user = f"kept-{how}"
    with device(server, user, "phone", how) as client:
        client.until_live()
        publish(server, f"user:{user}", "first")
        client.until_count(f"user:{user}", 1)
        if how == "poll":   # the next poll, which brings this, has acknowledged the first one
            publish(server, f"user:{user}", "second")
            client.until_count(f"user:{user}", 2)
            publish(server, f"user:{user}", "third")
            client.until_count(f"user:{user}", 3)
    publish(server, f"user:{user}", "while away")
    with device(server, user, "phone", how) as client:
        publish(server, f"user:{user}", "last")
        client.until(lambda: "last" in client.texts(f"user:{user}"), "it did not come")
        assert client.texts(f"user:{user}") in (["while away", "last"], ["third", "while away", "last"])


@WEBSOCKETS
def test_what_is_not_acknowledged_comes_again(server, how):
    user = f"manual-{how}"
    with device(server, user, "phone", how, ack="manual") as client:
        client.until_live()
        for text in ["one", "two", "three"]:
            publish(server, f"user:{user}", text)
        client.until_count(f"user:{user}", 3)
        client.say("ack", channel=f"user:{user}", seq=1)
    with device(server, user, "phone", how, ack="manual") as client:
        client.until_count(f"user:{user}", 2)
        assert client.texts(f"user:{user}") == ["two", "three"]


@ALL
def test_the_newer_link_of_a_device_counts(server, how):
    user = f"twice-{how}"
    with device(server, user, "phone", how) as first:
        first.until_live()
        with device(server, user, "phone", how) as second:
            second.until_live()
            first.until(lambda: first.of("replaced"), "the older one is not told")
            publish(server, f"user:{user}", "for the newer one")
            second.until_count(f"user:{user}", 1)
            first.until(lambda: first.state()["name"] == "closed", "the older one goes on")
            assert first.messages(f"user:{user}") == []


@WEBSOCKETS
def test_a_kept_subscription_goes_on_at_its_place(server, how):
    channel, user = f"topic:keep-{how}", f"keeps-{how}"
    with device(server, user, "phone", how) as client:
        client.until_live()
        client.say("subscribe", channel=channel, keep=True)
        client.until(lambda: client.of("ready", channel), "not ready")
        publish(server, channel, "one")
        client.until_count(channel, 1)
    publish(server, channel, "two")
    with device(server, user, "phone", how) as client:
        client.until_count(channel, 1)
        assert client.texts(channel) == ["two"]


@ALL
def test_the_server_is_killed(how):
    with Server(config="reconnect_ms = 20\n") as server, device(server, "ann", "phone", how) as client:
        client.until_live()
        sent = []
        for life in range(3):
            for number in range(20):
                sent.append(f"{number} of life {life}")
                publish(server, "user:ann", sent[-1])
            server.kill()
            client.until(lambda: client.state()["name"] == "away", "it does not notice")
            server.start()
        client.until_count("user:ann", len(sent))
        assert client.texts("user:ann") == sent
