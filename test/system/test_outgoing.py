"""Where the server itself connects to: only where its configuration says (threat 112). Nobody names an address by the API or by an answer,
redirects are not followed, and no path of a request leads away from the back end that was configured."""
import contextlib
import http.server
import json
import socket
import threading

import pytest

from longwire_client import Api, WebSocket
from longwire_server import ROOT, Server, free_port, is_built
from waiting import SECONDS, wait_until

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

KEY = "the-secret-of-the-back-end"
JSON = {"Content-Type": "application/json"}
ELSEWHERE = ["http://127.0.0.1:{port}/secret", "//127.0.0.1:{port}/secret", "http://169.254.169.254/latest/meta-data",
             "file:///etc/passwd", "gopher://127.0.0.1:{port}/_secret"]


class Forbidden:
    """Nobody may connect to it. Its port is not one that a back end of another test had before."""

    def __init__(self):
        self.port = free_port()
        self.listener = socket.create_server(("127.0.0.1", self.port))

    def is_untouched(self):
        self.listener.setblocking(False)
        try:
            self.listener.accept()[0].close()
        except BlockingIOError:
            return True
        return False


class Redirector:
    """It sends whoever asks it to another place, each time to the next one of ELSEWHERE, and says so by headers of its own as well."""

    def __init__(self, port):
        redirector = self
        self.asked, self.status = [], 302

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def redirect(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                place = ELSEWHERE[len(redirector.asked) % len(ELSEWHERE)].format(port=port)
                redirector.asked.append((self.path.split("?")[0], self.headers.get("Host"), body))
                out = json.dumps({"user": "ann", "url": place, "webhook": place, "jwks_uri": place, "keys": []}).encode()
                self.send_response(redirector.status)
                for name, value in (("Location", place), ("Refresh", f"0; url={place}"), ("Longwire-Url", place),
                                    ("Longwire-Webhook", place), ("Alt-Svc", f'h2="127.0.0.1:{port}"'), ("Content-Type", "application/json"),
                                    ("Content-Length", str(len(out)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(out)

            do_GET = do_POST = do_PUT = redirect

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.host = f"127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def count(self, path):
        return sum(asked[0] == path for asked in self.asked)

    def close(self):
        self.http.shutdown()
        self.http.server_close()


KEYS = f"[key k]\nsecret = {KEY}\nrights = publish, subscribe, admin\n"


def config(host):
    return (f"[jwt i]\njwks = http://{host}/keys\n[connect_hook]\nurl = http://{host}/hook\ntimeout_s = 30\n"
            f"[webhook w]\nurl = http://{host}/webhook\nevents = connected, offline, occupied\nsecret = {KEY}\n")


def open_config(host):
    """Whoever comes may say that he is ann."""
    return (f"[webhook w]\nurl = http://{host}/webhook\nevents = connected\nsecret = {KEY}\n"
            f"[backend app]\nurl = http://{host}\ntimeout_s = 60\n[uplink all]\npath = /**\nbackend = app\nallow = anyone\n"
            "[namespace carried]\nforward = app/carried\nforward_tries = 2\n")


@pytest.fixture(name="forbidden", scope="module")
def fixture_forbidden():
    return Forbidden()


@pytest.fixture(name="redirector")
def fixture_redirector(forbidden):
    with contextlib.closing(Redirector(forbidden.port)) as redirector:
        yield redirector


def request(api, request_id, path):
    return api.call("POST", "/v1/request?user=ann&device=phone", json.dumps({"id": request_id, "method": "GET", "path": path}),
                    {**JSON, "Prefer": f"wait={SECONDS}"})


def test_redirects_of_those_who_say_who_is_who(forbidden, redirector):
    """Threat 112: an issuer's keys and the connect hook."""
    with Server(config=KEYS + config(redirector.host)) as server:
        for number in range(len(ELSEWHERE)):
            with contextlib.closing(Api(server.url, f"unknown-{number}")) as stranger:
                assert stranger.get("/v1/subscribe?channel=user:ann&wait=0").status == 502
        wait_until(lambda: redirector.count("/keys") >= 1)
        assert redirector.count("/hook") == len(ELSEWHERE)
        assert forbidden.is_untouched()
        assert {asked[1] for asked in redirector.asked} == {redirector.host}


def test_redirects_of_back_ends_and_webhooks(forbidden, redirector):
    """Threat 112: requests, messages that are carried, events."""
    with Server(config=open_config(redirector.host)) as server, contextlib.closing(Api(server.url)) as api:
        for number in range(len(ELSEWHERE)):
            assert request(api, f"r{number}", "/asked").json["status"] == 302
        assert api.publish("carried:c", b"x").status == 201
        with contextlib.closing(WebSocket(server.url)) as link:
            link.say({"type": "connect", "user": "ann"})
            wait_until(lambda: redirector.count("/webhook") >= 1)
        wait_until(lambda: redirector.count("/carried") >= 2)
        assert forbidden.is_untouched()
        assert {asked[1] for asked in redirector.asked} == {redirector.host}


# What libraries that put addresses together have taken for another host, a user, a scheme or a second request.
PATHS = ["@127.0.0.1:{port}/", "/@127.0.0.1:{port}/", "//127.0.0.1:{port}/", "///127.0.0.1:{port}/",
         "\\\\127.0.0.1:{port}\\", "/\\127.0.0.1:{port}/", "http://127.0.0.1:{port}/", "file:///etc/passwd", ":{port}/", ".127.0.0.1.nip.io/", "#@127.0.0.1:{port}/", "?@127.0.0.1:{port}/",
         "/a\r\nHost: 127.0.0.1:{port}\r\n\r\nGET / HTTP/1.1", "/%0d%0aHost:%20127.0.0.1:{port}",
         "/../../@127.0.0.1:{port}", "", " /", "\t/"]


def test_no_path_of_a_request_leads_elsewhere(forbidden, redirector):
    """Threat 112: it is refused, or asked of the back end that is configured."""
    redirector.status = 200
    with Server(config=open_config(redirector.host)) as server, contextlib.closing(Api(server.url)) as api:
        for number, path in enumerate(PATHS):
            before = len(redirector.asked)
            answer = request(api, f"r{number}", path.format(port=forbidden.port))
            assert answer.status in (200, 400, 404), (path, answer)
            assert (answer.status == 200) == (len(redirector.asked) == before + 1), (path, answer)
        assert forbidden.is_untouched()
        assert {asked[1] for asked in redirector.asked} == {redirector.host}


def names_of(thing):
    """Every property and parameter that the API has."""
    if isinstance(thing, dict):
        yield from thing.get("properties", {})
        if thing.get("in") in ("query", "header", "path"):
            yield thing["name"]
        for value in thing.values():
            yield from names_of(value)
    elif isinstance(thing, list):
        for value in thing:
            yield from names_of(value)


def test_nothing_of_the_api_names_an_address_to_call():
    """Threat 112: `http`, `https`, `tcp` and `tcps` are what allocate answers; a request has the path at its back end."""
    names = set(names_of(json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))))
    assert len(names) > 50 and {"path", "http", "channel"} <= names
    words = ("url", "uri", "href", "hook", "callback", "endpoint", "host")
    assert not {name for name in names if any(word in name.lower() for word in words)}


def test_addresses_in_calls_are_not_looked_at(forbidden, redirector):
    """Threat 112: what a caller adds under such names is refused, or changes nothing."""
    place = f"http://127.0.0.1:{forbidden.port}/"
    more = {name: place for name in ("url", "webhook", "callback", "callback_url", "backend", "hook", "forward", "jwks_uri")}
    with Server(config=open_config(redirector.host)) as server, contextlib.closing(Api(server.url)) as api:
        for method, path, thing in (("POST", "/v1/messages", {"messages": [{"channel": "topic:a", "data": "x", **more}], **more}),
                                    ("POST", "/v1/request?user=ann&device=phone", {"id": "1", "method": "GET", "path": "/x", **more}),
                                    ("POST", "/v1/connections/allocate", more), ("PUT", "/v1/groups/g/members/ann", more)):
            assert api.call(method, path, json.dumps(thing), JSON).status < 500
        headers = {name: place for name in ("Longwire-Url", "Callback", "Link", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Host",
                                            "Forwarded")}
        assert api.call("POST", "/v1/channels/topic:a/messages", b"x", headers).status in (201, 400)
        assert api.publish("carried:c", b"x").status == 201
        wait_until(lambda: redirector.count("/carried") >= 1)
        assert forbidden.is_untouched()
