"""strace(1) injects faults: it delays system calls of a `longwired`, makes them fail, or makes one the process's last
(-e inject=…).

    with strace(server, "inject=fsync,fdatasync:delay_enter=1s"):   # a server that runs, for as long as the block
    StracedServer("inject=fsync:signal=KILL:when=3")                # from its first instruction on
"""
import contextlib
import os
import shutil
import subprocess
import threading

import pytest

from longwire_server import Server


def may_trace():
    """True if this process may attach to one that isn't its child; not every container allows that."""
    if shutil.which("strace") is None:
        return False
    with subprocess.Popen(["sleep", "60"]) as sleeper, \
            subprocess.Popen(["strace", "-p", str(sleeper.pid), "-o", os.devnull], stderr=subprocess.PIPE,
                             text=True) as tracer:
        line = tracer.stderr.readline()
        sleeper.kill()
        tracer.communicate()
    return "attached" in line


needs_strace = pytest.mark.skipif(not may_trace(), reason="strace is not there, or may not attach")


def calls_of(inject):
    return "trace=" + inject.partition("=")[2].partition(":")[0]


@contextlib.contextmanager
def strace(server, inject, path=None):
    """Its block begins once strace is attached to every thread that exists. With `path`, only calls on that file."""
    command = ["strace", "-f", "-p", str(server.pid), "-o", os.devnull, "-e", calls_of(inject), "-e", inject]
    if path is not None:
        command += ["-P", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        line = tracer.stderr.readline()
        assert "attached" in line, line
        # What strace prints about later threads is of no interest, but must not fill the pipe.
        reader = threading.Thread(target=tracer.stderr.read)
        reader.start()
        try:
            yield
        finally:
            tracer.terminate()
            tracer.wait()
            reader.join()


class StracedServer(Server):
    """The tracer is a grandchild (-D), so pid and exit status are longwired's own."""

    def __init__(self, inject, **more):
        super().__init__(**more)
        # LeakSanitizer would want to be the tracer itself.
        self.env.setdefault("ASAN_OPTIONS", "detect_leaks=0")
        self.inject = inject

    def command(self):
        return ["strace", "-D", "-f", "-qq", "-o", os.devnull, "-e", calls_of(self.inject),
                "-e", self.inject, *super().command()]
