"""A cluster of real nodes for tests: three `longwired` on a PostgreSQL and a Redis of their own, and clients that go from node to node.

    with Cluster() as cluster:
        with cluster.load() as load:             # publishers and followers that record all they are told
            cluster.nodes[2].kill()
            cluster.nodes[2].start()
        load.history.check()                     # history.py

A cluster without Redis: Cluster(engine="postgres").
"""
import contextlib
import http.client
import json
import signal
import threading
import time
import urllib.error
import urllib.request

from history import Attempt, History
from longwire_client import BROKEN_LINK, TRANSPORTS, Api, Place, Reader, event_of, host_and_port
from longwire_server import LONGWIRED, Server
from postgres_server import Postgres
from redis_server import RedisServer
from waiting import SECONDS, stop_processes, wait_until

TRY_AGAIN_SECONDS = 0.05
TRY_AGAIN_SECONDS_MAX = 0.5     # a test is impatient, whatever Retry-After says; what it says is recorded
# Followers leave a node that is silent. A node keeps a link that nobody reads for as long as a test takes.
BEATS = "heartbeat_s = 1\npong_timeout_s = 300\n"
ANSWER_SECONDS = 4              # then the publisher asks another node, with the same key
SILENCE_SECONDS = 4             # then a follower goes to another node; nodes send a heartbeat each second


def headers_of(token):
    return {"Authorization": f"Bearer {token}"} if token else {}


class Node(Server):
    """One node. `inside` is put before the command, such as `ip netns exec NAME`; `address` is where it listens."""

    def __init__(self, name, engines, config, address="127.0.0.1", inside=(), program=LONGWIRED,
                 token=None):
        super().__init__(flags=["--node", name], config=config, env=engines)
        self.name, self.address, self.inside = name, address, list(inside)
        self.program, self.token, self.is_paused = program, token, False

    @property
    def url(self):
        return f"http://{self.address}:{self.port}"

    def command(self):
        listen = [f"{self.address}:{port}" for port in (self.port, self.tcp_port)]
        path = self.home / "longwired.conf"
        path.write_text(self.config)
        advertise = f"http://{listen[0]},tcp://{listen[1]}"
        return self.inside + [str(self.program), "--http", listen[0], "--tcp", listen[1], "--data", str(self.data),
                              "--config", str(path), "--advertise", advertise] + self.flags

    def is_ready(self):
        with contextlib.suppress(OSError, urllib.error.URLError):
            with urllib.request.urlopen(self.url + "/readyz", timeout=SECONDS) as answer:
                return answer.status == 200
        return False

    def wait_ready(self):
        wait_until(self.is_ready, lambda: f"{self.name}: {self.readiness()}\n{self.log()[-2000:]}")

    def readiness(self):
        try:
            with urllib.request.urlopen(self.url + "/readyz", timeout=SECONDS) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            return f"{error.code} {error.read().decode()}"
        except OSError as error:
            return repr(error)

    def pause(self):
        stop_processes([self.process.pid])
        self.is_paused = True

    def resume(self):
        self.process.send_signal(signal.SIGCONT)
        self.is_paused = False

    def kill(self):
        self.is_paused = False
        super().kill()

    def close(self):
        if self.is_paused:
            self.resume()
        super().close()

    def up(self):
        """The names of the nodes that this one takes for alive."""
        return {node["node"] for node in self.nodes() if node["state"] == "up"}

    def sees(self):
        """How many nodes it takes for alive; 0 while it may be sent less than everything."""
        metrics = self.metrics()
        return metrics["longwire_cluster_nodes"] if metrics["longwire_cluster_healthy"] == 1 else 0

    def nodes(self):
        return self.ask("/v1/nodes")["nodes"]

    def starts(self):
        """The starts of nodes that this one takes for alive: one that has begun anew is another start."""
        return {(node["node"], node["incarnation"]) for node in self.nodes() if node["state"] != "lost"}

    def ask(self, path):
        request = urllib.request.Request(self.url + path, headers=headers_of(self.token))
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return json.loads(answer.read())

    def api(self, timeout=SECONDS):
        return Api(self.url, self.token, timeout)

    def metrics(self):
        api = self.api()
        try:
            return api.metrics()
        finally:
            api.close()


class Cluster:
    """config: further lines of each node's configuration; program: the longwired that makes the schema and is each node at first.
    Nothing is started before `with`."""
    token = None    # of all clients, where the nodes ask for one

    def __init__(self, engine="redis", count=3, config="", postgres=None, redis=None, program=LONGWIRED):
        self.postgres = postgres or Postgres()
        self.redis = None if engine == "postgres" else redis or RedisServer()
        self.config, self.count, self.nodes, self.program = config, count, [], program
        self.stack = contextlib.ExitStack()

    def engines(self):
        return {"LONGWIRE_STORE": self.postgres.url, "LONGWIRE_CLUSTER": self.redis.url if self.redis else "postgres"}

    def make_node(self, name):
        return Node(name, self.engines(), f"{BEATS}{self.config}", program=self.program)

    def add_node(self):
        node = self.make_node(f"node{len(self.nodes) + 1}")
        self.nodes.append(node)
        return self.stack.enter_context(node)

    @property
    def urls(self):
        return [node.url for node in self.nodes]

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.postgres)
            self.postgres.init(program=self.program)
            if self.redis is not None:
                stack.enter_context(self.redis)
            self.stack = stack
            for _ in range(self.count):
                self.add_node()
            self.wait_whole()
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        for engine in (self.redis, self.postgres):
            if engine is not None and engine.is_paused:
                engine.resume()
        self.stack.close()

    def is_whole(self):
        """A node says of itself which start it is, so where all say the same, each knows the present start of each."""
        running = [node for node in self.nodes if node.process is not None]
        with contextlib.suppress(OSError, urllib.error.URLError, http.client.HTTPException):
            if not all(node.is_ready() and node.sees() == len(running) for node in running):
                return False
            starts = [node.starts() for node in running]
            return all(each == starts[0] and len(each) == len(running) for each in starts)
        return False

    def wait_whole(self):
        """Until each running node is ready, and knows all that run, as they run now, and no other."""
        wait_until(self.is_whole, lambda: "\n".join(f"{node.name} {node.readiness()} {node.log()[-1500:]}" for node in self.nodes))

    def load(self, **more):
        return Load(self, **more)


class RoundPlace(Place):
    """A reader's place that goes to the next node when its link has ended, or has been silent for too long."""

    def __init__(self, urls, channels, silence_s=SILENCE_SECONDS, **more):
        super().__init__(urls[0], channels, **more)
        self.urls, self.silence_s = list(urls), silence_s
        self.ends = []      # when its links ended

    def hold(self, sock):
        sock.settimeout(self.silence_s)
        super().hold(sock)

    def let_go(self):
        super().let_go()
        self.ends.append(time.monotonic())
        self.urls.append(self.urls.pop(0))
        self.url, self.address = self.urls[0], host_and_port(self.urls[0])


class Follower(Reader):
    """A reader that goes round the nodes, beginning with the first of `urls`, and notes when each thing came."""

    def __init__(self, name, urls, transport, channels, token=None, **more):
        super().__init__(urls[0], transport, channels)
        self.name = name
        self.place = RoundPlace(urls, channels, headers=headers_of(token), **more)
        self.times = []

    def wait_for_payload(self, channel, payload, seconds=SECONDS):
        self.wait_for(lambda: any(event.payload == payload for event in reversed(self.of(channel))), seconds)


class RoundPublisher(threading.Thread):
    """Publishes numbered payloads until it is closed: each with a key, and again, on one node after the other, until it is
    acknowledged or refused for good."""

    def __init__(self, history, name, urls, channels, pause_s=0.0, answer_s=ANSWER_SECONDS, token=None):
        super().__init__(name=name)
        self.history, self.urls, self.channels = history, list(urls), list(channels)
        self.apis = [Api(url, token, answer_s) for url in urls]
        self.at, self.sent, self.pause_s = 0, 0, pause_s
        self.is_over = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.is_resting = threading.Event()
        self.give_up_at = None

    def run(self):
        while not self.is_over.is_set():
            if not self.may_go_on.is_set():
                self.is_resting.set()
                self.may_go_on.wait()
            self.publish(self.channels[self.sent % len(self.channels)], f"{self.name}-{self.sent}")
            self.sent += 1
            self.is_over.wait(self.pause_s)
        for api in self.apis:
            api.close()

    def publish(self, channel, text):
        began, answers, last = time.monotonic(), [], {}
        while True:
            status, last = self.attempt(channel, text, answers)
            is_clear = status in (200, 201) or (400 <= status < 500 and status != 429)
            if is_clear or (self.give_up_at is not None and time.monotonic() > self.give_up_at):
                break
            self.at = (self.at + 1) % len(self.apis)
            self.is_over.wait(min(TRY_AGAIN_SECONDS * len(answers), TRY_AGAIN_SECONDS_MAX))
        place = {name: last.get(name) for name in ("epoch", "seq", "id", "time")} if status in (200, 201) else {}
        self.history.publish(Attempt(self.name, channel, text.encode(), began, time.monotonic(), status, answers=tuple(answers),
                                     **place))

    def attempt(self, channel, text, answers):
        """(status, the answer's members); 0 if nobody knows."""
        url = self.urls[self.at]
        try:
            answer = self.apis[self.at].publish(channel, text.encode(), media="text/plain", key=text)
            status, members = answer.status, answer.json
            told = (status, answer.headers.get("Retry-After"), members.get("detail") or members.get("title") or "", url)
        except BROKEN_LINK as why:
            status, members, told = 0, {}, (0, None, repr(why), url)
        answers.append(told)
        self.history.answers.append(told)
        return status, members

    def rest(self):
        """Returns when nothing is under way."""
        self.is_resting.clear()
        self.may_go_on.clear()
        assert self.is_resting.wait(SECONDS), f"publisher {self.name} has no answer"

    def go_on(self):
        self.may_go_on.set()

    def close(self, give_up_s=SECONDS):
        self.may_go_on.set()
        self.give_up_at = time.monotonic() + give_up_s
        self.is_over.set()
        self.join(SECONDS)
        assert not self.is_alive(), f"publisher {self.name} does not end"


class Load:
    """Publishers on all nodes and followers on all nodes, of the same channels. When it ends, the publishers rest, the logs are read,
    and each follower has seen all of them or is told of in the history."""

    def __init__(self, cluster, channels=("topic:a", "topic:b", "group:c"), publishers=3, transports=("ws", "sse", "ndjson", "poll"),
                 pause_s=0.01, history=None, tag="", urls=None):
        self.cluster, self.history = cluster, history or History()
        self.channels = [f"{channel}{tag}" for channel in channels]
        self.urls = urls or cluster.urls
        self.publishers = [RoundPublisher(self.history, f"p{at}{tag}", self.round_from(at), self.channels, pause_s,
                                          token=cluster.token)
                           for at in range(publishers)]
        self.followers = [Follower(f"{transport}{at}", self.round_from(at), transport, self.channels, cluster.token, after=0)
                          for at, transport in enumerate(transports)]
        assert set(transports) <= set(TRANSPORTS)

    def round_from(self, at):
        """All nodes, another one first for each."""
        at %= len(self.urls)
        return self.urls[at:] + self.urls[:at]

    def __enter__(self):
        for thread in self.followers:
            thread.thread.start()
        for publisher in self.publishers:
            publisher.start()
        return self

    def __exit__(self, kind, *_):
        for publisher in self.publishers:
            publisher.close(0 if kind else SECONDS)
        if kind is None:
            self.read_logs()
            self.wait_followers()
        for follower in self.followers:
            follower.close()
        self.record_followers()

    def acknowledged(self):
        return len(self.history.acknowledged())

    def wait_acknowledged(self, more, seconds=SECONDS):
        """Until so many more are acknowledged."""
        wanted = self.acknowledged() + more
        wait_until(lambda: self.acknowledged() >= wanted, lambda: f"{self.acknowledged()} of {wanted}", seconds)

    def read_logs(self):
        api = next(node for node in self.cluster.nodes if node.process is not None).api()
        for channel in self.channels:
            self.history.log(channel, [event_of(entry) for entry in api.history_all(channel)])
        api.close()

    def wait_followers(self):
        """A follower that doesn't come to the end is a fault of the history; so nothing is raised here."""
        for follower in self.followers:
            for channel in self.channels:
                entries = self.history.logs[channel]
                if entries:
                    with contextlib.suppress(AssertionError):
                        follower.wait_for(lambda f=follower, c=channel, e=entries[-1]: any(
                            (event.epoch, event.seq) == (e.epoch, e.seq) for event in reversed(f.of(c))), SECONDS / 2)

    def record_followers(self):
        for follower in self.followers:
            self.history.followers_of[follower.name] |= set(self.channels)
            for event in follower.events:
                self.history.saw(follower.name, event)
