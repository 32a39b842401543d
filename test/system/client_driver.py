"""A client library in a program of its own, for tests that cut its links: it says what came, one JSON object a line.

    with Driver(JAVASCRIPT, link.url, {"topic:a": {"after": 0}}, transports=["sse"]) as client:
        client.say("publish", channel="topic:a", data="hello")
        client.until(lambda: client.messages("topic:a"), "no message came")

clients/js/test/follow.js says which commands and events there are; clients/c/test/follow.c speaks the same.
"""
import json
import shutil
import subprocess
import threading

from longwire_server import BUILD, ROOT
from waiting import SECONDS, wait_until

NODE = shutil.which("node")
JAVASCRIPT = [NODE, str(ROOT / "clients" / "js" / "test" / "follow.js")]
C = [str(BUILD / "client-follow")]


class Driver:
    """options are those of the library; handler_ms, store_file and tokens belong to the program."""

    def __init__(self, program, url, channels, handler_ms=None, store_file=None, tokens=None, flags=(), **options):
        asked = {"url": url, "channels": channels, "options": options}
        if handler_ms is not None:
            asked["handlerMs"] = handler_ms
        if store_file is not None:
            asked["storeFile"] = str(store_file)
        if tokens is not None:
            asked["tokens"] = tokens
        command = [program[0], *flags, *program[1:], json.dumps(asked)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.events, self.noise = [], []
        self.threads = [threading.Thread(target=self.read_events), threading.Thread(target=self.read_noise)]
        for thread in self.threads:
            thread.start()

    def read_events(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def read_noise(self):
        for line in self.process.stderr:
            self.noise.append(line)

    def say(self, command, **more):
        self.process.stdin.write(json.dumps({"command": command, **more}) + "\n")
        self.process.stdin.flush()

    def of(self, kind, channel=None):
        return [event for event in list(self.events) if event["event"] == kind and channel in (None, event.get("channel"))]

    def messages(self, channel):
        return self.of("message", channel)

    def texts(self, channel):
        return [message["data"] for message in self.messages(channel)]

    def state(self):
        return ([event for event in list(self.events) if event["event"] == "state"] or [{"name": "none"}])[-1]

    def until(self, what, why="", seconds=SECONDS):
        return wait_until(what, lambda: f"{why}: {self.events[-20:]} {''.join(self.noise[-20:])}", seconds)

    def until_live(self):
        self.until(lambda: self.state()["name"] == "live", "not live")

    def until_count(self, channel, count):
        self.until(lambda: len(self.messages(channel)) >= count, f"less than {count} of {channel}")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            if self.process.poll() is None:
                self.process.stdin.close()   # it closes its client, and ends
                self.process.wait(SECONDS)
        finally:
            self.kill()
            for thread in self.threads:
                thread.join()
            self.process.stdout.close()
            self.process.stderr.close()
        assert self.noise == [], "".join(self.noise)
