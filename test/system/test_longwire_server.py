"""longwire_server.py itself, with a few lines of Python in the place of `longwired`."""
import os
import sys

import pytest

import longwire_server
from longwire_server import Server, ServerError

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
