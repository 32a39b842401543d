"""Floods against a server with the settings that it has by itself, in a memory cgroup: memory_bytes_max keeps it below the limit, and it
goes on for those who are known (threat 21, docs/decisions/0120)."""
import contextlib
import resource
import struct

import pytest

from longwire_client import Api, Reader
from longwire_server import Server, is_built
from test_memory import LIMIT_MB, MB, UNHOARDED, Cage, Crowd, half_bodies, memory_mb
from waiting import wait_until
from wire import handshake_bytes

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

# No time limit ends what a slow machine takes long to send.
PATIENT = ["--head-timeout-s", "3600", "--request-timeout-s", "3600", "--frame-timeout-s", "3600"]
KEY = "ops-secret-0123456789"
CONFIG = f"[key ops]\nsecret = {KEY}\nrights = publish, subscribe, admin\n[namespace topic]\npublish = anyone\n"


def half_heads(crowd):
    """Heads of 15 KB whose end never comes, from as many as get in."""
    for _ in range(9000):
        with contextlib.suppress(OSError):
            crowd.come(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 15000)


def half_messages(crowd):
    """WebSocket messages of 2 MB whose end never comes, from as many as get in."""
    for _ in range(200):
        with contextlib.suppress(OSError):
            sock = crowd.come(handshake_bytes(host="localhost"))
            if sock.recv(4096).startswith(b"HTTP/1.1 101"):
                sock.sendall(b"\x81\xff" + struct.pack("!Q", 2 * MB - 1) + b"\0\0\0\0")
                crowd.push(sock, 2 * MB - 65536)


@pytest.mark.parametrize("flood", [half_bodies, half_messages, half_heads])
def test_the_ceiling_holds(flood):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(16384, most), most))
    answered = []
    with Server(config=CONFIG, flags=["--loops", "2", "--memory-bytes-max", f"{LIMIT_MB * 3 // 4}M", *PATIENT], env=UNHOARDED) as server, \
            contextlib.ExitStack() as stack:
        cage = Cage(server.pid, LIMIT_MB * MB)
        api = stack.enter_context(contextlib.closing(Api(server.url, KEY)))
        reader = stack.enter_context(Reader(server.url, "ws", ["topic:t"], headers={"Authorization": f"Bearer {KEY}"}))

        def publish(payload):
            assert api.publish("topic:t", payload).status == 201
            answered.append(payload.decode())

        publish(b"before")
        reader.wait_head("topic:t", 1)
        crowd = Crowd(server)
        stack.callback(crowd.leave)
        with contextlib.suppress(OSError):
            flood(crowd)
        wait_until(lambda: "event=memory_step" in server.log())
        publish(b"in the midst")
        assert memory_mb(server.pid) < LIMIT_MB
        crowd.leave()
        publish(b"after")
        reader.wait_head("topic:t", 3)
        assert reader.breaks == []
        assert [message["data"] for message in api.history("topic:t", after=0)["messages"]] == answered
        reader.close()
        server.stop()
        cage.close()
