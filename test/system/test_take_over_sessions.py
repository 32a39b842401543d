"""`longwired --take-over` with sessions of devices: their links go on, and nothing of a session begins anew (threats 24, 33, 44;
docs/decisions/0124)."""
import contextlib
import queue
import re
import threading

import pytest

from longwire_client import Api
from longwire_server import PatientServer as Server, is_built
from native_link import NativeLink
from test_presence import told
from test_uplink_requests import BackEnd
from test_uplink_requests import config as uplink_config
from waiting import SECONDS, wait_until
from wire import Multipart, Ndjson, Poll, Sse, Ws, event_of, metric, publish, request_bytes

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

KEYS = "[key admin]\nsecret = admin-secret\nrights = publish, subscribe, manage, admin\n[jwt app]\nsecret = 0123456789abcdef0123456789abcdef\n"
LINKS = [Ws, NativeLink]


def connect(link, user, device="phone", **members):
    return link.ask("connect", "connected", session=True, user=user, device=device, **members)


def next_message(link):
    """What says who joined and left a group, and what is followed for it, is passed by."""
    while True:
        if link.others:
            frame = link.others.pop(0)
        else:
            frame = event_of(link.frame_text())
        if frame["type"] == "message":
            return frame
        assert frame["type"] in ("membership", "subscribed", "unsubscribed", "ping"), frame


def sent(server, channel, payload=b"x"):
    return publish(server, channel, payload)["seq"]


def generation_of(server, user, device="phone"):
    return {row["device"]: row["generation"] for row in Api(server.url).get(f"/v1/users/{user}").json["devices"]}[device]


@pytest.mark.parametrize("link", LINKS)
def test_a_session_goes_on_with_its_generation_and_its_places(link):
    """What was acknowledged before, what was only sent, what is published meanwhile and behind it: each comes once; no generation is
    raised, and what was acknowledged last counts when the device comes again by its ticket."""
    with Server() as server, link(server) as phone:
        said = connect(phone, "ann")
        first, second = sent(server, "user:ann"), sent(server, "user:ann")
        assert [next_message(phone)["seq"] for _ in range(2)] == [first, second]
        assert phone.ask("ack", "ack", channel="user:ann", seq=first, ref=1)["seq"] == first
        for round_number in range(2):
            server.take_over()
            assert generation_of(server, "ann") == said["generation"]
            third = sent(server, "user:ann", b"third")
            assert next_message(phone)["seq"] == third, round_number
        phone.say("ack", channel="user:ann", seq=third)
        assert phone.ask("ping", "pong")
        server.take_over()   # the acknowledgement is told before
        with link(server) as again:
            told = again.ask("connect", "connected", ticket=said["ticket"])
            assert told["resumed"] and told["generation"] == said["generation"] + 1
            last = sent(server, "user:ann", b"last")
            assert next_message(again)["seq"] == last   # and not one of those before
        assert phone.frame("replaced")["code"] == 4001   # the older link is fenced as ever


@pytest.mark.parametrize("link", LINKS)
def test_what_was_not_acknowledged_comes_again_to_the_next_link_alone(link):
    with Server() as server, link(server) as phone:
        said = connect(phone, "ann")
        seqs = [sent(server, "user:ann") for _ in range(3)]
        assert [next_message(phone)["seq"] for _ in seqs] == seqs
        assert phone.ask("ack", "ack", channel="user:ann", seq=seqs[0], ref=1)["seq"] == seqs[0]
        server.take_over()
        assert phone.ask("ping", "pong")
        phone.reset() if link is NativeLink else phone.wire.reset()
        with link(server) as again:
            again.ask("connect", "connected", ticket=said["ticket"])
            assert [next_message(again)["seq"] for _ in seqs[1:]] == seqs[1:]


@pytest.mark.parametrize("link", LINKS)
def test_groups_that_are_joined_and_left_around_it_are_followed(link):
    with Server() as server, link(server) as phone, contextlib.closing(Api(server.url)) as api:
        assert api.call("PUT", "/v1/groups/old/members/ann").status == 200
        connect(phone, "ann")
        server.take_over()
        api = Api(server.url)
        assert api.call("PUT", "/v1/groups/new/members/ann").status == 200
        assert api.publish("group:new", b"hello").status == 201
        assert next_message(phone)["channel"] == "group:new"
        assert api.call("DELETE", "/v1/groups/old/members/ann").status == 200
        assert api.publish("group:old", b"not for ann").status == 201
        assert api.call("DELETE", "/v1/groups/new/members/ann").status == 200
        assert api.call("PUT", "/v1/groups/new/members/ann").status == 200   # there are two spans now
        assert api.publish("group:new", b"before").status == 201
        assert next_message(phone)["payload"] == b"before"
        server.take_over()
        api = Api(server.url)
        assert api.publish("group:new", b"again").status == 201
        assert next_message(phone)["payload"] == b"again"
        assert api.call("DELETE", "/v1/groups/new/members/ann").status == 200
        assert api.publish("group:new", b"not for ann").status == 201
        assert api.publish("user:ann", b"end").status == 201
        assert next_message(phone)["payload"] == b"end"


@pytest.mark.parametrize("link", LINKS)
def test_kept_channels_and_the_mode_stay(link):
    with Server() as server, link(server) as phone:
        connect(phone, "ann")
        phone.ask("subscribe", "subscribed", channel="topic:kept", keep=True)
        phone.ask("subscribe", "subscribed", channel="topic:told", mode="notify")
        server.take_over()
        sent(server, "topic:kept", b"kept")
        assert next_message(phone)["channel"] == "topic:kept"
        seq = sent(server, "topic:told", b"told")
        notify = phone.frame("notify")
        assert notify["channel"] == "topic:told" and notify["head"] == seq
        phone.ask("unsubscribe", "unsubscribed", channel="topic:kept")


@pytest.mark.parametrize("kind", [Sse, Ndjson, Multipart])
def test_a_stream_with_a_session_goes_on_and_its_cursor_resumes(kind):
    with Server() as server:
        with kind(server, "session=1&user=ann&device=tv") as tv:
            first = sent(server, "user:ann", b"first")
            assert tv.next()["seq"] == first
            server.take_over()
            second = sent(server, "user:ann", b"second")
            assert tv.next()["seq"] == second
            assert generation_of(server, "ann", "tv") == 1
            tv.settle()
            cursor = tv.cursor
        with kind(server, f"session=1&user=ann&device=tv&cursor={cursor}") as tv:
            third = sent(server, "user:ann", b"third")
            assert tv.next()["seq"] == third


def test_a_poll_with_a_session_is_answered_and_goes_on():
    query = "session=1&user=ann&device=tv"

    def poll(link, cursor):
        answer = link.ask(f"{query}&wait=20&cursor={cursor}").want(200).json()
        return [message["seq"] for message in answer["messages"]], answer["cursor"]

    with Server() as server, Poll(server, query) as tv:
        cursor = tv.ask(f"{query}&wait=0").want(200).json()["cursor"]
        first = sent(server, "user:ann", b"first")
        seqs, cursor = poll(tv, cursor)
        assert seqs == [first]
        tv.wire.send(request_bytes("GET", f"/v1/subscribe?{query}&wait=20&cursor={cursor}", accept=tv.media))
        wait_until(lambda: metric(server, "longwire_sessions{transport=\"poll\"}") == 1)
        server.take_over()
        answer = tv.wire.answer().want(200).json()
        assert answer["messages"] == []
        second = sent(server, "user:ann", b"second")
        assert poll(tv, answer["cursor"])[0] == [second]   # on the same connection
        assert generation_of(server, "ann", "tv") == 1


def test_no_event_says_that_a_device_has_come_or_gone():
    """Nor does another one of the channels that it follows."""
    config = "[events]\nkeep = connected, disconnected, subscribed, unsubscribed\n"

    def events():
        api = Api(server.url)
        return sorted((entry["data"]["type"], entry["data"].get("user")) for n in range(16)
                      if api.get(f"/v1/channels/sys:events%2F{n}/messages").status == 200
                      for entry in api.history(f"sys:events/{n}")["messages"])

    with Server(config=config) as server, Ws(server) as ann, NativeLink(server) as bob:
        connect(ann, "ann")
        connect(bob, "bob")
        ann.ask("subscribe", "subscribed", channel="topic:a")
        wait_until(lambda: len(events()) == 3, events)
        before = events()
        server.take_over()
        sent(server, "topic:a", b"one")
        assert next_message(ann)["channel"] == "topic:a"
        assert bob.ask("ping", "pong")
        assert events() == before
        ann.wire.reset()
        wait_until(lambda: len(events()) > len(before), events)
        assert set(events()) - set(before) <= {("disconnected", "ann"), ("unsubscribed", "ann")}


def test_requests_that_a_back_end_has_not_answered_end_as_after_a_crash():
    """Their links go on, and hear the answer by the log of the device: what became of it is not known, or it is asked again."""
    with contextlib.closing(BackEnd()) as back_end, Server(config=uplink_config(back_end)) as server, Ws(server) as phone:
        connect(phone, "ann")
        for name in ("once", "twice"):
            phone.say("request", id=name, method="GET", path=f"/gate/{name}", ref=1)
            assert phone.frame("accepted")["id"] == name
        wait_until(lambda: back_end.count("/gate/once") + back_end.count("/gate/twice") == 2, "the calls")
        server.take_over()
        back_end.gate.set()
        answers = {}
        while len(answers) < 2:
            frame = event_of(phone.frame_text())
            if frame["type"] == "response":
                answers[frame["request"]] = frame
        assert answers["once"]["status"] == 504 and answers["once"]["headers"]["Longwire-Outcome"] == "unknown"
        assert answers["twice"]["status"] == 200
        assert back_end.count("/gate/once") == 1 and back_end.count("/gate/twice") == 2
        assert generation_of(server, "ann") == 1


def test_deliveries_do_not_wait_for_back_ends():
    """A request, a batch and events that back ends keep for longer, leases of forwarders: none of them holds up the take-over."""
    with contextlib.closing(BackEnd()) as back_end:
        config = (uplink_config(back_end) + "[namespace up]\nforward = app/gate/batch\n"
                  f"[webhook hook]\nurl = {back_end.url}/gate/hook\nevents = connected\nsecret = 0123456789abcdef\n")
        with Server(config=config) as server, Ws(server) as phone:
            connect(phone, "ann")
            phone.say("request", id="twice", method="GET", path="/gate/twice", ref=1)
            assert phone.frame("accepted")["id"] == "twice"
            sent(server, "up:a")
            wait_until(lambda: all(back_end.count(f"/gate/{path}") > 0 for path in ("twice", "batch", "hook")), back_end)
            asked = queue.Queue()
            for turn in range(3):
                body = b'{"id":"waits%d","method":"GET","path":"/gate/waits"}' % turn
                asker = threading.Thread(target=lambda: asked.put(Api(server.url).call(
                    "POST", "/v1/request?user=bob&device=pc", body, {"Prefer": "wait=60"})))
                asker.start()
                wait_until(lambda: back_end.count("/gate/waits") > turn, back_end)
                server.take_over()
                assert asked.get(timeout=SECONDS).status == 202
                asker.join()
            waits = [int(ms) for ms in re.findall(r"settle_ms=(\d+)", server.log())]
            # 200 is what answers have; at 2,000 all is left behind. The machine may be busy, but not each time.
            assert len(waits) == 3 and min(waits) < 1500, waits
            back_end.gate.set()
            wait_until(lambda: metric(server, 'longwire_forwarder_backlog_messages{forwarder="forward:up"}') == 0, "the batch is taken")


def test_requests_that_come_while_all_stands_still_are_answered():
    """The new process reads them before the channels of their links have answered it."""
    count = 40
    with contextlib.closing(BackEnd()) as back_end, Server(config="heartbeat_s = 3600\n" + uplink_config(back_end)) as server, \
            contextlib.ExitStack() as stack:    # the last of the links are read when all others have been
        phones = [stack.enter_context(Ws(server)) for _ in range(count)]
        for number, phone in enumerate(phones):
            connect(phone, f"u{number}")
        phones[0].say("request", id="twice", method="GET", path="/gate/twice", ref=1)   # the loops wait a moment for it
        wait_until(lambda: back_end.count("/gate/twice") == 1, "the call")
        said, is_over = [], threading.Event()

        def say():
            while not is_over.wait(0.02):
                said.append(f"r{len(said)}")
                for phone in phones:
                    phone.say("request", id=said[-1], method="GET", path="/hello")

        teller = threading.Thread(target=say)
        teller.start()
        server.take_over()
        is_over.set()
        teller.join()
        back_end.gate.set()
        for phone in phones:
            waiting = set(said)
            while waiting:
                frame = event_of(phone.frame_text())
                if frame["type"] == "error":   # too many were under way on a slow machine
                    assert frame["code"] in (429, 503), frame
                    phone.say("request", id=frame["id"], method="GET", path="/hello")
                elif frame["type"] == "response":
                    waiting.discard(frame["request"])


def test_presence_does_not_flicker():
    """Who is told of changes hears nothing of it, and then of the next change; who had been there stays since then."""
    room = "/v1/channels/room:r/subscribers"
    with Server(config="loops = 2\n[namespace room]\npresence = true\n") as server, contextlib.ExitStack() as stack:
        links = {user: stack.enter_context(link(server)) for user, link in
                 [("ann", Ws), ("bob", Ws), ("eve", Ws), ("dan", Ws), ("kim", Ws), ("joe", Ws)]}
        for count, (user, link) in enumerate(links.items(), 1):
            connect(link, user)
            link.ask("subscribe", "subscribed", channel="room:r", presence=True)
            for other in list(links)[:count - 1]:
                assert told(links[other]) == ("join", f"{user}/phone", count)
            assert told(link) == ("presence", None, count)
        before = Api(server.url).get(room).json
        for _ in range(2):
            server.take_over()
            assert Api(server.url).get(room).json == before
        links["joe"].ask("unsubscribe", "unsubscribed", channel="room:r")
        for user in list(links)[:-1]:
            assert told(links[user]) == ("leave", "joe/phone", len(links) - 1), user
        links["kim"].wire.reset()   # it is expected back for a while, as ever
        assert Api(server.url).get(room).json["count"] == len(links) - 1
