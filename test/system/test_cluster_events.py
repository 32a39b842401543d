"""Events in a cluster of real nodes: a device is offline only if no node has its link; what a node leaves behind when it dies is told
by another one."""
import contextlib

import pytest

from cluster import Cluster, Node
from longwire_server import is_built
from test_events import devices_online, events, publish
from test_sessions import Device
from waiting import wait_until
from wire import fresh, request

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")


CONFIG = """heartbeat_s = 3600
presence_return_s = 1
[namespace room]
presence = true
[events]
keep = connected, disconnected, occupied, vacated, offline
"""


class PatientCluster(Cluster):
    """Links that say nothing stay for as long as a test takes."""

    def make_node(self, name):
        return Node(name, self.engines(), self.config, program=self.program)


@pytest.fixture(scope="module", name="cluster")
def cluster_fixture():
    with PatientCluster(count=2, config=CONFIG) as running:
        yield running


def offline_of(api, user):
    return sorted((event.get("device", ""), event["channel"], event["seq"]) for event in events(api)
                  if event["type"] == "offline" and event.get("user") == user)


def links_of(api, user):
    return sorted(((event["type"], event.get("reason"), event["device"]) for event in events(api)
                   if event.get("user") == user and event["type"] in ("connected", "disconnected")), key=str)


def test_a_device_is_offline_if_no_node_has_its_link(cluster):
    one, two = cluster.nodes
    pad, phone = Device(one, "ann", "pad"), Device(two, "ann", "phone")
    pad.connect()
    phone.connect()
    with contextlib.closing(two.api()) as api:
        wait_until(lambda: devices_online(api, "ann") == {"pad": True, "phone": True})
        publish(api, "user:ann")
        told = [("", "user:bob", publish(api, "user:bob"))]
        wait_until(lambda: offline_of(api, "bob") == told)     # written behind those of ann, if there were any
        one.kill()
        wait_until(lambda: "node1" not in two.up())
        lost = publish(api, "user:ann")
        wait_until(lambda: offline_of(api, "ann") == [("pad", "user:ann", lost)], lambda: offline_of(api, "ann"))
        # The other node tells the end of that link, and not of its own ones.
        told = [("connected", None, "pad"), ("connected", None, "phone"), ("disconnected", "node_lost", "pad")]
        wait_until(lambda: links_of(api, "ann") == told, lambda: links_of(api, "ann"))
        phone.cut()
        told.insert(2, ("disconnected", "lost", "phone"))
        wait_until(lambda: links_of(api, "ann") == told, lambda: links_of(api, "ann"))
        one.start()
        cluster.wait_whole()
        assert links_of(api, "ann") == told


def told(node, channel):
    return request(node, "GET", f"/v1/channels/{channel.replace(':', '%3A')}/subscribers").want(200).json()["subscribers"]


def presence_of(api, channel):
    return [event["type"] for event in events(api) if event.get("channel") == channel and event["type"] in ("occupied", "vacated")]


def test_a_channel_is_occupied_once_for_all_nodes(cluster):
    one, two = cluster.nodes
    channel = fresh("room")
    first, second = Device(one, "dora", "web"), Device(two, "emil", "web")
    with contextlib.closing(two.api()) as api:
        for device in (first, second):
            device.connect()
            device.ws.ask("subscribe", "subscribed", channel=channel)
        wait_until(lambda: presence_of(api, channel) == ["occupied"], lambda: presence_of(api, channel))
        wait_until(lambda: len(told(two, channel)) == 2)
        first.cut()
        wait_until(lambda: len(told(two, channel)) == 1)      # it has left for good, and told so
        second.cut()
        wait_until(lambda: presence_of(api, channel) == ["occupied", "vacated"], lambda: presence_of(api, channel))
