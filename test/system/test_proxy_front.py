"""The configurations of docs/proxies.md, as they stand there: TLS that passes through nginx and HAProxy with a PROXY header, TLS
that ends there, with HTTP/2 and HTTP/1.1 in front, and the native protocol. Messages arrive singly, and every link has its
client's address (threat 84)."""
import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

import proxies
from longwire_client import WebSocket
from longwire_server import ROOT, Server, free_port, is_built
from native_wire import NativeClient
from test_proxy_protocol import connect, facts
from test_tls import Certificates
from waiting import SECONDS, wait_until
from wire import publish

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

PAGE = (ROOT / "docs" / "proxies.md").read_text()
CLIENT = "127.0.0.9"        # where the clients of these tests come from
PASSED_ON, ENDED = range(2)     # the pieces of the page, in their order


def snippet(language, number):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)[number]


def with_ports(text, ports):
    """The page's ports, replaced by free ones; each has to be there."""
    for before, after in ports.items():
        assert before in text, f"docs/proxies.md lacks {before!r}"
        text = text.replace(before, after)
    return text


class Stand:
    """A server behind one proxy. Ports: of the server, and in front of it."""

    def __init__(self, name, certificates):
        self.name, self.certificates = name, certificates
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="longwire-front-"))
        self.https, self.tcp, self.tcps = free_port(), free_port(), free_port()
        self.front_https, self.front_tcp, self.front_tcps, self.front_ended = (free_port() for _ in range(4))
        key, pem = certificates.key("localhost"), certificates.pem("localhost")
        (self.home / "both.pem").write_bytes(pem.read_bytes() + key.read_bytes())
        config = with_ports(snippet("ini", 1), {"127.0.0.1:8443": f"127.0.0.1:{self.https}", "127.0.0.1:7443": f"127.0.0.1:{self.tcps}",
                                                "127.0.0.1:7400": f"127.0.0.1:{self.tcp}"})
        config += f"trusted_proxies = 127.0.0.1\n[tls local]\ncertificate = {pem}\nkey = {key}\n"
        self.server = Server(config=config, flags=["--tcp", f"127.0.0.1:{self.tcp}"])
        self.process = None

    def passed_on_ports(self):
        return {"127.0.0.1:8443": f"127.0.0.1:{self.https}", "127.0.0.1:7443": f"127.0.0.1:{self.tcps}",
                "127.0.0.1:7400": f"127.0.0.1:{self.tcp}"}

    def haproxy(self):
        passed_on = with_ports(snippet("haproxy", PASSED_ON), {
            **self.passed_on_ports(), "bind :443": f"bind 127.0.0.1:{self.front_https}", "bind :7401": f"bind 127.0.0.1:{self.front_tcp}",
            "bind :7444": f"bind 127.0.0.1:{self.front_tcps}"})
        ended = with_ports(snippet("haproxy", ENDED), {"bind :443": f"bind 127.0.0.1:{self.front_ended}",
                                                       "/etc/ssl/longwire-with-key.pem": str(self.home / "both.pem")})
        plain = with_ports(proxies.snippet("haproxy"), {"127.0.0.1:8080": f"127.0.0.1:{self.server.port}",
                                                        "bind 127.0.0.1:8082\n": f"bind 127.0.0.1:{free_port()}\n{ended}"})
        for name, text in (("passed_on", passed_on), ("ended", plain)):
            (self.home / f"{name}.cfg").write_text(text)
        return [["/usr/sbin/haproxy", "-db", "-f", str(self.home / f"{name}.cfg")] for name in ("passed_on", "ended")]

    def nginx(self):
        stream = with_ports(snippet("nginx", PASSED_ON), {
            **self.passed_on_ports(), "listen 443;": f"listen 127.0.0.1:{self.front_https};",
            "listen 7401;": f"listen 127.0.0.1:{self.front_tcp};", "listen 7444;": f"listen 127.0.0.1:{self.front_tcps};"})
        ended = with_ports(snippet("nginx", ENDED), {"listen 443": f"listen 127.0.0.1:{self.front_ended}",
                                                     "/etc/ssl/longwire.pem": str(self.certificates.pem("localhost")),
                                                     "/etc/ssl/longwire.key": str(self.certificates.key("localhost"))})
        http = with_ports(proxies.snippet("nginx"), {"127.0.0.1:8080": f"127.0.0.1:{self.server.port}", "listen 8081;": ended,
                                                     "/var/log/nginx/": f"{self.home}/"})
        folders = "".join(f"{name}_temp_path {self.home}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.home / "nginx.conf").write_text(
            f"load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\nmaster_process off;\npid {self.home}/pid;\n"
            f"error_log {self.home}/error.log;\nevents {{}}\n{stream}\nhttp {{\n{folders}{http}}}\n")
        return [["/usr/sbin/nginx", "-p", str(self.home), "-c", str(self.home / "nginx.conf")]]

    def reaches(self, port, is_tls=True):
        with contextlib.suppress(OSError), self.link(port, is_tls) as link:
            link.sendall(b"GET /readyz/read HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return b" 200 " in link.makefile("rb").readline()
        return False

    def link(self, port, is_tls=True):
        link = connect(port, CLIENT)
        return self.certificates.context().wrap_socket(link, server_hostname="localhost") if is_tls else link

    def __enter__(self):
        self.server.start()
        self.processes = [subprocess.Popen(command, stderr=subprocess.STDOUT) for command in getattr(self, self.name)()]
        wait_until(lambda: self.reaches(self.front_https) and self.reaches(self.front_ended))
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
        self.server.close()
        shutil.rmtree(self.home, ignore_errors=True)


@pytest.fixture(name="stand", params=proxies.NAMES, scope="module")
def stand_fixture(request, tmp_path_factory):
    certificates = Certificates(tmp_path_factory.mktemp("certificates")).make("localhost", "DNS:localhost,IP:127.0.0.1")
    with Stand(request.param, certificates) as stand:
        yield stand


def fronts(stand):
    return {"TLS passed on": stand.front_https, "TLS ended": stand.front_ended}


@pytest.mark.parametrize("front", ["TLS passed on", "TLS ended"])
def test_a_websocket_has_its_clients_address(stand, front):
    ws = WebSocket("http://127.0.0.1:1", path="/v1/ws?channel=topic:front", link=stand.link(fronts(stand)[front]))
    objects = ws.objects()
    connected = next(objects)
    assert connected["type"] == "connected" and next(objects)["type"] == "subscribed"
    assert facts(stand.server, connected["connection"])["address"] == CLIENT
    publish(stand.server, "topic:front", "through")
    assert next(objects)["data"] == "through"
    ws.close()


@pytest.mark.parametrize("front", ["TLS passed on", "TLS ended"])
@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_an_event_stream_comes_singly(stand, front, version):
    """By curl, over the version of HTTP that proxy and curl agree on."""
    channel = f"topic:{stand.name}-{front.replace(' ', '-')}{version}"
    publish(stand.server, channel, "one")
    command = ["curl", "-sN", version, "--interface", CLIENT, "--cacert", str(stand.certificates.authority), "-H",
               "Accept: text/event-stream", f"https://localhost:{fronts(stand)[front]}/v1/subscribe?channel={channel}&after=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
        try:
            for text in ["one", "two", "three"]:
                if text != "one":
                    publish(stand.server, channel, text)    # only now: what comes was not held back for company
                while text.encode() not in (line := curl.stdout.readline()):
                    assert line, "the stream ended"
        finally:
            curl.kill()


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "TLS"])
def test_the_native_protocol_has_its_clients_address(stand, is_tls):
    with NativeClient(0, link=stand.link(stand.front_tcps if is_tls else stand.front_tcp, is_tls)) as client:
        assert facts(stand.server, client.connected["connection"])["address"] == CLIENT
        client.send({"type": "subscribe", "channel": "topic:front", "ref": 1})
        client.expect("subscribed")
        publish(stand.server, "topic:front", "through")
        assert client.messages(1)[0]["payload"] in ("through", b"through")


def test_secrecy_is_that_of_the_client(stand):
    with stand.link(stand.front_ended) as link:
        link.sendall(b"GET /v1/allocate HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = link.makefile("rb").read()
    assert "https://localhost" in json.dumps(json.loads(answer[answer.index(b"{"):].split(b"\r\n")[0])), answer


def test_health_checks_are_local(stand):
    """HAProxy looks whether the server is there, and says that these connections are its own."""
    if stand.name == "haproxy":
        def local():
            with connect(stand.server.port, "127.0.0.1") as link:
                link.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                text = link.makefile("rb").read().decode()
            return int(text.split('longwire_proxy_headers_total{result="local"} ')[1].split()[0])
        wait_until(lambda: local() > 0)
