"""Limits of use: how much one connection, user, API key or address may have, over all doors. What is above a limit is answered
429 with `Retry-After`, on links `error` 429 and close 4008 for who goes on regardless; the others notice nothing."""
import contextlib
import http.client
import json
import re
import time

import pytest

from client_driver import C, JAVASCRIPT, Driver
from h2_link import H2Link
from longwire_server import Server
from native_link import NativeLink
from native_wire import NativeClient
from test_reload import Reloadable
from waiting import SECONDS, wait_until
from wire import Ndjson, Wire, Ws, fresh, path_of, publish, request, request_bytes

PUBLISHES = ("publishes_per_connection_per_s", "publishes_per_user_per_s", "publishes_per_key_per_s")
KEY = {"authorization": "Bearer app-secret-of-this-test"}
KEYS = "[key app]\nsecret = app-secret-of-this-test\nrights = publish, subscribe\n" \
       "[key other]\nsecret = other-secret-of-this-test\nrights = publish, subscribe\n" \
       "[key ops]\nsecret = ops-secret-of-this-test\nrights = admin\n"
FLOOD = 300     # at one a second: a machine would have to stand still for minutes to let all of them through


def refusals(server, limit, wire=None):
    """Over this wire; else over a connection of its own."""
    ask = wire.ask if wire else lambda *words, **fields: request(server, *words, **fields)
    text = ask("GET", "/metrics", authorization="Bearer ops-secret-of-this-test").want(200).body.decode()
    return int(re.search(rf'longwire_limit_refusals_total{{limit="{limit}"}} (\d+)\n', text)[1])


def limited(limit, value=1):
    return Server(config=f"{limit} = {value}\n" + (KEYS if "key" in limit else ""))


def sender_of(limit):
    """The query and the fields that say who publishes, for whom the limit counts."""
    if "user" in limit:
        return "?user=ann", {}
    return "", KEY if "key" in limit else {}


def want_429(answer, limit):
    problem = answer.want_problem(429)
    assert limit in problem["detail"] and int(answer.field("Retry-After")) >= 1
    return problem


# --- publishes -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("limit", PUBLISHES)
def test_publishes_over_http(limit):
    query, fields = sender_of(limit)
    with limited(limit) as server, Wire(server) as wire:
        channel = fresh()
        one = request_bytes("POST", path_of(channel) + "/messages" + query, b"x", **fields)
        wire.send(one * FLOOD)
        answers = [wire.answer() for _ in range(FLOOD)]
        assert answers[0].status == 201
        refused = [answer for answer in answers if answer.status == 429]
        assert refused and all(answer.status in (201, 429) for answer in answers)
        want_429(refused[0], limit)
        assert refusals(server, limit) == len(refused)
        wait_until(lambda: f"limit_reached limit={limit} value=1" in server.log())


@pytest.mark.parametrize("limit", PUBLISHES)
def test_publishes_over_http2(limit):
    """The streams of one connection count together."""
    query, fields = sender_of(limit)
    with limited(limit) as server, H2Link("127.0.0.1", server.port) as link:
        target  = path_of(fresh()) + "/messages" + query
        streams = [link.request("POST", target, b"x", headers=list(fields.items())) for _ in range(50)]
        link.wait(lambda: all(stream.is_ended for stream in streams))
        refused = [stream for stream in streams if stream.status == 429]
        assert streams[0].status == 201 and refused and all(stream.status in (201, 429) for stream in streams)
        assert limit.encode() in refused[0].body and int(refused[0].headers["retry-after"]) >= 1


@pytest.mark.parametrize("limit", PUBLISHES)
def test_each_message_of_a_batch_counts(limit):
    """All of them are judged at one moment: exactly the first second's worth is taken."""
    query, fields = sender_of(limit)
    with limited(limit, 3) as server:
        channel  = fresh()
        messages = [{"channel": channel, "data": "a"}, {"channels": [channel, channel], "data": "b"}] \
            + [{"channel": channel, "data": "c"}] * 4
        body = json.dumps({"messages": messages}).encode()
        results = request(server, "POST", "/v1/messages" + query, body, content_type="application/json", **fields) \
            .want(200).json()["results"]
        assert [result["status"] for result in results] == [201, 207, 429, 429, 429, 429]
        assert [result["status"] for result in results[1]["results"]] == [201, 201]
        assert limit in results[2]["detail"]
        assert refusals(server, limit) == 4


LINKS = {"websocket": Ws, "native": NativeLink}


def link_query(limit):
    return "user=ann" if "user" in limit else ""


def open_link(kind, server, limit):
    """A link of the one for whom the limit counts."""
    if kind == "websocket":
        return Ws(server, link_query(limit), **(KEY if "key" in limit else {}))
    link = NativeLink(server)
    if "user" in limit:
        link.said_connect = link.ask("connect", "connected", user="ann")
    if "key" in limit:
        link.said_connect = link.ask("connect", "connected", token="app-secret-of-this-test")
    return link


@pytest.mark.parametrize("limit", PUBLISHES)
@pytest.mark.parametrize("kind", LINKS)
def test_publishes_over_links(kind, limit):
    """Who waits for the answers, and then as long as told, is let in again."""
    with limited(limit) as server, open_link(kind, server, limit) as link:
        channel = fresh()
        for number in range(FLOOD):
            link.say("publish", channel=channel, data="x", ref=number)
            answer = json.loads(link.frame_text())
            assert answer["ref"] == number
            if answer["type"] == "error":
                break
        assert answer["code"] == 429 and limit in answer["reason"]
        time.sleep(int(re.search(r"try again in ([0-9]+) ms", answer["reason"])[1]) / 1000)   # the client's pause
        assert link.ask("publish", "published", channel=channel, data="x", ref=999)["ref"] == 999


@pytest.mark.parametrize("limit", PUBLISHES)
@pytest.mark.parametrize("kind", LINKS)
def test_a_link_that_goes_on_regardless_is_closed(kind, limit):
    """Threat 36: a flood is told, then put off; it costs no more answers than the limit allows."""
    with limited(limit) as server, open_link(kind, server, limit) as link:
        try:
            for number in range(FLOOD):
                link.say("publish", channel="topic:flood", data="x", ref=number)
        except OSError:
            pass    # it was closed meanwhile
        seen = []
        while not seen or seen[-1]["type"] != "reconnect":
            seen.append(json.loads(link.frame_text()))
        assert [frame["type"] for frame in seen[-2:]] == ["error", "reconnect"]
        assert seen[-2]["code"] == 429 and seen[-1]["after"] >= 0
        code, reason = link.closing()
        assert code == 4008 and limit in reason
        assert 10 <= refusals(server, limit) < FLOOD


def test_a_user_counts_once_over_all_doors():
    """Threat 36, too: other users and publishers are not refused for it."""
    limit = "publishes_per_user_per_s"
    with limited(limit) as server, Ws(server, "user=ann") as one, Ws(server, "user=ann") as other, \
            Ws(server, "user=bob") as bob:
        channel = fresh()
        for number in range(FLOOD):
            for link in (one, other):
                link.say("publish", channel=channel, data="x", ref=number)
            if 429 in [json.loads(link.frame_text()).get("code") for link in (one, other)]:
                break
        else:
            raise AssertionError("two links of one user publish twice as much")
        assert bob.ask("publish", "published", channel=channel, data="x")["seq"]
        publish(server, channel)   # nobody's


def test_keys_do_not_count_for_each_other():
    limit = "publishes_per_key_per_s"
    with limited(limit) as server:
        channel = fresh()
        other = {"authorization": "Bearer other-secret-of-this-test"}
        while request(server, "POST", path_of(channel) + "/messages", b"x", **KEY).status != 429:
            pass
        request(server, "POST", path_of(channel) + "/messages", b"x", **other).want(201)


def test_a_reload_changes_a_limit():
    with Reloadable("publishes_per_user_per_s = 1\n") as server:
        target = path_of(fresh()) + "/messages?user=ann"
        while request(server, "POST", target, b"x").status != 429:
            pass
        server.reload("")
        for _ in range(20):
            request(server, "POST", target, b"x").want(201)


# --- connections of an address -------------------------------------------------------------------------------------

def test_connections_of_an_address():
    """All doors count together. One that is too many is told why, and a place that is left is free again."""
    limit = "connections_per_address_max"
    with Reloadable(f"{limit} = 3\n") as server, Wire(server) as first:
        # connections of the start may not be closed yet
        wait_until(lambda: "longwire_http_connections 1\n" in first.ask("GET", "/metrics").body.decode())
        with Ws(server), NativeLink(server) as native:
            assert native.greeting
            answer = want_429(request(server, "GET", "/healthz"), limit)
            assert "3" in answer["detail"]
            want_429(request(server, "GET", "/v1/subscribe?channel=topic:a"), limit)
            client = NativeClient(server.tcp_port, connect=False)
            error, closing = client.expect("error"), client.expect("closing")
            assert error["code"] == 429 and closing["code"] == 4008 and limit in closing["reason"]
            assert client.next() is None
            client.close()
            assert first.ask("GET", "/healthz").status == 200
            server.reload("")
            request(server, "GET", "/healthz").want(200)
            server.reload(f"{limit} = 3\n")
            want_429(request(server, "GET", "/healthz"), limit)
        wait_until(lambda: request(server, "GET", "/healthz").status == 200)
        assert refusals(server, limit, first) >= 3    # of those that have left some may still be counted


def test_connects_of_an_address():
    limit = "connects_per_address_per_s"
    with limited(limit) as server:
        for _ in range(FLOOD):
            answer = request(server, "GET", "/healthz")
            if answer.status == 429:
                break
        want_429(answer, limit)
        wait_until(lambda: request(server, "GET", "/healthz").status == 200)


# --- links of a user -----------------------------------------------------------------------------------------------

def test_links_of_a_user():
    """WebSockets, native links, streams and polls count together; who leaves makes room; others notice nothing."""
    limit = "connections_per_user_max"
    with limited(limit, 2) as server, Ws(server, "user=bob") as bob:
        with NativeLink(server) as native, Ndjson(server, "user=ann&channel=topic:a") as stream:
            native.said_connect = native.ask("connect", "connected", user="ann")
            stream.settle()
            want_429(request(server, "GET", "/v1/ws?user=ann", upgrade="websocket", connection="upgrade",
                             sec_websocket_version="13", sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ=="), limit)
            want_429(request(server, "GET", "/v1/subscribe?user=ann&channel=topic:a"), limit)
            events = request(server, "GET", "/v1/subscribe?user=ann&channel=topic:a", accept="text/event-stream")
            assert events.status == 200 and b"retry: 5000" in events.body    # an EventSource gives up after 429
            for link in (Ws(server), NativeLink(server)):
                with link:
                    link.say("connect", user="ann", ref=1)
                    error = json.loads(link.frame_text())
                    assert (error["type"], error["code"], error["ref"]) == ("error", 429, 1) and limit in error["reason"]
                    assert link.frame("reconnect")["after"] == 5000
                    assert link.closing()[0] == 4008
            request(server, "POST", path_of(fresh()) + "/messages?user=ann", b"x").want(201)    # no link
        with Ws(server) as link:
            wait_until(lambda: request(server, "GET", "/v1/subscribe?user=ann&channel=topic:a&wait=0").status == 200)
            link.said_connect = link.ask("connect", "connected", user="ann")
            link.ask("connect", "connected", user="ann")     # it is counted already
        assert bob.ask("publish", "published", channel="topic:a", data="x")
        assert refusals(server, limit) >= 5


def test_a_ticket_finds_room():
    """A device whose link broke comes back before the server has noticed."""
    with limited("connections_per_user_max", 1) as server, Ws(server) as first:
        ticket = first.ask("connect", "connected", user="ann", device="phone", session=True)["ticket"]
        with Ws(server) as second:
            assert second.ask("connect", "connected", ticket=ticket)["resumed"]


# --- subscribes ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", LINKS)
def test_subscribes_over_links(kind):
    """Threat 78: who subscribes without end is told, and then closed; what it follows before that goes on."""
    limit = "subscribes_per_connection_per_s"
    with limited(limit, 2) as server, open_link(kind, server, limit) as link:
        try:
            for number in range(FLOOD):
                link.say("subscribe", channel=f"topic:many-{number}", ref=number)
        except OSError:
            pass    # it was closed meanwhile
        seen = []
        while not seen or seen[-1]["type"] != "reconnect":
            seen.append(json.loads(link.frame_text()))
        kinds = {frame["type"] for frame in seen}
        assert {"error", "reconnect"} <= kinds <= {"subscribed", "error", "reconnect"}
        assert all(frame["code"] == 429 and limit in frame["reason"] for frame in seen if frame["type"] == "error")
        assert link.closing()[0] == 4008


def test_subscribes_over_http():
    limit = "subscribes_per_connection_per_s"
    with limited(limit) as server, Wire(server) as wire:
        poll = request_bytes("GET", "/v1/subscribe?channel=topic:a&last=0&wait=0")
        wire.send(poll * FLOOD)
        answers = [wire.answer() for _ in range(FLOOD)]
        assert answers[0].status == 200
        want_429([answer for answer in answers if answer.status == 429][0], limit)
        with Wire(server) as other:
            other.send(poll)
            other.answer().want(200)


def test_the_channels_of_a_reconnect_do_not_count():
    with limited("subscribes_per_connection_per_s") as server, Ws(server) as link:
        link.say("connect", resume={f"topic:r-{number}": {"seq": 0} for number in range(50)})
        assert json.loads(link.frame_text())["type"] == "connected"
        for _ in range(50):
            assert json.loads(link.frame_text())["type"] == "subscribed"


# --- bytes ---------------------------------------------------------------------------------------------------------

def test_bytes_are_read_no_faster():
    """The sender is slowed down, and neither closed nor timed out: the time that the server takes is its own."""
    config = "bytes_per_connection_per_s = 20K\nrequest_timeout_s = 1\nbody_bytes_per_s_min = 1M\nhead_timeout_s = 1\n" \
             "heartbeat_s = 1\npong_timeout_s = 1\nframe_timeout_s = 1\n"
    body = b"x" * 100_000
    with Server(config=config) as server, Ws(server) as ws, Wire(server) as wire:
        began = time.monotonic()
        ws.say("publish", channel="topic:slow", data=body.decode(), ref=1)
        wire.send(request_bytes("POST", path_of("topic:slow") + "/messages", body))
        with Wire(server) as other:
            assert other.ask("GET", "/healthz").status == 200     # nobody else waits
        assert ws.frame("published")["ref"] == 1    # it answers pings while it waits
        assert wire.answer().status == 201
        assert time.monotonic() - began > 3
        text = request(server, "GET", "/metrics").want(200).body.decode()
        assert int(re.search(r"longwire_reads_held_back_total ([0-9]+)\n", text)[1]) > 10


# --- our own clients -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("program", [JAVASCRIPT, C], ids=["js", "c"])
def test_a_client_finds_the_rate(program):
    """Far more than the limits allow at once: all is followed and published once, without a word to the application."""
    config = "publishes_per_user_per_s = 30\nsubscribes_per_connection_per_s = 30\n"
    names  = [f"topic:paced-{number}" for number in range(60)]
    with Server(config=config) as server:
        url = server.url if program is JAVASCRIPT else f"tcp://127.0.0.1:{server.tcp_port}"
        with Driver(program, url, {name: {} for name in names}, user="ann") as client:
            for number in range(120):
                client.say("publish", channel="topic:paced-0", data=f"m{number}")
            client.until(lambda: len(client.of("published")) == 120, "not all were published")
            client.until(lambda: len({event["channel"] for event in client.of("ready")}) == 60, "not all are followed")
            assert not client.of("not published") and not client.of("refused") and not client.of("error")
        messages = request(server, "GET", path_of("topic:paced-0") + "/messages?limit=1000").want(200).json()["messages"]
        assert sorted(message["data"] for message in messages) == sorted(f"m{number}" for number in range(120))
        assert refusals(server, "publishes_per_user_per_s") > 0 and refusals(server, "subscribes_per_connection_per_s") > 0


def test_wrong_keys_of_an_address_count_whichever_loop_they_come_to():
    """Threat 107. Each comes over a connection of its own, so that both loops get some."""
    def status(source, secret):
        link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS, source_address=(source, 0))
        with contextlib.closing(link):
            link.request("GET", "/metrics", headers={"Authorization": f"Bearer {secret}"})
            answer = link.getresponse()
            return answer.status, answer.read().decode()

    limit = "wrong_secrets_per_address_per_min"
    with Server(config=f"loops = 2\n{limit} = 10\n{KEYS}") as server:
        assert [status("127.0.0.2", f"guess-{i}")[0] for i in range(30)] == [401] * 10 + [429] * 20
        assert status("127.0.0.2", "ops-secret-of-this-test")[0] == 429
        code, text = status("127.0.0.3", "ops-secret-of-this-test")
        assert code == 200 and f'longwire_limit_refusals_total{{limit="{limit}"}} 21\n' in text
        wait_until(lambda: f"event=limit_reached limit={limit}" in server.log())
        assert "last=127.0.0.2" in server.log() and "guess-" not in server.log()
