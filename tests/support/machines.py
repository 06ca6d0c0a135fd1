"""The machines in tests/data/machines/, and mixtures of them with the one the tests run on."""

import ctypes
from pathlib import Path

from amx import machine, recording

DIRECTORY = Path(__file__).parents[1] / "data/machines"
NAMES = sorted(path.stem for path in DIRECTORY.glob("*.json"))


def load(name):
    """A machine from a file, by the file's name."""
    return recording.load(DIRECTORY / f"{name}.json")


def kernel_knows_permissions():
    """Whether this kernel answers ARCH_GET_XCOMP_SUPP, as Linux does since 5.16 on any processor."""
    sys_arch_prctl, arch_get_xcomp_supp = 158, 0x1021
    supported = ctypes.c_uint64()
    return ctypes.CDLL(None).syscall(sys_arch_prctl, arch_get_xcomp_supp, ctypes.byref(supported)) == 0


class RealKernel(machine.Real):
    """A processor with AMX, out of a file, on the real kernel: shows what kernel and filters answer.

    That the kernel supports AMX (ARCH_GET_XCOMP_SUPP) also comes from the file where the kernel answers at
    all, since without that nothing is requested.
    """

    def __init__(self):
        self.recorded = load("sapphire-rapids")

    def cpuid(self, leaf, subleaf=0):
        return self.recorded.cpuid(leaf, subleaf)

    def xgetbv(self, index):
        return self.recorded.xgetbv(index)

    def cpuinfo_flags(self):
        return self.recorded.cpuinfo_flags()

    def arch_prctl_get(self, op):
        reply = super().arch_prctl_get(op)
        return self.recorded.arch_prctl_get(op) if op == 0x1021 and reply.result == 0 else reply

    def probe_child(self, action, op=0, component=0):
        probe = super().probe_child(action, op, component)
        succeeded = probe.step is machine.Step.DONE and probe.result == 0
        return self.recorded.probe_child(action, op) if op == 0x1021 and succeeded else probe
