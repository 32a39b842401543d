"""A wall clock that somebody sets while the server runs (threat 22): a wrong clock deletes no log, and no client is
timed out."""
import contextlib
import re
import struct
import time

import pytest

from longwire_client import TRANSPORTS, Api, Reader, audit_history, audit_reader
from longwire_server import BUILD, Server, is_built
from postgres_server import Postgres, binaries
from waiting import wait_until

LEAPING_CLOCK = BUILD / "leaping_clock.so"
pytestmark = [pytest.mark.skipif(not is_built(), reason="no longwired is built"),
              pytest.mark.skipif(not LEAPING_CLOCK.exists(), reason="leaping_clock.so is not built")]

HOUR = 3600
YEARS = 10 * 365 * 24 * HOUR  # 315,360,000 seconds
CONFIG = """
[namespace light]
keep_bytes = 1000
"""


class LeapingServer(Server):
    """Its wall clock is wrong by what leap() said last; its monotonic clock stays true."""

    def __init__(self, **more):
        super().__init__(**more)
        self.control = self.home / "clock"
        self.control.write_bytes(struct.pack("=q", 0))
        self.env.update(LD_PRELOAD=str(LEAPING_CLOCK), LEAPING_CLOCK_CONTROL=str(self.control),
                        ASAN_OPTIONS="verify_asan_link_order=0")

    def leap(self, seconds):
        with open(self.control, "r+b") as control:  # in place: the server has it mapped
            control.write(struct.pack("=q", seconds))


class Publisher:
    """Records every answer."""

    def __init__(self, server):
        self.api, self.receipts = Api(server.url), {"topic:t": {}, "live:t": {}}

    def publish(self, payload):
        for channel, receipts in self.receipts.items():
            answer = self.api.publish(channel, payload, key=payload.decode())
            assert answer.status == 201, answer
            receipts[payload] = answer.json

    def repeat(self):
        """Publishes all of it again: the keys are still known."""
        for channel, receipts in self.receipts.items():
            for payload, receipt in receipts.items():
                answer = self.api.publish(channel, payload, key=payload.decode())
                assert (answer.status, answer.json) == (200, receipt), payload

    def audit(self, readers):
        for channel, receipts in self.receipts.items():
            numbers = [(receipt["seq"], receipt["id"]) for receipt in receipts.values()]
            assert numbers == sorted(numbers), "seqs and ids rise"
            for reader in readers:
                reader.wait_head(channel, len(receipts))
            history = audit_history(self.api, channel,
                                    {payload: (receipt["epoch"], receipt["seq"]) for payload, receipt in receipts.items()})
            for reader in readers:
                audit_reader(reader, channel, history)


def wait_retention(api):
    """Waits until retention has checked every channel again: only retention removes what a limit in bytes doesn't
    allow."""
    head = 0
    for _ in range(2):  # the first of the two steps may have begun before
        for _ in range(3):
            head = api.publish("light:x", b"." * 900).json["seq"]
        wait_until(lambda at=head: api.get("/v1/channels/light:x").json["first"] >= at)


def test_a_clock_that_leaps_for_a_while_changes_nothing():
    """Threat 22. While the clock is wrong and when it is right again, every client stays and gets everything, numbers
    rise, and keys, times to live and retention follow the time that has really passed."""
    with LeapingServer(config=CONFIG, flags=["--heartbeat-s", "1"]) as server, contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reader(server.url, transport, ["topic:t", "live:t"])) for transport in TRANSPORTS]
        publisher = Publisher(server)
        api = publisher.api
        publisher.publish(b"before")
        assert api.publish("topic:long", b"before", ttl=HOUR // 2).status == 201
        for leap in (HOUR, -HOUR, YEARS, -YEARS):
            for off in (leap, 0):
                server.leap(off)
                assert api.publish("topic:short", b"", ttl=1).status == 201
                wait_retention(api)
                publisher.publish(f"{leap}, {off}".encode())
                publisher.repeat()
                publisher.audit(readers)
                assert [entry["type"] for entry in api.history_all("topic:long")] == ["message"]
        wait_until(lambda: all(entry["type"] == "gap" for entry in api.history_all("topic:short")))
        for receipts in publisher.receipts.values():
            assert all(abs(receipt["time"] / 1000 - time.time()) < 300 for receipt in receipts.values())
        assert all(reader.breaks == [] or reader.transport == "poll" for reader in readers)
        metrics = api.metrics()
        assert metrics["longwire_silent_clients_closed_total"] == 0 and metrics["longwire_up_seconds"] < 300
        with Reader(server.url, "ws", ["topic:t", "live:t"]) as newcomer:
            publisher.audit([newcomer])
        api.close()


def test_a_leap_is_told():
    """Threat 22: the log tells an operator who has set the clock wrong, and tells when it is right again."""
    with LeapingServer() as server:
        for off, said in ((-YEARS, r"event=clock_leapt by_s=-3153(60000|59999) "), (0, "event=clock_agrees")):
            server.leap(off)
            wait_until(lambda said=said: re.search(said, server.log()))
        assert server.log().count("event=clock_") == 2


def test_a_small_step_is_followed():
    """Threat 22: a message with a time to live lives longer or shorter by the step, no more; no client is dropped."""
    step = 300
    with LeapingServer() as server, Reader(server.url, "ws", ["topic:t"]) as reader, \
            contextlib.closing(Api(server.url)) as api:
        assert api.publish("topic:t", b"before", ttl=2 * step).status == 201
        assert api.publish("topic:s", b"before", ttl=step).status == 201
        server.leap(step)
        receipt = api.publish("topic:t", b"after").json
        assert abs(receipt["time"] / 1000 - step - time.time()) < step / 2
        assert [entry["type"] for entry in api.history_all("topic:t")] == ["message", "message"]
        assert [entry["type"] for entry in api.history_all("topic:s")] == ["gap"]
        server.leap(0)
        assert api.publish("topic:t", b"back").json["id"] > receipt["id"]
        assert [entry["type"] for entry in api.history_all("topic:s")] == ["message"]
        reader.wait_head("topic:t", 3)
        assert reader.breaks == []


@pytest.mark.parametrize("leap", [YEARS, -YEARS])
def test_a_wrong_clock_at_the_start_changes_nothing(leap):
    """Threat 22. Stopped, started once with a wrong clock, started again with the right one: nothing was removed, keys are
    known, and what was published meanwhile has the time that has really passed."""
    with LeapingServer(config=CONFIG) as server:
        publisher = Publisher(server)
        publisher.publish(b"before")
        durable = publisher.receipts["topic:t"]
        for off in (leap, 0):
            publisher.api.close()
            server.stop()
            server.leap(off)
            server.start()
            wait_until(lambda: "event=clock_leapt" in server.log())
            wait_retention(publisher.api)
            again = publisher.api.publish("topic:t", b"before", key="before")
            assert (again.status, again.json) == (200, durable[b"before"])
            answer = publisher.api.publish("topic:t", b"off by %d" % off)
            durable[b"off by %d" % off] = answer.json
            assert abs(answer.json["time"] / 1000 - time.time()) < 300
        audit_history(publisher.api, "topic:t",
                      {payload: (receipt["epoch"], receipt["seq"]) for payload, receipt in durable.items()})
        assert server.log().count("event=clock_leapt") == 1
        publisher.api.close()


def test_a_wrong_clock_at_the_start_may_be_right():
    """Threat 22: the operator says so, for one start; and a clock that comes right by itself is believed at once."""
    with LeapingServer() as server:
        with contextlib.closing(Api(server.url)) as api:
            assert api.publish("topic:t", b"before").status == 201
        server.stop()
        server.leap(YEARS)
        server.start()
        wait_until(lambda: "event=clock_leapt by_s=3153" in server.log())
        server.leap(0)
        wait_until(lambda: "event=clock_agrees" in server.log())
        server.stop()
        server.leap(YEARS)
        server.flags.append("--believe-clock")
        server.start()
        with contextlib.closing(Api(server.url)) as api:
            assert api.get("/v1/channels/topic:t").json["first"] == 2
            assert api.publish("topic:t", b"after").json["time"] / 1000 > time.time() + YEARS / 2


@pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed")
@pytest.mark.parametrize("seconds, is_told", [(-45, True), (45, True), (0, False)])
def test_a_clock_that_is_not_that_of_postgresql_is_told(seconds, is_told):
    """Nodes compare what they stamped with what others stamped, revocations with tickets for one. They all have PostgreSQL."""
    def ahead(server):
        return Api(server.url).metrics()["longwire_store_clock_ahead_seconds"]

    with Postgres() as postgres:
        postgres.init()
        server = LeapingServer(flags=["--store", postgres.url])
        server.leap(seconds)
        with server:
            api = Api(server.url)
            wait_until(lambda: api.metrics()["longwire_store_disk_bytes"] > 0)   # the same question asks for both
            wait_until(lambda: abs(ahead(server) - seconds) < 2, lambda: ahead(server))    # the answer may have been late
            if is_told:
                wait_until(lambda: "event=clock_differs" in server.log())
            assert ("event=clock_differs" in server.log()) == is_told
            api.close()
