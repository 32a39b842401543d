"""The event sources of others read back the bytes that were published (threat 80): Chromium's own, and npm's `eventsource`. Payloads are
drawn from pieces that would break a transport which trusts them; each reader goes on from the last event id that it got.

LW_SEED     seed of the payloads; random unless told, printed with a failure
"""
import json
import os
import random
import shutil
import subprocess
import urllib.parse

import pytest

from browser import needs_chromium, open_chromium
from longwire_client import Api, payload_of
from longwire_server import BUILD, ROOT, Server, is_built
from waiting import SECONDS

NODE = shutil.which("node")
LIBRARIES = BUILD / "javascript"
SEED = int(os.environ.get("LW_SEED", random.randrange(1 << 32)))
COUNT = 400
PIECES = [b"\r", b"\n", b"\r\n", b"\0", "\ufeff".encode(), b"data: ", b"id: 7", b"event: gap\n", b"retry: 0\n", b":", b" ",
          b"--boundary\r\n", b"\r\n--frontier--\r\n", "\u2028\u2029\x85".encode(), "\U0001f69a".encode(), b"\x7f\x1b[31m", b"\\u0000", b'"', b"</script>",
          b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80", b"{}", b"[1e5]", b"\t"]
MEDIA = ["text/plain", "application/octet-stream", "text/event-stream", "application/x-odd; charset=\"utf-8\""]

pytestmark = pytest.mark.skipif(not is_built(), reason="longwired is not built")


def draw_payload(rng):
    return b"".join(rng.choice([*PIECES, rng.randbytes(3)]) for _ in range(rng.randrange(12)))


@pytest.fixture(name="published", scope="module")
def fixture_published():
    """A server, the URL of a channel from its beginning, and the payloads in it."""
    print(f"LW_SEED={SEED}")
    rng = random.Random(SEED)
    payloads = [b"", *PIECES, *(draw_payload(rng) for _ in range(COUNT))]
    with Server() as server:
        api = Api(server.url)
        for payload in payloads:
            assert api.publish("topic:bytes", payload, media=rng.choice(MEDIA)).status == 201
        api.close()
        yield server, payloads


def hear_in_node(_server, url, count):
    subprocess.run([ROOT / "setup" / "javascript", LIBRARIES], check=True)
    done = subprocess.run([NODE, ROOT / "test" / "javascript" / "event_source.js", url, str(count)], capture_output=True, text=True,
                          timeout=SECONDS, env={**os.environ, "NODE_PATH": str(LIBRARIES / "node_modules")}, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


HEAR = """
const [url, count, done] = arguments;
const heard = [], source = new EventSource(url);
source.onmessage = ({ data, lastEventId }) => {
    heard.push([data, lastEventId]);
    if (heard.length === count) { source.close(); done(heard); }
};
source.onerror = () => done('error');
"""


def hear_in_chromium(server, url, count):
    with open_chromium() as browser:
        browser.get(server.url + "/")
        heard = browser.execute_async_script(HEAR, url, count)
    assert heard != "error"
    return heard


def check(published, hear):
    server, payloads = published
    url = f"{server.url}/v1/subscribe?channel=topic:bytes"
    heard = hear(server, url + "&after=0", len(payloads))
    assert [payload_of(json.loads(data)) for data, _ in heard] == payloads
    middle = len(payloads) // 2
    cursor = urllib.parse.quote(heard[middle - 1][1])
    assert hear(server, f"{url}&last_event_id={cursor}", len(payloads) - middle) == heard[middle:]


@pytest.mark.skipif(not NODE, reason="node is not installed")
def test_threat_80_npm_eventsource_reads_the_same_bytes(published):
    check(published, hear_in_node)


@needs_chromium
def test_threat_80_chromium_reads_the_same_bytes(published):
    check(published, hear_in_chromium)
