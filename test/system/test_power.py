"""The machine loses power: whatever was acknowledged or delivered is there afterwards, once and in order, and the log
has the same epoch (threats 3, 4, 5, 12). The server runs on a disk that records every change
(test/lib/preload/recording_disk.c). From the record power_loss.py computes what could be left at any moment, and
another server is started on that.

LW_POWER_LIVES    how many disks live through three rounds of load, kill -9 and power loss; 1 unless told otherwise
LW_SEED           seed of the moments and of what is left; random unless told, printed with a failure
"""
import collections
import contextlib
import http.client
import os
import random
import shutil
import subprocess
import threading
import time

import pytest

from longwire_client import Api, Reader, audit_history
from longwire_server import BUILD, Server, is_built
from power_loss import FATES, Disk, File, Folder, records_of

RECORDING_DISK = BUILD / "recording_disk.so"
pytestmark = pytest.mark.skipif(not is_built() or not RECORDING_DISK.exists(),
                                reason="no longwired is built, or no recording_disk.so")

LIVES = int(os.environ.get("LW_POWER_LIVES", "1"))
ROUNDS = 3
MOMENTS = 4                # beside the end of each round
SEED = int(os.environ.get("LW_SEED", random.randrange(1 << 32)))
CHANNELS = ["topic:one", "user:two", "group:three"]
SIZES = [10, 300, 5000, 20000]
FLAGS = ["--write-buffer-bytes", "1M"]   # so that logs are rolled, tables written and old files removed all the time

# What a publisher was told, and how far the record of the disk went when it knew: from there on it must last.
Answer = collections.namedtuple("Answer", "channel payload key place record_end")


class RecordedServer(Server):
    """A server that makes its data directory itself, in a folder that stands for the disk."""

    def __init__(self, disk, record):
        super().__init__(data=disk, flags=FLAGS, env={
            "LD_PRELOAD": str(RECORDING_DISK), "RECORDING_DISK_UNDER": str(disk), "RECORDING_DISK_TO": str(record),
            "ASAN_OPTIONS": "verify_asan_link_order=0"})

    def command(self):
        words = super().command()
        words[words.index("--data") + 1] += "/data"
        return words


class Publisher(threading.Thread):
    """Publishes until the link breaks, and records what was acknowledged."""

    def __init__(self, url, name, channel, record):
        super().__init__()
        self.api, self.channel, self.record = Api(url), channel, record
        self.name_of, self.rng = name, random.Random(name)
        self.sent, self.answers, self.refused = [], [], None

    def run(self):
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(self.api):
            while True:
                key = f"{self.name_of}-{len(self.sent)}"
                payload = f"{key}-".encode().ljust(self.rng.choice(SIZES), b".")
                self.sent.append(payload)
                answer = self.api.publish(self.channel, payload, key=key)
                if answer.status != 201:
                    self.refused = answer
                    break
                place = (answer.json["epoch"], answer.json["seq"])
                self.answers.append(Answer(self.channel, payload, key, place, self.record.stat().st_size))


class Round:
    """A server on `disk` under load, killed at some moment; and what was on the disk at each moment before."""

    def __init__(self, disk, record, name, seconds):
        self.disk = Disk.of_folder(disk)
        with RecordedServer(disk, record) as server, Reader(server.url, "ws", CHANNELS) as reader:
            publishers = [Publisher(server.url, f"{name}-{i}", CHANNELS[i % len(CHANNELS)], record) for i in range(6)]
            for publisher in publishers:
                publisher.start()
            time.sleep(seconds)  # the moment is the fault that is injected
            server.kill()
            for publisher in publishers:
                publisher.join(60)
        assert not any(publisher.refused for publisher in publishers), [publisher.refused for publisher in publishers]
        self.sent = {payload for publisher in publishers for payload in publisher.sent}
        self.answers = [answer for publisher in publishers for answer in publisher.answers]
        self.delivered = [event for event in reader.events if event.kind == "message"]
        self.records = list(records_of(record))
        record.unlink()

    def moments(self, rng, count):
        """Some records after which the power may fail; half of them near changes of names (rolls), and always the
        last."""
        last = len(self.records) - 1
        names = [at for at, record in enumerate(self.records) if record.kind in "CDLRX"]
        some = rng.sample(names, min(len(names), count // 2))
        return sorted({*some, *(rng.randrange(last) for _ in range(count - len(some))), last})

    def disks_at(self, moments):
        """Gives (the moment, the disk then) for each."""
        for at, record in enumerate(self.records):
            self.disk.apply(record)
            if at in moments:
                yield at, self.disk

    def answers_at(self, at):
        return [answer for answer in self.answers if answer.record_end <= self.records[at].end]

    def tell(self, at):
        record = self.records[at]
        return f"{record.kind} {' '.join(map(os.path.basename, record.paths))} ({at} of {len(self.records)})"


def audit(left, acknowledged, sent, delivered=()):
    """Checks that a server on what is left has all that was acknowledged or delivered, has nothing that nobody sent,
    knows the keys, and goes on with the same epoch."""
    server = Server(data=left / "data", flags=FLAGS)
    try:
        server.start()
        with contextlib.closing(Api(server.url)) as api:
            for channel in CHANNELS:
                mine = [answer for answer in acknowledged if answer.channel == channel]
                history = audit_history(api, channel, {answer.payload: answer.place for answer in mine})
                assert sent.issuperset(history.values()), "it holds what nobody sent"
                for event in delivered:
                    assert event.channel != channel or history.get(event.seq) == event.payload, "delivered, then gone"
                if mine:
                    again = api.publish(channel, mine[-1].payload, key=mine[-1].key)
                    assert (again.status, again.json["seq"]) == (200, mine[-1].place[1]), again
                assert api.publish(channel, b"goes on").json["seq"] == len(history) + 1
        assert "event=store_notice" not in server.log(), server.log()
        server.kill()
        server.check_log()
    finally:
        server.close()


@contextlib.contextmanager
def left_over(disk, fate, rng, home):
    """The folder of what is left of a disk."""
    left = home / "left"
    disk.write_to(left, fate, rng)
    try:
        yield left
    finally:
        shutil.rmtree(left)


@pytest.mark.parametrize("life", range(LIVES))
def test_acknowledged_messages_outlive_the_machine(life, tmp_path):
    """Threats 3, 4, 5 and 12: publishers at full speed, kill -9, and a power loss at that moment and at some moments
    before it: while the server starts, recovers from the last loss, acknowledges, or renames files. Each round
    continues with what the round before has left."""
    seed = f"{SEED}-{life}"
    rng, disk, acknowledged, sent = random.Random(seed), tmp_path / "disk", [], set()
    disk.mkdir()
    print(f"LW_SEED={SEED}")
    for number in range(ROUNDS):
        load = Round(disk, tmp_path / "record", f"{seed}-{number}", rng.uniform(0.2, 0.7))
        sent |= load.sent
        for at, then in load.disks_at(load.moments(rng, MOMENTS)):
            is_last = at == len(load.records) - 1
            known = acknowledged + load.answers_at(at)
            for fate in FATES if is_last else [rng.choice(FATES)]:
                print(f"round {number}, {load.tell(at)}, {fate}; {len(known)} acknowledged")
                with left_over(then, fate, rng, tmp_path) as left:
                    audit(left, known, sent, load.delivered if is_last else ())
        acknowledged += load.answers
        shutil.rmtree(disk)
        load.disk.write_to(disk, rng.choice(FATES), rng)
    assert acknowledged


# --- the means --------------------------------------------------------------------------------------------------------

def publish_some(server, record, count, size):
    """Publishes one message after another; gives the answers."""
    answers = []
    with contextlib.closing(Api(server.url)) as api:
        for number in range(count):
            key, payload = f"{size}-{number}", f"{size}-{number}-".encode().ljust(size, b".")
            answer = api.publish(CHANNELS[0], payload, key=key).json
            answers.append(Answer(CHANNELS[0], payload, key, (answer["epoch"], answer["seq"]), record.stat().st_size))
    return answers


def test_the_audit_finds_out_a_disk_that_lies(tmp_path):
    """The control: if fdatasync did nothing to RocksDB's log, acknowledged messages would be lost. The audit notices
    that, and so does the server if `synced`, which is never synced, happens to be left."""
    disk, record = tmp_path / "disk", tmp_path / "record"
    disk.mkdir()
    honest, lying = Disk.of_folder(disk), Disk.of_folder(disk)
    with RecordedServer(disk, record) as server:
        answers = publish_some(server, record, count=20, size=100)
        server.kill()
    sent = {answer.payload for answer in answers}
    for entry in records_of(record):
        honest.apply(entry)
        if entry.kind != "S" or not honest.made_as.get(entry.inode, "").endswith(".log"):
            lying.apply(entry)
    with left_over(honest, "nothing", None, tmp_path) as left:
        audit(left, answers, sent)
    with left_over(lying, "nothing", None, tmp_path) as left, pytest.raises(AssertionError, match="20 of 20 .* lost"):
        audit(left, answers, sent)
    lying.thing(disk / "data" / "synced").sync()
    with left_over(lying, "nothing", None, tmp_path) as left, Server(data=left / "data") as server:
        assert "event=store_notice" in server.log()
        with contextlib.closing(Api(server.url)) as api:
            assert api.publish(CHANNELS[0], b"goes on").json["epoch"] != answers[0].place[0]


def is_ext4(path):
    return "ext" in subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=True).stdout


def is_written_over_zeros(disk, entry):
    """Whether the entry writes a part of a log that has zeros there."""
    if entry.kind != "W" or not disk.made_as.get(entry.inode, "").endswith(".log"):
        return False
    there = disk.inodes[entry.inode].now()[entry.at:entry.at + entry.size]
    return len(there) == entry.size and not any(there)


def test_nothing_is_done_to_the_disk_behind_the_record(tmp_path):
    """The record describes what the disk really holds: after a first start, a stop, a recovery and another stop."""
    disk, record = tmp_path / "disk", tmp_path / "record"
    disk.mkdir()
    recorded = Disk.of_folder(disk)
    with RecordedServer(disk, record) as server:
        publish_some(server, record, count=150, size=20000)
        server.restart()
        publish_some(server, record, count=5, size=10)
        server.stop()
    over_zeros = 0
    for entry in records_of(record):
        over_zeros += is_written_over_zeros(recorded, entry)
        recorded.apply(entry)
    real = {str(path.relative_to(disk)): path.read_bytes() for path in disk.rglob("*") if path.is_file()}
    assert real.keys() == recorded.contents().keys()
    assert not [path for path, content in recorded.contents().items() if content != real[path]]
    assert over_zeros >= 5 or not is_ext4(disk), "no zeros are ahead of the log (decision 155)"


def test_what_a_disk_promises():
    """Everything that was synced is left, and anything of the rest."""
    rng = random.Random(1)
    file, folder = File(b"a" * 9000), Folder()
    file.changes = [(0, b"b" * 9000)]
    left = {fate: {bytes(file.after(fate, rng)) for _ in range(200)} for fate in FATES}
    assert left["nothing"] == left["names"] == {b"a" * 9000}
    assert len(left["pages"]) == 2 ** 3 and b"a" * 4096 + b"b" * 4904 in left["pages"]
    assert all(content.lstrip(b"b") == b"a" * content.count(b"a") for content in left["torn"])
    assert len(left["torn"]) > 100
    file.sync()
    assert all(file.after(fate, rng) == b"b" * 9000 for fate in FATES)

    folder.changes = [{"old": file}]
    folder.sync()
    folder.changes = [{"old": None, "new": file}]
    assert list(folder.after("nothing", rng)) == ["old"] and list(folder.after("names", rng)) == ["new"]
    assert {tuple(folder.after("torn", rng)) for _ in range(20)} == {("old",), ("new",)}
