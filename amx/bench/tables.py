"""A report for people: tables on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from amx.backend import Backend
from amx.bench import layers
from amx.bench.calls import OURS, CallRow, best
from amx.bench.ceiling import Unit
from amx.bench.emulation import Costs, How
from amx.bench.goals import Figure, Standing, standings
from amx.bench.grid import Case
from amx.bench.kernels import KernelRow
from amx.bench.layer_operands import Weights
from amx.bench.layers import PRODUCT, LayerRow
from amx.bench.peers.peer import Form
from amx.bench.recorded import recorded
from amx.bench.session import Report
from amx.bench.timing import Summary

__all__ = ["show", "show_costs"]


def show(report: Report, console: Console) -> None:
    """Conditions, ceiling, kernels, calls, layers, goals, peers, and what was left out."""
    for part in (
        _conditions,
        _ceiling,
        _kernels,
        _calls,
        _layers,
        _goals,
        _untuned,
        _amx_use,
        _peers,
        _notes,
    ):
        part(report, console)


def show_costs(costs: Costs, console: Console) -> None:
    """Ways as columns, instructions and the product as rows."""
    console.print(f"{costs.processor}, Linux {costs.kernel}; one thread; whole tiles")
    console.print(f"Median of {costs.pace.rounds} rounds, samples of at least {costs.pace.sample * 1e3:g} ms")
    console.print()
    table = _table("What an AMX instruction costs", "", *(how.value for how in How))
    for what in dict.fromkeys(row.what for row in costs.rows):
        figures = (costs.of(what, how) for how in How)
        table.add_row(what, *(_time(figure.median) if figure else "-" for figure in figures))
    console.print(table)
    for how, reason in costs.missing:
        console.print(f"- {how.value}: {reason}", markup=False)


_TEXTS = (
    "",
    "product",
    "round size",
    "beside",
    "library",
    "on AMX",
    "engine",
    "dtype",
    "weights",
    "evidence",
    "version",
)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="left" if name in _TEXTS else "right")
    return table


def _conditions(report: Report, console: Console) -> None:
    families = dict(report.families)
    engines = ", ".join(
        f"{dtype.value} {_named(engine, is_on_amx=dtype in report.native)}"
        + (f" ({families[dtype]})" if families[dtype] else "")
        for dtype, engine in report.engines
    )
    console.print(
        f"{report.processor}, Linux {report.kernel}; {report.threads} thread(s); engines: {engines}"
    )
    if report.emulated:
        console.print(f"AMX is emulated here ({report.emulated}): no rate measured here is one of AMX.")
    console.print(
        f"Median of {report.pace.rounds} interleaved rounds (least-greatest), samples of at least "
        f"{report.pace.sample * 1e3:g} ms; dense data, seed {report.seed}"
    )
    console.print()


def _ceiling(report: Report, console: Console) -> None:
    table = _table("Ceiling of this machine", "", "dtype", "threads", "rate", "range", "unit")
    reasons: dict[str, None] = {}
    for row in report.ceiling.rows:
        if row.rate is None:
            reasons.setdefault(row.reason)
        range_ = f"{_number(row.rate.low)}-{_number(row.rate.high)}" if row.rate else ""
        rate = _number(row.rate.median) if row.rate else "-"
        table.add_row(
            row.name, row.dtype.value if row.dtype else "", str(row.threads), rate, range_, row.unit.value
        )
    console.print(table)
    for reason in reasons:
        console.print(f"- {reason}", markup=False)
    console.print()


def _kernels(report: Report, console: Console) -> None:
    if not report.kernels:
        return
    table = _table(
        "Kernels: the packed product inside one C call", "product", "dtype", "engine", "time", "range",
        Unit.GOPS.value, "of ceiling", "range", "B, GB/s", "stream", "of stream", "scaling",
    )  # fmt: skip
    for row in report.kernels:
        table.add_row(
            str(row.case.shape),
            row.case.dtype.value,
            _engine(row),
            _time(row.seconds.median),
            f"{_time(row.seconds.low)}-{_time(row.seconds.high)}",
            _number(row.gops),
            _percent(row.of_ceiling),
            _percent_range(row.of_ceiling),
            _number(row.b_gbs),
            _number(row.stream_gbs) if row.stream_gbs else "",
            _percent(row.of_stream),
            f"{row.scaling.median:.2f}" if row.scaling else "",
        )
    console.print(table)
    for name in dict.fromkeys(row.ceiling for row in report.kernels if row.ceiling):
        dtypes = dict.fromkeys(row.case.dtype.value for row in report.kernels if row.ceiling == name)
        console.print(f"- the ceiling of {', '.join(dtypes)}: {name}", markup=False)
    for row in report.kernels:
        if row.copies > 1:
            console.print(
                f"- {row.case}: {row.copies} copies of B take turns, so that it is cold", markup=False
            )
    console.print()


def _engine(row: KernelRow | Standing) -> str:
    """What multiplied; the tiles of an emulated CPU are no AMX."""
    return _named(row.engine, is_on_amx=row.native)


def _named(engine: Backend, *, is_on_amx: bool) -> str:
    return "emulated" if engine is Backend.NATIVE and not is_on_amx else engine.value


def _calls(report: Report, console: Console) -> None:
    for form in Form:
        rows = [row for row in report.calls if row.form is form and (row.seconds or row.wrong)]
        libraries = list(dict.fromkeys(row.library for row in rows))
        if not rows:
            continue
        title = f"Calls from Python, second operand {form.value}: GOP/s"
        table = _table(
            title,
            "product",
            "dtype",
            *libraries,
            "best peer",
            "ratio",
            "range",
            "best float32",
            "ratio",
            "range",
        )
        for case in dict.fromkeys(row.case for row in rows):
            of_case = {row.library: row for row in rows if row.case == case}
            winners = [best(rows, case, form, float32=float32) for float32 in (False, True)]
            table.add_row(
                str(case.shape),
                case.dtype.value,
                *(_gops(of_case.get(library)) for library in libraries),
                *(text for winner in winners for text in _against(winner)),
            )
        console.print(table)
        console.print()


def _layers(report: Report, console: Console) -> None:
    rows = [row for row in report.layers if row.seconds or row.wrong]
    if not rows:
        return
    libraries = [name for name in dict.fromkeys(row.library for row in rows) if name not in (OURS, PRODUCT)]
    table = _table(
        "Linear layers from Python: GOP/s of the product in them", "product", "weights", OURS, PRODUCT,
        "of product", "range", "of int8", *libraries, "best peer", "ratio", "range", "best float32", "ratio",
        "range",
    )  # fmt: skip
    for case, weights in dict.fromkeys((row.case, row.weights) for row in rows):
        if weights is Weights.FLOAT32:
            continue
        of_case = {
            row.library: row for row in rows if row.case == case and row.weights in (weights, Weights.FLOAT32)
        }
        ours = of_case.get(OURS)
        of_product = ours.of_product if ours else None
        is_main = weights is layers.weights_of(case.dtype)
        winners = [layers.best(rows, case, weights)]
        winners += [layers.best(rows, case, Weights.FLOAT32) if is_main else None]
        table.add_row(
            str(case.shape),
            weights.value,
            _rate(ours),
            _rate(of_case.get(PRODUCT)),
            _percent(of_product),
            _percent_range(of_product),
            f"{ours.of_int8.median:.2f}" if ours and ours.of_int8 else "",
            *(_rate(of_case.get(library)) for library in libraries),
            *(text for winner in winners for text in _against(winner)),
        )
    console.print(table)
    for case in dict.fromkeys(row.case for row in rows):
        if (copies := max(row.copies for row in rows if row.case == case)) > 1:
            console.print(
                f"- {case}: {copies} copies of the weights take turns, so that they are cold", markup=False
            )
    console.print()


def _rate(row: LayerRow | None) -> str:
    if row is None or row.gops is None:
        return "wrong" if row and row.wrong else ""
    return _number(row.gops)


def _against(winner: CallRow | LayerRow | None) -> tuple[str, str, str]:
    if winner is None or winner.ratio is None:
        return "", "", ""
    ratio = winner.ratio
    return winner.library, f"{ratio.median:.2f}", f"{ratio.low:.2f}-{ratio.high:.2f}"


def _goals(report: Report, console: Console) -> None:
    """Measured beside wanted; for people to judge, since one run on a shared machine proves little."""
    is_native = any(row.native for row in report.kernels)
    table = _table(
        "Goals of this project", "product", "dtype", "engine", "plain ratio", "packed ratio", "goal",
        "to float32", "packed", "goal", "of ceiling", "goal", "of stream", "goal", "scaling", "goal",
        "beside", "of it", "goal", "kernel, GOP/s", *(_QUOTED if is_native else ()),
    )  # fmt: skip
    kernels = {row.case: row for row in report.kernels}
    is_quoted = False
    for case, of in _by_case(report, tuned=True).items():
        elsewhere = recorded(case, report.threads) if is_native else None
        is_quoted |= elsewhere is not None
        quoted = (elsewhere.libxsmm, elsewhere.onednn, elsewhere.onednn_packed) if elsewhere else ()
        beside = of.get((Figure.OF_NEIGHBOUR, None))
        table.add_row(
            str(case.shape),
            case.dtype.value,
            _engine(kernels[case]),
            *_beside_goal(of, (Figure.RATIO, Form.PLAIN), (Figure.RATIO, Form.PACKED)),
            *_beside_goal(of, (Figure.OF_FLOAT32, Form.PLAIN), (Figure.OF_FLOAT32, Form.PACKED)),
            *_beside_goal(of, (Figure.OF_CEILING, None)),
            *_beside_goal(of, (Figure.OF_STREAM, None)),
            *_beside_goal(of, (Figure.SCALING, None)),
            beside.against if beside else "",
            *_beside_goal(of, (Figure.OF_NEIGHBOUR, None)),
            _number(kernels[case].gops),
            *(_number(rate) if rate else "" for rate in quoted),
        )
    if table.row_count:
        console.print(table)
        _left_out(report, console, tuned=True)
        if is_quoted:
            console.print("* GOP/s recorded on another machine, not in turns: docs/performance.md")
        console.print()


def _untuned(report: Report, console: Console) -> None:
    """The rate at odd sizes over that at the round size beside them, and the least that it should be."""
    table = _table(
        "Sizes that nobody tuned for: our rate over our rate at the round size", "product", "dtype", "engine",
        "round size", "kernel", "range", "plain", "range", "packed", "range", "floor",
        "plain ratio", "packed ratio", "goal",
    )  # fmt: skip
    for case, of in _by_case(report, tuned=False).items():
        kernel = of[Figure.OF_NEIGHBOUR, None]
        rates = [of[Figure.OF_NEIGHBOUR, form].measured for form in (None, *Form)]
        table.add_row(
            str(case.shape),
            case.dtype.value,
            _engine(kernel),
            kernel.against,
            *(text for rate in rates for text in (_percent(rate), _percent_range(rate))),
            f"{kernel.goal:.0%}",
            *_beside_goal(of, (Figure.RATIO, Form.PLAIN), (Figure.RATIO, Form.PACKED)),
        )
    if table.row_count:
        console.print(table)
        _left_out(report, console, tuned=False)
        console.print()


def _left_out(report: Report, console: Console, *, tuned: bool) -> None:
    """The libraries that the ratios are not to, since they are wrong."""
    of_all = (row for of in _by_case(report, tuned=tuned).values() for row in of.values())
    for library in dict.fromkeys(library for row in of_all for library in row.wrong):
        console.print(f"No ratio is one to {library} where its products are wrong: see below", markup=False)


_QUOTED = ("libxsmm*", "oneDNN*", "oneDNN* packed")
_Key = tuple[Figure, Form | None]


def _by_case(report: Report, *, tuned: bool) -> dict[Case, dict[_Key, Standing]]:
    found: dict[Case, dict[_Key, Standing]] = {}
    for row in standings(report.kernels, report.calls):
        found.setdefault(row.case, {})[row.figure, row.form] = row
    return {case: of for case, of in found.items() if ((Figure.OF_NEIGHBOUR, Form.PLAIN) in of) is not tuned}


def _beside_goal(of: dict[_Key, Standing], *keys: _Key) -> list[str]:
    """Each of some figures with one goal, then the goal."""
    style = ".0%" if keys[0][0] in (Figure.OF_CEILING, Figure.OF_STREAM, Figure.OF_NEIGHBOUR) else ".2f"
    rows = [of.get(key) for key in keys]
    goal = f"{rows[0].goal:{style}}".removesuffix("0") if rows[0] else ""
    return [*(f"{row.measured.median:{style}}" if row and row.measured else "" for row in rows), goal]


def _amx_use(report: Report, console: Console) -> None:
    """Each finding once, with the products it was made on."""
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for row in report.calls:
        if row.amx:
            key = row.library, row.case.dtype.value, report.said_of(row.amx), row.amx.evidence
            found.setdefault(key, []).append(f"{row.case.shape}")
    if not found:
        return
    table = _table("Did they use AMX?", "library", "dtype", "on AMX", "evidence", "product")
    for (library, dtype, used, evidence), shapes in found.items():
        distinct = list(dict.fromkeys(shapes))
        named = ", ".join(distinct[:3]) + (f" and {len(distinct) - 3} more" if len(distinct) > 3 else "")
        table.add_row(library, dtype, used, Text(evidence), named)
    console.print(table)
    console.print()


def _peers(report: Report, console: Console) -> None:
    table = _table("Libraries", "library", "version")
    table.add_row(OURS, report.version)
    for peer in report.peers:
        table.add_row(peer.name, Text(f"missing: {peer.missing}" if peer.missing else peer.version))
    console.print(table)
    console.print()


def _notes(report: Report, console: Console) -> None:
    reasons: dict[str, list[str]] = {}
    for row in report.calls:
        if row.reason:
            reasons.setdefault(
                f"{row.library} {row.form.value}, {row.case.dtype.value}: {row.reason}", []
            ).append(str(row.case.shape))
    for layer in report.layers:
        if layer.reason:
            of = f"layers: {layer.library}, {layer.weights.value}: {layer.reason}"
            reasons.setdefault(of, []).append(str(layer.case.shape))
    for reason, shapes in reasons.items():
        console.print(f"- {reason} ({len(shapes)} product(s))", markup=False)
    for left in report.left_out:
        console.print(f"- left out: {left.case}, {left.reason}", markup=False)
    for difference in report.differences:
        console.print(f"DIFFERS: {difference}", markup=False)


def _gops(row: CallRow | None) -> str:
    if row is None or row.gops is None:
        return "wrong" if row and row.wrong else ""
    return f"{_number(row.gops)}{'!' if row.difference else ''}"


def _number(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _percent(summary: Summary | None) -> str:
    return f"{summary.median:.0%}" if summary else ""


def _percent_range(summary: Summary | None) -> str:
    return f"{summary.low:.0%}-{summary.high:.0%}" if summary else ""


def _time(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{_number(seconds / scale)} {unit}"
    return f"{seconds * 1e9:.0f} ns"
