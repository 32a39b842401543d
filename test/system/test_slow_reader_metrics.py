"""The frames that a slow reader got are counted like those of other readers: also the frames of a write that the socket
took only in part."""
import re
import socket
import urllib.request

from longwire_server import Server
from waiting import SECONDS, wait_until

COUNT, BYTES = 200, 100_000


def metric(server, name):
    with urllib.request.urlopen(server.url + "/metrics", timeout=SECONDS) as answer:
        return int(re.search(rf"^{re.escape(name)} (\d+)$", answer.read().decode(), re.M)[1])


def test_deliveries_of_a_slow_reader_are_counted():
    with Server() as server, socket.socket() as link:
        for _ in range(COUNT):
            urllib.request.urlopen(server.url + "/v1/channels/topic:slow/messages", b"a" * BYTES, timeout=SECONDS).close()
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        link.settimeout(SECONDS)
        link.connect(("127.0.0.1", server.port))
        link.sendall(b"GET /v1/subscribe?channel=topic:slow&after=0 HTTP/1.0\r\nHost: localhost\r\n"
                     b"Accept: application/x-ndjson\r\n\r\n")
        wait_until(lambda: metric(server, "longwire_lagging_readers") == 1, "its socket is never full")
        lines, last = 0, b""
        while lines < COUNT:
            piece = link.recv(65536)
            assert piece, "the stream ended"
            lines, last = lines + (last + piece).count(b"\n{"), piece[-1:]
        # A write is counted behind it.
        wait_until(lambda: metric(server, 'longwire_deliveries_total{transport="ndjson"}') == COUNT)
        wait_until(lambda: metric(server, "longwire_publish_to_socket_seconds_count") == COUNT)
