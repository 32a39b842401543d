"""Our HTTP/1 parser against python3-h11: h11 accepts whatever our parser accepts, and understands it in the same way.

Inputs are drawn from a seed: requests put together from good and odd parts; in most of them a few bytes are then
damaged. Our parser may be stricter than h11; that isn't checked. Where it accepts what h11 refuses, or understands
something else, the reason must be one of these:

  * KNOWN_LENIENT: we ignore one empty line before a request (RFC 9112 2.2 asks servers to); h11 refuses it.
  * h11 never keeps an HTTP/1.0 connection open; we do when asked to (RFC 9112 9.3). So comparing ends where either side
    would close.
  * h11 hands out the value of Transfer-Encoding in small letters, and all names; so they are compared in small letters.
  * h11 knows no end of a head but its own maximum; it is set above ours.
"""
import json
import os
import random
import subprocess
from pathlib import Path

import h11

ROOT = Path(__file__).resolve().parents[2]
TRANSCRIPT = ROOT / os.environ.get("LW_BUILD", "build/san") / "test" / "transcript" / "h1_transcript"
CASES = 8000
SEED = int(os.environ.get("LW_SEED", "1"))

# --- inputs ---------------------------------------------------------------------------------------------------------

LINES = [b"GET / HTTP/1.1", b"POST /v1/channels/topic:a/messages?ttl=5 HTTP/1.1", b"PUT /x HTTP/1.1",
         b"OPTIONS * HTTP/1.1", b"HEAD /%2F HTTP/1.0", b"GET http://a/b HTTP/1.1", b"POST / HTTP/1.0",
         b"BREW /pot HTTP/1.2"]
ODD_LINES = [b"GET  / HTTP/1.1", b"GET / HTTP/2.0", b"GET /", b"CONNECT a:80 HTTP/1.1", b"GET /a#b HTTP/1.1",
             b" GET / HTTP/1.1", b"GET /\x80 HTTP/1.1", b"GET /a b HTTP/1.1", b"GET\t/ HTTP/1.1", b"get * HTTP/1.1",
             b"GET http://b/ HTTP/1.1"]
FIELDS = [b"Accept: */*", b"A:b", b"X-Empty:", b"Cookie: a=b; c=\xff", b"Connection: keep-alive",
          b"Connection: close", b"Connection: x, close", b"Expect: 100-continue", b"Upgrade: websocket",
          b"Connection: Upgrade", b"X: \t a b \t "]
ODD_FIELDS = [b"Host: b", b"Content-Length: 3", b"Content-Length: 5,5", b"Content-Length: +5", b"Content-Length:",
              b"Content-Length: 18446744073709551616", b"Transfer-Encoding: chunked",
              b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, identity",
              b"Transfer-Encoding: xchunked", b"A : b", b" folded", b"\tfolded", b": b", b"A\x00: b", b"A: \x00",
              b"A: \x0b", b"A", b"A: b\rc", b"A: b\nC: d", b"Expect: x", b"A[]: b", b"A: \x7f"]
EXTENSIONS = [b"", b"", b"", b";a=b", b';a="b;c"', b" ", b"\t", b";\xff", b";\n"]
SIZES = ["%x", "%X", "0%x", "%020x", "0x%x", "+%x", " %x", "%x_0", "%016x"]
NOISE = [b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"0", b"5", b"a", b"\xff", b"\x7f", b"\x0b",
         b"\r\n\r\n", b"chunked"]


def chunked_body(rng, body):
    wire = b""
    while body:
        piece, body = body[:5], body[5:]
        size = rng.choice(SIZES) if rng.random() < 0.1 else "%x"
        wire += (size % len(piece)).encode() + rng.choice(EXTENSIONS) + b"\r\n" + piece + b"\r\n"
    trailers = rng.choice([b"", b"", b"A: b\r\n", b"Content-Length: 5\r\n", b"A : b\r\n", b" a\r\n"])
    return wire + rng.choice([b"0", b"0", b"000", b"0;last"]) + b"\r\n" + trailers + b"\r\n"


def request(rng):
    lines = [rng.choice(ODD_LINES if rng.random() < 0.1 else LINES)]
    fields = [b"Host: a"] if rng.random() < 0.97 else []
    fields += rng.sample(FIELDS, rng.randrange(4))
    fields += rng.sample(ODD_FIELDS, 1 if rng.random() < 0.15 else 0)
    body = rng.choice([b"", b"", b"hello", b"GET / HTTP/1.1\r\nHost: evil\r\n\r\n", rng.randbytes(20)])
    if body and rng.random() < 0.5:
        fields.append(b"Transfer-Encoding: " + rng.choice([b"chunked", b"Chunked"]))
        body = chunked_body(rng, body)
    elif body:
        fields.append(b"Content-Length: %d" % len(body))
    rng.shuffle(fields)
    return b"\r\n".join(lines + fields) + b"\r\n\r\n" + body


def damaged(rng, wire):
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(wire) + 1)
        end = at + rng.choice([0, 0, 1, 1, 2, 10])
        wire = wire[:at] + rng.choice(NOISE + [b""] * 4) + wire[end:]
    return wire


def draw(seed):
    rng = random.Random(seed)
    wire = b"".join(request(rng) for _ in range(rng.choice([1, 1, 2, 3])))
    if rng.random() < 0.05:
        wire = b"\r\n" + wire
    return damaged(rng, wire) if rng.random() < 0.6 else wire


# --- the two tellers --------------------------------------------------------------------------------------------------

def our_transcripts(wires):
    batch = b"".join(b"%d\n%s" % (len(wire), wire) for wire in wires)
    done = subprocess.run([TRANSCRIPT], input=batch, capture_output=True, timeout=300, check=True)
    transcripts = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(transcripts) == len(wires)
    return transcripts


def answer(connection):
    """A server's answer, so that h11 goes on to the next request; one that grants no upgrade and no tunnel."""
    connection.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())


def their_transcript(wire):
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    transcript = {"requests": [], "fault": None}
    connection.receive_data(wire)
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                transcript["requests"].append({"head": event, "body": b"", "is_whole": False, "is_keep_alive": False})
            elif isinstance(event, h11.Data):
                transcript["requests"][-1]["body"] += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                transcript["requests"][-1]["is_whole"] = True
                answer(connection)
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    return transcript
                transcript["requests"][-1]["is_keep_alive"] = True
                connection.start_next_cycle()
            else:
                return transcript
    except h11.RemoteProtocolError as error:
        transcript["fault"] = str(error)
        return transcript


# --- comparing --------------------------------------------------------------------------------------------------------

def our_meaning(ours):
    fields = [(field["name"].lower(), field["value"]) for field in ours["fields"]]
    fields = [(name, value.lower() if name == "transfer-encoding" else value) for name, value in fields]
    return (ours["method"], ours["target"], fields, ours["body"], ours["is_whole"])


def their_meaning(theirs):
    head = theirs["head"]
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
    return (head.method.decode(), head.target.decode(), fields, theirs["body"].decode("latin-1"), theirs["is_whole"])


def is_known_lenient(theirs):
    return theirs["fault"] == "no request line received"


def judge(wire, ours, theirs):
    """Gives how many requests both understood alike; fails where our parser accepted something that h11 refused or
    understood differently."""
    for i, request_ours in enumerate(ours["requests"]):
        # Where our transcript breaks off with a fault inside a body, h11 may have got further: we are the stricter.
        is_broken_off = not request_ours["is_whole"] and ours["fault"] != 0
        if i == len(theirs["requests"]):
            assert is_known_lenient(theirs), (wire, request_ours, theirs["fault"])
            return i
        request_theirs = theirs["requests"][i]
        mine, yours = our_meaning(request_ours), their_meaning(request_theirs)
        if is_broken_off:
            assert mine[:3] == yours[:3] and yours[3].startswith(mine[3]), (wire, mine, yours)
            return i
        assert mine == yours, (wire, mine, yours, theirs["fault"])
        if not request_ours["is_keep_alive"] or not request_theirs["is_keep_alive"]:
            return i + 1
    return len(ours["requests"])


def test_threat_47_what_we_take_h11_takes_and_means_the_same():
    wires = [draw(SEED * CASES + i) for i in range(CASES)]
    alike = refused = 0
    for wire, ours in zip(wires, our_transcripts(wires)):
        alike += judge(wire, ours, their_transcript(wire))
        refused += ours["fault"] != 0
    # The inputs are worth their time only if both kinds are many.
    assert alike > CASES // 4, alike
    assert refused > CASES // 4, refused


def test_sound_requests_are_taken_by_both():
    wires = [b"\r\n".join([line, b"Host: a", field, b"Content-Length: 5", b"", b"hello"])
             for line in LINES for field in FIELDS if not line.startswith(b"OPTIONS")]
    for wire, ours in zip(wires, our_transcripts(wires)):
        theirs = their_transcript(wire)
        assert ours["fault"] == 0 and theirs["fault"] is None, wire
        assert judge(wire, ours, theirs) == 1, wire
