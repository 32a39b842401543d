"""The places of a link as docs/protocol.md, section 5.3, counts them for the digest, as the frames that came say: written
from that page alone.

    seen = LinkPlaces()
    seen.ask({"type": "subscribe", "channel": "topic:a", "after": 3})
    seen.take(frame)
    seen.places   # {"topic:a": {"epoch": "…", "seq": 7}}
    seen.digest() # "62127dc37a0d9387"
"""
MASK = (1 << 64) - 1
NO_ENTRIES = ("connected", "subscribed", "unsubscribed", "published", "ack", "read", "notify", "pong", "join", "leave")


def term(channel, epoch, seq):
    name = channel.encode()
    value = 0xcbf29ce484222325
    for byte in bytes([len(name)]) + name + bytes.fromhex(epoch) + seq.to_bytes(8, "big"):
        value = (value ^ byte) * 0x100000001b3 & MASK
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9 & MASK
    value = (value ^ value >> 27) * 0x94d049bb133111eb & MASK
    return value ^ value >> 31


def digest_of(places):
    return format(sum(term(channel, **place) for channel, place in places.items()) & MASK, "016x")


def gap_end(frame):
    first, last = frame.get("from", frame.get("gap_from")), frame.get("to", frame.get("gap_to"))
    return first - 1 if frame["why"] in ("ahead", 3) else last


class LinkPlaces:
    def __init__(self):
        self.places, self.named = {}, {}

    def ask(self, frame):
        self.named.pop(frame.get("channel"), None)
        if frame["type"] == "subscribe" and "after" in frame:
            self.named[frame["channel"]] = frame["after"]

    def take(self, frame):
        channel, kind = frame.get("channel"), frame["type"]
        if kind == "unsubscribed":
            del self.places[channel]
        elif kind == "subscribed":
            seq = frame.get("after", self.named.pop(channel, frame["head"]) if "ref" in frame else frame["head"])
            self.places[channel] = {"epoch": frame["epoch"], "seq": seq}
        elif kind == "gap":
            self.places[channel] = {"epoch": frame["epoch"], "seq": gap_end(frame)}
        elif "seq" in frame and "epoch" in frame and kind not in NO_ENTRIES:
            self.places[channel] = {"epoch": frame["epoch"], "seq": frame["seq"]}

    def digest(self):
        return digest_of(self.places)
