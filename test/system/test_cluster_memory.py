"""Channels that are not durable, in a cluster: Redis holds them, all nodes take publishes, and what Redis loses is told."""
import time

import pytest

import postgres_server
import redis_server
from cluster import Cluster
from longwire_client import TRANSPORTS, Api, Reader
from waiting import SECONDS, wait_until

HEAL_SECONDS = 60
AT_ONCE_SECONDS = 2     # less than a node waits for an answer of Redis

pytestmark = pytest.mark.skipif(not postgres_server.binaries() or not redis_server.is_installed(),
                                reason="PostgreSQL or Redis is not installed")


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as three:
        yield three


@pytest.fixture()
def apis(cluster):
    apis = [Api(url) for url in cluster.urls]
    yield apis
    for api in apis:
        api.close()


def follows(url, channel, transport="ndjson"):
    return Reader(url, transport, [channel], after=0)


def publish(api, channel, number, **more):
    return api.publish(channel, f"{number}".encode(), media="text/plain", **more)


def payloads(reader, channel):
    return [event.payload for event in reader.messages(channel)]


def numbers(first, last):
    return [f"{number}".encode() for number in range(first, last)]


def wait_taken(api, channel, number):
    """Until it is taken; the answer."""
    answers = []

    def is_taken():
        answers.append(publish(api, channel, number))
        return answers[-1].status == 201

    wait_until(is_taken, lambda: answers[-1], seconds=HEAL_SECONDS)
    return answers[-1]


def test_all_nodes_publish_to_a_memory_channel_in_one_order(cluster, apis):
    """Threat 42."""
    channel = "live:order"
    readers = [follows(url, channel, transport) for url in cluster.urls for transport in TRANSPORTS]
    try:
        for reader in readers:
            reader.thread.start()
        for number in range(90):
            answer = publish(apis[number % 3], channel, number, key=f"k{number}")
            assert answer.status == 201 and answer.json["seq"] == number + 1, answer
        for reader in readers:
            reader.wait_head(channel, 90)
            assert payloads(reader, channel) == numbers(0, 90), reader.transport
            assert reader.gaps(channel) == []
    finally:
        for reader in readers:
            reader.close()
    again = publish(apis[2], channel, 0, key="k0")
    assert again.status == 200 and again.json["seq"] == 1, again
    for api in apis:
        assert api.history(channel, limit=1000)["head"] == 90


def test_an_emptied_redis_is_another_epoch(cluster, apis):
    """Threat 39."""
    channel = "live:emptied"
    with follows(cluster.urls[1], channel) as reader:
        old = publish(apis[0], channel, 0).json
        reader.wait_head(channel, 1)
        cluster.redis.flush()
        new = wait_taken(apis[0], channel, 1).json
        assert new["epoch"] != old["epoch"] and new["seq"] == 1
        reader.wait_for(lambda: payloads(reader, channel) == numbers(0, 2), HEAL_SECONDS)
        assert [gap["why"] for gap in reader.gaps(channel)] == ["epoch"]


def test_without_redis_durable_channels_go_on(cluster, apis):
    """Threat 39: Redis dies. What needs it is refused with its name; everything else goes on, and new clients come."""
    live, topic = "live:away", "topic:beside"
    with follows(cluster.urls[0], live) as reader:
        publish(apis[0], live, 0)
        reader.wait_head(live, 1)
        cluster.redis.kill()
        wait_until(lambda: publish(apis[0], live, 1).status == 503)
        for _ in range(5):  # the machine may be busy, but not each time
            began = time.monotonic()
            refused = publish(apis[0], live, 1)
            took = time.monotonic() - began
            if took < AT_ONCE_SECONDS:
                break
        assert took < AT_ONCE_SECONDS
        assert refused.status == 503 and refused.headers["Retry-After"] and "redis" in refused.json["detail"], refused
        for path in (f"channels/{live}/messages?limit=1", f"channels/{live}", "channels"):
            refused = apis[0].get(f"/v1/{path}")
            assert refused.status == 503 and "(redis)" in refused.json["detail"], refused
        for transport in TRANSPORTS:
            with follows(cluster.urls[0], topic, transport) as late:
                before = apis[0].history(topic)["head"]
                assert publish(apis[0], topic, 1).status == 201
                late.wait_head(topic, before + 1)
        assert all(node.is_ready() for node in cluster.nodes)
        metrics = cluster.nodes[0].metrics()
        assert metrics["longwire_memory_engine_up"] == 0 and metrics["longwire_memory_engine_failures_total"] > 0
        cluster.redis.restart()
        for api in apis:
            wait_taken(api, live, 2)
        reader.wait_for(lambda: payloads(reader, live)[-1:] == [b"2"], HEAL_SECONDS)
    assert cluster.nodes[0].metrics()["longwire_memory_engine_up"] == 1
    cluster.wait_whole()


def test_a_redis_that_stands_holds_no_durable_publish(cluster, apis):
    """Threat 39: a paused Redis."""
    live, topic = "live:stands", "topic:goes-on"
    publish(apis[0], live, 0)
    cluster.redis.pause()
    try:
        asked = Api(cluster.urls[0])
        began = time.monotonic()
        for number in range(20):
            assert publish(apis[0], topic, number).status == 201
        assert time.monotonic() - began < SECONDS / 2
        answer = publish(asked, live, 1)
        assert answer.status == 503 and answer.headers["Retry-After"] and "redis" in answer.json["detail"], answer
        asked.close()
    finally:
        cluster.redis.resume()
    for api in apis:
        wait_taken(api, live, 2)
    cluster.wait_whole()
