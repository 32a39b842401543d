"""How long system tests wait, and for what: for events, with one ceiling for all.

SECONDS doesn't say how fast anything should be. It is far above any delay that a busy machine causes, so what takes
longer hangs. Benchmarks measure speed.
"""
import time

SECONDS = 120
LOOK_SECONDS = 0.01


def wait_until(what, say=lambda: "", seconds=SECONDS):
    """Waits until `what` gives something true, and returns it. say() tells more if the wait fails."""
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {say()}"
        time.sleep(LOOK_SECONDS)
    return value
