"""What the operating system enabled: XCR0, the AMX components, the sizes of frames and alternate stacks.

Sources: SDM vol. 1 chapter 13 and CPUID leaf 0xD for the registers and layouts; arch/x86/kernel/signal.c and
fpu/xstate.c for frames and stacks. Nothing here depends on permission: CPUID and XCR0 are the same before
and after.
"""

from __future__ import annotations

from dataclasses import dataclass

from amx import machine as _machine
from amx.machine import Machine

__all__ = [
    "AT_MINSIGSTKSZ",
    "XFEATURE_XTILECFG",
    "XFEATURE_XTILEDATA",
    "AltstackNeed",
    "Component",
    "Layout",
    "altstack_need",
    "has_touched",
    "layout",
    "xcr0",
    "xinuse",
]

XFEATURE_XTILECFG = 17
XFEATURE_XTILEDATA = 18
XFEATURE_MASK_XTILECFG = 1 << XFEATURE_XTILECFG
XFEATURE_MASK_XTILEDATA = 1 << XFEATURE_XTILEDATA
XFEATURE_MASK_XTILE = XFEATURE_MASK_XTILECFG | XFEATURE_MASK_XTILEDATA

LEAF_XSTATE = 0x0D
AT_MINSIGSTKSZ = 51  # uapi/asm/auxvec.h, since Linux 5.14
SC_MINSIGSTKSZ = 249  # glibc bits/confname.h, since 2.34; Python has no name for them before 3.14
SC_SIGSTKSZ = 250


@dataclass(frozen=True, slots=True)
class Component:
    """One state component of CPUID.D.n: bytes, offset in the standard format, and its flags.

    `xfd` says that XFD can make first use trap, which is what lets the kernel hand out AMX on request.
    """

    number: int
    size: int
    offset: int
    supervisor: bool
    align64: bool
    xfd: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """The XSAVE area of this machine, in bytes.

    `components` are the AMX ones that CPUID describes, whether or not XCR0 enables them. `standard_size` is
    what XCR0 as it is needs (CPUID.D.0:EBX), `standard_limit` what all the CPU supports would (ECX),
    `compacted_size` the compacted format with the supervisor states in use (CPUID.D.1:EBX).
    """

    xcr0: int | None
    supported: int
    components: tuple[Component, ...]
    standard_size: int
    standard_limit: int
    compacted_size: int

    @property
    def enabled(self) -> bool:
        """Whether XCR0 enables both AMX components."""
        return self.xcr0 is not None and self.xcr0 & XFEATURE_MASK_XTILE == XFEATURE_MASK_XTILE


@dataclass(frozen=True, slots=True)
class AltstackNeed:
    """What the kernel wants of an alternate signal stack, in bytes; 0 where the kernel or libc does not say.

    `before` is the least that a request for permission accepts of every thread's stack: AT_MINSIGSTKSZ, the
    worst-case frame. `after` is a size that sigaltstack accepts once permission is granted. The kernel's own
    limit there is up to 116 bytes lower, depending on its configuration, so that one number is safe for
    both. `sc_minsigstksz` and `sc_sigstksz` are what sysconf says.
    """

    before: int
    after: int
    sc_minsigstksz: int
    sc_sigstksz: int


def xcr0() -> int | None:
    """XCR0, the components the kernel enabled; None without OSXSAVE."""
    machine = _machine.current()
    return machine.xgetbv(0)


def xinuse() -> int | None:
    """XINUSE of this thread: the enabled components not in their INIT state; None where unreadable.

    Bit 17 is set by LDTILECFG, permission or not; bit 18 only while tile data is live.
    """
    machine = _machine.current()
    return machine.xgetbv(1)


def layout() -> Layout:
    """The XSAVE area as CPUID leaf 0xD describes it."""
    machine = _machine.current()
    if machine.cpuid(0).eax < LEAF_XSTATE:
        return Layout(xcr0(), 0, (), 0, 0, 0)
    main, extended = machine.cpuid(LEAF_XSTATE, 0), machine.cpuid(LEAF_XSTATE, 1)
    return Layout(
        xcr0=xcr0(),
        supported=main.edx << 32 | main.eax,
        components=tuple(
            component
            for number in (XFEATURE_XTILECFG, XFEATURE_XTILEDATA)
            if (component := _component(machine, number)).size
        ),
        standard_size=main.ebx,
        standard_limit=main.ecx,
        compacted_size=extended.ebx,
    )


def has_touched() -> bool | None:
    """Whether this thread has used tile data at any time since it began; None where it cannot be told.

    The first use makes its state in the kernel larger, for good, and so its signal frames, which are looked
    at here (arch/x86/kernel/fpu/xstate.c, __xfd_enable_feature; seen on hardware: docs/abi.md). XINUSE
    forgets with TILERELEASE; this does not.
    """
    features = _machine.current().frame_features()
    return None if features is None else bool(features & XFEATURE_MASK_XTILEDATA)


def altstack_need() -> AltstackNeed:
    """Sizes an alternate signal stack must have in a process that uses AMX."""
    machine = _machine.current()
    worst_frame = machine.getauxval(AT_MINSIGSTKSZ)
    return AltstackNeed(
        before=worst_frame,
        after=worst_frame,
        sc_minsigstksz=machine.sysconf(SC_MINSIGSTKSZ) or 0,
        sc_sigstksz=machine.sysconf(SC_SIGSTKSZ) or 0,
    )


def _component(machine: Machine, number: int) -> Component:
    leaf = machine.cpuid(LEAF_XSTATE, number)
    return Component(
        number=number,
        size=leaf.eax,
        offset=leaf.ebx,
        supervisor=bool(leaf.ecx & 1),
        align64=bool(leaf.ecx >> 1 & 1),
        xfd=bool(leaf.ecx >> 2 & 1),
    )
