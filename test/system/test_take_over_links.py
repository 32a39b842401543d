"""`longwired --take-over`: what of a link moves besides its places (threats 24, 44): frames that were cut in two, compression, who the
client is, where it comes from, and requests under way."""
import contextlib
import json
import socket
import time

import jwt
import pytest
import websockets.extensions.permessage_deflate

from application import Application
from longwire_client import Api
from longwire_server import PatientServer as Server, free_port, is_built
from native_link import NativeLink, json_as_bin
from native_wire import encode
from test_proxy_protocol import BEFORE, CLIENT, v1
from test_proxy_protocol import connect as connect_from
from test_uplink_requests import BackEnd, config
from waiting import wait_until
from wire import Sse, Wire, Ws, event_of, handshake_bytes, metric, publish, request_bytes, ws_frame

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

SECRET, ADMIN = "0123456789abcdef0123456789abcdef", "admin-secret-admin-secret"
KEYS = f"[key admin]\nsecret = {ADMIN}\nrights = publish, subscribe, admin\n"
ISSUER = f"[jwt app]\nalgorithms = HS256\nsecret = {SECRET}\n"


def sent(server, channel, payload=b"x", **fields):
    return publish(server, channel, payload, **fields)["seq"]


def token(seconds=600, **claims):
    return jwt.encode({"sub": "ann", "exp": int(time.time()) + seconds, **claims}, SECRET, "HS256")


# --- frames ----------------------------------------------------------------------------------------------------------

def test_a_frame_whose_half_was_read_is_read_to_its_end():
    with Server() as server, Ws(server, "channel=topic:a&after=0") as ws, NativeLink(server) as native:
        frame = ws_frame(1, json.dumps({"type": "publish", "channel": "topic:a", "data": "x" * 3000, "ref": 1}).encode())
        assert native.greeting
        binary = encode(json_as_bin({"type": "subscribe", "channel": "topic:a", "ref": 2}))
        for at in (1, 5, 2000):
            ws.wire.send(frame[:at])
            native.client.socket.sendall(binary[:min(at, len(binary) - 1)])
            server.take_over()
            ws.wire.send(frame[at:])
            answer = ws.frame("published")
            native.client.socket.sendall(binary[min(at, len(binary) - 1):])
            assert answer["ref"] == 1 and native.frame("subscribed")["channel"] == "topic:a"
            message = ws.next()
            assert message["payload"] == b"x" * 3000 and message["seq"] == answer["seq"]
            native.ask("unsubscribe", "unsubscribed", channel="topic:a")


def test_a_fragmented_message_goes_on():
    with Server() as server, Ws(server) as ws:
        text = json.dumps({"type": "publish", "channel": "topic:a", "data": "hello", "ref": 1}).encode()
        ws.wire.send(ws_frame(1, text[:10], fin=False))
        server.take_over()
        ws.wire.send(ws_frame(0, text[10:20], fin=False))
        server.take_over()
        ws.wire.send(ws_frame(0, text[20:]))
        assert ws.frame("published")["seq"] == 1


def test_a_link_with_compression_goes_on_compressed():
    deflate = websockets.extensions.permessage_deflate.ClientPerMessageDeflateFactory(
        server_no_context_takeover=True, client_no_context_takeover=True)
    with Server(flags=["--websocket-compression", "on"]) as server, Ws(server, "channel=topic:a", extensions=[deflate]) as ws:
        assert ws.peer.extensions
        ws.frame("subscribed")
        payload = b"the same words again and again " * 40
        for _ in range(2):
            server.take_over()
            sent(server, "topic:a", payload)
            assert ws.next()["payload"] == payload
        assert ws.ask("publish", "published", channel="topic:b", data="y" * 2000, ref=1)["seq"] == 1


def test_what_a_full_socket_had_not_taken_follows():
    """Nothing of it is lost or doubled, whichever part of a frame the socket had."""
    with Server() as server, Sse(server, "channel=topic:a&after=0", receive_bytes=4096) as sse, \
            Ws(server, "channel=topic:a&after=0", receive_bytes=4096) as ws:
        payloads = [b"%d:" % number + b"z" * 60000 for number in range(160)]
        for payload in payloads[:150]:
            sent(server, "topic:a", payload)
        wait_until(lambda: metric(server, "longwire_lagging_readers") == 2)
        server.take_over()
        for payload in payloads[150:]:
            sent(server, "topic:a", payload)
        assert [sse.next()["payload"] for _ in payloads] == payloads
        assert [ws.next()["payload"] for _ in payloads] == payloads


# --- who it is -------------------------------------------------------------------------------------------------------

def test_keys_and_tokens_stay_valid_and_those_that_are_gone_end():
    with Server(config=KEYS + ISSUER + "[key app]\nsecret = app-secret-app-secret\nrights = subscribe, publish\n") as server:
        def come(credential):
            return Ws(server, "channel=topic:a", authorization=f"Bearer {credential}")

        with come("app-secret-app-secret") as app, come(token()) as ann, come(ADMIN) as admin, \
                Sse(server, "channel=topic:a", authorization=f"Bearer {token()}") as sse:
            for link in (app, ann, admin):
                link.frame("subscribed")
            server.take_over()
            sent(server, "topic:a", b"one", authorization=f"Bearer {ADMIN}")
            assert [link.next()["payload"] for link in (app, ann, admin, sse)] == [b"one"] * 4
            assert app.ask("publish", "published", channel="topic:b", data=1, ref=1)["seq"] == 1
            # as a reload would: the key is gone, and the issuer has another secret
            server.config = KEYS + ISSUER.replace(SECRET, SECRET[::-1])
            server.take_over()
            for link in (app, ann):
                assert link.ask("ping", "reconnect")
            sent(server, "topic:a", b"two", authorization=f"Bearer {ADMIN}")
            assert admin.next()["payload"] == b"two"


def test_a_token_that_runs_out_ends_its_link_though_it_moved():
    with Server(config=KEYS + ISSUER) as server, Ws(server, "channel=topic:a", authorization=f"Bearer {token(10)}") as ann:
        ann.frame("subscribed")
        server.take_over()
        while True:
            frame = event_of(ann.frame_text())
            if frame["type"] == "reconnect":
                break
            assert frame["type"] == "expiring", frame


def test_a_revocation_between_two_take_overs_reaches_the_link():
    with Server(config=KEYS + ISSUER) as server, contextlib.ExitStack() as stack:
        links = [stack.enter_context(link(server)) for link in (Ws, NativeLink)]
        for number, link in enumerate(links):
            link.ask("connect", "connected", token=token(iat=int(time.time()) - 5), session=True, device=f"d{number}")
        server.take_over()
        answer = Api(server.url, ADMIN).call("POST", "/v1/revocations", b'{"user":"ann"}', {"Content-Type": "application/json"})
        assert answer.status in (200, 201, 204), answer
        for link in links:
            assert link.frame("closing")["code"] == 4004


def test_who_the_application_let_in_stays_as_long_as_it_is_asked():
    """A link that was asked about before, and one that is asked about behind the take-over, with the fields of its handshake."""
    def config(application):
        return KEYS + f"[connect_hook]\nurl = {application.url}/hook\ntimeout_s = 30\nheaders = Cookie\n"

    with Application() as application, Application() as other, Server(config=config(application)) as server, \
            Ws(server, cookie="sid=1") as ann, Ws(server, cookie="sid=2") as late:
        application.answer = lambda question: (200, {"user": question["token"], "device": "d", "expires_in": 3600,
                                                     "subscribe": ["topic:news"]})
        ann.ask("connect", "connected", token="ann")
        ann.frame("subscribed")
        server.take_over()
        late.ask("connect", "connected", token="late")
        late.frame("subscribed")
        assert [question["headers"] for question in application.questions] == [{"Cookie": "sid=1"}, {"Cookie": "sid=2"}]
        sent(server, "topic:news", b"one", authorization=f"Bearer {ADMIN}")
        assert [link.next()["payload"] for link in (ann, late)] == [b"one"] * 2
        server.config = config(other)   # another application vouches for nobody
        server.take_over()
        for link in (ann, late):
            assert link.ask("ping", "reconnect")


# --- another configuration -------------------------------------------------------------------------------------------

def test_addresses_and_namespaces_may_be_others():
    """A new address is opened, one that is gone is closed; what a link followed in a namespace that is gone is left, and the rest goes
    on."""
    ram = "[namespace ram]\ndurability = memory\n"
    with Server(config=ram) as server, Ws(server, "channel=ram:a&channel=topic:a") as ws, NativeLink(server) as native:
        ws.frame("subscribed")
        ws.frame("subscribed")
        native.ask("connect", "connected", session=True, user="ann", device="phone")
        native.ask("subscribe", "subscribed", channel="ram:b", keep=True)
        gone, server.tcp_port = server.tcp_port, free_port()
        server.config = ""
        server.take_over()
        sent(server, "topic:a", b"one")
        assert ws.next()["payload"] == b"one"
        sent(server, "user:ann", b"two")
        assert native.next()["payload"] == b"two"
        with NativeLink(server) as other:
            assert other.greeting
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", gone))


# --- where it comes from ---------------------------------------------------------------------------------------------

def test_an_address_that_a_proxy_named_stays():
    config = f"proxy_protocol = {BEFORE}\nconnections_per_address_max = 2\n"
    with Server(config=config) as server:
        links = []
        for _ in range(2):
            link = connect_from(server.port)
            link.sendall(v1(CLIENT) + handshake_bytes())
            assert b"101" in link.recv(4096)
            links.append(link)
        server.take_over()
        for _ in range(2):   # they count, for the address that the proxy had named
            with connect_from(server.port) as more:
                more.sendall(v1(CLIENT) + request_bytes("GET", "/healthz"))
                assert b" 429 " in more.recv(4096)
        links.pop().close()
        wait_until(lambda: admitted(server))
        for link in links:
            link.close()


def admitted(server):
    with connect_from(server.port) as link:
        link.sendall(v1(CLIENT) + request_bytes("GET", "/healthz"))
        return b" 200 " in link.recv(4096)


# --- requests under way ----------------------------------------------------------------------------------------------

def test_a_request_of_a_link_without_a_device_is_answered_before_it_moves():
    """What the new process can't know is told by the old one; it keeps no row of such a request."""
    with contextlib.closing(BackEnd()) as back_end, Server(config=config(back_end)) as server:
        with Ws(server, "user=ann") as link, Ws(server, "user=ann") as quick:
            link.ask("request", "accepted", id="slow", method="GET", path="/gate/slow")
            quick.ask("request", "accepted", id="quick", method="GET", path="/hello")
            assert quick.frame("response")["status"] == 200
            wait_until(lambda: back_end.count("/gate/slow") == 1, "the call")
            server.take_over()
            response = link.frame("response")
            assert (response["request"], response["status"]) == ("slow", 504)
            assert response["headers"]["Longwire-Outcome"] == "unknown"
            for ws in (link, quick):
                ws.ask("request", "accepted", id="again", method="GET", path="/hello")
                response = ws.frame("response")
                assert (response["request"], response["status"]) == ("again", 200)
            assert back_end.count("/gate/slow") == 1


def test_requests_whose_end_has_not_come():
    """Half a head and half a body move with their connection. Of a body in chunks it is not known here how far it is: that connection ends
    at once, nothing was published, and the old process does not wait for more."""
    with Server() as server, Wire(server) as half_head, Wire(server) as half_body, Wire(server) as chunks:
        head = b"POST /v1/channels/topic:%s/messages HTTP/1.1\r\nHost: localhost\r\n"
        half_head.send(head % b"head" + b"Content-Le")
        half_body.send(head % b"body" + b"Content-Length: 10\r\n\r\n01234")
        chunks.send(head % b"chunks" + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        wait_until(lambda: metric(server, "longwire_http_connections") >= 4)
        server.take_over()
        half_head.send(b"ngth: 2\r\n\r\nhi")
        half_head.answer("POST").want(201)
        half_body.send(b"56789")
        half_body.answer("POST").want(201)
        chunks.want_closed()
        with contextlib.closing(Api(server.url)) as api:
            assert [api.history(f"topic:{name}")["messages"][0]["data"] for name in ("head", "body")] == ["hi", "0123456789"]
            assert api.get("/v1/channels/topic:chunks").json.get("seq", 0) == 0
