"""The binary as it was linked (threat 111): position-independent, read-only after relocation, bound at start, no
executable stack, stacks guarded; and, as it is shipped, calls into libc checked."""
import shutil
import subprocess

import pytest

from longwire_server import BUILD, LONGWIRED, is_built

pytestmark = [pytest.mark.skipif(not is_built(), reason="no longwired is built"),
              pytest.mark.skipif(shutil.which("readelf") is None, reason="readelf is not there")]


def readelf(option):
    return subprocess.run(["readelf", "-W", option, str(LONGWIRED)], capture_output=True, text=True, check=True).stdout


def test_it_is_hardened():
    assert "DYN (Position-Independent Executable" in readelf("-h")
    segments = readelf("-l")
    stack, = [line for line in segments.splitlines() if "GNU_STACK" in line]
    assert "GNU_RELRO" in segments and " RW " in stack and "RWE" not in stack
    assert "BIND_NOW" in readelf("-d")
    assert "__stack_chk_fail" in readelf("--dyn-syms")


@pytest.mark.skipif(BUILD.name in ("san", "tsan"), reason="sanitizers and fortified calls exclude each other")
def test_its_calls_into_libc_are_checked():
    assert "__snprintf_chk" in readelf("--dyn-syms")
