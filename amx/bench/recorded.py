"""Rates of libraries that PyPI does not have, recorded elsewhere: to be quoted beside a run, not compared.

From the machine that the end of docs/performance.md describes; each ran in a process of its own. oneDNN 3.8.0
was built from source; libxsmm is its own driver, which repeats one kernel on prepacked data warm in L2.
"""

from __future__ import annotations

from dataclasses import dataclass

from amx.bench.grid import Case, Dtype, Shape

__all__ = ["RECORDED", "Recorded", "recorded"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """GOP/s of one product; None where none was recorded. `packed`: with a prepacked second operand."""

    case: Case
    threads: int
    onednn: float
    onednn_packed: float
    libxsmm: float | None = None


def _square(size: int) -> Shape:
    return Shape(size, size, size)


_SCORES, _VALUES = Shape(128, 128, 64, 64), Shape(128, 64, 128, 64)
_WIDE = Shape(128, 11008, 4096)
_ROWS = {
    (Dtype.INT8, 1): (
        (_square(64), 656, 769, 1968),
        (_square(128), 1540, 1869, 2333),
        (_square(256), 2396, 2716, 2948),
        (_square(512), 2579, 3166, 3212),
        (_square(1024), 2063, 2444, None),
        (_square(2048), 1955, 2285, None),
        (_square(4096), 1665, 1864, None),
        (Shape(1, 4096, 4096), 31, 57, None),
        (Shape(16, 4096, 4096), 471, 878, None),
        (Shape(128, 4096, 4096), 1563, 2252, None),
        (Shape(512, 4096, 4096), 1735, 1888, None),
        (_WIDE, 1499, 1576, None),
        (_SCORES, 667, 667, None),
        (_VALUES, 1025, 1009, None),
    ),
    (Dtype.BF16, 1): (
        (_square(64), 406, 577, 1491),
        (_square(128), 859, 1097, 1580),
        (_square(256), 1332, 1672, 1632),
        (_square(512), 1075, 1356, 1545),
        (_square(1024), 880, 1041, None),
        (_square(2048), 739, 873, None),
        (_square(4096), 547, 620, None),
        (Shape(1, 4096, 4096), 16, 28, None),
        (Shape(16, 4096, 4096), 223, 424, None),
        (Shape(128, 4096, 4096), 639, 782, None),
        (Shape(512, 4096, 4096), 657, 675, None),
        (_WIDE, 565, 615, None),
        (_SCORES, 540, 549, None),
        (_VALUES, 561, 570, None),
    ),
    (Dtype.INT8, 2): (
        (_square(64), 201, 211, None),
        (_square(128), 1205, 1241, None),
        (_square(256), 3356, 3634, None),
        (_square(512), 4287, 5616, None),
        (_square(1024), 3962, 4462, None),
        (_square(2048), 3927, 4734, None),
        (_square(4096), 3027, 3780, None),
        (Shape(1, 4096, 4096), 60, 99, None),
        (Shape(16, 4096, 4096), 869, 1557, None),
        (Shape(128, 4096, 4096), 3345, 4229, None),
        (Shape(512, 4096, 4096), 3535, 4045, None),
        (_WIDE, 3342, 4116, None),
        (_SCORES, 1446, 1636, None),
        (_VALUES, 3305, 3885, None),
    ),
    (Dtype.BF16, 2): (
        (_square(64), 190, 207, None),
        (_square(128), 916, 1016, None),
        (_square(256), 2032, 2288, None),
        (_square(512), 1947, 2407, None),
        (_square(1024), 1737, 2060, None),
        (_square(2048), 1469, 2072, None),
        (_square(4096), 987, 1260, None),
        (Shape(1, 4096, 4096), 29, 52, None),
        (Shape(16, 4096, 4096), 440, 824, None),
        (Shape(128, 4096, 4096), 1197, 1849, None),
        (Shape(512, 4096, 4096), 1258, 1506, None),
        (_WIDE, 1167, 1439, None),
        (_SCORES, 1094, 1123, None),
        (_VALUES, 1363, 1373, None),
    ),
}
RECORDED = tuple(
    Recorded(Case(shape, dtype), threads, onednn, packed, libxsmm)
    for (dtype, threads), rows in _ROWS.items()
    for shape, onednn, packed, libxsmm in rows
)


def recorded(case: Case, threads: int) -> Recorded | None:
    """What was recorded of a product on that many threads, if anything."""
    return next((row for row in RECORDED if (row.case, row.threads) == (case, threads)), None)
