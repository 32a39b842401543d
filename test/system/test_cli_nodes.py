"""`longwire nodes` and `longwire top`: a node alone lists itself, and top shows what it does."""
import fcntl
import json
import os
import pty
import struct
import subprocess
import termios

import pytest

from longwire_client import Api, Reader
from longwire_server import Server, is_built
from mock_server import Mock
from test_cli import LONGWIRE, Running, lines, run
from waiting import SECONDS

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

TITLES = "NODE STATE CLIENTS PUBL/S DELIV/S HEARD/S HOLES WAITING LAGGING".split()


@pytest.fixture(name="server")
def fixture_server():
    with Server(flags=["--node", "web1", "--region", "eu"]) as server:
        yield server


def test_nodes_lists_the_node(server):
    title, row = lines(server, "nodes")
    assert title.split() == ["NODE", "STATE", "CONNECTIONS", "CAPACITY", "SEEN", "VERSION", "REGION"]
    assert row.split()[:2] == ["web1", "up"]
    assert row.split()[-1] == "eu"


def test_nodes_as_json_and_by_a_template(server):
    node = json.loads(lines(server, "nodes", "--json")[0])
    assert (node["node"], node["state"], node["region"]) == ("web1", "up", "eu")
    assert lines(server, "nodes", "-F", "{node}:{state}:{incarnation}") == [f"web1:up:{node['incarnation']}"]
    assert b"did you mean {node}" in run(server, "nodes", "-F", "{nod}", code=64).stderr


def test_top_shows_what_a_node_does(server):
    api = Api(server.url)
    with Reader(server.url, "ws", ["topic:a"], after=0) as reader:
        api.publish("topic:a", b"one")
        reader.wait_for(lambda: reader.count("topic:a") == 1)
        first, second = (line.split() for line in lines(server, "top", "-n", "1"))
        assert first == TITLES
        assert second[:3] == ["web1", "up", "1"]
    api.close()


@pytest.mark.parametrize("name", ["web1", "web-eu-west-14", "a-name-that-is-longer-than-most-are"])
def test_top_has_straight_columns_and_fits_a_terminal_of_80(name):
    with Server(flags=["--node", name]) as server:
        title, row = lines(server, "top", "-n", "1")
    assert len(title) == len(row) == max(80, len(name) + 66), (title, row)
    assert row.index("up") == title.index("STATE")


def top_on_terminal(rows, columns, states):
    """The lines of one table on a terminal of that size."""
    nodes = [{"node": f"web{i:02}", "state": state, "connections": 0} for i, state in enumerate(states)]
    mine, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def answer(handler):
        if handler.path == "/v1/nodes":
            handler.answer(200, {"nodes": nodes})
        return handler.path == "/v1/nodes"
    with Mock() as mock:
        mock.faults.append(answer)
        subprocess.run([LONGWIRE, "top", "-n", "1"], stdout=its, timeout=SECONDS, check=True, env={**os.environ, "LONGWIRE_SERVER": mock.url})
    os.close(its)
    text = b""
    try:
        while piece := os.read(mine, 65536):
            text += piece
    except OSError:  # all is read, and the other end is closed
        pass
    os.close(mine)
    return text.decode().removeprefix("\x1b[H\x1b[2J").splitlines()


@pytest.mark.parametrize("rows, columns, shown", [(32, 80, 30), (31, 80, 28), (24, 80, 21), (24, 79, 9), (24, 40, 9), (3, 80, 1), (1, 80, 1), (0, 0, 30)])
def test_top_says_how_many_nodes_have_no_room(rows, columns, shown):
    """Those that aren't up come first then: they are what one looks for."""
    states = ["up"] * 28 + ["draining", "lost"]
    title, *table = top_on_terminal(rows, columns, states)
    assert title.split() == TITLES
    names = [line.split()[0] for line in table]
    if shown == 30:
        assert names == [f"web{i:02}" for i in range(30)]
        return
    assert table.pop() == f"{30 - shown} more not shown: longwire top -n 2 | less"
    assert len(table) == shown
    assert names[:shown] == [*["web28", "web29"], *[f"web{i:02}" for i in range(28)]][:shown]


def test_top_shows_rates(server):
    """The first table has none; a later one has, as messages were published in between."""
    api = Api(server.url)
    with Running(server, "top", "--json", "--interval", "200ms") as top:
        top.wait_out(1)
        assert json.loads(top.out[0])["published_per_s"] == 0
        while not any(json.loads(line)["published_per_s"] > 0 for line in list(top.out)):
            api.publish("topic:a", b"one")
    api.close()


def test_top_says_that_nobody_is_there():
    assert b"can't reach" in run("http://127.0.0.1:1", "top", code=2).stderr


def test_top_wants_a_time_that_makes_sense(server):
    assert b"100ms at least" in run(server, "top", "--interval", "5ms", code=64).stderr


def test_top_waits_for_a_server_that_is_restarted(server):
    with Running(server, "top", "--json", "--interval", "200ms") as top:
        top.wait_out(1)
        server.kill()
        top.wait_err("can't reach")
        count = len(top.out)
        server.start()
        top.wait_out(count + 2)
        assert top.process.poll() is None


def test_top_with_a_count_ends_with_its_server(server):
    with Running(server, "top", "--json", "--interval", "200ms", "-n", "1000000") as top:
        top.wait_out(1)
        server.kill()
        top.end(2)
