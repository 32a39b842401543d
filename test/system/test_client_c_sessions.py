"""Sessions with the C client library, on the native protocol: a device comes back with its ticket or its token and gets exactly
what it missed, through links that are cut, servers that are killed, and links that replace one another."""
import random
import time

import jwt
import pytest

from client_driver import C, Driver
from cut_link import Link
from longwire_server import Server, is_built
from test_cli import Running, run
from test_client_cuts import publish
from waiting import wait_until

pytestmark = pytest.mark.skipif(not is_built(), reason="longwired is not built")

SECRET = "a-secret-of-the-issuer-0123456789-abcdef"
KEY = "backend-secret-0123456789"
QUICKLY = "reconnect_ms = 20\n"  # what the server tells of coming back
CONFIG = f"{QUICKLY}[key backend]\nsecret = {KEY}\nrights = publish, subscribe\n\n[jwt app]\nsecret = {SECRET}\n"
SOON = {"base_ms": 1, "cap_ms": 10}
ANN = {"user": "ann", "device": "phone", "session": True, "backOff": SOON}


def token(seconds=600, **claims):
    return jwt.encode({"sub": "ann", "exp": int(time.time()) + seconds, **claims}, SECRET, "HS256")


@pytest.fixture(name="server")
def fixture_server():
    with Server(config=QUICKLY) as server:
        yield server


def tcp(server):
    return f"tcp://127.0.0.1:{server.tcp_port}"


class Address:
    def __init__(self, port):
        self.url = f"lw://127.0.0.1:{port}"


# --- the command line tool ------------------------------------------------------------------------------------------


def test_a_device_comes_back_with_its_ticket_and_gets_what_it_missed(tmp_path):
    """It connects with a token, follows its channels by itself, is cut off, and comes back; then it ends, and comes back with
    nothing but its ticket."""
    ticket = tmp_path / "ticket"
    with Server(config=CONFIG) as server, Link(server.tcp_port) as link:
        def say(channel, *texts):
            for text in texts:
                run(server, "pub", channel, text, "--key", KEY)

        session = ["sub", "--session", "--ticket-file", str(ticket), "-v", "-F", "{channel} {seq} {data}"]
        with Running(Address(link.port), *session, "--token", token(), "--device", "phone") as sub:
            sub.wait_err("as ann/phone, generation 1")
            say("user:ann", "1")
            sub.wait_out(1)
            link.down()
            sub.wait_err("link lost")
            say("user:ann", "2", "3")
            say("device:ann/phone", "to this one")
            say("user:bob", "not hers")
            link.up()
            sub.wait_err("generation 2, resumed")
            sub.wait_out(4)
            sub.process.terminate()
            assert sorted(sub.end()) == ["device:ann/phone 1 to this one", "user:ann 1 1", "user:ann 2 2", "user:ann 3 3"]
        say("user:ann", "4", "5")
        with Running(Address(link.port), *session, "-n", "2") as sub:
            assert sub.end() == ["user:ann 4 4", "user:ann 5 5"]
            assert any("generation 3, resumed" in line for line in sub.err)
        assert ticket.stat().st_mode & 0o777 == 0o600
        done = run(Address(server.tcp_port), "sub", "--session", "--ticket-file", str(tmp_path / "none"), code=1)
        assert b"(401)" in done.stderr, "neither a token nor a ticket"


def test_a_ticket_that_is_no_good_any_more_is_followed_by_the_token(server, tmp_path):
    ticket = tmp_path / "ticket"
    ticket.write_text("no-ticket-of-this-server\n")
    session = ["sub", "--session", "--user", "ann", "--device", "phone", "--ticket-file", str(ticket), "-v"]
    with Running(Address(server.tcp_port), *session, "-n", "1") as sub:
        sub.wait_err("as ann/phone, generation 1")
        run(server, "pub", "user:ann", "hello")
        assert sub.end() == ["hello"]
    assert ticket.read_text() != "no-ticket-of-this-server\n"


def test_a_newer_link_of_the_device_ends_the_older_one(server):  # threat 33
    session = ["sub", "--session", "--user", "ann", "--device", "phone", "-v"]
    with Running(Address(server.tcp_port), *session) as older:
        older.wait_err("generation 1")
        with Running(Address(server.tcp_port), *session) as newer:
            newer.wait_err("generation 2")
            older.end(code=1)
            assert any("replaced" in line and "(4001)" in line for line in older.err)
            run(server, "pub", "user:ann", "for the newer one")
            newer.wait_out(1)


# --- the library -------------------------------------------------------------------------------------------------------


def test_acknowledged_once_however_often_the_link_is_cut(server):
    """Threat 31: a hundred cuts at any byte while messages come to two channels of the session. Then the program is killed, and the
    next run of the device gets none of them again."""
    cuts, dice = 100, random.Random(7)
    channels = ["user:ann", "device:ann/phone"]
    sent = {channel: [] for channel in channels}
    with Link(server.tcp_port) as link:
        with Driver(C, link.url, {}, **ANN) as client:
            client.until(lambda: client.of("connected"), "not connected")
            for i in range(cuts):
                for channel in channels:
                    publish(server, channel, str(i))
                    sent[channel].append(str(i))
                is_let_in = i % 8 == 0      # else it may be cut before it is connected
                link.bytes_max = None if is_let_in else dice.choice([None, 150, 300, 900])
                taken, before = link.taken, len(client.of("connected"))
                link.cut()
                wait_until(lambda at=taken: link.taken > at)
                client.until(lambda at=before: not is_let_in or len(client.of("connected")) > at, "it does not come again")
            link.bytes_max = None
            before = len(client.of("connected"))
            link.cut()
            client.until(lambda: len(client.of("connected")) > before, "it does not come again")
            for channel in channels:
                client.until_count(channel, cuts)
                assert client.texts(channel) == sent[channel]
                assert [message["seq"] for message in client.messages(channel)] == list(range(1, cuts + 1))
            generations = [event["generation"] for event in client.of("connected")]
            assert generations == sorted(set(generations)) and len(generations) > 10
        publish(server, "user:ann", "afterwards")
        with Driver(C, link.url, {}, **ANN) as client:
            client.until_count("user:ann", 1)
            assert client.texts("user:ann") == ["afterwards"], "it left in order, so all was acknowledged"


def test_what_was_not_acknowledged_comes_again(server):
    with Driver(C, tcp(server), {}, ackByHand=True, **ANN) as client:
        client.until(lambda: client.of("connected"), "not connected")
        for i in range(1, 6):
            publish(server, "user:ann", str(i))
        client.until_count("user:ann", 5)
        client.say("ack", channel="user:ann", seq=2)
    with Driver(C, tcp(server), {}, ackByHand=True, **ANN) as client:
        client.until_count("user:ann", 3)
        assert [message["seq"] for message in client.messages("user:ann")] == [3, 4, 5]


def test_a_kept_channel_is_followed_by_the_next_run(server):
    with Driver(C, tcp(server), {"topic:news": {"keep": True}}, **ANN) as client:
        client.until_live()
        publish(server, "topic:news", "1")
        client.until_count("topic:news", 1)
    publish(server, "topic:news", "2")
    with Driver(C, tcp(server), {}, **ANN) as client:
        client.until_count("topic:news", 1)
        assert client.texts("topic:news") == ["2"]
        publish(server, "topic:news", "3")
        client.until_count("topic:news", 2)
        client.say("unsubscribe", channel="topic:news")
    publish(server, "topic:news", "4")
    with Driver(C, tcp(server), {"topic:news": {"last": 1}}, **ANN) as client:
        client.until_count("topic:news", 1)
        assert client.texts("topic:news") == ["4"]


def test_the_server_is_killed_and_nothing_is_missed(server):
    with Driver(C, tcp(server), {}, **ANN) as client:
        client.until(lambda: client.of("connected"), "not connected")
        for i in range(5):
            publish(server, "user:ann", str(i))
            client.until_count("user:ann", i + 1)
            server.kill()
            client.until(lambda: client.state()["name"] == "away", "it does not notice")
            server.start()
            connects = len(client.of("connected"))
        publish(server, "user:ann", "last")
        client.until_count("user:ann", 6)
        assert client.texts("user:ann") == ["0", "1", "2", "3", "4", "last"] and client.of("gap") == []
        assert connects


def test_a_token_is_renewed_on_a_live_link():  # threat 102
    with Server(config=CONFIG.replace("[jwt app]", "[jwt app]\nleeway_s = 0")) as server:
        with Driver(C, tcp(server), {}, token=token(12), device="phone", session=True, asksForTokens=True, backOff=SOON) as client:
            client.until(lambda: client.of("expiring"), "nobody asks for a token")
            client.say("token", token=token())
            end = time.time() + 14
            client.until(lambda: time.time() > end or client.state()["name"] == "away", "")
            assert client.state()["name"] == "live", client.events
            run(server, "pub", "user:ann", "still here", "--key", KEY)
            client.until_count("user:ann", 1)
            assert len(client.of("connected")) == 1
