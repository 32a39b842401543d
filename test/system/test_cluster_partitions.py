"""Partitions: each node in a network namespace of its own, and packets between nodes and engines that vanish, both ways and one way
(threats 38, 46). Nodes speak with each other by the engines alone, so a partition between two nodes is one between a node and an engine.

A publish on the side that lost its database is refused, or really durable; no seq is given twice; each follower sees all.
LW_ALL_FAULTS (test_cluster_failures.py): 1 for each engine in each way."""
import time

import pytest

import postgres_server
from cluster import BEATS, Cluster, Node
from longwire_server import is_built
from namespaces import Bridge, may_make
from postgres_server import Postgres
from redis_server import RedisServer, is_installed
from test_cluster_failures import ALL_FAULTS, CALM, CONFIG, FAULT_SECONDS, Trial
from waiting import wait_until

pytestmark = [
    pytest.mark.skipif(not is_built() or not is_installed() or postgres_server.binaries() is None,
                       reason="no longwired is built, or PostgreSQL or Redis are not installed"),
    pytest.mark.skipif(not may_make(), reason="only root may make network namespaces (ip, iptables)"),
]

TOKEN = "beyond-loopback-keys-are-asked-for"
KEYS = f"{CONFIG}[key test]\nsecret = {TOKEN}\nrights = admin\n"


class BridgedPostgres(Postgres):
    def __init__(self, bridge):
        super().__init__({"listen_addresses": "'*'"})
        self.bridge = bridge

    def url_of(self, database):
        return f"postgres://postgres@{self.bridge.address}:{self.port}/{database}"

    def make(self):
        super().make()
        with open(self.data / "pg_hba.conf", "a", encoding="utf-8") as out:
            out.write(f"host all all {self.bridge.net}.0/24 trust\n")


class BridgedCluster(Cluster):
    """Its nodes live in namespaces."""
    token = TOKEN

    def __init__(self, bridge):
        self.bridge, self.places = bridge, {}
        super().__init__(config=KEYS, postgres=BridgedPostgres(bridge), redis=RedisServer(address=bridge.address, is_direct=True))

    def make_node(self, name):
        self.places[name] = place = self.bridge.place(name)
        return Node(name, self.engines(), f"{BEATS}{self.config}", place.address, place.inside, token=TOKEN)

    def engine_ports(self, names):
        return [{"redis": self.redis.port, "postgres": self.postgres.port}[name] for name in names]

    def cut(self, node, engines, way="cut"):
        for port in self.engine_ports(engines):
            getattr(self.places[node.name], way)(self.bridge.address, port)


@pytest.fixture(name="cluster", scope="module")
def fixture_cluster():
    with Bridge() as bridge, BridgedCluster(bridge) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def whole(cluster):
    cluster.bridge.heal()
    cluster.wait_whole()


OTHERS_SECONDS = 60     # each of a node's few connections may hold its locks for 5 s

WAYS = {"cut": "both ways", "drop_to": "from the node", "drop_from": "to the node"}
ENGINES = [("redis",), ("postgres",), ("redis", "postgres")]
CUTS = [(engines, way) for engines in ENGINES for way in WAYS]
# Each way and each engine once. Where packets from PostgreSQL are lost, a commit is carried out and nobody knows.
BRIEFLY = [(("redis",), "drop_to"), (("postgres",), "drop_from"), (("redis", "postgres"), "cut")]


@pytest.mark.parametrize("engines,way", CUTS if ALL_FAULTS else BRIEFLY, ids=lambda part: part if isinstance(part, str) else "+".join(part))
def test_a_node_is_cut_off(cluster, engines, way):
    """Threats 38, 46: one node loses one engine or both. Others go on; the node says that it isn't ready where it can't serve."""
    last = cluster.nodes[-1]
    fault = f"packets between one node and {' and '.join(engines)} lost {WAYS[way]}, {FAULT_SECONDS:g} s"
    with Trial(cluster, fault, [38, 46]) as trial:
        cluster.cut(last, engines, way)
        trial.hold()
        if "postgres" in engines:
            wait_until(lambda: not last.is_ready(), last.log)
        # What the node had begun keeps channels locked until PostgreSQL ends it.
        trial.load.wait_acknowledged(CALM, OTHERS_SECONDS)
        cluster.bridge.heal()


def test_swizzle(cluster):
    """Threat 38: nodes are cut off one after the other, and healed in another order."""
    with Trial(cluster, "nodes cut off from both engines in turn, healed in another order", [38]) as trial:
        for node in cluster.nodes:
            cluster.cut(node, ["redis", "postgres"])
            trial.hold(1)
        trial.hold()
        for node in (cluster.nodes[1], cluster.nodes[2], cluster.nodes[0]):
            cluster.places[node.name].heal()
            trial.hold(1)
        cluster.bridge.heal()


def test_links_flap(cluster):
    """Threat 38: ten short partitions, each of another node and engine."""
    with Trial(cluster, "ten partitions of a second, each of another node and engine", [38]) as trial:
        for at in range(10):
            cluster.cut(cluster.nodes[at % 3], ENGINES[at % 2], list(WAYS)[at % 3])
            trial.hold(1)
            cluster.bridge.heal()
            began = time.monotonic()
            trial.wait_acknowledged(5)
            assert time.monotonic() - began < 60
