"""What the command line has for shells and for readers: completion, manual pages, the block for an issue."""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import children
import machines
import pytest

from amx import cli, machine
from amx._lib import lib
from amx.cli._markdown import fenced
from amx.version import __version__

MAN = children.ROOT / "ci/man"
has_shtab = pytest.mark.skipif(not importlib.util.find_spec("shtab"), reason="shtab is not installed")


# ---- completion --------------------------------------------------------------------------------------------


def completion(shell):
    command = [sys.executable, "-m", "amx", "--print-completion", shell]
    done = children.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@has_shtab
@pytest.mark.parametrize("shell", cli.SHELLS)
def test_every_command_and_its_options_are_completed(shell):
    script = completion(shell)
    assert all(re.search(rf"\b{name}\b", script) for name in cli.COMMANDS)
    assert "nfd" in script
    assert "no-probe" in script


@has_shtab
@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [("amx em", "emulate"), ("amx info --nf", "--nfd"), ("amx ci --cpu gnr-", "gnr-d")],
)
def test_bash_completes(tmp_path, words, expected):
    script = tmp_path / "amx.bash"
    script.write_text(completion("bash"))
    ask = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"\n'
        "COMP_POINT=${#COMP_LINE}\n"
        'complete=$(complete -p amx); complete=${complete##*-F }; "${complete%% *}"; echo "${COMPREPLY[*]}"'
    )
    done = children.run(["bash", "-c", ask, "bash", script, *words.split()], capture_output=True, text=True)
    assert done.stdout.split() == [expected], done.stderr


def test_without_shtab_it_is_said_what_to_install(tmp_path):
    (tmp_path / "shtab.py").write_text("raise ImportError\n")
    done = children.run_python(
        "-m", "amx", "--print-completion", "bash", PYTHONPATH=f"{tmp_path}:{children.SUPPORT}"
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'linux-amx[completion]'" in done.stderr


def test_another_shell_is_wrong_usage():
    with pytest.raises(SystemExit) as ended:
        cli.main(["--print-completion", "csh"])
    assert ended.value.code == 2


# ---- wrong usage -------------------------------------------------------------------------------------------


def test_amx_alone_names_all_commands(capsys):
    assert cli.main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert all(re.search(rf"^ +{name} ", said.err, re.MULTILINE) for name in cli.COMMANDS)


def test_an_unknown_option_of_a_command_shows_how_the_command_is_used(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["explain", "--probe"])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert "--no-probe" in said
    assert "amx explain: error: unrecognized arguments: --probe" in said


# ---- manual pages ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Their text by name; a narrow terminal changes nothing."""
    directory = tmp_path_factory.mktemp("man")
    children.run([sys.executable, MAN, directory], env={**os.environ, "COLUMNS": "20"}, check=True)
    return {path.name: path.read_text() for path in directory.iterdir()}


def test_every_command_has_a_page_and_the_first_names_all(pages):
    assert sorted(pages) == sorted(["amx.1", *(f"amx-{name}.1" for name in cli.COMMANDS)])
    assert all(f"\\fBamx\\-{name}\\fR(1)" in pages["amx.1"] for name in cli.COMMANDS)
    assert f"linux\\-amx {__version__}" in pages["amx.1"]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_page_has_all_options_that_the_help_has(pages, name):
    with machine.use(machines.load("zen5-kvm")):
        done = children.run(
            [sys.executable, "-m", "amx", name, "--help"], capture_output=True, text=True, check=True
        )
    options = set(re.findall(r"^  (?:-\w, )?(--[\w-]+)", done.stdout, re.MULTILINE))
    assert options
    assert {option for option in options if option.replace("-", "\\-") not in pages[f"amx-{name}.1"]} == set()


def test_no_word_is_a_request(pages):
    """What begins with a dot or an apostrophe is one of those that the script writes."""
    for text in pages.values():
        found = {line.split()[0] for line in text.splitlines() if line.startswith((".", "'"))}
        assert found <= {".TH", ".ad", ".SH", ".TP", ".B", ".nf", ".fi"}


@pytest.mark.skipif(not shutil.which("groff"), reason="there is no groff")
def test_groff_finds_no_fault(pages):
    for text in pages.values():
        done = children.run(
            ["groff", "-man", "-z", "-Tascii"], input=text.encode(), capture_output=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, b"")


# ---- the block for an issue --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sapphire-rapids", "zen5-kvm", "seccomp-lies"])
def test_the_block_has_explanation_facts_and_versions(capsys, name):
    with machine.use(machines.load(name)):
        status = cli.main(["explain", "--issue"])
        release = machine.current().kernel().release
    text = capsys.readouterr().out
    assert status == (0 if name == "sapphire-rapids" else 1)
    assert text.startswith(f"```text\nlinux-amx {__version__}, CPython {sys.version.split()[0]}, numpy ")
    assert text.endswith("\n```\n")
    for part in (f"Linux {release}", "\ncpuid ", "\namx_int8 ", "XSAVE area"):
        assert part in text


@pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")
def test_nothing_personal_is_in_it(tmp_path):
    home = tmp_path / "somebody"
    home.mkdir()
    done = children.run(
        [sys.executable, "-m", "amx", "explain", "--issue"],
        env={**os.environ, "HOME": str(home), "USER": "somebody", "AMX_BACKEND": "vector"},
        cwd=home,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert "\nAMX_BACKEND=vector\n" in done.stdout
    for name in ("somebody", sys.prefix, str(Path.home()) + "/", f"{socket.gethostname()}\n"):
        assert name not in done.stdout


def test_what_others_gave_does_not_end_the_block(capsys, monkeypatch):
    monkeypatch.setenv("AMX_BACKEND", "a\n```\n<b>\x1b[31m")
    with machine.use(machines.load("zen5-kvm")):
        cli.main(["explain", "--issue"])
    text = capsys.readouterr().out
    assert text.startswith("````text\n")
    assert text.endswith("\n````\n")
    assert "\x1b" not in text


def test_a_very_long_text_is_cut():
    assert len(fenced("x" * 10_000_000)) < 200_000
