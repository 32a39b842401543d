"""Both client libraries and the tool on a cluster: they go to the next of several servers when theirs is killed, ask `allocate` where to
connect, and miss nothing on the way."""
import subprocess

import pytest

import postgres_server
from client_driver import C, JAVASCRIPT, NODE, Driver
from cluster import Cluster
from longwire_server import LONGWIRE, is_built
from redis_server import is_installed
from waiting import SECONDS, wait_until

pytestmark = pytest.mark.skipif(not is_built() or not is_installed() or postgres_server.binaries() is None,
                                reason="no longwired is built, or PostgreSQL or Redis are not installed")

QUICK = {"base_ms": 50, "factor": 2, "cap_ms": 500, "jitter": 0.5}
NOBODY = {"javascript": "http://127.0.0.1:1", "c": "tcp://127.0.0.1:1"}


@pytest.fixture(name="cluster", scope="module")
def fixture_cluster():
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(name="library", params=["javascript", "c"])
def fixture_library(request):
    if request.param == "javascript" and NODE is None:
        pytest.skip("Node.js is not installed")
    return request.param


def program_of(library):
    return JAVASCRIPT if library == "javascript" else C


def address_of(node, library):
    return node.url if library == "javascript" else f"tcp://127.0.0.1:{node.tcp_port}"


def publish(cluster, channel, first, count):
    """By way of nodes that run."""
    api = next(node for node in cluster.nodes if node.process is not None).api()
    for number in range(first, first + count):
        assert api.publish(channel, f"{number}".encode(), media="text/plain").status == 201
    api.close()


def wait_texts(client, channel, count):
    client.until(lambda: len(client.texts(channel)) >= count, f"{count} messages have not come")
    assert client.texts(channel) == [f"{number}" for number in range(count)]


def connected_node(cluster):
    """Where the one client is."""
    def holder():
        return [node for node in cluster.nodes if node.process is not None
                and sum(value for name, value in node.metrics().items() if name.startswith("longwire_sessions{")) > 0]
    return wait_until(holder, "the client is nowhere".__str__)[0]


def test_the_next_server_is_taken_when_one_is_killed(cluster, library):
    """Threat 37: the first server of the list is not there at all, the second one dies."""
    cluster.wait_whole()
    channel = f"topic:{library}"
    servers = ",".join([NOBODY[library], *(address_of(node, library) for node in cluster.nodes)])
    with Driver(program_of(library), servers, {channel: {"after": 0}}, transports=["websocket"], backOff=QUICK) as client:
        publish(cluster, channel, 0, 5)
        wait_texts(client, channel, 5)
        assert connected_node(cluster) is cluster.nodes[0]
        cluster.nodes[0].kill()
        publish(cluster, channel, 5, 5)
        wait_texts(client, channel, 10)
        client.say("publish", channel=channel, data="10")
        wait_texts(client, channel, 11)
    cluster.nodes[0].start()
    cluster.wait_whole()


def test_allocate_says_where(cluster, library):
    """The client knows the router alone, and goes where that says; the node that it is on dies, and it asks again."""
    cluster.wait_whole()
    channel = f"topic:allocate-{library}"
    router = cluster.nodes[0].url
    more = {"allocate": True if library == "javascript" else router}
    with Driver(program_of(library), router if library == "javascript" else NOBODY["c"], {channel: {"after": 0}},
                transports=["websocket"], backOff=QUICK, **more) as client:
        publish(cluster, channel, 0, 5)
        wait_texts(client, channel, 5)
        node = connected_node(cluster)
        if node is not cluster.nodes[0]:        # else the router goes with it
            node.kill()
            publish(cluster, channel, 5, 5)
            wait_texts(client, channel, 10)
            node.start()
    cluster.wait_whole()


def test_a_drained_node_sends_its_clients_on(cluster, library):
    """Threat 45: `reconnect`, and on to the next server, without an error that anybody has to see."""
    cluster.wait_whole()
    channel = f"topic:drained-{library}"
    servers = ",".join(address_of(node, library) for node in cluster.nodes)
    with Driver(program_of(library), servers, {channel: {"after": 0}}, transports=["websocket"], backOff=QUICK) as client:
        publish(cluster, channel, 0, 5)
        wait_texts(client, channel, 5)
        node = cluster.nodes[0]
        api = node.api()
        assert api.call("POST", f"/v1/nodes/{node.name}/drain", b'{"seconds":1}', {"Content-Type": "application/json"}).status == 202
        api.close()
        wait_until(lambda: "may be stopped" in node.readiness(), node.readiness)
        node.stop()
        publish(cluster, channel, 5, 5)
        wait_texts(client, channel, 10)
        assert not client.of("error")
    node.start()
    cluster.wait_whole()


@pytest.mark.parametrize("scheme", ["http", "lw"])
def test_the_tool_takes_several_servers(cluster, scheme):
    cluster.wait_whole()
    ports = [node.tcp_port if scheme == "lw" else node.port for node in cluster.nodes]
    servers = ",".join(f"{scheme}://127.0.0.1:{port}" for port in [1, *ports])
    channel = f"topic:tool-{scheme}"
    done = subprocess.run([LONGWIRE, "-s", servers, "pub", channel, "hello"], capture_output=True, text=True, timeout=SECONDS, check=True)
    assert done.stdout.startswith(f"{channel} 1 ")
    done = subprocess.run([LONGWIRE, "-s", servers, "sub", channel, "--after", "0", "-n", "1"], capture_output=True, text=True,
                          timeout=SECONDS, check=True)
    assert done.stdout == "hello\n"
