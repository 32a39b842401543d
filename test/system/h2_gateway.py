"""Lets clients and tests that know HTTP/1.1 alone speak HTTP/2 to a server: each of their requests becomes a stream, all of
them on one link for as long as the server allows more streams there. python3-h2 speaks, over TLS or without.

    with Server(...) as server, H2Gateway(server) as through:
        Api(through.url).publish("topic:a", b"one")     # through is the server in all else

A client that leaves resets its stream. The upgrade to a WebSocket becomes an extended CONNECT (RFC 8441). Bytes are taken
from the server as the client takes them: a client that reads nothing fills the window of its stream, and no other.
"""
import base64
import collections
import contextlib
import hashlib
import http
import selectors
import socket
import ssl
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from waiting import SECONDS

RECV_BYTES = 65536
WINDOW_BYTES = 65535        # of a stream
HELD_BYTES = 65536          # that wait for a client, before its stream gets no more room
ROOM = 2**31 - 1 - 65535    # of the link: a client that reads nothing must not stop the others
KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
RESETS_MAX = 200            # on one link: the server allows 500 before it takes them for a flood
NOT_PASSED = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"host", b"te",
              b"sec-websocket-key", b"sec-websocket-accept"}


class Stream:
    """One request of a client, and what came for it."""

    def __init__(self, client, method, minor, key):
        self.client, self.method, self.minor, self.key = client, method, minor, key
        self.link = self.number = None
        self.body, self.is_body_whole = b"", False      # what has to go to the server
        self.out, self.unread = b"", 0                  # what has to go to the client, and what the server may not refill yet
        self.is_chunked = self.is_over = self.is_broken = self.is_socket = self.is_last = False

    def take_head(self, fields):
        status = int(dict(fields)[b":status"])
        if self.key is not None and status == 200:
            self.is_socket = True
            accept = base64.b64encode(hashlib.sha1(self.key + KEY).digest())
            lines = [b"HTTP/1.1 101 Switching Protocols", b"upgrade: websocket", b"connection: Upgrade",
                     b"sec-websocket-accept: " + accept]
        else:
            lines = [f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}".encode()]
        lines += [name + b": " + value for name, value in fields if name not in NOT_PASSED and not name.startswith(b":")]
        if not self.is_socket and status >= 200 and status not in (204, 304) and b"content-length" not in dict(fields):
            self.is_chunked = self.minor > 0
            lines += [b"transfer-encoding: chunked"] * self.is_chunked
            self.is_last |= not self.is_chunked
        if self.is_last:
            lines.append(b"connection: close")
        self.out += b"\r\n".join(lines) + b"\r\n\r\n"

    def take_data(self, data, counted):
        self.unread += counted
        if data and self.method != b"HEAD":
            self.out += b"%x\r\n%s\r\n" % (len(data), data) if self.is_chunked else data

    def end(self):
        self.out += b"0\r\n\r\n" if self.is_chunked and self.method != b"HEAD" else b""
        self.is_over = True


class Link:
    """One HTTP/2 connection to the server."""

    def __init__(self, gateway):
        self.gateway, self.streams, self.is_over, self.resets = gateway, {}, False, 0
        self.sock = socket.create_connection(("127.0.0.1", gateway.server_port), SECONDS)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if gateway.tls is not None:
            gateway.tls.set_alpn_protocols(["h2"])
            self.sock = gateway.tls.wrap_socket(self.sock, server_hostname="localhost")
            assert self.sock.selected_alpn_protocol() == "h2"
        self.peer = h2.connection.H2Connection(h2.config.H2Configuration(
            header_encoding=False, validate_outbound_headers=False, normalize_outbound_headers=False))
        self.peer.initiate_connection()
        self.peer.increment_flow_control_window(ROOM)
        self.flush()
        self.sock.setblocking(False)
        gateway.watch(self.sock, self.on_readable)

    @property
    def has_room(self):
        return not self.is_over and self.resets < RESETS_MAX and len(self.streams) < self.peer.remote_settings.max_concurrent_streams

    def flush(self):
        """The server reads always; what it does not take at once, it takes soon."""
        self.sock.setblocking(True)
        with contextlib.suppress(OSError):
            self.sock.sendall(self.peer.data_to_send())
        self.sock.setblocking(False)

    def open(self, stream, fields):
        stream.link, stream.number = self, self.peer.get_next_available_stream_id()
        self.streams[stream.number] = stream
        self.peer.send_headers(stream.number, fields, end_stream=stream.is_body_whole and not stream.body)
        stream.is_body_sent = stream.is_body_whole and not stream.body
        self.flush()
        self.send_body(stream)

    def send_body(self, stream):
        """As much as windows allow."""
        if stream.number not in self.streams or stream.is_body_sent:
            return
        with contextlib.suppress(h2.exceptions.ProtocolError):
            while stream.body or stream.is_body_whole:
                room = min(self.peer.local_flow_control_window(stream.number), self.peer.max_outbound_frame_size)
                if stream.body and room <= 0:
                    break
                piece, stream.body = stream.body[:room], stream.body[room:]
                stream.is_body_sent = stream.is_body_whole and not stream.body
                self.peer.send_data(stream.number, piece, end_stream=stream.is_body_sent)
                if stream.is_body_sent:
                    break
        self.flush()

    def refill(self, stream, taken):
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self.peer.acknowledge_received_data(taken, stream.number)
        self.flush()

    def leave(self, stream):
        if self.streams.pop(stream.number, None) is not None and not self.is_over:
            self.resets += 1
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self.peer.reset_stream(stream.number, h2.errors.ErrorCodes.CANCEL)
            self.flush()

    def on_readable(self):
        try:
            data = self.sock.recv(RECV_BYTES)
            while isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
                data += self.sock.recv(RECV_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            data = b""
        touched = set()
        if data:
            for event in self.peer.receive_data(data):
                self.take(event, touched)
            self.flush()
        else:
            touched |= self.end()
        for stream in touched:
            stream.client.write()

    def fail(self):
        for stream in self.end():
            stream.client.write()

    def end(self):
        self.is_over = True
        self.gateway.forget(self.sock)
        broken, self.streams = set(self.streams.values()), {}
        for stream in broken:
            stream.is_broken = stream.is_over = True
        return broken

    def take(self, event, touched):
        if isinstance(event, (h2.events.WindowUpdated, h2.events.RemoteSettingsChanged)):
            for stream in list(self.streams.values()):
                self.send_body(stream)
        if isinstance(event, h2.events.ConnectionTerminated):
            self.gateway.goaways.append(event.error_code)
            self.is_over = True
        stream = self.streams.get(getattr(event, "stream_id", None))
        if stream is None:
            if isinstance(event, h2.events.DataReceived):
                self.peer.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            return
        touched.add(stream)
        if isinstance(event, (h2.events.ResponseReceived, h2.events.InformationalResponseReceived)):
            stream.take_head(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            stream.take_data(event.data, event.flow_controlled_length)
        elif isinstance(event, h2.events.StreamEnded):
            stream.end()
            if stream.is_body_sent:
                del self.streams[stream.number]
        elif isinstance(event, h2.events.StreamReset):
            del self.streams[stream.number]
            stream.is_broken |= not stream.is_over
            stream.is_over = True


class Client:
    """One connection of a client: its requests, whose answers leave in their order."""

    def __init__(self, gateway, sock):
        self.gateway, self.sock, self.seen = gateway, sock, b""
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.streams, self.reading, self.body_left = collections.deque(), None, 0
        self.is_gone = self.is_waiting = False
        gateway.watch(sock, self.on_readable)

    def on_readable(self):
        try:
            data = self.sock.recv(RECV_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self.seen += data
        while not self.is_gone and self.step():
            pass

    def step(self):
        """One request, or a part of one. False: more has to come."""
        if self.reading is not None:
            return self.read_body()
        head, mark, rest = self.seen.partition(b"\r\n\r\n")
        if not mark:
            return False
        self.seen = rest
        lines = head.split(b"\r\n")
        method, target, version = lines[0].split(b" ")
        fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines[1:])]
        self.begin(method, target, version, fields)
        return True

    def begin(self, method, target, version, fields):
        said = dict(fields)
        is_socket = said.get(b"upgrade", b"").lower() == b"websocket"
        stream = Stream(self, method, int(version[-1:]), said.get(b"sec-websocket-key") if is_socket else None)
        stream.is_last = b"close" in said.get(b"connection", b"").lower() or stream.minor == 0
        stream.is_chunky = said.get(b"transfer-encoding") == b"chunked"
        self.body_left = 0 if stream.is_chunky else int(said.get(b"content-length", b"0"))
        stream.is_body_whole = not is_socket and not stream.is_chunky and self.body_left == 0
        self.reading = None if stream.is_body_whole else stream
        pseudo = [(b":method", b"CONNECT" if is_socket else method), (b":scheme", self.gateway.scheme), (b":path", target)]
        pseudo += [(b":authority", said.get(b"host", b"localhost"))] + [(b":protocol", b"websocket")] * is_socket
        self.streams.append(stream)
        try:
            self.gateway.link().open(stream, pseudo + [field for field in fields if field[0] not in NOT_PASSED])
        except (OSError, h2.exceptions.ProtocolError):
            self.close()

    def read_body(self):
        stream = self.reading
        if stream.key is not None:
            stream.body, self.seen, more = stream.body + self.seen, b"", False
        elif stream.is_chunky:
            more = self.read_chunk(stream)
        else:
            piece, self.seen = self.seen[:self.body_left], self.seen[self.body_left:]
            self.body_left -= len(piece)
            stream.body, stream.is_body_whole, more = stream.body + piece, self.body_left == 0, self.body_left == 0
        if stream.is_body_whole:
            self.reading = None
        if stream.link is not None:
            stream.link.send_body(stream)
        return more

    def read_chunk(self, stream):
        size, mark, rest = self.seen.partition(b"\r\n")
        length = int(size, 16) if mark else 0
        if not mark or len(rest) < length + 2:
            return False
        stream.body += rest[:length]
        stream.is_body_whole, self.seen = length == 0, rest[length + 2:]
        return True

    def write(self):
        """What the client takes now, of its streams in their order."""
        while self.streams and not self.is_gone:
            stream = self.streams[0]
            if stream.out and not self.write_some(stream):
                break
            if len(stream.out) < HELD_BYTES and stream.unread:
                taken, stream.unread = stream.unread, 0
                stream.link.refill(stream, taken)
            if stream.out:
                continue
            if not stream.is_over:
                break
            self.streams.popleft()
            if stream.is_broken or stream.is_last or stream.is_socket:
                self.close()
        if not self.is_gone:
            self.gateway.want_write(self, any(stream.out for stream in list(self.streams)[:1]))

    def write_some(self, stream):
        try:
            sent = self.sock.send(stream.out)
        except BlockingIOError:
            return False
        except OSError:
            self.close()
            return False
        stream.out = stream.out[sent:]
        return True

    def fail(self):
        self.close()

    def close(self):
        if self.is_gone:
            return
        self.is_gone = True
        self.gateway.forget(self.sock)
        for stream in self.streams:
            if stream.link is not None:
                stream.link.leave(stream)


class H2Gateway:
    """A thread that carries from one port of its own. `tls`: the context with which to speak to the server's port."""

    def __init__(self, server, tls=None, port=None):
        self.server, self.tls, self.server_port = server, tls, port or server.port
        self.scheme = b"https" if tls else b"http"
        self.selector, self.links, self.goaways = selectors.DefaultSelector(), [], []
        self.faults = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.wake, self.woken = socket.socketpair()
        self.thread = threading.Thread(target=self.run)

    def __getattr__(self, name):
        return getattr(self.server, name)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        self.watch(self.listener, self.accept)
        self.watch(self.woken, lambda: None)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.wake.close()
        self.thread.join(SECONDS)
        assert not self.thread.is_alive() and not self.faults, self.faults

    def run(self):
        while self.wake.fileno() >= 0:
            for key, events in self.selector.select():
                if key.fileobj is self.woken:
                    break
                try:
                    self.carry(key, events)
                except Exception as why:    # the tests of other clients go on; the end says it
                    self.faults.append(why)
                    key.data.__self__.fail()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()

    def carry(self, key, events):
        if events & selectors.EVENT_WRITE and key.fileobj.fileno() >= 0:
            key.data.__self__.write()
        if events & selectors.EVENT_READ and key.fileobj.fileno() >= 0:
            key.data()

    def accept(self):
        with contextlib.suppress(BlockingIOError):
            Client(self, self.listener.accept()[0])

    def watch(self, sock, on_readable):
        self.selector.register(sock, selectors.EVENT_READ, on_readable)

    def want_write(self, client, is_wanted):
        if is_wanted != client.is_waiting:
            client.is_waiting = is_wanted
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if is_wanted else 0)
            self.selector.modify(client.sock, events, client.on_readable)

    def forget(self, sock):
        with contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(sock)
        sock.close()

    def link(self):
        for link in self.links:
            if link.resets >= RESETS_MAX and not link.streams:
                link.end()
        self.links = [link for link in self.links if not link.is_over]
        link = next((link for link in self.links if link.has_room), None)
        if link is None:
            link = Link(self)
            self.links.append(link)
        return link
