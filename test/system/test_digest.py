"""The digest of places that a beat carries: the server's answer at every position of the stream, in both encodings, and what
the client libraries do when a frame is lost on the way."""
import contextlib
import json
import random
import threading

import pytest

from longwire_server import Server
from native_link import NativeLink
from link_places import LinkPlaces, digest_of
from wire import Closed, Ws, fresh, metric, path_of, request

USER = {"user": "ann", "device": "phone", "session": True}


class Link:
    """A link that knows its places."""

    def __init__(self, server, encoding, **connect):
        self.seen, self.asked = LinkPlaces(), 0
        self.link = (Ws if encoding == "json" else NativeLink)(server)
        self.until("connected", ref=self.say({"type": "connect", **connect}))

    def __enter__(self):
        self.link.__enter__()
        return self

    def __exit__(self, *_):
        self.link.__exit__(None, None, None)

    def say(self, frame):
        self.asked += 1
        self.seen.ask(frame)
        self.link.say(**{"kind" if name == "type" else name: value for name, value in frame.items()}, ref=self.asked)
        return self.asked

    def next(self):
        frame = json.loads(self.link.frame_text())
        self.seen.take(frame)
        return frame

    def until(self, kind, **members):
        while True:
            frame = self.next()
            assert frame["type"] != "error", frame
            if frame["type"] == kind and all(frame.get(name) == value for name, value in members.items()):
                return frame

    def ping(self, **members):
        return self.until("pong", ref=self.say({"type": "ping", **members}))

    def agrees(self):
        """The server's answers are what this link has seen, at the position of each."""
        differs = self.ping(digest="0000000000000000")
        if "digest" in differs:
            assert differs["digest"] == self.seen.digest()
        told = self.ping(places=True)
        if "places" in told:
            assert told["places"] == self.seen.places
        return "places" in told


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server() as server:
        yield server


def publish(server, channel, count=1):
    for number in range(count):
        request(server, "POST", path_of(channel) + "/messages", f"n{number}".encode()).want(201)


@pytest.mark.parametrize("encoding", ["json", "native"])
def test_who_agrees_is_answered_in_short(server, encoding):
    channel = fresh()
    publish(server, channel, 3)
    with Link(server, encoding) as link:
        assert link.ping(digest=digest_of({})).keys() == {"type", "ref"}
        assert link.ping(digest="00000000000000ff")["digest"] == "0000000000000000"
        link.until("subscribed", ref=link.say({"type": "subscribe", "channel": channel, "after": 1}))
        link.until("message", seq=3)
        assert link.ping(digest=link.seen.digest()).keys() == {"type", "ref"}
        assert link.agrees()
        link.until("unsubscribed", ref=link.say({"type": "unsubscribe", "channel": channel}))
        assert link.ping(digest=digest_of({})).keys() == {"type", "ref"}
    assert metric(server, "longwire_digests_differed_total") > 1
    assert metric(server, "longwire_places_told_total") > 0


@pytest.mark.parametrize("start", [{}, {"after": 0}, {"after": 2}, {"after": 5}, {"last": 2}, {"last": 0}, {"last": 100}, {"after": 9},
                                   {"after": 2, "epoch": "0000000000000001"}])
@pytest.mark.parametrize("encoding", ["json", "native"])
def test_every_beginning_has_a_place_that_both_know(server, encoding, start):
    for namespace in ("topic", "live"):
        channel = fresh(namespace)
        publish(server, channel, 5)
        with Link(server, encoding) as link:
            link.until("subscribed", ref=link.say({"type": "subscribe", "channel": channel, **start}))
            publish(server, channel)
            link.until("message", seq=6)
            assert link.agrees()
        with Link(server, encoding) as link:  # and on an empty channel
            link.until("subscribed", ref=link.say({"type": "subscribe", "channel": fresh(namespace), **start}))
            while not link.agrees():
                pass


@pytest.mark.parametrize("encoding", ["json", "native"])
def test_what_is_under_way_is_no_difference(server, encoding):
    """Pings in the midst of a stream of messages, by commands that change what is followed: each pong says what came before it."""
    channels, done, agreed, dice = [fresh() for _ in range(4)], threading.Event(), 0, random.Random(61)

    def publishes():
        while not done.is_set():
            publish(server, random.choice(channels))

    threads = [threading.Thread(target=publishes) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        with Link(server, encoding) as link:
            for _ in range(40):
                channel = dice.choice(channels)
                if channel in link.seen.places:
                    link.until("unsubscribed", ref=link.say({"type": "unsubscribe", "channel": channel}))
                else:
                    link.until("subscribed", ref=link.say({"type": "subscribe", "channel": channel}))
                agreed += link.agrees()
    done.set()
    for thread in threads:
        thread.join()
    assert agreed > 100


@pytest.mark.parametrize("encoding", ["json", "native"])
def test_more_than_a_hundred_comparisons_a_second_end_the_link(server, encoding):
    """Threat 74."""
    with Link(server, encoding) as link:
        with contextlib.suppress(OSError):  # it has ended already
            for _ in range(3000):
                link.say({"type": "ping", "digest": "00000000000000ff"})
        with pytest.raises((AssertionError, Closed)):
            link.until("never")


@pytest.mark.parametrize("encoding", ["json", "native"])
def test_a_session_says_where_it_goes_on(encoding):
    with Server() as server:
        with Link(server, encoding, **USER) as link:
            while len(link.seen.places) < 2:
                link.next()
            assert link.agrees()
            publish(server, "user:ann", 3)
            link.until("message", seq=3)
            link.until("ack", ref=link.say({"type": "ack", "channel": "user:ann", "seq": 2}))
            request(server, "PUT", "/v1/groups/lobby/members/ann").want(200)
            publish(server, "group:lobby", 2)
            link.until("message", channel="group:lobby", seq=2)
            assert link.agrees()
        with Link(server, encoding, **USER) as link:
            while len(link.seen.places) < 3:
                link.next()
            link.until("message", channel="group:lobby", seq=2)
            while link.seen.places["user:ann"]["seq"] < 4:
                link.next()
            assert link.agrees()
            link.until("ack", ref=link.say({"type": "ack", "channel": "user:ann", "seq": 4}))
            link.until("ack", ref=link.say({"type": "ack", "channel": "group:lobby", "seq": 2}))
        with Link(server, encoding, **USER) as link:  # nothing comes: the places are those that were acknowledged
            while len(link.seen.places) < 3:
                link.next()
            assert link.agrees()
            assert link.seen.places["group:lobby"]["seq"] == 2
