"""Native links as users and operators meet them: tokens, the connect hook, memberships, admission, cutting and revoking. What
the frames say is test_native.py's; what the same calls do to other transports stands in the tests of each."""
import contextlib
import json
import time

import jwt
import pytest

from application import Application
from longwire_client import Api
from longwire_server import Server, is_built
from native_link import NativeLink
from native_wire import NativeClient
from test_expiry import in_one_life
from waiting import wait_until
from wire import fresh, metric

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

SECRET = "a-secret-of-the-issuer-0123456789-abcdef"
KEY = "backend-secret-0123456789"
CONFIG = f"""
loops = 2
[jwt app]
secret = {SECRET}
leeway_s = 0
[key backend]
secret = {KEY}
rights = publish, subscribe, admin
[namespace group]
publish = member
[namespace room]
subscribe = member
publish = member
"""


def token(user, seconds=600, age=5, **claims):
    now = int(time.time())
    return jwt.encode({"sub": user, "iat": now - age, "exp": now + seconds, **claims}, SECRET, "HS256")


@pytest.fixture(scope="module", name="server")
def server_fixture():
    with Server(config=CONFIG) as server:
        yield server


@pytest.fixture(name="backend")
def backend_fixture(server):
    with contextlib.closing(Api(server.url, KEY)) as api:
        yield api


def member(backend, method, group, user):
    assert backend.call(method, f"/v1/groups/{group}/members/{user}").status == 200


def revoke(backend, **what):
    answer = backend.call("POST", "/v1/revocations", json.dumps(what), {"Content-Type": "application/json"})
    assert answer.status == 200, answer
    return answer.json["cut"]


def refusal(link, kind, **members):
    return link.ask(kind, "error", **members)["code"]


# --- who only members are ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("space", ["group", "room"])
def test_only_members_follow_and_publish(server, backend, space):
    """Threat 104: refused before the join; told and ended with the leave."""
    user, name = fresh("u").split(":")[1], fresh("g").split(":")[1]
    channel = f"{space}:{name}"
    with NativeLink(server) as link:
        link.ask("connect", "connected", token=token(user))
        assert refusal(link, "subscribe", channel=channel, ref=1) == 403
        assert refusal(link, "publish", channel=channel, data="x", ref=2) == 403
        member(backend, "PUT", name, user)
        assert link.ask("subscribe", "subscribed", channel=channel, ref=3)["ref"] == 3
        for number in range(20):
            link.say("publish", channel=channel, data=str(number), ref=number)
        told = [json.loads(link.frame_text()) for _ in range(40)]
        assert [frame["data"] for frame in told if frame["type"] == "message"] == [str(number) for number in range(20)]
        assert [frame["ref"] for frame in told if frame["type"] == "published"] == list(range(20))
        assert {frame["from"] for frame in told if frame["type"] == "message"} == {f"user:{user}"}
        member(backend, "DELETE", name, user)
        backend.publish(channel, b"not for this user")
        assert link.frame("unsubscribed")["channel"] == channel
        assert link.ask("ping", "pong", ref=9)["ref"] == 9 and link.others == []
        assert refusal(link, "subscribe", channel=channel, ref=10) == 403


# --- tokens --------------------------------------------------------------------------------------------------------

def test_a_fresh_token_goes_on_and_another_user_is_refused(server):
    """Threat 102."""
    def check(life):
        with NativeLink(server) as link:
            link.ask("connect", "connected", token=token("ann", life + 1, device="phone"))
            assert 1 <= link.frame("expiring")["in"] <= life + 1
            for other in (token("bob"), token("ann", device="tablet"), KEY):
                assert refusal(link, "connect", token=other, ref=1) == 403
            link.ask("connect", "connected", token=token("ann", 30 + life, device="phone"), ref=2)
            assert link.frame("expiring")["in"] == 30
            link.ask("connect", "connected", token=token("ann", life // 2, device="phone"), ref=3)
            link.frame("expiring")
            link.frame("reconnect")
            assert link.closing()[0] == 4003
    in_one_life(check)


def test_a_fresh_token_that_grants_less(server, backend):
    def grants(*names):
        return token("ann", channels=[{"match": name, "can": ["subscribe"]} for name in names])

    with NativeLink(server) as link:
        link.ask("connect", "connected", token=grants("user:bob", "user:eve"))
        for name in ("user:bob", "user:eve"):
            link.ask("subscribe", "subscribed", channel=name, ref=1)
        link.say("connect", token=grants("user:eve"), ref=2)
        assert link.frame("unsubscribed")["channel"] == "user:bob"
        assert link.frame("connected")["ref"] == 2
        for name in ("user:bob", "user:eve"):
            backend.publish(name, b"x")
        assert link.next()["channel"] == "user:eve"
        assert link.ask("ping", "pong", ref=3)["ref"] == 3 and link.others == []


def test_a_session_ends_with_its_token_and_its_ticket_too(server):
    def check(life):
        with NativeLink(server) as link:
            ticket = link.ask("connect", "connected", token=token("tick", life, device="phone"), session=True)["ticket"]
            link.frame("expiring")
            link.frame("reconnect")
            assert link.closing()[0] == 4003
            return ticket
    ticket = in_one_life(check)
    with NativeLink(server) as link:
        assert refusal(link, "connect", ticket=ticket, ref=1) == 401
        assert link.ask("connect", "connected", token=token("tick", device="phone"), session=True, ref=2)["resumed"]


def test_a_wrong_token_ends_the_link(server):
    with NativeLink(server) as link:
        assert refusal(link, "connect", token=token("ann")[:-4] + "AAAA", ref=1) == 401
        assert link.closing()[0] == 1008


# --- cut off, revoked ----------------------------------------------------------------------------------------------

def test_a_link_is_looked_at_and_cut_off(server, backend):
    with NativeLink(server) as link:
        key = link.ask("connect", "connected", token=token("cut"), device="phone")["connection"]
        link.ask("subscribe", "subscribed", channel=fresh(), ref=1)
        facts = backend.get(f"/v1/connections/{key}").json
        assert (facts["transport"], facts["user"], facts["channels"]) == ("native", "cut", 1)
        assert backend.call("DELETE", f"/v1/connections/{key}").status == 200
        assert link.frame("reconnect")["after"] >= 0
        assert link.closing()[0] == 4002
    wait_until(lambda: backend.get(f"/v1/connections/{key}").status == 404)


@pytest.mark.parametrize("kind", ["user", "device", "jti", "connection"])
def test_what_is_revoked_is_cut_and_its_ticket_is_refused(server, backend, kind):
    """Threat 102. The ticket asks nobody, so it must not outlive the revocation."""
    name, other = fresh("u").split(":")[1], fresh("u").split(":")[1]
    with NativeLink(server) as link, NativeLink(server) as bystander:
        said = link.ask("connect", "connected", token=token(name, device="phone", jti=f"{name}-1"), session=True)
        stays = bystander.ask("connect", "connected", token=token(other, device="phone", jti=f"{other}-1"), session=True)
        what = {"user": name, "device": f"{name}/phone", "jti": f"{name}-1", "connection": said["connection"]}
        assert revoke(backend, **{kind: what[kind]}) == 1
        assert link.closing() == (4004, "revoked")
        assert bystander.ask("ping", "pong", ref=1)["ref"] == 1
    with NativeLink(server) as link:
        assert refusal(link, "connect", ticket=said["ticket"], ref=1) == 401
        second = int(time.time())
        wait_until(lambda: int(time.time()) > second)  # a token of the second of the revocation is refused, too
        link.ask("connect", "connected", token=token(name, age=0, device="phone", jti=f"{name}-2"), session=True, ref=2)
    with NativeLink(server) as link:
        assert link.ask("connect", "connected", ticket=stays["ticket"])["resumed"]


def test_a_revoked_ticket_stays_refused_over_kill_9():
    with Server(config=CONFIG) as server, contextlib.closing(Api(server.url, KEY)) as backend:
        with NativeLink(server) as link:
            ticket = link.ask("connect", "connected", token=token("kim", device="phone"), session=True)["ticket"]
            assert revoke(backend, user="kim") == 1
        server.kill()
        server.start()
        with NativeLink(server) as link:
            assert refusal(link, "connect", ticket=ticket, ref=1) == 401


# --- the connect hook ----------------------------------------------------------------------------------------------

@pytest.fixture(name="application")
def application_fixture():
    with Application() as application:
        yield application


def hooked(application, **more):
    lines = "".join(f"{name} = {value}\n" for name, value in {"timeout_s": 30, **more}.items())
    return Server(config=f"[key backend]\nsecret = {KEY}\nrights = publish, admin\n[connect_hook]\nurl = {application.url}/hook\n{lines}")


def test_the_application_says_who_comes(application):
    application.answer = lambda question: (200, {"user": "ann", "device": "phone", "subscribe": ["topic:news", "user:ann"]})
    with hooked(application) as server, contextlib.closing(Api(server.url, KEY)) as backend, NativeLink(server) as link:
        key = link.ask("connect", "connected", token="opaque", ref=1)["connection"]
        assert application.questions == [{"connection": key, "transport": "native", "address": "127.0.0.1", "headers": {},
                                          "token": "opaque"}]
        assert {link.frame("subscribed")["channel"] for _ in range(2)} == {"topic:news", "user:ann"}
        backend.publish("user:ann", b"hello")
        assert link.next()["payload"] == b"hello"
        link.ask("connect", "connected", ref=2)
        assert len(application.questions) == 1  # once a link
        facts = backend.get(f"/v1/connections/{key}").json
        assert (facts["user"], facts["device"], facts["transport"]) == ("ann", "phone", "native")


def test_a_ticket_asks_the_application_no_more(application):
    application.answer = lambda question: (200, {"user": "ann", "device": "phone"})
    with hooked(application) as server:
        with NativeLink(server) as link:
            ticket = link.ask("connect", "connected", token="opaque", session=True)["ticket"]
        with NativeLink(server) as link:
            assert link.ask("connect", "connected", ticket=ticket)["resumed"]
        assert len(application.questions) == 1


@pytest.mark.parametrize("answer, code, close", [
    ((401, {"reason": "this account is locked"}), 401, 1008), ((403, {"reason": "this account is locked"}), 403, 1008),
    ((200, b"no JSON"), 502, 1013), ((500, {"user": "ann"}), 502, 1013), (None, 503, 1013)])
def test_the_application_refuses_or_fails(application, answer, code, close):
    application.answer = lambda question: answer if answer is not None else application.hang
    with hooked(application, timeout_s=30 if answer else 1) as server, NativeLink(server) as link:
        error = link.ask("connect", "error", token="opaque", ref=7)
        assert (error["code"], error["ref"]) == (code, 7)
        if code in (401, 403):
            assert error["reason"] == "this account is locked"
        assert link.closing()[0] == close


# --- admission -----------------------------------------------------------------------------------------------------

def come(server, **connect):
    """A link that was let in; else the time after which it shall come again."""
    client = NativeClient(server.tcp_port, connect=False)
    client.send({"type": "connect", **connect})
    frame = client.expect("connected", "reconnect")
    if frame["type"] == "connected":
        return client, None
    assert client.expect("closing")["code"] == 4008 and client.next() is None
    client.close()
    return None, frame["after_ms"]


def test_a_crowd_is_told_when_to_come(server):
    """Threat 35: each its own time, and at that time it is let in; who shows a place comes before strangers."""
    del server
    crowd, rate = 22, 4   # more than come to a busy machine one by one
    with Server(config=f"loops = 1\nadmissions_per_s = {rate}\nadmissions_burst = 10\n") as slow:
        due, links, told, began = [(0, number) for number in range(crowd)], [], 0, time.monotonic()
        while due:
            due.sort()
            when, number = due.pop(0)
            wait_until(lambda at=when: time.monotonic() - began >= at)
            place = {"resume": [{"channel": "topic:a", "seq": 0}]} if number % 2 else {}
            client, after = come(slow, **place)
            if client is not None:
                links.append(client)
            else:
                told += 1
                due.append((time.monotonic() - began + after / 1000, number))
        assert len(links) == crowd and told > 0
        assert time.monotonic() - began >= (crowd - 10) / rate * 0.9
        assert metric(slow, "longwire_admissions_refused_total") == told
        for client in links:
            client.close()


# --- heartbeats ----------------------------------------------------------------------------------------------------

def test_a_beat_is_two_bytes_each_way(server):
    with NativeClient(server.tcp_port, connect=False) as client:
        client.send({"type": "connect", "token": token("beat"), "heartbeat": 60})
        assert client.expect("connected")["heartbeat"] == 60
        before = len(client.raw)
        client.send_bytes(bytes.fromhex("0108"))
        client.expect("pong")
        assert client.raw[before:] == bytes.fromhex("0109")
