"""Network namespaces for tests: each node in one of its own, the engines and the test outside, a bridge between them. Packets on the
way between a node and an engine can be dropped, both ways or one.

    with Bridge() as bridge:
        place = bridge.place("node1")                       # place.address, place.inside: for cluster.Node
        place.drop_to(bridge.address, port)                 # nothing of the node comes to the engine
        place.drop_from(bridge.address, port)               # nothing of the engine comes to the node
        place.heal()

Only root may do this. What it makes goes away with it: namespaces, interfaces, rules (these are the namespaces' own).
"""
import os
import shutil
import subprocess


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stderr)


def may_make():
    """May this process make namespaces and bridges, and are the programs there?"""
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("iptables"):
        return False
    probe = "ip link add lwprobe type bridge && iptables -L -n"
    return subprocess.run(["unshare", "-n", "sh", "-c", probe], capture_output=True, check=False).returncode == 0


class Namespace:
    """One namespace with an interface on the bridge."""

    def __init__(self, bridge, name, number):
        self.name, self.address = f"{bridge.name}-{name}", f"{bridge.net}.{number + 2}"
        self.inside = ["ip", "netns", "exec", self.name]
        self.outer = f"{bridge.name}v{number}"
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self.outer, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        run("ip", "link", "set", self.outer, "master", bridge.name, "up")
        for words in (["address", "add", f"{self.address}/24", "dev", "eth0"], ["link", "set", "eth0", "up"], ["link", "set", "lo", "up"]):
            run(*self.inside, "ip", *words)

    def drop_to(self, address, port):
        run(*self.inside, "iptables", "-A", "OUTPUT", "-d", address, "-p", "tcp", "--dport", str(port), "-j", "DROP")

    def drop_from(self, address, port):
        run(*self.inside, "iptables", "-A", "INPUT", "-s", address, "-p", "tcp", "--sport", str(port), "-j", "DROP")

    def cut(self, address, port):
        self.drop_to(address, port)
        self.drop_from(address, port)

    def heal(self):
        run(*self.inside, "iptables", "-F")

    def close(self):
        subprocess.run(["ip", "netns", "delete", self.name], check=False)
        subprocess.run(["ip", "link", "delete", self.outer], capture_output=True, check=False)   # gone with its peer, as a rule


class Bridge:
    def __init__(self):
        self.name = f"lw{os.getpid() % 1000000}"
        self.net = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
        self.address = f"{self.net}.1"
        self.namespaces = []

    def place(self, name):
        namespace = Namespace(self, name, len(self.namespaces))
        self.namespaces.append(namespace)
        return namespace

    def heal(self):
        for namespace in self.namespaces:
            namespace.heal()

    def __enter__(self):
        run("ip", "link", "add", self.name, "type", "bridge")
        run("ip", "address", "add", f"{self.address}/24", "dev", self.name)
        run("ip", "link", "set", self.name, "up")
        return self

    def __exit__(self, *_):
        for namespace in self.namespaces:
            namespace.close()
        subprocess.run(["ip", "link", "delete", self.name], check=False)
