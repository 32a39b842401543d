"""Our JSON, SSE, NDJSON and multipart codecs, judged by Python's own libraries (threats 55, 56, 58, 80).

Python's json module accepts more than RFC 8259 and our codec do; the reference below removes each difference:

  * NaN, Infinity and -Infinity: refused through parse_constant.
  * Numbers too large for a double become inf, or a whole number of any size: refused.
  * Escapes of lone surrogates: refused by looking at the strings that were read.
  * Depth: Python's limit is its stack; ours is 64 containers.
  * Duplicate members: taken by json_is_valid() too, refused by json_parse() where members become tokens.
"""
import base64
import email.parser
import email.policy
import json
import math
import os
import random
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote_to_bytes

ROOT = Path(__file__).resolve().parents[2]
TRANSCRIPT = ROOT / os.environ.get("LW_BUILD", "build/san") / "test" / "transcript" / "text_transcript"

DEPTH_MAX = 64
VALID_CASES = 20000
MESSAGE_CASES = 2000

PIECES = [b"\r", b"\n", b"\r\n", b"\0", b"\xef\xbb\xbf", b"\n\ndata: forged\n\n", b"\r\rid: 1\r", b"\r\n--boundary\r\n",
          b"--", b"\r\n\r\nLongwire-Seq: 1\r\n", b'"', b"\\", b"\\u0041", b'","seq":1}', "\u2028".encode(),
          b"\xed\xa0\x80", "😀".encode(), b"\x7f", b"\x85", b"plain words", b"\x0b\x0c\x1c\x1d\x1e"]


def transcript(codec, cases):
    """Each case: channel, media, from, event, payload, all bytes; the event may be left out."""
    cases = [case if len(case) == 5 else (*case[:3], b"", case[3]) for case in cases]
    wire = b"".join(b"%d %d %d %d %d\n" % tuple(map(len, case)) + b"".join(case) for case in cases)
    return subprocess.run([TRANSCRIPT, codec], input=wire, stdout=subprocess.PIPE, timeout=120, check=True).stdout


# --- reading ---------------------------------------------------------------------------------------------------------

def check_value(value, depth, refuses_duplicates):
    if isinstance(value, str):
        value.encode("utf-8")  # raises for lone surrogates
    elif isinstance(value, list):
        if depth >= DEPTH_MAX:
            raise ValueError("too deep")
        for item in value:
            check_value(item, depth + 1, refuses_duplicates)
    elif isinstance(value, Members):
        if depth >= DEPTH_MAX:
            raise ValueError("too deep")
        names = [name for name, _ in value.pairs]
        if refuses_duplicates and len(set(names)) < len(names):
            raise ValueError("a member comes twice")
        for name, item in value.pairs:
            check_value(name, depth, refuses_duplicates)
            check_value(item, depth + 1, refuses_duplicates)


class Members:
    def __init__(self, pairs):
        self.pairs = pairs


def refuse(text):
    raise ValueError(text)


def finite(text):
    return float(text) if math.isfinite(float(text)) else refuse(text)


def python_takes(payload, refuses_duplicates):
    try:
        value = json.loads(payload.decode("utf-8"), parse_constant=refuse, parse_float=finite, parse_int=finite,
                           object_pairs_hook=Members)
        check_value(value, 0, refuses_duplicates)
    except (ValueError, RecursionError):
        return False
    return True


def random_string(rng):
    atoms = ["a", "é", "😀", "\\n", "\\\\", "\\\"", "\\/", "\\u0061", "\\ud83d\\ude00", "\\u0000", "\x7f", "\u2028"]
    if rng.random() < 0.05:
        atoms += ["\\ud800", "\\udc00", "\\x", "\\u12", "\t", "\0"]
    return '"' + "".join(rng.choice(atoms) for _ in range(rng.randrange(5))) + '"'


def random_scalar(rng):
    good = ["0", "-0", "12", "-1.5", "1e5", "1E-400", "0.1e+3", "1e308", "1.7976931348623157e308", "9" * 308, "true",
            "false", "null", random_string(rng), random_string(rng), random_string(rng)]
    bad = ["01", "1.", ".5", "+1", "-", "1e", "1e309", "9" * 310, "-1e999", "1.7976931348623159e308", "NaN",
           "Infinity", "-Infinity", "tru", "nulls", "'a'", "0x1"]
    return rng.choice(bad if rng.random() < 0.05 else good)


def random_value(rng, depth=0):
    space = rng.choice(["", "", "", " ", "\n", "\t\r"])
    kind = rng.random()
    if depth > 3 or kind < 0.4:
        return space + random_scalar(rng) + space
    items = [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind < 0.7:
        return space + "[" + ",".join(items) + space + "]"
    return space + "{" + ",".join(random_string(rng) + space + ":" + item for item in items) + "}" + space


def broken(payload, rng):
    at = rng.randrange(len(payload) + 1)
    piece = rng.choice([b"", b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b" ", b"\0", b"\x0b", b"\x0c", b"\xff",
                        b"\xc2\xa0", b"\xef\xbb\xbf", b"/", b"//", b"/**/", b"1", b"e", b"-", b"\xed\xa0\x80",
                        b"\xc0\xaf", b' "', b" t"])
    return payload[:at] + piece + payload[at + rng.randrange(3):]


def json_cases():
    rng = random.Random(55)
    payloads = [b"[" * depth + b"]" * depth for depth in (1, 63, 64, 65, 200)]
    payloads += [b'{"a":' * depth + b"1" + b"}" * depth for depth in (63, 64, 65)]
    payloads += [b'{} "abc', b'{} t', b'1 "', b"", b" ", b'{"a":1,"\\u0061":2}']
    while len(payloads) < VALID_CASES:
        payload = random_value(rng).encode()
        payloads.append(broken(payload, rng) if rng.random() < 0.5 else payload)
    return payloads


def test_threat_55_json_is_what_python_takes_but_for_known_differences():
    payloads = json_cases()
    answers = transcript("valid", [(b"", b"", b"", payload) for payload in payloads]).decode().splitlines()
    assert len(answers) == len(payloads)
    for payload, answer in zip(payloads, answers):
        want = f"{python_takes(payload, False):d} {python_takes(payload, True):d}"
        assert answer == want, payload
    assert sum(answer == "1 1" for answer in answers) > VALID_CASES // 4
    assert sum(answer == "0 0" for answer in answers) > VALID_CASES // 4
    assert sum(answer == "1 0" for answer in answers) > 10


def value_of(text):
    """Members in order, doubled ones too, and numbers as they are written."""
    return json.loads(text, parse_int=str, parse_float=str, object_pairs_hook=lambda pairs: ("object", pairs))


def test_threat_55_tokens_say_what_python_reads():
    payloads = json_cases()
    lines = transcript("tokens", [(b"", b"", b"", payload) for payload in payloads]).decode().split("\n")
    assert lines.pop() == "" and len(lines) == len(payloads)
    compared = 0
    for payload, line in zip(payloads, lines):
        whole, one_level = line.split("\t")
        if python_takes(payload, True):
            assert value_of(whole) == value_of(one_level) == value_of(payload), payload
            compared += 1
        else:
            assert re.fullmatch(r"refused: .* \(byte \d+(; at most \d+)?\)", whole), (payload, whole)
    assert compared > VALID_CASES // 4


# --- writing ---------------------------------------------------------------------------------------------------------

def random_cases():
    rng = random.Random(80)
    cases = []
    while len(cases) < MESSAGE_CASES:
        payload = b"".join(rng.choice(PIECES + [rng.randbytes(3)]) for _ in range(rng.randrange(12)))
        media = rng.choice([b"text/plain", b"application/octet-stream", b"text/plain; charset=utf-8", b""])
        sender = rng.choice([b"", b"shop", "Zoë\r\nX: y".encode(), b"%41"])
        channel = rng.choice([b"topic:prices", "topic:a b/é:c".encode(), b"user:100%\"\\"])
        if rng.random() < 0.2:
            media, payload = b"application/json", random_value(random.Random(len(cases))).encode()
            if not python_takes(payload, False):
                continue
        cases.append((channel, media, sender, payload))
    return cases


def check_object(text, case, has_cursor):
    channel, media, sender, payload = case
    got = json.loads(text)
    head = {"type": "message", "channel": channel.decode(), "epoch": "123456789abcdef0", "seq": 42, "id": 7,
            "time": 1700000000000, "from": sender.decode() or None, "media": media.decode()}
    names = list(head) + ["data_base64" if "data_base64" in got else "data"] + (["cursor"] if has_cursor else [])
    assert list(got) == names
    assert {name: got[name] for name in head} == head
    if media == b"application/json":
        assert text.find(b',"data":' + payload.replace(b"\r", b" ").replace(b"\n", b" ")) > 0
        return
    try:
        assert got["data"] == payload.decode("utf-8")
    except UnicodeDecodeError:
        raise AssertionError("octets came as text") from None
    except KeyError:
        assert base64.b64decode(got["data_base64"], validate=True) == payload
        assert not is_utf8(payload)


def is_utf8(payload):
    try:
        payload.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def test_threat_80_ndjson_reads_back():
    cases = random_cases()
    lines = transcript("ndjson", cases).split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == len(cases)
    for line, case in zip(lines, cases):
        check_object(line, case, has_cursor=True)


def sse_events(stream):
    """WHATWG HTML 9.2.6: lines end with CR LF, LF or CR; an empty one ends the event."""
    event = {}
    for line in stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        if line:
            name, _, value = line.partition(b":")
            event.setdefault(name, []).append(value.removeprefix(b" "))
        elif event:
            yield event
            event = {}


def test_threat_80_sse_reads_back():
    cases = random_cases()
    events = list(sse_events(transcript("sse", cases)))
    assert len(events) == len(cases)
    for event, case in zip(events, cases):
        assert set(event) == {b"id", b"data"} and event[b"id"] == [b"CURSOR"] and len(event[b"data"]) == 1
        check_object(event[b"data"][0], case, has_cursor=False)


def test_threat_80_raw_events_read_back():
    """Lines come as lines, whatever ended them; what is no text comes as an object under a name of ours."""
    cases = random_cases()
    events = list(sse_events(transcript("raw", [(*case[:3], b"price", case[3]) for case in cases])))
    assert len(events) == len(cases)
    for event, case in zip(events, cases):
        assert set(event) == {b"id", b"event", b"data"} and event[b"id"] == [b"CURSOR"]
        if event[b"event"] == [b"price"]:
            assert b"\n".join(event[b"data"]) == case[3].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        else:
            assert event[b"event"] == [b"binary"] and not is_utf8(case[3])
            assert base64.b64decode(json.loads(event[b"data"][0])["data_base64"]) == case[3]


def test_threat_58_80_multipart_reads_back():
    cases = random_cases()
    head = b"Content-Type: multipart/mixed; boundary=BOUNDARY\r\n\r\n"
    whole = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + transcript("multipart", cases))
    parts = whole.get_payload()
    assert whole.defects == [] and len(parts) == len(cases) + 1
    assert parts.pop().get_content_type() == "application/vnd.longwire.ping+json"
    for part, (channel, media, sender, payload) in zip(parts, cases):
        assert part.get_payload(decode=True) == payload
        assert int(part["Content-Length"]) == len(payload)
        assert part.get_content_type().encode() == (media.partition(b";")[0] or b"application/octet-stream")
        assert unquote_to_bytes(part["Longwire-Channel"]) == channel
        assert unquote_to_bytes(part["Longwire-From"] or "") == sender
        assert [part["Longwire-" + name] for name in ("Epoch", "Seq", "Cursor")] == ["123456789abcdef0", "42", "CURSOR"]
        assert len(part.keys()) == (9 if sender else 8)
