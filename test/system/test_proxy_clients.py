"""Clients of others, through the proxies of docs/operations.md: each gets events one by one; when the proxy or the server
restarts, it comes back by its own means and goes on with its own last event id, so that it misses nothing and gets
nothing twice (threat 84)."""
import contextlib
import http.server
import json
import threading
import time
import urllib.parse
import urllib.request

import pytest

import proxies
from browser import needs_chromium, open_chromium
from longwire_server import ROOT, Server, is_built
from waiting import SECONDS, wait_until

pytestmark = [pytest.mark.skipif(not is_built(), reason="longwired is not built"), needs_chromium]

EVENTS = 10
AWAY_SECONDS = 3        # a restart after which browsers were seen to stay away
PAGES = {"/": ROOT / "test" / "javascript"}
MEDIA = {".html": "text/html", ".js": "text/javascript"}


class Pages(http.server.BaseHTTPRequestHandler):
    """The page of the clients, from an origin of its own."""

    def do_GET(self):
        path = PAGES["/"] / self.path.lstrip("/")
        body = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", MEDIA[path.suffix])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(name="page_url", scope="module")
def fixture_page_url():
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
    with Server() as server:
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


def subscribe_url(url, channel, **query):
    return f"{url}/v1/subscribe?{urllib.parse.urlencode({'channel': channel, **query})}"


class BrowserClient:
    """One of the clients of clients.js."""

    def __init__(self, browser, name):
        self.browser, self.name = browser, name

    def open(self, proxy, channel):
        self.browser.execute_script("follow(...arguments)", self.name, subscribe_url(proxy.url, channel, after=0))

    def seen(self):
        return self.browser.execute_script("return seen[arguments[0]]", self.name)

    def ends(self):
        return self.browser.execute_script("return ends[arguments[0]]", self.name)

    def close(self):
        """The page that is opened next closes it."""


BROWSER_CLIENTS = ["EventSource"]


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

    def texts(self):
        return {client.name: [event["text"] for event in client.seen()] for client in self.clients}

    def all_have_all(self):
        """Waits until each has as many as were published; what comes twice or out of order is seen then."""
        wait_until(lambda: all(len(texts) >= len(self.said) for texts in self.texts().values()), self.texts)
        assert self.texts() == {client.name: self.said for client in self.clients}

    def wait_ends(self, more):
        """Waits until each client's stream has ended so many times more."""
        goals = {client.name: client.ends() + more for client in self.clients}
        wait_until(lambda: all(client.ends() >= goals[client.name] for client in self.clients),
                   lambda: {client.name: client.ends() for client in self.clients})


def live_through(scenario):
    for client in scenario.clients:
        client.open(scenario.proxy, scenario.channel)
    for _ in range(EVENTS):
        scenario.say()
        scenario.all_have_all()  # the next one is published only now

    scenario.proxy.kill()
    scenario.say(3)
    scenario.proxy.start()
    scenario.say(3)
    scenario.all_have_all()

    scenario.server.stop()
    since = time.monotonic()
    scenario.wait_ends(1)  # of a client that came while the server was away
    wait_until(lambda: time.monotonic() > since + AWAY_SECONDS)
    scenario.server.start()
    scenario.say(5)
    scenario.all_have_all()


def test_clients_in_a_browser(chromium, page_url, proxy, server):
    """Threat 84. The page's origin is another one than the proxy's, so each answer needs CORS headers, also
    those that the proxy gives for an absent server."""
    chromium.get(page_url)
    live_through(Scenario(proxy, server, f"topic:browser-{proxy.name}",
                       [BrowserClient(chromium, name) for name in BROWSER_CLIENTS]))
    chromium.get("about:blank")


def test_event_source_of_the_proxys_own_origin(chromium, proxy, server):
    """The demo page's origin, so no CORS is in play."""
    chromium.get(proxy.url + "/v1/openapi.json")
    chromium.execute_script((ROOT / "test" / "javascript" / "clients.js").read_text())
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
