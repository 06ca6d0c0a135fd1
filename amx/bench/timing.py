"""Time several sides of a comparison in turns, and summarise what was seen.

Machines drift and other tenants interfere, so one side's figure means little without the other's of the same
moment: sides take turns, and ratios are taken pair by pair within a round.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = [
    "Clock",
    "Pace",
    "RealClock",
    "Side",
    "Summary",
    "calibrate",
    "interleave",
    "ratios",
    "rest",
    "summarise",
]


IDLE = 0.1  # of a CPU: less than a worker that spins, more than bookkeeping
MOST_PAUSES = 10  # for a library whose workers never rest


class Clock(Protocol):
    """Where time comes from; tests bring their own."""

    def now(self) -> float:
        """Seconds."""

    def busy(self) -> float:
        """CPU seconds of all threads of this process."""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""


class RealClock:
    """The clock of the machine."""

    def now(self) -> float:
        """Seconds of the monotonic clock with the highest resolution."""
        return time.perf_counter()

    def busy(self) -> float:
        """CLOCK_PROCESS_CPUTIME_ID."""
        return time.process_time()

    def sleep(self, seconds: float) -> None:
        """Sleep, so that spinning workers of a library give their CPU back."""
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things are measured.

    Attributes
    ----------
    rounds: turns of each side.
    sample: seconds one sample should take at least; calls are repeated until it does.
    pause: seconds of sleep when the turn goes to another library, again until the process is idle. Workers
        spin after a product, OpenMP's for some 5 ms, OpenBLAS's for 100: they would burn the CPU of whoever
        comes next.
    """

    rounds: int
    sample: float
    pause: float = 0.020


@dataclass(frozen=True, slots=True)
class Summary:
    """Median, least and greatest of what the rounds gave."""

    median: float
    low: float
    high: float
    count: int

    def times(self, factor: float) -> Summary:
        """All of it in another unit."""
        return Summary(self.median * factor, self.low * factor, self.high * factor, self.count)


@dataclass(frozen=True, slots=True)
class Side:
    """What is timed. `run(n)` does it n times; sides of one `library` need no pause between them."""

    name: str
    library: str
    run: Callable[[int], object]


def summarise(samples: Sequence[float]) -> Summary:
    """Summary of one or more samples."""
    return Summary(statistics.median(samples), min(samples), max(samples), len(samples))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Summary:
    """How many times faster ours was, from the pairs of seconds of the same round."""
    return summarise([b / a for a, b in zip(ours, theirs, strict=True)])


def calibrate(run: Callable[[int], object], seconds: float, clock: Clock) -> int:
    """Repetitions that take at least `seconds`, twice; also the first warm-up.

    Once would be a moment in which the machine did something else.
    """
    repetitions = 1
    while True:
        elapsed = _time(run, repetitions, clock)
        if elapsed >= seconds:
            elapsed = min(elapsed, _time(run, repetitions, clock))
        if elapsed >= seconds:
            return repetitions
        # At most tenfold, since the first calls are the slowest.
        wanted = seconds / elapsed * 1.2 if elapsed > 0 else 10
        repetitions = max(repetitions + 1, round(repetitions * min(wanted, 10)))


def interleave(sides: Sequence[Side], pace: Pace, clock: Clock) -> list[list[float]]:
    """Seconds of one repetition, for each side one sample a round.

    The order turns by one side each round, so that nobody always follows the same neighbour.
    """
    repetitions: list[int] = []
    last: str | None = None
    for side in sides:
        if side.library != last:
            rest(pace.pause, clock)
            last = side.library
        repetitions.append(calibrate(side.run, pace.sample, clock))
    samples: list[list[float]] = [[] for _ in sides]
    last = None
    for index in _turns(len(sides), pace.rounds):
        side, count = sides[index], repetitions[index]
        if side.library != last:
            rest(pace.pause, clock)
            side.run(max(1, count // 4))  # warm up: clock, caches, threads
            last = side.library
        samples[index].append(_time(side.run, count, clock) / count)
    return samples


def rest(pause: float, clock: Clock) -> None:
    """Pause, again while threads of the process still work: workers that spin for the next product."""
    for _ in range(MOST_PAUSES):
        before = clock.busy()
        clock.sleep(pause)
        if clock.busy() - before <= pause * IDLE:
            return


def _turns(sides: int, rounds: int) -> Iterator[int]:
    for first in range(rounds):
        for step in range(sides):
            yield (first + step) % sides


def _time(run: Callable[[int], object], repetitions: int, clock: Clock) -> float:
    start = clock.now()
    run(repetitions)
    return clock.now() - start
