"""Who may what: every call by every kind of caller, in every kind of namespace (threats 104, 106).

The table says what the server answers; the texts are what the caller is told. Whoever changes how rights are judged
finds here what must stay."""
import contextlib
import json
from http.client import HTTPConnection

import pytest

from longwire_client import Api, RefusedError, WebSocket, channel_path, host_and_port
from longwire_server import Server, is_built

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

SECONDS = 30
NAMESPACES = """
[namespace free]
subscribe = anyone
publish = anyone
[namespace shut]
subscribe = nobody
publish = nobody
"""
KEYS = "".join(f"[key {name}]\nsecret = {name}-secret-0123456789\nrights = {rights}\n"
               for name, rights in (("pub", "publish"), ("sub", "subscribe"), ("adm", "admin")))

# Which server, and which key is shown there.
CALLERS = {"open": ("open", None), "open wrong": ("open", "wrong"), "none": ("locked", None), "wrong": ("locked", "wrong"),
           "pub": ("locked", "pub"), "sub": ("locked", "sub"), "adm": ("locked", "adm")}
CHANNELS = {"free": "free:a", "topic": "topic:a", "user": "user:a", "sys": "sys:a", "shut": "shut:a", "unknown": "nope:a",
            "malformed": "topic:"}


@pytest.fixture(scope="module")
def servers():
    with Server(config=NAMESPACES, flags=["--store", "memory"]) as open_server, \
            Server(config=NAMESPACES + KEYS, flags=["--store", "memory"]) as locked:
        yield {"open": open_server, "locked": locked}


def secret_of(name):
    return None if name is None else f"{name}-secret-0123456789"


def said(answer):
    """The status, and the reason for a refusal."""
    problem = answer.status >= 400 and answer.headers["Content-Type"] == "application/problem+json"
    return answer.status, json.loads(answer.body)["detail"] if problem else None


def http(method, path, body=None, headers=None):
    def call(server, secret, channel):
        with contextlib.closing(Api(server.url, secret)) as api:
            return said(api.call(method, path.replace("CHANNEL", channel_path(channel)), body, headers))
    return call


def batch(server, secret, channel):
    """The one answer for the whole batch, or the message's own."""
    with contextlib.closing(Api(server.url, secret)) as api:
        answer = api.call("POST", "/v1/messages", json.dumps({"messages": [{"channel": channel, "data": 1}]}).encode(),
                          {"Content-Type": "application/json"})
        if answer.status != 200:
            return said(answer)
        result, = json.loads(answer.body)["results"]
        return result["status"], result.get("detail")


def subscribe(accept):
    def call(server, secret, channel):
        headers = {"Accept": accept, **({"Authorization": f"Bearer {secret}"} if secret else {})}
        connection = HTTPConnection(*host_and_port(server.url), timeout=SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", f"/v1/subscribe?channel={channel}&wait=0", headers=headers)
            answer = connection.getresponse()
            return answer.status, None if answer.status == 200 else json.loads(answer.read())["detail"]
    return call


def handshake(server, secret, channel):
    try:
        WebSocket(server.url, headers={"Authorization": f"Bearer {secret}"} if secret else None,
                  path=f"/v1/ws?channel={channel}").close()
        return 101, None
    except RefusedError as refusal:
        return refusal.args[0], json.loads(refusal.args[1])["detail"]


def frame(thing, connects=False):
    """The answer to a frame; the secret comes with the request, or with a `connect` frame."""
    def call(server, secret, channel):
        headers = {"Authorization": f"Bearer {secret}"} if secret and not connects else None
        try:
            link = WebSocket(server.url, headers=headers)
        except RefusedError as refusal:
            return refusal.args[0], json.loads(refusal.args[1])["detail"]
        with contextlib.closing(link):
            answers = link.objects()
            assert next(answers)["type"] == "connected"
            if connects and secret:
                link.say({"type": "connect", "token": secret, "ref": 1})
                answer = next(answers)
                if answer["type"] == "error":
                    return answer["code"], answer["reason"]
            link.say({"channel": channel, **thing})
            answer = next(answer for answer in answers if answer["type"] not in ("connected", "message"))
            return (answer["code"], answer["reason"]) if answer["type"] == "error" else (200, None)
    return call


MESSAGES = "CHANNEL/messages"
CALLS = {
    "publish": http("POST", MESSAGES, b"x"),
    "batch": batch,
    "recall": http("DELETE", MESSAGES + "/1000000"),
    "history": http("GET", MESSAGES),
    "channel": http("GET", "CHANNEL"),
    "purge": http("DELETE", "CHANNEL"),
    "poll": subscribe("application/json"),
    "sse": subscribe("text/event-stream"),
    "ndjson": subscribe("application/x-ndjson"),
    "multipart": subscribe("multipart/mixed"),
    "websocket": handshake,
    "frame publish": frame({"type": "publish", "data": 1}),
    "frame subscribe": frame({"type": "subscribe"}),
    "connect, publish": frame({"type": "publish", "data": 1}, connects=True),
    "connect, subscribe": frame({"type": "subscribe"}, connects=True),
}
WITHOUT_CHANNEL = {"metrics": http("GET", "/metrics"), "list": http("GET", "/v1/channels"),
                   "healthz": http("GET", "/healthz"), "readyz": http("GET", "/readyz"),
                   "readyz/read": http("GET", "/readyz/read"), "readyz/publish": http("GET", "/readyz/publish"),
                   "nothing": http("GET", "/v1/nothing")}

# 0: the caller may. Columns as in CALLERS.
#                 open: none wrong   locked: none wrong pub  sub  adm
TABLE = {
    ("write", "free"):      (0,   0,         0,   401, 0,   0,   0),
    ("write", "topic"):     (0,   0,         401, 401, 0,   403, 0),
    ("write", "user"):      (0,   0,         401, 401, 0,   403, 0),
    ("write", "sys"):       (403, 403,       403, 401, 403, 403, 403),
    ("write", "shut"):      (403, 403,       403, 401, 403, 403, 403),
    ("read", "free"):       (0,   0,         0,   401, 0,   0,   0),
    ("read", "topic"):      (0,   0,         0,   401, 0,   0,   0),
    ("read", "user"):       (0,   0,         401, 401, 403, 0,   0),
    ("read", "sys"):        (0,   0,         401, 401, 403, 403, 0),
    ("read", "shut"):       (403, 403,       403, 401, 403, 403, 403),
    ("purge", "free"):      (0,   0,         401, 401, 403, 403, 0),
    ("purge", "topic"):     (0,   0,         401, 401, 403, 403, 0),
    ("purge", "user"):      (0,   0,         401, 401, 403, 403, 0),
    ("purge", "sys"):       (404, 404,       401, 401, 403, 403, 404),
    ("purge", "shut"):      (404, 404,       401, 401, 403, 403, 404),
    ("any", "unknown"):     (404, 404,       404, 401, 404, 404, 404),
    ("any", "malformed"):   (400, 400,       400, 401, 400, 400, 400),
}
WITHOUT_CHANNEL_TABLE = {
    "metrics":              (200, 200,       401, 401, 403, 403, 200),
    "list":                 (200, 200,       401, 401, 403, 403, 200),
    "healthz":              (200, 200,       200, 200, 200, 200, 200),
    "readyz":               (200, 200,       200, 200, 200, 200, 200),
    "readyz/read":          (200, 200,       200, 200, 200, 200, 200),
    "readyz/publish":       (200, 200,       200, 200, 200, 200, 200),
    "nothing":              (404, 404,       404, 404, 404, 404, 404),
}
WRITES = ("publish", "batch", "recall", "frame publish", "connect, publish")
DONE = {"publish": 201, "batch": 201, "recall": 404, "websocket": 101}  # else 200
NOT_A_MESSAGE = "there is no such message to take back"
NEVER_PUBLISHED = "nothing was ever published in this channel, and nobody follows it now"


def why_not(call, channel, who, status):
    if who == "wrong":
        return "this token is not known here"
    if call == "purge" and channel in CHANNELS and channel not in ("unknown", "malformed"):
        return ("nothing was ever published in this channel" if status == 404 else
                "purging a channel needs an API key with the right admin")
    if status == 404:
        return "no such namespace; add it to the configuration or use a built-in one"
    if status == 400:
        return "a channel is namespace:name, with 1 to 200 bytes of UTF-8 without control characters as its name"
    if call in WRITES:
        return ("only the server itself publishes in this namespace" if channel in ("sys", "shut") else
                "taking back needs an API key with the right to publish" if call == "recall" else
                "publishing here needs an API key with the right to publish, or the token of a user who may")
    return (f"{'reading' if call in ('history', 'channel') else 'following'} this channel needs an API key "
            "with the right to subscribe, or the token of a user who may")


def want(call, channel, who):
    kind = ("any" if channel in ("unknown", "malformed") else "purge" if call == "purge" else
            "write" if call in WRITES else "read")
    status = TABLE[kind, channel][list(CALLERS).index(who)]
    if status != 0:
        return status, why_not(call, channel, who, status)
    if call == "channel" and channel == "sys":
        return 404, NEVER_PUBLISHED
    return DONE.get(call, 200), NOT_A_MESSAGE if call == "recall" else None


@pytest.mark.parametrize("call", CALLS)
def test_every_call_by_every_caller_in_every_namespace(servers, call):
    for name in ("free:a", "topic:a", "user:a"):
        with contextlib.closing(Api(servers["locked"].url, secret_of("pub"))) as api:
            assert api.publish(name, b"x").status == 201
        with contextlib.closing(Api(servers["open"].url)) as api:
            assert api.publish(name, b"x").status == 201
    got, wanted = {}, {}
    for channel, name in CHANNELS.items():
        for who, (server, secret) in CALLERS.items():
            got[channel, who] = CALLS[call](servers[server], secret_of(secret), name)
            wanted[channel, who] = want(call, channel, who)
    assert got == wanted


@pytest.mark.parametrize("call", WITHOUT_CHANNEL)
def test_every_call_that_names_no_channel(servers, call):
    got = [WITHOUT_CHANNEL[call](servers[server], secret_of(secret), "")[0] for server, secret in CALLERS.values()]
    assert got == list(WITHOUT_CHANNEL_TABLE[call])


def test_a_batch_of_a_stranger_is_refused_as_a_whole_where_nothing_is_open():
    """A client without a key, where every namespace asks for one, gets one refusal for the batch and not one for each
    message."""
    with Server(config=KEYS, flags=["--store", "memory"]) as server:
        needs = "publishing needs an API key with the right to publish, or the token of a user who may"
        for secret, wanted in ((None, (401, needs)), ("wrong", (401, "this token is not known here")),
                               ("sub", (403, "publishing here needs an API key with the right to publish, or the token "
                                              "of a user who may")),
                               ("pub", (201, None))):
            assert batch(server, secret_of(secret), "topic:a") == wanted
