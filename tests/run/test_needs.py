"""What a check needs and a place does not give is a skip with the reason: no failure and no error."""

import itertools
import json
import os
import resource
import signal
import sys

import children
import preloading
import pytest

from amx.conformance import provoke
from amx.conformance.groups import checks

small_memory = pytest.mark.skipif(preloading.SANITIZED, reason="a sanitizer takes memory of its own")

try:
    PROGRAM = provoke.program()
except FileNotFoundError as missing:
    pytest.skip(str(missing), allow_module_level=True)

CANNOT = 77
HERE = [check.id for check in checks() if check.id not in ("LIFE-03", "SIG-07", "CTX-03")]  # and slow ones
# On the model, what makes threads, processes or much memory.
MODEL = "PERM-04 PERM-08 INH-01 INH-02 INH-05 FAULT-01 FAULT-04 ALT-03 ALT-04 SIG-04 CTX-02 PTR-01 KVM-02"
LOOP = """
for id in $HERE; do "$0" run "$id"; echo "$id $?"; done
for id in $MODEL; do "$0" run "$id" --model; echo "$id $?"; done
"""


def limit(name, value):
    """A function that lowers a limit of the process, the hard one too."""
    return lambda: resource.setrlimit(getattr(resource, name), (value, value))


def ignore():
    """Whatever a caller may have ignored, and blocked."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if not 32 <= number <= 33:  # libc's own
            signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


PLACES = {
    "no file may grow": limit("RLIMIT_FSIZE", 0),
    "no core files": limit("RLIMIT_CORE", 0),
    "core files of a page": limit("RLIMIT_CORE", 4096),
    "64 MiB of memory": limit("RLIMIT_AS", 64 << 20),
    "16 MiB of data": limit("RLIMIT_DATA", 16 << 20),
    "small stacks": limit("RLIMIT_STACK", 512 << 10),
    "endless stacks": lambda: (
        resource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY,) * 2)
        if resource.getrlimit(resource.RLIMIT_STACK)[1] == resource.RLIM_INFINITY
        else None
    ),
    "eight files": limit("RLIMIT_NOFILE", 8),
    "no queued signals": limit("RLIMIT_SIGPENDING", 0),
    "no locked memory": limit("RLIMIT_MEMLOCK", 0),
    "one CPU": lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
    "signals ignored and blocked": ignore,
}


def made(prepare=None, **variables):
    """Each provocation in such a place: [(id, status as of the shell, last line)]."""
    done = children.run(
        ["sh", "-c", LOOP, PROGRAM],
        preexec_fn=prepare,
        cwd="/",
        env={**os.environ, "HERE": " ".join(HERE), "MODEL": MODEL, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = done.stdout.splitlines()
    ended = [number for number, line in enumerate(lines) if not line.startswith("{")]
    found = [(*lines[number].split(), lines[number - 1]) for number in ended]
    assert [id for id, *_ in found] == [*HERE, *MODEL.split()]
    return [(id, int(status), last) for id, status, last in found]


@pytest.mark.parametrize(
    "place",
    [pytest.param(place, marks=[small_memory] if "MiB of" in place else []) for place in PLACES],
)
def test_no_provocation_breaks_for_what_the_place_lacks(place, tmp_path):
    found = made(PLACES[place], AMX_PROVOKE_TMPDIR=str(tmp_path))
    assert [ended for ended in found if ended[1] not in (0, CANNOT)] == []
    assert all("cannot" in json.loads(last) for _, status, last in found if status == CANNOT)
    assert list(tmp_path.iterdir()) == []


@small_memory
def test_without_memory_for_threads_the_reason_is_given():
    reasons = {id: last for id, status, last in made(PLACES["64 MiB of memory"]) if status == CANNOT}
    assert "no thread can be made here" in reasons["PERM-08"]


def test_without_processes_the_reason_is_given():
    """RLIMIT_NPROC does not hold root, who here becomes a user without other processes."""
    if os.geteuid() == 0 and children.run(["setpriv", "--version"], capture_output=True).returncode:
        pytest.skip("no setpriv")
    new = 1_000_000 + os.getpid()
    user = ["setpriv", f"--reuid={new}", f"--regid={new}", "--clear-groups"] if os.geteuid() == 0 else []
    if children.run([*user, PROGRAM, "list"], capture_output=True).returncode:
        pytest.skip("another user cannot reach the program")
    for id, what in (("FAULT-04", "child process"), ("PERM-04", "thread"), ("INH-02", "child process")):
        done = children.run(
            [*user, PROGRAM, "run", id, "--model"], preexec_fn=limit("RLIMIT_NPROC", 0), capture_output=True
        )
        assert done.returncode == CANNOT
        assert f"no {what} can be made here" in json.loads(done.stdout.splitlines()[-1])["cannot"]


def test_what_a_kernel_before_5_16_does_not_answer_is_a_skip():
    """Each operation is unknown there: EINVAL."""
    code = f"""
import os, under_seccomp
under_seccomp.install("errno=22", range(0x1021, 0x1026))
os.execvp("sh", ["sh", "-c", {LOOP!r}, {PROGRAM!r}])
"""
    done = children.run_python("-c", code, HERE=" ".join(HERE), MODEL="")
    lines = done.stdout.splitlines()
    ended = {line.split()[0]: (line.split()[1], before) for before, line in itertools.pairwise(lines)}
    assert {ended[id][0] for id in HERE} == {"0", str(CANNOT)}
    for id in ("DISC-03", "PERM-03", "PERM-09"):
        status, last = ended[id]
        assert (status, "ARCH_GET_XCOMP_" in last, "a kernel before 5.16" in last) == ("77", True, True)
    assert ended["DISC-09"][0] == "77"


@pytest.mark.parametrize("id", ["PERM-01", "SIG-01", "SIG-08"])
def test_without_xsave_there_is_no_saved_state_to_look_at(id):
    """No permission to read, and no header in a frame."""
    done = children.run([PROGRAM, "run", id, "--fault", "machine-without-xsave"], capture_output=True)
    assert done.returncode == CANNOT
    assert "OSXSAVE is clear" in json.loads(done.stdout.splitlines()[-1])["cannot"]


def test_without_xsave_ptrace_has_no_state_to_look_at():
    for id in ("PTR-01", "PTR-04"):
        done = children.run([PROGRAM, "run", id, "--fault", "machine-without-xsave"], capture_output=True)
        assert done.returncode == CANNOT
        last = json.loads(done.stdout.splitlines()[-1])["cannot"]
        assert "where the kernel does not use XSAVE" in last or "ptrace(PTRACE_TRACEME)" in last


# The whole command: what it judges is judged, what it cannot have is skipped.

CHECK = "import sys; from amx.cli import main; sys.exit(main(['check', '--json', '-', *sys.argv[1:]]))"


def check(*ids, prepare=None, **variables):
    """The report of `amx check`."""
    done = children.run(
        [sys.executable, "-c", CHECK, *ids],
        preexec_fn=prepare,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("place", ["no file may grow", "no core files", "signals ignored and blocked"])
def test_the_whole_suite_fails_nowhere_for_what_the_place_lacks(place):
    report = check(prepare=PLACES[place])
    wrong = [
        (each["id"], each["reason"]) for each in report["checks"] if each["verdict"] in ("FAIL", "ERROR")
    ]
    assert wrong == []
    core = {each["id"]: each for each in report["checks"]}["CORE-02"]
    assert core["verdict"] == "SKIP" or place.startswith("signals")
