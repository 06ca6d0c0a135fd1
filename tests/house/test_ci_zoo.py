"""ci/zoo: what it says of a guest, from whatever the guest left; what it chooses; what its like refuse."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import children
import pytest

import amx

ROOT = Path(__file__).parents[2]
GUEST = ROOT / "ci/guest"


@pytest.fixture
def module(monkeypatch):
    """A module of ci/guest/, by name."""
    monkeypatch.syspath_prepend(GUEST)
    return importlib.import_module


@pytest.fixture
def verdict(module, tmp_path):
    """The verdict on a guest that left these lines of results, and this exit status or none."""

    def read(*lines, status="0", differences="", in_time=True):
        (tmp_path / "results").write_text("".join(json.dumps(line) + "\n" for line in lines))
        if status is not None:
            (tmp_path / "status").write_text(f"{status}\n")
        return module("verdict").read(tmp_path, differences, in_time=in_time)

    return read


def outcome(test, how="passed", why=""):
    return {"test": test, "outcome": how, "why": why, "seconds": 0}


def test_all_passed(verdict):
    found = verdict({"selected": ["a", "b"]}, outcome("a"), outcome("b", "skipped", "no AVX-512"))
    assert found.good
    assert found.summary == "1 passed, 1 skipped, 0 failed, 0 not run"
    assert str(found) == "skipped 1 times: no AVX-512"


def test_a_test_that_did_not_run_is_named_and_is_a_failure(verdict):
    lines = {"selected": ["a", "b", "c"]}, {"begins": "a"}, outcome("a"), {"begins": "b"}
    found = verdict(*lines, status=None, in_time=False)
    assert not found.good
    assert str(found) == "NOT RUN b\nNOT RUN c"
    assert found.summary == "1 passed, 0 skipped, 0 failed, 2 not run; its time was over; it ended in b"


@pytest.mark.parametrize("order", [("passed", "failed"), ("failed", "passed")])
def test_any_phase_that_fails_makes_the_test_fail(verdict, order):
    found = verdict({"selected": ["a"]}, *(outcome("a", how, "the reason") for how in order), status="1")
    assert not found.good
    assert str(found) == "FAILED a\nthe reason\n"
    assert found.summary == "0 passed, 0 skipped, 1 failed, 0 not run"


def test_a_guest_that_is_not_the_one_asked_for_fails(verdict):
    found = verdict({"selected": ["a"]}, outcome("a"), differences="its CPU has avx")
    assert not found.good
    assert found.summary == "1 passed, 0 skipped, 0 failed, 0 not run; its CPU has avx"


@pytest.mark.parametrize("status", [None, "139"])
def test_a_guest_that_did_not_end_well_fails(verdict, status):
    """A panic leaves no status; 139 is a crash of the interpreter at its exit."""
    assert not verdict({"selected": ["a"]}, outcome("a"), status=status).good


@pytest.mark.parametrize("lines", [(), ({"selected": []},)])
def test_a_guest_without_a_test_fails(verdict, lines):
    """Status 5 is pytest's for no test collected."""
    assert not verdict(*lines, status="5").good


def test_a_line_that_was_cut_is_no_result(module, tmp_path):
    (tmp_path / "results").write_text('{"selected": ["a"]}\n{"begins": "a"}\n{"test": "a", "outco')
    found = module("verdict").read(tmp_path, "", in_time=False)
    assert found.not_run == ["a"]


FLAGS = "flags : fpu avx2 xsave la57"


@pytest.mark.parametrize(
    ("kernel", "flags", "expected"),
    [
        ("6.1.0-56-amd64", FLAGS, ""),
        ("6.12.1", FLAGS, "its kernel is 6.12.1, not 6.1"),
        ("6.1.0", "flags : fpu xsave la57", "its CPU lacks avx2"),
        ("6.1.0", f"{FLAGS} avx512f", "its CPU has avx512f"),
        (None, FLAGS, "it did not boot"),
    ],
)
def test_a_guest_tells_its_kernel_and_cpu(module, tmp_path, kernel, flags, expected):
    guest = module("guests").Guest("any", "max", "6.1", "avx2 -avx512f", "")
    if kernel:
        (tmp_path / "kernel").write_text(f"{kernel}\n")
    (tmp_path / "flags").write_text(f"{flags}\n")
    assert module("machine").differences(guest, tmp_path) == expected


def test_the_host_compiles_for_guests_once_and_what_they_ask_for(module, monkeypatch, tmp_path):
    """The stand-in for a compiler writes its source into its output, and how often it was called."""
    calls = tmp_path / "calls"
    monkeypatch.setenv("CC", f"sh -c 'echo >>{calls}; cat $2 >$1; echo said; exit 3' sh")
    answers = []
    for process, text in enumerate(["int x;", "int y;", "int x;"]):
        request = tmp_path / f"compile-{process}.arguments"
        source = request.with_suffix(".1.c")
        source.write_text(text)
        words = [f"/run/host/{request.with_suffix('.output').name}", f"/run/host/{source.name}"]
        request.write_text("".join(f"{word}\0" for word in words))
        module("compiler").answer(request)
        assert not request.exists()
        answers.append(
            [request.with_suffix(f".{part}").read_text() for part in ("output", "messages", "status")]
        )
    assert answers == [[text, "said\n", "3\n"] for text in ("int x;", "int y;", "int x;")]
    assert len(calls.read_text()) == 2


def test_results_are_there_before_the_session_ends(tmp_path):
    """The session dies in its second test, of which only the beginning is written then."""
    tests = tmp_path / "test_it.py"
    tests.write_text(
        "import os\ndef test_good(): pass\ndef test_dies(): os._exit(9)\ndef test_late(): pass\n"
    )
    results = tmp_path / "results"
    command = [
        sys.executable,
        GUEST / "session.py",
        results,
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        tests,
    ]
    done = children.run(list(map(str, command)), cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True)
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert done.returncode == 9
    assert [len(line["selected"]) for line in lines[:1]] == [3]
    assert [
        (line.get("test", line.get("begins")).split("::")[1], line.get("outcome")) for line in lines[1:]
    ] == [
        ("test_good", None),
        ("test_good", "passed"),
        ("test_dies", None),
    ]


def test_what_is_chosen_exists_and_has_a_reason():
    for line in (GUEST / "tests").read_text().splitlines():
        if line and not line.startswith("#"):
            test, _, reason = line.partition(" ")
            file, *names = test.removeprefix("-").split("::")
            assert reason.strip(), line
            root = Path(amx.__file__).parents[1] if file.startswith("amx/") else ROOT
            text = (root / file).read_text()
            assert all(f"def {name.partition('[')[0]}(" in text for name in names), line


def run(script, *arguments, **environment):
    return children.run(
        [ROOT / "ci" / script, *arguments],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def test_a_guest_that_there_is_not():
    done = run("zoo", "pdp11")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no guest is named pdp11; there are nehalem, haswell, " in done.stderr


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("zoo", "zoo: no apt-get, which installs qemu-system-x86_64 and downloads Debian's kernels\n"),
        ("avx512", "avx512: no apt-get, which downloads Bochs and Debian's kernel\n"),
    ],
)
def test_without_apt_the_status_is_77(tmp_path, script, line):
    for tool in ("bash", "dirname", "sed", "id", "nproc"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    done = run(script, PATH=str(tmp_path), PYTHON=sys.executable)
    assert (done.returncode, done.stdout, done.stderr) == (77, "", line)
