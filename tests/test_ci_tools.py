"""ci/demo on a machine that lacks something: one line says what to install."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "ci" / "demo"


def refusal(**environment):
    done = subprocess.run(
        [SCRIPT],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.fixture
def stand_in(tmp_path):
    """An executable shell script of the given text."""

    def write(text):
        program = tmp_path / "stand-in"
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
        return str(program)

    return write


def test_no_python(tmp_path):
    assert "install python3 >= 3.11 with venv" in refusal(PYTHON=str(tmp_path / "python3"))


def test_python_too_old(stand_in):
    assert "install python3 >= 3.11 with venv" in refusal(PYTHON=stand_in("exit 1"))


def test_python_without_venv(stand_in):
    python = stand_in(f'case "$2" in *ensurepip*) exit 1;; esac; exec {sys.executable} "$@"')
    assert "apt install python3-venv" in refusal(PYTHON=python)


def test_no_compiler(tmp_path):
    line = refusal(PYTHON=sys.executable, CC=str(tmp_path / "cc"))
    assert "install gcc >= 11 or clang >= 14" in line


def test_compiler_too_old(stand_in):
    compiler = stand_in("! grep -q __GNUC__")
    assert "too old: install gcc >= 11 or clang >= 14" in refusal(PYTHON=sys.executable, CC=compiler)


def test_compiler_without_c_library(stand_in):
    compiler = stand_in("! grep -q stdlib.h")
    assert "apt install libc6-dev" in refusal(PYTHON=sys.executable, CC=compiler)


def test_python_without_headers(stand_in):
    compiler = stand_in("! grep -q Python.h")
    assert "apt install python3-dev" in refusal(PYTHON=sys.executable, CC=compiler)
