"""A TCP link that loses whole frames of the server in mid-stream, as a proxy with a fault may do.

    with LossyLink(server.port, is_native=False) as link:
        link.lose(b"a word", 2)   # the next two frames that hold it
"""
from cut_link import Link, end_both
from native_wire import cut_varint


def websocket_bytes(data):
    """How long the first frame is; None: not known yet. Frames of a server have no mask."""
    if len(data) < 2:
        return None
    width = {126: 2, 127: 8}.get(data[1] & 127, 0)
    if len(data) < 2 + width:
        return None
    return 2 + width + (int.from_bytes(data[2:2 + width], "big") if width else data[1] & 127)


def native_bytes(data):
    cut = cut_varint(data, 0, 5)
    return None if cut is None else sum(cut)


def head_bytes(data):
    end = data.find(b"\r\n\r\n")
    return None if end < 0 else end + 4


class LossyLink(Link):
    def __init__(self, target_port, is_native):
        super().__init__(target_port)
        self.is_native, self.word, self.left, self.lost = is_native, None, 0, 0

    def lose(self, word, count=1):
        self.word, self.left = word, count

    def is_lost(self, frame):
        if self.left == 0 or self.word not in frame:
            return False
        self.left -= 1
        self.lost += 1
        return True

    def pump(self, source, drain, left):
        with self.lock:
            is_servers = any(source is server for _, server in self.pairs)
        if not is_servers:
            super().pump(source, drain, left)
            return
        data, length_of = b"", native_bytes if self.is_native else head_bytes
        try:
            while got := source.recv(65536):
                data += got
                while (length := length_of(data)) is not None and length <= len(data):
                    frame, data = data[:length], data[length:]
                    if length_of is head_bytes:
                        length_of = websocket_bytes
                        drain.sendall(frame)
                    elif not self.is_lost(frame):
                        drain.sendall(frame)
        except OSError:
            pass  # the other direction, or the test, has ended it
        end_both(source, drain)
