"""Threat 52, by the tool that is made for it: slowhttptest holds a thousand links with heads that never end, with bodies that
trickle, and with answers that it hardly reads, over plain text and over TLS. Each link is closed by its time limit, and an
honest client is served meanwhile. The native protocol and TLS handshakes have the same limits."""
import shutil
import socket
import ssl
import subprocess

import pytest

from longwire_server import Server, free_port, is_built
from native_wire import encode

from test_tls import Certificates
from waiting import SECONDS, wait_until
from wire import Wire, metric, publish, publish_many

pytestmark = [
    pytest.mark.skipif(not is_built(), reason="no longwired is built"),
    pytest.mark.skipif(shutil.which("slowhttptest") is None, reason="no slowhttptest"),
]

BIG = "topic:big"
LINKS = {"http": 1000, "https": 250}    # a thousand handshakes would only test OpenSSL's arithmetic
ATTACKS = {
    "heads": ["-H", "-i", "1", "-x", "10"],
    "bodies": ["-B", "-i", "1", "-s", "8192", "-x", "10"],
    "reads": ["-X", "-n", "1", "-z", "8", "-w", "10", "-y", "20"],
}


@pytest.fixture(name="server", scope="module")
def server_fixture(tmp_path_factory):
    certificates = Certificates(tmp_path_factory.mktemp("certificates")).make("localhost", "DNS:localhost,IP:127.0.0.1")
    https, tcps, tcp = free_port(), free_port(), free_port()
    config = (f"https = 127.0.0.1:{https}\ntcps = 127.0.0.1:{tcps}\nhead_timeout_s = 2\nrequest_timeout_s = 2\n"
              f"keepalive_timeout_s = 2\ntls_handshake_s = 2\ntls_handshakes_max = 2000\n"
              f"[tls local]\ncertificate = {certificates.pem('localhost')}\nkey = {certificates.key('localhost')}\n")
    with Server(config=config, flags=["--tcp", f"127.0.0.1:{tcp}"]) as server:
        server.https, server.tcps, server.tcp_port, server.certificates = https, tcps, tcp, certificates
        publish_many(server, BIG, [bytes(3000)] * 3)     # more than a small receive buffer, and less than what waits for all
        yield server


def attack(server, scheme, options):
    port = server.https if scheme == "https" else server.port
    url = f"{scheme}://127.0.0.1:{port}/v1/channels/{BIG}/messages?after=0"
    return subprocess.Popen(["slowhttptest", "-c", str(LINKS[scheme]), "-r", str(LINKS[scheme]), "-l", str(SECONDS), "-p", str(SECONDS),
                             *options, "-u", url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("scheme", LINKS)
@pytest.mark.parametrize("name", ATTACKS)
def test_each_slow_link_is_closed_by_its_limit(server, name, scheme):
    before = metric(server, "longwire_http_connections_total")
    tool = attack(server, scheme, ATTACKS[name])
    try:
        wait_until(lambda: metric(server, "longwire_http_connections_total") - before >= LINKS[scheme])
        publish(server, "topic:honest", "still here")
        wait_until(lambda: metric(server, "longwire_http_connections") == 1)
        assert tool.poll() is None or name != "reads", "it has closed its links itself"
        wait_until(lambda: unread_bytes(server) == 0)
    finally:
        tool.kill()
        tool.wait()


def unread_bytes(server):
    """What the kernel holds for the clients, also for those whose connections are closed already."""
    table = subprocess.run(["ss", "-tnH", f"( sport = :{server.port} or sport = :{server.https} )"], check=True, capture_output=True,
                           text=True).stdout
    return sum(int(line.split()[2]) for line in table.splitlines())


def trickle(link, data):
    """A byte at a time until the server closes; True: before all had been sent."""
    link.settimeout(0.02)
    for at in range(len(data)):
        try:
            link.sendall(data[at:at + 1])
            if link.recv(65536) == b"":
                return True
        except TimeoutError:
            pass
        except (ConnectionError, ssl.SSLError):
            return True
    return False


@pytest.mark.parametrize("is_tls", [False, True], ids=["tcp", "tcps"])
def test_a_trickled_connect_of_the_native_protocol_is_closed(server, is_tls):
    link = socket.create_connection(("127.0.0.1", server.tcps if is_tls else server.tcp_port), timeout=SECONDS)
    if is_tls:
        link = server.certificates.context().wrap_socket(link, server_hostname="localhost")
    with link:
        assert trickle(link, encode({"type": "connect", "token": "x" * 200000}))


def test_a_trickled_handshake_is_closed(server):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    shaking = server.certificates.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        shaking.do_handshake()
    with socket.create_connection(("127.0.0.1", server.https), timeout=SECONDS) as link:
        hello = outgoing.read()
        assert trickle(link, hello[:3] + b"\x3f\xff" + hello[5:] + bytes(16000))    # a record that is never whole
