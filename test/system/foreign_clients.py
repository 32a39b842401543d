"""Client libraries of others, used as their own pages say. Each follows one channel from its first message, and comes back
with its own last event id or place:

    client.open(url, channel)
    client.seen()       # [{"text": …, "id": …, "at": milliseconds}]
    client.ends()       # how often its link ended, failed or was refused
    client.close()      # after the proxy has ended
"""
import asyncio
import json
import threading
import time
import urllib.parse

import aiohttp
import requests
import websocket

from waiting import SECONDS

COME_BACK_SECONDS = 0.2
BROKEN = (requests.RequestException, aiohttp.ClientError, websocket.WebSocketException, OSError)


def subscribe_url(url, channel, **query):
    return f"{url}/v1/subscribe?{urllib.parse.urlencode({'channel': channel, **query})}"


class BrowserClient:
    """One of test/javascript: they come back by themselves."""

    def __init__(self, browser, name):
        self.browser, self.name = browser, name

    def open(self, url, channel):
        self.browser.execute_script("follow(...arguments)", self.name, subscribe_url(url, channel, after=0))

    def seen(self):
        return self.browser.execute_script("return seen[arguments[0]]", self.name)

    def ends(self):
        return self.browser.execute_script("return ends[arguments[0]]", self.name)

    def close(self):
        """Its page is closed by whoever opened it."""


class ThreadClient:
    """A library that leaves it to its user to come back."""

    name = None

    def __init__(self):
        self.events, self.end_count, self.is_over, self.last_id = [], 0, False, None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def open(self, url, channel):
        self.url, self.channel = url, channel
        self.thread.start()

    def run(self):
        while not self.is_over:
            try:
                self.follow()
            except BROKEN as why:
                print(f"{self.name}: {why!r}")
            self.end_count += 1
            time.sleep(COME_BACK_SECONDS)

    def take(self, message):
        if message["type"] == "cursor":  # where the stream stands before its first message
            return
        assert message["type"] == "message", message
        self.events.append({"text": message["data"], "id": self.last_id, "at": 1000 * time.time()})

    def seen(self):
        return list(self.events)

    def ends(self):
        return self.end_count

    def close(self):
        self.is_over = True
        self.thread.join(SECONDS)
        assert not self.thread.is_alive(), f"{self.name} hangs"


class EventLines:
    """Takes the lines of an event stream apart (WHATWG HTML 9.2.6), as far as such a user would."""

    def __init__(self, client):
        self.client, self.fields = client, {}

    def take(self, line):
        if line:
            name, _, value = line.partition(":")
            self.fields[name] = value.removeprefix(" ")
            return
        fields, self.fields = self.fields, {}
        self.client.last_id = fields.get("id", self.client.last_id)
        if "data" in fields:
            self.client.take(json.loads(fields["data"]))


class StreamClient(ThreadClient):
    def headers(self):
        return {"Accept": "text/event-stream", **({"Last-Event-ID": self.last_id} if self.last_id else {})}


class Requests(StreamClient):
    """Reads the lines as text, in the encoding that the answer names."""

    name = "requests"

    def follow(self):
        lines = EventLines(self)
        with requests.get(subscribe_url(self.url, self.channel, after=0), headers=self.headers(), stream=True,
                          timeout=SECONDS) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines(decode_unicode=True):
                lines.take(line)


class Aiohttp(StreamClient):
    name = "aiohttp"

    def follow(self):
        asyncio.run(self.follow_async())

    async def follow_async(self):
        lines, timeout = EventLines(self), aiohttp.ClientTimeout(total=None, sock_read=SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session:
            async with session.get(subscribe_url(self.url, self.channel, after=0), headers=self.headers()) as answer:
                async for line in answer.content:
                    lines.take(line.decode().rstrip("\r\n"))


class WebsocketClient(ThreadClient):
    """Its place is epoch and seq of the last message."""

    name = "websocket-client"
    place = {"after": 0}

    def follow(self):
        link = websocket.create_connection(f"ws{self.url[4:]}/v1/ws", timeout=SECONDS, subprotocols=["longwire.json.v1"])
        try:
            link.send(json.dumps({"type": "subscribe", "channel": self.channel, **self.place}))
            while text := link.recv():
                frame = json.loads(text)
                if frame["type"] == "message":
                    self.place = {"after": frame["seq"], "epoch": frame["epoch"]}
                    self.take(frame)
        finally:
            link.close()


THREAD_CLIENTS = [Requests, Aiohttp, WebsocketClient]
BROWSER_CLIENTS = ["EventSource", "event-source-polyfill", "fetch-event-source"]
