"""Run checks: what each needs first, then those it depends on, then the provocation, then the judgement."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from amx.conformance import locking, provoke, verdict
from amx.conformance.check import Check, Need, Verdict
from amx.conformance.environment import Environment
from amx.conformance.groups import checks
from amx.conformance.verdict import Result
from amx.lane import Lane

__all__ = ["Report", "Runner"]

Provoke = Callable[..., provoke.Run]
SLOWNESS_OF_EMULATORS = 20  # on the timeout; Intel SDE translates every instruction
FINE = (Verdict.PASS, Verdict.INFO)
LIMITS = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)  # of fork(2) and pipe(2)


class Runner:
    """Runs checks in one environment; each at most once, also when several depend on it."""

    def __init__(
        self,
        environment: Environment,
        *,
        asked: Iterable[str] = (),
        catalogue: Iterable[Check] | None = None,
        provocation: Provoke = provoke.provoke,
    ) -> None:
        self.environment = environment
        self._asked = frozenset(asked)
        self._checks: Mapping[str, Check] = {
            each.id: each for each in (checks() if catalogue is None else catalogue)
        }
        self._provoke = provocation
        self._results: dict[str, Result] = {}

    def run(self, chosen: Iterable[Check]) -> Iterator[Result]:
        """The results, each as soon as it is known."""
        return map(self.result, chosen)

    def result(self, check: Check) -> Result:
        """The result of one check, from memory where it is known."""
        if check.id not in self._results:
            self._results[check.id] = self._make(check)
        return self._results[check.id]

    def _make(self, check: Check) -> Result:
        try:
            obstacle = self._obstacle(check) or self._dependency(check)
            if obstacle:
                return Result(check, Verdict.SKIP, obstacle)
            with locking.turn(alone=Need.ALONE in check.needs):
                run = self._provoke(
                    check.id,
                    model=self.environment.lane is Lane.MODEL,
                    fault=self.environment.fault,
                    timeout=self._timeout(check),
                )
            return verdict.judge(check, run)
        except (OSError, LookupError) as error:
            if isinstance(error, OSError) and error.errno in LIMITS:
                return Result(check, Verdict.SKIP, f"no process can be made here: {error.strerror}")
            return Result(check, Verdict.ERROR, str(error), details=traceback.format_exc())

    def _obstacle(self, check: Check) -> str:
        """What of the place stands against a check."""
        if Need.OPT_IN in check.needs and check.id not in self._asked:
            return f"optional: ask for it by name ({check.id}) or with --optional"
        return self.environment.obstacle(check)

    def _dependency(self, check: Check) -> str:
        """The first of the checks that this one rests on which does not hold."""
        for id in check.depends:
            other = self.result(self._checks[id])
            if other.verdict not in FINE:
                return f"says nothing without {id}, which is {other.verdict.value}: {other.reason}"
        return ""

    def _timeout(self, check: Check) -> float:
        emulated = self.environment.lane is Lane.EMULATED
        return check.timeout * (SLOWNESS_OF_EMULATORS if emulated else 1)


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run. `interrupted` says that checks of `selected` are missing from `results`.

    Of a log `trouble` is what is wrong with the run as a whole, and `remarks` what else the kernel said.
    """

    environment: Environment
    selected: tuple[Check, ...]
    results: tuple[Result, ...]
    seconds: float
    interrupted: bool = False
    missing_lane: str = ""  # of --require
    trouble: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def count(self, verdict: Verdict) -> int:
        """How many checks have this verdict."""
        return sum(result.verdict is verdict for result in self.results)

    @property
    def exit_status(self) -> int:
        """0 all that was judged passed, 1 something failed, 77 nothing was judged, 130 interrupted."""
        if self.count(Verdict.FAIL) or self.count(Verdict.ERROR) or self.missing_lane or self.trouble:
            return 1
        if self.interrupted:
            return 130
        return 0 if self.count(Verdict.PASS) else 77
