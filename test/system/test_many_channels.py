"""What was accepted comes back: the server's own token, sent back by the way that the client has come, begins where it
was taken, for as many channels as are taken at all. What could not come back is refused at the start."""
import json
import random
import string
import urllib.parse

import pytest

from cut_link import Link
from longwire_client import Reader as Following
from longwire_server import Server
from wire import (READERS, STREAMS, Multipart, Poll, Sse, Wire, Ws, event_of, fresh, history, items_of, members_of,
                  handshake_bytes, publish, publish_many, request, request_bytes)

ALIKE = string.ascii_lowercase + string.digits


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server(config="all_publishes_per_s = 0\n") as server:
        yield server


def names(count, bytes_each=22):
    """Fresh names of so many bytes, that have little in common."""
    mark = fresh().rsplit("-", 1)[-1].rjust(3, "-")  # rises with each call
    return ["topic:" + (ALIKE[i * 7 % 36] + ALIKE[i * 11 % 35] + f"{i:04}" + mark).ljust(bytes_each - 6, "x")
            for i in range(count)]


def query_of_names(channels):
    return "&".join("channel=" + channel for channel in channels)


def short_names(count):
    """So short that a URL holds 512 of them even with places; the same for every call."""
    return ["all:" + ALIKE[i // 36] + ALIKE[i % 36] for i in range(count)]


def seqs_of(events):
    return {event["channel"]: event["seq"] for event in events}


class PostingSse(Sse):
    """A stream by POST; the query is its body."""

    def open(self):
        sent = json.dumps(self.query).encode()
        self.wire.send(request_bytes("POST", "/v1/subscribe", sent, accept=self.media, content_type="application/json",
                                     **self.fields))
        self.answer = self.wire.head().want(200)
        self.is_chunked, self.text = True, b""


def place_and_events(reader, server, channels):
    """Publishes to the first, the middle and the last channel: the tokens before and behind each event, the events."""
    reader.settle()
    for channel in (channels[0], channels[len(channels) // 2], channels[-1]):
        publish(server, channel, b"1")
    tokens, events = [reader.cursor], []
    for _ in range(3):
        events.append(reader.next())
        tokens.append(reader.cursor)
    return tokens, events


def begin(server, kind, channels, query):
    """Follows them, and publishes to three: the tokens that were given, and the channels of what came behind the first."""
    chosen = [channels[0], channels[len(channels) // 2], channels[-1]]
    with STREAMS[kind](server, query) as reader:
        if kind != "multipart":
            reader.settle()
        for channel in chosen:
            publish(server, channel, b"1")
        tokens = [] if reader.cursor is None else [reader.cursor]  # multipart says no place before its first part
        came = []
        for _ in chosen:
            came.append(reader.next()["channel"])
            tokens.append(reader.cursor)
    assert sorted(came) == sorted(chosen)
    return tokens, came[len(came) + 1 - len(tokens):]


@pytest.mark.parametrize("count", [230, 300, 512])
@pytest.mark.parametrize("kind", ["sse", "ndjson", "multipart"])
def test_a_streams_own_token_comes_back(server, kind, count):
    channels = short_names(512) if count == 512 else names(count, {230: 22, 300: 16}[count])
    query = query_of_names(channels)
    if kind == "multipart":  # it says nothing before its first part, so it can't be waited for
        for channel in (channels[0], channels[count // 2], channels[-1]):
            query = query.replace("channel=" + channel, f"after={channel}@{publish(server, channel)['seq']}")
    tokens, came = begin(server, kind, channels, query)
    for channel in (channels[1], channels[-2]):
        publish(server, channel, b"2")
        came.append(channel)
    for at, token in enumerate(tokens):
        assert len(token) < 1000
        with STREAMS[kind](server, query, last_event_id=token) as reader:
            assert sorted(event["channel"] for event in reader.several(len(came) - at)) == sorted(came[at:])
            last = reader.cursor
    publish(server, channels[2], b"3")
    with STREAMS[kind](server, query, last_event_id=last) as reader:
        assert reader.next()["channel"] == channels[2]


def test_a_one_byte_message_carries_no_kilobytes(server):
    channels = names(300, 16)
    with Sse(server, query_of_names(channels)) as reader:
        tokens, _ = place_and_events(reader, server, channels)
    assert max(map(len, tokens)) < 600
    with Wire(server) as wire:
        wire.send(request_bytes("GET", "/v1/subscribe?" + query_of_names(channels), accept="text/event-stream"))
        wire.head().want(200)
        wire.chunk()
        wire.chunk()
        publish(server, channels[7], b"x")
        assert len(wire.chunk()) < 1000


def test_a_polls_own_cursor_comes_back(server):
    channels = names(230)
    with Poll(server, query_of_names(channels)) as reader:
        reader.settle()
        for channel in channels:
            publish(server, channel, b"1")
        assert seqs_of(reader.several(230)) == {channel: 1 for channel in channels}
        first = reader.cursor
        for channel in channels[::50]:
            publish(server, channel, b"2")
        assert seqs_of(reader.several(5)) == {channel: 2 for channel in channels[::50]}
        reader.cursor = first
        assert seqs_of(reader.several(5)) == {channel: 2 for channel in channels[::50]}


def test_what_could_not_come_back_is_refused_at_the_start(server):  # threat 51
    too_many = query_of_names(short_names(513))
    for accept in ("text/event-stream", "application/x-ndjson", "multipart/mixed"):
        problem = request(server, "GET", "/v1/subscribe?" + too_many, accept=accept).want_problem(400)
        assert "513 channels" in problem["detail"] and "512" in problem["detail"] and "POST" in problem["detail"]
    in_memory = "&".join(f"channel=live:{i}" for i in range(450))  # each may have an epoch of its own
    problem = request(server, "GET", "/v1/subscribe?wait=0&" + in_memory).want_problem(400)
    assert "450 channels" in problem["detail"] and "request_target_bytes_max, 8192" in problem["detail"]
    assert "POST /v1/subscribe" in problem["detail"]


def test_a_head_too_short_for_the_token_is_refused_at_the_start():
    with Server(config="all_publishes_per_s = 0\nrequest_head_bytes_max = 2K\nrequest_target_bytes_max = 2K\n") as server:
        query = "&".join(f"channel=topic:{i}" for i in range(100))
        problem = request(server, "GET", "/v1/subscribe?" + query, accept="text/event-stream").want_problem(400)
        assert "100 channels" in problem["detail"] and "request_head_bytes_max, 2048" in problem["detail"]
        few = "&".join(f"channel=topic:{i}" for i in range(30))
        with Sse(server, few) as reader:
            reader.settle()
            token = reader.cursor
        with Sse(server, few, last_event_id=token) as reader:
            reader.settle()


# --- POST ------------------------------------------------------------------------------------------------------------

def post(server, body, accept="application/json", media="application/json", **fields):
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request(server, "POST", "/v1/subscribe", sent, accept=accept, content_type=media, **fields)


def poll_by_post(server, body):
    members = members_of(post(server, body).want(200).body.decode())
    return [event_of(text) for text in items_of(members["messages"][1])], members["cursor"][0]


@pytest.mark.parametrize("bytes_each", [22, 206])
def test_a_thousand_channels_by_posted_polls(server, bytes_each):
    channels = names(1000, bytes_each)
    events, cursor = poll_by_post(server, {"channels": channels, "wait": 0})
    assert events == []
    for channel in channels[::100]:
        publish(server, channel, b"1")
    events, after = poll_by_post(server, {"cursor": cursor, "wait": 5})
    while len(events) < 10:
        more, after = poll_by_post(server, {"cursor": after, "wait": 5})
        events += more
    assert seqs_of(events) == {channel: 1 for channel in channels[::100]}
    publish(server, channels[5], b"1")
    for body in {"cursor": after}, {"cursor": after, "channels": channels}:
        assert seqs_of(poll_by_post(server, {**body, "wait": 5})[0]) == {channels[5]: 1}


def test_a_posted_stream_comes_back_by_header_and_by_body(server):
    channels = names(512, 100)
    with PostingSse(server, {"channels": channels}) as reader:
        tokens, events = place_and_events(reader, server, channels)
    publish(server, channels[1], b"1")
    for body, fields in [({"channels": channels, "cursor": tokens[2]}, {}),
                         ({"channels": channels}, {"last_event_id": tokens[2]}),
                         ({"channels": channels, "cursor": tokens[0]}, {"last_event_id": tokens[2]})]:
        with PostingSse(server, body, **fields) as reader:
            assert seqs_of(reader.several(2)) == {events[2]["channel"]: 1, channels[1]: 1}


def test_what_a_posted_subscription_may_say(server):
    channel, other = fresh(), fresh()
    for at in channel, other:
        publish(server, at, b"1")
        publish(server, at, b"2")
    epoch = history(server, channel).json()["epoch"]
    events, _ = poll_by_post(server, {"channels": [{"channel": channel, "after": 1, "epoch": epoch},
                                                   {"channel": other, "last": 1}]})
    assert seqs_of(events) == {channel: 2, other: 2}
    for body, word in [({"channels": [channel], "waite": 1}, 'did you mean "wait"'), ([], "JSON object"),
                       (b"", "JSON object"), ({}, "at least one channel"), ({"channels": [3]}, "names"),
                       ({"channels": [{"channel": channel, "Last": 3}]}, '"Last": did you mean "last"')]:
        assert word in post(server, body).want_problem(400)["detail"]
    post(server, {"channels": [channel]}, media="text/plain").want_problem(415)
    coded = post(server, {"channels": [channel], "wait": 0}, content_encoding="gzip")
    assert "Content-Encoding" in coded.want_problem(415)["detail"]
    post(server, {"channels": ["nowhere:x"]}).want_problem(404)
    post(server, {"channels": [channel]}, accept="text/html").want_problem(406)
    post(server, b"[" * (1 << 20) + b"[").want_problem(413)
    assert request(server, "PUT", "/v1/subscribe", b"{}").want(405).field("Allow") == "GET, POST"


def test_a_page_may_post(server):
    origin = f"http://localhost:{server.port}"
    answer = request(server, "OPTIONS", "/v1/subscribe", origin=origin, access_control_request_method="POST",
                     access_control_request_headers="content-type, last-event-id")
    assert answer.status == 204 and "POST" in answer.field("Access-Control-Allow-Methods")
    assert "Content-Type" in answer.field("Access-Control-Allow-Headers")
    answer = post(server, {"channels": [fresh()], "wait": 0}, origin=origin).want(200)
    assert answer.field("Access-Control-Allow-Origin") == origin


def test_a_key_is_asked_for_before_the_body():
    with Server(config="all_publishes_per_s = 0\n[key all]\nsecret = 0123456789abcdef-all\nrights = subscribe\n") as server:
        body = {"channels": ["user:alice"], "wait": 0}
        post(server, body).want_problem(401)
        post(server, body, authorization="Bearer wrong").want_problem(401)
        post(server, body, authorization="Bearer 0123456789abcdef-all").want(200)


# --- sets beside the wrong channels ----------------------------------------------------------------------------------

def test_a_set_belongs_to_its_channels(server):  # threat 79
    channels = names(100)
    query = query_of_names(channels)
    with Sse(server, query) as reader:
        reader.settle()
        token = reader.cursor
    for more, word in [("", "without their names"), (query + "&channel=topic:one-more", "the request names 101"),
                       (query_of_names(channels[1:]), "the request names 99"),
                       (query_of_names(channels[1:] + ["topic:other"]), "another set of channels")]:
        problem = request(server, "GET", "/v1/subscribe?" + more, last_event_id=token,
                          accept="text/event-stream").want_problem(400)
        assert word in problem["detail"]
    with Sse(server, query_of_names(reversed(channels)), last_event_id=token) as reader:  # the order is not a part of it
        reader.settle()


def test_a_stream_that_began_with_a_cursor_alone_comes_back(server):
    """The URL names its channels by a poll's cursor; the browser repeats it with its own Last-Event-ID."""
    channels = names(100)
    with Poll(server, query_of_names(channels)) as poll:
        poll.settle()
    url = "cursor=" + poll.cursor
    with Sse(server, url) as reader:
        tokens, events = place_and_events(reader, server, channels)
    with Sse(server, url, last_event_id=tokens[1]) as reader:
        assert seqs_of(reader.several(2)) == seqs_of(events[1:])
    # by the header alone the names are gone with the next one, so the tokens name them
    with Sse(server, "", last_event_id=poll.cursor) as reader:
        assert seqs_of(reader.several(3)) == seqs_of(events)
        own = reader.cursor
    publish(server, channels[3], b"1")
    with Sse(server, "", last_event_id=own) as reader:
        assert seqs_of([reader.next()]) == {channels[3]: 1}


def test_multipart_says_its_place_with_each_part(server):
    channels = names(100)
    publish(server, channels[50], b"1")
    with Multipart(server, query_of_names(channels) + f"&after={channels[50]}@0") as reader:
        reader.next()
        token = reader.cursor
    publish(server, channels[50], b"2")
    with Multipart(server, query_of_names(channels), last_event_id=token) as reader:
        assert reader.next()["seq"] == 2


# --- WebSockets ------------------------------------------------------------------------------------------------------

def want_subscribed(link, count):
    for _ in range(count):
        link.frame("subscribed")


@pytest.mark.parametrize("bytes_each", [22, 206])
def test_a_websocket_of_a_thousand_channels_comes_back(server, bytes_each):
    """By its cursor, by its places, and by long polls: the token of 1,000 channels is longer than any URL."""
    channels = names(1000, bytes_each)
    with Ws(server) as link:
        for channel in channels:
            link.say("subscribe", channel=channel)
        want_subscribed(link, 1000)
        publish(server, channels[7], b"1")
        assert link.next()["channel"] == channels[7]
        cursor = link.cursor
    for channel in channels[::250]:
        publish(server, channel, b"1")
    wanted = {channel: 1 for channel in channels[::250]}
    epoch = history(server, channels[7]).json()["epoch"]
    places = {channel: {"seq": int(channel == channels[7]), "epoch": epoch} for channel in channels}
    for members in {"cursor": cursor}, {"resume": places}:
        with Ws(server) as link:
            assert link.ask("connect", "connected", **members)["resumed"] is True
            want_subscribed(link, 1000)
            assert seqs_of(link.several(4)) == wanted
    got, cursor = {}, cursor
    while len(got) < 4:
        events, cursor = poll_by_post(server, {"cursor": cursor, "wait": 5})
        got |= seqs_of(events)
    assert got == wanted


def test_what_a_connect_may_bring(server):
    with Ws(server) as link:
        assert link.ask("connect", "connected", cursor="garbage")["resumed"] is False
        assert "not a cursor" in link.frame("error")["reason"]
        with Sse(server, query_of_names(names(100))) as reader:
            reader.settle()
            token = reader.cursor
        link.say("connect", cursor=token)
        link.frame("connected")
        assert "without their names" in link.frame("error")["reason"]
        link.say("connect", resume={"topic:a": {"seq": 1, "epoc": "x"}})
        link.frame("connected")
        assert link.frame("error")["reason"].endswith('"epoc": did you mean "epoch"?')


@pytest.mark.parametrize("frame, word", [
    ({"type": "subscribe", "channel": "topic:a", "Last": 3}, 'unknown member "Last": did you mean "last"?'),
    ({"type": "subscribe", "channel": "topic:a", "since": 3}, 'unknown member "since": known are'),
    ({"type": "publish", "channel": "topic:a", "data": 1, "Ttl": 1}, 'unknown member "Ttl": did you mean "ttl"?'),
    ({"type": "connect", "tokn": "x"}, 'unknown member "tokn": did you mean "token"?')])
def test_a_misspelt_member_of_a_frame_is_refused(server, frame, word):
    with Ws(server) as link:
        link.say_text(json.dumps({**frame, "ref": 5}))
        error = link.frame("error")
        assert (error["code"], error["ref"]) == (400, 5) and word in error["reason"]
        assert link.ask("connect", "connected", device="phone")["resumed"] is False  # reserved


# --- the words of a query --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("word", ["last_event_id", "lastEventId", "lastEventID", "Last-Event-ID", "last-event-id"])
def test_the_last_event_id_has_many_names(server, word):
    channel = fresh()
    for payload in b"1", b"2", b"3":
        publish(server, channel, payload)
    with Sse(server, f"after={channel}@0") as reader:
        tokens = []
        for _ in range(3):
            reader.next()
            tokens.append(reader.cursor)
    for more in f"&{word}={tokens[1]}", f"&last_event_id={tokens[0]}&{word}={tokens[1]}":
        with Sse(server, f"channel={channel}{more}") as reader:
            assert reader.next()["seq"] == 3


@pytest.mark.parametrize("query, words", [
    ("channel=topic:a&sinse=5", ['"sinse"']), ("channels=topic:a", ['"channels": did you mean "channel"?']),
    ("channel=topic:a&lastEventld=x", ['did you mean "last_event_id"?']), ("channel[]=topic:a", ['"channel[]": did you mean']),
    ("channel=topic:a&channel=topic:b&after=0&after=0&wait=0", ["two places", "after=topic:a@0"]),
    ("channel=topic:a&channel=topic:b&after=0&wait=0", ["can't be told", "after=topic:a@0"])])
def test_what_would_lose_messages_is_refused(server, query, words):
    for path, accept in ("/v1/subscribe", "text/event-stream"), ("/v1/subscribe", "application/json"):
        problem = request(server, "GET", f"{path}?{query}", accept=accept).want_problem(400)
        assert all(word in problem["detail"] for word in words)
    with Wire(server) as wire:
        wire.send(handshake_bytes("/v1/ws?" + query))
        assert words[0] in wire.answer().want_problem(400)["detail"]


@pytest.mark.parametrize("kind", ["sse", "poll", "ws"])
def test_places_that_any_tool_can_write(server, kind):
    one, two, odd = fresh(), fresh(), fresh() + "@home"
    for channel in one, two, odd:
        publish_many(server, channel, [b"1", b"2", b"3"])
    query = urllib.parse.urlencode({"channel": [one, two], "after": [two + "@1", odd + "@2"], "last": one + "@1",
                                    "_": "1760000000"}, doseq=True)
    with READERS[kind](server, query) as reader:
        got = [(event["channel"], event["seq"]) for event in reader.several(4)]
    assert sorted(got) == sorted([(one, 3), (two, 2), (two, 3), (odd, 3)])


# --- cut again and again ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["sse", "ndjson", "multipart"])
def test_a_link_that_is_cut_everywhere_loses_and_doubles_nothing(server, kind):
    """100 channels have tokens of a set; each connection ends after a few kilobytes, wherever that is."""
    channels = names(100)
    rng = random.Random(kind)
    with Link(server.port) as link:
        link.bytes_max = 9000
        with Following(link.url, kind, channels, after=0) as reader:
            for seq in range(1, 4):
                for channel in channels:
                    publish(server, channel, b"%d" % seq)
                    link.bytes_max = rng.randrange(2000, 12000)
            for channel in channels:
                reader.wait_head(channel, 3)
        assert link.taken > 5
    for channel in channels:
        assert [event.seq for event in reader.of(channel)] == [1, 2, 3]
        assert not reader.gaps(channel)
