"""longwire.json.v1 frame by frame, and RFC 6455 around it: handshakes, fragments, limits, floods, ends."""
import base64
import json
import random
import struct
import time

import pytest

from longwire_server import Server
from waiting import wait_until
from wire import (BINARY, CLOSE, CONT, PING, PONG, TEXT, Wire, Ws, fresh, handshake_bytes, history, metric, path_of,
                  publish, publish_many, query_of, request, request_bytes, ws_frame)

LIMITS = """
frame_bytes_max = 64K
channels_per_connection_max = 3
"""


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server() as server:
        yield server


@pytest.fixture(name="limited", scope="module")
def fixture_limited():
    with Server(config=LIMITS) as server:
        yield server


@pytest.fixture(name="ws")
def fixture_ws(server):
    with Ws(server) as ws:
        yield ws


def want_error(ws, code, ref=None):
    error = ws.frame("error")
    assert error["code"] == code and error["reason"], error
    assert error.get("ref") == ref, error


# --- connect ---------------------------------------------------------------------------------------------------------

def test_greeting(server):
    with Ws(server) as one, Ws(server) as two:
        assert {"type", "connection", "heartbeat", "resumed"} <= set(one.greeting)
        assert one.greeting["heartbeat"] == 25 and one.greeting["resumed"] is False
        assert one.greeting["connection"] != two.greeting["connection"]


def test_without_a_subprotocol_it_is_json(server):
    with Ws(server, protocol=None) as ws:
        assert ws.ask("ping", "pong", ref=1)["ref"] == 1


def test_connect_with_a_resume_map(server, ws):
    channels = [fresh() for _ in range(3)]
    epoch = {channel: publish_many(server, channel, [b"1", b"2", b"3"]) and
             history(server, channel).json()["epoch"] for channel in channels}
    places = {channels[0]: {"epoch": epoch[channels[0]], "seq": 2}, channels[1]: {"seq": 0},
              channels[2]: {"epoch": "0123456789abcdef", "seq": 3}}
    connected = ws.ask("connect", "connected", resume=places, ref="r")
    assert connected["resumed"] is True and connected["ref"] == "r"
    assert connected["connection"] == ws.greeting["connection"]
    events = ws.several(1 + 3 + 1 + 3)
    seqs = {channel: [event.get("seq", event.get("why")) for event in events if event["channel"] == channel]
            for channel in channels}
    assert seqs == {channels[0]: [3], channels[1]: [1, 2, 3], channels[2]: ["epoch", 1, 2, 3]}


@pytest.mark.parametrize("resume",
                         [{"topic:a": 7}, {"topic:a": {}}, {"topic:a": {"seq": "x"}}, {"topic:a": {"seq": -1}},
                                    {"topic:a": {"seq": 1, "epoch": "x"}}, {"topic:a": {"seq": 1, "epoch": 5}},
                                    {"topic:a": None}, {"topic:a": {"seq": 1.5}}, [], [1, 2], "x", 5, None])
def test_what_a_resume_map_may_not_be(ws, resume):
    """A value that isn't a place gets an error; the connection goes on."""
    ws.say("connect", resume=resume, ref=1)
    ws.frame("connected")
    if resume is not None:
        want_error(ws, 400, 1)
    assert ws.ask("ping", "pong", ref=2)["ref"] == 2


def test_tokens():
    config = "[key reader]\nsecret = 0123456789abcdef-reader\nrights = subscribe\n"
    with Server(config=config) as server:
        publish_status = request(server, "POST", path_of("topic:a") + "/messages", b"x").status
        assert publish_status == 401
        with Ws(server) as ws:
            ws.say("subscribe", channel="user:a", ref=1)
            want_error(ws, 401, 1)
            ws.ask("connect", "connected", token="0123456789abcdef-reader")
            ws.ask("subscribe", "subscribed", channel="user:a")
            ws.say("publish", channel="topic:a", data="x", ref=2)
            want_error(ws, 403, 2)
            ws.say("connect", token="0123456789abcdef-nobody", ref=3)
            want_error(ws, 401, 3)
            assert ws.closing()[0] == 1008
        with Ws(server, authorization="Bearer 0123456789abcdef-reader") as ws:
            ws.ask("subscribe", "subscribed", channel="user:a")


# --- subscribe -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("place, begins, seqs", [
    ({}, {}, []), ({"after": 0}, {}, [1, 2, 3]), ({"after": 2}, {}, [3]), ({"after": 3}, {}, []),
    ({"last": 2}, {"after": 1}, [2, 3]), ({"last": 0}, {}, []), ({"last": 9}, {"after": 0}, [1, 2, 3])])
def test_subscribe(server, ws, place, begins, seqs):
    """The answer says where the link begins if the client can't know."""
    channel = fresh()
    publish_many(server, channel, [b"1", b"2", b"3"])
    subscribed = ws.ask("subscribe", "subscribed", channel=channel, ref={"any": ["json", 1]}, **place)
    assert subscribed == {"type": "subscribed", "channel": channel, "epoch": history(server, channel).json()["epoch"],
                          "head": 3, "ref": {"any": ["json", 1]}, **begins}
    publish(server, channel, b"4")
    assert [event["seq"] for event in ws.several(len(seqs) + 1)] == seqs + [4]


def test_subscribed_comes_before_the_first_message(server, ws):
    channel = fresh()
    publish(server, channel)
    ws.say("subscribe", channel=channel, after=0)
    assert json.loads(ws.frame_text())["type"] == "subscribed"
    assert json.loads(ws.frame_text())["type"] == "message"


def test_subscribe_with_an_epoch(server, ws):
    channel = fresh()
    publish_many(server, channel, [b"1", b"2"])
    ws.ask("subscribe", "subscribed", channel=channel, after=1, epoch="00000000000000aa")
    gap = ws.next()
    assert (gap["type"], gap["why"]) == ("gap", "epoch")
    assert [event["seq"] for event in ws.several(2)] == [1, 2]


def test_subscribe_ahead_of_the_head(server, ws):
    channel = fresh()
    publish(server, channel)
    assert ws.ask("subscribe", "subscribed", channel=channel, after=9)["head"] == 1
    gap = ws.next()
    assert (gap["from"], gap["to"], gap["why"]) == (2, 9, "ahead")
    publish(server, channel)
    assert ws.next()["seq"] == 2


def test_unsubscribe(server, ws):
    kept, left = fresh(), fresh()
    for channel in (kept, left):
        ws.ask("subscribe", "subscribed", channel=channel)
    assert ws.ask("unsubscribe", "unsubscribed", channel=left, ref=7) == {"type": "unsubscribed", "channel": left,
                                                                          "ref": 7}
    publish(server, left)
    publish(server, kept)
    assert ws.next()["channel"] == kept
    ws.say("unsubscribe", channel=left, ref=8)
    want_error(ws, 404, 8)
    ws.ask("subscribe", "subscribed", channel=left, after=0)
    assert ws.next()["channel"] == left


@pytest.mark.parametrize("members, code", [
    ({}, 400), ({"channel": 5}, 400), ({"channel": ""}, 400), ({"channel": "plain"}, 400), ({"channel": "topic:"}, 400),
    ({"channel": "nowhere:a"}, 404), ({"channel": "topic:" + "x" * 201}, 400), ({"channel": "topic:\u0000"}, 400),
    ({"channel": "topic:a", "after": -1}, 400), ({"channel": "topic:a", "after": "1"}, 400),
    ({"channel": "topic:a", "after": 1.5}, 400), ({"channel": "topic:a", "last": None}, 400),
    ({"channel": "topic:a", "after": 1, "last": 1}, 400), ({"channel": "topic:a", "after": 2 ** 64}, 400),
    ({"channel": "topic:a", "epoch": "zz", "after": 1}, 400)])
def test_what_subscribe_refuses(ws, members, code):
    ws.say("subscribe", ref="r", **members)
    want_error(ws, code, "r")
    assert ws.ask("ping", "pong", ref=1)["ref"] == 1


def test_a_channel_twice(ws):
    channel = fresh()
    ws.ask("subscribe", "subscribed", channel=channel)
    ws.say("subscribe", channel=channel, ref=1)
    want_error(ws, 409, 1)


def test_too_many_channels(limited):  # threat 78
    with Ws(limited) as ws:
        for i in range(3):
            ws.ask("subscribe", "subscribed", channel=f"topic:{i}")
        ws.say("subscribe", channel="topic:3", ref=1)
        want_error(ws, 400, 1)
        ws.ask("unsubscribe", "unsubscribed", channel="topic:0")
        ws.ask("subscribe", "subscribed", channel="topic:3")


def test_very_many_subscriptions(server):  # threat 78
    with Ws(server) as ws:
        for i in range(1100):
            ws.say("subscribe", channel=f"topic:many{i}", ref=i)
        kinds = [json.loads(ws.frame_text()) for _ in range(1100)]
        refused = [kind for kind in kinds if kind["type"] == "error"]
        assert len(refused) == 100 and all("channels_per_connection_max" in kind["reason"] for kind in refused)
        publish(server, "topic:many999")
        assert ws.next()["channel"] == "topic:many999"


# --- publish ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("members, media, payload", [
    ({"data": "text"}, "text/plain", b"text"), ({"data": ""}, "text/plain", b""),
    ({"data": 5}, "application/json", b"5"),
    ({"data": {"a": [1, "é"]}}, "application/json", '{"a": [1, "\\u00e9"]}'.encode()),
    ({"data": None}, "application/json", b"null"), ({"data_base64": "AP8="}, "application/octet-stream", b"\x00\xff"),
    ({"data": [0] * 150000}, "application/json", json.dumps([0] * 150000).encode()),
    ({"data": {str(i): i for i in range(2000)}}, "application/json", json.dumps({str(i): i for i in range(2000)}).encode()),
    ({"data": "<b>", "media": "text/html"}, "text/html", b"<b>"), ({"data": "x" * 200000}, "text/plain", b"x" * 200000),
    ({"data": "nul\u0000\U0001f600"}, "text/plain", "nul\0😀".encode()),
    ({"data_base64": base64.b64encode(bytes(100000)).decode(), "media": "image/png"}, "image/png", bytes(100000))])
def test_publish(server, ws, members, media, payload):
    channel = fresh()
    published = ws.ask("publish", "published", channel=channel, ref="p", **members)
    assert list(published) == ["type", "channel", "epoch", "seq", "id", "time", "ref"]
    assert (published["channel"], published["seq"], published["ref"]) == (channel, 1, "p")
    ws.ask("subscribe", "subscribed", channel=channel, after=0)
    event = ws.next()
    assert (event["media"], event["payload"], event["id"]) == (media, payload, published["id"])
    assert history(server, channel).json()["head"] == 1


def test_publish_with_key_and_ttl(server, ws):
    channel = fresh()
    first = ws.ask("publish", "published", channel=channel, data="x", key="k", ttl=1)
    again = ws.ask("publish", "published", channel=channel, data="x", key="k", ttl=1)
    assert again.pop("replayed") is True and again == first
    ws.say("publish", channel=channel, data="y", key="k", ref=1)
    want_error(ws, 422, 1)
    assert request(server, "POST", path_of(channel) + "/messages", b"x", content_type="text/plain",
                   idempotency_key="k").want(200).json()["seq"] == 1
    wait_until(lambda: history(server, channel).json()["messages"][0]["type"] == "gap")


@pytest.mark.parametrize("members, code", [
    ({"channel": "topic:a"}, 400), ({"data": 1}, 400), ({"channel": "topic:a", "data": 1, "data_base64": "eA=="}, 400),
    ({"channel": "topic:a", "data_base64": "?"}, 400), ({"channel": "topic:a", "data_base64": 1}, 400),
    ({"channel": 1, "data": 1}, 400), ({"channel": "nowhere:a", "data": 1}, 404),
    ({"channel": "sys:a", "data": 1}, 403),
    ({"channel": "topic:a", "data": "{", "media": "application/json"}, 400),
    ({"channel": "topic:a", "data": "x", "media": "nonsense"}, 415),
    ({"channel": "topic:a", "data": "x", "media": "a/b\r\nX: y"}, 415),
    ({"channel": "topic:a", "data": "x", "media": 1}, 400),
    ({"channel": "topic:a", "data": "x", "ttl": 0}, 400), ({"channel": "topic:a", "data": "x", "ttl": "1"}, 400),
    ({"channel": "topic:a", "data": "x", "key": 1}, 400), ({"channel": "topic:a", "data": "x", "key": "k" * 256}, 400),
    ({"channel": "topic:a", "data": "x" * (1024 * 1024 + 1)}, 413)])
def test_what_publish_refuses(ws, members, code):
    ws.say("publish", ref="r", **members)
    want_error(ws, code, "r")


def test_many_publishes_are_answered_in_order_and_come_in_order(server, ws):
    channel, count = fresh(), 2000
    ws.ask("subscribe", "subscribed", channel=channel)
    for i in range(count):
        ws.say("publish", channel=channel, data=i, ref=i)
    refs, seqs = [], []
    while len(refs) < count or len(seqs) < count:
        got = json.loads(ws.frame_text())
        if got["type"] == "published":
            refs.append((got["ref"], got["seq"]))
        else:
            seqs.append((got["data"], got["seq"]))
    assert refs == seqs == [(i, i + 1) for i in range(count)]
    assert history(server, channel).json()["head"] == count


def test_a_publisher_that_leaves_before_its_answer(server):
    channel = fresh()
    for _ in range(50):
        with Ws(server) as ws:
            ws.say("publish", channel=channel, data="x")
            ws.wire.reset()
    with Ws(server) as ws:
        ws.ask("publish", "published", channel=channel, data="last")
    assert wait_until(lambda: metric(server, "longwire_publishes_waiting") == 0) is True


# --- ping, cursor, errors --------------------------------------------------------------------------------------------

def test_ping_and_cursor(server, ws):
    assert ws.ask("ping", "pong", ref=[1]) == {"type": "pong", "ref": [1]}
    assert ws.ask("ping", "pong") == {"type": "pong"}
    ws.say("cursor", ref=1)
    want_error(ws, 409, 1)  # nothing is followed, so there is no place
    channel = fresh()
    publish_many(server, channel, [b"1", b"2"])
    ws.ask("subscribe", "subscribed", channel=channel, after=0)
    ws.several(2)
    cursor = ws.ask("cursor", "cursor", ref=2)
    assert cursor["ref"] == 2
    publish(server, channel, b"3")
    with Ws(server, "cursor=" + cursor["cursor"]) as other:
        assert other.next()["seq"] == 3


@pytest.mark.parametrize("text",
                         ["", " ", "{", "[]", "7", '"ping"', "null", "{}", '{"type":5}', '{"type":null}', '{"type":""}',
                                  '{"type":"unknown"}', '{"type":"PING"}', '{"type":"ping"}{}', '{"type":"ping",}',
                                  '{"type":"message","data":1}', "[" * 5000, '{"type":' * 5000, "\ufeff{}",
                                  '{"type":"request"}'])
def test_frames_that_say_nothing(ws, text):  # threat 55
    ws.say_text(text)
    want_error(ws, 400)
    assert ws.ask("ping", "pong", ref=1)["ref"] == 1


def test_a_ref_of_any_json_comes_back_and_a_long_one_does_not(ws):
    for ref in (1, "x", None, True, [1, {"a": "é"}], 1.5, "x" * 200):
        assert ws.ask("ping", "pong", ref=ref)["ref"] == ref
    assert "ref" not in ws.ask("ping", "pong", ref="x" * 300)


def test_a_binary_frame_is_1003(server):  # threat 78
    with Ws(server) as ws:
        ws.peer.send_binary(b"\x00\x01")
        ws.pump()
        code, reason = ws.closing()
        assert code == 1003 and reason


# --- frames: RFC 6455 ------------------------------------------------------------------------------------------------

class RawWs(Wire):
    """A WebSocket whose frames the test makes itself."""

    def __init__(self, server, path="/v1/ws", early=b"", **fields):
        super().__init__(server)
        self.send(handshake_bytes(path, **fields) + early)
        answer = self.head().want(101)
        assert answer.field("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 1.3
        assert answer.field("Upgrade") == "websocket" and answer.field("Connection") == "Upgrade"

    def raw(self):
        """(first byte, payload) of a server's frame, which is never masked."""
        first, length = self.exactly(2)
        assert length < 128, "a server masks nothing"
        if length > 125:
            length = int.from_bytes(self.exactly(2 if length == 126 else 8), "big")
        return first, self.exactly(length)

    def want(self, opcode, payload=None):
        first, data = self.raw()
        assert first == 0x80 | opcode, (first, data)
        assert payload is None or data == payload
        return data

    def want_type(self, kind):
        got = json.loads(self.want(TEXT))
        assert got["type"] == kind, got
        return got

    def want_close(self, code):
        """Expects a Close of that code, and then nothing but the end."""
        while (got := self.raw())[0] != 0x80 | CLOSE:
            pass
        assert int.from_bytes(got[1][:2], "big") == code, got
        got[1][2:].decode()
        self.send_quietly(ws_frame(CLOSE, got[1][:2]))
        self.want_closed()

    def send_quietly(self, data):
        try:
            self.send(data)
        except OSError:
            pass  # the server was faster


PING_TEXT = b'{"type":"ping","ref":1}'


def test_fragments_with_control_frames_between(server):
    with RawWs(server) as ws:
        ws.want_type("connected")
        for cut in range(len(PING_TEXT) + 1):
            ws.send(ws_frame(TEXT, PING_TEXT[:cut], fin=False) + ws_frame(PING, b"one") +
                    ws_frame(CONT, b"", fin=False) + ws_frame(PONG, b"unasked") + ws_frame(CONT, PING_TEXT[cut:]))
            ws.want(PONG, b"one")
            assert ws.want_type("pong")["ref"] == 1


def test_a_frame_in_single_bytes(server):
    with RawWs(server) as ws:
        ws.want_type("connected")
        for byte in ws_frame(PING, b"x" * 125) + ws_frame(TEXT, PING_TEXT) + ws_frame(TEXT, PING_TEXT + b" " * 200):
            ws.send(bytes([byte]))
        ws.want(PONG, b"x" * 125)
        for _ in range(2):
            ws.want_type("pong")


@pytest.mark.parametrize("frame, code", [  # threat 73
    (ws_frame(TEXT, b"{}", mask=None), 1002), (ws_frame(TEXT, b"{}", rsv=4), 1002),
    (ws_frame(TEXT, b"{}", rsv=1), 1002),
    (ws_frame(3, b""), 1002), (ws_frame(7, b""), 1002), (ws_frame(11, b""), 1002), (ws_frame(15, b""), 1002),
    (ws_frame(TEXT, b"12345", form=2), 1002), (ws_frame(TEXT, b"12345", form=8), 1002),
    (ws_frame(PING, b"x" * 126), 1002), (ws_frame(PING, b"x", fin=False), 1002), (ws_frame(CONT, b"x"), 1002),
    (ws_frame(TEXT, b"{", fin=False) + ws_frame(TEXT, b"}"), 1002), (b"\x81\xff" + b"\xff" * 8, 1002),
    (b"\x81\xff" + b"\x7f" + b"\xff" * 7, 1009), (ws_frame(TEXT, b"\xff"), 1007),
    (ws_frame(TEXT, b"\xc3", fin=False) + ws_frame(CONT, b"\x28"), 1007), (ws_frame(TEXT, b"\xed\xa0\x80"), 1007),
    (ws_frame(CLOSE, b"\x03"), 1002), (ws_frame(CLOSE, b"\x03\xed"), 1002), (ws_frame(CLOSE, b"\x00\x00"), 1002),
    (ws_frame(CLOSE, b"\x03\xe8\xff"), 1007)])
def test_broken_frames(server, frame, code):
    with RawWs(server) as ws:
        ws.want_type("connected")
        ws.send(frame)
        ws.want_close(code)


@pytest.mark.parametrize("sent, back",
                         [(b"\x03\xe8", 1000), (b"\x03\xe9bye", 1001), (b"\x0b\xb8", 3000), (b"\x13\x87", 4999)])
def test_a_close_is_answered_with_its_code(server, sent, back):
    with RawWs(server) as ws:
        ws.want_type("connected")
        ws.send(ws_frame(CLOSE, sent) + ws_frame(TEXT, PING_TEXT))
        assert ws.want(CLOSE)[:2] == back.to_bytes(2, "big")
        ws.want_closed()
    with RawWs(server) as ws:
        ws.want_type("connected")
        ws.send(ws_frame(CLOSE))
        ws.want(CLOSE, b"")
        ws.want_closed()


def test_the_largest_frame_and_one_more(limited):  # threat 72
    text = PING_TEXT + b" " * (65536 - len(PING_TEXT))
    with RawWs(limited) as ws:
        ws.want_type("connected")
        ws.send(ws_frame(TEXT, text))
        ws.want_type("pong")
        ws.send(ws_frame(TEXT, text[:30000], fin=False) + ws_frame(CONT, text[30000:]))
        ws.want_type("pong")
        ws.send(ws_frame(TEXT, text + b" "))
        assert ws.want_type("error")["code"] == 413
        ws.send(ws_frame(TEXT, text[:30000], fin=False) + ws_frame(CONT, text[30000:] + b" "))
        assert ws.want_type("error")["code"] == 413
        ws.send(ws_frame(TEXT, PING_TEXT))
        ws.want_type("pong")
        ws.send_quietly(b"\x81\xff" + struct.pack("!Q", (64 << 20) + 1))
        ws.want_close(1009)


def test_what_fits_the_payload_limit_fits_a_frame(server):  # threat 72
    """Letters that JSON writers escape take six bytes for two, and control characters six for one: the payload limit
    decides, and who is above it keeps its connection and its subscriptions."""
    channel = fresh()

    def say(ws, **members):
        ws.send(ws_frame(TEXT, json.dumps({"channel": channel, **members}).encode()))

    def hear(ws):
        told = [json.loads(ws.want(TEXT)) for _ in range(2)]
        return {thing["type"]: thing for thing in told}

    with RawWs(server) as ws:
        ws.want_type("connected")
        say(ws, type="subscribe")
        ws.want_type("subscribed")
        for data in ("ж" * 360000, "\x01" * (1 << 20)):
            say(ws, type="publish", data=data)
            told = hear(ws)
            assert told["published"]["channel"] == channel and told["message"]["data"] == data
        for more in (1, 1 << 20):
            say(ws, type="publish", data="\x01" * ((1 << 20) + more))
            assert ws.want_type("error")["code"] == 413
        say(ws, type="publish", data="still here")
        assert hear(ws)["message"]["data"] == "still here"


def test_too_many_fragments(server):  # threat 72
    with RawWs(server) as ws:
        ws.want_type("connected")
        ws.send_quietly(ws_frame(TEXT, b"", fin=False) + ws_frame(CONT, b"", fin=False) * 2000)
        ws.want_close(1008)


# --- handshake (threat 75) -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("fields, status", [
    ({}, 101), ({"upgrade": None}, 426), ({"upgrade": "h2c"}, 426), ({"upgrade": "h2c, WebSocket"}, 101),
    ({"connection": None}, 400), ({"connection": "close"}, 400), ({"connection": "keep-alive, upgrade"}, 101),
    ({"sec_websocket_version": None}, 426), ({"sec_websocket_version": "8"}, 426),
    ({"sec_websocket_version": "14"}, 426),
    ({"sec_websocket_version": "13, 8"}, 426), ({"sec_websocket_version": "013"}, 426),
    ({"sec_websocket_key": None}, 400), ({"sec_websocket_key": ""}, 400), ({"sec_websocket_key": "c2hvcnQ="}, 400),
    ({"sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ"}, 400),
    ({"sec_websocket_key": "bm9uY2VzIGFyZSB0b28gbG9uZw=="}, 400),
    ({"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}, 400), ({"Sec-WebSocket-Version": "13"}, 400),
    ({"sec_websocket_protocol": "longwire.json.v1"}, 101), ({"sec_websocket_protocol": "chat, longwire.json.v1"}, 101),
    ({"sec_websocket_protocol": "chat"}, 400), ({"sec_websocket_protocol": "LONGWIRE.JSON.V1"}, 400),
    ({"sec_websocket_extensions": "permessage-deflate; client_max_window_bits"}, 101),
    ({"content_length": "2"}, 413), ({"host": None}, 400)])
def test_handshakes(server, fields, status):
    with Wire(server) as wire:
        wire.send(handshake_bytes(**fields))
        answer = wire.answer()
        if status == 101:
            answer.want(101)
            wanted = "longwire.json.v1" if "longwire" in fields.get("sec_websocket_protocol", "") else None
            assert answer.field("Sec-WebSocket-Protocol") == wanted
            assert answer.field("Sec-WebSocket-Extensions") is None
        else:
            answer.want_problem(status)
            if status == 426:
                assert (answer.field("Upgrade"), answer.field("Sec-WebSocket-Version")) == ("websocket", "13")
                assert "Upgrade" in answer.field("Connection")


@pytest.mark.parametrize("method, minor, status", [("POST", 1, 400), ("GET", 0, 400), ("HEAD", 1, 400)])
def test_handshakes_of_other_kinds(server, method, minor, status):
    fields = {"upgrade": "websocket", "connection": "Upgrade", "sec_websocket_version": "13",
              "sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ=="}
    with Wire(server) as wire:
        wire.send(request_bytes(method, "/v1/ws", minor=minor, **fields))
        assert wire.head().status in (status, 405)


def test_early_data_is_not_lost(server):
    channel = fresh()
    publish(server, channel)
    early = b"".join(ws_frame(TEXT, json.dumps(frame).encode()) for frame in (
        {"type": "ping", "ref": 1}, {"type": "subscribe", "channel": channel, "after": 0}))
    for cut in range(0, len(early) + 1, 7):
        with RawWs(server, early=early[:cut]) as ws:
            ws.send(early[cut:])
            kinds = [json.loads(ws.want(TEXT))["type"] for _ in range(4)]
            assert kinds == ["connected", "pong", "subscribed", "message"]
    with RawWs(server, early=ws_frame(PING, b"p" * 125)[:-1]) as ws:
        ws.want_type("connected")
        ws.send(ws_frame(PING, b"p" * 125)[-1:])
        ws.want(PONG, b"p" * 125)


def test_a_handshake_behind_pipelined_requests(server):  # threats 53, 75
    channel = fresh()
    with Wire(server) as wire:
        wire.send(request_bytes("POST", path_of(channel) + "/messages", b"x") + request_bytes("GET", "/healthz") +
                  handshake_bytes("/v1/ws?" + query_of((channel, "after=0"))) + ws_frame(TEXT, PING_TEXT))
        wire.answer("POST").want(201)
        wire.answer().want(200)
        wire.answer().want(101)
        kinds = []
        while len(kinds) < 4:
            first, length = wire.exactly(2)
            assert first == 0x80 | TEXT
            size = int.from_bytes(wire.exactly(2), "big") if length == 126 else length
            kinds.append(json.loads(wire.exactly(size))["type"])
        assert sorted(kinds) == ["connected", "message", "pong", "subscribed"] and kinds[0] == "connected"


# --- silence and floods (threat 74) ----------------------------------------------------------------------------------

def test_a_client_that_never_answers_a_ping_is_closed():
    with Server(config="heartbeat_s = 1\npong_timeout_s = 1\n") as server, RawWs(server) as ws:
        ws.want_type("connected")
        start = time.monotonic()
        ws.want(PING)
        ws.rest()
        assert time.monotonic() - start > 0.5
        wait_until(lambda: metric(server, "longwire_silent_clients_closed_total") == 1)


def test_a_client_that_answers_stays():
    with Server(config="heartbeat_s = 1\npong_timeout_s = 5\n") as server, RawWs(server) as ws:
        ws.want_type("connected")
        for _ in range(7):  # longer than pong_timeout_s
            ws.send(ws_frame(PONG, ws.want(PING)))
        ws.send(ws_frame(TEXT, PING_TEXT))
        ws.want_type("pong")


def test_a_close_that_is_not_answered_leaves_no_link(server):
    with RawWs(server) as ws:
        ws.want_type("connected")
        ws.send(ws_frame(BINARY, b"x"))
        while ws.raw()[0] != 0x80 | CLOSE:
            pass
        ws.want_closed()
        wait_until(lambda: metric(server, "longwire_sessions") == 0)  # those of earlier tests, too


def test_a_flood_that_is_never_read_is_held_back(server):
    """The server stops reading from a client that doesn't read, so that the client's own sending blocks; other clients
    don't notice."""
    with Wire(server, receive_bytes=4096) as wire:
        wire.send(handshake_bytes())
        wire.socket.settimeout(1)
        sent, block = 0, ws_frame(TEXT, PING_TEXT) * 1000
        with pytest.raises(TimeoutError):
            while sent < 64 << 20:
                sent += wire.socket.send(block)
        assert request(server, "GET", "/healthz", connection="close").status == 200
        assert memory_of(server) < 1 << 30


def memory_of(server):
    with open(f"/proc/{server.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


@pytest.mark.parametrize("frame", [ws_frame(PING, b"p" * 125), ws_frame(PONG, b""), ws_frame(TEXT, b"")],
                         ids=["pings", "pongs", "empty-messages"])
def test_a_flood_that_brings_nothing_is_cut(server, frame):
    """Threat 74: a hundred a second are answered, however fast they come; more end the connection."""
    before = metric(server, "longwire_sessions")
    with RawWs(server) as ws:
        ws.want_type("connected")
        ws.send(frame * 1000)
        assert b"\x03\xf0too many pings" in ws.rest()  # 1008
    wait_until(lambda: metric(server, "longwire_sessions") == 0)  # those of earlier tests, too


def test_pings_now_and_then_are_answered(server):
    with RawWs(server) as ws:
        ws.want_type("connected")
        ws.send(ws_frame(PING, b"p") * 100)
        for _ in range(100):
            ws.want(PONG, b"p")


# --- leaving at any byte (threat 77) ---------------------------------------------------------------------------------

def test_disconnect_after_every_byte(server):
    channel = fresh()
    publish_many(server, channel, [bytes(1000)] * 20)
    shake = handshake_bytes("/v1/ws?" + query_of((channel, "after=0")))
    frames = [ws_frame(TEXT, b'{"type":"publish","channel":"topic:cut","data":"x"}'), ws_frame(PING, b"ping"),
              ws_frame(TEXT, b'{"type":', fin=False) + ws_frame(PING, b"p") + ws_frame(CONT, b'"ping"}'),
              ws_frame(CLOSE, b"\x03\xe8bye")]
    rng = random.Random(77)
    for cut in range(1, len(shake)):
        leave(server, shake[:cut], rng)
    for frame in frames:
        for cut in range(len(frame) + 1):
            leave(server, shake + frame[:cut], rng)
            with RawWs(server, "/v1/ws?" + query_of((channel, "after=0"))) as ws:
                ws.want_type("connected")
                ws.send(frame[:cut])
                ws.reset() if rng.random() < 0.5 else ws.close()
    wait_until(lambda: metric(server, "longwire_sessions") == 0)
    wait_until(lambda: metric(server, "longwire_http_connections") == 1)


def leave(server, data, rng):
    with Wire(server) as wire:
        wire.send(data)
        if rng.random() < 0.5:
            wire.reset()


def test_a_member_named_twice_or_escaped(ws):  # threat 55
    ws.say_text('{"type":"ping","type":"ping","ref":1,"ref":2}')
    assert json.loads(ws.frame_text())["type"] in ("pong", "error")
    ws.say_text('{"ty\\u0070e":"p\\u0069ng","ref":3}')
    assert json.loads(ws.frame_text())["type"] in ("pong", "error")
    assert ws.ask("ping", "pong", ref=4)["ref"] == 4
