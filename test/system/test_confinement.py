"""What the process gives up at its start, and what it keeps to itself (threats 108, 111, docs/decisions/0121)."""
import contextlib
import os
import pathlib
import resource
import signal
import subprocess

import pytest

from longwire_client import Api
from longwire_server import LONGWIRED, Server, is_built, is_sanitized
from test_jwt import dumped_memory, token
from test_tls import Certificates
from waiting import SECONDS, wait_until

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

TO_LISTEN = 1 << 10 | 1 << 12  # CAP_NET_BIND_SERVICE, CAP_NET_ADMIN: threads that the store had before


def threads(pid):
    """{name of a thread: what the kernel says of it}"""
    told = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):   # it has ended meanwhile
            status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
            told.setdefault(status["Name"], []).append(status)
    return told


def has_seccomp():
    return pathlib.Path("/proc/sys/kernel/seccomp/actions_avail").exists()


def test_it_gives_up_what_it_does_not_need():
    """Threat 111: no capability is left in the threads that read what strangers send, none can be gained, and the calls of an
    intruder are refused in all of them."""
    with Server() as server:
        # A thread gives itself its name when it begins to run, and any loop may have been the first to answer.
        wait_until(lambda: {"lw-loop-0", "lw-writer"} <= set(threads(server.pid)))
        told = threads(server.pid)
        for name, statuses in told.items():
            for status in statuses:
                rest = int(status["CapPrm"], 16) | int(status["CapEff"], 16) | int(status["CapAmb"], 16)
                assert rest & ~TO_LISTEN == 0, (name, status["CapPrm"])
                assert status["NoNewPrivs"] == "1", name
                if has_seccomp():
                    assert status["Seccomp"] == "2", name
        for name in ("lw-loop-0", "lw-writer"):
            assert int(told[name][0]["CapPrm"], 16) == 0, name
        assert ("event=runs_as_root" in server.log()) == (os.geteuid() == 0)


@pytest.mark.skipif(not has_seccomp(), reason="this kernel has no seccomp")
def test_the_filter_can_be_left_out():
    with Server(flags=["--seccomp", "off"]) as server:
        assert {status["Seccomp"] for statuses in threads(server.pid).values() for status in statuses} == {"0"}


# --- core dumps -----------------------------------------------------------------------------------------------------------

class Crashing(Server):
    """Runs in a folder of its own, where the kernel may write as much as it likes of it."""

    def command(self):
        return ["sh", "-c", f'cd "{self.home}" && ulimit -c unlimited && exec "$@"', "sh", *super().command()]

    def crash(self):
        """What the kernel wrote of it; None: nothing."""
        self.may_end()
        self.process.send_signal(signal.SIGABRT)
        self.process.wait()
        self.process = None
        cores = [path for path in self.home.iterdir() if path.name.startswith("core")]
        return cores[0] if cores else None


needs_cores = pytest.mark.skipif(
    "/" in pathlib.Path("/proc/sys/kernel/core_pattern").read_text() or "|" in pathlib.Path("/proc/sys/kernel/core_pattern").read_text() or
    resource.getrlimit(resource.RLIMIT_CORE)[1] not in (resource.RLIM_INFINITY,) and os.geteuid() != 0,
    reason="core dumps go elsewhere on this machine")


@needs_cores
def test_a_crash_leaves_no_core_dump():
    """Threat 108: what it would hold are secrets, tokens and messages."""
    with Crashing() as server:
        assert server.crash() is None
    with Crashing(flags=["--core-dumps", "on"], env={"ASAN_OPTIONS": "handle_abort=0:disable_coredump=0"}) as server:
        if not is_sanitized():   # a sanitizer's memory is terabytes
            assert server.crash() is not None


# --- every secret -------------------------------------------------------------------------------------------------------

SECRETS = {
    "key": "key-secret-0123456789abcdef", "key_file": "key-file-secret-0123456789abcdef",
    "jwt": "jwt-secret-0123456789-0123456789-0123456789", "jwt_file": "jwt-file-secret-0123456789-0123456789-0123456789",
    "tickets": "tickets-secret-0123456789-0123456789-0123456789", "webhook": "webhook-secret-0123456789abcdef",
    "webhook_file": "webhook-file-secret-0123456789abcdef",
}
WRONG = "wrong-secret-0123456789abcdef"


def config_of(home, certificates):
    for name in ("key_file", "jwt_file", "webhook_file"):
        (home / name).write_text(SECRETS[name] + "\n")
        (home / name).chmod(0o600)
    return f"""
log_level = debug
store = memory
[key one]
secret = {SECRETS['key']}
rights = publish, subscribe, admin
[key two]
secret_file = {home}/key_file
rights = publish
[jwt one]
secret = {SECRETS['jwt']}
[jwt two]
secret_file = {home}/jwt_file
issuer = two
[tickets]
secret = {SECRETS['tickets']}
[webhook one]
url = http://127.0.0.1:9/
events = connected
secret = {SECRETS['webhook']}
[webhook two]
url = http://127.0.0.1:9/
events = disconnected
secret_file = {home}/webhook_file
[tls one]
certificate = {certificates.pem('one')}
key = {certificates.key('one')}
"""


def answers_to_all_kinds_of_requests(server):
    said = ""
    for secret in [*SECRETS.values(), WRONG, token(), token(exp=1)]:
        with contextlib.closing(Api(server.url, secret)) as api:
            for method, path, body in [("GET", "/metrics", None), ("GET", "/v1/nodes", None), ("POST", "/v1/channels/topic:x/messages", b"x"),
                                       ("GET", f"/v1/channels/user:a?access_token={secret}", None), ("POST", "/v1/messages", b"{"),
                                       ("GET", "/v1/subscribe?channel=%00", None), ("GET", "/v1/nothing", None),
                                       ("GET", "/v1/connections/x", None), ("GET", "/readyz", None)]:
                answer = api.call(method, path, body)
                said += str(answer.headers) + answer.body.decode(errors="replace")
    return said


def reload(server):
    """With a fault in the last line, which holds a secret."""
    before = server.log().count("event=reload")
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: server.log().count("event=reload") > before, server.log)


def test_no_secret_is_told_to_anybody(tmp_path):
    """Threat 108: a server with every kind of secret. Its log, its metrics, its answers, its configuration in force, and what it says of
    a wrong file have none of them; nor has its memory, as far as a core dump would show it, those of keys and issuers."""
    certificates = Certificates(tmp_path).make("one", "DNS:localhost")
    config = config_of(tmp_path, certificates)
    with Server(config=config, flags=["--https", "127.0.0.1:0"]) as server:
        held = list(dumped_memory(server.pid))
        said = answers_to_all_kinds_of_requests(server)
        said += subprocess.run([str(LONGWIRED), "--config", str(server.home / "longwired.conf"), "--check"], capture_output=True, text=True,
                               timeout=SECONDS, check=True).stdout
        (server.home / "longwired.conf").write_text(config + f"[key three]\nsecret = {SECRETS['key']} and more\n")
        reload(server)
        done = subprocess.run([str(LONGWIRED), "--config", str(server.home / "longwired.conf"), "--check"], capture_output=True, text=True,
                              timeout=SECONDS, check=False)
        assert done.returncode == 2
        said += done.stdout + done.stderr + server.log()
        for name, secret in {**SECRETS, "wrong": WRONG, "token": token()}.items():
            assert secret not in said, name
        # The others stand where a dump would show them, some of them in OpenSSL: that is why none is written.
        for name in ("key", "key_file", "jwt", "jwt_file"):
            assert not any(SECRETS[name].encode() in area for area in held), name
        pem = certificates.key("one").read_bytes().splitlines()[1]
        assert not any(pem in area for area in held)
