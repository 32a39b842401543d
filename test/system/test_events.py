"""Events of connections: readable in sys:events/N with the right admin, and delivered to a webhook with a signature."""
import contextlib
import hashlib
import hmac
import http.client
import json
import time
import urllib.parse

import jwt
import pytest

from longwire_client import Api, WebSocket
from longwire_server import Server, is_built
from native_link import NativeLink
from test_uplink_forward import BackEnd
from waiting import SECONDS, wait_until

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

ADMIN, READER, ISSUER, HOOK = ("the-secret-of-the-" + who for who in ("operator", "reader", "issuer-of-all-tokens", "webhook"))
KEYS = f"""heartbeat_s = 3600
[key operator]
secret = {ADMIN}
rights = admin, subscribe
[key reader]
secret = {READER}
rights = subscribe
[jwt app]
algorithms = HS256
secret = {ISSUER}
"""


def webhook(back_end, kinds):
    return f"[webhook crm]\nurl = {back_end.url}/hook\nevents = {kinds}\nsecret = {HOOK}\ntimeout_s = 60\n"


def token(user, device):
    return jwt.encode({"sub": user, "device": device, "exp": int(time.time()) + 600}, ISSUER, "HS256")


def events(api):
    """All events of all logs, those of a log in their order."""
    return [entry["data"] for n in range(16) if api.get(f"/v1/channels/sys:events%2F{n}/messages").status == 200
            for entry in api.history(f"sys:events/{n}")["messages"]]


def told_of(found, user):
    return [(event["type"], event.get("reason")) for event in found if event.get("user") == user]


def waits_for(api, user, *told):
    wait_until(lambda: told_of(events(api), user) == list(told), lambda: told_of(events(api), user))


def connect(link, user, device="phone", **more):
    link.say({"type": "connect", "ref": 1, "token": token(user, device), **more})
    return next(said for said in link.objects() if said.get("ref") == 1)


def opened(server):
    return contextlib.closing(WebSocket(server.url))


def say_goodbye(link):
    link.wire.send_close(1000)
    link.flush()
    list(link.objects())


def subscribe(server, user, accept, **query):
    connection = http.client.HTTPConnection(*server.url.split("//")[1].split(":"), timeout=SECONDS)
    connection.request("GET", "/v1/subscribe?" + urllib.parse.urlencode({"channel": "topic:a", **query}),
                       headers={"Accept": accept, "Authorization": f"Bearer {token(user, 'phone')}"})
    return connection, connection.getresponse()


@pytest.fixture(name="back_end")
def a_back_end():
    with contextlib.closing(BackEnd()) as back_end:
        yield back_end


def test_connections_are_told_to_a_webhook_and_to_admins(back_end):
    with Server(config=f"loops = 2\n{KEYS}{webhook(back_end, 'connected, disconnected')}") as server, \
            contextlib.closing(Api(server.url, ADMIN)) as admin, contextlib.closing(Api(server.url, READER)) as reader:
        with opened(server) as link:
            key = connect(link, "ann")["connection"]
            say_goodbye(link)
        waits_for(admin, "ann", ("connected", None), ("disconnected", "closed"))
        first, last = (event for event in events(admin) if event["user"] == "ann")
        assert first == {"type": "connected", "time": first["time"], "user": "ann", "device": "phone", "connection": key}
        assert last == {"type": "disconnected", "time": last["time"], "user": "ann", "device": "phone", "connection": key,
                        "reason": "closed"}
        assert abs(time.time() * 1000 - first["time"]) < SECONDS * 1000

        answers = {reader.get(f"/v1/channels/sys:events%2F{n}/messages").status for n in range(16)}
        assert answers == {403}

        wait_until(lambda: len([event for _, batch, _, _ in back_end.batches for event in batch]) == 2)
        told = [event for _, batch, _, _ in back_end.batches for event in batch]
        assert [{name: value for name, value in event.items() if name != "id"} for event in told] == [first, last]
        assert len({event["id"] for event in told}) == 2
        for _, _, headers, body in back_end.batches:
            at, signature = (part.split("=")[1] for part in headers["Longwire-Signature"].split(","))
            assert signature == hmac.new(HOOK.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()


def test_every_transport_and_every_end_has_its_reason():
    with Server(config=f"loops = 1\n{KEYS}[events]\nkeep = connected, disconnected\n") as server, \
            contextlib.closing(Api(server.url, ADMIN)) as admin:
        WebSocket(server.url).close()       # never says who it is, and is never let in
        native = NativeLink(server)
        native.ask("connect", "connected", token=token("native", "phone"))
        native.reset()
        waits_for(admin, "native", ("connected", None), ("disconnected", "lost"))

        connection, answer = subscribe(server, "stream", "text/event-stream")
        assert answer.status == 200 and answer.readline()
        answer.close()
        connection.close()
        waits_for(admin, "stream", ("connected", None), ("disconnected", "lost"))

        connection, answer = subscribe(server, "poll", "application/json", wait="0")
        assert answer.read()
        connection.close()
        waits_for(admin, "poll", ("connected", None), ("disconnected", "answered"))

        with opened(server) as link:
            key = connect(link, "cut")["connection"]
            assert admin.call("DELETE", f"/v1/connections/{key}").status in (200, 204)
            list(link.objects())
        waits_for(admin, "cut", ("connected", None), ("disconnected", "cut off"))

        with opened(server) as old, opened(server) as new:
            connect(old, "twice", session=True)
            connect(new, "twice", session=True)
            list(old.objects())
            wait_until(lambda: ("disconnected", "replaced") in told_of(events(admin), "twice"))

        # What is open when the server stops is written before it ends.
        with opened(server) as link:
            connect(link, "stop")
            waits_for(admin, "stop", ("connected", None))
            process = server.terminate()
            list(link.objects())
            server.wait_stopped(process)
        admin.close()
        server.restart()
        waits_for(admin, "stop", ("connected", None), ("disconnected", "server"))
        assert not [event for event in events(admin) if "user" not in event]


def test_what_nobody_asks_for_is_not_written():
    with Server(config=f"{KEYS}[events]\nkeep = disconnected\n") as server, \
            contextlib.closing(Api(server.url, ADMIN)) as admin:
        with opened(server) as link:
            connect(link, "ann")
            say_goodbye(link)
        waits_for(admin, "ann", ("disconnected", "closed"))
        assert admin.metrics()["longwire_events_total"] == 1


def test_channels_that_a_client_asks_for_are_told():
    with Server(config=f"{KEYS}[events]\nkeep = disconnected, subscribed, unsubscribed\n") as server, \
            contextlib.closing(Api(server.url, ADMIN)) as admin:
        with opened(server) as link:
            connect(link, "ann", session=True)      # the session's own channels are not told
            for channel in ("topic:a", "topic:b"):
                link.say({"type": "subscribe", "ref": channel, "channel": channel})
                assert next(said for said in link.objects() if said.get("ref") == channel)["type"] == "subscribed"
            link.say({"type": "unsubscribe", "ref": 9, "channel": "topic:a"})
            assert next(said for said in link.objects() if said.get("ref") == 9)["type"] == "unsubscribed"
            say_goodbye(link)
        waits_for(admin, "ann", ("subscribed", None), ("subscribed", None), ("unsubscribed", None), ("disconnected", "closed"))
        assert [event.get("channel") for event in events(admin)] == ["topic:a", "topic:b", "topic:a", None]


def test_a_webhook_gets_what_it_asks_for_with_ids(back_end):
    with Server(config=f"{KEYS}{webhook(back_end, 'offline, left')}") as server, contextlib.closing(Api(server.url, ADMIN)) as admin:
        for method in ("PUT", "DELETE"):
            assert admin.call(method, "/v1/groups/team/members/ann").status == 200
        seq = publish(admin, "device:ann/phone")
        told = [("left", "group:team", 2), ("offline", "device:ann/phone", seq)]
        wait_until(lambda: sorted((event["type"], event["channel"], event["seq"]) for _, batch, _, _ in back_end.batches
                                  for event in batch) == told, lambda: back_end.batches)
        assert len({event["id"] for _, batch, _, _ in back_end.batches for event in batch}) == 2


def test_changes_of_members_are_told_once_and_survive_a_crash():
    with Server(config=f"{KEYS}[events]\nkeep = joined, left\n") as server:
        with contextlib.closing(Api(server.url, ADMIN)) as admin:
            for method in ("PUT", "PUT", "DELETE", "DELETE"):
                assert admin.call(method, "/v1/groups/team/members/ann").status == 200
            # The change is acknowledged: its event is in the same commit, and is written before or after the crash.
            assert admin.call("PUT", "/v1/groups/team/members/bob").status == 200
            server.kill()
        server.restart()
        with contextlib.closing(Api(server.url, ADMIN)) as admin:
            waits_for(admin, "bob", ("joined", None))
            waits_for(admin, "ann", ("joined", None), ("left", None))
            found = [event for event in events(admin) if event["user"] == "ann"]
            assert [(event["channel"], event["seq"]) for event in found] == [("group:team", 1), ("group:team", 2)]
            assert set(found[0]) == {"type", "time", "user", "channel", "seq"}


def devices_online(api, user):
    return {device["device"]: device["online"] for device in json.loads(api.get(f"/v1/users/{user}").body)["devices"]}


def publish(api, channel):
    answer = api.publish(channel, "hello")
    assert answer.status == 201, answer
    return json.loads(answer.body)["seq"]


def offline_events(api):
    return sorted(((event.get("user"), event.get("device"), event["channel"], event["seq"]) for event in events(api)
                   if event["type"] == "offline"), key=str)


def test_messages_for_devices_without_a_link_are_told_also_after_a_crash():
    with Server(config=f"loops = 2\n{KEYS}[events]\nkeep = offline\n") as server:
        with contextlib.closing(Api(server.url, ADMIN)) as admin, opened(server) as pad:
            with opened(server) as phone:
                connect(phone, "ann", "phone", session=True)
                say_goodbye(phone)
            connect(pad, "ann", "pad", session=True)
            wait_until(lambda: devices_online(admin, "ann") == {"pad": True, "phone": False})
            for user in ("ann", "bob"):
                assert admin.call("PUT", f"/v1/groups/team/members/{user}").status == 200
            seqs = {channel: publish(admin, channel)
                    for channel in ("user:ann", "device:ann/pad", "device:ann/phone", "group:team", "user:carl", "topic:a")}
            expected = sorted([("ann", "phone", channel, seqs[channel]) for channel in ("user:ann", "device:ann/phone", "group:team")] +
                              [("bob", None, "group:team", seqs["group:team"]), ("carl", None, "user:carl", seqs["user:carl"])],
                              key=str)
            wait_until(lambda: offline_events(admin) == expected, lambda: offline_events(admin))
            last = publish(admin, "device:ann/phone")
            server.kill()
        server.restart()
        with contextlib.closing(Api(server.url, ADMIN)) as admin:
            expected = sorted(expected + [("ann", "phone", "device:ann/phone", last)], key=str)
            wait_until(lambda: offline_events(admin) == expected, lambda: offline_events(admin))


@pytest.mark.parametrize("keep", ["connected, disconnected", "disconnected"])
def test_the_connections_of_a_server_that_died_are_told_at_its_restart(keep):
    with Server(config=f"loops = 2\n{KEYS}[events]\nkeep = {keep}\n") as server:
        with contextlib.closing(Api(server.url, ADMIN)) as admin, opened(server) as phone, opened(server) as pad:
            keys = {connect(phone, "ann", "phone", session=True)["connection"], connect(pad, "ann", "pad")["connection"]}
            with opened(server) as gone:
                connect(gone, "bob")
                say_goodbye(gone)
            told = [("connected", None)] if "connected," in keep else []
            waits_for(admin, "bob", *told, ("disconnected", "closed"))
            # The rows of ann's links were written before those of bob's, or with them.
            wait_until(lambda: not told or len(told_of(events(admin), "ann")) == 2)
            server.kill()
        for _ in range(2):      # told once, however often it starts
            server.restart()
            with contextlib.closing(Api(server.url, ADMIN)) as admin:
                waits_for(admin, "ann", *told, *told, ("disconnected", "node_lost"), ("disconnected", "node_lost"))
                waits_for(admin, "bob", *told, ("disconnected", "closed"))
                lost = [event for event in events(admin) if event.get("reason") == "node_lost"]
                assert {event["connection"] for event in lost} == keys and {event["device"] for event in lost} == {"phone", "pad"}


def answered(link, ref, **command):
    link.say({"ref": ref, **command})
    return next(said for said in link.objects() if said.get("ref") == ref)


def test_acknowledged_places_are_told_as_they_are_stored():
    with Server(config=f"{KEYS}[events]\nkeep = acknowledged\n") as server, contextlib.closing(Api(server.url, ADMIN)) as admin:
        with opened(server) as link:
            connect(link, "ann", session=True)
            last = [publish(admin, "user:ann") for _ in range(3)][-1]
            for seq in (last - 1, last, last - 1, last):        # a place never goes back
                assert answered(link, f"a{seq}", type="ack", channel="user:ann", seq=seq)["type"] == "ack"
            wait_until(lambda: [event["seq"] for event in events(admin)][-1:] == [last], lambda: events(admin))
            say_goodbye(link)
        found = events(admin)
        assert [event["seq"] for event in found] in ([last], [last - 1, last])     # those of one write are one
        assert {"type": "acknowledged", "time": found[-1]["time"], "user": "ann", "device": "phone", "channel": "user:ann",
                "seq": last} == found[-1]


def room_events(api):
    return [(event["type"], event["channel"]) for event in events(api)]


def test_channels_are_occupied_and_vacated_also_over_a_crash():
    config = f"presence_return_s = 1\n{KEYS}[namespace room]\npresence = true\n[events]\nkeep = occupied, vacated\n"
    occupied, vacated = ("occupied", "room:a"), ("vacated", "room:a")
    with Server(config=config) as server:
        with contextlib.closing(Api(server.url, ADMIN)) as admin:
            with opened(server) as ann, opened(server) as bob:
                for link, user in ((ann, "ann"), (bob, "bob")):
                    connect(link, user)
                    assert answered(link, "s", type="subscribe", channel="room:a")["type"] == "subscribed"
                wait_until(lambda: room_events(admin) == [occupied])
                say_goodbye(ann)
                say_goodbye(bob)
            wait_until(lambda: room_events(admin) == [occupied, vacated], lambda: room_events(admin))
            with opened(server) as ann:
                connect(ann, "ann")
                assert answered(ann, "s", type="subscribe", channel="room:a")["type"] == "subscribed"
                wait_until(lambda: room_events(admin) == [occupied, vacated, occupied])
                server.kill()
        server.restart()
        with contextlib.closing(Api(server.url, ADMIN)) as admin:
            wait_until(lambda: room_events(admin) == [occupied, vacated, occupied, vacated], lambda: room_events(admin))
