"""PostgreSQL fails over to a standby (real streaming replication), is full, is locked, and has no connection left (threats 40, 41).

The nodes reach PostgreSQL through a link of the test's, which is turned to the standby when that is promoted, as a virtual address or
HAProxy does it; or their URL names both servers."""
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest

import postgres_server
from cluster import Cluster
from cut_link import Link
from history import History
from longwire_client import channel_path
from longwire_server import is_built
from postgres_server import Postgres
from redis_server import is_installed
from test_cluster_failures import CONFIG, FAULT_SECONDS, Trial
from test_sessions import Device, said_first, sent
from waiting import SECONDS, wait_until

pytestmark = pytest.mark.skipif(not is_built() or not is_installed() or postgres_server.binaries() is None,
                                reason="no longwired is built, or PostgreSQL or Redis are not installed")

DISK_MIB = 160
COMPARE_SECONDS = 60 # session_compare_s
FULL_SECONDS = 3
LOCK_SECONDS = float(os.environ.get("LW_LOCK_SECONDS", "12"))


class Standby(Postgres):
    """A copy that follows another server."""

    def __init__(self, primary):
        super().__init__()
        self.primary = primary

    def make(self):
        self.run("pg_basebackup", "-D", str(self.data), "-R", "-X", "stream", "-c", "fast", "-h", "127.0.0.1", "-p", str(self.primary.port),
                 "-U", "postgres")
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as out:
            out.write(f"port = {self.port}\nunix_socket_directories = '{self.home}'\n")

    def has_all(self):
        """Has it replayed what the other one has committed?"""
        head = self.primary.psql("select pg_current_wal_lsn()")
        return self.psql(f"select pg_last_wal_replay_lsn() >= '{head}'::pg_lsn") == "t"

    def stop_receiving(self):
        """What the other one commits from now on is lacking here."""
        self.psql("alter system set primary_conninfo = ''")
        self.psql("select pg_reload_conf()")
        wait_until(lambda: self.psql("select count(*) from pg_stat_wal_receiver") == "0")

    def promote(self):
        self.run("pg_ctl", "-D", str(self.data), "-w", "-t", "120", "-s", "promote")


class LinkedPostgres(Postgres):
    """Two servers behind one address."""

    def __init__(self):
        super().__init__()
        self.link = Link(self.port)
        self.standby = Standby(self)

    def url_of(self, database):
        return f"postgres://postgres@127.0.0.1:{self.link.port}/{database}"

    def __enter__(self):
        self.link.__enter__()
        super().__enter__()
        self.standby.start()
        return self

    def close(self):
        self.link.down()
        self.standby.close()
        super().close()

    def fail_over(self):
        self.stop_hard()
        self.standby.promote()
        self.link.target_port = self.standby.port
        self.link.cut()


class ListedPostgres(Postgres):
    """Two servers, both in the URL."""

    def __init__(self):
        super().__init__()
        self.standby = Standby(self)

    def url_of(self, database):
        return f"postgres://postgres@127.0.0.1:{self.port},127.0.0.1:{self.standby.port}/{database}"

    def __enter__(self):
        super().__enter__()
        self.standby.start()
        return self

    def close(self):
        self.standby.close()
        super().close()

    def messages(self):
        return int(self.psql("select coalesce(sum(head), 0) from longwire.channel"))


@pytest.fixture(name="twofold")
def fixture_twofold():
    postgres = LinkedPostgres()
    with Cluster(config=CONFIG, postgres=postgres) as cluster:
        yield cluster


def epoch_of(cluster, channel):
    api = cluster.nodes[0].api()
    try:
        return api.history(channel, after=0, limit=1)["epoch"]
    finally:
        api.close()


def has_new_epoch(node, channel, history):
    """False also while the node refuses to say, because its store does not answer."""
    with contextlib.closing(node.api()) as api:
        answer = api.get(f"{channel_path(channel)}/messages?limit=1")
    assert answer.status in (200, 503), answer
    return answer.status == 200 and answer.json["epoch"] not in history.ended_epochs


def test_failover_to_a_standby_that_lacks_commits(twofold):
    """Threat 40: what was acknowledged and delivered is lost with its epoch, and each follower is told so. No seq of an epoch has
    two contents."""
    history = History()
    with Trial(twofold, "PostgreSQL fails over to a copy that lacks the last commits", [40], history=history) as trial:
        twofold.postgres.standby.stop_receiving()
        trial.wait_acknowledged(40)
        before = {channel: epoch_of(twofold, channel) for channel in trial.load.channels}
        history.ended_epochs |= set(before.values())
        twofold.postgres.fail_over()
    assert history.lost_with_their_epoch(), "the copy lacked nothing: was there a fault?"
    after = {channel: epoch_of(twofold, channel) for channel in trial.load.channels}
    assert not set(before.values()) & set(after.values()), (before, after)
    for node in twofold.nodes:
        wait_until(lambda log=node.log: re.search("event=store_notice .*new epoch", log()), node.log)
        assert "control_messages_missed" not in node.log(), "nothing is damaged"
    gaps = [receipt for receipts in history.receipts.values() for receipt in receipts if receipt.kind == "gap"]
    assert {receipt.object["why"] for receipt in gaps} == {"epoch"}
    assert len(gaps) == len(trial.load.followers) * len(trial.load.channels)


def comes_again(phone):
    """On a new link, once the database is there."""
    with contextlib.suppress(AssertionError, OSError, ValueError, KeyError):
        phone.connect()
        return True
    return False


def has_to_store(node, acks):
    """It has heard a further acknowledgement, and its link is gone; but its session waits for the database."""
    metrics = node.metrics()
    return (metrics["longwire_acks_total"] > acks and metrics["longwire_device_links"] == 0
            and metrics["longwire_device_sessions"] == 1)


def test_generations_that_are_given_a_second_time(twofold):
    """The copy lacks a session's last opening, so its generation is given once more, to a link elsewhere. What the node of the lost link
    has yet to store is of another life of the database: it does not touch the rows of the newer link, although the number is the same."""
    first, second, third = twofold.nodes
    postgres = twofold.postgres
    with Device(second, "roamer", "phone") as phone:
        user = f"user:{phone.user}"
        phone.connect()
        phone.cut()
        wait_until(postgres.standby.has_all)
        postgres.standby.stop_receiving()
        assert phone.connect()["generation"] == 2
        for _ in range(3):
            sent(first, user)
        phone.read(3)
        postgres.stop_hard()
        known = second.metrics()["longwire_acks_total"]
        phone.ack(user, 3)
        phone.cut()
        wait_until(lambda: has_to_store(second, known))
        second.pause()
        postgres.fail_over()
        phone.server = first
        wait_until(lambda: comes_again(phone))
        assert phone.said["generation"] == 2, "the copy lacked nothing"
        second.resume()
        wait_until(lambda: second.metrics()["longwire_device_sessions"] == 0, "it still has what it had to store".__str__)
        older, phone.server = phone.ws, third
        phone.connect()
        began = time.monotonic()
        assert said_first(older, "replaced")["code"] == 4001
        assert time.monotonic() - began < COMPARE_SECONDS / 4, "nobody but a comparison found the older link"


def test_failover_to_a_standby_that_has_all(twofold):
    """Threat 40: the copy has every commit, but nobody can know: the epoch changes all the same. Nothing is lost."""
    history = History()
    with Trial(twofold, "PostgreSQL fails over to a copy that has all", [40], history=history) as trial:
        trial.load.wait_acknowledged(40)
        for channel in trial.load.channels:
            history.ended_epochs.add(epoch_of(twofold, channel))
        for publisher in trial.load.publishers:
            publisher.rest()
        wait_until(twofold.postgres.standby.has_all)
        twofold.postgres.fail_over()
        for publisher in trial.load.publishers:
            publisher.go_on()
    assert not history.lost_with_their_epoch()


@pytest.mark.parametrize("engine", ["redis", "postgres"])
def test_a_primary_that_hangs_is_left_and_not_written_to_when_it_wakes(engine):
    """Threat 40: the first server of the URL takes connections and says nothing, and the second one is promoted. Nodes that waited for the
    first one would never come to the second. When the first one goes on, as if nothing had happened, it has the connections of
    before: a node that used some of them would acknowledge what nobody reads."""
    history = History()
    with Cluster(engine=engine, config=CONFIG, postgres=ListedPostgres()) as cluster:
        old = cluster.postgres
        with Trial(cluster, "PostgreSQL hangs, its copy is promoted, and then it goes on", [40], history=history) as trial:
            history.ended_epochs |= {epoch_of(cluster, channel) for channel in trial.load.channels}
            old.pause()
            old.standby.promote()
            wait_until(lambda: all(has_new_epoch(node, "topic:a", history) for node in cluster.nodes))
            old.resume()
            wait_until(lambda: is_left(old, trial))   # it carries out first what had come to it before
            before = old.messages()
            trial.wait_acknowledged(200)
            assert old.messages() == before


def is_left(postgres, trial):
    before = postgres.messages()
    trial.wait_acknowledged(50)
    return postgres.messages() == before


# --- full, locked, no connection left ---------------------------------------------------------------------------------

class SmallDisk(Postgres):
    """On a file system of its own, of 160 MiB; only root may make one."""

    def __init__(self):
        super().__init__({"max_wal_size": "48MB", "min_wal_size": "32MB"})
        self.disk = self.home / "disk"
        self.disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=0777", "longwire-test", self.disk], check=True)
        self.data = self.disk / "data"
        self.filler = self.disk / "filler"

    def fill(self):
        """To the last page: what frees itself is taken again, until spare()."""
        with open(self.filler, "ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(65536))
        with open(self.filler, "ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def spare(self):
        self.filler.unlink(missing_ok=True)

    def close(self):
        try:
            super().stop_hard()
        finally:
            subprocess.run(["umount", "-l", self.disk], check=False)
            shutil.rmtree(self.home, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_postgres_is_full():
    """Threat 41: publishes are refused, links stay. With room again, publishes are taken again. PostgreSQL itself may have ended: its
    log cannot be written; then it is started again, as a supervisor does it."""
    postgres = SmallDisk()
    with Cluster(config=CONFIG, postgres=postgres) as cluster:
        with Trial(cluster, "PostgreSQL's disk full", [41], is_refusing=True) as trial:
            postgres.fill()
            wait_until(lambda: postgres.fill() or trial.refusals(), "no publish was refused".__str__)
            assert all(node.is_healthy() for node in cluster.nodes)
            trial.hold(FULL_SECONDS)
            told = [re.findall("event=(disk_full|disk_has_room|store_failed|store_reopened)", node.log()) for node in cluster.nodes]
            assert not any(told.count(event) > 1 or "room" in event or "reopened" in event for told in told for event in told), told
            postgres.spare()
            if not is_running(postgres):
                postgres.is_running = False
                (postgres.data / "postmaster.pid").unlink(missing_ok=True)
                postgres.start()


def is_running(postgres):
    try:
        return pathlib.Path(f"/proc/{postgres.pid()}").exists()
    except OSError:
        return False


@pytest.fixture(name="cluster", scope="module")
def fixture_cluster():
    with Cluster(config=CONFIG) as cluster:
        yield cluster


def test_a_lock_is_held(cluster):
    """Threat 41: somebody holds a lock on all heads (the table longwire.channel). Waiting is bounded, then 503; links stay."""
    with Trial(cluster, f"a lock on PostgreSQL's heads held for {LOCK_SECONDS:g} s", [41]) as trial:
        holder = subprocess.Popen([postgres_server.binaries() / "psql", "-Xq", "-d", cluster.postgres.url, "-c",
                                   f"begin; lock table longwire.channel; select pg_sleep({LOCK_SECONDS}); commit"], stdout=subprocess.DEVNULL)
        trial.hold(LOCK_SECONDS / 2)
        assert all(node.is_healthy() for node in cluster.nodes)
        assert holder.wait(SECONDS) == 0


class Session:
    """A connection that psql holds, for what is to be said when no other can be had."""

    def __init__(self, url):
        self.process = subprocess.Popen([postgres_server.binaries() / "psql", "-XqAt", "-d", url], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.say("select 'there'")

    def say(self, sql):
        self.process.stdin.write(f"{sql};\nselect 'done';\n")
        self.process.stdin.flush()
        while self.process.stdout.readline().strip() != "done":
            pass

    def close(self):
        self.process.stdin.close()
        self.process.wait(SECONDS)
        self.process.stdout.close()


def test_no_connection_is_left(cluster):
    """Threat 41: others have taken all connections of PostgreSQL, and the nodes have lost theirs."""
    psql = postgres_server.binaries() / "psql"
    with Trial(cluster, f"no connection of PostgreSQL left for {FAULT_SECONDS:g} s", [41]) as trial:
        cluster.postgres.psql("create role crowd login superuser")
        url = cluster.postgres.url.replace("postgres@", "crowd@")
        session = Session(cluster.postgres.url)
        count = int(cluster.postgres.psql("show max_connections"))
        crowd = [subprocess.Popen([psql, "-Xq", "-d", url, "-c", "select pg_sleep(600)"], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL) for _ in range(count)]
        others = "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = '{}' and pid <> pg_backend_pid()"
        session.say(others.format("postgres"))
        trial.hold()
        assert all(node.is_healthy() for node in cluster.nodes)
        for process in crowd:
            process.kill()
            process.wait()
        session.say(others.format("crowd"))
        session.close()
