"""Front ends that were not written for Longwire read its event streams, unchanged, in headless Chromium: a plain
EventSource with addEventListener, htmx and Turbo in raw form (decision 26); fetch-event-source with JSON.parse and
event-source-polyfill in the usual form (decision 5)."""
import shutil
import subprocess
import tempfile

import pytest

from front_end import LIBRARIES, FrontEnd
from longwire_server import ROOT, Server, free_port, is_built
from waiting import SECONDS, wait_until
from wire import fresh, path_of, request

webdriver = pytest.importorskip("selenium.webdriver", reason="python3-selenium is not installed")
from selenium.webdriver.chrome.service import Service

CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(not is_built(), reason="longwired is not built"),
    pytest.mark.skipif(not CHROMIUM or not CHROMEDRIVER, reason="chromium and chromium-driver are not installed"),
]

PLAIN = """<script>
const got = [], opens = [];
const source = new EventSource('/v1/subscribe?channel=CHANNEL&format=raw');
source.onopen = () => opens.push(source.readyState);
source.onmessage = event => got.push(['message', event.data]);
for (const name of ['price', 'prix €', 'gap', 'recall', 'recalled', 'binary'])
    source.addEventListener(name, event => got.push([name, event.data]));
</script>"""

HTMX = """<script src="/lib/htmx.org/dist/htmx.js"></script><script src="/lib/htmx-ext-sse/sse.js"></script>
<body hx-ext="sse" sse-connect="/v1/subscribe?channel=CHANNEL&format=raw">
<div id="price" sse-swap="price">none yet</div><div id="any" sse-swap="message">none yet</div></body>"""

TURBO = """<script src="/lib/@hotwired/turbo/dist/turbo.es2017-umd.js"></script><ul id="list"></ul><script>
Turbo.connectStreamSource(new EventSource('/v1/subscribe?channel=CHANNEL&format=raw'));
</script>"""

FETCH = """<script type="module">
import { fetchEventSource } from '/lib/@microsoft/fetch-event-source/lib/esm/index.js';
window.got = []; window.tries = 0;
fetchEventSource('/v1/subscribe?channel=CHANNEL', {
    onopen: async () => { tries++; },
    onmessage: event => { const object = JSON.parse(event.data); if (object.type === 'message') got.push(object.data); },
    onerror: error => { got.push(String(error)); },
});
</script>"""

POLYFILL = """<script src="/lib/event-source-polyfill/src/eventsource.js"></script><script>
const got = []; let tries = 0;
const source = new EventSourcePolyfill('/v1/subscribe?channel=CHANNEL');
source.onopen = () => tries++;
source.onmessage = event => got.push(JSON.parse(event.data).data);
</script>"""


@pytest.fixture(name="browser", scope="module")
def fixture_browser():
    subprocess.run([ROOT / "setup" / "javascript", LIBRARIES], check=True)
    home = tempfile.mkdtemp(prefix="longwire-chromium-")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", f"--user-data-dir={home}"):
        options.add_argument(flag)
    browser = webdriver.Chrome(service=Service(CHROMEDRIVER, port=free_port()), options=options)
    browser.set_script_timeout(SECONDS)
    yield browser
    browser.quit()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server(config="heartbeat_s = 1\nsse_retry_ms = 50\n") as server:
        yield server


class Page:
    """A page that follows a channel of its own."""

    def __init__(self, browser, server, text):
        self.browser, self.server, self.channel = browser, server, fresh()
        self.publish(b"before the page was there")
        self.front = FrontEnd(server.port, {"/": text.replace("CHANNEL", self.channel)})
        browser.get(self.front.url + "/")
        self.wait_for_readers(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.browser.get("about:blank")
        self.front.__exit__()

    def wait_for_readers(self, count):
        wait_until(lambda: request(self.server, "GET", path_of(self.channel)).json()["subscribers"] == count)

    def publish(self, body, event=None, media="text/html"):
        fields = {} if event is None else {"longwire_event": event}
        request(self.server, "POST", path_of(self.channel) + "/messages", body, content_type=media, **fields).want(201)

    def script(self, text):
        return self.browser.execute_script("return " + text)

    def until(self, text, want):
        wait_until(lambda: self.script(text) == want, lambda: f"{text}: {self.script(text)!r}, not {want!r}")


def test_a_plain_event_source_reads_raw_events(browser, server):
    with Page(browser, server, PLAIN) as page:
        page.publish(b"<b>1</b>\r\n<i>2</i>\rx\n", "price")
        page.publish("é".encode(), "prix%20%E2%82%AC")
        page.publish(b"data: no\n\nevent: gap\n")
        page.publish(b"")
        page.publish(b"\xff\x00", "price")
        page.until("got.length", 5)
        assert page.script("got")[:4] == [["price", "<b>1</b>\n<i>2</i>\nx\n"], ["prix €", "é"],
                                          ["message", "data: no\n\nevent: gap\n"], ["message", ""]]
        assert page.script("[got[4][0], JSON.parse(got[4][1]).data_base64, JSON.parse(got[4][1]).event]") == [
            "binary", "/wA=", "price"]
        request(server, "DELETE", path_of(page.channel) + "/messages/2").want(200)
        page.until("got.length", 6)
        assert page.script("[got[5][0], JSON.parse(got[5][1]).target]") == ["recall", 2]


def test_a_plain_event_source_comes_back_to_its_place(browser):
    """Its link breaks before and after the first message: the place at the start counts as any other."""
    with Server(config="sse_retry_ms = 50\n") as server, Page(browser, server, PLAIN) as page:
        page.until("opens.length", 1)
        for seq in range(1, 4):
            server.stop()
            server.start()
            page.publish(b"%d" % seq, "price")
            page.until("got.length", seq)
        assert page.script("got") == [["price", "1"], ["price", "2"], ["price", "3"]]


def test_htmx_swaps_raw_events(browser, server):
    with Page(browser, server, HTMX) as page:
        page.publish(b"<b>1.17</b>\n<i>up</i>", "price")
        page.until("document.getElementById('price').innerHTML", "<b>1.17</b>\n<i>up</i>")
        page.publish(b"<p>hello</p>")
        page.until("document.getElementById('any').innerHTML", "<p>hello</p>")


def test_turbo_renders_raw_events(browser, server):
    with Page(browser, server, TURBO) as page:
        page.publish(b'<turbo-stream action="append" target="list">\n<template><li>one</li></template>\n</turbo-stream>')
        page.until("document.getElementById('list').innerHTML", "<li>one</li>")


@pytest.mark.parametrize("text", [FETCH, POLYFILL], ids=["fetch-event-source", "event-source-polyfill"])
def test_libraries_read_the_usual_form(browser, server, text):
    """Over several heartbeats: nothing is an event that has no data, and nothing makes them reconnect."""
    with Page(browser, server, text) as page:
        for seq in range(3):
            page.publish(b"%d" % seq, media="text/plain")
            page.until("got.length", seq + 1)
            wait_until(lambda start=heartbeats(server): heartbeats(server) > start + 1)
        assert page.script("[got, tries]") == [["0", "1", "2"], 1]


def heartbeats(server):
    """Writes to event streams: with nothing published they are heartbeats."""
    text = request(server, "GET", "/metrics").body.decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
               if line.startswith('longwire_sent_bytes_total{transport="sse"}'))
