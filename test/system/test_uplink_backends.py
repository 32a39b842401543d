"""Back ends as clients and operators meet them: addresses that are down, one that is slow beside others, changes by a reload, HTTP/2,
and the example for their authors."""
import contextlib
import http.server
import json
import shutil
import signal
import socket
import subprocess
import threading
import urllib.request

import pytest

from application import Authority
from example_app import Example
from h2_back_end import H2BackEnd
from longwire_client import Api
from longwire_server import Server, free_port, is_built
from waiting import SECONDS, wait_until
from wire import Ws

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin")


class BackEnd:
    """Says its name. /wait is answered after open()."""

    def __init__(self, name):
        self.gate, self.waiting = threading.Event(), threading.Semaphore(0)
        back_end = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):      # noqa: N802
                if self.path == "/wait":
                    back_end.waiting.release()
                    back_end.gate.wait(SECONDS)
                self.send_response(200)
                self.send_header("Content-Length", str(len(name)))
                self.end_headers()
                self.wfile.write(name.encode())

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self):
        self.gate.set()
        self.http.shutdown()
        self.http.server_close()


def ask(server, request_id, path, wait=SECONDS):
    """The response, or None if it was not waited for."""
    with contextlib.closing(Api(server.url)) as api:
        status, _, body = api.call("POST", "/v1/request?user=ann&device=phone",
                                   json.dumps({"id": request_id, "method": "GET", "path": path}),
                                   {"Content-Type": "application/json", **({"Prefer": f"wait={wait}"} if wait else {})})
    assert status in (200, 202), body
    return json.loads(body) if status == 200 else None


def metric(server, line):
    with urllib.request.urlopen(server.url + "/metrics") as answer:
        for text in answer.read().decode().splitlines():
            if text.startswith(line + " "):
                return float(text.split()[-1])
    return None


@pytest.fixture(name="back_ends")
def two_back_ends():
    with contextlib.closing(BackEnd("one")) as one, contextlib.closing(BackEnd("two")) as two:
        yield one, two


def route(name, path):
    return f"[uplink {name}]\npath = {path}\nbackend = {name}\nallow = anyone\n"


def test_an_address_that_is_down_costs_no_answer(back_ends):
    down = f"http://127.0.0.1:{free_port()}"
    with Server(config=f"[backend app]\nurl = {down}, {back_ends[0].url}\ntimeout_s = 60\n" + route("app", "/**")) as server:
        for number in range(20):
            response = ask(server, f"r{number}", "/hello")
            assert response["status"] == 200 and response["body"] == "one"
        assert metric(server, 'longwire_backend_circuits_open{backend="app"}') == 1
        assert metric(server, 'longwire_backend_retries_total{backend="app"}') >= 5
        assert metric(server, 'longwire_backend_answers_total{backend="app",status="2xx"}') == 20
        assert "event=backend_circuit_open backend=app address=" + down in server.log()


def test_nobody_there_is_502_and_then_503(back_ends):
    down = f"http://127.0.0.1:{free_port()}"
    with Server(config=f"[backend app]\nurl = {down}\n[backend well]\nurl = {back_ends[0].url}\n"
                       + route("well", "/well") + route("app", "/**")) as server:
        assert [ask(server, f"r{number}", "/hello")["status"] for number in range(5)] == [502] * 5
        # One that comes a second later finds out whether somebody is there now.
        statuses = (ask(server, f"s{number}", "/hello")["status"] for number in range(100))
        assert next(status for status in statuses if status != 502) == 503
        assert ask(server, "well", "/well")["status"] == 200


# Threat 59.
def test_a_slow_back_end_holds_up_nobody_else(back_ends):
    slow, well = back_ends
    config = (f"[backend slow]\nurl = {slow.url}\ntimeout_s = 60\nrequests_max = 2\n[backend well]\nurl = {well.url}\n"
              + route("slow", "/wait") + route("well", "/**"))
    with Server(config=config) as server:
        for number in range(5):      # two under way, two in line, and one too many
            ask(server, f"slow{number}", "/wait", wait=None)
        for _ in range(2):
            assert slow.waiting.acquire(timeout=SECONDS)
        wait_until(lambda: metric(server, 'longwire_backend_calls_total{backend="slow",outcome="queue_full"}') == 1, "a full queue")
        assert metric(server, 'longwire_backend_in_flight{backend="slow"}') == 2
        assert metric(server, 'longwire_backend_waiting{backend="slow"}') == 2
        for number in range(10):
            assert ask(server, f"well{number}", "/hello")["body"] == "two"
        slow.gate.set()
        wait_until(lambda: metric(server, 'longwire_backend_calls_total{backend="slow",outcome="answered"}') == 4, "the others")


def test_a_reload_changes_who_is_asked(back_ends):
    one, two = back_ends
    with Server(config=f"[backend app]\nurl = {one.url}\ntimeout_s = 60\n" + route("app", "/**")) as server:
        assert ask(server, "r1", "/hello")["body"] == "one"
        config = server.home / "longwired.conf"
        config.write_text(config.read_text().replace(one.url, two.url))
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: metric(server, 'longwire_config_reloads_total{result="ok"}') == 1, "the reload")
        assert ask(server, "r2", "/hello")["body"] == "two"
        config.write_text(config.read_text().replace("[backend app]", "[backend other]").replace("backend = app", "backend = other"))
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: metric(server, 'longwire_config_reloads_total{result="ok"}') == 2, "the reload")
        assert ask(server, "r3", "/hello")["body"] == "two"
        assert metric(server, 'longwire_backend_addresses{backend="app"}') is None


NGINX_CONF = """
worker_processes 1; daemon off; error_log {home}/error.log warn; pid {home}/nginx.pid;
events {{ worker_connections 64; }}
http {{
    log_format links '$connection $http_idempotency_key';
    access_log {home}/links links; keepalive_requests {requests};
    client_body_temp_path {home}/a; proxy_temp_path {home}/b; fastcgi_temp_path {home}/c;
    uwsgi_temp_path {home}/d; scgi_temp_path {home}/e;
    server {{ listen 127.0.0.1:{port} {listen}; location / {{ default_type text/plain; return 200 "$server_protocol"; }} }}
}}
"""


@contextlib.contextmanager
def nginx(home, listen, requests=1000):
    """Its port. `requests`: so many a connection, then it says GOAWAY."""
    port = free_port()
    (home / "nginx.conf").write_text(NGINX_CONF.format(home=home, port=port, listen=listen, requests=requests))
    with subprocess.Popen([NGINX, "-c", str(home / "nginx.conf")], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, "nginx")
            yield port
        finally:
            process.terminate()


def links_of(home):
    """For each connection that nginx had, the keys of its requests."""
    links = {}
    for line in (home / "links").read_text().splitlines():
        link, key = line.split()
        links.setdefault(link, []).append(key)
    return links


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_http_2_without_tls(tmp_path):
    with nginx(tmp_path, "http2") as port:
        config = f"[backend app]\nurl = http://127.0.0.1:{port}\nprotocol = h2c\n" + route("app", "/**")
        with Server(config=config) as server:
            for number in range(3):
                response = ask(server, f"r{number}", "/hello")
                assert response["status"] == 200 and response["body"] == "HTTP/2.0"


def ask_at_once(server, count):
    """So many requests, eight at a time; their responses."""
    responses = []

    def several(first):
        for number in range(first, count, 8):
            responses.append(ask(server, f"r{number}", "/hello"))

    threads = [threading.Thread(target=several, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return responses


def https_config(authority, url):
    return f"ca_file = {authority.file}\n[backend app]\nurl = {url}\n" + route("app", "/**")


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
@pytest.mark.parametrize("requests", [1000, 10])
def test_http_2_over_tls(tmp_path, requests):
    """Requests share a connection. When the server goes away from it, what it has not taken goes to the next one, and nothing twice."""
    authority = Authority(tmp_path)
    authority.context("127.0.0.1")
    pem = tmp_path / "127.0.0.1.30.pem"
    with nginx(tmp_path, f"ssl http2; ssl_certificate {pem}; ssl_certificate_key {pem}", requests) as port, \
            Server(config=https_config(authority, f"https://127.0.0.1:{port}")) as server:
        responses = [ask(server, "first", "/hello")] + ask_at_once(server, 64)
        assert {(response["status"], response["body"]) for response in responses} == {(200, "HTTP/2.0")}
        wait_until(lambda: sum(map(len, links_of(tmp_path).values())) >= len(responses), "nginx logs a request behind its answer")
        links = links_of(tmp_path)
        assert sorted(key for keys in links.values() for key in keys) == sorted(["ann/phone/first"] + [f"ann/phone/r{n}" for n in range(64)])
        assert len(links) == 1 if requests == 1000 else len(links) >= 7


# What the back end does once, how often it is asked, and what the client is told (RFC 9113 8.7).
ENDS = {"refuse": (2, 200), "goaway": (2, 200), "reset": (1, 502), "leave": (1, 502), "close": (1, 502), "abort": (1, 502)}


@pytest.mark.parametrize("is_tls", [True, False], ids=["https", "h2c"])
def test_what_http_2_refuses_is_sent_again_and_nothing_else(tmp_path, is_tls):
    authority = Authority(tmp_path)
    with H2BackEnd(authority.context("127.0.0.1") if is_tls else None) as back_end:
        config = https_config(authority, back_end.url)
        with Server(config=config if is_tls else config.replace("[uplink", "protocol = h2c\n[uplink")) as server:
            for way in ("new", "kept"):     # on a connection of its own, and on one that was used before
                for end, (count, status) in ENDS.items():
                    if way == "kept":
                        assert ask(server, f"before-{end}", "/hello")["status"] == 200
                    response = ask(server, f"{way}-{end}", f"/once/{way}/{end}")
                    assert (response["status"], back_end.count(f"/once/{way}/{end}")) == (status, count), (way, end)
            assert ask(server, "always", "/refuse")["status"] == 502 and back_end.count("/refuse") < 20


def test_everything_goes_to_https_with_an_authority_of_ones_own(tmp_path):
    """Requests, uploads and events; a server that another authority vouches for gets nothing."""
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    with H2BackEnd(authority.context("127.0.0.1")) as back_end:
        config = (https_config(authority, back_end.url) + "[namespace up]\nforward = app/batches\npublish = anyone\n"
                  f"[webhook crm]\nurl = {back_end.url}/hook\nevents = connected\nsecret = 0123456789abcdef0123456789abcdef\n")
        with Server(config=config) as server, contextlib.closing(Api(server.url)) as api:
            assert ask(server, "r1", "/hello")["status"] == 200
            assert api.publish("up:positions", b"here").status == 201
            with Ws(server, "user=ann"):
                wait_until(lambda: back_end.count("/batches") > 0 and back_end.count("/hook") > 0, "a batch and an event")
        with Server(config=config.replace(str(authority.file), str(other.file))) as server:
            response = ask(server, "r1", "/never")
            assert response["status"] == 502 and "can be reached" in response["body"]["detail"]
    assert back_end.count("/never") == 0


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_the_example_for_authors(tmp_path):
    """A request that comes twice is carried out once, its answer makes the device follow a channel, and uploads arrive."""
    with Example("orders", tmp_path) as example, contextlib.closing(Api(f"http://127.0.0.1:{example.port + 1}")) as api:
        order = {"id": "r1", "method": "POST", "path": "/orders", "headers": {"Content-Type": "application/json"},
                 "body": {"what": "a bicycle"}}
        for _ in range(2):
            status, _, body = api.call("POST", "/v1/request?user=ann&device=phone", json.dumps(order),
                                       {"Content-Type": "application/json", "Prefer": f"wait={SECONDS}"})
            response = json.loads(body)
            assert status == 200 and response["status"] == 201 and response["body"]["user"] == "ann"
            assert response["subscribe"] == ["topic:order-1"]
        api.call("POST", "/v1/channels/up:ann/messages", '{"x":1}', {"Content-Type": "application/json"})

        def seen():
            with urllib.request.urlopen(example.url + "seen") as answer:
                return json.load(answer)

        wait_until(lambda: seen()["positions"] == {"up:ann": {"seq": 1, "x": 1}}, seen)
        assert [one["what"] for one in seen()["orders"]] == ["a bicycle"]
