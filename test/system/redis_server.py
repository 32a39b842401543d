"""A private redis-server for tests, on a port and in a folder of its own.

    with RedisServer() as redis:
        redis.ask("PING")            # b"PONG"
        redis.kill()                 # SIGKILL; its clients see their connections end
        redis.restart()              # the same port, and empty: it keeps nothing on disk
        redis.pause(), redis.resume() # SIGSTOP: connections stay and nothing answers
        redis.flush()                # FLUSHALL, as an operator's mistake
        redis.link.delay_s = 0.2     # each answer comes so much later, until it is 0
        redis.link.garbage = b"?!"   # instead of its answers, until it is None
"""
import contextlib
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

from longwire_server import free_port
from slow_link import SlowLink
from waiting import SECONDS, stop_processes, wait_until

PROGRAM = "redis-server"


def is_installed():
    return shutil.which(PROGRAM) is not None


class RedisServer:
    """Nothing is started before start() or `with`. `address` is where it listens; `inside` a command that is put before it,
    such as `ip netns exec NAME`. Everything goes through a link of the test's own, so that answers can be made late; with
    `is_direct` nothing does."""

    def __init__(self, address="127.0.0.1", inside=(), is_direct=False):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="longwire-redis-"))
        self.address, self.inside = address, list(inside)
        self.own_port = free_port()
        self.link = None if is_direct else SlowLink(self.own_port)
        self.process = None
        self.is_paused = False

    @property
    def port(self):
        return self.own_port if self.link is None else self.link.port

    @property
    def url(self):
        return f"redis://{self.address}:{self.port}"

    def command(self):
        return self.inside + [PROGRAM, "--port", str(self.own_port), "--bind", self.address, "--dir", str(self.home), "--save", "",
                              "--appendonly", "no", "--protected-mode", "no"]

    def start(self):
        assert self.process is None, "it is running already"
        with open(self.home / "log", "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self.answers, self.log)
        return self

    def log(self):
        path = self.home / "log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def answers(self):
        assert self.process.poll() is None, self.log()
        with contextlib.suppress(OSError):
            return self.ask("PING") == b"PONG"
        return False

    def ask(self, *words):
        """One command of its own connection, which begins inside the same namespace only if nothing stands before it. The
        answer is that of redis-cli, without its line's end."""
        return subprocess.run(self.inside + ["redis-cli", "-h", self.address, "-p", str(self.own_port), *map(str, words)],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=SECONDS, check=False).stdout.strip()

    def flush(self):
        assert self.ask("FLUSHALL") == b"OK"

    def pause(self):
        stop_processes([self.process.pid])
        self.is_paused = True

    def resume(self):
        self.process.send_signal(signal.SIGCONT)
        self.is_paused = False

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self):
        self.kill()
        return self.start()

    def close(self):
        self.kill()
        if self.link is not None:
            self.link.__exit__()
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self):
        try:
            if self.link is not None:
                self.link.__enter__()
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_):
        self.close()
