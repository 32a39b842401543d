#!/usr/bin/python3
"""Requests in a cluster, over links that are cut at random and go on at another node, while nodes are killed and started again: each is answered
exactly once at its client, and the back end saw each id once, or, at least once, with the same key.

usage: test/system/cluster_cuts.py [--delivery at_most_once at_least_once] [--requests 10000] [--links 200] [--kills 6] [--seed N]

Three nodes with a PostgreSQL and a Redis of their own. Before a node is killed the back end holds its answers back, so that the node has
calls under way. test_uplink_requests.py runs a small share.
"""
import argparse
import collections
import random
import sys
import threading
import time

from back_end import BackEnd
from cluster import Cluster
from longwire_client import BROKEN_LINK, RefusedError
from nginx_cuts import Phone
from waiting import wait_until

ALL_SECONDS = 900
HELD_CALLS = 6           # that the back end has, and does not answer, when a node is killed
REST_SECONDS = 0.2       # after a link was refused: its node is away
DELIVERIES = ("at_most_once", "at_least_once")
LATER = (429, 503)       # the same request is sent again: its id was not used up

CONFIG = """
cluster_lease_s = 3
reconnect_ms = 20
[backend shop]
url = {url}
timeout_s = 60
requests_max = 4096
connections_max = 64
[uplink once]
path = /gated/at_most_once/**
backend = shop
delivery = at_most_once
[uplink again]
path = /gated/at_least_once/**
backend = shop
delivery = at_least_once
"""


class RoundPhone(Phone):
    """A device that comes back on any node."""

    def __init__(self, urls, number, count, seed, delivery):
        super().__init__(urls[0], number, count, seed)
        self.urls, self.delivery, self.put_off = urls, delivery, 0

    def path(self, one):
        return f"/gated/{self.delivery}/{self.user}/{one}"

    def send(self, link, one):
        self.under_way.add(one)
        link.say({"type": "request", "id": one, "method": "POST", "path": self.path(one), "body": "x" * 20})

    def take(self, link, thing):
        if thing["type"] == "error" and thing.get("code") in LATER:
            self.put_off += 1
            self.under_way.discard(thing.get("id"))
            time.sleep(REST_SECONDS)
        super().take(link, {"type": "later"} if thing["type"] == "error" and thing.get("code") in LATER else thing)

    def run(self):
        while self.unanswered() and not self.over:
            self.url = self.random.choice(self.urls)
            try:
                self.live()
            except BROKEN_LINK:
                time.sleep(REST_SECONDS)
            except RefusedError as refusal:
                if refusal.args[0] != 503:   # the node begins, and its store does not answer yet
                    raise
                time.sleep(REST_SECONDS)


def kill_one(cluster, back_end, node, phones):
    """While the back end has calls that it does not answer: so many, or all that are left. Started again when some requests have been answered
    without it."""
    back_end.gate.clear()
    try:
        seen = len(back_end.requests)
        wait_until(lambda: len(back_end.requests) >= seen + HELD_CALLS or
                   unanswered(phones) <= {request["key"] for request in back_end.requests[seen:]}, "calls that wait", ALL_SECONDS)
        node.kill()
    finally:
        back_end.gate.set()
    left = answered(phones)
    wait_until(lambda: answered(phones) >= left + HELD_CALLS or not unanswered(phones), "answers of the other nodes", ALL_SECONDS)
    node.start()
    cluster.wait_whole()


def unanswered(phones):
    return {f"{phone.user}/phone/{one}" for phone in phones for one in phone.unanswered()}


def asked(phones):
    return sum(len(phone.ids) for phone in phones)


def answered(phones):
    return sum(len(phone.answers) for phone in phones)


def faults_of(phone, counts):
    """What one device was told, against what the back end saw."""
    seqs, is_once = collections.Counter(), phone.delivery == "at_most_once"
    for one in phone.ids:
        answers, count = phone.answers.get(one, []), counts[f"{phone.user}/phone/{one}"]
        told = {(seq, status, body if status == 200 else None) for seq, status, body, _ in answers}
        if len(told) != 1:
            yield f"{phone.user} {one} was answered {sorted(told, key=str)}"
            continue
        (seq, status, body), = told
        seqs[seq] += 1
        is_unknown = is_once and status == 504
        if not is_unknown and (status, body) != (200, f"POST {phone.path(one)}"):
            yield f"{phone.user} {one} was answered {status} {answers}"
        if count > 1 and is_once or count == 0 and not is_unknown:
            yield f"{phone.user} {one} was seen {count} times, and answered {status}"
    if set(seqs) != set(range(1, len(phone.ids) + 1)):
        yield f"{phone.user}: its log has other messages than its answers: {sorted(seqs)}"
    yield from (f"{phone.user}: {refusal}" for refusal in phone.refusals)


def run(cluster, back_end, requests, links, kills, seed, deliveries):
    """What became of the requests; the devices take the deliveries in turn. The uplinks of `cluster` lead to `back_end`."""
    began = time.monotonic()
    phones = [RoundPhone(cluster.urls, number, max(1, requests // links), seed, deliveries[number % len(deliveries)])
              for number in range(links)]
    chance = random.Random(seed)
    for phone in phones:
        phone.start()
    for at in range(kills):
        wait_until(lambda at=at: answered(phones) >= asked(phones) * at // kills, "requests", ALL_SECONDS)
        kill_one(cluster, back_end, chance.choice(cluster.nodes), phones)
    for phone in phones:
        phone.join(max(0.0, began + ALL_SECONDS - time.monotonic()))
        phone.over = True
    counts = collections.Counter(request["key"] for request in back_end.requests)
    wanted = {f"{phone.user}/phone/{one}" for phone in phones for one in phone.ids}
    faults = [fault for phone in phones for fault in faults_of(phone, counts)]
    faults += [f"the back end was called with {key}, which nobody sent" for key in set(counts) - wanted]
    statuses = collections.Counter(answers[0][1] for phone in phones for answers in phone.answers.values() if answers)
    return {"requests": asked(phones), "links": links, "cuts": sum(phone.cuts for phone in phones), "kills": kills, "answered": answered(phones),
            "unknown": statuses[504], "seen twice": sum(counts[key] > 1 for key in wanted), "put off": sum(phone.put_off for phone in phones),
            "seconds": time.monotonic() - began, "faults": faults}


def run_alone(deliveries, requests=10000, links=200, kills=6, seed=1):
    """The same with a cluster of its own."""
    with BackEnd() as back_end, Cluster(config=CONFIG.format(url=back_end.url)) as cluster:
        return run(cluster, back_end, requests, links, kills, seed, deliveries)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--delivery", choices=DELIVERIES, nargs="+", default=DELIVERIES)
    parser.add_argument("--requests", type=int, default=10000)
    parser.add_argument("--links", type=int, default=200)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    threading.stack_size(512 * 1024)
    found = run_alone(options.delivery, options.requests, options.links, options.kills, options.seed)
    faults = found.pop("faults")
    print(f"seed {options.seed}, {' and '.join(options.delivery)}: " + ", ".join(f"{name} {value:.0f}" for name, value in found.items()))
    print("\n".join(faults[:20]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
