"""HTTP/2 with clients that were written elsewhere: curl, nghttp, h2load, httpx, Node's http2, HAProxy before us, and Chromium, whose
WebSockets are streams of the page's own link (RFC 8441)."""
import contextlib
import json
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile

import pytest

from browser import needs_chromium, open_chromium
from client_driver import NODE
from longwire_client import TRANSPORTS, Api, Reader, audit_history, audit_reader
from longwire_server import Server, free_port, is_built
from test_tls import Certificates, TlsServer, curl
from waiting import SECONDS, wait_until
from wire import fresh, history, path_of

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates")).make("local", "DNS:localhost,IP:127.0.0.1")


@pytest.fixture(scope="module")
def server(certificates):
    with TlsServer(certificates.section("local")) as running:
        yield running


def run(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=SECONDS, check=True).stdout


def test_curl_publishes_and_follows_on_one_link(server, certificates):
    channel = fresh()
    told = curl(certificates, "--http2", "-Z", "--no-progress-meter", "-w", "[%{http_version} %{num_connects}]", "-N",
                "-d", "Hello", f"{server.https}{path_of(channel)}/messages",
                "--next", "--cacert", certificates.authority, "--http2", "-w", "[%{http_version} %{num_connects}]",
                f"{server.https}/v1/subscribe?channel={channel}&after=0&wait=20").stdout
    assert told.count("[2 ") == 2 and '"seq":1' in told and '"data":"Hello"' in told, told
    plain = run("curl", "-sS", "--http2-prior-knowledge", "-w", "[%{http_version}]", "-d", "Hello",
                f"{server.url}{path_of(channel)}/messages")
    assert plain.endswith("[2]") and json.loads(plain[:-3])["seq"] == 2
    old = run("curl", "-sS", "--http2", "-w", "[%{http_version}]", "-d", "Hello", f"{server.url}{path_of(channel)}/messages")
    assert old.endswith("[1.1]"), "there is no upgrade to h2c"


@pytest.mark.skipif(shutil.which("nghttp") is None, reason="no nghttp2-client")
def test_nghttp_and_h2load(server, tmp_path):
    channel, body = fresh(), tmp_path / "body"
    body.write_text("Hello")
    for url in (server.url, server.https):
        told = run("nghttp", "-y", "-d", body, f"{url}{path_of(channel)}/messages")
        assert json.loads(told)["seq"] > 0
        loaded = run("h2load", "-n", "2000", "-c", "4", "-m", "50", "-d", body, f"{url}{path_of(channel)}/messages")
        assert "2000 succeeded, 0 failed" in loaded and "2000 2xx" in loaded, loaded
    assert history(server, channel).json()["head"] == 2 * 2001


def test_httpx(server, certificates):
    httpx = pytest.importorskip("httpx")
    channel = fresh()
    with httpx.Client(http2=True, http1=False, timeout=SECONDS) as plain, \
            httpx.Client(http2=True, verify=str(certificates.authority), timeout=SECONDS) as tls:
        for client, url in ((plain, server.url), (tls, server.https)):
            with client.stream("GET", f"{url}/v1/subscribe?channel={channel}&after=0",
                               headers={"Accept": "application/x-ndjson"}) as following:
                assert following.http_version == "HTTP/2"
                said = client.post(f"{url}{path_of(channel)}/messages", content=b"Hello")
                assert said.status_code == 201 and said.http_version == "HTTP/2"
                things = (json.loads(line) for line in following.iter_lines() if line.strip())
                assert next(thing for thing in things if thing.get("seq") == said.json()["seq"])["data"] == "Hello"


NODE_SCRIPT = """
const http2 = require('http2');
const [url, ca, channel, count] = process.argv.slice(1);
/* The server listens on IPv4 alone, and Node 18 tries the first address of localhost only. */
const session = http2.connect(url, { family: 4, ...(ca && { ca: require('fs').readFileSync(ca) }) });
const follow = session.request({ ':path': `/v1/subscribe?channel=${channel}&after=0`, accept: 'application/x-ndjson' });
const got = new Set();
let text = '', answered = 0;
follow.on('data', piece => {
    const lines = (text + piece).split('\\n');
    text = lines.pop();
    for (const line of lines.filter(line => line)) {
        const thing = JSON.parse(line);
        if (thing.type === 'message') got.add(thing.data);
    }
    endIfAllIsHere();
});
/* The last message may be here before the answer to its publish, or after it. */
function endIfAllIsHere() {
    if (got.size == count && answered == count) { console.log(got.size); session.destroy(); }
}
for (let i = 0; i < count; i++) {
    const post = session.request({ ':method': 'POST', ':path': `/v1/channels/${channel}/messages`, 'content-type': 'text/plain' });
    post.on('response', head => { if (head[':status'] === 201) { answered++; endIfAllIsHere(); } else { console.log(head); process.exit(1); } });
    post.resume();
    post.end(`n${i}`);
}
"""


@pytest.mark.skipif(NODE is None, reason="no node")
@pytest.mark.parametrize("is_tls", [False, True])
def test_node(server, certificates, is_tls):
    url, authority = (server.https, certificates.authority) if is_tls else (server.url, "")
    assert run(NODE, "-e", NODE_SCRIPT, url, authority, fresh(), 80).strip() == "80"


HAPROXY = """
defaults
    mode http
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
frontend in
    bind 127.0.0.1:{port}
    default_backend longwire
backend longwire
    server longwire 127.0.0.1:{plain} proto h2 ws h2
"""


class FrontEnd:
    """HAProxy, which speaks HTTP/1.1 to clients and HTTP/2 to the server."""

    def __init__(self, server):
        self.server, self.port = server, free_port()

    def __enter__(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="longwire-haproxy-"))
        (self.home / "cfg").write_text(HAPROXY.format(port=self.port, plain=self.server.port))
        self.process = subprocess.Popen(["/usr/sbin/haproxy", "-db", "-f", str(self.home / "cfg")], stderr=subprocess.DEVNULL)
        wait_until(self.is_there)
        return self

    def is_there(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.home)


@pytest.mark.skipif(not pathlib.Path("/usr/sbin/haproxy").exists(), reason="no haproxy")
def test_haproxy_speaks_http_2_to_us():
    """Every transport, WebSockets by extended CONNECT among them."""
    with Server(flags=["--store", "memory"]) as server, FrontEnd(server) as front:
        url, channel = f"http://127.0.0.1:{front.port}", fresh()
        with contextlib.closing(Api(url)) as api, contextlib.ExitStack() as stack:
            readers = [stack.enter_context(Reader(url, transport, [channel])) for transport in TRANSPORTS]
            for number in range(10):
                assert api.publish(channel, b"%d" % number).status == 201
                for reader in readers:
                    reader.wait_head(channel, number + 1)
            history = audit_history(api, channel, {})
            for reader in readers:
                audit_reader(reader, channel, history)


PAGE = """
const [channel, done] = arguments;
(async () => {
    const versions = [];
    for (let i = 0; i < 2; i++)
        await (await fetch('/healthz?' + i)).text();
    for (const entry of performance.getEntriesByType('resource'))
        if (entry.name.includes('/healthz')) versions.push(entry.nextHopProtocol);
    const sockets = [];
    for (let i = 0; i < 5; i++) {
        const socket = new WebSocket(`wss://${location.host}/v1/ws?channel=${channel}&after=0`, 'longwire.json.v1');
        sockets.push(new Promise((resolve, reject) => {
            socket.onerror = () => reject('a socket failed');
            socket.onmessage = ({ data }) => { const thing = JSON.parse(data); if (thing.type === 'message') resolve(thing.data); };
        }));
    }
    await fetch(`/v1/channels/${channel}/messages`, { method: 'POST', body: 'Hello', headers: { 'Content-Type': 'text/plain' } });
    return { versions, heard: await Promise.all(sockets) };
})().then(done, why => done(String(why)));
"""


@needs_chromium
def test_a_browsers_sockets_share_the_link_of_its_page(server):
    """Five WebSockets and the requests of the page are streams of one link; a second one may stand by."""
    with open_chromium("--ignore-certificate-errors") as browser:
        browser.get(f"{server.https}/healthz")
        said = browser.execute_async_script(PAGE, fresh())
        assert said["heard"] == ["Hello"] * 5 and set(said["versions"]) == {"h2"}, said
        assert links_to(server.https_port) <= 2, "five sockets would need five more"


def links_to(port):
    """Established connections of clients to that port of 127.0.0.1 or ::1."""
    rows = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:] + pathlib.Path("/proc/net/tcp6").read_text().splitlines()[1:]
    return sum(re.split(r"\s+", row.strip())[3] == "01" and row.split()[2].endswith(f":{port:04X}") for row in rows)
