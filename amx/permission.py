"""Permission to use tile data: read it, request it, and allocate a thread's tile state before it is needed.

Permission belongs to the process. It cannot be taken back, fork hands it on, exec drops it. It is read from
the kernel each time; nothing is remembered here. Source: arch/x86/kernel/fpu/xstate.c, fpu_xstate_prctl and
__xstate_request_perm. Under `amx.emulate()` and `amx emulate` a model of that kernel answers.
"""

from __future__ import annotations

import errno
import os
import signal
from dataclasses import dataclass

from amx import causes, xstate
from amx import machine as _machine
from amx.causes import Cause
from amx.errors import AllocationError, AmxPermissionError, AmxUnavailableError, errno_name, signal_name
from amx.machine import Reply, Step
from amx.xstate import XFEATURE_MASK_XTILE, XFEATURE_MASK_XTILEDATA, XFEATURE_XTILEDATA

__all__ = [
    "ARCH_GET_XCOMP_GUEST_PERM",
    "ARCH_GET_XCOMP_PERM",
    "ARCH_GET_XCOMP_SUPP",
    "ARCH_REQ_XCOMP_GUEST_PERM",
    "ARCH_REQ_XCOMP_PERM",
    "XFEATURE_XTILEDATA",
    "Altstack",
    "altstack",
    "granted",
    "permitted",
    "prefault",
    "request",
    "supported",
]

# uapi/asm/prctl.h. Written out, because headers before 5.16 lack them.
ARCH_GET_XCOMP_SUPP = 0x1021
ARCH_GET_XCOMP_PERM = 0x1022
ARCH_REQ_XCOMP_PERM = 0x1023
ARCH_GET_XCOMP_GUEST_PERM = 0x1024
ARCH_REQ_XCOMP_GUEST_PERM = 0x1025

OPERATION_NAMES = {
    ARCH_GET_XCOMP_SUPP: "ARCH_GET_XCOMP_SUPP",
    ARCH_GET_XCOMP_PERM: "ARCH_GET_XCOMP_PERM",
    ARCH_REQ_XCOMP_PERM: "ARCH_REQ_XCOMP_PERM",
    ARCH_GET_XCOMP_GUEST_PERM: "ARCH_GET_XCOMP_GUEST_PERM",
    ARCH_REQ_XCOMP_GUEST_PERM: "ARCH_REQ_XCOMP_GUEST_PERM",
}
SI_KERNEL = 128  # uapi/asm-generic/siginfo.h


@dataclass(frozen=True, slots=True)
class Altstack:
    """A thread's alternate signal stack against what AMX needs; in bytes, `size` 0 when there is none."""

    size: int
    needed: int

    @property
    def sufficient(self) -> bool:
        """Whether a request would accept it: none at all, or one that holds the largest frame."""
        return self.size == 0 or self.size >= self.needed

    def __str__(self) -> str:
        return f"{self.size} bytes, {self.needed} needed" if self.size else "none"


def supported() -> bool:
    """Whether the kernel offers both AMX components (ARCH_GET_XCOMP_SUPP)."""
    reply = _machine.current().arch_prctl_get(ARCH_GET_XCOMP_SUPP)
    return reply.result == 0 and reply.value & XFEATURE_MASK_XTILE == XFEATURE_MASK_XTILE


def permitted(*, guest: bool = False) -> int | None:
    """The components this process may use, as a mask of component bits; with `guest`, its virtual machines.

    Bit 17 is set without any request, so only bit 18, `XFEATURE_XTILEDATA`, says that AMX may be used. None
    where it cannot be read: the kernel does not know the operation, or a filter denies it.
    """
    reply = _read(guest=guest)
    return reply.value if reply.result == 0 else None


def granted(*, guest: bool = False) -> bool:
    """Whether the kernel says now that this process, or with `guest` its guests, may use tile data.

    False also where it says nothing, which `permitted` tells apart.
    """
    return bool((permitted(guest=guest) or 0) & XFEATURE_MASK_XTILEDATA)


def request(*, guest: bool = False) -> None:
    """Ask the kernel for permission to use tile data, for the whole process and for good.

    Does nothing when it is granted already. Success is confirmed by reading the permission back. With
    `guest`, permission for virtual machines, which is separate and must come before the first virtual CPU.

    Raises
    ------
    AmxPermissionError: the kernel or a filter refused, nothing was granted, or it cannot be read back;
    carries errno, cause and remedy.
    AmxUnavailableError: there is no AMX to ask for.
    """
    if granted(guest=guest):
        return
    op = ARCH_REQ_XCOMP_GUEST_PERM if guest else ARCH_REQ_XCOMP_PERM
    result = _machine.current().arch_prctl(op, XFEATURE_XTILEDATA)
    if result == 0 and granted(guest=guest):
        return
    raise _refusal(op, result, guest=guest)


def prefault() -> None:
    """Let the kernel allocate this thread's tile state now, by executing TILEZERO under the fault guard.

    Without it the first tile instruction of a thread allocates, and ends the process when there is no
    memory: TILEZERO has no memory operand, so SIGSEGV with SI_KERNEL there can only be the kernel's failed
    allocation. That failure could not be provoked for real (the kernel takes 16 KiB of vmalloc space, which
    no limit covers); the guard is tested with other faults in its place. Live tile data of this thread is
    not touched; a configuration without data stays.

    Raises
    ------
    AllocationError: the kernel had no memory; it is a MemoryError.
    AmxPermissionError: permission is not granted; this function does not request it.
    AmxUnavailableError: the instruction faulted in another way.
    """
    if not granted():
        read = _read()
        cause = causes.of_read(read.result) if read.result else Cause.NOT_GRANTED
        raise AmxPermissionError(
            "prefault() without permission",
            cause=cause.words,
            remedy=cause.remedy,
            operation="tilezero",
            errno=-read.result or None,
        )
    probe = _machine.current().probe_tilezero()
    if probe.step is Step.DONE:
        return
    if probe.step is Step.TILEZERO and probe.signal == signal.SIGSEGV and probe.code == SI_KERNEL:
        raise AllocationError(
            "tilezero raised SIGSEGV (SI_KERNEL)",
            cause=Cause.ALLOCATION_FAILED.words,
            remedy=Cause.ALLOCATION_FAILED.remedy,
            operation="tilezero",
        )
    instruction = probe.step.name.lower()
    raise AmxUnavailableError(
        f"{instruction} raised {signal_name(probe.signal)} (si_code {probe.code})",
        cause=Cause.INSTRUCTION_FAULTS.words,
        remedy=Cause.INSTRUCTION_FAULTS.remedy,
        operation=instruction,
        evidence=(f"si_addr {probe.address:#x}",),
    )


def altstack() -> Altstack:
    """How this thread's alternate signal stack stands against what AMX needs."""
    return Altstack(size=_machine.current().altstack().size, needed=xstate.altstack_need().before)


def _read(*, guest: bool = False) -> Reply:
    return _machine.current().arch_prctl_get(ARCH_GET_XCOMP_GUEST_PERM if guest else ARCH_GET_XCOMP_PERM)


def _refusal(op: int, result: int, *, guest: bool) -> AmxUnavailableError:
    call = f"arch_prctl({OPERATION_NAMES[op]}, {XFEATURE_XTILEDATA})"
    read = _read(guest=guest)
    held = f"{read.value:#x}" if read.result == 0 else f"unreadable ({errno_name(-read.result)})"
    if result != 0:
        cause, what = causes.of_request(result, guest=guest), f"{call} failed: {os.strerror(-result)}"
    elif read.result != 0:
        result, cause = read.result, causes.of_read(read.result, answered=True)
        what = f"{call} returned 0, and reading it back failed: {os.strerror(-result)}"
    else:
        cause, what = Cause.SECCOMP_LIES, f"{call} returned 0 and granted nothing"
    machine = _machine.current()
    kernel = machine.kernel()
    kind = AmxUnavailableError if result == -errno.EOPNOTSUPP else AmxPermissionError
    return kind(
        what,
        cause=cause.words,
        remedy=cause.remedy,
        operation="arch_prctl",
        errno=-result or None,
        evidence=(
            f"permission {held}",
            f"alternate stack: {altstack()}",
            *([f"emulated: {machine.emulated}"] if machine.emulated else []),
            kernel.release,
        ),
    )
