"""Requests to back ends as the clients make them: the response comes although the link broke in between, once; the libraries, the
tool, and programs behind `longwire proxy`."""
import contextlib
import re
import shutil
import subprocess
import threading

import pytest

import uplink_client_cuts
from back_end import BackEnd
from client_driver import C, JAVASCRIPT, NODE, Driver
from cut_link import Link
from longwire_client import Api
from longwire_server import LONGWIRE, Server, is_built
from native_link import NativeLink
from native_wire import BinSocket, NativeClient
from waiting import SECONDS, wait_until
from wire import Multipart, Ndjson, Poll, Sse, Ws, event_of, subscribers

pytestmark = pytest.mark.skipif(not is_built(), reason="longwired is not built")

PHONE = {"user": "ann", "device": "phone", "backOff": {"base_ms": 20, "cap_ms": 100}}
LIBRARIES = {
    "c": (C, {}), "c-session": (C, {"session": True}),
    "js": (JAVASCRIPT, {"transports": ["websocket"], "encodings": ["binary"]}),
    "js-session": (JAVASCRIPT, {"transports": ["websocket"], "encodings": ["json"], "session": True}),
    "js-poll": (JAVASCRIPT, {"transports": ["poll"]}),
}


@pytest.fixture
def back_end():
    with BackEnd() as ours:
        yield ours


@pytest.fixture
def server(back_end):
    config = f"[backend shop]\nurl = {back_end.url}\ntimeout_s = 60\n[uplink all]\nmethods = GET, HEAD, POST, PUT\npath = /**\nbackend = shop\nallow = anyone\n"
    with Server(config=config, flags=["--store", "memory"]) as ours:
        yield ours


@contextlib.contextmanager
def driven(library, server):
    """The client, and the link that can be cut."""
    program, options = LIBRARIES[library]
    if program is JAVASCRIPT and not NODE:
        pytest.skip("node is not installed")
    with Link(server.tcp_port if program is C else server.port) as link:
        with Driver(program, link.url, {}, **PHONE, **options) as client:
            yield client, link


def response(client, request):
    return client.until(lambda: [event for event in client.of("response") if event["id"] == request], f"no response {request}")[0]


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_response_is_there_after_the_reconnect(library, server, back_end):
    with driven(library, server) as (client, link):
        client.say("request", id="before", path="/hello")
        assert response(client, "before")["body"] == "GET /hello"
        back_end.gate.clear()
        client.say("request", id="slow", path="/gated/1", method="POST", body="order")
        wait_until(lambda: back_end.requests_of("/gated/1"))
        link.cut()
        back_end.gate.set()
        told = response(client, "slow")
        assert (told["status"], told["body"], told["media"]) == (200, "POST /gated/1", "text/plain")
        client.say("request", id="after", path="/status/404")
        assert response(client, "after")["status"] == 404
        client.say("request", id="slow", path="/gated/1", method="POST", body="order")
        again = client.until(lambda: [event for event in client.of("response") if event["id"] == "slow"][1:], "no replay")[0]
        assert (again["body"], again["replayed"]) == ("POST /gated/1", True)
    assert [request["key"] for request in back_end.requests_of("/gated/1")] == ["ann/phone/slow"]
    assert [request["body"] for request in back_end.requests_of("/gated/1")] == [b"order"]


@pytest.mark.parametrize("library", ["c-session", "js-session"])
def test_what_is_refused_and_cancelled(library, server, back_end):
    with driven(library, server) as (client, _):
        client.say("request", id="r1", path="/hello", method="DELETE")
        assert response(client, "r1")["code"] == 404
        back_end.gate.clear()
        client.say("request", id="r2", path="/gated/2")
        wait_until(lambda: back_end.requests_of("/gated/2"))
        client.say("cancel", id="r2")
        told = response(client, "r2")
        assert 499 in (told["status"], told["code"])


@pytest.mark.skipif(not NODE, reason="node is not installed")
def test_requests_over_links_that_are_cut():
    """The large run is uplink_client_cuts.py by itself."""
    found = uplink_client_cuts.run(links=8, requests=120, seed=1)
    assert uplink_client_cuts.is_good(found), found
    assert found["links taken"] > 8, found


# --- frames ----------------------------------------------------------------------------------------------------------

def of_response(frame):
    assert frame["media"] == "application/vnd.longwire.response+json", frame
    return frame


def test_a_request_makes_its_link_follow_the_log_of_its_device(server):
    with NativeClient(server.tcp_port, user="ann", device="phone") as client:
        client.send({"type": "request", "ref": 1, "request": "r1", "method": "GET", "path": "/hello"})
        followed = client.expect("subscribed")
        assert followed["channel"] == "device:ann/phone" and "ref" not in followed
        assert client.expect("accepted") == {"type": "accepted", "ref": 1, "request": "r1"}
        first = of_response(client.expect("full"))
        assert first["channel"] == "device:ann/phone" and first["seq"] == followed["head"] + 1
        client.send({"type": "request", "ref": 2, "request": "r1", "method": "GET", "path": "/hello"})
        assert client.expect("full") == {**first, "replayed": True}
        client.send({"type": "request", "ref": 3, "request": "r1", "method": "GET", "path": "/other"})
        refused = client.expect("error")
        assert (refused["code"], refused["request"], refused["ref"]) == (422, "r1", 3)
    with NativeClient(server.tcp_port, user="ann", device="phone") as client:
        client.send({"type": "request", "request": "r1", "method": "GET", "path": "/hello"})
        assert client.expect("subscribed")["head"] == first["seq"]
        assert client.expect("full") == {**first, "replayed": True}


def test_a_link_of_no_device_has_its_responses_on_its_own_channel(server, back_end):
    with NativeClient(server.tcp_port) as client:
        for number in (1, 2):
            client.send({"type": "request", "ref": number, "request": f"r{number}", "method": "GET", "path": "/hello"})
            assert client.expect("accepted")["ref"] == number
            told = of_response(client.expect("full"))
            assert told["channel"] == f"conn:{client.connected['connection']}"
    assert "Longwire-User" not in back_end.requests_of("/hello")[0]["headers"]


def test_many_requests_of_one_link_are_each_answered(server, back_end):
    """More than one device may have under way (256): the others are refused for now, and nothing is lost."""
    count = 300
    with NativeClient(server.tcp_port, user="ann", device="phone") as client:
        client.send(*({"type": "request", "request": f"r{number}", "method": "GET", "path": f"/{number}"} for number in range(count)))
        answered = set()
        while len(answered) < count:
            frame = client.expect("subscribed", "accepted", "full", "error")
            if frame["type"] == "full":
                number = re.search(r'"request":"(r\d+)"', of_response(frame)["payload"])[1]
                assert number not in answered
                answered.add(number)
            if frame["type"] == "error":
                assert frame["code"] == 429, frame
                client.send({"type": "request", "request": frame["request"], "method": "GET", "path": f"/{frame['request'][1:]}"})
    paths = [request["path"] for request in back_end.requests]
    assert len(paths) == len(set(paths))


# --- instructions ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("standing", [True, False])
def test_an_answer_tells_the_link_what_to_follow(server, standing):
    session = {"standing": True} if standing else {}
    with NativeClient(server.tcp_port, user="ann", device="phone", **session) as client, contextlib.closing(Api(server.url)) as api:
        client.send({"type": "request", "request": "r1", "method": "GET", "path": "/subscribe/topic:a"})
        while client.expect("subscribed", "accepted", "full").get("channel") != "topic:a":
            pass
        assert api.publish("topic:a", b"news").status == 201
        assert client.expect("full")["channel"] == "topic:a"
        client.send({"type": "request", "request": "r2", "method": "GET", "path": "/unsubscribe/topic:a"})
        while client.expect("accepted", "full", "unsubscribed")["type"] != "unsubscribed":
            pass
        client.send({"type": "request", "request": "r3", "method": "GET", "path": "/subscribe/topic:b"})
        while client.expect("subscribed", "accepted", "full").get("channel") != "topic:b":
            pass
    with NativeClient(server.tcp_port, user="ann", device="phone", **session) as client:
        channels, told = set(), []
        client.send({"type": "ping", "ref": 9})
        while "pong" not in told or (standing and "topic:b" not in channels):   # the channel may answer behind the pong
            frame = client.expect("subscribed", "full", "unsubscribed", "pong")
            told.append(frame["type"])
            channels.add(frame.get("channel"))
        assert ("topic:b" in channels) == standing


class Frames:
    """A session on a link of frames: its events one after another."""

    def __init__(self, link, device):
        self.link = link
        self.link.say("connect", session=True, user="ann", device=device)

    def next(self):
        while (event := event_of(self.link.frame_text()))["type"] not in ("message", "response"):
            pass
        return event

    def close(self):
        self.link.wire.reset()


class BinFrames:
    """The same as longwire.bin.v1 on a WebSocket."""

    def __init__(self, link, device):
        self.link = link
        self.link.send({"type": "connect", "standing": True, "user": "ann", "device": device})

    def next(self):
        while (frame := self.link.next())["type"] != "full":
            pass
        return frame

    def close(self):
        self.link.__exit__()


class Events:
    """The same on a stream."""

    def __init__(self, reader):
        self.reader, self.next = reader, reader.next

    def close(self):
        self.reader.wire.close()


class Polls(Events):
    """The same on polls, each of which says whose session it is."""

    def __init__(self, reader):
        super().__init__(reader)
        self.next, self.told, self.cursor = self.poll, [], None
        self.ask(0)

    def ask(self, wait):
        answer = self.reader.ask(f"{self.reader.query}&wait={wait}" + (f"&cursor={self.cursor}" if self.cursor else "")).want(200).json()
        self.told, self.cursor = self.told + answer["messages"], answer["cursor"]

    def poll(self):
        while not self.told:
            self.ask(20)
        return self.told.pop(0)


OPENERS = {
    "ws-json": lambda server, device: Frames(Ws(server), device), "ws-bin": lambda server, device: BinFrames(BinSocket(server), device),
    "native": lambda server, device: Frames(NativeLink(server), device),
    **{reader.__name__.lower(): lambda server, device, reader=reader:
       (Polls if reader is Poll else Events)(reader(server, f"user=ann&device={device}&session=1"))
       for reader in (Sse, Ndjson, Multipart, Poll)},
}


def sent_by_post(api, name, path):
    answer = api.call("POST", f"/v1/request?user=ann&device={name}",
                      f'{{"id":"{path}","method":"GET","path":"{path}"}}', {"Content-Type": "application/json"})
    assert answer.status == 202, answer.body


def until(link, word):
    """All events up to the one that says so. What was not acknowledged comes again with each link."""
    told = [link.next()]
    while word not in str(told[-1]):
        told.append(link.next())
    return str(told)


@pytest.mark.parametrize("name", OPENERS)
def test_instructions_hold_on_every_transport(server, name):
    """A session follows what a back end tells it, keeps that over its links, and leaves it when it is told to."""
    room = f"topic:of-{name}"

    def is_followed(count):
        return name == "poll" or wait_until(lambda: subscribers(server, room) == count)

    with contextlib.closing(Api(server.url)) as api:
        link = OPENERS[name](server, name)
        sent_by_post(api, name, f"/subscribe/{room}")
        until(link, f"GET /subscribe/{room}")
        assert is_followed(1)
        assert api.publish(room, b"first news").status == 201
        until(link, "first news")
        link.close()
        link = OPENERS[name](server, name)
        assert is_followed(1)
        assert api.publish(room, b"second news").status == 201
        until(link, "second news")
        sent_by_post(api, name, f"/unsubscribe/{room}")
        until(link, f"GET /unsubscribe/{room}")
        assert is_followed(0)
        assert api.publish(room, b"third news").status == 201
        sent_by_post(api, name, "/hello")
        assert "third news" not in until(link, "GET /hello")
        link.close()


@pytest.mark.parametrize("library", ["c", "js", "c-session", "js-session"])
def test_the_libraries_hear_what_a_back_end_tells_them_to_follow(library, server):
    with driven(library, server) as (client, _):
        client.say("request", id="r1", path="/subscribe/topic:told")
        response(client, "r1")
        wait_until(lambda: subscribers(server, "topic:told") == 1)
        with contextlib.closing(Api(server.url)) as api:
            assert api.publish("topic:told", b"news").status == 201
        client.until(lambda: client.texts("topic:told") == ["news"], "no news")


# --- the tool ------------------------------------------------------------------------------------------------------------

def tool(*words):
    return subprocess.Popen([str(LONGWIRE), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("scheme", ["lw", "http"])
def test_longwire_request(server, back_end, scheme):
    back_end.gate.clear()
    with Link(server.tcp_port if scheme == "lw" else server.port) as link:
        asked = tool("request", "POST", "/gated/1", "-d", "hi", "--user", "ann", "-s", f"{scheme}://127.0.0.1:{link.port}", "--id", "r1")
        wait_until(lambda: back_end.requests_of("/gated/1"))
        link.cut()
        back_end.gate.set()
        out, noise = asked.communicate(timeout=SECONDS)
        assert (asked.returncode, out) == (0, "POST /gated/1"), noise
        shown = subprocess.run([str(LONGWIRE), "request", "GET", "/status/418", "-i", "--user", "ann", "-s", f"{scheme}://127.0.0.1:{link.port}"],
                               capture_output=True, text=True, timeout=SECONDS)
        assert shown.returncode == 1 and shown.stdout.startswith("HTTP 418\n") and shown.stdout.endswith("\n\nGET /status/418")
        refused = subprocess.run([str(LONGWIRE), "request", "DELETE", "/hello", "--user", "ann", "-s", f"{scheme}://127.0.0.1:{link.port}"],
                                 capture_output=True, text=True, timeout=SECONDS)
        assert refused.returncode == 1 and "404" in refused.stderr
    assert [request["key"] for request in back_end.requests_of("/gated/1")] == ["ann/longwire/r1"]


@contextlib.contextmanager
def proxy(link):
    process = tool("proxy", "--listen", "127.0.0.1:0", "--user", "ann", "--device", "car", "-s", f"lw://127.0.0.1:{link.port}")
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(iter(process.stderr.readline, "")))
    reader.start()
    try:
        port = wait_until(lambda: re.search(r"listening on port (\d+)", "".join(lines)), lambda: "".join(lines))[1]
        yield f"http://127.0.0.1:{port}", lines
    finally:
        process.terminate()
        assert process.wait(SECONDS) == 0, "".join(lines)
        reader.join()
        process.stdout.close()
        process.stderr.close()


def test_a_device_beside_a_token_is_said_to_count_for_nothing(server):
    process = tool("proxy", "--listen", "127.0.0.1:0", "--token", "e30.e30.e30", "--device", "car", "-s", f"lw://127.0.0.1:{server.tcp_port}")
    try:
        assert "--device counts beside --user alone" in process.stderr.readline()
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)


def curl(*words):
    return subprocess.Popen(["curl", "-sS", "--max-time", str(SECONDS), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_through_longwire_proxy_while_the_link_is_cut(server, back_end):
    back_end.gate.clear()
    with Link(server.tcp_port) as link, proxy(link) as (url, lines):
        asked = [curl("-d", f"order {number}", "-w", " %{http_code}", f"{url}/gated/{number}") for number in range(8)]
        wait_until(lambda: all(back_end.requests_of(f"/gated/{number}") for number in range(8)))
        link.down()
        back_end.gate.set()
        late = curl("-x", url, "http://shop.example/while-away")
        wait_until(lambda: "link lost" in "".join(lines))
        link.up()
        for number, process in enumerate(asked):
            assert process.communicate(timeout=SECONDS) == (f"POST /gated/{number} 200", "")
        assert late.communicate(timeout=SECONDS) == ("GET /while-away", "")
        assert all(len(back_end.requests_of(f"/gated/{number}")) == 1 for number in range(8))
        # Several requests on one connection; a large body that waits for 100 Continue; a key; what can't be carried.
        two = curl(f"{url}/a", f"{url}/b")
        assert two.communicate(timeout=SECONDS) == ("GET /aGET /b", "")
        body = "x" * 300000
        echoed = subprocess.run(["curl", "-sS", "-H", "Content-Type: text/x", "-d", "@-", f"{url}/echo"], input=body, capture_output=True,
                                text=True, timeout=SECONDS)
        assert echoed.stdout == body, echoed.stderr
        for _ in range(2):
            assert curl("-H", "Idempotency-Key: k1", f"{url}/keyed").communicate(timeout=SECONDS) == ("GET /keyed", "")
        assert [request["key"] for request in back_end.requests_of("/keyed")] == ["ann/car/k1"]
        # RFC 9110 8.6: the length behind HEAD is that of the answer to GET, or is not said.
        for path, length in [("/long", "Content-Length: 10\n"), ("/status/204", "")]:
            head, _ = curl("-I", f"{url}{path}").communicate(timeout=SECONDS)
            assert "".join(re.findall("(?i)content-length:.*\n", head)) == length, head
        refused = curl("-o", "/dev/null", "-w", "%{http_code}", "-X", "DELETE", f"{url}/a").communicate(timeout=SECONDS)
        assert refused == ("404", "")


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_who_leaves_the_proxy_cancels(server, back_end):
    back_end.gate.clear()
    with Link(server.tcp_port) as link, proxy(link) as (url, _):
        gone = curl(f"{url}/gated/1")
        wait_until(lambda: back_end.requests_of("/gated/1"))
        gone.kill()
        gone.communicate()
        with NativeClient(server.tcp_port, user="ann", device="car") as client:
            def cancelled():
                client.send({"type": "subscribe", "channel": "device:ann/car", "after": 0, "ref": 1})
                client.expect("subscribed")
                return True
            assert cancelled()
            assert '"status":499' in of_response(client.expect("full"))["payload"]
