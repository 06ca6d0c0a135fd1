"""`amx info`: what the processor announces, what the kernel enabled, what this process may do."""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import amx
from amx import cpu, lifetime, machine, permission, xstate
from amx.backend import Group, vector_families
from amx.cli._files import STANDARD, write_text
from amx.diagnosis import Outcome, RungName, explain
from amx.printable import printable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Info", "Permission", "add_parser", "gather", "run", "show"]

SCHEMA = 1
CPUINFO_SECONDS = 20  # py-cpuinfo takes about one


@dataclasses.dataclass(frozen=True, slots=True)
class Permission:
    """What arch_prctl says: component masks, of what is supported, permitted, and permitted to guests."""

    supported: bool
    granted: bool
    permitted: int | None
    guest_granted: bool
    guest_permitted: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Info:
    """Everything the command prints.

    `emulated` is as in `amx.machine.Machine`. `permission` is None where there is no AMX to ask the kernel
    for. `vector` is what products run on without AMX, by `amx.backend.Group`: kernels in vector registers,
    best first; None for a recorded machine.
    """

    emulated: str
    brand: str
    processor: cpu.Processor
    announced: frozenset[cpu.Feature]
    palettes: tuple[cpu.Palette, ...]
    tile_multiplier: cpu.TileMultiplier | None
    layout: xstate.Layout
    xinuse: int | None
    altstack_need: xstate.AltstackNeed
    altstack: permission.Altstack
    permission: Permission | None
    vector: dict[str, tuple[str, ...]] | None
    disagreements: tuple[cpu.Disagreement, ...]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "info",
        help="what the processor, the kernel and this process's permission offer",
        description="Print what CPUID, XCR0 and the kernel say about AMX, without judging it.",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object (see docs/json.md)")
    form.add_argument(
        "--record",
        metavar="FILE",
        help="write this machine's facts to FILE, for a report or a test, - for the standard output; no host "
        "name is in it",
    )
    form.add_argument(
        "--nfd",
        metavar="FILE",
        nargs="?",
        const=STANDARD,
        help="write labels for Node Feature Discovery to FILE, in its features.d (see docs/fleets.md); "
        "without FILE to the standard output",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print or write; 0 when it could be read."""
    if arguments.record is not None:
        return _record(arguments.record)
    if arguments.nfd is not None:
        from amx.cli._nfd import features

        write_text(arguments.nfd, features(_vector()))
        return 0
    info = gather()
    if arguments.json:
        print(json.dumps(as_json(info), indent=2))
    else:
        from amx._console import open_console

        show(info, open_console())
    return 0


def gather() -> Info:
    """Read all of it."""
    return Info(
        emulated=machine.current().emulated,
        brand=cpu.brand() or _brand_found_elsewhere(),
        processor=cpu.processor(),
        announced=cpu.announced(),
        palettes=cpu.palettes(),
        tile_multiplier=cpu.tile_multiplier(),
        layout=xstate.layout(),
        xinuse=xstate.xinuse(),
        altstack_need=xstate.altstack_need(),
        altstack=permission.altstack(),
        permission=_permission(),
        vector=_vector(),
        disagreements=cpu.disagreements(),
    )


def as_json(info: Info) -> dict[str, object]:
    """The facts as docs/json.md describes them."""
    layout, held = info.layout, info.permission
    return {
        "schema": SCHEMA,
        "version": amx.__version__,
        "emulated": info.emulated or None,
        "processor": {"brand": info.brand, **dataclasses.asdict(info.processor)},
        "features": [
            {
                "flag": feature.value,
                "where": feature.where,
                "announced": feature in info.announced,
                "status": feature.status.value,
            }
            for feature in cpu.Feature
        ],
        "palettes": [dataclasses.asdict(palette) for palette in info.palettes],
        "tile_multiplier": dataclasses.asdict(info.tile_multiplier) if info.tile_multiplier else None,
        "xstate": {
            "xcr0": _hexadecimal(layout.xcr0),
            "xinuse": _hexadecimal(info.xinuse),
            "supported": _hexadecimal(layout.supported),
            "components": [dataclasses.asdict(component) for component in layout.components],
            "standard_size": layout.standard_size,
            "standard_limit": layout.standard_limit,
            "compacted_size": layout.compacted_size,
        },
        "altstack": {
            "size": info.altstack.size,
            "needed": info.altstack.needed,
            "sufficient": info.altstack.sufficient,
            "sc_minsigstksz": info.altstack_need.sc_minsigstksz,
            "sc_sigstksz": info.altstack_need.sc_sigstksz,
        },
        "permission": held
        and {
            "supported": held.supported,
            "granted": held.granted,
            "permitted": _hexadecimal(held.permitted),
            "guest_granted": held.guest_granted,
            "guest_permitted": _hexadecimal(held.guest_permitted),
        },
        "vector": info.vector,
        "disagreements": [str(disagreement) for disagreement in info.disagreements],
    }


def _brand_found_elsewhere() -> str:
    """Where CPUID has none: what py-cpuinfo finds in the system's other sources, or nothing in time.

    In a process of its own: it starts some, and waits for them for ever where SIGCHLD is ignored. Not the
    module of this name that the current directory may have.
    """
    if not isinstance(machine.current(), machine.Real):
        return ""  # the facts of another machine, of which this one knows nothing
    command = [sys.executable, "-P", "-m", "cpuinfo", "--json"]
    try:
        done = lifetime.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=CPUINFO_SECONDS)
        return printable(str(json.loads(done.stdout).get("brand_raw", "")))
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""


def _permission() -> Permission | None:
    if explain().rung(RungName.KERNEL).outcome is Outcome.NOT_REACHED:
        return None
    return Permission(
        supported=permission.supported(),
        granted=permission.granted(),
        permitted=permission.permitted(),
        guest_granted=permission.granted(guest=True),
        guest_permitted=permission.permitted(guest=True),
    )


def _vector() -> dict[str, tuple[str, ...]] | None:
    from amx.recording import Recorded

    if isinstance(machine.current(), Recorded):
        return None
    groups = [group for group in Group if group is not Group.TILE]
    return {group.value: vector_families(group) for group in groups}


def _record(file: str) -> int:
    from amx.recording import record

    facts = machine.current()
    processor, kernel = cpu.processor(), facts.kernel()
    title = f"{processor}, {kernel.sysname} {kernel.release}"
    write_text(file, record(facts, title=title, source="amx info --record"))
    return 0


def _hexadecimal(value: int | None) -> str | None:
    return None if value is None else hex(value)


def _granted(permitted: int | None) -> str:
    if permitted is None:
        return "cannot be read"
    return f"{'granted' if permitted & xstate.XFEATURE_MASK_XTILEDATA else 'not granted'} ({permitted:#x})"


def show(info: Info, console: Console) -> None:
    """Print it for people."""
    from rich.table import Table

    def add(*rows: tuple[str, str]) -> None:
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(min_width=13)
        table.add_column()
        for row in rows:
            table.add_row(*row)
        console.print(table)

    layout, need, held = info.layout, info.altstack_need, info.permission
    if info.emulated:
        add(("emulated", f"{info.emulated}: what follows of AMX is not the processor's, nor the kernel's"))
    names = [name for name in (info.brand, str(info.processor)) if name]
    add(*zip(("processor", ""), names, strict=False))
    features = Table(box=None, pad_edge=False)
    features.add_column("feature", min_width=13)
    for heading in ("announced", "bit", ""):
        features.add_column(heading)
    for feature in cpu.Feature:
        withdrawn = "withdrawn" if feature.status is cpu.Status.WITHDRAWN else ""
        announced = "yes" if feature in info.announced else "no"
        features.add_row(feature.value, announced, feature.where, withdrawn)
    console.print(features)
    add(
        *((f"palette {palette.number}", str(palette).partition(": ")[2]) for palette in info.palettes),
        ("TMUL", f"K up to {info.tile_multiplier.max_k} rows, N up to {info.tile_multiplier.max_n} bytes")
        if info.tile_multiplier
        else ("TMUL", "none"),
        ("XCR0", f"{_hexadecimal(layout.xcr0)}, offered {layout.supported:#x}"),
        ("XINUSE", str(_hexadecimal(info.xinuse))),
        *(
            (
                f"component {component.number}",
                f"{component.size} bytes at {component.offset}, {'XFD' if component.xfd else 'no XFD'}",
            )
            for component in layout.components
        ),
        (
            "XSAVE area",
            f"standard {layout.standard_size} of at most {layout.standard_limit} bytes, "
            f"compacted {layout.compacted_size}",
        ),
        (
            "signal stack",
            f"AT_MINSIGSTKSZ {need.before}, _SC_MINSIGSTKSZ {need.sc_minsigstksz}, "
            f"_SC_SIGSTKSZ {need.sc_sigstksz}; this thread's alternate stack: {info.altstack}",
        ),
    )
    if held:
        add(
            (
                "permission",
                f"{_granted(held.permitted)}, "
                f"{'supported' if held.supported else 'not supported'} by the kernel",
            ),
            (
                "guests",
                _granted(held.guest_permitted),
            ),
        )
    else:
        add(("permission", "not asked: the processor or XCR0 shows no AMX"))
    if info.vector:
        kernels = [f"{group} {', '.join(names) or 'none'}" for group, names in info.vector.items()]
        add(("vector", f"kernels for products without AMX: {'; '.join(kernels)}"))
    for disagreement in info.disagreements:
        console.print(f"Note: {disagreement}")
