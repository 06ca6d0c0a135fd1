"""amx.used(): what is concluded from what can be seen, and that what is seen is so."""

import errno
import os
import sys
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import children
import pytest
from machines import load
from preloading import SANITIZED

import amx
from amx import machine, xstate
from amx._lib import lib
from amx.emulation import Verdict, busy_counter
from amx.emulation.busy_counter import Event, Reading

UNTOUCHED, CONFIGURED, LIVE = 0x207, 0x20207, 0x60207
PERMITTED, NOT_PERMITTED = 0x600E7, 0x200E7
SMALL_FRAMES, LARGE_FRAMES = 0x200E7, 0x600E7
TASK_CLOCK = Event("task-clock", 1, 1)  # PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK: nanoseconds

needs_machine_layer = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")


class Seen:
    """A machine with AMX on which the call changes what is to be seen of it."""

    def __init__(self, base, before, after):
        self._base, self.state, self._after = base, before, after

    def __getattr__(self, name):
        return getattr(self._base, name)

    def call(self):
        """What amx.used() is asked about."""
        self.state = self._after
        return "result"

    def xgetbv(self, index):
        return self.state["xinuse"] if index == 1 else self._base.xgetbv(index)

    def frame_features(self):
        return self.state["frames"]

    def arch_prctl_get(self, op):
        if op == amx.permission.ARCH_GET_XCOMP_PERM:
            held = self.state["permitted"]
            return machine.Reply(-errno.EPERM) if held is None else machine.Reply(0, held)
        return self._base.arch_prctl_get(op)


def state(*, xinuse=UNTOUCHED, permitted=PERMITTED, frames=SMALL_FRAMES):
    return {"xinuse": xinuse, "permitted": permitted, "frames": frames}


def judge(monkeypatch, before, after, *, reading=None, trustworthy=True):
    """What amx.used() makes of a call on a Sapphire Rapids; `reading` None: no counter can be had."""

    @contextmanager
    def count():
        yield SimpleNamespace(read=lambda: reading, refusal="" if reading else "forbidden")

    monkeypatch.setattr(busy_counter, "count", count)
    monkeypatch.setattr(busy_counter, "is_trustworthy", lambda: trustworthy)
    seen = Seen(load("sapphire-rapids"), before, after)
    with machine.use(seen):
        found = amx.used(seen.call)
    assert found.result == "result"
    assert found.evidence
    return found


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        # tiles left in use prove it; in use before, they prove nothing
        (state(), state(xinuse=LIVE), Verdict.YES),
        (state(), state(xinuse=CONFIGURED), Verdict.YES),
        (state(xinuse=CONFIGURED), state(xinuse=LIVE), Verdict.YES),
        (state(xinuse=LIVE), state(xinuse=LIVE), Verdict.UNKNOWN),
        (state(xinuse=LIVE), state(), Verdict.UNKNOWN),
        # released, which the frames still show the first time
        (state(), state(frames=LARGE_FRAMES), Verdict.YES),
        (state(frames=LARGE_FRAMES), state(frames=LARGE_FRAMES), Verdict.UNKNOWN),
        (state(frames=None), state(frames=None), Verdict.UNKNOWN),
        (state(), state(), Verdict.UNKNOWN),
        (state(xinuse=None), state(xinuse=None), Verdict.UNKNOWN),
        # without permission nothing can have been executed; permission alone proves nothing
        (state(permitted=NOT_PERMITTED), state(permitted=NOT_PERMITTED), Verdict.NO),
        (state(permitted=NOT_PERMITTED), state(), Verdict.UNKNOWN),
        (state(permitted=None), state(permitted=None), Verdict.UNKNOWN),
        (state(permitted=None), state(permitted=None, xinuse=LIVE), Verdict.YES),
    ],
)
def test_what_is_concluded_without_a_counter(monkeypatch, before, after, verdict):
    assert judge(monkeypatch, before, after).verdict is verdict


@pytest.mark.parametrize(
    ("reading", "trustworthy", "verdict"),
    [
        (Reading(1600, True), True, Verdict.YES),
        (Reading(1600, False), True, Verdict.YES),
        (Reading(0, True), True, Verdict.NO),
        (Reading(0, False), True, Verdict.UNKNOWN),  # it did not run all the time
        (Reading(1600, True), False, Verdict.UNKNOWN),  # of another event, say
        (Reading(0, True), False, Verdict.UNKNOWN),
    ],
)
def test_what_is_concluded_from_the_counter(monkeypatch, reading, trustworthy, verdict):
    found = judge(monkeypatch, state(), state(), reading=reading, trustworthy=trustworthy)
    assert found.verdict is verdict


def test_tiles_left_in_use_outweigh_a_counter_of_nothing(monkeypatch):
    assert judge(monkeypatch, state(), state(xinuse=LIVE), reading=Reading(0, True)).verdict is Verdict.YES


def test_unknown_says_why(monkeypatch):
    text = str(judge(monkeypatch, state(frames=LARGE_FRAMES), state(frames=LARGE_FRAMES)))
    assert text == (
        "unknown: the AMX unit's cycles cannot be counted: forbidden; the calling thread has no tiles in "
        "use, as when it released them, or other threads worked; the calling thread had used tile data "
        "before the call already"
    )


@pytest.mark.parametrize("name", ["seccomp-eperm", "seccomp-enosys", "seccomp-eperm-read"])
def test_a_filter_that_hides_the_permission_is_no_sign_that_amx_was_not_used(name):
    """Permission may have been granted before the filter was there,."""
    with machine.use(load(name)):
        found = amx.used(sum, [1, 2])
    assert (found.verdict, found.result) == (Verdict.UNKNOWN, 3)
    assert "permission for tile data cannot be read" in str(found)


def test_without_amx_the_answer_is_no_and_the_reason():
    with machine.use(load("zen5-kvm")):
        found = amx.used(lambda a, *, b: a + b, 1, b=2)
    assert (found.verdict, found.result) == (Verdict.NO, 3)
    assert found.evidence == ("AMX cannot be used here: The processor has no AMX",)


def test_errors_of_the_call_pass_through():
    with pytest.raises(ZeroDivisionError):
        amx.used(lambda: 1 // 0)


def test_the_answer_is_no_truth_value():
    with pytest.raises(TypeError, match="verdict"):
        bool(amx.used(int))


EMULATED = """
import numpy as np, amx
from amx.emulation import Verdict
def product():
    amx.request()
    return amx.matmul(np.ones((16, 64), np.int8), np.ones((64, 16), np.int8))[0, 0]
with amx.emulate():
    print(amx.used(product), amx.used(product).result)
    print(amx.used(sum, [1, 2]), amx.used(sum, [1, 2]).result)
"""


@needs_machine_layer
def test_under_emulation_the_emulated_instructions_are_the_evidence():
    done = children.run_python("-c", EMULATED, AMX_TEST_LANE="", AMX_BACKEND="native")
    first, second = done.stdout.splitlines()
    assert first.startswith("yes: ")
    assert first.endswith("AMX instructions were emulated (spr, by amx.emulate()) 64")
    assert second == "no: 0 AMX instructions were emulated (spr, by amx.emulate()) 3"


@needs_machine_layer
@pytest.mark.skipif(SANITIZED, reason="a sanitizer's runtime must be the first library")
def test_a_program_under_the_launcher_sees_that_emulation():
    script = EMULATED.replace("with amx.emulate():", "if True:")
    command = ["-c", "import sys; from amx import cli; sys.exit(cli.main())", "emulate", "--"]
    done = children.run_python(*command, sys.executable, "-c", script, AMX_TEST_LANE="", AMX_BACKEND="native")
    first, second = done.stdout.splitlines()
    assert first.endswith("AMX instructions were emulated (spr, by amx emulate) 64")
    assert second == "no: 0 AMX instructions were emulated (spr, by amx emulate) 3"


@needs_machine_layer
def test_frames_have_room_for_what_the_thread_uses():
    """What the OS has enabled, but for tile data, for which only use makes room."""
    features = machine.Real().frame_features()
    if features is None:
        pytest.skip("signal frames here have no XSAVE area")
    assert features | xstate.XFEATURE_MASK_XTILE == xstate.xcr0() | xstate.XFEATURE_MASK_XTILE
    assert features & 0b11 == 0b11  # x87 and SSE


@pytest.mark.native
def test_the_first_use_makes_the_frames_larger_for_good():
    """XINUSE forgets it with TILERELEASE. In a process of its own, whose threads have used no tiles."""
    script = """
import amx
from amx import permission, xstate
from amx._lib import lib
permission.request()
print(xstate.has_touched())
config = ffi.new("uint8_t[64]", bytes([1] + [0] * 15 + [64, 0] * 8 + [0] * 16 + [16] * 8 + [0] * 8))
def work():
    lib.amx_ldtilecfg(0, config)
    lib.amx_tilezero(0, ffi.NULL, 0)
    lib.amx_tilerelease(0)
print(amx.used(work).verdict, bool(xstate.xinuse() & 0x60000), xstate.has_touched())
"""
    done = children.run_python("-c", script)
    assert done.stdout == "False\nyes False True\n", done.stderr


def spin():
    total = 0
    for i in range(200_000):
        total += i
    return total


def nanoseconds(counter):
    if counter.refusal:
        pytest.skip(counter.refusal)
    reading = counter.read()
    assert reading.is_complete
    return reading.count


@needs_machine_layer
def test_the_counter_counts_while_it_is_open():
    with busy_counter.count(TASK_CLOCK) as counter:
        before = nanoseconds(counter)
        spin()
        assert nanoseconds(counter) > before
    assert counter.read() is None


def spin_in_a_thread(go):
    """A thread that spins once it may; started, with a list that will have its CPU time."""
    taken = []

    def work():
        go.wait()
        spin()
        taken.append(time.thread_time_ns())

    thread = threading.Thread(target=work)
    thread.start()
    return thread, taken


@needs_machine_layer
@pytest.mark.parametrize("born", ["before", "after"])
def test_the_counter_counts_threads(born):
    """Those that there were when it began, and those that begin."""
    go = threading.Event()
    if born == "before":
        thread, taken = spin_in_a_thread(go)
    with busy_counter.count(TASK_CLOCK) as counter:
        own = time.thread_time_ns()
        if born == "after":
            thread, taken = spin_in_a_thread(go)
        go.set()
        thread.join()
        own = time.thread_time_ns() - own
        assert nanoseconds(counter) > own + taken[0] / 2


@needs_machine_layer
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "EACCES.*perf_event_paranoid is"),
        (errno.EPERM, "EPERM.*sandbox"),
        (errno.ENOENT, "ENOENT.*virtual machines"),
        (errno.EOPNOTSUPP, "EOPNOTSUPP.*virtual machines"),
        (errno.EMFILE, "EMFILE.*Too many open files"),
    ],
)
def test_a_refused_counter_says_why(monkeypatch, number, words):
    fake = SimpleNamespace(amx_perf_open=lambda *_: -number)
    monkeypatch.setattr(busy_counter, "lib", fake)
    with busy_counter.count() as counter:
        assert counter.read() is None
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(counter.refusal)


@pytest.mark.parametrize(
    ("before", "idle", "after", "complete", "trustworthy"),
    [
        (0, 0, 1600, True, True),
        (0, 0, 0, True, False),  # a hypervisor's counter that counts nothing
        (0, 7, 1600, True, False),  # another event, which loops count too
        (0, 0, 1600, False, False),
    ],
)
def test_a_counter_is_tried_before_it_is_trusted(monkeypatch, before, idle, after, complete, trustworthy):
    """By what it counts without and with products."""
    readings = iter([Reading(before, True), Reading(idle, True), Reading(after, complete)])

    @contextmanager
    def count(threads):
        yield SimpleNamespace(read=readings.__next__)

    monkeypatch.setattr(busy_counter, "count", count)
    monkeypatch.setattr(busy_counter, "_multiply", lambda: None)
    busy_counter.is_trustworthy.cache_clear()
    assert busy_counter.is_trustworthy() is trustworthy
    busy_counter.is_trustworthy.cache_clear()


@needs_machine_layer
def test_no_descriptor_is_left_open():
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with busy_counter.count(TASK_CLOCK):
            pass
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.native
def test_the_counter_is_judged_on_hardware():
    """Whatever the verdict, a product of ours is seen, or it is said that nothing can be."""
    script = """
import numpy as np, amx
from amx.emulation import Verdict
a = np.ones((64, 64), np.int8)
amx.request()
for _ in range(2):
    seen = amx.used(amx.matmul, a, a)
    print(seen)
    assert seen.verdict is not Verdict.NO
    assert seen.result[0, 0] == 64
"""
    done = children.run_python("-c", script, AMX_BACKEND="native")
    assert done.returncode == 0, done.stderr
