"""The command line tool, `longwire`: against a real server if one is built, otherwise against the mock. Refusals and
silences, which a real server can't be made to show, run against the mock alone."""
import base64
import json
import os
import pty
import re
import select
import signal
import subprocess
import threading
import time
import urllib.request

import pytest

from cut_link import Link
from longwire_server import LONGWIRE, Server, free_port, is_built
from mock_server import Mock
from waiting import SECONDS, wait_until

COMMANDS = ["sub", "pub", "history", "channels", "info", "recall", "purge", "nodes", "top", "completion", "man",
            "help"]
NOBODY = "http://127.0.0.1:1"


@pytest.fixture(name="server")
def fixture_server():
    with Server() if is_built() else Mock() as server:
        yield server


@pytest.fixture(name="mock")
def fixture_mock():
    with Mock() as mock:
        yield mock


def run(server, *words, stdin=b"", code=0):
    """Runs it to its end, asserts this exit code, and gives what it printed."""
    environment = {**os.environ, "LONGWIRE_SERVER": getattr(server, "url", server)}
    done = subprocess.run([LONGWIRE, *words], input=stdin, capture_output=True, timeout=SECONDS, env=environment,
                          check=False)
    assert done.returncode == code, (words, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
    return done


def lines(server, *words, **more):
    return run(server, *words, **more).stdout.decode().splitlines()


def objects(server, *words, **more):
    return [json.loads(line) for line in lines(server, *words, "--format", "json", **more)]


class Running:
    """A `longwire` in the background; its output can be waited for."""

    def __init__(self, server, *words, stdout=subprocess.PIPE):
        environment = {**os.environ, "LONGWIRE_SERVER": server.url,
                       "ASAN_OPTIONS": "quarantine_size_mb=1:" + os.environ.get("ASAN_OPTIONS", "")}
        self.process = subprocess.Popen([LONGWIRE, *words], stdin=subprocess.DEVNULL, stdout=stdout,
                                        stderr=subprocess.PIPE, env=environment)
        self.out, self.err = [], []
        self.news = threading.Condition()
        self.readers = [self.reader(self.process.stderr, self.err)]
        if stdout == subprocess.PIPE:
            self.readers.append(self.reader(self.process.stdout, self.out))

    def reader(self, pipe, into):
        def read():
            for line in pipe:
                with self.news:
                    into.append(line.decode(errors="replace").rstrip("\n"))
                    self.news.notify_all()
        thread = threading.Thread(target=read)
        thread.start()
        return thread

    def wait_for(self, what):
        with self.news:
            assert self.news.wait_for(what, SECONDS), (self.out[-5:], self.err[-5:])

    def wait_out(self, count):
        self.wait_for(lambda: len(self.out) >= count)

    def wait_err(self, text):
        self.wait_for(lambda: any(text in line for line in self.err))

    def end(self, code=0):
        status = self.process.wait(SECONDS)
        for thread in self.readers:
            thread.join()
        assert status == code, (status, self.out[-5:], self.err[-5:])
        return self.out

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for thread in self.readers:
            thread.join()


# --- the command line itself ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_options_exit_status_and_examples(command):
    text = run("http://127.0.0.1:1", command, "--help").stdout.decode()
    for part in ("--server", "LONGWIRE_SERVER", "--key", "Exit status", "Examples", f"longwire {command} "):
        assert part in text
    assert max(map(len, text.splitlines())) <= 80
    assert run("http://127.0.0.1:1", command, "-h").stdout.decode() == text


def test_help_names_all_commands():
    text = run("http://127.0.0.1:1", "--help").stdout.decode()
    assert all(f"longwire {command}" in text for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_by_either_word_order(command):
    assert run("http://127.0.0.1:1", "help", command).stdout == run("http://127.0.0.1:1", command, "--help").stdout


def test_version():
    for words in (["--version"], ["-V"], ["version"], ["sub", "-V"], ["-s", "127.0.0.1:1", "--version"]):
        assert re.fullmatch(r"longwire \d+\.\d+\.\d+\n", run(NOBODY, *words).stdout.decode())


@pytest.mark.parametrize("before, behind", [
    (["--server", "URL"], []), (["--server=URL"], []), ([], ["--server", "URL"]),
    (["--key", "s3cret", "--server", "URL"], []), (["--server=URL", "--key=s3cret"], []),
    (["--key", "s3cret"], ["--server=URL"]), (["-s", "URL", "-k", "s3cret"], []), (["-sURL"], ["-ks3cret"]),
    (["--serv", "URL"], []),
])
def test_common_options_stand_before_the_command_or_behind_it(mock, before, behind):
    before, behind = ([word.replace("URL", mock.url) for word in words] for words in (before, behind))
    done = run("http://127.0.0.1:1", *before, "pub", "topic:a", "x", *behind)
    assert re.fullmatch(r"topic:a 1 \d+\n", done.stdout.decode())
    if any("s3cret" in word for word in before + behind):
        assert mock.requests[-1][2]["Authorization"] == "Bearer s3cret"


@pytest.mark.parametrize("words, said", [
    ([], "longwire sub CHANNEL"),
    (["subscribe"], 'no command "subscribe"; did you mean sub?'),
    (["histroy", "topic:a"], "did you mean history?"),
    (["xyzzy"], "see longwire --help"),
    (["help", "xyzzy"], 'no command "xyzzy"'),
    (["sub"], "which channel?"),
    (["sub", "topic:a", "--after", "x"], "--after needs a whole number"),
    (["sub", "topic:a", "--after", "1", "--last", "1"], "exclude one another"),
    (["sub", "topic:a", "--timeout", "0"], "--timeout needs"),
    (["sub", "topic:a", "--format", "xml"], "text, json or a template"),
    (["sub", "topic:a", "--nonsense"], "longwire: there is no option --nonsense; see longwire sub --help"),
    (["sub", "topic:a", "--fromat", "json"], "no option --fromat; did you mean --format?"),
    (["sub", "topic:a", "-f", "json"], "-f here: it is --file of longwire pub; did you mean -F (--format)?"),
    (["pub", "topic:a", "-x"], "there is no option -x; see longwire pub --help"),
    (["pub", "topic:a", "-Q", "x"], "did you mean -q (--quiet)?"),
    (["sub", "topic:a", "--json=yes"], "--json takes no value"),
    (["sub", "topic:a", "--count"], "--count needs a value"),
    (["sub", "topic:a", "-n"], "--count needs a value"),
    (["sub", "topic:a", "-F", "{sek}"], "no field {sek}; did you mean {seq}? The fields are {seq} {channel}"),
    (["sub", "topic:a", "-F", "{seq"], "a { has no }"),
    (["history", "topic:a", "-F", "%t %p"], "text, json or a template with fields"),
    (["info", "-F", "{head}"], "text or json here"),
    (["completion"], "which shell"),
    (["completion", "csh"], "which shell"),
    (["man", "x"], "no words"),
    (["pub", "topic:a", "x", "-f", "x"], "exclude one another"),
    (["pub", "topic:" + "a" * 1020], "longer than 1024"),
    (["pub", b"topic:\xff"], "not UTF-8"),
    (["--server", "http://127.0.0.1:1"], "longwire sub CHANNEL"),
    (["--server"], "--server needs a value: --server SERVER"),
    (["--nonsense", "info"], "no option --nonsense; see longwire --help"),
    (["--kye=s3cret", "info"], "no option --kye; did you mean --key?"),
    (["pub"], "which channel?"),
    (["pub", "topic:a", "two", "words"], "quotes"),
    (["pub", "topic:a", "x", "--rate", "-3"], "--rate needs"),
    (["pub", "topic:a", "x", "--media", "text/plain\r\nX: y"], "--media needs"),
    (["pub", "topic:a", "x", "--ttl", "0"], "--ttl needs"),
    (["pub", "topic:a", "x", "--ttl", "1500ms"], "--ttl needs whole seconds"),
    (["pub", "topic:a", "x", "--ttl", "5 minutes"], "--ttl needs a time such as 90"),
    (["history", "topic:a", "--after", "1", "--before", "9"], "exclude one another"),
    (["history", "topic:a", "--after", "1", "--since", "9"], "exclude one another"),
    (["history", "topic:a", "--since", "yesterday"], "--since needs a time such as 1h (so long ago), 2026-11-28"),
    (["history", "topic:a", "--until", "28.11.2026"], "--until needs a time"),
    (["sub", "topic:a", "--since", "1h", "--after", "1"], "exclude one another"),
    (["sub", "topic:a", "--since", "1 hour"], "--since needs a time"),
    (["channels", "a", "b"], "one prefix at most"),
    (["channels", "-F", "{seq}"], "no field {seq}. The fields are {channel} {epoch}"),
    (["purge"], "which channel?"),
    (["pub", "topic:a", "x", "--event", ""], "--event needs a name"),
    (["pub", "topic:a", "x", "--collapse-key", ""], "--collapse-key needs a key"),
    (["pub", "topic:a", "x", "--priority", "low"], "--priority is now or beat, not"),
    (["history", "topic:a", "--limit", "1001"], "at most 1000"),
    (["recall", "topic:a"], "which message?"),
    (["recall", "topic:a", "seven"], "whole number"),
    (["info", "--server", "ftp://127.0.0.1:8080"], "not an address"),
    (["info", "--server", "http://127.0.0.1/?access_token=s3cret"], "not an address"),
    (["info", "--key", "a\nb"], "--key"),
])
def test_a_command_line_that_makes_no_sense_is_64(words, said):
    done = run("http://127.0.0.1:1", *words, code=64)
    assert said in done.stderr.decode()
    assert "s3cret" not in done.stderr.decode()
    assert done.stdout == b""


@pytest.mark.parametrize("words", [
    ["sub", "topic:a"], ["sub", "topic:a", "--after", "0"], ["pub", "topic:a", "x"], ["history", "topic:a"],
    ["info"], ["info", "topic:a"], ["recall", "topic:a", "1"],
])
def test_no_server_is_one_clear_sentence_and_2(words):
    url = f"http://127.0.0.1:{free_port()}"
    done = run(url, *words, code=2)
    assert done.stderr.decode() == (f"longwire: can't reach {url}: connection refused. Is longwired running? "
                                    "Start it with `make run`, or name another with --server.\n")


def test_the_key_is_sent_as_bearer(mock):
    run(mock, "pub", "topic:a", "x", "--key", "s3cret")
    assert mock.requests[-1][2]["Authorization"] == "Bearer s3cret"


def test_a_server_without_a_scheme(mock):
    for server in (f"127.0.0.1:{mock.port}", f"localhost:{mock.port}", f"http://127.0.0.1:{mock.port}/"):
        assert lines(NOBODY, "-s", server, "pub", "topic:a", "x", "--count-only") == ["1"]
    assert lines(f"127.0.0.1:{mock.port}", "history", "topic:a", "-n", "1") == ["x"]


@pytest.mark.parametrize("words", [
    ["-n", "2", "topic:a", "--after", "0"], ["topic:a", "-C", "2", "--after=0"], ["topic:a", "--after", "0", "-n2"],
    ["--after", "0", "--count=2", "--", "topic:a"], ["-jn2", "topic:a", "--format", "text", "--after", "0", "-W", "9s"],
])
def test_options_in_any_order_short_or_long(mock, words):
    run(mock, "pub", "-q", "topic:a", "--", "-1-")
    run(mock, "pub", "topic:a", "2", "-q")
    assert lines(mock, "sub", *words) == ["-1-", "2"]


SECRETS = ["s3cret-of-a-key", "p4ssw0rd", "annabel"]


def hiding(server, *words, code=0, **more):
    """Runs it with a key and with a password in the URL, and gives what it printed, which shows neither."""
    url = server.url.replace("http://", "http://annabel:p4ssw0rd@")
    done = run(url, "--key", "s3cret-of-a-key", *words, code=code, **more)
    for text in (done.stdout.decode(), done.stderr.decode()):
        assert not any(secret in text for secret in SECRETS), text
    return done


@pytest.mark.parametrize("words", [
    ["sub", "topic:a", "--timeout", "10"], ["sub", "topic:a", "--after", "0", "-n1"], ["pub", "topic:a", "x"],
    ["history", "topic:a"], ["info"], ["info", "topic:a"], ["recall", "topic:a", "1"],
])
def test_no_secret_is_printed(mock, words):
    mock.publish("topic:a", b"x")
    done = hiding(mock, *words, "--verbose")
    assert re.search(r"^longwire: > (GET|POST|DELETE) http://\*\*\*@127.0.0.1:\d+/", done.stderr.decode(), re.M)
    assert "longwire: > Authorization: Bearer ***" in done.stderr.decode()
    assert "longwire: < HTTP 20" in done.stderr.decode()
    if words == ["info"]:
        assert f"server http://***@127.0.0.1:{mock.port}" in done.stdout.decode()


@pytest.mark.parametrize("words", [["sub", "topic:a"], ["pub", "topic:a", "x"], ["history", "topic:a"], ["info"]])
def test_no_secret_is_printed_in_errors(mock, words):
    url = f"http://127.0.0.1:{free_port()}"
    nobody = type("Nobody", (), {"url": url})
    assert "can't reach http://***@127.0.0.1" in hiding(nobody, *words, code=2).stderr.decode()
    mock.faults += [lambda request: request.problem(401, "No", f"unknown key {SECRETS[0]}") is None] * 2
    assert "HTTP 401" in hiding(mock, *words, code=1).stderr.decode()
    mock.faults.clear()
    mock.faults += [lambda request: request.answer(200, []) is None] * 2
    hiding(mock, *words, code=0 if words == ["info"] else 1)


def test_the_key_is_not_left_in_the_list_of_processes(mock):
    with Running(mock, "sub", "topic:a", "--key", "s3cret-of-a-key", "-n", "1", "-v") as sub:
        sub.wait_err("< HTTP 200")
        with open(f"/proc/{sub.process.pid}/cmdline", "rb") as words:
            assert b"s3cret" not in words.read()
        mock.publish("topic:a", b"x")
        sub.end()


@pytest.mark.parametrize("command", [["sub", "NAME", "--timeout", "0.3"], ["pub", "NAME", "x"], ["history", "NAME"]])
@pytest.mark.parametrize("name", ["topic:*", "topic:a/#", "topic:a.>", "topic:a/+/c"])
def test_a_name_that_looks_like_a_pattern_is_warned_of_and_taken(server, command, name):
    done = run(server, *[word.replace("NAME", name) for word in command])
    assert f'there are no wildcards: "{name}" is the name of one channel like any other' in done.stderr.decode()


@pytest.mark.parametrize("command", [["sub", "hello"], ["pub", "hello", "x"], ["history", "hello"], ["info", "hello"],
                                     ["recall", "hello", "1"]])
def test_a_name_without_a_namespace(server, command):
    done = run(server, *command, code=1)
    assert '"hello" names no namespace; did you mean topic:hello?' in done.stderr.decode()
    assert "HTTP 40" in done.stderr.decode()


@pytest.mark.parametrize("words", [["--help"], ["sub", "--help"], ["man"], ["completion", "zsh"], ["info"],
                                   ["pub", "topic:a", "x"], ["history", "topic:a"], ["recall", "topic:a", "1"]])
def test_a_reader_that_has_gone_is_no_complaint(mock, words):
    mock.publish("topic:a", b"x")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([LONGWIRE, *words], stdout=writer, stderr=subprocess.PIPE, timeout=SECONDS, check=False,
                          env={**os.environ, "LONGWIRE_SERVER": mock.url})
    os.close(writer)
    assert done.stderr == b""


# --- pub ----------------------------------------------------------------------------------------------------------


def test_pub_prints_channel_seq_id(server):
    assert re.fullmatch(r"topic:a 1 \d+", lines(server, "pub", "topic:a", "one")[0])
    assert lines(server, "pub", "topic:a", "two", "-q") == []
    assert lines(server, "pub", "topic:a", "three", "--count-only") == ["1"]
    assert [one["data"] for one in objects(server, "history", "topic:a")] == ["one", "two", "three"]


def test_pub_publishes_a_file_whole(server, tmp_path):
    file = tmp_path / "file"
    for content in (b"two\nlines\n", b"", bytes(range(256))):
        file.write_bytes(content)
        assert lines(server, "pub", "topic:f", "-f", file, "--count-only") == ["1"]
        assert payload(objects(server, "history", "topic:f", "-n1")[0]) == content
    assert lines(server, "pub", "topic:f", "--file", "-", "--count-only", stdin=b"all\nof it") == ["1"]
    assert payload(objects(server, "history", "topic:f", "-n1")[0]) == b"all\nof it"
    assert "No such file" in run(server, "pub", "topic:f", "-f", tmp_path / "none", code=1).stderr.decode()
    file.write_bytes(b"x" * (16 * 1024 * 1024 + 1))
    assert "more than 16777216 bytes" in run(server, "pub", "topic:f", "-f", file, code=1).stderr.decode()


def test_pub_json_prints_what_the_server_answered(server):
    assert json.loads(lines(server, "pub", "topic:a", "x", "--json")[0])["seq"] == 1
    found = [json.loads(line) for line in lines(server, "pub", "topic:a", "-j", stdin=b"y\nz\n")]
    assert [(one["channel"], one["seq"]) for one in found] == [("topic:a", 2), ("topic:a", 3)]


def test_pub_ttl_with_a_unit(mock):
    for ttl, seconds in (("90", 90), ("5m", 300), ("1h30m", 5400), ("2d", 172800)):
        run(mock, "pub", "topic:a", "x", "--ttl", ttl)
        assert mock.requests[-1][1].endswith(f"?ttl={seconds}")
    run(mock, "pub", "topic:a", "--ttl", "5m", stdin=b"x\ny\n")
    assert [one["ttl"] for one in json.loads(mock.requests[-1][3])["messages"]] == [300, 300]


def test_pub_keeps_the_media_type(server):
    run(server, "pub", "topic:a", '{"a": [1,2]}', "--media", "application/json")
    run(server, "pub", "topic:a", "-", "--media", "application/json", stdin=b'{"a":1}\n{"a":2}\n')
    found = objects(server, "history", "topic:a")
    assert [one["media"] for one in found] == ["application/json"] * 3
    assert [one["data"] for one in found] == [{"a": [1, 2]}, {"a": 1}, {"a": 2}]


@pytest.mark.parametrize("channel", ["topic:a/b", "topic:a b", "topic:ü%41?&#x=1", "topic:a:b", "topic:../x"])
def test_any_channel_name_goes_through(server, channel):
    run(server, "pub", channel, "one")
    run(server, "pub", channel, "-", stdin=b"two\nthree\n")
    assert [(one["channel"], one["data"]) for one in objects(server, "history", channel)] == [
        (channel, "one"), (channel, "two"), (channel, "three")]
    assert lines(server, "sub", channel, "--after", "0", "--count", "3") == ["one", "two", "three"]


def payload(message):
    return message["data"].encode() if "data" in message else base64.b64decode(message["data_base64"])


def test_pub_lines_keep_any_bytes(server):  # threat 56
    wanted = [b"plain", b"", b"nul\0inside", b"\xff\xfe\x00", "grün ☂".encode(), b'"quoted\\', b"cr\r", b"x" * (1 << 20),
              bytes(range(11, 256)), b"no newline at the end"]
    out = lines(server, "pub", "topic:a", "-", stdin=b"\n".join(wanted))
    assert [line.split()[1] for line in out] == [str(seq + 1) for seq in range(len(wanted))]
    assert [payload(one) for one in objects(server, "history", "topic:a")] == wanted


def test_pub_many_lines_stay_in_order(server):
    count = 5000
    text = b"".join(b"line %d\n" % number for number in range(count))
    assert lines(server, "pub", "topic:a", "--count-only", stdin=text) == [str(count)]
    found = objects(server, "history", "topic:a", "--all")
    assert [one["data"] for one in found] == [f"line {number}" for number in range(count)]
    assert [one["seq"] for one in found] == list(range(1, count + 1))


def test_pub_lines_that_wait_go_in_batches(mock):
    run(mock, "pub", "topic:a", "-q", stdin=b"x\n" * 1000)
    assert [request[1] for request in mock.requests] == ["/v1/messages"] * 10


def test_pub_makes_smaller_batches_when_told_they_are_too_large(mock):
    mock.batch_messages_max = 30
    run(mock, "pub", "topic:a", "-q", stdin=b"x\n" * 250)
    assert len(mock.payloads("topic:a")) == 250
    assert len(mock.requests) == 2 + 10  # 100 and 50 were too many; 25 are not


def test_pub_sends_a_line_as_soon_as_it_is_there(server):
    with subprocess.Popen([LONGWIRE, "pub", "topic:a"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          env={**os.environ, "LONGWIRE_SERVER": server.url}) as process:
        for seq in (1, 2, 3):
            process.stdin.write(b"hello\n")
            process.stdin.flush()
            assert process.stdout.readline().startswith(b"topic:a %d " % seq)


def test_pub_ends_by_the_signal_and_has_printed_what_was_acknowledged(server):
    with subprocess.Popen([LONGWIRE, "pub", "topic:a"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env={**os.environ, "LONGWIRE_SERVER": server.url}) as process:
        process.stdin.write(b"hello\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith(b"topic:a 1 ")
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == -signal.SIGINT
        assert process.stderr.read() == b""


def test_pub_on_a_terminal_says_what_it_waits_for(server):
    mine, its = pty.openpty()
    os.write(mine, b"hello\n\x04")
    done = subprocess.run([LONGWIRE, "pub", "topic:a", "--count-only"], stdin=its, capture_output=True, timeout=SECONDS,
                          check=False, env={**os.environ, "LONGWIRE_SERVER": server.url})
    assert done.stderr == b"longwire: each line is a message; Ctrl-D ends\n" and done.stdout == b"1\n"
    os.close(mine)
    os.close(its)


def test_pub_rate_is_not_exceeded(server):
    began = time.monotonic()
    run(server, "pub", "topic:a", "--rate", "50/s", stdin=b"x\n" * 26)
    assert time.monotonic() - began >= 0.5


def test_pub_same_key_publishes_once(server):  # threat 17, without the crash
    for _ in range(2):
        run(server, "pub", "topic:a", "one", "--key-id", "k")
        run(server, "pub", "topic:a", "-", "--key-id", "file", stdin=b"l1\nl2\nl3\n")
    assert [one["data"] for one in objects(server, "history", "topic:a")] == ["one", "l1", "l2", "l3"]


def refuse(status, after=None):
    def fault(request):
        request.problem(status, "Not now", "try later", [("Retry-After", after)] if after else [])
        return True
    return fault


def swallow(request):
    """Serves the request, and cuts the link before the answer."""
    if request.path == "/v1/messages":
        for item in json.loads(request.body)["messages"]:
            request.mock.publish(item["channel"], item["data"].encode(), None, item["key"])
    else:
        request.mock.publish("topic:a", request.body, None, request.headers["Idempotency-Key"])
    request.close_connection = True
    return True


@pytest.mark.parametrize("words, stdin", [(["one"], b""), (["-"], b"one\ntwo\nthree\n")])
@pytest.mark.parametrize("status", [429, 503, 507])
def test_pub_waits_when_told_to_and_doubles_nothing(mock, words, stdin, status):
    mock.faults += [refuse(status, "1"), refuse(status)]
    began = time.monotonic()
    run(mock, "pub", "topic:a", *words, stdin=stdin)
    assert time.monotonic() - began >= 1
    assert mock.payloads("topic:a") == (stdin.decode().split() or ["one"])
    if not stdin:
        assert len({headers["Idempotency-Key"] for _, _, headers, _ in mock.requests}) == 1


@pytest.mark.parametrize("words, stdin", [(["one"], b""), (["-"], b"one\ntwo\nthree\n")])
def test_pub_retry_after_a_lost_answer_doubles_nothing(mock, words, stdin):
    mock.faults += [swallow, swallow]
    run(mock, "pub", "topic:a", "--retry", *words, stdin=stdin)
    assert mock.payloads("topic:a") == (stdin.decode().split() or ["one"])


def test_pub_without_retry_says_which_line_is_in_doubt(mock):
    mock.faults.append(swallow)
    done = run(mock, "pub", "topic:a", stdin=b"one\ntwo\n", code=2)
    assert "0 lines were acknowledged; line 1 was not" in done.stderr.decode()


def test_pub_gives_up_after_its_timeout(mock):
    mock.faults += [refuse(503)] * 1000
    assert "--timeout" in run(mock, "pub", "topic:a", "x", "--timeout", "0.5", code=3).stderr.decode()


def test_pub_refused_says_why(server):
    done = run(server, "pub", "nosuch:a", "x", code=1)
    assert "HTTP 404" in done.stderr.decode() and done.stdout == b""
    assert "HTTP 413" in run(server, "pub", "topic:a", stdin=b"x" * ((1 << 20) + 1), code=1).stderr.decode()


def test_pub_lines_put_off_one_by_one_follow_and_are_not_doubled(mock):  # threat 57
    mock.put_off += [b"two", b"four"]
    done = run(mock, "pub", "topic:a", stdin=b"one\ntwo\nthree\nfour\nfive\n")
    assert mock.payloads("topic:a") == ["one", "three", "five", "two", "four"]
    assert [line.split()[1] for line in done.stdout.decode().splitlines()] == ["1", "2", "3", "4", "5"]


def test_pub_refused_line_is_named_and_ends_it(mock):  # threat 57
    done = run(mock, "pub", "topic:a", stdin=b"one\nrefuse me\nthree\n" + b"more\n" * 200, code=1)
    assert done.stderr.decode() == "longwire: line 2: Refused: as asked (HTTP 422)\n"
    assert mock.payloads("topic:a")[:2] == ["one", "three"]
    assert len(done.stdout.splitlines()) == len(mock.payloads("topic:a")) == 99


# --- sub ----------------------------------------------------------------------------------------------------------


def test_sub_begins_where_it_is_told(server):
    run(server, "pub", "topic:a", stdin=b"1\n2\n3\n4\n")
    assert lines(server, "sub", "topic:a", "--after", "0", "--count", "4") == ["1", "2", "3", "4"]
    assert lines(server, "sub", "topic:a", "--after", "2", "--count", "2") == ["3", "4"]
    assert lines(server, "sub", "topic:a", "--last", "1", "--count", "1") == ["4"]
    second = objects(server, "sub", "topic:a", "--after", "0", "--count", "2")[-1]
    assert second["seq"] == 2
    assert lines(server, "sub", "--cursor", second["cursor"], "--count", "2") == ["3", "4"]


def test_sub_prints_at_once_what_comes(server):
    run(server, "pub", "topic:a", "before")
    run(server, "pub", "topic:b", "before")
    with Running(server, "sub", "topic:a", "topic:b", "--last", "1", "--format", "json") as sub:
        sub.wait_out(2)
        for number in range(1, 20):
            channel = "topic:a" if number % 2 else "topic:b"
            run(server, "pub", channel, f"m{number}")
            sub.wait_out(number + 2)
            last = json.loads(sub.out[-1])
            assert (last["type"], last["channel"], last["data"]) == ("message", channel, f"m{number}")
        sub.process.send_signal(signal.SIGINT)
        assert len(sub.end()) == 21
        assert sub.err == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_sub_leaves_quietly_when_told(server, number):
    run(server, "pub", "topic:a", "x")
    with Running(server, "sub", "topic:a", "--after", "0") as sub:
        sub.wait_out(1)
        sub.process.send_signal(number)
        assert sub.end() == ["x"] and sub.err == []


def test_sub_timeout(server):
    run(server, "sub", "topic:a", "--timeout", "0.3")
    run(server, "sub", "topic:a", "--timeout", "0.3", "--count", "1", code=3)


def test_sub_keeps_bytes(server):  # threat 56
    run(server, "pub", "topic:a", stdin=b"nul\0 \xff\n" + "☂\n".encode() + b"big" * 300000)
    done = run(server, "sub", "topic:a", "--after", "0", "--count", "3")
    assert done.stdout == b"nul\0 \xff\n" + "☂\n".encode() + b"big" * 300000 + b"\n"


def test_sub_shows_which_channel_if_there_are_several(server):
    run(server, "pub", "topic:a", "x")
    run(server, "pub", "topic:b c", "y\tz")
    both = lines(server, "sub", "topic:a", "topic:b c", "--after", "0", "-n", "2")
    assert sorted(both) == ["topic:a\tx", "topic:b c\ty\tz"]
    assert lines(server, "sub", "topic:b c", "--after", "0", "-n", "1") == ["y\tz"]


def test_format_of_ones_own(server):
    run(server, "pub", "topic:a", '{"n": 1}', "--media", "application/json")
    run(server, "pub", "topic:a", stdin=b"\xff\n")
    found = objects(server, "history", "topic:a")
    first = found[0]
    assert lines(server, "history", "topic:a", "-n", "1", "-F", "{base64}|{size}|{media}") == [
        "/w==|1|application/octet-stream"]
    line, = lines(server, "sub", "topic:a", "--after", "0", "-n", "1", "--format",
                  "{channel}\\t{seq} {epoch} {id} {time} [{from}] {data} {{}}")
    assert line == f"topic:a\t1 {first['epoch']} {first['id']} {first['time']} [] {{\"n\": 1}} {{}}"
    assert json.loads(lines(server, "history", "topic:a", "-F", "{json}")[0]) == first
    local = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(first["time"] // 1000))
    utc = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(first["time"] // 1000))
    ms = f".{first['time'] % 1000:03}"
    assert lines(server, "history", "topic:a", "-F", "{date}|{utc}")[0] == f"{local}{ms}|{utc}{ms}Z"
    cursor = lines(server, "sub", "topic:a", "--after", "0", "-n", "1", "-F", "{cursor}")[0]
    assert run(server, "sub", "--cursor", cursor, "-n", "1").stdout == b"\xff\n"


def test_format_of_ones_own_does_not_steer_the_terminal(server):
    run(server, "pub", "topic:a", "\x1b]0;owned\x07")
    for template in ("{seq} {data}", "1 {json}"):
        line = read_terminal(server, "history", "topic:a", "-F", template).split("\n")[0]
        assert "\x1b" not in line and line.startswith("1 ")


def test_history_on_a_terminal_has_dates_in_local_time(server):
    run(server, "pub", "topic:a", "x")
    at = objects(server, "history", "topic:a")[0]["time"]
    day = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at // 1000))
    assert read_terminal(server, "history", "topic:a") == f"topic:a  1  {day}.{at % 1000:03}  x\n"
    assert lines(server, "history", "topic:a") == ["x"]


def test_sub_refused_says_why(server):
    assert "HTTP 404" in run(server, "sub", "nosuch:a", code=1).stderr.decode()
    assert "HTTP 404" in run(server, "sub", "nosuch:a", "--after", "0", code=1).stderr.decode()


def test_sub_loses_and_repeats_nothing_over_a_bad_link(server):  # threats 29, 31: the client's part
    count = 600
    run(server, "pub", "topic:a", "-q", stdin=b"".join(b"%d\n" % number for number in range(count // 2)))
    with Link(server.port) as link:
        link.bytes_max = 7001
        with Running(link, "sub", "topic:a", "--after", "0", "--format", "json", "--count", str(count)) as sub:
            run(server, "pub", "topic:a", "-q", "--rate", "300",
                stdin=b"".join(b"%d\n" % number for number in range(count // 2, count)))
            found = [json.loads(line) for line in sub.end()]
        assert link.taken > 5
    assert [one["data"] for one in found] == [str(number) for number in range(count)]
    assert [one["seq"] for one in found] == list(range(1, count + 1))


def test_sub_from_now_on_keeps_its_place_before_the_first_message(server):
    run(server, "pub", "topic:a", "old")
    with Link(server.port) as link, Running(link, "sub", "topic:a", "--count", "2") as sub:
        wait_until(lambda: link.answers == 2)  # the place, and the head of the stream
        link.down()
        run(server, "pub", "topic:a", "while away")
        sub.wait_err("next try")
        link.up()
        run(server, "pub", "topic:a", "back again")
        assert sub.end() == ["while away", "back again"]
        assert "longwire: connected again" in sub.err


def test_sub_comes_back_when_the_server_does(server):
    with Link(server.port) as link, Running(link, "sub", "topic:a", "--after", "0", "--count", "3") as sub:
        run(server, "pub", "topic:a", "1")
        sub.wait_out(1)
        link.down()
        sub.wait_err("can't reach the server")
        run(server, "pub", "topic:a", "2")
        link.up()
        run(server, "pub", "topic:a", "3")
        assert sub.end() == ["1", "2", "3"]


def test_sub_once_does_not_come_back(server):
    with Link(server.port) as link, Running(link, "sub", "topic:a", "--after", "0", "--once") as sub:
        run(server, "pub", "topic:a", "1")
        sub.wait_out(1)
        link.down()
        assert sub.end(code=2) == ["1"]


def test_sub_retry_waits_for_a_server_that_is_not_there_yet():
    port = free_port()
    with Running(type("Nobody", (), {"url": f"http://127.0.0.1:{port}"}), "sub", "topic:a", "--after", "0", "--retry",
                 "--count", "1") as sub:
        sub.wait_err("can't reach the server: connection refused; next try in")
        with Mock(port) as mock:
            mock.publish("topic:a", b"at last")
            assert sub.end() == ["at last"]


def test_sub_takes_silence_for_a_dead_link(mock):  # threat 29: the client's part
    with Running(mock, "sub", "topic:a", "--after", "0", "--silence", "0.3", "--count", "1") as sub:
        sub.wait_err("link lost: it fell silent")
        mock.publish("topic:a", b"still there")
        assert sub.end() == ["still there"]


def test_sub_heartbeats_keep_the_link(mock):
    mock.heartbeat = 0.1
    with Running(mock, "sub", "topic:a", "--after", "0", "--silence", "4", "--count", "1", "--format", "json") as sub:
        time.sleep(5)  # longer than the silence that would end it: what is awaited is that nothing happens
        mock.publish("topic:a", b"x")
        assert len(sub.end()) == 1
        assert sub.err == []
    assert len(mock.requests) == 1


def test_sub_waits_as_long_as_the_server_asks(mock):
    mock.publish("topic:a", b"x")
    mock.faults.append(refuse(503, "1"))
    began = time.monotonic()
    assert lines(mock, "sub", "topic:a", "--after", "0", "--count", "1") == ["x"]
    assert time.monotonic() - began >= 1


def unread(request):
    request.answer(200, {"messages": [], "cursor": None})
    return True


def test_sub_waits_for_a_server_that_cannot_read_its_log(mock):
    """A null cursor asks to repeat the poll."""
    mock.faults += [unread, unread]
    with Running(mock, "sub", "topic:a", "--count", "1") as sub:
        sub.wait_err("can't read its log just now; next try in")
        wait_until(lambda: len(mock.requests) >= 4)
        mock.publish("topic:a", b"now")
        assert sub.end() == ["now"]


def test_sub_once_does_not_wait_for_a_server_that_cannot_read_its_log(mock):
    mock.faults.append(unread)
    assert b"can't read its log just now" in run(mock, "sub", "topic:a", "--once", code=1).stderr


@pytest.mark.parametrize("words", [["--after", "0"], []])
def test_sub_goes_to_the_next_server_where_one_is_drained(mock, words):
    """A drained node may answer 503 until it is restarted."""
    mock.faults += [refuse(503, "1")] * 9
    with Mock() as other:
        two = type("Two", (), {"url": f"{mock.url},{other.url}"})
        with Running(two, "sub", "topic:a", "--count", "1", *words) as sub:
            wait_until(lambda: other.requests)
            other.publish("topic:a", b"here")
            assert sub.end() == ["here"]
    assert len(mock.requests) == 1


def test_sub_says_gaps_and_recalls(mock):
    def stream(request):
        for one in ({"type": "gap", "channel": "topic:a", "epoch": "e1", "from": 1, "to": 9, "why": "trimmed"},
                    {"type": "recall", "channel": "topic:a", "seq": 10, "target": 4},
                    {"type": "message", "channel": "topic:a", "seq": 11, "data": {"x": [1, "\u0007"]}}):
            request.body += json.dumps({**one, "cursor": "c"}).encode() + b"\n"
        request.send_response(200)
        request.end_headers()
        request.wfile.write(request.body)
        request.close_connection = True
        return True

    mock.faults += [stream, stream]
    done = run(mock, "sub", "topic:a", "--after", "0", "--count", "1")
    assert done.stdout == b'{"x": [1, "\\u0007"]}\n'
    assert done.stderr.decode() == ("longwire: topic:a: gap: 1 to 9 can't be had (trimmed)\n"
                                    "longwire: topic:a: message 4 was recalled\n")
    found = objects(mock, "sub", "topic:a", "--after", "0", "--count", "1")
    assert [one["type"] for one in found] == ["gap", "recall", "message"]


@pytest.mark.parametrize("cursor", ["", "a b", "x\r\nEvil: 1"])
def test_sub_takes_no_cursor_that_would_break_out_of_its_header(mock, cursor):  # threat 58: the client's part
    mock.faults.append(lambda request: request.answer(200, {"messages": [], "cursor": cursor}) is None)
    assert "cursor that can't be one" in run(mock, "sub", "topic:a", code=1).stderr.decode()
    assert "--cursor needs" in run(mock, "sub", "--cursor", cursor, code=64).stderr.decode()


@pytest.mark.parametrize("junk", [b"<html>hello</html>\n", b"[1]\n", b'{"type":"message"\n', b"17\n", b"{}{}\n"])
def test_sub_is_not_confused_by_something_else_than_longwire(mock, junk):
    def page(request):
        request.send_response(200)
        request.send_header("Content-Length", str(len(junk)))
        request.end_headers()
        request.wfile.write(junk)
        return True

    mock.faults.append(page)
    assert "is it Longwire" in run(mock, "sub", "topic:a", "--after", "0", code=1).stderr.decode()


def test_sub_leaves_when_its_reader_has_gone(server):
    run(server, "pub", "topic:a", stdin=b"x\n" * 10)
    with subprocess.Popen([LONGWIRE, "sub", "topic:a", "--after", "0"], stdout=subprocess.PIPE,
                          env={**os.environ, "LONGWIRE_SERVER": server.url}) as process:
        assert process.stdout.readline() == b"x\n"
        process.stdout.close()
        run(server, "pub", "topic:a", "one more")
        assert process.wait(SECONDS) == 0


def test_sub_full_disk_is_said(server):
    run(server, "pub", "topic:a", "x")
    with open("/dev/full", "wb") as full, Running(server, "sub", "topic:a", "--after", "0", stdout=full) as sub:
        sub.end(code=1)
        assert "No space left" in sub.err[0]


def read_terminal(server, *words):
    """What it prints on a terminal."""
    mine, its = pty.openpty()
    process = subprocess.Popen([LONGWIRE, *words], stdout=its, stderr=subprocess.PIPE,
                               env={**os.environ, "LONGWIRE_SERVER": server.url})
    os.close(its)
    text = b""
    while select.select([mine], [], [], SECONDS)[0]:
        try:
            text += os.read(mine, 65536)
        except OSError:  # the other end has closed
            break
    os.close(mine)
    assert process.wait(SECONDS) == 0
    process.stderr.close()
    return text.decode().replace("\r\n", "\n")


def test_sub_payload_does_not_steer_the_terminal(server):
    run(server, "pub", "topic:a", stdin="\x1b]0;owned\x07 ☂ \u009b2J\n".encode() + b"\xff\xfe\n")
    first, second, _ = read_terminal(server, "sub", "topic:a", "--after", "0", "--count", "2").split("\n")
    assert re.fullmatch(r"topic:a  1  [-\d]{10} [:\d]{8}\.\d{3}  \\x1b]0;owned\\x07 ☂ \\xc2\\x9b2J", first)
    assert second.endswith("  (2 bytes of application/octet-stream)")


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])


def test_sub_memory_does_not_grow(server):
    with Running(server, "sub", "topic:a", "--after", "0") as sub:
        sizes = []
        for round_number in range(1, 6):
            run(server, "pub", "topic:a", "-q", stdin=(b"y" * 1000 + b"\n") * 4000)
            sub.wait_out(4000 * round_number)
            sizes.append(resident_kib(sub.process.pid))
    assert sizes[-1] - sizes[0] < 1500, sizes


# --- history, info, recall ------------------------------------------------------------------------------------------


def test_history_bounds(server):
    run(server, "pub", "topic:a", "-q", stdin=b"".join(b"%d\n" % number for number in range(1, 2501)))

    def seqs(*words):
        return [one["seq"] for one in objects(server, "history", "topic:a", *words)]

    assert seqs() == list(range(2401, 2501))
    assert seqs("--limit", "3") == [2498, 2499, 2500]
    assert seqs("--after", "0", "--limit", "2") == [1, 2]
    assert seqs("--after", "2498") == [2499, 2500]
    assert seqs("--before", "10", "--limit", "4") == [6, 7, 8, 9]
    assert seqs("--before", "3") == [1, 2]
    assert seqs("--all") == list(range(1, 2501))
    assert seqs("--all", "--after", "1200") == list(range(1201, 2501))
    assert seqs("--all", "--before", "1300") == list(range(1, 1300))
    assert seqs("--all", "--limit", "1500") == list(range(1, 1501))
    assert lines(server, "history", "topic:a", "--limit", "2") == ["2499", "2500"]


def test_control_messages_are_told_of(server):
    member = urllib.request.Request(f"{server.url}/v1/groups/team/members/ann", method="PUT")
    with urllib.request.urlopen(member, timeout=SECONDS):
        pass
    run(server, "pub", "user:ann", "hello")
    assert [one["type"] for one in objects(server, "history", "user:ann")] == ["membership", "message"]
    history = run(server, "history", "user:ann")
    assert (history.stdout, history.stderr) == (b"hello\n", b"longwire: user:ann: 1 is a control message: membership\n")
    followed = run(server, "sub", "user:ann", "--after", "0", "--count", "1")
    assert (followed.stdout, followed.stderr) == (history.stdout, history.stderr)
    assert [one["type"] for one in objects(server, "sub", "user:ann", "--after", "0", "--count", "1")] == ["membership", "message"]


def test_history_of_a_channel_never_used_is_empty(server):
    assert lines(server, "history", "topic:never") == []
    assert lines(server, "history", "topic:never", "--all") == []


def test_what_the_server_takes_the_tool_reads(server):  # threat 55: 64 deep there stands deeper in a page of history
    deep = b"[" * 64 + b"]" * 64
    doubled = b'{"a":1,"a":2,"\\u0061":1e308}'
    run(server, "pub", "topic:a", "-", "--media", "application/json", stdin=deep + b"\n" + doubled)
    wanted = [deep.decode(), doubled.decode()]
    assert lines(server, "history", "topic:a") == wanted
    assert lines(server, "sub", "topic:a", "--after", "0", "--count", "2") == wanted
    assert "HTTP 400" in run(server, "pub", "topic:a", "[" + deep.decode() + "]", "--media", "application/json",
                             code=1).stderr.decode()


def test_history_of_payloads_that_grow_as_json(server):  # each byte becomes \u0001
    payloads = [b"\1" * (1 << 20)] * 5
    run(server, "pub", "topic:a", "-q", stdin=b"\n".join(payloads))
    assert run(server, "history", "topic:a", "--all").stdout.split(b"\n")[:-1] == payloads


def test_a_page_of_history_that_is_no_page(mock):
    for body in ({"messages": {}}, {"messages": [1]}, {}, []):
        mock.faults.append(lambda request, body=body: request.answer(200, body) is None)
        assert b"can't be understood" in run(mock, "history", "topic:a", code=1).stderr


def publish_over_time(server, channel, moments):
    """Publishes "0", "1" …, each at least 1.2 s behind the one before, and gives their times in ms."""
    for number in range(moments):
        if number > 0:
            time.sleep(1.2)  # what is tested is the passing of time
        run(server, "pub", channel, str(number), "-q")
    return [one["time"] for one in objects(server, "history", channel)]


def test_history_and_sub_since(server):
    first, second, third = publish_over_time(server, "topic:a", 3)
    run(server, "pub", "topic:b", "b", "-q")
    assert lines(server, "history", "topic:a", "--since", "1h") == ["0", "1", "2"]
    assert lines(server, "history", "topic:a", "--since", "1h", "-n", "2") == ["0", "1"]
    assert lines(server, "history", "topic:a", "--since", f"@{second}") == ["1", "2"]
    assert lines(server, "history", "topic:a", "--since", f"@{first + 1}", "--until", f"@{third - 1}") == ["1"]
    assert lines(server, "history", "topic:a", "--until", f"@{second}") == ["0", "1"]
    assert lines(server, "history", "topic:a", "--all", "--until", f"@{second}") == ["0", "1"]
    assert lines(server, "history", "topic:a", "--since", f"@{third + 1}") == []
    day = time.strftime("%Y-%m-%d", time.localtime(first / 1000))
    assert lines(server, "history", "topic:a", "--since", day) == ["0", "1", "2"]
    assert lines(server, "sub", "topic:a", "--since", f"@{second}", "-n", "2") == ["1", "2"]
    assert sorted(lines(server, "sub", "topic:a", "topic:b", "--since", f"@{third}", "-n", "2")) == [
        "topic:a\t2", "topic:b\tb"]
    with Running(server, "sub", "topic:a", "topic:never", "--since", f"@{third + 1}", "-n", "2", "-v") as sub:
        wait_until(lambda: sum("< HTTP 200" in line for line in sub.err) >= 2)
        run(server, "pub", "topic:a", "new", "-q")
        run(server, "pub", "topic:never", "newer", "-q")
        assert sorted(sub.end()) == ["topic:a\tnew", "topic:never\tnewer"]
    assert "HTTP 404" in run(server, "sub", "nosuch:a", "--since", "1h", code=1).stderr.decode()


def test_history_since_reads_page_by_page(server):
    run(server, "pub", "topic:a", "-q", stdin=b"".join(b"%d\n" % number for number in range(2500)))
    assert lines(server, "history", "topic:a", "--since", "1h") == [str(number) for number in range(2500)]
    assert len(lines(server, "history", "topic:a", "--since", "1h", "-n", "1500")) == 1500


def test_channels_are_listed(server):
    names = [f"topic:c{number:04}" for number in range(1200)]
    batch = json.dumps({"messages": [{"channels": names[:1000], "data": "x"}]}).encode()
    post(server, batch)
    post(server, json.dumps({"messages": [{"channels": names[1000:] + ["user:ann"], "data": "x"}]}).encode())
    assert lines(server, "channels", "topic:") == names
    assert lines(server, "channels", "topic:c11") == names[1100:]
    assert lines(server, "channels", "topic:", "-n", "3") == names[:3]
    assert lines(server, "channels", "topic:", "--limit", "1100") == names[:1100]
    assert lines(server, "channels", "nope:") == []
    assert "user:ann" in lines(server, "channels")
    found = objects(server, "channels", "user:")[0]
    assert (found["channel"], found["head"], found["subscribers"]) == ("user:ann", 1, 0)
    assert lines(server, "channels", "user:", "-F", "{channel} {first} {head} {subscribers}") == ["user:ann 1 1 0"]
    assert read_terminal(server, "channels", "user:").splitlines() == [
        "        HEAD       FIRST         BYTES SUBSCRIBERS  CHANNEL",
        "           1           1             1           0  user:ann"]


def post(server, batch):
    request = urllib.request.Request(server.url + "/v1/messages", batch, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=SECONDS).close()


def test_purge(server):
    run(server, "pub", "topic:a", "-q", stdin=b"1\n2\n3\n")
    with Running(server, "sub", "topic:a", "--after", "0", "-n", "4") as sub:
        sub.wait_out(3)
        assert lines(server, "purge", "topic:a") == ["purged topic:a 3"]
        assert lines(server, "history", "topic:a") == []
        assert re.fullmatch(r"topic:a 4 \d+", lines(server, "pub", "topic:a", "4")[0])
        assert sub.end() == ["1", "2", "3", "4"]
    done = run(server, "sub", "topic:a", "--after", "1", "-n", "1")
    assert done.stdout == b"4\n" and b"topic:a: gap: 2 to 3 can't be had" in done.stderr
    assert "HTTP 40" in run(server, "purge", "nosuch:a", code=1).stderr.decode()


def test_purge_on_a_terminal_needs_yes(mock):
    mine, its = pty.openpty()
    done = subprocess.run([LONGWIRE, "purge", "topic:a"], stdin=its, capture_output=True, timeout=SECONDS, check=False,
                          env={**os.environ, "LONGWIRE_SERVER": mock.url})
    assert done.returncode == 64 and b"add --yes to do it" in done.stderr and mock.requests == []
    mock.faults.append(lambda request: request.answer(200, {"channel": "topic:a", "purged": 3}) is None)
    done = subprocess.run([LONGWIRE, "purge", "topic:a", "-y"], stdin=its, capture_output=True, timeout=SECONDS,
                          check=False, env={**os.environ, "LONGWIRE_SERVER": mock.url})
    assert done.stdout == b"purged topic:a 3\n"
    assert mock.requests[0][:2] == ("DELETE", "/v1/channels/topic%3Aa")
    os.close(mine)
    os.close(its)


def test_pub_event(server):
    run(server, "pub", "topic:a", "x", "--event", "grün & 100%")
    run(server, "pub", "topic:a", "-e", "tick", stdin=b"y\nz\n")
    assert lines(server, "history", "topic:a", "-F", "{event}|{data}") == ["grün & 100%|x", "tick|y", "tick|z"]
    run(server, "pub", "topic:a", "no event")
    assert "event" not in objects(server, "history", "topic:a", "-n", "1")[0]


def test_pub_collapse_key(server):
    """Who is behind gets the newest message of each key."""
    for score in ("0:0", "1:0"):
        run(server, "pub", "topic:a", score, "--collapse-key", "grün & 100%")
    run(server, "pub", "topic:a", "--collapse-key", "grün & 100%", stdin=b"1:1\n2:1\n")
    behind = objects(server, "sub", "topic:a", "--after", "0", "-n", "1", "-j")
    assert [(one["type"], one.get("why"), one.get("data")) for one in behind] == [("gap", "collapsed", None), ("message", None, "2:1")]


def test_pub_priority_and_collapse_key_are_sent(mock):
    run(mock, "pub", "topic:a", "x", "--priority", "beat", "--collapse-key", "a b")
    assert mock.requests[-1][1].endswith("/messages?priority=beat") and mock.requests[-1][2]["Collapse-Key"] == "a%20b"
    run(mock, "pub", "topic:a", "x", "--priority", "beat", "--ttl", "5")
    assert mock.requests[-1][1].endswith("/messages?ttl=5&priority=beat")
    run(mock, "pub", "topic:a", "x", "--priority", "now")
    assert mock.requests[-1][1].endswith("/messages") and "Collapse-Key" not in mock.requests[-1][2]
    run(mock, "pub", "topic:a", "--priority", "beat", "--collapse-key", "a b", stdin=b"x\ny\n")
    assert [(one["priority"], one["collapse_key"]) for one in json.loads(mock.requests[-1][3])["messages"]] == [("beat", "a b")] * 2
    run(mock, "pub", "topic:a", stdin=b"x\ny\n")
    assert not {"priority", "collapse_key"} & {name for one in json.loads(mock.requests[-1][3])["messages"] for name in one}


def test_info_of_the_server(server):
    out = lines(server, "info")
    assert out[0] == f"server {server.url}"
    assert "alive yes" in out and "ready yes" in out


def test_info_says_when_it_is_not_ready(mock):
    mock.faults += [lambda request: request.answer(200, {"version": "1.2.3"}) is None, refuse(503)]
    out = lines(mock, "info", code=1)
    assert "version 1.2.3" in out and "ready no" in out


def test_info_alive_does_not_ask_whether_it_is_ready(mock):
    mock.faults += [lambda request: request.answer(200, {"status": "ok"}) is None, refuse(503)]
    assert lines(mock, "info", "--alive") == [f"server {mock.url}", "alive yes", "status ok"]
    assert [request[1] for request in mock.requests] == ["/healthz"]
    assert "not of a channel" in run(mock, "info", "--alive", "topic:a", code=64).stderr.decode()


def test_info_of_a_channel(server):
    run(server, "pub", "topic:a", stdin=b"1\n2\n")
    out = lines(server, "info", "topic:a")
    assert "channel topic:a" in out and "head 2" in out
    assert objects(server, "info", "topic:a")[0]["head"] == 2
    assert "HTTP 404" in run(server, "info", "topic:never", code=1).stderr.decode()


def test_recall(server):
    run(server, "pub", "topic:a", stdin=b"1\n2\n3\n")
    assert lines(server, "recall", "topic:a", "2") == ["recalled topic:a 2"]
    found = objects(server, "history", "topic:a")
    assert [one["type"] for one in found] == ["message", "message", "message", "recall"]
    assert found[1].get("recalled") is True and "data" not in found[1]
    done = run(server, "history", "topic:a")
    assert done.stdout == b"1\n3\n"
    assert done.stderr == b"longwire: topic:a: message 2 was recalled\n"
    assert "HTTP 404" in run(server, "recall", "topic:a", "99", code=1).stderr.decode()
