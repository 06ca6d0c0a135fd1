"""The lane of a run: a kernel that offers tiles and does not grant them is what the checks are for."""

import errno
import json

import machines
import pytest

from amx import diagnosis, machine
from amx.causes import Cause
from amx.lane import Lane, lane_of
from amx.recording import Recorded

GET_PERM, REQ_PERM = "0x1022", "0x1023"
SANDBOX = {errno.EPERM: Cause.SECCOMP_EPERM, errno.ENOSYS: Cause.SECCOMP_ENOSYS}


def refusing(operation, number):
    """What a Sapphire Rapids shows whose kernel offers tiles and answers an operation with an errno."""
    facts = json.loads((machines.DIRECTORY / "sapphire-rapids.json").read_text())
    facts["arch_prctl"][operation] = {"result": -number, "then": facts["arch_prctl"][GET_PERM]["value"]}
    if operation == REQ_PERM:
        facts["child"] = {"tilezero": {"step": "TILEZERO", "signal": 4, "code": 1}}
    with machine.use(Recorded(facts)):
        found = diagnosis.explain(probe=True)
        return found.cause, lane_of(found)


@pytest.mark.parametrize("operation", [GET_PERM, REQ_PERM])
@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL, errno.EBUSY, errno.EIO])
def test_a_kernel_that_contradicts_itself_is_checked(operation, number):
    """Nothing but the kernel itself answers so: every row that needs AMX would be skipped otherwise."""
    assert refusing(operation, number) == (Cause.UNEXPECTED, Lane.NATIVE)


@pytest.mark.parametrize("operation", [GET_PERM, REQ_PERM])
@pytest.mark.parametrize("number", SANDBOX)
def test_a_sandbox_takes_amx_away(operation, number):
    assert refusing(operation, number) == (SANDBOX[number], Lane.NONE)


def test_an_alternate_stack_of_the_interpreter_is_dropped_by_exec():
    assert refusing(REQ_PERM, errno.ENOSPC) == (Cause.ALTSTACK_OF_ANOTHER_THREAD, Lane.NATIVE)


@pytest.mark.parametrize(
    ("name", "lane"),
    [
        ("sapphire-rapids", Lane.NATIVE),
        ("seccomp-lies", Lane.NATIVE),
        ("emulator", Lane.EMULATED),
        ("kernel-disagrees", Lane.NONE),
        ("gvisor", Lane.NONE),
        ("kernel-5.10", Lane.NONE),
        ("zen5-kvm", Lane.NONE),
    ],
)
def test_the_lane_of_recorded_machines(name, lane):
    with machine.use(machines.load(name)):
        assert lane_of(diagnosis.explain(probe=True)) is lane
