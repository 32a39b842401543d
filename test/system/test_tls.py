"""TLS on `https` and `tcps`: certificates made here, and clients that were written elsewhere (threats 52, 108, 110)."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import xml.etree.ElementTree

import pytest

from client_driver import JAVASCRIPT, NODE, Driver
from longwire_client import TRANSPORTS, Api, Reader, WebSocket, trust
from longwire_server import LONGWIRE, LONGWIRED, Server, free_port, is_built
from native_wire import NativeClient
from strace_server import needs_strace
from waiting import SECONDS, wait_until

pytestmark = [
    pytest.mark.skipif(not is_built(), reason="no longwired is built"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl"),
]


class Certificates:
    """A folder with an authority and what it has signed."""

    def __init__(self, home):
        self.home = pathlib.Path(home)
        self.authority = self.pem("authority")
        self.openssl("req", "-x509", *self.new_key("authority"), "-out", self.authority, "-days", "30", "-subj", "/CN=authority",
                     "-addext", "basicConstraints=critical,CA:TRUE")

    def openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def pem(self, name):
        return self.home / f"{name}.pem"

    def key(self, name):
        return self.home / f"{name}.key"

    def new_key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key(name)]

    def make(self, name, san, subject=None):
        """A certificate of the authority, and its key."""
        request = self.home / f"{name}.req"
        extension = self.home / f"{name}.ext"
        extension.write_text(f"subjectAltName={san}\n")
        self.openssl("req", "-new", *self.new_key(name), "-out", request, "-subj", subject or f"/CN={name}")
        self.openssl("x509", "-req", "-in", request, "-CA", self.authority, "-CAkey", self.key("authority"), "-CAcreateserial",
                     "-out", self.pem(name), "-days", "30", "-extfile", extension)
        return self

    def context(self, shows=None):
        """A client's, which trusts the authority, and shows one of its certificates."""
        context = ssl.create_default_context(cafile=self.authority)
        if shows is not None:
            context.load_cert_chain(self.pem(shows), self.key(shows))
        return context

    def section(self, name, more=""):
        return f"[tls {name}]\ncertificate = {self.pem(name)}\nkey = {self.key(name)}\n{more}"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    made.openssl("req", "-x509", *made.new_key("foreign"), "-out", made.pem("foreign"), "-days", "30", "-subj", "/CN=ann")
    return made.make("local", "DNS:localhost,IP:127.0.0.1").make("renewed", "DNS:localhost,IP:127.0.0.1") \
        .make("other", "DNS:other.example,DNS:*.wild.example").make("ann", "email:ann@example.com") \
        .make("unnamed", "email:x@example.com", subject="/O=nobody")


class TlsServer(Server):
    """A server with `https` and `tcps`; `sections`: the text of its configuration from the first [tls NAME] on."""

    def __init__(self, sections, flags=(), **more):
        self.https_port, self.tcps_port = free_port(), free_port()
        super().__init__(config=sections, flags=["--store", "memory", "--tcp", "127.0.0.1:0",
                                                 "--https", f"127.0.0.1:{self.https_port}",
                                                 "--tcps", f"127.0.0.1:{self.tcps_port}", *flags], **more)

    @property
    def https(self):
        return f"https://localhost:{self.https_port}"


def curl(certificates, *arguments, **more):
    return subprocess.run(["curl", "-sS", "--max-time", str(SECONDS), "--cacert", str(certificates.authority), *map(str, arguments)],
                          capture_output=True, text=True, **more)


def test_curl_publishes_and_another_follows(certificates):
    with TlsServer(certificates.section("local")) as server:
        follow = subprocess.Popen(["curl", "-sSN", "--cacert", str(certificates.authority), "-H", "Accept: text/event-stream",
                                   f"{server.https}/v1/subscribe?channel=topic:a&after=0"], stdout=subprocess.PIPE, text=True)
        try:
            told = curl(certificates, "-d", "Hello", f"{server.https}/v1/channels/topic:a/messages")
            assert json.loads(told.stdout)["seq"] == 1, told
            line = next(line for line in follow.stdout if '"data":"Hello"' in line)
            assert json.loads(line.removeprefix("data: "))["seq"] == 1
        finally:
            follow.kill()
            follow.wait()
        plain = curl(certificates, "-i", f"http://localhost:{server.https_port}/healthz")
        assert plain.stdout.startswith("HTTP/1.1 400 ") and "https://" in plain.stdout
        wait_until(lambda: "event=tls_handshake_failed reason=plain" in server.log(), server.log)


# --- every transport, and the clients ------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def served(certificates):
    trust(certificates.context())
    with TlsServer(certificates.section("local") + certificates.section("other")) as server:
        yield server


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_each_transport_follows_and_resumes(served, transport):
    channel = f"topic:{transport}"
    with contextlib.closing(Api(served.https)) as api, Reader(served.https, transport, [channel]) as reader:
        for i in range(20):
            assert api.publish(channel, b"%d" % i).status == 201
            if i % 5 == 2:
                reader.wait_head(channel, i + 1)
                with reader.place.lock:
                    reader.place.sock.shutdown(socket.SHUT_RDWR)  # cut: no close_notify
        reader.wait_head(channel, 20)
        assert [message.payload for message in reader.messages(channel)] == [b"%d" % i for i in range(20)]


def test_the_native_protocol_follows_and_resumes(served, certificates):
    with contextlib.closing(Api(served.https)) as api:
        api.publish("topic:n", b"one")
        with NativeClient(served.tcps_port, tls=certificates.context()) as client:
            client.send({"type": "subscribe", "channel": "topic:n", "after": 0})
            client.expect("subscribed")
            first = client.expect("full", "message")
            assert first["payload"] == "one"
        api.publish("topic:n", b"two")
        with NativeClient(served.tcps_port, tls=certificates.context()) as client:
            client.send({"type": "subscribe", "channel": "topic:n", "after": first["seq"], "epoch": first["epoch"]})
            client.expect("subscribed")
            assert client.expect("full", "message")["payload"] == "two"


def test_the_tool_follows_over_tls(served, certificates):
    env = {**os.environ, "SSL_CERT_FILE": str(certificates.authority)}
    with contextlib.closing(Api(served.https)) as api:
        api.publish("topic:tool", b"one")
        told = subprocess.run([str(LONGWIRE), "sub", "topic:tool", "--server", f"tls://localhost:{served.tcps_port}", "--after", "0",
                               "-n", "1"], env=env, capture_output=True, text=True, timeout=SECONDS)
        assert "one" in told.stdout, told


@pytest.mark.skipif(NODE is None, reason="no node")
@pytest.mark.parametrize("transport", ["websocket", "sse"])
def test_the_javascript_client_follows_over_tls(served, certificates, monkeypatch, transport):
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(certificates.authority))
    monkeypatch.setenv("NODE_OPTIONS", "--dns-result-order=ipv4first")  # Node 18 tries one address only
    channel = f"topic:js-{transport}"
    with contextlib.closing(Api(served.https)) as api, \
            Driver(JAVASCRIPT, served.https, {channel: {"after": 0}}, transports=[transport]) as client:
        api.publish(channel, b"one")
        client.until_count(channel, 1)
        assert client.texts(channel) == ["one"]


def test_a_slow_reader_gets_everything_once(served):
    """What does not fit into the socket is read from the log again, record by record."""
    body = json.dumps({"messages": [{"channel": "topic:slow", "data": "x" * 4000}] * 500})
    with contextlib.closing(Api(served.https)) as api, \
            contextlib.closing(WebSocket(served.https, receive_buffer=4096)) as link:
        link.say({"type": "subscribe", "channel": "topic:slow", "after": 0})
        for _ in range(4):
            assert api.call("POST", "/v1/messages", body, {"Content-Type": "application/json"}).status == 200
        seqs = []
        for thing in link.objects():
            if thing["type"] == "message":
                seqs.append(thing["seq"])
                if len(seqs) == 2000:
                    break
        assert seqs == list(range(1, 2001))


def test_allocate_names_https_where_it_was_asked(served):
    with contextlib.closing(Api(served.https)) as api:
        node = api.get("/v1/allocate").json["nodes"][0]
        assert node["https"] == served.https and "http" not in node


# --- handshakes -----------------------------------------------------------------------------------------------------

def shake(served, context, name, session=None):
    """A connection with this name, behind one request; what its peer said, and what can be resumed of it."""
    with socket.create_connection(("127.0.0.1", served.https_port), timeout=SECONDS) as plain, \
            context.wrap_socket(plain, server_hostname=name, session=session) as link:
        link.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert link.recv(4096).startswith(b"HTTP/1.1 200 ")
        while link.recv(4096):
            pass  # the end comes with close_notify; without it this raises
        return link.getpeercert()["subject"][0][0][1], link.session, link.session_reused


def test_versions_names_and_sessions(served, certificates):
    """Threat 110."""
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        old = certificates.context()
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = old.maximum_version = version
        with pytest.raises(OSError):
            shake(served, old, "localhost")
    wait_until(lambda: served.log().count("reason=version") == 2, served.log)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = certificates.context()
        context.minimum_version = context.maximum_version = version
        assert shake(served, context, "a.wild.example")[0] == "other"
        name, session, is_reused = shake(served, context, "localhost")
        assert (name, is_reused) == ("local", False)
        assert shake(served, context, "localhost", session)[2] is True
        assert shake(served, context, "other.example", session)[::2] == ("other", False)


@pytest.mark.skipif(shutil.which("sslscan") is None, reason="no sslscan")
def test_a_scanner_finds_nothing(served):
    """Threat 110: sslscan, which tries each version and cipher by itself."""
    for port in (served.https_port, served.tcps_port):
        done = subprocess.run(["sslscan", "--xml=-", f"localhost:{port}"], capture_output=True, text=True, timeout=SECONDS, check=True)
        found = xml.etree.ElementTree.fromstring(done.stdout).find("ssltest")
        spoken = {f"{one.get('type')} {one.get('version')}" for one in found.findall("protocol") if one.get("enabled") == "1"}
        assert spoken == {"tls 1.2", "tls 1.3"}
        assert {one.get("sslversion") for one in found.findall("cipher")} == {"TLSv1.2", "TLSv1.3"}
        weak = ("NULL", "RC4", "3DES", "DES-", "EXP", "MD5", "anon", "ADH", "AECDH")
        assert not [one.get("cipher") for one in found.findall("cipher") if any(word in one.get("cipher") for word in weak)]
        assert found.find("renegotiation").get("supported") == "0"
        assert not [one for one in found.findall("heartbleed") if one.get("vulnerable") == "1"]


def test_silent_strangers_hold_nobody_up(certificates):
    """Threat 52: more of them than have a place; they make room for whoever speaks, and are closed in time."""
    trust(certificates.context())
    config = "tls_handshakes_max = 8\ntls_handshake_s = 2\n" + certificates.section("local")
    with TlsServer(config, flags=["--loops", "1"]) as server, contextlib.ExitStack() as stack:
        strangers = [stack.enter_context(socket.create_connection(("127.0.0.1", server.https_port))) for _ in range(20)]
        strangers[-1].sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")  # the beginning of a hello, and no more
        with contextlib.closing(Api(server.https)) as api, contextlib.closing(Api(server.url)) as plain:
            assert api.publish("topic:a", b"one").status == 201
            for stranger in strangers:
                stranger.settimeout(SECONDS)
                with contextlib.suppress(ConnectionResetError):
                    assert stranger.recv(1) == b""
            failed = "longwire_tls_handshakes_failed_total"
            metrics = plain.metrics()
            assert metrics[failed + '{reason="crowd"}'] + metrics[failed + '{reason="timeout"}'] == 20
            assert metrics[failed + '{reason="timeout"}'] > 0 and metrics[failed + '{reason="crowd"}'] > 0
            assert metrics["longwire_tls_connections"] == 1
            assert metrics['longwire_tls_handshakes_total{version="1.3"}'] == 1
            assert metrics["longwire_tls_handshakes_under_way"] == 0


@needs_strace
def test_a_client_that_keeps_its_end_open_costs_nothing(served, certificates, tmp_path):
    """Threat 110: the server has said goodbye, and waits a while for the client's. Each shutdown() of a socket makes it writable anew: the
    loop must not answer that by another one."""
    trace = tmp_path / "trace"
    tracer = subprocess.Popen(["strace", "-f", "-p", str(served.pid), "-e", "trace=shutdown", "-o", trace], stderr=subprocess.PIPE,
                              text=True)
    try:
        assert "attached" in tracer.stderr.readline()
        with socket.create_connection(("127.0.0.1", served.https_port), timeout=SECONDS) as plain, \
                certificates.context().wrap_socket(plain, server_hostname="localhost") as link:
            link.sendall(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            while link.recv(65536):
                pass
            with Reader(served.https, "sse", ["topic:after"]) as reader:   # some turns of the loops
                assert Api(served.https).publish("topic:after", b"one").status == 201
                reader.wait_head("topic:after", 1)
    finally:
        tracer.terminate()
        tracer.communicate()
    calls = trace.read_text().count("shutdown(")
    assert 1 <= calls <= 4, calls


def test_a_stop_does_not_wait_for_strangers(certificates):
    config = "tls_handshake_s = 3600\nstop_timeout_s = 3600\n" + certificates.section("local")
    with TlsServer(config, flags=["--loops", "1"]) as server, \
            socket.create_connection(("127.0.0.1", server.https_port)) as stranger, contextlib.closing(Api(server.url)) as plain:
        wait_until(lambda: plain.metrics()["longwire_tls_handshakes_under_way"] == 1, server.log)
        plain.close()
        server.stop()
        assert stranger.recv(1) == b""


# --- certificates ---------------------------------------------------------------------------------------------------

def served_serial(server):
    return ssl.get_server_certificate(("127.0.0.1", server.https_port))


def test_a_reload_changes_the_certificate_and_drops_no_link(certificates, tmp_path):
    """Threat 110: a good one is served from then on; a broken one changes nothing, and is said with its file."""
    trust(certificates.context())
    files = {end: tmp_path / f"live{end}" for end in (".pem", ".key")}

    def put(name):
        for end, path in files.items():
            shutil.copy(certificates.home / f"{name}{end}", path)

    put("local")
    section = f"[tls live]\ncertificate = {files['.pem']}\nkey = {files['.key']}\n"
    with TlsServer(section) as server, contextlib.closing(Api(server.https)) as api, Reader(server.https, "ws", ["topic:a"]) as reader:
        api.publish("topic:a", b"one")
        reader.wait_head("topic:a", 1)
        first = served_serial(server)

        put("renewed")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "event=reloaded changed=certificates" in server.log(), server.log)
        second = served_serial(server)
        assert second != first and second.strip() == certificates.pem("renewed").read_text().strip()

        files[".pem"].write_text("no certificate\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: f"[tls live]: certificate: {files['.pem']}: holds no certificate in PEM" in server.log(), server.log)
        assert "event=reload_failed" in server.log()
        assert served_serial(server) == second

        api.publish("topic:a", b"two")
        reader.wait_head("topic:a", 2)
        assert reader.breaks == []
        assert "PRIVATE KEY" not in server.log()  # threat 108


def test_what_does_not_fit_is_said_at_the_start(certificates, tmp_path):
    rows = {
        "is not the key of the certificate": f"certificate = {certificates.pem('local')}\nkey = {certificates.key('other')}\n",
        "No such file or directory": f"certificate = {tmp_path}/none.pem\nkey = {certificates.key('other')}\n",
        "key must be there": f"certificate = {certificates.pem('local')}\n",
        "belong together": f"certificate = {certificates.pem('local')}\nkey = {certificates.key('local')}\nclient_cert = required\n",
    }
    config = tmp_path / "longwired.conf"
    for what, lines in rows.items():
        config.write_text("https = 127.0.0.1:0\n[tls a]\n" + lines)
        done = subprocess.run([str(LONGWIRED), "--config", str(config), "--check"], capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 2 and what in done.stderr, (what, done)
    config.write_text("https = 127.0.0.1:0\n[tls a]\n" + next(iter(rows.values())))
    done = subprocess.run([str(LONGWIRED), "--config", str(config)], capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 2 and next(iter(rows)) in done.stderr, done
    config.write_text("https = 127.0.0.1:0\n")
    done = subprocess.run([str(LONGWIRED), "--config", str(config), "--check"], capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 2 and "[tls NAME]" in done.stderr


# --- clients' certificates -------------------------------------------------------------------------------------------

KEY = "app-secret-0123456789"
PEOPLE = f"""
[key app]
secret = {KEY}
rights = publish, subscribe, admin
[namespace chat]
subscribe = user
publish = user
"""


def test_a_certificate_is_a_user(certificates):
    """Threat 110: over HTTP, WebSocket and the native protocol; revoked as a token would be."""
    ann = certificates.context(shows="ann")
    section = certificates.section("local", f"client_ca = {certificates.authority}\nclient_cert = optional\nclient_user = cn\n")
    with TlsServer(PEOPLE + section) as server, contextlib.ExitStack() as stack:
        trust(ann)
        api = stack.enter_context(contextlib.closing(Api(server.https)))
        assert api.publish("chat:a", b"hello").status == 201
        with Reader(server.https, "ws", ["chat:a", "user:ann"]) as reader:
            reader.wait_head("chat:a", 1)
            assert reader.messages("chat:a")[0].object["from"] == "user:ann"
            with contextlib.closing(Api(server.url, KEY)) as app:
                app.publish("user:ann", b"to you")
                reader.wait_head("user:ann", 1)
        with NativeClient(server.tcps_port, tls=ann) as native:
            native.send({"type": "publish", "channel": "chat:a", "payload": b"native", "ref": 1})
            native.expect("published")

        # A token that is shown counts, and the certificate does not.
        with contextlib.closing(Api(server.https, KEY)) as app:
            assert app.publish("chat:a", b"by the key").status == 201
            assert [message["from"] for message in app.history_all("chat:a")] == ["user:ann", "user:ann", "app"]
            assert app.call("POST", "/v1/revocations", json.dumps({"user": "ann"}), {"Content-Type": "application/json"}).status == 200
        assert api.publish("chat:a", b"again").status == 401

        trust(certificates.context())
        with contextlib.closing(Api(server.https)) as nobody:
            assert nobody.publish("chat:a", b"hello").status == 401
        for context in (certificates.context(shows="foreign"), certificates.context(shows="unnamed")):
            trust(context)
            with contextlib.closing(Api(server.https)) as refused, pytest.raises(OSError):
                refused.publish("chat:a", b"hello")
        wait_until(lambda: server.log().count("reason=certificate") == 2, server.log)


def test_a_certificate_may_be_required(certificates):
    section = certificates.section("local", f"client_ca = {certificates.authority}\nclient_cert = required\n")
    with TlsServer(PEOPLE + section) as server:
        url = f"{server.https}/v1/channels/chat:a/messages"
        assert curl(certificates, "-d", "x", url).returncode != 0
        shown = curl(certificates, "--cert", certificates.pem("ann"), "--key", certificates.key("ann"), "-d", "x", url)
        assert json.loads(shown.stdout)["seq"] == 1
        wait_until(lambda: "reason=certificate" in server.log(), server.log)
