"""Clients of others, through the proxies of docs/operations.md: each gets events one by one; when the proxy or the server
restarts, it comes back by its own means and goes on with its own last event id, so that it misses nothing and gets
nothing twice (threat 84)."""
import http.server
import json
import statistics
import subprocess
import threading
import time
import urllib.request

import pytest

import proxies
from browser import needs_chromium, open_chromium
from foreign_clients import BROWSER_CLIENTS, THREAD_CLIENTS, BrowserClient, subscribe_url
from longwire_server import BUILD, ROOT, Server, is_built
from waiting import SECONDS, wait_until

pytestmark = [pytest.mark.skipif(not is_built(), reason="longwired is not built"), needs_chromium]

EVENTS = 20
AT_ONCE_MS = 150        # what waits for company takes 200 ms
HEARTBEAT_S = 1
SILENT_SECONDS = 2.5    # two heartbeats
AWAY_SECONDS = 3        # a restart after which browsers were seen to stay away
PAGES = ROOT / "test" / "javascript"
LIBRARIES = BUILD / "javascript"
MEDIA = {".html": "text/html", ".js": "text/javascript"}


class Pages(http.server.BaseHTTPRequestHandler):
    """The page of the clients and their libraries, from an origin of its own."""

    def do_GET(self):
        path = (LIBRARIES if self.path.startswith("/node_modules/") else PAGES) / self.path.lstrip("/")
        if not path.suffix:
            path = path.with_suffix(".js")  # as bundlers find them
        is_there = path.is_file()
        body = path.read_bytes() if is_there else b""
        self.send_response(200 if is_there else 404)
        self.send_header("Content-Type", MEDIA.get(path.suffix, "text/plain"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(name="page_url", scope="module")
def fixture_page_url():
    subprocess.run([ROOT / "setup" / "javascript", LIBRARIES], check=True)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/clients.html"
        server.shutdown()
        thread.join(SECONDS)


@pytest.fixture(name="chromium", scope="module")
def fixture_chromium():
    with open_chromium("--ignore-certificate-errors") as chromium:
        yield chromium


@pytest.fixture(name="server")
def fixture_server():
    with Server(flags=["--heartbeat-s", str(HEARTBEAT_S)]) as server:
        yield server


@pytest.fixture(name="proxy", params=proxies.NAMES)
def fixture_proxy(request, server):
    with proxies.Proxy(request.param, server) as proxy:
        yield proxy


def publish(url, channel, text):
    request = urllib.request.Request(f"{url}/v1/channels/{channel}/messages", text.encode(),
                                     {"Content-Type": "text/plain; charset=utf-8"})
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return json.load(answer)["seq"]


class Scenario:
    """What is published, and what each client has made of it."""

    def __init__(self, proxy, server, channel, clients):
        self.proxy, self.server, self.channel, self.clients = proxy, server, channel, clients
        self.said, self.said_at = [], []

    def say(self, count=1):
        for _ in range(count):
            self.said.append(f"Grüße №{len(self.said) + 1} 👋")
            self.said_at.append(1000 * time.time())
            publish(self.server.url, self.channel, self.said[-1])

    def of_each(self, what):
        return {client.name: what(client) for client in self.clients}

    def texts(self):
        return self.of_each(lambda client: [event["text"] for event in client.seen()])

    def all_have_all(self):
        """Waits until each has as many as were published; what comes twice or out of order is seen then."""
        wait_until(lambda: all(len(texts) >= len(self.said) for texts in self.texts().values()), self.texts)
        assert self.texts() == self.of_each(lambda _: self.said)

    def ends(self):
        return self.of_each(lambda client: client.ends())

    def wait_ends(self, more):
        """Waits until each client's link has ended so many times more."""
        before = self.ends()
        wait_until(lambda: all(count >= before[name] + more for name, count in self.ends().items()), self.ends)

    def late_ms(self):
        """{client: how late the quickest quarter of the events came}: the machine may be busy for the others."""
        return self.of_each(lambda client: statistics.quantiles(
            (event["at"] - at for event, at in zip(client.seen(), self.said_at)), n=4)[0])


def each_event_comes_by_itself(scenario):
    for _ in range(EVENTS):
        scenario.say()
        scenario.all_have_all()  # the next one is published only now
    late = scenario.late_ms()
    assert max(late.values()) < AT_ONCE_MS, late


def silence_ends_nothing(scenario):
    since, before = time.monotonic(), scenario.ends()
    wait_until(lambda: time.monotonic() > since + SILENT_SECONDS)
    assert scenario.ends() == before
    scenario.say()
    scenario.all_have_all()


def the_proxy_restarts(scenario):
    scenario.proxy.kill()
    scenario.say(3)
    scenario.proxy.start()
    scenario.say(3)
    scenario.all_have_all()


def the_server_restarts(scenario):
    scenario.server.stop()
    since = time.monotonic()
    scenario.wait_ends(2)  # the stream's, and that of a request while the server is away
    wait_until(lambda: time.monotonic() > since + AWAY_SECONDS)
    scenario.server.start()
    scenario.say(5)
    scenario.all_have_all()


def live_through(scenario):
    try:
        for client in scenario.clients:
            client.open(scenario.proxy.url, scenario.channel)
        each_event_comes_by_itself(scenario)
        silence_ends_nothing(scenario)
        the_proxy_restarts(scenario)
        the_server_restarts(scenario)
    finally:
        for client in scenario.clients:
            client.is_over = True
        scenario.proxy.kill()
        for client in scenario.clients:
            client.close()


def test_clients_of_others(chromium, page_url, proxy, server):
    """Threat 84. The page's origin is another one than the proxy's, so each answer needs CORS headers, also those that
    the proxy gives for an absent server."""
    chromium.get(page_url)
    live_through(Scenario(proxy, server, f"topic:others-{proxy.name}",
                          [BrowserClient(chromium, name) for name in BROWSER_CLIENTS] +
                          [make() for make in THREAD_CLIENTS]))
    chromium.get("about:blank")


def test_event_source_of_the_proxys_own_origin(chromium, proxy, server):
    """The demo page's origin, so no CORS is in play."""
    chromium.get(proxy.url + "/v1/openapi.json")
    chromium.execute_script((PAGES / "clients.js").read_text())
    live_through(Scenario(proxy, server, f"topic:own-{proxy.name}", [BrowserClient(chromium, "EventSource")]))
    chromium.get("about:blank")


STREAMS = 8     # more than the six connections that a browser opens to one host over HTTP/1.1


@pytest.mark.parametrize("proxy", ["nginx"], indirect=True)
def test_over_http_2_more_than_six_streams_are_open(chromium, proxy, server):
    """Over HTTP/1.1 six streams open and the others wait; over the HTTP/2 of docs/operations.md all do."""
    for url, opened in ((proxy.url, 6), (f"https://127.0.0.1:{proxy.tls_port}", STREAMS)):
        chromium.get(url + "/v1/openapi.json")
        chromium.execute_script("""window.sources = [...Array(arguments[1]).keys()].map(number =>
            new EventSource(arguments[0].replace('NUMBER', number)))""",
                                subscribe_url(url, "live:many-NUMBER"), STREAMS)
        count = "return sources.filter(source => source.readyState === EventSource.OPEN).length"
        wait_until(lambda: chromium.execute_script(count) >= opened, lambda: chromium.execute_script(count))
        assert chromium.execute_script(count) == opened
        protocol = "return performance.getEntriesByType('navigation')[0].nextHopProtocol"
        assert chromium.execute_script(protocol) == ("h2" if url.startswith("https") else "http/1.1")
        chromium.get("about:blank")
