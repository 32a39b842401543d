"""longwire_server.py and conftest.py themselves, mostly with a few lines of Python in the place of `longwired`."""
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

import longwire_server
from longwire_client import Publisher, Reader
from longwire_server import Server, ServerError, free_port, is_built
from waiting import wait_until

HEALTHY = """#!{python}
import http.server, os, signal, sys
print("started with", os.environ.get("WORD"), *sys.argv[1:], flush=True)
open(sys.argv[sys.argv.index("--data") + 1] + "/marks", "a").write("x")
signal.signal(signal.SIGTERM, lambda *_: ({at_the_end}))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[2].split(":")[1])), Handler).serve_forever()
"""
BROKEN = """#!{python}
import sys
sys.exit("the disk is on fire")
"""


@pytest.fixture(name="install")
def fixture_install(tmp_path, monkeypatch):
    def install(text, at_the_end="os._exit(0)"):
        path = tmp_path / "longwired"
        path.write_text(text.format(python=sys.executable, at_the_end=at_the_end))
        path.chmod(0o755)
        monkeypatch.setattr(longwire_server, "LONGWIRED", path)
    return install


def test_starts_stops_and_restarts_on_the_same_data_and_port(install):
    install(HEALTHY)
    with Server(flags=["--role", "api"], config="[http]\n", env={"WORD": "hello"}) as server:
        port, first = server.port, server.pid
        assert server.is_healthy()
        server.kill()
        assert not server.is_healthy()
        server.start()
        server.restart()
        assert (server.port, server.is_healthy()) == (port, True)
        assert server.pid != first
        assert (server.data / "marks").read_text() == "xxx"
        assert "started with hello --http" in server.log() and "--role api" in server.log()
        assert f"--config {server.home}" in server.log()
    assert not server.home.exists()


def test_an_early_exit_raises_with_the_log(install):
    install(BROKEN)
    server = Server()
    with pytest.raises(ServerError, match="status 1 before it was healthy(.|\n)*the disk is on fire"):
        with server:
            pass
    assert not server.home.exists()


@pytest.mark.parametrize("at_the_end, said", [
    ("os._exit(3)", "stopped with status 3"),
    ("print('ERROR: AddressSanitizer: heap', flush=True), os._exit(0)", "AddressSanitizer"),
])
def test_a_bad_end_raises(install, at_the_end, said):
    install(HEALTHY, at_the_end)
    server = Server().start()
    pid = server.pid
    with pytest.raises(ServerError, match=said):
        server.close()
    assert not os.path.exists(f"/proc/{pid}")


def test_a_server_that_does_not_stop_is_killed_and_raises(install, monkeypatch):
    install(HEALTHY, "0")
    monkeypatch.setattr(longwire_server, "STOP_SECONDS", 0.2)
    server = Server().start()
    pid = server.pid
    with pytest.raises(ServerError, match="did not stop"):
        server.close()
    assert not os.path.exists(f"/proc/{pid}")


# --- waits that would be in vain ------------------------------------------------------------------------------------------

def lock():
    held = threading.Lock()
    held.acquire()
    held.acquire()


def thread():
    other = threading.Thread(target=threading.Event().wait, daemon=True)
    other.start()
    other.join()


def silent_socket():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as sock:
            sock.recv(1)


def take_signal(is_over):
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    is_over.wait()


def miss_signal():
    """Another thread gets the signal: for this one it is as if it had come a moment before the wait."""
    is_over = threading.Event()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    try:
        threading.Thread(target=take_signal, args=(is_over,), daemon=True).start()
        select.select([], [], [])
    finally:
        is_over.set()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


WAITS = {"a lock": lock, "a thread": thread, "a socket": silent_socket, "a sleep": lambda: time.sleep(3600),
         "another process": lambda: subprocess.run(["sleep", "3600"], check=True),
         "an event of a test": lambda: wait_until(lambda: False, 3600),
         "a descriptor": lambda: select.select([], [], []), "a wait that misses the signal": miss_signal}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_a_server_that_ends_by_itself_ends_every_wait(install, wait):
    """The error has its exit status and the end of its log; nothing else interrupts these waits."""
    install(HEALTHY)
    with Server() as server:
        with pytest.raises(ServerError, match=r"ended by itself with status -6(.|\n)*started with") as raised:
            with subprocess.Popen(["sh", "-c", f"kill -ABRT {server.pid}"]):
                wait()
        assert raised.value.__context__ is None, "the wait ended because it took too long"
        assert server.process is None


@pytest.mark.skipif(not is_built(), reason="no longwired is built")
def test_a_real_server_that_dies_under_readers_and_publishers():
    """Threads that would publish and reconnect for ever are told to give up."""
    with contextlib.ExitStack() as stack:
        with pytest.raises(ServerError, match="ended by itself with status -9"):
            server = stack.enter_context(Server())
            reader = stack.enter_context(Reader(server.url, "ws", ["live:x"]))
            publisher = stack.enter_context(Publisher(server.url, "p", "live:x", has_keys=True))
            reader.wait_head("live:x", 10)
            os.kill(server.pid, signal.SIGKILL)
            publisher.join()


HANGS = """
import threading, time
def test_fine():
    pass
def test_sleeps():
    time.sleep(3600)
def test_hangs_at_its_end():
    try:
        time.sleep(3600)
    finally:
        threading.Event().wait()
"""


def test_a_test_that_hangs_fails_and_the_next_one_runs(tmp_path):
    (tmp_path / "test_hang.py").write_text(HANGS)
    words = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir",
             str(tmp_path), str(tmp_path)]
    environment = {**os.environ, "LW_TEST_SECONDS": "1", "LW_RUNNING_TEST": str(tmp_path / "running"),
                   "PYTHONPATH": os.path.dirname(__file__)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert "2 failed, 1 passed" in done.stdout, done.stdout
    assert done.stdout.count("TooLongError: the test takes longer than 1 s") >= 2
    assert (tmp_path / "running").read_text() == "test_hang.py::test_hangs_at_its_end\n"


def test_a_port_is_chosen_by_one_test_alone():
    """Also by another process, while nothing listens there."""
    port = free_port()
    look = f"import longwire_server; assert not longwire_server.take_port({port}); assert longwire_server.take_port({port} + 30000)"
    subprocess.run([sys.executable, "-c", look], env={**os.environ, "PYTHONPATH": os.path.dirname(__file__)}, check=True)
