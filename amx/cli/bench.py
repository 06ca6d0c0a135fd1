"""`amx bench`: the machine's ceiling, our kernels against it, our calls and layers against others'."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from amx._console import open_console
from amx.cli._files import STANDARD, refusal, writing
from amx.cli._streams import print_error

if TYPE_CHECKING:
    from amx.bench.session import Options, Report

__all__ = ["add_parser", "run"]

INTERRUPTED = 128 + signal.SIGINT


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the subcommand."""
    from amx.bench.grid import PRESETS
    from amx.bench.peers import LAYERS, NAMES

    names = ",".join((*NAMES, *LAYERS))
    parser = subparsers.add_parser(
        "bench",
        help="measure this machine's ceiling, our products, and other libraries'",
        description="Measure, in one process and interleaved: the ceiling of this machine, our packed "
        "product inside C against it, and calls from Python against those of other installed libraries, "
        "whose results are compared with ours. docs/performance.md explains the columns.",
        epilog="Exit status: 0; 1 where a result differs, or AMX_BACKEND=native cannot be used; 2 for wrong "
        "usage, or what cannot be written; 130 after an interrupt, with what was measured until then.",
    )
    parser.add_argument(
        "what",
        nargs="*",
        default=["square"],
        metavar="PRESET|SHAPE",
        help=f"presets: {', '.join(PRESETS)} (default square); shapes: MxNxK, BxMxNxK for a batch of B, "
        "then @LD for rows that lie LD elements apart, then :int8, :bf16 or :fp16; "
        "layer:MxNxK, with :dtype or without, for a linear layer",
    )
    parser.add_argument("--dtype", default="int8,bf16", help="for what names none (default int8,bf16)")
    parser.add_argument("--threads", type=int, default=1, help="threads of every library (default 1)")
    parser.add_argument("--peers", default=names, help=f"comma-separated, or none (default {names})")
    parser.add_argument("--seed", type=int, default=1, help="of the data (default 1)")
    parser.add_argument(
        "--emulation",
        action="store_true",
        help="measure instead what emulated instructions cost: called, patched, trapped, on hardware",
    )
    parser.add_argument(
        "--quick", action="store_true", help="few and short samples, no large products: a look, not a figure"
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON object (see docs/json.md)")
    output.add_argument("--csv", action="store_true", help="print comma-separated rows")
    parser.add_argument(
        "--plot",
        metavar="FILE.png",
        help="draw roofline and bars (needs matplotlib); - for a PNG on stdout, and the tables go to stderr",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure and report; 0, 1 where a result differs, 2 for wrong usage, 130 after an interrupt."""
    from amx.bench import session

    if arguments.seed < 0:
        print_error(f"amx bench: --seed {arguments.seed}: a seed is 0 or more")
        return 2
    if arguments.emulation:
        return _run_emulation(arguments)
    try:
        options = _options(arguments)
        if arguments.plot is not None:
            _check_plot(arguments)
    except ValueError as error:
        print_error(f"amx bench: {error}")
        return 2
    try:
        with _progress() as progress:
            report = session.run(options, progress)
    except KeyboardInterrupt:
        print_error("amx bench: interrupted before any product was measured")
        return INTERRUPTED
    _print(report, arguments)
    if arguments.plot is not None:
        from amx.bench.plot import draw

        with writing(arguments.plot) as file:
            draw(report, file, _format_of(arguments.plot))
    for difference in report.differences:
        print_error(f"amx bench: {difference}")
    if report.interrupted:
        print_error("amx bench: interrupted; what is missing is listed as left out")
        return INTERRUPTED
    return 1 if report.differences else 0


def _run_emulation(arguments: argparse.Namespace) -> int:
    from amx.bench import emulation

    if arguments.what != ["square"] or arguments.csv or arguments.plot:
        print_error("amx bench: --emulation goes with --quick, --seed and --json only")
        return 2
    costs = emulation.measure(quick=arguments.quick, seed=arguments.seed)
    if arguments.json:
        from amx.bench.records import costs_as_json

        print(json.dumps(costs_as_json(costs), indent=2))
    else:
        from amx.bench.tables import show_costs

        show_costs(costs, open_console())
    for how in costs.wrong:
        print_error(f"amx bench: {emulation.PRODUCT} {how.value}: the product is wrong")
    return 1 if costs.wrong else 0


def _options(arguments: argparse.Namespace) -> Options:
    from amx._lib import lib
    from amx.bench.grid import parse_dtype, parse_preset
    from amx.bench.peers import LAYERS, NAMES, load, load_layer
    from amx.bench.session import Options

    dtypes = tuple(parse_dtype(text) for text in arguments.dtype.split(","))
    cases = dict.fromkeys(case for text in arguments.what for case in parse_preset(text, dtypes))
    of_products, of_layers = (any(case.layer is of for case in cases) for of in (False, True))
    names = [] if arguments.peers == "none" else dict.fromkeys(arguments.peers.split(","))
    for name in names:
        if name not in (*NAMES, *LAYERS):
            raise ValueError(f"peer {name!r} is none of {', '.join((*NAMES, *LAYERS))}")
    available = int(lib.amx_gemm_threads())
    if not 1 <= arguments.threads <= available:
        raise ValueError(f"--threads {arguments.threads}: from 1 to {available} here")
    return Options(
        cases=tuple(cases),
        peers=tuple(load(name) for name in names if name in NAMES and of_products),
        layer_peers=tuple(load_layer(name) for name in names if name in LAYERS and of_layers),
        threads=arguments.threads,
        quick=arguments.quick,
        seed=arguments.seed,
    )


def _format_of(file: str) -> str:
    return "png" if file == STANDARD else Path(file).suffix[1:].lower()


def _check_plot(arguments: argparse.Namespace) -> None:
    """Before minutes of measuring: that matplotlib is there, writes such a format, and may write there."""
    file: str = arguments.plot
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError:
        raise ValueError("--plot needs matplotlib: pip install 'linux-amx[plot]'") from None
    formats = FigureCanvasAgg.get_supported_filetypes()
    if _format_of(file) not in formats:
        raise ValueError(f"--plot {file}: a picture's name ends in .png, or another of {', '.join(formats)}")
    if refused := refusal(file):
        raise ValueError(f"--plot {file}: {refused}")
    if file == STANDARD and (arguments.json or arguments.csv):
        raise ValueError("--plot -: the standard output is taken by --json or --csv")


def _print(report: Report, arguments: argparse.Namespace) -> None:
    if arguments.json:
        from amx.bench.records import as_json

        print(json.dumps(as_json(report), indent=2))
    elif arguments.csv:
        from amx.bench.records import write_csv

        write_csv(report, sys.stdout)
    else:
        from amx.bench.tables import show

        show(report, open_console(stderr=arguments.plot == STANDARD))


class _Silent:
    """Progress where nobody watches."""

    def start(self, steps: int) -> None:
        """Nothing."""

    def step(self, text: str) -> None:
        """Nothing."""


def _progress() -> AbstractContextManager[_Silent | _Bar]:
    return _Bar() if sys.stderr.isatty() else nullcontext(_Silent())


class _Bar(AbstractContextManager["_Bar"]):
    """A bar on the standard error, redrawn only between measurements: a drawing thread would disturb them."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=open_console(stderr=True),
            transient=True,
            auto_refresh=False,
        )
        self._task = self._bar.add_task("", total=None)
        self._done = 0

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def start(self, steps: int) -> None:
        """The number of steps that will follow."""
        self._bar.update(self._task, total=steps, refresh=True)

    def step(self, text: str) -> None:
        """A step begins, so the one before is done."""
        self._bar.update(self._task, completed=self._done, description=text, refresh=True)
        self._done += 1
