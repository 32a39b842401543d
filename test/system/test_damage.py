"""One wrong bit on the disk (threats 6 and 7): what can be read is delivered, what can't is told as a gap, the log says
where the damage is, and one bad place doesn't cost all channels."""
import contextlib
import pathlib
import re
import shutil

import pytest

from longwire_client import TRANSPORTS, Api, Reader, event_of
from longwire_server import Server, is_built
from waiting import wait_until

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

MESSAGES, BATCH, CHANNEL = 7000, 500, "topic:d"
FLAGS = ["--write-buffer-bytes", "1M"]


def payload(number):
    return f"payload {number} ".ljust(280, ".").encode()


@pytest.fixture(name="killed", scope="module")
def fixture_killed(tmp_path_factory):
    """A directory after kill -9, with 7,000 messages in tables."""
    data = tmp_path_factory.mktemp("damage") / "data"
    with Server(data=data, flags=FLAGS) as server, contextlib.closing(Api(server.url)) as api:
        for first in range(1, MESSAGES + 1, BATCH):
            results = api.batch([{"channel": CHANNEL, "data": payload(number).decode()}
                                 for number in range(first, first + BATCH)])
            assert [result["seq"] for result in results] == list(range(first, first + BATCH))
        server.kill()
        server.start()  # moves what is in the write-ahead log into tables
        server.kill()
    return data


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x10]))


def largest(data, pattern):
    return max((data / "db").glob(pattern), key=lambda path: path.stat().st_size)


def check_events(events, head):
    """Every seq up to the head is the message that was published, or in a gap `corrupt`. Gives the seqs in gaps."""
    at, lost = 0, []
    for event in events:
        first = event.object["from"] if event.kind == "gap" else event.seq
        assert first == at + 1, (first, at)
        if event.kind == "gap":
            assert event.object["why"] == "corrupt", event
            lost += range(first, event.seq + 1)
        elif event.seq <= MESSAGES:
            assert event.payload == payload(event.seq)
        at = event.seq
    assert at == head
    return lost


@pytest.mark.parametrize("share", [0.0, 0.4, 0.8])
def test_a_damaged_block_is_a_gap_for_every_reader(killed, share, tmp_path):
    """Threat 6: a bit flipped in a block of a table of messages."""
    data = shutil.copytree(killed, tmp_path / "data")
    table = largest(data, "*.sst")
    flip(table, int(table.stat().st_size * share))
    with Server(data=data, flags=FLAGS) as server, contextlib.closing(Api(server.url)) as api, \
            contextlib.ExitStack() as stack:
        lost = check_events([event_of(entry) for entry in api.history_all(CHANNEL)], MESSAGES)
        assert 0 < len(lost) < 150, "more than a block of 16 KiB holds"
        assert api.publish(CHANNEL, b"after").json["seq"] == MESSAGES + 1
        for transport in TRANSPORTS:
            reader = stack.enter_context(Reader(server.url, transport, [CHANNEL]))
            reader.wait_head(CHANNEL, MESSAGES + 1)
            assert check_events(reader.of(CHANNEL), MESSAGES + 1) == lost
        wait_until(lambda: re.search(r"event=store_damaged what=\"[^\"]*\.sst offset \d+", server.log()))
        assert api.metrics()["longwire_store_damaged_total"] >= 1
        assert api.get("/readyz").status == 200
