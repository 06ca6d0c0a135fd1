"""CTX: tile state over context switches."""

from __future__ import annotations

from amx.conformance.check import Judge, Need, check
from amx.conformance.checks.frames import ENDED

SWITCH = "arch/x86/include/asm/fpu/sched.h: switch_fpu(), kernel/fpu/context.h: fpregs_restore_userregs()"


def _expect_rounds(seen: Judge) -> None:
    seen.equal("rounds", seen["rounds"], seen["expected_rounds"])
    least = 2 * seen["workers"]
    seen.true("context switches meanwhile", seen["switches"] >= least, seen["switches"], f"{least} or more")


@check(
    "CTX-01",
    "Threads that share a CPU keep their own tiles and configurations.",
    authority=SWITCH,
    since="5.16",
    needs=(Need.AMX, Need.KERNEL_TILES, Need.ALONE),
    depends=("PERM-02",),
    covers=("K15",),
    timeout=15.0,
)
def _threads(seen: Judge) -> None:
    _expect_rounds(seen)
    seen.equal("rounds that found tiles changed", seen["lost"], 0)


@check(
    "CTX-02",
    "Processes that share a CPU keep their own tiles, and those without any never see a trace of them.",
    authority=f"{SWITCH}; Borislav Petkov, LKML 30 August 2021: unpermitted data cannot exist",
    since="5.16",
    needs=(Need.AMX, Need.KERNEL_TILES, Need.ALONE),
    depends=("PERM-02",),
    timeout=15.0,
)
def _processes(seen: Judge) -> None:
    for ending in seen.all("ending"):
        seen.equal("a process's end", ending, ENDED)
    _expect_rounds(seen)
    seen.equal("rounds that found tiles changed", seen["lost"], 0)
    for who, trace in (("unpermitted", "inuse"), ("permitted", "nonzero")):
        seen.equal(f"{who} spectator: rounds", seen[f"{who}.rounds"], seen["spectator_rounds"])
        seen.equal(f"{who} spectator: rounds that found tile state", seen[f"{who}.{trace}"], 0)


@check(
    "CTX-03",
    "Live tiles survive system calls, sleep, migration, page faults, children and the use of AVX.",
    authority=f"{SWITCH}; the kernel uses no tiles itself, and the psABI's rules bind libraries only",
    since="5.16",
    needs=(Need.AMX, Need.KERNEL_TILES),
    depends=("PERM-02",),
    timeout=20.0,
)
def _battery(seen: Judge) -> None:
    def names(probes: list[str]) -> str:
        return ", ".join(probes) or "nothing"

    left_out = seen.all("left_out")
    excused = {
        "migration to other CPUs": seen["cpus"] < 2,
        "AVX and VZEROUPPER": not seen["avx"],
        "procfs read": not seen["procfs"],
    }
    seen.equal("probes", len(seen.all("happened")) + len(left_out), seen["probes"])
    seen.equal("what did not happen", [name for name in left_out if not excused.get(name)], [], names)
    seen.equal("what lost the tiles", seen.all("lost"), [], names)
    if left_out:
        seen.note(f"not possible here: {', '.join(left_out)}")


@check(
    "CTX-04",
    "Live tiles survive ptrace interrupts, single steps, SIGSTOP and SIGCONT.",
    authority=SWITCH,
    since="5.16",
    needs=(Need.AMX, Need.KERNEL_TILES, Need.PTRACE),
    depends=("PERM-02",),
    timeout=15.0,
)
def _stops(seen: Judge) -> None:
    if not seen.exited("ending", "the process"):
        return
    seen.equal("interrupts", seen["interrupts"], 20)
    seen.equal("single steps", seen["steps"], 1000)
    seen.equal("stops", seen["stops"], 5)
    seen.true("checks of the tiles", seen["checks"] > 0, seen["checks"], "some")
    seen.true("checks after the last stop", seen["checks_after"] > 0, seen["checks_after"], "some")
    seen.equal("checks that found tiles changed", seen["lost"], 0)
