"""Behind a proxy the client's address is the one that the proxy names, if the proxy is one that the configuration names:
by the PROXY protocol in front of every kind of listener, or by Forwarded and X-Forwarded-For in each request. Nobody else
can name one. The proxies of these tests are 127.0.0.2 and 127.0.0.3."""
import json
import socket
import struct
import time

import pytest

from longwire_client import WebSocket
from longwire_server import Server, free_port, is_built
from native_wire import NativeClient
from test_tls import Certificates
from waiting import SECONDS, wait_until
from wire import Wire, request_bytes

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

BEFORE, TRUSTED, HERE = "127.0.0.2", "127.0.0.3", "127.0.0.1"
CLIENT, CLIENT_6 = "192.0.2.7", "2001:db8::7"
KEY = "0123456789abcdef0123456789abcdef"


def v1(client, family="TCP4", server="198.51.100.1"):
    return f"PROXY {family} {client} {server} 56324 443\r\n".encode()


def v2(client=None, command=1, tlvs=b""):
    """client: an address, or None for the proxy itself."""
    family = 0 if client is None else 0x21 if ":" in client else 0x11
    kind = socket.AF_INET6 if family == 0x21 else socket.AF_INET
    body = b"" if client is None else socket.inet_pton(kind, client) * 2 + struct.pack(">HH", 56324, 443)
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack(">BBH", 0x20 | command, family, len(body + tlvs)) + body + tlvs


HEADERS = {  # name: (bytes, the client that they name)
    "1": (v1(CLIENT), CLIENT),
    "1, IPv6": (v1(CLIENT_6, "TCP6", "2001:db8::1"), CLIENT_6),
    "1, unknown": (b"PROXY UNKNOWN\r\n", BEFORE),
    "2": (v2(CLIENT), CLIENT),
    "2, IPv6": (v2(CLIENT_6), CLIENT_6),
    "2, with TLVs": (v2(CLIENT, tlvs=b"\x20\0\x05\x01\0\0\0\0" + b"\x04\x07\xd0" + bytes(2000)), CLIENT),
    "2, local": (v2(None, command=0), BEFORE),
}


@pytest.fixture(name="server", scope="module")
def server_fixture(tmp_path_factory):
    """All four kinds of listeners."""
    certificates = Certificates(tmp_path_factory.mktemp("certificates")).make("localhost", "DNS:localhost,IP:127.0.0.1")
    tcp, https, tcps = free_port(), free_port(), free_port()
    config = (f"https = 127.0.0.1:{https}\ntcps = 127.0.0.1:{tcps}\nproxy_protocol = {BEFORE}\ntrusted_proxies = {TRUSTED}\n"
              f"head_timeout_s = 2\n[tls local]\ncertificate = {certificates.pem('localhost')}\nkey = {certificates.key('localhost')}\n")
    with Server(config=config, flags=["--tcp", f"127.0.0.1:{tcp}"]) as server:
        server.tcp_port, server.https, server.tcps, server.certificates = tcp, https, tcps, certificates
        yield server


def connect(port, source=BEFORE):
    link = socket.create_connection(("127.0.0.1", port), timeout=SECONDS, source_address=(source, 0))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def facts(server, connection):
    """What the server says of a link."""
    with Wire(server) as wire:
        return wire.ask("GET", f"/v1/connections/{connection}").want(200).json()


def native(link):
    """The link, opened; its connection's key."""
    client = NativeClient(0, link=link)
    return client, client.connected["connection"]


def websocket(link, fields=None):
    """The key of a WebSocket's connection over this socket."""
    ws = WebSocket("http://127.0.0.1:1", headers=fields, link=link)
    return ws, next(ws.objects())["connection"]


def over_tls(server, link):
    return server.certificates.context().wrap_socket(link, server_hostname="localhost")


def ports(server):
    return {"http": server.port, "tcp": server.tcp_port, "https": server.https, "tcps": server.tcps}


@pytest.mark.parametrize("listener", ["http", "https", "tcp", "tcps"])
@pytest.mark.parametrize("name", HEADERS)
def test_the_header_names_the_client(server, name, listener):
    header, client = HEADERS[name]
    link = connect(ports(server)[listener])
    link.sendall(header)
    if listener in ("https", "tcps"):
        link = over_tls(server, link)
    opened, connection = (native if listener in ("tcp", "tcps") else websocket)(link)
    assert facts(server, connection)["address"] == client
    opened.close()


@pytest.mark.parametrize("header", [v1(CLIENT), v2(CLIENT)], ids=["1", "2"])
def test_a_header_may_come_in_pieces(server, header):
    """Each byte is on its way alone; and the last one together with the client's own."""
    link = connect(server.port)
    for at in range(len(header) - 1):
        link.sendall(header[at:at + 1])
    link.sendall(header[-1:] + request_bytes("GET", "/healthz", connection="close"))
    assert link.makefile("rb").read().startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("name,wrong", {
    "none": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "1, a bad address": v1("192.0.2.777"),
    "2, too long": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00",
}.items())
def test_from_there_a_header_has_to_come(server, name, wrong):
    """The connection is closed without an answer: nobody knows who would read it."""
    before = refused(server)
    with connect(server.port) as link:
        link.sendall(wrong)
        assert link_end(link) == b"", name
    wait_until(lambda: refused(server) == before + 1)
    wait_until(lambda: "event=proxy_header_refused" in server.log())   # said behind the count


def refused(server):
    with Wire(server) as wire:
        text = wire.ask("GET", "/metrics").want(200).body.decode()
    return int(text.split('longwire_proxy_headers_total{result="refused"} ')[1].split()[0])


def link_end(link):
    """What comes until the server closes, perhaps by a reset."""
    got = b""
    try:
        while piece := link.recv(65536):
            got += piece
    except ConnectionResetError:
        pass
    return got


def test_a_header_has_the_time_of_a_head(server):
    """Threat 52: half a header holds no connection."""
    began = time.monotonic()
    with connect(server.tcp_port) as half, connect(server.https) as silent:
        half.sendall(v1(CLIENT)[:20])
        assert link_end(half) == b"" and link_end(silent) == b""
    assert time.monotonic() - began > 1


@pytest.mark.parametrize("header", [v1(CLIENT), v2(CLIENT)], ids=["1", "2"])
def test_from_elsewhere_a_header_is_refused(server, header):
    with connect(server.port, HERE) as link:
        link.sendall(header + request_bytes("GET", "/healthz"))
        answer = link_end(link)
    assert answer.startswith(b"HTTP/1.1 400") and b"proxy_protocol" in answer, answer
    for port in (server.tcp_port, server.https, server.tcps):
        with connect(port, HERE) as link:
            link.sendall(header)
            link_end(link)  # it is closed, with its protocol's word or without


FORWARDED = [  # what a proxy sends, the client that it names
    ({"Forwarded": f"for={CLIENT}"}, CLIENT),
    ({"Forwarded": f'for=198.51.100.9, for="[{CLIENT_6}]:4711";proto=https, for={TRUSTED}'}, CLIENT_6),
    ({"Forwarded": "for=unknown"}, TRUSTED),
    ({"X-Forwarded-For": f"198.51.100.9, {CLIENT}"}, CLIENT),
    ({"X-Forwarded-For": f"198.51.100.9, {CLIENT}, {TRUSTED}"}, CLIENT),
    ({"X-Forwarded-For": "198.51.100.9", "Forwarded": f"for={CLIENT}"}, CLIENT),
    ({}, TRUSTED),
]


@pytest.mark.parametrize("fields,client", FORWARDED)
def test_a_trusted_proxy_names_the_client(server, fields, client):
    ws, connection = websocket(connect(server.port, TRUSTED), fields)
    assert facts(server, connection)["address"] == client
    ws.close()


def test_nobody_else_names_one(server):
    for source, link in ((HERE, connect(server.port, HERE)), (CLIENT, connect(server.port, BEFORE))):
        if source == CLIENT:
            link.sendall(v1(CLIENT))
        ws, connection = websocket(link, {"X-Forwarded-For": "198.51.100.9", "Forwarded": "for=198.51.100.9"})
        assert facts(server, connection)["address"] == source
        ws.close()


def test_each_request_of_a_connection_has_its_own_client():
    """Threat 107: a proxy's connection carries requests of many clients, and who guesses is slowed alone."""
    config = (f"proxy_protocol = {BEFORE}\ntrusted_proxies = {HERE}/32\nwrong_secrets_per_address_per_min = 2\nloops = 2\n"
              f"[key app]\nsecret = {KEY}\nrights = publish, subscribe, admin\n")
    with Server(config=config) as server, Wire(server) as wire:
        def status(client, secret):
            return wire.ask("GET", "/v1/channels", authorization=f"Bearer {secret}", x_forwarded_for=client).status

        assert [status(CLIENT, "wrong"), status(CLIENT, "wrong"), status(CLIENT, "wrong")] == [401, 401, 429]
        assert status(CLIENT_6, "wrong") == 401
        assert status(CLIENT, KEY) == 429
        assert status("2001:db8::ffff", KEY) == 200
        assert status("2001:db8::ffff", "wrong") == 401     # the second of this /64
        assert status(CLIENT_6, KEY) == 429
        assert status("198.51.100.9", KEY) == 200
        with connect(server.port) as link:                  # and the same address by the other way
            link.sendall(v1(CLIENT) + request_bytes("GET", "/v1/channels", authorization=f"Bearer {KEY}", connection="close"))
            assert link_end(link).startswith(b"HTTP/1.1 429")


def test_a_proxy_says_whether_its_client_came_by_tls(server):
    def address(source, **fields):
        with connect(server.port, source) as link:
            link.sendall(request_bytes("GET", "/v1/allocate", connection="close", **fields))
            return json.loads(link_end(link).split(b"\r\n\r\n")[1])["nodes"][0]

    assert "https://localhost" in json.dumps(address(TRUSTED, x_forwarded_proto="https"))
    assert "https://localhost" in json.dumps(address(TRUSTED, forwarded="proto=https"))
    assert "https://" not in json.dumps(address(TRUSTED, x_forwarded_proto="http"))
    assert "https://" not in json.dumps(address(HERE, x_forwarded_proto="https"))
