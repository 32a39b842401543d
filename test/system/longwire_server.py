"""A real `longwired` for tests: start, stop, kill -9, restart on the same data and port.

    with Server() as server:
        urllib.request.urlopen(server.url + "/healthz")
        server.kill()
        server.restart()

The programs are taken from the folder that LW_BUILD names (default: build/ of this checkout). What the server
logs is kept in a file; every error raised here carries its end.

A healthy server must run until the test ends it with stop(), kill() or terminate(), or says may_end(). If its process
ends earlier, the main thread raises ServerError at once, whatever it waits for at that moment (conftest.py).
"""
import collections
import contextlib
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from waiting import SECONDS

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("LW_BUILD", ROOT / "build")).resolve()
LONGWIRED = BUILD / "longwired"
LONGWIRE = BUILD / "longwire"

START_SECONDS = STOP_SECONDS = SECONDS
LOG_TAIL_BYTES = 8000
SANITIZER_WORDS = ("ERROR: AddressSanitizer", "runtime error:", "WARNING: ThreadSanitizer",
                   "ERROR: LeakSanitizer", "broken promise")


class ServerError(AssertionError):
    """The server did not do what a test needs; the text holds the end of its log."""


must_run = set()        # the servers whose process must not end now


def check_servers():
    """Raises ServerError if the process of a server has ended that must run."""
    for server in list(must_run):
        server.check_running()


@contextlib.contextmanager
def watched_servers():
    """While it holds, the end of a server that must run raises ServerError in the main thread. The signal of the ended
    child interrupts every wait of that thread: for a lock, a socket, another process, a sleep."""
    before = signal.signal(signal.SIGCHLD, lambda *_: check_servers())
    try:
        check_servers()
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def copy_data(data, into):
    """A copy of a server's directory. The socket of a take-over, which a server that was killed leaves, is none of its data."""
    return shutil.copytree(data, into, ignore=shutil.ignore_patterns("take-over"))


def is_built():
    return LONGWIRED.exists()


def is_sanitized(program=LONGWIRED):
    """Then it needs more memory and time, and its malloc is another one."""
    words = program.read_bytes()
    return b"__asan_init" in words or b"__tsan_init" in words


def is_free(port):
    """Nobody listens there; what is left of closed connections does not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


taken_ports = collections.deque(maxlen=200)   # the newest that this process has chosen, as sockets that say so


def take_port(port):
    """Tells the other test processes of this machine not to choose it. False: one of them has chosen it."""
    said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        said.bind(f"\0longwire-test-port-{port}")
    except OSError:
        said.close()
        return False
    taken_ports.append(said)
    return True


def free_port():
    """A port on which nothing listens, below those that the kernel gives to outgoing connections: one of these could take
    it between now and the moment when its server starts. So could another test, also while the server is down for a while."""
    for port in random.sample(range(10000, 30000), 1000):
        if take_port(port) and is_free(port):
            return port
    raise OSError("no port from 10000 to 30000 is free")


def free_ports_in_a_row(count):
    """The first of so many; each is taken as free_port() takes one."""
    while True:
        port = free_port()
        if all(take_port(each) and is_free(each) for each in range(port + 1, port + count)):
            return port


class Server:
    """One server process. Nothing is started before start() or `with`.

    data    its data folder; without one a fresh folder that goes away with close()
    port    its HTTP port; without one a free one is taken
    tcp_port  its port for the native protocol; a free one, unless flags or config name an address themselves
    flags   further command line arguments
    config  text of a configuration file to write and to name with --config
    env     further environment variables, for instance LD_PRELOAD
    """

    def __init__(self, data=None, port=None, flags=(), config=None, env=None):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="longwire-test-"))
        self.data = pathlib.Path(data) if data else self.home / "data"
        self.port = port or free_port()
        self.tcp_port = free_port()
        self.flags = list(flags)
        self.config = config
        self.env = dict(env or {})
        self.process = None
        self.log_path = self.home / "log"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def fail(self, what):
        raise ServerError(f"{what}\n--- end of the server's log ---\n{self.log()[-LOG_TAIL_BYTES:]}")

    def command(self):
        command = [str(LONGWIRED), "--http", f"127.0.0.1:{self.port}", "--data", str(self.data)]
        if self.config is not None:
            path = self.home / "longwired.conf"
            path.write_text(self.config)
            command += ["--config", str(path)]
        if not any(flag.startswith("--tcp") for flag in self.flags) and "\ntcp" not in "\n" + (self.config or ""):
            command += ["--tcp", f"127.0.0.1:{self.tcp_port}"]
        return command + self.flags

    def start(self, wait=True):
        """Starts it and returns once GET /healthz answers 200; raises if it exits before, or takes too long. With
        wait=False the test itself looks whether the process still runs."""
        assert self.process is None, "it is running already"
        self.data.mkdir(parents=True, exist_ok=True)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, **self.env})
        if wait:
            self.wait_healthy()
        return self

    def is_healthy(self):
        try:
            with urllib.request.urlopen(self.url + "/healthz", timeout=SECONDS) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def wait_healthy(self):
        deadline = time.monotonic() + START_SECONDS
        while not self.is_healthy():
            if self.process.poll() is not None:
                status, self.process = self.process.returncode, None
                self.fail(f"longwired left with status {status} before it was healthy")
            if time.monotonic() > deadline:
                self.kill()
                self.fail(f"longwired was not healthy within {START_SECONDS} s")
            time.sleep(0.01)
        must_run.add(self)
        self.check_running()

    def check_running(self):
        """Raises if the process has ended; once, from then on the server counts as stopped."""
        if self.process.poll() is not None:
            status, self.process = self.process.returncode, None
            must_run.discard(self)
            self.fail(f"longwired ended by itself with status {status}")

    def may_end(self):
        """From now on the test itself looks whether the process still runs."""
        must_run.discard(self)

    def terminate(self):
        """Sends SIGTERM without waiting, and gives the process, which belongs to the caller from now on."""
        must_run.discard(self)
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        return process

    def stop(self):
        """Sends SIGTERM; the server must exit with status 0, in time, and without a report of a sanitizer."""
        if self.process is not None:
            self.wait_stopped(self.terminate())

    def wait_stopped(self, process):
        """For a process that terminate() gave: it must exit as stop() says."""
        try:
            status = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self.fail(f"longwired did not stop within {STOP_SECONDS} s of SIGTERM")
        if status != 0:
            self.fail(f"longwired stopped with status {status}")
        self.check_log()

    def kill(self):
        """Sends SIGKILL: the server has no chance to tidy up."""
        must_run.discard(self)
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self):
        """The same data, the same port. Stops it first if it is running."""
        self.stop()
        return self.start()

    def start_beside(self, *flags):
        """Another process with the same command and these flags, which logs into the same file; the caller's."""
        with open(self.log_path, "ab") as log:
            return subprocess.Popen([*self.command(), *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    env={**os.environ, **self.env})

    def take_over(self):
        """A new process takes this one's place (--take-over); the old one must exit with status 0."""
        must_run.discard(self)
        new = self.start_beside("--take-over")
        old, self.process = self.process, new
        try:
            status = old.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            old.kill()
            old.wait()
            self.fail("the server whose place was taken did not end")
        if status != 0:
            self.fail(f"the server whose place was taken ended with status {status}")
        self.wait_healthy()

    def check_log(self):
        for word in SANITIZER_WORDS:
            if word in self.log():
                self.fail(f"the log holds {word!r}")

    def close(self):
        try:
            self.stop()
        finally:
            self.kill()
            shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.kill()
            shutil.rmtree(self.home, ignore_errors=True)
            raise

    def __exit__(self, kind, value, trace):
        print(self.log()[-LOG_TAIL_BYTES:])  # pytest shows it with a test that failed
        self.close()


class PatientServer(Server):
    """One that asks no client whether it is there: none of them is given up, however long a busy machine takes until the test reads on."""

    def __init__(self, env=None, **more):
        super().__init__(env={"LONGWIRE_HEARTBEAT_S": "3600", **(env or {})}, **more)
