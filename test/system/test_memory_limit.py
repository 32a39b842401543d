"""memory_bytes_max: what the server refuses while it holds most of the memory that it may hold (threat 21, docs/decisions/0120)."""
import contextlib
import json
import pathlib
import re
import signal
import socket

import pytest
from websockets.frames import Opcode

from longwire_client import Api, Reader, RefusedError, WebSocket
from longwire_server import Server, is_built
from native_wire import encode
from waiting import SECONDS, wait_until

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

STEPS = ["calm", "lean", "closed", "short", "sheds_strangers", "sheds"]
# A sanitizer and jemalloc keep freed memory for a while; here they must not.
BALLAST_BYTES = 60_000_000
UNHOARDED = {"ASAN_OPTIONS": "quarantine_size_mb=0:thread_local_quarantine_size_kb=0:allocator_release_to_os_interval_ms=100",
             "MALLOC_CONF": "dirty_decay_ms:0"}


class LimitedServer(Server):
    """Its limit is set while it runs, in percent of what it holds at that moment."""

    def __init__(self, config="", flags=()):
        super().__init__(config=config, flags=["--loops", "1", "--frame-bytes-max", "64M", "--frame-timeout-s", "3600", *flags],
                         env=UNHOARDED)
        self.rest_of_config = config

    def held(self):
        return 1024 * int(re.search(r"RssAnon:\s+(\d+)", pathlib.Path(f"/proc/{self.pid}/status").read_text())[1])

    def limit(self, most):
        (self.home / "longwired.conf").write_text(f"memory_bytes_max = {most}\n" + self.rest_of_config)
        before = self.log().count("event=reloaded")
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.log().count("event=reloaded") > before, self.log)

    def fill(self, percent):
        """From now on so much of its limit is held."""
        self.limit(self.held() * 100 // percent)

    @contextlib.contextmanager
    def ballast(self, token=None):
        """A client holds most of what is held, so that a percent of it is more than what changes by itself: a long message whose
        end never comes."""
        with contextlib.closing(WebSocket(self.url, headers={"Authorization": f"Bearer {token}"} if token else {})) as link:
            link.wire.send_text(b" " * BALLAST_BYTES, fin=False)
            link.wire.send_ping(b"?")
            link.flush()
            next(frame for frame in link.frames() if frame.opcode is Opcode.PONG)  # all of it has come
            yield

    def wait_for_step(self, *steps):
        def step():
            with contextlib.closing(Api(self.url)) as api:
                return STEPS[int(api.metrics()["longwire_memory_step"])]
        wait_until(lambda: step() in steps, lambda: step() + self.log()[-2000:])


def ask_alone(server, path, **fields):
    with contextlib.closing(Api(server.url)) as api:
        return api.call("GET", path, headers=fields)


def is_let_in(server):
    with contextlib.suppress(RefusedError):
        WebSocket(server.url).close()
        return True
    return False


def test_a_server_that_is_short_of_memory_takes_no_new_links():
    """Threat 21: short requests come through, old links live, and it opens again."""
    with LimitedServer() as server, server.ballast(), Reader(server.url, "ws", ["topic:t"]) as reader:
        with contextlib.closing(Api(server.url)) as api:
            assert api.publish("topic:t", b"before").status == 201
        reader.wait_head("topic:t", 1)
        server.fill(82)
        server.wait_for_step("closed", "short")
        wait_until(lambda: "event=memory_step step=closed" in server.log(), server.log)   # said behind the metric
        for path, fields in [("/v1/subscribe?channel=topic:t", {"Accept": "application/x-ndjson"}),
                             ("/v1/subscribe?channel=topic:t", {"Accept": "application/json"})]:
            answer = ask_alone(server, path, **fields)
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            assert "memory_bytes_max" in answer.json["detail"]
        with pytest.raises(RefusedError):
            WebSocket(server.url)
        with socket.create_connection(("127.0.0.1", server.tcp_port), timeout=SECONDS) as native:
            native.sendall(encode({"type": "connect"}))
            with contextlib.suppress(ConnectionResetError):
                assert b"memory_bytes_max" in native.recv(4096)
        with contextlib.closing(Api(server.url)) as api:
            assert api.publish("topic:t", b"meanwhile").status == 201
        assert ask_alone(server, "/healthz").status == 200
        reader.wait_head("topic:t", 2)
        server.limit(0)
        server.wait_for_step("calm")
        wait_until(lambda: is_let_in(server))
        assert reader.breaks == []


def test_beyond_a_few_short_requests_connections_are_refused_at_once():
    """Threat 21: sixteen connections that send nothing fill the room; the next one gets its 503 unasked."""
    with LimitedServer() as server, server.ballast(), contextlib.ExitStack() as crowd:
        server.fill(82)
        server.wait_for_step("closed", "short")

        def come():
            return crowd.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS))

        for _ in range(16):
            come()
        last, told = come(), b""
        while more := last.recv(4096):
            told += more
        assert told.startswith(b"HTTP/1.1 503") and b"Retry-After: 5" in told
        assert "memory_bytes_max" in json.loads(told.split(b"\r\n\r\n", 1)[1])["detail"]


KEY = "ops-secret-0123456789"
WITH_KEY = f"[key ops]\nsecret = {KEY}\nrights = publish, subscribe, admin\n"


class KeyServer(LimitedServer):
    def __init__(self):
        super().__init__(config=WITH_KEY)

    def wait_for_step(self, *steps):
        wait_until(lambda: f"event=memory_step step={steps[0]}" in self.log(), lambda: self.log()[-2000:])


def last_words(link):
    """The type of its last frame, and how it was closed."""
    told = [thing["type"] for thing in link.objects()]
    return told[-1], link.close_code


def half_a_body(server, stack, size, token=None):
    sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS))
    who = f"Authorization: Bearer {token}\r\n" if token else ""
    sock.sendall(f"POST /v1/echo HTTP/1.1\r\nHost: localhost\r\n{who}Content-Length: {size}\r\n\r\n".encode() + b"x" * 1000)
    return sock


def test_strangers_are_closed_before_those_who_are_known():
    """Threat 21: the links of strangers are told to come again and are closed, those of a key holder stay; what was acknowledged
    is there."""
    with KeyServer() as server, contextlib.ExitStack() as stack, \
            Reader(server.url, "ws", ["topic:t"], headers={"Authorization": f"Bearer {KEY}"}) as known, \
            contextlib.closing(Api(server.url, KEY)) as api, server.ballast(KEY):
        assert api.publish("topic:t", b"before").status == 201
        known.wait_head("topic:t", 1)
        strangers = [stack.enter_context(contextlib.closing(WebSocket(server.url, path="/v1/ws?channel=topic:t")))
                     for _ in range(10)]
        stream = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS))
        stream.sendall(b"GET /v1/subscribe?channel=topic:t HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n")
        half_head = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS))
        half_head.sendall(b"GET / HTTP/1.1\r\n")
        assert stream.recv(4096).startswith(b"HTTP/1.1 200")
        server.fill(91)
        server.wait_for_step("sheds_strangers")
        for link in strangers:
            assert last_words(link) == ("reconnect", 1013)
        while stream.recv(4096):
            pass
        assert half_head.recv(4096) == b""
        assert api.publish("topic:t", b"meanwhile").status == 201
        known.wait_head("topic:t", 2)
        assert known.breaks == []
        assert api.metrics()['longwire_memory_closed_total{who="stranger"}'] >= 12
        assert api.metrics()['longwire_memory_closed_total{who="known"}'] == 0
        server.limit(0)
        assert [message["data"] for message in api.history("topic:t", after=0)["messages"]] == ["before", "meanwhile"]


def test_when_no_stranger_is_left_the_newest_of_the_others_go():
    """Threat 21: also these are told to come again; it is better than to be killed."""
    with KeyServer() as server, contextlib.closing(Api(server.url, KEY)) as api:
        assert api.publish("topic:t", b"before").status == 201
        with contextlib.closing(WebSocket(server.url, headers={"Authorization": f"Bearer {KEY}"})) as known:
            server.fill(99)
            server.wait_for_step("sheds")
            assert last_words(known) == ("reconnect", 1013)
        server.limit(0)
        wait_until(lambda: is_let_in(server))


def test_a_body_that_is_not_whole_is_refused_while_memory_is_short():
    """Threat 21: a small message in one piece is taken, a large body in pieces is answered 503; a page of history is answered."""
    with LimitedServer(flags=["--diagnostic-echo", "on"]) as server, contextlib.ExitStack() as stack, \
            contextlib.closing(Api(server.url)) as api, server.ballast():
        assert api.publish("topic:t", b"before").status == 201
        body = half_a_body(server, stack, 4000000)
        server.fill(87)
        wait_until(lambda: api.metrics()["longwire_memory_step"] >= 3)
        with contextlib.suppress(OSError):  # it answers before all is sent
            body.sendall(b"x" * 1000000)
        told = body.recv(4096)
        assert told.startswith(b"HTTP/1.1 503") and b"Retry-After" in told
        assert api.publish("topic:t", b"small").status == 201
        assert len(api.history("topic:t", after=0)["messages"]) == 2
