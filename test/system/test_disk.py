"""A disk that fails, fills up, lies or was tampered with: no false acknowledgement, no loss, a message to the operator,
and recovery without help (threats 2, 4, 6 to 11, 15, 16). The store's own tests go through every byte; these tests see
the whole process.

LW_KILL_SAMPLE    at how many system calls the server is killed; 14 unless told otherwise; `all`: at each
LW_SEED           seed of that sample
"""
import base64
import contextlib
import errno
import http.client
import os
import pathlib
import random
import re
import resource
import stat
import subprocess
import threading
import time
import urllib.request

import pytest

from hanging_server import FAULTY_DISK, HangingServer, Waiting, needs_faulty_disk
from longwire_client import TRANSPORTS, Api, Reader, audit_history, audit_reader, event_of
from longwire_server import LONGWIRED, Server, copy_data, is_built
from proxies import Proxy
from strace_server import StracedServer, needs_strace, strace
from waiting import SECONDS, wait_until

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")

SEED = int(os.environ.get("LW_SEED", random.randrange(1 << 32)))


def text_that_stays_long(size):
    """The store compresses what it keeps: a disk would never be full of dots."""
    return base64.b64encode(random.randbytes(size * 3 // 4 + 1))


class Publishers:
    """Threads that publish under keys, and repeat what was refused or cut off until it is acknowledged."""

    def __init__(self, server, channel, count=4, size=200):
        self.url, self.channel, self.size = server.url, channel, size
        self.answered, self.refusals, self.is_over, self.is_given_up = {}, [], False, False
        self.refused = set()    # names of threads
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(count)]

    def run(self, name):
        api, number = Api(self.url), 0
        while not self.is_over:
            payload = (f"{name}-{number}-".encode() + text_that_stays_long(self.size))[:self.size]
            number += 1
            while payload not in self.answered and not self.is_given_up:
                try:
                    answer = api.publish(self.channel, payload, key=f"{name}-{number}")
                except (OSError, http.client.HTTPException):
                    time.sleep(0.01)
                    continue
                if answer.status in (200, 201):
                    self.answered[payload] = (answer.json["epoch"], answer.json["seq"])
                else:
                    self.refusals.append(answer)
                    self.refused.add(name)
                    time.sleep(0.01)
        api.close()

    def wait_more(self, count):
        goal = len(self.answered) + count
        wait_until(lambda: len(self.answered) >= goal)

    def wait_refused(self, statuses):
        start = len(self.refusals)
        wait_until(lambda: any(answer.status in statuses for answer in self.refusals[start:]))

    def wait_all_refused(self):
        """Each thread: so none of them has an answer under way that was given before."""
        self.refused.clear()
        wait_until(lambda: len(self.refused) == len(self.threads))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self.is_over, self.is_given_up = True, kind is not None
        for thread in self.threads:
            thread.join(SECONDS)


def check_problem(answer):
    problem = answer.json
    assert answer.headers["Content-Type"] == "application/problem+json" and answer.headers["Retry-After"]
    assert problem["status"] == answer.status and len(problem["detail"]) > 20


def check_goes_on_without_disk(api):
    """What needs no disk works: memory channels and what is in them, and the statement that durable channels don't
    work."""
    assert api.publish("live:meanwhile", b"x").status == 201
    assert api.history("live:meanwhile")["head"] >= 1
    assert api.get("/healthz").status == 200
    not_ready = api.get("/readyz")
    assert not_ready.status == 503, not_ready
    check_problem(not_ready)


def check_can_be_read(server, channel, answered):
    """Whatever was acknowledged is there, in history and for a subscriber who comes now; nothing of it is 503."""
    head = max(seq for _, seq in answered.values())
    with contextlib.closing(Api(server.url)) as api, Reader(server.url, "sse", [channel]) as newcomer:
        history = {event.seq: event.payload for event in map(event_of, api.history_all(channel))}
        newcomer.wait_head(channel, head)
        got = {event.seq: event.payload for event in newcomer.of(channel)}
        assert all(history[seq] == got[seq] == payload for payload, (_, seq) in answered.items())


def audit_all(server, publishers, readers):
    """LA: each acknowledged once, nothing else there, every reader has exactly it."""
    with contextlib.closing(Api(server.url)) as api:
        history = audit_history(api, publishers.channel, publishers.answered)
        assert len(history) == len(publishers.answered)
        for reader in readers:
            reader.wait_head(publishers.channel, len(history))
            audit_reader(reader, publishers.channel, history)
        wait_until(lambda: api.get("/readyz").status == 200)


# --- calls that fail -------------------------------------------------------------------------------------------------

@needs_faulty_disk
# "any ENOSPC 5" hits a write or a sync, as it happens.
@pytest.mark.parametrize("fault, statuses", [
    ("sync EIO", [503]), ("fdatasync EIO", [503]), ("sync EIO 3", [503]), ("write EIO", [503]), ("write EAGAIN", [503]), ("any EIO 7", [503]),
    ("any EIO", [503]), ("any EROFS", [503]), ("any ENOSPC", [503, 507]),
    ("write ENOSPC", [507]), ("write EDQUOT", [507]), ("write EFBIG", [507]), ("any ENOSPC 5", [503, 507])])
def test_a_disk_that_fails_is_not_believed(fault, statuses, tmp_path):
    """Threats 8 to 11: publishes are refused while it fails, and succeed afterwards, without a restart; nothing that
    was acknowledged is lost."""
    control = tmp_path / "control"
    data = tmp_path / "data"
    env = {"LD_PRELOAD": str(FAULTY_DISK), "FAULTY_DISK_CONTROL": str(control), "FAULTY_DISK_UNDER": str(data),
           "ASAN_OPTIONS": "verify_asan_link_order=0"}
    with Server(data=data, env=env, flags=["--heartbeat-s", "2"]) as server, contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reader(server.url, transport, ["topic:f"])) for transport in TRANSPORTS]
        api = Api(server.url)
        with Publishers(server, "topic:f") as publishers:
            for _ in range(2):
                publishers.wait_more(50)
                control.write_text(fault)
                publishers.wait_refused(statuses)
                if fault.startswith("sync") and fault[-1].isalpha():
                    publishers.wait_all_refused()
                acknowledged = len(publishers.answered)
                check_goes_on_without_disk(api)
                check_can_be_read(server, "topic:f", dict(publishers.answered))
                if fault.startswith("sync") and fault[-1].isalpha():
                    assert len(publishers.answered) <= acknowledged, "acknowledged without a sync"
                control.unlink()
            publishers.wait_more(50)
        others = {answer.status for answer in publishers.refusals} - {*statuses, 503}
        assert not others, others
        check_problem(next(answer for answer in publishers.refusals if answer.status in statuses))
        audit_all(server, publishers, readers)
        assert api.metrics()["longwire_store_failures_total"] >= 2
        wait_until(lambda: "event=store_reopened" in server.log())
        assert "event=store_failed" in server.log() and os.strerror(getattr(errno, fault.split()[1])) in server.log()
        assert all(reader.breaks == [] or reader.transport == "poll" for reader in readers)
        server.kill()
        server.start()
        audit_all(server, publishers, readers)
        api.close()


@needs_faulty_disk
def test_it_stops_though_its_log_cannot_be_read(tmp_path):
    """Threat 24: a reader that waits for a head which a failing store can't tell must not hold up a stop."""
    control, data = tmp_path / "control", tmp_path / "data"
    env = {"LD_PRELOAD": str(FAULTY_DISK), "FAULTY_DISK_CONTROL": str(control), "FAULTY_DISK_UNDER": str(data),
           "ASAN_OPTIONS": "verify_asan_link_order=0"}
    with Server(data=data, env=env, flags=["--stop-timeout-s", "2"]) as server, Publishers(server, "topic:f") as publishers:
        publishers.wait_more(20)
        control.write_text("any EIO")
        publishers.wait_refused([503])
        reader = urllib.request.urlopen(urllib.request.Request(
            server.url + "/v1/subscribe?channel=topic:never-seen", headers={"Accept": "text/event-stream"}))
        assert reader.status == 200
        publishers.is_over = publishers.is_given_up = True
        server.stop()
        reader.close()


WAITING_MAX = 16


@needs_faulty_disk
def test_a_disk_that_never_finishes(tmp_path):
    """A batch never completes: publish_waiting_max publishes wait, and the others are refused. Everything that needs no
    disk goes on, and when the disk works again, the publishes that waited are answered."""
    with HangingServer(tmp_path, flags=["--publish-waiting-max", str(WAITING_MAX)]) as server, \
            contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reader(server.url, transport, ["topic:h", "live:h"]))
                   for transport in TRANSPORTS]
        api = Api(server.url)
        assert api.publish("topic:h", b"before").status == 201
        for reader in readers:
            reader.wait_head("topic:h", 1)
        server.hang()
        waiting = stack.enter_context(Waiting(server, "topic:h", 4 * WAITING_MAX))
        stack.callback(server.go_on)
        wait_until(lambda: len(waiting.answers) + api.metrics()["longwire_publishes_waiting"] == 4 * WAITING_MAX)
        refused = list(waiting.answers.values())
        assert WAITING_MAX <= 4 * WAITING_MAX - len(refused) < 4 * WAITING_MAX
        assert {answer.status for answer in refused} == {429}
        check_problem(refused[0])
        for number in range(1, 21):
            assert api.publish("live:h", b"%d" % number).status == 201
        for reader in readers:
            reader.wait_head("live:h", 20)
            assert reader.count("topic:h") == 1, "delivered before it was durable"
        assert [entry["seq"] for entry in api.history_all("topic:h")] == [1]
        assert api.get("/healthz").status == 200
        assert len(waiting.answers) == len(refused), "answered before it was durable"
        server.go_on()
        waiting.wait()
        taken = {payload: answer for payload, answer in waiting.answers.items() if answer not in refused}
        assert {answer.status for answer in taken.values()} == {201}
        answered = {payload: (answer.json["epoch"], answer.json["seq"]) for payload, answer in taken.items()}
        history = audit_history(api, "topic:h", answered)
        assert len(history) == 1 + len(taken), "what was refused is there"
        for reader in readers:
            reader.wait_head("topic:h", len(history))
            assert [event.payload for event in reader.messages("topic:h")] == list(history.values())
        api.close()


@needs_faulty_disk
def test_nobody_waits_for_a_disk_for_ever(tmp_path):
    """After ten seconds publishers are answered: what the disk has is perhaps stored, what waits behind it is not. What the
    disk finishes later is delivered."""
    with HangingServer(tmp_path) as server, contextlib.closing(Api(server.url)) as api, \
            Reader(server.url, "ws", ["topic:h"]) as reader:
        reader.wait_for(lambda: len(reader.others) == 2)  # connected, subscribed
        server.hang()
        with Waiting(server, "topic:h", 1) as first:
            wait_until(lambda: api.metrics()["longwire_publishes_waiting"] == 1)
            with Waiting(server, "topic:h", 1) as second:
                wait_until(lambda: api.metrics()["longwire_publishes_waiting"] == 2)
        answers = [*first.answers.values(), *second.answers.values()]
        assert [answer.status for answer in answers] == [503, 503]
        assert "not known" in answers[0].json["detail"] and "nothing was stored" in answers[1].json["detail"]
        assert all("retry-after" in {name.lower() for name in answer.headers} for answer in answers)
        assert api.metrics()["longwire_publishes_late_total"] == 2
        assert reader.count("topic:h") == 0
        server.go_on()
        reader.wait_head("topic:h", 1)
        assert [entry["seq"] for entry in api.history_all("topic:h")] == [1]
        assert api.publish("topic:h", b"goes on").json["seq"] == 2


@needs_faulty_disk
def test_it_stops_though_its_disk_never_finishes(tmp_path):
    """Threat 24: it stops a little after stop_timeout_s, with status 1 and a line in the log. No publisher was told
    that the message is stored."""
    with HangingServer(tmp_path, flags=["--stop-timeout-s", "1"]) as server, contextlib.closing(Api(server.url)) as api:
        assert api.publish("topic:h", b"before").status == 201
        server.hang()
        with Waiting(server, "topic:h", 3) as waiting:
            wait_until(lambda: api.metrics()["longwire_publishes_waiting"] == 3)
            assert server.terminate().wait(SECONDS) == 1
        assert "event=stopping_at_once" in server.log()
        assert not [answer for answer in waiting.answers.values() if answer.status == 201]
        server.go_on()
        server.start()
        with contextlib.closing(Api(server.url)) as after:
            audit_history(after, "topic:h", {})
            assert after.history("topic:h")["head"] >= 1
            assert after.publish("topic:h", b"goes on").status == 201


@needs_strace
def test_interrupted_calls_change_nothing():
    """Threat 9: every third write of the log comes back with EINTR."""
    with Server(env={"ASAN_OPTIONS": "detect_leaks=0"}) as server:
        # A call that is under way when strace lets go is answered ENOSYS, so it's there from before the first to after
        # the last.
        with strace(server, "inject=write,pwrite64,writev:error=EINTR:when=1+3", newest(server.data, "*.log")):
            with Publishers(server, "topic:i") as publishers:
                publishers.wait_more(200)
        assert publishers.refusals == []
        audit_all(server, publishers, [])
        server.kill()
        server.start()
        audit_all(server, publishers, [])


def disk_env(control, data):
    return {"LD_PRELOAD": str(FAULTY_DISK), "FAULTY_DISK_CONTROL": str(control), "FAULTY_DISK_UNDER": str(data),
            "ASAN_OPTIONS": "verify_asan_link_order=0"}


ONE_WRITE = """import os, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)
print(os.write(fd, b"12345678"), os.pwrite(fd, b"12345678", 100))"""


@needs_faulty_disk
@pytest.mark.parametrize("fault, said", [("any SHORT", "4 4"), ("write EINTR", "Interrupted|8 8"), ("pwrite EINTR", "Interrupted|8 8")])
def test_calls_that_do_half_of_it_change_nothing(fault, said, tmp_path):
    """Threat 9: every write to every file, from the first start on, takes half of its bytes; or every second one is interrupted.
    Nothing is refused, and the log has the same messages as the acknowledgements. A process without retries sees the fault."""
    control, data = tmp_path / "control", tmp_path / "data"
    control.write_text(fault)
    data.mkdir()
    done = subprocess.run(["/usr/bin/python3", "-c", ONE_WRITE, data / "probe"], env={**os.environ, **disk_env(control, data)},
                          capture_output=True, text=True, check=False)
    assert re.search(said, done.stdout + done.stderr), done
    (data / "probe").unlink()
    with Server(data=data, env=disk_env(control, data), flags=["--write-buffer-bytes", "1M"]) as server:
        with Publishers(server, "topic:h", size=3000) as publishers:
            publishers.wait_more(300)
            server.restart()        # tables are written, and a manifest
            publishers.wait_more(300)
        assert publishers.refusals == []
        audit_all(server, publishers, [])
        server.kill()
        control.unlink()
        server.start()
        audit_all(server, publishers, [])


# --- no room ---------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def small_disk(path, size):
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@contextlib.contextmanager
def kept_full(disk):
    """Leaves less than the reserve of 2 MB, and takes what the store itself gives back, until it is left."""
    filler, is_over = disk / "filler", threading.Event()

    def take():
        with filler.open("ab", buffering=0) as file:
            while not is_over.wait(0.02):
                free = os.statvfs(disk)
                with contextlib.suppress(OSError):
                    file.write(bytes(max(0, free.f_bavail * free.f_frsize - (3 << 19))))
    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        filler.unlink()


@needs_root
def test_a_full_disk(tmp_path):
    """Threat 10: a disk of 16 MB. Publishes get 507 with a reason, reading and delivery go on, and once there is room
    everything works again."""
    with small_disk(tmp_path / "disk", "16m") as disk, contextlib.ExitStack() as stack:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(6 << 20))
        flags = ["--disk-reserve-bytes", "2M"]
        with Server(data=disk / "data", flags=flags) as server:
            readers = [stack.enter_context(Reader(server.url, transport, ["topic:full"])) for transport in TRANSPORTS]
            api = Api(server.url)
            with Publishers(server, "topic:full", size=20000) as publishers:
                publishers.wait_refused([507])
                with kept_full(disk):
                    wait_until(lambda: api.get("/readyz").status == 503)
                    acknowledged = dict(publishers.answered)
                    assert acknowledged
                    audit_history(api, "topic:full", acknowledged)  # reading goes on
                    check_goes_on_without_disk(api)
                    for reader in readers:
                        reader.wait_head("topic:full", len(acknowledged))
                    assert api.metrics()["longwire_store_full"] == 1
                ballast.unlink()
                publishers.wait_more(10)
            check_problem(next(answer for answer in publishers.refusals if answer.status == 507))
            assert {answer.status for answer in publishers.refusals} == {507}
            audit_all(server, publishers, readers)
            assert api.metrics()["longwire_store_full"] == 0
            api.close()
            stack.close()


HAPROXY_NOTICES_SECONDS = 9  # three checks in a row must fail, one every 2 s; and some time for the answers


@needs_root
def test_a_full_disk_behind_a_load_balancer_that_asks_for_readiness(tmp_path):
    """Threat 10, through the haproxy of docs/operations.md: it does not take the server out. Reads and streams go on
    through it, old ones and new ones, and a publish gets the server's own 507."""
    with small_disk(tmp_path / "disk", "16m") as disk, contextlib.ExitStack() as stack:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(6 << 20))
        with Server(data=disk / "data", flags=["--disk-reserve-bytes", "2M"]) as server, \
                Proxy("haproxy", server) as proxy:
            api = stack.enter_context(contextlib.closing(Api(proxy.url)))
            readers = [stack.enter_context(Reader(proxy.url, transport, ["topic:full"])) for transport in TRANSPORTS]
            with Publishers(proxy, "topic:full", size=20000) as publishers:
                publishers.wait_refused([507])
                with kept_full(disk):
                    wait_until(lambda: api.get("/readyz").status == 503)
                    until = time.monotonic() + HAPROXY_NOTICES_SECONDS
                    while time.monotonic() < until:
                        assert [api.get(f"/readyz{path}").status for path in ("", "/publish", "/read")] == [503, 503, 200]
                        check_goes_on_without_disk(api)
                        audit_history(api, "topic:full", dict(publishers.answered))
                    readers += [stack.enter_context(Reader(proxy.url, transport, ["topic:full"]))
                                for transport in TRANSPORTS]
                    for reader in readers:
                        reader.wait_head("topic:full", len(publishers.answered))
                ballast.unlink()
                publishers.wait_more(10)
            assert {answer.status for answer in publishers.refusals} == {507}
            audit_all(proxy, publishers, readers)
            assert all(reader.breaks == [] or reader.transport == "poll" for reader in readers)
            stack.close()


@contextlib.contextmanager
def small_ext4(path, size):
    path.mkdir()
    image = path.with_suffix(".image")
    with open(image, "wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@needs_root
@pytest.mark.parametrize("size, flags", [(16 << 20, []), (64 << 20, []), (16 << 20, ["--disk-reserve-bytes", "0"])])
def test_a_small_disk(size, flags, tmp_path):
    """Threat 10: with the defaults a server starts on a disk of 16 MB, uses most of it, starts on it when it is full, and
    takes publishes again when there is room."""
    with small_ext4(tmp_path / "disk", size) as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(size // 4))
        with Server(data=disk / "data", flags=flags) as server:
            api, answered = Api(server.url), {}
            while (answer := api.publish("topic:s", payload := os.urandom(20000))).status == 201:
                answered[payload] = (answer.json["epoch"], answer.json["seq"])
            assert answer.status == 507 and len(answered) * 20000 > size / 3
            audit_history(api, "topic:s", answered)
            if not flags:
                api.close()
                server.kill()
                server.start()
                audit_history(api, "topic:s", answered)
            ballast.unlink()
            wait_until(lambda: api.publish("topic:s", b"there is room").status == 201)
            for _ in range(size // 8 // 20000):
                assert api.publish("topic:s", os.urandom(20000)).status == 201
            wait_until(lambda: api.get("/readyz").status == 200)
            api.close()


@needs_root
def test_no_room_at_the_start(tmp_path):
    """The sentence names the disk, not the file that happened to be written."""
    with small_ext4(tmp_path / "disk", 16 << 20) as disk:
        with contextlib.suppress(OSError), open(disk / "ballast", "wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))
        start_refused(disk / "data", said="the disk .* is full")


def test_a_limit_on_file_sizes():
    """Threat 11: RLIMIT_FSIZE. SIGXFSZ must not end the server, and with a higher limit everything works again."""
    with Server() as server, Reader(server.url, "sse", ["topic:u"]) as reader:
        api = Api(server.url)
        with Publishers(server, "topic:u", size=2000) as publishers:
            publishers.wait_more(20)
            _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (200000, hard))
            publishers.wait_refused([507])
            check_goes_on_without_disk(api)
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard))
            publishers.wait_more(20)
        audit_all(server, publishers, [reader])
        api.close()


# --- the last system call ---------------------------------------------------------------------------------------------

# How often one of its threads makes each call in such a run, about.
CALLS = {"write": 240, "pwrite64": 120, "fdatasync": 120, "openat": 88, "fsync": 16, "sync_file_range": 12, "rename": 8,
         "fallocate": 5, "unlink": 4, "ftruncate": 3}


def kill_places():
    """A sample in which every kind of call occurs, those of the beginning more often than those of the end; or all of them."""
    rng, calls, sample = random.Random(SEED), list(CALLS), os.environ.get("LW_KILL_SAMPLE", "14")
    if sample == "all":
        yield from ((call, number) for call in calls for number in range(1, CALLS[call] + 1))
        return
    for number in range(int(sample)):
        call = calls[number % len(calls)]
        yield call, max(1, int(CALLS[call] * rng.random() ** 2))


@needs_strace
def test_killed_at_any_system_call_it_starts_again():
    """Threat 2: SIGKILL at the n-th call of a kind, also while the server starts and while it renames files."""
    print(f"LW_SEED={SEED}")
    places, reached = list(kill_places()), 0
    for call, count in places:
        server = StracedServer(f"inject={call}:signal=KILL:when={count}", flags=["--write-buffer-bytes", "1M"])
        try:
            server.start(wait=False)
            answered, api = {}, Api(server.url)
            for number in range(120):
                payload = b"%d-" % number + b"." * 20000
                try:
                    answer = api.publish("topic:n", payload)
                except (OSError, http.client.HTTPException):
                    if server.process.poll() is not None:
                        break
                    time.sleep(0.01)
                    continue
                assert answer.status == 201
                answered[payload] = (answer.json["epoch"], answer.json["seq"])
            api.close()
            reached += server.process.poll() is not None
            server.kill()
            with Server(data=server.data) as after, contextlib.closing(Api(after.url)) as api:
                try:
                    audit_history(api, "topic:n", answered)
                except AssertionError as why:
                    raise AssertionError(f"{call} {count}: {why}") from why
                assert api.publish("topic:n", b"goes on").status == 201
        finally:
            server.close()
    print(f"{reached} of {len(places)} calls were reached")
    assert reached >= len(places) // 4   # how many calls a thread makes depends on how much is written together


# --- the directory ----------------------------------------------------------------------------------------------------

def start_refused(data, wrap=(), said=""):
    done = subprocess.run([*wrap, LONGWIRED, "--http", "127.0.0.1:0", "--data", str(data)], capture_output=True,
                          text=True, timeout=SECONDS, check=False)
    assert done.returncode == 1, (done.returncode, done.stderr)
    line, = [line for line in done.stderr.splitlines() if "event=cant_start" in line]
    assert str(data) in line and re.search(said, line), line


def test_two_servers_on_one_directory():
    """Threat 15."""
    with Server() as server, contextlib.closing(Api(server.url)) as api:
        assert api.publish("topic:t", b"mine").status == 201
        start_refused(server.data, said="in use by another process")
        assert api.publish("topic:t", b"still mine").status == 201


def test_a_directory_that_is_none(tmp_path):
    """Threat 15."""
    (tmp_path / "file").write_text("not a directory")
    start_refused(tmp_path / "file", said="[Nn]ot a directory|File exists")
    start_refused(tmp_path / "missing" / "deeper", said="No such file or directory")


@needs_root
def test_a_directory_of_someone_else_or_read_only(tmp_path):
    """Threat 15."""
    with Server() as server:
        with contextlib.closing(Api(server.url)) as api:
            assert api.publish("topic:t", b"mine").status == 201
        server.stop()
        start_refused(server.data, wrap=["setpriv", "--reuid=65534", "--clear-groups"], said="[Pp]ermission denied")
        with small_disk(tmp_path / "disk", "16m") as disk:
            copy_data(server.data, disk / "data")
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            start_refused(disk / "data", said="[Rr]ead-only file system")
        server.start()


class FoundingServer(Server):
    """Makes its data directory itself."""

    def command(self):
        words = super().command()
        words[words.index("--data") + 1] += "/made"
        return words


def test_nobody_else_may_read_the_files():
    """Threat 16, whatever umask it was started with."""
    before = os.umask(0)
    try:
        with FoundingServer(flags=["--write-buffer-bytes", "1M"]) as server, contextlib.closing(Api(server.url)) as api:
            for _ in range(150):
                assert api.publish("topic:m", bytes(20000)).status == 201
            things = [server.data / "made", *(server.data / "made").rglob("*")]
            modes = {str(thing): stat.S_IMODE(thing.stat().st_mode) for thing in things}
            assert len(modes) > 8 and not {name: oct(mode) for name, mode in modes.items() if mode & 0o077}
    finally:
        os.umask(before)


# --- tampered with ----------------------------------------------------------------------------------------------------

@pytest.fixture(name="log", scope="module")
def fixture_log(tmp_path_factory):
    """A directory with two channels of 60 messages after kill -9, and what was acknowledged."""
    home = tmp_path_factory.mktemp("log")
    server = Server(data=home / "data").start()
    answered = {}
    with contextlib.closing(Api(server.url)) as api:
        for number in range(120):
            channel, payload = f"topic:{number % 2}", f"payload {number} {'.' * 50}".encode()
            answer = api.publish(channel, payload).json
            answered[channel, answer["seq"]] = (answer["epoch"], payload)
    server.kill()
    server.close()
    yield home / "data", answered


def newest(data, pattern):
    return max((data / "db").glob(pattern), key=lambda path: path.name)


def records_bytes(log):
    """How much of a log is records: zeros are ahead of them (decision 155)."""
    return len(log.read_bytes().rstrip(b"\0"))


def judge(data, answered):
    """Either the server starts, shows only what is true, and reports what it lacks; or it refuses to start and says
    why. Gives how many messages are there, or None."""
    done = None
    server = Server(data=data)
    server.start(wait=False)
    try:
        wait_until(lambda: server.is_healthy() or server.process.poll() is not None)
        if server.process.poll() is not None:
            assert server.process.returncode == 1 and "event=cant_start" in server.log() and str(data) in server.log()
            server.process = None
            return None
        done = judge_history(server, answered)
    finally:
        server.close()
    return done


def judge_history(server, answered):
    there = 0
    with contextlib.closing(Api(server.url)) as api:
        for channel in ("topic:0", "topic:1"):
            page, next_seq = api.history(channel, after=0, limit=1000), 1
            lost = [place for place in answered if place[0] == channel]
            for entry in page["messages"]:
                event = event_of(entry)
                first = entry["from"] if event.kind == "gap" else event.seq
                assert first == next_seq, "a hole that nobody told of"
                next_seq = event.seq + 1
                if event.kind == "message":
                    assert event.payload == answered[channel, event.seq][1], "wrong bytes"
                    lost.remove((channel, event.seq))
                    there += 1
                else:
                    assert entry["why"] == "corrupt", entry
            old_epoch = answered[channel, 1][0]
            beyond = [seq for _, seq in lost if seq > page["head"]]
            # Acknowledged messages are missing at the end, so seqs will be given again: the epoch must be new.
            assert not beyond or page["epoch"] != old_epoch, f"{len(beyond)} acknowledged messages are gone silently"
            assert api.publish(channel, b"goes on").status == 201
    return there


def cut(path, keep):
    os.truncate(path, keep)


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x10]))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.95, 0.999])
def test_a_cut_log(log, share, tmp_path):
    """Threat 4: the end of the log is cut off. What stands before the cut is there, and the server reports that
    acknowledged messages are lost."""
    data = copy_data(log[0], tmp_path / "data")
    path = newest(data, "*.log")
    cut(path, int(records_bytes(path) * share))
    there = judge(data, log[1])
    assert there is None or there < 120


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.8, 0.97])
def test_a_flipped_bit(log, share, tmp_path):
    """Threat 6: found by checksum, never shown."""
    data = copy_data(log[0], tmp_path / "data")
    path = newest(data, "*.log")
    flip(path, int(records_bytes(path) * share))
    there = judge(data, log[1])
    assert there is None or there < 120


@pytest.fixture(name="tables", scope="module")
def fixture_tables(log, tmp_path_factory):
    """The same after a clean start and stop, when the messages are in tables."""
    data = copy_data(log[0], tmp_path_factory.mktemp("tables") / "data")
    with Server(data=data):
        pass
    assert list((data / "db").glob("*.sst"))
    return data, log[1]


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9])
def test_a_flipped_bit_in_a_table(tables, share, tmp_path):
    """Threat 6."""
    data = copy_data(tables[0], tmp_path / "data")
    path = max((data / "db").glob("*.sst"), key=lambda path: path.stat().st_size)
    flip(path, int(path.stat().st_size * share))
    judge(data, tables[1])


@pytest.mark.parametrize("name", ["format", "synced", "db/CURRENT", "db/MANIFEST-*", "db/OPTIONS-*", "db/*.sst"])
@pytest.mark.parametrize("damage", ["missing", "empty", "zeroed"])
def test_a_file_that_was_lost(tables, name, damage, tmp_path):
    """Threat 7: rebuilt, or refused with a clear sentence; never silently empty."""
    data = copy_data(tables[0], tmp_path / "data")
    for path in data.glob(name):
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes(b"" if damage == "empty" else bytes(path.stat().st_size))
    there = judge(data, tables[1])
    assert there in (None, 120), f"{there} of 120 messages, and no word"


def test_a_directory_from_a_newer_version(tables, tmp_path):
    """Threat 7."""
    data = copy_data(tables[0], tmp_path / "data")
    (data / "format").write_text((data / "format").read_text().replace("format 4", "format 5"))
    start_refused(data, said="format 5")
    assert pathlib.Path(data / "format").read_text().endswith("5\n")
