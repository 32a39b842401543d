"""Requests of clients to back ends, with a real HTTP server behind: each has exactly one answer, in the log of its device, whatever
becomes of the server and of the back end."""
import base64
import contextlib
import http.server
import json
import signal
import socket
import threading
import urllib.parse

import pytest

import cluster_cuts
from back_end import BackEnd as CountingBackEnd
from cluster import Cluster
from longwire_client import Api
from longwire_server import Server, is_built
from native_wire import BinSocket, NativeClient
from nginx_back_end import NginxBackEnd
from nginx_cuts import run_cuts
from waiting import SECONDS, wait_until
from wire import Ws, metric

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

JSON = {"Content-Type": "application/json"}


class BackEnd:
    """An HTTP server that notes what it is sent. A path says what it does: /gate waits until open() is called."""

    def __init__(self):
        self.seen, self.gate = [], threading.Event()
        back_end = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                back_end.seen.append((self.command, self.path, dict(self.headers.items()), body))
                if self.path.startswith("/gate"):
                    back_end.gate.wait(SECONDS)
                back_end.answer(self, body)

            do_GET = do_POST = do_PUT = do_DELETE = do

            def log_message(self, *_):
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @staticmethod
    def answer(handler, body):
        what = urllib.parse.urlsplit(handler.path).path
        out, status, fields = body or b"hello", 200, {"Content-Type": handler.headers.get("Content-Type") or "text/plain"}
        if what == "/json":
            out, fields = b'{"a":[1]}', {"Content-Type": "application/json"}
        elif what == "/octets":
            out, fields = b"\xff\x00", {"Content-Type": "application/octet-stream"}
        elif what == "/redirect":
            status, fields = 302, {"Location": "http://169.254.169.254/latest/meta-data"}
        elif what == "/publish":
            fields["Longwire-Publish"] = urllib.parse.unquote(urllib.parse.urlsplit(handler.path).query) or "topic:prices"
        elif what == "/follow":
            fields["Longwire-Subscribe"] = "topic:a, topic:b%2Cc"
            fields["Longwire-Unsubscribe"] = "topic:d"
        handler.send_response(status)
        for name, value in fields.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(out)))
        handler.end_headers()
        handler.wfile.write(out)

    def count(self, path):
        return sum(seen[1] == path for seen in self.seen)

    def close(self):
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(name="back_end")
def a_back_end():
    with contextlib.closing(BackEnd()) as back_end:
        yield back_end


def config(back_end):
    return (f"loops = 2\n[backend app]\nurl = {back_end.url}\ntimeout_s = 60\n"
            "[uplink twice]\npath = /gate/twice\nbackend = app\ndelivery = at_least_once\n"
            "[uplink all]\npath = /**\nbackend = app\nheaders = Accept\n")


@pytest.fixture(name="server")
def a_server(back_end):
    with Server(config=config(back_end)) as server:
        yield server


def send(server, request_id, path, method="GET", device="phone", wait=None, **members):
    with contextlib.closing(Api(server.url)) as api:
        status, _, body = api.call("POST", f"/v1/request?user=ann&device={device}",
                                   json.dumps({"id": request_id, "method": method, "path": path, **members}),
                                   {**JSON, **({"Prefer": f"wait={wait}"} if wait else {})})
    return status, json.loads(body)


def responses(server, device="phone"):
    with contextlib.closing(Api(server.url)) as api:
        return [entry for entry in api.history_all(f"device:ann/{device}") if entry["type"] == "response"]


def response_of(server, request_id):
    wait_until(lambda: any(entry["request"] == request_id for entry in responses(server)), f"the response to {request_id}")
    found = [entry for entry in responses(server) if entry["request"] == request_id]
    assert len(found) == 1
    return found[0]


def test_an_answer_is_a_message_of_the_devices_log(server, back_end):
    assert send(server, "r1", "/hello?x=1", type="request", headers={"Accept": "a/b", "Longwire-User": "root", "X-Forwarded-For": "8.8.8.8",
                                                     "X-Other": "dropped"}) == (202, {"id": "r1", "channel": "device:ann/phone"})
    response = response_of(server, "r1")
    assert response["status"] == 200 and response["body"] == "hello" and response["channel"] == "device:ann/phone"
    _, path, headers, _ = back_end.seen[0]
    assert path == "/hello?x=1" and headers["Accept"] == "a/b" and "X-Other" not in headers
    assert headers["Longwire-User"] == "ann" and headers["Longwire-Device"] == "phone"
    assert headers["Idempotency-Key"] == "ann/phone/r1" and headers["X-Forwarded-For"] == "127.0.0.1"
    assert len(headers["traceparent"]) == 55


def test_who_waits_is_answered_here(server):
    status, response = send(server, "w1", "/json", wait=SECONDS)
    assert status == 200 and response["body"] == {"a": [1]} and response["request"] == "w1"
    status, response = send(server, "w2", "/octets", wait=SECONDS)
    assert status == 200 and response["body_base64"] == "/wA="
    status, response = send(server, "w3", "/redirect", wait=SECONDS)
    assert response["status"] == 302 and response["headers"]["Location"].startswith("http://169.254.169.254/")


def refusals_of_a_link(server, count):
    """Sends so many requests at once; the errors that come, each with the id of its request."""
    with Ws(server, "user=ann&device=phone") as link:
        for number in range(count):
            link.say("request", id=f"r{number}", method="GET", path="/hello")
        told, errors = set(), []
        while len(told) + len(errors) < count:
            frame = json.loads(link.frame_text())
            if frame["type"] == "accepted":
                told.add(frame["id"])
            elif frame["type"] == "error":
                errors.append(frame)
        assert told | {frame["id"] for frame in errors} == {f"r{number}" for number in range(count)}
        link.say("ping")
        while (frame := json.loads(link.frame_text()))["type"] != "pong":
            assert frame["type"] == "response", frame  # of what was accepted, whenever the back end has answered
    return errors


# Threat 36.
def test_a_user_sends_so_many_requests_a_second(back_end):
    limit = "requests_per_user_per_s = 1\n"
    with Server(config=limit + config(back_end)) as server, contextlib.closing(Api(server.url)) as api:
        def post(user, number):
            body = json.dumps({"id": f"p{number}", "method": "GET", "path": "/hello"})
            return api.call("POST", f"/v1/request?user={user}&device=d", body, JSON)

        errors = refusals_of_a_link(server, 30)
        assert errors and all(frame["code"] == 429 and "requests_per_user_per_s" in frame["reason"] for frame in errors)
        refused = next(answer for answer in (post("bob", number) for number in range(1000)) if answer.status != 202)
        assert refused.status == 429 and refused.headers["Retry-After"] == "1" and "requests_per_user_per_s" in refused.json["detail"]
        assert post("carl", 1).status == 202
        (server.home / "longwired.conf").write_text(config(back_end))
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "event=reloaded" in server.log(), "the new configuration")
        assert all(post("bob", number).status == 202 for number in range(2000, 2030))


# Threat 60.
def test_a_repeated_id_is_one_request(server, back_end):
    assert send(server, "i1", "/gate/a")[0] == 202
    wait_until(lambda: back_end.count("/gate/a") == 1, "the call")
    assert send(server, "i1", "/gate/a")[0] == 202
    assert send(server, "i1", "/gate/b")[0] == 422
    back_end.gate.set()
    first = response_of(server, "i1")
    status, again = send(server, "i1", "/gate/a")
    assert status == 200 and again.pop("replayed") is True and again == first
    assert send(server, "i1", "/gate/b")[0] == 422
    server.kill()
    server.start()
    status, again = send(server, "i1", "/gate/a")
    assert status == 200 and again.pop("replayed") is True and again == first
    assert back_end.count("/gate/a") == 1


def test_a_crash_while_the_back_end_thinks(server, back_end):
    assert send(server, "once", "/gate/once")[0] == 202 and send(server, "twice", "/gate/twice")[0] == 202
    wait_until(lambda: back_end.count("/gate/once") + back_end.count("/gate/twice") == 2, "the calls")
    server.kill()
    back_end.gate.set()
    server.start()
    unknown = response_of(server, "once")
    assert unknown["status"] == 504 and unknown["headers"]["Longwire-Outcome"] == "unknown"
    assert response_of(server, "twice")["status"] == 200
    assert back_end.count("/gate/once") == 1 and back_end.count("/gate/twice") == 2
    keys = {headers["Idempotency-Key"] for _, path, headers, _ in back_end.seen if path == "/gate/twice"}
    assert keys == {"ann/phone/twice"}
    server.kill()
    server.start()
    assert len(responses(server)) == 2


def test_instructions_of_an_answer(server):
    status, response = send(server, "p1", "/publish", method="POST", body="a price", wait=SECONDS)
    assert status == 200 and response["status"] == 200 and "body" not in response
    with contextlib.closing(Api(server.url)) as api:
        assert [entry["data"] for entry in api.history_all("topic:prices")] == ["a price"]
    response = send(server, "p2", "/follow", wait=SECONDS)[1]
    assert response["subscribe"] == ["topic:a", "topic:b,c"] and response["unsubscribe"] == ["topic:d"]
    assert not any(name.lower().startswith("longwire-") for name in response["headers"])


@pytest.mark.parametrize("channel, body, words", [
    ("topic:prices", '{"broken"', "declared JSON but isn't"), ("sys:control", "{}", "see the policy"), ("conn:0123456789abcdef", "{}", "see the policy"),
    ("nowhere:x", "{}", "can't exist"), ("topic:a, topic:b", "{}", "may name one"),
])
def test_an_answer_that_cannot_be_published_says_why(server, channel, body, words):
    path = "/publish?" + urllib.parse.quote(channel, safe="")
    response = send(server, "p1", path, method="POST", headers={"Content-Type": "application/json"},
                    body_base64=base64.b64encode(body.encode()).decode(), wait=SECONDS)[1]
    assert response["status"] == 502 and words in response["body"]["detail"]


class Rude:
    """Answers each connection with these bytes; None: never."""

    def __init__(self, *pieces, pause=0.0):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.pieces, self.pause, self.over = pieces, pause, threading.Event()
        threading.Thread(target=self.run, daemon=True).start()

    def serve(self, link):
        with link, contextlib.suppress(OSError):
            link.recv(65536)
            for piece in self.pieces:
                link.sendall(piece)
                self.over.wait(self.pause)
            if not self.pieces:
                self.over.wait(SECONDS)

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=(self.listener.accept()[0],), daemon=True).start()

    def close(self):
        self.over.set()
        self.listener.close()


def resident(server):
    with open(f"/proc/{server.pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * 4096


# Threat 59.
def test_a_back_end_that_misbehaves(back_end):
    long_head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n"
    rude = {"silent": (504, Rude()), "garbage": (502, Rude(b"\0\1\2 this is no HTTP\r\n\r\n")),
            "early": (502, Rude(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")),
            "huge": (502, Rude(long_head, *[b"x" * 1000000] * 100)),
            "drip": (504, Rude(*[bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000], pause=0.1)),
            "down": (502, Rude())}
    rude["down"][1].close()
    sections = "".join(f"[backend {name}]\nurl = {server.url}\ntimeout_s = {1 if status == 504 else 60}\n"
                       f"[uplink {name}]\npath = /{name}\nbackend = {name}\n" for name, (status, server) in rude.items())
    with Server(config=f"loops = 2\n{sections}" + config(back_end).replace("loops = 2\n", "")) as server:
        before = resident(server)
        for name in rude:
            assert send(server, name, f"/{name}")[0] == 202
        assert send(server, "fine", "/hello", wait=SECONDS)[1]["status"] == 200
        for name, (status, _) in rude.items():
            response = response_of(server, name)
            assert response["status"] == status and response["body"]["detail"], name
        assert resident(server) - before < 64 << 20
    for _, one in rude.values():
        one.close()


def test_cancel_and_stop(server, back_end):
    """A stop does not wait for a back end that does not answer, and nobody is left waiting."""
    waiting = []
    thread = threading.Thread(target=lambda: waiting.append(send(server, "s1", "/gate/s", wait=SECONDS)))
    thread.start()
    wait_until(lambda: back_end.count("/gate/s") == 1, "the call")
    with Ws(server, "user=bob") as nameless:    # its response would go to conn:KEY
        nameless.ask("request", "accepted", id="n1", method="GET", path="/gate/n")
    server.stop()
    thread.join(SECONDS)
    assert waiting and waiting[0][0] == 202
    server.start()
    assert response_of(server, "s1")["status"] == 504


def test_a_link_without_a_device_is_answered_again(server, back_end):
    with Ws(server, "user=bob") as link:
        link.ask("request", "accepted", id="n", method="GET", path="/gate/n")
        back_end.gate.set()
        first = link.frame("response")
        assert first["channel"].startswith("conn:") and first["status"] == 200
        again = link.ask("request", "response", id="n", method="GET", path="/gate/n")
        assert again.pop("replayed") is True and again == first
        assert link.ask("request", "error", id="n", method="GET", path="/gate/other")["code"] == 422
        assert back_end.count("/gate/n") == 1 and back_end.count("/gate/other") == 0


class JsonLink:
    """The frames of a WebSocket in JSON, with the words of native_wire."""

    def __init__(self, server, query):
        self.link = Ws(server, query)

    def __enter__(self):
        self.link.__enter__()
        return self

    def __exit__(self, *why):
        self.link.__exit__(*why)

    def send(self, frame):
        members = dict(frame)
        self.link.say(members.pop("type"), id=members.pop("request"), **members)

    def next(self):
        frame = json.loads(self.link.frame_text())
        return frame if frame["type"] != "accepted" else {"type": "accepted", "request": frame["id"]}


# How a client is linked: by a token that names nobody's device, or one that does.
LINKS = {
    "json": lambda server: JsonLink(server, "user=ann"), "json-device": lambda server: JsonLink(server, "user=ann&device=phone"),
    "binary": lambda server: BinSocket(server, "user=ann"), "binary-device": lambda server: BinSocket(server, "user=ann&device=phone"),
    "native": lambda server: NativeClient(server.tcp_port, user="ann"),
    "native-device": lambda server: NativeClient(server.tcp_port, user="ann", device="phone"),
}


def next_of(link, *kinds):
    """The next frame of these kinds, as far as others may come between."""
    while (frame := link.next())["type"] not in kinds:
        assert frame["type"] in ("connected", "subscribed"), frame
    return frame


def ask_and_be_answered(link, number, path):
    link.send({"type": "request", "request": f"r{number}", "method": "GET", "path": path})
    accepted = next_of(link, "accepted", "full", "response")
    assert accepted["type"] == "accepted" and accepted["request"] == f"r{number}"
    response = next_of(link, "accepted", "full", "response")
    assert response["type"] != "accepted"
    return response


@pytest.mark.parametrize("how", LINKS)
def test_accepted_leaves_with_the_response_of_a_quick_back_end(how):
    """It is told before, and what is sent is counted: fewer writes than frames."""
    with NginxBackEnd() as back_end, Server(config=config(back_end)) as server, LINKS[how](server) as link:
        first = ask_and_be_answered(link, 0, "/hello")
        assert first["channel"].startswith("device:ann/phone" if how.endswith("-device") else "conn:")
        before, asked = metric(server, "longwire_sends_total"), 0
        while metric(server, "longwire_sends_total") - before >= 2 * asked - 1:  # the last may have come before it is counted
            assert asked < 5000, "no request had both frames in one write"
            for _ in range(10):
                asked += 1
                ask_and_be_answered(link, asked, "/hello")


@pytest.mark.parametrize("how", LINKS)
def test_accepted_does_not_wait_for_a_slow_back_end(how, server, back_end):
    with LINKS[how](server) as link:
        link.send({"type": "request", "request": "slow", "method": "GET", "path": "/gate/slow"})
        assert next_of(link, "accepted", "full", "response") == {"type": "accepted", "request": "slow"}
        back_end.gate.set()
        assert next_of(link, "accepted", "full", "response")["type"] != "accepted"


def test_a_stop_leaves_what_may_be_sent_again(server, back_end):
    assert send(server, "twice", "/gate/twice")[0] == 202
    wait_until(lambda: back_end.count("/gate/twice") == 1, "the call")
    server.stop()
    assert responses(server.start()) == []
    back_end.gate.set()
    assert response_of(server, "twice")["status"] == 200
    assert back_end.count("/gate/twice") == 2


# What can't be sent is refused in words, and nothing of it is kept: the same id is good for another request.
REFUSED = [
    (400, "segment", {"path": "/a/../b"}), (400, "encoded slash", {"path": "/a%2Fb"}), (400, "`path` is", {"path": "http://a/b"}),
    (400, "capitals", {"method": "get"}), (400, "one of `body`", {"body": 1, "body_base64": ""}), (400, "did you mean", {"boddy": 1}),
    (400, "`type` is", {"type": "publish"}),
    (400, "line break", {"headers": {"A": "1\n2"}}), (400, "600000", {"timeout_ms": 600001}),
    (403, "`allow`", {"path": "/closed"}), (404, "[uplink]", {"path": "/small", "method": "GET"}),
    (413, "body_bytes_max", {"path": "/small", "body": "x" * 11}),
]


def test_what_is_refused(back_end):
    config = (f"responses_bytes_max = 64K\n[backend app]\nurl = {back_end.url}\n[uplink closed]\npath = /closed\nbackend = app\nallow = nobody\n"
              "[uplink small]\nmethods = POST\npath = /small\nbackend = app\nbody_bytes_max = 10\n[uplink all]\npath = /all/**\nbackend = app\n")
    with Server(config=config) as server:
        for code, words, members in REFUSED:
            status, problem = send(server, "r1", **{"method": "POST", "path": "/all/x", **members})
            assert status == code and words in problem["detail"], (members, status, problem)
        with contextlib.closing(Api(server.url)) as api:
            for named, query, words in (("car", "&device=phone", "leave one out"), ("a/b", "", "no device's name"), ("", "", "name the device")):
                answer = api.call("POST", f"/v1/request?user=ann{query}",
                                  json.dumps({"id": "r1", "method": "GET", "path": "/all/x", "device": named}), JSON)
                assert answer.status == 400 and words in json.loads(answer.body)["detail"], answer.body
        assert back_end.seen == [] and responses(server) == []
        for name in ("r1", "r2"):
            assert send(server, name, "/all/long", method="POST", body="x" * 60000, wait=SECONDS)[1]["status"] == 200
        status, problem = send(server, "r1", "/all/long", method="POST", body="x" * 60000)
        assert (status, problem["title"]) == (410, "Gone")


def wait_and_cancel_on_another_node(one, two, three, back_end):
    assert send(one, "w1", "/gate/w")[0] == 202
    assert send(two, "w1", "/gate/w", wait=1)[0] == 202
    waiting = [threading.Thread(target=lambda node=node: told.append(send(node, "w1", "/gate/w", wait=SECONDS)))
               for node in (two, three)]
    told = []
    for thread in waiting:
        thread.start()
    back_end.gate.set()
    for thread in waiting:
        thread.join(SECONDS)
    first = response_of(one, "w1")
    assert [(status, response["id"], response["body"]) for status, response in told] == [(200, first["id"], "hello")] * 2

    back_end.gate.clear()
    assert send(one, "x1", "/gate/x")[0] == 202
    wait_until(lambda: back_end.count("/gate/x") == 1, "the call")
    with Ws(two, "user=ann&device=phone") as link:
        link.say("cancel", id="x1")
        assert response_of(three, "x1")["status"] == 499
        back_end.gate.set()
        assert send(one, "after", "/hello", wait=SECONDS)[0] == 200
        link.say("cancel", id="after")  # it was answered: nothing happens
        assert link.ask("ping", "pong")
    assert [entry["status"] for entry in responses(three) if entry["request"] in ("x1", "after")] == [499, 200]
    assert back_end.count("/gate/w") == back_end.count("/gate/x") == 1


def cut_links_and_kill_a_node(cluster, shop):
    """cluster_cuts.py does the same with 10,000 requests over 200 links."""
    found = cluster_cuts.run(cluster, shop, requests=120, links=12, kills=1, seed=1, deliveries=cluster_cuts.DELIVERIES)
    assert not found["faults"] and found["answered"] == 120, found


# Threat 60, beyond one node.
def test_other_nodes_know_an_id_and_answer_for_a_node_that_is_gone(back_end):
    own = config(back_end).removeprefix("loops = 2\n")
    with CountingBackEnd() as shop, Cluster(config=cluster_cuts.CONFIG.format(url=shop.url) + own) as cluster:
        cut_links_and_kill_a_node(cluster, shop)
        one, two, three = cluster.nodes
        wait_and_cancel_on_another_node(one, two, three, back_end)
        back_end.gate.clear()
        assert send(one, "c1", "/gate/c")[0] == 202
        wait_until(lambda: back_end.count("/gate/c") == 1, "the call")
        assert send(two, "c1", "/gate/c")[0] == 202 and send(two, "c1", "/gate/d")[0] == 422
        back_end.gate.set()
        first = response_of(three, "c1")
        status, again = send(two, "c1", "/gate/c")
        assert status == 200 and again.pop("replayed") is True and again == first
        assert back_end.count("/gate/c") == 1

        back_end.gate.clear()
        assert send(one, "once", "/gate/once")[0] == 202 and send(one, "twice", "/gate/twice")[0] == 202
        wait_until(lambda: back_end.count("/gate/once") + back_end.count("/gate/twice") == 2, "the calls")
        one.kill()
        back_end.gate.set()
        unknown = response_of(two, "once")
        assert unknown["status"] == 504 and unknown["headers"]["Longwire-Outcome"] == "unknown"
        assert response_of(three, "twice")["status"] == 200
        assert back_end.count("/gate/once") == 1 and back_end.count("/gate/twice") == 2
        assert [entry["request"] for entry in responses(two)].count("once") == 1


def test_links_that_are_cut_at_random():
    """nginx_cuts.py does the same with 10,000 requests over 200 links."""
    assert run_cuts(requests=400, links=20) > 0
