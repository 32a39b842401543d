"""One HTTP/2 connection for tests, by python3-h2: many streams, each with what has come of its answer.

    with H2Link("127.0.0.1", port) as link:              # prior knowledge; with tls=context by ALPN
        stream = link.request("GET", "/healthz")         # a Stream: status, headers, body, is_ended, reset
        link.wait(lambda: stream.is_ended)
        assert link.answer("POST", "/v1/…", b"payload").status == 201
        link.goaway                                      # its error code, once it came

Windows open by themselves as answers come, but for streams whose `is_read` is False.
"""
import socket
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from waiting import SECONDS


class Stream:
    def __init__(self, number):
        self.number, self.status, self.headers, self.body = number, None, {}, b""
        self.is_ended, self.reset, self.is_read, self.interim = False, None, True, []


class H2Link:
    def __init__(self, host, port, tls=None, authority=None):
        self.socket = socket.create_connection((host, port), timeout=SECONDS)
        self.scheme, self.authority = "https" if tls else "http", authority or f"{host}:{port}"
        if tls is not None:
            tls.set_alpn_protocols(["h2"])
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
            assert self.socket.selected_alpn_protocol() == "h2"
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.streams, self.goaway, self.is_closed, self.settings, self.unread = {}, None, False, None, b""
        self.h2.initiate_connection()
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def request(self, method, path, body=None, headers=(), end=True):
        """Begins a request. `end` False: its body goes on (send)."""
        stream = Stream(self.h2.get_next_available_stream_id())
        self.streams[stream.number] = stream
        head = [(":method", method), (":scheme", self.scheme), (":authority", self.authority), (":path", path)]
        self.h2.send_headers(stream.number, head + list(headers), end_stream=end and body is None)
        if body is not None:
            self.send(stream, body, end)
        self.flush()
        return stream

    def send(self, stream, body, end=False):
        """As the windows let; answers are read meanwhile."""
        while body or end:
            room = min(self.h2.local_flow_control_window(stream.number), self.h2.max_outbound_frame_size)
            piece, body = body[:room], body[room:]
            if piece or not body:
                self.h2.send_data(stream.number, piece, end_stream=end and not body)
                end = end and bool(body)
                self.flush()
            else:
                self.read_some()

    def answer(self, method, path, body=None, headers=()):
        stream = self.request(method, path, body, headers)
        self.wait(lambda: stream.is_ended or stream.reset is not None)
        return stream

    def wait(self, is_true):
        until = time.monotonic() + SECONDS
        while not is_true():
            assert time.monotonic() < until and not self.is_closed, (self.is_closed, self.goaway, vars(self)["streams"])
            self.read_some()

    def read_some(self):
        data = self.socket.recv(1 << 16)
        if not data:
            self.is_closed = True
            return
        self.unread += data
        while len(self.unread) >= 9 and len(self.unread) >= 9 + int.from_bytes(self.unread[:3], "big"):
            end = 9 + int.from_bytes(self.unread[:3], "big")
            frame, self.unread = self.unread[:end], self.unread[end:]
            for event in self.h2.receive_data(frame):
                self.take(event)
            # To python3-h2 a GOAWAY is the end. To RFC 9113 it is not: what is under way goes on.
            if self.goaway == 0:
                self.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
        self.flush()

    def take(self, event):
        stream = self.streams.get(getattr(event, "stream_id", 0))
        if isinstance(event, h2.events.InformationalResponseReceived):
            stream.interim.append(dict(event.headers)[":status"])
        elif isinstance(event, h2.events.ResponseReceived):
            stream.headers = dict(event.headers)
            stream.status = int(stream.headers[":status"])
        elif isinstance(event, h2.events.DataReceived):
            stream.body += event.data
            if stream.is_read:
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream.number)
            else:  # the connection's window opens, the stream's does not
                self.h2.increment_flow_control_window(event.flow_controlled_length)
        elif isinstance(event, h2.events.StreamEnded):
            stream.is_ended = True
        elif isinstance(event, h2.events.StreamReset):
            stream.reset = event.error_code
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = event.error_code
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            self.settings = event.changed_settings
