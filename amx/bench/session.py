"""One run of `amx bench`: what to measure, in which order, and all that came out."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import amx
from amx import cpu, machine
from amx._lib import lib
from amx.backend import Backend
from amx.bench import calls, ceiling, kernels, layers, memory
from amx.bench.calls import OURS, CallRow
from amx.bench.ceiling import Ceiling
from amx.bench.goals import goal_of
from amx.bench.grid import Case, Dtype
from amx.bench.kernels import KernelRow
from amx.bench.layer_operands import make_layer
from amx.bench.layers import LayerRow
from amx.bench.operands import make_full_range, make_operands
from amx.bench.peers.layer import LayerPeer
from amx.bench.peers.peer import AmxUse, Library, Peer, Verdict
from amx.bench.timing import Clock, Pace, RealClock

__all__ = ["QUICK", "THOROUGH", "LeftOut", "Options", "PeerFacts", "Progress", "Report", "run"]

THOROUGH = Pace(rounds=7, sample=0.020)
QUICK = Pace(rounds=3, sample=0.002)
MEMORY_BYTES = 512 << 20
COLD_BYTES = 128 << 20  # of all copies of a B that is to come from beyond the caches
QUICK_MEMORY_BYTES = 64 << 20
_Library = TypeVar("_Library", bound=Library)
# Operations of one product beyond which it is left out: 512 x 512 x 512, and 1024 x 1024 x 1024.
LARGEST_QUICK = 1 << 28
LARGEST_EMULATED = 1 << 31


@dataclass(frozen=True, slots=True)
class Options:
    """What to do. `peers`, and of layers `layer_peers`, are tried in this order."""

    cases: tuple[Case, ...]
    peers: tuple[Peer, ...]
    layer_peers: tuple[LayerPeer, ...] = ()
    threads: int = 1
    quick: bool = False
    seed: int = 1

    @property
    def pace(self) -> Pace:
        """How long things are measured."""
        return QUICK if self.quick else THOROUGH

    @property
    def memory_bytes(self) -> int:
        """Of a working set that exceeds the caches."""
        return QUICK_MEMORY_BYTES if self.quick else MEMORY_BYTES

    def copies(self, case: Case) -> int:
        """Of B, that take turns."""
        return memory.copies_of_b(case, min(COLD_BYTES, self.memory_bytes))


@dataclass(frozen=True, slots=True)
class PeerFacts:
    """One library: its version, or why it is missing."""

    name: str
    version: str
    missing: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A case that was asked for and not measured, or not to its end."""

    case: Case
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was found.

    `native` are the dtypes that ran on the CPU's tiles; `emulated` is what AMX is emulated here, and by what;
    `engines` is what multiplied each dtype, `families` which of the vector engine's kernels, else empty.
    """

    version: str
    processor: str
    kernel: str
    threads: int
    pace: Pace
    seed: int
    native: tuple[Dtype, ...]
    emulated: str
    engines: tuple[tuple[Dtype, Backend], ...]
    families: tuple[tuple[Dtype, str], ...]
    ceiling: Ceiling
    kernels: tuple[KernelRow, ...]
    calls: tuple[CallRow, ...]
    layers: tuple[LayerRow, ...]
    peers: tuple[PeerFacts, ...]
    left_out: tuple[LeftOut, ...]
    interrupted: bool = False

    def said_of(self, use: AmxUse) -> str:
        """Whether a library used AMX: "yes", "no", "unknown", or "emulated" where that was not the CPU's."""
        return "emulated" if self.emulated and use.verdict is Verdict.YES else use.verdict.value

    @property
    def differences(self) -> tuple[str, ...]:
        """Results that are not what they should be, one sentence each."""
        of_kernels = [f"{row.case} kernel: {row.difference}" for row in self.kernels if row.difference]
        of_calls = [
            f"{row.case} {row.library} {row.form.value}: {row.difference}"
            for row in self.calls
            if row.difference
        ]
        of_layers = [
            f"{row.case} {row.library} {row.weights.value}: {row.wrong}"
            for row in self.layers
            if row.wrong and row.library == OURS
        ]
        return (*of_kernels, *of_calls, *of_layers)


class Progress(Protocol):
    """Who is told how far the run is."""

    def start(self, steps: int) -> None:
        """The number of steps that will follow."""

    def step(self, text: str) -> None:
        """A step begins."""


def run(options: Options, progress: Progress, clock: Clock | None = None) -> Report:
    """Measure the machine, then each case: the kernel, then the calls; or the layer.

    Lifts a limit of `set_num_threads`.

    An interrupt amid the cases ends the run early: the report holds what is complete.

    Raises
    ------
    AmxUnavailableError: the native backend was asked for and cannot be used.
    """
    clock = clock or RealClock()
    cases, left_out = _choose(options)
    amx.set_num_threads(options.threads)
    try:
        return _measure(options, cases, left_out, progress, clock)
    finally:
        amx.set_num_threads(None)


def _measure(
    options: Options, cases: Sequence[Case], left_out: tuple[LeftOut, ...], progress: Progress, clock: Clock
) -> Report:
    progress.start(2 + sum(1 if case.layer else 2 for case in cases))
    progress.step("peers")
    facts, present = _present(options.peers)
    facts_of_layers, of_layers = _present(options.layer_peers)
    progress.step("the machine's own ceiling")
    dtypes = tuple(dict.fromkeys(case.dtype for case in options.cases))
    limits = ceiling.measure(
        dtypes,
        tuple(sorted({1, options.threads, int(lib.amx_gemm_threads())})),
        options.memory_bytes,
        options.pace,
        clock,
        options.seed,
    )
    kernel_rows: list[KernelRow] = []
    call_rows: list[CallRow] = []
    layer_rows: list[LayerRow] = []
    interrupted = False
    for place, case in enumerate(cases):
        try:
            if case.layer:
                layer_rows += _measure_layer(case, options, of_layers, progress, clock)
                continue
            kernel, of_case = _measure_case(case, options, present, progress, clock)
        except KeyboardInterrupt:
            left_out += tuple(LeftOut(each, "interrupted") for each in cases[place:])
            interrupted = True
            break
        kernel_rows.append(kernel)
        call_rows += of_case
    return Report(
        version=amx.__version__,
        processor=platform.machine() if machine.current().stub else str(cpu.processor()),
        kernel=machine.current().kernel().release,
        threads=options.threads,
        pace=options.pace,
        seed=options.seed,
        native=tuple(dtype for dtype in dtypes if ceiling.is_on_amx(dtype)),
        emulated=machine.current().emulated,
        engines=tuple((dtype, ceiling.engine(dtype)) for dtype in dtypes),
        families=tuple((dtype, ceiling.family(dtype)) for dtype in dtypes),
        ceiling=limits,
        kernels=tuple(kernel_rows),
        calls=tuple(call_rows),
        layers=tuple(layer_rows),
        peers=(*facts, *facts_of_layers),
        left_out=left_out,
        interrupted=interrupted,
    )


def _measure_case(
    case: Case, options: Options, present: Sequence[Peer], progress: Progress, clock: Clock
) -> tuple[KernelRow, list[CallRow]]:
    operands, beside = make_operands(case, options.seed), None
    goal = goal_of(case, options.threads, ceiling.engine(case.dtype))
    if goal and goal.beside:
        beside = make_operands(goal.beside, options.seed)
    copies = options.copies(case)
    progress.step(f"{case} kernel")
    kernel = kernels.measure(operands, options.threads, options.pace, clock, options.seed, beside, copies)
    progress.step(f"{case} calls")
    full = make_full_range(case, options.seed) if present else None
    contest = calls.prepare(operands, present, options.threads, beside, full, copies)
    return kernel, contest.measure(options.pace, clock)


def _measure_layer(
    case: Case, options: Options, present: Sequence[LayerPeer], progress: Progress, clock: Clock
) -> list[LayerRow]:
    progress.step(str(case))
    operands = make_layer(case, options.seed)
    return layers.measure(operands, present, options.threads, options.pace, clock, options.copies(case))


def _choose(options: Options) -> tuple[tuple[Case, ...], tuple[LeftOut, ...]]:
    chosen: list[Case] = []
    left_out: list[LeftOut] = []
    for case in options.cases:
        if options.quick and case.shape.operations > LARGEST_QUICK:
            left_out.append(LeftOut(case, "too large for --quick"))
        elif case.shape.operations > LARGEST_EMULATED and ceiling.engine(case.dtype) is Backend.EMULATED:
            left_out.append(LeftOut(case, "too large for the emulated backend"))
        elif (needed := memory.needed(case, options.copies(case))) > (available := memory.available()):
            reason = f"needs some {needed / 1e9:.1f} GB of memory, and {available / 1e9:.1f} are available"
            left_out.append(LeftOut(case, reason))
        else:
            chosen.append(case)
    return tuple(chosen), tuple(left_out)


def _present(peers: Sequence[_Library]) -> tuple[tuple[PeerFacts, ...], tuple[_Library, ...]]:
    facts, present = [], []
    for peer in peers:
        missing = peer.missing()
        facts.append(PeerFacts(peer.name, "" if missing else peer.version(), missing))
        if not missing:
            present.append(peer)
    return tuple(facts), tuple(present)
