"""Sessions that outlive their links: a device comes back and gets exactly what it missed, whoever cut the link; a newer link
fences an older one (threat 33); tickets; acknowledged places; kept subscriptions."""
import collections
import contextlib
import json
import random
import threading

import pytest

from longwire_server import Server, is_built
from native_link import NativeLink
from waiting import wait_until
from wire import Closed, Ended, Multipart, Ndjson, Poll, Sse, Ws, publish, request, wait_for_subscribers

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")


@pytest.fixture(scope="module")
def server():
    with Server() as running:
        yield running


class Device:
    """A device that remembers what it got. It acknowledges when it is told to, and drops what comes twice only if that was
    not acknowledged."""

    def __init__(self, server, user, device, link=Ws):
        self.link = link
        self.server, self.user, self.device = server, user, device
        self.ws = self.ticket = self.said = None
        self.got = collections.defaultdict(list)   # seqs of a channel, each once
        self.acked = {}  # … that the server has confirmed
        self.begun = {}  # … before this link
        self.repeats = 0

    def connect(self, **members):
        self.begun = dict(self.acked)
        self.ws = self.link(self.server).__enter__()
        self.said = self.ws.ask("connect", "connected", session=True, user=self.user, device=self.device, **members)
        self.ticket = self.said["ticket"]
        return self.said

    def resume(self):
        self.begun = dict(self.acked)
        self.ws = self.link(self.server).__enter__()
        self.said = self.ws.ask("connect", "connected", ticket=self.ticket)
        self.ticket = self.said["ticket"]
        return self.said

    def take(self, message):
        assert message["type"] == "message", message
        seqs = self.got[message["channel"]]
        if seqs and message["seq"] <= seqs[-1]:
            assert message["seq"] > self.begun.get(message["channel"], 0), "came again, though it was acknowledged"
            self.repeats += 1
            return
        assert message["seq"] == (seqs[-1] + 1 if seqs else message["seq"]), (message, seqs[-5:])
        seqs.append(message["seq"])

    def read(self, count):
        for _ in range(count):
            self.take(self.ws.next())

    def ack(self, channel, seq):
        answer = self.ws.ask("ack", "ack", channel=channel, seq=seq, ref=1)
        assert answer["channel"] == channel and answer["ref"] == 1
        return answer["seq"]

    def cut(self):
        """Without a word."""
        self.ws.wire.reset()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cut()


def sent(server, channel, payload=b"x"):
    return publish(server, channel, payload)["seq"]


def said_first(link, *kinds):
    """The first frame of one of those types: what stands before it is dropped."""
    while (got := json.loads(link.frame_text()))["type"] not in kinds:
        pass
    return got


names = iter(f"user{n}" for n in range(1000000))


@pytest.fixture(params=[Ws, NativeLink])
def phone(server, request):
    return Device(server, next(names), "phone", request.param)


def test_connected_tells_the_session(phone):
    said = phone.connect()
    assert said["session"] == f"{phone.user}/phone" and said["generation"] == 1 and said["resumed"] is False
    assert said["user"] == phone.user and said["device"] == "phone"
    assert len(said["ticket"]) > 60
    channels = {phone.ws.frame("subscribed")["channel"] for _ in range(2)}
    assert channels == {f"user:{phone.user}", f"device:{phone.user}/phone"}


def test_before_connect_there_is_no_session(server):
    with Ws(server) as ws:
        assert "session" not in ws.greeting
        error = ws.ask("ack", "error", channel="topic:a", seq=1, ref=7)
        assert error["code"] == 409 and error["ref"] == 7


def test_a_device_without_a_name_is_given_one(server):
    with Ws(server) as ws:
        first = ws.ask("connect", "connected", session=True, user=next(names))
        assert len(first["device"]) == 16
    with Ws(server) as ws:
        assert ws.ask("connect", "connected", session=True, user=first["user"])["device"] != first["device"]
        assert ws.ask("connect", "error", session=True, user="a/b", ref=1)["code"] == 400


def test_nobody_has_no_session(server):
    with Ws(server) as ws:
        assert ws.ask("connect", "error", session=True)["code"] == 401


@pytest.mark.parametrize("way", ["name", "ticket"])
def test_it_comes_back_and_gets_what_it_missed(server, phone, way):
    sent(server, f"user:{phone.user}")  # before the session began
    phone.connect()
    for n in range(3):
        assert sent(server, f"user:{phone.user}") == n + 2
    phone.read(3)
    assert phone.ack(f"user:{phone.user}", 3) == 3
    phone.cut()
    for n in range(3):
        sent(server, f"user:{phone.user}")
        sent(server, f"device:{phone.user}/phone")
    said = phone.connect() if way == "name" else phone.resume()
    assert said["resumed"] is True and said["generation"] == 2
    phone.read(7)
    assert phone.got == {f"user:{phone.user}": [2, 3, 4, 5, 6, 7], f"device:{phone.user}/phone": [1, 2, 3]}
    assert phone.repeats == 1


def test_what_resume_names_is_acknowledged(server, phone):
    user = f"user:{phone.user}"
    phone.connect()
    for _ in range(4):
        sent(server, user)
    phone.read(4)
    phone.cut()
    said = phone.connect(resume={user: {"seq": 3}})
    assert said["resumed"] is True
    assert phone.ws.next()["seq"] == 4
    phone.cut()
    phone.connect()
    assert phone.ws.next()["seq"] == 4


def test_an_ack_beyond_the_head_counts_as_the_head(server, phone):
    user = f"user:{phone.user}"
    phone.connect()
    sent(server, user)
    phone.read(1)
    assert phone.ack(user, 99) == 1
    sent(server, user)
    phone.read(1)
    phone.cut()
    phone.connect()
    assert phone.ws.next()["seq"] == 2
    assert phone.ws.ask("ack", "error", channel="topic:foreign", seq=1)["code"] == 404


def test_the_newer_link_fences_the_older(server, phone):
    """Threat 33."""
    user = f"user:{phone.user}"
    phone.connect()
    for _ in range(3):
        sent(server, user)
    phone.read(3)
    older, ticket = phone.ws, phone.ticket
    assert phone.connect()["generation"] == 2
    sent(server, user)
    assert older.frame("replaced")["code"] == 4001
    assert older.closing() == (4001, "replaced")
    # Neither its ticket nor its acknowledgement counts any more, and the newer link lives on.
    with phone.link(server) as ws:
        error = ws.ask("connect", "error", ticket=ticket, ref=3)
        assert error["code"] == 401 and "stale" in error["reason"] and error["ref"] == 3
        assert ws.ask("connect", "error", ticket=ticket[:-4] + "AAAA")["code"] == 401
    phone.read(4)
    assert phone.got[user] == [1, 2, 3, 4]
    assert phone.ws.ask("ping", "pong")


def test_rapid_reconnects_leave_one_link(server, phone):
    """Threat 33: many links of one device at one moment, from several threads. One whose `connect` a newer one overtook on the
    way to the ledger is told that it was replaced, and has no generation."""
    links = [phone.link(server).__enter__() for _ in range(12)]
    answers = {}

    def connect(link):
        link.say("connect", session=True, user=phone.user, device="phone")
        answers[link] = said_first(link, "connected", "replaced")

    threads = [threading.Thread(target=connect, args=(link,)) for link in links]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    generations = sorted(said["generation"] for said in answers.values() if said["type"] == "connected")
    assert generations == list(range(1, len(generations) + 1))
    sent(server, f"user:{phone.user}")
    alive = []
    for link in links:
        if answers[link]["type"] == "replaced":
            assert link.closing() == (4001, "replaced")
            continue
        try:
            assert link.next()["seq"] == 1
            alive.append(link)
        except AssertionError as error:
            assert "replaced" in str(error)
            assert link.closing() == (4001, "replaced")
    assert [answers[link]["generation"] for link in alive] == generations[-1:]


def test_a_link_keeps_its_session_when_it_shows_who_it_is_again(server, phone):
    phone.connect()
    again = phone.ws.ask("connect", "connected", session=True, user=phone.user, device="phone")
    assert again["generation"] == 1
    assert phone.ws.ask("connect", "error", session=True, user=next(names))["code"] == 403


def test_kept_subscriptions(server, phone):
    topic = f"topic:{phone.user}"
    phone.connect()
    assert phone.ws.ask("subscribe", "subscribed", channel=topic, keep=True, ref=1)["head"] == 0
    sent(server, topic)
    phone.read(1)
    assert phone.ack(topic, 1) == 1
    phone.cut()
    sent(server, topic)
    phone.connect()
    phone.read(1)
    assert phone.got[topic] == [1, 2]
    phone.ws.ask("unsubscribe", "unsubscribed", channel=topic)
    assert phone.ws.ask("unsubscribe", "error", channel=f"user:{phone.user}")["code"] == 409
    phone.cut()
    sent(server, topic)
    phone.connect()
    sent(server, f"user:{phone.user}")
    assert phone.ws.next()["channel"] == f"user:{phone.user}"


def test_only_a_session_keeps(server):
    with Ws(server) as ws:
        assert ws.ask("subscribe", "error", channel="topic:a", keep=True)["code"] == 409


class Publisher:
    """Sends to a device and its user until told to stop; remembers what was acknowledged."""

    def __init__(self, server, channels):
        self.server, self.channels, self.stopping = server, channels, threading.Event()
        self.heads = collections.Counter()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    def run(self):
        chance = random.Random(4)
        while not self.stopping.is_set():
            channel = chance.choice(self.channels)
            try:
                self.heads[channel] = max(self.heads[channel], sent(self.server, channel))
            except (OSError, Closed, AssertionError):
                self.stopping.wait(0.02)  # the server is being killed


@pytest.mark.parametrize("seed", range(3))
def test_each_seq_once_in_order_while_links_and_the_server_die(seed):
    """One device is cut at random while messages flow, and the server is killed in the midst."""
    chance = random.Random(seed)
    with Server() as server:
        phone = Device(server, "alice", "phone")
        channels = ["user:alice", "device:alice/phone"]
        phone.connect()
        with Publisher(server, channels) as publisher:
            for turn in range(24):
                try:
                    phone.read(chance.randrange(1, 12))
                    for channel in channels:
                        if phone.got[channel] and chance.random() < 0.7:
                            phone.acked[channel] = phone.ack(channel, phone.got[channel][-1])
                except (OSError, Closed):
                    pass
                if turn in (8, 16):
                    server.kill()
                    server.start()
                    phone.acked.clear()  # the acknowledgements of the last second may be gone
                else:
                    phone.cut()
                for message in phone.ws.others:
                    phone.take(message)
                if chance.random() < 0.5:
                    phone.connect()
                else:
                    phone.resume()
                assert phone.said["resumed"] is True
        while any((phone.got[channel] or [0])[-1] < publisher.heads[channel] for channel in channels):
            phone.read(1)
        for channel in channels:
            assert phone.got[channel] == list(range(1, phone.got[channel][-1] + 1))
        phone.cut()


def test_a_stop_stores_what_was_acknowledged():
    with Server() as server, Device(server, "bob", "phone") as phone:
        phone.connect()
        sent(server, "user:bob")
        phone.read(1)
        phone.ack("user:bob", 1)
        stopping = server.terminate()
        assert phone.ws.frame("reconnect")
        phone.cut()
        server.wait_stopped(stopping)
        server.start()
        sent(server, "user:bob")
        phone.resume()
        assert phone.ws.next()["seq"] == 2


def test_too_many_devices_are_refused():
    with Server(flags=["--devices-per-user-max", "2"]) as server:
        for device in ("a", "b"):
            with Device(server, "carol", device) as one:
                one.connect()
        with Ws(server) as ws:
            assert ws.ask("connect", "error", session=True, user="carol", device="c")["code"] == 403
        with Device(server, "carol", "b") as again:
            assert again.connect()["resumed"]


@pytest.mark.parametrize("policy, kept", [("newest", {"c"}), ("one_per_class", {"b", "c"})])
def test_the_policy_ends_other_devices(policy, kept):
    with Server(flags=["--devices", policy]) as server:
        devices = {}
        for name, kind in (("a", "mobile"), ("b", "tablet"), ("c", "mobile")):
            devices[name] = Device(server, "dave", name)
            devices[name].connect(**{"class": kind})
        for name, device in devices.items():
            if name in kept:
                assert device.ws.ask("ping", "pong")
            else:
                assert device.ws.frame("replaced")
                with Ws(server) as ws:
                    assert ws.ask("connect", "error", ticket=device.ticket)["code"] == 401
            device.cut()


def test_tickets_of_a_configured_secret():
    config = "[tickets]\nsecret = 0123456789abcdef0123456789abcdef\n"
    with Server(config=config) as server, Server(config=config) as other, Device(server, "frank", "phone") as phone:
        phone.connect()
        phone.resume()
        with Ws(other) as ws:  # it knows the ticket, but not the session
            error = ws.ask("connect", "error", ticket=phone.ticket)
            assert error["code"] == 401 and "stale" in error["reason"]


def test_tickets_end():
    with Server(flags=["--ticket-ttl-s", "10"]) as server, Device(server, "erin", "phone") as phone:
        phone.connect()
        phone.resume()
        # Another server's tickets are nobody's.
        with Server() as other, Ws(other) as ws:
            assert ws.ask("connect", "error", ticket=phone.ticket)["code"] == 401
        assert request(server, "GET", "/healthz").status == 200


# --- sessions on HTTP transports ------------------------------------------------------------------------------------

STREAMS = {"sse": Sse, "ndjson": Ndjson, "multipart": Multipart}


class Stream:
    """A device on a stream or on polls, that comes back with the last cursor that it has seen."""

    def __init__(self, server, kind, user, extra=""):
        self.server, self.kind = server, kind
        self.query = f"user={user}&session=1&device=phone{extra}"
        self.cursor = self.reader = None

    def open(self):
        if self.reader is not None:
            self.reader.wire.reset()
        query = self.query + (f"&cursor={self.cursor}" if self.cursor else "")
        self.reader = STREAMS[self.kind](self.server, query) if self.kind != "poll" else Poll(self.server, query)
        return self

    def page(self, wait=0):
        query = self.query + (f"&cursor={self.cursor}" if self.cursor else "")
        answer = self.reader.ask(f"{query}&wait={wait}").want(200).json()
        self.cursor = answer["cursor"]
        return answer["messages"]

    def read(self, count):
        got = []
        while len(got) < count:
            if self.kind == "poll":
                got += self.page(wait=20)
            else:
                got.append(self.reader.next())
                self.cursor = self.reader.cursor
        return [(message["channel"].split(":")[0], message["seq"]) for message in got]

    def settle(self):
        if self.kind == "poll":
            assert self.page() == []
        elif self.kind != "multipart":  # it says no place before the first part
            self.reader.settle()
            self.cursor = self.reader.cursor

    def __enter__(self):
        return self.open()

    def __exit__(self, *_):
        self.reader.wire.close()


KINDS = [*STREAMS, "poll"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_over_http(server, kind):
    user = next(names)
    with Stream(server, kind, user) as phone:
        phone.settle()
        sent(server, f"user:{user}")
        sent(server, f"device:{user}/phone")
        assert sorted(phone.read(2)) == [("device", 1), ("user", 1)]
        for _ in range(3):
            sent(server, f"user:{user}")
        phone.open()
        assert phone.read(3) == [("user", 2), ("user", 3), ("user", 4)]
    # What a cursor named is acknowledged: the same device by another transport goes on from there.
    with Stream(server, kind, user) as phone:
        phone.open()
        again = phone.read(1)
        assert again[0] in [("user", 2), ("user", 3), ("user", 4)], again


@pytest.mark.parametrize("kind", KINDS)
def test_the_cursor_of_a_session_is_short(server, kind):
    user = next(names)
    with Stream(server, kind, user) as phone:
        phone.settle()
        sent(server, f"user:{user}")
        phone.read(1)
        assert len(phone.cursor) < 120
        assert "." in phone.cursor


@pytest.mark.parametrize("kind", KINDS)
def test_channels_beside_a_session(server, kind):
    user = next(names)
    topic = f"topic:{user}"
    with Stream(server, kind, user, extra=f"&channel={topic}") as phone:
        phone.settle()
        if kind != "poll":
            wait_for_subscribers(server, f"channel={topic}")
        sent(server, topic)
        assert phone.read(1) == [("topic", 1)]
        sent(server, topic)
        phone.open()
        assert phone.read(1) == [("topic", 2)]
    with Stream(server, kind, user) as phone:
        sent(server, topic)
        sent(server, f"user:{user}")
        assert phone.read(1)[0][0] == "user"


def test_a_replaced_stream_is_told_and_stays_away(server):
    """Two tabs with one device name don't fight: 204 stops an EventSource."""
    user = next(names)
    with contextlib.ExitStack() as streams:
        older = streams.enter_context(Stream(server, "sse", user))
        older.settle()      # its session is open, and its first id is told
        newer = streams.enter_context(Stream(server, "sse", user))
        with pytest.raises(Ended):
            while True:
                older.reader.fill()
        assert b"event: replaced" in older.reader.text
        old_id = older.cursor
        answer = request(server, "GET", f"/v1/subscribe?user={user}&session=1&device=phone", accept="text/event-stream",
                         last_event_id=old_id)
        assert answer.status == 204
        answer = request(server, "GET", f"/v1/subscribe?user={user}&session=1&cursor={old_id}", accept="application/x-ndjson")
        assert answer.want_problem(409)["title"] == "stale"
        newer.settle()
        sent(server, f"user:{user}")
        assert newer.read(1) == [("user", 1)]


def test_a_poll_of_an_older_generation_is_stale(server):
    user = next(names)
    with Stream(server, "poll", user) as older, Stream(server, "poll", user) as newer:
        older.settle()
        newer.settle()
        answer = older.reader.ask(f"{older.query}&cursor={older.cursor}&wait=0")
        assert answer.want_problem(409)["title"] == "stale"
        sent(server, f"user:{user}")
        assert newer.read(1) == [("user", 1)]


def test_polls_keep_their_generation(server):
    user = next(names)
    with Stream(server, "poll", user) as phone:
        phone.settle()
        for seq in range(1, 4):
            sent(server, f"user:{user}")
            before = phone.cursor
            assert phone.read(1) == [("user", seq)]
        # The same cursor again gives the same again, because the answer may have been lost.
        phone.cursor = before
        assert phone.read(1) == [("user", 3)]
    with Ws(server) as ws:
        assert ws.ask("connect", "connected", session=True, user=user, device="phone")["generation"] == 2


def test_a_stream_that_was_cut_before_its_first_id_comes_again(server):
    user = next(names)
    with Stream(server, "sse", user) as phone:
        phone.settle()
        for _ in range(3):
            Stream(server, "sse", user)
            query = f"/v1/subscribe?{phone.query}"
            with Poll(server, "") as link:
                link.wire.send(f"GET {query} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
                               f"Last-Event-ID: {phone.cursor}\r\n\r\n".encode())
                link.wire.head().want(200)
                link.wire.reset()
        phone.open()
        sent(server, f"user:{user}")
        assert phone.read(1) == [("user", 1)]


def test_posted_subscriptions_have_sessions(server):
    user = next(names)
    answer = request(server, "POST", f"/v1/subscribe?user={user}", b'{"session":true,"device":"phone","wait":0}',
                     accept="application/json", content_type="application/json").want(200).json()
    sent(server, f"user:{user}")
    body = b'{"cursor":"%s","wait":5}' % answer["cursor"].encode()
    again = request(server, "POST", f"/v1/subscribe?user={user}", body, accept="application/json",
                    content_type="application/json").want(200).json()
    assert [message["seq"] for message in again["messages"]] == [1]


@pytest.mark.parametrize("query, status", [
    ("session=1", 401), ("session=2&user=a", 400), ("session=1&user=a&device=a/b", 400),
    ("session=1&user=a&class=" + 33 * "x", 400), ("user=a&cursor=AAAA.", 400)])
def test_requests_for_sessions_are_checked(server, query, status):
    assert request(server, "GET", f"/v1/subscribe?{query}&wait=0", accept="application/json").status == status


@pytest.mark.parametrize("kind", KINDS)
def test_the_rest_of_a_group_that_was_left_comes_once(server, kind):
    """The cursor holds the place of a group that the session follows no more, until it is acknowledged."""
    user = next(names)
    with Stream(server, kind, user) as phone:
        phone.settle()
        request(server, "PUT", f"/v1/groups/{user}/members/{user}").want(200)
        for _ in range(3):
            sent(server, f"group:{user}")
        request(server, "DELETE", f"/v1/groups/{user}/members/{user}").want(200)
        sent(server, f"group:{user}")
        if kind == "multipart":
            phone.open()
        assert sorted(phone.read(5)) == [("group", 1), ("group", 2), ("group", 3), ("user", 1), ("user", 2)]
        for seq in range(3, 6):
            sent(server, f"user:{user}")
            assert phone.read(1) == [("user", seq)]
            phone.open()
        if kind == "poll":
            assert phone.page() == []
    sent(server, f"user:{user}")
    with Stream(server, kind, user) as phone:
        got = phone.read(1)
        if got == [("user", 5)]:     # the link that named its place may have been cut before the server read that
            got = phone.read(1)
        assert got == [("user", 6)]


def test_the_cursor_of_a_link_holds_the_places_of_its_session(server, phone):
    user, topic = f"user:{phone.user}", f"topic:{phone.user}"
    phone.connect()
    phone.ws.ask("subscribe", "subscribed", channel=topic)
    for _ in range(3):
        sent(server, user)
    phone.read(3)
    cursor = phone.ws.ask("cursor", "cursor", ref=1)["cursor"]
    sent(server, user)
    with Stream(server, "poll", phone.user) as tablet:
        tablet.cursor = cursor
        assert [(message["channel"], message["seq"]) for message in tablet.page()] == [(user, 4)]
    phone.cut()


def test_the_cursor_of_a_link_comes_back_in_connect(server, phone):
    """It holds what the session does not follow by itself, too, and acknowledges."""
    user, topic = f"user:{phone.user}", f"topic:{phone.user}"
    key = phone.connect()["connection"]
    phone.ws.ask("subscribe", "subscribed", channel=topic)
    sent(server, f"conn:{key}")     # is in no cursor: its channel ends with the link
    sent(server, user)
    sent(server, topic)
    phone.read(3)
    cursor = phone.ws.ask("cursor", "cursor", ref=1)["cursor"]
    phone.cut()
    sent(server, user)
    sent(server, topic)
    assert phone.connect(cursor=cursor)["resumed"]
    got = [phone.ws.frame("message") for _ in range(2)]
    assert sorted((message["channel"], message["seq"]) for message in got) == [(topic, 2), (user, 2)]
    phone.cut()
    for members, why in (({"device": "tablet", "session": True}, "another device"), ({}, "session")):
        with Ws(server) as ws:
            ws.say("connect", user=phone.user, cursor=cursor, **members)
            error = said_first(ws, "error")
            assert error["code"] == 400 and why in error["reason"]


@pytest.mark.parametrize("kind", [*STREAMS, "poll"])
def test_the_cursor_of_a_session_has_no_place_of_its_connections_channel(kind):
    with Server(config="connection_key_header = X-Key\n") as server:
        key = {"x_key": f"key-{kind}"}
        if kind == "poll":
            cursor = request(server, "GET", "/v1/subscribe?user=ann&session=1&device=phone&wait=0", **key).json()["cursor"]
        else:
            with STREAMS[kind](server, "user=ann&session=1&device=phone", **key) as stream:
                wait_until(lambda: request(server, "GET", f"/v1/channels/conn:key-{kind}").status == 200, "it does not follow it")
                sent(server, f"conn:key-{kind}")
                assert stream.next()["channel"] == f"conn:key-{kind}"
                cursor = stream.cursor
        assert cursor.endswith("."), "places stand behind the dot"


def test_a_device_moves_between_transports(server):
    """One session, whatever carries it; each takes it over from the one before."""
    user = next(names)
    phone = Device(server, user, "phone")
    phone.connect()
    seq = 0
    for kind in KINDS * 2:
        sent(server, f"user:{user}")
        seq += 1
        with Stream(server, kind, user) as stream:
            assert stream.read(seq) == [("user", n + 1) for n in range(seq)]
    said = phone.connect()
    assert said["resumed"] and said["generation"] == 10
    phone.cut()


# --- calls ------------------------------------------------------------------------------------------------------------

def acknowledge(server, user, body, device="phone"):
    return request(server, "POST", f"/v1/ack?user={user}&device={device}", body, content_type="application/json")


def test_places_are_acknowledged_by_a_call(server, phone):
    user = f"user:{phone.user}"
    phone.connect()
    for _ in range(4):
        sent(server, user)
    answer = acknowledge(server, phone.user, b'{"places":{"%s":3},"generation":1}' % user.encode())
    assert answer.want(200).json() == {"places": {user: 3}}
    assert acknowledge(server, phone.user, b'{"places":{"%s":99}}' % user.encode()).json() == {"places": {user: 4}}
    assert acknowledge(server, phone.user, b'{"places":{"%s":1}}' % user.encode()).json() == {"places": {user: 4}}
    places = b'{"places":{"%s":4,"device:%s/phone":7}}' % (user.encode(), phone.user.encode())
    assert acknowledge(server, phone.user, places).json() == {"places": {user: 4, f"device:{phone.user}/phone": 0}}
    phone.cut()
    sent(server, user)
    phone.connect()
    assert phone.ws.next()["seq"] == 5
    # The generation of an older link acknowledges nothing.
    acknowledge(server, phone.user, b'{"places":{"%s":5},"generation":1}' % user.encode()).want_problem(409)
    acknowledge(server, phone.user, b'{"places":{"topic:foreign":5}}').want_problem(404)
    acknowledge(server, phone.user, b'{"places":{"%s":5}}' % user.encode(), device="other").want_problem(404)
    acknowledge(server, phone.user, b'{"places":[]}').want_problem(400)
    acknowledge(server, phone.user, b'{"places":{"%s":5},"seq":1}' % user.encode()).want_problem(400)
    request(server, "POST", "/v1/ack", b'{"places":{"user:a":1}}', content_type="application/json").want_problem(401)
    phone.cut()


def test_the_devices_of_a_user(server, phone):
    assert request(server, "GET", f"/v1/users/{phone.user}").want(200).json() == {"user": phone.user, "devices": []}
    phone.connect()
    with Stream(server, "poll", phone.user) as tablet:
        tablet.query = tablet.query.replace("device=phone", "device=tablet")
        tablet.settle()
    devices = {each["device"]: each for each in request(server, "GET", f"/v1/users/{phone.user}").json()["devices"]}
    assert set(devices) == {"phone", "tablet"}
    transport = "native" if phone.link is NativeLink else "websocket"
    assert devices["phone"]["online"] and devices["phone"]["transport"] == transport
    assert devices["phone"]["session"] == f"{phone.user}/phone"
    assert devices["tablet"]["online"] and devices["tablet"]["transport"] == "poll"  # for poll_lease_s more
    phone.cut()
    wait_until(lambda: not request(server, "GET", f"/v1/users/{phone.user}").json()["devices"][0]["online"])


def test_a_session_follows_the_groups_of_its_user(server, phone):
    """From the moment of the joining, also if the device was away then."""
    group = f"group:{phone.user}"
    member = f"/v1/groups/{phone.user}/members/{phone.user}"
    phone.connect()
    phone.cut()
    sent(server, group)
    assert request(server, "PUT", member).want(200).json()["member"] is True
    for _ in range(2):
        sent(server, group)
    phone.connect()
    news = [hear(phone.ws) for _ in range(3)]
    assert ("membership", f"user:{phone.user}", 1) in news
    assert [seq for _, channel, seq in news if channel == group] == [2, 3]
    assert phone.ack(group, 2) == 2
    phone.cut()
    phone.resume()
    assert ("message", group, 3) in [hear(phone.ws) for _ in range(2)]
    phone.cut()


def hear(ws):
    """The next message of any kind: its type, channel and seq."""
    while (frame := json.loads(ws.frame_text()))["type"] in ("subscribed", "ping"):
        pass
    return frame["type"], frame["channel"], frame["seq"]
