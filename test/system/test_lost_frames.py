"""What a frame costs that is lost on the way, in mid-stream and without a hole behind it: the next beat finds it out, and the
client libraries heal it. A proxy between client and server loses the frames."""
import json
import urllib.request

import pytest

from client_driver import JAVASCRIPT, NODE, C, Driver
from longwire_server import Server, is_built
from lossy_link import LossyLink
from test_client_cuts import QUICK, over, port_of, publish
from wire import fresh, metric

pytestmark = [pytest.mark.skipif(not is_built(), reason="longwired is not built"),
              pytest.mark.skipif(not NODE, reason="node is not installed")]
CASES = [pytest.param(JAVASCRIPT, "websocket", id="js-websocket"), pytest.param(JAVASCRIPT, "json", id="js-json"),
         pytest.param(C, "native", id="c-native")]
USER = {"user": "ann", "device": "phone", "session": True}


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server(config="heartbeat_s_min = 1\nreconnect_ms = 20\n") as server:
        yield server


def lossy(server, transport):
    return LossyLink(port_of(server, transport), transport == "native")


def driver(program, transport, link, channels, **options):
    return Driver(program, link.url, channels, **over(transport), heartbeat=1, backOff=QUICK, **options)


def lose(client, link, what, word, count=1):
    before = link.lost
    link.lose(word, count)
    what()
    client.until(lambda: link.lost == before + count, "nothing was lost")


@pytest.mark.parametrize("program, transport", CASES)
def test_the_last_message_of_a_quiet_channel(server, program, transport):
    """Nothing of this channel comes behind it, and the other channels go on: the link stays."""
    quiet, other = fresh(), fresh()
    with lossy(server, transport) as link, driver(program, transport, link, {quiet: {}, other: {}}) as client:
        client.until(lambda: len(client.of("ready")) == 2, "not ready")
        publish(server, quiet, "one")
        client.until_count(quiet, 1)
        for number in range(2):
            lose(client, link, lambda at=number: publish(server, quiet, f"lost {at}"), b"lost")
            publish(server, other, "other")
        client.until_count(other, 2)
        client.until_count(quiet, 3)
        publish(server, quiet, "four")
        client.until_count(quiet, 4)
        assert client.texts(quiet) == ["one", "lost 0", "lost 1", "four"]
        assert client.of("gap") == [] and link.taken == 1
        assert metric(server, "longwire_places_told_total") > 0


@pytest.mark.parametrize("program, transport", CASES)
def test_the_first_message_of_a_channel(server, program, transport):
    channel = fresh()
    with lossy(server, transport) as link, driver(program, transport, link, {channel: {}}) as client:
        client.until(lambda: client.of("ready"), "not ready")
        lose(client, link, lambda: publish(server, channel, "lost"), b"lost")
        client.until_count(channel, 1)
        assert client.texts(channel) == ["lost"] and link.taken == 1


@pytest.mark.parametrize("program, transport", CASES)
def test_the_answer_to_a_subscribe(server, program, transport):
    """The server follows, and the client waits for its word."""
    channel, other = fresh(), fresh()
    with lossy(server, transport) as link, driver(program, transport, link, {other: {}}) as client:
        client.until(lambda: client.of("ready"), "not ready")
        lose(client, link, lambda: client.say("subscribe", channel=channel), channel.encode())
        client.until(lambda: client.of("ready", channel), "not ready")
        publish(server, channel, "one")
        client.until_count(channel, 1)
        assert client.texts(channel) == ["one"] and link.taken == 1


@pytest.mark.parametrize("program, transport", CASES)
def test_a_message_for_a_session(server, program, transport):
    """Its channels can't be left: another link goes on from what was acknowledged."""
    user = fresh("user").split(":")[1]
    channel = f"user:{user}"
    with lossy(server, transport) as link, driver(program, transport, link, {}, **{**USER, "user": user}) as client:
        client.until_live()
        publish(server, channel, "one")
        client.until_count(channel, 1)
        lose(client, link, lambda: publish(server, channel, "lost"), b"lost")
        client.until_count(channel, 2)
        publish(server, channel, "three")
        client.until_count(channel, 3)
        assert client.texts(channel) == ["one", "lost", "three"]
        assert client.of("gap") == [] and link.taken == 2


@pytest.mark.parametrize("program, transport", CASES)
def test_a_membership(server, program, transport):
    """Both frames that tell of it are lost. The beat brings the membership and what the group said since."""
    user, group = fresh("user").split(":")[1], fresh("group").split(":")[1]
    with lossy(server, transport) as link, driver(program, transport, link, {}, **{**USER, "user": user}) as client:
        client.until_live()
        publish(server, f"user:{user}", "hello")
        client.until_count(f"user:{user}", 1)

        def join():
            request = urllib.request.Request(f"{server.url}/v1/groups/{group}/members/{user}", method="PUT")
            with urllib.request.urlopen(request) as answer:
                assert json.load(answer)["member"]

        lose(client, link, join, group.encode(), 2)
        client.until(lambda: client.of("membership"), "the membership did not come")
        publish(server, f"group:{group}", "for members")
        client.until_count(f"group:{group}", 1)
        assert len(client.of("membership")) == 1 and link.taken == 2


@pytest.mark.parametrize("program, transport", CASES)
def test_messages_under_way_are_not_asked_for_again(server, program, transport):
    """Beats in the midst of a stream of messages find no difference."""
    channels = [fresh() for _ in range(3)]
    told = metric(server, "longwire_places_told_total")
    with lossy(server, transport) as link, driver(program, transport, link, {channel: {} for channel in channels}) as client:
        client.until(lambda: len(client.of("ready")) == 3, "not ready")
        beats, count = metric(server, "longwire_beats_total"), 0
        while metric(server, "longwire_beats_total") < beats + 4:
            publish(server, channels[count % 3], f"n{count}")
            count += 1
        for index, channel in enumerate(channels):
            client.until_count(channel, len(range(index, count, 3)))
        assert link.taken == 1
    assert metric(server, "longwire_places_told_total") == told
