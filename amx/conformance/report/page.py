"""What pages of reports are made of: they need no script and no other file. All text is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from importlib.resources import files

from amx.version import __version__

__all__ = ["FOOTER", "begin", "listed", "marked", "table"]

FOOTER = f"<footer>Written by amx check of linux-amx {escape(__version__)}.</footer>"


def begin(title: str, *styles: str) -> Iterator[str]:
    """The lines of a page up to its body, with style sheets of this package."""
    style = "".join((files(__package__) / name).read_text(encoding="utf-8") for name in styles)
    yield "<!DOCTYPE html>"
    yield '<html lang="en">'
    yield '<head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(title)}</title>"
    yield f"<style>\n{style}</style></head>"
    yield "<body>"


def marked(verdict: str) -> str:
    """A verdict's word in its colour."""
    return f'<span class="verdict {escape(verdict)}">{escape(verdict)}</span>'


def listed(kind: str, entries: Iterable[tuple[str, str]]) -> str:
    """Names with what they stand for."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(content)}</dd>" for name, content in entries)
    return f'<dl class="{kind}">{rows}</dl>'


def table(
    names: tuple[str, ...], rows: Iterable[tuple[str, ...]], holds: Iterable[bool] | None = None
) -> str:
    """A table; where something does not hold, its last cell is marked."""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = list(rows)
    body = ""
    for row, good in zip(rows, holds or [True] * len(rows), strict=True):
        cells = ""
        for name, content in zip(names, row, strict=True):
            mark = ' class="no"' if not good and name == names[-1] else ""
            cells += f'<td data-name="{escape(name or "what")}"{mark}>{escape(content)}</td>'
        body += f"<tr>{cells}</tr>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
