"""Autobahn's cases for servers, sections 1 to 7, 9 and 10, each by its number: what is sent, what has to come back, and how
the link has to end. The suite itself isn't in Debian; sections 12 and 13 are in test_compression.py. Against the echo, and, as far as
a case is about the protocol and not about its echo, against /v1/ws. threats 70, 72, 73, 77"""
import pytest

from longwire_server import Server
from wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, Wire, fresh, handshake_bytes, publish, ws_frame

KB, MB = 1024, 1024 * 1024
NORMAL = ws_frame(CLOSE, b"\x03\xe8")


class Case:
    """Sends `sent` in pieces of `chop` bytes, then a close, if it expects no other end. `back`: what has to be echoed or answered, in
    order. `end`: the close code."""

    def __init__(self, number, sent, back=(), end=1000, chop=None):
        self.number, self.sent, self.back, self.end, self.chop = number, sent, list(back), end, chop


def text(payload=b"", **more):
    return ws_frame(TEXT, payload, **more)


def binary(payload=b"", **more):
    return ws_frame(BINARY, payload, **more)


def more(payload=b"", **kinds):
    return ws_frame(CONT, payload, **kinds)


def ping(payload=b"", **kinds):
    return ws_frame(PING, payload, **kinds)


def pong(payload=b"", **kinds):
    return ws_frame(PONG, payload, **kinds)


def close(code=None, reason=b""):
    return ws_frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


def same(opcode, byte, size, fragment):
    """One message of one byte again and again; most of its fragments are equal."""
    first, inner, last = (ws_frame(kind, byte * fragment, fin=fin)
                          for kind, fin in ((opcode, fragment == size), (CONT, False), (CONT, True)))
    count = size // fragment
    return first + inner * (count - 2) + last if count > 1 else first


def cut(opcode, payload, size):
    """One message in fragments of that size."""
    pieces = [payload[at:at + size] for at in range(0, len(payload), size)] or [b""]
    return b"".join(ws_frame(CONT if i else opcode, piece, fin=i == len(pieces) - 1) for i, piece in enumerate(pieces))


def section_1():
    for at, size in enumerate([0, 125, 126, 127, 128, 65535, 65536, 65536], 1):
        for part, opcode, byte in ((1, TEXT, b"*"), (2, BINARY, b"\xfe")):
            yield Case(f"1.{part}.{at}", ws_frame(opcode, byte * size), [(opcode, byte * size)], chop=997 if at == 8 else None)


def section_2():
    octets = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
    yield Case("2.1", ping(), [(PONG, b"")])
    yield Case("2.2", ping(b"Hello, world!"), [(PONG, b"Hello, world!")])
    yield Case("2.3", ping(octets), [(PONG, octets)])
    yield Case("2.4", ping(b"\xfe" * 125), [(PONG, b"\xfe" * 125)])
    yield Case("2.5", ping(b"\xfe" * 126), end=1002)
    yield Case("2.6", ping(b"\xfe" * 125), [(PONG, b"\xfe" * 125)], chop=1)
    yield Case("2.7", pong())
    yield Case("2.8", pong(b"unsolicited pong payload"))
    yield Case("2.9", pong(b"unsolicited pong payload") + ping(b"ping payload"), [(PONG, b"ping payload")])
    many = [b"payload-%d" % i for i in range(10)]
    for number, chop in (("2.10", None), ("2.11", 1)):
        yield Case(number, b"".join(map(ping, many)), [(PONG, payload) for payload in many], chop=chop)


def section_3():
    hello = [(TEXT, b"Hello, world!")]
    yield Case("3.1", text(b"Hello, world!", rsv=1), end=1002)
    for number, rsv, chop in (("3.2", 2, None), ("3.3", 3, 20), ("3.4", 4, 1)):
        yield Case(number, text(b"Hello, world!") + text(b"Hello, world!", rsv=rsv) + ping(), hello, 1002, chop)
    yield Case("3.5", binary(b"\x00\xff\xfe", rsv=5), end=1002)
    yield Case("3.6", ping(b"Hello, world!", rsv=6), end=1002)
    yield Case("3.7", ws_frame(CLOSE, b"\x03\xe8", rsv=7), end=1002)


def section_4():
    for part, opcodes in ((1, range(3, 8)), (2, range(11, 16))):
        for at, opcode in enumerate(opcodes, 1):
            payload = b"reserved opcode payload" if at in (2, 4) else b""
            if at <= 2:
                yield Case(f"4.{part}.{at}", ws_frame(opcode, payload), end=1002)
            else:
                yield Case(f"4.{part}.{at}", text(b"Hello, world!") + ws_frame(opcode, payload) + ping(),
                           [(TEXT, b"Hello, world!")], 1002, {3: None, 4: 19, 5: 1}[at])


def section_5():
    one, two, hello = b"fragment1", b"fragment2", b"Hello, world!"
    yield Case("5.1", ping(one, fin=False) + more(two), end=1002)
    yield Case("5.2", pong(one, fin=False) + more(two), end=1002)
    for at, chop in ((3, None), (4, 15), (5, 1)):
        yield Case(f"5.{at}", text(one, fin=False) + more(two), [(TEXT, one + two)], chop=chop)
    for at, chop in ((6, None), (7, 15), (8, 1)):
        yield Case(f"5.{at}", text(one, fin=False) + ping(b"ping payload") + more(two),
                   [(PONG, b"ping payload"), (TEXT, one + two)], chop=chop)
    for first, fin in ((9, True), (12, False)):
        for at, chop in enumerate((None, 20, 1)):
            yield Case(f"5.{first + at}", more(b"non-continuation payload", fin=fin) + text(hello), end=1002, chop=chop)
    yield Case("5.15", text(one, fin=False) + more(two) + more(b"fragment3", fin=False) + text(b"fragment4"),
               [(TEXT, one + two)], 1002)
    yield Case("5.16", (more(one, fin=False) + text(two, fin=False) + more(b"fragment3")) * 2, end=1002)
    yield Case("5.17", (more(one) + text(two, fin=False) + more(b"fragment3")) * 2, end=1002)
    yield Case("5.18", text(one, fin=False) + text(two), end=1002)
    five = [b"fragment%d" % i for i in range(1, 6)]
    for number, chop in (("5.19", 31), ("5.20", None)):
        yield Case(number, text(five[0], fin=False) + more(five[1], fin=False) + ping(b"pongme 1!") + more(five[2], fin=False) +
                   more(five[3], fin=False) + ping(b"pongme 2!") + more(five[4]),
                   [(PONG, b"pongme 1!"), (PONG, b"pongme 2!"), (TEXT, b"".join(five))], chop=chop)


KOSME = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"


def utf8_sequences():
    """6.5 to 6.23: Markus Kuhn's decoder test, and for each whether it is UTF-8."""
    yield [(True, b"hello$world"), (True, "hello¢world".encode()), (True, "hello€world".encode()),
           (True, "hello𤭢world".encode()), (True, KOSME)]
    yield [(len(KOSME[:i].decode(errors="ignore").encode()) == i, KOSME[:i]) for i in range(1, len(KOSME) + 1)]
    yield [(True, b"\x00"), (True, b"\xc2\x80"), (True, b"\xe0\xa0\x80"), (True, b"\xf0\x90\x80\x80")]
    yield [(False, b"\xf8\x88\x80\x80\x80"), (False, b"\xfc\x84\x80\x80\x80\x80")]
    yield [(True, b"\x7f"), (True, b"\xdf\xbf"), (True, b"\xef\xbf\xbf"), (True, b"\xf4\x8f\xbf\xbf")]
    yield [(False, b"\xf7\xbf\xbf\xbf"), (False, b"\xfb\xbf\xbf\xbf\xbf"), (False, b"\xfd\xbf\xbf\xbf\xbf\xbf")]
    yield [(True, b"\xed\x9f\xbf"), (True, b"\xee\x80\x80"), (True, b"\xef\xbf\xbd"), (True, b"\xf4\x8f\xbf\xbf"),
           (False, b"\xf4\x90\x80\x80")]
    yield [(False, b"\x80"), (False, b"\xbf"), *[(False, (b"\x80\xbf" * 3)[:n]) for n in range(2, 7)], (False, bytes(range(0x80, 0xbf)))]
    yield [(False, b"".join(bytes([byte, 0x20]) for byte in range(low, high)))
           for low, high in ((0xc0, 0xdf), (0xe0, 0xef), (0xf0, 0xf7), (0xf8, 0xfb), (0xfc, 0xfd))]
    cut_off = [b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xfc\x80\x80\x80\x80", b"\xdf", b"\xef\xbf",
               b"\xf7\xbf\xbf", b"\xfb\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf"]
    yield [(False, data) for data in cut_off]
    yield [(False, b"".join(cut_off))]
    yield [(False, b"\xfe"), (False, b"\xff"), (False, b"\xfe\xfe\xff\xff")]
    for first, last in ((b"", b"\xaf"), (None, b"\xbf"), (b"", b"\x80")):
        heads = [b"\xc1", b"\xe0\x9f", b"\xf0\x8f\xbf", b"\xf8\x87\xbf\xbf", b"\xfc\x83\xbf\xbf\xbf"] if first is None else \
                [b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xfc\x80\x80\x80\x80"]
        yield [(False, head + last) for head in heads]
    yield [(False, data) for data in (b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf", b"\xed\xb0\x80",
                                      b"\xed\xbe\x80", b"\xed\xbf\xbf")]
    yield [(False, high + low) for high in (b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf")
           for low in (b"\xed\xb0\x80", b"\xed\xbf\xbf")]
    yield [(True, b"\xef\xbf\xbe"), (True, b"\xef\xbf\xbf"),
           *[(True, chr(plane << 16 | low).encode()) for plane in range(1, 17) for low in (0xfffe, 0xffff)]]
    yield [(True, chr(code).encode()) for code in range(0xfff9, 0x10000)]


def section_6():
    valid = "Hello-µ@ßöäüàá-UTF-8!!".encode()
    broken = KOSME + b"\xed\xa0\x80edited"
    yield Case("6.1.1", text(), [(TEXT, b"")])
    yield Case("6.1.2", text(fin=False) + more(fin=False) + more(), [(TEXT, b"")])
    yield Case("6.1.3", text(fin=False) + more(b"middle frame payload", fin=False) + more(), [(TEXT, b"middle frame payload")])
    yield Case("6.2.1", text(valid), [(TEXT, valid)])
    yield Case("6.2.2", text(valid[:12], fin=False) + more(valid[12:]), [(TEXT, valid)])
    yield Case("6.2.3", cut(TEXT, valid, 1), [(TEXT, valid)])
    yield Case("6.2.4", cut(TEXT, KOSME, 1), [(TEXT, KOSME)])
    yield Case("6.3.1", text(broken), end=1007)
    yield Case("6.3.2", cut(TEXT, broken, 1), end=1007)
    # 6.4: fail fast, so the end of the message is never sent
    yield Case("6.4.1", text(KOSME, fin=False) + more(b"\xf4\x90\x80\x80", fin=False), end=1007)
    yield Case("6.4.2", text(KOSME + b"\xf4", fin=False) + more(b"\x90", fin=False), end=1007)
    whole = text(KOSME + b"\xf4\x90\x80\x80edited")
    yield Case("6.4.3", whole[:-len(b"edited")], end=1007, chop=len(whole) - 10)
    yield Case("6.4.4", whole[:-len(b"\x80\x80edited")], end=1007, chop=len(whole) - 9)
    for at, row in enumerate(utf8_sequences(), 5):
        for i, (is_valid, payload) in enumerate(row, 1):
            yield Case(f"6.{at}.{i}", text(payload), [(TEXT, payload)] if is_valid else [], 1000 if is_valid else 1007)


def section_7():
    hello = b"Hello World!"
    yield Case("7.1.1", text(hello) + close(1000), [(TEXT, hello)])
    yield Case("7.1.2", close(1000) + close(1000))
    yield Case("7.1.3", close(1000) + ping())
    yield Case("7.1.4", close(1000) + text(hello))
    yield Case("7.1.5", text(b"fragment1", fin=False) + close(1000) + more(b"fragment2"))
    long = b"BAsd7&jh23" * (256 * KB // 10)
    yield Case("7.1.6", text(long) + text(hello) + close(1000) + ping(), [(TEXT, long), (TEXT, hello)])
    yield Case("7.3.1", close(), end=None)
    yield Case("7.3.2", ws_frame(CLOSE, b"a"), end=1002)
    yield Case("7.3.3", close(1000))
    yield Case("7.3.4", close(1000, b"Hello World!"))
    yield Case("7.3.5", close(1000, b"*" * 123))
    yield Case("7.3.6", close(1000, b"*" * 124), end=1002)
    yield Case("7.5.1", close(1000, KOSME + b"\xed\xa0\x80edited"), end=1007)
    for at, code in enumerate([1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999], 1):
        yield Case(f"7.7.{at}", close(code), end=code)
    for at, code in enumerate([0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999], 1):
        yield Case(f"7.9.{at}", close(code), end=1002)
    yield Case("7.13.1", close(5000), end=1002)
    yield Case("7.13.2", close(65535), end=1002)


def section_9():
    sizes = [64 * KB, 256 * KB, MB, 4 * MB, 8 * MB, 16 * MB]
    fragments = [64, 256, KB, 4 * KB, 16 * KB, 64 * KB, 256 * KB, MB, 4 * MB]
    for part, opcode in enumerate((TEXT, BINARY)):
        byte = b"*" if opcode == TEXT else b"\xfe"
        for at, size in enumerate(sizes, 1):
            yield Case(f"9.{1 + part}.{at}", ws_frame(opcode, byte * size), [(opcode, byte * size)])
        for at, size in enumerate(fragments, 1):
            yield Case(f"9.{3 + part}.{at}", same(opcode, byte, 4 * MB, size), [(opcode, byte * (4 * MB))])
        for at, chop in enumerate([64, 128, 256, 512, 1024, 2048], 1):
            yield Case(f"9.{5 + part}.{at}", ws_frame(opcode, byte * MB), [(opcode, byte * MB)], chop=chop)
        for at, size in enumerate([0, 16, 64, 256, 1024, 4096], 1):
            yield Case(f"9.{7 + part}.{at}", ws_frame(opcode, byte * size) * 1000, [(opcode, byte * size)] * 1000)


def section_10():
    yield Case("10.1.1", cut(TEXT, b"*" * 65536, 1300), [(TEXT, b"*" * 65536)])


SECTIONS = [section_1, section_2, section_3, section_4, section_5, section_6, section_7, section_9, section_10]


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with Server(flags=["--diagnostic-echo"]) as server:
        yield server


class Link(Wire):
    def __init__(self, server, path):
        super().__init__(server)
        self.send(handshake_bytes(path))
        self.head().want(101)

    def hear(self):
        first, length = self.exactly(2)
        assert length < 128 and first & 0xf0 == 0x80, (first, length)
        if length > 125:
            length = int.from_bytes(self.exactly(2 if length == 126 else 8), "big")
        return first & 0x0f, self.exactly(length)

    def play(self, case):
        """A case that is not ended by what it sends is ended by a close behind it."""
        is_over = case.end != 1000 or close(1000) in case.sent or (case.sent and case.number.startswith("7.3"))
        data = case.sent if is_over else case.sent + NORMAL
        if case.chop is None:
            self.send(data)
            return
        try:
            for at in range(0, len(data), case.chop):
                self.send(data[at:at + case.chop])
        except (BrokenPipeError, ConnectionResetError):
            assert case.end != 1000  # the server did not wait for the rest


def end_of(data):
    return int.from_bytes(data[:2], "big") if data else None


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_the_echo(server, section):
    for case in section():
        with Link(server, "/v1/echo") as link:
            link.play(case)
            for want in case.back:
                got = link.hear()
                assert got == want, (case.number, got[0], got[1][:100])
            opcode, data = link.hear()
            assert (opcode, end_of(data)) == (CLOSE, case.end), (case.number, opcode, data[:100])
            link.want_closed()


def has_binary(case):
    return case.sent[0] & 0x0f == BINARY


@pytest.mark.parametrize("section", SECTIONS[1:7] + [section_10], ids=lambda section: section.__name__)
def test_the_protocol_of_clients(server, section):
    """What the texts say is no command, so they are answered by errors; pings are answered, and the link ends as it should."""
    for case in section():
        if has_binary(case):
            continue
        with Link(server, "/v1/ws") as link:
            link.play(case)
            pongs = [payload for opcode, payload in case.back if opcode == PONG]
            while (got := link.hear())[0] != CLOSE:
                assert got[0] == TEXT or (got[0] == PONG and got[1] == pongs.pop(0)), (case.number, got)
            assert end_of(got[1]) == case.end, (case.number, got)
            assert pongs == [], case.number
            link.send(NORMAL)
            link.want_closed()
    channel = fresh()
    assert publish(server, channel)["seq"] == 1


def test_the_list_is_whole():
    """247 without section 9, as Autobahn counts them."""
    assert sum(len(list(section())) for section in SECTIONS if section is not section_9) == 247
