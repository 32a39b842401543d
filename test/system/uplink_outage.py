#!/usr/bin/python3
"""Uploads while their back end is away: what clients were told to be stored arrives, once it is back, in order and in the same batches.

usage: test/system/uplink_outage.py [--seconds 60] [--channels 20]

Two nodes with a PostgreSQL and a Redis of their own. Publishers upload on both all the time; amid the outage one node is killed and started
again. When the back end is back it is not flooded.
"""
import argparse
import contextlib
import sys
import threading
import time

from cluster import Cluster, RoundPublisher
from history import History
from upload_back_end import BackEnd
from waiting import wait_until

ALL_SECONDS = 600
PUBLISHERS = 4
CONFIG = """
cluster_lease_s = 3
[backend app]
url = http://127.0.0.1:{port}
timeout_s = 5
retries = 0
[namespace up]
publish = anyone
forward = app/in
"""


class Watched(BackEnd):
    """Notes how many batches were with it at once, for the first ones that it takes."""

    def __init__(self, port=0):
        super().__init__(port)
        self.now, self.most = 0, []

    def take(self, path, headers, body):
        with self.lock:
            self.now += 1
            self.most.append(self.now)
        time.sleep(0.02)     # so that batches meet
        try:
            return super().take(path, headers, body)
        finally:
            with self.lock:
                self.now -= 1


def retries_of(cluster):
    return sum(forwarder["retries"] for node in cluster.nodes if node.process for forwarder in own_forwarders(node))


def own_forwarders(node):
    return [forwarder for one in node.ask("/v1/forwarders")["nodes"] if one["node"] == node.name for forwarder in one["forwarders"]]


def publish_on(cluster, history, channels):
    publishers = [RoundPublisher(history, f"p{at}", cluster.urls[at % 2:] + cluster.urls[:at % 2], channels[at::PUBLISHERS], pause_s=0.02)
                  for at in range(PUBLISHERS)]
    for publisher in publishers:
        publisher.start()
    return publishers


def heads_of(history):
    heads = {}
    for attempt in history.acknowledged():
        heads[attempt.channel] = max(heads.get(attempt.channel, 0), attempt.seq)
    return heads


def run(seconds=60, channels=20):
    """What became of the uploads."""
    first, history = Watched(), History()
    names = [f"up:c{at}" for at in range(channels)]
    with Cluster(count=2, config=CONFIG.format(port=first.port)) as cluster:
        publishers = publish_on(cluster, history, names)
        wait_until(lambda: len(first.batches) >= channels, "the first batches")
        first.close()
        away_at = time.monotonic()
        time.sleep(seconds / 2)
        cluster.nodes[1].kill()
        cluster.nodes[1].start()
        time.sleep(max(0, away_at + seconds - time.monotonic()))
        retries = retries_of(cluster)
        with contextlib.closing(Watched(first.port)) as again:
            again.batches = first.batches
            for publisher in publishers:
                publisher.close()
            heads, back_at = heads_of(history), time.monotonic()
            wait_until(lambda: all(again.has_all(name, head) for name, head in heads.items()), "all that was stored", ALL_SECONDS)
            took = time.monotonic() - back_at
            faults = faults_of(again, heads)
            return {"away, s": seconds, "stored": len(history.acknowledged()), "batches": len(again.batches), "retries of the nodes left": retries,
                    "at once, of the first ten": max(again.most[:10]), "all there after, s": took, "faults": faults}


def faults_of(back_end, heads):
    faults = []
    for name, head in heads.items():
        try:
            back_end.check(name, max(head, max(back_end.seqs(name))))
        except AssertionError as fault:
            faults.append(f"{name}: {fault}")
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--channels", type=int, default=20)
    options = parser.parse_args()
    threading.stack_size(512 * 1024)
    found = run(options.seconds, options.channels)
    faults = found.pop("faults")
    print(", ".join(f"{name} {value:g}" for name, value in found.items()))
    print("\n".join(faults[:20]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
