"""How long system tests wait, and for what: for events, with one ceiling for all.

SECONDS is no expectation of anybody's speed. It is far above what any load of the machine causes, so that what takes
longer hangs. How fast something is belongs to the benchmarks.
"""
import time

SECONDS = 120
LOOK_SECONDS = 0.01


def wait_until(what, say=lambda: "", seconds=SECONDS):
    """What `what` gives once it is true. say() tells more of what is awaited in vain."""
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {say()}"
        time.sleep(LOOK_SECONDS)
    return value
