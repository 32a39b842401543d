"""The demo page in headless Chromium, against a real server: every transport connects, loses its link and resumes; what
people write stays text; nothing is refused by the page's own content security policy. And the browser's own
EventSource reads payloads back byte for byte.

LW_SHOTS names a folder for screenshots, which test_looks() takes; without it they are only taken and thrown away.
"""
import base64
import contextlib
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request

import jwt
import pytest

import proxies
from browser import needs_chromium, open_chromium
from longwire_server import Server, is_built
from waiting import SECONDS, wait_until

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

pytestmark = [pytest.mark.skipif(not is_built(), reason="longwired is not built"), needs_chromium]

TRANSPORTS = ["websocket", "sse", "poll"]
DESKTOP, PHONE, NARROW = (1280, 900), (390, 844), (320, 640)
SECRET = "a-secret-for-the-page"
CONFIG = """
[namespace short]
durability = memory
keep_count = 3
"""
EVIL = "<script>document.title='owned'</script><img/src=x/onerror=\"document.title='owned'\">"

# Rows as (type, channel, seq, text, classes), oldest first.
ROWS = """return [...document.querySelectorAll('#rows > li')].reverse().map(row => [
    row.dataset.type, row.dataset.channel, Number(row.dataset.seq),
    (row.querySelector('.payload') ?? row.querySelector('.body')).textContent,
    [...row.classList].join(' ')])"""


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server(config=CONFIG) as server:
        yield server


@pytest.fixture(name="chromium", scope="module")
def fixture_chromium():
    with open_chromium() as chromium:
        yield chromium


@pytest.fixture(name="page")
def fixture_page(chromium):
    """A fresh Page; at the end its console must be free of errors that the test has not announced."""
    page = Page(chromium)
    page.see(*DESKTOP)
    chromium.get_log("browser")
    yield page
    complaints = [entry["message"] for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"]
    chromium.get("about:blank")
    assert [text for text in complaints if not any(word in text for word in page.forgiven)] == []


class Page:
    def __init__(self, browser):
        self.browser = browser
        self.forgiven = []      # words of console errors that belong to the test

    def open(self, server):
        self.browser.get(server.url + "/")
        return self

    def see(self, width, height):
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})

    def light(self, scheme):
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def at(self, name):
        return self.browser.find_element(By.ID, name)

    def fill(self, name, text):
        self.browser.execute_script(
            "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', { bubbles: true }));"
            "arguments[0].dispatchEvent(new Event('change', { bubbles: true }))", self.at(name), text)

    def choose(self, name, value):
        radio = self.browser.find_element(By.CSS_SELECTOR, f"input[name={name}][value='{value}']")
        self.browser.execute_script("arguments[0].click()", radio)

    def press(self, name):
        self.browser.execute_script("arguments[0].click()", self.at(name))

    def text(self, name):
        return self.browser.execute_script("return arguments[0].textContent", self.at(name)).strip()

    def focus(self):
        return self.browser.execute_script("return document.activeElement.id")

    def until(self, what, why):
        wait_until(what, why)

    def until_state(self, state):
        self.until(lambda: self.at("wire").get_attribute("data-state") == state,
                   lambda: f"not {state}: {self.text('state')} {self.text('state-more')}")

    def drop(self):
        """Until it is told to come again: on a busy machine the seconds after which it does so by itself may be over too soon."""
        self.browser.execute_script("const real = window.setTimeout; window.setTimeout = (what, ms) => real(what, 100 * ms);"
                                    "arguments[0].click(); window.setTimeout = real", self.at("drop"))
        self.until_state("away")

    def connect(self, channels, transport="websocket", start="now"):
        self.fill("channels", channels)
        Select(self.at("start")).select_by_value(start)
        self.choose("transport", transport)
        self.press("connect")
        self.until_state("live")

    def rows(self):
        return self.browser.execute_script(ROWS)

    def texts(self):
        return [row[3] for row in self.rows()]

    def until_texts(self, texts):
        self.until(lambda: self.texts() == texts, lambda: f"{self.texts()} is not {texts}")

    def counts(self):
        return {name: int(self.text("count-" + name).replace(",", ""))
                for name in ("received", "caught-up", "duplicates", "disorder", "gaps")}

    def shot(self, name):
        png = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": False})["data"]
        assert len(png) > 10000
        if "LW_SHOTS" in os.environ:
            folder = pathlib.Path(os.environ["LW_SHOTS"])
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.png").write_bytes(base64.b64decode(png))


def messages_url(server, channel):
    return f"{server.url}/v1/channels/{urllib.parse.quote(channel, safe='')}/messages"


def publish(server, channel, payload, media="text/plain", method="POST", key=None):
    headers = {"Content-Type": media, **({"Authorization": f"Bearer {key}"} if key else {})}
    request = urllib.request.Request(messages_url(server, channel), method=method, headers=headers,
                                     data=payload if isinstance(payload, bytes) else payload.encode())
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return json.load(answer)


def recall(server, channel, seq):
    request = urllib.request.Request(f"{messages_url(server, channel)}/{seq}", method="DELETE")
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return json.load(answer)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_resumes_after_a_dropped_link(server, page, transport):
    """The link is lost before the first message, and later between two messages."""
    channel = f"topic:drop-{transport}"
    page.open(server).connect(channel, transport)

    page.drop()
    publish(server, channel, "while away, before anything came")
    page.press("retry")
    page.until_texts(["while away, before anything came"])
    page.until_state("live")

    page.fill("payload", "from the page")
    page.press("publish")
    page.until(lambda: page.text("receipt").startswith(f"Accepted as seq 2 of {channel} · id "),
               lambda: page.text("receipt"))
    page.until_texts(["while away, before anything came", "from the page"])

    page.drop()
    page.press("publish-five")   # publishing goes by HTTP: it works while the link is down
    page.until(lambda: "seq 3 to 7" in page.text("receipt"), lambda: page.text("receipt"))
    assert len(page.rows()) == 2, "the link was not cut"
    page.press("retry")
    page.until_state("live")
    assert page.focus() == "connect", "the button that had the focus vanished with it"
    publish(server, channel, "live again")
    page.until_texts(["while away, before anything came", "from the page",
                      *(f"from the page ({i} of 5)" for i in range(1, 6)), "live again"])

    assert [row[2] for row in page.rows()] == list(range(1, 9))
    page.until(lambda: ["caught-up" in row[4] for row in page.rows()] == [True, False] + [True] * 5 + [False],
               lambda: page.rows())
    assert page.counts() == {"received": 8, "caught-up": 6, "duplicates": 0, "disorder": 0, "gaps": 0}
    if transport == "websocket":
        page.press("drop")       # it comes back by itself, too, when its time has come
        publish(server, channel, "the last one")
        page.until(lambda: page.texts()[8:] == ["the last one"], page.texts)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_comes_back_after_the_server_was_killed(page, transport):
    with Server() as server:
        page.forgiven = ["net::ERR_"]
        page.open(server).connect("topic:kill user:kill", transport)
        publish(server, "topic:kill", "before")
        page.until_texts(["before"])
        server.kill()
        page.until_state("away")
        server.start()
        for i in range(20):
            publish(server, "topic:kill", f"after {i}")
        publish(server, "user:kill", "the other channel")
        page.until_state("live")
        page.until(lambda: len(page.rows()) == 22, page.rows)
        mine = [row[3] for row in page.rows() if row[1] == "topic:kill"]
        assert mine == ["before"] + [f"after {i}" for i in range(20)]
        assert [page.counts()[name] for name in ("received", "duplicates", "disorder", "gaps")] == [22, 0, 0, 0]


@pytest.mark.parametrize("name", proxies.NAMES)
def test_works_under_a_path(server, page, name):
    """Behind the documented proxies, which take /push away: nothing is asked for elsewhere."""
    with proxies.Proxy(name, server) as proxy:
        page.browser.get(proxy.url + "/push/")
        said = []
        for transport in TRANSPORTS:
            page.connect(f"topic:path-{name}", transport, "first")
            said.append(f"over {transport}")
            page.fill("payload", said[-1])
            page.press("publish")
            page.until_texts(said)
            page.press("connect")
            page.until_state("stopped")
        assert page.browser.execute_script("return getComputedStyle(document.querySelector('.wire')).position") == "sticky"
        assert page.browser.execute_script("return document.querySelector('h1 img').naturalWidth") > 0
        page.browser.execute_script("document.getElementById('curl-box').open = true")
        page.until(lambda: f"'{proxy.url}/push/v1/subscribe?" in page.text("commands"), lambda: page.text("commands"))
        asked = page.browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
        assert len(asked) > 5 and [url for url in asked if not url.startswith(proxy.url + "/push/")] == []
        page.shot(f"under-a-path-{name}")


def test_goes_on_over_another_transport(server, page):
    page.open(server).connect("topic:switch", "websocket")
    said = []
    for transport in ["sse", "poll", "websocket", "poll", "sse", "websocket"]:
        said.append(f"before {transport}")
        publish(server, "topic:switch", said[-1])
        page.choose("transport", transport)
        page.until_state("live")
        said.append(f"on {transport}")
        publish(server, "topic:switch", said[-1])
        page.until_texts(said)
    assert page.counts()["duplicates"] == page.counts()["disorder"] == page.counts()["gaps"] == 0


@pytest.mark.parametrize("start, shown", [("now", []), ("last", range(3, 13)), ("first", range(1, 13))])
def test_starts_where_it_is_told(server, page, start, shown):
    channel = f"topic:start-{start}"
    for i in range(1, 13):
        publish(server, channel, str(i))
    page.open(server).connect(channel, "websocket", start)
    publish(server, channel, "and on")
    page.until_texts([*map(str, shown), "and on"])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_owns_up_to_gaps(server, page, transport):
    """The log keeps three messages; six are published while the link is down."""
    channel = f"short:{transport}"
    publish(server, channel, "zero")
    page.open(server).connect(channel, transport, "first")
    page.until_texts(["zero"])
    page.drop()
    for i in range(6):
        publish(server, channel, str(i))
    page.press("retry")
    page.until_texts(["zero", f"{channel}: Messages 2 to 4 are missing: the log keeps only newer ones.", "3", "4", "5"])
    assert [row[0] for row in page.rows()] == ["message", "gap", "message", "message", "message"]
    assert page.counts()["gaps"] == 1 and page.counts()["disorder"] == 0


def test_recall_strikes_the_message(server, page):
    page.open(server).connect("topic:recall")
    publish(server, "topic:recall", "sorry")
    publish(server, "topic:recall", "not this one")
    page.until_texts(["sorry", "not this one"])
    page.browser.execute_script("document.querySelector('[data-seq=\"1\"] .recall').click()")
    page.until_texts(["sorry", "not this one", "topic:recall: Message 1 was recalled."])
    assert ["recalled" in row[4] for row in page.rows()] == [True, False, False]
    page.press("connect")
    page.connect("topic:recall", "sse", "first")
    page.until_texts(["recalled", "not this one", "topic:recall: Message 1 was recalled."])


def test_threat_106_what_people_write_stays_text(server, page):
    channel = f"topic:{EVIL}"
    page.open(server).connect(channel, "sse")
    publish(server, channel, EVIL, f"text/{'a' * 20}")
    publish(server, channel, json.dumps({EVIL: EVIL}), "application/json")
    page.fill("payload", EVIL)
    page.press("publish")
    page.until(lambda: len(page.rows()) == 3 and EVIL[:8] in page.text("receipt"), page.rows)
    assert page.texts() == [EVIL, json.dumps({EVIL: EVIL}, separators=(",", ":")), EVIL]
    assert page.rows()[0][1] == channel
    page.browser.execute_script("document.getElementById('curl-box').open = true")
    page.until(lambda: "<script>document" in page.text("commands"), lambda: page.text("commands"))
    assert page.browser.title == "Longwire – try it"
    assert page.browser.execute_script("return document.querySelectorAll('body script, #rows img').length") == 0


def test_the_page_cannot_be_framed_and_runs_nothing_inline(server):
    """Threat 106: the headers of every file."""
    for path in ["/", "/demo.js", "/longwire/index.js", "/longwire/lib/client.js", "/demo.css", "/icon.svg"]:
        with urllib.request.urlopen(server.url + path, timeout=SECONDS) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert b"<script>" not in answer.read()


ISSUER_SECRET = "app-secret-0123456789-app-secret-0123456789"
EVIL_NAME = "<img src=x onerror=document.title='owned'>"


def test_threat_106_names_of_users_stay_text(page):
    token = jwt.encode({"sub": EVIL_NAME, "iat": int(time.time()), "exp": time.time() + 600,
                        "channels": [{"match": "topic:*", "can": ["publish"]}]}, ISSUER_SECRET, "HS256")
    with Server(config=f"[jwt app]\nalgorithms = HS256\nsecret = {ISSUER_SECRET}\n") as server:
        page.open(server).connect("topic:names", "websocket")
        publish(server, "topic:names", "x", key=token)
        page.until_texts(["x"])
        assert page.browser.find_element(By.CSS_SELECTOR, "#rows .from").text == f"from user:{EVIL_NAME}"
        assert page.browser.execute_script("return document.querySelectorAll('#rows img').length") == 0
        assert page.browser.title == "Longwire – try it"


@contextlib.contextmanager
def other_origin(text):
    """Its URL on another host; the same page for every path. Pages of this machine may do what its users may."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    try:
        yield f"http://elsewhere.example:{site.server_address[1]}"
    finally:
        site.shutdown()
        site.server_close()


@pytest.fixture(name="abroad", scope="module")
def fixture_abroad():
    with open_chromium("--host-resolver-rules=MAP elsewhere.example 127.0.0.1") as chromium:
        yield chromium


def test_threat_106_another_page_may_not_frame_it(server, abroad):
    with other_origin("no frame") as plain, other_origin(f"<iframe src='{server.url}/'></iframe>") as framing, \
            other_origin(f"<iframe src='{plain}/'></iframe>") as harmless:
        abroad.get_log("browser")
        abroad.get(harmless)
        assert not [entry for entry in abroad.get_log("browser") if "frame" in entry["message"]]
        abroad.get(framing)
        said = []
        wait_until(lambda: said.extend(abroad.get_log("browser")) or said, lambda: "nothing was refused")
        assert any("frame-ancestors" in entry["message"] or "X-Frame-Options" in entry["message"] for entry in said), said


DO_FROM_ELSEWHERE = """
const [url, done] = arguments;
const ended = what => what.then(answer => answer.type === 'opaque' ? 'opaque' : String(answer.status), () => 'refused');
const heard = new Promise((resolve, reject) => {
    const source = new EventSource(url + '/v1/subscribe?channel=topic:elsewhere&after=0');
    source.onmessage = () => resolve({ status: 'heard' });
    source.onerror = () => { source.close(); reject(); };
});
Promise.all([
    ended(fetch(url + '/v1/channels/topic:elsewhere/messages', { method: 'POST', body: 'x' })),
    ended(fetch(url + '/v1/channels/topic:elsewhere/messages', { method: 'POST', body: 'x', mode: 'no-cors' })),
    ended(fetch(url + '/v1/channels/topic:elsewhere/messages?after=0')),
    ended(fetch(url + '/metrics')), ended(heard),
]).then(done);
"""


def test_threat_106_another_page_can_do_nothing(server, abroad):
    """It may send what a form could; the server takes none of it, and the page reads nothing."""
    publish(server, "topic:elsewhere", "mine")
    with other_origin("elsewhere") as url:
        abroad.get(url)
        assert abroad.execute_async_script(DO_FROM_ELSEWHERE, server.url) == ["refused", "opaque", "refused", "refused", "refused"]
    with urllib.request.urlopen(messages_url(server, "topic:elsewhere") + "?after=0", timeout=SECONDS) as answer:
        assert [message["data"] for message in json.load(answer)["messages"]] == ["mine"]


def test_csp_is_in_force(server, page):
    """Code that was injected would not run, so a clean console in the other tests means something."""
    page.forgiven = ["Content Security Policy"]
    page.open(server)
    page.browser.execute_script(
        "const script = document.createElement('script'); script.textContent = 'document.title = \"owned\"';"
        "document.body.append(script)")
    assert page.browser.title == "Longwire – try it"


def test_a_refusal_is_told_not_retried(server, page):
    page.forgiven = ["404", "400"]
    page.open(server)
    for transport in TRANSPORTS:
        page.fill("channels", "nowhere:x")
        page.choose("transport", transport)
        page.press("connect")
        page.until(lambda: "no such namespace" in page.text("state-more"), lambda: page.text("state-more"))
        page.until_state("stopped")
    page.fill("publish-channel", "topic:json")
    page.choose("media", "application/json")
    page.fill("payload", "{not json")
    page.press("publish")
    page.until(lambda: page.text("receipt").startswith("Not done: "), lambda: page.text("receipt"))


def test_api_keys(page):
    page.forgiven = ["401"]
    with Server(config=f"[key page]\nsecret = {SECRET}\nrights = publish, subscribe\n"
                       "[namespace topic]\nsubscribe = key\npublish = key\n") as server:
        page.open(server)
        for transport in TRANSPORTS:
            page.fill("key", "")
            page.fill("channels", "topic:locked")
            page.choose("transport", transport)
            page.press("connect")
            page.until(lambda: "API key" in page.text("state-more"), lambda: page.text("state-more"))
            page.until_state("stopped")
            page.fill("key", SECRET)
            page.connect("topic:locked", transport)
            page.fill("payload", transport)
            page.press("publish")
            page.until_texts([transport])
            page.press("connect")
            page.until_state("stopped")


def test_counters_and_rows_stay_bounded(server, page):
    lines = "".join(json.dumps({"channel": "topic:many", "data": str(i)}) + "\n" for i in range(700))
    request = urllib.request.Request(server.url + "/v1/messages", lines.encode(),
                                     {"Content-Type": "application/x-ndjson"})
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        assert answer.status == 200
    page.open(server).connect("topic:many", "poll", "first")
    page.until(lambda: page.counts()["received"] == 700, page.counts)
    assert page.texts() == [str(i) for i in range(200, 700)]
    assert page.counts()["disorder"] == page.counts()["duplicates"] == 0


def test_works_from_the_keyboard(server, page):
    page.open(server)
    page.fill("channels", "topic:keys")
    page.at("channels").send_keys(Keys.ENTER)
    page.until_state("live")
    radio = page.browser.find_element(By.CSS_SELECTOR, "input[value=websocket]")
    radio.send_keys(Keys.ARROW_RIGHT)
    assert page.browser.execute_script("return document.querySelector('input[name=transport]:checked').value") == "sse"
    page.until_state("live")
    page.at("payload").clear()
    page.at("payload").send_keys("typed", Keys.CONTROL, Keys.ENTER)
    page.until_texts(["typed"])
    page.at("drop").send_keys(Keys.ENTER)
    page.until_state("away")
    assert page.focus() == "retry"
    page.at("retry").send_keys(Keys.ENTER)
    page.until_state("live")
    assert page.focus() == "connect"


def test_every_control_has_a_name(server, page):
    page.open(server)
    nameless = """return [...document.querySelectorAll('input, select, textarea, button, summary, section, ol')]
        .filter(node => !(node.labels?.length || node.textContent.trim() || node.getAttribute('aria-label') ||
                          node.getAttribute('aria-labelledby'))).map(node => node.outerHTML)"""
    assert page.browser.execute_script(nameless) == []
    assert page.browser.execute_script("return document.documentElement.lang") == "en"
    page.connect("topic:spoken")
    assert page.text("announce-state").startswith("Live")


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_commands_do_what_the_screen_says(server, page):
    """Without quoting, channel and payload would be dangerous to whoever pastes the command."""
    channel, payload = "topic:it's-$HOME", "it's $(id) `id` \"and\" more"
    page.open(server)
    page.fill("channels", f"{channel} topic:b")
    page.fill("payload", payload)
    page.browser.execute_script("document.getElementById('curl-box').open = true")
    page.until(lambda: "channel=topic%3Ab&last=10" in page.text("commands"), lambda: page.text("commands"))
    lines = [code.text for code in page.browser.find_elements(By.CSS_SELECTOR, "#commands code")]

    def run(line):
        return json.loads(subprocess.run(["sh", "-c", line], capture_output=True, check=True, timeout=SECONDS).stdout)

    assert run(lines[0])["channel"] == channel
    for line in lines[2:4]:
        assert [message["data"] for message in run(line)["messages"]] == [payload]


@pytest.mark.parametrize("size", [PHONE, NARROW, DESKTOP], ids=["phone", "narrow", "desktop"])
def test_nothing_sticks_out(server, page, size):
    page.see(*size)
    channel = "topic:wide-" + "w" * 120
    page.open(server).connect(channel, "websocket", "first")
    publish(server, channel, "unbroken" * 100)
    page.until(lambda: len(page.rows()) >= 1, page.rows)
    page.browser.execute_script("document.getElementById('curl-box').open = true")
    page.browser.execute_script("document.getElementById('key-box').open = true")
    for _ in range(2):
        wide = page.browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= size[0], f"{wide} px wide on a screen of {size[0]}"
        page.drop()


@pytest.mark.parametrize("name, size, scheme", [
    ("desktop-light", DESKTOP, "light"), ("desktop-dark", DESKTOP, "dark"),
    ("phone-light", PHONE, "light"), ("phone-dark", PHONE, "dark"), ("narrow-light", NARROW, "light")])
def test_looks(server, page, name, size, scheme):
    channel = f"short:{name}"
    page.see(*size)
    page.light(scheme)
    page.open(server)
    page.shot(name + "-0-first")
    page.connect(channel, "websocket", "first")
    publish(server, channel, "Parcel 4711 left the depot")
    publish(server, channel, '{"order":4711,"state":"on the way","eta":"14:20"}', "application/json")
    page.until(lambda: len(page.rows()) == 2, page.rows)
    page.shot(name + "-1-live")
    page.drop()
    for text in ["gone before you came back", "Driver is two stops away", "Driver is one stop away",
                 "Please leave it with a neighbour – I’m out until five, and the bell doesn’t work anyway."]:
        publish(server, channel, text)
    page.shot(name + "-2-away")
    page.press("retry")
    page.until(lambda: len(page.rows()) == 6, page.rows)
    publish(server, channel, "Delivered")
    recall(server, channel, 6)
    page.until(lambda: len(page.rows()) == 8, page.rows)
    page.press("publish")
    page.until(lambda: len(page.rows()) == 9 and page.counts()["caught-up"] == 3, page.counts)
    page.shot(name + "-3-resumed")
    page.browser.execute_script("document.querySelector('.stream').scrollIntoView()")
    page.shot(name + "-4-rows")
    page.browser.execute_script("document.getElementById('curl-box').open = true;"
                                "document.getElementById('curl-box').scrollIntoView()")
    page.until(lambda: "longwire sub" in page.text("commands"), lambda: page.text("commands"))
    page.shot(name + "-5-curl")
    page.light("light")


# Payloads that would break a transport which trusts them (threat 80).
AWKWARD = ["\r", "\n", "\r\n", "a\rb\nc\r\nd", "\n\n", "data: no\nid: no\n\n", "event: gap\ndata: {}\n\n", "\0", "a\0b",
           "\ufeff", "\ufeffdata: x", "--boundary\r\n", "\r\n--frontier--\r\n", ":", " leading", "\u2028\u2029", "",
           "\U0001f69a", "\x7f\x1b[31m", "\\u0000", '"', "</script>"]

EVENTS = """
const [url, count, done] = arguments;
const got = [], source = new EventSource(url);
source.onmessage = event => {
    got.push([JSON.parse(event.data).data, event.lastEventId]);
    if (got.length === count) { source.close(); done(got); }
};
source.onerror = () => { if (source.readyState === EventSource.CLOSED) done('refused'); };
"""


def test_threat_80_event_source_reads_the_same_bytes(server, page):
    channel = "topic:awkward"
    page.open(server)
    for text in AWKWARD:
        publish(server, channel, text)
    url = f"/v1/subscribe?channel={channel}&after=0"
    got = page.browser.execute_async_script(EVENTS, url, len(AWKWARD))
    assert [text for text, _ in got] == AWKWARD
    middle = len(AWKWARD) // 2
    rest = page.browser.execute_async_script(EVENTS, f"/v1/subscribe?last_event_id={got[middle - 1][1]}",
                                             len(AWKWARD) - middle)
    assert rest == got[middle:]


def test_threat_80_json_payloads_with_line_breaks(server, page):
    page.open(server)
    value = {"a": ["\r\n", "\0"], "b": {"data": "id: 1\n\n"}}
    for text in [json.dumps(value, indent=2), json.dumps(value, indent=2).replace("\n", "\r"),
                 json.dumps(value, indent=2).replace("\n", "\r\n")]:
        publish(server, "topic:broken-json", text, "application/json")
    got = page.browser.execute_async_script(EVENTS, "/v1/subscribe?channel=topic:broken-json&after=0", 3)
    assert [data for data, _ in got] == [value] * 3


def test_event_source_reconnects_by_itself(page):
    """The browser sends what it saw last to the old URL: Last-Event-ID overrides after= (threat 80)."""
    page.forgiven = ["net::ERR_"]
    with Server(flags=["--sse-retry-ms", "50"]) as server:
        page.open(server)
        publish(server, "topic:back", "1")
        page.browser.execute_script("""
            window.got = [];
            window.source = new EventSource('/v1/subscribe?channel=topic:back&after=0');
            source.onmessage = event => got.push(JSON.parse(event.data).data);""")
        page.until(lambda: page.browser.execute_script("return got") == ["1"], lambda: "nothing came")
        server.stop()
        server.start()
        publish(server, "topic:back", "2")
        page.until(lambda: page.browser.execute_script("return got") == ["1", "2"],
                   lambda: page.browser.execute_script("return got"))
        page.browser.execute_script("source.close()")


def test_an_event_source_of_230_channels_reconnects_by_itself(page):
    """Its last event id has the places of all, comes back beside the long URL, and nothing is lost or comes twice."""
    page.forgiven = ["net::ERR_"]
    channels = [f"topic:{number:04}-twenty-two!" for number in range(230)]
    assert {len(channel) for channel in channels} == {22}
    url = "/v1/subscribe?" + "&".join("channel=" + channel for channel in channels)
    with Server(flags=["--sse-retry-ms", "50"]) as server:
        page.open(server)
        page.browser.execute_async_script("""
            const [url, done] = arguments;
            window.got = [];
            window.source = new EventSource(url);
            source.onopen = done;
            source.onmessage = event => {
                const { channel, data } = JSON.parse(event.data);
                got.push([channel, data, event.lastEventId.length]);
            };""", url)
        publish(server, channels[229], "wait for it")
        page.until(lambda: page.browser.execute_script("return got"), lambda: "nothing came")
        server.stop()
        server.start()
        for number in (0, 100, 229):
            publish(server, channels[number], "again")
        page.until(lambda: len(page.browser.execute_script("return got")) >= 4,
                   lambda: page.browser.execute_script("return got"))
        got = page.browser.execute_script("source.close(); return got")
    assert got[0][:2] == [channels[229], "wait for it"]
    assert sorted(channel for channel, data, _ in got[1:] if data == "again") == [channels[n] for n in (0, 100, 229)]
    assert max(length for _, _, length in got) < 1000
