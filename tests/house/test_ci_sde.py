"""ci/sde, with a stand-in for Intel's sde64."""

import os
import subprocess
from pathlib import Path

import children
import pytest

SCRIPT = Path(__file__).parents[2] / "ci" / "sde"
PIN_REFUSED = """\
E: Attach to pid 4711 failed.
E:   The Operating System configuration prevents Pin from using the default (parent) injection mode.
"""


@pytest.fixture
def sde(tmp_path):
    """Run ci/sde with a stand-in sde64 that does what the shell text says; no stand-in for None."""

    def run(stand_in, *arguments, **environment):
        if stand_in is not None:
            program = tmp_path / "sde64"
            program.write_text(f"#!/bin/sh\n{stand_in}\n")
            program.chmod(0o755)
        return children.run(
            [SCRIPT, *arguments],
            env={**os.environ, "SDE_PATH": str(tmp_path), **environment},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_command_and_the_chip_reach_sde_unchanged(sde):
    done = sde('printf "<%s>" "$@"', "-gnr", "prog", "two words", SDE_ARGS="-injection child")
    assert done.stdout == "<-gnr><-injection><child><--><prog><two words>"
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("status", [0, 1, 77])
def test_the_status_is_the_commands(sde, status):
    assert sde(f"exit {status}", "-spr", "true").returncode == status


def test_output_and_errors_stay_apart(sde):
    done = sde("echo out; echo err >&2", "-dmr", "true")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_without_sde_the_status_is_77_and_one_line_says_what_to_do(sde):
    done = sde(None, "-spr", "true", PATH="/usr/bin:/bin")
    assert done.returncode == 77
    assert "set SDE_PATH" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_refused_ptrace_is_explained(sde):
    done = sde(f"cat >&2 <<'END'\n{PIN_REFUSED}END\nexit 1", "-spr", "true")
    assert done.returncode == 1
    assert done.stderr.startswith(PIN_REFUSED)
    for advice in ("-injection child", "/proc/sys/kernel/yama/ptrace_scope", "--cap-add=SYS_PTRACE"):
        assert advice in done.stderr


def test_another_failure_is_not_taken_for_ptrace(sde):
    done = sde("echo assertion failed >&2; exit 1", "-spr", "true")
    assert done.stderr == "assertion failed\n"


@pytest.mark.parametrize("arguments", [(), ("-skx", "true"), ("-spr",), ("-spr", "--")])
def test_a_wrong_call_is_a_usage_error(sde, arguments):
    done = sde("true", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ci/sde")
