"""A cluster of real nodes with PostgreSQL alone (`cluster = postgres`): messages cross nodes, SQL callers are heard on all of them,
and a database that crashes loses nothing (threats 37, 38, 39, 40)."""
import contextlib

import pytest

from cluster import BEATS, Cluster, Node
from longwire_client import Api, Reader, audit_reader
from longwire_server import is_built
from postgres_server import binaries
from waiting import wait_until

pytestmark = [pytest.mark.skipif(not is_built(), reason="no longwired is built"),
              pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed")]


@pytest.fixture(name="cluster", scope="module")
def cluster_fixture():
    with Cluster(engine="postgres") as running:
        yield running


def publish(node, channel, texts):
    with contextlib.closing(Api(node.url)) as api:
        return [wait_until(lambda: (said := api.publish(channel, text, key=text.decode())).status in (200, 201) and said).json["seq"]
                for text in texts]


def test_messages_cross_nodes(cluster):
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reader(node.url, "sse", ["topic:a", "user:ann"])) for node in cluster.nodes]
        texts = [b"message %d" % number for number in range(30)]
        for number, text in enumerate(texts):
            assert publish(cluster.nodes[number % 3], "topic:a", [text]) == [number + 1]
        publish(cluster.nodes[0], "user:ann", [b"to ann"])
        for reader in readers:
            reader.wait_head("topic:a", 30)
            reader.wait_head("user:ann", 1)
            audit_reader(reader, "topic:a", dict(enumerate(texts, 1)))


def test_nodes_may_name_their_databases_in_any_order():
    """Leases, routes and the bus lie in the database that has the first slot, wherever a node's list has it."""
    with Cluster(engine="postgres", count=0) as cluster:
        urls = [cluster.postgres.create(f"part{number}") for number in range(2)]
        cluster.postgres.init(",".join(urls))
        for number, store in enumerate([urls, urls[::-1]]):
            node = Node(f"node{number}", {"LONGWIRE_STORE": ",".join(store), "LONGWIRE_CLUSTER": "postgres"}, BEATS)
            cluster.nodes.append(cluster.stack.enter_context(node))
        cluster.wait_whole()
        channels = [f"{space}:{number}" for space in ("topic", "live") for number in range(8)]
        with Reader(cluster.nodes[1].url, "sse", channels) as reader:
            for channel in channels:
                publish(cluster.nodes[0], channel, [channel.encode()])
            for channel in channels:
                reader.wait_head(channel, 1)


def test_long_messages_cross_nodes(cluster):
    """Longer than a NOTIFY takes: receivers read the log."""
    with Reader(cluster.nodes[1].url, "sse", ["topic:long"]) as reader:
        texts = [bytes([97 + number]) * 200000 for number in range(5)]
        with contextlib.closing(Api(cluster.nodes[0].url)) as api:
            for text in texts:
                assert api.publish("topic:long", text).status == 201
        reader.wait_head("topic:long", 5)
        audit_reader(reader, "topic:long", dict(enumerate(texts, 1)))


def test_what_sql_publishes_comes_to_all_nodes(cluster):
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reader(node.url, "sse", ["topic:sql"])) for node in cluster.nodes]
        cluster.postgres.psql("begin; select longwire.publish('topic:sql', 'one'); select longwire.publish('topic:sql', 'two'); commit")
        for reader in readers:
            reader.wait_head("topic:sql", 2)
            audit_reader(reader, "topic:sql", {1: b"one", 2: b"two"})


def test_a_crash_of_the_database_loses_nothing(cluster):
    """Leases, routes and the life of the tables are gone; nodes put them again."""
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reader(node.url, "sse", ["topic:crash"])) for node in cluster.nodes]
        texts = [b"before %d" % number for number in range(5)]
        publish(cluster.nodes[0], "topic:crash", texts)
        cluster.postgres.stop_hard()
        cluster.postgres.start()
        more = [b"after %d" % number for number in range(5)]
        publish(cluster.nodes[1], "topic:crash", more)
        for reader in readers:
            reader.wait_head("topic:crash", 10)
            audit_reader(reader, "topic:crash", dict(enumerate(texts + more, 1)))
    cluster.wait_whole()


def test_a_killed_node_is_left_out_and_comes_back(cluster):
    cluster.nodes[2].kill()
    wait_until(lambda: all(node.sees() == 2 for node in cluster.nodes[:2]))
    cluster.nodes[2].start()
    cluster.wait_whole()
    with Reader(cluster.nodes[2].url, "sse", ["topic:back"]) as reader:
        publish(cluster.nodes[0], "topic:back", [b"hello"])
        reader.wait_head("topic:back", 1)


def test_all_nodes_publish_to_a_memory_channel_in_one_order(cluster):
    """Threat 42: memory channels lie in the database, too."""
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reader(node.url, "sse", ["live:a"])) for node in cluster.nodes]
        texts = [b"message %d" % number for number in range(30)]
        for number, text in enumerate(texts):
            assert publish(cluster.nodes[number % 3], "live:a", [text]) == [number + 1]
        for reader in readers:
            reader.wait_head("live:a", 30)
            audit_reader(reader, "live:a", dict(enumerate(texts, 1)))
        for node in cluster.nodes:
            with contextlib.closing(Api(node.url)) as api:
                assert api.history("live:a", limit=100)["head"] == 30


def test_a_crash_of_the_database_is_another_epoch_of_memory_channels(cluster):
    """Threat 39: readers are told by a gap, and go on."""
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reader(node.url, "sse", ["live:crash"])) for node in cluster.nodes]
        publish(cluster.nodes[0], "live:crash", [b"before 0", b"before 1"])
        for reader in readers:
            reader.wait_head("live:crash", 2)
        cluster.postgres.stop_hard()
        with contextlib.closing(Api(cluster.nodes[1].url)) as api:
            refused = wait_until(lambda: (said := api.publish("live:crash", b"x")).status != 201 and said)
            assert refused.status == 503 and "postgres" in refused.json["detail"], refused
        cluster.postgres.start()
        assert publish(cluster.nodes[2], "live:crash", [b"after"]) == [1]
        for reader in readers:
            reader.wait_for(lambda reader=reader: reader.of("live:crash")[-1].payload == b"after")
            assert [gap["why"] for gap in reader.gaps("live:crash")] == ["epoch"]
            assert [event.payload for event in reader.messages("live:crash")] == [b"before 0", b"before 1", b"after"]
    cluster.wait_whole()
