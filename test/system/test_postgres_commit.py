"""A COMMIT whose answer is lost (threat 40): whatever a publisher hears is true. 201 is there, once, where the answer said. 503 "nothing was
stored" is nowhere. 503 "not known" may be there or not, and its key settles it."""
import contextlib
import threading

import pytest

from longwire_client import Api, Reader, audit_reader, event_of
from longwire_server import Server, is_built
from postgres_proxy import PostgresProxy
from postgres_server import Postgres, binaries
from waiting import wait_until

pytestmark = [pytest.mark.skipif(not is_built(), reason="no longwired is built"),
              pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed")]

CHANNELS = ["topic:one", "user:two", "group:three"]


class Teller(threading.Thread):
    """Publishes numbered payloads, each once, and keeps what it was told of each."""

    def __init__(self, url, name, channel, has_keys):
        super().__init__()
        self.api, self.who, self.channel, self.has_keys = Api(url), name, channel, has_keys
        self.stored, self.nowhere, self.unknown = {}, [], []
        self.is_over = False

    def run(self):
        number = 0
        while not self.is_over:
            payload = f"{self.who}-{number}".encode()
            number += 1
            answer = self.api.publish(self.channel, payload, key=payload.decode() if self.has_keys else None)
            if answer.status == 201:
                self.stored[payload] = answer.json["seq"]
                continue
            assert answer.status == 503 and "postgres" in answer.json["detail"], answer
            assert int(answer.headers["Retry-After"]) >= 1
            told = answer.json["detail"]
            assert ("nothing was stored" in told) != ("not known" in told), told
            (self.nowhere if "nothing was stored" in told else self.unknown).append(payload)
        self.api.close()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        self.join()


def history_of(api, channel):
    entries = [event_of(entry) for entry in api.history_all(channel)]
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    return {entry.seq: entry.payload for entry in entries}


def audit(api, tellers):
    """What was told is true. Gives {channel: {seq: payload}}."""
    histories = {channel: history_of(api, channel) for channel in CHANNELS}
    for teller in tellers:
        history = histories[teller.channel]
        payloads = list(history.values())
        for payload, seq in teller.stored.items():
            assert history[seq] == payload and payloads.count(payload) == 1, payload
        for payload in teller.nowhere:
            assert payload not in payloads, payload
        for payload in teller.unknown:
            assert payloads.count(payload) <= 1, payload
    return histories


@pytest.mark.parametrize("cut_every, refuse_seconds, cuts", [(7, 0, 20), (5, 1, 4), (3, 12, 1)])
def test_what_a_publisher_hears_of_a_cut_commit_is_true(cut_every, refuse_seconds, cuts):
    """Threat 40: with a new connection at once, after a second, and after the outcome could no longer be looked up."""
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(Postgres())
        proxy = stack.enter_context(PostgresProxy(postgres.port))
        postgres.init()
        server = stack.enter_context(Server(flags=["--store", proxy.url]))
        readers = [stack.enter_context(Reader(server.url, "sse", [channel])) for channel in CHANNELS]
        with contextlib.ExitStack() as publishing:
            tellers = [publishing.enter_context(Teller(server.url, f"t{number}", CHANNELS[number % 3], number % 2 == 0))
                       for number in range(6)]
            wait_until(lambda: all(len(teller.stored) > 5 for teller in tellers))
            proxy.refuse_seconds = refuse_seconds
            proxy.cut_every = cut_every
            wait_until(lambda: proxy.cuts >= cuts)
            proxy.cut_every = 0
            proxy.refuse_seconds = 0
            known = [len(teller.stored) for teller in tellers]
            wait_until(lambda: all(len(teller.stored) > before + 5 for teller, before in zip(tellers, known)))
        with contextlib.closing(Api(server.url)) as api:
            histories = audit(api, tellers)
            for reader, channel in zip(readers, CHANNELS):
                reader.wait_head(channel, len(histories[channel]))
                audit_reader(reader, channel, histories[channel])
            unknown = [(teller, payload) for teller in tellers for payload in teller.unknown if teller.has_keys]
            for teller, payload in unknown:
                settled = api.publish(teller.channel, payload, key=payload.decode())
                assert settled.status in (200, 201), settled
                assert history_of(api, teller.channel)[settled.json["seq"]] == payload
            audit(api, tellers)
            resolved = api.metrics()["longwire_store_commits_resolved_total"]
        print(f"{proxy.cuts} cuts, {resolved:.0f} resolved, {sum(len(t.nowhere) for t in tellers)} not stored, "
              f"{sum(len(t.unknown) for t in tellers)} not known")
        assert resolved > 0 if refuse_seconds < 8 else any(teller.unknown for teller in tellers)
