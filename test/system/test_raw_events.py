"""Event streams in raw form, as the wire has them (docs/protocol.md 4.1.1)."""
import json

import pytest

from longwire_server import Server
from wire import Reader, Wire, Ws, fresh, handshake_bytes, path_of, query_of, request, request_bytes


class Raw(Reader):
    """Gives (event, data, id) by WHATWG HTML 9.2.6."""
    media = "text/event-stream"

    def next(self):
        name, data, token = "message", [], None
        while line := self.take_until(b"\n").decode():
            field, _, value = line.partition(": ")
            if field == "data":
                data.append(value)
            elif field == "event":
                name = value
            elif field == "id":
                token = value
            else:
                assert field == "retry" or line == ":", line
        assert data, "an empty line without an event"
        return name, "\n".join(data), token


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server() as server:
        yield server


def say(server, channel, body, event=None):
    fields = {} if event is None else {"longwire_event": event}
    request(server, "POST", path_of(channel) + "/messages", body, content_type="text/plain", **fields).want(201)


def read(server, query, count):
    with Raw(server, query + "&format=raw") as reader:
        return [reader.next() for _ in range(count)]


@pytest.mark.parametrize("others", [0, 1])  # frames are shared between readers of one channel, and made for each otherwise
def test_every_event_carries_its_place(server, others):
    channel, more = fresh(), [(fresh(), "after=0") for _ in range(others)]
    for seq, event in enumerate(["price", None, "price"]):
        say(server, channel, b"line %d\r\nend" % seq, event)
    events = read(server, query_of((channel, "after=0"), *more), 3)
    assert [event[:2] for event in events] == [("price", "line 0\nend"), ("message", "line 1\nend"),
                                               ("price", "line 2\nend")]
    for at, (_, _, token) in enumerate(events[:2]):
        rest = read(server, "cursor=" + token, 2 - at)
        assert [event[:2] for event in rest] == [event[:2] for event in events[at + 1:]]


def test_two_readers_get_the_same_bytes(server):
    channel = fresh()
    say(server, channel, b"0")
    with Raw(server, query_of(channel) + "&format=raw") as one, Raw(server, query_of(channel) + "&format=raw") as two:
        assert one.next()[0] == two.next()[0] == "cursor"
        say(server, channel, b"1", "price")
        first = one.next()
        assert first[:2] == ("price", "1") and two.next() == first


def test_what_is_no_text_has_a_name_of_ours(server):
    channel = fresh()
    say(server, channel, b"\xff", "price")
    say(server, channel, b"secret", "price")
    request(server, "DELETE", path_of(channel) + "/messages/2").want(200)
    events = read(server, query_of((channel, "after=0")), 3)
    assert [name for name, _, _ in events] == ["binary", "recalled", "recall"]
    objects = [json.loads(data) for _, data, _ in events]
    assert (objects[0]["data_base64"], objects[0]["event"]) == ("/w==", "price")
    assert objects[1]["recalled"] is True and "event" not in objects[1]
    assert objects[2]["target"] == 2


def test_a_gap_and_the_place_at_the_start(server):
    channel = fresh()
    say(server, channel, b"1")
    name, data, _ = read(server, query_of((channel, "after=5")), 1)[0]
    assert name == "gap" and json.loads(data)["why"] == "ahead"
    name, data, token = read(server, query_of(channel), 1)[0]
    assert name == "cursor" and json.loads(data) == {"type": "cursor", "cursor": token}


@pytest.mark.parametrize("query, accept, status", [
    ("format=raw", "text/event-stream", 200), ("format=json", "text/event-stream", 200),
    ("format=json", "application/json", 200), ("format=raw", "application/json", 400),
    ("format=raw", "application/x-ndjson", 400), ("format=raw", "*/*", 400), ("format=xml", "text/event-stream", 400),
    ("format=", "text/event-stream", 400)])
def test_where_there_is_a_raw_form(server, query, accept, status):
    with Wire(server) as wire:
        wire.send(request_bytes("GET", f"/v1/subscribe?{query_of(fresh())}&wait=0&{query}", accept=accept))
        assert wire.head().status == status


def test_a_websocket_has_no_raw_form(server):
    with Wire(server) as wire:
        wire.send(handshake_bytes(f"/v1/ws?{query_of(fresh())}&format=raw"))
        assert wire.head().status == 400


def test_a_posted_subscription_says_it_in_its_body(server):
    channel = fresh()
    say(server, channel, b"1", "price")
    for form, status in [("raw", 200), ("xml", 400), (7, 400)]:
        body = json.dumps({"channels": [{"channel": channel, "after": 0}], "format": form}).encode()
        with Wire(server) as wire:
            wire.send(request_bytes("POST", "/v1/subscribe", body, accept="text/event-stream",
                                    content_type="application/json"))
            assert wire.head().status == status
            while status == 200 and b"event: price\ndata: 1\n\n" not in wire.chunk():
                pass


def test_a_frame_says_it_too(server):
    channel = fresh()
    with Ws(server) as socket:
        socket.ask("publish", "published", channel=channel, data="1", event="price")
        assert socket.ask("publish", "error", channel=channel, data="2", event="gap")["code"] == 400
    assert [event[:2] for event in read(server, query_of((channel, "after=0")), 1)] == [("price", "1")]
