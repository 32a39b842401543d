"""What became of a message for one device: each state, on the running server, as JSON and as the tool says it."""
import json
import subprocess
import time

import pytest

from longwire_client import Api
from longwire_server import BUILD, ROOT, Server, is_built
from native_wire import NativeClient
from test_groups import join, leave
from test_receipts import begin
from test_sessions import Device, Stream
from waiting import SECONDS, wait_until
from wire import publish, query_of, request

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

names = iter(f"w{n}" for n in range(1000000))


@pytest.fixture(scope="module", name="server")
def server_fixture():
    with Server() as running:
        yield running


@pytest.fixture(name="user")
def user_fixture():
    return next(names)


@pytest.fixture(name="api")
def api_fixture(server):
    api = Api(server.url)
    yield api
    api.close()


def why(server, channel, seq, device):
    answer = request(server, "GET", f"/v1/why?{query_of(channel)}&seq={seq}&device={device}").want(200).json()
    assert (answer["channel"], answer["seq"], answer["device"]) == (channel, seq, device)
    times = [step["time"] for step in answer["steps"] if step["time"] is not None]
    assert times == sorted(times)
    return answer


def time_ms():
    return time.time() * 1000


def told(server, channel, seq, device):
    """The state, and the words of the steps."""
    answer = why(server, channel, seq, device)
    return [answer["state"]] + [step["what"] for step in answer["steps"]]


def wait_told(server, channel, seq, device, *wanted):
    wait_until(lambda: told(server, channel, seq, device) == list(wanted), lambda: told(server, channel, seq, device))


def step_of(answer, what):
    return next(step for step in answer["steps"] if step["what"] == what)


def after(moment):
    """The clock of messages and sessions counts milliseconds."""
    wait_until(lambda: time_ms() > moment + 2)


def test_written_then_acknowledged_then_away(server, user):
    channel, device = f"user:{user}", f"{user}/phone"
    with Device(server, user, "phone") as phone:
        phone.connect()
        after(time_ms())
        stored = publish(server, channel)["time"]
        phone.read(1)
        answer = wait_until(lambda: (found := why(server, channel, 1, device))["state"] == "written" and found)
        assert step_of(answer, "stored")["time"] == stored == step_of(answer, "routed")["time"]
        written = step_of(answer, "written")
        assert written["connection"] == phone.said["connection"] and written["node"] and written["seq"] == 1
        assert step_of(answer, "connected")["time"] <= stored <= written["time"]
        assert [step["what"] for step in answer["steps"]][-3:] == ["stored", "routed", "written"]
        phone.ack(channel, 1)
        answer = wait_until(lambda: (found := why(server, channel, 1, device))["state"] == "acknowledged" and found)
        assert step_of(answer, "acknowledged")["seq"] == 1 and "written" not in told(server, channel, 1, device)
    wait_told(server, channel, 1, device, "acknowledged", "session_began", "stored", "acknowledged", "not_connected")
    after(time_ms())
    missed = publish(server, channel)["time"]
    answer = why(server, channel, 2, device)
    assert answer["state"] == "pending" and step_of(answer, "not_connected")["time"] <= missed
    assert step_of(answer, "place_before")["seq"] == 1
    assert [step["what"] for step in answer["steps"]] == ["session_began", "place_before", "not_connected", "stored"]


def test_nobody_there(server, user):
    publish(server, f"user:{user}")
    assert told(server, f"user:{user}", 1, f"{user}/phone") == ["no_session", "no_session", "stored"]
    moment = time_ms()
    after(moment)
    begin(server, user, "phone")
    assert told(server, f"user:{user}", 1, f"{user}/phone") == ["not_meant", "stored", "session_began_later", "not_connected"]


def test_a_link_that_is_behind(server, user):
    channel = f"user:{user}"
    with Device(server, user, "phone") as phone:
        phone.connect()
        last = [publish(server, channel, b"x" * 1000000)["seq"] for _ in range(30)][-1]
        answer = wait_until(lambda: (found := why(server, channel, last, f"{user}/phone"))["steps"][-1]["what"] == "behind" and
                            found["steps"][-1].get("seq") and found)
        assert answer["state"] == "pending" and 0 < answer["steps"][-1]["seq"] < last


@pytest.mark.parametrize("gone, publish_query", [("expired", "?ttl=1"), ("trimmed", "")])
def test_a_message_that_is_gone(user, gone, publish_query):
    config = "[namespace user]\nkeep_count = 1\n" if gone == "trimmed" else None
    channel, device = f"user:{user}", f"{user}/phone"
    with Server(config=config) as server:
        begin(server, user, "phone")
        publish(server, channel, query=publish_query)
        if gone == "trimmed":
            publish(server, channel)
        answer = wait_until(lambda: (found := why(server, channel, 1, device))["state"] == gone and found)
        assert step_of(answer, "stored")["time"] is None and step_of(answer, gone)["time"] is None
        server.kill()
        server.start()
        assert why(server, channel, 1, device)["state"] == gone


def test_an_end_that_is_to_come(server, user):
    begin(server, user, "phone")
    stored = publish(server, f"user:{user}", query="?ttl=1000")["time"]
    answer = why(server, f"user:{user}", 1, f"{user}/phone")
    assert answer["state"] == "pending" and answer["steps"][-1] == {"what": "expires", "time": stored + 1000000}


def test_what_was_taken_back(server, api, user):
    begin(server, user, "phone")
    publish(server, f"user:{user}")
    taken_back = api.recall(f"user:{user}", 1)
    assert taken_back.status == 200
    answer = why(server, f"user:{user}", 1, f"{user}/phone")
    assert answer["state"] == "pending" and step_of(answer, "recalled")["time"] == taken_back.json["time"]


def test_members(server, api, user):
    group, device = f"g{user}", f"{user}/phone"
    channel = f"group:{group}"
    begin(server, user, "phone")
    publish(server, channel)
    assert told(server, channel, 1, device)[0] == "not_meant" and "never_member" in told(server, channel, 1, device)
    after(time_ms())
    _, joined = join(api, group, user)
    publish(server, channel)
    answer = why(server, channel, 1, device)
    assert answer["state"] == "not_meant"
    when = json.loads(api.call("GET", f"/v1/channels/user:{user}/messages").body)["messages"][joined - 1]["time"]
    assert step_of(answer, "joined_later")["time"] == when
    answer = why(server, channel, 2, device)
    assert answer["state"] == "pending" and step_of(answer, "joined")["time"] == when
    leave(api, group, user)
    publish(server, channel)
    assert why(server, channel, 2, device)["state"] == "pending"  # the device gets it all the same
    assert step_of(why(server, channel, 2, device), "left")["time"]
    answer = why(server, channel, 3, device)
    assert answer["state"] == "not_meant" and step_of(answer, "left_earlier")["time"] >= when
    with Device(server, user, "phone") as phone:
        phone.connect()
        phone.ws.frame("membership")
        phone.ws.frame("membership")
        phone.read(1)
        assert phone.got[channel] == [2]


def test_channels_that_are_asked_for(server, user):
    topic, device = f"topic:{user}", f"{user}/phone"
    publish(server, topic)
    with Device(server, user, "phone") as phone:
        phone.connect()
        assert told(server, topic, 1, device)[0] == "not_meant"
        phone.ws.ask("subscribe", "subscribed", channel=topic)
        publish(server, topic)
        phone.read(1)
        assert wait_until(lambda: told(server, topic, 2, device)[0] == "passed")
        phone.ws.ask("unsubscribe", "unsubscribed", channel=topic)
        wait_until(lambda: told(server, topic, 2, device)[0] == "not_meant")
        phone.ws.ask("subscribe", "subscribed", channel=topic, keep=True)
        publish(server, topic)
        phone.read(1)
        wait_until(lambda: told(server, topic, 3, device)[0] == "written")
        phone.ack(topic, 3)
        wait_until(lambda: told(server, topic, 3, device)[0] == "passed")
    publish(server, topic)
    wait_until(lambda: told(server, topic, 4, device)[0] == "pending")


def test_over_native(server, user):
    channel = f"user:{user}"
    with NativeClient(server.tcp_port, user=user, device="phone", standing=True) as phone:
        publish(server, channel)
        while phone.next()["type"] not in ("message", "full"):
            pass
        wait_until(lambda: told(server, channel, 1, f"{user}/phone")[0] == "written")


@pytest.mark.parametrize("kind", ["sse", "poll"])
def test_over_http_transports(server, user, kind):
    channel = f"user:{user}"
    with Stream(server, kind, user) as phone:
        phone.open()
        phone.settle()
        publish(server, channel)
        phone.read(1)
        if kind == "sse":
            wait_until(lambda: told(server, channel, 1, f"{user}/phone")[0] == "written")
        else:
            wait_until(lambda: "between_polls" in told(server, channel, 1, f"{user}/phone"))


def test_a_link_that_is_told_of_heads(server, user):
    channel = f"user:{user}"
    with Device(server, user, "phone") as phone:
        phone.connect(mode="notify")
        publish(server, channel)
        assert phone.ws.frame("notify")["head"] == 1
        wait_until(lambda: "told_of_head" in told(server, channel, 1, f"{user}/phone"))
        assert told(server, channel, 1, f"{user}/phone")[0] == "pending"
        assert request(server, "GET", f"/v1/channels/{channel}/messages/1/receipts").json()["devices"][0]["state"] == "pending"
        phone.ack(channel, 1)
        wait_until(lambda: told(server, channel, 1, f"{user}/phone")[0] == "acknowledged")


def test_what_is_no_question(server, user):
    publish(server, f"user:{user}")

    def refused(query, status):
        return request(server, "GET", f"/v1/why{query}").want_problem(status)["detail"]

    for query in ("", "?channel=user:a", "?channel=user:a&seq=1", "?seq=1&device=a/b", "?channel=user:a&seq=0&device=a/b",
                  "?channel=user:a&seq=1&device=a", "?channel=user:a&seq=1&device=a/b/c", "?channel=user:a&seq=1&device=/b",
                  "?channel=user:a&seq=1&device=a/b&more=1", "?channel=user:a&seq=%zz&device=a/b", "?channel=user:&seq=1&device=a/b"):
        refused(query, 400)
    assert "no such message" in refused(f"?channel=user:{user}&seq=2&device=a/b", 404)
    assert "no such namespace" in refused("?channel=nope:a&seq=2&device=a/b", 404)


# --- the tool ---------------------------------------------------------------------------------------------------------

def tool(server, *words, status=0):
    done = subprocess.run([BUILD / "longwire", *words, "--server", server.url], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == status, done
    return done.stdout


def test_the_tool_says_it_in_sentences(server, user):
    begin(server, user, "phone")
    publish(server, f"user:{user}")
    first, *steps = tool(server, "why", f"user:{user}", "1", f"{user}/phone").splitlines()
    assert first == f"message 1 of user:{user} for {user}/phone: it is to be delivered"
    assert any(step.endswith("  the message was stored") for step in steps)
    assert any(step.endswith("it has not been connected since") for step in steps)
    assert not any("_" in step for step in steps)  # no word that only machines know
    assert json.loads(tool(server, "why", f"user:{user}", "1", f"{user}/phone", "--json"))["state"] == "pending"
    tool(server, "why", f"user:{user}", "9", f"{user}/phone", status=1)
    tool(server, "why", f"user:{user}", "1", status=64)


def test_the_tool_has_a_sentence_for_each_word():
    """Whatever the server may say is said in words of people."""
    words = set()
    for line in (ROOT / "src/device/why_steps.c").read_text().splitlines():
        words |= {word for word in line.split('"')[1::2] if word.islower() and " " not in word and "/" not in word}
    said = (ROOT / "tools/longwire/why.c").read_text()
    assert len(words) > 20 and not [word for word in words if f'"{word}"' not in said]


def test_sessions_are_listed():
    with Server() as server, Device(server, "ann", "phone") as phone:
        phone.connect()
        for n in range(7):
            begin(server, f"user{n}", "tablet")
        names_of = [f"user{n}/tablet" for n in range(7)]
        wait_until(lambda: tool(server, "sessions", "--online").split() == ["ann/phone"])
        assert tool(server, "sessions").split() == ["ann/phone", *names_of]
        assert tool(server, "sessions", "user3").split() == ["user3/tablet"]
        assert tool(server, "sessions", "nobody") == ""
        assert tool(server, "sessions", "-n", "2").split() == ["ann/phone", "user0/tablet"]
        assert tool(server, "sessions", "ann", "-F", "{device} {online} {transport}") == "phone true websocket\n"
        found, at = [], ""
        while at is not None:
            page = request(server, "GET", "/v1/sessions?limit=3" + (f"&next={at}" if at else "")).want(200).json()
            assert len(page["sessions"]) <= 3
            found += [f"{one['user']}/{one['device']}" for one in page["sessions"]]
            at = page.get("next")
        assert found == ["ann/phone", *names_of]
        ann = request(server, "GET", "/v1/sessions?limit=1").json()["sessions"][0]
        assert ann["connection"] == phone.said["connection"] and ann["online"] and ann["generation"] == 1
        server.kill()
        server.start()
        assert tool(server, "sessions").split() == ["ann/phone", *names_of]
        assert tool(server, "sessions", "--online") == ""
        for query in ("limit=0", "next=ann", "next=/x", "online=2", "user=", "more=1"):
            request(server, "GET", f"/v1/sessions?{query}").want(400 if query != "user=" else 200)
