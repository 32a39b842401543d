"""What strangers can make the server hold (threat 21): many connections that each begin something large and don't end it,
or don't read what they asked for. It refuses before its memory is full, and goes on for the others."""
import contextlib
import json
import os
import pathlib
import re
import resource
import socket
import struct
import time

import pytest

from longwire_client import Api, Reader
from longwire_server import LONGWIRED, Server, is_built
from wire import handshake_bytes

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

SECONDS = 30
MB = 1024 * 1024
LIMIT_MB = 256
# What an operator of so small a machine would write (docs/operations.md, "How much machine").
FLAGS = ["--loops", "2", "--publish-waiting-bytes-max", "16M", "--write-buffer-bytes", "4M", "--store-memory-bytes", "8M",
         "--tail-bytes-max", "8M", "--heartbeat-s", "5"]
CGROUPS = pathlib.Path("/sys/fs/cgroup")


def is_sanitized():
    return b"__asan_init" in LONGWIRED.read_bytes()


def wait_until(what):
    deadline = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Cage:
    """A memory cgroup for one process, version 1 or 2; without the right to make one only a look at its memory."""

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
    """What is its own: pages of files can be dropped."""
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
        """As much of `count` bytes as it takes, until it closes or says something."""
        sock.settimeout(0.2)
        with contextlib.suppress(OSError):
            while count > 0:
                count -= sock.send(b"x" * min(count, 65536))
        sock.settimeout(SECONDS)

    def answers(self):
        """What has been told: each one's first bytes, which stay unread; b"" for a close, or nothing yet."""
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
    """60 batches of 7 MB, whose end doesn't come."""
    for _ in range(60):
        crowd.push(crowd.come(request("POST", "/v1/messages", "Content-Length: 8000000")), 7000000)
    return lambda told: b"HTTP/1.1 503" in told


def half_messages(crowd):
    """200 WebSocket messages of 2 MB, whose end doesn't come."""
    for _ in range(200):
        sock = crowd.come(handshake_bytes(host="localhost"), wait_for=b'"resumed":false}')
        sock.sendall(b"\x81\xff" + struct.pack("!Q", 2 * MB - 1) + b"\0\0\0\0")
        crowd.push(sock, 2 * MB - 65536)
    return lambda told: any(first[:1] == b"\x88" and first[2:4] == b"\x03\xf5" for first in told)


def half_heads(crowd):
    """2,000 heads of 16 KB, whose end doesn't come."""
    for _ in range(2000):
        crowd.come(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 16000)
    return lambda told: True


def unread_answers(crowd):
    """200 times 3 MB of history that nobody reads."""
    for _ in range(200):
        crowd.come(request("GET", "/v1/channels/topic:big/messages?after=0&limit=1000"))
    return lambda told: b"HTTP/1.1 503" in told


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
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
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
        assert reader.breaks == [] and server.process.poll() is None
        reader.close()
        api.close()
        server.stop()
        cage.close()
