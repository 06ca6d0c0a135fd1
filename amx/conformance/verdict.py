"""From what a provocation saw to a verdict."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any

from amx.conformance.check import Check, Expectation, Judge, Verdict
from amx.conformance.provoke import HUNG, Run

__all__ = ["Result", "judge"]

EXIT_NO_IMAGE = "exit 127"  # of its loader, before anything of it has run
EXIT_USAGE, EXIT_BROKEN, EXIT_CANNOT = "exit 2", "exit 70", "exit 77"  # of amx-provoke


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict on one check, why, and all that was seen."""

    check: Check
    verdict: Verdict
    reason: str = ""  # one line; empty for PASS
    ending: str = ""  # of the provocation, empty where it did not run
    seconds: float = 0.0
    expectations: tuple[Expectation, ...] = ()
    observations: tuple[tuple[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    details: str = ""  # of an ERROR: a traceback, or what the program wrote
    kernel: tuple[str, ...] = ()  # what the kernel said of itself meanwhile; of a log only

    @property
    def broken(self) -> tuple[Expectation, ...]:
        """The expectations that do not hold."""
        return tuple(expectation for expectation in self.expectations if not expectation.holds)


def judge(check: Check, run: Run) -> Result:
    """Apply the rules: an error of the harness is no verdict, and whatever ends early has failed."""
    seen = Judge(run.observations, run.ending)

    def result(verdict: Verdict, reason: str = "", details: str = "") -> Result:
        return Result(
            check,
            verdict,
            " ".join(reason.split()),
            run.ending,
            run.seconds,
            tuple(seen.expectations),
            run.observations,
            tuple(seen.notes),
            details,
            run.kernel,
        )

    if run.kernel_failure:
        return result(Verdict.FAIL, f"the kernel said: {run.kernel_failure}", run.errors)
    if run.lost:
        return result(Verdict.ERROR, run.lost, run.errors)
    if run.ending in (EXIT_BROKEN, EXIT_USAGE):
        return result(Verdict.ERROR, f"amx-provoke failed: {run.broken or run.errors or run.ending}")
    if run.ending == EXIT_CANNOT:
        return result(Verdict.SKIP, run.cannot or "amx-provoke gave no reason")
    if run.ending == EXIT_NO_IMAGE and not run.observations:
        return result(Verdict.ERROR, f"amx-provoke does not start: {run.errors or run.ending}")
    if run.unreadable and run.ending == "exit 0":
        return result(Verdict.ERROR, f"amx-provoke wrote {run.unreadable[0]!r}", "\n".join(run.unreadable))

    failure = _how_it_failed(check, run)
    try:
        check.judge(seen)
    except Exception:
        # Of a provocation that ended early, the rest of the observations is missing.
        if not failure:
            return result(Verdict.ERROR, "the judge itself failed", traceback.format_exc())
    if failure:
        return result(Verdict.FAIL, failure, run.errors)
    broken = [expectation.what for expectation in seen.expectations if not expectation.holds]
    if broken:
        return result(Verdict.FAIL, "; ".join(broken))
    if check.information:
        return result(Verdict.INFO, "; ".join(seen.notes))
    if not seen.expectations:
        return result(Verdict.ERROR, "the judge held no expectation: this check cannot fail")
    return result(Verdict.PASS)


def _how_it_failed(check: Check, run: Run) -> str:
    seen = f"after {len(run.observations)} observation{'s' * (len(run.observations) != 1)}"
    if run.ending == HUNG:
        return f"hung: the provocation was killed after {run.seconds:.1f} s, {seen}"
    if run.ending == "SIGSYS":
        return f"ended by SIGSYS {seen}: a seccomp filter kills for a system call of the provocation"
    if run.ending != "exit 0":
        return f"ended with {run.ending} {seen}"
    return "" if run.complete else f"ended {seen} and before its end, with exit status 0"
