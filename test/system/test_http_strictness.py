"""Hostile HTTP/1.1: smuggling, slowness, early ends, and payloads that try to break out of their frames. threats 47 to
53, 58, 80, 84"""
import contextlib
import json
import random
import socket
import subprocess
import time

import pytest

from longwire_server import ROOT, Server, free_port
from waiting import wait_until
from wire import (READERS, Closed, Sse, Wire, Ws, fresh, handshake_bytes, history, metric, path_of, publish,
                  publish_many, query_of, request, request_bytes)


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server() as server:
        yield server


def hidden(channel):
    """A request that the server must never see."""
    return request_bytes("POST", path_of(channel) + "/messages", b"smuggled")


def want_one_refusal(server, data, status=400):
    """Expects one answer, of that status, then the end of the connection. What follows `data` is not checked."""
    channel = fresh()
    with Wire(server) as wire:
        try:
            wire.send(data + hidden(channel))
        except OSError:
            pass  # the server had heard enough
        answer = wire.answer()
        answer.want_problem(status)
        assert answer.field("Connection") == "close"
        wire.want_closed()
    assert history(server, channel).json()["head"] == 0


POST = b"POST /v1/channels/topic:victim/messages HTTP/1.1\r\nHost: localhost\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


# --- whose end is in doubt -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("fields", [  # threats 47, 48
    b"Content-Length: 6\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: chunked\r\nContent-Length: 6",
    b"Content-Length: 0\r\nTransfer-Encoding: identity", b"Content-Length: 5\r\nContent-Length: 5",
    b"Content-Length: 5\r\nContent-Length: 6", b"Content-Length: 5\r\ncontent-length: 5",
    b"Content-Length: 5,5", b"Content-Length: 5, 5", b"Content-Length: 5 5", b"Content-Length: +5",
    b"Content-Length: -5",
    b"Content-Length: 0x5", b"Content-Length: 5_0", b"Content-Length: 5.0", b"Content-Length: 5e0",
    b"Content-Length: 5;",
    b"Content-Length:", b"Content-Length: ", b"Content-Length: five", b"Content-Length: \"5\"",
    b"Content-Length: 18446744073709551616", b"Content-Length: 18446744073709551621",
    b"Content-Length: 99999999999999999999999999", b"Content-Length: \xb2", b"Content-Length: 5\x0b",
    b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunkedx", b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: chunked,",
    b"Transfer-Encoding: ,chunked", b"Transfer-Encoding: \"chunked\"", b"Transfer-Encoding: chunked;q=1",
    b"Transfer-Encoding: identity", b"Transfer-Encoding:", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding: chunked\x00", b"Transfer-Encoding: chu nked", b"Transfer-Encoding : chunked",
    b"Transfer-Encoding\t: chunked", b"Transfer-Encoding\x00: chunked", b" Transfer-Encoding: chunked",
    b"Transfer-Encoding:\r\n chunked", b"Transfer-Encoding:\n chunked", b"X: y\nTransfer-Encoding: chunked",
    b"X: y\rTransfer-Encoding: chunked", b"X: y\r\rTransfer-Encoding: chunked", b"Content-Length : 5",
    b"X: y\nContent-Length: 5", b"Content-Length: 5\nX: y", b"Transfer-Encoding: chunked\r\n\tX"])
def test_ends_in_doubt(server, fields):
    want_one_refusal(server, POST + fields + b"\r\n\r\n0\r\n\r\n")
    want_one_refusal(server, POST + fields + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")


def test_codings_that_are_not_known(server):  # RFC 9112 6.1
    want_one_refusal(server, POST + b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", 501)
    want_one_refusal(server, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501)


def test_chunked_in_http_1_0(server):
    want_one_refusal(server, CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + b"0\r\n\r\n")


@pytest.mark.parametrize("chunks", [  # threat 49
    b"0x5\r\nhello\r\n", b"5_0\r\n", b" 5\r\nhello\r\n", b"+5\r\nhello\r\n", b"-5\r\nhello\r\n", b"\r\nhello\r\n",
    b"5\nhello\r\n", b"5\r\nhello\n", b"5\r\nhello0\r\n\r\n", b"5\r\nhello!\r\n", b"g\r\n", b"5 \r\nhello\r\n0\n\r\n",
    b"00000000000000005\r\nhello\r\n0\r\n\r\n", b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\n", b"5\rhello\r\n", b"5;\x00\r\nhello\r\n", b"5;a\nhello\r\n",
    b"5;" + b"x" * 1000 + b"\r\nhello\r\n", b"5 x\r\nhello\r\n0 x\r\n\r\n",
    b"0\r\nX Y: z\r\n\r\n", b"0\r\n X: z\r\n\r\n", b"0\r\nX: z\n\r\n", b"0\r\nX\r\n\r\n", b"0\n\n",
    b"0\r\nX: \x00\r\n\r\n",
    b"5\r\n\r\nhello\r\n0\r\n\r\n",
    b"5;\r\nhello\r\n0\r\n\r\n", b"5;=\"b\r\nhello\r\n0\r\n\r\n", b"5;a=\"b\r\nhello\r\n0\r\n\r\n",
    b"5;\x80\r\nhello\r\n", b"5;a=\"\xff\"\r\nhello\r\n", b"5;a=\r\nhello\r\n", b"5;a \r\nhello\r\n",
    b"5;a=b c\r\nhello\r\n", b"5\r\nhello\r\n0;\r\n\r\n"])
def test_chunks_in_doubt(server, chunks):
    want_one_refusal(server, CHUNKED + chunks)


@pytest.mark.parametrize("head, status", [  # threats 49, 50
    (b"GET /healthz HTTP/1.1\r\n\r\n", 400), (GET + b"Host: localhost\r\n\r\n", 400),
    (GET + b"Host: other\r\n\r\n", 400),
    (b"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", 400), (b"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    (b"GET /healthz HTTP/1.1\r\nHost: a/b\r\n\r\n", 400), (b"GET /healthz HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
    (b"GET http://other/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    (b"GET /healthz HTTP/1.1\nHost: localhost\n\n", 400), (GET + b"X: a\nY: b\r\n\r\n", 400),
    (GET + b"X: a\x00b\r\n\r\n", 400),
    (GET + b"X: a\rb\r\n\r\n", 400), (GET + b"X : a\r\n\r\n", 400), (GET + b"X: a\r\n b\r\n\r\n", 400),
    (GET + b"X: a\r\n\tb\r\n\r\n", 400), (GET + b": a\r\n\r\n", 400), (GET + b"no colon\r\n\r\n", 400),
    (GET + b"X(: a\r\n\r\n", 400),
    (GET + b"X\x80: a\r\n\r\n", 400), (b"GET /healthz HTTP/1.1\r\n Host: localhost\r\n\r\n", 400),
    (GET + b"X: \x7f\r\n\r\n", 400),
    (b"GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400), (b"GET /healthz  HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET\t/healthz\tHTTP/1.1\r\nHost: x\r\n\r\n", 400), (b" GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET /healthz HTTP/1.1 \r\nHost: x\r\n\r\n", 400), (b"GET /healthz http/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET /healthz HTTP/11\r\nHost: x\r\n\r\n", 400), (b"GET /healthz HTTP/1.10\r\nHost: x\r\n\r\n", 400),
    (b"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n", 505), (b"GET /healthz HTTP/0.9\r\nHost: x\r\n\r\n", 505),
    (b"GET /healthz HTTP/5.6\r\nHost: x\r\n\r\n", 505), (b"GET /healthz ICE/1.0\r\nHost: x\r\n\r\n", 400),
    (b"GET /healthz IHTTP/1.0\r\nHost: x\r\n\r\n", 400), (b"PUT /healthz RTSP/1.0\r\nHost: x\r\n\r\n", 400),
    (GET + b"Connection\r\x1b5\xd5eep-Alive\r\n\r\n", 400), (GET + b"\rZGET /evil HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET /healthz\r\nHost: x\r\n\r\n", 400), (b"GET\r\n\r\n", 400), (b"GET healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET /heal#thz HTTP/1.1\r\nHost: x\r\n\r\n", 400), (b"GET /heal\x80 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET /heal\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400), (b"G(T /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"\r\n\r\n\r\n" + GET + b"\r\n", 400), (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\nX\r\n", 505), (b"X" * 17 + b" / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
    (b"\n" + GET + b"\r\n", 400)] + [
    (GET + name + b": http://localhost:1\r\n" + name + b": http://localhost:2\r\n\r\n", 400)
    for name in (b"Origin", b"Content-Type", b"Authorization", b"Last-Event-ID", b"Idempotency-Key", b"Longwire-Event",
                 b"Access-Control-Request-Method")])
def test_heads_in_doubt(server, head, status):
    want_one_refusal(server, head, status)


@pytest.mark.parametrize("head", [
    b"\r\n" + GET + b"\r\n", b"GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http://LOCALHOST/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", GET + b"X:\r\nY: \t a \t \r\nZ: \xff\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nhOsT:localhost\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", GET + b"Content-Length: 0\r\n\r\n",
    GET + b"Transfer-Encoding: CHUNKED \r\n\r\n0;a=b\r\nTrailer: x\r\n\r\n", GET + b"Content-Length: 0005\r\n\r\nhello",
    b"GET /healthz HTTP/1.9\r\nHost: localhost\r\n\r\n", GET + b"Content-Length: 5\r\n\r\nhello",
    GET + b"Transfer_Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r"])
def test_heads_that_are_fine(server, head):
    """The head is accepted, and the next request behind it is complete."""
    with Wire(server) as wire:
        wire.send(head + GET + b"\r\n")
        for _ in range(2):
            wire.answer().want(200)


METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"]
PATHS = {  # each resource, and the methods that it has
    "/v1/channels/topic:a/messages": ["GET", "HEAD", "POST"], "/v1/messages": ["POST"],
    "/v1/groups/a/members": ["GET", "HEAD"], "/v1/groups/a/members/ann": ["PUT", "DELETE"],
    "/v1/users/ann/groups": ["GET", "HEAD"],
    "/v1/channels": ["GET", "HEAD"], "/v1/channels/topic:b": ["GET", "HEAD", "DELETE"], "/v1/channels/topic:a/messages/1": ["DELETE"],
    "/v1/subscribe": ["GET", "POST"], "/v1/ws": ["GET"], "/healthz": ["GET", "HEAD"], "/readyz": ["GET", "HEAD"],
    "/readyz/read": ["GET", "HEAD"], "/readyz/publish": ["GET", "HEAD"],
    "/metrics": ["GET", "HEAD"], "/": ["GET", "HEAD"], "/demo.js": ["GET", "HEAD"], "/demo.css": ["GET", "HEAD"],
    "/longwire/index.js": ["GET", "HEAD"], "/icon.svg": ["GET", "HEAD"], "/v1/openapi.json": ["GET", "HEAD"]}
NO_PATHS = ["/v1/channels/topic:a/messages/", "/v1/channels/topic:a/", "/v1/channels/", "/v1/messages/", "/healthz/",
            "/v1/subscribe/", "/v1/ws/", "/v1", "/v1/", "/v1/echo", "/nothing", "//", "/v1/channels/topic:a/messages/1/2"]


def test_every_path_has_its_methods_and_no_others(server):
    publish(server, "topic:a")
    publish(server, "topic:b")
    with Wire(server) as wire:
        for path, allowed in PATHS.items():
            for method in METHODS:
                answer = wire.ask(method, path)
                if method in allowed:
                    assert answer.status not in (404, 405, 501), (method, path)
                else:
                    assert answer.status == 405, (method, path, answer.status)
                    assert sorted(answer.field("Allow").split(", ")) == sorted(allowed), (method, path)
        for path in NO_PATHS:
            for method in METHODS:
                assert wire.ask(method, path).status == 404, (method, path)
    for path in [*PATHS, *NO_PATHS]:  # a body that is too long does not hide it
        if "POST" not in PATHS.get(path, []):
            answer = request(server, "POST", path, content_length=100 << 20)
            assert answer.status == (405 if path in PATHS else 404), path


# What the tool `smuggler` tries: what might be a Transfer-Encoding to one of two readers, beside a Content-Length.
SMUGGLERS_PLACES = {
    "midspace": b"Transfer-Encoding:%cchunked", "postspace": b"Transfer-Encoding%c: chunked",
    "prespace": b"%cTransfer-Encoding: chunked", "endspace": b"Transfer-Encoding: chunked%c",
    "xprespace": b"X: X%cTransfer-Encoding: chunked", "endspacex": b"Transfer-Encoding: chunked%cX: X",
    "rxprespace": b"X: X\r%cTransfer-Encoding: chunked", "xnprespace": b"X: X%c\nTransfer-Encoding: chunked",
    "endspacerx": b"Transfer-Encoding: chunked\r%cX: X", "endspacexn": b"Transfer-Encoding: chunked%c\nX: X"}
SMUGGLERS_BYTES = [0x01, 0x04, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x1f, 0x20, 0x7f, 0xa0, 0xff]
SMUGGLERS_FIELDS = {f"{place}-{byte:02x}": text % byte for place, text in SMUGGLERS_PLACES.items()
                    for byte in SMUGGLERS_BYTES}
SMUGGLERS_FIELDS |= {
    "nameprefix1": b" Transfer-Encoding: chunked", "tabprefix1": b"Transfer-Encoding:\tchunked",
    "tabprefix2": b"Transfer-Encoding\t:\tchunked", "space1": b"Transfer-Encoding : chunked"}
# In these four it is part of the value of X, to every reader: Content-Length holds.
SMUGGLERS_HARMLESS = {"xprespace-09", "xprespace-20", "xprespace-a0", "xprespace-ff"}


@pytest.mark.parametrize("name", SMUGGLERS_FIELDS)
def test_smugglers_fields(server, name):  # threat 47
    assert len(SMUGGLERS_FIELDS) == 134
    channel, victim = fresh(), fresh()
    head = f"POST {path_of(channel)}/messages HTTP/1.1\r\n".encode() + SMUGGLERS_FIELDS[name] + \
        b"\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
    inner = hidden(victim)
    by_length = b"0\r\n\r\n" + inner                              # whoever goes by chunks sees a second request
    by_chunks = b"%x\r\n" % len(inner) + inner + b"\r\n0\r\n\r\n"  # whoever goes by the length does
    if name in SMUGGLERS_HARMLESS:
        with Wire(server) as wire:
            wire.send(head + b"Content-Length: %d\r\n\r\n" % len(by_length) + by_length + GET + b"\r\n")
            wire.answer("POST").want(201)
            wire.answer().want(200)
        assert history(server, channel).json()["messages"][0]["data"].encode() == by_length
    else:
        want_one_refusal(server, head + b"Content-Length: %d\r\n\r\n" % len(by_length) + by_length)
        want_one_refusal(server, head + b"Content-Length: 4\r\n\r\n" + by_chunks)
        assert history(server, channel).json()["head"] == 0
    assert history(server, victim).json()["head"] == 0


def test_a_request_in_a_body_is_a_payload(server):  # threat 47: never seen as two
    channel, victim = fresh(), fresh()
    inner = hidden(victim)
    with Wire(server) as wire:
        wire.send(request_bytes("POST", path_of(channel) + "/messages", inner) +
                  request_bytes("POST", path_of(channel) + "/messages", transfer_encoding="chunked") +
                  b"%x\r\n" % len(inner) + inner + b"\r\n0\r\n\r\n" + request_bytes("GET", "/healthz", inner) +
                  request_bytes("HEAD", "/healthz", inner) + request_bytes("POST", "/nothing", inner))
        for method, status in ("POST", 201), ("POST", 201), ("GET", 200), ("HEAD", 200), ("POST", 404):
            wire.answer(method).want(status)
        assert history(server, channel).json()["messages"][1]["data"].encode() == inner
        assert history(server, victim).json()["head"] == 0


def test_a_refused_body_is_not_a_request(server):  # threat 48: whose end is in doubt is closed
    channel, victim = fresh(), fresh()
    inner = hidden(victim)
    for fields in ({"content_type": "nonsense"}, {"content_length": 2 * 1024 * 1024}):
        with Wire(server) as wire:
            wire.send(request_bytes("POST", path_of(channel) + "/messages", inner, **fields))
            assert wire.answer("POST").status in (413, 415)
            if "content_length" in fields:
                wire.want_closed()
    assert history(server, victim).json()["head"] == 0


def test_who_is_refused_may_read_why(server):  # a page of an allowed origin, a HEAD
    target, much = path_of(fresh()) + "/messages", 2 * 1024 * 1024
    for origin, named in (("http://localhost:1", "http://localhost:1"), ("http://evil.example", None), (None, None)):
        with Wire(server) as wire:
            wire.send(request_bytes("POST", target, content_length=much, origin=origin))
            answer = wire.answer("POST")
            answer.want_problem(413)
            assert answer.field("Access-Control-Allow-Origin") == named
            wire.want_closed()
    with Wire(server) as wire:
        wire.send(request_bytes("HEAD", target, content_length=much))
        wire.answer("HEAD").want(413)
        wire.want_closed()


@pytest.mark.parametrize("data, status", [
    (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\nOrigin: ORIGIN\r\n\r\n", 414),
    (GET + b"Origin: ORIGIN\r\n" + b"X: y\r\n" * 64 + b"\r\n", 431),
    (GET + b"Origin: ORIGIN\r\nX: " + b"y" * 20000 + b"\r\n\r\n", 431),
    (GET + b"Expect: tea\r\nOrigin: ORIGIN\r\n\r\n", 417), (GET + b"Origin: ORIGIN\r\nX : y\r\n\r\n", 400),
    (GET + b"X: a\x00\r\nOrigin: ORIGIN\r\n\r\n", 400), (POST + b"Origin: ORIGIN\r\nContent-Length: x\r\n\r\n", 400),
    (CHUNKED.replace(b"\r\n\r\n", b"\r\nOrigin: ORIGIN\r\n\r\nx"), 400),
    (CHUNKED.replace(b"\r\n\r\n", b"\r\nOrigin: ORIGIN\r\n\r\nffffffff\r\n"), 413),
    (POST + b"Origin: ORIGIN\r\nContent-Length: 2000000\r\n\r\n", 413),
    (GET + b"Origin: ORIGIN\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    (b"GET / HTTP/3.0\r\nHost: localhost\r\nOrigin: ORIGIN\r\n\r\n", 505)])
def test_a_page_may_read_every_refusal(server, data, status):
    for origin, is_named in ((b"http://localhost:5173", True), (b"http://evil.example", False)):
        with Wire(server) as wire:
            wire.send(data.replace(b"ORIGIN", origin))
            answer = wire.answer("GET")
            answer.want_problem(403 if not is_named and b"chunked\r\nOrigin" in data else status)  # before its body
            assert answer.field("Access-Control-Allow-Origin") == (origin.decode() if is_named else None)
            assert answer.field("Access-Control-Allow-Credentials") == ("true" if is_named else None)
            assert answer.field("Vary") == "Origin" and answer.field("Cache-Control") == "no-store"
            wire.want_closed()


def test_a_body_that_is_too_long_is_refused_at_once_with_its_limit(server):
    for path, limit in ((path_of(fresh()) + "/messages", "1048576 bytes, which is the most that this resource takes "
                         "(payload_bytes_max)"),
                        ("/v1/messages", "8388608 bytes, which is the most that this resource takes (batch_bytes_max)")):
        for fields, chunk in (({"content_length": 8388609}, b""), ({"transfer_encoding": "chunked"}, b"ffffffff\r\n"),
                              ({"transfer_encoding": "chunked"}, b"1\r\nx\r\n800000\r\n")):
            with Wire(server) as wire:
                wire.send(request_bytes("POST", path, **fields) + chunk)
                assert limit in wire.answer("POST").want_problem(413)["detail"]
                wire.want_closed()


# --- too much (threat 51) --------------------------------------------------------------------------------------------

def test_a_request_line_of_a_megabyte(server):
    want_one_refusal(server, b"GET /" + b"x" * (1 << 20) + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414)
    want_one_refusal(server, b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414)


def test_very_many_fields(server):
    want_one_refusal(server, GET + b"X: y\r\n" * 10000 + b"\r\n", 431)
    want_one_refusal(server, GET + b"X: y\r\n" * 64 + b"\r\n", 431)
    with Wire(server) as wire:
        wire.send(GET + b"X: y\r\n" * 63 + b"\r\n")
        wire.answer().want(200)


def test_a_very_long_field(server):
    want_one_refusal(server, GET + b"X: " + b"y" * (1 << 20) + b"\r\n\r\n", 431)


def test_memory_stays_flat(server):
    before = memory_of(server)
    links = [Wire(server) for _ in range(100)]
    for link in links:
        link.send(GET + b"X: " + b"y" * 15000)
    request(server, "GET", "/healthz").want(200)
    assert memory_of(server) - before < 32 << 20
    for link in links:
        link.close()


def memory_of(server):
    with open(f"/proc/{server.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


# --- slow (threat 52) ------------------------------------------------------------------------------------------------

SLOW = "head_timeout_s = 1\nrequest_timeout_s = 1\nkeepalive_timeout_s = 1\n"


@pytest.fixture(name="hasty", scope="module")
def fixture_hasty():
    with Server(config=SLOW) as server:
        yield server


@pytest.mark.parametrize("data", [GET, b"G", POST + b"Content-Length: 10\r\n\r\nhalf", CHUNKED, CHUNKED + b"5\r\nhe",
                                  GET + b"\r\n" + b"GET /hea"])
def test_half_a_request_is_408(hasty, data):
    with Wire(hasty) as wire:
        start = time.monotonic()
        wire.send(data)
        if data.startswith(GET + b"\r\n"):
            wire.answer().want(200)
        wire.answer().want_problem(408)
        wire.want_closed()
        assert time.monotonic() - start > 0.9


@pytest.mark.parametrize("data", [GET + b"X: " + b"y" * 1000, POST + b"Content-Length: 1000\r\n\r\n" + b"x" * 999])
def test_a_trickle_is_no_excuse(hasty, data):
    with Wire(hasty, seconds=0.05) as wire:
        start, got = time.monotonic(), b""
        wire.send(data[:-900])
        for i in range(900):
            wire.send(data[i - 900:i - 899] or b"x")
            try:
                got = wire.socket.recv(65536)
                break
            except TimeoutError:
                pass
        assert got.startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - start > 0.9


def test_idle_connections_are_closed_without_a_word(hasty):
    with Wire(hasty) as silent, Wire(hasty) as done:
        done.ask("GET", "/healthz").want(200)
        silent.want_closed()
        done.want_closed()


def test_a_subscriber_and_a_slow_answer_are_not_hurried(hasty):
    channel = fresh()
    publish(hasty, channel)
    with Sse(hasty, query_of((channel, "after=0"))) as sse, Ws(hasty, query_of((channel, "after=0"))) as ws:
        assert sse.next()["seq"] == ws.next()["seq"] == 1
        with Wire(hasty) as poll:
            poll.send(request_bytes("GET", f"/v1/subscribe?wait=3&{query_of((channel, 'after=1'))}"))
            assert poll.answer().want(200).json()["messages"] == []
        publish(hasty, channel)
        assert sse.next()["seq"] == ws.next()["seq"] == 2


def test_many_slow_links_hurt_nobody(hasty):
    links = []
    for i in range(300):
        links.append(Wire(hasty))
        links[-1].send((GET, POST + b"Content-Length: 100\r\n\r\nx", b"GET ")[i % 3])
    for _ in range(20):
        request(hasty, "GET", "/healthz").want(200)
    for link in links:
        link.answer().want_problem(408)
        link.close()
    wait_until(lambda: metric(hasty, "longwire_http_connections") == 1)


def test_who_never_reads_an_answer_is_closed(hasty):
    channel = fresh()
    publish_many(hasty, channel, [bytes(100000)] * 60)
    with Wire(hasty, receive_bytes=4096) as wire:
        wire.send(request_bytes("GET", f"{path_of(channel)}/messages?after=0") * 5)
        wait_until(lambda: metric(hasty, "longwire_http_connections") > 1)
        wait_until(lambda: metric(hasty, "longwire_http_connections") == 1)


# --- many at once, and early ends (threat 53) ------------------------------------------------------------------------

def test_a_thousand_pipelined_requests(server):
    channel, count = fresh(), 1000
    with Wire(server) as wire:
        wire.send(b"".join(request_bytes("POST", path_of(channel) + "/messages", b"%d" % i) for i in range(count)))
        assert [wire.answer("POST").want(201).json()["seq"] for _ in range(count)] == list(range(1, count + 1))
    page = history(server, channel, "?after=0&limit=1000").json()
    assert [message["data"] for message in page["messages"]] == [str(i) for i in range(count)]


def test_pipelined_requests_that_are_read_late(server):
    """More answers than any buffer holds: the server stops reading until the client takes them."""
    channel = fresh()
    publish_many(server, channel, [bytes(50000)] * 20)
    ask = request_bytes("GET", f"{path_of(channel)}/messages?after=0")
    with Wire(server, receive_bytes=4096) as wire:
        wire.send(ask * 15 + GET + b"\r\n")
        bodies = {wire.answer().want(200).body for _ in range(15)}
        assert len(bodies) == 1 and len(json.loads(bodies.pop())["messages"]) == 20
        wire.answer().want(200)


@pytest.mark.parametrize("count", [1, 10])
def test_a_client_that_half_closes_gets_its_answers(server, count):
    channel = fresh()
    publish_many(server, channel, [bytes(50000)] * 20)
    ask = request_bytes("GET", f"{path_of(channel)}/messages?after=0")
    with Wire(server, receive_bytes=4096) as wire:
        wire.send(ask * count)
        wire.socket.shutdown(1)
        for _ in range(count):
            assert len(wire.answer().want(200).json()["messages"]) == 20
        wire.want_closed()


def test_pipelined_publishes_before_a_half_close_are_answered(server):
    channel = fresh()
    with Wire(server) as wire:
        wire.send(request_bytes("POST", path_of(channel) + "/messages", b"x") * 20)
        wire.socket.shutdown(1)
        assert [wire.answer("POST").want(201).json()["seq"] for _ in range(20)] == list(range(1, 21))
        wire.want_closed()


def test_clients_that_leave_before_their_answers(server):
    channel, rng, rounds = fresh(), random.Random(53), 200
    for _ in range(rounds):
        wire = Wire(server)
        wire.send(request_bytes("POST", path_of(channel) + "/messages", b"x") * rng.randrange(1, 5) +
                  request_bytes("GET", f"{path_of(channel)}/messages"))
        wire.reset() if rng.random() < 0.5 else wire.close()
    wait_until(lambda: metric(server, "longwire_http_connections") == 1)
    page = history(server, channel, "?after=0&limit=1000").json()
    assert [message["seq"] for message in page["messages"]] == list(range(1, page["head"] + 1))


def test_requests_cut_at_every_byte(server):
    channel = fresh()
    wires = [request_bytes("POST", path_of(channel) + "/messages", b"hello", content_type="text/plain"),
             request_bytes("POST", path_of(channel) + "/messages", transfer_encoding="chunked") +
             b"2;x\r\nhe\r\n3\r\nllo\r\n0\r\nT: x\r\n\r\n"]
    count = 0
    for data in wires:
        for cut in range(len(data) + 1):
            with Wire(server) as wire:
                wire.send(data[:cut])
                wire.send(data[cut:])
                wire.answer("POST").want(201)
                count += 1
        for cut in range(len(data)):
            with Wire(server) as wire:
                wire.send(data[:cut])
    messages = history(server, channel, "?after=0&limit=1000").json()["messages"]
    assert len(messages) == count and {message["data"] for message in messages} == {"hello"}


CORPUS = ROOT / "test" / "fuzz" / "corpus"


@pytest.mark.parametrize("seed", range(3))
def test_what_the_fuzzers_found_in_any_mixture(server, seed):  # threats 53, 77
    """The fuzzers' inputs and honest requests, cut at any byte, ended by close and by reset: these links end, and all
    others stay."""
    rng, channel = random.Random(seed), fresh()
    odd = [path.read_bytes() for path in sorted(CORPUS.glob("h1/*")) + sorted(CORPUS.glob("ws/*"))]
    honest = [GET + b"\r\n", handshake_bytes(f"/v1/ws?channel={channel}"),
              request_bytes("POST", path_of(channel) + "/messages", b"x"), request_bytes("GET", "/readyz"),
              request_bytes("GET", "/v1/openapi.json") * 20,
              request_bytes("GET", "/v1/subscribe?wait=1&" + query_of(channel)),
              request_bytes("GET", "/v1/subscribe?" + query_of(channel), accept="text/event-stream")]
    for _ in range(200):
        data = b"".join(rng.choice(honest if rng.random() < 0.6 else odd) for _ in range(rng.randrange(1, 6)))
        cut = rng.randrange(len(data) + 1)
        with Wire(server) as wire, contextlib.suppress(OSError):
            wire.send(data[:cut])
            wire.send(data[cut:])
            if rng.random() < 0.3:
                wire.socket.shutdown(socket.SHUT_WR)
            if rng.random() < 0.3:
                wire.reset()
    wait_until(lambda: metric(server, "longwire_http_connections") == 1)
    seqs = [message["seq"] for message in history(server, channel, "?after=0&limit=1000").json()["messages"]]
    assert seqs == list(range(1, len(seqs) + 1))
    publish(server, channel)


# --- what a publisher writes stays inside its frame (threats 58, 80) -------------------------------------------------

PIECES = [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\x00", b"\xef\xbb\xbf", b"data: forged", b"id: 7", b"event: gap",
          b": ", b"--",
          b"\r\n--", b"--\r\n", b"Content-Type: text/html", b"Longwire-Seq: 1", b"0\r\n\r\n", b"5\r\n", b'"', b"\\",
          b"\\u0000",
          b"}", b'"}', b"</script>", "\u2028\u2029\u0085".encode(), b"\x1b[2J", b"retry: 1\n", b"\x7f", "😀".encode(),
          b"]]>"]


def test_nothing_breaks_out_of_its_frame(server):
    channel, rng = fresh(), random.Random(80)
    sent = []
    for _ in range(150):
        payload = b"".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 8)))
        if rng.random() < 0.3:
            payload += rng.randbytes(rng.randrange(40))
        sent.append((rng.choice(["application/octet-stream", "text/plain", "text/event-stream", "multipart/mixed"]),
                     payload))
    for media, payload in sent:
        publish(server, channel, payload, media=media)
    for kind in READERS.values():
        with kind(server, query_of((channel, "after=0"))) as reader:
            events = reader.several(len(sent))
            if reader.media and reader.media.startswith("multipart"):
                sent.append(("text/plain", b"\r\n" + reader.delimiter + b"\r\n\r\n" + reader.delimiter + b"--\r\n"))
                publish(server, channel, sent[-1][1], media="text/plain")
                events.append(reader.next())
        assert [(event["media"], event["payload"]) for event in events] == sent
        assert [event["seq"] for event in events] == list(range(1, len(sent) + 1))


def test_json_comes_byte_for_byte_but_for_line_breaks_in_lines(server):
    channel = fresh()
    payloads = [b'{"a":\r\n1,\n"b"\r:\t[ ] }', b'\n\n"x"\r\n', b'"\\r\\n\\u0000\\u2028"', b' { "z" : 1.10e+5 } ',
                b"\t0",
                '"\u2028\ufeff"'.encode(), b'"--\\r\\n--"', b'["data: x\\n\\n"]']
    for payload in payloads:
        publish(server, channel, payload, media="application/json")
    for name, kind in READERS.items():
        with kind(server, query_of((channel, "after=0"))) as reader:
            for payload in payloads:
                if name in ("sse", "ndjson"):
                    payload = payload.replace(b"\r", b" ").replace(b"\n", b" ")
                assert reader.next()["payload"] == payload, name


def test_media_types_can_not_carry_lines(server):  # threat 58
    channel = fresh()
    bad = ["text/plain\r\nX: y", "text/plain\ndata: x", "text/plain\r", "a/b\x00", "a/b\u2028", "a/b\x85", "\r\n\r\n/",
           "a/b\x7f"]
    messages = [{"channel": channel, "data": "x", "media": media} for media in bad]
    results = request(server, "POST", "/v1/messages", json.dumps({"messages": messages}).encode(),
                      content_type="application/json").want(200).json()["results"]
    assert [result["status"] for result in results] == [415] * len(bad)
    for media in bad:
        raw = media.encode()
        if b"\r\n" in raw:
            continue  # in a head that is simply the next line
        with Wire(server) as wire:
            head = POST.replace(b"topic:victim", channel.encode()) + b"Content-Length: 1\r\n"
            wire.send(head + b"Content-Type: " + raw + b"\r\n\r\nx")
            assert wire.answer("POST").status in (400, 415)
    assert history(server, channel).json()["head"] == 0


def test_odd_media_types_and_names_pass_unbroken(server):  # threat 58
    channel = fresh() + "\u2028data: x; --\\\" %0d%0a%"
    media = ["text/plain; a=\"--x\\\"\"; b=data:", "x/y;\\z", "a/b; boundary=--", "application/vnd.longwir.gap+xml"]
    for text in media:
        publish(server, channel, b"x", media=text)
    for kind in READERS.values():
        with kind(server, query_of((channel, "after=0"))) as reader:
            events = reader.several(len(media))
        assert [(event["channel"], event["media"]) for event in events] == [(channel, text) for text in media]


@pytest.mark.parametrize("media", ["application/vnd.longwire.gap+json", "Application/VND.Longwire.ping+json; a=b",
                                   "application/vnd.longwire.membership+json", "application/vnd.longwire."])
def test_a_publisher_can_not_forge_a_part_of_ours(server, media):  # threat 58
    """Nor any other message by which the server itself speaks: these media types are refused."""
    channel = fresh()
    with Wire(server) as wire:
        body = b'{"type":"gap","from":1,"to":9}'
        head = POST.replace(b"topic:victim", channel.encode()) + b"Content-Length: %d\r\n" % len(body)
        wire.send(head + b"Content-Type: " + media.encode() + b"\r\n\r\n" + body)
        assert wire.answer("POST").want(400).json()["detail"].startswith("media types application/vnd.longwire.*")
    assert history(server, channel).json()["head"] == 0


def test_no_cache_keeps_an_answer(server):
    channel = fresh()
    publish(server, channel)
    with Wire(server) as wire:
        for method, path in [("GET", path_of(channel) + "/messages"), ("GET", path_of(channel)), ("GET", "/healthz"),
                             ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/nothing"), ("PUT", "/healthz"),
                             ("POST", path_of(channel) + "/messages"), ("POST", "/v1/messages"), ("GET", "/v1/ws"),
                             ("GET", "/v1/subscribe?wait=0&after=0&channel=" + channel), ("OPTIONS", "/")]:
            assert wire.ask(method, path).field("Cache-Control") == "no-store", path
        for path in ("/", "/demo.js", "/v1/openapi.json"):  # files may be kept, if they are asked about again
            assert wire.ask("GET", path).field("Cache-Control") == "no-cache"


# --- a name that leads to this machine -------------------------------------------------------------------------------

def test_a_foreign_host_is_refused_without_keys():  # threats 76, 105: DNS rebinding
    channel = fresh()
    with Server() as server:
        for host in "evil.example", f"evil.example:{server.port}", "127.0.0.1.evil.example":
            own = "http://" + host
            for answer in (request(server, "POST", path_of(channel) + "/messages", b"x", host=host, origin=own),
                           request(server, "POST", path_of(channel) + "/messages", b"x", host=host),
                           request(server, "GET", "/v1/subscribe?wait=0&channel=" + channel, host=host, origin=own),
                           request(server, "GET", path_of(channel) + "/messages", host=host),
                           request(server, "GET", "/", host=host),
                           request(server, "OPTIONS", path_of(channel) + "/messages", host=host, origin=own,
                                   access_control_request_method="POST")):
                assert "configure a [key]" in answer.want_problem(421)["detail"]
                assert answer.field("Access-Control-Allow-Origin") is None
            with Wire(server) as wire:
                wire.send(handshake_bytes("/v1/ws?channel=" + channel, host=host, origin=own))
                wire.answer().want_problem(421)
        for host in "localhost", "LOCALHOST:1", "app.localhost", "127.0.0.1:8080", "[::1]", "10.1.2.3:80":
            request(server, "GET", path_of(channel) + "/messages", host=host, origin="http://" + host).want(200)
        assert history(server, channel).json()["head"] == 0
    with Server(config="origins = https://app.example, https://*.example.org\n") as server:
        for host, status in [("app.example", 200), ("app.example:8080", 200), ("a.example.org", 200),
                             ("example.org", 421), ("evil.example", 421)]:
            request(server, "GET", path_of(channel) + "/messages", host=host).want(status)
    with Server(config=f"[key k]\nsecret = {'k' * 32}\nrights = publish\n") as server:
        request(server, "GET", "/v1/subscribe?wait=0&channel=" + channel, host="push.example",
                origin="https://push.example").want(200)


def test_origins_are_not_reflected_broken(server):  # threat 58
    for origin in (b"http://localhost:1\tx", b"http://localhost:\xff", b"http://localhost:1, http://evil.example"):
        with Wire(server) as wire:
            answer = wire.ask("GET", "/healthz", origin=origin)
            assert answer.status in (400, 403) and answer.field("Access-Control-Allow-Origin") is None


def test_a_handshake_reflects_nothing_of_ours(server):
    with Wire(server) as wire:
        wire.send(handshake_bytes(sec_websocket_protocol="longwire.json.v1, \"x\", chat"))
        assert wire.head().want(101).field("Sec-WebSocket-Protocol") == "longwire.json.v1"


# --- through nginx as it is out of the box (threat 84) ---------------------------------------------------------------

NGINX = """
daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;
events {{}}
http {{
    access_log off; client_body_temp_path {home}/a; proxy_temp_path {home}/b; fastcgi_temp_path {home}/c;
    uwsgi_temp_path {home}/d; scgi_temp_path {home}/e;
    proxy_read_timeout 6s;
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{target}; }} }}
}}
"""


class Proxy:
    def __init__(self, home, target):
        self.port = free_port()
        (home / "nginx.conf").write_text(NGINX.format(home=home, port=self.port, target=target.port))
        self.process = subprocess.Popen(["/usr/sbin/nginx", "-p", str(home), "-c", str(home / "nginx.conf")])

    def __enter__(self):
        wait_until(self.is_there)
        return self

    def is_there(self):
        try:
            return request(self, "GET", "/healthz").status == 200
        except (OSError, Closed):
            return False

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def test_nginx_with_its_defaults(tmp_path):
    with Server(config="heartbeat_s = 1\n") as server, Proxy(tmp_path, server) as proxy:
        publish(proxy, "topic:a", b"1")
        for name in ("sse", "ndjson", "multipart"):
            with READERS[name](proxy, query_of(("topic:a", "last=1"))) as reader:
                assert reader.next()["payload"] == b"1"
                publish(server, "topic:a", b"singly")
                assert reader.next()["payload"] == b"singly"  # it came although nothing came behind it
                if name == "sse":
                    for _ in range(8):  # longer than proxy_read_timeout
                        reader.wait_for_heartbeat()
                publish(server, "topic:a", b"1")
                assert reader.next()["payload"] == b"1"
        with READERS["poll"](proxy, query_of("topic:a")) as poll:
            assert poll.page(wait=1) == []
            publish(proxy, "topic:a", b"2")
            assert [event["payload"] for event in poll.page()] == [b"2"]
