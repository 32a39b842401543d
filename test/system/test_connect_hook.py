"""The application says who connects: asked once a link, never waited for by others, and believed only if it answers well."""
import contextlib
import http.client
import json
import subprocess
import threading
import time
import urllib.parse

import jwt
import pytest

from application import Application, Authority
from longwire_client import Api, WebSocket
from longwire_server import LONGWIRED, Server, is_built
from waiting import SECONDS, wait_until

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

KEY = "the-secret-of-the-back-end"


def config(application, **more):
    lines = "".join(f"{name} = {value}\n" for name, value in {"timeout_s": 30, **more}.items())
    return (f"loops = 2\n[key backend]\nsecret = {KEY}\nrights = publish, admin\n"
            f"[connect_hook]\nurl = {application.url}/hook\nheaders = Cookie, X-Tenant\n{lines}")


@pytest.fixture(name="application")
def an_application():
    with Application() as application:
        yield application


@pytest.fixture(name="server")
def a_server(application):
    with Server(config=config(application, timeout_s=30)) as server:
        yield server


@pytest.fixture(name="backend")
def a_back_end(server):
    with contextlib.closing(Api(server.url, KEY)) as api:
        yield api


def get(server, path, **headers):
    address = urllib.parse.urlsplit(server.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=SECONDS)
    connection.request("GET", path, headers=headers)
    return connection.getresponse()


def next_of(objects, kind):
    return next(thing for thing in objects if thing["type"] == kind)


# --- what is asked, and when ---------------------------------------------------------------------------------------

def test_a_websocket_is_asked_about_at_its_connect(server, application, backend):
    application.answer = lambda question: (200, {"user": "ann", "device": "phone", "expires_in": 3600,
                                                 "subscribe": ["topic:news", "user:ann"]})
    link = WebSocket(server.url, headers={"Cookie": "sid=1", "X-Tenant": "acme", "X-Other": "no"})
    objects = link.objects()
    key = next_of(objects, "connected")["connection"]
    link.say({"type": "ping"})
    next_of(objects, "pong")
    assert application.questions == []
    link.say({"type": "connect", "token": "opaque", "ref": 1})
    next_of(objects, "connected")
    assert application.questions == [{
        "connection": key, "transport": "websocket", "address": "127.0.0.1",
        "headers": {"Cookie": "sid=1", "X-Tenant": "acme"}, "token": "opaque"}]
    assert {next_of(objects, "subscribed")["channel"] for _ in range(2)} == {"topic:news", "user:ann"}
    backend.publish("user:ann", b"hello")
    assert next_of(objects, "message")["data"] == "hello"
    facts = backend.get(f"/v1/connections/{key}").json
    assert (facts["user"], facts["device"]) == ("ann", "phone")
    link.say({"type": "connect", "ref": 2})
    next_of(objects, "connected")
    assert len(application.questions) == 1      # once a link
    link.close()


def test_a_websocket_is_asked_about_at_its_first_frame_that_needs_it(server, application):
    link = WebSocket(server.url, headers={"Cookie": "sid=2"})
    objects = link.objects()
    key = next_of(objects, "connected")["connection"]
    link.say({"type": "subscribe", "channel": "user:ann", "ref": 1})
    link.say({"type": "subscribe", "channel": "topic:b", "ref": 2})
    assert {next_of(objects, "subscribed")["ref"] for _ in range(2)} == {1, 2}
    assert [(question["connection"], "token" in question, question["headers"]) for question in application.questions] == [
        (key, False, {"Cookie": "sid=2"})]
    link.close()


@pytest.mark.parametrize("media, transport", [
    ("text/event-stream", "sse"), ("application/x-ndjson", "ndjson"), ("multipart/mixed", "multipart"),
    ("application/json", "poll")])
def test_streams_and_polls_are_asked_about(server, application, backend, media, transport):
    application.answer = lambda question: (200, {"user": "ann", "subscribe": ["topic:given"]})
    backend.publish("topic:given", b"one")
    answer = get(server, "/v1/subscribe?channel=user:ann&wait=0", Accept=media, Cookie="sid=3")
    assert answer.status == 200
    question, = application.questions
    assert (question["transport"], question["headers"]) == (transport, {"Cookie": "sid=3"})
    if transport == "poll":
        assert answer.read()
    else:
        facts = backend.get(f"/v1/connections/{question['connection']}").json
        assert (facts["user"], facts["transport"], facts["channels"]) == ("ann", transport, 2)
    answer.close()


def test_keys_come_first(server, application, backend):
    assert backend.publish("topic:a", b"x").status == 201
    with contextlib.closing(Api(server.url)) as nobody:
        assert nobody.publish("topic:a", b"x").status == 401    # no link: the application is not asked
    assert application.questions == []
    with contextlib.closing(Api(server.url, "an-opaque-session-of-the-application")) as user:
        assert user.get("/v1/channels/user:ann/messages").status == 200
        assert user.get("/v1/channels/user:bob/messages").status == 403
    assert [question["token"] for question in application.questions] == ["an-opaque-session-of-the-application"] * 2


def test_grants_of_the_hook(server, application):
    application.answer = lambda question: (200, {"user": "ann", "channels": [
        {"match": "room:*", "can": ["subscribe"]}, {"match": "topic:mine", "can": ["publish", "fly"]}]})
    with contextlib.closing(Api(server.url, "t")) as user:
        assert user.publish("topic:mine", b"x").json["seq"] == 1
        assert user.publish("topic:other", b"x").status == 403


# --- refusals, garbage, silence -------------------------------------------------------------------------------------

def test_the_application_refuses_with_its_reason(server, application):
    for status in (401, 403):
        application.answer = lambda question, status=status: (status, {"reason": "this account is locked"})
        answer = get(server, "/v1/subscribe?channel=user:ann&wait=0")
        assert (answer.status, json.loads(answer.read())["detail"]) == (status, "this account is locked")
        link = WebSocket(server.url)
        objects = link.objects()
        link.say({"type": "connect", "token": "x", "ref": 7})
        error = next_of(objects, "error")
        assert (error["code"], error["reason"], error["ref"]) == (status, "this account is locked", 7)
        list(objects)
        assert link.close_code == 1008
        link.close()


@pytest.mark.parametrize("answer", [
    (200, b"no JSON"), (200, []), (200, {}), (200, {"user": ""}), (200, {"user": "a/b"}), (200, {"user": 5}),
    (200, {"user": "a", "device": "x" * 65}), (200, {"user": "a", "expires_in": -1}),
    (200, {"user": "a", "channels": "topic:*"}), (200, {"user": "a", "channels": [{"match": "", "can": []}]}),
    (200, {"user": "a", "subscribe": ["topic:*"]}), (200, {"user": "a", "subscribe": [5]}),
    (200, {"user": "a", "channels": [{"match": "topic:a", "can": []}] * 101}), (200, b"x" * 100_000),
    (302, {"user": "a"}), (404, {"user": "a"}), (500, {"user": "a"}), (204, b""),
])
def test_garbage_is_502(server, application, answer):
    application.answer = lambda question: answer
    got = get(server, "/v1/subscribe?channel=topic:a&wait=0")
    assert (got.status, json.loads(got.read())["detail"]) == (
        502, "the application gave no usable answer about this connection")


def test_a_connection_that_breaks_is_502(server, application):
    application.answer = lambda question: lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH\r\n")
    assert get(server, "/v1/subscribe?channel=topic:a&wait=0").status == 502


def test_an_application_that_thinks_stalls_nobody(application):
    """Fifty publishes are answered while both loops wait for the application."""
    gate, statuses = threading.Event(), []

    def think(handler):
        gate.wait(SECONDS)
        handler.reply(200, {"user": "ann"})
    application.answer = lambda question: think
    with Server(config=config(application, timeout_s=30)) as server, contextlib.closing(Api(server.url, KEY)) as backend:
        threads = [threading.Thread(target=lambda: statuses.append(get(server, "/v1/subscribe?channel=topic:a&wait=0").status))
                   for _ in range(20)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(application.questions) >= 20)
        for _ in range(50):
            assert backend.publish("topic:b", b"x").status == 201
        assert statuses == []
        gate.set()
        for thread in threads:
            thread.join()
    assert statuses == [200] * 20


def test_silence_is_503(application):
    application.answer = lambda question: application.hang
    with Server(config=config(application, timeout_s=1)) as server:
        answer = get(server, "/v1/subscribe?channel=topic:a&wait=0")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


def test_nobody_listens():
    with Application() as application:
        url = application.url
    with Server(config=f"[connect_hook]\nurl = {url}/hook\n") as server:
        assert get(server, "/v1/subscribe?channel=topic:a&wait=0").status == 503
        assert "connect_hook_failed" in server.log()


def test_who_goes_away_cancels(server, application):
    application.answer = lambda question: application.hang
    for _ in range(5):
        count = len(application.questions)
        link = WebSocket(server.url)
        link.say({"type": "connect", "token": "x"})
        wait_until(lambda count=count: len(application.questions) > count)
        link.close()


# --- its life ---------------------------------------------------------------------------------------------------------

def test_a_revoked_user_is_cut_and_asked_about_again(server, application, backend):
    link = WebSocket(server.url)
    objects = link.objects()
    link.say({"type": "subscribe", "channel": "user:ann"})
    next_of(objects, "subscribed")
    answer = backend.call("POST", "/v1/revocations", json.dumps({"user": "ann"}))
    assert answer.json == {"cut": 1}
    assert list(objects)[-1]["type"] == "closing" and link.close_code == 4004
    link.close()
    wait_until(lambda: get(server, "/v1/subscribe?channel=user:ann&wait=0").status == 200)  # in a later second


@pytest.mark.parametrize("kind", ["user", "device", "connection"])
def test_a_ticket_dies_with_what_was_revoked(server, application, backend, kind):
    application.answer = lambda question: (200, {"user": "ann", "device": "phone"})

    def come(**how):
        link = WebSocket(server.url)
        objects = link.objects()
        next_of(objects, "connected")
        link.say({"type": "connect", "session": True, **how})
        told = next(thing for thing in objects if thing["type"] in ("connected", "error"))
        return link, objects, told
    first, objects, told = come(token="x")
    name = {"user": "ann", "device": "ann/phone", "connection": told["connection"]}[kind]
    first.close()
    ticket = told["ticket"]
    assert backend.call("POST", "/v1/revocations", json.dumps({kind: name})).status == 200
    second, objects, told = come(ticket=ticket)
    assert (told["type"], told.get("code")) == ("error", 401) and "revoked" in told["reason"]
    assert len(application.questions) == 1
    second.close()


def test_a_session_that_a_ticket_resumes_is_not_asked_about_again(server, application):
    first = WebSocket(server.url)
    objects = first.objects()
    next_of(objects, "connected")
    first.say({"type": "connect", "session": True, "token": "x", "device": "phone"})
    ticket = next_of(objects, "connected")["ticket"]
    first.close()
    second = WebSocket(server.url)
    objects = second.objects()
    next_of(objects, "connected")
    second.say({"type": "connect", "session": True, "ticket": ticket})
    assert next_of(objects, "connected")["resumed"] is True
    assert len(application.questions) == 1
    second.close()


def test_a_session_keeps_what_the_hook_gave(server, application, backend):
    """The next link follows it too, from where the last one stood, though only a ticket is shown."""
    def come(**how):
        link = WebSocket(server.url)
        objects = link.objects()
        next_of(objects, "connected")
        link.say({"type": "connect", "session": True, **how})
        return link, objects, next_of(objects, "connected")
    application.answer = lambda question: (200, {"user": "ann", "device": "phone", "subscribe": ["user:help", "user:ann"]})
    first, objects, told = come(token="x")
    assert {next_of(objects, "subscribed")["channel"] for _ in range(3)} == {"user:ann", "device:ann/phone", "user:help"}
    backend.publish("user:help", b"1")
    assert next_of(objects, "message")["data"] == "1"
    first.say({"type": "ack", "channel": "user:help", "seq": 1, "ref": 1})
    next_of(objects, "ack")
    first.close()
    for data in (b"2", b"3"):
        backend.publish("user:help", data)
    second, objects, told = come(ticket=told["ticket"])
    assert told["resumed"] is True and len(application.questions) == 1
    assert [next_of(objects, "message")["data"] for _ in range(2)] == ["2", "3"]
    second.close()
    application.answer = lambda question: (200, {"user": "ann", "device": "phone"})     # and may not follow it now
    third, objects, told = come(token="x")
    assert {next_of(objects, "subscribed")["channel"] for _ in range(2)} == {"user:ann", "device:ann/phone"}
    backend.publish("user:help", b"4")
    backend.publish("user:ann", b"last")
    assert next_of(objects, "message")["data"] == "last"
    third.close()


def test_reload_takes_another_hook():
    with Application() as old, Application() as new, Server(config=config(old)) as server:
        link = WebSocket(server.url)
        objects = link.objects()
        link.say({"type": "subscribe", "channel": "user:ann"})
        next_of(objects, "subscribed")
        (server.home / "longwired.conf").write_text(config(new))
        server.process.send_signal(1)
        wait_until(lambda: "event=reloaded" in server.log())
        assert get(server, "/v1/subscribe?channel=user:ann&wait=0").status == 200
        assert (len(old.questions), len(new.questions)) == (1, 1)
        link.say({"type": "subscribe", "channel": "user:ann/x"})    # whom the old one let in is nobody now
        list(objects)
        assert link.close_code == 1008
        link.close()


# --- over https -------------------------------------------------------------------------------------------------------

def test_a_hook_over_https(tmp_path):
    authority = Authority(tmp_path)
    with Application(tls=authority.context("127.0.0.1")) as application, \
            Server(config=f"ca_file = {authority.file}\n" + config(application)) as server:
        answer = get(server, "/v1/subscribe?channel=user:ann&wait=0", Accept="application/json", Cookie="sid=1")
        assert answer.status == 200 and application.questions[0]["headers"] == {"Cookie": "sid=1"}


def test_a_hook_whose_certificate_is_not_good_is_not_asked(tmp_path):
    """Another authority's, another host's, one that has expired: nothing of the question is sent."""
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    for trusted, context in ((f"ca_file = {authority.file}\n", other.context("127.0.0.1")), ("", authority.context("127.0.0.1")),
                             (f"ca_file = {authority.file}\n", authority.context("192.0.2.1")),
                             (f"ca_file = {authority.file}\n", authority.context("127.0.0.1", days=-1))):
        with Application(tls=context) as application, Server(config=trusted + config(application)) as server:
            assert get(server, "/v1/subscribe?channel=user:ann&wait=0", Accept="application/json").status == 503
            assert application.questions == []
            assert "how=unreachable" in server.log() and "certificate" in server.log()


@pytest.mark.parametrize("content", [None, "", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_without_authorities_is_refused_at_the_start(tmp_path, content):
    file = tmp_path / "authorities.pem"
    if content is not None:
        file.write_text(content)
    conf = tmp_path / "longwired.conf"
    conf.write_text(f"ca_file = {file}\nstore = memory\nhttp = 127.0.0.1:0\ntcp =\n")
    done = subprocess.run([LONGWIRED, "--config", conf], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 1 and "event=cant_start" in done.stderr
    assert f"ca_file: {file} can't be read, or holds no certificate in PEM" in done.stderr


# --- answers of no use ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("answer,fault", [
    ("no JSON", "the body is no JSON object"), ({}, "`user` is not there, or no user's name"),
    ({"user": "ann", "device": "a/b"}, "`device` is no device's name"),
    ({"user": "ann", "expires_in": 0}, "`expires_in` is no whole number of seconds from 1"),
    ({"user": "ann", "subscribe": ["topic:*"]}, "`subscribe` is no list of channels, or too long"),
    ({"user": "ann", "channels": [{"match": "topic:a"}]}, "`channels` is no list of grants, or too long")])
def test_the_log_says_what_is_wrong_with_an_answer(server, application, answer, fault):
    """The client is told 502 alone: the operator has to find out why nobody comes in."""
    application.answer = lambda question: (200, answer)
    assert get(server, "/v1/subscribe?channel=topic:a&wait=0", Cookie="sid=1").status == 502
    wait_until(lambda: f'event=connect_hook_failed how=answer why="{fault}"' in server.log(), server.log)


# --- wrong tokens -----------------------------------------------------------------------------------------------------

def test_an_address_that_guesses_is_slowed(application):
    """Threat 107: what the application does not know counts; then it is not asked any more, and users with tokens of an
    issuer come in as before."""
    secret = "a-secret-of-the-issuer-0123456789"
    more = f"wrong_secrets_per_address_per_min = 5\nloops = 2\n[jwt app]\nsecret = {secret}\n"
    with Server(config=more + config(application).replace("loops = 2\n", "")) as server:
        def come(token):
            with contextlib.closing(Api(server.url, token)) as api:
                return api.get("/v1/channels/user:ann/messages").status
        application.answer = lambda question: (403, {})
        assert [come(f"forbidden-{i}") for i in range(9)] == [403] * 9     # known there, and no guess
        application.answer = lambda question: (401, {})
        assert [come(f"guess-{i}") for i in range(9)] == [401] * 5 + [429] * 4
        assert len(application.questions) == 9 + 5
        assert come("right") == 429                                     # the price: until the minute is over
        assert come(jwt.encode({"sub": "ann", "exp": time.time() + 60}, secret, "HS256")) == 200
        assert "guess-" not in server.log()


def test_secrets_stay_out_of_the_log(server, application):
    """Threat 108."""
    application.answer = lambda question: (500, {})
    get(server, "/v1/subscribe?channel=topic:a&wait=0", Authorization="Bearer hook-token-secret", Cookie="cookie-secret")
    assert application.questions[0]["token"] == "hook-token-secret"
    for secret in ("hook-token-secret", "cookie-secret", KEY):
        assert secret not in server.log()
    assert "connect_hook_failed" in server.log()
