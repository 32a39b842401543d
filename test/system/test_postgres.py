"""longwired on PostgreSQL (`--store postgres://…`): what holds on one machine holds here, with kills of the server, with
two servers on one database, and while PostgreSQL is stopped hard, paused and started again (threats 1, 17, 38, 40)."""
import contextlib
import json
import re
import subprocess

import pytest

from longwire_client import TRANSPORTS, Api, Publisher, Reader, audit_history, audit_reader
from longwire_server import LONGWIRED, ROOT, Server, is_built
from postgres_server import Postgres, binaries
from test_events import events
from test_groups import join, leave, members_of
from test_sessions import Device, sent
from waiting import SECONDS, wait_until
from wire import Ws

pytestmark = [pytest.mark.skipif(not is_built(), reason="no longwired is built"),
              pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed")]

numbers = iter(range(1000000))


@pytest.fixture(scope="module", name="postgres")
def postgres_fixture():
    with Postgres() as running:
        yield running


@pytest.fixture(name="store")
def store_fixture(postgres):
    """The URL of a fresh database with the schema."""
    postgres.start() if not postgres.is_running else postgres.resume()
    url = postgres.create(f"push{next(numbers)}")
    postgres.init(url)
    return url


def node(store, **more):
    return Server(flags=["--store", store], **more)


def longwired(*flags):
    return subprocess.run([str(LONGWIRED), "--http", "127.0.0.1:0", "--tcp", "127.0.0.1:0", *flags], capture_output=True,
                          text=True, timeout=SECONDS, check=False)


# --- the schema ---------------------------------------------------------------------------------------------------

def test_a_start_names_the_namespaces_that_are_not_configured_any_more(store):
    spaces = "".join(f"[namespace {name}]\n" for name in ("aa", "up", "video", "unused"))
    with node(store, config=spaces) as server, contextlib.closing(Api(server.url)) as api:
        for channel in ("aa:1", "topic:a", "up:a", "up:b", "video:grün:b", "user:ann"):
            assert api.publish(channel, b"x").status == 201
        assert "namespaces_not_configured" not in server.log()
    with node(store, config="[namespace aa]\n") as server:
        assert server.log().count('event=namespaces_not_configured names="up, video"') == server.log().count("namespaces_not_configured") == 1
    with node(store, config=spaces) as server:
        assert "namespaces_not_configured" not in server.log()


def test_without_a_schema_it_says_what_to_run(postgres):
    url = postgres.create("bare")
    done = longwired("--store", url)
    assert done.returncode == 1 and "--init" in done.stderr and "has no schema" in done.stderr, done.stderr
    assert "the schema is there" in postgres.init(url)
    assert "the schema is there" in postgres.init(url)
    with node(url) as server:
        assert sent(server, "topic:a") == 1


def test_a_newer_schema_is_refused(postgres, store):
    """Threat 44: a program refuses what a newer one has made."""
    postgres.psql("update longwire.shard set version = version + 1", store.rsplit("/", 1)[1])
    for flags in (["--store", store], ["--store", store, "--init"]):
        done = longwired(*flags)
        assert done.returncode == 1 and "use the newer program" in done.stderr, done.stderr


@pytest.mark.parametrize("store, why", [
    ("rocks", "--init makes the schema of a PostgreSQL database"),
    ("postgres://127.0.0.1:1/none", "Connection refused"),
])
def test_init_says_what_is_wrong(store, why):
    done = longwired("--store", store, "--init")
    assert done.returncode == 1 and why in done.stderr, done.stderr


def test_repair_is_for_files(store):
    done = longwired("--store", store, "--repair")
    assert done.returncode == 1 and "restore the database from a backup" in done.stderr, done.stderr


def test_no_password_is_shown():
    """Not in the log, not in --check, not in what other users of the machine see of the process."""
    with Postgres(password="geheim:7@x/y") as postgres:
        postgres.password, plain = "geheim%3A7%40x%2Fy", postgres.password
        store = postgres.url
        assert "the schema is there: " not in postgres.init()
        with node(store) as server:
            assert sent(server, "topic:a") == 1
            with open(f"/proc/{server.pid}/cmdline", "rb") as file:
                line = file.read().decode()
            api = Api(server.url)
            shown = [line, server.log(), api.get("/metrics").body.decode()]
            api.close()
        checked = longwired("--store", store, "--check")
        shown += [checked.stdout, checked.stderr]
        wrong = longwired("--store", store.replace("geheim", "falsch"))
        assert wrong.returncode == 1 and "password authentication failed" in wrong.stderr
        shown += [wrong.stderr, longwired("--store", store.replace("%3A", "%zz")).stderr, longwired(store).stderr]
        assert any("postgres://postgres:***@" in text for text in shown)
        for text in shown:
            assert "geheim" not in text and "falsch" not in text, text
        postgres.password = plain


# --- everything that one node does --------------------------------------------------------------------------------

def test_publish_follow_history_and_recall(store):
    with node(store) as server, contextlib.ExitStack() as stack, contextlib.closing(Api(server.url)) as api:
        readers = [stack.enter_context(Reader(server.url, transport, ["topic:a"])) for transport in TRANSPORTS]
        for number in range(20):
            assert api.publish("topic:a", b"message %d" % number).json["seq"] == number + 1
        first = api.publish("topic:k", b"paid", key="order-1")
        again = api.publish("topic:k", b"paid", key="order-1")
        other = api.publish("topic:k", b"paid twice", key="order-1")
        assert (first.status, again.status, other.status) == (201, 200, 422) and again.body == first.body
        history = {entry["seq"]: entry["data"].encode() for entry in api.history_all("topic:a")}
        for reader in readers:
            reader.wait_head("topic:a", 20)
            audit_reader(reader, "topic:a", history)
        assert api.recall("topic:a", 3).status == 200
        assert api.history_all("topic:a")[2]["recalled"] is True
        assert list(server.data.iterdir()) == []


def test_sessions_and_groups(store):
    with node(store) as server, contextlib.closing(Api(server.url)) as api:
        phone = Device(server, "ann", "phone", Ws)
        phone.connect()
        join(api, "lobby", "ann")
        assert members_of(api, "lobby") == ["ann"]
        phone.ws.frame("membership")
        sent(server, "group:lobby")
        phone.ws.frame("message")
        phone.ack("user:ann", 1)
        phone.cut()
        server.kill()
        server.start()
        said = phone.connect()
        assert said["resumed"] is True and said["generation"] == 2
        assert sent(server, "user:ann") == 2
        phone.cut()
        api.close()
        assert members_of(api, "lobby") == ["ann"]


def test_kill_minus_nine_loses_nothing(store):
    """Threats 1 and 17."""
    with node(store) as server, contextlib.ExitStack() as stack:
        reader = stack.enter_context(Reader(server.url, "sse", ["topic:one"]))
        publishers = [stack.enter_context(Publisher(server.url, f"p{i}", "topic:one", has_keys=True)) for i in range(4)]
        for round_number in range(1, 6):
            wait_until(lambda n=round_number: sum(len(publisher.answered) for publisher in publishers) >= 5 * n)
            server.kill()
            server.start()
        for publisher in publishers:
            publisher.is_over = True
        for publisher in publishers:
            publisher.close()
        with contextlib.closing(Api(server.url)) as api:
            answered = {payload: place for publisher in publishers for payload, place in publisher.answered.items()}
            history = audit_history(api, "topic:one", answered)
            assert len(history) >= 20
            reader.wait_head("topic:one", len(history))
            audit_reader(reader, "topic:one", history)


# --- two nodes, one database --------------------------------------------------------------------------------------

def test_two_nodes_see_each_others_publishes(store):
    """By the comparison of heads, within about a second."""
    with node(store) as one, node(store) as two, contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reader(server.url, "sse", ["topic:a"])) for server in (one, two)]
        publishers = [stack.enter_context(Publisher(server.url, name, "topic:a", has_keys=True))
                      for server, name in ((one, "p"), (two, "q"))]
        wait_until(lambda: all(publisher.sent > 50 for publisher in publishers))
        for publisher in publishers:
            publisher.close()
        with contextlib.closing(Api(one.url)) as api, contextlib.closing(Api(two.url)) as other:
            answered = {payload: place for publisher in publishers for payload, place in publisher.answered.items()}
            history = audit_history(api, "topic:a", answered)
            assert audit_history(other, "topic:a", answered) == history
            for reader in readers:
                reader.wait_head("topic:a", len(history))
                audit_reader(reader, "topic:a", history)
            first = api.publish("topic:k", b"paid", key="order-1")
            again = other.publish("topic:k", b"paid", key="order-1")
            assert (first.status, again.status) == (201, 200) and again.body == first.body


# --- PostgreSQL goes away -----------------------------------------------------------------------------------------

def publish_until_refused(api):
    """The first publish that is refused; those before it were taken."""
    return wait_until(lambda: (answer := api.publish("topic:probe", b"x")).status != 201 and answer)


def assert_is_honest(answer):
    assert answer.status == 503 and int(answer.headers["Retry-After"]) >= 1, answer
    assert "postgres" in answer.json["detail"], answer.json


@pytest.mark.parametrize("fault", ["stopped", "paused"])
def test_postgresql_goes_away_and_comes_back(postgres, store, fault):
    """Threats 38 and 40: refusals say so and for how long, memory channels live on, and nothing acknowledged is lost."""
    with node(store) as server, contextlib.ExitStack() as stack, contextlib.closing(Api(server.url)) as api:
        readers = [stack.enter_context(Reader(server.url, transport, ["topic:one"])) for transport in ("ws", "sse")]
        publishers = [stack.enter_context(Publisher(server.url, f"p{i}", "topic:one", has_keys=True)) for i in range(3)]
        wait_until(lambda: all(publisher.sent > 20 for publisher in publishers))
        if fault == "stopped":
            postgres.stop_hard()
        else:
            postgres.pause()
        assert_is_honest(publish_until_refused(api))
        assert_is_honest(api.get("/v1/channels/topic:new/messages"))
        assert api.publish("live:a", b"x").status == 201
        assert api.get("/healthz").status == 200
        if fault == "stopped":
            postgres.start()
        else:
            postgres.resume()
        wait_until(lambda: api.publish("topic:after", b"x").status == 201)
        wait_until(lambda: "event=store_reopened" in server.log(), server.log)
        told = re.findall("event=(store_failed|store_reopened)", server.log())
        assert told == ["store_failed", "store_reopened"], "one line when it begins, one when it has ended"
        known = [publisher.sent for publisher in publishers]
        wait_until(lambda: all(publisher.sent > before + 20 for publisher, before in zip(publishers, known)))
        for publisher in publishers:
            publisher.close()
        answered = {payload: place for publisher in publishers for payload, place in publisher.answered.items()}
        history = audit_history(api, "topic:one", answered)
        for reader in readers:
            reader.wait_head("topic:one", len(history))
            audit_reader(reader, "topic:one", history)


# --- several databases --------------------------------------------------------------------------------------------

@pytest.fixture(name="shards")
def shards_fixture(postgres):
    """The URLs of three fresh databases of one cluster."""
    postgres.start() if not postgres.is_running else postgres.resume()
    urls = [postgres.create(f"shard{next(numbers)}") for _ in range(3)]
    postgres.init(",".join(urls))
    return urls


def shard_of(postgres, urls, channel):
    """Which of them has a channel."""
    return [url for url in urls if postgres.psql(f"select 1 from longwire.channel where name = '{channel}'",
                                                 url.rsplit("/", 1)[1])]


def test_channels_are_spread_and_everything_works(postgres, shards):
    channels = [f"topic:{number}" for number in range(12)]
    with node(",".join(shards)) as one, node(",".join(reversed(shards))) as two, contextlib.ExitStack() as stack:
        api = stack.enter_context(contextlib.closing(Api(one.url)))
        other = stack.enter_context(contextlib.closing(Api(two.url)))
        readers = [stack.enter_context(Reader(two.url, transport, channels)) for transport in TRANSPORTS]
        results = api.batch([{"channel": channel, "data": f"{channel} {n}"} for n in range(5) for channel in channels])
        assert [result["status"] for result in results] == [201] * 60
        assert [result["seq"] for result in results] == [n + 1 for n in range(5) for _ in channels]
        assert len({result["id"] for result in results}) == 60
        assert len({result["epoch"] for result in results}) == 3
        homes = {channel: shard_of(postgres, shards, channel) for channel in channels}
        assert all(len(home) == 1 for home in homes.values()) and len({home[0] for home in homes.values()}) == 3
        for channel in channels:
            history = {entry["seq"]: entry["data"].encode() for entry in other.history_all(channel)}
            assert len(history) == 5
            for reader in readers:
                reader.wait_head(channel, 5)
                audit_reader(reader, channel, history)
        listed = other.get("/v1/channels?prefix=topic:&limit=5").json
        names = [channel["channel"] for channel in listed["channels"]]
        assert names == sorted(channels)[:5], names


def test_members_and_revocations_over_databases(shards):
    """The list of a group's members lies in another database than most of its members."""
    users = [f"user{number}" for number in range(20)]
    with node(",".join(shards)) as server, contextlib.closing(Api(server.url)) as api:
        for user in users:
            join(api, "lobby", user)
        assert members_of(api, "lobby") == sorted(users)
        for user in users[::2]:
            leave(api, "lobby", user)
        assert members_of(api, "lobby") == sorted(users[1::2])
        phone = Device(server, "user1", "phone", Ws)
        phone.connect()
        assert sent(server, "group:lobby") == 1
        assert phone.ws.frame("message")["channel"] == "group:lobby"
        answer = api.call("POST", "/v1/revocations", json.dumps({"device": "user1/phone"}), {"Content-Type": "application/json"})
        assert answer.status == 200 and answer.json["cut"] == 1, answer
        server.kill()
        server.start()
        api.close()
        assert members_of(api, "lobby") == sorted(users[1::2])


def test_events_over_databases(shards):
    """What an event tells of mostly lies in another database than the event: a crash in between loses none, and doubles none."""
    users = [f"user{number}" for number in range(12)]
    config = "heartbeat_s = 3600\n[namespace room]\npresence = true\n[events]\nkeep = connected, disconnected, joined, offline, occupied\n"
    with node(",".join(shards), config=config) as server:
        with contextlib.closing(Api(server.url)) as api, contextlib.ExitStack() as stack:
            phones = [stack.enter_context(Device(server, user, "phone", Ws)) for user in users[:4]]
            for phone in phones:
                phone.connect()
                phone.ws.ask("subscribe", "subscribed", channel="room:lobby")
            wait_until(lambda: len(kinds(api, "connected")) == 4 and kinds(api, "occupied"), lambda: events(api))
            for user in users:
                join(api, "lobby", user)
            sent(server, "group:lobby")
            server.kill()
        server.start()
        with contextlib.closing(Api(server.url)) as api:
            told = {"connected": users[:4], "disconnected": users[:4], "joined": sorted(users)}
            for kind, who in told.items():
                wait_until(lambda: kinds(api, kind) == who, lambda: (kind, kinds(api, kind)))
            # Who is offline was found out before the end, or after it, when nobody was there any more.
            wait_until(lambda: kinds(api, "offline") in (sorted(users[4:]), sorted(users)), lambda: kinds(api, "offline"))
            assert {event["reason"] for event in events(api) if event["type"] == "disconnected"} == {"node_lost"}
            assert [event["channel"] for event in events(api) if event["type"] == "occupied"] == ["room:lobby"]


def kinds(api, kind):
    """The users of the events of this kind."""
    return sorted(event.get("user", "") for event in events(api) if event["type"] == kind)


def test_a_list_of_members_that_is_wrong_is_mended(postgres, shards):
    """What a node that died owed to the list: one member lacks, and one who has left is there still."""
    users = [f"user{number}" for number in range(6)]
    with node(",".join(shards)) as server, contextlib.closing(Api(server.url)) as api:
        for user in users:
            join(api, "hall", user)
        leave(api, "hall", "user5")
        assert members_of(api, "hall") == users[:5]
        key = "'hall'::bytea || '\\x00'::bytea"
        spoilt = sum(int(postgres.psql(
            f"insert into longwire.ledger (kind, key, generation, expires_at, value) select 4, {key} || name::bytea, 1, 0, '' "
            f"from unnest(array['ghost', 'user5']) name where exists (select from longwire.ledger where kind = 4 and key = {key} || "
            f"'user1'::bytea); with gone as (delete from longwire.ledger where kind = 4 and key = {key} || 'user1'::bytea returning 1) "
            f"select count(*) from gone", url.rsplit("/", 1)[1])) for url in shards)
        assert spoilt == 1
        wait_until(lambda: members_of(api, "hall") == users[:5], lambda: str(members_of(api, "hall")))


@pytest.mark.parametrize("change, why", [
    (lambda urls, other: urls[:2], "no database of the list has the slots"),
    (lambda urls, other: urls[:2] + [other], "was made for another cluster"),
])
def test_a_node_whose_list_differs_is_refused(postgres, shards, store, change, why):
    done = longwired("--store", ",".join(change(shards, store)))
    assert done.returncode == 1 and why in done.stderr, done.stderr


def test_init_keeps_to_how_the_cluster_was_made(postgres, shards):
    assert "the schema is there" in postgres.init(",".join(shards))
    fresh = postgres.create(f"more{next(numbers)}")
    done = longwired("--store", ",".join(shards + [fresh]), "--init")
    assert done.returncode == 1 and "name the databases that the cluster was made with" in done.stderr, done.stderr
    half = [postgres.create(f"half{next(numbers)}") for _ in range(2)]
    postgres.init(",".join(half))
    postgres.psql("drop schema longwire cascade", half[1].rsplit("/", 1)[1])   # as if --init had ended in the middle
    done = longwired("--store", ",".join(half))
    assert done.returncode == 1 and "--init" in done.stderr, done.stderr
    postgres.init(",".join(half))
    with node(",".join(half)) as server:
        assert sent(server, "topic:a") == 1


def test_init_refuses_one_database_under_two_names(postgres):
    url = postgres.create(f"twice{next(numbers)}")
    done = longwired("--store", f"{url},{url}?connect_timeout=7", "--init")
    assert done.returncode == 1 and "1 and 2 of the list both have slot 0: they are one database" in done.stderr, done.stderr


def test_slots_are_computed_alike_in_sql_and_a_foreign_channel_is_refused(postgres, shards):
    vectors = json.loads((ROOT / "test/vectors/slots.json").read_text())
    name = shards[0].rsplit("/", 1)[1]
    for channel, slot in vectors:
        assert postgres.psql(f"select longwire.slot(convert_to('{channel}', 'UTF8'))", name) == str(slot), channel
    foreign = next(channel for channel, slot in vectors if slot >= 2731)
    with pytest.raises(AssertionError, match="lies in another database of this cluster"):
        postgres.psql(f"insert into longwire.channel (name) values ('{foreign}')", name)


def test_what_lies_in_other_databases_goes_on():
    """One of two PostgreSQL servers is stopped hard: only its slots are refused."""
    with Postgres() as second:
        with Postgres() as first:
            urls = [first.url, second.url]
            first.init(",".join(urls))
            with node(",".join(urls)) as server, contextlib.closing(Api(server.url)) as api:
                for number in range(10):
                    assert api.publish(f"topic:{number}", b"x").status == 201
                second.stop_hard()
                states = {number: wait_until(lambda n=number: api.publish(f"topic:{n}", b"y")).status for number in range(10)}
                assert set(states.values()) == {201, 503}, states
                ready = api.get("/readyz/publish")
                assert ready.status == 503 and "(postgres)" in ready.json["detail"], ready
                second.start()
                for number in range(10):
                    wait_until(lambda n=number: api.publish(f"topic:{n}", b"z", key="z").status in (200, 201))
