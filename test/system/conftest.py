"""No system test waits for ever: it fails at once when a server ends that must run, and after LW_TEST_SECONDS in any
case. A test that cannot be interrupted ends pytest; then the file that LW_RUNNING_TEST names says which test was
running, and where each thread was.

LW_TEST_SECONDS   the longest that one test may take; 300 unless told otherwise
LW_RUNNING_TEST   a file for the name of the running test; none unless told otherwise
"""
import faulthandler
import os
import signal
import tempfile
import time

import pytest

from longwire_server import watched_servers

TEST_SECONDS = int(os.environ.get("LW_TEST_SECONDS", "300"))
AGAIN_SECONDS = min(10, TEST_SECONDS)   # the end of an interrupted test may hang too
TICK_SECONDS = min(1, TEST_SECONDS)
GRACE_SECONDS = 60
# Servers that a test starts by itself must not meet at the native protocol's port.
os.environ.setdefault("LONGWIRE_TCP", "127.0.0.1:0")
NOTES_PATH = os.environ.get("LW_RUNNING_TEST")
# A shell starts what runs in its background with SIGINT ignored, and children inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
notes = open(NOTES_PATH, "w", encoding="utf-8") if NOTES_PATH else tempfile.TemporaryFile("w", encoding="utf-8")


class TooLongError(AssertionError):
    """A test takes longer than any test may."""


class Alarm:
    """Raises in the test that takes too long. It doesn't raise in pytest's own code, because that would end pytest.

    It ticks all the time, because a signal that comes a moment before a wait begins does not interrupt it: Python runs its
    handler once the wait ends, and a tick ends every wait for a moment."""

    def __init__(self):
        self.is_in_test = False
        self.rings_at = 0
        signal.signal(signal.SIGALRM, self.tick)

    def set(self, seconds):
        self.rings_at = time.monotonic() + seconds
        signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)

    def end(self):
        signal.setitimer(signal.ITIMER_REAL, 0)

    def tick(self, *_):
        now = time.monotonic()
        if self.is_in_test and now >= self.rings_at:
            self.rings_at = now + AGAIN_SECONDS
            raise TooLongError(f"the test takes longer than {TEST_SECONDS} s (LW_TEST_SECONDS)")


alarm = Alarm()


def end_within(seconds):
    """Ends pytest after that time, unless it is called again before; the stacks of all threads are then in the file."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=notes)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    notes.seek(0)
    notes.truncate()
    notes.write(item.nodeid + "\n")
    notes.flush()
    end_within(TEST_SECONDS + GRACE_SECONDS)
    alarm.set(TEST_SECONDS)
    yield
    alarm.end()


def in_test():
    with watched_servers():
        alarm.is_in_test = True
        yield
        alarm.is_in_test = False


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup():
    yield from in_test()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call():
    yield from in_test()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown():
    yield from in_test()


def pytest_unconfigure():
    """A thread that never ends would keep the process after the last test."""
    end_within(GRACE_SECONDS)
