"""ci/pythons: what it is asked for, and which tests it runs where nothing but a wheel is."""

import os
import re
import subprocess
import sys
from pathlib import Path

import children
import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "ci/pythons"
NAME = "python{}.{}{}".format(*sys.version_info[:2], sys.abiflags)


def run(*arguments, **environment):
    return children.run(
        [SCRIPT, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_the_list_has_this_machines_pythons_and_those_of_debian(tmp_path):
    """Those of pyenv, too, by what they say of themselves."""
    pyenv = tmp_path / "versions/0.0.0/bin"
    pyenv.mkdir(parents=True)
    (pyenv / "python3").write_text("#!/bin/sh\necho python3.99t\n")
    (pyenv / "python3").chmod(0o755)
    directory = str(Path(sys.executable).parent)
    done = run("--list", PATH=f"{directory}:{os.environ['PATH']}", PYENV_ROOT=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert {NAME, "python3.99t", "bullseye", "forky-3.15", "musl"} <= set(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["buster"], "no target is named buster; there are python3.N of this machine and bookworm "),
        (["--wheels", "/absent"], "--wheels takes a directory of wheels"),
        (["--wheels"], "--wheels takes a directory of wheels"),
        (["--absent"], "there is no option --absent"),
    ],
)
def test_what_it_does_not_know_is_refused_before_anything_is_built(arguments, words):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_tests_it_runs_need_no_compiler():
    """They are there, too."""
    lists = re.findall(
        r"^(?:chosen|of_ml_dtypes|at_once)=\(.*?\)$", SCRIPT.read_text(), re.DOTALL | re.MULTILINE
    )
    done = children.run(
        [
            "bash",
            "-c",
            "\n".join([*lists, 'printf "%s\\n" "${chosen[@]}" "${of_ml_dtypes[@]}" "${at_once[@]}"']),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    names = done.stdout.split()
    assert len(lists) == 3
    assert len(names) > 20
    for name in names:
        assert "import compiling" not in (ROOT / name).read_text()
