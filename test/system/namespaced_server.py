"""A `longwired` in a network namespace of its own, whose cable the test can spoil: the readers and publishers are outside.

    with Bridge() as bridge, NamespacedServer(bridge, config=…) as server:
        Reader(server.url, …)
        server.lose(0.4)             # so many packets of those that come to the server
        server.slow_down("1mbit")    # what the server sends
        server.cut(), server.drop_in(), server.drop_out()
        server.reset_links()         # all of them, wherever they are within a frame
        server.heal()

Beyond loopback keys are asked for: TOKEN may do everything; everybody may subscribe to topic:….
"""
import json
import subprocess

from longwire_server import LONGWIRED, Server
from waiting import SECONDS

TOKEN = "a-key-of-a-server-in-a-namespace"
KEYS = f"[key test]\nsecret = {TOKEN}\nrights = admin\n"
HERE = "127.0.0.1"


class NamespacedServer(Server):
    def __init__(self, bridge, config="", **more):
        super().__init__(config=config + KEYS, **more)
        self.place = bridge.place("server")
        self.is_slow = False

    @property
    def url(self):
        return f"http://{self.place.address}:{self.port}"

    def command(self):
        words = super().command()
        words[words.index("--http") + 1] = f"{HERE}:{self.port},{self.place.address}:{self.port}"
        words[words.index("--tcp") + 1] = f"{self.place.address}:{self.tcp_port}"
        return [*self.place.inside, str(LONGWIRED), *words[1:]]

    def inside(self, *words):
        done = subprocess.run([*self.place.inside, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def is_healthy(self):
        return subprocess.run([*self.place.inside, "curl", "-sf", "-m", "2", f"http://{HERE}:{self.port}/healthz"],
                              capture_output=True, check=False).returncode == 0

    # --- from within, whatever is wrong with the cable -----------------------------------------------------------------

    def ask(self, path, *words):
        return self.inside("curl", "-sf", "-m", str(SECONDS), "-H", f"Authorization: Bearer {TOKEN}", *words, f"http://{HERE}:{self.port}{path}")

    def publish_inside(self, channel, payload):
        """(epoch, seq) of it."""
        answer = json.loads(self.ask(f"/v1/channels/{channel}/messages", "-H", "Content-Type: text/plain", "-d", payload))
        return answer["epoch"], answer["seq"]

    def metrics(self):
        samples = (line.rsplit(" ", 1) for line in self.ask("/metrics").splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    # --- the cable ------------------------------------------------------------------------------------------------------

    def rule(self, chain, *words):
        self.inside("iptables", "-A", chain, "!", "-i" if chain == "INPUT" else "-o", "lo", *words, "-j", "DROP")

    def drop_in(self):
        """Nothing of the clients comes to the server."""
        self.rule("INPUT")

    def drop_out(self):
        """Nothing of the server comes to the clients."""
        self.rule("OUTPUT")

    def cut(self):
        self.drop_in()
        self.drop_out()

    def lose(self, share):
        self.rule("INPUT", "-m", "statistic", "--mode", "random", "--probability", str(share))

    def slow_down(self, rate):
        self.inside("tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", rate, "burst", "16kbit", "latency", "200ms")
        self.is_slow = True

    def reset_links(self):
        self.inside("ss", "-K", "state", "established", "src", self.place.address)

    def heal(self):
        self.place.heal()
        if self.is_slow:
            self.inside("tc", "qdisc", "del", "dev", "eth0", "root")
            self.is_slow = False
