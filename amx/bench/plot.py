"""A report as a picture: for each dtype a roofline of the kernels, and bars of the calls per size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from amx.bench.calls import OURS, CallRow
from amx.bench.grid import Dtype
from amx.bench.peers.peer import Form
from amx.bench.session import Report

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["draw"]

# Colour-blind safe (Okabe and Ito); ours is always the first.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")


def draw(report: Report, path: Path) -> None:
    """Write the picture; needs matplotlib. The format follows the file's suffix."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    dtypes = list(dict.fromkeys(row.case.dtype for row in report.kernels))
    cases = len({row.case for row in report.calls}) / max(1, len(dtypes))
    columns = max(1, len(dtypes))
    figure = Figure(figsize=(max(7.0, 1.1 * cases) * columns, 13), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, columns, squeeze=False)
    for column, dtype in enumerate(dtypes):
        _roofline(axes[0][column], report, dtype)
        for row, form in enumerate(reversed(Form), start=1):
            _bars(axes[row][column], report, dtype, form)
    figure.suptitle(f"{report.processor}, {report.threads} thread(s), linux-amx {report.version}")
    figure.savefig(path, dpi=110)


def _roofline(ax: Any, report: Report, dtype: Dtype) -> None:
    rows = [row for row in report.kernels if row.case.dtype is dtype]
    intensities = [row.case.shape.intensity(dtype) for row in rows]
    low, high = min(intensities) / 2, max(intensities) * 2
    native = all(row.native for row in rows)
    ax.scatter(
        intensities, [row.gops for row in rows], color=COLOURS[0], zorder=3,
        label=f"{OURS} kernel, packed" + ("" if native else " (emulated)"),
    )  # fmt: skip
    _label_points(ax, [(str(row.case.shape), x, row.gops) for row, x in zip(rows, intensities, strict=True)])
    compute = report.ceiling.compute(dtype, report.threads)
    memory = report.ceiling.memory(report.threads)
    if compute is not None:
        ax.axhline(compute, color="black", linewidth=1, label=f"2x2 block from L1: {_plain(compute)} GOP/s")
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
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("operations per byte of A, B and C")
    ax.set_ylabel("GOP/s")
    ax.set_title(f"{dtype.value}: kernels" + ("" if compute else "; tile unit not measurable here"))
    ax.grid(visible=True, which="major", alpha=0.3)
    ax.legend(loc="lower right", fontsize="small")


def _label_points(ax: Any, points: Sequence[tuple[str, float, float]]) -> None:
    """Names beside the points, one side each in turns, so that neighbours do not cover each other."""
    for place, (name, x, y) in enumerate(sorted(points, key=lambda point: point[1:])):
        above = place % 2 == 0
        ax.annotate(
            name, (x, y), textcoords="offset points", xytext=(0, 7 if above else -14), ha="center",
            fontsize="x-small",
        )  # fmt: skip


def _bars(ax: Any, report: Report, dtype: Dtype, form: Form) -> None:
    rows = [row for row in report.calls if row.case.dtype is dtype and row.form is form and row.gops]
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
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_ylabel("GOP/s")
    ax.set_title(f"{dtype.value}: calls from Python, second operand {form.value}")
    ax.grid(visible=True, axis="y", alpha=0.3)
    ax.set_axisbelow(True)
    if shown:
        ax.legend(fontsize="small", ncols=2)


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
