"""Threads, forked children and descendants of a tracee, and what outlives whom."""

import platform
import time
from pathlib import Path

import pytest
import traced_program
import tracing
from traced_program import PRODUCT, alive, wait_until

from amx._lib import lib

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or lib.amx_is_stub(), reason="x86-64 Linux only"
)
ptrace, directory = traced_program.ptrace, traced_program.directory  # fixtures
tracee = traced_program.tracee


def child_named(pid, name):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return next(
        (int(child) for child in children if Path(f"/proc/{child}/comm").read_text() == f"{name}\n"), 0
    )


def test_threads_have_tiles_of_their_own(tracee):
    traced = tracing.run(tracee, "threads")
    assert (traced.stdout, traced.instructions) == ("right\n", 8 * 20 * PRODUCT)


def test_a_thread_that_outlives_the_first_one(tracee):
    """What /proc says of the process is the first thread's, which has no memory then."""
    traced = tracing.run(tracee, "leader-ends")
    assert (traced.stdout, traced.status, traced.instructions) == ("right\n", 7, PRODUCT)


def test_forked_children(tracee):
    traced = tracing.run(tracee, "forks")
    assert (traced.stdout, traced.instructions) == ("0 failed\n", 50 * PRODUCT)


def test_children_have_the_configuration_and_not_the_data(tracee):
    assert tracing.run(tracee, "inherit").stdout.splitlines() == [
        "fork: configuration same, data zero",
        "vfork: configuration same, data zero",
        "thread: configuration same, data zero",
        "itself: configuration same, data live",
    ]


def test_what_the_program_leaves_behind_still_has_amx(tracee):
    """The status is the program's, and the run ends with the last of its descendants."""
    traced = tracing.run(tracee, "orphan")
    assert (traced.status, traced.stdout, traced.instructions) == (5, "right\n", PRODUCT)


def test_children_of_a_killed_creator_live_on(tracee):
    """Also those that the creator was killed too early to report."""
    traced = tracing.run(tracee, "killed-creators")
    assert (traced.result, traced.stdout, traced.status) == (0, "all killed\n", 0)
    assert traced.instructions > 0


def test_nothing_outlives_a_killed_tracer():
    launcher = tracing.start("/bin/sh", "-c", "echo $$; sleep 300; echo")
    with launcher:
        pid = int(launcher.stdout.readline())
        wait_until(lambda: child_named(pid, "sleep"))
        child = child_named(pid, "sleep")
        time.sleep(0.2)  # until it sleeps, and would go on doing so by itself
        launcher.kill()
    wait_until(lambda: {alive(pid), alive(child)} <= {None, "Z"}, seconds=10)
