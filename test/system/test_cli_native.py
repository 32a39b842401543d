"""`longwire sub` and `longwire pub` over the native protocol, that is with the C client library."""
import contextlib
import json
import urllib.request

import pytest

from cut_link import Link
from longwire_server import Server, free_port, is_built
from test_cli import Running, run
from waiting import SECONDS, wait_until

pytestmark = pytest.mark.skipif(not is_built(), reason="longwired is not built")


@pytest.fixture(name="server")
def fixture_server():
    with Server() as server:
        yield server


class Native:
    """The native address of a server or a link, where test_cli.py takes a server."""

    def __init__(self, port):
        self.url = f"lw://127.0.0.1:{port}"


def native(server):
    return Native(server.tcp_port)


def lines_of(*numbers):
    return b"".join(b"%d\n" % number for number in numbers)


# --- pub ------------------------------------------------------------------------------------------------------------


def test_pub_prints_what_it_prints_over_http(server):
    assert run(native(server), "pub", "topic:a", "over native").stdout == b"topic:a 1 1\n"
    assert run(server, "pub", "topic:a", "over HTTP").stdout == b"topic:a 2 2\n"
    receipt = json.loads(run(native(server), "pub", "topic:a", "-j", "--media", "application/json", stdin=b"[1]").stdout)
    assert {name: receipt[name] for name in ("channel", "seq", "id")} == {"channel": "topic:a", "seq": 3, "id": 3}
    found = [json.loads(line) for line in run(server, "history", "topic:a", "-j").stdout.splitlines()]
    assert [(one["media"], one["data"]) for one in found] == [
        ("text/plain", "over native"), ("text/plain", "over HTTP"), ("application/json", [1])]


def test_pub_lines_of_any_bytes_in_order(server):
    lines = [b"", b"\xff\xfe", b"a\0b", b"x" * 100000] + [b"%d" % number for number in range(500)]
    done = run(native(server), "pub", "topic:a", "--count-only", stdin=b"".join(line + b"\n" for line in lines))
    assert done.stdout == b"504\n"
    assert run(native(server), "sub", "topic:a", "--after", "0", "-n", "504").stdout == b"".join(line + b"\n" for line in lines)


def test_control_messages_are_what_they_are_over_http(server):
    member = urllib.request.Request(f"{server.url}/v1/groups/team/members/ann", method="PUT")
    with urllib.request.urlopen(member, timeout=SECONDS):
        pass
    run(server, "pub", "user:ann", "hello")
    words = ["sub", "user:ann", "--after", "0", "-n", "1"]
    there, here = ([json.loads(line) for line in run(where, *words, "-j").stdout.splitlines()] for where in (server, native(server)))
    for one in there:
        del one["cursor"]
    assert here == there and here[0]["type"] == "membership" and here[0]["group"] == "team"
    done = run(native(server), *words)
    assert done.stdout == b"hello\n" and b"user:ann: 1 is a control message: membership\n" in done.stderr


def test_pub_the_same_key_publishes_once(server):
    first = run(native(server), "pub", "topic:a", "--key-id", "k", stdin=lines_of(1, 2))
    assert run(native(server), "pub", "topic:a", "--key-id", "k", stdin=lines_of(1, 2)).stdout == first.stdout
    assert run(server, "pub", "topic:a", "--key-id", "k", stdin=lines_of(1, 2, 3)).stdout.startswith(first.stdout)


def test_pub_over_a_bad_link_doubles_nothing(server):
    with Link(server.tcp_port) as link:
        link.bytes_max = 1500
        done = run(Native(link.port), "pub", "topic:a", "--count-only", "--rate", "300", stdin=lines_of(*range(300)))
        assert done.stdout == b"300\n" and link.taken > 3
    assert run(server, "history", "topic:a", "--all").stdout == lines_of(*range(300))


def test_pub_refused_says_why(server):
    done = run(native(server), "pub", "nosuch:a", stdin=lines_of(1), code=1)
    assert b"line 1: the server refuses: no such namespace" in done.stderr and b"(404)" in done.stderr


# --- sub ------------------------------------------------------------------------------------------------------------


def test_pub_collapse_key_and_priority(server):
    run(native(server), "pub", "topic:a", "--collapse-key", "score", "--priority", "beat", stdin=b"0:0\n1:0\n")
    behind = [json.loads(line) for line in run(server, "sub", "topic:a", "--after", "0", "-n", "1", "-j").stdout.splitlines()]
    assert [(one["type"], one.get("why"), one.get("data")) for one in behind] == [("gap", "collapsed", None), ("message", None, "1:0")]


def test_sub_prints_what_it_prints_over_http(server):
    """The same JSON objects, but for the cursor, which only the NDJSON stream has."""
    run(server, "pub", "topic:a", "text", "--event", "named")
    run(server, "pub", "topic:a", "-f", "-", "--media", "application/json", stdin=b'{"a":\n 1}')
    run(server, "pub", "topic:a", "-f", "-", stdin=b"\xff")
    run(server, "pub", "topic:a", "to be recalled")
    run(server, "recall", "topic:a", "4")
    asked = ["sub", "topic:a", "--after", "0", "-n", "4", "-j"]
    over_http = [json.loads(line) for line in run(server, *asked).stdout.splitlines()]
    for one in over_http:
        del one["cursor"]
    assert [json.loads(line) for line in run(native(server), *asked).stdout.splitlines()] == over_http


def test_sub_loses_and_repeats_nothing_over_a_bad_link(server):  # threats 29, 31: the client's part
    count = 600
    run(server, "pub", "topic:a", "-q", stdin=lines_of(*range(count // 2)))
    with Link(server.tcp_port) as link:
        link.bytes_max = 701
        with Running(Native(link.port), "sub", "topic:a", "--after", "0", "--format", "json", "--count", str(count)) as sub:
            run(server, "pub", "topic:a", "-q", "--rate", "300", stdin=lines_of(*range(count // 2, count)))
            found = [json.loads(line) for line in sub.end()]
        assert link.taken > 5
    assert [one["data"] for one in found] == [str(number) for number in range(count)]
    assert [one["seq"] for one in found] == list(range(1, count + 1))


def test_sub_comes_back_when_the_server_does(server):
    with Link(server.tcp_port) as link, Running(Native(link.port), "sub", "topic:a", "--count", "3", "--last", "5") as sub:
        run(server, "pub", "topic:a", "1")
        sub.wait_out(1)
        link.down()
        sub.wait_err("link lost")
        run(server, "pub", "topic:a", "2")
        link.up()
        run(server, "pub", "topic:a", "3")
        assert sub.end() == ["1", "2", "3"]
        assert "longwire: connected again" in sub.err


def test_sub_once_does_not_come_back(server):
    with Link(server.tcp_port) as link, Running(Native(link.port), "sub", "topic:a", "--after", "0", "--once") as sub:
        run(server, "pub", "topic:a", "1")
        sub.wait_out(1)
        link.down()
        assert sub.end(code=2) == ["1"]


@pytest.mark.parametrize("words", [["sub", "topic:a", "--last", "1", "-n", "1"], ["pub", "topic:a", "1"]])
def test_who_is_asked_to_come_again_waits_as_long(words):
    """A server that lets nobody in now was reached: also at the start it is waited for, as over HTTP."""
    with Server(config="loops = 1\nadmissions_per_s = 2\nadmissions_burst = 2\n") as server, contextlib.ExitStack() as stack:
        run(server, "pub", "topic:a", "1")
        clients = [stack.enter_context(Running(native(server), *words)) for _ in range(6)]
        for client in clients:
            client.end()
        said = [line for client in clients for line in client.err]
        assert any("the server asks to wait: too many come at once" in line for line in said), said
        assert not any("can't reach" in line for line in said)


def test_sub_leaves_when_told(server):
    assert run(native(server), "sub", "topic:a", "--timeout", "300ms").stdout == b""
    assert run(native(server), "sub", "topic:a", "--timeout", "300ms", "-n", "1", code=3).stdout == b""
    with Running(native(server), "sub", "topic:a", "--after", "0") as sub:
        run(server, "pub", "topic:a", "1")
        sub.wait_out(1)
        sub.process.terminate()
        assert sub.end() == ["1"]


# --- what makes no sense ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words, said", [
    (["sub"], "which channel?"),
    (["sub", "topic:a", "--since", "1h"], "need HTTP"),
    (["sub", "topic:a", "--silence", "1h"], "need HTTP"),
    (["sub", "topic:a", "--ticket-file", "x"], "goes with --session"),
    (["sub", "topic:a", "--mode", "pull"], "push or notify"),
    (["sub", "nocolon"], "can't be a channel's name"),
    (["sub", "topic:a", "-s", "lw://127.0.0.1:port"], "no address"),
    (["history", "topic:a"], "asks over HTTP"),
    (["sub", "topic:a", "-s", "127.0.0.1", "--session"], "need the native protocol"),
])
def test_a_command_line_that_makes_no_sense_is_64(words, said):
    assert said in run(Native(1), *words, code=64).stderr.decode()


def test_no_server_is_one_clear_sentence_and_2():
    done = run(Native(free_port()), "sub", "topic:a", code=2)
    assert done.stderr == b"longwire: can't reach the server: Connection refused\n"
    done = run(Native(free_port()), "pub", "topic:a", "x", code=2)
    assert done.stderr == b"longwire: can't reach the server: Connection refused\n"
