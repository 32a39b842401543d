"""test/vectors/*.json, as docs/protocol.md promises them: the server and the codecs do what the vectors say, to the
byte.

Tokens are computed here a second time from the description in docs/protocol.md, section 2.4.
"""
import asyncio
import base64
import http.client
import json
import os
import re
import subprocess
import urllib.parse

import pytest
import websockets

from longwire_server import BUILD, ROOT, Server
from waiting import SECONDS

TRANSCRIPT = BUILD / "test" / "transcript"


def vectors(name, list_name="cases"):
    return json.loads((ROOT / "test" / "vectors" / name).read_text())[list_name]


def named(cases):
    return pytest.mark.parametrize("case", cases, ids=[case["name"] for case in cases])


@pytest.fixture(scope="module", name="server")
def server_fixture():
    with Server() as server:
        yield server


def ask(server, method, path, body=None, headers=None):
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
    link.request(method, path, body, headers or {})
    answer = link.getresponse()
    return answer.status, answer.read(), link


def set_up(server, case):
    for channel, data in case.get("publish", ()):
        status, body, _ = ask(server, "POST", f"/v1/channels/{channel}/messages", data.encode())
        assert status == 201, body
    for channel, seq in case.get("recall", ()):
        status, body, _ = ask(server, "DELETE", f"/v1/channels/{channel}/messages/{seq}")
        assert status == 200, body


# --- messages and frames: the codecs ---------------------------------------------------------------------------------

@pytest.mark.parametrize("codec", ["ndjson", "sse", "raw", "multipart"])
@named(vectors("messages.json"))
def test_message(case, codec):
    parts = [case["channel"].encode(), case["media"].encode(), (case["from"] or "").encode(),
             case.get("event", "").encode(), base64.b64decode(case["payload_base64"])]
    wire = b"%d %d %d %d %d\n" % tuple(map(len, parts)) + b"".join(parts)
    told = subprocess.run([TRANSCRIPT / "text_transcript", codec], input=wire, stdout=subprocess.PIPE, timeout=SECONDS,
                          check=True).stdout
    if codec == "multipart":
        start = b"--BOUNDARY\r\n"
        part = base64.b64decode(case["multipart_base64"])
        assert told[:len(start) + len(part)] == start + part
    else:
        assert told.decode() == case[codec]


@named(vectors("ws_frames.json"))
def test_websocket_frames(case):
    wire = bytes.fromhex(case["hex"])
    told = subprocess.run([TRANSCRIPT / "ws_transcript"], input=b"%d %d %d\n" % (len(wire), 1 << 20, 16) + wire,
                          stdout=subprocess.PIPE, timeout=SECONDS, check=True).stdout
    assert json.loads(told)["transcript"] == case["tale"]


def shake(server, key):
    return ask(server, "GET", "/v1/ws", headers={"Connection": "Upgrade", "Upgrade": "websocket",
                                                 "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key})


@pytest.mark.parametrize("case", vectors("ws_frames.json", "handshakes"), ids=lambda case: case["key"])
def test_websocket_handshake(server, case):
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
    link.request("GET", "/v1/ws", headers={"Connection": "Upgrade", "Upgrade": "websocket",
                                           "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": case["key"]})
    answer = link.getresponse()
    assert (answer.status, answer.getheader("Sec-WebSocket-Accept")) == (101, case["accept"])
    link.close()


@pytest.mark.parametrize("key", vectors("ws_frames.json", "bad_keys"))
def test_websocket_handshake_with_a_bad_key(server, key):
    assert shake(server, key)[0] == 400


# --- cursors ---------------------------------------------------------------------------------------------------------

def varint(number):
    digits = b""
    while number >= 0x80:
        digits, number = digits + bytes([number & 0x7f | 0x80]), number >> 7
    return digits + bytes([number])


def sealed(data):
    checksum = 0x811c9dc5
    for byte in data:
        checksum = (checksum ^ byte) * 0x01000193 % 2**32
    return base64.urlsafe_b64encode(data + checksum.to_bytes(4, "big")).rstrip(b"=").decode()


def token_of_form_1(places):
    data = b"\x01" + varint(len(places))
    for place in places:
        channel = place["channel"].encode()
        data += bytes([len(channel)]) + channel + bytes.fromhex(place["epoch"]) + varint(place["seq"])
    return sealed(data)


def set_of(channels):
    """FNV-1a, 64 bits, of the names in their order, each with its length before it."""
    set_hash = 0xcbf29ce484222325
    for name in sorted(channel.encode() for channel in channels):
        for byte in bytes([len(name)]) + name:
            set_hash = (set_hash ^ byte) * 0x100000001b3 % 2**64
    return set_hash.to_bytes(8, "big")


def token_of(places, is_set=False):
    """Forms 2 and 3."""
    if is_set:
        places = sorted(places, key=lambda place: place["channel"].encode())
    epochs, before = sorted({place["epoch"] for place in places}), b""
    data = bytes([3 if is_set else 2]) + varint(len(places)) + varint(len(epochs))
    data += b"".join(map(bytes.fromhex, epochs)) + (set_of(place["channel"] for place in places) if is_set else b"")
    for place in places:
        name = place["channel"].encode()
        shared = len(os.path.commonprefix([before, name]))
        if not is_set:
            data += (bytes([shared]) if before else b"") + bytes([len(name) - shared]) + name[shared:]
        data += (varint(epochs.index(place["epoch"])) if len(epochs) > 1 else b"") + varint(place["seq"])
        before = name
    return sealed(data)


def made_again(case):
    return token_of_form_1(case["places"]) if case["form"] == 1 else token_of(case["places"], case["form"] == 3)


@named(vectors("cursors.json"))
def test_cursor(server, case):
    assert made_again(case) == case["token"]
    channels = "".join("channel=" + urllib.parse.quote(place["channel"]) + "&" for place in case["places"])
    status, body, _ = ask(server, "GET", f"/v1/subscribe?{channels * (case['form'] == 3)}cursor=" + case["token"])
    assert status == 200
    told = [gap for gap in json.loads(body)["messages"] if gap["why"] == "epoch"]
    assert {gap["channel"] for gap in told} == {place["channel"] for place in case["places"]}


@pytest.mark.parametrize("how", ["cursor", "header", "last_event_id"])
@named(vectors("cursors.json", "refused"))
def test_refused_cursor(server, case, how):
    query = "" if how == "header" else f"?{how}=" + urllib.parse.quote(case["token"])
    headers = {"Last-Event-ID": case["token"]} if how == "header" else {}
    status, body, _ = ask(server, "GET", "/v1/subscribe" + query, headers=headers)
    assert status == 400 and b"not a cursor" in body


@named(vectors("cursors.json"))
def test_a_set_names_no_channels(server, case):
    status, body, _ = ask(server, "GET", "/v1/subscribe?cursor=" + case["token"])
    assert (status == 400 and b"without their names" in body) if case["form"] == 3 else status == 200


def test_cursor_of_the_server(server):
    """The cursor that the server gives is as the page describes it."""
    receipts = [json.loads(ask(server, "POST", "/v1/channels/topic:cur/messages", b"x")[1]) for _ in range(3)]
    body = ask(server, "GET", "/v1/subscribe?channel=topic:cur&after=0")[1]
    assert json.loads(body)["cursor"] == token_of([{"channel": "topic:cur", "epoch": receipts[2]["epoch"], "seq": 3}])


# --- dialogues -------------------------------------------------------------------------------------------------------

def fits(wanted, got, bound):
    """Is `got` what is wanted? Names that stand for values are bound in `bound`, if all fits."""
    if isinstance(wanted, str) and wanted.startswith("$"):
        return wanted == "$_" or bound.setdefault(wanted, got) == got
    if isinstance(wanted, dict):
        return isinstance(got, dict) and wanted.keys() == got.keys() and \
            all(fits(wanted[name], got[name], bound) for name in wanted)
    return type(wanted) is type(got) and wanted == got


async def hear(link):
    return json.loads(await asyncio.wait_for(link.recv(), SECONDS))


async def take_step(link, step, bound):
    if "send" in step:
        await link.send(json.dumps(step["send"]))
    elif "send_text" in step:
        await link.send(step["send_text"])
    elif "send_binary" in step:
        await link.send(bytes.fromhex(step["send_binary"]))
    elif "close" in step:
        await link.close(step["close"])
    elif "expect_close" in step:
        await asyncio.wait_for(link.wait_closed(), SECONDS)
        assert link.close_code == step["expect_close"]
    else:
        wanted = list(step.get("expect_any_order", [step.get("expect")]))
        while wanted:
            got = await hear(link)
            found = [frame for frame in wanted if frame["type"] == got["type"] and fits(frame, got, dict(bound))]
            assert found, f"got {got}, wanted one of {wanted} with {bound}"
            fits(found[0], got, bound)
            wanted.remove(found[0])


async def talk(server, case):
    uri = f"ws://127.0.0.1:{server.port}/v1/ws?{case['query']}"
    async with websockets.connect(uri, subprotocols=["longwire.json.v1"], open_timeout=SECONDS) as link:
        assert link.subprotocol == "longwire.json.v1"
        bound = {}
        for step in case["steps"]:
            await take_step(link, step, bound)


@named(vectors("ws_dialogue.json"))
def test_dialogue(server, case):
    """threat 78: what is unknown is refused with code and reason."""
    set_up(server, case)
    asyncio.run(talk(server, case))


# --- streams ---------------------------------------------------------------------------------------------------------

KINDS = {"epoch": "[0-9a-f]{16}", "id": "[0-9]+", "time": "[0-9]+", "length": "[0-9]+", "retry": "[0-9]+", "cursor": "[A-Za-z0-9_-]+",
         "boundary": "[A-Za-z0-9_-]+"}


def pattern_of(text):
    pattern, seen = "", set()
    for piece in re.split(r"(\$[a-z]+[0-9]*)", text):
        name = piece[1:]
        if not piece.startswith("$"):
            pattern += re.escape(piece)
        elif name in seen:
            pattern += f"(?P={name})"
        else:
            seen.add(name)
            pattern += f"(?P<{name}>{KINDS[name.rstrip('0123456789')]})"
    return re.compile(pattern.encode(), re.S)


@named(vectors("streams.json"))
def test_stream(server, case):
    """threat 83: multipart closes each part at once."""
    set_up(server, case)
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
    link.request("GET", "/v1/subscribe?" + case["query"], headers={"Accept": case["accept"]})
    answer = link.getresponse()
    assert answer.status == 200
    assert answer.getheader("Content-Type").split(";")[0] == case["accept"]
    wanted, body = pattern_of(case["body"]), b""
    while not (found := wanted.match(body)):
        piece = answer.read1()  # raises when nothing comes for SECONDS
        assert piece, f"ended with {body}"
        body += piece
    if "length" in found.groupdict():
        assert int(found["length"]) == len(body.split(b"\r\n\r\n")[1].split(b"\r\n--")[0])
    if "boundary" in found.groupdict():
        assert answer.getheader("Content-Type").endswith("boundary=" + found["boundary"].decode())
    if case["accept"] == "application/json":
        assert found.end() == len(body)
    link.close()
