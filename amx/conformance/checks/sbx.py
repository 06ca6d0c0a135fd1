"""SBX: permission in sandboxes."""

from __future__ import annotations

from errno import ENOSYS, EPERM

from amx.conformance.check import Judge, Need, check
from amx.conformance.show import XTILEDATA, ending, fault, result

_SECCOMP = "kernel/seccomp.c, __seccomp_filter()"


@check(
    "SBX-01",
    "Under a seccomp filter a request ends as the filter says, and ARCH_GET_XCOMP_PERM unmasks one that "
    "lies.",
    authority=f"{_SECCOMP}; the permission itself is untouched by filters",
    since="5.16",
    needs={Need.APART},
    depends=("DISC-01", "PERM-01"),
)
def _(seen: Judge) -> None:
    for name, expected in (("EPERM", -EPERM), ("ENOSYS", -ENOSYS), ("lie", 0)):
        if not seen.exited(f"{name} ended", f"the child under ERRNO({name if expected else 0})"):
            continue
        request, read, permission = seen[name]
        seen.equal("its request", request, expected, result)
        seen.equal("ARCH_GET_XCOMP_PERM in it", read, 0, result)
        seen.equal("tile data permitted in it", permission & XTILEDATA, 0, hex)
    if seen.exited("trap ended", "the child under TRAP"):
        trapped = [fault(caught) for caught in seen.all("trapped")]
        seen.equal("its request", ", ".join(trapped) or "no signal", "SIGSYS SYS_SECCOMP")
        seen.equal("tile data permitted in it", seen["trap"][2] & XTILEDATA, 0, hex)
    seen.equal("how the child under KILL ended", ending(seen["kill ended"]), "SIGSYS")


@check(
    "SBX-02",
    "Permission survives a later filter and the loss of privilege.",
    authority="arch/x86/kernel/fpu/xstate.c: nothing but exec takes it back",
    since="5.16",
    needs={Need.AMX},
    depends=("PERM-02",),
)
def _(seen: Judge) -> None:
    seen.equal(f"signal at a tile instruction as user {seen['user']} under a filter", seen["touch"], 0)
