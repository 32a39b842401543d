"""Both client libraries run the vectors of dialogues: what a library is asked for is what the dialogue's client sends, and the
application hears what the dialogue's server says. (clients/js/test/vectors.test.js takes them frame by frame.)"""
import contextlib
import json

import pytest

from client_driver import C, JAVASCRIPT, NODE, Driver
from longwire_client import Api
from longwire_server import ROOT, Server, is_built

pytestmark = pytest.mark.skipif(not is_built(), reason="longwired is not built")

GAPS = ["expired", "trimmed", "epoch", "ahead", "corrupt", "collapsed"]
LIBRARIES = {"c": (C, {}), "js-binary": (JAVASCRIPT, {"transports": ["websocket"], "encodings": ["binary"]}),
             "js-json": (JAVASCRIPT, {"transports": ["websocket"], "encodings": ["json"]}),
             "js-sse": (JAVASCRIPT, {"transports": ["sse"]}), "js-poll": (JAVASCRIPT, {"transports": ["poll"]})}


def frames(step):
    return step.get("expect_any_order", [step.get("expect", {})])


def heard(frame):
    """What the application is told: the seq and the text of a message, the bounds and the reason of a gap."""
    if frame["type"] == "gap":
        return ("gap", frame["gap_from"], frame["gap_to"], GAPS[frame["why"]])
    return ("message", frame["seq"], frame.get("payload"))


def said(frame):
    if frame["type"] == "subscribe":
        return {frame.get("channel"): {name: frame[name] for name in ("after", "epoch", "last") if name in frame}}
    return {place["channel"]: {"after": place["seq"], **({"epoch": place["epoch"]} if "epoch" in place else {})}
            for place in frame.get("resume", ())}


def talks():
    """The dialogues in which a client follows a channel and nothing is refused."""
    for case in json.loads((ROOT / "test" / "vectors" / "bin_dialogue.json").read_text())["cases"]:
        steps, channels = case["steps"], {}
        for step in steps:
            if step.get("send", {}).get("type") in ("connect", "subscribe"):
                channels.update(said(step["send"]))
        publishes = [step["send"] for step in steps if step.get("send", {}).get("type") == "publish"]
        told = [heard(frame) for step in steps for frame in frames(step) if frame.get("type") in ("full", "gap")]
        is_plain = all(set(frame) <= {"type", "channel", "payload", "ref", "media"} and frame.get("media", "text/plain") == "text/plain"
                       for frame in publishes)
        if len(channels) == 1 and told and is_plain and not any(frame.get("type") in ("error", "unsubscribed") for step in steps
                                                                 for frame in frames(step)):
            yield pytest.param(case, channels, publishes, told, id=case["name"])


TALKS = list(talks())


def asks():
    """The requests of the dialogues that a library can make, and what each is refused with."""
    for case in json.loads((ROOT / "test" / "vectors" / "bin_dialogue.json").read_text())["cases"]:
        steps = case["steps"]
        refused = {frame["request"]: frame["code"] for step in steps for frame in frames(step)
                   if frame.get("type") == "error" and "request" in frame}
        requests = [step["send"] for step in steps if step.get("send", {}).get("type") == "request" and "request" in step["send"]]
        if requests:
            yield pytest.param(requests, refused, id=case["name"])


def test_most_dialogues_are_talks():
    assert len(TALKS) >= 6


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("case, channels, publishes, told", TALKS)
def test_what_the_application_hears(case, channels, publishes, told, library):
    program, options = LIBRARIES[library]
    if program is JAVASCRIPT and not NODE:
        pytest.skip("node is not installed")
    with Server(flags=["--store", "memory"]) as server, contextlib.closing(Api(server.url)) as api:
        for channel, data in case.get("publish", ()):
            assert api.publish(channel, data.encode()).status == 201
        for channel, seq in case.get("recall", ()):
            assert api.call("DELETE", f"/v1/channels/{channel}/messages/{seq}").status == 200
        url = f"tcp://127.0.0.1:{server.tcp_port}" if program is C else server.url
        with Driver(program, url, channels, **options) as client:
            client.until_live()
            for frame in publishes:
                client.say("publish", channel=frame["channel"], data=frame.get("payload", ""))
            def events():
                return [("gap", event["from"], event["to"], event["why"]) if event["event"] == "gap"
                        else ("message", event["seq"], event.get("data"))
                        for event in list(client.events) if event["event"] in ("message", "recall", "gap")]
            client.until(lambda: len(events()) >= len(told), f"wanted {told}")
            assert events() == told


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("requests, refused", asks())
def test_what_is_asked_of_back_ends(requests, refused, library):
    program, options = LIBRARIES[library]
    if program is JAVASCRIPT and not NODE:
        pytest.skip("node is not installed")
    with Server(flags=["--store", "memory"]) as server:
        url = f"tcp://127.0.0.1:{server.tcp_port}" if program is C else server.url
        with Driver(program, url, {}, user="ann", device="phone", **options) as client:
            for frame in requests:
                client.say("request", id=frame["request"], method=frame["method"], path=frame["path"], body=frame.get("payload", ""),
                           **({"timeoutMs": frame["timeout_ms"]} if "timeout_ms" in frame else {}))
            told = client.until(lambda: client.of("response")[len(requests) - 1:] and client.of("response"), "no answers")
            assert {event["id"]: (event["status"], event["code"]) for event in told} == {name: (0, code) for name, code in refused.items()}
            client.say("cancel", id=requests[0]["request"])    # it has its answer: nothing happens
            client.say("request", id="last", path="/hello")
            assert client.until(lambda: [event for event in client.of("response") if event["id"] == "last"], "no answer")
            assert len(client.of("response")) == len(requests) + 1
