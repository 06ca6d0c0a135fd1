"""How much memory there is, and how much a product takes."""

from __future__ import annotations

import os
from pathlib import Path

from amx.bench.grid import Case

__all__ = ["available", "needed"]

# Of the operands and the result: what all libraries, and float32 versions to compare with, come to at most.
COPIES = 12


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


def needed(case: Case) -> int:
    """Bytes, roughly, that measuring a product takes; what lies between rows counts."""
    shape = case.shape
    a, b = shape.m * (shape.ld or shape.k), shape.k * (shape.ld or shape.n)
    c = shape.m * (shape.ld or shape.n)
    return COPIES * shape.batch * (case.dtype.element.size * (a + b) + 4 * c)
