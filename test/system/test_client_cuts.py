"""The behaviour suite of the client libraries: links are cut by force, at any moment, on every transport; each message
arrives once and in order, and each publish is stored once.

A library takes part with a program in DRIVERS (client_driver.py).
"""
import http.client
import json
import random
import threading
import urllib.parse
import urllib.request

import pytest

from client_driver import JAVASCRIPT, NODE, C, Driver
from cut_link import Link
from longwire_server import Server, is_built
from waiting import SECONDS, wait_until

pytestmark = [pytest.mark.skipif(not is_built(), reason="longwired is not built"),
              pytest.mark.skipif(not NODE, reason="node is not installed")]

# json: a WebSocket with JSON frames; websocket: with the binary ones, where the server offers them
DRIVERS = {"js": (JAVASCRIPT, ["websocket", "json", "sse", "poll"]), "c": (C, ["native"])}
CASES = [pytest.param(program, transport, id=f"{name}-{transport}")
         for name, (program, transports) in DRIVERS.items() for transport in transports]
OVER = {"json": {"transports": ["websocket"], "encodings": ["json"]}}
QUICK = {"base_ms": 20, "cap_ms": 200, "factor": 2, "jitter": 1}
CUTS = 25
PATIENCE_MS = 10000     # with a door that is silent; one that answers takes less, however busy the machine is


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server(config="reconnect_ms = 20\n[namespace short]\ndurability = memory\nkeep_count = 3\n") as server:
        yield server


def port_of(server, transport):
    return server.tcp_port if transport == "native" else server.port


def url_of(server, transport):
    return f"http://127.0.0.1:{port_of(server, transport)}"


@pytest.fixture(name="link")
def fixture_link(server, request):
    with Link(port_of(server, request.node.callspec.params.get("transport") if hasattr(request.node, "callspec") else None)) as link:
        yield link


def over(transport):
    return OVER.get(transport, {"transports": [transport]})


def messages_url(server, channel):
    return f"{server.url}/v1/channels/{urllib.parse.quote(channel, safe='')}/messages"


def publish(server, channel, text):
    request = urllib.request.Request(messages_url(server, channel), text.encode(), {"Content-Type": "text/plain"})
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return json.load(answer)


def history(server, channel):
    with urllib.request.urlopen(messages_url(server, channel) + "?limit=1000", timeout=SECONDS) as answer:
        return json.load(answer)["messages"]


class Publisher(threading.Thread):
    """Publishes to channels by turns over one connection, straight to the server, until end(); then knows `sent`."""

    def __init__(self, server, channels):
        super().__init__()
        self.channels, self.sent, self.is_over = channels, {channel: [] for channel in channels}, threading.Event()
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
        self.start()

    def run(self):
        number = 0
        while not self.is_over.wait(0.002):
            number += 1
            channel = self.channels[number % len(self.channels)]
            text = f"{number} of {channel}"
            self.connection.request("POST", f"/v1/channels/{channel}/messages", text, {"Content-Type": "text/plain"})
            answer = self.connection.getresponse()
            assert answer.status == 201, answer.read()
            answer.read()
            self.sent[channel].append(text)
        self.connection.close()

    def end(self):
        self.is_over.set()
        self.join()


def check_once_and_in_order(client, publisher):
    for channel, sent in publisher.sent.items():
        client.until_count(channel, len(sent))
        assert client.texts(channel) == sent, channel
        assert [message["seq"] for message in client.messages(channel)] == list(range(1, len(sent) + 1))
    assert client.of("gap") == []


@pytest.mark.parametrize("program, transport", CASES)
def test_each_message_once_and_in_order(server, link, program, transport):
    """Cut between messages, in the middle of bytes, and before the first one has come."""
    channels = [f"topic:cut-{transport}-{i}" for i in range(3)]
    dice = random.Random(transport)
    with Driver(program, link.url, {channel: {} for channel in channels}, **over(transport), backOff=QUICK) as client:
        client.until_live()
        link.cut()
        publisher = Publisher(server, channels)
        try:
            for _ in range(CUTS):
                link.bytes_max = dice.choice([None, None, 150, 700, dice.randrange(1, 20000)])
                before = len(client.messages(channels[0]))
                if link.bytes_max is None:
                    client.until(lambda: len(client.messages(channels[0])) > before, "nothing more came")
                else:
                    taken = link.taken
                    link.cut()
                    client.until(lambda: link.taken > taken, "it did not come again")
                link.cut()
            link.bytes_max = None
        finally:
            publisher.end()
        link.cut()
        check_once_and_in_order(client, publisher)


@pytest.mark.parametrize("program, transport", CASES)
def test_a_slow_handler_gets_each_message_once(server, link, program, transport):
    """What waits for the application when the link is cut is neither lost nor handed over again."""
    channel = f"topic:slow-{transport}"
    with Driver(program, link.url, {channel: {}}, handler_ms=15, **over(transport), backOff=QUICK) as client:
        client.until_live()
        publisher = Publisher(server, [channel])
        try:
            for _ in range(5):
                before = len(client.messages(channel))
                client.until(lambda: len(client.messages(channel)) > before + 2, "nothing more came")
                link.cut()
        finally:
            publisher.end()
        check_once_and_in_order(client, publisher)


@pytest.mark.parametrize("program, transport", CASES)
def test_each_publish_is_stored_once_and_in_order(server, link, program, transport):
    channel = f"topic:publish-{transport}"
    texts = [f"message {i}" for i in range(150)]
    with Driver(program, link.url, {channel: {}}, **over(transport), backOff=QUICK) as client:
        client.until_live()
        for i, text in enumerate(texts):
            client.say("publish", channel=channel, data=text)
            if i % 10 == 5:
                wanted = i - 4
                client.until(lambda: len(client.of("published")) >= wanted, "publishes are not answered")
                link.cut()
        client.until(lambda: len(client.of("published")) == len(texts), "not all are answered")
        client.until_count(channel, len(texts))
        assert client.texts(channel) == texts
    assert [message["data"] for message in history(server, channel)] == texts


@pytest.mark.parametrize("program, transport", CASES)
def test_the_server_is_killed(program, transport):
    channels = ["topic:a", "topic:b"]
    with Server() as server, Driver(program, url_of(server, transport), {name: {} for name in channels}, **over(transport), backOff=QUICK) as client:
        client.until_live()
        publishers = []
        for _ in range(3):
            publishers.append(Publisher(server, channels))
            wait_until(lambda: len(publishers[-1].sent["topic:a"]) > 20)
            publishers[-1].end()
            server.kill()
            client.until(lambda: client.state()["name"] == "away", "it does not notice")
            server.start()
        for channel in channels:
            sent = [text for publisher in publishers for text in publisher.sent[channel]]
            client.until_count(channel, len(sent))
            assert client.texts(channel) == sent


@pytest.mark.parametrize("program, transport", CASES)
def test_places_outlive_the_program(server, link, tmp_path, program, transport):
    """Also the place of a channel in which nothing has come yet; and the program is killed, not closed."""
    channels = {f"topic:kept-{transport}": {}, f"topic:kept-quiet-{transport}": {}}
    busy, quiet = channels
    with Driver(program, link.url, channels, store_file=tmp_path / "places", **over(transport)) as client:
        client.until_live()
        publish(server, busy, "first")
        client.until_count(busy, 1)
        wait_until(lambda: f'"{busy}"' in (tmp_path / "places").read_text(), seconds=SECONDS)
        wait_until(lambda: json.loads((tmp_path / "places").read_text())["places"].get(busy, {}).get("seq") == 1)
        client.kill()
    publish(server, busy, "while away")
    publish(server, quiet, "the first one here")
    with Driver(program, link.url, channels, store_file=tmp_path / "places", **over(transport)) as client:
        client.until_count(busy, 1)
        client.until_count(quiet, 1)
        publish(server, busy, "last")
        client.until_count(busy, 2)
        assert client.texts(busy) == ["while away", "last"] and client.texts(quiet) == ["the first one here"]


@pytest.mark.parametrize("program, transport", CASES)
def test_channels_come_and_go_on_a_live_link(server, link, program, transport):
    names = [f"topic:go-{transport}-{i}" for i in range(4)]
    with Driver(program, link.url, {names[0]: {}}, **over(transport), backOff=QUICK) as client:
        client.until_live()
        for name in names[1:]:
            publish(server, name, "before")
            client.say("subscribe", channel=name, last=1)
            client.until_count(name, 1)
        client.say("unsubscribe", channel=names[1])
        client.say("subscribe", channel=names[1], after=0)
        client.until_count(names[1], 2)
        for name in names:
            publish(server, name, "after")
        for name, texts in zip(names, [["after"], ["before", "before", "after"], ["before", "after"], ["before", "after"]]):
            client.until_count(name, len(texts))
            assert client.texts(name) == texts


@pytest.mark.parametrize("program, transport", CASES)
def test_a_gap_is_told_and_a_snapshot_heals_it(server, link, program, transport):
    plain, healed = f"short:plain-{transport}", f"short:healed-{transport}"
    first = publish(server, healed, "1")
    for i in range(2, 7):
        publish(server, healed, str(i))
    publish(server, plain, "1")
    with Driver(program, link.url, {plain: {"after": 0}, healed: {"state": {"seq": 5, "epoch": first["epoch"]}}},
                **over(transport), backOff=QUICK) as client:
        client.until_count(healed, 1)
        client.until_count(plain, 1)
        assert client.texts(healed) == ["6"], "the snapshot was taken behind 5"
        link.down()
        client.until(lambda: client.state()["name"] != "live", "it does not notice")
        for i in range(2, 9):
            publish(server, plain, str(i))
            publish(server, healed, str(i + 5))
        link.up()
        client.until_count(plain, 4)
        client.until_count(healed, 4)
        assert client.texts(plain) == ["1", "6", "7", "8"]
        assert [(gap["from"], gap["to"], gap["why"]) for gap in client.of("gap", plain)] == [(2, 5, "trimmed")]
        assert [event["why"] for event in client.of("state asked")] == ["first", "gap"]
        assert [(gap["from"], gap["to"]) for gap in client.of("gap", healed)] == [(7, 10)], "a snapshot of 5 does not heal it"


@pytest.mark.parametrize("program, transport", CASES)
def test_one_refused_channel_does_not_end_the_others(server, program, transport):
    good = f"topic:good-{transport}"
    with Driver(program, url_of(server, transport), {good: {}, "nowhere:x": {}}, **over(transport)) as client:
        client.until(lambda: client.of("refused", "nowhere:x"), "not refused")
        client.until(lambda: client.of("ready", good), "not ready")
        assert client.of("refused")[0]["code"] == 404
        publish(server, good, "hello")
        client.until_count(good, 1)


class Censor(Link):
    """A proxy that dislikes words in requests: it closes the connection, or holds the answer back."""

    def __init__(self, target_port, closed=(), held=()):
        super().__init__(target_port)
        self.closed, self.held, self.held_back = closed, held, set()

    def pump(self, source, drain, left):
        is_client = any(source is client for client, _ in self.pairs)
        super().pump(*((Reading(self, source, drain), drain) if is_client else (source, Answer(self, source, drain))), left)


class Reading:
    """The client's end of a connection: looks at what is read from it."""

    def __init__(self, censor, source, drain):
        self.censor, self.source, self.drain = censor, source, drain

    def recv(self, size):
        data = self.source.recv(size)
        if any(word in data for word in self.censor.closed):
            return b""
        if any(word in data for word in self.censor.held):
            self.censor.held_back.add(self.drain)
        return data

    def __getattr__(self, name):
        return getattr(self.source, name)


class Answer:
    """The same end, as the server's answers are written to it."""

    def __init__(self, censor, source, drain):
        self.censor, self.source, self.drain = censor, source, drain

    def sendall(self, data):
        if self.source not in self.censor.held_back:
            self.drain.sendall(data)

    def __getattr__(self, name):
        return getattr(self.drain, name)


WEBSOCKET, EVENT_STREAM = b"websocket", b"text/event-stream"


@pytest.mark.parametrize("closed, held, transport", [
    ([WEBSOCKET], [], "sse"), ([WEBSOCKET, EVENT_STREAM], [], "poll"), ([], [WEBSOCKET], "sse"), ([WEBSOCKET], [EVENT_STREAM], "poll")])
def test_falls_back_to_what_works_and_stays_there(server, closed, held, transport):
    channel = f"topic:fall-{len(closed)}-{len(held)}-{transport}"
    with Censor(server.port, closed, held) as link, Driver(JAVASCRIPT, link.url, {channel: {}}, backOff=QUICK, patienceMs=PATIENCE_MS) as client:
        client.until_live()
        assert client.state()["transport"] == transport
        reasons = client.state()["fallBacks"]
        assert [reason["transport"] for reason in reasons] == ["websocket", "sse"][:len(reasons)] and all(reason["why"] for reason in reasons)
        for text in ["one", "two", "three"]:
            publish(server, channel, text)
            client.until(lambda: text in client.texts(channel), "it did not come")
            link.cut()
        client.say("publish", channel=channel, data="its own")
        client.until_count(channel, 4)
        assert client.texts(channel) == ["one", "two", "three", "its own"]
        assert {state["transport"] for state in client.of("state") if state["name"] == "live"} == {transport}


def test_a_server_that_is_down_is_no_reason_to_leave_the_websocket(server, link):
    with Driver(JAVASCRIPT, link.url, {"topic:down": {}}, backOff=QUICK) as client:
        client.until_live()
        link.down()
        client.until(lambda: sum(state["name"] == "away" for state in client.of("state")) >= 4, "it does not try")
        link.up()
        client.until_live()
        assert client.state()["transport"] == "websocket"


@pytest.mark.parametrize("program, transport", CASES)
def test_a_link_that_is_silent_is_left(server, program, transport):
    """Nothing comes and nothing ends: the client notices, comes again, and has missed nothing."""
    channel = f"topic:silent-{transport}"
    with Censor(port_of(server, transport)) as link, Driver(program, link.url, {channel: {}}, **over(transport), backOff=QUICK,
                                              patienceMs=1000, silenceMs=1000, pollWaitS=1) as client:
        client.until_live()
        publish(server, channel, "before")
        client.until_count(channel, 1)
        with link.lock:
            link.held_back.update(drain for _, drain in link.pairs)
        publish(server, channel, "unheard")
        client.until_count(channel, 2)
        assert client.texts(channel) == ["before", "unheard"]
