"""A start whose PostgreSQL does not answer yet waits for it, and says so; what no waiting mends ends it at once (threat 40)."""
import contextlib
import subprocess

import pytest

from longwire_client import Api
from longwire_server import LONGWIRED, Server, is_built
from postgres_proxy import PostgresProxy
from postgres_server import Postgres, binaries
from test_sessions import sent
from waiting import SECONDS, wait_until

pytestmark = [pytest.mark.skipif(not is_built(), reason="no longwired is built"),
              pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed")]


@pytest.fixture(name="postgres")
def postgres_fixture():
    with Postgres() as running:
        running.init()
        yield running


@contextlib.contextmanager
def starting(*flags):
    """A server whose start has begun."""
    server = Server(flags=flags)
    try:
        yield server.start(wait=False)
    finally:
        server.close()


def waits(server):
    return server.process.poll() is not None or "event=start_waits" in server.log()


def assert_says_that_it_starts(server):
    """It listens a second after the start began."""
    wait_until(lambda: server.process.poll() is not None or answers(server))
    with contextlib.closing(Api(server.url)) as api:
        for path in ("/healthz", "/readyz", "/readyz/read", "/v1/channels/topic:a/messages"):
            answer = api.get(path)
            assert answer.status == 503 and int(answer.headers["Retry-After"]) >= 1, answer
            assert "the node is starting" in answer.json["detail"] and "postgres" in answer.json["detail"], answer.json


def answers(server):
    with contextlib.closing(Api(server.url)) as api, contextlib.suppress(OSError):
        return api.get("/healthz").status > 0
    return False


@pytest.mark.parametrize("fault", ["stopped", "paused"])
def test_a_start_waits_until_postgresql_answers(postgres, fault):
    if fault == "stopped":
        postgres.stop()
    else:
        postgres.pause()
    with starting("--store", postgres.url) as server:
        assert_says_that_it_starts(server)
        wait_until(lambda: waits(server))
        assert server.process.poll() is None, server.log()
        if fault == "stopped":
            postgres.start()
        else:
            postgres.resume()
        server.wait_healthy()
        assert sent(server, "topic:a") == 1


def test_a_start_waits_while_postgresql_has_no_connection_left():
    with Postgres(settings={"max_connections": 20, "superuser_reserved_connections": 0}) as postgres:
        postgres.init()
        command = ["psql", "-X", "-q", "-t", "-c", "select 1", "-c", "\\! echo here; read line", postgres.url]
        with contextlib.ExitStack() as stack:
            holders = [stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
                       for _ in range(20)]
            for holder in holders:
                wait_until(lambda: "here" in holder.stdout.readline())
            with starting("--store", postgres.url) as server:
                wait_until(lambda: server.process.poll() is not None or "too many clients" in server.log(), server.log)
                assert server.process.poll() is None and waits(server), server.log()
                for holder in holders:
                    holder.communicate("\n")
                server.wait_healthy()
                assert sent(server, "topic:a") == 1


@pytest.mark.parametrize("cluster", [[], ["--cluster", "postgres", "--node", "n1"]])
def test_a_start_waits_for_what_the_store_has_to_tell(postgres, cluster):
    """The schema could be looked at, and then nothing more can be read: neither what is revoked nor the key of tickets."""
    with PostgresProxy(postgres.port) as proxy:
        proxy.entries_left = 4 if cluster else 2
        with starting("--store", proxy.url, *cluster) as server:
            wait_until(lambda: server.process.poll() is not None or "revocations" in server.log(), server.log)
            assert server.process.poll() is None and waits(server), server.log()
            proxy.entries_left = None
            server.wait_healthy()
            assert "ticket_key_not_kept" not in server.log()
            assert sent(server, "topic:a") == 1


def test_a_start_that_waits_stops_when_told_to(postgres):
    postgres.stop()
    with starting("--store", postgres.url) as server:
        wait_until(lambda: waits(server))
        server.stop()
        assert "event=stopped" in server.log()


def longwired(*flags):
    return subprocess.run([str(LONGWIRED), "--http", "127.0.0.1:0", "--tcp", "127.0.0.1:0", *flags], capture_output=True,
                          text=True, timeout=SECONDS, check=False)


def test_it_waits_no_longer_than_it_is_told_to():
    done = longwired("--store", "postgres://127.0.0.1:1/none", "--start-timeout-s", "1")
    assert done.returncode == 1 and "event=start_waits" in done.stderr, done.stderr
    assert "Connection refused" in [line for line in done.stderr.splitlines() if "event=cant_start" in line][0]


def test_what_no_waiting_mends_ends_a_start_at_once():
    with Postgres(password="secret") as postgres:
        url = postgres.url
        for store, why in [(url.replace("secret", "wrong"), "password authentication failed"),
                           (url.rsplit("/", 1)[0] + "/none", "does not exist"), (url, "has no schema")]:
            done = longwired("--store", store)
            assert done.returncode == 1 and why in done.stderr and "start_waits" not in done.stderr, done.stderr
