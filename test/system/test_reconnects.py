"""Reconnects without a storm: the policy that clients are told, admission at a bounded rate with a time for each, the paced
drain of a node, and what a node says of itself."""
import contextlib
import json
import time

import pytest

from longwire_server import Server
from waiting import wait_until
from wire import Closed, Ndjson, Poll, Sse, Wire, Ws, fresh, metric, publish, publish_many, query_of, request, request_bytes

POLICY = {"base_ms": 1000, "factor": 2, "cap_ms": 60000, "jitter": 0.5}


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server(config="node = n1\nregion = eu\n") as server:
        yield server


# --- what a node says ----------------------------------------------------------------------------------------------

def test_the_policy_is_told(server):
    with Ws(server) as ws:
        assert ws.greeting["reconnect"] == POLICY
    with Server(config="reconnect_ms = 70s\nreconnect_factor_percent = 150\nreconnect_jitter_percent = 100\n") as other:
        with Ws(other) as ws:
            assert ws.greeting["reconnect"] == {"base_ms": 70000, "factor": 1.5, "cap_ms": 70000, "jitter": 1}


def test_a_node_alone_allocates_itself(server):
    answer = request(server, "GET", "/v1/allocate?user=ann&region=eu", host=f"localhost:{server.port}").want(200).json()
    assert answer == {"nodes": [{"node": "n1", "http": f"http://localhost:{server.port}", "region": "eu"}],
                      "heartbeat": 120, "reconnect": POLICY, "wait_ms": 0}
    assert request(server, "GET", "/v1/allocate?usr=ann").status == 400
    advertise = "advertise = https://push.example/lw, tcp://10.0.0.5:7400, push.example:8080, http://other\n"
    with Server(config=advertise) as other:
        node = request(other, "GET", "/v1/allocate").want(200).json()["nodes"][0]
        assert (node["http"], node["https"], node["tcp"]) == ("http://push.example:8080", "https://push.example/lw",
                                                             "tcp://10.0.0.5:7400")


def test_allocate_is_limited_per_address():
    with Server(config="loops = 1\n") as server:
        with Wire(server) as wire:
            wire.send(request_bytes("GET", "/v1/allocate") * 200)    # all at one moment
            answers = [wire.answer() for _ in range(200)]
        refused = [answer for answer in answers if answer.status == 429]
        assert 20 <= sum(answer.status == 200 for answer in answers) and refused
        assert all(1 <= int(answer.field("Retry-After")) <= 2 for answer in refused)


def test_allocate_needs_no_rights_and_nodes_do():
    keys = "[key ops]\nsecret = ops-secret-of-this-test\nrights = admin\n[key app]\nsecret = app-secret-of-this-test\n" \
           "rights = publish, subscribe\n"
    with Server(config=keys) as server:
        request(server, "GET", "/v1/allocate").want(200)
        assert request(server, "GET", "/v1/nodes").status == 401
        assert request(server, "POST", "/v1/nodes/n/drain", b"{}").status == 401
        app, ops = ({"authorization": f"Bearer {name}-secret-of-this-test"} for name in ("app", "ops"))
        assert request(server, "GET", "/v1/nodes", **app).status == 403
        name = request(server, "GET", "/v1/nodes", **ops).want(200).json()["nodes"][0]["node"]
        assert request(server, "POST", f"/v1/nodes/{name}/drain", b"{}", **app).status == 403
        assert request(server, "POST", f"/v1/nodes/{name}/drain", b"{}", **ops).status == 202


def test_nodes(server):
    with Ws(server):
        [node] = request(server, "GET", "/v1/nodes").want(200).json()["nodes"]
        assert {name: node[name] for name in ("node", "region", "roles", "state", "capacity")} == {
            "node": "n1", "region": "eu", "roles": ["access", "api", "router", "forward"], "state": "up", "capacity": node["capacity"]}
        assert node["connections"] >= 1 and node["seen"] > 1.6e12 and len(node["incarnation"]) == 16


# --- admission -----------------------------------------------------------------------------------------------------

RATE = 4    # fewer than come to a busy machine one by one
SLOW = f"loops = 1\nadmissions_per_s = {RATE}\nadmissions_burst = 10\n"


def put_off(ws):
    after = ws.frame("reconnect")["after"]
    assert ws.closing()[0] == 4008
    return after


def come(server, query):
    """A link that was let in; else the time after which it shall come again."""
    ws = Ws(server, query)
    frame = json.loads(ws.frame_text())
    if frame["type"] == "subscribed":
        return ws, None
    assert frame["type"] == "reconnect"
    assert ws.closing()[0] == 4008
    ws.wire.close()
    return None, frame["after"]


def test_a_crowd_comes_back_spread_and_no_publish_fails():  # threat 35
    crowd, channel = 22, fresh()
    with Server(config=SLOW) as server:
        publish(server, channel)
        links, due, told = [], [(0, number) for number in range(crowd)], []
        began = time.monotonic()
        while due:
            due.sort()
            when, number = due.pop(0)
            wait_until(lambda at=when: time.monotonic() - began >= at)
            ws, after = come(server, f"channel={channel}&after=0" if number % 2 else f"channel={channel}")
            if ws is not None:
                links.append(ws)
                continue
            told.append(after)
            due.append((time.monotonic() - began + after / 1000, number))
            assert publish(server, channel)["seq"]  # who publishes is not asked
        assert len(links) == crowd and told
        assert time.monotonic() - began >= (crowd - 10) / RATE * 0.9
        assert metric(server, "longwire_admissions_refused_total") == len(told)
        assert request(server, "GET", "/v1/allocate").want(200).json()["wait_ms"] >= 0
        for ws in links:
            ws.wire.close()


def test_every_transport_is_told_when_to_come_again():
    config = "loops = 1\nadmissions_per_s = 1\nadmissions_burst = 40\n"
    query = query_of(fresh())
    with Server(config=config) as server, contextlib.ExitStack() as stack:
        # When those who were here before have taken all of the burst, strangers wait until half of it is there again, for 20 s.
        while (known := come(server, query + "&after=0")[0]) is not None:
            stack.enter_context(known)
        answer = request(server, "GET", "/v1/subscribe?" + query, accept="application/x-ndjson")
        assert answer.status == 503 and int(answer.field("Retry-After")) >= 1 and "ms" in answer.json()["detail"]
        assert request(server, "GET", "/v1/subscribe?" + query, accept="application/json").status == 503
        answer = request(server, "GET", "/v1/subscribe?" + query, accept="text/event-stream").want(200)
        assert b"admissions_per_s" in answer.body and b"retry: " in answer.body
        with Ws(server) as ws:  # it is asked when it begins to follow
            ws.ask("publish", "published", channel=fresh(), data=1)
            ws.say("subscribe", channel=fresh())
            assert put_off(ws) > 0
        with Ws(server) as ws:
            ws.say("connect")
            assert put_off(ws) > 0
        assert request(server, "GET", "/v1/allocate").want(200).json()["wait_ms"] > 0


def test_who_comes_with_a_ticket_alone_was_here_before():
    """Half of the burst is kept for those: a stranger is put off first."""
    with Server(config="loops = 1\nadmissions_per_s = 1\nadmissions_burst = 8\n") as server:
        with Ws(server) as ws:
            ticket = ws.ask("connect", "connected", session=True, user="ann", device="phone")["ticket"]
        strangers = 0
        while True:
            with Ws(server) as ws:
                ws.say("connect", ref=1)
                if next(frame for frame in frames_of(ws) if frame.get("ref") == 1 or frame["type"] == "reconnect")["type"] == "reconnect":
                    break
            strangers += 1
        assert strangers >= 3
        with Ws(server) as ws:
            assert ws.ask("connect", "connected", session=True, ticket=ticket)["resumed"]


def test_who_names_a_place_in_subscribe_was_here_before():
    with Server(config="loops = 1\nadmissions_per_s = 1\nadmissions_burst = 8\n") as server, contextlib.ExitStack() as stack:
        def is_let_in(**place):
            ws = stack.enter_context(Ws(server))
            ws.say("subscribe", channel="topic:a", **place)
            return next(frame["type"] for frame in frames_of(ws) if frame["type"] in ("subscribed", "reconnect")) == "subscribed"
        while is_let_in():
            pass
        assert is_let_in(after=0)


def frames_of(ws):
    while True:
        yield json.loads(ws.frame_text())


def test_a_poll_that_goes_on_is_not_asked():
    channel = fresh()
    with Server(config="loops = 1\nadmissions_per_s = 1\nadmissions_burst = 2\n") as server:
        poll = Poll(server, query_of(channel))
        poll.settle()
        for number in range(10):
            publish(server, channel, str(number).encode())
            assert poll.next()["seq"] == number + 1
        poll.wire.close()


# --- drain ---------------------------------------------------------------------------------------------------------

def drain(server, body, node="n1"):
    return request(server, "POST", f"/v1/nodes/{node}/drain", json.dumps(body).encode())


@pytest.mark.parametrize("body", [{"per_second": 0}, {"seconds": 86401}, {"second": 5}, [], {"per_second": "many"}])
def test_what_is_no_drain(server, body):
    assert drain(server, body).status == 400
    assert drain(server, {}, node="n2").status == 404
    assert request(server, "GET", "/v1/nodes").want(200).json()["nodes"][0]["state"] == "up"


def test_a_drain_is_paced_and_everybody_resumes():  # threat 45
    count, channel, seconds = 60, fresh(), 3
    with Server(config="node = n1\nsse_retry_ms = 10\n") as server:
        publish_many(server, channel, [b"one", b"two"])
        links = [Ws(server, f"channel={channel}&after=0") for _ in range(count)]
        stream, lines = Sse(server, query_of(channel)), Ndjson(server, query_of(channel))
        for ws in links:
            assert [ws.next()["seq"], ws.next()["seq"]] == [1, 2]
        began = time.monotonic()
        answer = drain(server, {"seconds": seconds})
        assert answer.status == 202 and answer.json()["nodes"][0]["state"] == "draining"
        assert request(server, "GET", "/readyz/read").status == 503  # new readers go elsewhere at once …
        assert request(server, "GET", "/readyz/publish").status == 200
        assert request(server, "GET", "/v1/allocate").want(200).json()["nodes"] == []
        while (told := metric(server, "longwire_drained_total")) < count:
            passed = time.monotonic() - began  # … and those who are here leave evenly
            assert told <= (count + 2) * passed / seconds + 1, (told, passed)
            publish(server, channel, b"under way")
        for ws in links:
            assert ws.frame("reconnect")["after"] >= 500
            assert ws.closing()[0] == 1001
            ws.wire.close()
        for reader in (stream, lines):
            with pytest.raises(Closed):
                while True:
                    reader.next()
            reader.wire.close()
        wait_until(lambda: request(server, "GET", "/readyz").status == 503)
        assert request(server, "GET", "/v1/subscribe?" + query_of(channel), accept="application/json").status == 503
        with Ws(server, query_of(channel)) as ws:
            ws.frame("reconnect")
            assert ws.closing()[0] == 1001
        server.stop()
        server.restart()
        with Ws(server, f"channel={channel}&after=1") as ws:  # from its place, on whichever node takes it
            assert ws.next()["seq"] == 2


def test_a_drain_by_the_second():
    with Server(config="node = n1\n") as server:
        links = [Ws(server, query_of(fresh())) for _ in range(10)]
        began = time.monotonic()
        assert drain(server, {"per_second": 5}).status == 202
        wait_until(lambda: metric(server, "longwire_drained_total") == 10)
        assert time.monotonic() - began >= 1
        for ws in links:
            ws.wire.close()
