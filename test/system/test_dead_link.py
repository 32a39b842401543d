"""Links that die silently (threats 29, 30): a server and a client are in network namespaces of their own, and the cable
between them is unplugged. The server must notice within its heartbeats, and the reader must get everything later."""
import contextlib
import json
import os
import subprocess

import pytest

from longwire_server import LONGWIRED, Server, is_built
from waiting import wait_until

SERVER, CLIENT = f"lw-s-{os.getpid()}", f"lw-c-{os.getpid()}"
ADDRESS, PORT = "10.77.77.1", 8080
SECRET = "a-key-of-the-dead-link-test"
CONFIG = f"""
heartbeat_s = 1
pong_timeout_s = 1
[key test]
secret = {SECRET}
rights = publish, subscribe, admin
"""
AUTH = ["-H", f"Authorization: Bearer {SECRET}"]


def ip(*words, check=True):
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True)


def within(namespace, *command, **options):
    return subprocess.Popen(["ip", "netns", "exec", namespace, *command], **options)


def may_make_namespaces():
    """Makes a namespace and enters it: in a plain chroot, for example, the second fails."""
    if ip("netns", "add", SERVER, check=False).returncode != 0:
        return False
    is_usable = ip("-n", SERVER, "link", "set", "lo", "up", check=False).returncode == 0
    ip("netns", "del", SERVER, check=False)
    return is_usable


pytestmark = [pytest.mark.skipif(not is_built(), reason="longwired is not built"),
              pytest.mark.skipif(not may_make_namespaces(), reason="may not make network namespaces here")]


class FarServer(Server):
    """A server on the other host: is_healthy() asks from there."""

    def command(self):
        _, _, _, *more = super().command()
        return ["ip", "netns", "exec", SERVER, str(LONGWIRED), "--http", f"127.0.0.1:{PORT},{ADDRESS}:{PORT}", *more]

    def is_healthy(self):
        return curl(SERVER, f"http://127.0.0.1:{PORT}/healthz") != ""


def curl(namespace, *words):
    done = within(namespace, "curl", "-sf", "-m", "60", *AUTH, *words, stdout=subprocess.PIPE, text=True)
    return done.communicate()[0]


class Wire:
    """Two hosts and the cable between them, and a server on one."""

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            for name in (SERVER, CLIENT):
                ip("netns", "add", name)
                stack.callback(ip, "netns", "del", name, check=False)
                ip("-n", name, "link", "set", "lo", "up")
            ip("link", "add", "lw-wire-s", "netns", SERVER, "type", "veth",
               "peer", "name", "lw-wire-c", "netns", CLIENT)
            ip("-n", SERVER, "addr", "add", f"{ADDRESS}/30", "dev", "lw-wire-s")
            ip("-n", CLIENT, "addr", "add", "10.77.77.2/30", "dev", "lw-wire-c")
            ip("-n", SERVER, "link", "set", "lw-wire-s", "up")
            self.plug()
            stack.enter_context(FarServer(config=CONFIG))
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *why):
        self.stack.__exit__(*why)

    def plug(self):
        ip("-n", CLIENT, "link", "set", "lw-wire-c", "up")

    def unplug(self):
        ip("-n", CLIENT, "link", "set", "lw-wire-c", "down")

    def publish(self, text):
        assert curl(SERVER, "-d", text, "http://127.0.0.1:8080/v1/channels/topic:wire/messages") != ""

    def metric(self, name):
        for line in curl(SERVER, "http://127.0.0.1:8080/metrics").splitlines():
            if line.startswith(name + " "):
                return int(line.rsplit(" ", 1)[1])
        raise AssertionError(f"no metric {name}")

    def seqs(self, after):
        page = json.loads(curl(CLIENT, f"http://{ADDRESS}:{PORT}/v1/channels/topic:wire/messages?after={after}"))
        return [message["seq"] for message in page["messages"]]


@pytest.fixture(name="wire", scope="module")
def a_wire():
    with Wire() as wire:
        yield wire


STREAMS = {"sse": "text/event-stream", "ndjson": "application/x-ndjson", "multipart": "multipart/mixed"}


@pytest.mark.parametrize("transport", [*STREAMS, "websocket"])
def test_a_link_that_dies_without_a_word_is_noticed(wire, transport):
    name = f'longwire_sessions{{transport="{transport}"}}'
    command = ["curl", "-sN", *AUTH, f"http://{ADDRESS}:{PORT}/v1/subscribe?channel=topic:wire", "-H",
               f"Accept: {STREAMS.get(transport)}"]
    if transport == "websocket":
        command = ["/usr/bin/python3", "-m", "websockets",
                   f"ws://{ADDRESS}:{PORT}/v1/ws?channel=topic:wire&access_token={SECRET}"]
    reader = within(CLIENT, *command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: wire.metric(name) == 1, lambda: "the reader to come")
        closed = wire.metric("longwire_silent_clients_closed_total")
        wire.unplug()
        wire.publish("while the cable was out")
        wait_until(lambda: wire.metric(name) == 0, lambda: "the server to notice")
        assert wire.metric("longwire_silent_clients_closed_total") == closed + 1
        wire.plug()
        wait_until(lambda: curl(CLIENT, f"http://{ADDRESS}:{PORT}/healthz") != "", lambda: "the cable to work again")
        seqs = wire.seqs(0)
        assert seqs == list(range(1, len(seqs) + 1)) and seqs
    finally:
        wire.plug()
        reader.kill()
        reader.wait()
