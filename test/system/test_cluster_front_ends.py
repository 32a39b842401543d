"""haproxy and nginx in front of three nodes, with exactly the configurations of docs/cluster.md: publishing and following go on while a
node is killed. The configuration of keepalived is checked by keepalived itself; compose.cluster.yaml is read."""
import contextlib
import http.client
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

import postgres_server
from cluster import Cluster, Follower
from longwire_client import BROKEN_LINK, Api
from longwire_server import ROOT, free_port, is_built
from redis_server import is_installed
from waiting import SECONDS, wait_until

pytestmark = pytest.mark.skipif(not is_built() or not is_installed() or postgres_server.binaries() is None,
                                reason="no longwired is built, or PostgreSQL or Redis are not installed")

# haproxy gives a node up after two checks, which are two seconds apart.
GIVEN_UP_SECONDS = 6
KEEPALIVED = shutil.which("keepalived") or "/usr/sbin/keepalived"


def interfaces():
    """Those on which it may keep an address."""
    return sorted(path.name for path in pathlib.Path("/sys/class/net").iterdir() if path.name != "lo")


PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")


def snippet(language):
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    assert len(found) == 1, language
    return found[0]


def with_ports(text, ports):
    """Each port of the page in the place of another one."""
    for before in ports:
        assert f":{before}" in text or f"port {before}" in text, before
    return re.sub(r"(127\.0\.0\.1:|port )(\d+)", lambda found: f"{found[1]}{ports[int(found[2])]}", text)


class FrontEnd:
    """One proxy process in front of the cluster."""

    def __init__(self, name, cluster):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="longwire-front-end-"))
        self.port, self.native_port = free_port(), free_port()
        ports = {8080: self.port}
        ports |= {8081 + at: node.port for at, node in enumerate(cluster.nodes)}
        if name == "haproxy":
            ports |= {7400: self.native_port, **{7401 + at: node.tcp_port for at, node in enumerate(cluster.nodes)}}
            (self.home / "haproxy.cfg").write_text(with_ports(snippet("haproxy"), ports))
            self.command = ["/usr/sbin/haproxy", "-db", "-f", self.home / "haproxy.cfg"]
        else:
            folders = "".join(f"{kind}_temp_path {self.home}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            (self.home / "nginx.conf").write_text(
                f"daemon off;\n{'user root;' if os.geteuid() == 0 else ''}\npid {self.home}/pid;\nerror_log {self.home}/error.log;\nevents {{}}\n"
                f"http {{\naccess_log off;\n{folders}{with_ports(snippet('nginx'), ports)}}}\n")
            self.command = ["/usr/sbin/nginx", "-p", self.home, "-c", self.home / "nginx.conf"]
        self.url = f"http://127.0.0.1:{self.port}"

    def serves(self):
        assert self.process.poll() is None, "the proxy has ended"
        with contextlib.suppress(OSError, http.client.HTTPException):
            api = Api(self.url)
            return api.get("/readyz/read").status == 200
        return False

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stderr=subprocess.STDOUT)
        wait_until(self.serves)
        return self

    def workers(self):
        return pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii").split()

    def mark_down(self, port):
        """Writes `down` into nginx's line of this node, and reloads."""
        path, before = self.home / "nginx.conf", self.workers()
        text = path.read_text(encoding="utf-8")
        assert f"127.0.0.1:{port} max_fails" in text
        path.write_text(text.replace(f"127.0.0.1:{port} ", f"127.0.0.1:{port} down "), encoding="utf-8")
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: set(self.workers()) - set(before))

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)


@pytest.fixture(name="cluster", scope="module")
def fixture_cluster():
    with Cluster() as cluster:
        yield cluster


def publish_until_stored(api, channel, text):
    """With its key, as a back end does it."""
    def is_stored():
        with contextlib.suppress(*BROKEN_LINK):
            return api.publish(channel, text.encode(), media="text/plain", key=text).status in (200, 201)
        return False
    wait_until(is_stored)


@pytest.mark.parametrize("name", ["haproxy", "nginx"])
def test_a_node_is_killed_behind_the_proxy(cluster, name):
    """Threat 37: followers by way of the proxy miss nothing and get nothing twice."""
    cluster.wait_whole()
    channel = f"topic:{name}"
    with FrontEnd(name, cluster) as front, contextlib.ExitStack() as stack:
        followers = [stack.enter_context(Follower(f"{transport}{at}", [front.url], transport, [channel], after=0))
                     for at, transport in enumerate(("ws", "sse", "ndjson", "poll", "ws", "sse"))]
        api = Api(front.url)
        for number in range(40):
            if number == 20:
                cluster.nodes[1].kill()
            publish_until_stored(api, channel, f"{number}")
        wanted = [f"{number}".encode() for number in range(40)]
        for follower in followers:
            follower.wait_for_payload(channel, wanted[-1])
            seen = [event.payload for event in follower.messages(channel)]
            assert seen == wanted, (follower.name, seen)
        api.close()
    cluster.nodes[1].start()
    cluster.wait_whole()


def events_begin(front, channel):
    """The status with which an EventSource is answered."""
    link = http.client.HTTPConnection("127.0.0.1", front.port, timeout=SECONDS)
    with contextlib.closing(link):
        link.request("GET", f"/v1/subscribe?channel={channel}", headers={"Accept": "text/event-stream"})
        return link.getresponse().status


@contextlib.contextmanager
def postgres_away(cluster, how):
    """Stopped it refuses connections; paused it says nothing, as behind a cable that was pulled."""
    if how == "paused":
        cluster.postgres.pause()
    else:
        cluster.postgres.stop_hard()
    try:
        wait_until(lambda: not any(is_ready(node) for node in cluster.nodes))
        yield
    finally:
        if how == "paused":
            cluster.postgres.resume()
        else:
            cluster.postgres.start()


def is_ready(node):
    with contextlib.closing(node.api()) as api:
        return api.get("/readyz/read").status == 200


@pytest.mark.parametrize("how", ["stopped", "paused"])
@pytest.mark.parametrize("name", ["haproxy", "nginx"])
def test_what_needs_no_postgresql_goes_on_behind_the_proxy_threat_41(cluster, name, how):
    """All nodes say that they are not ready. A proxy must not take them for gone: links stay, memory channels go on, and what is refused is
    refused by a node, which says when to come again."""
    cluster.wait_whole()
    channel, payloads = f"live:{name}-{how}", [b"before"]
    with FrontEnd(name, cluster) as front, contextlib.closing(Api(front.url)) as api, \
            Follower("ws", [front.url], "ws", {channel: 0}, silence_s=SECONDS) as links, \
            Follower("sse", [front.url], "sse", {channel: 0}, silence_s=SECONDS) as events:
        followers = (links, events)
        publish_until_stored(api, channel, "before")
        for follower in followers:
            follower.wait_for_payload(channel, b"before")
        with postgres_away(cluster, how):
            until = time.monotonic() + GIVEN_UP_SECONDS
            while time.monotonic() < until:
                payloads.append(str(len(payloads)).encode())
                assert api.publish(channel, payloads[-1]).status == 201
                for answer in (api.get("/v1/channels/topic:any/messages"), api.publish("topic:any", b"x")):
                    assert answer.status == 503 and "Retry-After" in answer.headers, answer
                assert events_begin(front, channel) == 200
        for follower in followers:
            follower.wait_for_payload(channel, payloads[-1])
            assert [event.payload for event in follower.messages(channel)] == payloads
            assert follower.breaks == []
        publish_until_stored(api, "topic:any", "behind")
    cluster.wait_whole()


def test_a_node_that_is_down_for_nginx_may_be_drained_threat_45(cluster):
    """Else nginx would choose it for each client that comes again, because it has the fewest."""
    cluster.wait_whole()
    channel, node = "topic:down", cluster.nodes[0]
    with FrontEnd("nginx", cluster) as front, contextlib.ExitStack() as stack:
        followers = [stack.enter_context(Follower(f"follower{at}", [front.url], "ws", {channel: 0})) for at in range(6)]
        api = Api(cluster.nodes[1].url)
        publish_until_stored(api, channel, "before")
        for follower in followers:
            follower.wait_for_payload(channel, b"before")
        assert node.metrics()['longwire_sessions{transport="websocket"}'] > 0
        front.mark_down(node.port)
        with contextlib.closing(node.api()) as own:
            assert own.call("POST", f"/v1/nodes/{node.name}/drain", b'{"seconds":1}', {"Content-Type": "application/json"}).status == 202
        wait_until(lambda: "may be stopped" in node.readiness(), node.readiness)
        publish_until_stored(api, channel, "behind")
        for follower in followers:
            follower.wait_for_payload(channel, b"behind")
            assert [event.payload for event in follower.messages(channel)] == [b"before", b"behind"]
        api.close()
    node.stop()
    node.start()
    cluster.wait_whole()


def test_haproxy_carries_the_native_protocol(cluster):
    cluster.wait_whole()
    with FrontEnd("haproxy", cluster) as front:
        tool = pathlib.Path(postgres_server.longwire_server.LONGWIRE)
        server = f"lw://127.0.0.1:{front.native_port}"
        done = subprocess.run([tool, "-s", server, "pub", "topic:native", "by way of haproxy"], capture_output=True, text=True,
                              timeout=SECONDS, check=True)
        assert done.stdout.startswith("topic:native 1 ")


def keepalived_says(path, text):
    """What it says against a configuration. Debian's keepalived 2.2.7 ends its check with SIGTERM to itself, whatever it found."""
    path.write_text(text)
    done = subprocess.run([KEEPALIVED, "--config-test", "--log-console", "-f", path], capture_output=True, text=True, timeout=SECONDS,
                          check=False)
    assert done.returncode in (0, 1, 2, 3, 4, 5, -signal.SIGTERM), done
    return "\n".join(line for line in (done.stdout + done.stderr).splitlines() if "Line" in line or "onfiguration" in line)


@pytest.mark.skipif(not pathlib.Path(KEEPALIVED).exists() or not interfaces(), reason="keepalived or an interface is not there")
def test_keepalived_takes_its_configuration(tmp_path):
    text = snippet("keepalived").replace("interface eth0", f"interface {interfaces()[0]}")
    assert keepalived_says(tmp_path / "good", text) == ""
    assert "virtual_router_idd" in keepalived_says(tmp_path / "bad", text.replace("virtual_router_id ", "virtual_router_idd "))


def test_the_compose_file_names_what_there_is():
    """No YAML reader is needed to see that its services, secrets and settings belong together."""
    text = (ROOT / "compose.cluster.yaml").read_text(encoding="utf-8")
    services = set(re.findall(r"^  ([a-z0-9]+):$", text.split("\nservices:\n")[1].split("\nsecrets:\n")[0], re.M))
    assert {"postgres", "redis", "init", "web1", "web2", "web3"} <= services
    for name in re.findall(r"condition: \w+|depends_on: \[(.*?)\]", text):
        assert not name or set(name.split(", ")) <= services
    settings = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for name in re.findall(r"LONGWIRE_([A-Z_]+)", text):
        assert f"`{name.lower()}`" in settings or name in ("STORE", "CLUSTER"), name
