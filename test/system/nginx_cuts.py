#!/usr/bin/python3
"""Requests over links that are cut at random: each is answered exactly once at its client, and nginx behind saw each id once.

usage: test/system/nginx_cuts.py [REQUESTS [LINKS [SEED]]]

10,000 requests over 200 links unless told otherwise. A phone sends its requests a few at a time. It is cut without a word after
some frames, comes back with its session, and sends again what was not answered: with the same id, as a client library does.
"""
import collections
import contextlib
import random
import socket
import struct
import sys
import threading
import time

from longwire_client import BROKEN_LINK, WebSocket
from longwire_server import Server
from nginx_back_end import NginxBackEnd
from waiting import wait_until

UNDER_WAY_MAX = 8
CUT_AFTER_MAX = 25       # frames of the server
ALL_SECONDS = 240

CONFIG = """
loops = 2
[backend nginx]
url = {url}
timeout_s = 60
requests_max = 4096
[uplink all]
path = /**
backend = nginx
"""


class Phone(threading.Thread):
    """One device. `answers`: of each id, all that came: (seq, status, body, replayed)."""

    def __init__(self, url, number, count, seed):
        super().__init__(daemon=True)
        self.url, self.user, self.random = url, f"u{number}", random.Random(f"{seed}/{number}")
        self.ids = [f"r{n}" for n in range(count)]
        self.answers, self.refusals, self.cuts = collections.defaultdict(list), [], 0
        self.under_way, self.acked, self.over = set(), 0, False

    def unanswered(self):
        return [one for one in self.ids if one not in self.answers]

    def send(self, link, one):
        self.under_way.add(one)
        link.say({"type": "request", "id": one, "method": "POST", "path": f"/of/{self.user}/{one}", "body": "x" * 20})

    def send_more(self, link):
        waiting = [one for one in self.unanswered() if one not in self.under_way]
        for one in waiting[:UNDER_WAY_MAX - len(self.under_way)]:
            self.send(link, one)

    def take(self, link, thing):
        if thing["type"] == "response":
            self.answers[thing["request"]].append((thing["seq"], thing["status"], thing.get("body"), thing.get("replayed", False)))
            self.under_way.discard(thing["request"])
            if self.random.random() < 0.3 and not thing.get("replayed"):
                link.say({"type": "ack", "channel": thing["channel"], "seq": thing["seq"]})
        elif thing["type"] == "error":
            self.refusals.append(thing)
        self.send_more(link)

    def live(self):
        link = WebSocket(self.url)
        left = self.random.randint(1, CUT_AFTER_MAX)
        with contextlib.closing(link):
            link.say({"type": "connect", "session": True, "user": self.user, "device": "phone"})
            self.under_way = set()
            for thing in link.objects():
                self.take(link, thing)
                if not self.unanswered():
                    return
                left -= 1
                if left == 0:
                    self.cuts += 1
                    link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return

    def run(self):
        while self.unanswered() and not self.over:
            with contextlib.suppress(*BROKEN_LINK):
                self.live()


def check(phones, nginx):
    for phone in phones:
        assert not phone.unanswered(), f"{phone.user}: no answer to {phone.unanswered()[:5]}"
        assert not phone.refusals, phone.refusals[:5]
        seqs = set()
        for one in phone.ids:
            answers = phone.answers[one]
            wanted = (200, f"POST /of/{phone.user}/{one}")
            assert all((status, body) == wanted for _, status, body, _ in answers), answers
            assert len({seq for seq, *_ in answers}) == 1, f"{phone.user} {one} was answered more than once: {answers}"
            seqs.add(answers[0][0])
        assert seqs == set(range(1, len(phone.ids) + 1)), f"{phone.user}: its log has other messages"
    wanted = {f"{phone.user}/phone/{one}": 1 for phone in phones for one in phone.ids}
    wait_until(lambda: set(wanted) <= set(nginx.keys()), lambda: set(wanted) - set(nginx.keys()))   # it logs a request behind its answer
    keys = nginx.keys()
    assert keys == wanted, {key: keys[key] for key in set(keys) | set(wanted) if keys[key] != wanted.get(key)}


def run_cuts(requests=10000, links=200, seed=1):
    """Gives how many links were cut."""
    with NginxBackEnd() as nginx, Server(config=CONFIG.format(url=nginx.url)) as server:
        phones = [Phone(server.url, number, requests // links, seed) for number in range(links)]
        deadline = time.monotonic() + ALL_SECONDS
        for phone in phones:
            phone.start()
        for phone in phones:
            phone.join(max(0.0, deadline - time.monotonic()))
            phone.over = True
        check(phones, nginx)
        return sum(phone.cuts for phone in phones)


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    began = time.monotonic()
    print(f"{run_cuts(*numbers)} cuts; each request was answered once, and nginx saw each once ({time.monotonic() - began:.1f} s)")
