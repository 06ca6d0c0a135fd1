"""The vector units' loops: what they compute, on which operands, and which of them this CPU has."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from amx._lib import lib
from amx.bench import team
from amx.bench.grid import Dtype
from amx.bench.operands import aligned, pointer
from amx.caches import own_caches
from amx.dtypes import Array

__all__ = ["Loop", "Vectors", "loop_for", "loops_for"]

ROWS, VECTORS = 6, 2  # of the block
LANE = 4  # bytes of an element of C, and of K that one product takes


class Loop(enum.Enum):
    """The instructions of a product, and the width of their registers; the fastest of a kind comes first."""

    VPDPBUSD_ZMM = "VPDPBUSD zmm"
    VPDPBUSD_YMM = "VPDPBUSD ymm"
    VPMADDWD_ZMM = "VPMADDWD + VPADDD zmm"
    VPMADDWD_YMM = "VPMADDWD + VPADDD ymm"
    PMADDWD_XMM = "PMADDWD + PADDD xmm"
    FMA_ZMM = "FMA zmm"
    FMA_YMM = "FMA ymm"

    @property
    def number(self) -> int:
        """Its number in csrc/bench/bench.h."""
        return int(getattr(lib, f"AMX_LOOP_{self.name}"))

    @property
    def present(self) -> bool:
        """Whether CPU and kernel have its instructions."""
        return bool(lib.amx_bench_has_loop(self.number))

    @property
    def exact(self) -> bool:
        """Whether it multiplies integers."""
        return "FMA" not in self.name

    @property
    def width(self) -> int:
        """Bytes of a register."""
        return {"XMM": 16, "YMM": 32, "ZMM": 64}[self.name[-3:]]

    @property
    def kinds(self) -> tuple[type[np.generic], type[np.generic]]:
        """What it multiplies: elements of A, and of B."""
        if not self.exact:
            return np.float32, np.float32
        return (np.uint8, np.int8) if "BUSD" in self.name else (np.int16, np.int16)


def loops_for(dtype: Dtype) -> tuple[Loop, ...]:
    """The loops that a product of this type could consist of here; xmm only where that is all there is."""
    loops = [loop for loop in Loop if loop.exact is dtype.exact and loop.present]
    return tuple(loop for loop in loops if loop.width > 16) or tuple(loops)


def loop_for(dtype: Dtype) -> Loop | None:
    """The one that limits products of this type here, None where there is none."""
    return next(iter(loops_for(dtype)), None)


@dataclass(frozen=True)
class Vectors:
    """A loop on dense operands, which fill two thirds of L1, on each of `threads` threads.

    a: [step][6 rows][4 bytes]; b: [step][2 vectors][width]; c: [6 rows][2 vectors][width], of the last run.
    """

    loop: Loop
    threads: int
    a: Array
    b: Array
    c: Array

    @classmethod
    def of(cls, loop: Loop, threads: int, *, seed: int, steps: int | None = None) -> Vectors:
        """Numbers without zeros, as those of an int8 product: 1 to 127, of either sign in B."""
        of_step = LANE * ROWS + VECTORS * loop.width
        if steps is None:
            steps = max(1, own_caches().l1 * 2 // 3 // of_step)
        rng = np.random.default_rng(seed)
        a, b = aligned(steps * LANE * ROWS), aligned(steps * VECTORS * loop.width)
        of_a, of_b = (array.view(kind) for array, kind in zip((a, b), loop.kinds, strict=True))
        of_a[:] = rng.integers(1, 128, of_a.size)
        of_b[:] = rng.integers(1, 128, of_b.size) * rng.choice([-1, 1], of_b.size)
        return cls(loop, threads, a, b, aligned(ROWS * VECTORS * loop.width))

    @property
    def steps(self) -> int:
        """Of the block."""
        return self.a.size // (LANE * ROWS)

    @property
    def operations(self) -> int:
        """Of one round of `run`."""
        return self.steps * self.operations_of_products

    @property
    def operations_of_products(self) -> int:
        """Of one round of `run_products`: 12 products of whole registers."""
        elements = self.loop.width // np.dtype(self.loop.kinds[0]).itemsize
        return self.threads * ROWS * VECTORS * 2 * elements

    def run(self, rounds: int) -> None:
        """The block over all steps, `rounds` times, each from zero."""
        a, b, c = pointer(self.a), pointer(self.b), pointer(self.c)
        got = lib.amx_bench_vector_block(self.loop.number, self.threads, a, b, c, self.steps, rounds)
        team.expect(self.threads, got)

    def run_products(self, rounds: int) -> None:
        """Twelve products from registers, `rounds` times: the first row of A by the first step of B."""
        a, b, c = pointer(self.a), pointer(self.b), pointer(self.c)
        got = lib.amx_bench_vector_products(self.loop.number, self.threads, a, b, c, rounds)
        team.expect(self.threads, got)
