"""The program of tests/c/tracee.c, for launchers that trace it, where the kernel lets it be traced."""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import children
import compiling
import pytest

SOURCE = compiling.ROOT / "tests/c/tracee.c"
SYS_PTRACE, SYS_SECCOMP = 101, 317
PRODUCT = 7
"""AMX instructions of one."""


@pytest.fixture(scope="module", autouse=True)
def ptrace():
    """Skips where no child may ask to be traced: sandboxes, Yama."""
    traceme = "import ctypes, sys; sys.exit(ctypes.CDLL(None).ptrace(0, 0, 0, 0) != 0)"
    if children.run([sys.executable, "-c", traceme]).returncode:
        pytest.skip("ptrace is forbidden here")


@pytest.fixture(scope="module")
def directory():
    """Where another user may execute what is in it."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def tracee(directory):
    try:
        return compiling.compile_c(directory / "tracee", [SOURCE], "-static", "-no-pie")
    except subprocess.CalledProcessError:
        pytest.skip("no static C library")


@pytest.fixture(scope="module")
def dynamic_tracee(directory):
    return compiling.compile_c(directory / "dynamic-tracee", [SOURCE])


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)
