"""Judge a log: the same checks, verdicts and reports as of a run here, on the machine that it describes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from amx import machine, recorded_facts, recording
from amx.conformance import environment as _environment
from amx.conformance import verdict
from amx.conformance.check import Check, Verdict
from amx.conformance.environment import Environment
from amx.conformance.groups import checks
from amx.conformance.guest.log import Log
from amx.conformance.place import Place
from amx.conformance.runner import Report, Runner
from amx.conformance.selection import Selection, select
from amx.conformance.verdict import Result
from amx.foreign_json import Json

__all__ = ["LogRunner", "chosen", "environment", "report"]

KVM = ("usable", "denied", "absent")
MOST_LEAVES = 4096  # of CPUID; processors have some hundred


class LogRunner(Runner):
    """Judges what is in a log, and makes nothing."""

    def __init__(self, log: Log, environment: Environment, *, asked: Iterable[str] = ()) -> None:
        super().__init__(environment, asked={*asked, *log.plan}, provocation=log.run)
        self._log = log

    def _make(self, check: Check) -> Result:
        """As of a run here; what is missing is an error, unless the check could not be made there at all."""
        run = self._log.run(check.id)
        if run.kernel_failure:
            return verdict.judge(check, run)
        if self.environment.unknown:
            return Result(check, Verdict.ERROR, self.environment.unknown, kernel=run.kernel)
        obstacle = self._obstacle(check) or ("" if run.lost else self._dependency(check))
        if obstacle:
            return Result(check, Verdict.SKIP, obstacle, kernel=run.kernel)
        return verdict.judge(check, run)


def environment(log: Log, *, source: str) -> Environment:
    """Where the run of a log took place; `source` names the files for people."""
    try:
        facts, place = _machine(log), _place(log)
    except ValueError as error:
        return _environment.unknown(str(error), fault=log.fault, source=source)
    with machine.use(recording.Recorded(facts)):
        return _environment.recorded(
            place, model=log.model, fault=log.fault, source=source, program=log.version
        )


def chosen(log: Log, words: Sequence[str], *, optional: bool = False) -> Selection:
    """The checks of the log's plan that one of the words selects, all of them without words.

    A word that selects none of the plan stands for what it selects of all: each is an error then.

    Raises
    ------
    ValueError: a word selects nothing at all.
    """
    planned = [check for check in checks() if check.id in log.plan] or list(checks())
    if not words:
        return select([], optional=optional, among=planned)
    wanted: set[str] = set()
    for word in words:
        of_all = {check.id for check in select([word], optional=optional).checks}
        wanted |= of_all & {check.id for check in planned} or of_all
    return select(words, optional=optional, among=[check for check in checks() if check.id in wanted])


def report(
    log: Log, environment: Environment, selection: Selection, results: Iterable[Result], missing_lane: str
) -> Report:
    """The report of a log."""
    known = {check.id for check in checks()}
    strangers = [id for id in log.plan if id not in known]
    trouble = log.trouble
    if strangers:
        trouble += (f"the log has checks that this version does not know: {', '.join(strangers[:20])}",)
    return Report(
        environment,
        selection.checks,
        tuple(results),
        log.seconds,
        missing_lane=missing_lane,
        trouble=trouble,
        remarks=log.remarks,
    )


def _machine(log: Log) -> dict[str, Any]:
    """The facts of the machine, which come one or some at a time.

    Raises
    ------
    ValueError: one is missing, or cannot be replayed.
    """
    if log.damage:
        raise ValueError(log.damage)
    facts: dict[str, Any] = {}
    for content in log.objects("machine"):
        if not isinstance(content, dict):
            raise ValueError("the log's description of the machine is damaged")
        for name, value in content.items():
            known = facts.setdefault(name, value)
            if name == "cpuid" and isinstance(value, dict) and isinstance(known, dict):
                differs = any(known.setdefault(leaf, words) != words for leaf, words in value.items())
                if len(known) > MOST_LEAVES:
                    raise ValueError(
                        f"the log's description of the machine has more than {MOST_LEAVES:,} leaves"
                    )
            else:
                differs = known != value
            if differs:
                raise ValueError(f"the log has two different descriptions of the machine: {name}")
    wrong = recorded_facts.what_is_wrong(facts)
    if not wrong:
        lacking = [leaf for leaf in recording.leaves() if leaf not in facts["cpuid"]]
        wrong = f"There is no leaf {lacking[0]} of its cpuid" if lacking else ""
    if wrong:
        raise ValueError("; ".join((f"the log does not describe the machine. {wrong}", *log.broken)))
    return facts


def _place(log: Log) -> Place:
    """What it says of the place. ValueError where that is missing or damaged."""
    found = list(log.objects("place"))
    if not found or any(each != found[0] for each in found):
        raise ValueError("the log does not say who ran the checks, and what the system allows (place)")
    try:
        place = Json(found[0])
        if place.text("kvm") not in KVM:
            raise ValueError(f"kvm is {place.text('kvm')[:40]!r}")
        yama = found[0]["yama"]
        return Place(
            uid=place.number("uid", range(2**32)),
            seccomp=place.flag("seccomp"),
            yama="" if yama is None else place.text("yama"),
            core_pattern=place.text("core_pattern"),
            core_limit=place.flag("core_limit"),
            kvm=place.text("kvm"),
            cmdline=place.text("cmdline", ""),
        )
    except KeyError as error:
        raise ValueError(f"the log's place lacks {error}") from None
    except ValueError as error:
        raise ValueError(f"the log's place cannot be taken: {error}") from None
