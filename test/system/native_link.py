"""longwire.bin.v1 said as JSON has it: frames of one dialect as those of the other, and a native link with the words of wire.Ws, so that a
test of commands and their answers runs over both.

    with NativeLink(server) as link:
        link.ask("connect", "connected", user="ann", session=True)
        link.say("subscribe", channel="topic:a", after=0)
        link.next()        # {"type": "message", …}
"""
import base64
import json
import socket
import struct

from native_wire import GAP_WHYS, NativeClient
from wire import Closed, event_of

CONTROL = ("application/vnd.longwire.", "+json")


class NotTold(Exception):
    """A frame of JSON that has no binary form: it is malformed on purpose."""


def json_publish_as_bin(frame):
    told = {"type": "publish", **{name: frame[name] for name in ("channel", "media", "ttl", "key", "event") if name in frame}}
    if "data_base64" in frame:
        told["payload_hex"] = base64.b64decode(frame["data_base64"]).hex()
        told.setdefault("media", "application/octet-stream")
    elif isinstance(frame.get("data"), str):
        told["payload"] = frame["data"]
        told.setdefault("media", "text/plain")
    elif "data" in frame:
        told["payload"] = json.dumps(frame["data"], separators=(",", ":"))
        told.setdefault("media", "application/json")
    else:
        raise NotTold
    return told


def json_as_bin(frame, refs=None):
    """refs: those that were sent, which need not be numbers; None: all are."""
    kind = frame["type"]
    if kind not in ("connect", "subscribe", "unsubscribe", "publish", "cursor", "ping", "ack", "read") or frame.get("after", 0) < 0:
        raise NotTold
    told = json_publish_as_bin(frame) if kind == "publish" else dict(frame)
    if kind == "connect" and "resume" in frame:
        told["resume"] = [{"channel": name, **place} for name, place in frame["resume"].items()]
    if told.pop("session", False):
        told["standing"] = True
    if "mode" in frame:
        told["mode"] = ["push", "notify"].index(frame["mode"])
    if "ref" in frame and refs is not None:
        if len(json.dumps(frame["ref"])) > 256:
            raise NotTold
        refs.append(frame["ref"])
        told["ref"] = len(refs) - 1
    elif "ref" in frame:
        told["ref"] = frame["ref"]
    return told


def message_as_json(frame):
    told = {"type": "message", **{name: frame[name] for name in ("channel", "epoch", "seq", "id", "time")},
            "from": frame.get("from")}
    if "target" in frame:
        return {**told, "type": "recall", "target": frame["target"]}
    if "recalled" in frame:
        return {**told, "recalled": True}
    if frame["media"].startswith(CONTROL[0]) and frame["media"].endswith(CONTROL[1]):
        return {**told, **json.loads(frame["payload"]), "type": frame["media"][len(CONTROL[0]):-len(CONTROL[1])]}
    told["media"] = frame["media"]
    if "payload_hex" in frame:
        told["data_base64"] = base64.b64encode(bytes.fromhex(frame["payload_hex"])).decode()
    elif frame["media"] == "application/json":
        told["data"] = json.loads(frame["payload"])
    else:
        told["data"] = frame.get("payload", "")
    return told


def bin_as_json(frame, refs=None):
    if frame["type"] == "full":
        return message_as_json(frame)
    told = dict(frame)
    if "ref" in told and refs is not None:
        told["ref"] = refs[told["ref"]]
    if frame["type"] == "gap":
        told["from"], told["to"], told["why"] = told.pop("gap_from"), told.pop("gap_to"), GAP_WHYS[told["why"]]
    if frame["type"] == "pong" and "resume" in frame:
        told["places"] = {place.pop("channel"): place for place in told.pop("resume")}
    if frame["type"] == "replaced":
        told["code"], told["reason"] = 4001, "replaced"
    if frame["type"] == "reconnect":
        told["after"] = told.pop("after_ms")
    if frame["type"] == "connected":
        told.pop("version"), told.pop("frame_max")
        told["reconnect"] = {"base_ms": told.pop("base_ms"), "factor": told.pop("factor") / 100, "cap_ms": told.pop("cap_ms"),
                             "jitter": told.pop("jitter") / 1000}
        told["resumed"] = "resumed" in told
    return told


class NativeLink:
    """On TCP the client speaks first: a `connect` without anything goes before any other command."""

    def __init__(self, server):
        self.client = NativeClient(server.tcp_port, connect=False)
        self.said_connect, self.others = None, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()

    @property
    def wire(self):
        return self

    def reset(self):
        """Ends the connection without a word."""
        self.client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.close()

    @property
    def greeting(self):
        if self.said_connect is None:
            self.said_connect = self.ask("connect", "connected")
        return self.said_connect

    def say(self, kind, **members):
        if kind != "connect":
            assert self.greeting
        elif self.said_connect is None:
            self.said_connect = {"heartbeat": None}
        self.client.send(json_as_bin({"type": kind, **members}))

    def ask(self, kind, answer, **members):
        """The answer. That a session's own channels are followed may be said between, and is not taken for it."""
        self.say(kind, **members)
        return self.frame(answer, members.get("channel") if answer == "subscribed" else None)

    def frame_text(self):
        frame = self.client.next()
        if frame is None:
            raise Closed("the server has ended the link")
        return json.dumps(bin_as_json(frame), separators=(",", ":"))

    def frame(self, kind, channel=None):
        """The next frame of that type, and of that channel if there is one; messages and gaps before it are kept for next()."""
        while True:
            got = event_of(self.frame_text())
            if got["type"] == kind and channel in (None, got.get("channel")):
                return got
            assert got["type"] in ("message", "gap", "recall", "subscribed", "ping"), got
            if got["type"] in ("message", "gap", "recall"):
                self.others.append(got)

    def next(self):
        while not self.others:
            got = event_of(self.frame_text())
            if got["type"] not in ("subscribed", "ping"):
                assert got["type"] in ("message", "gap", "recall"), got
                return got
        return self.others.pop(0)

    def closing(self):
        """The code and the reason of the server's last words; then the end of the stream."""
        last = self.frame("closing")
        assert self.client.next() is None
        return last["code"], last["reason"]
