"""The JavaScript client in headless Chromium, as pages use it: places over a reload, two tabs, a page that goes and comes back, and what
the page's own events tell."""
import functools
import http.server
import json
import threading
import urllib.request

import pytest

from browser import needs_chromium, open_chromium
from cut_link import Link
from longwire_server import ROOT, Server, is_built
from waiting import SECONDS, wait_until

pytestmark = [pytest.mark.skipif(not is_built(), reason="longwired is not built"), needs_chromium]

TRANSPORTS = ["websocket", "sse", "poll"]

# A page that follows: seen is what its handler got, states what its client said.
FOLLOW = """
const [url, channel, options, how, done] = arguments;
window.seen = [];
window.states = [];
import(window.LIBRARY ?? '/longwire/index.js').then(({ connect }) => {
    window.client = connect(url, options);
    client.on('state', state => states.push(state.name));
    window.subscription = client.subscribe(channel, ({ data }) => { seen.push(data); }, how);
    return subscription.ready;
}).then(() => done('ready'), error => done(String(error)));
"""


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server() as server:
        yield server


@pytest.fixture(name="chromium", scope="module")
def fixture_chromium():
    with open_chromium() as chromium:
        yield chromium


@pytest.fixture(name="tab")
def fixture_tab(chromium):
    """A tab of its own; all that a test opens is closed behind it."""
    home = chromium.current_window_handle
    yield lambda server: Tab(chromium, server)
    for handle in chromium.window_handles:
        if handle != home:
            chromium.switch_to.window(handle)
            chromium.close()
    chromium.switch_to.window(home)


class Files(http.server.SimpleHTTPRequestHandler):
    """The files of clients/js, on a page without the content security policy of Longwire's own."""

    def log_message(self, *_):
        pass


@pytest.fixture(name="site", scope="module")
def fixture_site():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=ROOT / "clients" / "js")) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{site.server_port}"
        site.shutdown()
        thread.join()


class Tab:
    def __init__(self, browser, server):
        self.browser, self.server = browser, server
        browser.switch_to.new_window("tab")
        self.handle = browser.current_window_handle
        browser.get(server.url + "/")

    def go(self, url):
        """To a page that has the library at its root."""
        self.browser.switch_to.window(self.handle)
        self.browser.get(url + "/README.md")
        self.run("window.LIBRARY = '/index.js'")

    def run(self, script, *args):
        self.browser.switch_to.window(self.handle)
        return self.browser.execute_script(script, *args)

    def follow(self, channel, url=None, how=None, **options):
        self.browser.switch_to.window(self.handle)
        said = self.browser.execute_async_script(FOLLOW, url or self.server.url, channel, options, how or {})
        assert said == "ready", said

    def seen(self):
        return self.run("return seen")

    def until_seen(self, texts):
        wait_until(lambda: self.seen() == texts, lambda: f"{self.seen()} is not {texts}")

    def reload(self):
        self.browser.switch_to.window(self.handle)
        self.browser.refresh()


def publish(server, channel, text):
    request = urllib.request.Request(f"{server.url}/v1/channels/{channel}/messages", text.encode(), {"Content-Type": "text/plain"})
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return json.load(answer)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_reload_keeps_places(server, tab, transport):
    """Messages of before are not shown again; what came in between is; also in a channel that was silent before."""
    channel = f"topic:reload-{transport}"
    page = tab(server)
    page.follow(channel, keep="session", transports=[transport])
    page.reload()
    publish(server, channel, "while it loaded")
    page.follow(channel, keep="session", transports=[transport])
    page.until_seen(["while it loaded"])
    publish(server, channel, "live")
    page.until_seen(["while it loaded", "live"])
    page.reload()
    publish(server, channel, "while it loaded again")
    page.follow(channel, keep="session", transports=[transport])
    page.until_seen(["while it loaded again"])


def test_a_message_that_is_not_handled_comes_again_after_a_reload(server, tab):
    channel = "topic:unhandled"
    page = tab(server)
    page.follow(channel, keep="session", ack="manual")
    for text in ["one", "two"]:
        publish(server, channel, text)
    page.until_seen(["one", "two"])
    page.run("subscription.ack(1)")
    page.reload()
    page.follow(channel, keep="session", ack="manual")
    page.until_seen(["two"])


def test_two_tabs_have_their_own_places(server, tab):
    channel = "topic:tabs"
    first, second = tab(server), tab(server)
    first.follow(channel, keep="session")
    publish(server, channel, "for one")
    first.until_seen(["for one"])
    second.follow(channel, keep="session", how={"after": 0})
    second.until_seen(["for one"])
    second.reload()
    publish(server, channel, "for both")
    first.until_seen(["for one", "for both"])
    second.follow(channel, keep="session")
    second.until_seen(["for both"])


def test_a_tab_that_is_opened_later_goes_on_where_the_browser_was(server, tab):
    channel = "topic:local"
    first = tab(server)
    first.follow(channel, keep="local", keepName="of this test")
    publish(server, channel, "seen in the first tab")
    first.until_seen(["seen in the first tab"])
    wait_until(lambda: '"seq":1' in (first.run("return localStorage.getItem('of this test')") or ""))
    first.browser.close()
    first.browser.switch_to.window(first.browser.window_handles[0])
    publish(server, channel, "while no tab was open")
    second = tab(server)
    second.follow(channel, keep="local", keepName="of this test")
    second.until_seen(["while no tab was open"])


def test_the_event_online_brings_it_back_at_once(server, tab, site):
    channel = "topic:online"
    with Link(server.port) as link:
        page = tab(server)
        page.go(site)
        page.follow(channel, link.url, backOff={"base_ms": 600000, "cap_ms": 600000, "jitter": 0})
        link.down()
        wait_until(lambda: page.run("return client.state.name") == "away", lambda: page.run("return client.state"))
        publish(server, channel, "meanwhile")
        link.up()
        page.run("dispatchEvent(new Event('online'))")
        page.until_seen(["meanwhile"])


def test_a_page_that_comes_to_the_front_notices_a_dead_link(server, tab):
    channel = "topic:front"
    page = tab(server)
    page.follow(channel, patienceMs=10000, encodings=["json"])
    page.run("""
        const { send } = WebSocket.prototype;
        window.pings = 0;
        WebSocket.prototype.send = function (data) { if (data.includes('"ping"')) pings++; else send.call(this, data); };
        document.dispatchEvent(new Event('visibilitychange'));""")
    wait_until(lambda: page.run("return pings") == 1, lambda: "it does not ask")
    wait_until(lambda: page.run("return states").count("live") == 2, lambda: page.run("return states"))
    publish(server, channel, "on the new link")
    page.until_seen(["on the new link"])


def test_a_page_of_another_origin(tab, site):
    """An origin that is allowed may use every transport; another one learns no more than that it does not work."""
    with Server(config=f"origins = {site}\n") as server:
        page = tab(server)
        page.go(site)
        for transport in TRANSPORTS:
            page.follow(f"topic:origin-{transport}", server.url, transports=[transport])
            page.run("client.publish(subscription.channel, { from: 'the page' })")
            page.until_seen([{"from": "the page"}])
            page.run("client.close()")
        page.go(site.replace("127.0.0.1", "localhost"))
        page.run("""
            window.states = [];
            import('/index.js').then(({ connect }) => {
                window.client = connect(arguments[0]);
                client.subscribe('topic:a', () => {});
                client.on('error', () => {});
                client.on('state', ({ name }) => states.push(name));
            });""", server.url)
        wait_until(lambda: "away" in page.run("return states"), lambda: page.run("return states"))
        assert "live" not in page.run("return states")
