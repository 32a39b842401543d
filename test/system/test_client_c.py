"""The C client library, clients/c: installed and used as its README says, by C and C++ programs; its names; and what it does
over links that are cut, hundreds of times (test_client_cuts.py has the suite that all libraries pass)."""
import json
import os
import random
import re
import shutil
import socket
import subprocess

import pytest

from client_driver import C, Driver
from cut_link import Link
from longwire_server import BUILD, ROOT, Server
from native_wire import CLIENT_TYPES, decode, encode, split
from test_client_cuts import history
from waiting import SECONDS, wait_until

LIBRARY = ROOT / "clients" / "c"
PAGE = LIBRARY / "README.md"
SOON = {"base_ms": 1, "cap_ms": 10}  # after a cut
# The programs that the tests compile are linked with a library that has been built with a sanitizer.
SANITIZER = {"san": ["-fsanitize=address,undefined"], "tsan": ["-fsanitize=thread"]}.get(BUILD.name, [])


@pytest.fixture(name="server")
def fixture_server():
    with Server(config="reconnect_ms = 20\n") as server:  # what it tells of coming back
        yield server


def address(server):
    return f"tcp://127.0.0.1:{server.tcp_port}"


@pytest.fixture(name="installed", scope="module")
def fixture_installed(tmp_path_factory):
    """A folder into which `make install` has put everything; and the environment to compile and run with it."""
    prefix = tmp_path_factory.mktemp("installed")
    done = subprocess.run(["make", "install", f"BUILD={BUILD}", f"PREFIX={prefix}", f"DESTDIR={prefix}/root"], cwd=ROOT,
                          capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.copytree(f"{prefix}/root{prefix}", prefix, dirs_exist_ok=True, symlinks=True)
    return prefix, {**os.environ, "PKG_CONFIG_PATH": f"{prefix}/lib/pkgconfig", "LD_LIBRARY_PATH": f"{prefix}/lib"}


def compiled(installed, folder, name, command):
    """Runs the compiler as a shell would; returns the program's path."""
    _, environment = installed
    done = subprocess.run(["sh", "-c", f"{command} {' '.join(SANITIZER)}"], cwd=folder, env=environment, capture_output=True,
                          text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / name


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.S)


def run(installed, *command, code=0):
    done = subprocess.run(command, env=installed[1], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


# --- what is installed -------------------------------------------------------------------------------------------------------


def test_all_that_is_installed_lies_below_the_prefix(installed):
    """So whoever may write there needs no other right."""
    prefix, _ = installed
    root = prefix / "root"
    strays = [path for path in root.rglob("*") if path.is_file() and not path.is_relative_to(f"{root}{prefix}")]
    assert strays == []
    assert f"ExecStart={prefix}/bin/longwired" in (prefix / "lib/systemd/system/longwired.service").read_text()


def test_the_readme_runs(installed, server, tmp_path):
    """The README's first page: its program, compiled by its command with the installed library."""
    (tmp_path / "hello.c").write_text(blocks("c")[0])
    command = next(line for block in blocks("sh") for line in block.splitlines() if line.startswith("cc "))
    program = compiled(installed, tmp_path, "hello", command)
    assert run(installed, program, address(server)) == "topic:hello 1: Hello, world\n"
    assert run(installed, program, address(server)) == "topic:hello 2: Hello, world\n"


def test_the_static_library_runs(installed, server, tmp_path):
    (tmp_path / "hello.c").write_text(blocks("c")[0])
    static = re.search(r"`(\$\(pkg-config --cflags longwire\) .*?)`", PAGE.read_text(), re.S).group(1)
    program = compiled(installed, tmp_path, "hello", f"cc hello.c -L{installed[0]}/lib {static} -o hello")
    assert "liblongwire" not in run(installed, "ldd", program)
    assert run(installed, program, address(server)) == "topic:hello 1: Hello, world\n"


@pytest.mark.parametrize("compiler", ["gcc -std=c17 -xc", "clang -std=c17 -xc", "g++ -std=c++17 -xc++", "clang++ -std=c++17 -xc++"])
def test_the_header_is_usable_by(compiler, installed, tmp_path):
    """C and C++, without a warning, alone in its file."""
    (tmp_path / "use.c").write_text("#include <longwire.h>\nint main(void) { lw_free(0); return lw_version()[0] == 0; }\n")
    compiled(installed, tmp_path, "use", f"{compiler} -Wall -Wextra -Wpedantic -Werror $(pkg-config --cflags longwire) "
                                         "-fsyntax-only use.c")


def test_only_names_of_the_header_are_exported(installed):
    header = (LIBRARY / "longwire.h").read_text()
    bare = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    declared = set(re.findall(r"\b(lw_\w+)\(", bare)) - set(re.findall(r"typedef void (\w+)\(", bare))
    for file, flags in ("liblongwire.so", ["-D"]), ("liblongwire.a", ["-g"]):
        listed = run(installed, "nm", *flags, "--defined-only", f"{installed[0]}/lib/{file}")
        names = {line.split()[-1] for line in listed.splitlines() if " T " in line or " D " in line or " B " in line}
        names = {name for name in names if not name.startswith(("__asan", "__odr_asan", "__tsan", "_init", "_fini"))}
        assert names == declared, file
    needed = run(installed, "objdump", "-p", f"{installed[0]}/lib/liblongwire.so")
    libraries = set(re.findall(r"NEEDED +(\S+?)\.so", needed))
    assert {name for name in libraries if "san" not in name} <= {"libssl", "libcrypto", "libc", "ld-linux-x86-64", "libm", "libgcc_s"}
    assert "SONAME               liblongwire.so.0\n" in needed


# --- vectors -----------------------------------------------------------------------------------------------------------------

VECTORS = json.loads((ROOT / "test" / "vectors" / "bin_frames.json").read_text())
CONNECTED = {"type": "connected", "connection": "0000000000000001", "generation": 1, "user": "ann", "device": "phone",
             "session": "s", "heartbeat": 25, "frame_max": 1 << 20, "version": 1}


class Played:
    """A client with a session, and a server that says what a test makes it say."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.client = Driver(C, f"tcp://127.0.0.1:{self.listener.getsockname()[1]}", {}, session=True, asksForTokens=True)
        self.link, _ = self.listener.accept()
        self.link.settimeout(SECONDS)
        self.left, self.frames = b"", []
        connect = self.next()
        assert connect["type"] == "connect" and connect["standing"]
        self.link.sendall(encode({**CONNECTED, "ref": connect["ref"]}, "server"))

    def next(self):
        """The next frame of the client's; None: it has left."""
        while not self.frames:
            data = self.link.recv(1 << 16)
            if not data:
                return None
            whole, self.left = split(self.left + data)
            self.frames += [decode(frame, CLIENT_TYPES) for frame in whole]
        return self.frames.pop(0)

    def has_left(self):
        """Or it answers a ping that stands behind all that was said."""
        self.link.sendall(encode({"type": "ping"}, "server"))
        try:
            while (frame := self.next()) is not None and frame["type"] != "pong":
                pass
        except ConnectionResetError:
            return True
        return frame is None

    def __enter__(self):
        self.client.__enter__()
        return self

    def __exit__(self, *exception):
        self.link.close()
        self.listener.close()
        self.client.__exit__(*exception)


@pytest.mark.parametrize("case", VECTORS["aliases"], ids=lambda case: case["name"])
def test_the_vectors_of_aliases(case):
    """As far as their seqs go on one by one in each channel: where one is left out, the client asks again on a new link."""
    wanted, last = [], {}
    for message in case["messages"]:
        if last.get(message["channel"], message["seq"] - 1) != message["seq"] - 1:
            break
        last[message["channel"]] = message["seq"]
        wanted.append(message)
    with Played() as played:
        played.link.sendall(bytes.fromhex(case["hex"]))
        assert played.has_left() == (len(wanted) < len(case["messages"]))
        played.client.until(lambda: len(played.client.of("message")) >= len(wanted), "messages are missing")
        told = played.client.of("message")
        assert [(one["channel"], one["epoch"], one["seq"], one.get("data")) for one in told] == [
            (one["channel"], one["epoch"], one["seq"], one.get("payload")) for one in wanted]


# The first two use aliases that were never announced, the third names channels that this session's client does not have.
LEAVES = {"message", "notify by alias", "its answer, the places", "closing", "replaced"}


@pytest.mark.parametrize("case", [case for case in VECTORS["cases"] if case["side"] == "server"], ids=lambda case: case["name"])
def test_the_vectors_of_what_servers_send(case):
    with Played() as played:
        played.link.sendall(bytes.fromhex(case["hex"]))
        kinds = {frame.get("type", "fault") for frame in case["frames"]} | {case["name"]}
        assert played.has_left() == bool(kinds & LEAVES)


# --- hundreds of cuts --------------------------------------------------------------------------------------------------------


def test_hundreds_of_cuts(server):
    """Threat 31: one client publishes into a channel that another one follows, and both links are cut at any byte, 300 times
    in all. Each message is stored once and in order, and told once and in order."""
    cuts, channel, dice = 300, "topic:cuts", random.Random(9)
    with Link(server.tcp_port) as ear, Link(server.tcp_port) as mouth, \
            Driver(C, ear.url, {channel: {}}, backOff=SOON) as reader, Driver(C, mouth.url, {}, backOff=SOON) as writer:
        reader.until_live()
        for i in range(cuts):
            for text in range(3):
                writer.say("publish", channel=channel, data=f"{i} {text}")
            link = dice.choice([ear, mouth])
            link.bytes_max = dice.choice([None, 20, 150, 700])
            taken = link.taken
            link.cut()
            wait_until(lambda at=taken, of=link: of.taken > at)
        ear.bytes_max = mouth.bytes_max = None
        ear.cut()
        mouth.cut()
        texts = [f"{i} {text}" for i in range(cuts) for text in range(3)]
        writer.until(lambda: len(writer.of("published")) == len(texts), "not all are answered")
        reader.until_count(channel, len(texts))
        assert reader.texts(channel) == texts
        assert [message["seq"] for message in reader.messages(channel)] == list(range(1, len(texts) + 1))
        assert len(writer.of("published")) == len(texts) and not writer.of("not published")
    assert [message["data"] for message in history(server, channel)] == texts
