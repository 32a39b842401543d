"""Links end with the tokens that opened them, on every transport (threat 102)."""
import contextlib
import json
import re
import time
from http.client import HTTPConnection

import pytest

from longwire_client import Api, RefusedError, WebSocket, host_and_port
from longwire_server import Server, is_built
from native_wire import NativeClient
from test_jwt import SECRET, token
from wire import Closed

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

SECONDS = 120
CONFIG = f"[key back]\nsecret = back-secret-0123456789\nrights = publish\n[jwt app]\nsecret = {SECRET}\nleeway_s = 0\n"


@pytest.fixture(scope="module")
def server():
    with Server(config=CONFIG, flags=["--store", "memory"]) as running:
        yield running


def soon(seconds, **claims):
    return token(exp=time.time() + seconds, **claims)


LIVES = (2, 8, 32)  # of a token, in seconds


def in_one_life(check):
    """The longer ones are for a machine that is so busy that a token runs out before it is shown, or is said to run out."""
    for life in LIVES:
        try:
            return check(life)
        except (AssertionError, Closed, RefusedError, StopIteration):
            if life == LIVES[-1]:
                raise
    return None


def stream(server, bearer, accept, query="channel=user:ann&wait=60"):
    connection = HTTPConnection(*host_and_port(server.url), timeout=SECONDS)
    connection.request("GET", f"/v1/subscribe?{query}", headers={"Accept": accept, "Authorization": f"Bearer {bearer}"})
    return connection, connection.getresponse()


def test_a_websocket_is_told_and_ended(server):
    def check(life):
        began = time.time()
        with contextlib.closing(WebSocket(server.url, headers={"Authorization": f"Bearer {soon(life)}"})) as link:
            told = list(link.objects())
            assert [thing["type"] for thing in told] == ["connected", "expiring", "reconnect"]
            assert 1 <= told[1]["in"] <= life and link.close_code == 4003
            assert life - 0.5 < time.time() - began < life + 8
    in_one_life(check)


def test_a_fresh_token_goes_on(server):
    """The same user renews in-band; another user, another device and a key are refused, and the link goes on."""
    def check(life):
        with contextlib.closing(WebSocket(server.url, headers={"Authorization": f"Bearer {soon(2 * life, device='phone')}"})) as link:
            answers = link.objects()
            assert [next(answers)["type"], next(answers)["type"]] == ["connected", "expiring"]
            for other in (token(sub="bob"), token(device="tablet"), "back-secret-0123456789"):
                link.say({"type": "connect", "token": other, "ref": 1})
                assert next(answers)["code"] == 403
            link.say({"type": "connect", "token": soon(30 + 2 * life), "ref": 2})
            assert next(answers)["type"] == "connected"
            assert next(answers) == {"type": "expiring", "in": 30}   # of the fresh one
            link.say({"type": "connect", "token": soon(life / 2), "ref": 3})
            assert [thing["type"] for thing in answers] == ["connected", "expiring", "reconnect"]
            assert link.close_code == 4003
    in_one_life(check)


def test_a_fresh_token_that_grants_less(server):
    """What it does not grant any more is followed no longer."""
    def grants(*names):
        return token(channels=[{"match": name, "can": ["subscribe"]} for name in names])

    with contextlib.closing(WebSocket(server.url, headers={"Authorization": f"Bearer {grants('user:bob', 'user:eve')}"})) as link:
        answers = link.objects()
        next(answers)
        for name in ("user:bob", "user:eve", "user:ann"):
            link.say({"type": "subscribe", "channel": name})
            assert next(answers)["type"] == "subscribed"
        link.say({"type": "connect", "token": grants("user:eve")})
        assert [next(answers)["type"], next(answers)["type"]] == ["unsubscribed", "connected"]
        with contextlib.closing(Api(server.url, "back-secret-0123456789")) as api:
            for name in ("user:bob", "user:eve", "user:ann"):
                assert api.publish(name, b"x").status == 201
        assert {next(answers)["channel"], next(answers)["channel"]} == {"user:eve", "user:ann"}


@pytest.mark.parametrize("accept, expiring", [
    ("text/event-stream", rb'event: expiring\ndata: {"type":"expiring","in":(\d+)}\n\n'),
    ("application/x-ndjson", rb'{"type":"expiring","in":(\d+)}\n'),
    ("multipart/mixed", rb'{"type":"expiring","in":(\d+)}'),
])
def test_a_stream_is_told_and_ended(server, accept, expiring):
    def check(life):
        began = time.time()
        connection, answer = stream(server, soon(life), accept)
        with contextlib.closing(connection):
            said = answer.read()
            assert answer.status == 200
            told = re.findall(expiring, said)
            assert len(told) == 1 and 1 <= int(told[0]) <= life, said
            assert life - 0.5 < time.time() - began < life + 8
    in_one_life(check)


def test_a_poll_ends_with_its_token(server):
    def check(life):
        began, bearer = time.time(), soon(life)
        connection, answer = stream(server, bearer, "application/json")
        with contextlib.closing(connection):
            assert answer.status == 200
            assert json.loads(answer.read())["messages"] == [] and life - 0.5 < time.time() - began < life + 8
        connection, answer = stream(server, bearer, "application/json")
        with contextlib.closing(connection):
            assert answer.status == 401 and json.loads(answer.read())["detail"] == "the token has expired"
    in_one_life(check)


def test_it_is_counted():
    def check(life):
        with Server(config=CONFIG + "[key adm]\nsecret = adm-secret-0123456789\nrights = admin\n",
                    flags=["--store", "memory"]) as own, contextlib.closing(Api(own.url, "adm-secret-0123456789")) as api:
            with contextlib.closing(WebSocket(own.url, path=f"/v1/ws?access_token={soon(life / 2)}")) as link:
                assert [thing["type"] for thing in link.objects()][-1] == "reconnect"
            assert "longwire_expired_links_total 1" in api.get("/metrics").body.decode()
    in_one_life(check)


def test_a_native_link_is_told_and_ended(server):
    def check(life):
        with NativeClient(server.tcp_port, token=soon(life + 1, device="phone")) as client:
            assert 1 <= client.expect("expiring")["in"] <= life + 1
            client.send({"type": "connect", "token": soon(life), "ref": 1})
            client.expect("connected")
            assert 1 <= client.expect("expiring")["in"] <= life
            client.expect("reconnect")
            closing = client.expect("closing")
            assert closing["code"] == 4003 and client.next() is None
    in_one_life(check)
