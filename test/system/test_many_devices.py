"""Hundreds of devices on real links (WebSocket, native, NDJSON) are cut at random while messages flow to users, devices and groups,
members come and go, and the server is killed with -9 in the midst of it: each device gets every seq of its user's log and of its
own once and in order, and of each group what was published while its user was a member (threats 33, 35).

What comes again is dropped, as docs/protocol.md section 10 says: a seq that was acknowledged and confirmed must not, unless the
server was killed since."""
import base64
import collections
import contextlib
import json
import os
import random
import selectors
import socket
import struct
import threading
import time

import pytest

from longwire_client import Api
from longwire_server import Server, is_built
from native_link import bin_as_json, json_as_bin
from native_wire import SERVER_TYPES, Aliases, decode, encode, split

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

USERS, DEVICES, GROUPS = 24, 10, 5
PUBLISHES, CHANGES, KILLS = 1400, 240, 3
SECONDS = 250          # on a machine that is busy with other things; 15 on one that is not


# --- links that wait for nothing -----------------------------------------------------------------------------------

class Link:
    """One connection, read whenever it has something. `take` gets frames as JSON has them."""

    def __init__(self, port, first):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self.socket.sendall(first)
        self.socket.setblocking(False)
        self.data = b""

    def read(self):
        """False: it has ended."""
        try:
            got = self.socket.recv(1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.data += got
        return bool(got)

    def send(self, data):
        with contextlib.suppress(OSError):  # a full or broken socket: the device comes again
            self.socket.send(data)

    def cut(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class JsonLink(Link):
    def __init__(self, server, connect):
        shake = ("GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        self.is_open = False
        super().__init__(server.port, shake.encode() + self.framed(connect))

    @staticmethod
    def framed(thing, opcode=1):
        body = thing if isinstance(thing, bytes) else json.dumps(thing).encode()
        mask = os.urandom(4)
        length = bytes([0x80 | len(body)]) if len(body) < 126 else struct.pack("!BH", 0x80 | 126, len(body))
        return bytes([0x80 | opcode]) + length + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(body))

    def say(self, frame):
        self.send(self.framed(frame))

    def frames(self):
        if not self.is_open:
            head, mark, rest = self.data.partition(b"\r\n\r\n")
            if not mark:
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self.is_open, self.data = True, rest
        while len(self.data) >= 2:
            opcode, length, at = self.data[0] & 15, self.data[1], 2
            if length == 126:
                if len(self.data) < 4:
                    return
                (length,), at = struct.unpack("!H", self.data[2:4]), 4
            assert length != 127
            if len(self.data) < at + length:
                return
            body, self.data = self.data[at:at + length], self.data[at + length:]
            if opcode == 9:
                self.send(self.framed(body, 10))
            elif opcode == 1:
                yield json.loads(body)


class BinLink(Link):
    def __init__(self, server, connect):
        self.aliases = Aliases()
        super().__init__(server.tcp_port, encode(json_as_bin(connect)))

    def say(self, frame):
        self.send(encode(json_as_bin(frame)))

    def frames(self):
        whole, self.data = split(self.data)
        for inside in whole:
            frame = self.aliases.take(decode(inside, SERVER_TYPES))
            if frame["type"] == "ping":
                self.send(encode({"type": "pong"}))
            elif frame["type"] != "alias":
                yield bin_as_json(frame)


class StreamLink(Link):
    """It says nothing; the cursor that it comes with acknowledges."""

    def __init__(self, server, user, device, cursor):
        self.is_open, self.text = False, b""
        place = f"&cursor={cursor}" if cursor else f"&session=1&device={device}"
        super().__init__(server.port, (f"GET /v1/subscribe?user={user}{place} HTTP/1.1\r\nHost: localhost\r\n"
                                       "Accept: application/x-ndjson\r\n\r\n").encode())

    def chunks(self):
        while True:
            size, mark, rest = self.data.partition(b"\r\n")
            if not mark or len(rest) < int(size, 16) + 2:
                return
            self.text, self.data = self.text + rest[:int(size, 16)], rest[int(size, 16) + 2:]

    def frames(self):
        if not self.is_open:
            head, mark, rest = self.data.partition(b"\r\n\r\n")
            if not mark:
                return
            if not head.startswith(b"HTTP/1.1 200"):
                yield {"type": "error", "code": int(head.split()[1])}
                return
            self.is_open, self.data = True, rest
            yield {"type": "connected"}
        self.chunks()
        *lines, self.text = self.text.split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)


# --- devices -------------------------------------------------------------------------------------------------------

class Device:
    def __init__(self, crowd, user, name, kind):
        self.crowd, self.user, self.name, self.kind = crowd, user, name, kind
        self.link = self.ticket = self.cursor = None
        self.is_told = False
        self.at = self.came_at = 0.0                   # away until then, or to be cut then; when its link began
        self.got = collections.defaultdict(list)       # seqs of a channel, each once
        self.last = {}                                 # of this link
        self.confirmed = collections.defaultdict(list) # of a channel: (when, seq)
        self.links = self.repeats = 0

    def come(self):
        server, connect = self.crowd.server, {"type": "connect", "session": True, "user": self.user, "device": self.name}
        if self.ticket and self.crowd.chance.random() < 0.6:
            connect, self.ticket = {"type": "connect", "ticket": self.ticket}, None
        try:
            if self.kind == "stream":
                self.link = StreamLink(server, self.user, self.name, self.cursor)
            else:
                self.link = (JsonLink if self.kind == "json" else BinLink)(server, connect)
        except OSError:
            self.go(0.1)
            return
        self.links, self.last, self.is_told = self.links + 1, {}, False
        self.came_at = time.monotonic()
        self.at = self.came_at + self.crowd.chance.uniform(0.3, 4)
        self.crowd.selector.register(self.link.socket, selectors.EVENT_READ, self)

    def go(self, pause):
        if self.link is not None:
            self.crowd.selector.unregister(self.link.socket)
            self.link.cut()
        self.link, self.at = None, time.monotonic() + self.crowd.chance.uniform(0, pause)

    def confirmed_for_sure(self, channel):
        """The place below which nothing may come again: what was confirmed since the last kill."""
        return max((seq for when, seq in self.confirmed[channel] if when > self.crowd.killed_at), default=0)

    def take(self, frame):
        kind = frame["type"]
        if kind in ("message", "membership"):
            self.take_message(frame["channel"], frame["seq"])
            self.cursor = frame.get("cursor", self.cursor)
        elif kind == "connected" and (self.kind == "stream" or "session" in frame):
            self.ticket, self.is_told = frame.get("ticket"), True
            self.sure = {channel: self.confirmed_for_sure(channel) for channel in list(self.confirmed)}
        elif kind == "ack" and self.came_at > self.crowd.killed_at:  # else it was said before the kill, and is read now
            self.confirmed[frame["channel"]].append((time.monotonic(), frame["seq"]))
        elif kind == "error" and frame["code"] == 401:
            self.ticket = None  # a link that the device does not know of has the session: it comes with its name
            self.go(0.05)
        elif kind == "error" and frame["code"] == 409 and self.kind == "stream":
            self.cursor = None  # likewise
            self.go(0.05)
        else:
            assert kind in ("connected", "subscribed", "unsubscribed", "ack", "reconnect", "closing", "error", "replaced", "ping"), frame

    def take_message(self, channel, seq):
        assert self.is_told, (self.user, self.name, channel, seq)
        got, last = self.got[channel], self.last.get(channel)
        assert last is None or seq > last, f"{self.user}/{self.name} gets {seq} of {channel} behind {last} on one link"
        self.last[channel] = seq
        if got and seq <= got[-1]:
            assert seq > self.sure.get(channel, 0), (
                f"{self.user}/{self.name} gets {seq} of {channel} again, though {self.sure[channel]} is acknowledged; killed at "
                f"{self.crowd.killed_at}, acknowledged {self.confirmed[channel][-9:]}, came at {self.came_at}")
            assert seq in got[-400:], f"{self.user}/{self.name} never got {seq} of {channel}, and has {got[-1]}"
            self.repeats += 1
            return
        if not channel.startswith("group:"):
            assert seq == (got[-1] if got else 0) + 1, f"{self.user}/{self.name} of {channel} has {got[-1:]}, gets {seq}"
        got.append(seq)

    def turn(self, now, may_cut):
        if self.link is None:
            if self.at <= now:
                self.come()
        elif may_cut and self.at <= now:
            self.go(0.5)
        elif self.is_told and self.kind != "stream" and self.last and self.crowd.chance.random() < 0.2:
            channel = self.crowd.chance.choice(list(self.last))
            self.link.say({"type": "ack", "channel": channel, "seq": self.last[channel], "ref": 1})


class Crowd:
    """All devices, on one thread."""

    def __init__(self, server, chance):
        self.server, self.chance, self.killed_at = server, chance, 0.0
        self.selector = selectors.DefaultSelector()
        kinds = ["json", "native", "stream"]
        self.devices = [Device(self, f"u{user}", f"d{number}", kinds[(user + number) % 3])
                        for user in range(USERS) for number in range(DEVICES)]

    def turn(self, may_cut):
        for key, _ in self.selector.select(0.02):
            device, link = key.data, key.data.link
            is_open = link.read()
            for frame in link.frames():
                device.take(frame)
                if device.link is not link:
                    break
            if not is_open and device.link is link:
                device.go(0.1)
        now = time.monotonic()
        for device in self.devices:
            device.turn(now, may_cut)

    def run_until(self, is_done, may_cut, what):
        deadline = time.monotonic() + SECONDS
        while not is_done():
            assert time.monotonic() < deadline, what()
            self.turn(may_cut)

    def close(self):
        for device in self.devices:
            device.go(0)
        self.selector.close()


# --- the application -----------------------------------------------------------------------------------------------

class Application:
    """Publishes and changes members until all is acknowledged, whatever becomes of the server meanwhile."""

    def __init__(self, server, seed):
        self.server, self.heads = server, collections.Counter()
        self.begun, self.left_at = {}, {}   # when a payload was first sent; when a leave was answered
        self.faults, self.done = [], 0
        self.threads = [threading.Thread(target=self.run, args=(work, random.Random(seed + at)))
                        for at, work in enumerate((self.publish, self.publish, self.change_members))]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        for thread in self.threads:
            thread.join()

    def run(self, work, chance):
        try:
            work(chance)
        except BaseException as fault:  # told by the test's thread
            self.faults.append(fault)
        self.done += 1

    def insist(self, call):
        """The answer, from whichever life of the server."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                with contextlib.closing(Api(self.server.url, timeout=10)) as api:
                    answer = call(api)
                if answer.status < 300:
                    return answer.json
                assert answer.status in (429, 503), answer
            except (OSError, ConnectionError, TimeoutError):
                pass
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)

    def publish(self, chance):
        for _ in range(PUBLISHES // 2):
            channel = chance.choice([f"user:u{chance.randrange(USERS)}", f"group:g{chance.randrange(GROUPS)}",
                                     f"group:g{chance.randrange(GROUPS)}",
                                     f"device:u{chance.randrange(USERS)}/d{chance.randrange(DEVICES)}"])
            key = base64.b32encode(chance.randbytes(10)).decode()
            self.begun[key] = time.monotonic()
            said = self.insist(lambda api: api.publish(channel, key.encode(), key=key))
            self.heads[channel] = max(self.heads[channel], said["seq"])

    def change_members(self, chance):
        for _ in range(CHANGES):
            user, group = f"u{chance.randrange(USERS)}", f"g{chance.randrange(GROUPS)}"
            method = chance.choice(["PUT", "PUT", "DELETE"])
            said = self.insist(lambda api: api.call(method, f"/v1/groups/{group}/members/{user}"))
            assert said["member"] == (method == "PUT"), said
            if method == "DELETE":
                self.left_at.setdefault((user, group, said["seq"]), time.monotonic())


def spans_of(api, user):
    """What of each group is the user's: (behind, up to, seq of the leave), as the log of the user says."""
    spans = collections.defaultdict(list)
    for message in api.history_all(f"user:{user}"):
        if message["type"] != "membership":
            continue
        group, place = message["group"], message["place"]["seq"]
        if message["joined"]:
            spans[group].append([place, None, None])
        else:
            spans[group][-1][1:] = [place, message["seq"]]
    return spans


def missing_of(device, heads, spans):
    """The first channel and seq that the device lacks."""
    for channel in (f"user:{device.user}", f"device:{device.user}/{device.name}"):
        if device.got[channel] != list(range(1, heads[channel] + 1)):
            return channel, len(device.got[channel]) + 1
    for group, parts in spans.items():
        got = set(device.got[f"group:{group}"])
        for after, until, _ in parts:
            for seq in range(after + 1, (heads[f"group:{group}"] if until is None else until) + 1):
                if seq not in got:
                    return f"group:{group}", seq
    return None


def check_group(device, group, parts, messages, application):
    """Nothing but what is the user's; or what was sent before the leave was answered."""
    for seq in device.got[f"group:{group}"]:
        if any(after < seq <= (until or seq) for after, until, _ in parts):
            continue
        leaves = [leave for after, until, leave in parts if until is not None and until < seq]
        assert leaves, (device.user, device.name, group, seq, parts)
        left_at = application.left_at.get((device.user, group, leaves[-1]), float("inf"))
        assert application.begun[messages[seq]] <= left_at + 10, (device.user, device.name, group, seq, parts)


def test_hundreds_of_devices_get_every_seq_once_in_order_over_kills():
    seed = 69
    chance = random.Random(seed)
    with Server(flags=["--heartbeat-s", "20"]) as server, contextlib.closing(Crowd(server, chance)) as crowd:
        crowd.run_until(lambda: all(device.is_told for device in crowd.devices), False,
                        lambda: [d.name for d in crowd.devices if not d.is_told])
        with Application(server, seed) as application:
            for _ in range(KILLS):
                until = time.monotonic() + chance.uniform(1.5, 3.5)
                crowd.run_until(lambda: time.monotonic() > until or application.done == 3, True, lambda: "a turn takes too long")
                server.kill()
                crowd.killed_at = time.monotonic()
                server.start()
            crowd.run_until(lambda: application.done == 3, True, lambda: "the application does not come to its end")
        assert not application.faults, application.faults
        with contextlib.closing(Api(server.url)) as api:
            heads = {channel: api.get(f"/v1/channels/{channel.replace('/', '%2F')}").json.get("head", 0)
                     for channel in [f"user:u{n}" for n in range(USERS)] + [f"group:g{n}" for n in range(GROUPS)] +
                     [f"device:{d.user}/{d.name}" for d in crowd.devices]}
            assert all(heads[channel] >= head for channel, head in application.heads.items())
            spans = {user: spans_of(api, user) for user in {device.user for device in crowd.devices}}
            crowd.run_until(lambda: not any(missing_of(d, heads, spans[d.user]) for d in crowd.devices), False,
                            lambda: [(d.user, d.name, d.kind, missing_of(d, heads, spans[d.user])) for d in crowd.devices
                                     if missing_of(d, heads, spans[d.user])][:5])
            for number in range(GROUPS):
                messages = {m["seq"]: m["data"] for m in api.history_all(f"group:g{number}")}
                for device in crowd.devices:
                    check_group(device, f"g{number}", spans[device.user].get(f"g{number}", []), messages, application)
        assert sum(device.links for device in crowd.devices) > 2 * len(crowd.devices)
