"""Sessions in a cluster of real nodes: a device goes from node to node and gets each message once and in order; of two links one has
the session, whatever node they are on (threat 33); a node dies; who leaves a group leaves it everywhere; revocation; polls through a
balancer; presence; connections of other nodes."""
import contextlib
import itertools
import json
import random
import threading

import pytest

import test_members_only
from cluster import Cluster, Node
from longwire_client import Api
from longwire_server import is_built
from test_presence import told
from test_sessions import Device, said_first, sent
from waiting import wait_until
from wire import Sse, Ws, fresh, publish, request

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

CONFIG = """
session_compare_s = 2
presence_return_s = 1
[namespace room]
presence = true
"""


@pytest.fixture(scope="module", name="cluster")
def cluster_fixture():
    with Cluster(config=CONFIG) as running:
        yield running


@pytest.fixture(name="nodes")
def nodes_fixture(cluster):
    for node in cluster.nodes:
        if node.process is None:
            node.start()
    cluster.wait_whole()
    return cluster.nodes


names = (f"member{n}" for n in itertools.count())


def put_member(node, group, user, method="PUT"):
    return request(node, method, f"/v1/groups/{group}/members/{user}").want(200).json()


def device_of(node, user=None):
    return Device(node, user or next(names), "phone")


def move(device, node, way="ticket"):
    """To another node."""
    device.server = node
    return device.resume() if way == "ticket" else device.connect()


def read_to(phone, nodes, channel, last):
    """What was acknowledged comes again only if a node did not say in time what it had not stored yet (docs/decisions, 83)."""
    while phone.got[channel][-1:] != [last]:
        phone.read(1)
    assert phone.repeats == 0 or untold(nodes) > 0


def untold(nodes):
    return sum(node.metrics()["longwire_sessions_untold_total"] for node in nodes)


def expect_close(ws, code):
    """What was sent before is read and dropped."""
    assert ws.closing()[0] == code


# --- sessions move ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("way", ["name", "ticket"])
def test_a_device_goes_on_at_another_node(nodes, way):
    with device_of(nodes[0]) as phone:
        user = f"user:{phone.user}"
        phone.connect()
        for _ in range(3):
            sent(nodes[1], user)
        phone.read(3)
        assert phone.ack(user, 3) == 3
        phone.cut()
        for _ in range(2):
            sent(nodes[2], user)
        said = move(phone, nodes[1], way)
        assert said["resumed"] is True and said["generation"] == 2
        sent(nodes[0], user)
        read_to(phone, nodes, user, 6)
        assert phone.got[user] == [1, 2, 3, 4, 5, 6]


def test_the_older_link_is_replaced_wherever_it_is(nodes):
    with device_of(nodes[0]) as phone:
        phone.connect()
        older = phone.ws
        ticket = phone.ticket
        move(phone, nodes[2], "name")
        assert older.frame("replaced")["code"] == 4001
        expect_close(older, 4001)
        sent(nodes[1], f"user:{phone.user}")
        phone.read(1)
        with Ws(nodes[1]) as ws:  # a ticket of an older generation counts nowhere
            error = ws.ask("connect", "error", ticket=ticket, ref=1)
            assert error["code"] == 401 and "stale" in error["reason"]


def test_what_was_acknowledged_a_moment_before_the_move_counts(nodes):
    """The older node has not stored it yet, and hands it over."""
    for n in range(10):
        with device_of(nodes[n % 3]) as phone:
            user = f"user:{phone.user}"
            phone.connect()
            sent(nodes[0], user)
            phone.read(1)
            phone.ack(user, 1)
            older = phone.ws
            said = move(phone, nodes[(n + 1) % 3], "name")
            assert said["resumed"] is True
            sent(nodes[0], user)
            read_to(phone, nodes, user, 2)
            assert phone.got[user] == [1, 2]
            expect_close(older, 4001)


def test_what_a_call_acknowledged_comes_on_no_link_that_is_opened_then(nodes):
    """Nobody asks the node that answered the call: it has stored that by then."""
    for n in range(30):
        with device_of(nodes[n % 3]) as phone:
            user = f"user:{phone.user}"
            phone.connect()
            sent(nodes[0], user)
            phone.read(1)
            said = request(nodes[(n + 1) % 3], "POST", f"/v1/ack?user={phone.user}",
                           json.dumps({"device": "phone", "places": {user: 1}}).encode()).want(200).json()
            assert said == {"places": {user: 1}}
            move(phone, nodes[(n + 2) % 3], "name")
            sent(nodes[0], user)
            while phone.got[user][-1:] != [2]:
                phone.read(1)
            assert phone.got[user] == [1, 2] and phone.repeats == 0


def test_two_links_that_fight_on_two_nodes(nodes):
    """The older one is told that it was replaced: after its generation, or in place of one, if the newer one overtook it."""
    user = next(names)

    def connect(ws):
        ws.say("connect", session=True, user=user, device="phone")
        said.append((said_first(ws, "connected", "replaced").get("generation", 0), ws))

    for n in range(30):
        said = []
        links = [Ws(node).__enter__() for node in (nodes[n % 3], nodes[(n + 1) % 3])]
        threads = [threading.Thread(target=connect, args=(ws,)) for ws in links]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (low, loser), (high, winner) = sorted(said, key=lambda pair: pair[0])
        assert low < high
        expect_close(loser, 4001)
        seq = sent(nodes[2], f"user:{user}")
        while (came := winner.frame("message")["seq"]) != seq:
            assert came == seq - 1 and untold(nodes) > 0   # as in read_to()
        winner.ask("ack", "ack", channel=f"user:{user}", seq=seq, ref=1)
        winner.wire.reset()


@pytest.mark.parametrize("seed", [1, 2])
def test_hops_while_messages_flow(nodes, seed):
    """To the user and to a group, published on all nodes, while the device goes from node to node in all the ways there are."""
    draw = random.Random(seed)
    group = fresh("group")
    phone = device_of(nodes[0])
    user = f"user:{phone.user}"
    phone.connect()
    put_member(nodes[1], group.split(":")[1], phone.user)
    over = threading.Event()
    counts = {user: 0, group: 0}

    def pump():
        at = 0
        while not over.is_set():
            at += 1
            channel = (user, group)[at % 2]
            counts[channel] = sent(nodes[at % 3], channel)
            over.wait(0.01)

    pumping = threading.Thread(target=pump)
    pumping.start()
    try:
        for _ in range(12):
            for _ in range(draw.randrange(20)):
                take_any(phone)
            if draw.random() < 0.7:
                for channel, seqs in phone.got.items():
                    phone.ack(channel, seqs[-1]) if channel in phone.got and draw.random() < 0.8 else None
            if draw.random() < 0.5:
                phone.cut()
            move(phone, draw.choice(nodes), draw.choice(["ticket", "name"]))
    finally:
        over.set()
        pumping.join()
    wait_until(lambda: drained(phone, counts), lambda: f"{ {c: s[-3:] for c, s in phone.got.items()} }, not {counts}")
    for channel, seqs in phone.got.items():
        assert seqs == list(range(seqs[0], seqs[-1] + 1)), channel
    assert phone.got[group][0] == 1
    phone.cut()


def take_any(phone):
    """A message, or a change of membership, which is an entry of the user's log, too."""
    while True:
        entry = phone.ws.others.pop(0) if phone.ws.others else json.loads(phone.ws.frame_text())
        if entry["type"] in ("message", "membership"):
            phone.take({**entry, "type": "message"})
            return
        assert entry["type"] in ("subscribed", "unsubscribed"), entry


def drained(phone, counts):
    for channel, count in counts.items():
        while phone.got[channel][-1:] != [count]:
            take_any(phone)
    return True


def test_a_node_dies_and_its_devices_go_on_elsewhere(nodes):
    """Threat 37."""
    with device_of(nodes[2]) as phone:
        user = f"user:{phone.user}"
        phone.connect()
        sent(nodes[0], user)
        phone.read(1)
        phone.ack(user, 1)
        wait_until(lambda: stored_place(nodes[0], phone) >= 1)
        nodes[2].kill()
        sent(nodes[1], user)
        said = move(phone, nodes[0])
        assert said["resumed"] is True and said["generation"] == 2
        phone.read(1)
        assert phone.got[user] == [1, 2] and phone.repeats == 0


def stored_place(node, phone):
    seq = 1
    page = request(node, "GET", f"/v1/channels/user:{phone.user}/messages/{seq}/receipts").want(200).json()
    return sum(one["state"] == "acknowledged" for one in page["devices"])


# --- groups ----------------------------------------------------------------------------------------------------------

def test_members_follow_and_leave_on_all_nodes(nodes):
    group = fresh("group")
    name = group.split(":")[1]
    with device_of(nodes[1]) as phone:
        phone.connect()
        put_member(nodes[0], name, phone.user)
        seq = sent(nodes[2], group)
        take_any(phone)
        take_any(phone)
        assert phone.got[group] == [seq]
        put_member(nodes[2], name, phone.user, "DELETE")
        take_any(phone)     # the leave: until its node has heard of it, a message may still come
        sent(nodes[0], group)
        last = sent(nodes[0], f"user:{phone.user}")
        while phone.got[f"user:{phone.user}"][-1:] != [last]:
            take_any(phone)
        assert phone.got[group] == [seq]


class GuardedCluster(Cluster):
    """One node, whose clients need a token."""
    def __init__(self):
        super().__init__(count=1, config=f"session_compare_s = 1\n{test_members_only.CONFIG}")

    def make_node(self, name):
        return Node(name, self.engines(), self.config, token=test_members_only.KEY)


def test_a_leave_of_which_no_word_came_is_noticed():
    """The notice between nodes is lost: here the row goes and nobody says a word. A link without a session is asked for again."""
    with GuardedCluster() as cluster, contextlib.ExitStack() as stack:
        with contextlib.closing(Api(cluster.urls[0], test_members_only.KEY)) as backend:
            for user in ("leaver", "stayer"):
                test_members_only.member(backend, "PUT", "silent", user)
        links = {user: test_members_only.socket_of(cluster.nodes[0], user, stack) for user in ("leaver", "stayer")}
        for socket, frames in links.values():
            socket.say({"type": "subscribe", "channel": "group:silent"})
            assert next(frames)["type"] == "subscribed"
        gone = cluster.postgres.psql("with gone as (delete from longwire.ledger where kind = 3 and key = 'leaver'::bytea || "
                                     "'\\x00'::bytea || 'silent'::bytea returning 1) select count(*) from gone")
        assert gone == "1"
        assert next(links["leaver"][1]) == {"type": "unsubscribed", "channel": "group:silent"}
        with contextlib.closing(Api(cluster.urls[0], test_members_only.KEY)) as backend:
            backend.publish("group:silent", b"for who stayed")
        assert next(links["stayer"][1])["type"] == "message"


# --- HTTP transports ---------------------------------------------------------------------------------------------------

def test_polls_through_a_balancer(nodes):
    user = next(names)
    channel = f"user:{user}"
    turn = itertools.cycle(nodes)
    query = f"session=1&user={user}&device=phone&wait=0"
    answer = request(next(turn), "GET", f"/v1/subscribe?{query}").want(200).json()
    got = []
    for _ in range(20):
        sent(nodes[0], channel)
        answer = request(next(turn), "GET", f"/v1/subscribe?{query}&cursor={answer['cursor']}").want(200).json()
        got += [message["seq"] for message in answer["messages"]]
    while len(got) < 20:
        answer = request(next(turn), "GET", f"/v1/subscribe?{query.replace('wait=0', 'wait=5')}&cursor={answer['cursor']}"
                         ).want(200).json()
        got += [message["seq"] for message in answer["messages"]]
    assert got == list(range(1, 21))
    with device_of(nodes[1], user) as phone:  # a newer link takes over from polls on whatever node
        assert phone.connect()["generation"] == 2
        for node in nodes:
            refused = request(node, "GET", f"/v1/subscribe?{query}&cursor={answer['cursor']}")
            assert refused.status == 409, refused


def test_a_stream_goes_on_at_another_node(nodes):
    user = next(names)
    channel = f"user:{user}"
    with Sse(nodes[0], f"session=1&user={user}&device=phone") as stream:
        sent(nodes[1], channel)
        assert stream.next()["seq"] == 1
        with Sse(nodes[2], f"session=1&user={user}&device=phone&last_event_id={stream.cursor}") as again:
            sent(nodes[1], channel)
            assert again.next()["seq"] == 2


# --- connections, revocation, presence ---------------------------------------------------------------------------------

def test_a_connection_is_found_from_any_node(nodes):
    with Ws(nodes[0]) as ws:
        key = ws.greeting["connection"]
        assert len(key) == 16
        for node in nodes:
            publish(node, f"conn:{key}", f"from {node.name}".encode())
            assert ws.frame("message")["payload"] == f"from {node.name}".encode()
        gone = f"{int(key, 16) ^ 1:016x}"
        for node in nodes:
            assert request(node, "POST", f"/v1/channels/conn:{gone}/messages", b"x").status == 201  # nobody is told who is there


def test_a_revocation_ends_links_on_all_nodes(nodes):
    user = next(names)
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(Ws(node, f"user={user}&device=d{n}")) for n, node in enumerate(nodes)]
        key = links[1].greeting["connection"]
        request(nodes[0], "POST", "/v1/revocations", json.dumps({"connection": key}).encode()).want(200)
        expect_close(links[1], 4004)
        request(nodes[2], "POST", "/v1/revocations", json.dumps({"user": user}).encode()).want(200)
        expect_close(links[0], 4004)
        expect_close(links[2], 4004)


def test_presence_is_told_on_all_nodes(nodes):
    channel = fresh("room")
    with contextlib.ExitStack() as stack:
        watcher = stack.enter_context(Ws(nodes[0], "user=ann&device=phone"))
        watcher.ask("subscribe", "subscribed", channel=channel, presence=True)
        assert told(watcher) == ("presence", None, 1)
        bob = stack.enter_context(Ws(nodes[1], "user=bob&device=phone"))
        bob.ask("subscribe", "subscribed", channel=channel)
        assert told(watcher) == ("join", "bob/phone", 2)
        eve = stack.enter_context(Ws(nodes[2], "user=eve&device=phone"))
        eve.ask("subscribe", "subscribed", channel=channel, presence=True)
        assert told(eve) == ("presence", None, 3)
        assert told(watcher) == ("join", "eve/phone", 3)
        bob.ask("unsubscribe", "unsubscribed", channel=channel)
        assert told(watcher) == ("leave", "bob/phone", 2)
        assert told(eve) == ("leave", "bob/phone", 2)
        nodes[2].kill()  # its devices leave when its lease has run out
        assert told(watcher) == ("leave", "eve/phone", 1)
