"""How long system tests wait, and for what: for events, with one ceiling for all.

SECONDS doesn't say how fast anything should be. It is far above any delay that a busy machine causes, so what takes
longer hangs. Benchmarks measure speed.
"""
import contextlib
import os
import pathlib
import signal
import time

SECONDS = 120
LOOK_SECONDS = 0.01


def wait_until(what, say="", seconds=SECONDS):
    """Waits until `what` gives something true, and returns it. `say`, words or a function that gives them, tells more if the wait fails."""
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {say() if callable(say) else say}"
        time.sleep(LOOK_SECONDS)
    return value


def is_stopped(pid):
    """True also if it has ended."""
    try:
        states = [path.read_text().rsplit(")", 1)[1].split()[0] for path in pathlib.Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:   # a thread, or all of it, has ended meanwhile
        return not os.path.exists(f"/proc/{pid}")
    return all(state in "TtZX" for state in states)


def stop_processes(pids):
    """SIGSTOP to each, and waits until it counts: before one thread has taken the signal, the others run on."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        wait_until(lambda: is_stopped(pid))
