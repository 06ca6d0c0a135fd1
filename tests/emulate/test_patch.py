"""Patched sites of AMX instructions trap once, and what runs instead is not seen (trap/patch/patch.c)."""

import subprocess

import children
import pytest
from compiling import ROOT, TRAP, compile_c, objects

from amx._lib import lib

CANNOT_RUN = 77
pytestmark = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    sources = [ROOT / "tests/c/patching.c", *objects(TRAP)]
    return compile_c(tmp_path_factory.mktemp("patch") / "patching", sources)


def run(program, name):
    result = children.run(
        [program, name], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    if result.returncode == CANNOT_RUN:
        pytest.skip("this CPU executes configuration instructions itself")
    assert result.returncode == 0, (result.returncode, result.stdout, result.stderr)


def test_a_site_traps_once(program):
    """Stopping puts the program's bytes back; starting again patches them again."""
    run(program, "once")


def test_shared_memory_is_not_written(program):
    run(program, "shared")


def test_a_site_out_of_reach_goes_on_trapping(program):
    """Where no address within 2 GiB is free, the instruction is counted as unpatchable, and works."""
    run(program, "no-room")


def test_code_that_is_not_writable_is_patched(program):
    run(program, "sealed")


def test_code_that_can_be_written_while_it_is_executed_goes_on_trapping(program):
    """So writing over part of an instruction works; once sealed it is patched, until it is writable again."""
    run(program, "writable")


@pytest.mark.parametrize("files", ["unsealed", "unsealed-without-files"])
def test_patched_code_is_the_programs_own_before_it_becomes_writable(program, files):
    """RX, RW and RX again, a byte of an instruction in two pages written each time."""
    run(program, files)


def test_code_that_moves_is_the_programs_own(program):
    run(program, "moved")


def test_memory_that_is_mapped_twice_is_not_written(program):
    """Written at one address, executed at another."""
    run(program, "mapped-twice")


def test_generated_code_goes_on_trapping_where_nobody_tells_when_it_is_written(program):
    """In amx.emulate(): there mprotect() is not interposed."""
    run(program, "generated-untold")


def test_a_thread_that_outlives_the_first_is_patched(program):
    """/proc/self is the first thread's, which has no memory then."""
    run(program, "leader-ended")


def test_rewritten_code_is_new(program):
    """Another instruction where one was patched, as a JIT compiler does, and memory that was unmapped."""
    run(program, "rewritten")


def test_code_that_became_wrong_behind_what_patching_writes_is_refused(program):
    run(program, "broken")


def test_more_sites_than_are_kept(program):
    """Those beyond 32,768 go on trapping; once code is gone, others take its places."""
    run(program, "many")


@pytest.mark.parametrize("refused", ["no-membarrier", "no-files"])
def test_what_cannot_be_patched_goes_on_trapping(program, refused):
    """Where the kernel cannot make all CPUs see new code, or no file of /proc can be opened."""
    run(program, refused)


def test_code_is_made_writable_where_it_cannot_be_forced(program):
    run(program, "no-force")


def test_the_stack_pointer_is_the_programs(program):
    """Operands relative to RSP, in the red zone, with RSP misaligned in every way."""
    run(program, "stack")


def test_configuration_instructions_are_patched_before_they_run(program):
    """Where they would not trap: all of an object at its first trap, in generated code those around it."""
    run(program, "hybrid")


def test_threads_meet_at_fresh_sites(program):
    """16 threads execute each of 1536 sites for the first time at once."""
    run(program, "threads")


def test_signals_interrupt_thunks(program):
    """An alarm every 200 us, each changing vector registers."""
    run(program, "timer")


def test_a_handler_may_jump_out_of_a_thunk(program):
    """No lock is held then; what is patched later works."""
    run(program, "jumps")


def test_forked_children_inherit_patches(program):
    """200 children of a process in which another thread is patching; each patches code of its own, too."""
    run(program, "forks")


def test_a_faulting_row_is_the_programs_own_fault(program):
    """RIP at the site, si_addr and si_code as without patching; the load goes on where it stopped."""
    run(program, "restart")


def test_unwinding_through_a_thunk(program):
    """backtrace() in a handler that interrupts a thunk reaches the function with the instruction."""
    run(program, "unwinding")


def test_emulation_comes_and_goes_under_running_threads(program):
    """300 times, while three threads execute patched instructions and begin again where they trap."""
    run(program, "again")
