"""INH: what a new process, thread or program inherits."""

from __future__ import annotations

import signal

from amx.conformance.check import Judge, KnownBug, Need, check
from amx.conformance.show import XTILECFG, XTILEDATA, result

_INHERIT = "arch/x86/kernel/fpu/core.c, fpu_clone() and fpu_inherit_perms()"
_CLONE = "arch/x86/kernel/fpu/core.c, fpu_clone(): saves the default features only"


def _data(permission: int) -> str:
    return "permitted" if permission & XTILEDATA else "not permitted"


@check(
    "INH-01",
    "fork copies the permission; later requests stay private on both sides.",
    authority=_INHERIT,
    since="5.16",
    needs={Need.AMX},
    depends=("PERM-01", "PERM-02"),
    covers=("K13",),
)
def _(seen: Judge) -> None:
    ended = [seen.exited(f"{number} child", f"the {number} child") for number in ("first", "second", "third")]
    if not all(ended):
        return
    seen.equal("a child requests", seen["child's request"], 0, result)
    seen.equal("tile data in that child", seen["child that requested"] & XTILEDATA, XTILEDATA, _data)
    seen.equal("tile data in its parent", seen["parent of a child that requested"] & XTILEDATA, 0, _data)
    seen.equal(
        "tile data in a child from before the parent's request",
        seen["child from before the request"] & XTILEDATA,
        0,
        _data,
    )
    seen.equal(
        "tile data in a child from after it",
        seen["child from after the request"] & XTILEDATA,
        XTILEDATA,
        _data,
    )
    seen.equal("signal at that child's first tile instruction", seen["child's touch"], 0)


@check(
    "INH-02",
    "Children that share memory and handlers have a permission of their own too.",
    authority=f"{_INHERIT}: every clone without CLONE_THREAD is a new process",
    since="5.16",
    needs={Need.AMX, Need.APART},
    depends=("PERM-01", "PERM-02"),
)
def _(seen: Judge) -> None:
    for how in ("vfork", "CLONE_VM", "CLONE_VM|CLONE_SIGHAND"):
        if not seen.exited(f"{how} ended", f"a child by {how}"):
            continue
        request, permission = seen[how]
        seen.equal(f"a child by {how} requests", request, 0, result)
        seen.equal("tile data in that child", permission & XTILEDATA, XTILEDATA, _data)
        seen.equal("the parent's permission afterwards", seen[f"after {how}"], seen["before"], hex)


def _state(seen: Judge, heir: str) -> None:
    seen.equal(f"XINUSE[18:17] in the {heir}", seen["xinuse"], XTILECFG, hex)
    seen.equal(f"the {heir}'s configuration is the parent's", seen["same configuration"], 1)
    seen.equal(f"bytes that are not zero in the {heir}'s tile", seen["bytes not zero"], 0)
    seen.equal("the parent's configuration afterwards is intact", seen["parent's configuration intact"], 1)
    seen.equal("the parent's tile afterwards is intact", seen["parent's data intact"], 1)


@check(
    "INH-03",
    "A child of fork has the parent's tile configuration and empty tiles; the parent keeps both.",
    authority=_CLONE,
    since="5.16",
    needs={Need.AMX, Need.KERNEL_TILES},
    depends=("INH-01",),
    covers=("K14",),
)
def _(seen: Judge) -> None:
    if seen.exited("child", "the child"):
        _state(seen, "child")


@check(
    "INH-04",
    "A new thread has its creator's tile configuration and empty tiles.",
    authority=_CLONE,
    since="5.16",
    needs={Need.AMX, Need.KERNEL_TILES},
    depends=("PERM-04",),
)
def _(seen: Judge) -> None:
    _state(seen, "thread")


@check(
    "INH-05",
    "exec drops permission, tile configuration and alternate stack, whoever calls it.",
    authority="arch/x86/kernel/fpu/core.c, fpu_flush_thread() and fpstate_reset(); fs/exec.c, "
    "begin_new_exec()",
    since="5.16",
    needs={Need.AMX, Need.KERNEL_TILES},
    depends=("PERM-01", "PERM-06", "DISC-08"),
    bugs=(KnownBug("registers of the old program after exec", "6.5, 6.4.13, 6.1.50 (1f69383b203e)"),),
    timeout=20.0,
)
def _(seen: Judge) -> None:
    for how, programs in (("by the leader", 10), ("by a thread", 1), ("spawned", 1)):
        seen.equal(f"programs after exec {how}", len(seen.all(how)), programs)
        for number, values in enumerate(seen.all(how)):
            permission, palette, xinuse, no_altstack, raised, _ = values
            after = f"exec {how}" + (f", {number + 1}" if how == "by the leader" else "")
            seen.equal(f"{after}: the permission", permission, seen["fresh"], hex)
            seen.equal(f"{after}: the palette", palette, 0)
            seen.equal(f"{after}: XINUSE[18:17]", xinuse, 0, hex)
            seen.equal(f"{after}: the alternate stack is disabled", no_altstack, 1)
            seen.equal(f"{after}: signal at a tile instruction", raised, int(signal.SIGILL))
    seen.exited("spawned ended", "the spawned program")
