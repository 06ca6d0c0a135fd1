"""A run on the terminal: a line for each check as soon as it is made, what failed and why, and the counts.

On a terminal in colour, with the check that is being made; elsewhere plain lines, flushed one by one, so that
nothing is lost if the run is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from amx._console import open_console
from amx.conformance.check import Check, Verdict
from amx.conformance.environment import Environment
from amx.conformance.report import words
from amx.conformance.runner import Report
from amx.conformance.verdict import Result

__all__ = ["Terminal"]

COLOURS = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.SKIP: "yellow",
    Verdict.INFO: "cyan",
    Verdict.ERROR: "bold magenta",
}


class Terminal:
    """Writes one run to a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._console = open_console(stream)
        self._progress: Progress | None = None

    def begin(self, environment: Environment) -> None:
        """Say where this is."""
        self._say(Text(f"lane    {words.lane(environment)}"))
        shown = ("AMX", "kernel", "processor", "user")
        for name, value in environment.facts:
            if name in shown:
                self._say(Text(f"{name:<9} {value}"))
        self._say(Text())

    @contextmanager
    def progress(self, chosen: Sequence[Check]) -> Iterator[None]:
        """Show how far the run is, on a terminal only."""
        if not self._console.is_terminal:
            yield
            return
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        with Progress(*columns, console=self._console, transient=True) as self._progress:
            self._progress.add_task("", total=len(chosen))
            yield
        self._progress = None

    def about_to(self, check: Check) -> None:
        """Show which check is next."""
        if self._progress:
            self._progress.update(self._progress.task_ids[0], description=check.id)

    def show(self, result: Result) -> None:
        """One line for one check."""
        verdict = (f"{result.verdict.value:<5}", COLOURS[result.verdict])
        self._say(Text.assemble(verdict, f" {result.check.id:<9} {words.one_line(result)}"))
        if self._progress:
            self._progress.advance(self._progress.task_ids[0])

    def end(self, report: Report) -> None:
        """What failed, what the kernel documents otherwise, and the counts."""
        for result in report.results:
            if result.verdict in (Verdict.FAIL, Verdict.ERROR):
                first, *rest = words.explanation(result, report.environment.upstream)
                self._say(Text())
                self._say(Text(first, style=COLOURS[result.verdict]))
                for line in rest:
                    self._say(Text(f"  {line}"))
        differing = list(words.documented(report))
        if differing:
            self._say(Text())
            self._say(Text("The kernel's documentation says otherwise:"))
            for result, observed in differing:
                self._say(Text(f"  {result.check.id}: {result.check.documented}"))
                self._say(Text(f"    {observed}"))
        said = list(words.kernel(report))
        if said:
            self._say(Text())
            self._say(Text("The kernel said meanwhile:"))
            for line in said:
                self._say(Text(f"  {line}"))
        self._say(Text())
        self._say(Text(words.summary(report)))

    def _say(self, text: Text) -> None:
        self._console.print(text)
        self._stream.flush()
