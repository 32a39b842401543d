"""Three nodes on one PostgreSQL and one Redis: what is published on one comes to the followers of all, in order, whatever
happens to the hints in between. While the bus is well heads are compared every ten minutes (cluster_compare_s), which no test waits for: what
comes to another node of a whole cluster has come by the bus."""
import subprocess
import time

import pytest

import postgres_server
import redis_server
from cluster import Cluster, Follower, Node
from longwire_client import TRANSPORTS, Api, Reader
from redis_server import RedisServer
from waiting import SECONDS, wait_until

HEAL_SECONDS = 60   # a beat, a comparison, and a busy machine

pytestmark = pytest.mark.skipif(not postgres_server.binaries() or not redis_server.is_installed(),
                                reason="PostgreSQL or Redis is not installed")


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as three:
        yield three


@pytest.fixture(autouse=True)
def whole(cluster):
    """Each test begins with three nodes that are sure of their bus."""
    for node in cluster.nodes:
        if node.process is None:
            node.start()
    cluster.wait_whole()


def total(nodes, name):
    return sum(node.metrics()[name] for node in nodes)


def follows(url, channel, transport="ndjson", **more):
    return Reader(url, transport, [channel], after=0, **more)


def wait_routed(node, count=1):
    wait_until(lambda: node.metrics()["longwire_routes"] >= count)


def publish(api, channel, count, first=0):
    for number in range(first, first + count):
        answer = api.publish(channel, f"{number}".encode(), media="text/plain")
        assert answer.status == 201, answer


def payloads(reader, channel):
    return [event.payload for event in reader.messages(channel)]


def numbers(count):
    return [f"{number}".encode() for number in range(count)]


def test_followers_on_other_nodes_get_everything_in_order(cluster):
    channel, api = "topic:order", Api(cluster.urls[0])
    before = total(cluster.nodes[1:], 'longwire_bus_items_total{direction="in",kind="message"}')
    readers = [follows(url, channel, transport) for url in cluster.urls for transport in TRANSPORTS]
    try:
        for reader in readers:
            reader.thread.start()
        publish(api, channel, 1)
        for reader in readers:
            reader.wait_head(channel, 1)
        publish(api, channel, 200, first=1)
        for reader in readers:
            reader.wait_head(channel, 201)
            assert payloads(reader, channel) == numbers(201), reader.transport
            assert reader.gaps(channel) == []
    finally:
        for reader in readers:
            reader.close()
        api.close()
    assert total(cluster.nodes[1:], 'longwire_bus_items_total{direction="in",kind="message"}') - before >= 400


def test_any_node_takes_a_publish_and_numbers_are_dense(cluster):
    """Threat 42."""
    channel, apis = "topic:any", [Api(url) for url in cluster.urls]
    with follows(cluster.urls[2], channel) as reader:
        for number in range(90):
            answer = apis[number % len(apis)].publish(channel, f"{number}".encode(), media="text/plain", key=f"k{number}")
            assert answer.status == 201 and answer.json["seq"] == number + 1, answer
        reader.wait_head(channel, 90)
        assert payloads(reader, channel) == numbers(90)
    repeated = apis[1].publish(channel, b"0", media="text/plain", key="k0")
    assert repeated.status == 200 and repeated.json["seq"] == 1, repeated
    for api in apis:
        assert api.history(channel, limit=1000)["head"] == 90
        api.close()


def test_a_client_of_a_killed_node_goes_on_elsewhere(cluster):
    """Threat 37."""
    channel, api = "topic:killed", Api(cluster.urls[0])
    reader = Follower("f", [cluster.urls[2], cluster.urls[1]], "ws", [channel], after=0)
    reader.thread.start()
    try:
        publish(api, channel, 50)
        reader.wait_head(channel, 50)
        cluster.nodes[2].kill()
        publish(api, channel, 50, first=50)
        reader.wait_head(channel, 100)
        publish(api, channel, 50, first=100)
        reader.wait_head(channel, 150)
        assert payloads(reader, channel) == numbers(150)
        assert reader.gaps(channel) == []
    finally:
        reader.close()
        api.close()


def compared(nodes):
    """Comparisons of heads, by node; and those that were not necessary."""
    return [[node.metrics()[name] for node in nodes] for name in ("longwire_heads_compared_total", "longwire_heads_compared_spared_total")]


def test_an_emptied_redis_loses_nothing(cluster):
    """Threat 39: what Redis held is put again."""
    channel, api = "topic:emptied", Api(cluster.urls[0])
    with follows(cluster.urls[1], channel) as reader, follows(cluster.urls[2], channel, "sse") as other:
        publish(api, channel, 20)
        before = [sum(counts) for counts in zip(*compared(cluster.nodes))]
        cluster.redis.flush()
        publish(api, channel, 20, first=20)
        for each in (reader, other):
            each.wait_head(channel, 40, HEAL_SECONDS)
        wait_until(cluster.is_whole, seconds=HEAL_SECONDS)
        publish(api, channel, 1, first=40)
        for each in (reader, other):
            each.wait_head(channel, 41)
            assert payloads(each, channel) == numbers(41)
        wait_until(lambda: all(sum(now) > then for now, then in zip(zip(*compared(cluster.nodes)), before)), seconds=HEAL_SECONDS)
    api.close()


def test_a_node_that_is_late_when_redis_is_emptied_is_no_reason_to_compare(cluster):
    """Threat 39: on a busy machine a node takes its lease anew later than others read the list of leases."""
    channel, api, pause_s = "topic:late", Api(cluster.urls[0]), 4  # of a lease of 10 s; the list is read after 2 s
    awake, late = cluster.nodes[:2], cluster.nodes[2]
    with follows(cluster.urls[1], channel) as reader, follows(cluster.urls[2], channel) as behind:
        publish(api, channel, 5)
        for each in (reader, behind):
            each.wait_head(channel, 5)
        before, spared = compared(awake)
        late.pause()
        try:
            cluster.redis.flush()
            publish(api, channel, 5, first=5)
            reader.wait_head(channel, 10)
            time.sleep(pause_s)
        finally:
            late.resume()
        behind.wait_head(channel, 10, HEAL_SECONDS)
        wait_until(cluster.is_whole, seconds=2 * HEAL_SECONDS)
        wait_until(lambda: compared(awake)[1] == [count + 1 for count in spared], seconds=HEAL_SECONDS)
        assert compared(awake)[0] == before, awake[0].metrics()
        for each in (reader, behind):
            assert payloads(each, channel) == numbers(10)
    api.close()


def test_a_redis_that_stands_delays_other_nodes_alone(cluster):
    """Threat 39."""
    channel, api = "topic:stands", Api(cluster.urls[0])
    with follows(cluster.urls[0], channel) as near, follows(cluster.urls[1], channel) as far:
        publish(api, channel, 5)
        for reader in (near, far):
            reader.wait_head(channel, 5)
        cluster.redis.pause()
        try:
            publish(api, channel, 20, first=5)
            near.wait_head(channel, 25)
            far.wait_head(channel, 25, HEAL_SECONDS)  # it polls the store
        finally:
            cluster.redis.resume()
        wait_until(cluster.is_whole, seconds=2 * HEAL_SECONDS)
        publish(api, channel, 5, first=25)
        for reader in (near, far):
            reader.wait_head(channel, 30)
            assert payloads(reader, channel) == numbers(30)
    api.close()


def test_lost_frames_are_noticed(cluster):
    """Threat 39: connections that carry the bus are cut again and again, with frames on them."""
    channel, api = "topic:lost", Api(cluster.urls[0])
    with follows(cluster.urls[1], channel) as reader:
        publish(api, channel, 1)
        reader.wait_head(channel, 1)
        for part in range(5):
            cluster.redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
            publish(api, channel, 20, first=1 + 20 * part)
        reader.wait_head(channel, 101, HEAL_SECONDS)
        assert payloads(reader, channel) == numbers(101)
        assert reader.gaps(channel) == []
    api.close()



def test_what_strangers_send_on_the_bus_harms_nobody(cluster):
    channel, api = "topic:strangers", Api(cluster.urls[0])
    with follows(cluster.urls[1], channel) as reader:
        publish(api, channel, 1)
        reader.wait_head(channel, 1)
        for bus in cluster.redis.ask("PUBSUB", "CHANNELS", "lw:b:*").split():
            for garbage in ("", "x", "GET / HTTP/1.1", "\x01" * 60):
                cluster.redis.ask("PUBLISH", bus.decode(), garbage)
        wait_until(lambda: cluster.nodes[1].metrics()["longwire_bus_frames_malformed_total"] >= 3)
        publish(api, channel, 5, first=1)
        reader.wait_head(channel, 6, HEAL_SECONDS)
        assert payloads(reader, channel) == numbers(6)
    api.close()


def test_of_two_with_one_name_the_newer_stays(cluster):
    """Threat 43: the older one stops, and says why."""
    older = cluster.nodes[2]
    older.may_end()
    with Node(older.name, cluster.engines(), "heartbeat_s = 1\n") as newer:
        assert older.process.wait(SECONDS) == 3
        older.process = None
        assert "event=usurped" in older.log() and "another process with this node's name" in older.log()
        with follows(newer.url, "topic:newer") as reader:
            api = Api(cluster.urls[0])
            publish(api, "topic:newer", 3)
            reader.wait_head("topic:newer", 3)
            api.close()


def test_a_node_with_another_list_of_engines_ends_and_says_why(cluster):
    """It would put its routes, and look for those of others, where nobody else does: what others publish would come to its clients when
    heads are compared, minutes later."""
    with RedisServer() as second:
        engines = {**cluster.engines(), "LONGWIRE_CLUSTER": f"{cluster.redis.url},{second.url}"}
        with Node("other", engines, "heartbeat_s = 1\n") as other:
            other.may_end()
            assert other.process.wait(SECONDS) == 3
            other.process = None
            assert "event=usurped" in other.log() and "names 1 instances of Redis" in other.log()
    cluster.wait_whole()


def test_a_node_that_stops_leaves_at_once(cluster):
    started = time.monotonic()
    cluster.nodes[2].stop()
    assert time.monotonic() - started < SECONDS / 4
    wait_until(lambda: cluster.nodes[0].metrics()["longwire_cluster_nodes"] == 2, seconds=HEAL_SECONDS)


def test_routes_go_with_their_followers(cluster):
    """Asked of Redis: the node's own count still falls for what earlier tests followed."""
    node, routed = cluster.nodes[1], lambda: cluster.redis.ask("EXISTS", "lw:r:topic:routed") == b"1"
    assert not routed()
    with follows(node.url, "topic:routed"):
        wait_until(routed)
    wait_until(lambda: not routed(), seconds=20 + HEAL_SECONDS)  # linger_s and route_linger_s


def test_a_cluster_needs_a_store_that_nodes_share(cluster):
    for store, engine, want in (("memory", cluster.redis.url, "share a PostgreSQL store"),
                                (cluster.postgres.url, "http://127.0.0.1:1", "must be empty, postgres, or URLs of Redis")):
        done = subprocess.run([str(cluster.nodes[0].program), "--check", "--store", store, "--cluster", engine],
                              capture_output=True, text=True, check=False)
        assert done.returncode == 2 and want in done.stderr, done


def test_a_node_serves_what_its_roles_say(cluster):
    for roles, served, refused in (("api", "/v1/channels/topic:roles/messages", "/v1/subscribe?channel=topic:roles"),
                                   ("access,router", "/v1/allocate", "/v1/channels/topic:roles/messages")):
        with Node("roles", {**cluster.engines(), "LONGWIRE_ROLES": roles}, "heartbeat_s = 1\n") as node:
            api = Api(node.url)
            assert api.get(served).status == 200
            answer = api.get(refused)
            assert answer.status == 421 and "is not among its roles" in answer.json["detail"], answer
            assert api.get("/healthz").status == 200 and api.get("/v1/nodes").status == 200
            api.close()
        if roles == "api":
            assert f"tcp={node.address}:{node.tcp_port}" not in node.log()


def test_no_password_of_an_engine_is_shown(cluster):
    """Threat 108."""
    done = subprocess.run([str(cluster.nodes[0].program), "--check", "--store", cluster.postgres.url,
                           "--cluster", "redis://:geheim@127.0.0.1:1"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    assert "geheim" not in done.stdout + done.stderr and "redis://:***@127.0.0.1:1" in done.stdout, done.stdout
