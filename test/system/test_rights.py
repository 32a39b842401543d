"""Who may what: every call by every kind of caller, in every kind of namespace (threats 104, 106).

The table says what the server answers; the texts are what the caller is told. Whoever changes how rights are judged
finds here what must stay."""
import contextlib
import itertools
import json
import time
from http.client import HTTPConnection

import pytest

import jwt

from longwire_client import Api, RefusedError, WebSocket, channel_path, host_and_port
from longwire_server import Server, is_built
from native_wire import NativeClient
from waiting import SECONDS, wait_until

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

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


def native(thing):
    """The same over longwire.bin.v1 on TCP, where the first frame is `connect`."""
    def call(server, secret, channel):
        with NativeClient(server.tcp_port, connect=False) as link:
            link.send({"type": "connect", "ref": 1, **({"token": secret} if secret else {})})
            answer = link.expect("connected", "error")
            if answer["type"] == "connected":
                link.send({**thing, "channel": channel, "ref": 2})
                answer = link.expect("subscribed", "published", "error")
            return (answer["code"], answer["reason"]) if answer["type"] == "error" else (200, None)
    return call


def native_resume(server, secret, channel):
    """A `connect` that names the channel: what it may not follow it is told in an `error`, and stays."""
    with NativeClient(server.tcp_port, connect=False) as link:
        link.send({"type": "connect", "ref": 1, "resume": [{"channel": channel, "seq": 0}],
                   **({"token": secret} if secret else {})})
        answers = [link.expect("connected", "error", "subscribed")]
        if answers[0]["type"] == "connected":
            answers.append(link.expect("error", "subscribed"))
        return (answers[-1]["code"], answers[-1]["reason"]) if answers[-1]["type"] == "error" else (200, None)


MESSAGES = "CHANNEL/messages"
CALLS = {
    "publish": http("POST", MESSAGES, b"x"),
    "batch": batch,
    "recall": http("DELETE", MESSAGES + "/1000000"),
    "history": http("GET", MESSAGES),
    "channel": http("GET", "CHANNEL"),
    "subscribers": http("GET", "CHANNEL/subscribers"),
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
    "native publish": native({"type": "publish", "payload": "1"}),
    "native subscribe": native({"type": "subscribe"}),
    "native resume": native_resume,
}
WITHOUT_CHANNEL = {"metrics": http("GET", "/metrics"), "list": http("GET", "/v1/channels"),
                   "presence": http("POST", "/v1/presence", b'{"users":["bob"]}'),
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
    "presence":             (200, 200,       401, 401, 403, 200, 200),
    "healthz":              (200, 200,       200, 200, 200, 200, 200),
    "readyz":               (200, 200,       200, 200, 200, 200, 200),
    "readyz/read":          (200, 200,       200, 200, 200, 200, 200),
    "readyz/publish":       (200, 200,       200, 200, 200, 200, 200),
    "nothing":              (404, 404,       404, 404, 404, 404, 404),
}
WRITES = ("publish", "batch", "recall", "frame publish", "connect, publish", "native publish")
NO_PRESENCE = "this channel's namespace keeps no presence: set presence = true in its section of the configuration"
DONE = {"publish": 201, "batch": 201, "recall": 404, "websocket": 101, "subscribers": 409}  # else 200
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
    if channel == "sys":
        return "the server's own channels are read with an API key that has the right admin"
    if call == "subscribers":
        return ("seeing who follows this channel needs an API key with the right to subscribe, or the token of a user who may")
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
    return DONE.get(call, 200), {"recall": NOT_A_MESSAGE, "subscribers": NO_PRESENCE}.get(call)


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


# --- users ------------------------------------------------------------------------------------------------------------
#
# Threat 104: one's own, other people's, and what does not exist. `own` is ann without grants; `granted` has grants on
# GRANTED; `bad` shows tokens that are refused.

JWT_SECRET = "a-secret-of-the-issuer-0123456789"
MEMBERS = """
[namespace wall]
subscribe = user
publish = user
"""
GRANTED = [{"match": "user:bob", "can": ["subscribe", "publish", "history"]},
           {"match": "room:*", "can": ["subscribe", "publish", "history"]},
           {"match": "topic:a", "can": ["publish"]}, {"match": "sys:*", "can": ["subscribe", "history"]},
           {"match": "shut:*", "can": ["subscribe", "publish"]}, {"match": "device:bob/x", "can": ["subscribe"]}]
#                      read own, write own, read granted, write granted
USER_TABLE = {
    "user:ann":        (0,   403, 0,   403),  # the namespace lets keys publish, and no grant changes that
    "user:bob":        (403, 403, 0,   403),
    "user:nobody":     (403, 403, 403, 403),
    "user:ann/phone":  (403, 403, 403, 403),
    "user:*":          (403, 403, 403, 403),
    "device:ann/phone": (0,  403, 0,   403),
    "device:bob/x":    (403, 403, None, 403),  # a grant to follow, and none to read pages
    "group:g":         (403, 403, 403, 403),
    "conn:0123456789abcdef": (403, 403, 403, 403),
    "topic:a":         (0,   403, 0,   0),
    "wall:a":          (0,   0,   0,   0),
    "free:a":          (0,   0,   0,   0),
    "shut:a":          (403, 403, 403, 403),
    "sys:a":           (403, 403, 403, 403),
    "nope:a":          (403, 403, 403, 403),
}
NOT_YOURS = {"history": "you may not read this channel, or there is none",
             "channel": "you may not read this channel, or there is none",
             "subscribers": "you may not see who follows this channel, or there is none",
             "recall": "you may not take back messages of this channel, or there is none",
             "purge": "purging a channel needs an API key with the right admin"}


def user_token(**claims):
    return jwt.encode({"sub": "ann", "exp": time.time() + 600, **claims}, JWT_SECRET, "HS256")


def want_of_user(call, channel, is_granted):
    reads = call not in WRITES
    status = USER_TABLE[channel][2 * is_granted + (not reads)]
    if status is None:
        status = 403 if call == "history" else 0
    if call == "subscribers":
        status = USER_TABLE[channel][0]  # none of the grants has `presence`
    if call == "purge" or (call == "recall" and channel != "free:a"):
        status = 403
    if (call, channel) == ("websocket", "group:g"):
        return 101, None  # members are asked for once the link is open, and an `error` frame refuses: test_members_only
    if status != 0:
        writes = "you may not publish in this channel, or there is none"
        return status, NOT_YOURS.get(call, "you may not follow this channel, or there is none" if reads else writes)
    if call == "channel" and channel == "device:ann/phone":
        return 404, NEVER_PUBLISHED
    return DONE.get(call, 200), {"recall": NOT_A_MESSAGE, "subscribers": NO_PRESENCE}.get(call)


@pytest.fixture(name="with_users", scope="module")
def fixture_with_users():
    config = NAMESPACES + MEMBERS + KEYS + f"[jwt app]\nsecret = {JWT_SECRET}\nleeway_s = 0\n"
    with Server(config=config, flags=["--store", "memory"]) as server:
        with contextlib.closing(Api(server.url, secret_of("adm"))) as api:
            for name in ("user:ann", "user:bob", "topic:a", "wall:a", "free:a", "device:bob/x"):
                assert api.publish(name, b"x").status == 201
        yield server


@pytest.mark.parametrize("call", CALLS)
def test_every_call_by_users(with_users, call):
    got, wanted = {}, {}
    for channel in USER_TABLE:
        for is_granted in (False, True):
            token = user_token(channels=GRANTED) if is_granted else user_token()
            got[channel, is_granted] = CALLS[call](with_users, token, channel)
            wanted[channel, is_granted] = want_of_user(call, channel, is_granted)
    assert got == wanted


BAD_TOKENS = {"expired": lambda: user_token(exp=1), "unsigned": lambda: user_token().rsplit(".", 1)[0] + ".",
              "none": lambda: jwt.encode({"sub": "ann", "exp": 4e9}, None, "none"),
              "another secret": lambda: jwt.encode({"sub": "ann", "exp": 4e9}, "x" * 32, "HS256"),
              "another algorithm": lambda: jwt.encode({"sub": "ann", "exp": 4e9}, JWT_SECRET, "HS512")}


@pytest.mark.parametrize("call", CALLS)
def test_every_call_by_bad_tokens(with_users, call):
    for name, make in BAD_TOKENS.items():
        for channel in ("free:a", "user:ann", "nope:a"):
            assert CALLS[call](with_users, make(), channel)[0] == 401, (name, channel)


@pytest.mark.parametrize("call", WITHOUT_CHANNEL)
def test_every_call_that_names_no_channel_by_a_user(with_users, call):
    wanted = WITHOUT_CHANNEL_TABLE[call][list(CALLERS).index("pub")]
    assert WITHOUT_CHANNEL[call](with_users, user_token(), "")[0] == wanted


# --- people, groups, connections: the calls that manage ---------------------------------------------------------------
#
# `own` is what is ann's, `theirs` bob's, `nowhere` what does not exist. Whoever may not is told the same of all three.

def ask(method, path, **members):
    def call(server, secret, names):
        body = json.dumps({name: value.format(**names) if isinstance(value, str) else value
                           for name, value in members.items()}) if members else None
        with contextlib.closing(Api(server.url, secret)) as api:
            return said(api.call(method, path.format(**names), body, {"Content-Type": "application/json"} if body else None))
    return call


def send_request(server, secret, _names):
    body = json.dumps({"id": "1", "method": "GET", "path": "/a", "device": "phone"})
    with contextlib.closing(Api(server.url, secret)) as api:
        return said(api.call("POST", "/v1/request", body, {"Content-Type": "application/json"}))


def acknowledge(server, secret, names):
    body = json.dumps({"places": {names["channel"]: 1}, "device": "phone"})
    with contextlib.closing(Api(server.url, secret)) as api:
        return said(api.call("POST", "/v1/ack", body, {"Content-Type": "application/json"}))


def native_ack(server, secret, names):
    """With a session: what it does not follow by itself it can't acknowledge."""
    with NativeClient(server.tcp_port, connect=False) as link:
        link.send({"type": "connect", "ref": 1, "standing": True, "device": "phone", **({"token": secret} if secret else {})})
        answer = link.expect("connected", "error")
        if answer["type"] == "connected":  # and the channels of the session's own have answered
            missing = {"user:ann", "device:ann/phone"}
            while missing:
                missing.discard(link.expect("subscribed", "unsubscribed", "full")["channel"])
            link.send({"type": "ack", "channel": names["channel"], "seq": 0, "ref": 2})
            others = ("subscribed", "unsubscribed", "full")  # groups, and the log of the user that tells of them
            while (answer := link.expect("ack", "error", *others))["type"] in others:
                pass
        return (answer["code"], answer["reason"]) if answer["type"] == "error" else (200, None)


MANAGE = {
    "join": ask("PUT", "/v1/groups/{group}/members/{user}"),
    "leave": ask("DELETE", "/v1/groups/{group}/members/{user}"),
    "members": ask("GET", "/v1/groups/{group}/members"),
    "groups of": ask("GET", "/v1/users/{user}/groups"),
    "user": ask("GET", "/v1/users/{user}"),
    "look at link": ask("GET", "/v1/connections/{connection}"),
    "cut link": ask("DELETE", "/v1/connections/{connection}"),
    "revoke": ask("POST", "/v1/revocations", jti="{user}"),
    "nodes": ask("GET", "/v1/nodes"),
    "sessions": ask("GET", "/v1/sessions"),
    "drain": ask("POST", "/v1/nodes/{node}/drain", per_second=1),
    "forwarders": ask("GET", "/v1/forwarders"),
    "allocate": ask("GET", "/v1/allocate"),
    "ack": acknowledge,
    "native ack": native_ack,
    "request": send_request,
}
WHOSE = {"own": {"group": "g", "user": "ann", "channel": "user:ann"},
         "theirs": {"group": "h", "user": "bob", "channel": "user:bob"},
         "nowhere": {"group": "none", "user": "nobody", "channel": "user:nobody"}}
SESSION_NOT_FOLLOWED = "this session does not follow one of these channels; nothing was acknowledged"
NEEDS_USER = "places and read marks belong to a user: come with the token of one"
NEEDS_DEVICE = "requests belong to the device of a user: come with a token"
NO_UPLINK = "no [uplink] of the configuration takes this method and path"
NO_NODE = "there is no such node; GET /v1/nodes names them"
LINK_NEEDS_USER = "a session belongs to a user: come with the token of one"
MANAGE_NEEDS = {
    "join": "the members of groups need an API key with the right to publish",
    "groups of": "looking at users needs an API key with the right to subscribe, or the user's own token",
    "look at link": "looking at connections and ending them needs an API key with the right admin",
    "revoke": "revoking needs an API key with the right admin",
    "nodes": "seeing the nodes and draining one needs an API key with the right admin",
    "sessions": "listing the sessions needs an API key with the right admin",
    "forwarders": "seeing what back ends have yet to take, and sending it again, needs an API key with the right admin",
    "ack": NEEDS_USER, "native ack": LINK_NEEDS_USER, "request": NEEDS_DEVICE,
}
MANAGE_NEEDS.update({"leave": MANAGE_NEEDS["join"], "members": MANAGE_NEEDS["join"], "user": MANAGE_NEEDS["groups of"],
                     "cut link": MANAGE_NEEDS["look at link"], "drain": MANAGE_NEEDS["nodes"]})
# 0: may. The columns: nobody, a wrong key, keys with publish, subscribe, admin; ann's token, and ann's with every grant.
MANAGE_TABLE = {
    #               none wrong pub  sub  adm  ann  granted
    "join":         (401, 401, 0,   403, 0,   403, 403),
    "leave":        (401, 401, 0,   403, 0,   403, 403),
    "members":      (401, 401, 0,   403, 0,   403, 403),
    "groups of":    (401, 401, 403, 0,   0,   None, None),  # None: one's own, and nobody else's
    "user":         (401, 401, 403, 0,   0,   None, None),
    "look at link": (401, 401, 403, 403, 0,   403, 403),
    "cut link":     (401, 401, 403, 403, 0,   403, 403),
    "revoke":       (401, 401, 403, 403, 0,   403, 403),
    "nodes":        (401, 401, 403, 403, 0,   403, 403),
    "sessions":     (401, 401, 403, 403, 0,   403, 403),
    "drain":        (401, 401, 403, 403, 0,   403, 403),
    "forwarders":   (401, 401, 403, 403, 0,   403, 403),
    "allocate":     (0,   0,   0,   0,   0,   0,   0),    # who asks is not looked at
    "ack":          (401, 401, 401, 401, 401, None, None),
    "native ack":   (401, 401, 401, 401, 401, None, None),
    "request":      (401, 401, 401, 401, 401, 404, 404),  # a user of any name may, if there is an [uplink]
}
EVERYTHING = [{"match": "*", "can": ["subscribe", "publish", "history", "presence"]}]
MANAGERS = {"none": lambda: None, "wrong": lambda: secret_of("wrong"), "pub": lambda: secret_of("pub"),
            "sub": lambda: secret_of("sub"), "adm": lambda: secret_of("adm"), "ann": user_token,
            "granted": lambda: user_token(channels=EVERYTHING)}


def want_managed(call, whose, who):
    status = MANAGE_TABLE[call][list(MANAGERS).index(who)]
    is_link = call in ("look at link", "cut link")
    if status == 404:
        return 404, NO_UPLINK
    if status is None and whose == "own":
        status = 0
    if status is None:
        return {"ack": (404, SESSION_NOT_FOLLOWED), "native ack": (404, "this session does not follow that channel")}.get(
            call, (403, "you may not look at this user, or there is none"))
    if status == 0 and ((is_link and whose == "nowhere") or call == "drain"):
        return 404, "there is no such connection now" if is_link else NO_NODE
    if status == 0:
        return 200, None
    return status, "this token is not known here" if who == "wrong" else MANAGE_NEEDS[call]


@pytest.mark.parametrize("call", MANAGE)
def test_every_call_that_manages_by_everybody(with_users, call):
    """Threat 104. A drain names a node that is not there, so that the server serves the other tests."""
    server, got, wanted = with_users, {}, {}
    with NativeClient(server.tcp_port, token=user_token(device="phone"), standing=True):
        for whose, names in WHOSE.items():
            for who, token in MANAGERS.items():
                with NativeClient(server.tcp_port, token=user_token(sub=names["user"])) as link:
                    key = "0123456789abcdef" if whose == "nowhere" else link.connected["connection"]
                    got[whose, who] = MANAGE[call](server, token(), {**names, "connection": key, "node": "none"})
                wanted[whose, who] = want_managed(call, whose, who)
    assert got == wanted


@pytest.mark.parametrize("call", MANAGE)
def test_every_call_that_manages_by_bad_tokens(with_users, call):
    names = {**WHOSE["own"], "connection": "0" * 16, "node": "none"}
    for name, make in BAD_TOKENS.items():
        assert MANAGE[call](with_users, make(), names)[0] == (200 if call == "allocate" else 401), name


@pytest.mark.parametrize("call", MANAGE)
def test_without_configuration_everybody_manages(servers, call):
    """Who names no user has no places, and that is all."""
    wanted = 401 if "ack" in call or call == "request" else 404 if "link" in call or call == "drain" else 200
    names = {**WHOSE["own"], "connection": "0" * 16, "node": "none"}
    assert MANAGE[call](servers["open"], None, names)[0] == wanted


def test_a_key_of_some_channels(servers):
    """Its rights hold where a pattern fits, and nowhere else; what names no channel it may not."""
    config = NAMESPACES + "[key some]\nsecret = some-secret-0123456789\nrights = admin\nchannels = topic:a*, user:ann\n"
    wanted = {"topic:a": 0, "topic:abc": 0, "user:ann": 0, "topic:b": 403, "user:ann2": 403, "sys:a": 403, "free:b": 0}
    with Server(config=config, flags=["--store", "memory"]) as server:
        for channel, status in wanted.items():
            assert CALLS["publish"](server, secret_of("some"), channel)[0] == (status or 201), channel
            assert CALLS["purge"](server, secret_of("some"), channel)[0] == (200 if status == 0 and channel != "free:b" else 403)
        for call in ("metrics", "list"):
            assert WITHOUT_CHANNEL[call](server, secret_of("some"), "")[0] == 403


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


# --- what became of a message -----------------------------------------------------------------------------------------

def ask_why(server, secret, channel):
    with contextlib.closing(Api(server.url, secret)) as api:
        return said(api.call("GET", f"/v1/why?channel={channel}&seq=1&device=a/phone"))


WHY, SESSIONS = ask_why, http("GET", "/v1/sessions")
RECEIPTS = http("GET", MESSAGES + "/1/receipts")
NO_RECEIPTS = "receipts are kept of channels whose readers are stored: user:U, device:U/D and group:G; "
#                                    open: none wrong   locked: none wrong pub  sub  adm
ABOUT_MESSAGES = {
    (RECEIPTS, "user:a"):            (200, 200,       401, 401, 403, 200, 200),
    (RECEIPTS, "user:never"):        (404, 404,       401, 401, 403, 404, 404),
    (RECEIPTS, "topic:a"):           (404, 404,       401, 401, 403, 404, 404),
    (RECEIPTS, "sys:a"):             (404, 404,       401, 401, 403, 403, 404),
    (RECEIPTS, "nope:a"):            (404, 404,       404, 401, 404, 404, 404),
    (RECEIPTS, "user:"):             (400, 400,       400, 401, 400, 400, 400),
    (WHY, "user:a"):                 (200, 200,       401, 401, 403, 200, 200),
    (WHY, "user:never"):             (404, 404,       401, 401, 403, 404, 404),
    (WHY, "topic:a"):                (200, 200,       401, 401, 403, 200, 200),
    (WHY, "shut:a"):                 (404, 404,       401, 401, 403, 404, 404),
    (WHY, "sys:a"):                  (404, 404,       401, 401, 403, 403, 404),
    (WHY, "nope:a"):                 (404, 404,       404, 401, 404, 404, 404),
    (WHY, "user:"):                  (400, 400,       400, 401, 400, 400, 400),
    (SESSIONS, ""):                  (200, 200,       401, 401, 403, 403, 200),
}


def test_every_call_about_messages(servers):
    for server, secret in (("locked", "pub"), ("open", None)):
        with contextlib.closing(Api(servers[server].url, secret_of(secret))) as api:
            for channel in ("user:a", "topic:a"):
                assert api.publish(channel, b"x").status == 201
    for (call, channel), wanted in ABOUT_MESSAGES.items():
        got = tuple(call(servers[server], secret_of(secret), channel)[0] for server, secret in CALLERS.values())
        assert got == wanted, channel
    assert RECEIPTS(servers["locked"], secret_of("sub"), "topic:a")[1].startswith(NO_RECEIPTS)
    assert RECEIPTS(servers["locked"], secret_of("pub"), "user:a")[1].startswith("receipts need an API key")


def test_users_ask_about_what_they_published():
    """Threat 104: what is another's and what does not exist are the same."""
    config = KEYS + f"[jwt app]\nsecret = {JWT_SECRET}\n[namespace group]\nsubscribe = member\npublish = user\n"
    refused = (403, "you may ask only about messages that you published, or there is no such message")
    with Server(config=config) as server:
        ann, bob = user_token(), user_token(sub="bob", channels=[{"match": "group:*", "can": ["subscribe", "history"]}])
        with contextlib.closing(Api(server.url, ann)) as api, contextlib.closing(Api(server.url, secret_of("adm"))) as app:
            assert api.publish("group:g", b"of ann").status == 201
            for channel in ("group:g", "user:ann", "topic:a"):
                assert app.publish(channel, b"of the application").status == 201
            assert api.publish("group:gone", b"soon", ttl=1).status == 201
        mine, other = http("GET", "CHANNEL/messages/1/receipts"), http("GET", "CHANNEL/messages/2/receipts")
        assert mine(server, ann, "group:g") == (200, None)
        assert mine(server, bob, "group:g") == refused
        assert other(server, ann, "group:g") == refused
        for channel in ("user:ann", "user:bob", "device:ann/phone", "topic:a", "group:never", "sys:control", "nope:a"):
            assert mine(server, ann, channel) == refused, channel
        for token in (make() for make in BAD_TOKENS.values()):
            assert mine(server, token, "group:g")[0] == 401
            assert ask_why(server, token, "group:g")[0] == SESSIONS(server, token, "")[0] == 401
        whose = {ask_why(server, ann, channel) for channel in ("user:ann", "user:bob", "group:g", "topic:a", "nope:a")}
        assert whose == {(403, "asking what became of a message needs an API key with the right to subscribe")}
        assert SESSIONS(server, ann, "") == (403, "listing the sessions needs an API key with the right admin")
        wait_until(lambda: mine(server, ann, "group:gone") == refused)  # nobody knows any more who published it


def test_a_key_of_some_channels_asks_about_these():
    config = "[key some]\nsecret = some-secret-0123456789\nrights = subscribe\nchannels = user:a\n" + KEYS
    with Server(config=config, flags=["--store", "memory"]) as server:
        with contextlib.closing(Api(server.url, secret_of("pub"))) as api:
            for channel in ("user:a", "user:b"):
                assert api.publish(channel, b"x").status == 201
        assert RECEIPTS(server, secret_of("some"), "user:a")[0] == 200
        assert RECEIPTS(server, secret_of("some"), "user:b")[0] == 403
        assert WHY(server, secret_of("some"), "user:a")[0] == 200
        assert WHY(server, secret_of("some"), "user:b")[0] == 403


# What is another's, and what does not exist.
FOREIGN = ("user:bob", "group:strange", "nope:bob")


@pytest.mark.parametrize("query,headers,body", [
    ("", {}, b"x"), ("?ttl=-1", {}, b"x"), ("?ttl=0", {}, b"x"), ("?zork=1", {}, b"x"), ("?priority=soon", {}, b"x"),
    ("", {"Longwire-Event": "%"}, b"x"), ("", {"Collapse-Key": "%"}, b"x"), ("", {"Content-Type": "none"}, b"x"),
    ("", {"Content-Type": "application/json"}, b"{"), ("", {"Idempotency-Key": "k" * 256}, b"x"),
    ("", {"Content-Type": "application/vnd.longwire.read+json"}, b"{}")])
def test_a_faulty_publish_tells_no_user_what_exists(with_users, query, headers, body):
    """Threat 104."""
    with contextlib.closing(Api(with_users.url, user_token())) as api:
        got = {channel: said(api.call("POST", f"{channel_path(channel)}/messages{query}", body, headers)) for channel in FOREIGN}
    assert got == dict.fromkeys(FOREIGN, (403, "you may not publish in this channel, or there is none"))


def test_a_batch_tells_no_user_what_exists(with_users):
    """Threat 104."""
    body = json.dumps({"messages": [{"channel": channel, "data": 1} for channel in FOREIGN] + [{"channels": FOREIGN, "data": 1}]})
    with contextlib.closing(Api(with_users.url, user_token())) as api:
        answer = api.call("POST", "/v1/messages", body.encode(), {"Content-Type": "application/json"})
    *alone, together = json.loads(answer.body)["results"]
    assert alone == together["results"] == [alone[0]] * len(FOREIGN)
    assert alone[0]["status"] == 403


def test_an_ack_tells_no_user_what_exists(with_users):
    """Threat 104: also where the device has no session, and where the generation is an old one."""
    def ack(channel, **more):
        return ask("POST", "/v1/ack", places={channel: 1}, device="watch", **more)(with_users, user_token(sub="cid"), {})
    for has_session in (False, True):
        if has_session:
            with contextlib.closing(WebSocket(with_users.url)) as link:
                link.say({"type": "connect", "token": user_token(sub="cid"), "session": True, "device": "watch"})
                assert next(thing for thing in link.objects() if thing["type"] == "subscribed")
        for more in ({}, {"generation": 1}, {"generation": 9}):
            assert len({ack(channel, **more) for channel in FOREIGN}) == 1, more
            assert ack("user:bob", **more)[0] in (404, 409)
    assert ack("user:cid") == (200, None)


def test_a_mark_tells_no_user_what_exists(with_users):
    """Threat 104: who is no member of a group is told what is told of a group that does not exist."""
    want = (403, "you may not follow this channel, or there is none")
    mark = lambda channel: ask("POST", "/v1/ack", read={channel: 1})(with_users, user_token(), {})
    assert {channel: mark(channel) for channel in FOREIGN} == dict.fromkeys(FOREIGN, want)
    with contextlib.closing(WebSocket(with_users.url)) as link:
        link.say({"type": "connect", "token": user_token()})
        for channel in FOREIGN:
            link.say({"type": "read", "channel": channel, "seq": 1, "ref": 1})
        refusals = [thing for thing in itertools.islice(link.objects(), 5) if thing["type"] == "error"]
    assert [(refusal["code"], refusal["reason"]) for refusal in refusals] == [want] * len(FOREIGN)


@pytest.mark.parametrize("call", ["/v1/ack", "/v1/request"])
def test_the_device_of_a_call_is_said_once(with_users, call):
    """A device that the token names wins, and another one said beside it is 400, in the body as in the query."""
    more = {"places": {"user:ann": 1}} if call == "/v1/ack" else {"id": "r", "method": "GET", "path": "/"}
    done = (404, "this device has no session") if call == "/v1/ack" else (404, "no [uplink] of the configuration takes this method and path")
    another = (400, "the token names another device: leave out `device`, or say the same")
    named, nameless = user_token(device="pager"), user_token()
    def say(token, query="", **device):
        return http("POST", call + query, json.dumps({**more, **device}).encode(), {"Content-Type": "application/json"})(with_users, token, "topic:a")
    assert say(named) == say(named, "?device=pager") == say(named, device="pager") == done
    assert say(named, "?device=watch") == say(named, device="watch") == another
    assert say(nameless, "?device=pa%67er") == say(nameless, device="pager") == say(nameless, "?device=pager", device="pager") == done
    assert say(nameless)[0] == 400
    assert say(nameless, "?device=pager", device="watch")[0] == say(nameless, "?device=a%2Fb")[0] == say(nameless, "?device=%")[0] == 400


# --- what a link may no longer ----------------------------------------------------------------------------------------

GROUPS = [{"match": "group:*", "can": ["subscribe"]}]


class Link:
    """A WebSocket that shows a token or a ticket, and what it was told."""

    def __init__(self, server, **connect):
        self.ws = WebSocket(server.url)
        self.things = self.ws.objects()
        self.answer = self.connect(**connect)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.ws.close()

    def until(self, kind):
        return next(thing for thing in self.things if thing["type"] == kind)

    def connect(self, **members):
        """Its answer, and behind it what was told before."""
        return self.ask(type="connect", **members)

    def ask(self, **frame):
        self.before = []
        self.ws.say({"ref": 7, **frame})
        for thing in self.things:
            if thing.get("ref") == 7:
                return thing
            self.before.append((thing["type"], thing.get("channel")))
        raise AssertionError("the link has ended")


def test_a_ticket_of_somebody_else_does_not_change_whose_a_link_is(with_users):
    """Threat 102, 104: else what the first token allowed would outlive its end and its revocation."""
    another = (403, "this connection belongs to another user or device; open another one for this ticket")
    def ticket(user, device):
        with Link(with_users, token=user_token(sub=user, device=device), session=True) as link:
            return link.answer["ticket"]
    with Link(with_users, token=user_token(device="pad")) as link:
        assert link.ask(type="subscribe", channel="user:ann")["type"] == "subscribed"
        for user, device in (("mallory", "pad"), ("ann", "other")):
            answer = link.connect(ticket=ticket(user, device))
            assert (answer["code"], answer["reason"]) == another
        assert link.connect(ticket=ticket("ann", "pad"))["user"] == "ann"
    with Link(with_users, token=user_token()) as link:                      # its token names no device
        assert link.connect(ticket=ticket("ann", "pad"))["device"] == "pad"
    with Link(with_users) as link:                                          # nobody's
        assert link.connect(ticket=ticket("mallory", "pad"))["user"] == "mallory"


def test_a_ticket_does_not_keep_what_a_key_may_follow(with_users):
    """As a token that is shown on the link of a key."""
    with Link(with_users, token=user_token(device="tab"), session=True) as link:
        ticket = link.answer["ticket"]
    with Link(with_users, token=secret_of("adm")) as link:
        for channel in ("user:bob", "group:strange", "topic:a"):
            assert link.ask(type="subscribe", channel=channel)["type"] == "subscribed"
        assert link.connect(ticket=ticket)["user"] == "ann"
        told = {channel for kind, channel in link.before if kind == "unsubscribed"}
        while len(told) < 2:  # who is a member of a group is asked for first
            told.add(link.until("unsubscribed")["channel"])
        assert told == {"group:strange", "user:bob"}


@pytest.mark.parametrize("session", [False, True])
@pytest.mark.parametrize("keep", [False, True])
def test_a_fresh_token_without_the_grant_leaves_the_groups_of_others(with_users, session, keep):
    """A group that a grant allowed, and of which the user is no member, is followed no longer, nor by the next link of its session."""
    user = f"dora-{session}-{keep}"
    with contextlib.closing(Api(with_users.url, secret_of("adm"))) as api:
        assert api.call("PUT", f"/v1/groups/hers/members/{user}", None, None).status == 200
    with Link(with_users, token=user_token(sub=user, device="d", channels=GROUPS), session=session) as link:
        kept = {"keep": True} if keep and session else {}
        assert link.ask(type="subscribe", channel="group:strange", **kept)["type"] == "subscribed"
        if not session:
            assert link.ask(type="subscribe", channel="group:hers")["type"] == "subscribed"
        assert link.connect(token=user_token(sub=user, device="d"))["type"] == "connected"
        if ("unsubscribed", "group:strange") not in link.before:
            assert link.until("unsubscribed")["channel"] == "group:strange"
        assert link.ask(type="subscribe", channel="group:strange")["code"] == 403
        assert link.ask(type="subscribe", channel="group:hers")["code"] == 409  # as a member, and until she is none
        with contextlib.closing(Api(with_users.url, secret_of("adm"))) as api:
            assert api.call("DELETE" if not session else "PUT", f"/v1/groups/hers/members/{user}", None, None).status == 200
        if not session:
            assert ("unsubscribed", "group:hers") not in link.before and link.until("unsubscribed")["channel"] == "group:hers"
            return
    with Link(with_users, token=user_token(sub=user, device="d"), session=True) as link:
        told = {link.until("subscribed")["channel"] for _ in range(3)}
        assert told == {f"user:{user}", f"device:{user}/d", "group:hers"}
        assert link.ask(type="ping")["type"] == "pong" and ("subscribed", "group:strange") not in link.before
    with Link(with_users, token=user_token(sub=user, device="d", channels=GROUPS), session=True) as link:
        link.ask(type="ping")
        assert (("subscribed", "group:strange") in link.before) == keep


def test_a_member_follows_a_group_that_the_session_kept(with_users):
    """The grant is gone, and the user has become a member."""
    with Link(with_users, token=user_token(sub="eva", device="d", channels=GROUPS), session=True) as link:
        assert link.ask(type="subscribe", channel="group:club", keep=True)["type"] == "subscribed"
    with contextlib.closing(Api(with_users.url, secret_of("adm"))) as api:
        assert api.call("PUT", "/v1/groups/club/members/eva", None, None).status == 200
    with Link(with_users, token=user_token(sub="eva", device="d"), session=True) as link:
        assert {link.until("subscribed")["channel"] for _ in range(3)} == {"user:eva", "device:eva/d", "group:club"}
