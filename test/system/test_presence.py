"""Presence: which devices follow a channel now, asked for and told by `join` and `leave`, alike on all transports."""
import contextlib
import json
import time

import pytest

from longwire_server import Server, is_built
from native_wire import NativeClient
from waiting import wait_until
from wire import Multipart, Ndjson, Poll, Sse, Ws, fresh, path_of, request

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
