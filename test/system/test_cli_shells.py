"""What is made from the tool's table of commands: the completions, each tried in its own shell, and the man page, read
by groff and by mandoc."""
import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest

from longwire_server import LONGWIRE
from waiting import SECONDS


def tool(*words):
    return subprocess.run([LONGWIRE, *words], capture_output=True, timeout=SECONDS, check=True, text=True).stdout


COMMANDS = re.findall(r"^  longwire ([a-z]+) ", tool("--help"), re.M)


def offered_by_bash(script, line):
    """What bash offers for the last word of the line; a line that ends with a space has an empty last word."""
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    call = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; compopt() {{ :; }}; _longwire; "
    call += "printf '%s\\n' \"${COMPREPLY[@]}\""
    done = subprocess.run(["bash", "--norc", "-uc", f"{script}\n{call}"], capture_output=True, timeout=SECONDS,
                          check=True, text=True, cwd="/etc")
    assert done.stderr == ""
    return set(done.stdout.split())


def offered_by_fish(script, line):
    done = subprocess.run(["fish", "--no-config", "-c", f"{script}\ncomplete -C '{line}'"], capture_output=True,
                          timeout=SECONDS, check=True, text=True, cwd="/etc")
    assert done.stderr == ""
    return {one.split("\t")[0] for one in done.stdout.splitlines()}


ZSH_SETUP = r"""
LISTMAX=10000; fpath=(FOLDER $fpath); autoload -U compinit; compinit -u -D
compadd() {
    local -a found
    if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\ * ]]; then
        builtin compadd -A found "$@"
        print -rl -- $found >FOLDER/offered
    fi
    builtin compadd "$@"
}
complete_and_tell() { _main_complete "$@"; local end=$?; print -r -- THE-END >FOLDER/offered; return end }
zle -C complete-and-tell complete-word complete_and_tell
bindkey '^I' complete-and-tell
print THE-END >FOLDER/offered
"""


class Zsh:
    """An interactive zsh on a terminal of its own, because its completion works nowhere else. It tells through a pipe
    what it would offer."""

    def __init__(self, script, folder):
        (folder / "_longwire").write_text(script)
        (folder / ".zshrc").write_text(ZSH_SETUP.replace("FOLDER", str(folder)))
        os.mkfifo(folder / "offered")
        self.pipe = os.open(folder / "offered", os.O_RDWR | os.O_NONBLOCK)
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            os.chdir("/etc")
            os.execvpe("zsh", ["zsh", "-i"], {"PATH": os.environ["PATH"], "TERM": "dumb", "ZDOTDIR": str(folder)})
        self.read_offer()

    def read_offer(self):
        """Reads the terminal too, so that zsh never waits for it."""
        text, until = "", time.monotonic() + SECONDS
        while not text.endswith("THE-END\n") and time.monotonic() < until:
            ready, _, _ = select.select([self.terminal, self.pipe], [], [], 1)
            if self.terminal in ready:
                os.read(self.terminal, 65536)
            if self.pipe in ready:
                text += os.read(self.pipe, 65536).decode()
        assert text.endswith("THE-END\n"), text
        return set(text.split()[:-1])

    def offered(self, line):
        os.write(self.terminal, b"\x15" + line.encode() + b"\t")
        return self.read_offer()

    def close(self):
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        os.close(self.terminal)
        os.close(self.pipe)


@pytest.fixture(name="offered", params=["bash", "zsh", "fish"])
def fixture_offered(request, tmp_path):
    script = tool("completion", request.param)
    if request.param == "zsh":
        zsh = Zsh(script, tmp_path)
        yield zsh.offered
        zsh.close()
    else:
        yield lambda line: {"bash": offered_by_bash, "fish": offered_by_fish}[request.param](script, line)


def test_a_shell_offers_what_the_table_holds(offered):
    assert offered("longwire ") >= set(COMMANDS)
    assert "history" in offered("longwire hist")
    assert "history" in offered("longwire --server localhost hist")
    assert offered("longwire sub --") >= {"--count", "--format", "--server", "--after"}
    assert "--ttl" not in offered("longwire sub --")
    assert offered("longwire pub --t") >= {"--ttl", "--timeout"}
    assert offered("longwire sub --format ") >= {"text", "json"}
    assert offered("longwire history -F ") >= {"text", "json"}
    assert offered("longwire completion ") >= {"bash", "zsh", "fish"}
    assert offered("longwire help ") >= {"sub", "pub"}
    assert any("hosts" in word for word in offered("longwire pub topic:a --file ho"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_reads_the_script_without_complaint(shell):
    done = subprocess.run([shell, "-n"], input=tool("completion", shell), capture_output=True, timeout=SECONDS,
                          check=True, text=True)
    assert done.stdout == done.stderr == ""


def test_help_offers_each_command():
    script = tool("completion", "bash")
    assert offered_by_bash(script, "longwire help ") == set(COMMANDS) - {"help"}


def test_the_man_page_renders_without_a_warning():
    page = tool("man")
    for command in (["groff", "-man", "-Tutf8", "-ww", "-z"], ["mandoc", "-T", "lint", "-W", "style"]):
        done = subprocess.run(command, input=page, capture_output=True, timeout=SECONDS, check=False, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), command
    shown = subprocess.run(["groff", "-man", "-Tascii", "-P-cbou"], input=page, capture_output=True, timeout=SECONDS,
                           check=True, text=True).stdout
    assert all(f"longwire {command}" in shown for command in COMMANDS)
    for part in ("-n, -C, --count N", "EXIT STATUS", "ENVIRONMENT", "longwire pub topic:hello 'Hello, world'",
                 r"\t, \n, \0, \\"):
        assert part in shown


def test_every_option_is_in_help_man_and_completions():
    pages = [tool("man").replace("\\-", "-"), tool("man", "--markdown"), tool("completion", "bash"),
             tool("completion", "zsh")]
    helps = "\n".join(tool(command, "--help") for command in COMMANDS)
    options = set(re.findall(r"^ +(?:-., )?(--[a-z-]+)", helps, re.M))
    assert len(options) > 20
    for option in options:
        assert all(option in page for page in pages), option
