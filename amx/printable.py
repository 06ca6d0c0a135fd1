"""Names that others gave, fit to be printed: what acts on a terminal or ends a line is an escape."""

from __future__ import annotations

__all__ = ["printable", "printable_lines"]


def printable(name: str) -> str:
    r"""The name; control characters, marks of direction, lone surrogates and the like as Python escapes.

    >>> print(printable("an\x1b[31m\nä"))
    an\x1b[31m\nä
    """
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def printable_lines(text: str) -> str:
    """A text that may have names in it; its lines and tabs stay."""
    return "".join(c if c in "\n\t" else printable(c) for c in text)
