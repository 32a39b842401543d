"""`longwired --take-over` from a server that is this test: it gives what a server in trouble could give, and the new process must say what
is wrong, or end those links alone that it can't go on with (threats 33, 44; docs/decisions/0124)."""
import contextlib
import os
import socket
import struct

import pytest

from longwire_server import Server, is_built
from native_wire import NativeClient
from test_take_over import HELLO, OFFER, PART, READY, SOCKETS, TAKEN, VERSION, record, text
from waiting import SECONDS, wait_until

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

LINK, LOOP, END, GONE, SESSION = 1, 3, 7, 16, 17
NATIVE, OPEN_TO_ALL = 2, 1
HAS_HOLDER, IS_LET_IN, IS_ANSWERED, HAS_DEVICE = 1, 4, 256, 1024


def u8(number):
    return struct.pack("<B", number)


def u32(number):
    return struct.pack("<I", number)


def u64(number):
    return struct.pack("<Q", number)


def link_record(key, generation=None):
    """Of a native link of ann's phone, with nothing under way; `generation`: of its session, None: it has none."""
    flags = HAS_HOLDER | IS_LET_IN | IS_ANSWERED | (HAS_DEVICE if generation else 0)
    holder = u8(OPEN_TO_ALL) + text(b"") * 2 + text(b"user:ann") + text(b"phone") + text(b"") + u32(7) + u64(0) * 2 + u32(0) * 2
    session = text(b"ann") + text(b"phone") + u64(generation) + u64(1000) + u32(0) if generation else b""
    return record(LINK, u8(NATIVE) + u32(flags) + u64(key) + u32(0) + u32(0) * 3 + u8(0) * 2 + text(b"") * 2 + u64(0) +
                  text(b"") * 3 + u8(0) + text(b"") + u64(0) * 2 + text(b"") + session + holder + u32(0))


def session_record(generation):
    return record(SESSION, text(b"ann") + text(b"phone") + text(b"") + u64(generation) + u64(1000) * 2 + u8(0) + u32(0))


def whole(*records):
    return b"".join(records) + record(END, u64(len(records)))


class Giver:
    """The server that runs, as far as a new process can see."""

    def __init__(self, server):
        server.data.mkdir(parents=True, exist_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(server.data / "take-over"))
        self.listener.listen()
        self.listener.settimeout(SECONDS)

    def hear(self, kind):
        said = self.socket.recv(65536)
        assert said and said[0] == kind, said[:200]
        return said[5:]

    def say(self, kind, body=b"", descriptors=()):
        socket.send_fds(self.socket, [record(kind, body)], descriptors)

    def part(self, number, records, links=()):
        file = os.memfd_create("part")
        os.write(file, records)
        self.say(PART, u32(number) + u32(len(links)), [file])
        os.close(file)
        if links:
            self.say(SOCKETS, descriptors=[link.fileno() for link in links])

    def give(self, loop, memory, links):
        """Up to READY; one loop."""
        self.socket, _ = self.listener.accept()
        self.socket.settimeout(SECONDS)
        assert struct.unpack_from("<II", self.hear(HELLO)) == (VERSION, 1)
        self.say(OFFER, text(b"test") + u64(1) + u64(2) + u64(3) + u64(1000) + u32(0))
        self.say(READY)
        self.hear(READY)
        self.part(0, loop, links)
        self.part(1, memory)
        self.say(READY)

    def go(self):
        self.hear(TAKEN)
        self.listener.close()
        self.say(GONE)

    def close(self):
        for what in (self.socket, self.listener):
            what.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@contextlib.contextmanager
def native_pair():
    """A client, and the server's end of its link."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = NativeClient(listener.getsockname()[1], connect=False)
        theirs, _ = listener.accept()
    with theirs, contextlib.closing(client):
        yield client, theirs


@contextlib.contextmanager
def taking(*flags):
    server = Server(flags=["--loops", "1", *flags])
    with Giver(server) as giver:
        server.process = server.start_beside("--take-over")
        try:
            yield server, giver
        finally:
            server.close()


def test_a_link_and_its_session_are_gone_on_with():
    with taking() as (server, giver), native_pair() as (client, theirs):
        giver.give(whole(record(LOOP, u32(1)), link_record(7, generation=5)), whole(session_record(5)), [theirs])
        giver.go()
        server.wait_healthy()
        client.send({"type": "ping"})
        client.expect("pong")


@pytest.mark.parametrize(("sessions", "ends_with"), [
    ((), "reconnect"),               # something of it was under way
    ((session_record(6),), "replaced"),  # a newer link had taken it over
])
def test_a_link_whose_session_did_not_move_hears_why(sessions, ends_with):
    with taking() as (server, giver), native_pair() as (client, theirs):
        giver.give(whole(record(LOOP, u32(1)), link_record(7, generation=5)), whole(*sessions), [theirs])
        giver.go()
        server.wait_healthy()
        types = []
        while (frame := client.next()) is not None:
            types.append(frame["type"])
        assert ends_with in types, types


@pytest.mark.parametrize(("loop", "memory"), [
    (whole(record(LOOP, u32(1)), link_record(7), link_record(7)), whole()),
    (whole(record(LOOP, u32(1)), link_record(0), link_record(7)), whole()),
    (whole(record(LOOP, u32(1)), link_record(7)), whole()),
    (whole(record(LOOP, u32(1)), link_record(7), link_record(8))[:-1], whole()),
    (whole(record(LOOP, u32(1)), link_record(7), link_record(8)), b""),
], ids=["one key twice", "no key", "a socket too many", "cut", "nothing of what is in memory"])
def test_what_is_damaged_is_refused_by_a_sentence(loop, memory):
    with taking() as (server, giver), native_pair() as (_, one), native_pair() as (_, other):
        with contextlib.suppress(BrokenPipeError):   # it may refuse what has come before the last word is said
            giver.give(loop, memory, [one, other])
        new, server.process = server.process, None
        assert new.wait(SECONDS) == 1
        assert "damaged, or of another version" in server.log()


def test_one_session_twice_is_left_behind():
    with taking() as (server, giver), native_pair() as (client, theirs):
        giver.give(whole(record(LOOP, u32(1)), link_record(7, generation=5)), whole(session_record(5), session_record(6)), [theirs])
        giver.go()
        server.wait_healthy()
        client.send({"type": "ping"})
        client.expect("pong")
        wait_until(lambda: "event=sessions_left_behind records=1" in server.log())
