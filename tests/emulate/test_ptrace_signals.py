"""Signals of a tracee: those that instructions raise, tiles in handlers, small stacks, the launcher's own."""

import errno
import json
import os
import platform
import re
import signal
import time

import children
import pytest
import traced_program
import tracing
from traced_program import PRODUCT, SYS_SECCOMP, alive, wait_until

from amx._lib import lib

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or lib.amx_is_stub(), reason="x86-64 Linux only"
)
ptrace, directory = traced_program.ptrace, traced_program.directory  # fixtures
tracee = traced_program.tracee

PAGE_FAULTS = """\
load: code 2, address 4096
rows 1 1 2 2
store: code 1, address 8192, bytes before it 2
read-only: code 2, address 4064, bytes after it 2
"""


def test_signals_are_neither_blocked_nor_ignored_for_the_interpreters_sake(tracee):
    """Python ignores SIGPIPE and SIGXFSZ, and the tracer blocks all."""
    status = tracing.run("/bin/grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status").stdout.split()
    masks = dict(zip(status[::2], (int(mask, 16) for mask in status[1::2]), strict=True))
    pythons = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)
    assert (masks["SigBlk:"], masks["SigIgn:"] & pythons) == (0, 0)


def test_a_launcher_that_ignores_its_children_hears_of_this_one(tracee):
    ignore = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    assert tracing.run(tracee, "product", before=ignore).status == 7
    mask = tracing.run("/bin/grep", "^SigIgn:", "/proc/self/status", before=ignore).stdout.split()[1]
    assert int(mask, 16) & 1 << (signal.SIGCHLD - 1), "and so does the program"


def test_instructions_without_permission(tracee):
    """ILL_ILLOPN is 2 and ILL_ILLOPC 1; the CPU's own checks come first."""
    assert tracing.run(tracee, "without-permission").stdout.splitlines() == [
        "unconfigured: code 2, at it 1",
        "unpermitted: code 1, at it 1",
        "code 1, and permitted by the handler",
    ]


@pytest.mark.parametrize(
    ("case", "number"),
    [
        ("ud2", signal.SIGILL),
        ("null", signal.SIGSEGV),
        ("unpermitted", signal.SIGILL),
        ("bad-config", signal.SIGSEGV),
        ("fault-blocked", signal.SIGSEGV),
        ("fault-ignored", signal.SIGSEGV),
    ],
)
def test_faults_end_the_program_as_on_hardware(tracee, case, number):
    traced = tracing.run(tracee, case)
    assert (traced.result, traced.status) == (0, -number)


def test_a_handler_gets_what_is_not_amx(tracee):
    traced = tracing.run(tracee, "ud2-handled")
    assert (traced.stdout, traced.status) == ("code 2\n", 0)


def test_page_faults_are_the_programs_and_restart(tracee):
    """SEGV_ACCERR is 2 and SEGV_MAPERR 1. A row in two pages is stored whole or not at all."""
    assert tracing.run(tracee, "page-fault").stdout == PAGE_FAULTS


def test_the_stack_grows_down_to_a_stored_tile(tracee):
    assert tracing.run(tracee, "stack").stdout == "stored 0\n"


def test_sigill_may_be_blocked(tracee):
    """And its handler is still there afterwards, though the kernel resets that of a blocked SIGILL."""
    traced = tracing.run(tracee, "blocked")
    assert (traced.stdout, traced.status, traced.instructions) == ("right, then code 2\n", 0, 2 * PRODUCT)


@pytest.mark.parametrize("before", ["", f"deny({SYS_SECCOMP}, {errno.EPERM})"], ids=["filter", "no filter"])
def test_tiles_in_signal_handlers(tracee, before):
    """A handler starts without a configuration; what it interrupted comes back, in a forked child too."""
    handler = "handler 0, nested 0, handler again 0, "
    same = "configuration same, data live"
    assert tracing.run(tracee, "handlers", before=before).stdout.splitlines() == [
        f"{handler}INIT again 0",
        f"{handler}child: {same}",
        f"itself: {same}",
        "after a jump 0",
    ]


def test_other_signals_arrive_meanwhile(tracee):
    traced = tracing.run(tracee, "alarms")
    products = int(re.fullmatch(r"100 alarms amid (\d+) products\n", traced.stdout)[1])
    assert (traced.status, traced.instructions) == (0, (1 + products) * PRODUCT)


def test_small_alternate_stacks_refuse_the_request_and_are_refused_afterwards(tracee):
    expected = [0, -errno.ENOSPC, 0, -errno.EINVAL, 0, -errno.ENOMEM]
    assert [int(word) for word in tracing.run(tracee, "altstack").stdout.split()] == expected


def test_a_stopped_program_goes_on(tracee):
    launcher = tracing.start(tracee, "term")
    pid = int(launcher.stdout.readline())
    for _ in range(3):
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: alive(pid) in ("t", "T"))
        time.sleep(0.1)
        assert alive(pid) in ("t", "T"), "it stays stopped"
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: alive(pid) in ("R", "S"))
    os.kill(pid, signal.SIGTERM)
    traced = tracing.finish(launcher)
    assert (traced.stdout, traced.status) == ("terminated\n", 3)


def test_signals_to_the_launcher_are_for_the_program(tracee):
    launcher = tracing.start(tracee, "term")
    launcher.stdout.readline()
    launcher.terminate()
    traced = tracing.finish(launcher)
    assert (traced.stdout, traced.status) == ("terminated\n", 3)


ON_A_TERMINAL = """
import children, contextlib, os, sys, tracing
pid, terminal = children.fork_on_terminal()
if pid == 0:
    os.environ["BEFORE"] = ""
    os.execv(sys.executable, [sys.executable, "-c", tracing.SCRIPT, "spr", sys.argv[1], "term"])
said = b""
while b"\\n" not in said:  # the program's process id
    said += os.read(terminal, 100)
os.write(terminal, b"\\x03")
with contextlib.suppress(OSError):  # there is no other end any more
    while True:
        said += os.read(terminal, 1000)
print(os.waitpid(pid, 0)[1], said.split(b"\\r\\n")[-2].decode())
"""


def test_the_terminals_interrupt_ends_the_program_and_not_the_launcher(tracee):
    """Both are in the foreground; the launcher lives to tell."""
    run = children.run_python("-c", ON_A_TERMINAL, tracee)
    launcher, echo, report = run.stdout.partition(" ^C")
    assert (launcher, echo) == ("0", " ^C"), run
    assert json.loads(report)["status"] == signal.SIGINT
