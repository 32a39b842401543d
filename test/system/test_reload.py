"""SIGHUP: the server reads its configuration again while it runs, and links stay (threats 24, 25)."""
import contextlib
import http.client
import itertools
import os
import re
import resource
import signal
import socket
import subprocess
import threading
import time

import jwt
import pytest

from longwire_client import TRANSPORTS, Api, Reader, RefusedError, WebSocket
from longwire_server import Server, is_built
from native_link import NativeLink
from waiting import SECONDS, wait_until
from wire import Ws

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

OLD, NEW, OPS = "old-secret-0123456789", "new-secret-0123456789", "ops-secret-0123456789"


def key(name, secret, rights="publish, subscribe"):
    return f"[key {name}]\nsecret = {secret}\nrights = {rights}\n"


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


PRIVATE = "user:a"  # asks for a key
BASE = key("ops", OPS, "publish, subscribe, admin")


def lines_of(server):
    return re.findall(r"event=(reloaded|reload_failed|restart_needed)(.*)", server.log())


class Reloadable(Server):
    """A server whose configuration can be written anew."""

    def __init__(self, config=BASE, flags=(), **more):
        super().__init__(config=config, flags=["--store", "memory", *flags], **more)

    @property
    def config_path(self):
        return self.home / "longwired.conf"

    def write(self, config):
        """Writes the file as a careful editor does: nobody ever sees half a file."""
        self.config = config
        path = self.home / "longwired.conf.new"
        path.write_text(config)
        path.chmod(0o600)
        path.rename(self.config_path)

    def wait_for(self, what):
        wait_until(what, self.log)

    def hang_up(self):
        """Sends SIGHUP and gives what the log says of it: event, rest of the line."""
        before = len([event for event, _ in lines_of(self) if event != "restart_needed"])
        self.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: len([event for event, _ in lines_of(self) if event != "restart_needed"]) > before)
        return [line for line in lines_of(self) if line[0] != "restart_needed"][before]

    def reload(self, config):
        self.write(config)
        event, rest = self.hang_up()
        assert event == "reloaded", self.log()
        return rest

    def reload_refused(self):
        event, rest = self.hang_up()
        assert event == "reload_failed", self.log()
        return rest


def status_of_subscribe(server, secret, channel=PRIVATE):
    with contextlib.closing(Api(server.url, secret)) as api:
        return api.get(f"/v1/subscribe?channel={channel}&wait=0").status


# --- what a reload changes ------------------------------------------------------------------------------------------

def test_links_of_every_transport_live_through_it():
    """Threat 24."""
    with Reloadable(BASE + key("old", OLD)) as server, contextlib.ExitStack() as stack:
        api = stack.enter_context(contextlib.closing(Api(server.url, OLD)))
        readers = [stack.enter_context(Reader(server.url, transport, [PRIVATE], headers=bearer(OLD)))
                   for transport in TRANSPORTS]
        assert api.publish(PRIVATE, b"before").status == 201
        for reader in readers:
            reader.wait_head(PRIVATE, 1)
        breaks = [list(reader.breaks) for reader in readers]
        connection = api.connection.sock
        said = server.reload(BASE + key("old", OLD) + key("new", NEW) + "[key spare]\nsecret = spare-secret-0123456789\n"
                             "rights = publish\n")
        assert 'changed="key new added, key spare added"' in said
        assert api.publish(PRIVATE, b"after").status == 201
        assert api.connection.sock is connection, "the publisher's connection was closed"
        for reader, before in zip(readers, breaks):
            reader.wait_head(PRIVATE, 2)
            assert [event.payload for event in reader.messages(PRIVATE)] == [b"before", b"after"]
            if reader.transport != "poll":  # each poll is a connection of its own in these clients
                assert reader.breaks == before, reader.transport
        assert NEW not in server.log() and OLD not in server.log(), "a secret is in the log"


def test_a_new_key_is_known_and_a_removed_one_is_not():
    with Reloadable(BASE + key("old", OLD)) as server, contextlib.closing(Api(server.url, OLD)) as old, \
            contextlib.closing(Api(server.url, NEW)) as new:
        page = f"/v1/channels/{PRIVATE}/messages"
        assert old.publish(PRIVATE, b"1").status == 201
        assert new.get(page).status == 401
        connections = old.connection.sock, new.connection.sock
        said = server.reload(BASE + key("new", NEW))
        assert 'changed="key old removed, key new added"' in said
        assert new.publish(PRIVATE, b"2").status == 201
        assert old.get(page).status == 401
        assert (old.connection.sock, new.connection.sock) == connections, "a connection was closed"
        assert old.publish(PRIVATE, b"3").status == 401
        assert status_of_subscribe(server, NEW) == 200
        assert status_of_subscribe(server, OLD) == 401
        with pytest.raises(RefusedError):
            WebSocket(server.url, headers=bearer(OLD))
        WebSocket(server.url, headers=bearer(NEW)).close()


def test_a_keys_rights_and_secret_change():
    with Reloadable(BASE + key("app", OLD, "subscribe")) as server, contextlib.closing(Api(server.url, OLD)) as api:
        assert api.publish(PRIVATE, b"1").status == 403
        assert 'changed="key app changed"' in server.reload(BASE + key("app", OLD, "subscribe, publish"))
        assert api.publish(PRIVATE, b"2").status == 201
        server.reload(BASE + key("app", OLD, "publish"))
        assert api.get(f"/v1/channels/{PRIVATE}/messages").status == 403
        server.reload(BASE + key("app", NEW, "publish"))
        assert api.publish(PRIVATE, b"3").status == 401


def test_a_secret_in_a_file_of_its_own_is_read_again(tmp_path):
    """As Kubernetes hands it out: a link that is turned. The configuration itself doesn't change. A file that holds no
    secret changes nothing, and neither log nor --check says a secret (threats 25, 108)."""
    (tmp_path / "old").write_text(OLD + "\n")
    (tmp_path / "new").write_text(NEW + "\nanother line\n")
    (tmp_path / "empty").write_text("")
    path = tmp_path / "secret"

    def turn(target):
        (tmp_path / "next").symlink_to(target)
        (tmp_path / "next").rename(path)

    turn("old")
    config = BASE + f"[key app]\nsecret_file = {path}\nrights = publish, subscribe\n"
    with Reloadable(config) as server:
        assert (status_of_subscribe(server, OLD), status_of_subscribe(server, NEW)) == (200, 401)
        turn("new")
        assert status_of_subscribe(server, OLD) == 200, "it is read again only when told to"
        assert 'changed="key app changed"' in server.reload(config)
        assert (status_of_subscribe(server, OLD), status_of_subscribe(server, NEW)) == (401, 200)
        for target in ("empty", "gone"):
            turn(target)
            assert f"secret_file: " in (said := server.reload_refused()) and str(path) in said
            assert (status_of_subscribe(server, OLD), status_of_subscribe(server, NEW)) == (401, 200)
        turn("new")
        check = subprocess.run([*server.command(), "--check"], capture_output=True, text=True, timeout=SECONDS,
                               check=True).stdout
        assert f"[key app]\nsecret_file = {path}\n" in check
        assert not any(secret in text for secret in (OLD, NEW) for text in (check, server.log()))


def ws_of(server, secret):
    link = WebSocket(server.url, headers=bearer(secret))
    things = link.objects()
    assert next(things)["type"] == "connected"
    return link, things


def test_who_came_by_a_key_that_is_gone_is_sent_away_at_the_next_frame():
    """docs/decisions/0015"""
    with Reloadable(BASE + key("old", OLD) + key("app", NEW)) as server:
        (old, old_things), (app, app_things) = ws_of(server, OLD), ws_of(server, NEW)
        server.reload(BASE + key("app", NEW))
        for link in (old, app):
            link.say({"type": "publish", "channel": PRIVATE, "data": "x", "ref": 1})
        assert next(app_things)["type"] == "published"
        assert [thing["type"] for thing in old_things] == ["reconnect"]
        assert old.close_code == 1008
        old.close()
        app.close()


@pytest.mark.parametrize("transport", [name for name in TRANSPORTS if name != "poll"])
def test_who_came_by_a_key_that_is_gone_is_sent_away_within_a_heartbeat(transport):
    """docs/decisions/0015: also a client that only listens."""
    with Reloadable(BASE + key("old", OLD) + key("app", NEW), flags=["--heartbeat-s", "1"]) as server, \
            Reader(server.url, transport, [PRIVATE], headers=bearer(OLD)) as old, \
            Reader(server.url, transport, [PRIVATE], headers=bearer(NEW)) as app, \
            contextlib.closing(Api(server.url, OPS)) as api:
        assert api.publish(PRIVATE, b"before").status == 201
        for reader in (old, app):
            reader.wait_head(PRIVATE, 1)
        breaks = len(app.breaks)
        server.reload(BASE + key("app", NEW))
        server.wait_for(lambda: any(isinstance(why, RefusedError) and why.args[0] == 401 for why in old.breaks))
        assert api.publish(PRIVATE, b"after").status == 201
        app.wait_head(PRIVATE, 2)
        assert len(app.breaks) == breaks and old.head(PRIVATE) == 1


@pytest.mark.parametrize("wire", ["json", "bin"])
def test_who_beats_seldom_is_sent_away_within_a_heartbeat_of_the_server(wire):
    """docs/decisions/0015: also a client that has said that it will be silent for half an hour. A user whose issuer is gone is
    sent nothing more, either."""
    secret = "shared-by-the-issuer-and-the-server"
    issuer = f"[jwt app]\nsecret = {secret}\n"
    token = jwt.encode({"sub": "ann", "exp": int(time.time()) + 3600}, secret, algorithm="HS256")
    with Reloadable(BASE + key("old", OLD) + issuer, flags=["--heartbeat-s", "1"]) as server, contextlib.ExitStack() as stack:
        links = [stack.enter_context(NativeLink(server) if wire == "bin" else Ws(server)) for _ in range(3)]
        for link, shown in zip(links, (OLD, token, OPS)):
            assert link.ask("connect", "connected", token=shown, heartbeat=1800)["heartbeat"] == 1800
        server.reload(BASE)
        for link in links[:2]:
            assert link.frame("reconnect")["after"] > 0
            assert link.closing() == (1008, "the API key was taken away or changed")
        assert links[2].ask("ping", "pong", ref=1)


def test_a_right_that_a_key_loses_ends_what_it_was_used_for():
    """docs/decisions/0015: a right that a key gains ends nothing."""
    with Reloadable(BASE + key("app", NEW, "subscribe"), flags=["--heartbeat-s", "1"]) as server:
        link, things = ws_of(server, NEW)
        link.say({"type": "subscribe", "channel": PRIVATE})
        assert next(things)["type"] == "subscribed"
        server.reload(BASE + key("app", NEW, "subscribe, publish"))
        link.say({"type": "publish", "channel": PRIVATE, "data": "x"})
        assert {next(things)["type"], next(things)["type"]} == {"published", "message"}
        server.reload(BASE + key("app", NEW, "publish"))
        assert [thing["type"] for thing in things] == ["reconnect"]
        assert link.close_code == 1008
        link.close()


def test_a_key_that_goes_while_a_body_comes_is_refused():
    """docs/decisions/0015, 0022: who sends a request is known before its body comes, and looked at again behind it."""
    with Reloadable(BASE + key("old", OLD)) as server, \
            socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as sock:
        sock.sendall(f"POST /v1/channels/{PRIVATE}/messages HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {OLD}\r\n"
                     "Content-Length: 6\r\nExpect: 100-continue\r\n\r\n".encode())
        assert sock.recv(65536).startswith(b"HTTP/1.1 100 ")
        server.reload(BASE)
        sock.sendall(b"abcdef")
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        assert answer.status == 401 and b"this token is not known here" in answer.read()


@pytest.mark.parametrize("rights, status", [("publish", 201), ("subscribe", 403)])
def test_a_key_that_changes_while_a_body_comes_is_judged_by_what_it_may_do_then(rights, status):
    """docs/decisions/0022: a key that lost one right is not refused what another one lets it do."""
    with Reloadable(BASE + key("old", OLD)) as server, \
            socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as sock:
        sock.sendall(f"POST /v1/channels/{PRIVATE}/messages HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {OLD}\r\n"
                     "Content-Length: 6\r\nExpect: 100-continue\r\n\r\n".encode())
        assert sock.recv(65536).startswith(b"HTTP/1.1 100 ")
        server.reload(BASE + key("old", OLD, rights))
        sock.sendall(b"abcdef")
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        assert answer.status == status


def test_settings_change_or_wait_for_a_restart():
    with Reloadable("log_level = warn\n" + BASE) as server, contextlib.closing(Api(server.url, OPS)) as api:
        page = {"Origin": "https://app.example"}
        assert api.call("GET", "/healthz", headers=page).status == 403
        assert api.call("POST", "/v1/echo", b"x").status == 404
        server.write("log_level = info\norigins = https://app.example\ndiagnostic_echo = yes\nhistory_limit_max = 2\n"
                     "heartbeat_s = 7\nloops = 3\n" + BASE + "[namespace topic]\nkeep_age = 1d\n[namespace fresh]\n")
        event, rest = server.hang_up()
        assert event == "reloaded"
        assert 'changed="log_level, diagnostic_echo, history_limit_max, origins"' in rest
        server.wait_for(lambda: "event=restart_needed" in server.log())
        assert 'settings="loops, heartbeat_s, namespace topic, namespace fresh"' in server.log()
        assert api.call("GET", "/healthz", headers=page).status == 200
        assert api.call("POST", "/v1/echo", b"x").body == b"x"
        for payload in (b"1", b"2", b"3"):
            assert api.publish("topic:s", payload).status == 201
        assert len(api.history("topic:s", after=0, limit=10)["messages"]) == 2
        assert api.publish("fresh:s", b"1").status == 404, "a namespace takes a restart"
        metrics = api.metrics()
        assert metrics['longwire_config_reloads_total{result="ok"}'] == 1
        assert metrics['longwire_config_reloads_total{result="failed"}'] == 0
        assert abs(metrics["longwire_config_loaded_timestamp_seconds"] - time.time()) < 3600


def test_limits_hold_for_those_who_are_there_already():
    with Reloadable(BASE) as server, contextlib.closing(Api(server.url, OPS)) as api, \
            contextlib.closing(Api(server.url, OPS)) as more:
        link, things = ws_of(server, OPS)
        server.reload("channels_per_connection_max = 1\nbatch_messages_max = 1\nconnections_max = 2\n" + BASE)
        for name in ("topic:a", "topic:b"):
            link.say({"type": "subscribe", "channel": name})
        assert [next(things)["type"], next(things)["type"]] in (["subscribed", "error"], ["error", "subscribed"])
        message = {"channel": "topic:a", "data": "x"}
        assert api.call("POST", "/v1/messages", b'{"messages":[{"channel":"topic:c","data":1},'
                        b'{"channel":"topic:c","data":2}]}', {"Content-Type": "application/json"}).status == 413
        assert api.batch([message])[0]["status"] == 201
        follow = "/v1/subscribe?channel=topic:a&wait=1"
        assert more.get(follow).status == 503
        server.reload("connections_max = 9\n" + BASE)
        assert more.get(follow).status == 200
        link.close()


def test_a_higher_rate_helps_those_who_come_then():
    """Who was let in at the old rate is not in their way: at one a second, a burst of 200 would be for 200 s."""
    rate = "loops = 1\nadmissions_burst = 400\nadmissions_per_s = {}\n" + BASE
    with Reloadable(rate.format(1)) as server, contextlib.closing(Api(server.url, OPS)) as api:
        come = lambda: api.get("/v1/subscribe?channel=topic:a&wait=0").status
        came = list(itertools.takewhile(lambda status: status == 200, (come() for _ in range(1000))))
        assert 200 <= len(came) < 1000
        server.reload(rate.format(1000))
        wait_until(lambda: come() == 200)


# --- what must not change anything ------------------------------------------------------------------------------------

def assert_nothing_changed(server, api, reader, said, want):
    assert re.search(want, said), said
    assert OLD not in server.log()
    head = reader.head(PRIVATE)
    assert api.publish(PRIVATE, b"after").status == 201
    with contextlib.closing(Api(server.url, NEW)) as stranger:
        assert stranger.publish(PRIVATE, b"x").status == 401
    with contextlib.closing(Api(server.url)) as nobody:
        assert nobody.publish(PRIVATE, b"x").status == 401
    reader.wait_head(PRIVATE, head + 1)
    assert reader.breaks == []


BROKEN = [
    ("origin = x\n", r"longwired\.conf:2: origin: there is no such setting"),
    ("pipeline_max = 0\n", r"longwired\.conf:2: pipeline_max: must be a number from 1 to 10000.*faults=1"),
    ("\n\nwhatever\nloops = 65\n", r"longwired\.conf:\d: .*faults=2"),
    ("poll_wait_s = 50\npoll_wait_s_max = 40\n", r"poll_wait_s must not be above poll_wait_s_max"),
]


def test_a_broken_file_changes_nothing():
    """Threat 25."""
    good = BASE + key("old", OLD)
    with Reloadable(good) as server, Reader(server.url, "ws", [PRIVATE], headers=bearer(OLD)) as reader, \
            contextlib.closing(Api(server.url, OLD)) as api, contextlib.closing(Api(server.url, OPS)) as ops:
        assert api.publish(PRIVATE, b"before").status == 201
        reader.wait_head(PRIVATE, 1)
        for text, want in BROKEN:
            server.write("log_level = debug\n" + text + key("new", NEW))
            assert_nothing_changed(server, api, reader, server.reload_refused(), want)
        server.write("log_level = debug\n")
        assert_nothing_changed(server, api, reader, server.reload_refused(), "there is no .key., .jwt. and .connect_hook. any more")
        server.config_path.unlink()
        assert_nothing_changed(server, api, reader, server.reload_refused(),
                               r"longwired\.conf: can't be read: No such file or directory")
        os.mkfifo(server.config_path)
        assert_nothing_changed(server, api, reader, server.reload_refused(), "is no regular file")
        server.config_path.unlink()
        server.config_path.mkdir()
        assert_nothing_changed(server, api, reader, server.reload_refused(), "is no regular file")
        server.config_path.rmdir()
        server.config_path.touch()
        assert_nothing_changed(server, api, reader, server.reload_refused(), "there is no .key., .jwt. and .connect_hook. any more")
        metrics = ops.metrics()
        assert metrics['longwire_config_reloads_total{result="failed"}'] == len(BROKEN) + 5
        assert metrics['longwire_config_reloads_total{result="ok"}'] == 0
        server.reload(good)


def test_without_a_descriptor_to_read_it_nothing_changes():
    """Threat 25, CVE-2017-7652: a file that can't be opened does not count as an empty file."""
    with Reloadable(BASE + key("old", OLD)) as server, \
            Reader(server.url, "ws", [PRIVATE], headers=bearer(OLD)) as reader, \
            contextlib.closing(Api(server.url, OLD)) as api:
        assert api.publish(PRIVATE, b"before").status == 201
        reader.wait_head(PRIVATE, 1)
        server.write(BASE + key("new", NEW))
        limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        said = server.reload_refused()
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
        assert_nothing_changed(server, api, reader, said, r"longwired\.conf: can't be read: Too many open files")


def test_what_waits_for_a_restart_must_go_with_what_does_not():
    """The new file is valid for a start, but with the namespace's current limits some payloads could not be published
    any more."""
    with Reloadable(BASE + "[namespace topic]\npayload_bytes_max = 8M\n") as server:
        server.write("publish_waiting_bytes_max = 4M\n" + BASE + "[namespace topic]\npayload_bytes_max = 1M\n")
        assert "namespace topic" in server.reload_refused()


def test_flags_and_variables_still_beat_the_file():
    with Reloadable(BASE, flags=["--history-limit-max", "5"], env={"LONGWIRE_BATCH_MESSAGES_MAX": "7"}) as server:
        said = server.reload("history_limit_max = 9\nbatch_messages_max = 9\npipeline_max = 9\n" + BASE)
        assert "changed=pipeline_max" in said


def test_from_no_keys_to_keys_those_inside_come_again():
    with Reloadable("", flags=["--heartbeat-s", "1"]) as server, contextlib.closing(Api(server.url)) as api:
        link = WebSocket(server.url)
        things = link.objects()
        assert next(things)["type"] == "connected"
        assert "changed=nothing" in server.hang_up()[1]
        assert api.publish(PRIVATE, b"1").status == 201
        server.reload(BASE)
        assert api.publish(PRIVATE, b"2").status == 401
        assert [thing["type"] for thing in things] == ["reconnect"]
        assert link.close_code == 1008
        link.close()


# --- many, and at odd moments ---------------------------------------------------------------------------------------------

def publish_until(stop, server, secret, channel, answered, failures):
    with contextlib.closing(Api(server.url, secret)) as api:
        for number in itertools.count():
            if stop.is_set():
                return
            answer = api.publish(channel, str(number).encode())
            (answered if answer.status == 201 else failures).append(answer.status)


def test_a_storm_of_reloads_under_load():
    """Threat 24: every loop is at work, keys come and go, and not one publish or message is lost."""
    with Reloadable(BASE + key("old", OLD), flags=["--loops", "4"]) as server, contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reader(server.url, transport, ["topic:storm"], headers=bearer(OLD)))
                   for transport in ("ws", "sse", "ndjson", "multipart")]
        answered, failures, stop = [], [], threading.Event()
        threads = [threading.Thread(target=publish_until, args=(stop, server, OLD, "topic:storm", answered, failures))
                   for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            server.wait_for(lambda: len(answered) > 10)
            for round_ in range(30):
                server.write(f"pipeline_max = {100 + round_}\n" + BASE + key("old", OLD) +
                             key(f"k{round_}", f"secret-number-{round_:06}"))
                for _ in range(20):
                    server.process.send_signal(signal.SIGHUP)
                goal = len(answered) + 5
                server.wait_for(lambda: len(answered) >= goal or failures)
            server.write(BASE + key("old", OLD) + key("new", NEW))
            with contextlib.closing(Api(server.url, NEW)) as api:
                def is_let_in():  # the last of the storm may have read the file before it was written
                    server.process.send_signal(signal.SIGHUP)
                    return api.publish("topic:end", b"x").status == 201
                wait_until(is_let_in)
        finally:
            stop.set()
            for thread in threads:
                thread.join(SECONDS)
        assert failures == []
        for reader in readers:
            reader.wait_head("topic:storm", len(answered))
            assert [event.seq for event in reader.messages("topic:storm")] == list(range(1, len(answered) + 1))
            assert reader.breaks == [], reader.transport
        assert "reload_failed" not in server.log()


def test_a_reload_while_it_stops_is_ignored():
    """Threat 24."""
    with Reloadable(BASE) as server:
        for _ in range(50):
            server.process.send_signal(signal.SIGHUP)
        process = server.terminate()
        with contextlib.suppress(ProcessLookupError):
            for _ in range(50):
                process.send_signal(signal.SIGHUP)
        server.wait_stopped(process)


# --- issuers ---------------------------------------------------------------------------------------------------------

ISSUED, OTHER = "a-secret-of-the-issuer-0123456789", "another-secret-of-the-issuer-0123456789"


def ann(secret):
    return jwt.encode({"sub": "ann", "exp": time.time() + 600}, secret, "HS256")


def test_users_stay_while_their_key_is_there():
    """A section more, another leeway, another place in the file: ann stays. Another secret, or no section: she is sent away,
    and her token is refused (decision 44)."""
    def app(secret, more=""):
        return f"[jwt app]\nsecret = {secret}\n{more}"

    more = f"[jwt more]\nsecret = {OTHER}\n"
    with Reloadable(BASE + app(ISSUED), flags=["--heartbeat-s", "1"]) as server:
        with contextlib.closing(WebSocket(server.url, bearer(ann(ISSUED)), path="/v1/ws?channel=user:ann")) as link, \
                contextlib.closing(Api(server.url, ann(ISSUED))) as api, \
                contextlib.closing(Api(server.url, ann(OTHER))) as other:
            things = link.objects()
            assert [next(things)["type"], next(things)["type"]] == ["connected", "subscribed"]
            for config in (more + app(ISSUED), app(ISSUED, "leeway_s = 5\nalgorithms = HS256, HS512\n") + more):
                assert "jwt" in server.reload(BASE + config)
                assert api.get("/v1/channels/user:ann/messages").status == 200
                assert other.get("/v1/channels/user:ann/messages").status == 200
                link.say({"type": "ping", "ref": 1})
                assert next(things)["type"] == "pong"
            assert "jwt app changed" in server.reload(BASE + app(OTHER))
            assert api.get("/v1/channels/user:ann/messages").status == 401
            assert [thing["type"] for thing in things if thing["type"] != "ping"] == ["reconnect"]
            assert link.close_code == 1008
        server.write(app(ISSUED, "algorithms = RS256\n"))
        assert "but `algorithms` says RS256" in server.reload_refused()
