"""SBX: permission in sandboxes."""

from __future__ import annotations

import signal
from errno import ENOSYS, EPERM

from amx.conformance.check import Judge, Need, check
from amx.conformance.show import XTILEDATA, ending, fault, result

_SECCOMP = "kernel/seccomp.c, __seccomp_filter()"


def _end(observed: dict[str, int]) -> dict[str, int]:
    return {name: value for name, value in observed.items() if name != "core"}


@check(
    "SBX-01",
    "Under a seccomp filter a request ends as the filter says, and ARCH_GET_XCOMP_PERM unmasks one that "
    "lies.",
    authority=f"{_SECCOMP}; the permission itself is untouched by filters",
    since="5.16",
    depends=("DISC-01",),
)
def _(seen: Judge) -> None:
    for name, expected in (("EPERM", -EPERM), ("ENOSYS", -ENOSYS), ("lie", 0)):
        request, read, permission = seen[name]
        seen.equal(
            f"the request under a filter with ERRNO({name if expected else 0})", request, expected, result
        )
        seen.equal("ARCH_GET_XCOMP_PERM under it", read, 0, result)
        seen.equal("tile data permitted", permission & XTILEDATA, 0, hex)
        seen.equal("the child ended", _end(seen[f"{name} ended"]), {"exit": 0}, ending)
    trapped = {name: seen["trapped"][name] for name in ("signal", "code")}
    seen.equal(
        "the request under a filter with TRAP", trapped, {"signal": int(signal.SIGSYS), "code": 1}, fault
    )
    seen.equal("tile data permitted", seen["trap"][2] & XTILEDATA, 0, hex)
    seen.equal(
        "a child under a filter with KILL ended",
        _end(seen["kill ended"]),
        {"signal": int(signal.SIGSYS)},
        ending,
    )


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
