"""Permission is read from the kernel, requested for good, confirmed by reading back."""

import errno
import json

import children
import machines
import pytest

import amx
from amx import machine, permission
from amx._lib import lib
from amx.causes import Cause
from amx.errors import AllocationError, AmxPermissionError, AmxUnavailableError
from amx.machine import Probe, Step
from amx.recording import Recorded


def facts(name):
    return json.loads((machines.DIRECTORY / f"{name}.json").read_text())


def test_the_constants_are_the_kernels():
    assert (
        permission.ARCH_GET_XCOMP_SUPP,
        permission.ARCH_GET_XCOMP_PERM,
        permission.ARCH_REQ_XCOMP_PERM,
        permission.ARCH_GET_XCOMP_GUEST_PERM,
        permission.ARCH_REQ_XCOMP_GUEST_PERM,
        permission.XFEATURE_XTILEDATA,
    ) == (0x1021, 0x1022, 0x1023, 0x1024, 0x1025, 18)


def test_bit_17_which_is_always_set_is_no_permission():
    with machine.use(machines.load("sapphire-rapids")):
        assert permission.permitted() == 0x202E7
        assert not permission.granted()


def test_a_request_is_granted_and_stays():
    with machine.use(machines.load("sapphire-rapids")):
        assert permission.supported()
        permission.request()
        assert permission.granted()
        permission.request()
        assert permission.permitted() == 0x602E7


def test_guest_permission_is_separate():
    with machine.use(machines.load("sapphire-rapids")):
        permission.request(guest=True)
        assert permission.granted(guest=True)
        assert not permission.granted()


def test_permission_that_is_held_is_not_requested_again():
    class Held(Recorded):
        def arch_prctl(self, op, argument):
            raise AssertionError("a request")

    with machine.use(Held(facts("permission-granted"))):
        permission.request()


@pytest.mark.parametrize(
    ("name", "number", "cause"),
    [
        ("altstack-too-small", errno.ENOSPC, Cause.ALTSTACK_OF_THIS_THREAD),
        ("altstack-of-another-thread", errno.ENOSPC, Cause.ALTSTACK_OF_ANOTHER_THREAD),
        ("wrong-constant", errno.EFAULT, Cause.WRONG_CONSTANT),
        ("seccomp-eperm", errno.EPERM, Cause.SECCOMP_EPERM),
        ("seccomp-enosys", errno.ENOSYS, Cause.SECCOMP_ENOSYS),
        ("gvisor", errno.EINVAL, Cause.GVISOR),
        ("kernel-5.10-einval", errno.EINVAL, Cause.KERNEL_TOO_OLD),
        ("seccomp-lies", None, Cause.SECCOMP_LIES),
    ],
)
def test_a_refusal_is_explained(name, number, cause):
    with machine.use(machines.load(name)), pytest.raises(AmxPermissionError) as raised:
        permission.request()
    assert (raised.value.errno, raised.value.cause) == (number, cause.words)
    assert "ARCH_REQ_XCOMP_PERM" in raised.value.what
    assert raised.value.remedy == cause.remedy


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("zen5-kvm", Cause.CPU_WITHOUT_AMX),
        ("hypervisor-hides-flags", Cause.HIDDEN_BY_HYPERVISOR),
        ("kernel-disagrees", Cause.KERNEL_DISAGREES),
    ],
)
def test_where_there_is_nothing_to_grant_it_is_unavailable(name, cause):
    with machine.use(machines.load(name)), pytest.raises(AmxUnavailableError) as raised:
        permission.request()
    assert not isinstance(raised.value, AmxPermissionError)
    assert (raised.value.errno, raised.value.cause) == (errno.EOPNOTSUPP, cause.words)


def test_a_frozen_guest_permission_is_explained():
    with machine.use(machines.load("guest-permission-locked")):
        with pytest.raises(AmxPermissionError) as raised:
            permission.request(guest=True)
        permission.request()
    assert (raised.value.errno, raised.value.cause) == (errno.EBUSY, Cause.GUEST_LOCKED.words)


def test_what_cannot_be_read_is_not_taken_for_what_is_not_granted():
    with machine.use(machines.load("seccomp-eperm-read")):
        assert permission.permitted() is None
        for ask in (permission.request, amx.prefault):
            with pytest.raises(AmxPermissionError) as raised:
                ask()
            assert (raised.value.errno, raised.value.cause) == (errno.EPERM, Cause.SECCOMP_EPERM.words)
        assert permission.permitted(guest=True) == 0x202E7


def test_prefault_wants_permission_and_does_not_request_it():
    with machine.use(machines.load("sapphire-rapids")):
        with pytest.raises(AmxPermissionError) as raised:
            amx.prefault()
        assert not permission.granted()
    assert raised.value.cause == Cause.NOT_GRANTED.words


def test_prefault_with_permission_executes():
    with machine.use(machines.load("permission-granted")):
        amx.prefault()


def test_a_failed_allocation_is_a_memory_error():
    with machine.use(machines.load("allocation-fails")):
        amx.request()
        with pytest.raises(AllocationError) as raised:
            amx.prefault()
    assert isinstance(raised.value, MemoryError)
    assert raised.value.cause == Cause.ALLOCATION_FAILED.words


@pytest.mark.parametrize(
    "probe",
    [
        Probe(Step.TILEZERO, signal=4, code=2),
        Probe(Step.TILEZERO, signal=11, code=1),
        Probe(Step.LDTILECFG, signal=11, code=128),  # a configuration the CPU refuses: #GP looks the same
    ],
)
def test_other_faults_are_no_memory_errors(probe):
    class Faulting(Recorded):
        def probe_tilezero(self):
            return probe

    with machine.use(Faulting(facts("permission-granted"))), pytest.raises(AmxUnavailableError) as raised:
        amx.prefault()
    assert raised.value.operation == probe.step.name.lower()
    assert not isinstance(raised.value, MemoryError)


@pytest.mark.parametrize(
    ("name", "expected", "sufficient"),
    [
        ("sapphire-rapids", (0, 11952), True),
        ("altstack-too-small", (8192, 11952), False),
        ("altstack-of-another-thread", (59760, 11952), True),
    ],
)
def test_the_alternate_stack_against_what_amx_needs(name, expected, sufficient):
    with machine.use(machines.load(name)):
        found = permission.altstack()
    assert (found.size, found.needed) == expected
    assert found.sufficient is sufficient


@pytest.mark.skipif(lib.amx_is_stub() == 1, reason="this build has no machine layer")
def test_reading_on_this_machine_changes_nothing():
    before = permission.permitted(), permission.permitted(guest=True)
    permission.supported(), permission.granted(), permission.altstack(), amx.available(), amx.explain()
    amx.explain(probe=True)
    assert (permission.permitted(), permission.permitted(guest=True)) == before


IN_A_CHILD = """
import ctypes, mmap, os, sys, threading
import amx
from amx import permission

class Stack(ctypes.Structure):
    _fields_ = [("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]

page = ctypes.create_string_buffer(8192)
def shrink():
    stack = Stack(ctypes.addressof(page), 0, 8192)
    assert ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None) == 0
def attempt():
    try:
        amx.request()
        return "granted"
    except amx.AmxError as error:
        return error.cause
"""


@pytest.mark.native
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("print(attempt())", "granted"),
        (
            "amx.request(); pid = os.fork()\nif pid == 0: os._exit(permission.granted())\n"
            "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))",
            "1",
        ),
        ("shrink(); print(attempt())", Cause.ALTSTACK_OF_THIS_THREAD.words),
        (
            "ready, done = threading.Event(), threading.Event()\n"
            "def other(): shrink(); ready.set(); done.wait()\n"
            "threading.Thread(target=other).start(); ready.wait(); print(attempt()); done.set()",
            Cause.ALTSTACK_OF_ANOTHER_THREAD.words,
        ),
        ("amx.request(); amx.prefault(); print(amx.xstate.xinuse() >> 17 & 3)", "0"),
        (
            "amx.request(); threads = [threading.Thread(target=amx.prefault) for _ in range(8)]\n"
            "for each in threads: each.start()\nfor each in threads: each.join()\nprint('fine')",
            "fine",
        ),
    ],
)
def test_on_a_machine_with_amx(code, expected):
    result = children.run_python("-c", IN_A_CHILD + code, PYTHONFAULTHANDLER="")
    assert result.stdout.strip() == expected, result.stderr


@pytest.mark.native
def test_exec_drops_permission():
    code = "import amx, subprocess, sys; amx.request(); print(subprocess.run([sys.executable, '-c', "
    code += (
        "'from amx import permission; print(permission.granted())'], capture_output=True, text=True).stdout)"
    )
    assert children.run_python("-c", code).stdout.strip() == "False"
