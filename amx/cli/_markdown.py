"""Text of others in Markdown, where it can be neither form nor a link, nor act on a terminal."""

from __future__ import annotations

import re

from amx.printable import printable_lines

__all__ = ["fenced"]

LARGEST = 100_000  # characters; a step's summary on GitHub has a mebibyte


def fenced(text: str) -> str:
    """A block of code with the text, cut where it is very long.

    >>> print(fenced("a ``` b"))
    ````text
    a ``` b
    ````
    """
    shown = printable_lines(text[:LARGEST]).rstrip("\n")
    if len(text) > LARGEST:
        shown += "\n…"
    longest = max(map(len, re.findall("`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{shown}\n{fence}"
