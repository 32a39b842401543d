"""A connection looked at and cut off by its key, on every transport and from any loop."""
import contextlib
import time

import pytest

from longwire_client import Api, WebSocket
from longwire_server import Server, is_built
from waiting import wait_until

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

ADMIN, READER = "the-secret-of-the-operator", "the-secret-of-a-mere-reader"
CONFIG = f"""
loops = 3
[key operator]
secret = {ADMIN}
rights = admin
[key reader]
secret = {READER}
rights = subscribe
"""


@pytest.fixture(scope="module", name="server")
def one_server():
    with Server(config=CONFIG) as server:
        yield server


@pytest.fixture(name="admin")
def an_admin(server):
    with contextlib.closing(Api(server.url, ADMIN)) as api:
        yield api


def connected(server, channels=()):
    """A WebSocket and the key that it was told."""
    query = "&".join(f"channel={channel}" for channel in channels)
    client = WebSocket(server.url, path="/v1/ws?" + query)
    objects = client.objects()
    key = next(thing["connection"] for thing in objects if thing["type"] == "connected")
    return client, objects, key


def test_what_a_connection_is(server, admin):
    before = time.time() * 1000
    client, _, key = connected(server, ["topic:a", "topic:b"])
    with contextlib.closing(client):
        wait_until(lambda: admin.get(f"/v1/connections/{key}").json["channels"] == 2)
        answer = admin.get(f"/v1/connections/{key}").json
        assert before - 2000 <= answer.pop("since") <= time.time() * 1000
        assert isinstance(answer.pop("node"), str)
        assert answer == {"connection": key, "user": None, "device": None, "transport": "websocket",
                          "address": "127.0.0.1", "channels": 2}
    wait_until(lambda: admin.get(f"/v1/connections/{key}").status == 404)


def test_every_loop_finds_the_connections_of_all(server):
    clients = [connected(server) for _ in range(24)]
    for _ in range(6):      # the kernel spreads them over the loops
        with contextlib.closing(Api(server.url, ADMIN)) as api:
            for _, _, key in clients:
                assert api.get(f"/v1/connections/{key}").json["connection"] == key
    for client, _, _ in clients:
        client.close()


def test_a_connection_that_is_cut_off(server, admin):
    client, objects, key = connected(server, ["topic:a"])
    answer = admin.call("DELETE", f"/v1/connections/{key}")
    assert (answer.status, answer.json["connection"]) == (200, key)
    last = [thing for thing in objects][-1]
    assert last["type"] == "reconnect" and last["after"] >= 0
    assert client.close_code == 4002
    client.close()
    wait_until(lambda: admin.call("DELETE", f"/v1/connections/{key}").status == 404)


@pytest.mark.parametrize("key", ["0123456789abcdef", "ffffffffffffffff", "abc", "x" * 16, "%00", "0" * 16])
def test_keys_that_nobody_has(admin, key):
    answer = admin.get(f"/v1/connections/{key}")
    assert answer.status == 404 and answer.json["detail"].startswith("there is no such connection")


def test_only_an_operator_may(server):
    """Threat 104: whether the connection is there or not, the answer is the same."""
    client, _, key = connected(server)
    for token, status in ((None, 401), (READER, 403)):
        with contextlib.closing(Api(server.url, token)) as api:
            for method in ("GET", "DELETE"):
                mine, none = (api.call(method, f"/v1/connections/{at}") for at in (key, "0" * 15 + "1"))
                assert (mine.status, mine.body) == (none.status, none.body) and mine.status == status
    client.close()


def test_methods(admin):
    answer = admin.call("POST", "/v1/connections/0123456789abcdef", b"{}")
    assert answer.status == 405 and answer.headers["Allow"] == "GET, HEAD, DELETE"
