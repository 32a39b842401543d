"""longwire.bin.v1: the native protocol on TCP, and the same frames as a WebSocket subprotocol (docs/protocol.md section 9).

The frames are written and read by native_wire.py, which knows the page and not the code. Threats 34, 97 to 100.

LW_SILENT_CONNECTS  how many links say nothing; 1,500 and 6,000 unless told otherwise
"""
import concurrent.futures
import contextlib
import json
import os
import random
import re
import socket
import subprocess
import time

import pytest
import websockets

from longwire_client import Api
from longwire_server import BUILD, LONGWIRED, ROOT, Server, is_built, is_sanitized
from native_link import NotTold, bin_as_json, json_as_bin
from native_wire import SERVER_TYPES, Aliases, BinSocket, NativeClient, WireFault, decode, encode, split
from waiting import SECONDS, wait_until

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

FRAME_MAX = 1 << 20


def vectors(name, list_name="cases"):
    return json.loads((ROOT / "test" / "vectors" / name).read_text())[list_name]


def named(cases):
    return pytest.mark.parametrize("case", cases, ids=[case["name"] for case in cases])


@pytest.fixture(scope="module", name="server")
def server_fixture():
    with Server() as server:
        yield server


def set_up(server, case):
    with contextlib.closing(Api(server.url)) as api:
        for channel, data in case.get("publish", ()):
            assert api.publish(channel, data.encode(), media="text/plain").status == 201
        for channel, seq in case.get("recall", ()):
            assert api.recall(channel, seq).status == 200


# --- vectors ---------------------------------------------------------------------------------------------------------

def told_by_codec(case):
    wire = bytes.fromhex(case["hex"])
    side = 0 if case.get("side", "server") == "client" else 1
    told = subprocess.run([BUILD / "test" / "transcript" / "bin_transcript"], stdout=subprocess.PIPE, timeout=SECONDS,
                          input=b"%d %d %d\n" % (len(wire), side, FRAME_MAX) + wire, check=True).stdout
    return json.loads(told)


@named(vectors("bin_frames.json"))
def test_frames(case):
    """The codec reads what the vectors say; native_wire.py writes the same bytes. Threat 98."""
    assert told_by_codec(case) == case["frames"]
    if all("type" in frame for frame in case["frames"]) and "unknown field" not in case["name"] and \
            "not come" not in case["name"]:
        assert b"".join(encode(frame, case["side"]) for frame in case["frames"]).hex() == case["hex"]


@named(vectors("bin_frames.json", "aliases"))
def test_aliases(case):
    aliases, told = Aliases(), []
    for inside in split(bytes.fromhex(case["hex"]))[0]:
        frame = aliases.take(decode(inside, SERVER_TYPES))
        if frame["type"] != "alias":
            told.append(frame)
    assert told == case["messages"]


def fits(wanted, got, bound):
    if isinstance(wanted, str) and wanted.startswith("$"):
        return wanted == "$_" or bound.setdefault(wanted, got) == got
    if isinstance(wanted, dict):
        return wanted.keys() == got.keys() and all(fits(wanted[name], got[name], bound) for name in wanted)
    if isinstance(wanted, list) and isinstance(got, list):
        return len(wanted) == len(got) and all(fits(*pair, bound) for pair in zip(wanted, got))
    return (type(wanted) is type(got) or isinstance(got, float)) and wanted == got


def expect_all(next_frame, wanted, bound):
    """The next frames are the wanted ones, in any order."""
    wanted = list(wanted)
    while wanted:
        got = next_frame()
        found = [frame for frame in wanted if got is not None and fits(frame, got, dict(bound))]
        assert found, f"got {got}, wanted one of {wanted} with {bound}"
        fits(found[0], got, bound)
        wanted.remove(found[0])


@named(vectors("bin_dialogue.json"))
def test_dialogue(server, case):
    set_up(server, case)
    bound = {}
    with NativeClient(server.tcp_port, connect=False) as client:
        for step in case["steps"]:
            if "send" in step:
                client.send(step["send"])
            elif "send_hex" in step:
                client.send_bytes(bytes.fromhex(step["send_hex"]))
            elif "expect_end" in step:
                assert client.next() is None
            else:
                expect_all(client.next, step.get("expect_any_order", [step.get("expect")]), bound)


# --- both dialects say the same --------------------------------------------------------------------------------------

def talk_in_json(link, case):
    """Takes the steps of a JSON dialogue in frames of the binary protocol, as far as they can be said in it."""
    bound, refs, is_told = {}, [], True
    for step in case["steps"]:
        if "send" in step:
            try:
                link.send(json_as_bin(step["send"], refs))
                is_told = True
            except NotTold:
                is_told = False
        elif "send_text" in step:
            is_told = False
        elif is_told and ("expect" in step or "expect_any_order" in step):
            expect_all(lambda: bin_as_json(link.next(), refs), step.get("expect_any_order", [step.get("expect")]), bound)


@named([case for case in vectors("ws_dialogue.json") if not any("expect_close" in step for step in case["steps"])])
def test_both_dialects_say_the_same(case):
    with Server() as server:
        set_up(server, case)
        with BinSocket(server, case["query"]) as link:
            talk_in_json(link, case)


@pytest.mark.parametrize("message", ["text", b""])
def test_a_websocket_of_this_subprotocol_has_no_text_and_bears_empty_messages(server, message):
    with BinSocket(server) as link:
        assert link.next()["type"] == "connected"
        link.send_message(message)
        if message:
            with pytest.raises(websockets.exceptions.ConnectionClosed):
                link.next()
            assert link.link.close_code == 1003
        else:
            link.send({"type": "ping", "ref": 1})
            assert link.next() == {"type": "pong", "ref": 1}


def test_a_malformed_message_closes_a_websocket_with_1002(server):
    with BinSocket(server) as link:
        assert link.next()["type"] == "connected"
        link.send_message(bytes.fromhex("0508"))
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            link.next()
        assert link.link.close_code == 1002


# --- bytes -----------------------------------------------------------------------------------------------------------

def test_a_plain_message_at_rest_takes_at_most_12_bytes_beside_its_payload(server):
    with contextlib.closing(Api(server.url)) as api, NativeClient(server.tcp_port) as client:
        client.send({"type": "subscribe", "channel": "group:a-rather-long-name-of-a-group"})
        client.expect("subscribed")
        sizes = []
        for number in range(300):
            before = len(client.raw)
            payload = f"message {number}"
            answer = api.publish("group:a-rather-long-name-of-a-group", payload.encode(), media="text/plain").json
            got = client.expect("full")
            assert (got["seq"], got["id"], got["time"], got["payload"]) == (answer["seq"], answer["id"], answer["time"], payload)
            sizes.append(len(client.raw) - before - len(payload))
        assert max(sizes[1:]) <= 12, sizes
        print("bytes beside the payload:", sizes[0], "then", max(sizes[1:]))


def test_long_and_odd_messages_arrive_whole(server):
    payloads = [b"", b"\0\xff", b"x" * 4096, b"y" * 4097, b"z" * (1 << 20), b"{\"a\":1}"]
    with contextlib.closing(Api(server.url)) as api, NativeClient(server.tcp_port) as client:
        client.send({"type": "subscribe", "channel": "topic:odd"})
        client.expect("subscribed")
        for payload in payloads:
            assert api.publish("topic:odd", payload, media="application/octet-stream").status == 201
        for payload in payloads:
            got = client.expect("full")
            assert bytes.fromhex(got.get("payload_hex", "")) or got.get("payload", "").encode() == payload
            assert got["media"] == "application/octet-stream"


# --- many readers, cut at random -------------------------------------------------------------------------------------

READERS, MESSAGES = 40, 400


def follow_with_cuts(server, channel, seed):
    """Follows from the beginning and comes back at its place after every cut. The record of (seq, payload)."""
    dice, place, record = random.Random(seed), {"channel": channel, "seq": 0}, []
    while len(record) < MESSAGES:
        with NativeClient(server.tcp_port, resume=[place]) as client:
            client.expect("subscribed")
            for _ in range(dice.randrange(1, 120)):
                frame = client.expect("full")
                assert frame["seq"] == place["seq"] + 1, (frame, place)
                record.append((frame["seq"], frame["payload"]))
                place = {"channel": channel, "seq": frame["seq"], "epoch": frame["epoch"]}
                if len(record) == MESSAGES:
                    break
    return record


def test_readers_that_are_cut_miss_nothing(server):
    """Every reader has every seq once and in order, though links end at random while messages flow."""
    channel = "group:cut"
    with concurrent.futures.ThreadPoolExecutor(READERS) as pool, contextlib.closing(Api(server.url)) as api:
        readers = [pool.submit(follow_with_cuts, server, channel, seed) for seed in range(READERS)]
        for number in range(1, MESSAGES + 1):
            assert api.publish(channel, b"%d " % number + b"x" * (number * 7 % 300), media="text/plain").status == 201
        records = [reader.result(SECONDS) for reader in readers]
    assert all(record == records[0] for record in records)
    assert [int(payload.split()[0]) for _, payload in records[0]] == list(range(1, MESSAGES + 1))


# --- who may ---------------------------------------------------------------------------------------------------------

KEYED = "[key app]\nsecret = 0123456789abcdef\nrights = publish, subscribe\n[namespace topic]\nsubscribe = key\n"


def test_a_token_is_asked_for_as_everywhere():
    with Server(config=KEYED) as server:
        with NativeClient(server.tcp_port) as nobody:
            nobody.send({"type": "subscribe", "channel": "topic:a", "ref": 1},
                        {"type": "publish", "channel": "topic:a", "payload": "x", "ref": 2})
            assert [nobody.expect("error")["code"] for _ in range(2)] in ([401, 401], [403, 403])
        with NativeClient(server.tcp_port, token="0123456789abcdef") as app:
            app.send({"type": "subscribe", "channel": "topic:a"},
                     {"type": "publish", "channel": "topic:a", "payload": "x", "ref": 2})
            assert {app.expect("subscribed", "published", "full")["type"] for _ in range(3)} == \
                {"subscribed", "published", "full"}
        with NativeClient(server.tcp_port, connect=False) as wrong:
            wrong.send({"type": "connect", "token": "nonsense", "ref": 5})
            error, closing = wrong.until_end()
            assert (error["type"], error["code"], error["ref"]) == ("error", 401, 5)
            assert (closing["type"], closing["code"]) == ("closing", 1008)


# --- threats 97 and 98: what a hostile client says -------------------------------------------------------------------

DIALOGUE = b"".join(encode(frame) for frame in (
    {"type": "connect", "token": "", "resume": [{"channel": "topic:h", "seq": 0}], "heartbeat": 60},
    {"type": "subscribe", "channel": "topic:g", "last": 3, "ref": 1},
    {"type": "publish", "channel": "topic:h", "payload": "hello", "media": "text/plain", "ref": 2},
    {"type": "ping", "next_ms": 60000}, {"type": "cursor", "ref": 3}, {"type": "unsubscribe", "channel": "topic:g"}))


def say_and_leave(server, data):
    """What the server says to these bytes and the end of the client's side."""
    with NativeClient(server.tcp_port, connect=False) as client:
        client.send_bytes(data)
        client.socket.shutdown(socket.SHUT_WR)
        frames = client.until_end()
        assert client.left == b""
        return frames


def test_every_prefix_of_a_dialogue_is_borne(server):
    """Threat 97: a prefix that ends inside a frame is closed with a reason."""
    ends, at = set(), 0
    for inside in split(DIALOGUE)[0]:
        at += len(inside) + 1
        ends.add(at)
    for length in range(len(DIALOGUE) + 1):
        frames = say_and_leave(server, DIALOGUE[:length])
        assert (length in ends) == (not frames or frames[-1]["type"] != "closing"), (length, frames)
    assert server.is_healthy()


def test_every_flipped_bit_of_a_dialogue_is_borne(server):
    """Threat 97: frames that mean something else, errors, or a close with a reason; the server goes on."""
    bits = range(len(DIALOGUE) * 8)
    for bit in bits:
        data = bytearray(DIALOGUE)
        data[bit // 8] ^= 1 << bit % 8
        for frame in say_and_leave(server, bytes(data)):
            assert frame["type"] != "closing" or (frame["code"] in (1002, 1008, 1009) and frame["reason"]), (bit, frame)
    assert server.is_healthy()


@pytest.mark.parametrize(("data", "code"), [
    ("ffffffffffffffffff01", 1002), ("8080808008", 1009), ("00", 1002), ("8100", 1002), ("020508", 1002),
    ("0402160174", None), ("04021601ff", 1002), ("013f", None), ("0148", None), ("0205f8", 1002),
])
def test_what_is_out_of_bounds_is_refused(server, data, code):
    """Threat 98. None: an `error`, and the link goes on."""
    with NativeClient(server.tcp_port) as client:
        client.send_bytes(bytes.fromhex(data))
        if code is None:
            assert client.expect("error")["code"] == 400
            client.send({"type": "ping"})
            client.expect("pong")
        else:
            assert client.expect("closing")["code"] == code
            assert client.next() is None


def test_frames_beyond_the_limits(server):
    """Threat 98: a length costs no memory before its bytes have come, and a connect has a limit of its own."""
    with NativeClient(server.tcp_port) as client:
        client.send({"type": "publish", "channel": "topic:big", "payload": "x" * (1 << 20) + "y", "ref": 1})
        error = client.expect("error")
        assert (error["code"], error["ref"]) == (413, 1)
        client.send_bytes(b"\x81\x80\x84\x03")  # a byte above frame_max
        assert client.expect("closing")["code"] == 1009
    with NativeClient(server.tcp_port, connect=False) as client:
        client.send_bytes(encode({"type": "connect", "token": "x" * (512 * 1024)})[:64])
        assert client.expect("closing")["code"] == 1009


def test_a_frame_that_does_not_end_is_given_up():
    with Server(flags=["--frame-timeout-s", "1", "--heartbeat-s", "1"]) as server, NativeClient(server.tcp_port) as client:
        client.send_bytes(encode({"type": "publish", "channel": "topic:a", "payload": "x" * 100})[:20])
        frames = client.until_end()
        assert frames[-1]["type"] == "closing" and frames[-1]["code"] == 1008


# --- threat 99: other protocols --------------------------------------------------------------------------------------

@pytest.mark.parametrize(("data", "looks_like"), [
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP"), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"),
    (bytes.fromhex("160301020001000001fc0303") + bytes(64), "TLS"), (b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00", "MQTT"),
    (b"*1\r\n$4\r\nPING\r\n", "Redis"), (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"), (bytes(range(200, 256)), "something else"),
])
def test_other_protocols_are_closed_within_a_second(server, data, looks_like):
    """Threat 99."""
    before = len(server.log())
    for _ in range(5):  # the machine may be busy, but not each time
        began = time.monotonic()
        with NativeClient(server.tcp_port, connect=False) as client:
            client.send_bytes(data)
            frames = client.until_end()
        took = time.monotonic() - began
        if took < 1:
            break
    assert took < 1, "it took its time"
    assert [(frame["type"], frame["code"]) for frame in frames] == [("closing", 1002)]
    wait_until(lambda: "native_client_refused" in server.log()[before:])
    assert re.search(rf'looks_like="?{looks_like}"?\s', server.log()[before:])


# --- threat 100: silence ---------------------------------------------------------------------------------------------

WAVE = 12000            # so many at once: what the descriptors of a process allow, on either side


def waves(default):
    """As many silent connects as LW_SILENT_CONNECTS says, at most WAVE at a time."""
    left = int(os.environ.get("LW_SILENT_CONNECTS", str(default)))
    while left > 0:
        yield min(left, WAVE)
        left -= WAVE


PLAIN = next((folder / "longwired" for folder in (BUILD, BUILD.parent) if (folder / "longwired").exists() and
              not is_sanitized(folder / "longwired")), None)


class PlainServer(Server):
    def command(self):
        return [str(PLAIN), *super().command()[1:]]


def rss_bytes(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return int(re.search(r"Rss:\s+(\d+) kB", file.read())[1]) * 1024


def silent_links(port, count):
    """From forty addresses."""
    return [socket.create_connection(("127.0.0.1", port), timeout=SECONDS, source_address=(f"127.0.7.{1 + number % 40}", 0))
            for number in range(count)]


def test_silent_connects_are_closed_by_the_time_limit():
    """Threat 100: each of 1,500 links, unless told otherwise, is closed with a reason within head_timeout_s and a little."""
    with Server(flags=["--head-timeout-s", "2"]) as server, contextlib.closing(Api(server.url)) as api:
        for count in waves(1500):
            links = silent_links(server.tcp_port, count)
            began = time.monotonic()
            for link in links:
                data = b""
                while piece := link.recv(4096):
                    data += piece
                assert [decode(inside, SERVER_TYPES)["code"] for inside in split(data)[0]] == [1008]
                link.close()
            assert time.monotonic() - began < SECONDS / 2
            wait_until(lambda: api.metrics()['longwire_sessions{transport="native"}'] == 0)


@pytest.mark.skipif(PLAIN is None, reason="needs a build without sanitizers")
def test_a_silent_connect_costs_little_memory():
    """Threat 100: at most 400 bytes of user memory for each of 6,000 links, unless told otherwise."""
    with PlainServer(flags=["--loops", "1", "--head-timeout-s", "600"]) as server, contextlib.closing(Api(server.url)) as api:
        for count in waves(6000):
            with contextlib.ExitStack() as stack:
                for link in silent_links(server.tcp_port, 500):
                    stack.callback(link.close)
                wait_until(lambda: api.metrics()['longwire_sessions{transport="native"}'] == 500)
                before = rss_bytes(server.pid)
                for link in silent_links(server.tcp_port, count):
                    stack.callback(link.close)
                wait_until(lambda at=count: api.metrics()['longwire_sessions{transport="native"}'] == 500 + at)
                each = (rss_bytes(server.pid) - before) / count
                print("bytes a silent connect:", each)
                assert each <= 400
            wait_until(lambda: api.metrics()['longwire_sessions{transport="native"}'] == 0)


# --- limits, slow readers, the end -----------------------------------------------------------------------------------

def test_one_connection_too_many_is_told_to_come_later():
    with Server(flags=["--connections-max", "20"]) as server, contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(NativeClient(server.tcp_port))
        with NativeClient(server.tcp_port, connect=False) as client:
            (closing,) = client.until_end()
            assert (closing["type"], closing["code"]) == ("closing", 1013)


def test_a_connection_too_many_reads_why_though_it_has_sent_much():
    """Bytes that the server has not read must not turn its close into a reset that overtakes the reason."""
    with Server(flags=["--connections-max", "20"]) as server, contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(NativeClient(server.tcp_port))
        for _ in range(15):
            with socket.create_connection(("127.0.0.1", server.tcp_port), timeout=SECONDS) as late:
                for _ in range(5):
                    late.sendall(encode({"type": "connect"}))
                told = b""
                while got := late.recv(1000):
                    told += got
                frames, _rest = split(told)
                assert [decode(frame, SERVER_TYPES)["code"] for frame in frames] == [1013]


def test_a_stop_tells_every_client_to_come_again():
    with Server() as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(NativeClient(server.tcp_port)) for _ in range(5)]
        clients.append(stack.enter_context(NativeClient(server.tcp_port, connect=False)))
        wait_until(lambda: 'longwire_sessions{transport="native"} 6' in Api(server.url).get("/metrics").body.decode())
        server.stop()
        for client in clients:
            reconnect, closing = client.until_end()
            assert (reconnect["type"], closing["type"], closing["code"]) == ("reconnect", "closing", 1001)
            assert reconnect["after_ms"] > 0


def test_a_silent_client_is_asked_and_given_up():
    with Server(flags=["--heartbeat-s", "1", "--pong-timeout-s", "10"]) as server:
        with NativeClient(server.tcp_port) as answers, NativeClient(server.tcp_port) as silent:
            assert silent.next() == {"type": "ping"}
            assert silent.raw.endswith(b"\x01\x08")
            for _ in range(3):
                assert answers.next() == {"type": "ping"}
                answers.send({"type": "pong"})
            assert silent.next() is None
            answers.send({"type": "ping", "ref": 1})
            assert {"type": "pong", "ref": 1} in (answers.next(), answers.next())


def test_a_slow_reader_gets_everything_in_order(server):
    """Threat 34: it reads nothing while far more is published than any socket holds; then it reads all of it."""
    count, size = 48, 256 * 1024
    with contextlib.closing(Api(server.url)) as api, NativeClient(server.tcp_port) as client:
        client.send({"type": "subscribe", "channel": "topic:slow"})
        client.expect("subscribed")
        for number in range(count):
            assert api.publish("topic:slow", f"{number} ".encode().ljust(size, b"x"), media="text/plain").status == 201
        for number in range(count):
            frame = client.expect("full")
            assert frame["seq"] == number + 1 and frame["payload"].startswith(f"{number} ")


def test_an_address_that_is_taken_is_refused(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taker:
        port = taker.getsockname()[1]
        done = subprocess.run([LONGWIRED, "--http", "127.0.0.1:0", "--tcp", f"127.0.0.1:{port}", "--data", tmp_path / "data"],
                              capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 1 and f"can't listen on 127.0.0.1:{port} (tcp)" in done.stderr and "in use" in done.stderr


def test_the_listener_can_be_turned_off():
    with Server(flags=["--tcp", ""]) as server:
        assert "tcp=" not in server.log()
        with pytest.raises(OSError):
            NativeClient(server.tcp_port)


def test_native_wire_refuses_what_the_page_does_not_allow():
    """Our own reader is strict, or it would show nothing."""
    for data in ("00", "8100"):
        with pytest.raises(WireFault):
            split(bytes.fromhex(data))
    with pytest.raises(WireFault):
        decode(bytes.fromhex("0508"), {5: "cursor"})
