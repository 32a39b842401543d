"""Retention by age, count and bytes (threat 13): honest gaps, in history and for readers, stand for what was deleted;
`first` moves on and the head stays; the disk space is freed."""
import base64
import contextlib
import os
import random
import threading
import time

import pytest

from longwire_client import TRANSPORTS, Api, Reader, event_of
from longwire_server import Server, is_built
from native_reader import native_transport
from waiting import SECONDS, wait_until

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

CONFIG = """
[namespace few]
keep_count = 50
[namespace light]
keep_bytes = 50000
[namespace young]
keep_age = 2
[namespace ring]
durability = memory
keep_count = 50
"""


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server(config=CONFIG) as server:
        yield server


def publish_many(api, channel, start, count, filling="." * 1000):
    results = api.batch([{"channel": channel, "data": f"{number}-{filling}"} for number in range(start, start + count)])
    assert all(result["status"] == 201 for result in results)


def number_of(event):
    return int(event.payload.partition(b"-")[0])


def check_events(events, head, next_seq=1, whys=("trimmed", "expired")):
    """Checks that neighbours touch from next_seq to the head and that every message is the one published there. Gives
    the seqs."""
    for event in events:
        first = event.object["from"] if event.kind == "gap" else event.seq
        assert first == next_seq, f"{next_seq} to {first - 1} are missing without a word"
        next_seq = event.seq + 1
        if event.kind == "gap":
            assert event.object["why"] in whys, event.object
        else:
            assert number_of(event) == event.seq
    assert next_seq == head + 1
    return [event.seq for event in events if event.kind == "message"]


def wait_kept(api, channel, at_most):
    """Waits until retention, which runs in the background, has deleted the rest."""
    def page_of_few():
        page = api.history(channel, after=0, limit=1000)
        return page if sum(entry["type"] == "message" for entry in page["messages"]) <= at_most else None
    return wait_until(page_of_few)


@pytest.mark.parametrize("channel, kept", [("few:a", 50), ("light:a", 50), ("young:a", 0), ("ring:a", 50)])
def test_what_is_let_go_is_told(server, channel, kept):
    api = Api(server.url)
    publish_many(api, channel, 1, 200)
    page = wait_kept(api, channel, kept)
    assert page["head"] == 200 and page["first"] >= 201 - kept
    messages = check_events([event_of(entry) for entry in page["messages"]], 200)
    assert kept - 5 <= len(messages) <= kept and messages == list(range(201 - len(messages), 201))
    for transport in TRANSPORTS:
        with Reader(server.url, transport, [channel], after=1) as reader:  # who had 1 hears what became of 2
            reader.wait_head(channel, 200)
            got = check_events(reader.of(channel), 200, 2)
            # What is young enough may come from memory though the disk has let go of it; never the other way about.
            assert got[len(got) - len(messages):] == messages
    publish_many(api, channel, 201, 1)
    assert api.history(channel, after=0)["head"] == 201  # an empty log goes on counting
    api.close()


def test_what_is_too_old_is_given_to_nobody(server):
    """Retention by age is exact: nobody may get such a message any more, wherever it is still stored."""
    with contextlib.closing(Api(server.url)) as api:
        publish_many(api, "young:c", 1, 20)
        wait_kept(api, "young:c", 0)
        with Reader(server.url, "sse", ["young:c"], after=1) as reader:
            reader.wait_head("young:c", 20)
            assert check_events(reader.of("young:c"), 20, 2) == []


def test_what_was_let_go_stays_so_and_the_head_stays(server):
    """Across kill -9: nothing comes back, no seq is given twice."""
    with Server(config=CONFIG) as own, contextlib.closing(Api(own.url)) as api:
        for channel in ("few:b", "light:b", "young:b"):
            publish_many(api, channel, 1, 200)
        firsts = {channel: wait_kept(api, channel, kept)["first"]
                  for channel, kept in (("few:b", 50), ("light:b", 50), ("young:b", 0))}
        own.kill()
        own.start()
        api.close()
        for channel, first in firsts.items():
            page = api.history(channel, after=0, limit=1000)
            assert page["head"] == 200 and page["first"] >= first, channel
            assert api.publish(channel, b"201-").json["seq"] == 201


CROWD = 100


@pytest.mark.parametrize("channel", ["few:race", "ring:race"])
def test_a_hundred_readers_while_the_oldest_is_let_go(server, channel):
    """Threat 13: each has read the first message, and goes on at one moment or another, while retention lets go of what is just
    being read. All get everything up to the head, or are told what is gone. Under ThreadSanitizer, too (threat 28)."""
    transports = [*TRANSPORTS, native_transport(server.tcp_port)]
    with contextlib.closing(Api(server.url)) as api, contextlib.ExitStack() as stack:
        readers, head = [], 0
        for number in range(CROWD):
            publish_many(api, channel, head + 1, 15)
            head += 15
            reader = Reader(server.url, transports[number % len(transports)], [channel], after=1)
            readers.append(stack.enter_context(reader))
        for reader in readers:
            reader.wait_head(channel, head)
        assert api.history(channel)["first"] > 1, "nothing was let go"
        for reader in readers:
            check_events(reader.of(channel), head, 2)
        assert sum(bool(reader.gaps(channel)) for reader in readers) > CROWD // 4, "nothing was let go in time"


def directory_bytes(path):
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # compaction takes files away while we look
                total += os.stat(os.path.join(folder, name)).st_blocks * 512
    return total


def test_disk_space_comes_back():
    """The log has 160 MB when the new limit, 1 MB, comes into force. (With the limit from the beginning RocksDB would
    drop dead rows whenever it compacts, and the log might never reach that size.) So more than 64 MB and more than a
    quarter of all is dead, which are the default thresholds, and all of it is reclaimed. Write-ahead logs stay: twice
    the write buffer, and the one that was begun. The words are random, because RocksDB would compress dots to next to
    nothing."""
    count, at_most, words = 1600, 32 << 20, random.Random(1)
    with Server(flags=["--write-buffer-bytes", "8M"], config="[namespace few]\n") as server:
        with contextlib.closing(Api(server.url)) as api:
            for number in range(1, count + 1):
                publish_many(api, "few:big", number, 1, base64.b64encode(words.randbytes(75000)).decode())
        most = directory_bytes(server.data)
        assert most >= count * 100000 * 9 // 10
        server.config = "[namespace few]\nkeep_count = 10\n"
        server.restart()
        wait_until(lambda: directory_bytes(server.data) <= at_most,
                   lambda: f"{directory_bytes(server.data) >> 20} MB of {most >> 20} MB")
        with contextlib.closing(Api(server.url)) as api:
            messages = check_events([event_of(entry) for entry in wait_kept(api, "few:big", 10)["messages"]], count)
        assert messages == list(range(count - 9, count + 1))


def test_readers_race_retention(server):
    """Threat 13: readers replay from the first message on, again and again, while retention deletes messages; each
    replay gives all of it or an honest gap."""
    channel, total, readers_a_time = "light:race", 2000, 5
    is_over, faults, done = threading.Event(), [], []

    def replay(transport):
        while not is_over.is_set():
            with Reader(server.url, transport, [channel], after=1) as reader:
                reader.wait_for(lambda r=reader: len(r.of(channel)) >= 20 or is_over.is_set())
            try:
                events = reader.of(channel)
                if events:
                    check_events(events, events[-1].seq, 2)
                    done.append(transport)
            except AssertionError as why:
                faults.append((transport, str(why)))
                return

    def have_replayed():
        return faults or (len(done) >= 20 and set(done) == set(TRANSPORTS))

    threads = [threading.Thread(target=replay, args=(transport,)) for transport in list(TRANSPORTS)[:readers_a_time]]
    with contextlib.closing(Api(server.url)) as api:
        publish_many(api, channel, 1, 50)
        for thread in threads:
            thread.start()
        for start in range(51, total + 1, 50):
            publish_many(api, channel, start, 50)
        deadline = time.monotonic() + 3
        at = total
        while time.monotonic() < deadline or not have_replayed():  # over several of retention's rounds, one a second
            assert time.monotonic() < deadline + SECONDS, done
            publish_many(api, channel, at + 1, 10)
            at += 10
        is_over.set()
        for thread in threads:
            thread.join(SECONDS)
        assert not faults, faults
        with Reader(server.url, "ws", [channel], after=1) as reader:
            reader.wait_head(channel, at)
            check_events(reader.of(channel), at, 2)
