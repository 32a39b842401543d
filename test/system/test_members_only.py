"""What only members may do: every call and every transport of a user asks who is a member, and leaving is felt at once (threat 104)."""
import contextlib
import http.client
import time

import jwt
import pytest

from longwire_client import Api, RefusedError, WebSocket, channel_path
from longwire_server import Server, is_built
from waiting import SECONDS

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

SECRET = "a-secret-of-the-issuer-0123456789-abcdef"
KEY = "backend-secret-0123456789"
CONFIG = f"""
[jwt app]
secret = {SECRET}
[key backend]
secret = {KEY}
rights = publish, subscribe, admin
[namespace group]
publish = member
[namespace room]
subscribe = member
publish = member
"""


def token(user):
    return jwt.encode({"sub": user, "exp": int(time.time()) + 600}, SECRET, "HS256")


@pytest.fixture(scope="module", name="server")
def server_fixture():
    with Server(config=CONFIG) as server:
        yield server


@pytest.fixture(name="backend")
def backend_fixture(server):
    with contextlib.closing(Api(server.url, KEY)) as api:
        yield api


def of(server, user):
    return contextlib.closing(Api(server.url, token(user)))


def member(backend, method, group, user):
    assert backend.call(method, f"/v1/groups/{group}/members/{user}").status == 200


@pytest.mark.parametrize("space", ["group", "room"])
def test_calls(server, backend, space):
    """History, information and publishing: 403 before the join and after the leave, alike for a group that never was."""
    channel = f"{space}:calls"
    backend.publish(channel, b"first")
    with of(server, "ann") as ann:
        calls = {
            "history": lambda name: ann.get(channel_path(name) + "/messages"),
            "info": lambda name: ann.get(channel_path(name)),
            "publish": lambda name: ann.publish(name, b"x"),
            "poll": lambda name: ann.get(f"/v1/subscribe?channel={name}&after=0&wait=0"),
        }
        refusals = {name: call(f"{space}:never").json["detail"] for name, call in calls.items()}
        for is_member in (False, True, False):
            if is_member:
                member(backend, "PUT", "calls", "ann")
            for name, call in calls.items():
                answer = call(channel)
                assert (answer.status in (200, 201)) == is_member, (name, answer)
                if not is_member:
                    assert answer.status == 403 and answer.json["detail"] == refusals[name]
            results = ann.batch([{"channel": channel, "data": n} for n in range(5)])
            assert [result["status"] for result in results] == [201 if is_member else 403] * 5
            if is_member:
                seqs = [result["seq"] for result in results]
                assert seqs == sorted(seqs)
                assert backend.history(channel, limit=1)["messages"][0]["from"] == "user:ann"
                member(backend, "DELETE", "calls", "ann")
    with of(server, "bob") as bob:
        assert bob.get(channel_path(channel) + "/messages").status == 403


def socket_of(server, user, stack):
    socket = WebSocket(server.url, headers={"Authorization": f"Bearer {token(user)}"})
    stack.callback(socket.close)
    frames = socket.objects()
    assert next(frames)["type"] == "connected"
    return socket, frames


def test_a_websocket(server, backend):
    with contextlib.ExitStack() as stack:
        socket, frames = socket_of(server, "cat", stack)
        socket.say({"type": "subscribe", "channel": "group:ws", "ref": 1})
        refusal = next(frames)
        assert (refusal["type"], refusal["code"], refusal["ref"]) == ("error", 403, 1)
        socket.say({"type": "publish", "channel": "group:ws", "data": "x", "ref": 2})
        refusal = next(frames)
        assert (refusal["type"], refusal["code"], refusal["ref"]) == ("error", 403, 2)
        member(backend, "PUT", "ws", "cat")
        socket.say({"type": "subscribe", "channel": "group:ws", "ref": 3})
        followed = next(frames)
        assert (followed["type"], followed["ref"]) == ("subscribed", 3)
        for n in range(20):
            socket.say({"type": "publish", "channel": "group:ws", "data": n, "ref": n})
        got = [next(frames) for _ in range(40)]
        assert [frame["data"] for frame in got if frame["type"] == "message"] == list(range(20))
        assert [frame["ref"] for frame in got if frame["type"] == "published"] == list(range(20))
        member(backend, "DELETE", "ws", "cat")
        backend.publish("group:ws", b"not for cat")
        left = next(frames)
        assert (left["type"], left["channel"]) == ("unsubscribed", "group:ws")
        socket.say({"type": "ping", "ref": 9})
        assert next(frames)["type"] == "pong"


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson", "multipart/mixed"])
def test_a_stream_ends_with_the_membership(server, backend, accept):
    def ask():
        link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
        link.request("GET", "/v1/subscribe?channel=group:stream", headers={
            "Accept": accept, "Authorization": f"Bearer {token('dan')}"})
        return link, link.getresponse()

    link, answer = ask()
    assert answer.status == 403
    link.close()
    member(backend, "PUT", "stream", "dan")
    link, answer = ask()
    assert answer.status == 200
    backend.publish("group:stream", b"for dan")
    said = b""
    while b"for dan" not in said:
        said += answer.read1(4096)
    member(backend, "DELETE", "stream", "dan")
    backend.publish("group:stream", b"too late")
    assert b"too late" not in answer.read()
    link.close()


def test_a_websocket_that_names_it_in_the_url(server, backend):
    member(backend, "PUT", "url", "eve")
    for group, want in (("url", "subscribed"), ("other", "error")):
        with contextlib.ExitStack() as stack:
            socket = WebSocket(server.url, path=f"/v1/ws?channel=group:{group}",
                               headers={"Authorization": f"Bearer {token('eve')}"})
            stack.callback(socket.close)
            frames = socket.objects()
            assert next(frames)["type"] == "connected"
            assert next(frames)["type"] == want
    with pytest.raises(RefusedError):
        WebSocket(server.url, path="/v1/ws?channel=user:bob", headers={"Authorization": f"Bearer {token('eve')}"})
