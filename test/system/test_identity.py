"""Who a client is, as far as messages and channels show it: users with and without tokens."""
import contextlib

import pytest

from longwire_client import Api, WebSocket
from longwire_server import Server, is_built

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

KEYS = "[key pub]\nsecret = pub-secret-0123456789\nrights = publish, subscribe\n"


def answer_to(link, thing):
    link.say(thing)
    return next(answer for answer in link.objects() if answer["type"] not in ("connected", "message", "subscribed"))


def test_without_keys_everybody_is_who_they_say():
    with Server(flags=["--store", "memory"]) as server, contextlib.closing(Api(server.url)) as api:
        assert api.call("POST", "/v1/channels/topic:a/messages?user=ann&device=phone", b"1").status == 201
        assert api.call("POST", "/v1/channels/topic:a/messages", b"2").status == 201
        with contextlib.closing(WebSocket(server.url, path="/v1/ws?user=bob")) as link:
            assert answer_to(link, {"type": "publish", "channel": "topic:a", "data": 3})["type"] == "published"
            link.say({"type": "connect", "user": "carl", "device": "tablet", "ref": 1})
            assert answer_to(link, {"type": "publish", "channel": "topic:a", "data": 4})["type"] == "published"
        messages = api.get("/v1/channels/topic:a/messages").json["messages"]
        assert [message.get("from") for message in messages] == ["user:ann", None, "user:bob", "user:carl"]


def test_a_name_that_cannot_be_is_refused():
    with Server(flags=["--store", "memory"]) as server, contextlib.closing(Api(server.url)) as api:
        for query in ("user=a%2Fb", "user=%zz", "user=a&device=%00", "user=" + "a" * 129):
            answer = api.call("GET", f"/v1/channels/topic:a/messages?{query}")
            assert answer.status == 400 and "a user's name is" in answer.json["detail"], query
        with contextlib.closing(WebSocket(server.url)) as link:
            assert answer_to(link, {"type": "connect", "user": "a/b"})["code"] == 400


def test_with_keys_nobody_is_who_they_say():
    with Server(config=KEYS, flags=["--store", "memory"]) as server:
        with contextlib.closing(Api(server.url, "pub-secret-0123456789")) as api:
            assert api.call("POST", "/v1/channels/topic:a/messages?user=ann", b"1").status == 201
            with contextlib.closing(WebSocket(server.url, path="/v1/ws?user=ann",
                                              headers={"Authorization": "Bearer pub-secret-0123456789"})) as link:
                link.say({"type": "connect", "user": "ann", "ref": 1})
                assert answer_to(link, {"type": "publish", "channel": "topic:a", "data": 2})["type"] == "published"
            messages = api.get("/v1/channels/topic:a/messages").json["messages"]
            assert [message["from"] for message in messages] == ["pub", "pub"]
        with contextlib.closing(Api(server.url)) as api:
            assert api.call("GET", "/v1/channels/user:ann/messages?user=ann").status == 401
