"""The native protocol as a transport of longwire_client.Reader.

    Reader(server.url, native_transport(server.tcp_port), ["topic:a"])
"""
import socket

from longwire_client import event_of, host_and_port
from native_link import bin_as_json
from native_wire import NativeClient


def subscription(place, channel):
    if channel in place.stands:
        epoch, seq = place.stands[channel]
        return {"type": "subscribe", "channel": channel, "after": seq, "epoch": epoch}
    return {"type": "subscribe", "channel": channel, **({} if place.after is None else {"after": place.after})}


def native_transport(port):
    def follow_native(place):
        sock = socket.create_connection((host_and_port(place.url)[0], port), timeout=place.silence_s)
        place.hold(sock)
        client = NativeClient(port, connect=False, link=sock)
        client.send({"type": "connect"}, *(subscription(place, channel) for channel in place.channels))
        while (frame := client.next(place.silence_s)) is not None:
            if frame["type"] == "ping":
                client.send({"type": "pong"})
            thing = bin_as_json(frame)
            yield thing
            if (event := event_of(thing)) is not None:
                place.stands[event.channel] = (event.epoch, event.seq)

    return follow_native
