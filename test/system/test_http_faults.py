"""Every third of the network's system calls fails: some links are cut, nobody hangs, what was acknowledged is there,
and afterwards everything works as before. threats 20, 53, 77, 81"""
import contextlib

import pytest

from longwire_server import Server
from strace_server import needs_strace, strace
from waiting import wait_until
from wire import READERS, Closed, Wire, fresh, history, metric, path_of, publish, query_of, request_bytes

pytestmark = needs_strace
ROUNDS = 6

# Nothing is lost by these: they say "again", or "not now". A loop always waits in epoll_wait: were strace detached while it
# injects there, the kernel would answer ENOSYS, which no kernel does by itself. So these injections come to an end before that.
HARMLESS = ["accept4:error=ECONNABORTED", "accept4:error=EMFILE", "accept4:error=ENOBUFS", "accept4:error=EPERM",
            "accept4:error=EINTR", "recvfrom:error=EINTR", "sendto:error=EINTR", "epoll_wait:error=EINTR"]
# These end a link.
DEADLY = ["recvfrom:error=ECONNRESET", "recvfrom:error=ETIMEDOUT", "sendto:error=EPIPE", "sendto:error=ECONNRESET",
          "sendto:error=ENOBUFS", "epoll_ctl:error=ENOSPC", "epoll_ctl:error=ENOMEM"]


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server() as server:
        yield server


def publish_pipelined(server, channel, acknowledged):
    with Wire(server) as wire:
        wire.send(request_bytes("POST", path_of(channel) + "/messages", b"x") * 3)
        for _ in range(3):
            acknowledged.append(wire.answer("POST").want(201).json()["seq"])


def read_once(server, channel, kind):
    with READERS[kind](server, query_of((channel, "after=0"))) as reader:
        assert reader.next()["seq"] == 1


def go_round(server, channel, acknowledged, may_fail):
    """Does everything that a client does; gives how often it was cut off."""
    cuts = 0
    for deed in [lambda: publish_pipelined(server, channel, acknowledged),
                 *(lambda kind=kind: read_once(server, channel, kind) for kind in READERS)]:
        try:
            deed()
        except (Closed, ConnectionError, EOFError):
            assert may_fail
            cuts += 1
    return cuts


@pytest.mark.parametrize("fault", HARMLESS + DEADLY)
def test_faults_of_the_network(server, fault):
    channel, acknowledged, cuts = fresh(), [], 0
    publish(server, channel)
    last = "..60" if fault.startswith("epoll_wait") else ""
    with strace(server, f"inject={fault}:when=2{last}+3"):
        for _ in range(ROUNDS):
            cuts += go_round(server, channel, acknowledged, fault in DEADLY)
    assert (cuts > 0) == (fault in DEADLY)
    wait_until(lambda: metric(server, "longwire_http_connections") == 1)
    assert go_round(server, channel, acknowledged, False) == 0
    seqs = [message["seq"] for message in history(server, channel, "?after=0&limit=1000").json()["messages"]]
    assert seqs == list(range(1, len(seqs) + 1))
    assert set(acknowledged) <= set(seqs) and len(acknowledged) == len(set(acknowledged))
    with contextlib.closing(Wire(server)) as wire:
        wire.ask("GET", "/readyz").want(200)
