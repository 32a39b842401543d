"""Channels as operators look at them: the list, information of a channel that is only followed, history by time, words
in a query that nobody knows, and purges."""
import contextlib
import datetime
import json
import time
import urllib.parse

import pytest

from longwire_client import TRANSPORTS, Api, Reader, channel_path
from longwire_server import Server, is_built
from waiting import wait_until

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")


@pytest.fixture(scope="module", name="server")
def one_server():
    with Server() as server:
        yield server


@pytest.fixture(name="api")
def one_api(server):
    with contextlib.closing(Api(server.url)) as api:
        yield api


def listed(api, **query):
    """The page, and what it says comes next."""
    answer = api.get("/v1/channels?" + urllib.parse.urlencode(query))
    assert answer.status == 200, answer
    return answer.json["channels"], answer.json.get("next")


def all_listed(api, **query):
    channels, after = [], ""
    while after is not None:
        page, after = listed(api, **{**query, "after": after})
        channels += page
    return channels


def detail(answer):
    return answer.status, answer.json["detail"]


# --- what is only followed -------------------------------------------------------------------------------------------

def test_a_channel_that_is_only_followed_has_information(server, api):
    """Nothing was ever published in it: head 0 while somebody follows, 404 before."""
    name = channel_path("topic:only/followed")
    assert detail(api.get(name)) == (404, "nothing was ever published in this channel, and nobody follows it now")
    with Reader(server.url, "ws", ["topic:only/followed"]):
        wait_until(lambda: api.get(name).status == 200, lambda: str(api.get(name)))
        fact = api.get(name).json
        epoch = api.publish("topic:only/other", b"x").json["epoch"]
        assert fact == {"channel": "topic:only/followed", "epoch": epoch, "first": 1, "head": 0, "bytes": 0,
                        "subscribers": 1}
        assert "topic:only/followed" not in [each["channel"] for each in all_listed(api)]


# --- the list --------------------------------------------------------------------------------------------------------

def test_channels_are_listed_in_the_order_of_their_bytes():
    """Durable channels and those in memory in one order, the same after a restart but for the memory."""
    durable = ["topic:b", "user:ann", "topic:a/2", "topic:a", "topic:a/1", "topic:\N{LATIN SMALL LETTER A WITH DIAERESIS}",
               "all:", "topic:B", "topic:a b&c"]
    memory = ["live:scores", "live:a", "conn:gone"]
    with Server() as server, contextlib.closing(Api(server.url)) as api:
        for name in durable + memory:
            assert api.publish(name, b"12345").status == 201

        def names(**query):
            return [each["channel"] for each in all_listed(api, **query) if not each["channel"].startswith("sys:")]
        ordered = sorted(durable + memory, key=str.encode)
        assert names() == ordered
        for limit in (1, 2, 3, 1000, 10 ** 15):
            assert names(limit=limit) == ordered
        assert names(prefix="topic:a") == [name for name in ordered if name.startswith("topic:a")]
        assert names(prefix="topic:a/") == ["topic:a/1", "topic:a/2"]
        assert names(prefix="live:") == ["live:a", "live:scores"]
        assert listed(api, prefix="topic:a/", after="topic:a/1") == ([api.get(channel_path("topic:a/2")).json], None)
        assert listed(api, prefix="topic:a/", limit=1)[1] == "topic:a/1"
        assert listed(api, prefix="nobody:") == ([], None)
        for each in all_listed(api):
            if not each["channel"].startswith("sys:"):  # the canary's head moves
                assert each == api.get(channel_path(each["channel"])).json
        server.stop()
        api.close()
        server.start()
        assert names(prefix="topic:") == [name for name in ordered if name.startswith("topic:")]
        assert names(prefix="live:") == []


def test_a_list_counts_the_subscribers(server, api):
    api.publish("topic:count/a", b"x")
    api.publish("live:count/b", b"x")
    with contextlib.ExitStack() as stack:
        for names in (["topic:count/a"], ["topic:count/a", "live:count/b"], ["live:count/b"], ["topic:count/a"]):
            stack.enter_context(Reader(server.url, "sse", names))
        wait_until(lambda: listed(api, prefix="topic:count/")[0][0]["subscribers"] == 3)
        wait_until(lambda: listed(api, prefix="live:count/")[0][0]["subscribers"] == 2)


def test_a_page_of_channels_is_bounded(server, api):
    """2,500 channels: a thousand at most in an answer, a hundred if nobody says."""
    for start in range(0, 2500, 500):
        results = api.batch([{"channels": [f"topic:many/{i:04}" for i in range(start, start + 500)], "data": 1}])
        assert {each["status"] for each in results[0]["results"]} == {201}
    assert len(listed(api, prefix="topic:many/")[0]) == 100
    page, after = listed(api, prefix="topic:many/", limit=5000)
    assert len(page) == 1000 and after == page[-1]["channel"] == "topic:many/0999"
    assert [each["channel"] for each in all_listed(api, prefix="topic:many/", limit=1000)] == [
        f"topic:many/{i:04}" for i in range(2500)]


# --- history by time -------------------------------------------------------------------------------------------------

def rfc3339(ms, hours=0):
    zone = datetime.timezone(datetime.timedelta(hours=hours))
    return datetime.datetime.fromtimestamp(ms / 1000, zone).isoformat(timespec="milliseconds")


def seqs(page):
    return [entry["seq"] for entry in page["messages"]]


def test_history_by_time(api):
    """Every form of a time; pages that go on; both ends."""
    times = []
    while len(times) < 6:
        receipt = api.publish("topic:clock", b"x").json
        if not times or receipt["time"] > times[-1]:
            times.append(receipt["time"])
        else:
            api.publish("topic:clock", b"x")
        before = time.time_ns() // 1000000
        while time.time_ns() // 1000000 == before:
            pass
    entries = api.history_all("topic:clock")
    for moment in times:
        wanted = [entry["seq"] for entry in entries if entry["time"] >= moment]
        for form in (moment, rfc3339(moment), rfc3339(moment, 2), rfc3339(moment, -5).replace("T", "t"),
                     rfc3339(moment).replace("+00:00", "Z")):
            assert seqs(api.history("topic:clock", since=form)) == wanted, form
        assert seqs(api.history("topic:clock", since=moment, limit=2)) == wanted[:2]
        assert seqs(api.history("topic:clock", since=moment, until=moment)) == [
            entry["seq"] for entry in entries if entry["time"] == moment]
        assert seqs(api.history("topic:clock", until=moment)) == [
            entry["seq"] for entry in entries if entry["time"] <= moment]
    bare_plus = api.get(channel_path("topic:clock") + "/messages?since=" + rfc3339(times[2], 2))
    assert seqs(bare_plus.json) == [entry["seq"] for entry in entries if entry["time"] >= times[2]]
    assert seqs(api.history("topic:clock", since="1h")) == seqs({"messages": entries})
    assert seqs(api.history("topic:clock", since="90000ms", limit=1)) == [1]
    assert seqs(api.history("topic:clock", since=times[-1] + 1)) == []
    assert seqs(api.history("topic:clock", after=2, until=times[3])) == [
        entry["seq"] for entry in entries if entry["seq"] > 2 and entry["time"] <= times[3]]
    assert seqs(api.history("live:never/used", since="1h")) == []
    api.publish("live:clock", b"x")
    assert seqs(api.history("live:clock", since="1h")) == [1]


def test_what_is_no_time_is_told_the_forms(api):
    forms = "a duration before now (90s, 5m, 1h, 7d), ms since 1970, or RFC 3339 (2026-11-28T12:00:00Z)"
    for word in ("yesterday", "5", "-1h", "2026-11-28", "2026-02-30T12:00:00Z", "", "1h30m"):
        answer = api.get(f"{channel_path('topic:clock')}/messages?until={word}")
        assert (answer.status == 200) if word == "5" else detail(answer) == (400, f"until= is no time: write {forms}")
    for query in ("since=1h&after=1", "before=5&since=1h"):
        assert api.get(f"{channel_path('topic:clock')}/messages?{query}").status == 400


# --- words that nobody knows -----------------------------------------------------------------------------------------

MESSAGES = channel_path("topic:words") + "/messages"


@pytest.mark.parametrize("method, path, said", [
    ("GET", MESSAGES + "?sinse=5m", 'unknown parameter "sinse": did you mean "since"?'),
    ("GET", MESSAGES + "?Limit=5", 'unknown parameter "Limit": did you mean "limit"?'),
    ("GET", MESSAGES + "?last_event_id=5",
     'unknown parameter "last_event_id": known are "after", "before", "limit", "since", "until"'),
    ("GET", MESSAGES + "?limit=1&limit=2", "a parameter stands in the query twice"),
    ("GET", channel_path("topic:words") + "?limit=1", None),
    ("GET", "/v1/channels?prefx=topic:", 'unknown parameter "prefx": did you mean "prefix"?'),
    ("DELETE", MESSAGES + "/1?reason=x", None),
])
def test_a_word_that_nobody_knows_is_refused(api, method, path, said):
    answer = api.call(method, path)
    assert answer.status == 400
    assert json.loads(answer.body)["detail"] == said or said is None


def test_words_for_caches_are_passed_over(api):
    api.publish("topic:words", b"x")
    for path in (MESSAGES + "?_=1795297177831&limit=1", channel_path("topic:words") + "?_bust", "/v1/channels?_="):
        assert api.get(path).status == 200


# --- purge -----------------------------------------------------------------------------------------------------------

def purge(api, channel):
    answer = api.call("DELETE", channel_path(channel))
    assert answer.status == 200, answer
    return answer.json


def gaps(reader, channel):
    return [(gap["from"], gap["to"], gap["why"]) for gap in reader.gaps(channel)]


@pytest.mark.parametrize("channel", ["topic:purge", "live:purge"])
def test_a_purge_empties_a_channel_and_seqs_go_on(api, channel):
    assert detail(api.call("DELETE", channel_path(channel))) == (404, "nothing was ever published in this channel")
    for i in range(3):
        receipt = api.publish(channel, b"x", key=f"key-{i}").json
    facts = {"channel": channel, "epoch": receipt["epoch"], "first": 4, "head": 3}
    assert purge(api, channel) == {**facts, "purged": 3}
    assert purge(api, channel) == {**facts, "purged": 0}
    assert api.get(channel_path(channel)).json == {**facts, "bytes": 0, "subscribers": 0}
    assert listed(api, prefix=channel)[0] == [{**facts, "bytes": 0, "subscribers": 0}]
    gap = {"type": "gap", "channel": channel, "epoch": receipt["epoch"], "from": 1, "to": 3, "why": "trimmed"}
    assert api.history_all(channel) == [gap]
    assert api.recall(channel, 2).status == 404
    again = api.publish(channel, b"x", key="key-2")
    assert (again.status, again.json) == (200, receipt)
    assert api.publish(channel, b"y").json["seq"] == 4
    assert api.history_all(channel)[0] == gap
    assert purge(api, channel) == {**facts, "first": 5, "head": 4, "purged": 1}


def test_a_channel_that_keeps_nothing_can_be_purged(api):
    api.publish("conn:nobody", b"x")
    assert purge(api, "conn:nobody")["purged"] == 0


def test_readers_hear_of_a_purge_as_a_gap(server, api):
    """Who has everything gets nothing; who comes back behind it gets a gap over what it missed, on each transport."""
    for _ in range(4):
        api.publish("topic:purge/readers", b"old")
    with Reader(server.url, "ws", ["topic:purge/readers"], after=0) as present:
        present.wait_for(lambda: present.count("topic:purge/readers") == 4)
        purge(api, "topic:purge/readers")
        api.publish("topic:purge/readers", b"new")
        present.wait_for(lambda: present.count("topic:purge/readers") == 5)
        assert gaps(present, "topic:purge/readers") == []
    for transport in TRANSPORTS:
        with Reader(server.url, transport, ["topic:purge/readers"], after=2) as late:
            late.wait_for(lambda late=late: late.messages("topic:purge/readers"))
            assert gaps(late, "topic:purge/readers") == [(3, 4, "trimmed")]
        with Reader(server.url, transport, ["topic:purge/readers"], after=0) as anew:
            anew.wait_for(lambda anew=anew: anew.messages("topic:purge/readers"))
            assert gaps(anew, "topic:purge/readers") == []


def test_nothing_purged_is_delivered_behind_the_answer(server, api):
    """A reader comes right behind each answer, asks for what is gone, and gets none of it."""
    api.publish("topic:purge/turns", b"x")
    for turn in range(20):
        results = api.batch([{"channel": "topic:purge/turns", "data": f"old {turn}"} for _ in range(50)])
        head = results[-1]["seq"]
        assert purge(api, "topic:purge/turns")["head"] == head
        answer = api.get(f"/v1/subscribe?channel=topic:purge/turns&after={head - 50}&wait=0")
        assert [(thing["type"], thing["from"], thing["to"]) for thing in answer.json["messages"]] == [
            ("gap", head - 49, head)]


def test_a_purge_survives_kill_9():
    with Server() as server, contextlib.closing(Api(server.url)) as api:
        for _ in range(5):
            epoch = api.publish("topic:purge/kill", b"x").json["epoch"]
        purge(api, "topic:purge/kill")
        server.kill()
        api.close()
        server.start()
        assert api.history_all("topic:purge/kill")[0]["to"] == 5
        receipt = api.publish("topic:purge/kill", b"y").json
        assert (receipt["epoch"], receipt["seq"]) == (epoch, 6)
        assert purge(api, "topic:purge/kill")["purged"] == 1


def test_a_start_names_the_namespaces_that_are_not_configured_any_more(tmp_path):
    """Once, and only those that have channels."""
    spaces = "".join(f"[namespace {name}]\n" for name in ("aa", "up", "video", "unused"))
    with Server(data=tmp_path / "data", config=spaces) as server:
        with contextlib.closing(Api(server.url)) as api:
            for channel in ("aa:1", "topic:a", "up:a", "up:b", "video:a:b", "user:ann"):
                assert api.publish(channel, b"x").status == 201
        assert "namespaces_not_configured" not in server.log()
    with Server(data=tmp_path / "data", config="[namespace aa]\n") as server:
        assert server.log().count('event=namespaces_not_configured names="up, video"') == server.log().count("namespaces_not_configured") == 1
    with Server(data=tmp_path / "data", config=spaces) as server, contextlib.closing(Api(server.url)) as api:
        assert "namespaces_not_configured" not in server.log()
        assert api.history("up:a", after=0)["head"] == 1
