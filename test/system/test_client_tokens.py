"""The JavaScript client with tokens that run out, against the real server: the application is asked for a fresh one, and nothing is
lost or comes twice."""
import json
import urllib.request

import pytest

from client_driver import JAVASCRIPT, NODE, Driver
from longwire_server import Server, is_built
from waiting import SECONDS

pytestmark = [pytest.mark.skipif(not is_built(), reason="longwired is not built"),
              pytest.mark.skipif(not NODE, reason="node is not installed")]

SECRET, KEY = "what-the-issuer-and-the-server-share", "a-key-for-the-back-end"
CONFIG = f"""
[jwt app]
secret = {SECRET}
leeway_s = 0

[key backend]
secret = {KEY}
rights = publish
"""
QUICK = {"base_ms": 20, "cap_ms": 200, "factor": 2, "jitter": 1}
OVER = {"binary": {"encodings": ["binary"]}, "json": {"encodings": ["json"]}, "sse": {"transports": ["sse"]}, "poll": {"transports": ["poll"], "pollWaitS": 1}}


def publish(server, text):
    request = urllib.request.Request(server.url + "/v1/channels/user:ann/messages", text.encode(),
                                     {"Content-Type": "text/plain", "Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return json.load(answer)


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server(config=CONFIG) as server:
        yield server


@pytest.mark.parametrize("how", OVER)
def test_a_token_that_runs_out_is_renewed(server, how):
    is_link = how in ("binary", "json")     # it goes on, if the token is renewed in time: the client asks in the first half
    tokens = {"secret": SECRET, "user": "ann", "seconds": 12 if is_link else 3}
    with Driver(JAVASCRIPT, server.url, {"user:ann": {}}, tokens=tokens, backOff=QUICK, **OVER[how]) as client:
        client.until(lambda: client.of("ready"), "not ready")
        sent = []
        while len(client.of("token asked")) < 4:
            sent.append(f"{len(sent)} {how}")
            publish(server, sent[-1])
            client.until(lambda: client.texts("user:ann") == sent, f"{sent} has not come")
        assert client.of("token asked")[0]["why"] == "start"
        assert {asked["why"] for asked in client.of("token asked")[1:]} <= {"expiring", "refused"}
        if is_link:
            assert len([state for state in client.of("state") if state["name"] == "live"]) == 1, "the link did not go on"


@pytest.mark.parametrize("how", OVER)
def test_a_token_of_another_issuer_is_asked_for_twice_and_no_more(server, how):
    tokens = {"secret": "somebody-else-has-written-this-one", "user": "ann", "seconds": 60}
    with Driver(JAVASCRIPT, server.url, {"user:ann": {}}, tokens=tokens, backOff=QUICK, **OVER[how]) as client:
        client.until(lambda: client.state()["name"] == "closed", "it goes on")
        assert [asked["why"] for asked in client.of("token asked")] == ["start", "refused"]
        assert client.of("error")[-1]["code"] == 401
