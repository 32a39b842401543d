"""Receiving, as docs/protocol.md specifies it: every transport, every way to say where to begin, gaps, heartbeats,
and readers that change from one transport to another on the way.

LW_WAITING       how many messages wait for a reader; 20,000 unless told otherwise
LW_POLL_ABORTS   how many polls are aborted just before their answers; 1,000 unless told otherwise
"""
import base64
import email.parser
import json
import os
import random
import struct
import threading
import time
import urllib.parse

import pytest

from longwire_server import Server
from native_link import NativeLink
from waiting import wait_until
from wire import (READERS, STREAMS, Ended, Multipart, Ndjson, Poll, Sse, Wire, Ws, event_of, fresh, handshake_bytes,
                  history, items_of, members_of, metric, path_of, publish, publish_many, query_of, request,
                  request_bytes, wait_for_subscribers)

WAITING = int(os.environ.get("LW_WAITING", "20000"))
POLL_ABORTS = int(os.environ.get("LW_POLL_ABORTS", "1000"))
ACCEPTS = ["text/event-stream", "application/json", "application/x-ndjson", "multipart/mixed", "multipart/form-data"]
MIXED = bytes(range(256)) * 4
PAYLOAD_MAX = 1024 * 1024


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server() as server:
        yield server


@pytest.fixture(name="kind", params=READERS)
def fixture_kind(request):
    return READERS[request.param]


def filled(server, count=5, namespace="topic"):
    """A fresh channel with messages whose payloads are their seqs."""
    channel = fresh(namespace)
    publish_many(server, channel, [b"%d" % seq for seq in range(1, count + 1)])
    return channel


def next_seqs(reader, count):
    events = reader.several(count)
    assert all(event["type"] == "message" and event["payload"] == b"%d" % event["seq"] for event in events), events
    return [event["seq"] for event in events]


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def sealed(raw):
    check = 0x811c9dc5
    for byte in raw:
        check = (check ^ byte) * 0x01000193 & 0xffffffff
    return base64.urlsafe_b64encode(raw + struct.pack("!I", check)).decode().rstrip("=")


def token_of(*places):
    """A cursor made from its description in src/codec/token/token.h."""
    epochs, before = sorted({epoch for _, epoch, _ in places}), b""
    raw = b"\x02" + varint(len(places)) + varint(len(epochs)) + b"".join(map(bytes.fromhex, epochs))
    for channel, epoch, seq in places:
        name = channel.encode()
        shared = len(os.path.commonprefix([before, name]))
        raw += (bytes([shared]) if before else b"") + bytes([len(name) - shared]) + name[shared:]
        raw += (varint(epochs.index(epoch)) if len(epochs) > 1 else b"") + varint(seq)
        before = name
    return sealed(raw)


def old_token_of(*places):
    """As the first version wrote it."""
    raw = b"\x01" + varint(len(places))
    for channel, epoch, seq in places:
        raw += bytes([len(channel.encode())]) + channel.encode() + bytes.fromhex(epoch) + varint(seq)
    return sealed(raw)


# --- where to begin --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("place, seqs", [
    ("after=0", [1, 2, 3, 4, 5]), ("after=3", [4, 5]), ("after=5", []), ("last=2", [4, 5]), ("last=0", []),
    ("last=99", [1, 2, 3, 4, 5]), (None, [])])
def test_places_in_the_query(server, kind, place, seqs):
    channel = filled(server)
    with kind(server, query_of((channel, place))) as reader:
        assert next_seqs(reader, len(seqs)) == seqs
        reader.settle()
        publish(server, channel, b"6")
        assert next_seqs(reader, 1) == [6]


def test_a_cursor_goes_on_where_it_was_taken(server, kind):
    channel = filled(server, 4)
    for other in READERS.values():
        with kind(server, query_of((channel, "after=0"))) as reader:
            if kind is not Poll:
                assert next_seqs(reader, 2) == [1, 2]
            cursor = token_of((channel, history(server, channel).json()["epoch"], 2))
            if kind not in (Poll, Ws):  # those two give the place behind all that they have sent
                assert reader.cursor == cursor
        with other(server, "cursor=" + cursor) as reader:
            assert next_seqs(reader, 2) == [3, 4]


def test_ways_to_hand_a_cursor_in(server, kind):
    channel = filled(server)
    cursor = token_of((channel, history(server, channel).json()["epoch"], 3))
    for query, fields in [
            ("cursor=" + cursor, {}), ("last_event_id=" + cursor, {}), ("", {"last_event_id": cursor}),
            (query_of((channel, "after=0")), {"last_event_id": cursor}),
            (query_of((channel, "after=0")) + "&cursor=" + cursor, {}),
            ("cursor=" + cursor + "&" + query_of((channel, "last=5")), {}),
            ("cursor=" + cursor + "&" + query_of(channel), {})]:
        with kind(server, query, **fields) as reader:
            assert next_seqs(reader, 2) == [4, 5], (query, fields)


def test_which_place_beats_which(server, kind):
    """The order of precedence: Last-Event-ID, the header before the query; then cursor=; then after= and last=."""
    channel = filled(server, 9)
    epoch = history(server, channel).json()["epoch"]
    header, word, cursor = (token_of((channel, epoch, seq)) for seq in (8, 6, 4))
    query = query_of((channel, "after=2"))
    for words, fields, first in [("", {}, 3), (f"&cursor={cursor}", {}, 5),
                                 (f"&cursor={cursor}&last_event_id={word}", {}, 7),
                                 (f"&cursor={cursor}&last_event_id={word}", {"last_event_id": header}, 9),
                                 (f"&cursor={cursor}", {"last_event_id": header}, 9),
                                 (f"&last_event_id={word}&cursor={cursor}", {"last_event_id": ""}, 7)]:
        with kind(server, query + words, **fields) as reader:
            assert next_seqs(reader, 1) == [first], (words, fields)


def test_channels_beside_a_cursor(server, kind):
    """The listed ones are followed, from the cursor's place where it has one."""
    known, unlisted, new = (filled(server) for _ in range(3))
    epoch = history(server, known).json()["epoch"]
    cursor = token_of((known, epoch, 4), (unlisted, epoch, 0))
    with kind(server, query_of(known, (new, "last=1")) + "&cursor=" + cursor) as reader:
        assert {(event["channel"], event["seq"]) for event in reader.several(2)} == {(known, 5), (new, 5)}
        for channel in (unlisted, known):
            publish(server, channel, b"6")
        event = reader.next()
        assert (event["channel"], event["seq"]) == (known, 6)


def test_each_channel_has_its_own_place(server, kind):
    places = {"after=0": [1, 2, 3, 4, 5], "after=4": [5], "last=2": [4, 5], None: []}
    channels = {filled(server): (place, seqs) for place, seqs in places.items()}
    with kind(server, query_of(*((channel, place) for channel, (place, _) in channels.items()))) as reader:
        events = reader.several(8)
        reader.settle()
        for channel in channels:
            publish(server, channel, b"6")
        events += reader.several(4)
        for channel, (_, seqs) in channels.items():
            assert [event["seq"] for event in events if event["channel"] == channel] == seqs + [6]


def test_the_cursor_of_several_channels(server, kind):
    first, second = filled(server, 3), filled(server, 3)
    with kind(server, query_of((first, "after=0"), (second, "after=0"))) as reader:
        seen = [(event["channel"], event["seq"]) for event in reader.several(6)]
        cursor = reader.cursor
    for channel in (first, second):
        assert [seq for at, seq in seen if at == channel] == [1, 2, 3]
        publish(server, channel, b"4")
    for other in READERS.values():
        with other(server, "cursor=" + cursor) as reader:
            assert {(event["channel"], event["seq"]) for event in reader.several(2)} == {(first, 4), (second, 4)}


def test_every_message_of_a_stream_carries_its_own_cursor(server):
    first, second = filled(server, 3), filled(server, 3)
    for kind in STREAMS.values():
        with kind(server, query_of((first, "after=0"), (second, "after=0"))) as reader:
            cursors = []
            for _ in range(6):
                reader.next()
                cursors.append(reader.cursor)
        assert len(set(cursors)) == 6
        with Poll(server, "cursor=" + cursors[3]) as reader:
            assert len(reader.page()) == 2


def test_a_hundred_channels(server, kind):
    channels = [filled(server, 1) for _ in range(100)]
    with kind(server, query_of(*((channel, "after=0") for channel in channels))) as reader:
        assert sorted(event["channel"] for event in reader.several(100)) == sorted(channels)
        for channel in channels:
            publish(server, channel, b"2")
        assert sorted(event["channel"] for event in reader.several(100)) == sorted(channels)
        assert len(reader.cursor) < 8192  # fits into a request


@pytest.mark.parametrize("query, status", [
    ("", 400), ("channel=", 400), ("channel=nocolon", 400), ("channel=nowhere:x", 404), ("channel=topic:", 400),
    ("after=1", 400), ("after=1&channel=topic:a", 400), ("last=1", 400), ("channel=topic:a&after=-1", 400),
    ("channel=topic:a&after=x", 400), ("channel=topic:a&after=", 400), ("channel=topic:a&last=1.5", 400),
    ("channel=topic:a&after=18446744073709551615", 400), ("channel=topic:a&after=99999999999999999999", 400),
    ("channel=topic:a&channel=topic:a", 400), ("channel=topic:%00", 400), ("channel=topic:%zz", 400),
    ("channel=topic:%FF", 400), ("channel=topic:a&wait=x", 400), ("channel=topic:a&wait=99999999", 400),
    ("cursor=nonsense", 400), ("cursor=%00", 400), ("channel=topic:a&cursor=AAAA", 400),
    ("channel=topic:" + "x" * 201, 400), ("&".join(f"channel=topic:m{i}" for i in range(300)), 200)])
def test_what_a_query_may_not_say(server, query, status):
    if status == 200:
        request(server, "GET", "/v1/subscribe?wait=0&" + query).want(200)
        return
    for accept in ("text/event-stream", "application/json", "multipart/mixed", "application/x-ndjson"):
        request(server, "GET", "/v1/subscribe?" + query, accept=accept).want_problem(status)
    if query:
        with Wire(server) as wire:
            wire.send(handshake_bytes("/v1/ws?" + query))
            wire.answer().want_problem(status)


def test_too_many_channels():
    with Server(config="channels_per_connection_max = 3\n") as server:
        three = query_of("topic:a", "topic:b", "topic:c")
        request(server, "GET", f"/v1/subscribe?{three}&wait=0").want(200)
        problem = request(server, "GET", f"/v1/subscribe?{three}&channel=topic:d&wait=0").want_problem(400)
        assert "channels_per_connection_max" in problem["detail"]


@pytest.mark.parametrize("token", [  # threat 79
    "x", "AAAA", "!!!!", "é", "A" * 5000, "AQ==", "AQAAAAAA", "\"quoted\"", "..", "0", "-1", "null"])
def test_event_ids_that_are_garbage(server, token):
    for fields, query in ({"last_event_id": token}, ""), ({}, "&last_event_id=" + urllib.parse.quote(token)):
        for accept in ACCEPTS:
            request(server, "GET", "/v1/subscribe?channel=topic:a" + query, accept=accept,
                    **fields).want_problem(400)
        with Wire(server) as wire:
            wire.send(handshake_bytes("/v1/ws?channel=topic:a" + query, **fields))
            wire.answer().want_problem(400)


def test_every_byte_of_a_cursor_counts(server):  # threat 79
    channel = filled(server)
    good = token_of((channel, history(server, channel).json()["epoch"], 2))
    with Wire(server) as wire:
        for at in range(len(good)):
            for bad in (good[:at], good[:at] + "_"[good[at] == "_":] + good[at + 1:], good[:at] + "A" + good[at:]):
                if bad not in ("", good):
                    wire.ask("GET", "/v1/subscribe?wait=0&cursor=" + bad, accept="application/json").want_problem(400)


def test_an_event_id_of_a_megabyte(server):  # threats 51, 79
    for accept in ACCEPTS:
        with Wire(server) as wire:
            wire.send(request_bytes("GET", "/v1/subscribe?channel=topic:a", accept=accept, last_event_id="A" * (1 << 20)))
            wire.answer().want_problem(431)
    with Wire(server) as wire:
        wire.send(handshake_bytes("/v1/ws?channel=topic:a", last_event_id="A" * (1 << 20)))
        wire.answer().want_problem(431)


def test_a_cursor_of_another_channel_says_nothing_about_this_one(server, kind):  # threat 79
    """Whoever has been far in one channel begins in another where its request says."""
    channel, other = filled(server, 3), filled(server, 9)
    epoch = history(server, other).json()["epoch"]
    with kind(server, query_of((channel, "after=1")) + "&cursor=" + token_of((other, epoch, 7))) as reader:
        heard = reader.several(2)
        assert [(event["channel"], event["seq"]) for event in heard] == [(channel, 2), (channel, 3)]
        publish(server, other, b"not for this reader")
        publish(server, channel, b"4")
        assert next_seqs(reader, 1) == [4]


def test_a_cursor_grants_nothing():  # threats 76, 79
    config = "[key all]\nsecret = 0123456789abcdef-all\nrights = publish, subscribe\n"
    with Server(config=config) as server:
        bearer = {"authorization": "Bearer 0123456789abcdef-all"}
        epoch = publish(server, "user:alice", b"private", **bearer)["epoch"]
        publish(server, "topic:a", b"public", **bearer)
        for query, fields in [("cursor=" + token_of(("user:alice", epoch, 0)), {}),
                              ("", {"last_event_id": token_of(("topic:a", epoch, 0), ("user:alice", epoch, 0))})]:
            for accept in ACCEPTS:
                request(server, "GET", "/v1/subscribe?wait=0&" + query, accept=accept, **fields).want_problem(401)
            with Wire(server) as wire:
                wire.send(handshake_bytes("/v1/ws?" + query, **fields))
                wire.answer().want_problem(401)
        mixed = token_of(("topic:a", epoch, 0), ("user:alice", epoch, 0))
        answer = request(server, "GET", f"/v1/subscribe?wait=0&channel=topic:a&cursor={mixed}").want(200)
        assert [message["data"] for message in answer.json()["messages"]] == ["public"]


# --- gaps ------------------------------------------------------------------------------------------------------------

def want_gap(event, channel, first, last, why):
    assert event["type"] == "gap", event
    assert {name: event[name] for name in ("channel", "from", "to", "why")} == \
        {"channel": channel, "from": first, "to": last, "why": why}


def test_ahead_of_the_head(server, kind):  # threat 79
    channel = filled(server, 3)
    epoch = history(server, channel).json()["epoch"]
    for query in (query_of((channel, "after=10")), "cursor=" + token_of((channel, epoch, 10))):
        head = request(server, "GET", path_of(channel)).json()["head"]
        with kind(server, query) as reader:
            want_gap(reader.next(), channel, head + 1, 10, "ahead")
            publish(server, channel, b"%d" % (head + 1))
            assert next_seqs(reader, 1) == [head + 1]
        with kind(server, query) as reader:  # … and the gap's own cursor is good
            reader.next()
            cursor = reader.cursor
        publish(server, channel, b"%d" % (head + 2))
        with kind(server, "cursor=" + cursor) as reader:
            assert next_seqs(reader, 1) == [head + 2]


def test_ahead_in_a_channel_never_used(server, kind):
    channel = fresh()
    with kind(server, query_of((channel, "after=7"))) as reader:
        want_gap(reader.next(), channel, 1, 7, "ahead")
        publish(server, channel, b"1")
        assert next_seqs(reader, 1) == [1]


SHORT = """
tail_messages_max = 1
[namespace short]
durability = memory
keep_count = 5
[namespace few]
keep_count = 5
"""


@pytest.fixture(name="short_server", scope="module")
def fixture_short_server():
    with Server(config=SHORT) as server:
        yield server


def test_what_is_no_longer_kept_is_a_gap(short_server, kind):
    channel = filled(short_server, 20, "short")
    epoch = history(short_server, channel).json()["epoch"]
    for query in (query_of((channel, "after=3")), "cursor=" + token_of((channel, epoch, 3))):
        with kind(short_server, query) as reader:
            want_gap(reader.next(), channel, 4, 15, "trimmed")
            assert next_seqs(reader, 5) == [16, 17, 18, 19, 20]
    for place, first in ("after=0", 16), ("after=15", 16), ("after=17", 18), ("last=3", 18), ("last=50", 16):
        with kind(short_server, query_of((channel, place))) as reader:
            assert next_seqs(reader, 21 - first) == list(range(first, 21)), place


def test_a_durable_channel_trims_too(short_server, kind):
    channel = filled(short_server, 20, "few")
    wait_until(lambda: history(short_server, channel).json()["first"] == 16)
    with kind(short_server, query_of((channel, "after=3"))) as reader:
        want_gap(reader.next(), channel, 4, 15, "trimmed")
        assert next_seqs(reader, 5) == [16, 17, 18, 19, 20]


def test_gaps_stand_in_history_lists(short_server):
    channel = filled(short_server, 20, "short")
    page = history(short_server, channel, "?after=3&limit=3").json()
    want_gap(page["messages"][0], channel, 4, 15, "trimmed")
    assert page["first"] == 16
    assert [event["seq"] for event in page["messages"][1:]][:2] == [16, 17]


def test_a_poll_while_the_ring_wraps(short_server):  # threat 82
    channel = filled(short_server, 3, "short")
    with Poll(short_server, query_of((channel, "after=0"))) as poll:
        assert next_seqs(poll, 3) == [1, 2, 3]
        for round_ in range(10):
            last = 3 + 8 * round_
            publish_many(short_server, channel, [b"%d" % seq for seq in range(last + 1, last + 9)])
            page = poll.page()
            # What the ring let go may still be on its way in the live feed: then it comes, and is no gap.
            first = page[0]["seq"] if page[0]["type"] == "message" else page[1]["seq"]
            assert last + 1 <= first <= last + 4
            if first > last + 1:
                want_gap(page.pop(0), channel, last + 1, first - 1, "trimmed")
            assert [event["seq"] for event in page] == list(range(first, last + 9))


# --- a new life of a log ---------------------------------------------------------------------------------------------

def test_a_new_data_directory_is_noticed(kind):  # threat 14
    with Server() as server:
        first = publish(server, "topic:a", b"1")
        publish(server, "topic:a", b"2")
        with kind(server, query_of(("topic:a", "after=0"))) as reader:
            reader.several(2)
            cursor = reader.cursor
        server.stop()
        server.data = server.home / "another"
        server.start()
        second = publish(server, "topic:a", b"1")
        assert second["epoch"] != first["epoch"] and second["seq"] == 1
        with kind(server, "cursor=" + cursor) as reader:
            gap, event = reader.several(2)
            assert (gap["type"], gap["why"], gap["epoch"]) == ("gap", "epoch", second["epoch"])
            assert (event["seq"], event["epoch"], event["payload"]) == (1, second["epoch"], b"1")
            cursor = reader.cursor
        publish(server, "topic:a", b"2")
        with kind(server, "cursor=" + cursor) as reader:
            assert next_seqs(reader, 1) == [2]


def test_memory_channels_begin_anew_at_each_start_and_durable_ones_do_not():
    with Server() as server:
        before = {channel: publish(server, channel, b"1") for channel in ("topic:a", "live:a")}
        with Ndjson(server, query_of(("topic:a", "after=0"), ("live:a", "after=0"))) as reader:
            reader.several(2)
            cursor = reader.cursor
        server.restart()
        after = {channel: publish(server, channel, b"2") for channel in ("topic:a", "live:a")}
        assert after["topic:a"]["epoch"] == before["topic:a"]["epoch"] and after["topic:a"]["seq"] == 2
        assert after["live:a"]["epoch"] != before["live:a"]["epoch"] and after["live:a"]["seq"] == 1
        for kind in READERS.values():
            with kind(server, "cursor=" + cursor) as reader:
                events = reader.several(3)
                assert [event["seq"] for event in events if event["channel"] == "topic:a"] == [2]
                gap, event = [event for event in events if event["channel"] == "live:a"]
                assert (gap["type"], gap["why"], event["seq"]) == ("gap", "epoch", 1)


# --- recall ----------------------------------------------------------------------------------------------------------

def test_a_recall_comes_in_its_order(server, kind):
    channel = filled(server, 3)
    with kind(server, query_of((channel, "after=0"))) as live:
        assert next_seqs(live, 3) == [1, 2, 3]
        request(server, "DELETE", path_of(channel) + "/messages/2").want(200)
        publish(server, channel, b"5")
        recall = live.next()
        assert (recall["type"], recall["seq"], recall["target"], recall["channel"]) == ("recall", 4, 2, channel)
        assert next_seqs(live, 1) == [5]
    with kind(server, query_of((channel, "after=0"))) as late:
        one, gone, three, recall, five = late.several(5)
        assert [event["seq"] for event in (one, gone, three, recall, five)] == [1, 2, 3, 4, 5]
        assert (gone["type"], gone["recalled"]) == ("message", True)
        assert "payload" not in gone and "media" not in gone
        assert (recall["type"], recall["target"]) == ("recall", 2)
        assert (three["payload"], five["payload"]) == (b"3", b"5")


# --- payloads --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("payload", [b"", b"x" * PAYLOAD_MAX, bytes(range(256)) * (PAYLOAD_MAX // 256)],
                         ids=["empty", "largest-text", "largest-binary"])
def test_empty_and_largest_messages(server, kind, payload):  # threats 56, 83
    channel = fresh()
    for _ in range(2):
        publish(server, channel, payload)
    with kind(server, query_of((channel, "after=0"))) as reader:
        for _ in range(2):
            assert reader.next()["payload"] == payload
        publish(server, channel, b"on")
        assert reader.next()["payload"] == b"on"


@pytest.fixture(name="long_channel", scope="module")
def fixture_long_channel(server):
    channel = fresh()
    for start in range(0, WAITING, 1000):
        publish_many(server, channel, [b"%d" % seq for seq in range(start + 1, start + 1001)])
    return channel


def test_very_many_waiting(server, kind, long_channel):  # threat 83
    with kind(server, query_of((long_channel, "after=0"))) as reader:
        assert next_seqs(reader, WAITING) == list(range(1, WAITING + 1))


def test_very_many_waiting_for_a_native_client(server, long_channel):  # threat 83
    with NativeLink(server) as link:
        link.ask("connect", "connected", heartbeat=600)    # a question of the server would wait behind megabytes in this kernel
        link.say("subscribe", channel=long_channel, after=0)
        assert [link.next()["seq"] for _ in range(WAITING)] == list(range(1, WAITING + 1))


@pytest.mark.parametrize("payload", [b"", b"x" * PAYLOAD_MAX, (MIXED * 1024)[:PAYLOAD_MAX]],
                         ids=["empty", "largest-text", "largest-binary"])
def test_empty_and_largest_messages_for_a_native_client(server, payload):  # threats 56, 83
    channel = fresh()
    with NativeLink(server) as link:
        publish(server, channel, payload, media="application/octet-stream")
        link.say("subscribe", channel=channel, after=0)
        publish(server, channel, payload, media="application/octet-stream")
        for seq in (1, 2):
            event = link.next()
            assert (event["seq"], event["payload"]) == (seq, payload)


def test_a_poll_gives_as_much_as_it_may_and_says_where_to_go_on(server, long_channel):
    with Poll(server, query_of((long_channel, "after=0"))) as poll:
        pages = [poll.page() for _ in range(5)]
    assert all(page for page in pages)
    seqs = [event["seq"] for page in pages for event in page]
    assert seqs == list(range(1, len(seqs) + 1))


def test_multipart_as_pythons_email_package_reads_it():
    payloads = [b"text", b"", b"two\r\nlines\r\n", MIXED, b"--", b"\r\n--\r\n", "é€😀".encode(), b"\n\n\n"]
    with Server() as server:
        with Multipart(server, query_of("topic:a")) as reader:
            wait_until(lambda: metric(server, "longwire_channels_followed") == 1)
            boundary = reader.delimiter[2:]
            tricky = payloads + [boundary, b"--" + boundary, b"\r\n--" + boundary + b"\r\n", b"--" + boundary + b"--"]
            for payload in tricky:
                publish(server, "topic:a", payload, media="application/octet-stream")
            heard = reader.several(len(tricky))
            assert [event["payload"] for event in heard] == tricky
        with Multipart(server, query_of(("topic:a", "after=0"))) as reader:
            while reader.text.count(reader.delimiter) < len(heard):
                reader.fill()
            process = server.terminate()
            with pytest.raises(Ended):
                while True:
                    reader.fill()
            raw = reader.delimiter + b"\r\n" + reader.text
            head = b"Content-Type: " + reader.answer.field("Content-Type").encode() + b"\r\n\r\n"
        server.wait_stopped(process)
        message = email.parser.BytesParser().parsebytes(head + raw)
        assert message.is_multipart() and not message.defects
        parts = [part for part in message.get_payload() if part["Longwire-Seq"]]
        assert [int(part["Longwire-Seq"]) for part in parts] == list(range(1, len(tricky) + 1))
        assert [int(part["Content-Length"]) for part in parts] == [len(payload) for payload in tricky]


# --- framing of the answers ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("accept, media", [
    (None, "application/json"), ("*/*", "application/json"), ("application/json", "application/json"),
    ("text/event-stream", "text/event-stream"), ("TEXT/Event-Stream", "text/event-stream"),
    ("application/x-ndjson", "application/x-ndjson"), ("multipart/mixed", "multipart/mixed"),
    ("multipart/form-data", "multipart/form-data"), ("text/html, text/event-stream;q=0.9", "text/event-stream"),
    ("text/*", "text/event-stream"), ("multipart/*", "multipart/mixed"), ("text/html, */*;q=0.1", "application/json"),
    ("text/html", None), ("application/xml, image/*", None), ("text", None), (",", None), ("text/event-streams", None)])
def test_accept(server, accept, media):
    channel = filled(server, 1)
    with Wire(server) as wire:
        wire.send(request_bytes("GET", "/v1/subscribe?" + query_of((channel, "after=0")), accept=accept))
        answer = wire.head()
        if media is None:
            assert answer.status == 406 and answer.field("Content-Type") == "application/problem+json"
        else:
            assert answer.want(200).field("Content-Type").split(";")[0] == media


@pytest.mark.parametrize("name", STREAMS)
def test_heads_of_streams(server, name):
    channel = filled(server, 1)
    with STREAMS[name](server, query_of((channel, "after=0"))) as reader:
        assert reader.answer.field("Cache-Control") == "no-store, no-transform"
        assert reader.answer.field("X-Accel-Buffering") == "no"  # threat 84
        assert reader.answer.field("Content-Length") is None
        reader.next()
        if name == "sse":
            assert 500 <= reader.retry <= 1500
            assert reader.answer.field("Content-Type") == "text/event-stream; charset=utf-8"


@pytest.mark.parametrize("name", STREAMS)
def test_streams_of_http_1_0_are_not_chunked(server, name):
    channel = filled(server, 3)
    with STREAMS[name](server, query_of((channel, "after=0")), minor=0) as reader:
        assert next_seqs(reader, 3) == [1, 2, 3]
        publish(server, channel, b"4")
        assert next_seqs(reader, 1) == [4]


def test_a_poll_of_http_1_0(server):
    channel = filled(server, 1)
    with Wire(server) as wire:
        wire.send(request_bytes("GET", "/v1/subscribe?" + query_of((channel, "after=0")), minor=0))
        assert [message["seq"] for message in wire.answer().want(200).json()["messages"]] == [1]
        wire.want_closed()


def test_head_of_a_subscription_is_refused(server):
    with Wire(server) as wire:
        answer = wire.ask("HEAD", "/v1/subscribe?channel=topic:a")
        assert (answer.status, answer.field("Allow")) == (405, "GET, POST")


def test_a_stream_behind_pipelined_requests(server):  # threat 53
    channel = filled(server, 2)
    with Wire(server) as wire:
        wire.send(request_bytes("POST", path_of(channel) + "/messages", b"3") +
                  request_bytes("GET", "/healthz") +
                  request_bytes("GET", "/v1/subscribe?" + query_of((channel, "after=0")), accept="text/event-stream") +
                  request_bytes("POST", path_of(channel) + "/messages", b"never"))
        wire.answer("POST").want(201)
        wire.answer().want(200)
        assert wire.head().want(200).field("Content-Type") == "text/event-stream; charset=utf-8"
        text = b""
        while text.count(b"data: ") < 3:
            text += wire.chunk()
    assert request(server, "GET", path_of(channel)).json()["head"] == 3


def test_polls_share_a_connection(server):
    channel = filled(server, 1)
    with Poll(server, query_of((channel, "after=0"))) as poll:
        assert [event["seq"] for event in poll.page()] == [1]
        for seq in range(2, 50):
            publish(server, channel, b"%d" % seq)
            assert [event["seq"] for event in poll.page()] == [seq]


# --- long polls ------------------------------------------------------------------------------------------------------

def test_a_poll_answers_at_once_or_when_there_is_something(server):
    channel = filled(server, 1)
    with Poll(server, query_of(channel)) as poll:
        assert poll.page(wait=0) == []
        publish(server, channel, b"2")
        assert [event["seq"] for event in poll.page(wait=20)] == [2]
        poll.wire.send(request_bytes("GET", f"/v1/subscribe?cursor={poll.cursor}&wait=60", accept=poll.media))
        wait_for_subscribers(server, query_of(channel))
        publish(server, channel, b"3")
        assert [message["seq"] for message in poll.wire.answer().want(200).json()["messages"]] == [3]


def test_a_poll_that_nothing_comes_for_is_answered_in_time():
    config = "poll_wait_s = 3600\npoll_wait_s_max = 3600\n"
    with Server(config=config) as server, Poll(server, query_of(channel := filled(server, 1))) as poll:
        start = time.monotonic()
        assert poll.page(wait=1) == []
        assert time.monotonic() - start > 0.9
        assert poll.cursor == token_of((channel, history(server, channel).json()["epoch"], 1))


def poll_to_the_end(server, channels):
    """All events from the first on, and (objects, bytes) of each answer."""
    heard, sizes = [], []
    with Poll(server, query_of(*[(channel, "after=0") for channel in channels])) as poll:
        while page := poll.page(wait=0):
            assert len(page) <= 1000 and sum(len(event["payload"]) for event in page[:-1]) < 1 << 20
            sizes.append((len(page), poll.page_bytes))
            heard += page
    return heard, sizes


@pytest.mark.parametrize("payload_bytes, each, least_objects, least_bytes", [
    (10, 250, 1000, 0), (200000, 3, 1, 1 << 20)])
def test_a_poll_ends_at_its_maximum_and_the_next_goes_on(server, payload_bytes, each, least_objects, least_bytes):
    """1,000 objects, or the object that reaches 1 MiB, over 8 channels: nothing is left out, doubled or out of
    order."""
    channels, met = [fresh() for _ in range(8)], False
    for channel in channels:
        publish_many(server, channel, [(b"%d " % seq).ljust(payload_bytes, b".") for seq in range(1, each + 1)])
    for _ in range(50):  # a poll is answered with those pages of the log that have come: mostly with all
        heard, sizes = poll_to_the_end(server, channels)
        assert len(heard) == len(channels) * each, sizes
        for channel in channels:
            mine = [(event["seq"], event["payload"].split()[0]) for event in heard if event["channel"] == channel]
            assert mine == [(seq, b"%d" % seq) for seq in range(1, each + 1)], (channel, sizes)
        met = any(count >= least_objects and size >= least_bytes for count, size in sizes)
        if met:
            break
    assert met, sizes


def test_two_polls_with_one_cursor(server):  # threat 82
    channel = filled(server, 2)
    query = query_of((channel, "after=2"))
    polls = [Wire(server) for _ in range(5)]
    for poll in polls:
        poll.send(request_bytes("GET", "/v1/subscribe?" + query, accept="application/json"))
    wait_for_subscribers(server, query, len(polls))
    publish(server, channel, b"3")
    bodies = {poll.answer().want(200).body for poll in polls}
    assert len(bodies) == 1 and [message["seq"] for message in json.loads(bodies.pop())["messages"]] == [3]
    for poll in polls:
        poll.close()


def test_polls_aborted_just_before_their_answers(server):  # threat 81
    channel, rounds = filled(server, 1), POLL_ABORTS
    rng = random.Random(81)
    ask = request_bytes("GET", "/v1/subscribe?" + query_of((channel, "last=0")), accept="application/json")
    say = request_bytes("POST", path_of(channel) + "/messages", b"x")
    with Wire(server) as publisher:
        for seq in range(2, rounds + 2):
            poll = Wire(server)
            poll.send(ask)
            if rng.random() < 0.5:
                publisher.send(say)
                poll.reset() if rng.random() < 0.5 else poll.close()
            else:
                poll.reset() if rng.random() < 0.5 else poll.close()
                publisher.send(say)
            assert publisher.answer("POST").want(201).json()["seq"] == seq
    with Poll(server, query_of((channel, "after=1"))) as reader:
        assert [event["seq"] for event in reader.several(rounds)] == list(range(2, rounds + 2))
    wait_until(lambda: metric(server, "longwire_sessions") == 0)
    wait_until(lambda: metric(server, "longwire_http_connections") == 1)  # the one that asks


# --- heartbeats ------------------------------------------------------------------------------------------------------

@pytest.fixture(name="beating", scope="module")
def fixture_beating():
    with Server(config="heartbeat_s = 1\npoll_wait_s = 1\n") as server:
        yield server


def test_heartbeats(beating, kind):
    channel = filled(beating, 1)
    with kind(beating, query_of((channel, "after=0"))) as reader:
        assert next_seqs(reader, 1) == [1]
        for _ in range(2):
            start = time.monotonic()
            reader.wait_for_heartbeat()
            assert time.monotonic() - start < 20  # without these settings it would be 25
        publish(beating, channel, b"2")
        assert next_seqs(reader, 1) == [2]


def test_a_quiet_stream_tells_its_place(beating):
    """A reader that has got no message yet loses nothing that is published while it is away."""
    for kind in (Sse, Ndjson, Poll, Ws):
        channel = filled(beating, 2)
        with kind(beating, query_of(channel)) as reader:
            reader.settle()
            cursor = reader.cursor
        publish(beating, channel, b"3")
        with kind(beating, "cursor=" + cursor) as reader:
            assert next_seqs(reader, 1) == [3]


def test_a_reader_that_takes_every_empty_line_as_an_event(beating):
    """As @microsoft/fetch-event-source does, with JSON.parse in its onmessage: what throws there makes it reconnect. It
    takes ids at the end of their line, browsers at the end of the block."""
    channel = fresh()
    with Sse(beating, query_of(channel)) as reader:
        events, fields, heartbeats = [], {}, 0
        while heartbeats < 2 or len(events) < 2:
            line = reader.take_until(b"\n").decode()
            heartbeats += line == ":"
            name, _, value = line.partition(": ")
            if line == "":
                events.append((fields.get("event", ""), json.loads(fields.get("data", "")), fields["id"]))
                fields = {}
            elif name != ":":
                fields[name] = value
            if line == ":" and heartbeats == 1:
                publish(beating, channel, b"1")
    (name, place, token), (message_name, message, message_token) = events
    assert (name, place) == ("cursor", {"type": "cursor", "cursor": token})
    assert (message_name, message["data"]) == ("", "1") and message_token != token


def test_a_channel_never_used_is_waited_for(server, kind):
    channel = fresh()
    with kind(server, query_of((channel, "after=0"))) as reader:
        publish(server, channel, b"1")
        assert next_seqs(reader, 1) == [1]


# --- changing from one transport to another (threat 32) --------------------------------------------------------------

class Publishers(threading.Thread):
    """Publishes to all the channels in turn, until it is told to end."""

    def __init__(self, server, channels):
        super().__init__()
        self.server, self.channels = server, channels
        self.is_over, self.sent = threading.Event(), {channel: 0 for channel in channels}

    def run(self):
        with Wire(self.server) as wire:
            while not self.is_over.is_set():
                for channel in self.channels:
                    number = self.sent[channel] + 1
                    answer = wire.ask("POST", path_of(channel) + "/messages", b"%d" % number)
                    assert answer.want(201).json()["seq"] == number
                    self.sent[channel] = number


@pytest.mark.parametrize("seed", [32, 6455])
def test_a_reader_that_hops_between_transports_misses_nothing(server, seed):
    rng = random.Random(seed)
    channels = [fresh(), fresh("live"), fresh("user")]
    record = {channel: [] for channel in channels}
    publishers = Publishers(server, channels)
    publishers.start()
    query, hops = query_of(*((channel, "after=0") for channel in channels)), []

    def read_some(reader, count):
        for _ in range(count):
            event = reader.next()
            assert event["type"] == "message"
            record[event["channel"]].append((event["seq"], event["payload"]))

    try:
        for _ in range(40):
            name = rng.choice(list(READERS))
            hops.append(name)
            with READERS[name](server, query) as reader:
                read_some(reader, rng.randrange(1, 60))
                if name == "poll":
                    read_some(reader, len(reader.waiting))
                query = "cursor=" + reader.cursor
                if name == "ws":  # what came before the cursor's answer belongs to it
                    read_some(reader, len(reader.others))
                if rng.random() < 0.5:
                    reader.wire.reset()
    finally:
        publishers.is_over.set()
        publishers.join()
    with Sse(server, query) as reader:
        read_some(reader, sum(publishers.sent.values()) - sum(map(len, record.values())))
    for channel in channels:
        count = publishers.sent[channel]
        assert record[channel] == [(seq, b"%d" % seq) for seq in range(1, count + 1)], (channel, hops)


# --- leaving ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", [name for name in READERS if name != "poll"])
def test_readers_that_leave_in_mid_frame(server, name):  # threats 27, 77
    channel = fresh()
    for _ in range(20):
        publish(server, channel, bytes(200000))
    rng = random.Random(77)
    for _ in range(30):
        reader = READERS[name](server, query_of((channel, "after=0")), receive_bytes=4096)
        reader.wire.socket.recv(rng.randrange(1, 100000))
        if rng.random() < 0.5:
            publish(server, channel, bytes(200000))
        reader.wire.reset() if rng.random() < 0.5 else reader.wire.close()
    wait_until(lambda: metric(server, "longwire_sessions") == 0)  # those of earlier tests, too
    request(server, "GET", "/healthz").want(200)


def test_a_stop_ends_every_stream_properly():  # threat 24
    with Server() as server:
        publish(server, "topic:a", b"1")
        readers = {name: kind(server, query_of(("topic:a", "after=0"))) for name, kind in READERS.items()}
        for reader in readers.values():
            assert next_seqs(reader, 1) == [1]
        poll = readers.pop("poll")
        poll.wire.send(request_bytes("GET", "/v1/subscribe?cursor=" + poll.cursor, accept="application/json"))
        wait_for_subscribers(server, "channel=topic:a", len(readers) + 1)
        process = server.terminate()
        assert poll.wire.answer().want(200).json()["messages"] == []
        socket = readers.pop("ws")
        assert socket.frame("reconnect")["after"] >= 0
        assert socket.closing()[0] == 1001
        for reader in readers.values():
            with pytest.raises(Ended):
                while True:
                    assert reader.one() is None
            reader.wire.want_closed()
        assert readers["sse"].retry is not None
        for reader in [poll, socket, *readers.values()]:
            reader.wire.close()
        server.wait_stopped(process)


def test_history_and_readers_say_the_same(server):
    channel = fresh()
    for media, payload in [("application/json", b'{"a": 1}'), ("text/plain", b"t"), (None, MIXED), (None, b"")]:
        publish(server, channel, payload, media=media)
    told = [event_of(text) for text in items_of(members_of(history(server, channel).body.decode())["messages"][1])]
    for name, kind in READERS.items():
        with kind(server, query_of((channel, "after=0"))) as reader:
            assert reader.several(len(told)) == told, name
