"""How much of foreign files is looked at, in all: what is behind is as if it were not there."""

from __future__ import annotations

__all__ = ["Room"]


class Room:
    """Bytes that may still be read, or work that takes as long as reading them."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, size: int) -> bool:
        """Whether there is so much, which is then gone."""
        if size > self.left:
            return False
        self.left -= size
        return True
