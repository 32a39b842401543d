#!/usr/bin/python3
"""Requests to a back end over links that are cut at random: each is answered once at its client, and the back end saw each once.

usage: test/system/uplink_client_cuts.py [--links 200] [--requests 10000] [--seed N]

The clients are those of clients/js, one in two with a session, half of them in each encoding. test_uplink_clients.py runs a small share.
"""
import argparse
import collections
import json
import random
import subprocess
import sys
import threading
import time

from back_end import BackEnd
from client_driver import NODE
from cut_link import Link, end_both
from longwire_server import ROOT, Server

PROGRAM = ROOT / "clients" / "js" / "test" / "request_cuts.js"
AT_ONCE = 5
EVERY = 5    # requests from one cut to the next
CONFIG = "reconnect_ms = 20\n[backend shop]\nurl = {url}\ntimeout_s = 60\nrequests_max = 1000\n[uplink all]\nmethods = POST\npath = /**\nbackend = shop\nallow = user\n"


def cut_some(link, chance, stop, back_end):
    """As the work goes on, and not by the clock: a slow machine has as many cuts. One in two hits a link at once, the other a moment
    later, when the response may be on its way."""
    seen = 0
    while not stop.wait(0.002):
        if len(back_end.requests) < seen + EVERY:
            continue
        seen = len(back_end.requests)
        if chance.randrange(2):
            stop.wait(chance.random() / 50)
        with link.lock:
            pair = link.pairs.pop(chance.randrange(len(link.pairs))) if link.pairs else None
        if pair:
            end_both(*pair)


def run(links, requests, seed):
    """What the clients say; and how often the back end saw each path, and each key."""
    each = max(1, requests // (links * AT_ONCE))
    with BackEnd() as back_end, Server(config=CONFIG.format(url=back_end.url), flags=["--store", "memory"]) as server, Link(server.port) as link:
        stop = threading.Event()
        cutter = threading.Thread(target=cut_some, args=(link, random.Random(seed), stop, back_end))
        cutter.start()
        try:
            asked = {"url": link.url, "links": links, "requests": each, "atOnce": AT_ONCE}
            said = subprocess.run([NODE, str(PROGRAM), json.dumps(asked)], capture_output=True, text=True, check=False)
        finally:
            stop.set()
            cutter.join()
        assert said.returncode == 0, said.stderr
        told = json.loads(said.stdout)
        paths = collections.Counter(request["path"] for request in back_end.requests)
        keys = {request["key"] for request in back_end.requests}
        return {**told, "asked": each * links * AT_ONCE, "links taken": link.taken, "seen": len(paths), "keys": len(keys),
                "seen twice": [path for path, count in paths.items() if count > 1]}


def is_good(found):
    return (found["answered"] == found["asked"] == found["seen"] == found["keys"] and not found["wrong"] and not found["refused"]
            and not found["seen twice"] and found["unasked"] == 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--links", type=int, default=200)
    parser.add_argument("--requests", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    began = time.monotonic()
    found = run(options.links, options.requests, options.seed)
    print(f"seed {options.seed}: {found['asked']} requests, {found['answered']} answered ({found['replayed']} by a replay), {found['seen']} seen by the "
          f"back end, {found['links taken']} links for {options.links} clients, {time.monotonic() - began:.0f} s")
    if not is_good(found):
        print(json.dumps({name: value for name, value in found.items() if name != "answered"})[:4000])
    return 0 if is_good(found) else 1


if __name__ == "__main__":
    sys.exit(main())
