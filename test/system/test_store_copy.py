"""`longwired --copy`: an embedded store becomes one in PostgreSQL, in one database or several. Numbers, epochs, keys and sessions are kept, and a copy that is
killed goes on (threats 1, 40)."""
import contextlib
import os
import signal
import subprocess

import pytest

from longwire_client import Api
from longwire_server import LONGWIRED, Server, is_built
from postgres_server import Postgres, binaries
from test_sessions import Device, sent
from waiting import SECONDS, wait_until
from wire import Ws

pytestmark = [pytest.mark.skipif(not is_built(), reason="no longwired is built"),
              pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed")]

CHANNELS = [f"topic:c{number}" for number in range(20)] + ["user:bob", "device:bob/phone"]


@pytest.fixture(scope="module", name="postgres")
def postgres_fixture():
    with Postgres() as running:
        yield running


def command(server, store):
    """The tool becomes longwired, so a signal to it ends the copy."""
    return [str(LONGWIRED.parent / "longwire"), "store", "copy", str(server.data), store]


def copy(server, store, env=None):
    return subprocess.run(command(server, store), capture_output=True, text=True, timeout=SECONDS, check=False, env={**os.environ, **(env or {})})


def fill(api):
    for number, channel in enumerate(CHANNELS):
        for text in range(2 * number):
            assert api.publish(channel, f"{channel} {text}".encode(), key=f"k{text}" if text % 2 else None).status == 201
    assert api.recall(CHANNELS[5], 3).status == 200
    assert api.call("DELETE", f"/v1/channels/{CHANNELS[6]}").status == 200
    assert api.publish(CHANNELS[6], b"behind the purge").json["seq"] == 13


def told(api):
    """All that readers are told of these channels."""
    def page(channel):
        answer = api.history(channel, limit=1000)
        return {key: answer[key] for key in ("epoch", "head", "first") if key in answer}, api.history_all(channel)
    return {channel: page(channel) for channel in CHANNELS}


# Where the copy is held up and killed: at a row that it is about to write, within its transaction.
PLACES = {
    "the first channel": ("channel", "new.name = 'device:bob/phone'"),
    "a message in the middle": ("message", "new.seq = 11 and new.channel = (select id from longwire.channel where name = 'topic:c12')"),
    "a key": ("used_key", "new.channel = (select id from longwire.channel where name = 'topic:c5')"),
    "the last channel": ("channel", "new.name = 'user:bob'"),
    "a row of a session": ("ledger", "true"),
}
HOLD = """
create function hold() returns trigger language plpgsql as $$begin
    if {row} then perform pg_advisory_lock(1); end if;
    return new;
end$$;
create trigger hold before insert or update on longwire.{table} for each row execute function hold()"""


@contextlib.contextmanager
def held_at(postgres, database, table, row):
    """Inserts of such a row wait for ever. Behind it the connections that waited are gone."""
    postgres.psql(HOLD.format(table=table, row=row), database)
    with subprocess.Popen([str(binaries() / "psql"), "-Xq", "-d", postgres.url_of(database)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                          text=True) as holder:
        holder.stdin.write("select pg_advisory_lock(1);\n")
        holder.stdin.flush()
        wait_until(lambda: postgres.psql("select count(*) from pg_locks where locktype = 'advisory' and objid = 1 and granted") == "1")
        yield
        holder.stdin.close()
    wait_until(lambda: postgres.psql(f"select count(*) from pg_stat_activity where datname = '{database}'") == "0")
    postgres.psql(f"drop trigger hold on longwire.{table}; drop function hold()", database)


def kill_at(postgres, database, place, arguments):
    kill_held(postgres, database, PLACES[place], arguments)


def kill_held(postgres, database, place, arguments):
    with held_at(postgres, database, *place), subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        wait_until(lambda: process.poll() is not None or postgres.psql("select count(*) from pg_locks where not granted") == "1",
                   lambda: place)
        process.kill()
        assert process.wait() == -signal.SIGKILL, f"{place}: {process.stdout.read().decode()}"


def test_everything_is_copied_over_kills(postgres):
    store = postgres.create("copied")
    postgres.init(store)
    with Server() as server:
        with contextlib.closing(Api(server.url)) as api:
            fill(api)
            phone = Device(server, "ann", "phone", Ws)
            phone.connect()
            sent(server, "user:ann")
            phone.ws.frame("message")
            phone.ack("user:ann", 1)
            phone.cut()
            before = told(api)
            first = api.publish("topic:key", b"paid", key="order-1")
        refused = copy(server, store)
        assert refused.returncode == 1 and "in use by another process" in refused.stderr, refused.stderr
        server.stop()
        for place in PLACES:
            kill_at(postgres, "copied", place, command(server, store))
            done = subprocess.run([str(LONGWIRED), "--http", "127.0.0.1:0", "--tcp", "127.0.0.1:0", "--store", store],
                                  capture_output=True, text=True, timeout=SECONDS, check=False)
            assert done.returncode == 1 and "is being copied into this database" in done.stderr, done.stderr
        done = copy(server, store)
        assert done.returncode == 0 and "copied and compared: " in done.stdout, done.stderr + done.stdout
        server.flags += ["--store", store]
        server.start()
        with contextlib.closing(Api(server.url)) as api:
            assert told(api) == before
            again = api.publish("topic:key", b"paid", key="order-1")
            assert again.status == 200 and again.body == first.body
            after = api.publish("topic:c3", b"next").json
            assert after["seq"] == 7 and after["id"] > first.json["id"]
            phone.server = server
            said = phone.connect()
            assert said["resumed"] is True and said["generation"] == 2
            phone.cut()
        server.stop()
        again = copy(server, store)
        assert again.returncode == 1 and "the target is not empty" in again.stderr, again.stderr


def test_a_namespace_without_a_policy_is_not_left_out_in_silence(postgres):
    store = postgres.create("policies")
    postgres.init(store)
    with Server(config="[namespace orders]\n[namespace zoo]\n") as server:
        with contextlib.closing(Api(server.url)) as api:
            for channel in ("group:crew", "orders:1", "orders:2", "topic:a", "zoo:ape"):
                assert api.publish(channel, b"stored").status == 201
        server.stop()
        one = server.home / "one.conf"
        one.write_text("[namespace orders]\n")
        for files, left_out in (({}, "orders"), ({"LONGWIRE_CONFIG": str(one)}, "zoo")):
            refused = copy(server, store, files)
            assert refused.returncode == 1 and f'namespace \\"{left_out}\\"' in refused.stderr and "LONGWIRE_CONFIG" in refused.stderr, refused.stderr
        done = copy(server, store, {"LONGWIRE_CONFIG": str(server.home / "longwired.conf")})
        assert done.returncode == 0 and " 5 messages" in done.stdout, done.stderr + done.stdout


def slots_of(postgres, database):
    return range(*map(int, postgres.psql("select first_slot, last_slot + 1 from longwire.shard", database).split("|")))


def of_slots(postgres, database, names):
    """The first of the channels' names that lies in one of the database's slots."""
    slots = slots_of(postgres, database)
    return next(name for name in names if int(postgres.psql(f"select longwire.slot('{name}')", database)) in slots)


def start_refused(urls):
    return subprocess.run([str(LONGWIRED), "--http", "127.0.0.1:0", "--tcp", "127.0.0.1:0", "--store", ",".join(urls)],
                          capture_output=True, text=True, timeout=SECONDS, check=False)


def test_several_databases_are_filled_by_slot_over_kills(postgres):
    urls = [postgres.create(f"part{number}") for number in range(3)]
    postgres.init(",".join(urls))
    listed = [urls[2], urls[0], urls[1]]  # a node believes what the databases say, not the order of its list
    user = of_slots(postgres, "part1", [f"user:u{number}" for number in range(100)]).split(":")[1]
    channel = of_slots(postgres, "part2", CHANNELS[8:20])
    # Which database, and where. The last place lies behind the first database's release.
    places = [("part2", ("message", f"new.seq = 11 and new.channel = (select id from longwire.channel where name = '{channel}')")),
              ("part1", ("ledger", "true")),
              ("part0", ("shard", "new.version > 0"))]
    with Server() as server:
        with contextlib.closing(Api(server.url)) as api:
            fill(api)
            assert api.call("PUT", f"/v1/groups/crew/members/{user}").status == 200
            phone = Device(server, user, "phone", Ws)
            phone.connect()
            sent(server, "group:crew")
            phone.ws.frame("message")
            phone.cut()
            before, members = told(api), api.get("/v1/groups/crew/members").json
            first = api.publish("topic:key", b"paid", key="order-1")
        server.stop()
        target = ",".join(listed)
        for database, place in places:
            kill_held(postgres, database, place, command(server, target))
            done = start_refused(listed)
            assert done.returncode == 1 and "is being copied into this database" in done.stderr, (place, done.stderr)
        assert postgres.psql("select version > 0 from longwire.shard", "part2") == "t"
        alone = copy(server, urls[1])
        assert alone.returncode == 1 and "no database of the list has the slots" in alone.stderr, alone.stderr
        done = copy(server, target)
        assert done.returncode == 0 and "copied and compared: " in done.stdout, done.stderr + done.stdout
        assert all(postgres.psql("select count(*) > 3 from longwire.channel", f"part{number}") == "t" for number in range(3))
        server.flags += ["--store", target]
        server.start()
        with contextlib.closing(Api(server.url)) as api:
            assert told(api) == before and api.get("/v1/groups/crew/members").json == members
            again = api.publish("topic:key", b"paid", key="order-1")
            assert again.status == 200 and again.body == first.body
            ids = [api.publish(channel, b"next").json["id"] for channel in CHANNELS if channel.startswith("topic:")]
            assert len(set(ids)) == len(ids) and min(ids) > first.json["id"]
            phone.server = server
            assert phone.connect()["resumed"] is True
            phone.cut()
        server.stop()
        again = copy(server, target)
        assert again.returncode == 1 and "the target is not empty" in again.stderr, again.stderr


# As a role or a database may have them for what people write. transaction_timeout came with PostgreSQL 17.
TIMEOUTS = ("statement_timeout", "lock_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout", "transaction_timeout")
WAITED = "select count(*) from pg_stat_activity where datname = 'hurried' and wait_event_type = 'Lock' and now() - query_start > '3s'"


def run_behind_lock(postgres, lock, arguments):
    """What the program says that had to wait for that lock for longer than any of the timeouts allows."""
    patient = {**os.environ, "PGOPTIONS": " ".join(f"-c {name}=0" for name in TIMEOUTS[:4])}
    with subprocess.Popen([str(binaries() / "psql"), "-Xq", "-d", postgres.url_of("hurried")], stdin=subprocess.PIPE, text=True,
                          env=patient) as holder:
        holder.stdin.write(f"begin; {lock};\n")
        holder.stdin.flush()
        wait_until(lambda: postgres.psql("select count(*) from pg_stat_activity where datname = 'hurried' and state = 'idle in transaction'")
                   == "1")
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            wait_until(lambda: process.poll() is not None or postgres.psql(WAITED) == "1")
            assert process.poll() is None, process.stdout.read()
            holder.stdin.close()
            said = process.communicate(timeout=SECONDS)[0]
    assert process.returncode == 0, said
    return said


def test_messages_between_those_that_have_expired_stay_threat_1(postgres):
    """The log has holes behind a copy. Retention by age and history by time search in it, and ask for what is missing: the first, and the middle."""
    store = postgres.create("holes")
    postgres.init(store)
    with Server() as server, contextlib.closing(Api(server.url)) as api:
        said = [api.publish("topic:a", str(seq).encode(), ttl=1 if seq in (1, 6) else None).json for seq in range(1, 10)]
        assert [each["seq"] for each in said] == list(range(1, 10))
        since = said[0]["time"] - 1
        wait_until(lambda: len(seqs_of(api.history_all("topic:a"))) == 7)
        server.stop()
        done = copy(server, store)
        assert done.returncode == 0, done.stderr
        server.flags += ["--store", store]
        server.start()
        with contextlib.closing(Api(server.url)) as there:
            wait_until(lambda: postgres.psql("select floor from longwire.channel where name = 'topic:a'", "holes") != "1")
            assert seqs_of(there.history_all("topic:a")) == [2, 3, 4, 5, 7, 8, 9]
            assert seqs_of(there.history("topic:a", since=since)["messages"]) == [2, 3, 4, 5, 7, 8, 9]


def seqs_of(messages):
    return [message["seq"] for message in messages if message["type"] == "message"]


def test_timeouts_of_a_database_cut_neither_init_nor_a_copy(postgres):
    store = postgres.create("hurried")
    for name in postgres.psql("select name from pg_settings where name in ('" + "', '".join(TIMEOUTS) + "')").split():
        postgres.psql(f"alter database hurried set {name} = '2s'")
    said = run_behind_lock(postgres, "select pg_advisory_xact_lock(1281053266, -3)", [str(LONGWIRED), "--store", store, "--init"])
    assert "the schema is there" in said
    with Server() as server:
        with contextlib.closing(Api(server.url)) as api:
            api.publish("topic:a", b"x")
        server.stop()
        said = run_behind_lock(postgres, "lock table longwire.channel", command(server, store))
    postgres.psql("alter database hurried reset all")
    assert postgres.psql("select count(*) from longwire.message", "hurried") == "1", said


def test_a_target_belongs_to_one_source(postgres):
    store = postgres.create("torn")
    with Server() as server, Server() as other:
        for each in (server, other):
            with contextlib.closing(Api(each.url)) as api:
                api.publish("topic:a", b"x")
            each.stop()
        bare = copy(server, store)
        assert bare.returncode == 1 and "--init" in bare.stderr, bare.stderr
        postgres.init(store)
        postgres.psql("update longwire.shard set version = -version; create table longwire.copy_state as select 0::bigint as kind,"
                      " ''::bytea as done, 0::bigint as seq, 0::bigint as channels, 0::bigint as messages, 0::bigint as keys,"
                      " 0::bigint as rows, 0::bigint as last_id", "torn")
        refused = copy(other, store)
        assert refused.returncode == 1 and "from another source" in refused.stderr, refused.stderr
