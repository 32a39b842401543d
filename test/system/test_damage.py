"""One wrong bit on the disk (threats 6 and 7): what can be read is delivered, what can't is told as a gap, the log says
where the damage is, and one bad place doesn't cost all channels."""
import contextlib
import pathlib
import re
import subprocess

import pytest

from longwire_client import TRANSPORTS, Api, Reader, event_of
from longwire_server import LONGWIRED, Server, copy_data, is_built
from waiting import SECONDS, wait_until

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
    data = copy_data(killed, tmp_path / "data")
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


# --- files that RocksDB refuses ----------------------------------------------------------------------------------------

def check_history(api, epoch):
    """Everything that is there is true. What is not is told: as a gap, or by another epoch. Gives how much is there."""
    page = api.history(CHANNEL, after=0, limit=1)
    lost = check_events([event_of(entry) for entry in api.history_all(CHANNEL)], page["head"])
    if page["head"] < MESSAGES:
        assert page["epoch"] != epoch
    answer = api.publish(CHANNEL, b"goes on").json
    assert answer["seq"] > MESSAGES or answer["epoch"] != epoch
    return page["head"] - len(lost)


@pytest.fixture(name="in_log", scope="module")
def fixture_in_log(tmp_path_factory):
    """A directory after kill -9 whose messages are in the write-ahead log, in 14 commits; and its epoch."""
    data = tmp_path_factory.mktemp("log") / "data"
    with Server(data=data) as server, contextlib.closing(Api(server.url)) as api:
        for first in range(1, MESSAGES + 1, BATCH):
            results = api.batch([{"channel": CHANNEL, "data": payload(number).decode()}
                                 for number in range(first, first + BATCH)])
        server.kill()
    return data, results[0]["epoch"]


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9])
def test_a_damaged_log_costs_a_commit(in_log, share, tmp_path):
    """Threat 6: a bit flipped in db/*.log below the synced mark. The server starts, keeps what is whole before and behind
    the damage, and says what it lost."""
    data, epoch = copy_data(in_log[0], tmp_path / "data"), in_log[1]
    log = largest(data, "*.log")
    used = len(log.read_bytes().rstrip(b"\0"))
    flip(log, int(used * share))
    with Server(data=data) as server, contextlib.closing(Api(server.url)) as api, \
            Reader(server.url, "ws", [CHANNEL]) as reader:
        assert check_history(api, epoch) >= MESSAGES - 3 * BATCH
        assert re.search(rf"event=store_notice notice=\"[^\"]*{log.name} was damaged at offset \d+", server.log())
        assert (data / "damaged" / log.name).exists()
        reader.wait_for(lambda: any(event.payload == b"goes on" for event in reader.of(CHANNEL)))
        api.close()
        server.restart()
        check_history(api, epoch)


@pytest.mark.parametrize("pattern, share", [("CURRENT", 0.3), ("OPTIONS-*", 0.3)])
def test_a_damaged_name_costs_nothing(killed, pattern, share, tmp_path):
    """Threats 6, 7."""
    data = copy_data(killed, tmp_path / "data")
    path = largest(data, pattern)
    flip(path, int(path.stat().st_size * share))
    with Server(data=data, flags=FLAGS) as server, contextlib.closing(Api(server.url)) as api:
        assert check_history(api, "") == MESSAGES


def test_a_damaged_end_of_a_table_costs_the_table(killed, tmp_path):
    """Threat 6: without its index a table can't be opened. It is set aside, and the others are read."""
    data = copy_data(killed, tmp_path / "data")
    table = largest(data, "*.sst")
    flip(table, table.stat().st_size - 1200)
    with Server(data=data, flags=FLAGS) as server, contextlib.closing(Api(server.url)) as api:
        there = check_history(api, None)
        assert 0 < there < MESSAGES
        assert re.search(rf"event=store_notice notice=\"[^\"]*{table.name} offset \d+", server.log())
        assert (data / "damaged" / table.name).exists()
        api.close()
        server.restart()
        assert check_history(api, None) == there + 1


def run_longwired(data, *flags):
    return subprocess.run([LONGWIRED, "--http", "127.0.0.1:0", "--data", str(data), *flags], capture_output=True,
                          text=True, timeout=SECONDS, check=False)


def test_where_the_operator_decides(killed, tmp_path):
    """Threats 6, 7: without its manifest nobody knows which tables count. The start says what to do and what it costs, and
    that works."""
    data = copy_data(killed, tmp_path / "data")
    manifest = largest(data, "MANIFEST-*")
    flip(manifest, 100)
    refused = run_longwired(data)
    assert refused.returncode == 1 and manifest.name in refused.stderr and "`longwired --repair`" in refused.stderr
    done = run_longwired(data, "--repair")
    assert done.returncode == 0 and "made anew" in done.stdout, done
    with Server(data=data, flags=FLAGS) as server, contextlib.closing(Api(server.url)) as api:
        assert check_history(api, "") == MESSAGES
    assert run_longwired(tmp_path / "missing", "--repair").returncode == 1
