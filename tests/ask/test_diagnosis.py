"""explain() names the first failing rung, its cause and its remedy, on recorded and constructed machines."""

import errno
import json

import children
import machines
import pytest

import amx
from amx import diagnosis, machine
from amx._lib import lib
from amx.causes import Cause
from amx.diagnosis import Outcome, RungName
from amx.recording import ProcessEndedError, Recorded

# The machine, how it is asked, the first rung that fails, why.
FAILURES = [
    ("zen5-kvm", {}, "cpuid", Cause.CPU_WITHOUT_AMX),
    ("zen5-kvm", {"probe": True}, "cpuid", Cause.CPU_WITHOUT_AMX),
    ("sierra-forest", {}, "cpuid", Cause.CPU_WITHOUT_AMX),
    ("ice-lake", {}, "cpuid", Cause.CPU_WITHOUT_AMX),
    ("hypervisor-hides-flags", {}, "cpuid", Cause.HIDDEN_BY_HYPERVISOR),
    ("firmware-hides-flags", {}, "cpuid", Cause.HIDDEN_BY_FIRMWARE),
    ("noxsave", {}, "xcr0", Cause.OSXSAVE_CLEAR),
    ("hypervisor-hides-xcr0", {}, "xcr0", Cause.XCR0_NOT_OFFERED),
    ("kernel-leaves-xcr0", {}, "xcr0", Cause.XCR0_NOT_ENABLED),
    ("kernel-5.10", {}, "xcr0", Cause.KERNEL_TOO_OLD),
    ("kernel-5.15", {}, "xcr0", Cause.KERNEL_TOO_OLD),
    ("hypervisor-hides-palette", {}, "palette", Cause.PALETTE_MISSING),
    ("kernel-5.10-einval", {}, "kernel", Cause.KERNEL_TOO_OLD),
    ("gvisor", {}, "kernel", Cause.GVISOR),
    ("gvisor", {"probe": True}, "kernel", Cause.GVISOR),
    ("unknown-operation", {}, "kernel", Cause.OPERATION_UNKNOWN),
    ("kernel-disagrees", {}, "kernel", Cause.KERNEL_DISAGREES),
    ("kernel-disagrees", {"probe": True}, "kernel", Cause.KERNEL_DISAGREES),
    ("emulator", {}, "kernel", Cause.KERNEL_DISAGREES),
    ("emulator", {"probe": True}, "kernel", Cause.EMULATOR),
    ("seccomp-eperm", {}, "kernel", Cause.SECCOMP_EPERM),
    ("seccomp-eperm", {"probe": True}, "kernel", Cause.SECCOMP_EPERM),
    ("seccomp-eperm-request", {"probe": True}, "request", Cause.SECCOMP_EPERM),
    ("seccomp-eperm-request", {"request": True}, "request", Cause.SECCOMP_EPERM),
    ("seccomp-eperm-read", {}, "permission", Cause.SECCOMP_EPERM),
    ("seccomp-eperm-read", {"probe": True}, "permission", Cause.SECCOMP_EPERM),
    ("seccomp-eperm-read", {"probe": True, "request": True}, "permission", Cause.SECCOMP_EPERM),
    ("seccomp-enosys", {}, "kernel", Cause.SECCOMP_ENOSYS),
    ("seccomp-trap", {"probe": True}, "kernel", Cause.SECCOMP_SIGSYS),
    ("seccomp-kill", {"probe": True, "request": True}, "kernel", Cause.SECCOMP_KILLS),
    ("seccomp-hangs", {"probe": True, "request": True}, "request", Cause.PROBE_HUNG),
    ("seccomp-lies", {"probe": True}, "confirmed", Cause.SECCOMP_LIES),
    ("seccomp-lies", {"request": True}, "confirmed", Cause.SECCOMP_LIES),
    ("altstack-too-small", {}, "request", Cause.ALTSTACK_OF_THIS_THREAD),
    ("altstack-too-small", {"request": True}, "request", Cause.ALTSTACK_OF_THIS_THREAD),
    ("altstack-of-another-thread", {"request": True}, "request", Cause.ALTSTACK_OF_ANOTHER_THREAD),
    (
        "altstack-of-another-thread",
        {"probe": True, "request": True},
        "request",
        Cause.ALTSTACK_OF_ANOTHER_THREAD,
    ),
    ("wrong-constant", {"request": True}, "request", Cause.WRONG_CONSTANT),
    ("allocation-fails", {"probe": True}, "executes", Cause.ALLOCATION_FAILED),
    ("allocation-fails", {"request": True}, "executes", Cause.ALLOCATION_FAILED),
    ("tiles-fault", {"probe": True}, "executes", Cause.INSTRUCTION_FAULTS),
]
USABLE = [
    "sapphire-rapids",
    "granite-rapids-bare-metal",
    "granite-rapids-d",
    "granite-rapids-firecracker-hides-fp16",
    "diamond-rapids",
    "permission-granted",
]
NAMED_ELSEWHERE = {
    Cause.NO_MACHINE_LAYER,  # below
    Cause.UNEXPECTED,  # below
    Cause.NOT_REQUESTED,  # below
    Cause.NOT_GRANTED,  # test_permission.py
    Cause.GUEST_LOCKED,  # test_permission.py
}


@pytest.mark.parametrize(("name", "asked", "rung", "cause"), FAILURES)
def test_the_first_failing_rung_and_its_cause(name, asked, rung, cause):
    with machine.use(machines.load(name)):
        found = amx.explain(**asked)
    assert (found.failure.name.value, found.cause) == (rung, cause)
    assert cause.words in str(found)
    assert cause.remedy in str(found)


@pytest.mark.parametrize("asked", [{}, {"probe": True}, {"request": True}, {"probe": True, "request": True}])
@pytest.mark.parametrize("name", USABLE)
def test_a_machine_with_amx_has_no_failing_rung(name, asked):
    with machine.use(machines.load(name)):
        found = amx.explain(**asked)
    assert found.usable
    assert found.cause is None
    tried = {rung.name for rung in found.rungs if rung.outcome is Outcome.OK}
    if asked:
        assert RungName.EXECUTES in tried


def test_what_cannot_be_read_back_is_no_lie_and_no_emulator():
    """A filter that refuses only ARCH_GET_XCOMP_PERM: the request is granted, and the tile executes."""
    with machine.use(machines.load("seccomp-eperm-read")):
        found = amx.explain(probe=True)
    assert found.rung(RungName.REQUEST).outcome is Outcome.OK
    assert found.rung(RungName.CONFIRMED).cause is Cause.SECCOMP_EPERM
    assert (found.rung(RungName.EXECUTES).outcome, found.rung(RungName.EXECUTES).cause) == (Outcome.OK, None)


def test_every_cause_has_a_test():
    assert {cause for *_, cause in FAILURES} | NAMED_ELSEWHERE == set(Cause)


@pytest.mark.parametrize("name", machines.NAMES)
def test_the_ladder_is_always_complete(name):
    with machine.use(machines.load(name)):
        rungs = amx.explain(probe=True).rungs
    expected = ["cpuid", "xcr0", "palette", "kernel", "permission", "request", "confirmed", "executes"]
    assert [rung.name.value for rung in rungs] == expected


@pytest.mark.parametrize("name", [*USABLE, "zen5-kvm", "gvisor", "altstack-too-small", "kernel-disagrees"])
def test_available_is_what_explain_says(name):
    with machine.use(machines.load(name)):
        assert amx.available() == amx.explain().usable


class Untouched(Recorded):
    """A machine on which nothing may be requested, forked or executed."""

    def arch_prctl(self, op, argument):
        raise AssertionError("a request")

    def probe_tilezero(self):
        raise AssertionError("an execution")

    def probe_child(self, action, op=0, component=0):
        raise AssertionError("a fork")


@pytest.mark.parametrize("name", USABLE)
def test_without_being_asked_to_nothing_is_requested_forked_or_executed(name):
    facts = json.loads((machines.DIRECTORY / f"{name}.json").read_text())
    with machine.use(Untouched(facts)):
        assert amx.explain().usable
        assert amx.available()
        assert amx.available("int8")


def test_the_kernel_is_not_called_where_the_processor_has_no_amx():
    facts = json.loads((machines.DIRECTORY / "seccomp-kill.json").read_text())
    without = json.loads((machines.DIRECTORY / "zen5-kvm.json").read_text())
    with machine.use(Recorded({**facts, "cpuid": without["cpuid"], "xcr0": without["xcr0"]})):
        assert not amx.available()


def test_reading_under_a_killing_filter_ends_the_process_unless_probed():
    with machine.use(machines.load("seccomp-kill")), pytest.raises(ProcessEndedError):
        amx.explain()


def test_available_takes_features_by_name_and_by_value():
    with machine.use(machines.load("sapphire-rapids")):
        assert amx.available("bf16")
        assert amx.available("AMX_INT8")
        assert amx.available(amx.cpu.Feature.AMX_TILE)
        assert not amx.available("fp16")
        with pytest.raises(ValueError, match="amx_fp16"):
            amx.available("fp12")


def test_permission_that_was_not_requested_is_no_failure():
    with machine.use(machines.load("sapphire-rapids")):
        found = amx.explain()
    assert found.rung(RungName.PERMISSION).outcome is Outcome.SKIPPED
    assert Cause.NOT_REQUESTED.words in str(found)


def test_requesting_changes_the_permission_rung():
    with machine.use(machines.load("sapphire-rapids")):
        amx.explain(request=True)
        assert amx.explain().rung(RungName.PERMISSION).outcome is Outcome.OK


def test_a_palette_without_rows_is_none():
    facts = json.loads((machines.DIRECTORY / "sapphire-rapids.json").read_text())
    facts["cpuid"]["1d.1"] = "0x4002000 0x80040 0x0 0x0"
    with machine.use(Recorded(facts)):
        assert amx.explain().cause is Cause.PALETTE_MISSING


def test_rungs_that_fail_for_an_earlier_reason_repeat_it():
    with machine.use(machines.load("hypervisor-hides-xcr0")):
        found = amx.explain(probe=True)
    assert found.rung(RungName.KERNEL).cause is found.rung(RungName.XCR0).cause is Cause.XCR0_NOT_OFFERED


def test_einval_shows_all_five_operations():
    with machine.use(machines.load("gvisor")):
        evidence = " ".join(amx.explain().rung(RungName.KERNEL).evidence)
    assert evidence.count("EINVAL") == 5


def test_an_errno_that_linux_does_not_document_is_unexpected():
    facts = json.loads((machines.DIRECTORY / "sapphire-rapids.json").read_text())
    facts["arch_prctl"]["0x1023"] = {"result": -errno.EIO, "then": "0x202e7"}
    with machine.use(Recorded(facts)):
        assert amx.explain(request=True).cause is Cause.UNEXPECTED


def test_a_build_without_machine_layer_says_so_on_its_first_rung():
    class Stub(machine.Real):
        @property
        def stub(self):
            return True

    with machine.use(Stub()):
        found = amx.explain(probe=True, request=True)
        assert (found.rungs[0].name, found.cause) == (RungName.BUILD, Cause.NO_MACHINE_LAYER)
        assert not amx.available()


def test_the_failure_is_an_error_to_raise():
    with machine.use(machines.load("gvisor")):
        error = amx.explain().error()
    assert isinstance(error, amx.errors.AmxUnavailableError)
    assert error.cause == Cause.GVISOR.words
    assert error.remedy == Cause.GVISOR.remedy
    assert any("kernel" in line for line in error.evidence)


def test_there_is_no_error_without_failure():
    with machine.use(machines.load("sapphire-rapids")), pytest.raises(ValueError, match="without failure"):
        amx.explain().error()


needs_layer = pytest.mark.skipif(lib.amx_is_stub() == 1, reason="this build has no machine layer")

# Real filters in real processes. The processor is out of a file where this one has no AMX to ask for.
EXPLAIN = """
import machines, amx
from amx import machine
machine.CHILD_TIMEOUT_MS = 1500
with machine.use(machines.RealKernel()):
    found = amx.explain(probe=True)
print(found.failure.name.value, found.cause.name)
"""
ALL = "0x1021,0x1022,0x1023,0x1024,0x1025"
SCRIPT = children.SUPPORT / "under_seccomp.py"


@needs_layer
@pytest.mark.parametrize(
    ("action", "operations", "expected"),
    [
        (f"errno={errno.EPERM}", ALL, "kernel SECCOMP_EPERM"),
        (f"errno={errno.EPERM}", "0x1022", "permission SECCOMP_EPERM"),
        (f"errno={errno.EPERM}", "0x1023", "request SECCOMP_EPERM"),
        (f"errno={errno.ENOSYS}", ALL, "kernel SECCOMP_ENOSYS"),
        (f"errno={errno.ENOSYS}", "0x1023", "request SECCOMP_ENOSYS"),
        ("trap", ALL, "kernel SECCOMP_SIGSYS"),
        ("trap", "0x1023", "request SECCOMP_SIGSYS"),
        ("kill", ALL, "kernel SECCOMP_KILLS"),
        ("kill", "0x1023", "request SECCOMP_KILLS"),
        ("errno=0", "0x1023", "confirmed SECCOMP_LIES"),
        ("listen", "0x1023", "request PROBE_HUNG"),
        ("listen", ALL, "kernel PROBE_HUNG"),
    ],
)
def test_a_real_filter_is_found_in_a_child(action, operations, expected):
    if operations != ALL and not machines.kernel_knows_permissions():
        expected = "kernel KERNEL_TOO_OLD"  # which comes before what is asked with this operation
    result = children.run_python(SCRIPT, action, operations, EXPLAIN)
    assert (children.how_it_ended(result), result.stdout.strip()) == (0, expected), result.stderr


@needs_layer
def test_a_real_filter_that_kills_ends_a_process_that_asks_without_probing():
    code = EXPLAIN.replace("probe=True", "probe=False")
    result = children.run_python(SCRIPT, "kill", ALL, code)
    assert children.how_it_ended(result) == "SIGSYS"


@needs_layer
@pytest.mark.skipif(amx.available(), reason="with AMX the kernel is asked, and the filter kills")
@pytest.mark.parametrize("action", ["kill", "trap", "errno=1"])
def test_available_survives_any_filter_where_the_processor_has_no_amx(action):
    result = children.run_python(SCRIPT, action, ALL, "import amx; print(amx.available())")
    assert (children.how_it_ended(result), result.stdout) == (0, "False\n"), result.stderr


def test_this_machine_is_explained_without_surprise():
    found = amx.explain(probe=True)
    assert found.cause not in (Cause.UNEXPECTED, Cause.PROBE_HUNG)
    assert diagnosis.available() or not found.usable
