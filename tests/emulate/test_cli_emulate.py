"""`amx emulate`: what a program gets, how its end is told, and what is refused before it runs."""

import json
import os
import signal
import subprocess
import sys

import children
import elf_writing
import preloading
import pytest
from preloading import SANITIZED

from amx._lib import lib
from amx.emulation import launcher, report, sde
from amx.emulation.counts import Counts

pytestmark = [
    pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer"),
    pytest.mark.skipif(SANITIZED, reason="a sanitizer's runtime must be the first library"),
]

AMX = [sys.executable, "-c", "import sys; from amx import cli; sys.exit(cli.main())"]
SHELL = "/bin/sh"
SPAWNED = "--stats-file=/dev/null"  # the program then runs beside the launcher, not in its place


def amx(*words, **more):
    environment = {**os.environ, "AMX_BACKEND": "", **more.pop("environment", {})}
    return children.run(
        [*AMX, "emulate", *map(str, words)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        **more,
    )


def start(*words, **more):
    return children.start([*AMX, "emulate", *map(str, words)], stdout=subprocess.PIPE, text=True, **more)


# the end of the program


@pytest.mark.parametrize("options", [[], [SPAWNED], ["--no-patch"]], ids=["exec", "spawn", "trapped"])
def test_the_status_is_the_programs_and_so_is_the_output(options):
    done = amx(*options, "--", SHELL, "-c", 'echo "$0 $@"; exit 7', "a b", "--cpu", "c")
    assert (done.returncode, done.stdout, done.stderr) == (7, "a b --cpu c\n", "")


@pytest.mark.parametrize("options", [[], [SPAWNED]], ids=["exec", "spawn"])
def test_a_killed_program_is_128_and_the_signal_to_a_shell(options):
    command = [
        SHELL,
        "-c",
        '"$@"; echo $?',
        "sh",
        *AMX,
        "emulate",
        *options,
        "--",
        SHELL,
        "-c",
        "kill -KILL $$",
    ]
    done = children.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "137\n"


def test_without_the_dashes_the_first_word_is_the_program():
    done = amx("--cpu", "gnr", SHELL, "-c", 'echo "$AMX_EMULATE_CPU"')
    assert done.stdout == "gnr\n"


def test_ignored_signals_of_python_are_not_handed_on():
    ignored = 'while read -r name mask; do [ "$name" != SigIgn: ] || echo "$mask"; done </proc/self/status'
    plain = children.run([SHELL, "-c", ignored], capture_output=True, text=True, timeout=60)
    done = amx("--", SHELL, "-c", ignored)
    assert done.stdout == plain.stdout != ""


# signals and the terminal

COUNTS = """
import os, signal, sys, time
came = []
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, lambda number, frame: came.append(number))
print("ready", os.getpid(), flush=True)
end = time.monotonic() + 20
while not came and time.monotonic() < end:
    time.sleep(0.01)
time.sleep(0.2)
print([signal.Signals(number).name for number in came], flush=True)
sys.exit(3)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_to_the_launcher_reach_the_program_once(number):
    with start(SPAWNED, "--", sys.executable, "-c", COUNTS) as child:
        assert child.stdout.readline().startswith("ready")
        child.send_signal(number)
        assert child.stdout.read() == f"['{signal.Signals(number).name}']\n"
        assert child.wait(20) == 3


def test_the_program_does_not_outlive_a_killed_launcher(tmp_path):
    variables = {**os.environ, "TMPDIR": str(tmp_path)}  # what is killed removes nothing
    with start(SPAWNED, "--", sys.executable, "-c", COUNTS, env=variables) as child:
        pid = int(child.stdout.readline().split()[1])
        child.kill()
    assert children.gone(pid)


ON_A_TERMINAL = """
import children, contextlib, os, sys
pid, terminal = children.fork_on_terminal()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
said = b""
with contextlib.suppress(OSError):  # EIO: the other side is closed
    while True:
        said += os.read(terminal, 1000)
        if b"ready" in said and b"^C" not in said:
            os.write(terminal, b"\\x03")
            said += os.read(terminal, 1000)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said)
"""


def test_an_interrupt_from_the_terminal_comes_once_and_the_terminal_is_the_programs():
    code = "import os; print(os.isatty(0), os.tcgetpgrp(0) == os.getpgrp())\n" + COUNTS
    done = children.run_python(
        "-c", ON_A_TERMINAL, *AMX, "emulate", SPAWNED, "--", sys.executable, "-c", code
    )
    status, _, said = done.stdout.partition(" ")
    assert status == "3", done
    assert "True True" in said
    assert said.count("SIGINT") == 1, said


# what is refused


@pytest.mark.parametrize(
    ("words", "status"),
    [(["--", "/no/such/program"], 127), (["--", "no-such-program"], 127), (["--", "/"], 126), ([], 2)],
)
def test_a_program_that_cannot_run_has_the_status_of_env(words, status):
    done = amx(*words)
    assert done.returncode == status
    assert done.stderr.startswith(("amx: ", "usage: "))


def test_a_static_program_is_refused_before_it_runs(tmp_path):
    done = amx("--", elf_writing.program(tmp_path / "static"))
    assert done.returncode == 125
    assert "static" in done.stderr
    assert "--ptrace" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--probe", "--", "true"],
        ["--json", "--", "true"],
        ["--sde", "--no-patch", "--", "true"],
        ["--sde", "--stats", "--", "true"],
        ["--ptrace", "--no-patch", "--", "true"],
        ["--ptrace", "--sde", "--", "true"],
        ["--sde", "--announce", "none", "--", "true"],
        ["--announce", "avx512_fp16,sse5", "--", "true"],
        ["--cpu", "zen5", "--", "true"],
        ["--stats-file", "/no/such/directory/file", "--", "true"],
        ["--trace", "/", "--", "true"],
    ],
)
def test_contradictions_are_wrong_usage(words):
    done = amx(*words)
    assert done.returncode == 2
    assert "usage" in done.stderr


# the environment


def test_the_library_comes_first_in_ld_preload_and_only_once():
    library = launcher.library()
    made = launcher.environment({"LD_PRELOAD": "/a.so /b.so", "X": "y"}, cpu="spr", patch=True)
    assert made == {
        "X": "y",
        "AMX_EMULATE_CPU": "spr",
        "AMX_EMULATE_PATCH": "1",
        "LD_PRELOAD": f"{library}:/a.so:/b.so",
    }
    again = launcher.environment(made, cpu="gnr", patch=False)
    assert again == {
        **made,
        "AMX_EMULATE_CPU": "gnr",
        "AMX_EMULATE_PATCH": "0",
    }


def test_a_traced_program_has_no_library_preloaded():
    made = launcher.environment({"LD_PRELOAD": launcher.library()}, cpu="spr", patch=False, preload=False)
    assert "LD_PRELOAD" not in made


def test_leaks_are_not_looked_for_under_the_tracer_unless_somebody_wants_it():
    def options(**base):
        return launcher.environment(base, cpu="spr", patch=False, preload=False)["LSAN_OPTIONS"]

    assert options() == "detect_leaks=0"
    assert options(LSAN_OPTIONS="verbosity=1:detect_leaks=1") == "detect_leaks=0:verbosity=1:detect_leaks=1"
    assert options(LSAN_OPTIONS=options(LSAN_OPTIONS="verbosity=1")) == "detect_leaks=0:verbosity=1"
    assert "LSAN_OPTIONS" not in launcher.environment({}, cpu="spr", patch=True)


def test_reports_go_to_our_directory_and_traces_only_if_wanted():
    base = {"AMX_EMULATE_TRACE": "/theirs", "AMX_EMULATE_REPORT": "/theirs/report"}
    made = launcher.environment(base, cpu="spr", patch=True, directory="/ours")
    assert (made["AMX_EMULATE_REPORT"], made.get("AMX_EMULATE_TRACE")) == ("/ours/report", None)
    made = launcher.environment(base, cpu="spr", patch=True, directory="/ours", trace=True)
    assert made["AMX_EMULATE_TRACE"] == "/ours"
    assert launcher.environment(base, cpu="spr", patch=True)["AMX_EMULATE_REPORT"] == "/theirs/report"


def test_what_is_announced_goes_to_the_library():
    done = amx("--announce", "avx512_fp16,avx_vnni", "--", SHELL, "-c", 'echo "$AMX_EMULATE_ANNOUNCE"')
    assert done.stdout == "avx512_fp16,avx_vnni\n"
    assert "AMX_EMULATE_ANNOUNCE" not in launcher.environment({}, cpu="spr", patch=True)


# reports


def test_a_report_has_each_process_and_the_sums(tmp_path):
    (tmp_path / "report").write_text(preloading.LINES)
    (a, b), missing = report.read(str(tmp_path / "report"))
    assert not missing
    assert a == report.Process(12, "/a", Counts(100, 5, 4, 3, 1, 2, 6, 7, 8), unplaced=1)
    assert b == report.Process(13, "/b", Counts(instructions=11))
    assert report.total((a, b)) == Counts(111, 5, 4, 3, 1, 2, 6, 7, 8)
    lines = report.table((a, b)).splitlines()
    assert lines[0].split()[:2] == ["pid", "instructions"]
    assert [line.split()[0] for line in lines[1:4]] == ["12", "13", "total"]
    assert lines[3].split()[1] == "111"
    assert "at 1 places" in lines[4]


@pytest.mark.parametrize("end", ['{"pid": 14, "prog', "[14]\n", "14\n", '{"pid": \0\n'])
def test_a_line_cut_short_is_left_out(end, tmp_path):
    (tmp_path / "report").write_text(preloading.LINES + end)
    found, missing = report.read(str(tmp_path / "report"))
    assert [process.pid for process in found] == [12, 13]
    assert str(missing) == (
        "an unknown number of processes: 1 line of the report is not as the emulation writes them"
    )


def test_no_report_is_said_to_be_none():
    assert "no process" in report.table(())
    assert report.as_json((), cpu="spr", status=0)["total"]["instructions"] == 0


# Intel SDE


@pytest.fixture
def stand_in(tmp_path):
    """A stand-in for SDE in a directory of its own."""
    program = tmp_path / "sde-home" / "sde64"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "sde: $@"\nexit 5\n')
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("cpu", "chip"), [("spr", "-spr"), ("gnr", "-gnr"), ("gnr-d", "-gnr"), ("dmr", "-dmr")]
)
def test_sde_gets_the_chip_and_the_program(stand_in, cpu, chip):
    for environment in (
        {sde.HOME: str(stand_in.parent)},
        {sde.HOME: "", "PATH": f"{stand_in.parent}:{os.environ['PATH']}"},
    ):
        done = amx("--sde", "--cpu", cpu, "--", SHELL, "-x", environment=environment)
        assert (done.returncode, done.stdout) == (5, f"sde: {chip} -- {SHELL} -x\n")


def test_without_sde_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    done = amx("--sde", "--", SHELL, environment={sde.HOME: "", "PATH": str(tmp_path)})
    assert done.returncode == 125
    assert "Intel SDE is not installed" in done.stderr
    assert sde.HOME in done.stderr


# the tracer and the library, at work

PRODUCT = """
import sys, amx, numpy as np
a = np.arange(20 * 70, dtype=np.int32).reshape(20, 70).astype(np.int8)
assert amx.available() and amx.get_backend() is amx.Backend.NATIVE
assert (amx.matmul(a, a.T) == a.astype(int) @ a.T.astype(int)).all()
print(amx.explain().emulated)
"""


def ptrace_is_forbidden():
    probe = json.loads(amx("--probe", "--json").stdout)
    return not next(way for way in probe["ways"] if way["name"] == "amx emulate --ptrace")["works"]


@pytest.mark.parametrize("patch", [[], ["--no-patch"]], ids=["patched", "trapped"])
def test_under_the_library_amx_is_there_and_counted(tmp_path, patch):
    file, trace = tmp_path / "stats.json", tmp_path / "trace.json"
    done = amx(
        *patch, "--cpu", "gnr", "--stats", "--stats-file", file, "--trace", trace,
        "--", sys.executable, "-W", "error", "-c", PRODUCT,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "gnr, by amx emulate\n"), done.stderr
    found = json.loads(file.read_text())
    total = found["total"]
    assert total["instructions"] > 10
    assert (total["patched"] > 0) == (not patch)
    assert (total["traps"] < total["instructions"]) == (not patch)
    assert found["processes"][0]["program"] == os.path.realpath(sys.executable)
    assert json.loads(trace.read_text())["instructions"] == total["instructions"]
    assert "tdpbssd" in done.stderr


def test_children_are_emulated_and_reported_too(tmp_path):
    file = tmp_path / "stats.json"
    code = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {PRODUCT!r}]).returncode)"
    done = amx("--stats-file", file, "--", sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    counted = [each["instructions"] > 0 for each in json.loads(file.read_text())["processes"]]
    assert sorted(counted)[-1] is True
    assert len(counted) >= 2


def test_the_diagnosis_of_a_preloaded_program_does_not_claim_hardware():
    done = amx("--", *AMX, "explain", "--json")
    found = json.loads(done.stdout)
    assert (found["usable"], found["emulated"], found["disagreements"]) == (True, "spr, by amx emulate", [])
    assert "AMX is emulated here" in amx("--", *AMX, "explain").stdout
    said = amx("--", *AMX, "info", "--json")
    info = json.loads(said.stdout)
    assert info["emulated"] == info["processor"]["emulated"] == "spr, by amx emulate"
    assert info["altstack"]["needed"] >= 11952


def test_after_the_guard_a_programs_own_handler_is_still_in_force():
    code = (
        "import amx, faulthandler, ctypes\n"
        "faulthandler.enable()\namx.request()\namx.prefault()\n"
        "print('prefaulted', flush=True)\nctypes.string_at(8)"
    )
    done = amx("--", sys.executable, "-c", code)
    assert (done.returncode, done.stdout) == (-signal.SIGSEGV, "prefaulted\n")
    assert "Fatal Python error: Segmentation fault" in done.stderr
    assert "string_at" in done.stderr


def test_in_a_program_that_is_emulated_no_block_begins():
    code = "import amx\ntry:\n    amx.emulate().__enter__()\nexcept amx.AmxError as e:\n    print(e)"
    done = amx("--", sys.executable, "-c", code)
    assert "emulated already: spr, by amx emulate" in done.stdout


def test_under_the_tracer_amx_is_there_and_counted(tmp_path):
    if ptrace_is_forbidden():
        pytest.skip("ptrace is forbidden here")
    file = tmp_path / "stats.json"
    done = amx(
        "--ptrace",
        "--cpu",
        "gnr",
        "--stats",
        "--stats-file",
        file,
        "--",
        sys.executable,
        "-W",
        "error",
        "-c",
        PRODUCT,
    )
    assert (done.returncode, done.stdout) == (0, "gnr, by amx emulate --ptrace\n"), done.stderr
    found = json.loads(file.read_text())
    assert (found["cpu"], found["exit_status"]) == ("gnr", 0)
    assert found["total"]["instructions"] > 10
    assert found["total"]["arch_prctl"] > 0
    assert found["total"]["traps"] == found["total"]["instructions"] + found["total"]["faults"]
    assert (found["total"]["sites"], found["total"]["patched"]) == (0, 0)
    assert str(found["total"]["instructions"]) in done.stderr


def test_a_traced_program_knows_without_its_environment():
    if ptrace_is_forbidden():
        pytest.skip("ptrace is forbidden here")
    done = amx("--ptrace", "--", "env", "-i", *AMX, "explain", "--json")
    found = json.loads(done.stdout)
    assert (found["usable"], found["emulated"]) == (True, "a CPU, by amx emulate --ptrace")


def test_a_variable_alone_emulates_nothing():
    environment = {**os.environ, launcher.CPU: "spr"}
    done = children.run(
        [*AMX, "explain", "--json", "--no-probe"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert json.loads(done.stdout)["emulated"] is None
