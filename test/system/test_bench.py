"""The bench notices a server that isn't exact. Its baseline can be told to lose, double or swap one message in a
hundred."""
import contextlib
import json
import re
import subprocess
import time
from pathlib import Path

import jwt
import pytest

from longwire_client import Api
from longwire_server import BUILD, Server, free_port
from waiting import SECONDS, wait_until

BENCH = BUILD / "longwire-bench"
ROOT = Path(__file__).parents[2]

EXACT, INEXACT, BROKEN = 0, 1, 2


class Baseline:
    """The bench's own minimal server."""

    def __init__(self, *words):
        self.words = words

    def __enter__(self):
        self.address = f"127.0.0.1:{free_port()}"
        self.process = subprocess.Popen([BENCH, "baseline", "--server", self.address, *self.words])
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def bench(self, *words, ms=300):
        """Gives the exit code and the line of figures; tries again while the baseline doesn't listen yet."""
        def measure():
            done = subprocess.run([BENCH, *words, "--peer", "baseline", "--server", self.address,
                                   "--pid", str(self.process.pid), "--seconds-ms", str(ms), "--settle-ms", "0"],
                                  capture_output=True, text=True, timeout=SECONDS, check=False)
            assert self.process.poll() is None, done.stderr
            return None if "Connection refused" in done.stderr else done
        done = wait_until(measure)
        return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr

    def bench_many(self, *words, least=500):
        """The same, of a run in which so many were published, by default that several are one in a hundred: a busy machine may need a
        longer one."""
        lengths = (300 << turn for turn in range(8))

        def measure():
            code, figures = self.bench(*words, ms=next(lengths))
            assert code in (EXACT, INEXACT), figures
            return figures["published"] >= least and (code, figures)
        return wait_until(measure)


FANOUT = ["fanout", "--subscribers", "50"]
UNICAST = ["unicast", "--subscribers", "50", "--publishers", "4", "--in-flight", "64"]


@pytest.mark.parametrize("scenario", [FANOUT, FANOUT + ["--threads", "3", "--publishers", "4"],
                                      FANOUT + ["--in-flight", "1"], ["rate", "--subscribers", "50"],
                                      UNICAST, UNICAST + ["--threads", "3"]], ids=" ".join)
@pytest.mark.parametrize("baseline", [[], ["--coalesced"]], ids=["send each", "coalesced"])
def test_an_exact_server_is_found_exact(scenario, baseline):
    with Baseline(*baseline) as server:
        code, figures = server.bench_many(*scenario, least=1)
    assert code == EXACT, figures
    readers = 1 if scenario[0] == "unicast" else 50
    assert figures["published"] > 0 and figures["deliveries"] == figures["published"] * readers
    assert figures["lost"] == figures["doubled"] == figures["out_of_order"] == figures["strayed"] == 0
    assert figures["server_cpu_us"] > 0 and figures["p50_us"] <= figures["p99_us"] <= figures["max_us"]


@pytest.mark.parametrize("fault, shown", [("lose", "lost"), ("double", "doubled"), ("swap", "out_of_order")])
@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_single_bad_message_in_a_hundred_is_noticed(fault, shown, threads):
    with Baseline("--coalesced", "--fault", fault) as server:
        code, figures = server.bench_many(*FANOUT, "--threads", threads)
    assert code == INEXACT, figures
    others = {"lost", "doubled", "out_of_order", "strayed"} - {shown}
    assert figures[shown] > 0 and all(figures[other] == 0 for other in others), figures


def test_each_reader_gets_a_message_before_anything_counts():
    with Baseline() as server:
        code, figures = server.bench_many(*UNICAST, "--greeted", least=1)
        assert code == EXACT and figures["deliveries"] == figures["published"] > 0, figures
    with Baseline("--coalesced", "--fault", "lose") as server:   # one in a hundred: fifty readers get theirs in the second round
        code, figures = server.bench_many(*UNICAST, "--greeted")
        assert code == INEXACT and figures["lost"] > 0, figures


def test_a_peer_that_loses_may_be_measured():
    with Baseline("--coalesced", "--fault", "lose") as server:
        code, figures = server.bench_many(*UNICAST, "--may-lose")
    assert code == EXACT and figures["lost"] > 0 and figures["server_cpu_us"] > 0, figures
    assert figures["deliveries"] + figures["lost"] == figures["published"], figures


def test_connections_come_and_go():
    with Baseline() as server:
        code, figures = server.bench("connect", "--connections", "500")
        assert code == EXACT and figures["server_cpu_us"] > 0, figures
        code, figures = server.bench("idle", "--connections", "500")
        assert code == EXACT and figures["pss_after_bytes"] > 0, figures


@pytest.mark.parametrize("words", [["fanout", "--subscribers", "0"], ["fanout", "--transport", "poll"],
                                   ["durable", "--batch", "5"], ["nothing"], ["fanout", "--no-such-option", "1"]])
def test_what_cannot_be_measured_is_refused(words):
    with Baseline() as server:
        code, reason = server.bench(*words)
    assert code == BROKEN and reason.startswith("longwire-bench: ")


def bench_sessions(server, *words, ms=1000):
    """A scenario of the native protocol's sessions, against the real server."""
    done = subprocess.run([BENCH, *words, "--peer", "longwire-native", "--server", f"127.0.0.1:{server.tcp_port}",
                           "--pid", str(server.pid), "--seconds-ms", str(ms), "--settle-ms", "0"],
                          capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == EXACT, done.stderr
    return json.loads(done.stdout)


def bench_until(server, name, least, *words):
    """The figures of a run with so many: a busy machine may need a longer one."""
    lengths = (1000 << turn for turn in range(6))
    return wait_until(lambda: (figures := bench_sessions(server, *words, ms=next(lengths)))[name] >= least and figures)


def test_a_crowd_of_sessions_comes_back_beats_and_acknowledges():
    """The storm is exact by itself: a session that lacks a message, or has one twice, ends it."""
    with Server() as server:
        assert bench_sessions(server, "storm", "--connections", "300", "--missed", "10")["server_cpu_us"] > 0
        assert bench_until(server, "beats", 300, "beat", "--connections", "300")["server_cpu_us"] > 0
        assert bench_until(server, "acks", 300, "acks", "--connections", "300", "--channels", "100")["per_second"] > 0
        with contextlib.closing(Api(server.url)) as api:
            wait_until(lambda: api.metrics()["longwire_places_stored_total"] >= 300)  # a second after the last one, at most


def test_tokens_are_used_in_turn(tmp_path):
    """With --tokens a connection comes with one of the file's, and a wrong one ends the run."""
    now, names = int(time.time()), []
    for number in range(110):
        names.append(jwt.encode({"sub": f"u{number}", "exp": now + 600}, "k" * 32, algorithm="HS256"))
    (tmp_path / "tokens").write_text("\n".join(names))
    (tmp_path / "wrong").write_text(jwt.encode({"sub": "u", "exp": now + 600}, "x" * 32, algorithm="HS256"))
    with Server(config="[jwt test]\nalgorithms = HS256\nsecret = " + "k" * 32 + "\n") as server:
        words = ["connect", "--connections", "100", "--tokens"]
        assert bench_sessions(server, *words, str(tmp_path / "tokens"))["connections"] == 100
        with pytest.raises(AssertionError, match="(?i)token"):
            bench_sessions(server, *words, str(tmp_path / "wrong"))


EDGE = Path(__file__).resolve().parents[2] / "tools" / "bench" / "edge"


def edge(*words):
    done = subprocess.run([EDGE, "--build", BUILD, *words], capture_output=True, text=True, timeout=2 * SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_row_of_a_take_over_loses_no_link():
    *_, row = edge("--only", "take-over", "--links", "40", "--turns-of-take-over", "1")
    assert row.startswith("| take-over with 40 links, half with sessions") and " ms, 0 lost |" in row


def test_each_price_names_a_command_that_is_there():
    """tools/scale/scale --prices: programs, and rows that they have."""
    prices = subprocess.run([ROOT / "tools/scale/scale", "--prices"], capture_output=True, text=True, check=True).stdout
    commands = re.findall(r"(tools/bench/\w+)(?: --only (\S+))?[;)]", prices)
    assert len(commands) > 5, prices
    for program, row in commands:
        done = subprocess.run([ROOT / program, *(["--only", row] if row else []), "--help"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{program} {row}: {done.stderr}"
