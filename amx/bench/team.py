"""Loops of csrc/bench/ on several threads at once (csrc/bench/team.h)."""

from __future__ import annotations

from amx import errors

__all__ = ["expect"]


def expect(threads: int, result: int) -> None:
    """Raise AmxUnavailableError unless so many ran: a figure for N threads that fewer made would be wrong."""
    if result != threads:
        raise errors.AmxUnavailableError(
            f"a loop for {threads} thread(s) returned {result}",
            cause="no more threads could be made" if result > 0 else "this build cannot run it",
            remedy="ask for fewer with --threads",
            errno=-result if result < 0 else None,
        )
