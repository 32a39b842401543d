"""HTTP/2 by prior knowledge and by ALPN, spoken by curl and by python3-h2 (threat 68)."""
import json
import shutil
import subprocess

import pytest

from h2_link import H2Link
from longwire_server import Server, free_port, is_built
from test_tls import certificates  # noqa: F401  a fixture
from waiting import SECONDS

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

MESSAGES = "/v1/channels/topic:h2/messages"
FOLLOW = "/v1/subscribe?channel=topic:h2&after=0"
SSE = [("accept", "text/event-stream")]


@pytest.fixture(scope="module")
def server(certificates):  # noqa: F811
    """With `http` and `https`."""
    https = free_port()
    with Server(flags=["--https", f"127.0.0.1:{https}"], config=certificates.section("local")) as started:
        started.https = https
        yield started


@pytest.fixture(params=["http", "https"])
def link(request, server, certificates):  # noqa: F811
    tls = certificates.context() if request.param == "https" else None
    with H2Link("127.0.0.1", server.https if tls else server.port, tls) as opened:
        yield opened


def publish(link, payload, channel="topic:h2"):
    stream = link.answer("POST", f"/v1/channels/{channel}/messages", payload)
    assert stream.status == 201, (stream.status, stream.body)
    return json.loads(stream.body)


def test_publish_and_follow_on_one_link(link):
    channel = f"topic:one-{link.scheme}"
    follower = link.request("GET", f"/v1/subscribe?channel={channel}&after=0", headers=SSE)
    link.wait(lambda: follower.status == 200)
    assert follower.headers["content-type"].startswith("text/event-stream")
    assert publish(link, b"first", channel)["seq"] == 1
    link.wait(lambda: b'"data":"first"' in follower.body)
    assert publish(link, b"second", channel)["seq"] == 2
    link.wait(lambda: b'"data":"second"' in follower.body)
    assert not follower.is_ended and link.goaway is None


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_curl_speaks_http2(server, certificates, scheme):  # noqa: F811
    url = f"{scheme}://localhost:{server.https if scheme == 'https' else server.port}"
    speak = ["--http2-prior-knowledge"] if scheme == "http" else ["--http2", "--cacert", certificates.authority]
    got = subprocess.run(["curl", "-sS", "-4", *speak, "-w", "%{http_version} %{http_code}", "-d", "hello", url + MESSAGES],
                         capture_output=True, text=True, timeout=SECONDS, check=True)
    assert got.stdout.endswith("2 201")


def test_an_unread_stream_stalls_no_other(link):
    """Threat 68: 100 streams on one link, one of them not read."""
    channel = f"topic:unread-{link.scheme}"
    streams = [link.request("GET", f"/v1/subscribe?channel={channel}&after=0", headers=SSE) for _ in range(99)]
    streams[7].is_read = False
    link.wait(lambda: all(stream.status == 200 for stream in streams))
    payload, count = b"x" * 10000, 12
    for _ in range(count):
        publish(link, payload, channel)
    others = [stream for stream in streams if stream is not streams[7]]
    link.wait(lambda: all(stream.body.count(b'"seq"') == count for stream in others))
    assert len(streams[7].body) <= 65535
    link.h2.increment_flow_control_window(1 << 20, streams[7].number)  # it is read after all
    link.flush()
    link.wait(lambda: streams[7].body.count(b'"seq"') == count)


def test_a_stop_ends_streams_in_order():
    with Server() as stopping, H2Link("127.0.0.1", stopping.port) as opened, H2Link("127.0.0.1", stopping.port) as idle:
        assert idle.answer("GET", "/healthz").status == 200
        follower = opened.request("GET", FOLLOW, headers=SSE)
        opened.wait(lambda: follower.status == 200)
        process = stopping.terminate()
        opened.wait(lambda: follower.is_ended and opened.goaway is not None)
        assert opened.goaway == 0 and follower.reset is None
        idle.wait(lambda: idle.goaway is not None)
        assert idle.goaway == 0
        opened.socket.close()
        stopping.wait_stopped(process)
