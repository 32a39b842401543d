"""`conn:KEY`: what is published there reaches that one connection, which need not ask for it; `all:` reaches everyone."""
import contextlib
import http.client
import json
import time
from urllib.parse import quote

import pytest

from longwire_client import Api, WebSocket
from longwire_server import Server, is_built
from waiting import SECONDS

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")


@pytest.fixture(scope="module", name="server")
def server_fixture():
    with Server(flags=["--loops", "2"], config="connection_key_header = X-Connection-Key\n") as server:
        yield server


@pytest.fixture(name="api")
def api_fixture(server):
    with contextlib.closing(Api(server.url)) as api:
        yield api


def opened(server, stack, **more):
    """A WebSocket that has been told its key."""
    socket = WebSocket(server.url, **more)
    stack.callback(socket.close)
    frames = socket.objects()
    connected = next(frames)
    assert connected["type"] == "connected"
    return socket, frames, connected["connection"]


def test_each_connection_gets_its_own(server, api):
    """Twenty on two loops, each addressed at once, in order, and nobody gets another one's."""
    with contextlib.ExitStack() as stack:
        links = [opened(server, stack) for _ in range(20)]
        for n in range(5):
            for at, (_, _, key) in enumerate(links):
                assert api.publish(f"conn:{key}", f"{at} {n}".encode()).status == 201
        for at, (_, frames, key) in enumerate(links):
            for n in range(5):
                frame = next(frames)
                assert (frame["type"], frame["channel"], frame["seq"], frame["data"]) == \
                    ("message", f"conn:{key}", n + 1, f"{at} {n}")


def test_a_burst_keeps_its_order(server, api):
    with contextlib.ExitStack() as stack:
        _, frames, key = opened(server, stack)
        api.batch([{"channel": f"conn:{key}", "data": n} for n in range(200)])
        assert [next(frames)["data"] for _ in range(200)] == list(range(200))


def test_a_key_of_nobody_is_nobodys(server, api):
    """A key that was made up, or whose connection is gone: the message is accepted, and nobody gets it."""
    with contextlib.ExitStack() as stack:
        _, frames, key = opened(server, stack)
        for other in ("0123456789abcdef", "f" * 16, "x", key[::-1]):
            assert api.publish(f"conn:{other}", b"x").status == 201
        api.publish(f"conn:{key}", b"mine")
        assert next(frames)["data"] == "mine"
    assert api.publish(f"conn:{key}", b"late").status == 201


def test_nothing_but_the_key_is_asked_of_the_client(server, api):
    """Its subscriptions go on as they were; cursors say nothing of the connection's channel."""
    with contextlib.ExitStack() as stack:
        socket, frames, key = opened(server, stack)
        socket.say({"type": "subscribe", "channel": "topic:conn"})
        assert next(frames)["type"] == "subscribed"
        api.publish(f"conn:{key}", b"1")
        assert next(frames)["data"] == "1"
        api.publish("topic:conn", b"2")
        assert next(frames)["data"] == "2"
        socket.say({"type": "cursor"})
        cursor = next(frames)["cursor"]
        api.publish("topic:conn", b"3")
        _, again, new_key = opened(server, stack, path="/v1/ws?cursor=" + cursor)
        assert new_key != key
        assert next(again)["type"] == "subscribed"
        assert next(again)["data"] == "3"


def stream(server, path, headers):
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
    link.request("GET", path, headers=headers)
    answer = link.getresponse()
    assert answer.status == 200, answer.read()
    return link, answer


def test_a_stream_is_named_by_a_header(server, api):
    """The place that it is told goes on being that of its channels, though messages come beside them."""
    link, answer = stream(server, "/v1/subscribe?channel=topic:named", {
        "Accept": "application/x-ndjson", "X-Connection-Key": "tab-7"})
    lines = (json.loads(line) for line in answer)
    assert next(lines)["type"] == "ping"
    api.publish("conn:tab-7", b"for you")
    first = next(lines)
    assert (first["channel"], first["data"]) == ("conn:tab-7", "for you")
    api.publish("topic:named", b"for all")
    second = next(lines)
    assert second["data"] == "for all"
    link.close()
    api.publish("topic:named", b"next")
    link, answer = stream(server, "/v1/subscribe?cursor=" + quote(second["cursor"]), {"Accept": "application/x-ndjson"})
    again = json.loads(answer.readline())
    assert (again["channel"], again["data"]) == ("topic:named", "next")
    link.close()


def test_two_with_one_name_both_get_it(server, api):
    """A client that comes back before its old link is known to be dead must not be refused."""
    with contextlib.ExitStack() as stack:
        links = [opened(server, stack, headers={"X-Connection-Key": "twice"}) for _ in range(2)]
        for socket, frames, _ in links:  # behind this answer, what the link followed from the start has answered too
            socket.say({"type": "subscribe", "channel": "topic:twice"})
            assert next(frames)["type"] == "subscribed"
        api.publish("conn:twice", b"x")
        for _, frames, _ in links:
            assert next(frames)["data"] == "x"


@pytest.mark.parametrize("key", ["0123456789abcdef", "0123456789ABCDEF", "a b", "k" * 65, "\u00e9"])
def test_a_name_that_can_be_no_key_is_refused(server, key):
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
    link.request("GET", "/v1/subscribe?channel=topic:a&wait=0", headers={"X-Connection-Key": key.encode()})
    answer = link.getresponse()
    assert answer.status == 400 and "X-Connection-Key" in json.loads(answer.read())["detail"]


def test_everyone_is_reached_at_a_bounded_rate():
    """`all:` is for everyone who follows it; who publishes there too often is told to wait."""
    with Server(config="all_publishes_per_s = 3\n") as server, contextlib.closing(Api(server.url)) as api, \
            contextlib.ExitStack() as stack:
        socket, frames, _ = opened(server, stack)
        socket.say({"type": "subscribe", "channel": "all:"})
        assert next(frames)["type"] == "subscribed"
        began, answers = time.monotonic(), []
        while len(answers) < 20 or (answers[-1].status == 201 and len(answers) < 1000):    # a slow machine sees some seconds pass
            answers.append(api.publish("all:" if len(answers) % 2 else "all:news", b"%d" % len(answers)))
        refused = [answer for answer in answers if answer.status == 429]
        assert refused and len(answers) - len(refused) <= 3 * (time.monotonic() - began + 2)
        assert all(answer.headers["Retry-After"] == "1" and "all_publishes_per_s" in answer.json["detail"]
                   for answer in refused)
        assert api.publish("topic:x", b"others are not slowed").status == 201
        taken = [n for n, answer in enumerate(answers) if answer.status == 201]
        for n in taken:
            if n % 2:
                assert next(frames)["data"] == str(n)
        deadline = time.monotonic() + SECONDS
        while api.publish("all:", b"later").status == 429:
            assert time.monotonic() < deadline
