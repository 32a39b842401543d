"""The examples of the README, docs/http-api.md and docs/command-line.md, run in order against a fresh server; the OpenAPI
document held to what the server answers; docs/operations.md to the metrics and log events that there are;
docs/command-line.md to the tool's table of commands.

A ```sh block under `<!-- run -->` is run; what it prints must have the shape of the block behind it. JSON lines must have the
same members of the same types, other lines the same text but for numbers, epochs and cursors. A command that goes on for
ever (a stream) is ended when it has printed all that is expected.
"""
import json
import os
import re
import signal
import subprocess
import threading
import urllib.error
import urllib.request

import jsonschema
import pytest

from longwire_server import BUILD, ROOT, Server
from waiting import SECONDS

PAGES = ["README.md", "docs/http-api.md", "docs/command-line.md"]

EXAMPLE = re.compile(r"<!-- (?P<mark>run|kill the server and start it again) -->\n"
                     r"(?:```sh\n(?P<command>.*?)```\n(?:```(?:json|text)\n(?P<output>.*?)```\n)?)?", re.S)


def shape(value):
    """Values become the names of their types; a list has the shapes of its members."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(member) for member in value]
    return type(value).__name__


def line_shape(line):
    name, mark, rest = line.partition("data: ")
    if mark and not name:
        return "data:", line_shape(rest)
    try:
        return shape(json.loads(line))
    except ValueError:
        return re.sub(r"^id: \S+$", "id: CURSOR", re.sub(r"\b[0-9a-f]{16}\b|[0-9]+", "N", line))


def run(command, server, line_count):
    """Gives the first line_count lines of what it prints, or all of them if it ends before."""
    command = command.replace("http://127.0.0.1:8080", server.url).replace("build/longwire ", f"{BUILD}/longwire ")
    with subprocess.Popen(["sh", "-euc", command.replace("curl ", "curl -sS ")], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
                          env={**os.environ, "LONGWIRE_SERVER": server.url,
                               "PATH": f"{BUILD.resolve()}:{os.environ['PATH']}"}) as process:
        watchdog = threading.Timer(SECONDS, os.killpg, (process.pid, signal.SIGKILL))
        watchdog.start()
        lines = []
        while len(lines) < line_count and (line := process.stdout.readline()):
            lines.append(line.rstrip("\n"))
        watchdog.cancel()
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended by itself
        return lines


@pytest.mark.parametrize("page", PAGES)
def test_page(page):
    examples = list(EXAMPLE.finditer((ROOT / page).read_text()))
    assert len(examples) >= 4
    with Server() as server:
        for example in examples:
            if example["mark"] != "run":
                server.kill()
                server.start()
                continue
            assert example["output"], f"no output is shown for {example['command']}"
            wanted = example["output"].rstrip("\n").split("\n")
            got = run(example["command"], server, len(wanted))
            assert list(map(line_shape, got)) == list(map(line_shape, wanted)), example["command"]


def test_the_reference_of_the_command_line_is_what_the_tool_prints():
    made = subprocess.run([BUILD / "longwire", "man", "--markdown"], capture_output=True, timeout=SECONDS, check=True,
                          text=True).stdout
    _, _, reference = (ROOT / "docs" / "command-line.md").read_text().partition("a test holds it to that. -->\n\n")
    assert reference == made, "put what `longwire man --markdown` prints behind that line"


# --- openapi.json ----------------------------------------------------------------------------------------------------

DOCUMENT = json.loads((ROOT / "docs" / "openapi.json").read_text())
SCHEMAS = {"components": DOCUMENT["components"]}


def ask(server, method, path, body=None, headers=None):
    request = urllib.request.Request(server.url + path, body, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


# path of the document, method, path asked for, body, headers, status that must come
CALLS = [
    ("/v1/channels/{channel}/messages", "post", "/v1/channels/topic:a/messages", b"x", {"Idempotency-Key": "k"}, 201),
    ("/v1/channels/{channel}/messages", "post", "/v1/channels/topic:a/messages", b"x", {"Idempotency-Key": "k"}, 200),
    ("/v1/channels/{channel}/messages", "post", "/v1/channels/topic:a/messages", b"y", {"Idempotency-Key": "k"}, 422),
    ("/v1/channels/{channel}/messages", "post", "/v1/channels/topic:a/messages?ttl=0", b"y", {}, 400),
    ("/v1/channels/{channel}/messages", "post", "/v1/channels/topic:a/messages", b"y", {"Content-Type": "?"}, 415),
    ("/v1/channels/{channel}/messages", "post", "/v1/channels/sys:a/messages", b"y", {}, 403),
    ("/v1/channels/{channel}/messages", "post", "/v1/channels/nope:a/messages", b"y", {}, 404),
    ("/v1/channels/{channel}/messages", "post", "/v1/channels/topic:a/messages", b"y" * (1 << 20 | 1), {}, 413),
    ("/v1/channels/{channel}/messages/{seq}", "delete", "/v1/channels/topic:a/messages/1", None, {}, 200),
    ("/v1/channels/{channel}/messages/{seq}", "delete", "/v1/channels/topic:a/messages/99", None, {}, 404),
    ("/v1/messages", "post", "/v1/messages", json.dumps({"messages": [
        {"channel": "topic:a", "data": 1}, {"channel": "topic:a", "data": "b", "key": "k2"}, {"channel": "topic:a"},
        {"channel": "topic:a", "data": "b", "key": "k2"}, {"channels": ["topic:b", "nope:c"], "data": {}},
        {"channel": "topic:a", "data_base64": "AP8="}]}).encode(), {"Content-Type": "application/json"}, 200),
    ("/v1/messages", "post", "/v1/messages", b"[]", {"Content-Type": "application/json"}, 400),
    ("/v1/messages", "post", "/v1/messages", b"x", {"Content-Type": "text/plain"}, 415),
    ("/v1/channels/{channel}/messages", "get", "/v1/channels/topic:a/messages", None, {}, 200),
    ("/v1/channels/{channel}/messages", "get", "/v1/channels/topic:a/messages?limit=0", None, {}, 400),
    ("/v1/channels/{channel}/messages", "get", "/v1/channels/topic:a/messages?since=1h&until=0s", None, {}, 200),
    ("/v1/channels/{channel}/messages", "get", "/v1/channels/topic:a/messages?since=now", None, {}, 400),
    ("/v1/channels", "get", "/v1/channels?prefix=topic:", None, {}, 200),
    ("/v1/channels", "get", "/v1/channels?limit=1", None, {}, 200),
    ("/v1/channels", "get", "/v1/channels?match=topic:*", None, {}, 400),
    ("/v1/channels/{channel}", "get", "/v1/channels/topic:a", None, {}, 200),
    ("/v1/channels/{channel}", "get", "/v1/channels/topic:never", None, {}, 404),
    ("/v1/channels/{channel}/subscribers", "get", "/v1/channels/room:a/subscribers?limit=1", None, {}, 200),
    ("/v1/channels/{channel}/subscribers", "get", "/v1/channels/topic:a/subscribers", None, {}, 409),
    ("/v1/subscribe", "get", "/v1/subscribe?channel=room:a&presence=1&user=ann&wait=0", None, {}, 200),
    ("/v1/channels/{channel}", "delete", "/v1/channels/topic:b", None, {}, 200),
    ("/v1/channels/{channel}", "delete", "/v1/channels/topic:never", None, {}, 404),
    ("/v1/subscribe", "get", "/v1/subscribe?channel=topic:a&after=0", None, {}, 200),
    ("/v1/subscribe", "get", "/v1/subscribe?channel=topic:a&after=99", None, {}, 200),
    ("/v1/subscribe", "get", "/v1/subscribe", None, {}, 400),
    ("/v1/subscribe", "get", "/v1/subscribe?channel=topic:a", None, {"Accept": "text/html"}, 406),
    ("/v1/subscribe", "get", "/v1/subscribe?channel=topic:a", None, {"Origin": "https://other.example"}, 403),
    ("/v1/subscribe", "get", "/v1/subscribe?chanel=topic:a", None, {}, 400),
    ("/v1/subscribe", "post", "/v1/subscribe", json.dumps({"channels": [
        "topic:b", {"channel": "topic:a", "after": 0}], "wait": 1}).encode(), {"Content-Type": "application/json"}, 200),
    ("/v1/subscribe", "post", "/v1/subscribe", b"{}", {"Content-Type": "application/json"}, 400),
    ("/v1/subscribe", "post", "/v1/subscribe", b"{}", {"Content-Type": "text/plain"}, 415),
    ("/v1/subscribe", "post", "/v1/subscribe", b"[" * (1 << 20 | 1), {"Content-Type": "application/json"}, 413),
    ("/v1/connections/{key}", "get", "/v1/connections/0123456789abcdef", None, {}, 404),
    ("/v1/connections/{key}", "delete", "/v1/connections/0123456789abcdef", None, {}, 404),
    ("/v1/nodes", "get", "/v1/nodes", None, {}, 200),
    ("/v1/nodes", "get", "/v1/nodes?state=up", None, {}, 400),
    ("/v1/nodes/{node}/drain", "post", "/v1/nodes/another/drain", b"{}", {"Content-Type": "application/json"}, 404),
    ("/v1/forwarders", "get", "/v1/forwarders", None, {}, 200),
    ("/v1/forwarders", "get", "/v1/forwarders?a=b", None, {}, 400),
    ("/v1/dead/{seq}", "post", "/v1/dead/1", b"", {}, 404),
    ("/v1/dead/{seq}", "post", "/v1/dead/x", b"", {}, 400),
    ("/v1/allocate", "get", "/v1/allocate?user=ann", None, {}, 200),
    ("/v1/allocate", "get", "/v1/allocate?usr=ann", None, {}, 400),
    ("/v1/ws", "get", "/v1/ws", None, {}, 426),
    ("/v1/groups/{group}/members/{user}", "put", "/v1/groups/a/members/ann", None, {}, 200),
    ("/v1/groups/{group}/members/{user}", "put", "/v1/groups/a/members/a%2Fb", None, {}, 400),
    ("/v1/groups/{group}/members", "get", "/v1/groups/a/members", None, {}, 200),
    ("/v1/users/{user}", "get", "/v1/users/ann", None, {}, 200),
    ("/v1/channels/{channel}/messages/{seq}/receipts", "get", "/v1/channels/user:ann/messages/1/receipts", None, {}, 200),
    ("/v1/channels/{channel}/messages/{seq}/receipts", "get", "/v1/channels/topic:a/messages/1/receipts", None, {}, 404),
    ("/v1/why", "get", "/v1/why?channel=user:ann&seq=1&device=ann/phone", None, {}, 200),
    ("/v1/why", "get", "/v1/why?channel=user:ann&seq=99&device=ann/phone", None, {}, 404),
    ("/v1/why", "get", "/v1/why?channel=user:ann&seq=1", None, {}, 400),
    ("/v1/sessions", "get", "/v1/sessions?limit=1", None, {}, 200),
    ("/v1/sessions", "get", "/v1/sessions?limit=0", None, {}, 400),
    ("/v1/presence", "post", "/v1/presence", b'{"users":["ann","bob"]}', {"Content-Type": "application/json"}, 200),
    ("/v1/presence", "post", "/v1/presence", b'{"users":[]}', {"Content-Type": "application/json"}, 400),
    ("/v1/ack", "post", "/v1/ack?user=ann&device=phone", b'{"places":{"user:ann":1}}', {"Content-Type": "application/json"}, 404),
    ("/v1/ack", "post", "/v1/ack?user=ann&device=phone", b"{}", {"Content-Type": "application/json"}, 400),
    ("/v1/request", "post", "/v1/request?user=ann&device=phone", b'{"id":"1","method":"GET","path":"/a"}',
     {"Content-Type": "application/json"}, 404),
    ("/v1/request", "post", "/v1/request?user=ann&device=phone", b"{}", {"Content-Type": "application/json"}, 400),
    ("/v1/users/{user}/groups", "get", "/v1/users/ann/groups?limit=1", None, {}, 200),
    ("/v1/groups/{group}/members/{user}", "delete", "/v1/groups/a/members/ann", None, {}, 200),
    ("/v1/channels/{channel}/messages", "get", "/v1/channels/user:ann/messages", None, {}, 200),
    ("/v1/connections/{key}", "get", "/v1/connections/0123456789abcdef", None, {}, 404),
    ("/v1/connections/{key}", "delete", "/v1/connections/0123456789abcdef", None, {}, 404),
    ("/v1/revocations", "post", "/v1/revocations", b'{"user":"carl"}', {}, 200),
    ("/v1/revocations", "post", "/v1/revocations", b'{"users":"carl"}', {}, 400),
    ("/healthz", "get", "/healthz", None, {}, 200),
    ("/readyz", "get", "/readyz", None, {}, 200),
    ("/readyz/read", "get", "/readyz/read", None, {}, 200),
    ("/readyz/publish", "get", "/readyz/publish", None, {}, 200),
    ("/metrics", "get", "/metrics", None, {}, 200),
    ("/v1/openapi.json", "get", "/v1/openapi.json", None, {}, 200),
    ("/v1/users/{user}/places", "get", "/v1/users/ann/places?limit=5", None, {}, 200),
    ("/v1/users/{user}/places", "get", "/v1/users/ann/places?limit=0", None, {}, 400),
    ("/v1/users/{user}/marks", "get", "/v1/users/ann/marks", None, {}, 200),
]


def response_of(path, method, status):
    response = DOCUMENT["paths"][path][method]["responses"][str(status)]
    if "$ref" in response:
        response = DOCUMENT["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
    return response


def test_openapi():
    asked = {(path, method) for path, method, *_ in CALLS}
    described = {(path, method) for path, item in DOCUMENT["paths"].items() for method in item if method != "parameters"}
    assert asked == described
    with Server(config="[namespace room]\npresence = true\n") as server:
        for path, method, target, body, headers, status in CALLS:
            got, fields, text = ask(server, method.upper(), target, body, headers)
            where = f"{method} {target} {headers}"
            assert got == status, f"{where}: {got} {text}"
            response = response_of(path, method, status)
            media = fields["Content-Type"].split(";")[0]
            assert media in response["content"], where
            if media.endswith("json"):
                schema = {**response["content"][media]["schema"], **SCHEMAS}
                jsonschema.Draft202012Validator(schema).validate(json.loads(text))
        assert json.loads(ask(server, "GET", "/v1/openapi.json")[2]) == DOCUMENT


# --- operations.md ---------------------------------------------------------------------------------------------------

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def names_in_table(title):
    """The names in backticks in the first column of the table under this heading."""
    section = re.search(rf"^### {title}\n(.*?)(?=^##)", OPERATIONS, re.S | re.M)[1]
    return set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", section, re.M))))


def test_every_metric_is_explained():
    with Server() as server:
        text = ask(server, "GET", "/metrics")[2].decode()
    told, explained = set(re.findall(r"^# TYPE (\w+) ", text, re.M)), names_in_table("Metrics")
    assert told <= explained
    # Those of a cluster are told by its nodes alone.
    sources = "".join(path.read_text() for path in (ROOT / "src" / "main").glob("*.c"))
    assert not {name for name in explained - told if f'"{name}"' not in sources}


def test_every_log_event_is_explained():
    sources = [path for path in (ROOT / "src").rglob("*.c") if not path.name.endswith("_test.c")]
    logged = {event for path in sources for event in re.findall(r'\bLOG\([^",]+,\s*"(\w+)"', path.read_text())}
    assert logged | {"log_suppressed"} == names_in_table("The log")


# --- links and names ---------------------------------------------------------------------------------------------------

DOCS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def slugs(page):
    """The anchors that a page has, as GitHub and its like make them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", text):
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{target} is not there"
        assert not anchor or anchor in slugs(there), f"{target} has no #{anchor}"


CODE_PAGES = [ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/modules/*.md"))]
INVENTED = re.compile(r"last_time$|(?:TRANSPORT_)?cbor", re.I)  # what CONTRIBUTING's examples add to the code


@pytest.mark.parametrize("page", CODE_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_of_the_code_are_there(page):
    """Functions, settings, files and test programs that a page about the code names in backticks."""
    code = "\n".join(path.read_text() for path in ROOT.glob("src/**/*") if path.suffix in (".c", ".h", ".def"))
    words = set(re.findall(r"\w+", code + (ROOT / "Makefile").read_text()))
    files = {path.name for folder in ("src", "test", "docs") for path in (ROOT / folder).rglob("*")}
    for name in re.findall(r"`([^`\s]+)`", page.read_text()):
        if INVENTED.match(name.rsplit("/", 1)[-1]):
            continue
        if re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+(\(\))?", name):
            assert name.removesuffix("()") in words, f"nothing is called {name}"
        elif re.fullmatch(r"[\w/]+\.(c|h|py|def)", name):
            assert name.rsplit("/", 1)[-1] in files, f"there is no {name}"


@pytest.mark.parametrize("page", CODE_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_stand_in_the_file_that_the_page_says(page):
    """`x.c`: `function`, as in the table of a message's journey."""
    for path, name in re.findall(r"`([\w/]+\.[ch])`:\s+`(\w+)`", page.read_text()):
        if INVENTED.match(name):
            continue
        there = [file for file in ROOT.glob("src/**/" + path.rsplit("/", 1)[-1]) if str(file).endswith("/" + path)]
        assert any(re.search(rf"\b{name}\b", file.read_text()) for file in there), f"{name} is not in {path}"
