"""The scripts of ci/ on a machine that lacks something: one line says what it is and what to do."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import children
import pytest

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "ci" / "demo"
NOBODY = 65534


def run(*command, **options):
    return children.run(
        list(map(str, command)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def the_line(done):
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def refusal(script=DEMO, **environment):
    return the_line(run(script, env={**os.environ, **environment}))


def functions(code, *arguments, library=ROOT / "ci/lib.sh", **options):
    """Shell code after ci/lib.sh was read."""
    return run("bash", "-c", f'source "$0"\n{code}', library, *arguments, **options)


@pytest.fixture
def stand_in(tmp_path):
    """An executable shell script of the given text, in a directory with a space."""

    def write(text):
        program = tmp_path / "stand in" / "program"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
        return str(program)

    return write


@pytest.fixture
def compiler(stand_in):
    """The environment in which CC is such a script, by its name: a path would be taken for several words."""

    def write(text):
        program = Path(stand_in(text))
        return {
            "PYTHON": sys.executable,
            "CC": program.name,
            "PATH": f"{program.parent}:{os.environ['PATH']}",
        }

    return write


@pytest.fixture
def checkout(tmp_path):
    """What the scripts read of a checkout, in a directory of the given name."""

    def copy(name):
        shutil.copytree(ROOT / "ci", tmp_path / name / "ci")
        shutil.copy(ROOT / "pyproject.toml", tmp_path / name)
        return tmp_path / name

    return copy


def test_no_python(tmp_path):
    assert "install python3 >= 3.11 with venv" in refusal(PYTHON=str(tmp_path / "python3"))


def test_python_too_old(stand_in):
    """The version that was found, and what helps where the distribution has no other."""
    line = refusal(PYTHON=stand_in("echo 3.9.2; exit 1"))
    assert "is Python 3.9.2, and 3.11 or newer is needed" in line
    assert "uv python install" in line
    assert line.endswith("then PYTHON=/path/to/python3.13 ci/demo\n")


def test_python_without_venv(stand_in):
    python = shlex.quote(sys.executable)
    python = stand_in(f'case "$2" in *ensurepip*) exit 1;; esac; exec {python} "$@"')
    assert "apt install python3-venv" in refusal(PYTHON=python)


def test_no_compiler(tmp_path):
    line = refusal(PYTHON=sys.executable, CC=str(tmp_path / "cc"))
    assert "install gcc >= 11 or clang >= 14" in line


def test_compiler_too_old(compiler):
    assert "too old: install gcc >= 11 or clang >= 14" in refusal(**compiler("! grep -q __GNUC__"))


def test_compiler_without_c_library(compiler):
    assert "apt install libc6-dev" in refusal(**compiler("! grep -q stdlib.h"))


def test_python_without_headers(compiler):
    assert "apt install python3-dev" in refusal(**compiler("! grep -q Python.h"))


def test_a_colon_in_the_path(checkout):
    """Python makes no virtual environment there, so nothing can be built."""
    assert "contains a colon" in refusal(checkout("a:b") / "ci/demo", PYTHON=sys.executable)


def test_what_is_no_directory(checkout):
    path = checkout("a b")
    (path / ".venv").write_text("")
    assert f"{path}/.venv is no directory: remove it" in refusal(path / "ci/demo", PYTHON=sys.executable)


@pytest.mark.parametrize("what", [".", ".venv", "build"])
def test_a_checkout_that_cannot_be_written(checkout, what):
    """Itself, or what somebody else has built in it."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        path = Path(place, "checkout")
        shutil.copytree(checkout("a b"), path)
        for made in (path / ".venv", path / "build"):
            made.mkdir()
            made.chmod(0o777)
        (path / what).mkdir(exist_ok=True)
        (path / what).chmod(0o555)
        new = {".": f"{path}/new"}.get(what, path / what)
        other = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        done = functions('can_write "$@"', new, library=path / "ci/lib.sh", cwd=place, **other)
        (path / what).chmod(0o755)
    assert f"cannot write in {(path / what).resolve()} " in the_line(done)


UNREACHABLE = ["-m", "pip", "install", "--retries=0", "--index-url=http://127.0.0.1:9", "absent"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["sh", "-c", "head -c 1 /dev/zero >/dev/full"], "No space left on device (.venv"),
        (["sh", "-c", "/etc/passwd"], "cannot write"),
        ([sys.executable, *UNREACHABLE], "No matching distribution found for absent; look at the network"),
    ],
    ids=["space", "permission", "network"],
)
def test_what_a_step_fails_of_is_told_in_a_line(command, words):
    if "pip" in command and run(sys.executable, "-m", "pip", "-V").returncode:
        pytest.skip("this environment was made without pip")
    done = functions(f'venv=.venv python={shlex.quote(sys.executable)}; attempt "$@"', *command, cwd="/")
    assert words in the_line(done)


def test_what_cannot_be_told_is_shown():
    done = functions('attempt "$@"', "sh", "-c", "echo its words; exit 3")
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "its words")


@pytest.mark.parametrize("moved", [False, True])
def test_an_environment_that_was_moved_is_made_anew(tmp_path, moved):
    """Its scripts name the Python of the place where it was made, which may be another checkout's."""
    venv = tmp_path / "a b" / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").symlink_to(shutil.which("true"))
    (venv / "bin/pip").write_text(f"#!{'/elsewhere' if moved else venv}/bin/python\n")
    done = functions('unset PYTHON; python=python3; attempt() { echo "$*"; }; make_venv "$1"', venv)
    assert done.stdout == (f"python3 -m venv --clear {venv}\n" if moved else ""), done.stderr


@pytest.mark.parametrize(("setting", "value"), [("", "OFF"), ("ON", "ON")])
def test_warnings_are_no_errors_unless_asked_for(setting, value):
    """Those of a compiler that is newer than this package do not fail a user's build."""
    done = functions(
        'install_build_tools() { :; }; attempt() { printf "%s\\n" "$@"; }; venv=.venv; install_editable x ""',
        env={**os.environ, "AMX_WERROR": setting},
    )
    assert f"--config-settings=cmake.define.AMX_WERROR={value}" in done.stdout.splitlines(), done.stderr


def test_lists_of_debian_that_could_not_be_had_are_asked_for_again(stand_in, tmp_path):
    """Not those that were had today; those of yesterday are."""
    program = Path(stand_in(f'echo asked >>"{tmp_path}/log"; [ -e "{tmp_path}/network" ]'))
    program.rename(program.with_name("apt-get"))
    path = f"{program.parent}:{os.environ['PATH']}"
    code = """unpacked=$1
        ask() { private_apt trixie || echo "status $?"; wc -l <"$1/log"; }
        ask "$1"; touch "$1/network"; ask "$1"; ask "$1"
        touch -d "2 days ago" "$1/apt-trixie/known"; ask "$1" """
    done = functions(code, tmp_path, env={**os.environ, "PATH": path})
    assert done.stdout.split() == ["status", "1", "1", "2", "2", "3"], done.stderr


@pytest.fixture
def of_this_tree(checkout):
    """The free-threaded Python of a checkout, which is a script of the given text."""

    def write(text):
        path = checkout("a b")
        program = path / "build/free-threaded/3.15/bin/python3.15t"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
        return path, program

    return write


def test_the_free_threaded_python_that_is_there_is_taken(of_this_tree):
    path, program = of_this_tree("")
    done = run(path / "ci/free-threaded", "3.15")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{program}\n", "")


def test_a_free_threaded_python_that_does_not_run_is_not_taken(of_this_tree):
    path, _ = of_this_tree("exit 1")
    line = refusal(path / "ci/free-threaded", PYTHON="/absent")
    assert "no Python 3.11 or newer at PYTHON=/absent" in line


def test_a_free_threaded_python_that_nobody_has():
    assert "name 3.14 or 3.15" in the_line(run(ROOT / "ci/free-threaded", "3.13"))
