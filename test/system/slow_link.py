"""A TCP link whose server answers late, or with bytes that nobody asked for.

    with SlowLink(server.port) as link:
        link.delay_s = 0.2        # each piece from the server comes so much later
        link.garbage = b"?!"      # instead of what the server says, until it is None
"""
import time

from cut_link import Link, end_both

PIECE_BYTES = 65536


class SlowLink(Link):
    def __init__(self, target_port):
        super().__init__(target_port)
        self.delay_s, self.garbage = 0, None

    def pump(self, source, drain, left):
        with self.lock:
            is_servers = any(source is server for _, server in self.pairs)
        if not is_servers:
            super().pump(source, drain, left)
            return
        try:
            while data := source.recv(PIECE_BYTES):
                if self.delay_s > 0:
                    time.sleep(self.delay_s)    # this is the fault, nothing waits for it
                drain.sendall(data if self.garbage is None else self.garbage)
        except OSError:
            pass  # the other direction, or the test, has ended it
        end_both(source, drain)
