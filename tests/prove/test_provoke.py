"""amx-provoke by itself: what it lists, that nothing it saw is lost, how it ends."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys

import children
import pytest
from compiling import BASELINE, PROVOKE, ROOT, compile_c, compiler, objects

from amx.conformance import provoke
from amx.conformance.groups import checks

try:
    PROGRAM = provoke.program()
except FileNotFoundError as missing:
    pytest.skip(str(missing), allow_module_level=True)


CMAKE = shutil.which("cmake")


def run(*arguments, program=PROGRAM, **more):
    more = {"stdout": subprocess.PIPE, **more}
    return children.run(
        [program, *arguments], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60, **more
    )


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_every_row_has_one_provocation():
    """And every provocation a judge."""
    listed = [entry["id"] for entry in lines(run("list").stdout)]
    judged = [check.id for check in checks()]
    assert set(listed) - set(judged) == set(judged) - set(listed) == set()
    assert len(listed) == len(set(listed))


def test_what_is_listed_is_described():
    for entry in lines(run("list").stdout):
        assert list(entry) == ["id", "what", "needs_real_frames"]
        assert entry["what"]
        assert isinstance(entry["needs_real_frames"], bool)


def test_faults_have_different_names():
    names = [entry["fault"] for entry in lines(run("faults").stdout)]
    assert len(names) == len(set(names)) > 40


def test_a_complete_run_ends_with_end_and_status_0():
    done = run("run", "DISC-03")
    assert done.returncode == 0
    assert lines(done.stdout)[-1] == {"end": True}


def test_what_children_saw_is_there_though_they_exit_without_flushing():
    """Where the kernel's own selftest loses its permission section: stdout is a pipe."""
    done = run("run", "INH-01", "--model")
    seen = [key for line in lines(done.stdout) for key in line]
    assert seen == [
        "start", "child's request", "child that requested", "first child", "parent of a child that requested",
        "child from before the request", "second child",
        "child from after the request", "child's touch", "third child", "parent", "end",
    ]  # fmt: skip


def test_a_file_holds_what_a_pipe_does(tmp_path):
    path = tmp_path / "seen"
    with path.open("w") as file:
        assert run("run", "INH-05", "--model", stdout=file).returncode == 0
    assert path.read_text() == run("run", "INH-05", "--model").stdout


def test_what_cannot_be_provoked_says_why_and_ends_with_77():
    done = run("run", "DISC-07", "--model")
    assert done.returncode == 77
    assert list(lines(done.stdout)[-1]) == ["cannot"]


@pytest.mark.parametrize(
    "arguments", [[], ["run"], ["run", "PERM-99"], ["run", "PERM-01", "--fault", "none"]]
)
def test_wrong_usage_is_2(arguments):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "amx-provoke" in done.stderr


def test_output_that_cannot_be_written_is_no_success():
    with open("/dev/full", "w") as full:
        assert run("run", "DISC-01", stdout=full).returncode == 70


def test_a_pipe_that_nobody_reads_is_no_success():
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as closed:
        assert run("run", "DISC-01", stdout=closed).returncode == -signal.SIGPIPE


def hostile():
    """What a caller may leave to its children."""
    signal.signal(signal.SIGILL, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGILL, signal.SIGSEGV, signal.SIGUSR1})
    resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)


def test_the_callers_signals_do_not_matter():
    plain, after = (run("run", "FAULT-02", "--model", **more) for more in ({}, {"preexec_fn": hostile}))
    assert (after.returncode, after.stdout) == (0, plain.stdout)


def test_children_that_die_leave_no_core(tmp_path):
    done = run("run", "FAULT-04", "--model", preexec_fn=hostile, cwd=tmp_path)
    endings = [ending for line in lines(done.stdout)[1:-1] for ending in line.values()]
    assert endings == [{"signal": signal.SIGILL, "core": False}] * 4
    assert list(tmp_path.iterdir()) == []


def no_core_files():
    """No core file may be made, which does not keep the pipes of core_pattern away."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@pytest.mark.parametrize("prepare", [no_core_files, hostile])
def test_a_child_on_its_own_dumps_no_core(tmp_path, prepare):
    """It dies where the kernel has it die, in SRET-06 and LIFE-04, and is looked at."""
    sources = [source for source in PROVOKE if source.name != "main.c"]
    program = compile_c(tmp_path / "child", objects([ROOT / "tests/c/provoke_child.c", *sources], *BASELINE))
    run_in = tmp_path / "empty"
    run_in.mkdir()
    done = run(program=program, preexec_fn=prepare, cwd=run_in)
    assert lines(done.stdout) == [
        {"dumpable": 0},
        {"ending": {"signal": signal.SIGSEGV, "core": False}},
        {"end": True},
    ]
    assert list(run_in.iterdir()) == []


@pytest.mark.skipif(not CMAKE, reason="needs cmake")
def test_it_is_of_baseline_instructions_whatever_cflags_say(tmp_path):
    """VEX instructions of the compiler's would change the registers that are looked at."""
    flags = [f"-DPython_EXECUTABLE={sys.executable}", "-DCMAKE_BUILD_TYPE=Debug"]
    for command in (
        [CMAKE, "-S", ROOT / "csrc", "-B", tmp_path, *flags],
        [CMAKE, "--build", tmp_path, "--target", "amx-provoke"],
    ):
        built = children.run(
            command,
            env={**os.environ, "CFLAGS": "-march=x86-64-v3"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert built.returncode == 0, built.stdout + built.stderr
    done = run("run", "XS-02", program=tmp_path / "amx-provoke")
    assert done.returncode in (0, 77), done.stdout
    differs = [line for line in lines(done.stdout) for key in line if key.endswith(("differs", ".lost"))]
    assert {value for line in differs for value in line.values()} <= {0}, differs


def test_it_links_statically(tmp_path):
    """For an initramfs: it runs without libc's loader and without /proc."""
    program = tmp_path / "amx-provoke"
    built = children.run(
        [*compiler(), "-static", *objects(PROVOKE, *BASELINE), "-o", program, "-lpthread"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if "cannot find -l" in built.stderr:
        pytest.skip(f"no static libc: {built.stderr.strip().splitlines()[-1]}")
    assert built.returncode == 0, built.stderr
    assert run("list", program=program).stdout == run("list").stdout
    for id in ("PERM-07", "INH-02", "INH-05", "FAULT-06", "ALT-03"):
        done = run("run", id, "--model", program=program)
        assert (done.returncode, lines(done.stdout)[-1]) == (0, {"end": True}), id
