"""Which lane a run is in: AMX of this machine, an emulator's tiles, the model of the kernel, or none."""

from __future__ import annotations

import enum

from amx import cpu, machine
from amx.causes import Cause
from amx.diagnosis import Diagnosis

__all__ = ["Lane", "lane_of"]

# The machine offers AMX, and something about it is broken: what the checks are for, so they run. With every
# other cause AMX is not there for this process, and checks that need it say so.
BROKEN = frozenset(
    {
        Cause.SECCOMP_LIES,
        Cause.ALTSTACK_OF_THIS_THREAD,  # of the interpreter; exec drops it
        Cause.ALTSTACK_OF_ANOTHER_THREAD,
        Cause.ALLOCATION_FAILED,
        Cause.WRONG_CONSTANT,
        Cause.GUEST_LOCKED,
        Cause.INSTRUCTION_FAULTS,
        Cause.PROBE_HUNG,
        Cause.UNEXPECTED,
    }
)


class Lane(enum.Enum):
    """What stands behind the tile instructions and the kernel's answers."""

    NATIVE = "native"  # AMX of this machine
    EMULATED = "emulated"  # tiles execute, and are not the CPU's: `amx emulate`, or Intel SDE
    MODEL = "model"  # amx-provoke's model of the kernel, for the suite's own tests
    NONE = "none"


def lane_of(diagnosis: Diagnosis) -> Lane:
    """The lane that `amx.explain(probe=True)` shows.

    Our own emulator says that it is there. Another that also answers for the kernel is known by
    /proc/cpuinfo, which comes from the kernel itself and does not list what CPUID announces.
    """
    if diagnosis.cause is Cause.EMULATOR:
        return Lane.EMULATED
    if diagnosis.usable or diagnosis.cause in BROKEN:
        if diagnosis.emulated:
            return Lane.EMULATED
        flags = machine.current().cpuinfo_flags()
        return Lane.NATIVE if not flags or cpu.Feature.AMX_TILE.value in flags else Lane.EMULATED
    return Lane.NONE
