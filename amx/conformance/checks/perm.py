"""PERM: asking for permission."""

from __future__ import annotations

from errno import EINVAL, EOPNOTSUPP

from amx.conformance.check import Judge, KnownBug, Need, check, version
from amx.conformance.show import XTILECFG, XTILEDATA, result

_REQUEST = "arch/x86/kernel/fpu/xstate.c, __xstate_request_perm()"
_NAMES = "ARCH_REQ_XCOMP_PERM"
_BEFORE_APX = 19  # XFEATURE_MAX up to 6.15 (arch/x86/include/asm/fpu/types.h)
_NEVER_KNOWN = 32  # a kernel that takes this for a component does not look at XFEATURE_MAX
_REQUESTS = 16 * 1000  # of PERM-08


def _granted(seen: Judge, what: str, permission: int) -> None:
    seen.equal(what, permission & XTILEDATA, XTILEDATA, hex)


@check(
    "PERM-01",
    "A fresh program may use every supported component but the tile data.",
    authority="arch/x86/kernel/fpu/xstate.c, fpu_xstate_prctl(); fpu/core.c, fpstate_reset(): "
    "the default features, which are those without XFD",
    since="5.16",
    depends=("DISC-01",),
    covers=("K07",),
)
def _(seen: Judge) -> None:
    seen.equal("ARCH_GET_XCOMP_PERM", seen["perm"], 0, result)
    seen.equal("the mask: SUPP without XTILEDATA", seen["permission"], seen["supported"] & ~XTILEDATA, hex)


@check(
    "PERM-02",
    "A request adds the tile data and nothing else.",
    authority=_REQUEST,
    since="5.16",
    needs={Need.AMX},
    depends=("PERM-01",),
    covers=("K09", "K10"),
    bugs=(KnownBug("the request replaced the whole mask by the requested bit", "5.18 (063452fd94d1)"),),
)
def _(seen: Judge) -> None:
    seen.equal(f"{_NAMES}(18)", seen["request"], 0, result)
    seen.equal("the permission afterwards", seen["after"], seen["before"] | XTILEDATA, hex)


@check(
    "PERM-03",
    "A request for another component is EOPNOTSUPP, for a number the kernel does not know EINVAL; neither "
    "grants.",
    authority="arch/x86/kernel/fpu/xstate.c, xstate_request_perm(): XFEATURE_MAX and xstate_prctl_req[]",
    since="5.16 (19 is known since 6.16)",
    depends=("DISC-01", "PERM-01"),
)
def _(seen: Judge) -> None:
    below: list[int] = seen["below 64"]
    others = [number for number in range(64) if number != 18]
    known = max((number for number in others if below[number] == -EOPNOTSUPP), default=-1) + 1
    known = max(known, _BEFORE_APX)
    for number in others:
        expected = -EOPNOTSUPP if number < known else -EINVAL
        if number in (0, 17, 19, 20, 63) or below[number] != expected:
            seen.equal(f"{_NAMES}({number})", below[number], expected, result)
    for name, value in zip(("64", "-1", "1 << 32 | 18"), seen["beyond"], strict=True):
        seen.equal(f"{_NAMES}({name})", value, -EINVAL, result)
    seen.equal("the permission afterwards", seen["after"], seen["before"], hex)
    if "unsupported tile data" in seen:
        seen.equal(f"{_NAMES}(18) where SUPP lacks it", seen["unsupported tile data"], -EOPNOTSUPP, result)
    has_apx = version(seen["release"])[:2] >= (6, 16)
    least = _BEFORE_APX + has_apx
    seen.true(
        f"the first number that {seen['release']} does not know",
        least <= known < _NEVER_KNOWN,
        known,
        f"{least} to {_NEVER_KNOWN - 1}",
    )
    if known > _BEFORE_APX and not has_apx:
        seen.note("Linux knows APX (19) since 6.16: it has been brought back, or 19 is refused wrongly.")


@check(
    "PERM-04",
    "Threads that are older than the request may use tiles.",
    authority=f"{_REQUEST}: permission is kept once a process, in the group leader",
    since="5.16",
    needs={Need.AMX},
    depends=("PERM-02",),
)
def _(seen: Judge) -> None:
    _granted(seen, "permission as the older thread reads it", seen["thread's permission"])
    seen.equal("signal at its first tile instruction", seen["touch"], 0)


@check(
    "PERM-05",
    "A repeated request is 0, and a refused one changes nothing.",
    authority=_REQUEST,
    since="5.16",
    needs={Need.AMX},
    depends=("PERM-02",),
)
def _(seen: Judge) -> None:
    seen.true(f"{_NAMES}(17)", seen["refused"] < 0, result(seen["refused"]), "an error")
    seen.equal("the permission after the refusal", seen["after refusal"], seen["before"], hex)
    seen.equal("the first request", seen["first"], 0, result)
    seen.equal("the second request", seen["second"], 0, result)
    seen.equal("the permission after the second", seen["after second"], seen["after first"], hex)
    seen.equal(
        "the permission after another refusal", seen["after second refusal"], seen["after second"], hex
    )


@check(
    "PERM-06",
    "Any thread may request, for all.",
    authority=_REQUEST,
    since="5.16",
    needs={Need.AMX},
    depends=("PERM-02",),
)
def _(seen: Judge) -> None:
    seen.equal("the request by another thread than the leader", seen["request"], 0, result)
    _granted(seen, "permission as the leader reads it", seen["leader's permission"])
    seen.equal("signal at the leader's first tile instruction", seen["touch"], 0)


@check(
    "PERM-07",
    "Requests and tiles work after the leader has exited.",
    authority="arch/x86/kernel/fpu/xstate.h, xstate_get_group_perm(): reads the leader's task, a zombie then",
    since="5.16",
    needs={Need.AMX},
    depends=("PERM-02", "PERM-06"),
    timeout=15.0,
)
def _(seen: Judge) -> None:
    if seen["leader"] == "?":
        seen.note("/proc does not tell whether the leader had exited.")
    else:
        seen.equal("the leader's state", seen["leader"], "Z")
    seen.equal("the request", seen["request"], 0, result)
    _granted(seen, "the permission", seen["permission"])
    seen.equal("signal at the first tile instruction", seen["touch"], 0)


@check(
    "PERM-08",
    "Concurrent requests never fail, whatever threads come and go.",
    authority=f"{_REQUEST} under sighand->siglock, without the -EBUSY of earlier versions of the series",
    since="5.16",
    needs={Need.AMX, Need.ALONE},
    depends=("PERM-02", "PERM-06"),
    timeout=20.0,
)
def _(seen: Judge) -> None:
    seen.equal("requests that failed", seen["failures"], 0)
    if seen["failures"]:
        seen.note(f"The first failure was {result(seen['first error'])}.")
    seen.true("requests", seen["requests"] >= _REQUESTS, seen["requests"], f"{_REQUESTS} or more")
    churned = seen["threads meanwhile"]
    seen.true("threads created meanwhile", churned > 0, churned, "1 or more")
    _granted(seen, "the permission", seen["permission"])


@check(
    "PERM-09",
    "Nobody can request for another process by ptrace.",
    authority="arch/x86/kernel/process_64.c: PTRACE_ARCH_PRCTL reaches do_arch_prctl_64() only",
    since="5.16",
    needs={Need.PTRACE},
    depends=("PERM-01",),
)
def _(seen: Judge) -> None:
    seen.equal("PTRACE_ARCH_PRCTL(ARCH_GET_FS), which exists", seen["fs"], 0, result)
    seen.equal("PTRACE_ARCH_PRCTL(ARCH_GET_XCOMP_SUPP)", seen["supp"], -EINVAL, result)
    seen.equal("PTRACE_ARCH_PRCTL(ARCH_REQ_XCOMP_PERM)", seen["request"], -EINVAL, result)
    seen.equal("PTRACE_ARCH_PRCTL(ARCH_REQ_XCOMP_GUEST_PERM)", seen["guest request"], -EINVAL, result)
    if seen.exited("tracee", "the tracee"):
        seen.equal("the tracee's permission afterwards", seen["after"], seen["before"], hex)


@check(
    "PERM-10",
    "A request needs no privilege.",
    authority=_REQUEST,
    since="5.16",
    needs={Need.AMX, Need.OPT_IN},
    depends=("PERM-02",),
)
def _(seen: Judge) -> None:
    seen.equal(f"the request as user {seen['user']}", seen["request"], 0, result)
    _granted(seen, "the permission", seen["permission"])
    seen.equal("signal at the first tile instruction", seen["touch"], 0)


@check(
    "PERM-11",
    "Discovery, request and use work while CPUID faults.",
    authority="arch/x86/kernel/process.c, ARCH_SET_CPUID concerns the CPUID instruction alone",
    since="5.16",
    needs={Need.AMX, Need.OPT_IN},
    depends=("DISC-01", "PERM-02"),
)
def _(seen: Judge) -> None:
    seen.equal("ARCH_GET_XCOMP_SUPP", seen["supp"], 0, result)
    seen.equal(
        "the tile components in it", seen["supported"] & (XTILECFG | XTILEDATA), XTILECFG | XTILEDATA, hex
    )
    seen.equal("the request", seen["request"], 0, result)
    _granted(seen, "the permission", seen["permission"])
    seen.equal("signal at the first tile instruction", seen["touch"], 0)
