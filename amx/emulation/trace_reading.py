"""From the files that the emulation recorded to a trace: what belongs together added up, places found."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from amx.emulation import unrecorded
from amx.emulation.symbols import Location, Symbols
from amx.emulation.trace_data import Configuration, Extent, Lost, Process, Recorded, Site, Thread, dimensions
from amx.emulation.trace_file import RawProcess, RawSite, read_file
from amx.errors import TraceError

FILES = 2**16
ENTRIES = 2**19  # of sites, configurations and threads, in all files


def read_directory(path: Path) -> Recorded:
    """`amx.emulation.trace.read` of a directory that is there."""
    processes, unreadable = [], []
    room = ENTRIES
    names = _names(path)
    with Symbols() as symbols:
        for name in names[:FILES]:
            try:
                raw = read_file(path / name)
            except (OSError, TraceError) as error:
                unreadable.append(str(error))
                continue
            entries = len(raw.sites) + len(raw.configurations) + len(raw.threads)
            if entries > room:
                unreadable.append(f"{path / name} has {entries:,} entries, and a trace {ENTRIES:,} in all")
                continue
            room -= entries
            processes.append(_process(raw, symbols))
    if names[FILES:]:
        unreadable.append(f"{len(names) - FILES:,} files more than the {FILES:,} of a trace")
    processes.sort(key=lambda process: (process.started, process.pid))
    missing, _ = unrecorded.read(path)
    return Recorded(tuple(processes), tuple(unreadable), (str(missing),) if missing else ())


def _names(path: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(path) if name.endswith(".trace"))
    except OSError as error:
        raise TraceError(
            f"The directory {str(path)!r} cannot be read", cause=str(error.strerror), errno=error.errno
        ) from None


def _process(raw: RawProcess, symbols: Symbols) -> Process:
    merged = list(_merged(raw.sites))
    locations = symbols.locate(raw, merged)
    return Process(
        pid=raw.pid,
        parent=raw.parent,
        started=raw.started / 1e9,
        executable=raw.executable,
        command=raw.command,
        sites=tuple(_site(site, location) for site, location in zip(merged, locations, strict=True)),
        configurations=tuple(
            Configuration(each.image, each.loads, each.changes) for each in raw.configurations
        ),
        threads=tuple(
            Thread(
                each.id, each.instructions, each.ldtilecfgs, each.changes, each.tilereleases, each.configured
            )
            for each in raw.threads
        ),
        lost=Lost(
            raw.lost_instructions,
            raw.lost_threads,
            raw.lost_configurations,
            raw.lost_modules,
            unrecorded.reason_of(raw.error) if raw.error else "",
        ),
    )


def _merged(sites: Iterable[RawSite]) -> Iterator[RawSite]:
    """Two threads may have made an entry each for one site."""
    found: dict[object, RawSite] = {}
    for site in sites:
        key = site.address, site.instruction
        other = found.get(key)
        if other is not None:
            site = replace(
                other,
                executed=other.executed + site.executed,
                faults=other.faults + site.faults,
                work=other.work + site.work,
                low=_fold(min, other.low, site.low),
                high=_fold(max, other.high, site.high),
            )
        found[key] = site
    yield from sorted(found.values(), key=lambda site: (site.address, str(site.instruction)))


def _fold(which: object, one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    if not one or not other:
        return one or other
    return tuple(which(pair) for pair in zip(one, other, strict=True))  # type: ignore[operator]


def _site(raw: RawSite, location: Location) -> Site:
    instruction = raw.instruction
    return Site(
        address=raw.address,
        mnemonic=instruction.mnemonic,
        operands=instruction.operands,
        location=location,
        executed=raw.executed,
        faults=raw.faults,
        work=raw.work,
        extents=tuple(
            Extent(name, low, high, full)
            for (name, full), low, high in zip(
                dimensions(instruction.mnemonic), raw.low, raw.high, strict=False
            )
        ),
    )
