"""Presence and links that are cut at random, with both client libraries: the set as told by frames is the set as asked.

What a client does is docs/protocol.md section 11: it asks for the set when it is told the number alone, and when a change makes
its set another size than it says."""
import contextlib
import json
import random

import pytest

from client_driver import NODE, Driver
from cut_link import Link
from longwire_server import Server, is_built
from test_client_cuts import CASES, QUICK, over, port_of
from waiting import wait_until
from wire import Ws, path_of, request

pytestmark = [pytest.mark.skipif(not is_built(), reason="longwired is not built"),
              pytest.mark.skipif(not NODE, reason="node is not installed")]

PEOPLE, STEPS = 8, 60


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server(config="reconnect_ms = 20\npresence_return_s = 1\npoll_lease_s = 2\n[namespace room]\npresence = true\n") as server:
        yield server


def asked_set(server, channel):
    page = request(server, "GET", f"{path_of(channel)}/subscribers?limit=1000").want(200).json()
    return {(one["user"], one["device"]) for one in page["subscribers"]}


class Roster:
    """The set that a client has of what it was told."""

    def __init__(self, server, channel, client):
        self.server, self.channel, self.client = server, channel, client
        self.set, self.seen, self.asked, self.changes = None, 0, 0, 0

    def read(self):
        events = self.client.events
        while self.seen < len(events):
            event = events[self.seen]
            self.seen += 1
            if event["event"] in ("presence", "join", "leave"):
                assert event["channel"] == self.channel
                self.take(event)
        return self.set

    def take(self, event):
        if event["event"] != "presence" and self.set is not None:
            self.changes += 1
            (self.set.add if event["event"] == "join" else self.set.discard)((event["user"], event["device"]))
            if len(self.set) == event["count"]:
                return
        self.set = asked_set(self.server, self.channel)
        self.asked += 1


class Person:
    """A device that follows the channel at times, over a link of its own."""

    def __init__(self, server, channel, name):
        self.server, self.channel, self.name, self.ws = server, channel, name, None

    def turn(self, dice):
        if self.ws is None:
            self.ws = Ws(self.server, f"user={self.name}&device=d")
            self.ws.ask("subscribe", "subscribed", channel=self.channel)
            return
        how = dice.choice(["unsubscribe", "close", "reset"])
        if how == "unsubscribe":
            self.ws.ask("unsubscribe", "unsubscribed", channel=self.channel)
        elif how == "close":
            self.ws.peer.send_close(1000)
            self.ws.pump()
        self.end(how == "reset")

    def end(self, by_force=False):
        if self.ws is not None:
            (self.ws.wire.reset if by_force else self.ws.wire.close)()
        self.ws = None


@pytest.mark.parametrize("program, transport", CASES)
def test_the_set_as_told_is_the_set_as_asked(server, program, transport):
    channel, dice = f"room:{transport}", random.Random(transport)
    people = [Person(server, channel, f"u{number}") for number in range(PEOPLE)]
    with Link(port_of(server, transport)) as link, contextlib.ExitStack() as stack, \
            Driver(program, link.url, {channel: {"presence": True}}, **over(transport), backOff=QUICK, user="watcher") as client:
        for person in people:
            stack.callback(person.end)
        client.until_live()
        roster = Roster(server, channel, client)
        wait_until(roster.read)
        while roster.changes == 0:   # afterwards a link may be cut before it brings a change; a poll that is late is told the number alone
            people[0].turn(dice)
            wait_until(lambda: roster.read() == asked_set(server, channel), lambda: f"{roster.set}, not {asked_set(server, channel)}")
        for _ in range(STEPS):
            for person in dice.sample(people, dice.randrange(1, 4)):
                person.turn(dice)
            if dice.random() < 0.3:
                link.cut()
            roster.read()
        there = {(person.name, "d") for person in people if person.ws}
        wait_until(lambda: {who for who in asked_set(server, channel) if who[0] != "watcher"} == there)
        wait_until(lambda: roster.read() == asked_set(server, channel), lambda: f"{roster.set}, not {asked_set(server, channel)}")


@pytest.mark.parametrize("program, transport", CASES)
def test_after_a_kill_the_set_is_told_anew(program, transport):
    channel = "room:a"
    with Server(config="reconnect_ms = 20\n[namespace room]\npresence = true\n") as server, contextlib.ExitStack() as stack, \
            Driver(program, f"http://127.0.0.1:{port_of(server, transport)}", {channel: {"presence": True}}, **over(transport), backOff=QUICK,
                   user="watcher") as client:
        client.until_live()
        ann = Person(server, channel, "ann")
        ann.turn(random)
        roster = Roster(server, channel, client)
        wait_until(lambda: ("ann", "d") in (roster.read() or ()))
        server.kill()
        ann.end()
        server.restart()
        wait_until(lambda: roster.read() and {user for user, _ in roster.set} == {"watcher"}, lambda: str(roster.set))
        bob = Person(server, channel, "bob")
        stack.callback(bob.end)
        bob.turn(random)
        wait_until(lambda: ("bob", "d") in roster.read())
