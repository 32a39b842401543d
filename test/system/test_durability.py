"""What was acknowledged is there, once and in order, whatever happens to the process: kill -9 at random moments,
restarts, lost data directories (threats 1, 14, 17, 18).

LW_KILL_ROUNDS    rounds of kill -9 under load; 20 unless told otherwise
LW_SEED           seed of the moments; random unless told, printed with a failure
"""
import contextlib
import os
import random
import shutil
import time

import pytest

from hanging_server import HangingServer, Waiting, needs_faulty_disk
from longwire_client import TRANSPORTS, Api, Publisher, Reader, audit_history, audit_reader, event_of
from longwire_server import Server, is_built
from waiting import wait_until

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

KILL_ROUNDS = int(os.environ.get("LW_KILL_ROUNDS", "20"))
SEED = int(os.environ.get("LW_SEED", random.randrange(1 << 32)))


def test_kill_minus_nine_at_random_moments_loses_nothing():
    """Threats 1 and 17: 8 publishers and a reader on each transport; all of them reconnect by themselves."""
    print(f"LW_SEED={SEED}")
    rng, channels = random.Random(SEED), ["topic:one", "user:two"]
    with Server() as server, contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reader(server.url, transport, channels)) for transport in TRANSPORTS]
        publishers = [stack.enter_context(Publisher(server.url, f"p{i}", channels[i % 2], has_keys=i % 4 < 2))
                      for i in range(8)]
        restarts = []
        for _ in range(KILL_ROUNDS):
            time.sleep(rng.uniform(0.05, 0.9))  # the moment is the fault that is injected
            server.kill()
            began = time.monotonic()
            server.start()
            restarts.append(time.monotonic() - began)
        for publisher in publishers:
            publisher.is_over = True
        for publisher in publishers:
            publisher.close()
            assert publisher.refused == [], publisher.refused[:1]

        api = Api(server.url)
        total = 0
        for channel in channels:
            mine = [publisher for publisher in publishers if publisher.channel == channel]
            answered = {payload: place for publisher in mine for payload, place in publisher.answered.items()}
            history = audit_history(api, channel, answered)
            total += len(history)
            for reader in readers:
                reader.wait_head(channel, len(history))
                audit_reader(reader, channel, history)
            for publisher in mine:  # each publisher waited for its answer, so its own order is the log's
                numbers = [int(payload.split(b"-")[1]) for payload in history.values()
                           if payload.startswith(publisher.name_of.encode() + b"-")]
                assert numbers == sorted(numbers)
                if publisher.has_keys:
                    assert numbers == list(range(publisher.sent)), publisher.name_of
        api.close()
        print(f"{total} messages, {sum(p.replayed for p in publishers)} repeats recognised, "
              f"slowest restart {max(restarts):.2f} s")
        assert total >= KILL_ROUNDS
        assert all(len(reader.breaks) >= KILL_ROUNDS for reader in readers), "the readers were not cut off"


def test_an_idempotency_key_holds_across_kill():
    """Threat 17: the same answer, and one message."""
    with Server() as server:
        api = Api(server.url)
        first = api.publish("topic:k", b"paid", key="order-1")
        server.kill()
        server.start()
        api.close()
        again = api.publish("topic:k", b"paid", key="order-1")
        other = api.publish("topic:k", b"paid twice", key="order-1")
        assert (first.status, again.status, other.status) == (201, 200, 422)
        assert again.body == first.body and again.headers["Idempotency-Replayed"] == "true"
        assert [entry["seq"] for entry in api.history_all("topic:k")] == [1]
        assert api.publish("topic:k", b"next").json["seq"] == 2
        api.close()


def test_recalls_and_expiry_hold_across_kill():
    """Threat 18."""
    with Server() as server:
        api = Api(server.url)
        for payload, ttl in ((b"taken back", None), (b"short", 1), (b"long", 3600), (b"kept", None)):
            assert api.publish("topic:r", payload, ttl=ttl).status == 201
        assert api.recall("topic:r", 1).status == 200
        server.kill()
        time.sleep(1.1)  # the short one's life ends on the wall clock
        server.start()
        api.close()
        taken, short, long, kept, recall = api.history_all("topic:r")
        assert taken["recalled"] is True and "data" not in taken
        assert (short["type"], short["from"], short["to"], short["why"]) == ("gap", 2, 2, "expired")
        assert (long["data"], kept["data"]) == ("long", "kept")
        assert (recall["type"], recall["target"], recall["seq"]) == ("recall", 1, 5)
        with Reader(server.url, "sse", ["topic:r"]) as reader:
            reader.wait_head("topic:r", 5)
            assert [event.kind for event in reader.of("topic:r")] == ["message", "gap", "message", "message", "recall"]
            assert reader.of("topic:r")[0].payload is None
        api.close()


@pytest.mark.parametrize("channel, loses", [("topic:gone", True), ("live:gone", False)])
def test_a_lost_log_has_a_new_epoch_and_readers_hear_of_it(channel, loses):
    """Threat 14: the data directory is deleted between two runs; and memory channels, which every restart empties. A
    reader with an old cursor gets a gap and then everything that is there now: nothing is skipped because its seq is
    low."""
    with Server() as server, contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reader(server.url, transport, [channel])) for transport in TRANSPORTS]
        api = Api(server.url)
        old = {api.publish(channel, b"old-%d" % i).json["epoch"] for i in range(5)}
        for reader in readers:
            reader.wait_head(channel, 5)
        server.stop()
        if loses:
            shutil.rmtree(server.data)
        server.start()
        api.close()
        new = {api.publish(channel, b"new-%d" % i).json["epoch"] for i in range(3)}
        assert len(old) == len(new) == 1 and old != new
        for reader in readers:
            reader.wait_for(lambda r=reader: r.of(channel)[-1].payload == b"new-2")
            events = reader.of(channel)
            assert [event.payload for event in events if event.kind == "message"] == (
                [b"old-%d" % i for i in range(5)] + [b"new-%d" % i for i in range(3)]), reader.transport
            assert [gap["why"] for gap in reader.gaps(channel)] == ["epoch"], reader.transport
            assert events[5].kind == "gap" and {event.epoch for event in events[5:]} == new, reader.transport
        api.close()


@pytest.mark.parametrize("kind", ["topic", "user", "device", "group", "all"])
def test_durable_namespaces_keep_their_epoch_and_go_on_counting(kind):
    with Server() as server:
        api = Api(server.url)
        first = api.publish(f"{kind}:x", b"1").json
        server.kill()
        server.start()
        api.close()
        second = api.publish(f"{kind}:x", b"2").json
        assert (second["epoch"], second["seq"]) == (first["epoch"], 2) and second["id"] > first["id"]
        api.close()


@needs_faulty_disk
def test_no_answer_before_the_disk_has_it(tmp_path):
    """While no fsync and no fdatasync finishes the durable publish waits. Memory channels, readers and history don't
    wait for the disk."""
    with HangingServer(tmp_path) as server, contextlib.closing(Api(server.url)) as api, \
            Reader(server.url, "ws", ["topic:slow", "live:quick"]) as reader:
        reader.wait_for(lambda: len(reader.others) == 3)  # connected, subscribed twice
        server.hang()
        with Waiting(server, "topic:slow", 1) as waiting:
            wait_until(lambda: api.metrics()["longwire_publishes_waiting"] == 1)
            for number in range(1, 21):
                assert api.publish("live:quick", b"memory").status == 201
                reader.wait_head("live:quick", number)
                shown = len(api.history_all("topic:slow")) + reader.count("topic:slow") + len(waiting.answers)
                assert shown == 0, "what is not durable is shown"
            server.go_on()
        assert [answer.status for answer in waiting.answers.values()] == [201]
        reader.wait_head("topic:slow", 1)


@needs_faulty_disk
def test_publishes_share_syncs(tmp_path):
    """Publishes that arrive while a sync is under way share the next one."""
    count = 64
    with HangingServer(tmp_path) as server, contextlib.closing(Api(server.url)) as api:
        before = api.metrics()
        server.hang()
        with Waiting(server, "topic:many", count) as waiting:
            wait_until(lambda: api.metrics()["longwire_publishes_waiting"] == count)
            server.go_on()
        assert [answer.status for answer in waiting.answers.values()] == [201] * count
        after = api.metrics()
    done = {name: after[name] - before[name] for name in (
        'longwire_publishes_total{store="durable"}', "longwire_store_batches_total", "longwire_store_sync_seconds_count")}
    assert list(done.values()) == [count, 2, 2], done


def test_a_batch_is_numbered_in_order_and_survives_kill():
    with Server() as server:
        api = Api(server.url)
        results = api.batch([{"channel": "topic:b", "data": f"m{i}"} for i in range(500)])
        assert [result["seq"] for result in results] == list(range(1, 501))
        server.kill()
        server.start()
        api.close()
        answered = {f"m{i}".encode(): (result["epoch"], result["seq"]) for i, result in enumerate(results)}
        payloads = [event_of(entry).payload for entry in api.history_all("topic:b")]
        assert payloads == [f"m{i}".encode() for i in range(500)]
        audit_history(api, "topic:b", answered)
        api.close()


def test_who_comes_while_news_come_is_not_left_waiting():
    """A reader brings a cursor that the loop must ask the store about (of another epoch, or beyond the head) while
    messages are being delivered: the reader gets its answer at once, not at its next heartbeat."""
    with Server(flags=["--heartbeat-s", "3600"]) as server, contextlib.ExitStack() as stack:
        first = stack.enter_context(Reader(server.url, "ndjson", ["live:busy"]))
        stack.enter_context(Publisher(server.url, "p", "live:busy", has_keys=False))
        first.wait_for(lambda: first.count("live:busy") > 100)
        for _ in range(6):
            with contextlib.ExitStack() as crowd:
                readers = [crowd.enter_context(Reader(server.url, transport, ["live:busy"], after=10 ** 9))
                           for transport in ("ws", "sse", "ndjson", "multipart", "poll") for _ in range(4)]
                for reader in readers:
                    reader.wait_for(lambda r=reader: len(r.of("live:busy")) > 2)
                    assert reader.gaps("live:busy")[0]["why"] == "ahead", reader.transport
