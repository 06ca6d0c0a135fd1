"""A report as a picture: for each dtype a roofline of the kernels, and bars of the calls per size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from amx.bench.calls import OURS, CallRow
from amx.bench.grid import Dtype
from amx.bench.peers.peer import Form
from amx.bench.session import Report

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["draw"]

BESIDE = 8  # products up to which the columns of two dtypes stand beside each other
NAME_OFFSETS = (5, -12, 15, -22, 25, -32, 35, -42)  # points above the middle of a point
POINT_SIZE = 3  # dots from the middle of a point to its edge
# Colour-blind safe (Okabe and Ito); ours is always the first.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")


def draw(report: Report, file: Path | BinaryIO, format: str | None = None) -> None:
    """Write the picture; needs matplotlib. Without `format` it follows the file's suffix."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    dtypes = list(dict.fromkeys(row.case.dtype for row in report.kernels))
    cases = len({row.case for row in report.calls}) / max(1, len(dtypes))
    columns = max(1, len(dtypes)) if cases <= BESIDE else 1
    rows = 3 * max(1, len(dtypes)) // columns
    figure = Figure(figsize=(max(8.0, 1.1 * cases) * columns, 4.4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    names = []
    for place, dtype in enumerate(dtypes):
        top, column = (0, place) if columns > 1 else (3 * place, 0)
        names.append(_roofline(axes[top][column], report, dtype))
        for row, form in enumerate(reversed(Form), start=1):
            _bars(axes[top + row][column], report, dtype, form)
    figure.suptitle(f"{report.processor}, {report.threads} thread(s), linux-amx {report.version}")
    figure.draw_without_rendering()  # only now it is known where the points lie
    for of_roofline in names:
        _part(of_roofline)
    figure.savefig(file, dpi=110, format=format)


def _roofline(ax: Any, report: Report, dtype: Dtype) -> list[Any]:
    """Returns the names beside the points."""
    rows = [row for row in report.kernels if row.case.dtype is dtype]
    intensities = [row.case.shape.intensity(dtype) for row in rows]
    low, high = min(intensities) / 2, max(intensities) * 2
    engines = ", ".join(dict.fromkeys(row.engine.value for row in rows))
    ax.scatter(
        intensities, [row.gops for row in rows], color=COLOURS[0], zorder=3,
        label=f"{OURS} kernel, packed ({engines})",
    )  # fmt: skip
    names = [
        ax.annotate(
            str(row.case.shape), (x, row.gops), textcoords="offset points", xytext=(0, NAME_OFFSETS[0]),
            ha="center", fontsize="x-small", in_layout=False,
        )
        for row, x in zip(rows, intensities, strict=True)
    ]  # fmt: skip
    limit = report.ceiling.limit(dtype, report.threads)
    compute = limit.rate.median if limit and limit.rate else None
    memory = report.ceiling.memory(report.threads)
    if limit is not None and compute is not None:
        ax.axhline(compute, color="black", linewidth=1, label=f"{limit.name}: {_plain(compute)} GOP/s")
    if memory is not None:
        ax.plot(
            [low, high], [memory * low, memory * high], color="grey", linestyle="--", linewidth=1,
            label=f"memory: {_plain(memory)} GB/s",
        )  # fmt: skip
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xlim(low, high)
    rates = [row.gops for row in rows]
    ax.set_ylim(min(rates) / 3, max([*rates, compute or 0]) * 4)
    ax.xaxis.set_major_formatter("{x:g}")
    _plain_ticks(ax.yaxis)
    ax.set_xlabel("operations per byte of A, B and C")
    ax.set_ylabel("GOP/s")
    ax.set_title(f"{dtype.value}: kernels" + ("" if compute else "; no ceiling measurable here"))
    ax.grid(visible=True, which="major", alpha=0.3)
    ax.legend(loc="lower right", fontsize="small")
    return names


def _part(names: Sequence[Any]) -> None:
    """Move names up or down until none covers another or a point, if that can be."""
    from matplotlib.transforms import Bbox

    points = [name.axes.transData.transform(name.xy) for name in names]
    covered = [Bbox([point - POINT_SIZE, point + POINT_SIZE]) for point in points]
    for name in names:
        for offset in NAME_OFFSETS:
            name.xyann = (0, offset)
            extent = name.get_window_extent()
            if not any(extent.overlaps(other) for other in covered):
                break
        covered.append(extent)


def _plain_ticks(axis: Any) -> None:
    """Numbers as they are spoken, on a logarithmic axis; between the decades too where it spans few."""
    from matplotlib.ticker import LogFormatter

    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(LogFormatter())


def _bars(ax: Any, report: Report, dtype: Dtype, form: Form) -> None:
    of_form = [row for row in report.calls if row.case.dtype is dtype and row.form is form]
    rows = [row for row in of_form if row.gops]
    libraries = list(dict.fromkeys(row.library for row in report.calls if row.gops))
    shown = [library for library in libraries if any(row.library == library for row in rows)]
    cases = list(dict.fromkeys(row.case for row in rows))
    width = 0.85 / max(1, len(shown))
    for place, library in enumerate(shown):
        of_library = {row.case: row for row in rows if row.library == library}
        drawn = [(index, of_library[case]) for index, case in enumerate(cases) if case in of_library]
        offset = (place - (len(shown) - 1) / 2) * width
        ax.bar(
            [index + offset for index, _ in drawn],
            [row.gops for _, row in drawn],
            width,
            yerr=_spread(row for _, row in drawn),
            error_kw={"linewidth": 0.8},
            color=COLOURS[libraries.index(library) % len(COLOURS)],
            label=library,
        )
    ax.set_xticks(range(len(cases)), [str(case.shape) for case in cases], rotation=30, ha="right")
    ax.set_yscale("log")  # the smallest product and the largest are three orders apart
    _plain_ticks(ax.yaxis)
    ax.set_ylabel("GOP/s")
    ax.set_title(f"{dtype.value}: calls from Python, second operand {form.value}")
    ax.grid(visible=True, axis="y", alpha=0.3)
    ax.set_axisbelow(True)
    wrong = list(dict.fromkeys(row.library for row in of_form if row.wrong))
    for library in wrong:
        ax.plot([], [], " ", label=f"{library}: wrong")
    if shown or wrong:
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")


def _spread(rows: Any) -> list[list[float]]:
    """Distances from the median rate to the least and the greatest."""
    below: list[float] = []
    above: list[float] = []
    row: CallRow
    for row in rows:
        assert row.seconds is not None
        operations = row.case.shape.operations / 1e9
        median = operations / row.seconds.median
        below.append(median - operations / row.seconds.high)
        above.append(operations / row.seconds.low - median)
    return [below, above]


def _plain(value: float) -> str:
    """Whole numbers where they have three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
