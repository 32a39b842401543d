"""The proxies of docs/operations.md, with exactly the configuration of that page: messages arrive one by one and at
once, and WebSockets pass (threat 84)."""
import asyncio
import http.client
import json
import selectors
import socket
import statistics
import time

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


EVENTS = 20
HELD_BACK_SECONDS = 0.04    # what a delayed acknowledgement (RFC 1122 4.2.3.2) takes at least, on Linux


def raw_stream(port, path, accept):
    """A socket on which the answer's bytes can be waited for; nothing of them is kept in a buffer beside it."""
    link = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
    link.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: {accept}\r\n\r\n".encode())
    return link


def arrivals(links, text):
    """{name: when the text had come on that socket}"""
    at, seen = {}, dict.fromkeys(links, b"")
    with selectors.DefaultSelector() as selector:
        for name, link in links.items():
            selector.register(link, selectors.EVENT_READ, name)
        while len(at) < len(links):
            ready = selector.select(SECONDS)
            assert ready, f"{text} came only to {list(at)}"
            for key, _ in ready:
                piece = key.fileobj.recv(65536)
                assert piece, f"the stream of {key.data} ended"
                seen[key.data] += piece
                if text in seen[key.data]:
                    at.setdefault(key.data, time.monotonic())
    return at


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson", "multipart/mixed"])
def test_no_message_waits_for_the_next_one(server, port, accept):
    """Each message is published when the last one has come, to a reader of the server itself and to one behind the
    proxy. A proxy that lets small pieces wait until earlier ones are acknowledged adds 40 ms (Nagle's algorithm) or 200
    ms (TCP_CORK) to most of them. What the server and a busy machine take, both readers share; and the median forgives
    half of the messages."""
    channel = f"live:{port}-timed-{accept[:3]}"
    links = {name: raw_stream(at, f"/v1/subscribe?channel={channel}&after=0", accept)
             for name, at in (("direct", server.port), ("proxy", port))}
    arrivals(links, b"\r\n\r\n")
    later = []
    for number in range(EVENTS):
        publish(server.port, channel, f"timed {number}.")
        at = arrivals(links, f"timed {number}.".encode())
        later.append(at["proxy"] - at["direct"])
    for link in links.values():
        link.close()
    assert statistics.median(later) < HELD_BACK_SECONDS, [f"{1000 * seconds:.1f} ms" for seconds in later]


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
