"""Backup and restore as docs/operations.md describes them (threat 14)."""
import json
import shutil
import urllib.request

import pytest

from longwire_server import Server, copy_data
from postgres_server import Postgres, binaries
from waiting import SECONDS

CHANNEL = "/v1/channels/topic:a/messages"


def ask(server, path, body=None):
    with urllib.request.urlopen(server.url + path, body, timeout=SECONDS) as answer:
        return json.loads(answer.read())


def publish(server, *texts):
    return [ask(server, CHANNEL, text.encode()) for text in texts]


def texts_of(server):
    return [message["data"] for message in ask(server, CHANNEL + "?after=0")["messages"]]


def test_a_copy_of_a_stopped_server_is_a_backup(tmp_path):
    with Server(data=tmp_path / "data") as server:
        epoch = publish(server, "one", "two")[0]["epoch"]
        server.stop()
        copy_data(server.data, tmp_path / "copy")
        with Server(data=tmp_path / "copy") as restored:
            assert texts_of(restored) == ["one", "two"]
            assert publish(restored, "three")[0] | {"id": 0, "time": 0} == {
                "channel": "topic:a", "epoch": epoch, "seq": 3, "id": 0, "time": 0}


def test_an_older_copy_beside_the_newest_synced_takes_a_new_epoch(tmp_path):
    """Otherwise seqs that readers know would be given a second time."""
    with Server(data=tmp_path / "data") as server:
        publish(server, "one", "two")
        server.stop()
        copy_data(server.data, tmp_path / "copy")
        server.start()
        epoch = publish(server, "lost 1", "lost 2")[0]["epoch"]
        cursor = ask(server, "/v1/subscribe?channel=topic:a&after=0")["cursor"]
        server.stop()

        shutil.copy(server.data / "synced", tmp_path / "copy" / "synced")
        with Server(data=tmp_path / "copy") as restored:
            assert "store_notice" in restored.log() and "new epoch" in restored.log()
            told = []
            while len(told) < 3:  # the gap, then what the log has; each poll answers with what is at hand
                page = ask(restored, "/v1/subscribe?cursor=" + cursor)
                assert page["messages"], f"nothing comes behind {told}"
                told, cursor = told + page["messages"], page["cursor"]
            assert told[0]["type"] == "gap" and told[0]["why"] == "epoch" and told[0]["epoch"] != epoch
            assert [message["data"] for message in told[1:]] == ["one", "two"]


@pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed")
@pytest.mark.parametrize("schema", ["longwire", "longwire_memory"])
def test_a_dump_that_is_loaded_where_it_came_from_takes_a_new_epoch(schema):
    """The same PostgreSQL has the same identifier and timeline. What was published behind the dump is lost, and its seqs are not given again."""
    with Postgres() as postgres:
        store = postgres.create("push")
        postgres.init(store)
        with Server(flags=["--store", store]) as server:
            publish(server, "one", "two")
            server.stop()
            dump = postgres.home / "dump.sql"
            postgres.run("pg_dump", "-h", "127.0.0.1", "-p", str(postgres.port), "-U", "postgres", "-n", "longwire", "-n", "longwire_memory", "-f", str(dump), "push")
            server.start()
            epoch = publish(server, "lost 1", "lost 2")[0]["epoch"]
            before = postgres.psql(f"select epoch from {schema}.shard", "push")
            server.stop()
            server.start()
            assert postgres.psql(f"select epoch from {schema}.shard", "push") == before, "a restart is no restore"
            server.stop()
            postgres.psql("drop schema longwire, longwire_memory cascade", "push")
            postgres.run("psql", "-q", "-h", "127.0.0.1", "-p", str(postgres.port), "-U", "postgres", "-d", "push", "-f", str(dump))
            server.start()
            answer = publish(server, "three")[0]
            assert answer["seq"] == 3 and answer["epoch"] != epoch
            assert texts_of(server) == ["one", "two", "three"]


def test_a_backup_of_which_nothing_newer_is_left_takes_a_new_epoch_when_it_is_told(tmp_path):
    with Server(data=tmp_path / "data") as server:
        publish(server, "one", "two")
        server.stop()
        copy_data(server.data, tmp_path / "copy")
        server.start()
        lost = publish(server, "lost 1", "lost 2")[-1]
        server.stop()
    (tmp_path / "copy" / "synced").write_text("restored\n")
    with Server(data=tmp_path / "copy") as restored:
        assert "was restored" in restored.log() and "new epoch" in restored.log()
        answer = publish(restored, "three")[0]
        assert answer["seq"] == 3 and answer["epoch"] != lost["epoch"] and answer["id"] > lost["id"]
        restored.kill()
        restored.start()
        assert publish(restored, "four")[0]["epoch"] == answer["epoch"]
        assert texts_of(restored) == ["one", "two", "three", "four"]
