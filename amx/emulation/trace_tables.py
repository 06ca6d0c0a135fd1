"""A trace for people: on a terminal as tables, elsewhere as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from amx.emulation.disassembly import Action, action_of
from amx.emulation.trace_data import Recorded, Site, Total
from amx.emulation.trace_verdicts import verdicts
from amx.printable import printable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["as_text", "show"]

HOT_SITES = 20
TEXT_SITES = 10
TOTALS_HEAD = ("instruction", "executed", "sites", "full", "multiply-adds", "bytes")
SITES_HEAD = ("executed", "instruction", "full", "tiles", "where")
RIGHT = frozenset(("executed", "sites", "full", "multiply-adds", "bytes"))


def as_text(trace: Recorded) -> str:
    """Verdicts, totals and the hottest sites as plain lines."""
    lines = list(verdicts(trace))
    if trace.totals:
        lines += ["", *_columns(TOTALS_HEAD, [_total_cells(total) for total in trace.totals])]
    if trace.sites:
        shown = trace.sites[:TEXT_SITES]
        lines += ["", *_columns(SITES_HEAD, [_site_cells(site) for site in shown])]
        lines += _rest(trace, TEXT_SITES)
    return "\n".join(lines)


def show(trace: Recorded, console: Console) -> None:
    """The same, and configurations and processes, as tables."""
    from rich.table import Table
    from rich.text import Text

    for sentence in verdicts(trace):
        console.print(sentence, markup=False)
    if trace.totals:
        _table(console, "Instructions", TOTALS_HEAD, [_total_cells(total) for total in trace.totals])
        shown = trace.sites[:HOT_SITES]
        _table(console, "Hottest sites", SITES_HEAD, [_site_cells(site) for site in shown])
        for line in _rest(trace, HOT_SITES):
            console.print(line, markup=False)
    if trace.configurations:
        rows = [(f"{each.loads:,}", f"{each.changes:,}", str(each)) for each in trace.configurations]
        _table(console, "Configurations", ("loaded", "changed", "tiles, rows x bytes"), rows[:HOT_SITES])
    if len(trace.processes) > 1:
        table = Table("pid", "instructions", "threads", "program", title="Processes", title_justify="left")
        for process in trace.processes[:HOT_SITES]:
            program = Text(printable(" ".join(process.command) or process.executable), overflow="fold")
            figures = f"{process.instructions:,}", f"{len(process.threads):,}"
            table.add_row(str(process.pid), *figures, program)
        console.print(table)


def _table(console: Console, title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for name in head:
        table.add_column(name, justify="right" if name in RIGHT else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def _total_cells(total: Total) -> tuple[str, ...]:
    action = action_of(total.mnemonic)
    products = f"{total.work:,}" if action is Action.PRODUCT else ""
    moved = f"{total.work:,}" if action in (Action.LOAD, Action.STORE) else ""
    full = _percent(total.utilisation)
    return printable(total.mnemonic), f"{total.executed:,}", f"{total.sites:,}", full, products, moved


def _site_cells(site: Site) -> tuple[str, ...]:
    tiles = ", ".join(f"{e.name} {e.low}" + (f"-{e.high}" if e.high > e.low else "") for e in site.extents)
    return f"{site.executed:,}", str(site), _percent(site.utilisation), tiles, str(site.location)


def _rest(trace: Recorded, shown: int) -> list[str]:
    rest = trace.sites[shown:]
    executed = sum(site.executed for site in rest)
    return [f"and {len(rest):,} more sites, {executed:,} instructions"] if rest else []


def _columns(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in [head, *rows]:
        cells = (
            cell.rjust(width) if name in RIGHT else cell.ljust(width)
            for cell, width, name in zip(row, widths, head, strict=True)
        )
        yield "  ".join(cells).rstrip()
