"""Publishing over HTTP, as the design specifies it (4.1, 4.4): single, batch, idempotency, expiry, names, refusals,
origins."""
import base64
import contextlib
import gzip
import json
import re
import subprocess
import time
import urllib.parse
from pathlib import Path

import pytest

from longwire_server import Server
from waiting import SECONDS, wait_until
from wire import (READERS, Sse, Wire, event_of, fresh, handshake_bytes, history, items_of, members_of, path_of, publish,
                  query_of, request, request_bytes)

PAYLOAD_MAX = 1024 * 1024
RECEIPT = ["channel", "epoch", "seq", "id", "time"]
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server() as server:
        yield server


def post(server, channel, body, query="", **fields):
    return request(server, "POST", f"{path_of(channel)}/messages{query}", body, **fields)


def batch(server, messages, **fields):
    return request(server, "POST", "/v1/messages", json.dumps({"messages": messages}).encode(), content_type=JSON,
                   **fields)


def stored(server, channel):
    """All events of its history."""
    text = members_of(history(server, channel, "?after=0").body.decode())["messages"][1]
    return [event_of(item) for item in items_of(text)]


# --- single ----------------------------------------------------------------------------------------------------------

def test_receipt_names_place_and_time(server):
    channel, before = fresh(), int(time.time() * 1000)
    answer = post(server, channel, b"hello", content_type="text/plain").want(201)
    assert answer.field("Content-Type") == JSON
    receipt = answer.json()
    assert list(receipt) == RECEIPT
    assert receipt["channel"] == channel and receipt["seq"] == 1
    assert re.fullmatch(r"[0-9a-f]{16}", receipt["epoch"])
    assert before - 1000 <= receipt["time"] <= time.time() * 1000 + 1000
    second = publish(server, channel)
    assert (second["epoch"], second["seq"]) == (receipt["epoch"], 2) and second["id"] > receipt["id"]


def rests_of(server, thread):
    """How often this thread of the server has gone to sleep."""
    for task in Path(f"/proc/{server.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):   # another one that has ended meanwhile
            if (task / "comm").read_text().strip() == thread:
                return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", (task / "status").read_text(), re.M)[1])
    raise AssertionError(f"no thread {thread}")


def test_a_publish_into_memory_does_not_wake_the_writer(server):
    """Decision 138. The writer's thread wakes for durable ones, and otherwise some ten times a second."""
    memory, disk, count = fresh("live"), fresh("topic"), 300
    before, began = rests_of(server, "lw-writer"), time.monotonic()
    assert [publish(server, memory)["seq"] for _ in range(count)] == list(range(1, count + 1))
    woken, ticks = rests_of(server, "lw-writer") - before, 10 * (time.monotonic() - began)
    assert woken < ticks + count / 4
    before = rests_of(server, "lw-writer")
    for _ in range(count):
        publish(server, disk)
    assert rests_of(server, "lw-writer") - before >= count / 2


def test_ids_rise_over_the_channels_of_a_kind(server):
    channels = [fresh("user"), fresh("device"), fresh("user")]
    ids = [publish(server, channel)["id"] for channel in channels * 3]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("said, payload, kept", [  # threat 56
    (None, b"plain", "text/plain"),
    (None, "é€😀".encode(), "text/plain"),
    (None, b"\xff\xfe", "application/octet-stream"),
    (None, b"", "text/plain"),
    (FORM, b"a=1&b=2", "text/plain"),
    ("Application/X-WWW-Form-URLencoded", b"\x00\xff", "application/octet-stream"),
    ("text/plain; charset=utf-8", b"x", "text/plain; charset=utf-8"),
    ("text/plain", b"\xc3\x28", "text/plain"),
    ("application/octet-stream", b"text all the same", "application/octet-stream"),
    ("image/png", bytes(range(256)), "image/png"),
    (JSON, b'{"a": [1, 2.50, "\\u00e9"]}', JSON),
    (JSON, b' \r\n\t"spaced" \n', JSON),
    ("application/ld+json; profile=x", b"null", "application/ld+json; profile=x"),
    ("Application/JSON", b"12345678901234567890.0", "Application/JSON"),
])
def test_media_and_bytes_are_kept(server, said, payload, kept):
    channel = fresh()
    post(server, channel, payload, content_type=said).want(201)
    event = stored(server, channel)[0]
    assert (event["media"], event["payload"]) == (kept, payload)


def test_curl_without_options(server):
    channel = fresh()
    done = subprocess.run(["curl", "-sS", "-d", "hello from curl", f"{server.url}{path_of(channel)}/messages"],
                          stdout=subprocess.PIPE, timeout=SECONDS, check=True)
    assert json.loads(done.stdout)["seq"] == 1
    event = stored(server, channel)[0]
    assert (event["media"], event["payload"]) == ("text/plain", b"hello from curl")


@pytest.mark.parametrize("payload", [
    b"", b" ", b"{", b"{]}", b"nul", b"01", b"1e", b"+1", b"1.", b"'a'", b"[1,]", b'{"a":1,}', b'{"a"}', b"1 2", b"NaN",
    b'"\x01"', b'"\xff"', b'"\\x"', b"\xef\xbb\xbf\xef\xbb\xbf{}", b"[" * 100000, b'{"a":' * 100000, b"[1,2",
    b'"open'])  # threat 55
def test_what_is_declared_json_is_json(server, payload):
    channel = fresh()
    post(server, channel, payload, content_type=JSON).want_problem(400)
    post(server, channel, payload, content_type="application/problem+json").want_problem(400)
    assert stored(server, channel) == []


@pytest.mark.parametrize("payload, why", [
    (b"", "nothing there (byte 0)"),
    (b"[" * 65 + b"]" * 65, "nested too deeply (byte 64; at most 64)"),
    (b"[1e400]", "a number too large for a double, at most 1.7976931348623157e308 (byte 1)"),
    (b'"a\\ud83d"', "a surrogate without its pair (byte 2)"),
    (b"[1.79769313486231580795e308]", "a number too large for a double, at most 1.7976931348623157e308 (byte 1)"),
    (b'["\xff"]', "not UTF-8 (byte 2)"),
])
def test_what_is_no_json_says_why(server, payload, why):  # threat 55
    channel = fresh()
    problem = post(server, channel, payload, content_type=JSON).want_problem(400)
    assert problem["detail"] == "the payload is declared JSON but isn't: " + why
    message = {"channel": channel, "data_base64": base64.b64encode(payload).decode(), "media": JSON}
    assert batch(server, [message]).want(200).json()["results"][0]["detail"] == problem["detail"]
    if payload:
        answer = request(server, "POST", "/v1/messages", payload, content_type="application/x-ndjson").want(200)
        assert json.loads(answer.body)["detail"] == "this line is not JSON: " + why
    problem = request(server, "POST", "/v1/messages", payload, content_type=JSON).want_problem(400)
    assert problem["detail"] == "the batch is not JSON: " + why


@pytest.mark.parametrize("payload", [
    b'{"a":1,"a":2}', b'{"a":1,"\\u0061":2}', b"-0", b'"' + b"x" * 500000 + b'"', b"[" * 64 + b"]" * 64,
    b"1.797693134862315807e308", b"1e-999"])
def test_json_oddities_that_are_json(server, payload):  # threat 55
    """A payload belongs to its publisher: doubled names pass, and every byte comes back."""
    channel = fresh()
    post(server, channel, payload, content_type=JSON).want(201)
    assert b'"data":' + payload + b"}" in history(server, channel, "?limit=1").body


def test_doubled_names_where_we_read_them(server):  # threat 55
    channel = fresh()
    line = b'{"channel":"%s","data":1,"\\u0064ata":2}' % channel.encode()
    answer = request(server, "POST", "/v1/messages", line, content_type="application/x-ndjson").want(200)
    assert json.loads(answer.body)["detail"] == f"this line is not JSON: a member comes twice (byte {line.rfind(b',') + 1})"
    problem = request(server, "POST", "/v1/messages", b'{"messages":[%s]}' % line, content_type=JSON).want_problem(400)
    assert "a member comes twice" in problem["detail"]
    assert stored(server, channel) == []


def test_a_byte_order_mark_is_skipped(server):
    """It is left out of a payload that is declared JSON, because no parser takes it within `data`; others keep it."""
    mark, channel = b"\xef\xbb\xbf", fresh()
    message = b'{"channel":"%s","data":3}' % channel.encode()
    post(server, channel, mark + b"[1]", content_type=JSON).want(201)
    post(server, channel, mark + b"[2]", content_type="text/plain").want(201)
    body = mark + b'{"messages":[%s]}' % message
    assert request(server, "POST", "/v1/messages", body, content_type=JSON).want(200).json()["results"][0]["seq"] == 3
    request(server, "POST", "/v1/messages", mark + message, content_type="application/x-ndjson").want(200)
    assert [event["payload"] for event in stored(server, channel)] == [b"[1]", mark + b"[2]", b"3", b"3"]


@pytest.mark.parametrize("query, detail", [
    ("?Ttl=60", 'unknown parameter "Ttl": did you mean "ttl"?'),
    ("?ttl=60&expire=1", 'unknown parameter "expire": known are "ttl", "priority"'),
    ("?ttl=60&ttl=61", "a parameter stands in the query twice"),
    ("?_=1795297177831&ttl=60", None),  # what jQuery adds to get around caches
])
def test_misspelt_parameters_of_a_publish(server, query, detail):
    channel = fresh()
    answer = post(server, channel, b"x", query)
    assert (answer.status, detail and answer.json()["detail"]) == (201 if detail is None else 400, detail)
    assert len(stored(server, channel)) == (detail is None)


def test_misspelt_members_of_a_batch(server):
    channel = fresh()
    messages = [{"channel": channel, "data": 1}, {"channel": channel, "data": 2, "Ttl": 1},
                {"channels": [channel], "data": 3, "expires": 1}]
    results = batch(server, messages).want(200).json()["results"]
    assert [result["status"] for result in results] == [201, 400, 400]
    assert results[1]["detail"] == 'unknown member "Ttl": did you mean "ttl"?'
    assert results[2]["detail"].startswith('unknown member "expires": known are "channel", "data"')
    lines = "\n".join(json.dumps(message) for message in messages).encode()
    answer = request(server, "POST", "/v1/messages", lines, content_type="application/x-ndjson").want(200)
    assert [json.loads(line)["status"] for line in answer.body.splitlines()] == [201, 400, 400]
    body = json.dumps({"Messages": messages}).encode()
    problem = request(server, "POST", "/v1/messages", body, content_type=JSON).want_problem(400)
    assert problem["detail"] == 'unknown member "Messages": did you mean "messages"?'
    problem = request(server, "POST", "/v1/messages?ttl=1", b"{}", content_type=JSON).want_problem(400)
    assert problem["detail"] == 'unknown parameter "ttl"'
    assert [event["payload"] for event in stored(server, channel)] == [b"1", b"1"]


def test_exactly_the_maximum_and_one_more(server):  # threats 51, 56
    channel, payload = fresh(), bytes(range(256)) * (PAYLOAD_MAX // 256)
    post(server, channel, payload).want(201)
    problem = post(server, channel, payload + b"!").want_problem(413)
    assert problem["title"] == "Content Too Large"
    assert [event["payload"] for event in stored(server, channel)] == [payload]


def test_the_maximum_of_a_namespace():
    config = "[namespace small]\npayload_bytes_max = 10\n[namespace large]\npayload_bytes_max = 4M\n"
    with Server(config=config) as server:
        post(server, "small:a", b"1234567890").want(201)
        post(server, "small:a", b"12345678901").want_problem(413)
        result = batch(server, [{"channel": "small:a", "data": "12345678901"}]).json()["results"][0]
        assert (result["status"], result["detail"]) == (
            413, "the payload has 11 bytes; the namespace small takes 10 at most (payload_bytes_max)")
        large = bytes(4 * 1024 * 1024)
        post(server, "large:a", large).want(201)
        post(server, "large:a", large + b"!").want_problem(413)
        assert stored(server, "large:a")[0]["payload"] == large


# --- expiry ----------------------------------------------------------------------------------------------------------

def test_expired_messages_are_gaps_for_readers_and_in_history(server):
    channel = fresh()
    publish(server, channel, b"short", query="?ttl=5")  # it is looked at before that
    publish(server, channel, b"long", query="?ttl=3600")
    assert [event["type"] for event in stored(server, channel)] == ["message"] * 2
    wait_until(lambda: stored(server, channel)[0]["type"] != "message")
    gap, *events = stored(server, channel)
    assert (gap["type"], gap["channel"], gap["from"], gap["to"], gap["why"]) == ("gap", channel, 1, 1, "expired")
    assert [event["payload"] for event in events] == [b"long"]
    for kind in READERS.values():
        with kind(server, query_of((channel, "after=0"))) as reader:
            first, second = reader.several(2)
            assert (first["type"], first["from"], first["to"], first["why"]) == ("gap", 1, 1, "expired")
            assert (second["seq"], second["payload"]) == (2, b"long")


@pytest.mark.parametrize("ttl", ["0", "-1", "x", "1.5", "", "99999999999999999999", "316224001", "1e3", "%31%00"])
def test_a_ttl_is_whole_seconds(server, ttl):
    channel = fresh()
    post(server, channel, b"x", f"?ttl={ttl}").want_problem(400)
    assert stored(server, channel) == []


# --- idempotency -----------------------------------------------------------------------------------------------------

def test_a_repeat_gets_the_first_answer(server):
    channel = fresh()
    first = post(server, channel, b"once", idempotency_key="k1").want(201)
    assert first.field("Idempotency-Replayed") is None
    again = post(server, channel, b"once", idempotency_key="k1").want(200)
    assert (again.body, again.field("Idempotency-Replayed")) == (first.body, "true")
    post(server, channel, b"other", idempotency_key="k1").want_problem(422)
    assert post(server, channel, b"once", idempotency_key="k2").want(201).json()["seq"] == 2
    assert post(server, fresh(), b"other", idempotency_key="k1").want(201).json()["seq"] == 1
    assert [event["payload"] for event in stored(server, channel)] == [b"once", b"once"]


def test_keys_in_a_batch_and_alone_are_the_same_keys(server):
    channel = fresh()
    first = post(server, channel, b"once", content_type="text/plain", idempotency_key="k").want(201).json()
    same, other, fresh_one = batch(server, [
        {"channel": channel, "data": "once", "key": "k"}, {"channel": channel, "data": "twice", "key": "k"},
        {"channel": channel, "data": "once", "key": "l"}]).want(200).json()["results"]
    assert same["status"] == 200 and {name: same[name] for name in RECEIPT} == first
    assert other["status"] == 422 and fresh_one["status"] == 201 and fresh_one["seq"] == 2


def test_a_key_twice_in_one_pipeline_is_one_message(server):
    channel, count = fresh(), 20
    one = request_bytes("POST", path_of(channel) + "/messages", b"x", idempotency_key="same")
    with Wire(server) as wire:
        wire.send(one * count)
        answers = [wire.answer() for _ in range(count)]
    assert sorted(answer.status for answer in answers) == [200] * (count - 1) + [201]
    assert len({answer.body for answer in answers}) == 1
    assert len(stored(server, channel)) == 1


def test_a_key_holds_over_a_restart():  # threat 17
    with Server() as server:
        first = post(server, "topic:a", b"once", idempotency_key="k").want(201)
        server.kill()
        server.start()
        again = post(server, "topic:a", b"once", idempotency_key="k").want(200)
        assert (again.body, again.field("Idempotency-Replayed")) == (first.body, "true")
        post(server, "topic:a", b"other", idempotency_key="k").want_problem(422)


EVENT_NAMES = [("price", 201), ("prix €", 201), ("message", 201), ("e" * 64, 201), ("e" * 65, 400), ("a\nb", 400),
               ("a\x7f", 400), ("gap", 400), ("recall", 400), ("error", 400), ("open", 400), ("cursor", 400)]


@pytest.mark.parametrize("name, status", EVENT_NAMES)
def test_what_an_event_may_be_called(server, name, status):
    channel = fresh()
    assert post(server, channel, b"1", longwire_event=urllib.parse.quote(name)).status == status
    assert batch(server, [{"channel": channel, "data": 2, "event": name}]).json()["results"][0]["status"] == status
    assert [event.get("event") for event in stored(server, channel)] == [name] * 2 * (status == 201)


def test_an_event_that_is_no_name(server):
    channel = fresh()
    assert post(server, channel, b"1", longwire_event="100%").want_problem(400)["detail"].startswith("Longwire-Event is")
    post(server, channel, b"1", longwire_event="%ff").want_problem(400)
    assert batch(server, [{"channel": channel, "data": 2, "event": 7}]).json()["results"][0]["status"] == 400
    post(server, channel, b"1", longwire_event="").want(201)
    assert ["event" in event for event in stored(server, channel)] == [False]


def test_a_key_with_another_event_is_another_message(server):
    channel = fresh()
    post(server, channel, b"1", idempotency_key="k", longwire_event="price").want(201)
    post(server, channel, b"1", idempotency_key="k", longwire_event="price").want(200)
    post(server, channel, b"1", idempotency_key="k", longwire_event="Price").want_problem(422)
    post(server, channel, b"1", idempotency_key="k").want_problem(422)


def test_an_event_is_kept_over_a_restart_and_dropped_by_a_recall():
    with Server() as server:
        post(server, "topic:a", b"1", longwire_event="price").want(201)
        post(server, "topic:a", b"2", longwire_event="price").want(201)
        server.kill()
        server.start()
        assert [event["event"] for event in stored(server, "topic:a")] == ["price"] * 2
        request(server, "DELETE", path_of("topic:a") + "/messages/1").want(200)
        assert [event.get("event") for event in stored(server, "topic:a")] == [None, "price", None]


@pytest.mark.parametrize("key, status", [("x" * 255, 201), ("x" * 256, 400), (b"tab\there", 400), (b"\xc3\xa9", 201)])
def test_what_a_key_may_be(server, key, status):
    channel = fresh()
    assert post(server, channel, b"x", idempotency_key=key).status == status
    assert len(stored(server, channel)) == (status == 201)


# --- batch -----------------------------------------------------------------------------------------------------------

MIXED = [
    ({"data": "text"}, 201, "text/plain", b"text"),
    ({"data": {"a": [1, None]}}, 201, JSON, b'{"a": [1, null]}'),
    ({"data": 17}, 201, JSON, b"17"),
    ({"data": None}, 201, JSON, b"null"),
    ({"data": ""}, 201, "text/plain", b""),
    ({"data_base64": "AP//"}, 201, "application/octet-stream", b"\x00\xff\xff"),
    ({"data_base64": ""}, 201, "application/octet-stream", b""),
    ({"data": "<b>", "media": "text/html"}, 201, "text/html", b"<b>"),
    ({"data": '{"a":1}', "media": JSON}, 201, JSON, b'{"a":1}'),
    ({"data": [1], "media": "application/ld+json"}, 201, "application/ld+json", b"[1]"),
    ({"data_base64": "e30=", "media": JSON}, 201, JSON, b"{}"),
    ({"data": "nul\x00 \u2028 \"\\"}, 201, "text/plain", "nul\x00 \u2028 \"\\".encode()),
    ({"data": "x", "ttl": 60, "key": "k"}, 201, "text/plain", b"x"),
    ({"data": "{", "media": JSON}, 400, None, None),
    ({"data": "x", "data_base64": "eA=="}, 400, None, None),
    ({}, 400, None, None),
    ({"data_base64": "***"}, 400, None, None),
    ({"data_base64": 7}, 400, None, None),
    ({"data": "x", "media": 7}, 400, None, None),
    ({"data": "x", "media": "nonsense"}, 415, None, None),
    ({"data": "x", "media": "text/plain\r\nX: y"}, 415, None, None),
    ({"data": "x", "ttl": "soon"}, 400, None, None),
    ({"data": "x", "ttl": 0}, 400, None, None),
    ({"data": "x", "ttl": -1}, 400, None, None),
    ({"data": "x", "key": 5}, 400, None, None),
    ({"data": "x" * (PAYLOAD_MAX + 1)}, 413, None, None),
]


def check_mixed(server, channel, results):  # threat 57
    assert [result["status"] for result in results] == [status for _, status, _, _ in MIXED]
    kept = [(media, payload) for _, status, media, payload in MIXED if status == 201]
    assert [(event["media"], event["payload"]) for event in stored(server, channel)] == kept
    good = [result for result in results if result["status"] == 201]
    assert [result["seq"] for result in good] == list(range(1, len(kept) + 1))
    assert all(list(result) == ["status"] + RECEIPT for result in good)
    assert all(result["title"] and result["detail"] for result in results if result["status"] >= 400)


def test_json_batch_of_good_and_bad(server):
    channel = fresh()
    answer = batch(server, [{"channel": channel, **message} for message, *_ in MIXED]).want(200)
    assert answer.field("Content-Type") == JSON
    check_mixed(server, channel, answer.json()["results"])


def test_ndjson_batch_of_good_and_bad(server):
    channel = fresh()
    lines = [json.dumps({"channel": channel, **message}).encode() for message, *_ in MIXED]
    answer = request(server, "POST", "/v1/messages", b"\n".join(lines), content_type="application/x-ndjson").want(200)
    assert answer.field("Content-Type") == "application/x-ndjson"
    assert answer.body.endswith(b"}\n")
    check_mixed(server, channel, [json.loads(line) for line in answer.body.splitlines()])


def test_ndjson_lines_that_are_no_json(server):
    channel = fresh()
    good = json.dumps({"channel": channel, "data": "x"}).encode()
    body = b"\r\n".join([good, b"", b"{", b"7", b"   ", good, b'"text"', b"[]", good + b" {}", b"\xff"])
    answer = request(server, "POST", "/v1/messages", body, content_type="application/x-ndjson; charset=utf-8").want(200)
    results = [json.loads(line) for line in answer.body.splitlines()]
    assert [result["status"] for result in results] == [201, 400, 400, 201, 400, 400, 400, 400]
    assert len(stored(server, channel)) == 2


def test_channels_that_are_refused_in_a_batch(server):
    good = fresh()
    messages = [{"data": "x", **more} for more in (
        {"channel": "nowhere:a"}, {"channel": "plain"}, {"channel": ""}, {"channel": "topic:"}, {"channel": 5}, {},
        {"channel": "topic:" + "x" * 201}, {"channel": "topic:\u0007"}, {"channel": "sys:a"}, {"channel": None},
        {"channel": good, "channels": [good]}, {"channels": []}, {"channels": "x"}, {"channel": good})]
    results = batch(server, messages).want(200).json()["results"]
    assert [result["status"] for result in results] == [404] + [400] * 7 + [403] + [400] * 4 + [201]
    assert len(stored(server, good)) == 1


def test_one_message_to_many_channels_has_inner_results(server):
    first, second, third = fresh(), fresh("live"), fresh("user")
    results = batch(server, [
        {"channel": first, "data": 1},
        {"channels": [first, "bad", second, "nowhere:x", third, first], "data": {"a": 2}},
        {"channel": first, "data": 3}]).want(200).json()["results"]
    assert len(results) == 3 and results[0]["seq"] == 1
    inner = results[1]["results"]
    assert [result["status"] for result in inner] == [201, 400, 201, 404, 201, 201]
    assert [result.get("channel") for result in inner if result["status"] == 201] == [first, second, third, first]
    assert [event["payload"] for event in stored(server, first)] == [b"1", b'{"a": 2}', b'{"a": 2}', b"3"]
    assert [len(stored(server, channel)) for channel in (second, third)] == [1, 1]


def test_a_batch_comes_to_readers_in_its_order(server):
    channel = fresh()
    publish(server, channel)
    with Sse(server, query_of(channel)) as reader:
        reader.settle()
        batch(server, [{"channel": channel, "data": i} for i in range(500)]).want(200)
        assert [event["payload"] for event in reader.several(500)] == [str(i).encode() for i in range(500)]


@pytest.mark.parametrize("body",
                         [b"", b"[]", b"7", b"{}", b'{"messages":7}', b'{"messages":{}}', b'{"messages":[', b"{}{}",
                                  b'{"messages":[]} x', b"\xff", b"[" * 200000])
def test_what_is_no_batch(server, body):
    request(server, "POST", "/v1/messages", body, content_type=JSON).want_problem(400)


def test_an_empty_batch_has_no_results(server):
    assert batch(server, []).want(200).json() == {"results": []}
    assert request(server, "POST", "/v1/messages", b"", content_type="application/x-ndjson").want(200).body == b""


@pytest.mark.parametrize("media, status", [
    (None, 200), (FORM, 200), (JSON, 200), ("application/json; charset=utf-8", 200), ("application/vnd.x+json", 200),
    ("text/plain", 415), ("application/octet-stream", 415), ("multipart/form-data; boundary=x", 415)])
def test_media_of_a_batch(server, media, status):
    body = json.dumps({"messages": [{"channel": fresh(), "data": 1}]}).encode()
    answer = request(server, "POST", "/v1/messages", body, content_type=media)
    if status == 200:
        assert answer.want(200).json()["results"][0]["status"] == 201
    else:
        answer.want_problem(status)


def test_limits_of_a_batch():
    with Server(config="batch_messages_max = 10\nbatch_bytes_max = 4K\n") as server:
        one = {"channel": "topic:a", "data": 1}
        batch(server, [one] * 10).want(200)
        batch(server, [one] * 11).want_problem(413)
        lines = b"\n".join([json.dumps(one).encode()] * 11)
        request(server, "POST", "/v1/messages", lines, content_type="application/x-ndjson").want_problem(413)
        batch(server, [{"channel": "topic:a", "data": "x" * 4096}]).want_problem(413)
        wide = batch(server, [{"channels": ["topic:b"] * 11, "data": 1}, one]).want(200).json()["results"]
        assert [result["status"] for result in wide] == [413, 201]
        assert len(stored(server, "topic:a")) == 11 and stored(server, "topic:b") == []


# --- refusals --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method, path, status", [
    ("GET", "/nothing", 404), ("GET", "/v1", 404), ("POST", "/v1/channels", 405), ("POST", "/v1/channels/topic:a", 405),
    ("PUT", "/v1/channels/topic:a/messages", 405), ("PATCH", "/v1/messages", 405), ("GET", "/v1/messages", 405),
    ("BREW", "/v1/messages", 405), ("POST", "/", 405), ("POST", "/healthz", 405), ("DELETE", "/v1/channels/topic:a/messages", 405),
    ("PUT", "/v1/subscribe?channel=topic:a", 405), ("GET", "/v1/channels/a/b/c/d/e/f/g", 404),
    ("GET", "/v1/channels/topic:never-used", 404), ("DELETE", "/v1/channels/topic:never-used/messages/1", 404),
    ("DELETE", "/v1/channels/topic:a/messages/x", 400), ("DELETE", "/v1/channels/topic:a/messages/0", 400),
    ("DELETE", "/v1/channels/topic:a/messages/18446744073709551616", 400), ("GET", "/V1/messages", 404),
    ("GET", "/v1/channels/topic:a/messages?limit=0", 400), ("GET", "/v1/channels/topic:a/messages?limit=x", 400),
    ("GET", "/v1/channels/topic:a/messages?after=1&before=3", 400),
    ("GET", "/v1/channels/topic:a/messages?after=-1", 400),
    ("GET", "/v1/echo", 404)])
def test_where_nothing_is(server, method, path, status):
    answer = request(server, method, path)
    answer.want_problem(status)
    if status == 405:  # RFC 9110 15.5.6
        assert answer.field("Allow")


@pytest.mark.parametrize("query, name", [("limit=x", "limit"), ("after=-1", "after"), ("limit=5&before=1.5", "before")])
def test_a_number_that_is_none_is_named(server, query, name):
    problem = request(server, "GET", f"/v1/channels/topic:a/messages?{query}").want_problem(400)
    assert problem["detail"] == f"{name}= is not a whole number"


def test_405_names_what_is_allowed(server):
    allow = request(server, "PUT", "/v1/channels/topic:a/messages").want(405).field("Allow")
    assert {word.strip() for word in allow.split(",")} == {"GET", "HEAD", "POST"}


@pytest.mark.parametrize("media", ["nonsense", "text/plain;\x80", "x/" + "y" * 300, b"text/\xc3\xa9"])
def test_media_that_is_none(server, media):
    channel = fresh()
    post(server, channel, b"x", content_type=media).want_problem(415)
    assert stored(server, channel) == []


def test_a_body_in_a_coding_is_not_kept_as_if_it_were_plain(server):
    channel, packed = fresh(), gzip.compress(b'{"channel":"topic:a","data":1}')
    for coding in ("gzip", "br", "identity, gzip"):
        for media in ("text/plain", JSON):
            answer = post(server, channel, packed, content_type=media, content_encoding=coding)
            answer.want_problem(415)
            assert answer.field("Accept-Encoding") == "identity"
        for media in (JSON, "application/x-ndjson"):
            request(server, "POST", "/v1/messages", packed, content_type=media,
                    content_encoding=coding).want_problem(415)
    assert stored(server, channel) == []
    assert post(server, channel, b"x", content_encoding="Identity").want(201).json()["seq"] == 1


def test_a_page_longer_than_what_may_wait_is_a_page():
    """To repeat the request would be of no use: on a small machine, everything that was published can still be read."""
    with Server(flags=["--publish-waiting-bytes-max", "1M"]) as server:
        channel = fresh()
        for _ in range(4):
            post(server, channel, b"x" * 500000).want(201)
        messages = request(server, "GET", path_of(channel) + "/messages?after=0").want(200).json()["messages"]
        assert [message["seq"] for message in messages] == [1, 2, 3, 4]


KEYS = """
[key backend]
secret = 0123456789abcdef-backend
rights = publish, subscribe
[key reader]
secret = 0123456789abcdef-reader
rights = subscribe
"""


def test_rights():
    publisher, reader, wrong = ({"authorization": "Bearer 0123456789abcdef-" + name}
                                for name in ("backend", "reader", "nobody"))
    with Server(config=KEYS) as server:
        answer = post(server, "topic:a", b"x")
        answer.want_problem(401)
        assert answer.field("WWW-Authenticate") == "Bearer"
        for fields, status in [(wrong, 401), (reader, 403), (publisher, 201),
                               ({"authorization": "Basic 0123456789abcdef-backend"}, 401), ({"authorization": ""}, 401),
                               ({"authorization": "Bearer"}, 401),
                               ({"authorization": "bearer 0123456789abcdef-backend"}, 201)]:
            assert post(server, "topic:a", b"x", **fields).status == status, fields
            results = batch(server, [{"channel": "topic:b", "data": 1}], **fields)
            if status == 401:
                results.want_problem(401)
            else:
                assert results.want(200).json()["results"][0]["status"] == status
        batch(server, [{"channel": "topic:b", "data": 1}]).want_problem(401)
        for path in (path_of("topic:a") + "/messages", "/v1/messages"):  # before any of the body has come
            with Wire(server) as wire:
                wire.send(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n".encode())
                wire.answer().want_problem(401)
        post(server, "sys:a", b"x", **publisher).want_problem(403)
        request(server, "GET", path_of("user:a") + "/messages").want_problem(401)
        request(server, "GET", path_of("user:a") + "/messages", **wrong).want_problem(401)
        request(server, "GET", path_of("user:a") + "/messages", **reader).want(200)
        request(server, "DELETE", path_of("topic:a") + "/messages/1", **reader).want_problem(403)
        request(server, "DELETE", path_of("topic:a") + "/messages/1", **publisher).want(200)
        page = request(server, "GET", path_of("topic:a") + "/messages").want(200).json()
        assert [event["from"] for event in page["messages"]] == [None, "backend", "backend"]
        others = {"authorization": "Basic 0123456789abcdef-backend"}  # a proxy's, which passes it on
        request(server, "GET", path_of("topic:a") + "/messages", **others).want(200)
        request(server, "GET", path_of("user:a") + "/messages", **others).want_problem(401)
        request(server, "GET", path_of("user:a") + "/messages?access_token=0123456789abcdef-reader", **others).want(200)
        for path in ("/v1/subscribe?wait=0&channel=user:a", "/v1/ws?channel=user:a"):
            ask = {} if "subscribe" in path else {"handshake": True}
            assert status_of(server, path, **ask) == 401
            assert status_of(server, path, **ask, **wrong) == 401
            assert status_of(server, path + "&access_token=0123456789abcdef-nobody", **ask) == 401
            assert status_of(server, path + "&access_token=0123456789abcdef-reader", **ask) in (200, 101)
        assert "0123456789abcdef" not in server.log()  # threats 76, 108


def status_of(server, path, handshake=False, **fields):
    with Wire(server) as wire:
        wire.send(handshake_bytes(path, **fields) if handshake else request_bytes("GET", path, **fields))
        return wire.head().status


# --- names -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", [  # threat 54
    "a/b", "a:b", "a/../b", "..", ".", "//", "a b", "é€😀", "a+b", "#", "*", "?x=1&y", "%2e%2e", "\"quoted\\", "x" * 200,
    "é" * 100, "-", "\u00a0", "<script>", "a;b", "$", "{}"])
def test_names_come_back_as_they_were(server, name):
    channel = f"topic:{name}"
    receipt = publish(server, channel, b"mine")
    assert receipt["channel"] == channel
    assert stored(server, channel)[0]["channel"] == channel
    assert request(server, "GET", path_of(channel)).want(200).json()["channel"] == channel
    for kind in READERS.values():
        with kind(server, query_of((channel, "after=0"))) as reader:
            event = reader.next()
            assert (event["channel"], event["payload"]) == (channel, b"mine")
    assert batch(server, [{"channel": channel, "data": "two"}]).json()["results"][0]["channel"] == channel


def test_names_that_look_alike_are_different_channels(server):  # threat 54
    base = fresh()
    names = [base + tail for tail in ("", "/", "//", "/.", "/..", "%2F", " ", "+", "/é", "/e\u0301", "A", "a")]
    for count, name in enumerate(names, 1):
        for _ in range(count):
            publish(server, name)
    assert [request(server, "GET", path_of(name)).json()["head"] for name in names] == list(range(1, len(names) + 1))


@pytest.mark.parametrize("encoded, status", [  # threat 54
    ("topic%3Aplain", 201), ("topic:%70lain", 201), ("topic:a%00b", 400), ("topic:a%0Ab", 400), ("topic:%7F", 400),
    ("topic:%C2%85", 400), ("topic:%C0%AF", 400), ("topic:%ED%A0%80", 400), ("topic:%FF", 400), ("topic:%", 400),
    ("topic:%2", 400), ("topic:%zz", 400), ("topic:" + "x" * 201, 400), ("topic:" + "%C3%A9" * 101, 400),
    ("topic:" + "x" * 4096, 400), ("topic:", 400), ("topic", 400), ("", 400), (":x", 404), ("Topic:x", 404),
    ("nowhere:x", 404),
    ("..:x", 404), ("topic:../../etc/passwd", 404), ("x" * 33 + ":y", 404), ("all:", 201), ("%74opic:x", 201)])
def test_names_in_a_path(server, encoded, status):
    answer = request(server, "POST", f"/v1/channels/{encoded}/messages", b"x")
    if status == 201:
        answer.want(201)
    else:
        answer.want_problem(status)


# --- one connection, many requests -----------------------------------------------------------------------------------

def test_pipelined_requests_are_answered_in_order(server):  # threat 53
    channel, count = fresh(), 100
    requests = []
    for i in range(count):
        requests.append(request_bytes("POST", path_of(channel) + "/messages", b"%d" % i, content_type="text/plain"))
        requests.append(request_bytes("GET", f"/nothing/{i}"))
        requests.append(request_bytes("HEAD", "/healthz"))
    with Wire(server) as wire:
        wire.send(b"".join(requests))
        for i in range(count):
            assert wire.answer("POST").want(201).json()["seq"] == i + 1
            wire.answer().want(404)
            wire.answer("HEAD").want(200)
        wire.ask("GET", "/healthz").want(200)
    assert [event["payload"] for event in stored(server, channel)] == [b"%d" % i for i in range(count)]


def test_keep_alive(server):
    with Wire(server) as wire:
        for _ in range(5):
            assert wire.ask("GET", "/healthz").want(200).field("Connection") is None
        assert wire.ask("GET", "/healthz", connection="close").want(200).field("Connection") == "close"
        wire.want_closed()
    with Wire(server) as wire:
        wire.send(request_bytes("GET", "/healthz", minor=0))
        wire.answer().want(200)
        wire.want_closed()
    with Wire(server) as wire:
        for _ in range(2):
            wire.send(request_bytes("GET", "/healthz", minor=0, connection="keep-alive"))
            assert wire.answer().want(200).field("Connection") == "keep-alive"


def test_expect_100_continue(server):  # threat 53
    channel = fresh()
    head = request_bytes("POST", path_of(channel) + "/messages", expect="100-continue", content_length=5)
    with Wire(server) as wire:
        wire.send(head)
        assert wire.head().status == 100
        wire.send(b"hello")
        wire.answer("POST").want(201)
        wire.send(head + b"again")  # who doesn't wait needs no 100
        wire.answer("POST").want(201)
        wire.send(request_bytes("POST", path_of(channel) + "/messages", expect="100-continue",
                                content_length=PAYLOAD_MAX + 1))
        wire.answer("POST").want_problem(413)
        wire.want_closed()
    with Wire(server) as wire:
        wire.send(request_bytes("POST", path_of(channel) + "/messages", expect="a-miracle", content_length=5))
        wire.answer("POST").want_problem(417)
    assert [event["payload"] for event in stored(server, channel)] == [b"hello", b"again"]


def test_chunked_publish(server):
    channel = fresh()
    with Wire(server) as wire:
        wire.send(request_bytes("POST", path_of(channel) + "/messages", transfer_encoding="chunked"))
        for piece in (b"4\r\nwire\r\n", b"0000B;ext=\"1\"\r\n\x00\r\n 3456789\r\n", b"0\r\nTrailer: dropped\r\n\r\n"):
            for byte in piece:
                wire.send(bytes([byte]))
        wire.answer("POST").want(201)
        wire.ask("GET", "/healthz").want(200)
    assert [event["payload"] for event in stored(server, channel)] == [b"wire\x00\r\n 3456789"]


def test_chunked_above_the_maximum(server):  # threat 51
    channel = fresh()
    with Wire(server) as wire:
        wire.send(request_bytes("POST", path_of(channel) + "/messages", transfer_encoding="chunked"))
        chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        for _ in range(PAYLOAD_MAX // 0x10000):
            wire.send(chunk)
        wire.send(b"1\r\n!\r\n")
        wire.answer("POST").want_problem(413)
        wire.want_closed()
    assert stored(server, channel) == []


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/nothing", "/v1/channels/topic:a/messages"])
def test_head_is_get_without_the_body(server, path):
    with Wire(server) as wire:
        get, head = wire.ask("GET", path), wire.ask("HEAD", path)
        assert head.status == get.status
        assert head.field("Content-Type") == get.field("Content-Type")
        assert int(head.field("Content-Length")) > 0
        if path != "/metrics":  # its numbers move
            assert head.field("Content-Length") == get.field("Content-Length")
        wire.ask("GET", "/healthz").want(200)


# --- origins ---------------------------------------------------------------------------------------------------------

ALLOWED = ["http://localhost", "http://localhost:5173", "http://127.0.0.1:3000", "HTTP://LOCALHOST:1",
           "http://[::1]:3000", "http://192.0.2.7:8080"]  # the last one is the server's own
REFUSED = ["https://evil.example", "null", "http://localhost.evil.example", "http://localhost:80.evil.example",
           "http://127.0.0.1.evil.example:80", "http://evil.example:8080", "https://localhost:1", "http://localhost:",
           "",
           "http://localhost:x", "http://localhost@evil.example", "file://", "http://localhost:1/path"]


@pytest.mark.parametrize("origin", ALLOWED)
def test_allowed_origins(server, origin):  # threat 76
    channel, host = fresh(), "192.0.2.7:8080"
    preflight = request(server, "OPTIONS", path_of(channel) + "/messages", host=host, origin=origin,
                        access_control_request_method="POST",
                        access_control_request_headers="cache-control, x-requested-with, longwire-event, x-own").want(204)
    assert preflight.field("Access-Control-Allow-Origin") == origin
    assert {"GET", "POST", "PUT", "DELETE"} <= set(preflight.field("Access-Control-Allow-Methods").split(", "))
    headers = preflight.field("Access-Control-Allow-Headers").lower().split(", ")
    assert {"authorization", "content-type", "idempotency-key", "last-event-id", "cache-control", "x-requested-with",
            "longwire-event", "x-own"} <= set(headers)
    posted = post(server, channel, b"x", host=host, origin=origin).want(201)
    assert posted.field("Access-Control-Allow-Origin") == origin and posted.field("Vary") == "Origin"
    assert posted.field("Access-Control-Allow-Credentials") == "true"
    assert "Idempotency-Replayed" in posted.field("Access-Control-Expose-Headers")
    missing = request(server, "GET", "/nothing", host=host, origin=origin).want(404)
    assert missing.field("Access-Control-Allow-Origin") == origin
    for kind in READERS.values():
        with kind(server, query_of((channel, "after=0")), host=host, origin=origin) as reader:
            assert reader.next()["seq"] == 1
            if hasattr(reader, "answer"):
                assert reader.answer.field("Access-Control-Allow-Origin") == origin


@pytest.mark.parametrize("origin", REFUSED)
def test_refused_origins(server, origin):  # threat 76
    channel = fresh()
    answers = [request(server, "OPTIONS", path_of(channel) + "/messages", origin=origin, host="192.0.2.7",
                       access_control_request_method="POST"),
               post(server, channel, b"x", origin=origin, host="192.0.2.7"),
               request(server, "GET", "/v1/subscribe?wait=0&channel=topic:a", origin=origin, host="192.0.2.7")]
    with Wire(server) as wire:
        wire.send(handshake_bytes("/v1/ws?channel=topic:a", origin=origin, host="192.0.2.7"))
        answers.append(wire.answer())
    for answer in answers:
        answer.want_problem(403)
        assert answer.field("Access-Control-Allow-Origin") is None
        assert answer.field("Access-Control-Allow-Credentials") is None
    assert stored(server, channel) == []


@pytest.mark.parametrize("path", ["/", "/demo.js", "/demo.css", "/v1/openapi.json"])
def test_files_are_for_every_page(server, path):
    answer = request(server, "GET", path, origin="https://evil.example").want(200)
    assert answer.field("Access-Control-Allow-Origin") is None and answer.field("Vary") == "Origin"


def test_listed_origins_and_no_others():
    with Server(config="origins = https://app.example, http://dev.example:*\n") as server:
        for origin, status in [("https://app.example", 200), ("http://dev.example:99", 200),
                               ("http://dev.example", 200),
                               ("http://app.example", 403), ("https://app.example:444", 403),
                               ("http://localhost:1", 403)]:
            assert request(server, "GET", "/healthz", origin=origin).status == status, origin
        for host in f"127.0.0.1:{server.port}", "localhost", "app.example":  # its own pages
            request(server, "GET", "/healthz", host=host, origin="http://" + host).want(200)
    with Server(config="origins = *\n") as server:
        answer = request(server, "GET", "/healthz", origin="https://any.example").want(200)
        assert answer.field("Access-Control-Allow-Origin") == "*"
        assert answer.field("Access-Control-Allow-Credentials") is None


@pytest.mark.parametrize("rule, allowed, refused", [
    ("null", ["null"], ["https://null", "file://"]),
    ("capacitor://localhost", ["capacitor://localhost"], ["http://localhost:1", "ionic://localhost", "capacitor://evil.example"]),
    ("chrome-extension://abcdefghijklmnop", ["chrome-extension://abcdefghijklmnop"], ["chrome-extension://ponmlkjihgfedcba"]),
    ("https://*.example.com", ["https://a.example.com", "https://b.a.example.com"],
     ["https://example.com", "https://evilexample.com", "http://a.example.com", "https://a.example.com:1"]),
    ("http://localhost:*", ["http://localhost", "http://localhost:5173"], ["https://localhost:1", "http://localhost.evil"]),
    ("https://a.example:443", ["https://a.example"], ["https://a.example:444"])])
def test_what_origins_can_name(rule, allowed, refused):
    with Server(config=f"origins = {rule}\n") as server:
        for origin in allowed:
            answer = request(server, "GET", "/healthz", origin=origin).want(200)
            assert answer.field("Access-Control-Allow-Origin") == origin
            assert answer.field("Access-Control-Allow-Credentials") == "true"
        for origin in refused:
            request(server, "GET", "/healthz", origin=origin).want(403)


# --- history and recall ----------------------------------------------------------------------------------------------

def test_history_pages_ascend_both_ways(server):
    channel = fresh()
    for i in range(1, 8):
        publish(server, channel, str(i))

    def seqs(query):
        page = history(server, channel, query).json()
        assert list(page) == ["channel", "epoch", "first", "head", "messages"]
        assert (page["first"], page["head"], page["channel"]) == (1, 7, channel)
        return [event["seq"] for event in page["messages"]]

    assert seqs("") == seqs("?after=0") == [1, 2, 3, 4, 5, 6, 7]
    assert seqs("?after=0&limit=3") == [1, 2, 3] and seqs("?after=3&limit=3") == [4, 5, 6] and seqs("?after=6") == [7]
    assert seqs("?limit=2") == [6, 7] and seqs("?before=6&limit=2") == [4, 5] and seqs("?before=3") == [1, 2]
    assert seqs("?before=1") == seqs("?before=0") == seqs("?after=7") == seqs("?after=99") == []
    assert seqs("?before=99") == [1, 2, 3, 4, 5, 6, 7] and seqs("?limit=1000000") == [1, 2, 3, 4, 5, 6, 7]


def test_history_is_100_by_default_and_1000_at_most(server):
    channel = fresh()
    for _ in range(2):
        batch(server, [{"channel": channel, "data": i} for i in range(600)]).want(200)
    assert [e["seq"] for e in history(server, channel, "?after=0").json()["messages"]] == list(range(1, 101))
    assert [e["seq"] for e in history(server, channel).json()["messages"]] == list(range(1101, 1201))
    most = history(server, channel, "?after=0&limit=5000").json()["messages"]
    assert [e["seq"] for e in most] == list(range(1, 1001))


def test_a_channel_never_used(server):
    channel = fresh()
    page = history(server, channel).json()
    assert (page["channel"], page["head"], page["messages"]) == (channel, 0, [])
    request(server, "GET", path_of(channel)).want_problem(404)
    receipt = publish(server, channel, b"12345")
    facts = request(server, "GET", path_of(channel)).want(200).json()
    assert (facts["head"], facts["first"], facts["epoch"], facts["subscribers"]) == (1, 1, receipt["epoch"], 0)
    assert facts["bytes"] >= 5


def test_recall(server):
    channel = fresh()
    for text in ("one", "secret", "three"):
        publish(server, channel, text)
    answer = request(server, "DELETE", path_of(channel) + "/messages/2").want(200)
    assert (answer.json()["seq"], answer.json()["target"]) == (4, 2)
    page = history(server, channel)
    assert b"secret" not in page.body
    one, gone, three, recall = page.json()["messages"]
    assert (one["data"], three["data"]) == ("one", "three")
    assert (gone["type"], gone["seq"], gone["recalled"]) == ("message", 2, True) and "data" not in gone
    assert (recall["type"], recall["seq"], recall["target"]) == ("recall", 4, 2)
    for seq in (5, 99):
        request(server, "DELETE", f"{path_of(channel)}/messages/{seq}").want_problem(404)


@pytest.mark.parametrize("namespace", ["topic", "live", "conn"])
def test_every_durability_takes_a_publish(server, namespace):
    channel = fresh(namespace)
    assert [publish(server, channel)["seq"] for _ in range(3)] == [1, 2, 3]
    kept = [event["seq"] for event in stored(server, channel) if event["type"] == "message"]
    assert kept == ([] if namespace == "conn" else [1, 2, 3])


def test_base64_of_every_length_comes_back(server):
    channel = fresh()
    payloads = [bytes(range(255, 255 - n, -1)) for n in range(20)]
    messages = [{"channel": channel, "data_base64": base64.b64encode(payload).decode()} for payload in payloads]
    batch(server, messages).want(200)
    assert [event["payload"] for event in stored(server, channel)] == payloads
