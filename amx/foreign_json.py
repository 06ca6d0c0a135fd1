"""Values of a JSON object that somebody else may have written, of the types and in the ranges asked for."""

from __future__ import annotations

import math
import re
from typing import Any

__all__ = ["SIGNED", "UNSIGNED", "Json"]

UNSIGNED = range(2**64)
SIGNED = range(-(2**31), 2**31)
ADDRESS = re.compile("0x[0-9a-f]{1,16}")


class Json:
    """An object. Everything raises ValueError for what is something else, and KeyError for what is missing.

    But for what has a default.
    """

    def __init__(self, content: object) -> None:
        if not isinstance(content, dict):
            raise ValueError(f"{_shown(content)} is no object")
        self._content: dict[str, Any] = content

    def inner(self, name: str) -> Json:
        """An object in it."""
        return Json(self._content[name])

    def objects(self, name: str) -> tuple[Json, ...]:
        """An array of objects."""
        return tuple(map(Json, self._of(name, list)))

    def pairs(self, name: str) -> tuple[tuple[str, Any], ...]:
        """An array of objects with one key each: the keys with their values."""
        found = self.objects(name)
        if any(len(each._content) != 1 for each in found):
            raise ValueError(f"{name} has something else than objects with one key")
        return tuple(pair for each in found for pair in each._content.items())

    def text(self, name: str, default: str | None = None) -> str:
        """A string."""
        found: str = self._of(name, str, default)
        return found

    def text_or_nothing(self, name: str) -> str:
        """A string, empty where it is null or missing."""
        return "" if self._content.get(name) is None else self.text(name)

    def texts(self, name: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """An array of strings."""
        found = self._of(name, (list, tuple), default)
        if not all(isinstance(each, str) for each in found):
            raise ValueError(f"{name} has something else than strings")
        return tuple(found)

    def number(self, name: str, within: range = UNSIGNED, default: int | None = None) -> int:
        """An integer."""
        found = self._found(name, default)
        if type(found) is not int or found not in within:
            raise ValueError(f"{name} is {_shown(found)}")
        return found

    def number_or_none(self, name: str) -> int | None:
        """An integer or null."""
        return None if self._content[name] is None else self.number(name)

    def flag(self, name: str) -> bool:
        """A truth value."""
        return self._of(name, bool) is True

    def seconds(self, name: str) -> float:
        """A number, not infinite and not NaN."""
        found = self._content[name]
        if type(found) not in (int, float) or not abs(found) <= UNSIGNED.stop or not math.isfinite(found):
            raise ValueError(f"{name} is {_shown(found)}")
        return float(found)

    def address(self, name: str) -> int:
        """A string with a hexadecimal number."""
        found = self.text(name)
        if not ADDRESS.fullmatch(found):
            raise ValueError(f"{name} is {_shown(found)}")
        return int(found, 16)

    def _found(self, name: str, default: object) -> Any:
        return self._content[name] if default is None else self._content.get(name, default)

    def _of(self, name: str, kind: type | tuple[type, ...], default: object = None) -> Any:
        found = self._found(name, default)
        if not isinstance(found, kind):
            raise ValueError(f"{name} is {_shown(found)}")
        return found


def _shown(value: Any) -> str:
    """Short, and without what cannot be written, such as a number of very many digits."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= UNSIGNED.stop:
        return "too large a number"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
