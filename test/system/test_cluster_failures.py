"""A cluster while its parts fail: real nodes, PostgreSQL and Redis; publishers and followers that go from node to node; and a
checker of histories (history.py) that judges afterwards. During each fault no acknowledged message is lost or doubled, each follower
sees each message once and in order, and refusals say when to come again. After it nodes serve, and hear of each other, again.

LW_FAULT_SECONDS  how long a fault lasts that has a length; 6 unless told otherwise (`make failures`: 30)
LW_ALL_FAULTS     1: each fault with each engine, as `make failures` does; else some of them with one, that where they do more
LW_LOSS_TABLE     a file to which each run adds a line of JSON; test/loss-table makes docs/loss-table.md from it
"""
import concurrent.futures
import contextlib
import json
import os
import time
import urllib.error
import urllib.request

import pytest

import postgres_server
from client_driver import C, Driver
from cluster import Cluster, Follower
from cut_link import Link
from longwire_client import BROKEN_LINK
from longwire_server import is_built
from redis_server import is_installed
from test_sessions import Device, sent
from waiting import SECONDS, wait_until
from wire import Ws, request

pytestmark = pytest.mark.skipif(not is_built() or not is_installed() or postgres_server.binaries() is None,
                                reason="no longwired is built, or PostgreSQL or Redis are not installed")

FAULT_SECONDS = float(os.environ.get("LW_FAULT_SECONDS", "6"))
ENGINES = ["redis", "postgres"]
ALL_FAULTS = os.environ.get("LW_ALL_FAULTS") == "1"
CALM = 60                   # publishes that are acknowledged before and after a fault
RECOVERY_SECONDS = 60       # far above what is promised (5 s): a benchmark machine measures that, see docs/loss-table.md
PROBE_ANSWER_SECONDS = 2
LEASE_SECONDS = 3
STORE_PATIENCE_SECONDS = 10  # after which a question to PostgreSQL counts as lost
CONFIG = f"cluster_lease_s = {LEASE_SECONDS}\n"


class Trial:
    """Load before, during and after a fault; then how long it took until all nodes served again, and the judgement."""
    number = 0

    def __init__(self, cluster, fault, threats, is_refusing=False, bound=RECOVERY_SECONDS, history=None, pause_s=0.01):
        Trial.number += 1
        self.cluster, self.fault, self.threats, self.is_refusing, self.bound = cluster, fault, threats, is_refusing, bound
        self.tag = f"-{Trial.number}"
        self.load = cluster.load(tag=self.tag, history=history, pause_s=pause_s)
        self.history = self.load.history
        self.probe = f"topic:probe{self.tag}"
        self.probes = [Follower(f"probe{node.name}", [node.url], "ndjson", [self.probe], cluster.token, after=0) for node in cluster.nodes]

    # --- while the fault lasts ------------------------------------------------------------------------------------

    def wait_acknowledged(self, more=CALM):
        self.load.wait_acknowledged(more)

    def hold(self, seconds=FAULT_SECONDS):
        """The fault lasts so long: nothing is waited for."""
        time.sleep(seconds)

    def publish_on(self, node, text, timeout=PROBE_ANSWER_SECONDS):
        """The answer of one publish of the probe's channel on one node; None: none came."""
        api = node.api(timeout)
        try:
            return api.publish(self.probe, text.encode(), media="text/plain", key=text)
        except BROKEN_LINK:
            return None
        finally:
            api.close()

    def refusals(self):
        return [answer for answer in self.history.answers if answer[0] in (429, 503, 507)]

    # --- after it -------------------------------------------------------------------------------------------------

    def serves_again(self, at, healed):
        """(seconds until this node took a publish, … until followers on all nodes had it)"""
        node, text = self.cluster.nodes[at], f"probe of {self.cluster.nodes[at].name}{self.tag}"
        def is_published():
            answer = self.publish_on(node, text)
            return answer is not None and answer.status in (200, 201)
        wait_until(is_published, lambda: f"{node.name} takes no publish: {node.readiness()}\n{node.log()[-3000:]}", self.bound)
        published = time.monotonic() - healed
        for probe in self.probes:
            probe.wait_for_payload(self.probe, text.encode(), self.bound)
        return published, time.monotonic() - healed

    def measure_recovery(self):
        healed = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            waits = [pool.submit(self.serves_again, at, healed) for at, node in enumerate(self.cluster.nodes) if node.process]
            times = [wait.result() for wait in waits]
        return max(first for first, _ in times), max(second for _, second in times)

    def report(self, faults, published_s, delivered_s):
        kinds = [fault.kind for fault in faults]
        row = {"fault": self.fault, "threats": self.threats, "engine": "redis" if self.cluster.redis else "postgres",
               "seconds": round(self.fault_ended - self.fault_began, 1), "acknowledged": self.load.acknowledged(),
               "answers_put_off": len(self.refusals()),
               "answers_unknown": sum(answer[0] == 0 for answer in self.history.answers),
               "lost": kinds.count("lost"), "doubled": kinds.count("doubled") + kinds.count("again"),
               "lost_with_their_epoch": len(self.history.lost_with_their_epoch()), "faults": len(faults),
               "first_publish_s": round(published_s, 2), "first_delivery_s": round(delivered_s, 2)}
        print(json.dumps(row))
        if path := os.environ.get("LW_LOSS_TABLE"):
            with open(path, "a", encoding="utf-8") as file:
                print(json.dumps(row), file=file)

    def __enter__(self):
        for probe in self.probes:
            probe.thread.start()
        self.load.__enter__()
        self.wait_acknowledged()
        self.fault_began = time.monotonic()
        return self

    def __exit__(self, kind, *more):
        try:
            if kind is not None:
                self.load.__exit__(kind, *more)
                return
            self.fault_ended = time.monotonic()
            published_s, delivered_s = self.measure_recovery()
            self.cluster.wait_whole()
            self.wait_acknowledged()
            self.load.__exit__(None, None, None)
            faults = self.history.faults()
            self.report(faults, published_s, delivered_s)
            if faults and (folder := os.environ.get("LW_HISTORIES")):
                self.history.write(os.path.join(folder, f"history{self.tag}.jsonl"))
            assert not faults, f"{len(faults)} faults; the first: " + "; ".join(map(str, faults[:5]))
            assert bool(self.refusals()) or not self.is_refusing, "nothing was refused: was there a fault?"
        finally:
            for probe in self.probes:
                probe.close()


@contextlib.contextmanager
def a_cluster(**more):
    with Cluster(config=CONFIG, **more) as cluster:
        yield cluster


@pytest.fixture(name="shared", scope="module")
def fixture_shared():
    """One cluster for those tests that leave it as they found it."""
    with contextlib.ExitStack() as stack:
        made = {}

        def cluster_of(engine):
            if engine not in made:
                made[engine] = stack.enter_context(a_cluster(engine=engine))
            return made[engine]
        yield cluster_of


@pytest.fixture(name="cluster", params=ENGINES)
def fixture_cluster(shared, request):
    cluster = shared(request.param)
    cluster.wait_whole()
    return cluster


@pytest.fixture(name="with_redis")
def fixture_with_redis(shared):
    cluster = shared("redis")
    cluster.wait_whole()
    return cluster


def briefly_with(engine):
    """With this engine alone, unless all are asked for."""
    return pytest.mark.parametrize("cluster", ENGINES if ALL_FAULTS else [engine], indirect=True)


# --- nodes ----------------------------------------------------------------------------------------------------------

def test_a_node_is_killed(cluster):
    """Threat 37: its routes go with its lease, its clients go on elsewhere, nothing is lost."""
    first, _, last = cluster.nodes
    with Trial(cluster, "node killed (SIGKILL), started again", [37]) as trial:
        last.kill()
        trial.wait_acknowledged()
        wait_until(lambda: first.sees() == 2, first.log)
        last.start()


@briefly_with("redis")
def test_nodes_are_killed_in_turn(cluster):
    """Threat 37, again and again: each node once, while the one before may still be starting."""
    with Trial(cluster, "each node killed in turn", [37]) as trial:
        for node in cluster.nodes:
            node.kill()
            trial.wait_acknowledged(20)
            node.start(wait=False)
            wait_until(node.is_healthy)
            node.wait_healthy()


@briefly_with("postgres")
def test_a_node_is_paused_past_its_lease(cluster):
    """Threat 43: a node that sleeps longer than its lease, and wakes. What it does then must not be that of a node that is up,
    before it has its lease again."""
    last = cluster.nodes[-1]
    with Trial(cluster, f"node paused {max(FAULT_SECONDS, 2 * LEASE_SECONDS):g} s (SIGSTOP), woken", [43]) as trial:
        last.pause()
        trial.hold(max(FAULT_SECONDS, 2 * LEASE_SECONDS))
        wait_until(lambda: cluster.nodes[0].sees() == 2, cluster.nodes[0].log)
        last.resume()


@briefly_with("redis")
def test_two_nodes_publish_to_one_channel(cluster):
    """Threat 42: dense seqs, one order for all readers."""
    with Trial(cluster, "two nodes, eight writers, one channel", [42], pause_s=0) as trial:
        load = cluster.load(channels=["topic:one"], publishers=8, pause_s=0, tag=f"{trial.tag}x", transports=("ws", "sse", "poll"),
                            urls=cluster.urls[:2])
        with load:
            load.wait_acknowledged(int(os.environ.get("LW_ONE_CHANNEL", "2000")))
        load.history.check()


DRAIN_SECONDS = 4
DRAINED_CLIENTS = 24


def drain(node, seconds):
    api = node.api()
    answer = api.call("POST", f"/v1/nodes/{node.name}/drain", json.dumps({"seconds": seconds}), {"Content-Type": "application/json"})
    api.close()
    assert answer.status == 202, answer


@briefly_with("redis")
def test_rolling_restart(cluster):
    """Threat 45: each node is drained, stopped and started under load. Nothing is lost, and its clients don't all leave at one moment."""
    with Trial(cluster, "rolling restart: each node drained, stopped, started", [45]) as trial:
        for at, node in enumerate(cluster.nodes):
            urls = trial.load.round_from(at)
            with contextlib.ExitStack() as stack:
                crowd = [Follower(f"crowd{number}", urls, "ws", [trial.load.channels[0]], cluster.token, after=0, silence_s=SECONDS)
                         for number in range(DRAINED_CLIENTS)]
                for follower in crowd:
                    stack.enter_context(follower)
                    follower.wait_for(lambda f=follower: f.events)
                drain(node, DRAIN_SECONDS)
                wait_until(lambda c=crowd: all(follower.place.ends for follower in c), node.log)
                ends = sorted(follower.place.ends[0] for follower in crowd)
                assert ends[-1] - ends[0] > DRAIN_SECONDS / 2, [round(end - ends[0], 2) for end in ends]
                wait_until(lambda n=node: "may be stopped" in n.readiness(), node.readiness)
                node.stop()
                trial.wait_acknowledged(20)
                node.start()
                cluster.wait_whole()


# --- Redis ----------------------------------------------------------------------------------------------------------

def test_redis_is_killed(with_redis):
    """Threat 39: durable publishes go on, and other nodes' clients get theirs by comparing heads. It comes back empty."""
    cluster = with_redis
    with Trial(cluster, "Redis killed (SIGKILL), restarted empty", [39]) as trial:
        cluster.redis.kill()
        trial.wait_acknowledged()
        answer = trial.publish_on(cluster.nodes[0], f"during{trial.tag}", timeout=SECONDS)
        assert answer.status == 201, answer
        for probe in trial.probes:
            probe.wait_for_payload(trial.probe, f"during{trial.tag}".encode())
        cluster.redis.start()


def test_redis_is_paused(with_redis):
    """Threat 39."""
    with Trial(with_redis, f"Redis paused {FAULT_SECONDS:g} s (SIGSTOP)", [39]) as trial:
        with_redis.redis.pause()
        trial.wait_acknowledged(20)
        trial.hold()
        with_redis.redis.resume()


def test_redis_is_emptied(with_redis):
    """Threat 39: FLUSHALL. Routes are registered anew; nobody has to come again for that."""
    with Trial(with_redis, "Redis emptied (FLUSHALL), ten times", [39]) as trial:
        for _ in range(10):
            with_redis.redis.flush()
            trial.wait_acknowledged(10)


def test_redis_is_slow(with_redis):
    """Threat 39: each answer comes 0.5 s late."""
    with Trial(with_redis, f"Redis answers 0.5 s late, for {FAULT_SECONDS:g} s", [39]) as trial:
        with_redis.redis.link.delay_s = 0.5
        trial.wait_acknowledged(20)
        trial.hold()
        with_redis.redis.link.delay_s = 0


def test_redis_answers_garbage(with_redis):
    """Threat 39: bytes that are no answer. No node ends."""
    with Trial(with_redis, "Redis answers with garbage", [39]) as trial:
        with_redis.redis.link.garbage = b"$9999999999999\r\n\xff\x00*-7\r\n"
        trial.wait_acknowledged()
        with_redis.redis.link.garbage = None
        with_redis.redis.link.cut()


def test_redis_is_a_read_only_replica(with_redis):
    """Threat 39: as after a failover of which clients were not told."""
    redis = with_redis.redis
    with Trial(with_redis, "Redis is a read-only replica (REPLICAOF)", [39]) as trial:
        assert redis.ask("REPLICAOF", "127.0.0.1", 1) == b"OK"
        trial.wait_acknowledged()
        trial.hold(min(FAULT_SECONDS, LEASE_SECONDS))
        assert redis.ask("REPLICAOF", "NO", "ONE") == b"OK"


# --- PostgreSQL -----------------------------------------------------------------------------------------------------

def test_postgres_is_stopped_hard(cluster):
    """Threat 40: durable publishes are refused with a time to come again. Links stay, and memory channels of Redis work."""
    with Trial(cluster, "PostgreSQL stopped hard (-m immediate), started again", [40], is_refusing=True) as trial:
        cluster.postgres.stop_hard()
        wait_until(trial.refusals, "no publish was refused".__str__)
        assert all(node.is_healthy() for node in cluster.nodes)
        cluster.postgres.start()


def test_a_ticket_admits_while_postgres_is_away(with_redis):
    """The link says that its session is not fenced. When PostgreSQL is back the generation is raised, the older link is fenced, and a
    ticket that is stale ends its link."""
    nodes = with_redis.nodes
    with Device(nodes[0], "unfenced", "phone") as phone, Device(nodes[0], "moved", "phone") as other, \
            Link(nodes[2].tcp_port) as link, Driver(C, link.url, {}, user="library", device="phone", session=True) as library:
        library.until(lambda: library.of("connected"), "no session")
        phone.connect()
        other.connect()
        stale, older = other.ticket, phone.ws
        other.server = nodes[1]
        other.connect()
        sent(nodes[1], "user:unfenced")
        phone.read(1)
        assert phone.ack("user:unfenced", 1) == 1
        with_redis.postgres.stop_hard()
        phone.server = nodes[1]
        said = phone.resume()
        assert (said["fenced"], said["session"], said["generation"]) == (False, "unfenced/phone", 1)
        phone.ws.ask("subscribe", "subscribed", channel="live:unfenced")
        sent(nodes[2], "live:unfenced")
        assert phone.ws.next()["channel"] == "live:unfenced"
        link.cut()
        library.until(lambda: library.of("connected")[1:], "no link without the database")
        assert library.of("connected")[1]["fenced"] is False
        assert phone.ws.ask("ping", "pong") and phone.ws.ask("ack", "error", channel="user:unfenced", seq=1, ref=2)["code"] == 409
        with Ws(nodes[2]) as late:
            assert late.ask("connect", "connected", ticket=stale)["fenced"] is False
            with_redis.postgres.start()
            again = phone.ws.frame("connected")
            assert again["generation"] == 2 and "fenced" not in again and again["ticket"] != said["ticket"]
            assert older.frame("replaced")["code"] == 4001
            assert late.frame("error")["code"] == 401
            assert late.frame("reconnect")["after"] > 0
            assert late.closing()[0] == 1008
        with_redis.wait_whole()
        wait_until(lambda: request(nodes[0], "POST", "/v1/channels/user:unfenced/messages", b"x").status == 201)
        assert phone.ws.next()["channel"] == "user:unfenced"
        library.until(lambda: library.of("connected")[2:], "the session was not fenced")
        assert (library.of("connected")[2]["generation"], "fenced" in library.of("connected")[2]) == (2, False)


def test_a_ticket_admits_while_postgres_stands(with_redis):
    """It answers nothing, and no connection is lost: the ticket does not wait for the end of the store's patience. What was asked
    then is answered later, and fences the link."""
    nodes = with_redis.nodes
    with Device(nodes[0], "patient", "phone") as phone:
        phone.connect()
        older = phone.ws
        with_redis.postgres.pause()
        try:
            phone.server = nodes[1]
            began = time.monotonic()
            said = phone.resume()
            took = time.monotonic() - began
        finally:
            with_redis.postgres.resume()
        assert (said["fenced"], said["session"], said["generation"]) == (False, "patient/phone", 1)
        assert took < STORE_PATIENCE_SECONDS
        again = phone.ws.frame("connected")
        assert again["generation"] == 2 and "fenced" not in again
        assert older.frame("replaced")["code"] == 4001
    with_redis.wait_whole()


@briefly_with("postgres")
def test_postgres_is_stopped_hard_again_and_again(cluster):
    """Threat 40: each time some commits have an outcome that nobody knows."""
    with Trial(cluster, "PostgreSQL stopped hard, five times", [40]) as trial:
        for _ in range(5):
            cluster.postgres.stop_hard()
            cluster.postgres.start()
            trial.wait_acknowledged(30)


@briefly_with("postgres")
def test_postgres_is_paused(cluster):
    """Threat 40: connections stay and nothing is answered. Waiting is bounded, then 503."""
    with Trial(cluster, f"PostgreSQL paused {max(FAULT_SECONDS, 20):g} s (SIGSTOP)", [40], is_refusing=False) as trial:
        cluster.postgres.pause()
        trial.hold(max(FAULT_SECONDS, 20))
        assert all(node.is_healthy() for node in cluster.nodes)
        cluster.postgres.resume()


@briefly_with("redis")
def test_health_tells_the_truth(cluster):
    """Threat 46: without its store a node is not ready, and says why; with it, it is again."""
    with Trial(cluster, "readiness while PostgreSQL is away", [46]):
        cluster.postgres.stop_hard()
        for node in cluster.nodes:
            wait_until(lambda node=node: not node.is_ready())
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(node.url + "/readyz/publish", timeout=SECONDS)
            assert refused.value.code == 503 and refused.value.read()
        cluster.postgres.start()
