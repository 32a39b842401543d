"""What strangers can make the server hold (threat 21): many connections that each begin something large and don't end
it, or don't read what they asked for. The server refuses before its memory is full, and goes on for the others. And
what is left of a server to which the system gave no memory (threat 19).

LW_MEMORY_SAMPLE    how many of the allocations to fail, each in a server of its own; 12 unless told otherwise
LW_SEED             seed of that sample
"""
import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import resource
import signal
import socket
import struct

import pytest

from longwire_client import Api, Place, Reader, audit_history, follow_ndjson
from longwire_server import BUILD, Server, is_built, is_sanitized
from native_wire import encode
from waiting import SECONDS, wait_until
from wire import handshake_bytes

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

MB = 1024 * 1024
LIMIT_MB = 256
# What an operator of so small a machine would write (docs/operations.md, "How much machine").
FLAGS = ["--loops", "2", "--publish-waiting-bytes-max", "16M", "--write-buffer-bytes", "4M", "--store-memory-bytes", "8M",
         "--tail-bytes-max", "8M", "--heartbeat-s", "5"]
CGROUPS = pathlib.Path("/sys/fs/cgroup")


class Cage:
    """A memory cgroup for one process, version 1 or 2; without the right to make one, it only measures the process's
    memory."""

    def __init__(self, pid, limit):
        self.pid, self.folder = pid, None
        for folder, name in ((CGROUPS / "memory", "memory.limit_in_bytes"), (CGROUPS, "memory.max")):
            with contextlib.suppress(OSError):
                made = folder / f"longwire-test-{pid}"
                made.mkdir()
                self.folder = made
                (made / name).write_text(str(limit))
                (made / "cgroup.procs").write_text(str(pid))
                return
            self.close()

    def close(self):
        """Empty once its process has ended."""
        if self.folder is not None:
            self.folder.rmdir()
            self.folder = None


def memory_mb(pid):
    """The process's own memory; pages of files don't count, because the kernel can drop them."""
    return int(re.search(r"RssAnon:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1024


class Crowd:
    """Sockets that send, and mostly don't read."""

    def __init__(self, server):
        self.server, self.socks = server, []

    def come(self, said, wait_for=b""):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(SECONDS)
        sock.connect(("127.0.0.1", self.server.port))
        self.socks.append(sock)
        sock.sendall(said)
        heard = b""
        while wait_for not in heard:
            heard += sock.recv(1)
        return sock

    def push(self, sock, count):
        """Sends as much of `count` bytes as the server takes, until it closes or answers."""
        sock.settimeout(0.2)
        with contextlib.suppress(OSError):
            while count > 0:
                count -= sock.send(b"x" * min(count, 65536))
        sock.settimeout(SECONDS)

    def answers(self):
        """Gives each socket's first bytes, which stay unread; b"" for a close, or if nothing has come yet."""
        told = set()
        for sock in self.socks:
            sock.setblocking(False)
            with contextlib.suppress(OSError):
                told.add(sock.recv(12, socket.MSG_PEEK))
        return told

    def leave(self):
        for sock in self.socks:
            sock.close()


def request(method, path, *fields):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *fields, "", ""]).encode()


def half_bodies(crowd):
    """60 batches of 7 MB whose end never comes."""
    for _ in range(60):
        crowd.push(crowd.come(request("POST", "/v1/messages", "Content-Length: 8000000")), 7000000)
    return lambda told: b"HTTP/1.1 503" in told


def half_messages(crowd):
    """200 WebSocket messages of 2 MB whose end never comes."""
    for _ in range(200):
        sock = crowd.come(handshake_bytes(host="localhost"), wait_for=b'"resumed":false}')
        sock.sendall(b"\x81\xff" + struct.pack("!Q", 2 * MB - 1) + b"\0\0\0\0")
        crowd.push(sock, 2 * MB - 65536)
    return lambda told: any(first[:1] == b"\x88" and first[2:4] == b"\x03\xf5" for first in told)


def half_heads(crowd):
    """2,000 heads of 16 KB whose end never comes."""
    for _ in range(2000):
        crowd.come(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 16000)
    return lambda told: True


def unread_answers(crowd):
    """200 times three pages of history that nobody reads. Nobody is refused: they wait in line."""
    for _ in range(200):
        crowd.come(3 * request("GET", "/v1/channels/topic:big/messages?after=0&limit=1000"))
    return lambda told: b"HTTP/1.1 503" not in told


def stalled_readers(crowd):
    """500 readers of everything, on streams, that don't read."""
    for _ in range(500):
        crowd.come(request("GET", "/v1/subscribe?channel=topic:big&after=0", "Accept: application/x-ndjson"))
    return lambda told: True


def many_subscriptions(crowd):
    """30 times 1,000 channels that nobody else follows."""
    for number in range(30):
        sock = crowd.come(handshake_bytes(host="localhost"), wait_for=b'"resumed":false}')
        for at in range(1000):
            text = json.dumps({"type": "subscribe", "channel": f"topic:{number}-{at}"}).encode()
            sock.sendall(bytes([0x81, 0x80 | len(text)]) + b"\0\0\0\0" + text)
    return lambda told: True


FLOODS = [half_bodies, half_messages, half_heads, unread_answers, stalled_readers, many_subscriptions]


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_does_not_end_it(flood):
    """Threat 21: 256 MB are enough for each of these, refusals are answers, and everyone else goes on."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, most), most))
    limit_mb = 4 * LIMIT_MB if is_sanitized() else LIMIT_MB
    with Server(flags=FLAGS, env={"ASAN_OPTIONS": "quarantine_size_mb=16"}) as server, contextlib.ExitStack() as stack:
        cage = Cage(server.pid, limit_mb * MB)
        api = Api(server.url)
        for _ in range(15):
            api.batch([{"channel": "topic:big", "data": "z" * 10000} for _ in range(20)])
        reader = stack.enter_context(Reader(server.url, "ws", ["topic:t"]))
        crowd = Crowd(server)
        stack.callback(crowd.leave)
        is_refused = flood(crowd)
        assert api.publish("topic:t", b"in the midst").status == 201
        reader.wait_head("topic:t", 1)
        wait_until(lambda: is_refused(crowd.answers()))
        assert memory_mb(server.pid) < limit_mb
        crowd.leave()
        assert api.publish("topic:t", b"after").status == 201
        reader.wait_head("topic:t", 2)
        assert reader.breaks == []
        reader.close()
        api.close()
        server.stop()
        cage.close()


# --- without memory ---------------------------------------------------------------------------------------------------

SHORT_MEMORY = BUILD / "short_memory.so"
# Sanitizers have a malloc of their own.
PLAIN = next((folder / "longwired" for folder in (BUILD, BUILD.parent) if (folder / "longwired").exists() and
              not is_sanitized(folder / "longwired")), None)
SEED = int(os.environ.get("LW_SEED", random.randrange(1 << 32)))
SAMPLE = int(os.environ.get("LW_MEMORY_SAMPLE", "12"))
ALLOCATIONS = 2000  # of some rounds of work
LAST_WORDS = r"longwire: out of memory: .*\(src/.*:\d+\)|std::bad_alloc|Fatal glibc error: .*: out of memory|longwire: ended by signal 11 "


class PlainServer(Server):
    def command(self):
        return [str(PLAIN), *super().command()[1:]]


class ShortServer(PlainServer):
    """After fail_allocation(n) the server's nth allocation fails."""

    def __init__(self, **more):
        super().__init__(**more)
        self.control = self.home / "memory"
        self.control.write_bytes(struct.pack("=q", 0))
        self.env.update(LD_PRELOAD=str(SHORT_MEMORY), SHORT_MEMORY_CONTROL=str(self.control))

    def fail_allocation(self, number):
        with open(self.control, "r+b") as control:  # in place: the server has it mapped
            control.write(struct.pack("=q", number))

    def has_failed(self):
        return struct.unpack("=q", self.control.read_bytes())[0] <= 0

    def has_ended(self):
        return self.process.poll() is not None


def work(server, answered):
    """Does a publish, a page of history and a stream; records what was acknowledged."""
    api, payload = Api(server.url), f"message {len(answered)}".encode()
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(api):
        answer = api.publish("topic:m", payload, key=payload.decode())
        if answer.status in (200, 201):
            answered[payload] = (answer.json["epoch"], answer.json["seq"])
        api.get("/v1/channels/topic:m/messages?after=0")
        place = Place(server.url, ["topic:m"])
        with contextlib.closing(place):
            next(follow_ndjson(place), None)


@pytest.mark.skipif(PLAIN is None or not SHORT_MEMORY.exists(), reason="needs a build without sanitizers, and short_memory.so")
def test_no_memory_is_the_end_and_loses_nothing(tmp_path):
    """Threat 19: makes one allocation after the other fail. The server says what failed and ends, or goes on;
    afterwards what was acknowledged is there, once (docs/decisions/0013)."""
    print("seed", SEED)
    answered, ended = {}, 0
    for number in sorted(random.Random(SEED).sample(range(1, ALLOCATIONS), SAMPLE)):
        with contextlib.ExitStack() as stack:
            server = ShortServer(data=tmp_path / "data")
            stack.callback(server.kill)
            server.start()
            work(server, answered)
            server.may_end()
            server.fail_allocation(number)
            wait_until(lambda at=server: work(at, answered) or at.has_failed(), lambda at=number: at)
            wait_until(lambda at=server: at.has_ended() or at.is_healthy())
            if server.has_ended():
                assert re.search(LAST_WORDS, server.log()), (number, server.log()[-1000:])
                ended += 1
        with PlainServer(data=tmp_path / "data") as server, contextlib.closing(Api(server.url)) as api:
            audit_history(api, "topic:m", answered)
    assert ended > 0


@pytest.mark.skipif(PLAIN is None, reason="needs a build without sanitizers")
def test_a_fault_has_last_words():
    """Threat 19: RocksDB and LZ4 don't look whether they got memory; the operator finds a line that says so all the same."""
    with contextlib.ExitStack() as stack:
        server = PlainServer()
        stack.callback(server.kill)
        server.start()
        server.may_end()
        os.kill(server.pid, signal.SIGSEGV)
        assert server.process.wait() == -signal.SIGSEGV
        assert re.search(r"longwire: ended by signal 11 at address 0x[0-9a-f]+: .*memory", server.log()), server.log()


# A sanitizer and jemalloc keep freed memory for a while; here they must not.
UNHOARDED = {"ASAN_OPTIONS": "quarantine_size_mb=0:thread_local_quarantine_size_kb=0:allocator_release_to_os_interval_ms=100",
             "MALLOC_CONF": "dirty_decay_ms:0"}


# --- idle sessions -----------------------------------------------------------------------------------------------------

SESSION_BYTES = 3000  # of an idle one, with the channels of its user and its device and three groups, what the store holds of it
                      # in memory included (docs/performance.md)


def join_groups(server, numbers):
    """All users are members of the same three groups. Each membership is a message of its user's log and some rows; they are
    there before, and don't count."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as sock:
        for first in range(numbers.start, numbers.stop, 100):
            sock.sendall(b"".join(request("PUT", f"/v1/groups/{group}/members/u{number}", "Content-Length: 0")
                                  for number in range(first, first + 100) for group in "abc"))
            told = b""
            while told.count(b"HTTP/1.1 200") < 300 or not told.endswith(b"}"):
                told += sock.recv(65536)


def open_sessions(stack, server, numbers):
    socks = []
    for number in numbers:
        sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.tcp_port), timeout=SECONDS))
        sock.sendall(encode({"type": "connect", "user": f"u{number}", "device": "phone", "standing": True}))
        socks.append(sock)
    for sock in socks:
        told = b""
        while told.count(b"group:") < 3:
            told += sock.recv(4096)


def test_an_idle_session_costs_little():
    """What is paid once for all does not count: the difference between 1,000 and 4,000 sessions does."""
    with Server(flags=["--loops", "2"], env=UNHOARDED) as server, contextlib.ExitStack() as stack:
        join_groups(server, range(4000))
        open_sessions(stack, server, range(1000))
        before = memory_mb(server.pid)
        open_sessions(stack, server, range(1000, 4000))
        each = (memory_mb(server.pid) - before) * MB / 3000
        print(f"{each:.0f} bytes a session")
        assert each < SESSION_BYTES * (10 if is_sanitized() else 1)


# --- answers that nobody reads ----------------------------------------------------------------------------------------

ASKERS = 300
ANSWERS_MB = 64     # of all together, on both loops: what waits, what is being made, and what was freed late


def put_history(api, size, count):
    for at in range(0, count, 4):
        results = api.batch([{"channel": "topic:h", "data": f"{number}-".ljust(size, "x")} for number in range(at, at + 4)])
        assert all(result["status"] == 201 for result in results)


def ask_three_pages(crowd, number):
    """Three pages of 4 MB and more; nothing is read."""
    del number
    crowd.come(3 * request("GET", "/v1/channels/topic:h/messages?after=0&limit=1000"))


def ask_a_poll(crowd, number):
    """Each from a place of its own."""
    crowd.come(request("GET", f"/v1/subscribe?channel=topic:h&after={number % 50}&wait=0"))


def ask_the_document(crowd, number):
    del number
    crowd.come(64 * request("GET", "/v1/openapi.json"))


@pytest.mark.parametrize(("ask", "size", "count"), [
    (ask_three_pages, 64 * 1024, 200), (ask_three_pages, MB - 1024, 60), (ask_a_poll, MB - 1024, 60),
    (ask_the_document, 1024, 4),
])
def test_answers_that_nobody_reads_cost_little_and_refuse_nobody(ask, size, count):
    """Threats 36 and 52: 300 clients ask and read nothing. The memory stays bounded, and others get their history and
    their polls meanwhile: those that take nothing are closed when others wait."""
    with Server(flags=["--loops", "2"], env=UNHOARDED) as server, \
            contextlib.ExitStack() as stack, contextlib.closing(Api(server.url)) as api:
        put_history(api, size, count)
        before, most = memory_mb(server.pid), 0
        crowd = Crowd(server)
        stack.callback(crowd.leave)
        for number in range(ASKERS):
            ask(crowd, number)
            if number % 50 == 49:
                assert api.history("topic:h", after=0, limit=2)["messages"]
                most = max(most, memory_mb(server.pid))
        closed = api.metrics()["longwire_http_stuck_clients_closed_total"]
        assert api.history("topic:h", after=0, limit=2)["messages"]  # … and not only when most of the crowd has been closed
        assert api.metrics()["longwire_http_stuck_clients_closed_total"] - closed < ASKERS / 4
        for round in range(10):
            assert api.history("topic:h", after=round % count, limit=2)["messages"]
            poll = api.get(f"/v1/subscribe?channel=topic:h&after={count - 1}&wait=0")
            assert poll.status == 200 and len(poll.json["messages"]) == 1
            most = max(most, memory_mb(server.pid))
        print(f"{before:.0f} MB, then at most {most:.0f} MB")
        assert most - before < ANSWERS_MB * (2 if is_sanitized() else 1)
        # answers_bytes_max a loop, and what was being made when the mark was reached: four pages and a poll, of one
        # message and its names each
        assert api.metrics()["longwire_http_answers_waiting_bytes"] <= 2 * (8 * MB + 5 * (MB + 4096))
