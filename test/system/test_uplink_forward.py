"""Uploads: what clients publish into a namespace that forwards arrives at a real HTTP server in batches, in order a channel, at
least once with the same key, whatever becomes of the server and of the back end."""
import contextlib
import json
import subprocess
import urllib.error
import urllib.request

import pytest

from cluster import Cluster
from longwire_client import Api
from longwire_server import LONGWIRE, Server, is_built
from native_wire import BinSocket, NativeClient
from upload_back_end import BackEnd
from waiting import SECONDS, wait_until
from wire import Ws

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")


def config(back_end, **more):
    lines = "".join(f"{name} = {value}\n" for name, value in more.items())
    return (f"loops = 1\n[backend app]\nurl = {back_end.url}\ntimeout_s = 60\nretries = 0\n"
            f"[namespace up]\npublish = anyone\nforward = app/in\n{lines}")


@pytest.fixture(name="back_end")
def a_back_end():
    with contextlib.closing(BackEnd()) as back_end:
        yield back_end


def publish(server, channel, *texts):
    api = Api(server.url)
    try:
        for text in texts:
            answer = api.call("POST", f"/v1/channels/{channel}/messages", text.encode(), {"Content-Type": "text/plain"})
            assert answer.status == 201, answer
    finally:
        api.close()


def publish_many(server, channel, count, start=0):
    lines = "".join(json.dumps({"channel": channel, "data": f"text {start + i}"}) + "\n" for i in range(count))
    request = urllib.request.Request(server.url + "/v1/messages", lines.encode(), {"Content-Type": "application/x-ndjson"})
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        assert all(json.loads(line)["status"] == 201 for line in answer.read().splitlines())


def longwire(server, *words):
    return subprocess.run([LONGWIRE, *words, "--server", server.url], check=True, capture_output=True, text=True, timeout=SECONDS).stdout


def forwarders(server):
    with urllib.request.urlopen(server.url + "/v1/forwarders", timeout=SECONDS) as answer:
        return [forwarder for node in json.loads(answer.read())["nodes"] for forwarder in node["forwarders"]]


def test_uploads_arrive_in_batches_and_survive_kill(back_end):
    with Server(config=config(back_end)) as server:
        publish_many(server, "up:positions", 250)
        wait_until(lambda: back_end.has_all("up:positions", 250))
        key, lines, headers, _ = back_end.batches[0]
        assert headers["Content-Type"] == "application/x-ndjson" and len(lines) <= 100
        assert lines[0]["type"] == "message" and lines[0]["data"] == "text 0" and lines[0]["seq"] == 1
        assert key == f"up:positions/{lines[0]['epoch']}/1-{lines[-1]['seq']}"
        # The server dies while the back end has a batch, which it takes all the same.
        back_end.open.clear()
        tries = back_end.tries
        publish(server, "up:positions", "text 250", "text 251", "text 252")
        server.kill()
        back_end.open.set()
        server.restart()
        publish_many(server, "up:positions", 20, 253)
        wait_until(lambda: back_end.has_all("up:positions", 273))
        back_end.check("up:positions", 273)
        assert back_end.tries > tries


def test_a_back_end_that_was_away_gets_everything(back_end):
    with Server(config=config(back_end)) as server:
        publish(server, "up:a", "before")
        wait_until(lambda: back_end.has_all("up:a", 1))
        port = back_end.port
        back_end.close()
        publish_many(server, "up:a", 30)
        publish_many(server, "up:b", 30)
        wait_until(lambda: forwarders(server)[0]["backlog"] == 60)
        wait_until(lambda: forwarders(server)[0]["retries"] > 0)
        with contextlib.closing(BackEnd(port)) as again:
            wait_until(lambda: again.has_all("up:b", 30) and set(range(2, 32)) <= set(again.seqs("up:a")))
            wait_until(lambda: forwarders(server)[0]["backlog"] == 0)


def test_a_poison_message_goes_to_the_dead_and_comes_back(back_end):
    back_end.judge = lambda path, lines: 422 if any(line.get("data") == "poison" for line in lines) else 200
    with Server(config=config(back_end, forward_tries=1)) as server:
        publish(server, "up:a", "one", "poison", "three")
        publish(server, "up:b", "fine")
        wait_until(lambda: set(back_end.seqs("up:a")) == {1, 3} and back_end.has_all("up:b", 1))
        with urllib.request.urlopen(server.url + "/v1/channels/sys:dead/messages", timeout=SECONDS) as answer:
            [dead] = json.loads(answer.read())["messages"]
        assert {name: dead["data"][name] for name in ("channel", "seq", "status", "backend", "data")} == \
            {"channel": "up:a", "seq": 2, "status": 422, "backend": "app", "data": "poison"}
        assert "up:a" in longwire(server, "dead", "list") and "poison" in longwire(server, "dead", "list")
        assert longwire(server, "backlog", "-F", "{forwarder} {backlog} {dead}") == "forward:up 0 1\n"
        back_end.judge = lambda path, lines: 200
        request = urllib.request.Request(server.url + f"/v1/dead/{dead['seq']}", b"", method="POST")
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            said = json.loads(answer.read())
        assert answer.status == 201 and said["channel"] == "up:a" and said["seq"] == 4
        wait_until(lambda: 4 in back_end.seqs("up:a"))
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=SECONDS)
        assert refused.value.code == 404
        assert longwire(server, "dead", "list") == longwire(server, "dead", "retry", "--all") == ""


def test_all_the_dead_are_sent_again_once_though_they_come_back_and_may_all_be_gone(back_end):
    back_end.judge = lambda path, lines: 422
    with Server(config=config(back_end, forward_tries=1)) as server:
        publish(server, "up:a", *(f"poison {n}" for n in range(12)))
        wait_until(lambda: len(longwire(server, "dead", "list").splitlines()) == 12)
        assert len(longwire(server, "dead", "retry", "--all").splitlines()) == 12
        wait_until(lambda: len(longwire(server, "dead", "list").splitlines()) == 12)
        longwire(server, "purge", "sys:dead", "--yes")
        assert longwire(server, "dead", "list") == longwire(server, "dead", "retry", "--all") == ""


THINGS = [({"data": "text"}, {"media": "text/plain", "payload": "text"}),
          ({"data": {"n": 1}}, {"media": "application/json", "payload": '{"n":1}'}),
          ({"data_base64": "/wA="}, {"media": "application/octet-stream", "payload_hex": "ff00"})]


def by_post(server, channel):
    with contextlib.closing(Api(server.url)) as api:
        for media, body in (("text/plain", b"text"), ("application/json", b'{"n":1}'), ("application/octet-stream", b"\xff\0")):
            assert api.call("POST", f"/v1/channels/{channel}/messages", body, {"Content-Type": media}).status == 201


def by_batch(server, channel):
    with contextlib.closing(Api(server.url)) as api:
        answer = api.call("POST", "/v1/messages", json.dumps({"messages": [{"channel": channel, **thing} for thing, _ in THINGS]}),
                          {"Content-Type": "application/json"})
        assert answer.status == 200, answer.body


def by_json_frames(server, channel):
    with Ws(server) as link:
        for ref, (thing, _) in enumerate(THINGS):
            link.ask("publish", "published", channel=channel, ref=ref, **thing)


def by_bin_frames(server, channel):
    with BinSocket(server) as link:
        for ref, (_, thing) in enumerate(THINGS):
            link.send({"type": "publish", "channel": channel, "ref": ref, **thing})
        while link.next().get("ref") != ref:
            pass


def by_native_frames(server, channel):
    with NativeClient(server.tcp_port) as client:
        for ref, (_, thing) in enumerate(THINGS):
            client.send({"type": "publish", "channel": channel, "ref": ref, **thing})
            client.expect("published")


def test_uploads_by_every_way_in(back_end):
    ways = {"post": by_post, "batch": by_batch, "json": by_json_frames, "bin": by_bin_frames, "native": by_native_frames}
    with Server(config=config(back_end)) as server:
        for name, way in ways.items():
            way(server, f"up:{name}")
        for name in ways:
            wait_until(lambda: back_end.has_all(f"up:{name}", len(THINGS)), name)
            back_end.check(f"up:{name}", len(THINGS))
            lines = [line for _, lines, _, _ in back_end.batches for line in lines if line["channel"] == f"up:{name}"]
            assert [{key: line[key] for key in line if key.startswith("data")} for line in lines] == [thing for thing, _ in THINGS], name


def carried(node):
    """How many parts this node carries."""
    said = node.ask("/v1/forwarders")
    return sum(one["parts"] for own in said["nodes"] if own["node"] == node.name for one in own["forwarders"])


def test_a_paused_node_is_replaced_and_moves_nothing_back(back_end):
    """Whoever holds a lease that another node has taken is fenced off (threat 43)."""
    with Cluster(engine="postgres", count=2, config=config(back_end)) as cluster:
        first, second = cluster.nodes
        wait_until(lambda: carried(first) > 0 and carried(second) > 0 and carried(first) + carried(second) == 16)
        for i in range(8):
            publish_many(first, f"up:c{i}", 5)
        wait_until(lambda: all(back_end.has_all(f"up:c{i}", 5) for i in range(8)))
        first.pause()
        wait_until(lambda: carried(second) == 16)
        for i in range(8):
            publish_many(second, f"up:c{i}", 5, 5)
        wait_until(lambda: all(back_end.has_all(f"up:c{i}", 10) for i in range(8)))
        first.resume()
        wait_until(lambda: carried(first) > 0 and carried(first) + carried(second) == 16)
        for i in range(8):
            publish_many(first, f"up:c{i}", 5, 10)
        wait_until(lambda: all(back_end.has_all(f"up:c{i}", 15) for i in range(8)))
        for i in range(8):
            back_end.check(f"up:c{i}", 15)
