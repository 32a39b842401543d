"""A server whose disk stops finishing anything, until the test lets it go on (test/lib/preload/faulty_disk.c).

    with HangingServer(tmp_path) as server:
        server.hang()
        with Waiting(server, "topic:a", 3) as waiting:      # three publishes that wait for their answers
            ...
            server.go_on()
        waiting.answers                                     # {payload: Answer}
"""
import contextlib
import http.client
import threading

import pytest

from longwire_client import Api
from longwire_server import BUILD, Server

FAULTY_DISK = BUILD / "faulty_disk.so"
needs_faulty_disk = pytest.mark.skipif(not FAULTY_DISK.exists(), reason="faulty_disk.so is not built")


class HangingServer(Server):
    """hang() makes its disk accept every write and never finish a sync, until go_on()."""

    def __init__(self, home, **more):
        self.control, data = home / "control", home / "data"
        super().__init__(data=data, env={
            "LD_PRELOAD": str(FAULTY_DISK), "FAULTY_DISK_CONTROL": str(self.control), "FAULTY_DISK_UNDER": str(data),
            "ASAN_OPTIONS": "verify_asan_link_order=0"}, **more)

    def hang(self):
        self.control.write_text("sync HANG")

    def go_on(self):
        self.control.unlink(missing_ok=True)

    def close(self):
        self.go_on()
        super().close()


class Waiting:
    """Publishes `count` messages, each on a connection of its own. Its block ends when all are answered, or
    the server has ended."""

    def __init__(self, server, channel, count):
        self.server, self.answers = server, {}
        self.threads = [threading.Thread(target=self.publish, args=(channel, b"waiting-%d" % number))
                        for number in range(count)]

    def publish(self, channel, payload):
        with contextlib.closing(Api(self.server.url)) as api, contextlib.suppress(OSError, http.client.HTTPException):
            self.answers[payload] = api.publish(channel, payload)

    def wait(self):
        for thread in self.threads:
            thread.join()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            self.server.go_on()
        self.wait()
