"""Decisions out of the bytes of an input, so that changed bytes are other decisions."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
EDGES = (0, 1, -1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 255, 256, 2**31 - 1, 2**31, -(2**31), 2**32,
         2**63 - 1, 2**63, -(2**63), 2**64 - 1, 2**64, 2**200)  # fmt: skip


class Choices:
    """Reads bytes from the first to the last; false when there are none left, and all answers then are 0."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def bytes(self, count: int) -> bytes:
        """So many, the last of them zero where there are fewer."""
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken.ljust(count, b"\0")

    def below(self, limit: int) -> int:
        """A number from 0 on."""
        return int.from_bytes(self.bytes(1 if limit <= 256 else 4), "little") % limit

    def one_of(self, these: Sequence[T]) -> T:
        """One of at most 256."""
        return these[self.below(len(these))]

    def often(self, usual: int) -> bool:
        """True `usual` times of 8."""
        return self.below(8) < usual

    def integer(self) -> int:
        """Small, or where something ends."""
        return self.below(20) if self.often(5) else self.one_of(EDGES)
