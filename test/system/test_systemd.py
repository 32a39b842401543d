"""What the service manager is told (docs/decisions/0125): a socket stands for systemd, and notes who says what."""
import contextlib
import os
import re
import shutil
import signal
import socket
import struct
import subprocess

import pytest

from longwire_client import TRANSPORTS, Api, Reader
from longwire_server import LONGWIRED, Server, is_built
from waiting import SECONDS, wait_until

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")


class Manager:
    """Where NOTIFY_SOCKET points. Messages are (pid of the sender, members), in their order."""

    def __init__(self, name):
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.settimeout(SECONDS)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)

    def next(self):
        data, more, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(12))
        pid, _, _ = struct.unpack("iii", more[0][2][:12])
        return pid, dict(line.split("=", 1) for line in data.decode().splitlines())

    def until(self, member):
        """The next message with this member."""
        while member not in (said := self.next())[1]:
            pass
        return said

    def fill(self):
        """Nothing more can be told until it is read."""
        def fill_from_one():
            """How many came in: what one sender has under way is bounded, too."""
            count = 0
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own, contextlib.suppress(BlockingIOError):
                own.setblocking(False)
                own.connect(self.socket.getsockname())
                while True:
                    own.send(b"FILL=1")
                    count += 1
            return count

        while fill_from_one() > 0:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


@pytest.fixture(name="manager", params=["path", "abstract"])
def manager_fixture(request, tmp_path):
    with Manager(str(tmp_path / "notify") if request.param == "path" else f"@longwire-test-{os.getpid()}") as manager:
        yield manager


def served(manager, **more):
    return Server(env={"NOTIFY_SOCKET": manager.name, **more})


def test_ready_reloading_and_stopping_are_told(manager):
    with served(manager) as server:
        pid, said = manager.next()
        assert pid == server.pid and said["READY"] == "1" and said["MAINPID"] == str(pid) and "serves" in said["STATUS"]
        server.process.send_signal(signal.SIGHUP)
        pid, said = manager.next()
        assert pid == server.pid and said["RELOADING"] == "1" and int(said["MONOTONIC_USEC"]) > 0
        assert manager.next() == (pid, {"READY": "1"})
        server.stop()
        assert manager.next() == (pid, {"STOPPING": "1"})


def test_a_start_that_fails_is_never_ready(manager):
    server = served(manager)
    server.data.mkdir()
    with server:
        manager.until("READY")
        other = Server(data=server.data, env=server.env)
        process = other.start_beside()
        assert process.wait(SECONDS) == 1   # the data is in use
        server.stop()
        assert "STOPPING" in manager.next()[1]   # and nothing before it
        other.close()


def test_the_watchdog_is_told_while_threads_live(manager):
    with served(manager, WATCHDOG_USEC="1500000") as server:
        manager.until("READY")
        for _ in range(3):
            assert manager.next() == (server.pid, {"WATCHDOG": "1"})


def test_a_watchdog_of_another_process_is_none_of_ours(manager):
    with served(manager, WATCHDOG_USEC="300000", WATCHDOG_PID="1") as server:
        manager.until("READY")
        assert Api(server.url).publish("topic:a", b"one").status == 201
        server.stop()
        assert "STOPPING" in manager.next()[1]


@pytest.mark.parametrize("name", ["relative", "/", "@", "/" + "x" * 200, "/nobody/there"])
def test_an_address_that_is_none_is_logged_and_the_server_serves(name):
    with Server(env={"NOTIFY_SOCKET": name}) as server:
        assert Api(server.url).publish("topic:a", b"one").status == 201
        assert "service_manager_not_told" in server.log()


# --- ExecReload -------------------------------------------------------------------------------------------------------

def reload(server, program, **env):
    """As systemd starts it; the program may be another file than the one that runs."""
    with open(server.log_path, "ab") as log:
        return subprocess.run([str(program), *server.command()[1:], "--reload"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                              env={**os.environ, **server.env, "MAINPID": str(server.pid), **env}, timeout=2 * SECONDS, check=False)


@pytest.fixture(name="other_program")
def other_program_fixture(tmp_path):
    return shutil.copy2(LONGWIRED, tmp_path / "longwired")


def test_the_same_program_reads_its_configuration_again(manager):
    with served(manager) as server:
        manager.until("READY")
        assert reload(server, LONGWIRED).returncode == 0
        assert manager.next()[1]["RELOADING"] == "1"
        assert manager.next() == (server.pid, {"READY": "1"})


class Stranger:
    """A process that is no child of ours; it ends when it is told."""

    def __init__(self, pid):
        self.pid = pid
        self.descriptor = os.pidfd_open(pid)

    def poll(self):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):   # it has ended, perhaps just now
            return None if state_of(self.pid) != "Z" else 0
        return 0

    def send_signal(self, number):
        signal.pidfd_send_signal(self.descriptor, number)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            self.send_signal(signal.SIGKILL)

    def wait(self, _seconds=None):
        wait_until(lambda: self.poll() is not None)
        return 0


def state_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0]


def test_another_program_takes_over_and_becomes_the_main_process(manager, other_program):
    """It is told before the old process ends, and no link is lost."""
    with served(manager) as server, contextlib.ExitStack() as stack:
        old, before = server.process, server.pid
        assert manager.until("READY")[0] == before
        readers = [stack.enter_context(Reader(server.url, transport, ["topic:a"])) for transport in TRANSPORTS]
        assert Api(server.url).publish("topic:a", b"one").status == 201
        server.may_end()
        assert reload(server, other_program, WATCHDOG_USEC="1500000").returncode == 0
        pid, said = manager.until("MAINPID")
        assert pid != before and said["MAINPID"] == str(pid) and said["READY"] == "1"
        assert old.wait(SECONDS) == 0
        server.process = Stranger(pid)
        assert os.readlink(f"/proc/{pid}/exe") == str(other_program)
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            parent = int(file.read().rpartition(")")[2].split()[1])
        assert parent not in (before, os.getpid())   # an orphan: what started it has ended
        assert manager.next() == (pid, {"WATCHDOG": "1"})
        assert reload(server, other_program).returncode == 0   # it reloads as any other
        assert manager.until("RELOADING")[0] == pid
        assert manager.until("READY")[0] == pid
        assert "event=reloaded" in server.log()
        assert Api(server.url).publish("topic:a", b"two").status == 201
        for reader in readers:
            reader.wait_head("topic:a", 2)
            assert reader.breaks == []
        server.stop()
        assert manager.until("STOPPING")[0] == pid


def test_the_old_process_waits_until_the_manager_knows_the_new_one(tmp_path, other_program):
    with Manager(str(tmp_path / "notify")) as manager, served(manager) as server:
        manager.until("READY")
        old = server.process
        server.may_end()
        manager.fill()
        with open(server.log_path, "ab") as log:
            running = subprocess.Popen([str(other_program), *server.command()[1:], "--reload"], stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=log, env={**os.environ, **server.env, "MAINPID": str(old.pid)})
        wait_until(lambda: "event=taken_over" in server.log() and "event=handed_over" in server.log())
        assert old.poll() is None and running.poll() is None
        pid, _ = manager.until("MAINPID")
        assert old.wait(SECONDS) == 0 and running.wait(SECONDS) == 0
        server.process = Stranger(pid)


def test_another_program_that_can_not_start_leaves_the_old_one(manager, other_program):
    with served(manager) as server:
        manager.until("READY")
        server.flags = ["--loops", "63"]   # not those of the server that runs
        assert reload(server, other_program).returncode == 1
        assert re.search("has . loops, and this configuration says 63", server.log())
        assert "the old one serves on" in server.log()
        assert reload(server, other_program, MAINPID="").returncode == 2
        server.flags = ["--loops", "nonsense"]
        assert reload(server, LONGWIRED).returncode == 2   # a wrong configuration
        assert Api(server.url).publish("topic:a", b"one").status == 201
        server.stop()
        assert "STOPPING" in manager.next()[1]
