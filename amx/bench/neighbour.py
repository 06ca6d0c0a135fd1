"""The round size beside a product, and the share of its rate that the product should keep.

Only what tile rounding adds, and 15 % for the edges, may be lost at sizes that nobody tuned for.
"""

from __future__ import annotations

from amx.bench.grid import Case, Dtype, Shape

__all__ = ["KEPT", "floor", "neighbour"]

ROUND = 64  # whole blocks of tiles in M, N and K, for all dtypes
KEPT = 0.85
ROWS = COLUMNS = 16  # of a tile of C
ROW_BYTES = 64


def neighbour(case: Case, *, on_tiles: bool = True) -> Case | None:
    """The same product with M, N and K at the nearest multiples of 64, rows next to each other.

    A dimension that is nearer to 0 becomes the multiple of a tile's that holds it, and stays as it is where
    there are no tiles. None where the product is round itself.
    """
    shape = case.shape
    units = _units(case.dtype) if on_tiles else (1, 1, 1)
    m, n, k = (
        ROUND * round(size / ROUND) or _up(size, unit)
        for size, unit in zip((shape.m, shape.n, shape.k), units, strict=True)
    )
    beside = Shape(m, n, k, shape.batch)
    return None if beside == shape else Case(beside, case.dtype)


def floor(case: Case) -> float:
    """Least rate over the neighbour's: 0.85 of the elements of M N K over those of whole tiles."""
    share = KEPT
    for size, unit in zip((case.shape.m, case.shape.n, case.shape.k), _units(case.dtype), strict=True):
        share *= size / _up(size, unit)
    return share


def _units(dtype: Dtype) -> tuple[int, int, int]:
    """M, N and K of one tile product."""
    return ROWS, COLUMNS, ROW_BYTES // dtype.element.size


def _up(size: int, unit: int) -> int:
    return -(-size // unit) * unit
