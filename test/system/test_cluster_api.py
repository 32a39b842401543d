"""What the API says of a whole cluster is the same on every node: who is connected and present, how many follow, how far devices
are, which nodes there are and where clients are sent; and it says so where a node that may know more does not answer."""
import concurrent.futures
import json
import uuid

import pytest

import postgres_server
import redis_server
from cluster import Cluster, Node
from test_sessions import Device
from waiting import wait_until
from wire import Sse, Ws, fresh, path_of, publish, request

pytestmark = pytest.mark.skipif(not postgres_server.binaries() or not redis_server.is_installed(),
                                reason="PostgreSQL or Redis is not installed")

CONFIG = "[namespace room]\npresence = true\nsubscribe = anyone\n"


@pytest.fixture(name="nodes", scope="module")
def nodes_fixture():
    with Cluster(config=CONFIG) as cluster:
        yield cluster.nodes


@pytest.fixture(name="user")
def user_fixture():
    return f"u{uuid.uuid4().hex[:8]}"


def answer_of(node, path, method="GET", body=None):
    return request(node, method, path, None if body is None else json.dumps(body).encode())


def ask(node, path, status=200, **more):
    return answer_of(node, path, **more).want(status).json()


def same_everywhere(nodes, path, wanted=lambda answer: True, **more):
    """What all nodes say, once it is what is wanted. Nothing is missing from it."""
    answers = []

    def agree():
        told = [answer_of(node, path, **more) for node in nodes]
        if any(answer.status == 404 for answer in told):    # not every node has heard of it
            return False
        answers[:] = [answer.want(200).json() for answer in told]
        return all(answer == answers[0] for answer in answers) and wanted(answers[0])

    wait_until(agree, lambda: json.dumps(answers, indent=1))
    assert "incomplete" not in answers[0], answers[0]
    return answers[0]


def begin(node, user, device):
    one = Device(node, user, device)
    one.connect()
    return one


# --- channels -----------------------------------------------------------------------------------------------------------

def test_subscribers_of_all_nodes_are_counted(nodes):
    channel = fresh()
    publish(nodes[0], channel)
    with Sse(nodes[0], f"channel={channel}"), Ws(nodes[1], f"channel={channel}"), Sse(nodes[2], f"channel={channel}"), \
            Ws(nodes[2], f"channel={channel}"):
        info = same_everywhere(nodes, path_of(channel), lambda answer: answer["subscribers"] == 4)
        assert info["head"] == 1
        listing = same_everywhere(nodes, f"/v1/channels?prefix={channel}", lambda answer: answer["channels"][0]["subscribers"] == 4)
        assert len(listing["channels"]) == 1
    same_everywhere(nodes, path_of(channel), lambda answer: answer["subscribers"] == 0)


def test_a_channel_that_is_only_followed_is_known_everywhere(nodes):
    channel = fresh()
    for node in nodes:
        ask(node, path_of(channel), 404)
    with Ws(nodes[2], f"channel={channel}"):
        same_everywhere(nodes, path_of(channel), lambda answer: answer["subscribers"] == 1)


def test_history_recall_and_purge_on_any_node(nodes):
    channel = fresh()
    for at in range(3):
        publish(nodes[at], channel, f"m{at}", media="text/plain")
    page = same_everywhere(nodes, path_of(channel) + "/messages", lambda answer: len(answer["messages"]) == 3)
    assert [message["data"] for message in page["messages"]] == ["m0", "m1", "m2"]
    request(nodes[1], "DELETE", path_of(channel) + "/messages/2").want(200)
    page = same_everywhere(nodes, path_of(channel) + "/messages", lambda answer: len(answer["messages"]) == 4)
    assert page["messages"][1]["recalled"] is True
    request(nodes[2], "DELETE", path_of(channel)).want(200)
    same_everywhere(nodes, path_of(channel) + "/messages", lambda answer: answer["messages"][0]["why"] == "trimmed")


def test_idempotency_keys_hold_on_any_node(nodes):
    channel = fresh()
    answers = [request(node, "POST", path_of(channel) + "/messages", b"once", content_type="text/plain", idempotency_key="k1")
               for node in nodes]
    assert [answer.status for answer in answers] == [201, 200, 200]
    assert answers[0].json() == answers[1].json() == answers[2].json()
    request(nodes[1], "POST", path_of(channel) + "/messages", b"another", content_type="text/plain", idempotency_key="k1").want(422)


# --- connections --------------------------------------------------------------------------------------------------------

def test_a_connection_is_looked_at_and_cut_off_from_any_node(nodes, user):
    with begin(nodes[0], user, "phone") as device:
        key = device.said["connection"]
        seen = same_everywhere(nodes, f"/v1/connections/{key}")
        assert (seen["user"], seen["device"], seen["node"], seen["transport"]) == (user, "phone", "node1", "websocket")
        ask(nodes[2], f"/v1/connections/{key}", method="DELETE")
        device.ws.frame("reconnect")
        for node in nodes:
            wait_until(lambda n=node: request(n, "GET", f"/v1/connections/{key}").status == 404)


def test_a_key_of_no_connection_is_404_on_any_node(nodes):
    for node in nodes:
        ask(node, "/v1/connections/0123456789abcdef", 404)


# --- users, devices -----------------------------------------------------------------------------------------------------

def test_devices_of_a_user_on_all_nodes(nodes, user):
    pad = begin(nodes[2], user, "pad")
    with begin(nodes[0], user, "phone"):
        def on_both(answer):
            return {(device["device"], device["online"], device["node"]) for device in answer["devices"]} == {
                ("phone", True, "node1"), ("pad", True, "node3")}

        wait_until(lambda: all(on_both(ask(node, f"/v1/users/{user}")) for node in nodes))
        same_everywhere(nodes, "/v1/presence", lambda answer: answer["users"] == {
            "nobody": {"online": False, "devices": 0}, user: {"online": True, "devices": 2}}, method="POST",
            body={"users": [user, "nobody"]})
        pad.cut()
        wait_until(lambda: all({device["device"]: device["online"] for device in ask(node, f"/v1/users/{user}")["devices"]} ==
                               {"phone": True, "pad": False} for node in nodes))


def test_all_sessions_are_listed_on_any_node(nodes, user):
    def mine(node, query=""):
        listed, after = [], ""
        while True:
            page = ask(node, f"/v1/sessions?limit=500{query}{after}")
            listed += [(session["device"], session["online"], session["node"]) for session in page["sessions"]
                       if session["user"] == user]
            if "next" not in page:
                return listed
            after = f"&next={page['next']}"

    pad = begin(nodes[1], user, "pad")
    with begin(nodes[0], user, "phone"):
        wait_until(lambda: all(mine(node) == [("pad", True, "node2"), ("phone", True, "node1")] for node in nodes),
                   lambda: str([mine(node) for node in nodes]))
        pad.cut()
        wait_until(lambda: all(mine(node, "&online=1") == [("phone", True, "node1")] for node in nodes))
        assert all(mine(node) == [("pad", False, None), ("phone", True, "node1")] for node in nodes)


def test_receipts_and_why_know_links_of_all_nodes(nodes, user):
    with begin(nodes[0], user, "phone") as phone, begin(nodes[1], user, "pad") as pad:
        away = begin(nodes[2], user, "web")
        away.cut()
        wait_until(lambda: sum(device["online"] for device in ask(nodes[0], f"/v1/users/{user}")["devices"]) == 2)
        seq = publish(nodes[2], f"user:{user}")["seq"]
        for device in (phone, pad):
            device.read(1)
        phone.ack(f"user:{user}", seq)

        def states(answer):
            return {device["device"]: device["state"] for device in answer["devices"]}

        wanted = {"phone": "acknowledged", "pad": "written", "web": "pending"}
        path = path_of(f"user:{user}") + f"/messages/{seq}/receipts"
        wait_until(lambda: all(states(ask(node, path)) == wanted for node in nodes),
                   lambda: str([states(ask(node, path)) for node in nodes]))
        for node in nodes:
            why = ask(node, f"/v1/why?channel=user:{user}&seq={seq}&device={user}/pad")
            assert why["state"] == "written", why
            step = next(step for step in why["steps"] if "node" in step)
            assert (step["node"], step["connection"]) == ("node2", pad.said["connection"])


def test_presence_of_all_nodes(nodes, user):
    channel = fresh("room")
    with begin(nodes[0], user, "phone") as phone, begin(nodes[2], user, "pad") as pad, begin(nodes[2], f"{user}x", "pad") as other:
        for device in (phone, pad, other):
            device.ws.ask("subscribe", "subscribed", channel=channel)

        def who(answer):
            return sorted(f"{one['user']}/{one['device']}" for one in answer["subscribers"])

        wanted = sorted([f"{user}/phone", f"{user}/pad", f"{user}x/pad"])
        said = same_everywhere(nodes, path_of(channel) + "/subscribers", lambda answer: who(answer) == wanted)
        assert said["count"] == 3
        for node in nodes:
            listed, after = [], ""
            while True:
                page = ask(node, path_of(channel) + f"/subscribers?limit=1{after}")
                assert page["count"] == 3 and len(page["subscribers"]) <= 1
                listed += who(page)
                if "next" not in page:
                    break
                after = f"&next={page['next']}"
            assert sorted(listed) == wanted


# --- revocations --------------------------------------------------------------------------------------------------------

def test_a_revocation_cuts_links_of_all_nodes(nodes, user):
    with begin(nodes[0], user, "phone") as phone, begin(nodes[1], user, "pad") as pad, begin(nodes[1], f"{user}x", "pad") as other:
        said = ask(nodes[2], "/v1/revocations", method="POST", body={"user": user})
        assert said == {"cut": 2}
        for device in (phone, pad):
            assert device.ws.frame("closing")["code"] == 4004
        other.ws.ask("ping", "pong")


# --- nodes --------------------------------------------------------------------------------------------------------------

def test_every_node_knows_all(nodes):
    for node in nodes:
        said = ask(node, "/v1/nodes")["nodes"]
        assert [one["node"] for one in said] == ["node1", "node2", "node3"]
        assert {one["state"] for one in said} == {"up"}
        assert all(one["roles"] == ["access", "api", "router", "forward"] for one in said)
        assert len({one["incarnation"] for one in said}) == 3


def allocation_of(node):
    """An address may ask so often and no more."""
    def answered():
        answer = request(node, "GET", "/v1/allocate")
        return answer if answer.status == 200 else None
    return wait_until(answered).json()


def test_allocation_names_all_nodes_in_a_changing_order(nodes):
    firsts = set()
    for at in range(40):
        said = allocation_of(nodes[at % 3])
        assert {one["node"]: one["http"] for one in said["nodes"]} == {node.name: node.url for node in nodes}
        assert all(one["tcp"].startswith("tcp://") for one in said["nodes"])
        firsts.add(said["nodes"][0]["node"])
        if len(firsts) == 3:
            return
    raise AssertionError(firsts)


class OneRouter(Cluster):
    """Two nodes let clients in, ten a second each; one of them is asked where to connect."""
    def make_node(self, name):
        roles = "access, api, router" if name == "node1" else "access, api"
        return Node(name, self.engines(), f"loops = 1\nadmissions_per_s = 10\nadmissions_burst = 20\nroles = {roles}\n")


def test_clients_are_sent_at_the_rate_of_all_nodes():
    """Half of the burst is for strangers: ten of one node, twenty of two."""
    with OneRouter(count=2) as cluster:
        waits = [ask(cluster.nodes[0], "/v1/allocate")["wait_ms"] for _ in range(18)]
        assert waits == [0] * 18


def test_a_node_is_drained_by_way_of_another():
    with Cluster() as cluster:
        nodes = cluster.nodes
        with begin(nodes[2], "ann", "phone") as phone:
            said = ask(nodes[0], "/v1/nodes/node3/drain", 202, method="POST", body={"seconds": 1})
            assert [(one["node"], one["state"]) for one in said["nodes"]] == [("node3", "draining")]
            where = phone.ws.frame("reconnect")["where"].split(",")
            assert {f"http://127.0.0.1:{node.port}" for node in nodes[:2]} == {url for url in where if url.startswith("http:")}

        def state(node):
            return {one["node"]: one["state"] for one in ask(node, "/v1/nodes")["nodes"]}["node3"]

        def allocated(node):
            return {one["node"] for one in allocation_of(node)["nodes"]}

        assert state(nodes[2]) == "draining" and allocated(nodes[2]) == {"node1", "node2"}  # it knows of itself, at once
        for node in nodes[:2]:
            wait_until(lambda n=node: state(n) == "draining" and allocated(n) == {"node1", "node2"},
                       lambda n=node: f"{n.name}: {state(n)}, {allocated(n)}")
        ask(nodes[0], "/v1/nodes/nosuch/drain", 404, method="POST")


# --- a node that does not answer ----------------------------------------------------------------------------------------

def test_what_a_silent_node_may_know_is_said_to_be_missing(user):
    """Until its lease has run out: by then all has been asked, at once, for each answer waits for the silent node."""
    with Cluster(config="cluster_lease_s = 30\n") as cluster:
        nodes = cluster.nodes
        channel = fresh()
        publish(nodes[0], channel)
        with begin(nodes[2], user, "phone") as phone, Ws(nodes[2], f"channel={channel}"), Ws(nodes[0], f"channel={channel}"):
            same_everywhere(nodes, path_of(channel), lambda answer: answer["subscribers"] == 2)
            key = phone.said["connection"]
            nodes[2].pause()
            with concurrent.futures.ThreadPoolExecutor() as pool:
                info = pool.submit(ask, nodes[0], path_of(channel))
                present = pool.submit(ask, nodes[0], "/v1/presence", method="POST", body={"users": [user]})
                devices = pool.submit(ask, nodes[0], f"/v1/users/{user}")
                connection = pool.submit(request, nodes[0], "GET", f"/v1/connections/{key}")
                drained = pool.submit(request, nodes[0], "POST", "/v1/nodes/node3/drain")
            assert (info.result()["subscribers"], info.result()["incomplete"]) == (1, True)
            assert present.result()["incomplete"] is devices.result()["incomplete"] is True
            connection.result().want(503)
            drained.result().want(503)
            wait_until(lambda: {one["node"]: one["state"] for one in ask(nodes[0], "/v1/nodes")["nodes"]}["node3"] == "lost")
            assert "incomplete" not in ask(nodes[0], path_of(channel))
            request(nodes[0], "GET", f"/v1/connections/{key}").want(404)
            request(nodes[0], "POST", "/v1/nodes/node3/drain").want(409)
            nodes[2].kill()


def test_without_redis_answers_say_that_they_are_incomplete(user):
    with Cluster() as cluster:
        nodes = cluster.nodes
        channel = fresh()
        publish(nodes[0], channel)
        wait_until(lambda: len(allocation_of(nodes[0])["nodes"]) == 3)  # it has read the leases of all
        with begin(nodes[1], user, "phone"):
            cluster.redis.kill()
            wait_until(lambda: ask(nodes[0], path_of(channel)).get("incomplete"))
            said = allocation_of(nodes[0])   # the last known list
            assert {one["node"] for one in said["nodes"]} == {"node1", "node2", "node3"}
            assert {one["state"] for one in ask(nodes[0], "/v1/nodes")["nodes"]} == {"up"}
            users = ask(nodes[0], f"/v1/users/{user}")
            assert users["incomplete"] is True and len(users["devices"]) == 1
