"""`longwired --take-over` when one of both processes is killed, at each message of their dialogue (threats 24, 44, 45): who serves
afterwards, and that nothing acknowledged is lost or doubled. strace makes a message the last thing that a process does."""
import contextlib
import os
import signal
import subprocess

import pytest

from longwire_client import TRANSPORTS, Reader
from longwire_server import Server, is_built
from strace_server import needs_strace
from test_take_over import MEMORY, CountingPublisher, audit
from waiting import SECONDS, wait_until

pytestmark = [pytest.mark.skipif(not is_built(), reason="no longwired is built"), needs_strace]

CHANNELS = ["topic:one", "user:two"]   # what is in memory does not outlive a process that is killed


@contextlib.contextmanager
def crowd(server):
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reader(server.url, transport, CHANNELS)) for transport in TRANSPORTS]
        publishers = [stack.enter_context(CountingPublisher(server.url, f"p{i}", channel, has_keys=True))
                      for i, channel in enumerate(CHANNELS)]
        wait_until(lambda: all(publisher.sent > 10 for publisher in publishers))
        yield readers, publishers


def goes_on(server, readers, publishers):
    """The one that is left has all that was acknowledged, and readers miss nothing."""
    server.wait_healthy()
    sent = [publisher.sent for publisher in publishers]
    wait_until(lambda: all(publisher.sent > before + 10 for publisher, before in zip(publishers, sent)))
    for publisher in publishers:
        publisher.close()
        assert publisher.refused == [], publisher.refused[:1]
    audit(server, readers, publishers, CHANNELS)


def traced(*command):
    return subprocess.Popen(["strace", "-o", os.devnull, *command], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def start_killed(server, call, number):
    """A new process, whose `number`th call of the kind is its last. Without -f: the thread that speaks is the first one."""
    with open(server.log_path, "ab") as log:
        return subprocess.Popen(["strace", "-D", "-o", os.devnull, "-e", f"trace={call}", "-e",
                                 f"inject={call}:signal=KILL:when={number}", *server.command(), "--take-over"],
                                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **server.env})


# HELLO, READY, TAKEN; and what is heard: OFFER, LISTEN twice, READY, then parts and sockets of two loops, READY, GONE
NEW_DIES = [("sendmsg", number) for number in (1, 2, 3)] + [("recvmsg", number) for number in range(1, 11)]


@pytest.mark.parametrize(("call", "number"), NEW_DIES)
def test_the_new_process_is_killed(call, number):
    """Before it has said that it can serve the old one goes on with all links; after that both are gone, and the next start has what
    was acknowledged."""
    with Server(config=MEMORY, flags=["--loops", "2"]) as server, crowd(server) as (readers, publishers):
        old = server.process
        server.may_end()
        new = start_killed(server, call, number)
        assert new.wait(SECONDS) == -signal.SIGKILL
        wait_until(lambda: "handed_over" in server.log())
        if "event=handed_over" in server.log():
            assert old.wait(SECONDS) == 0
            server.process = None
            server.start()
        goes_on(server, readers, publishers)
        if "event=not_handed_over" in server.log():
            assert [reader.breaks for reader in readers] == [[]] * len(readers)


# OFFER, LISTEN twice, READY, parts and sockets of two loops, what is in memory, READY, GONE; and HELLO, READY, TAKEN
OLD_DIES = [("sendmsg", number) for number in range(1, 12)] + [("recvmsg", number) for number in (1, 2, 3)]


@pytest.mark.parametrize(("call", "number"), OLD_DIES)
def test_the_old_process_is_killed(call, number):
    """The new one serves, whatever it had heard: with the links if it had got all, else from the log."""
    with Server(config=MEMORY, flags=["--loops", "2"]) as server, crowd(server) as (readers, publishers):
        wait_until(lambda: (server.data / "take-over").exists())
        old = server.process
        tracer = traced("-p", str(old.pid), "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}")
        assert "attached" in tracer.stderr.readline()
        server.may_end()
        server.process = server.start_beside("--take-over")
        assert old.wait(SECONDS) == -signal.SIGKILL
        tracer.communicate()
        goes_on(server, readers, publishers)


def test_two_new_processes_at_once():
    """One takes over, the other one too behind it, or says why not; there is one server in the end, and no link was lost."""
    with Server(config=MEMORY, flags=["--loops", "2"]) as server, crowd(server) as (readers, publishers):
        old = server.process
        server.may_end()
        new = [server.start_beside("--take-over") for _ in range(2)]
        assert old.wait(SECONDS) == 0
        wait_until(lambda: sum(process.poll() is None for process in new) == 1)
        server.process = next(process for process in new if process.poll() is None)
        goes_on(server, readers, publishers)
        assert [reader.breaks for reader in readers] == [[]] * len(readers)
