"""Fuller runs of threats that other files show in parts: too much at once (51), early ends in every state (53), tricks in paths
(54), bytes that go in by one way and come out by every other (56), and names that try to break out of heads and frames
(58)."""
import json
import os
import random
import time
import urllib.parse

import jwt
import pytest

from longwire_server import Server, is_built
from native_wire import BinSocket, NativeClient
from test_http_strictness import GET, POST, memory_of
from waiting import wait_until
from wire import READERS, Wire, fresh, history, metric, path_of, publish, query_of, request, request_bytes

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

PAYLOAD_MAX = 1 << 20
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server() as server:
        yield server


# --- threat 51 -------------------------------------------------------------------------------------------------------

TOO_MUCH = {
    "a request line of a megabyte": (b"GET /" + b"x" * (1 << 20) + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "ten thousand fields": (GET + b"X: y\r\n" * 10000 + b"\r\n", 431),
    "a field of a megabyte": (GET + b"X: " + b"y" * (1 << 20) + b"\r\n\r\n", 431),
    "a body above the maximum": (POST + b"Content-Length: %d\r\n\r\n" % (1 << 30) + b"x" * (1 << 20), 413),
    "a chunk above the maximum": (POST + b"Transfer-Encoding: chunked\r\n\r\n3fffffff\r\n" + b"x" * (1 << 20), 413),
}


def test_too_much_from_many_at_once_is_refused_and_memory_stays_flat(server):
    """Threat 51. What is refused is read and dropped, as long as the client sends."""
    before = memory_of(server)
    for _ in range(20):
        links = [(Wire(server), *what) for what in TOO_MUCH.values()]
        for wire, data, _ in links:
            try:
                wire.send(data)
            except OSError:
                pass    # the server had heard enough
        for wire, _, status in links:
            wire.answer().want_problem(status)
            wire.close()
    wait_until(lambda: metric(server, "longwire_http_connections") == 1)
    assert memory_of(server) - before < 32 << 20


# --- threat 53 -------------------------------------------------------------------------------------------------------

def test_a_client_may_leave_at_any_point_of_an_exchange(server):
    """Threat 53. By an end or a reset: between the head and its 100, before its answer, in the middle of one, and with more
    requests behind. Those that came before are done, in their order, and none is done twice."""
    channel, answered = fresh(), []
    waits = request_bytes("POST", path_of(channel) + "/messages", expect="100-continue", content_length=5)
    rng = random.Random(53)
    for number in range(60):
        whole = [request_bytes("POST", path_of(channel) + "/messages", b"%d %d" % (number, at)) for at in range(3)]
        answered.append(rng.randrange(number % 4 + 1))
        with Wire(server) as wire:
            wire.send(b"".join(whole[:number % 4]) + rng.choice([b"", waits, waits + b"he", whole[0][:-1], GET, GET + b"\r\n" + waits]))
            for _ in range(answered[-1]):
                wire.answer("POST").want(201)
            if rng.random() < 0.5:
                wire.reset()
    wait_until(lambda: metric(server, "longwire_http_connections") == 1)
    stored = [message["data"] for message in history(server, channel, "?limit=1000&after=0").json()["messages"]]
    for number, least in enumerate(answered):   # two connections may be served at the same time, by two loops
        mine = [text for text in stored if text.startswith(f"{number} ")]
        assert least <= len(mine) <= number % 4 and mine == [f"{number} {at}" for at in range(len(mine))], (number, mine, stored)


@pytest.mark.parametrize("method", ["BREW", "get", "Get", "CONNECT", "TRACE", "PROPFIND", "M-SEARCH", "QUERY", "*", "GET!"])
def test_methods_that_are_not_known_do_nothing(server, method):
    """Threat 53. Each is answered, and the connection stays in step."""
    with Wire(server) as wire:
        wire.send(request_bytes(method, "/v1/channels/topic:a/messages", b"x") + request_bytes("GET", "/healthz"))
        answer = wire.answer()
        assert 400 <= answer.status < 502, answer.status
        if answer.field("Connection") != "close":
            wire.answer().want(200)


# --- threat 54 -------------------------------------------------------------------------------------------------------

TRICKS = ["/..", "/../", "/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd", "/..%5c..%5cetc", "/.%00./", "/%00",
          "/demo.js%00", "/demo.js/..", "/./demo.js", "//demo.js", "/longwire//index.js", "/longwire/../demo.js", "/longwire/%2e%2e/demo.js",
          "/longwire/%69ndex.js/x", "/demo.js;x", "/demo%2ejs/", "/DEMO.JS", "/demo.js%20", "/demo.js.", "/%c0%ae%c0%ae/", "/%c0%af", "/%e0%80%af",
          "/%ff", "/%", "/%2", "/%zz", "/\\..\\", "/v1/../demo.js", "/v1/%2e%2e/demo.js", "/v1//channels", "/v1/./channels", "/V1/channels",
          "/v1/channels/topic:a/../topic:b/messages", "/v1/channels/topic:a/%2e%2e/messages", "/v1/channels//messages", "/v1;x/channels"]


@pytest.mark.parametrize("target", TRICKS)
def test_a_trick_in_a_path_finds_no_file_and_no_other_channel(server, target):
    """Threat 54. A path is compared byte by byte, without being made shorter first."""
    answer = request(server, "GET", target)
    assert answer.status in (400, 404), (target, answer.status)
    assert b"root:" not in answer.body and b"import" not in answer.body


def test_tricks_in_names_reach_the_channel_that_is_written_and_no_other(server):
    """Threat 54. What is one segment is one name, whatever is encoded in it."""
    base = fresh()
    victim = base + "x"
    publish(server, victim, b"secret")
    for encoded in ("%2e%2e%2f" + victim, victim + "%2f..", victim + "%2f.", victim + "%2F", victim + "%20", victim + "%3f", victim + "%23",
                    victim + "%2a", victim + "%2b", victim + "%25", victim + "%2500", base + "%2f..%2f" + victim):
        answer = request(server, "GET", f"/v1/channels/{encoded}/messages?after=0")
        assert answer.status in (400, 404) or answer.json()["messages"] == [], encoded
        request(server, "POST", f"/v1/channels/{encoded}/messages", b"not there")
    assert [message["data"] for message in history(server, victim, "?after=0").json()["messages"]] == ["secret"]


# --- threat 56 -------------------------------------------------------------------------------------------------------

EVERY_BYTE = bytes(range(256))
PAYLOADS = [b"", b"\0", b"\xff", EVERY_BYTE, EVERY_BYTE[::-1] * 3, b"\r\n\r\n--x--\r\n", "é😀\u2028".encode(), b"text", b'{"a":1}', b"null", b"\xef\xbb\xbfx",
            b"\xed\xa0\x80", os.urandom(1000)]
MEDIA = [None, "text/plain", "application/octet-stream", "image/png", "application/json; charset=latin-1x", "text/html; charset=utf-16"]


def by_http(server, channel, payload, media):
    publish(server, channel, payload, media=media)


def by_native(server, channel, payload, media):
    with NativeClient(server.tcp_port) as client:
        client.send({"type": "publish", "channel": channel, "payload_hex": payload.hex(), "ref": 1, **({"media": media} if media else {})})
        client.expect("published")


def by_websocket(server, channel, payload, media):
    with BinSocket(server) as client:
        client.send({"type": "connect"})
        client.send({"type": "publish", "channel": channel, "payload_hex": payload.hex(), "ref": 1, **({"media": media} if media else {})})
        while client.next()["type"] != "published":
            pass


@pytest.mark.parametrize("publisher", [by_http, by_native, by_websocket])
def test_bytes_come_out_as_they_went_in_by_every_way(server, publisher):
    """Threat 56. Every payload with every media type, where the type does not forbid the bytes, over every transport."""
    channel = fresh()
    sent = [(payload, media) for payload in PAYLOADS for media in MEDIA if "json" not in (media or "")] + [(bytes(PAYLOAD_MAX), None)]
    sent += [(payload, MEDIA[4]) for payload in (b'{"a":1}', b"null")]
    for payload, media in sent:
        publisher(server, channel, payload, media)
    for kind in READERS.values():
        with kind(server, query_of((channel, "after=0"))) as reader:
            events = reader.several(len(sent))
        assert [event["payload"] for event in events] == [payload for payload, _ in sent]
        assert all(event["media"] == media for event, (_, media) in zip(events, sent) if media is not None)
    with NativeClient(server.tcp_port) as client:
        client.send({"type": "subscribe", "channel": channel, "after": 0, "ref": 1})
        client.expect("subscribed")
        got = client.messages(len(sent))
    assert [bytes.fromhex(frame["payload_hex"]) if "payload_hex" in frame else frame.get("payload", "").encode() for frame in got] \
        == [payload for payload, _ in sent]


# --- threat 58 -------------------------------------------------------------------------------------------------------

HOSTILE = ["a\r\ndata: forged", "a\ndata: forged", "a\r", "\r\nSet-Cookie: x", "a\0b", "a\x85b", "a\x7f", "\x1b[2J"]
ODD = ["a: b", "data: x", "--x", '"quoted\\"', "a;b=\"c\"", "<script>", "a\u2028b", "%0d%0aX: y", "é😀", "a,b", "id:7"]


def test_the_name_of_a_publisher_can_not_break_out():
    """Threat 58. `from` is the user of a signed token: names with control characters are nobody's, all others arrive as they are."""
    with Server(config=f"[jwt app]\nsecret = {SECRET}\nalgorithms = HS256\n[namespace room]\npublish = anyone\nsubscribe = anyone\n") as server:
        def bearer(user):
            return "Bearer " + jwt.encode({"sub": user, "exp": int(time.time()) + 600}, SECRET, "HS256")

        channel = "room:" + fresh().split(":")[1]
        for name in HOSTILE:
            answer = request(server, "POST", path_of(channel) + "/messages", b"x", authorization=bearer(name))
            assert answer.status == 401, (name, answer.status)
        for name in ODD:
            publish(server, channel, b"x", authorization=bearer(name))
        for kind, reads in READERS.items():
            with reads(server, query_of((channel, "after=0")), authorization=bearer("reader")) as reader:
                names = [event["from"] for event in reader.several(len(ODD))]
            if kind in ("multipart", "form-data"):      # in the head of a part they are encoded
                names = [urllib.parse.unquote(name) for name in names]
            assert names == [f"user:{name}" for name in ODD]


@pytest.mark.parametrize("text", HOSTILE)
def test_names_of_events_and_keys_can_not_carry_lines(server, text):
    """Threat 58. By a batch, where no head's grammar is in the way, and percent-encoded in a head."""
    channel = fresh()
    encoded = "".join(f"%{byte:02x}" for byte in text.encode())
    for member in ("event", "collapse_key") if "\x85" in text else ("event", "collapse_key", "key"):    # a key is bytes, not text
        body = json.dumps({"messages": [{"channel": channel, "data": "x", member: text}]}).encode()
        result = request(server, "POST", "/v1/messages", body, content_type="application/json").want(200).json()["results"][0]
        assert result["status"] == 400, (member, result)
    for field in ("longwire_event", "collapse_key"):
        request(server, "POST", path_of(channel) + "/messages", b"x", **{field: encoded}).want_problem(400)
    assert history(server, channel).json()["head"] == 0


def test_odd_names_of_events_stay_in_their_line(server):
    """Threat 58. Over the raw event stream too, where the name is a line of its own."""
    channel = fresh()
    for name in ODD:
        publish(server, channel, b"x\r\ndata: y", longwire_event="".join(f"%{byte:02x}" for byte in name.encode()))
    for name in ("ws", "sse", "ndjson", "poll"):
        with READERS[name](server, query_of((channel, "after=0"))) as reader:
            assert [event["event"] for event in reader.several(len(ODD))] == ODD
    with Wire(server) as wire:
        wire.send(request_bytes("GET", f"/v1/subscribe?format=raw&{query_of((channel, 'after=0'))}", accept="text/event-stream"))
        wire.head()
        text = b""
        while text.count(b"data: y") < len(ODD):
            text += wire.chunk()
    lines = text.decode().split("\n")
    assert [line[7:] for line in lines if line.startswith("event: ")] == ODD
    assert not [line for line in lines if line.startswith(("X:", "Set-Cookie"))]
