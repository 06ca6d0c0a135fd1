"""Calls that are repeated, that take turns, and whose failure is known to be theirs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["FailedError", "failure", "guarded", "in_turn", "repeated"]


class FailedError(Exception):
    """A call that could be prepared raised while it was timed; `whose` it was."""

    def __init__(self, whose: object, error: Exception) -> None:
        super().__init__(str(error))
        self.whose, self.error = whose, error


def failure(error: Exception) -> str:
    """What whoever failed is reported with."""
    return f"failed: {type(error).__name__}: {error}"


def in_turn(calls: Sequence[Callable[[], Any]]) -> Callable[[], Any]:
    """One of the calls after the other, each time it is called."""
    if len(calls) == 1:
        return calls[0]
    turns = itertools.cycle(calls)
    return lambda: next(turns)()


def repeated(call: Callable[[], Any]) -> Callable[[int], None]:
    """The call, as often as it is told to."""

    def run(repetitions: int) -> None:
        for _ in itertools.repeat(None, repetitions):
            call()

    return run


def guarded(whose: object, call: Callable[[], Any]) -> Callable[[int], None]:
    """The same, of a foreign library: what it raises is a FailedError."""
    run_it = repeated(call)

    def run(repetitions: int) -> None:
        try:
            run_it(repetitions)
        except Exception as error:
            raise FailedError(whose, error) from error

    return run
