# ruff: noqa: D102 (the methods are documented at amx.machine.Machine)
"""What `amx.emulate()` puts in the place of the real machine: the emulated CPU, and the modelled kernel.

What is not AMX's stays the real machine's: vendor, brand, AVX-512, the kernel's release, the stacks.
"""

from __future__ import annotations

import errno
import os

from amx._lib import ffi, lib
from amx.errors import EmulationError
from amx.machine import AlternateStack, ChildAction, Kernel, Probe, Real, Registers, Reply

__all__ = ["Emulated"]

CPUINFO_FLAGS = frozenset({"amx_tile", "amx_int8", "amx_bf16"})  # those that Linux prints


class Emulated:
    """The machine of this process while AMX is emulated in it."""

    stub = False

    def __init__(self, cpu: str) -> None:
        self.cpu = cpu
        self._real = Real()

    @property
    def emulated(self) -> str:
        return f"{self.cpu}, by amx.emulate()"

    def cpuid(self, leaf: int, subleaf: int = 0) -> Registers:
        registers = ffi.new("uint32_t[4]")
        _check(lib.amx_trap_cpuid(leaf, subleaf, registers), "cpuid")
        return Registers(*registers)

    def xgetbv(self, index: int) -> int | None:
        value = ffi.new("uint64_t *")
        result = lib.amx_trap_xgetbv(index, value)
        if result == -errno.EINVAL:  # the host has no XGETBV with this index
            return None
        _check(result, "xgetbv")
        return int(value[0])

    def arch_prctl_get(self, op: int) -> Reply:
        value = ffi.new("uint64_t *")
        result = self.arch_prctl(op, int(ffi.cast("uintptr_t", value)))
        return Reply(result, int(value[0]))

    def arch_prctl(self, op: int, argument: int) -> int:
        return lib.amx_trap_arch_prctl(op, argument)

    def getauxval(self, kind: int) -> int:
        return self._real.getauxval(kind)  # also AT_MINSIGSTKSZ: signal frames have no tiles here

    def sysconf(self, name: int) -> int | None:
        return self._real.sysconf(name)

    def altstack(self) -> AlternateStack:
        return self._real.altstack()

    def frame_features(self) -> int | None:
        return None  # the frames are the real CPU's

    def cpuinfo_flags(self) -> frozenset[str]:
        found = self._real.cpuinfo_flags()
        return found | CPUINFO_FLAGS if found else found

    def kernel(self) -> Kernel:
        return self._real.kernel()

    # The C sides of both know that AMX is emulated.
    def probe_tilezero(self) -> Probe:
        return self._real.probe_tilezero()

    def probe_child(self, action: ChildAction, op: int = 0, component: int = 0) -> Probe:
        return self._real.probe_child(action, op, component)


def _check(result: int, operation: str) -> None:
    if result != 0:
        raise EmulationError(
            f"{operation} of the emulated CPU failed",
            cause=os.strerror(-result),
            remedy="Use the machine only while amx.emulate() is active",
            operation=operation,
            errno=-result,
        )
