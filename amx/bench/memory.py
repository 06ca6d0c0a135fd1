"""How much memory there is, how much a product takes, and how often B lies in it."""

from __future__ import annotations

import os
from pathlib import Path

from amx.bench.grid import Case

__all__ = ["STREAMING_ROWS", "available", "copies_of_b", "needed"]

# Of the operands and the result: what all libraries, and float32 versions to compare with, come to at most.
COPIES = 12
STREAMING_ROWS = 32  # up to here a product lives from the stream of B
LEAST_STREAM = 4 << 20  # bytes of B from which on nobody would expect it in a cache


def available() -> int:
    """Bytes that the system can give without swapping."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, value, *_ = line.split()
            if name == "MemAvailable:":
                return int(value) << 10
    except OSError:
        pass
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def copies_of_b(case: Case, working_set: int) -> int:
    """How many copies of B take turns, so that each is read from beyond the caches: 1 where B is no stream.

    Together they are as large as `working_set`, bytes that exceed the caches.
    """
    shape = case.shape
    size = case.dtype.element.size * shape.k * shape.n
    if shape.m > STREAMING_ROWS or shape.batch > 1 or shape.ld or size < LEAST_STREAM:
        return 1
    return max(1, -(-working_set // size))


def needed(case: Case, copies: int = 1) -> int:
    """Bytes, roughly, that measuring a product takes; what lies between rows counts. copies: of B."""
    shape = case.shape
    a, b = shape.m * (shape.ld or shape.k), copies * shape.k * (shape.ld or shape.n)
    c = shape.m * (shape.ld or shape.n)
    return COPIES * shape.batch * (case.dtype.element.size * (a + b) + 4 * c)
