"""`make cluster` (setup/cluster): three nodes, PostgreSQL and Redis by one command. It says what to try, and that works; it ends what it
started, and a second start finds its data. Ports in use are said."""
import contextlib
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

import postgres_server
from longwire_client import Api, Reader
from longwire_server import BUILD, ROOT, free_port, free_ports_in_a_row, is_built, is_free
from redis_server import is_installed
from waiting import SECONDS, wait_until

pytestmark = pytest.mark.skipif(not is_built() or not is_installed() or postgres_server.binaries() is None,
                                reason="no longwired is built, or PostgreSQL or Redis are not installed")


class Made:
    """A running setup/cluster."""

    def __init__(self, data, *more):
        self.data = pathlib.Path(data)
        self.ports = {"--http": free_ports_in_a_row(3), "--tcp": free_ports_in_a_row(3), "--postgres": free_port(), "--redis": free_port()}
        self.more = more
        self.process, self.text = None, ""

    @property
    def urls(self):
        return [f"http://127.0.0.1:{self.ports['--http'] + at}" for at in range(3)]

    def start(self):
        options = [str(word) for pair in self.ports.items() for word in pair]
        self.process = subprocess.Popen([ROOT / "setup" / "cluster", "--data", self.data, "--build", BUILD, *options, *self.more],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        bufsize=0)
        self.text = ""
        return self

    def read_until(self, words):
        """Its output, until these words came or it ended."""
        deadline = time.monotonic() + 2 * SECONDS
        while words not in self.text:
            assert time.monotonic() < deadline, self.text
            if not select.select([self.process.stdout], [], [], 1)[0]:
                continue
            piece = os.read(self.process.stdout.fileno(), 65536).decode()
            if not piece:
                break
            self.text += piece
        return self.text

    def ready(self):
        assert "Ctrl-C ends all of them" in self.read_until("Ctrl-C ends all of them"), self.text
        return self

    def say(self, line):
        os.write(self.process.stdin.fileno(), line.encode() + b"\n")

    def pids(self):
        line = re.search(r"Process numbers: (.*?)\. Logs", self.text)[1]
        return {name: int(pid) for name, pid in (part.split() for part in line.split(", "))}

    def end(self, how=signal.SIGINT):
        """All that it started has ended."""
        pids = self.pids() if "Process numbers" in self.text else {}
        self.process.send_signal(how)
        self.read_until("\0")   # to its end
        assert self.process.wait(SECONDS) == (0 if how != signal.SIGKILL else -signal.SIGKILL), self.text
        wait_until(lambda: not any(is_alive(pid) for pid in pids.values()), lambda: pids)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.communicate(timeout=SECONDS)
        link = self.data / "postgres"
        if link.is_symlink():
            shutil.rmtree(link.resolve(), ignore_errors=True)


def is_alive(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


@pytest.fixture(name="home")
def fixture_home():
    with tempfile.TemporaryDirectory(prefix="longwire-make-cluster-") as home:
        yield pathlib.Path(home)


@pytest.fixture(name="made")
def fixture_made(home):
    made = Made(home / "cluster")
    yield made
    made.close()


def test_published_on_one_node_seen_on_another_and_kept(made):
    """Publish on node 1, follow on node 3; kill -9 node 3, the client goes on at node 2 and misses nothing (threat 37). After
    Ctrl-C nothing is left running, and a second start has the messages."""
    made.start().ready()
    assert all(url in made.text for url in made.urls)
    api = Api(made.urls[0])
    with Reader(made.urls[2], "ndjson", ["topic:hello"], after=0) as reader:
        for number in range(5):
            assert api.publish("topic:hello", f"{number}".encode()).status == 201
        reader.wait_head("topic:hello", 5)
        made.say("kill node3")
        made.read_until("node3 ended")
        reader.place.url, reader.place.address = made.urls[1], ("127.0.0.1", made.ports["--http"] + 1)
        for number in range(5, 10):
            assert api.publish("topic:hello", f"{number}".encode()).status == 201
        reader.wait_head("topic:hello", 10)
        assert [event.payload for event in reader.messages("topic:hello")] == [f"{number}".encode() for number in range(10)]
    made.say("start node3")
    made.read_until("node3 is started")
    api.close()
    pids = made.pids()
    del pids["node3"]   # that process has ended
    assert all(is_alive(pid) for pid in pids.values())
    made.end()
    assert all(is_free(port) for name, port in made.ports.items())

    made.start().ready()
    api = Api(made.urls[1])
    assert [entry["data"] for entry in api.history_all("topic:hello")] == [f"{number}" for number in range(10)]
    api.close()
    made.end(signal.SIGTERM)


def test_what_it_says_to_try_works_as_it_stands(made):
    """Each command is taken from its output and given to a shell."""
    made.start().ready()
    block = made.text.split("Try this in other terminals:")[1].split("Here: ")[0].replace("\\\n", "")
    follow, *others = [line.strip() for line in block.splitlines() if line.strip()]
    with subprocess.Popen(["bash", "-c", f"exec {follow}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0) as reader:
        try:
            wait_until(lambda: json.loads(Api(made.urls[0]).get("/v1/channels/topic:hello").body or b"{}").get("subscribers") == 1)
            told = {line.split("#")[1].strip(): subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True,
                                                               timeout=SECONDS).stdout for line in others}
            said = b""
            while said.count(b"\n\n") < 3:   # `retry:`, and two messages
                assert select.select([reader.stdout], [], [], SECONDS)[0], (said, told)
                said += reader.stdout.read(65536)
        finally:
            reader.kill()
    assert said.index(b'"data":"hello"') < said.index(b'"data":"from SQL"')
    assert told["asks node2 for all nodes"].count(" up ") == 3
    made.end()


def test_a_first_start_that_was_broken_off_is_begun_again(home):
    """Ctrl-C while initdb makes the database: the next start makes it anew."""
    made = Made(home / "cluster", "--alone")
    try:
        folder = made.data / "postgres"
        made.start()
        wait_until(lambda: list(folder.glob("*/PG_VERSION")), lambda: made.text)
        made.end()
        assert not (folder / "password").exists()
        made.start().ready()
        made.end()
    finally:
        made.close()


def test_lines_that_come_together_are_all_obeyed_and_all_of_an_engine_is_paused(made):
    made.start().ready()
    made.say("pause redis\ncontinue redis\npause postgres")
    made.read_until("pause postgres: done")
    assert "continue redis: done" in made.text

    def states(pid):
        """Without a child that had ended before its parent was paused: nobody waits for it meanwhile."""
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        found = set()
        for each in [pid, *children]:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found.add(pathlib.Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()[0])
        return found - {"Z"}
    postgres = made.pids()["postgres"]
    wait_until(lambda: states(postgres) == {"T"}, lambda: states(postgres))
    made.end()


def test_its_death_ends_all(made):
    """Also a SIGKILL leaves nothing running, and the next start recovers."""
    made.start().ready()
    made.end(signal.SIGKILL)
    made.start().ready()
    made.end()


def test_ports_in_use_are_said(made):
    with socket.create_server(("127.0.0.1", made.ports["--http"] + 1)):
        made.start()
        text = made.read_until("\0")
        assert made.process.wait(SECONDS) == 1
    assert f"in use: {made.ports['--http'] + 1}, which is for node2 (--http)" in text
    assert "Traceback" not in text


def test_no_password_is_shown(made):
    made.start().ready()
    words = [(made.data / f"{name}.password").read_text().strip() for name in ("postgres", "redis")]
    shown = made.text + "".join(path.read_text(errors="replace") for path in made.data.glob("*.log"))
    commands = b"".join(pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() for pid in made.pids().values()).decode()
    assert not any(word in shown + commands for word in words)
    assert all((made.data / f"{name}.password").stat().st_mode & 0o077 == 0 for name in ("postgres", "redis"))
    made.end()


def test_lines_that_it_does_not_know(made):
    made.start().ready()
    made.say("explode node1")
    made.read_until("Lines are: kill, start, pause or continue")
    made.say("pause node2")
    made.read_until("pause node2: done")
    made.say("quit")
    assert "All have ended." in made.read_until("All have ended.")
    assert made.process.wait(SECONDS) == 0


def test_postgresql_alone(home):
    made = Made(home / "cluster", "--alone")
    try:
        made.start().ready()
        assert "redis" not in made.pids()
        api = Api(made.urls[0])
        with Reader(made.urls[2], "sse", ["topic:hello"], after=0) as reader:
            assert api.publish("topic:hello", b"hello").status == 201
            reader.wait_head("topic:hello", 1)
        api.close()
        made.end()
    finally:
        made.close()


def test_the_tool_sees_all_nodes(made):
    """`longwire nodes` lists them, whichever is asked; `longwire top` asks each of them for what it does."""
    made.start().ready()

    def told(*words):
        done = subprocess.run([BUILD / "longwire", "-s", made.urls[1], *words, "--json"], capture_output=True, text=True, check=True,
                              timeout=SECONDS)
        return {node["node"]: node for node in map(json.loads, done.stdout.splitlines())}
    wait_until(lambda: set(told("nodes")) == {"node1", "node2", "node3"}, lambda: told("nodes"))
    assert {node["state"] for node in told("nodes").values()} == {"up"}
    rows = told("top", "-n", "1")
    assert set(rows) == {"node1", "node2", "node3"}
    assert all("published_per_s" in row for row in rows.values()), rows
    made.end()
