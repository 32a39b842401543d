"""The proxies of docs/operations.md, with exactly the configuration of that page: messages arrive one by one, and
WebSockets pass (threat 84)."""
import asyncio
import http.client
import json

import pytest
import websockets

import proxies
from longwire_server import Server
from waiting import SECONDS


def ask(port, method, path, body=None, headers=None):
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    link.request(method, path, body, headers or {})
    return link.getresponse()


@pytest.fixture(name="server", scope="module")
def server_fixture():
    with Server(config="origins = https://app.example\n") as server:
        yield server


@pytest.fixture(name="port", params=proxies.NAMES)
def port_fixture(request, server):
    with proxies.Proxy(request.param, server) as proxy:
        yield proxy.port


def publish(port, channel, text):
    answer = ask(port, "POST", f"/v1/channels/{channel}/messages", text)
    assert answer.status == 201
    return json.loads(answer.read())["seq"]


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson", "multipart/mixed"])
def test_each_message_comes_by_itself(port, accept):
    channel = f"topic:{port}-{accept[:3]}"
    publish(port, channel, "before")
    stream = ask(port, "GET", f"/v1/subscribe?channel={channel}&after=0", headers={"Accept": accept})
    assert stream.status == 200
    seen = b""
    for text in ["before", "one", "two", "three"]:
        if text != "before":
            publish(port, channel, text)  # only now: what comes was not held back for company
        while text.encode() not in seen:
            piece = stream.read1()  # raises after SECONDS
            assert piece, "the stream ended"
            seen += piece


def test_long_poll(port):
    channel = f"topic:{port}-poll"
    publish(port, channel, "one")
    page = json.loads(ask(port, "GET", f"/v1/subscribe?channel={channel}&after=0").read())
    assert [message["data"] for message in page["messages"]] == ["one"]
    publish(port, channel, "two")
    page = json.loads(ask(port, "GET", f"/v1/subscribe?cursor={page['cursor']}").read())
    assert [message["data"] for message in page["messages"]] == ["two"]


def test_host_is_passed_on(port):
    """Otherwise a page of the proxy's own origin would be refused."""
    headers = {"Host": "app.example", "Origin": "https://app.example"}
    assert ask(port, "GET", "/healthz", headers=headers).status == 200
    assert ask(port, "GET", "/healthz", headers={**headers, "Origin": "https://other.example"}).status == 403


async def follow(port, channel):
    async with websockets.connect(f"ws://127.0.0.1:{port}/v1/ws?channel={channel}") as link:
        for want in ["connected", "subscribed"]:
            assert json.loads(await asyncio.wait_for(link.recv(), SECONDS))["type"] == want
        await link.send(json.dumps({"type": "publish", "channel": channel, "data": "over a proxy"}))
        frames = [json.loads(await asyncio.wait_for(link.recv(), SECONDS)) for _ in range(2)]
        assert sorted(frame["type"] for frame in frames) == ["message", "published"]


def test_websocket(port):
    asyncio.run(follow(port, f"topic:{port}-ws"))
