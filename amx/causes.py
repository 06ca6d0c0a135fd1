"""Why AMX cannot be used: every cause this package can tell apart, in plain words, with what helps.

The words stand here once, for errors and for the diagnosis alike.
"""

from __future__ import annotations

import enum
import errno
import re

from amx import cpu, xstate
from amx import machine as _machine
from amx.cpu import Processor
from amx.machine import Kernel

__all__ = [
    "Cause",
    "altstack_cause",
    "of_missing_flags",
    "of_read",
    "of_request",
    "of_unknown_operation",
    "release",
]

FIRST_KERNEL = (5, 16)  # arch/x86/kernel/fpu/xstate.c got dynamic components there


class Cause(enum.Enum):
    """A reason, `words`, and what to do about it, `remedy`."""

    NO_MACHINE_LAYER = (
        "This build has no machine layer: it is not x86-64 Linux, or was built with AMX_FORCE_STUBS",
        "Install the package on x86-64 Linux without AMX_FORCE_STUBS; products run here without it",
    )
    CPU_WITHOUT_AMX = (
        "The processor has no AMX",
        "Use an Intel Xeon from Sapphire Rapids (2023) on, or let products run without it",
    )
    HIDDEN_BY_HYPERVISOR = (
        "The processor model has AMX, and the hypervisor hides its CPUID flags",
        "Choose an instance type or CPU template of the virtual machine that passes AMX on",
    )
    HIDDEN_BY_FIRMWARE = (
        "The processor model has AMX, and CPUID on bare metal does not announce it: "
        "turned off in firmware or fused off",
        "Look for AMX in the firmware setup",
    )
    OSXSAVE_CLEAR = (
        "The operating system does not manage extended state: CPUID.1:ECX[27] (OSXSAVE) is clear",
        "Boot the kernel without noxsave",
    )
    XCR0_NOT_OFFERED = (
        "The hypervisor announces AMX but does not let XCR0 enable its components "
        "(CPUID.D.0:EAX[18:17] are not both set)",
        "Tell whoever runs the hypervisor: it needs guest permission for XTILEDATA before the first vCPU",
    )
    XCR0_NOT_ENABLED = (
        "The kernel left the AMX components out of XCR0 although the processor offers them",
        "Look in the kernel's boot messages for x86/fpu and in its command line for noxsave and clearcpuid",
    )
    KERNEL_TOO_OLD = (
        "The kernel is older than 5.16 and knows nothing of AMX",
        "Run Linux 5.16 or newer, or a distribution's kernel with AMX backported",
    )
    GVISOR = (
        "This is gVisor's kernel, which does not offer AMX",
        "Run in a container without gVisor (runsc), for example on another node pool",
    )
    OPERATION_UNKNOWN = (
        "The kernel does not know the AMX operations of arch_prctl though its release says it should: "
        "gVisor under another name, or a kernel that is not Linux",
        "Run on Linux 5.16 or newer itself",
    )
    PALETTE_MISSING = (
        "The hypervisor announces AMX and gives no usable palette (CPUID.1D): tile instructions would fault",
        "The virtual machine's CPUID leaves 1DH and 1EH must be passed through; tell whoever runs it",
    )
    KERNEL_DISAGREES = (
        "CPUID and XCR0 show AMX, and the kernel does not support it: the kernel has it turned off, "
        "or an emulator makes up CPUID",
        "Use amx.explain(probe=True): it tries a tile in a child, which tells the two apart",
    )
    EMULATOR = (
        "Tiles execute although the kernel does not grant them: "
        "an emulator (Intel SDE, for example) runs this process",
        "Nothing is wrong with the machine; an emulator's tiles need no permission of the kernel",
    )
    SECCOMP_EPERM = (
        "A seccomp filter denies the system call with EPERM",
        "Allow arch_prctl in the sandbox's profile (Docker's default profile does)",
    )
    SECCOMP_ENOSYS = (
        "A seccomp filter answers the system call with ENOSYS",
        "Allow arch_prctl in the sandbox's profile (Docker's default profile does)",
    )
    SECCOMP_SIGSYS = (
        "A seccomp filter answers the system call with SIGSYS, which ends a process that does not expect it",
        "Allow arch_prctl in the sandbox's filter, or request permission before the filter is installed",
    )
    SECCOMP_KILLS = (
        "The process that makes the system call is killed, by a seccomp filter in all likelihood",
        "Allow arch_prctl in the sandbox's filter, or request permission before the filter is installed",
    )
    SECCOMP_LIES = (
        "The request was answered with success and nothing was granted: "
        "a seccomp filter returns 0 in the kernel's place",
        "Allow arch_prctl in the sandbox's filter instead of faking its success",
    )
    ALTSTACK_OF_THIS_THREAD = (
        "This thread's alternate signal stack is smaller than a signal frame with AMX",
        "Give sigaltstack at least AT_MINSIGSTKSZ bytes",
    )
    ALTSTACK_OF_ANOTHER_THREAD = (
        "Another thread's alternate signal stack is too small, since this one's is not "
        "(a runtime such as Rust before 1.72 or OCaml may have made it)",
        "Request permission before the library that starts that thread is loaded",
    )
    ALLOCATION_FAILED = (
        "The kernel could not allocate the tile state of this thread",
        "Free memory; the kernel takes it from vmalloc space at a thread's first tile instruction",
    )
    WRONG_CONSTANT = (
        "EFAULT from a request means that the kernel took the number for a pointer: the operation is not "
        "ARCH_REQ_XCOMP_PERM (0x1023); 0x1021 and 0x1022 are often mistaken for it",
        "Use amx.permission.request(), or 0x1023 in the program that asks",
    )
    GUEST_LOCKED = (
        "Guest permission is frozen, because this process or its parent has created a virtual CPU without it",
        "Request guest permission before the first KVM_CREATE_VCPU, in a freshly executed process if need be",
    )
    NOT_REQUESTED = (
        "Permission has not been requested yet in this process",
        "Call amx.request(); amx.matmul and amx.TileContext do it by themselves",
    )
    NOT_GRANTED = (
        "This process has no permission for tile data",
        "Call amx.request() first",
    )
    INSTRUCTION_FAULTS = (
        "Tile instructions fault although everything announces them",
        "Report the evidence to whoever runs the hypervisor or kernel",
    )
    PROBE_HUNG = (
        "The child that tried it did not come back",
        "Look for a tracer or a supervisor (seccomp notification) that holds it",
    )
    UNEXPECTED = (
        "The kernel answered in a way that Linux does not document",
        "Report the evidence with the kernel's release",
    )

    def __init__(self, words: str, remedy: str) -> None:
        self.words = words
        self.remedy = remedy

    def __str__(self) -> str:
        return self.words


def of_request(result: int, *, guest: bool = False, offered: bool = False) -> Cause:
    """The cause of a refused request, from arch_prctl's -errno and this thread's alternate stack.

    offered: ARCH_GET_XCOMP_SUPP has the tile data, which Linux then grants.
    """
    match -result:
        case errno.EFAULT:
            return Cause.WRONG_CONSTANT
        case errno.ENOSPC:
            return altstack_cause() or Cause.ALTSTACK_OF_ANOTHER_THREAD
        case errno.EOPNOTSUPP if not offered:  # the kernel knows the operation and has no tile data to grant
            return (
                Cause.KERNEL_DISAGREES
                if cpu.Feature.AMX_TILE in cpu.announced()
                else of_missing_flags(cpu.processor())
            )
        case errno.EBUSY if guest:
            return Cause.GUEST_LOCKED
        case _:
            return of_read(result, answered=offered)


def of_read(result: int, *, answered: bool = False) -> Cause:
    """The cause of a refused read, from arch_prctl's -errno; Linux itself refuses none that it knows.

    answered: another of the operations was, so that the kernel knows them.
    """
    match -result:
        case errno.EPERM:
            return Cause.SECCOMP_EPERM
        case errno.ENOSYS:
            return Cause.SECCOMP_ENOSYS
        case errno.EINVAL if not answered:
            return of_unknown_operation(_machine.current().kernel())
        case _:
            return Cause.UNEXPECTED


def of_missing_flags(processor: Processor) -> Cause:
    """Why CPUID announces no AMX."""
    if not processor.model_has_amx:
        return Cause.CPU_WITHOUT_AMX
    return Cause.HIDDEN_BY_HYPERVISOR if processor.virtual else Cause.HIDDEN_BY_FIRMWARE


def altstack_cause() -> Cause | None:
    """ALTSTACK_OF_THIS_THREAD if a request would be refused because of it."""
    stack = _machine.current().altstack()
    if 0 < stack.size < xstate.altstack_need().before:
        return Cause.ALTSTACK_OF_THIS_THREAD
    return None


def of_unknown_operation(kernel: Kernel) -> Cause:
    """What EINVAL to all operations means: gVisor and old kernels answer alike, and uname tells them apart.

    gVisor reports 4.4 and a build date of its own (pkg/sentry/syscalls/linux/linux64.go).
    """
    if "Sun Jan 10 15:06:54 PST 2016" in kernel.version or "gvisor" in kernel.version.lower():
        return Cause.GVISOR
    return Cause.KERNEL_TOO_OLD if release(kernel) < FIRST_KERNEL else Cause.OPERATION_UNKNOWN


def release(kernel: Kernel) -> tuple[int, ...]:
    """Major and minor of a release string, (0,) when it has none."""
    found = re.match(r"(\d+)\.(\d+)", kernel.release)
    return tuple(map(int, found.groups())) if found else (0,)
