"""Signals around emulated instructions: other owners of them, what a trap leaves alone, and small stacks."""

from signal import SIGILL, SIGUSR1

import pytest
import trapping

from amx import machine
from amx._lib import lib

pytestmark = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")

UD2 = [("signal", "4"), ("code", "2")]  # SIGILL ILL_ILLOPN
COMPONENTS = 0xE7  # x87, SSE, AVX, opmask, both parts of ZMM
NOTHING_BLOCKED = ("mask_afterwards", "")


@pytest.fixture(params=[False, True], ids=["trapped", "patched"])
def patched(request):
    return request.param


def blocked(*signals):
    return ("mask", " ".join(str(int(signal)) for signal in signals))


def test_a_program_keeps_its_own_sigill_handler(patched):
    """What is not AMX arrives there with the program's own mask, before and after an emulated instruction."""
    expected = [*UD2, blocked(SIGILL, SIGUSR1)] * 2
    assert trapping.scenario("own-handler", patched) == [*expected, NOTHING_BLOCKED]


def test_sa_nodefer_is_honoured():
    assert trapping.scenario("own-handler-nodefer") == [*UD2, blocked(SIGUSR1)]


def test_sa_resethand_is_honoured():
    """The second UD2 kills."""
    seen = trapping.scenario("own-handler-resethand", ends="SIGILL")
    assert seen == [*UD2, blocked(SIGILL, SIGUSR1)]


def test_a_handler_may_jump_out(patched):
    assert trapping.scenario("own-handler-jumps", patched) == [NOTHING_BLOCKED]


def test_a_handler_set_during_emulation_is_the_programs(patched):
    """It is read back, called for what is not AMX, and in force after the emulation's end."""
    assert trapping.scenario("handler-set-later", patched) == [*UD2, blocked(SIGILL)] * 2


def test_signals_that_were_sent_are_no_faults():
    assert trapping.scenario("sent-by-somebody") == [("sent", "4"), ("alive", "1")]


def test_a_signal_amid_the_emulations_own_work_does_not_wait_for_that():
    assert trapping.scenario("sent-amid-our-work") == [("sent", "11"), ("alive", "1")]


@pytest.mark.parametrize(
    ("name", "signal"),
    [
        ("killed-by-ud2", "SIGILL"),
        ("killed-by-segfault", "SIGSEGV"),
        ("killed-by-breakpoint", "SIGTRAP"),
        ("blocked-sigill", "SIGILL"),  # by the kernel, which cannot deliver the trap
    ],
)
def test_the_right_signal_kills(name, signal):
    assert trapping.scenario(name, ends=signal) == []


def test_everything_but_the_tiles_is_preserved(patched):
    """x87, SSE, AVX and AVX-512 registers that there are, MXCSR, the direction flag, the red zone, errno."""
    xcr0 = machine.Real().xgetbv(0)
    kept = 3 if xcr0 is None else xcr0 & COMPONENTS
    how = "by FXSAVE" if xcr0 is None else "by XSAVE"
    assert trapping.scenario("preserved", patched) == [("components", f"{kept:#x} {how}")]


def test_products_amid_signals_are_right(patched):
    """A thousand SIGALRM, each at another point of a series of products."""
    assert trapping.scenario("amid-signals", patched) == [("signals", "1000")]


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("handlers-with-tiles", ("handlers", "2")),
        ("handlers-that-jump", ("jumped", "3")),
        ("vforked-child-sets-handlers", ("handlers", "3")),
    ],
)
def test_handlers_have_tiles_of_their_own(name, seen, patched):
    """INIT at first; what was interrupted comes back, unless the handler jumps; vfork() shares no actions."""
    assert trapping.scenario(name, patched) == [seen]


@pytest.mark.parametrize(
    "name",
    ["smallest-alternate-stack", "own-alternate-stack", "smallest-thread-stack", "unused-alternate-stack"],
)
def test_small_stacks_are_enough(name, patched):
    """The least for permission in a program, for its own handlers, for a thread, and one too small."""
    assert trapping.scenario(name, patched) == [("alive", "1")]


def test_the_models_answer_depends_on_the_real_alternate_stack():
    """ENOSPC with 8 KiB and not with 11952 bytes; then ENOMEM below 11837, and never for disabling."""
    assert trapping.scenario("permission-and-alternate-stacks") == [
        ("request", "-28"),
        ("set", "0"),
        ("request", "0"),
        ("set", "-12"),
        ("get", "0 11952"),
        ("set", "0"),
    ]
