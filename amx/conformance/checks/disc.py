"""DISC: discovery, and what the interface does not offer."""

from __future__ import annotations

from errno import EFAULT, EINVAL

from amx.conformance.check import Judge, Need, check
from amx.conformance.show import XTILECFG, XTILEDATA, result

_TILES = XTILECFG | XTILEDATA


@check(
    "DISC-01",
    "ARCH_GET_XCOMP_SUPP answers with the features of XCR0.",
    authority="arch/x86/kernel/fpu/xstate.c, fpu_xstate_prctl(): max_features with the legacy ones",
    since="5.16",
)
def _(seen: Judge) -> None:
    seen.equal("ARCH_GET_XCOMP_SUPP", seen["result"], 0, result)
    if seen["xcr0"]:
        seen.equal("the mask, against XCR0", seen["supported"], seen["xcr0"], hex)
    else:
        seen.note(
            "The kernel does not use XSAVE (CPUID.1:ECX[27] is 0), so there is no XCR0 to compare with."
        )


@check(
    "DISC-02",
    "The reading operations refuse bad pointers and take unaligned ones.",
    authority="arch/x86/kernel/fpu/xstate.c, fpu_xstate_prctl(): put_user()",
    since="5.17",
)
def _(seen: Judge) -> None:
    for name in ("supp", "perm", "guest_perm"):
        null, one, kernel, unaligned = seen[name]
        operation = f"ARCH_GET_XCOMP_{name.upper()}"
        seen.equal(f"{operation}, NULL", null, -EFAULT, result)
        seen.equal(f"{operation}, address 1", one, -EFAULT, result)
        seen.equal(f"{operation}, an address of the kernel", kernel, -EFAULT, result)
        seen.equal(f"{operation}, an unaligned address", unaligned, 0, result)


@check(
    "DISC-03",
    "The numbers grant nothing with the arguments they had in earlier proposals.",
    authority="arch/x86/include/uapi/asm/prctl.h: both take a pointer. "
    "0x1021 took a mask as ARCH_SET_XCR0 in an early proposal, "
    "0x1021 and 0x1022 as ARCH_SET_STATE_ENABLE and ARCH_GET_STATE_ENABLE in versions 8 to 11 of the series",
    since="5.16",
    depends=("DISC-01", "PERM-01"),
)
def _(seen: Judge) -> None:
    for call in ("0x1021(7)", "0x1021(0x60000)", "0x1022(18)"):
        seen.equal(f"arch_prctl {call}", seen[call], -EFAULT, result)
    seen.equal("the permission afterwards", seen["after"], seen["before"], hex)


@check(
    "DISC-04",
    "The numbers around the five operations are unknown.",
    authority="arch/x86/kernel/process_64.c, do_arch_prctl_64(): -EINVAL by default. "
    "An operation to allocate ahead was proposed (version 5) and rejected",
    since="5.16",
)
def _(seen: Judge) -> None:
    for operation in ("0x1020", "0x1026", "0x1027"):
        seen.equal(f"arch_prctl {operation}", seen[operation], -EINVAL, result)
    if any(seen[operation] != -EINVAL for operation in ("0x1020", "0x1026", "0x1027")):
        seen.note(
            "A newer kernel may have given the number a meaning: then this check is what is out of date."
        )


@check(
    "DISC-05",
    "XCR0 and CPUID are the same before and after the request, in old and new threads, and on each CPU.",
    authority="arch/x86/kernel/fpu/xstate.c, fpu__init_cpu_xstate() writes XCR0 once a CPU. "
    "That XGETBV should follow permission was rejected on the list for the cost of the exits (August 2021)",
    since="5.16",
    needs={Need.AMX, Need.ALONE},
    depends=("PERM-02",),
)
def _(seen: Judge) -> None:
    before = seen["before"]
    for where in ("old thread, before", "after", "old thread, after", "new thread, after"):
        seen.equal(where, seen[where], before, _snapshot)
    if "on a CPU" not in seen:
        seen.note("More CPUs than cpu_set_t has: not each was looked at.")
    for number, snapshot in enumerate(seen.all("on a CPU")):
        seen.equal(f"CPU {number} of those allowed", snapshot, before, _snapshot)


def _snapshot(values: list[int]) -> str:
    return "XCR0 {:#x}, leaves 7 D.0 D.17 D.18 1D.0 1D.1 1E: {}".format(
        values[0], " ".join(f"{value:x}" for value in values[1:])
    )


@check(
    "DISC-06",
    "CPUID gives the tile components and the palette that software is built for.",
    authority="Intel SDM vol. 1, 13.2 and 18.2; "
    "arch/x86/kernel/fpu/xstate.c, check_xtile_data_against_struct(): the kernel relies on the sizes",
    since="5.16",
    needs={Need.TILES},
)
def _(seen: Judge) -> None:
    size, offset, flags, _ = seen["d17"]
    data_size, data_offset, data_flags, _ = seen["d18"]
    seen.equal("bytes of XTILECFG, CPUID.D.17:EAX", size, 64)
    seen.equal("bytes of XTILEDATA, CPUID.D.18:EAX", data_size, 8192)
    seen.equal("XTILECFG under XFD, CPUID.D.17:ECX[2]", flags >> 2 & 1, 0)
    seen.equal("XTILEDATA under XFD, CPUID.D.18:ECX[2]", data_flags >> 2 & 1, 1)
    total = seen["d0"][1]
    inside = offset >= 576 and offset + size <= data_offset and data_offset + data_size <= total
    seen.true(
        "XTILECFG before XTILEDATA, both within CPUID.D.0:EBX",
        inside,
        f"{offset} + {size}, {data_offset} + {data_size}, {total}",
        "offset + size up to the next",
    )
    seen.equal("highest palette, CPUID.1D.0:EAX", seen["1d0"][0], 1)
    eax, ebx, ecx, _ = seen["1d1"]
    palette = (eax & 0xFFFF, eax >> 16, ebx & 0xFFFF, ebx >> 16, ecx & 0xFFFF)
    seen.equal("palette 1: bytes in all, a tile, a row; tiles; rows", palette, (8192, 1024, 64, 8, 16))
    tmul = seen["1e0"][1]
    seen.equal("CPUID.1E.0:EBX: K, N", (tmul & 0xFF, tmul >> 8 & 0xFFFF), (16, 64))


@check(
    "DISC-07",
    "CPUID, /proc/cpuinfo and ARCH_GET_XCOMP_SUPP agree on whether there are tiles.",
    authority="arch/x86/kernel/fpu/xstate.c, fpu__init_system_xstate(): no tile data without XFD",
    since="5.16",
    needs={Need.ONE_MACHINE},
    covers=("gate",),
)
def _(seen: Judge) -> None:
    supported = seen["supported"] & _TILES
    seen.equal("ARCH_GET_XCOMP_SUPP", seen["result"], 0, result)
    seen.true(
        "both tile components are supported or none", supported in (0, _TILES), hex(supported), "both or none"
    )
    if supported == _TILES:
        seen.equal("CPUID.7.0:EDX[24], AMX-TILE, where SUPP has the tiles", seen["cpuid"], 1)
        seen.equal("amx_tile in /proc/cpuinfo where SUPP has the tiles", seen["cpuinfo"], 1)
        return
    enabled = seen["xcr0"] & _TILES == _TILES
    seen.true(
        "CPUID has AMX-TILE and XFD, XCR0 the tiles, but SUPP does not",
        not (seen["cpuid"] and seen["xfd"] and enabled),
        f"CPUID {seen['cpuid']}, XFD {seen['xfd']}, XCR0 {seen['xcr0']:#x}",
        "one of them lacks",
    )
    if seen["cpuid"] and not seen["xfd"]:
        seen.note(
            "CPUID offers tiles without XFD, which a hypervisor hides: the kernel rightly leaves them out."
        )
    elif seen["cpuid"]:
        seen.note(
            "CPUID offers tiles that are not enabled in XCR0: a hypervisor or the kernel's command line."
        )
    if seen["cpuinfo"] and not seen["cpuid"]:
        seen.note(
            "/proc/cpuinfo has amx_tile but CPUID here does not: something rewrites CPUID for this process."
        )


@check(
    "DISC-08",
    "AT_MINSIGSTKSZ has room for the largest signal frame and does not depend on permission.",
    authority="arch/x86/kernel/signal.c, init_sigframe_size(); Documentation/arch/x86/elf_auxvec.rst",
    since="5.14",
    covers=("K05",),
    depends=("DISC-01",),
)
def _(seen: Judge) -> None:
    magic2, ucontext_and_siginfo = 4, 440  # arch/x86/include/asm/sigframe.h, struct rt_sigframe
    least = seen["xsave"] + magic2 + ucontext_and_siginfo
    seen.true(
        "room for CPUID.D.0:EBX, magic2 and struct rt_sigframe",
        seen["before"] >= least,
        seen["before"],
        f">= {least}",
    )
    seen.equal("after the request", seen["after"], seen["before"])
    seen.equal("after exec", seen["after exec"], seen["before"])


@check(
    "DISC-09",
    "The 32-bit system call entry gives the same answers and grants the same permission.",
    authority="arch/x86/entry/syscalls/syscall_32.tbl: 384 is the same sys_arch_prctl()",
    since="5.16",
    needs={Need.OPT_IN, Need.APART},
)
def _(seen: Judge) -> None:
    seen.equal("ARCH_GET_XCOMP_SUPP by int $0x80", seen["supp 32"], seen["supp 64"], result)
    seen.equal("the mask", seen["supported 32"], seen["supported 64"], hex)
    seen.equal("ARCH_GET_XCOMP_PERM by int $0x80", seen["perm 32"], 0, result)
    seen.equal("the permission", seen["permission 32"], seen["permission 64"], hex)
    if seen["supported 64"] & XTILEDATA:
        seen.equal("a request by int $0x80", seen["request 32"], 0, result)
        seen.equal("tile data permitted", seen["permission 64"] & XTILEDATA, XTILEDATA, hex)
