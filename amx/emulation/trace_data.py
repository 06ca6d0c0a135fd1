"""What a trace says: what of AMX each process executed, where, and what all of them did together."""

from __future__ import annotations

import functools
from collections import defaultdict
from dataclasses import dataclass, field, replace

from amx.emulation.disassembly import Action, action_of
from amx.emulation.symbols import Location
from amx.printable import printable

__all__ = [
    "Configuration",
    "Extent",
    "Lost",
    "Process",
    "Recorded",
    "Site",
    "Thread",
    "Total",
    "dimensions",
]

ROWS, COLSB = 16, 64  # of a full tile
SIXTEEN_BIT = ("tdpbf16ps", "tdpfp16ps", "tcmmrlfp16ps", "tcmmimfp16ps")


@dataclass(frozen=True, slots=True)
class Extent:
    """How far tiles were used in one direction: the smallest and largest seen, and what a full tile has.

    `name` is rows or colsb (bytes) of a tile that moves; m, n or k of a product, in elements.
    """

    name: str
    low: int
    high: int
    full: int

    def __str__(self) -> str:
        seen = str(self.low) if self.low == self.high else f"{self.low}-{self.high}"
        return f"{self.name} {seen} of {self.full}"


@dataclass(frozen=True, slots=True)
class Site:
    """An instruction in a program.

    Attributes
    ----------
    address: in the process, or in the first of several that are added up.
    mnemonic, operands: as an assembler writes them.
    executed, faults: how often it completed, and how often it ended in a signal to the program.
    work: of a product its multiply-adds, of a load or store the bytes it moved; 0 of others.
    extents: of the tiles it used; empty where it has none or never completed.
    """

    address: int
    mnemonic: str
    operands: str
    location: Location
    executed: int
    faults: int
    work: int
    extents: tuple[Extent, ...]

    @property
    def action(self) -> Action:
        """What it does."""
        return action_of(self.mnemonic)

    @property
    def capacity(self) -> int:
        """What `work` would be with full tiles; 0 where there is no work to count."""
        return self.executed * _work_of_full_tiles(self.mnemonic)

    @property
    def utilisation(self) -> float | None:
        """How full the tiles were: work against capacity, 1 is full; None where there is no such figure."""
        return self.work / self.capacity if self.capacity else None

    def __str__(self) -> str:
        return printable(f"{self.mnemonic} {self.operands}".rstrip())


@dataclass(frozen=True, slots=True)
class Total:
    """All sites of one instruction.

    `unplaced` of the executions found no room in the table of sites: about those nothing else is known.
    """

    mnemonic: str
    sites: int
    executed: int
    faults: int
    work: int
    capacity: int
    unplaced: int

    @property
    def utilisation(self) -> float | None:
        """As of a site."""
        return self.work / self.capacity if self.capacity else None


@dataclass(frozen=True, slots=True)
class Configuration:
    """What LDTILECFG loaded.

    `image` are the 64 bytes as STTILECFG stores them; `changes` of the `loads` changed what the thread
    had; a new thread, and a forked child, is taken to have none.
    """

    image: bytes
    loads: int
    changes: int

    @property
    def tiles(self) -> tuple[tuple[int, int], ...]:
        """(rows, colsb) of the tiles from tmm0 on; (0, 0) is not configured."""
        colsb = (int.from_bytes(self.image[16 + 2 * t : 18 + 2 * t], "little") for t in range(8))
        return tuple(zip(self.image[48:56], colsb, strict=True))

    def __str__(self) -> str:
        if self.image[0] == 0:
            return "palette 0: no tiles"
        runs: list[tuple[int, int, tuple[int, int]]] = []
        for number, shape in enumerate(self.tiles):
            if runs and runs[-1][2] == shape:
                runs[-1] = (runs[-1][0], number, shape)
            else:
                runs.append((number, number, shape))
        return ", ".join(
            f"tmm{first}{f'-{last}' if last > first else ''} {shape[0]}x{shape[1]}"
            for first, last, shape in runs
            if shape != (0, 0)
        )


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread that executed AMX instructions (the kernel gives numbers again).

    `changes` are the LDTILECFG that changed its configuration; `left_configured` says that the last
    configuration was not released.
    """

    id: int
    instructions: int
    ldtilecfgs: int
    changes: int
    tilereleases: int
    left_configured: bool


@dataclass(frozen=True, slots=True)
class Lost:
    """What the tables had no room for. `reason`: why they could not grow; empty where they were full.

    `instructions` were counted by mnemonic, without a site; instructions of `threads` were counted, of no
    thread; `configurations` are loads of some; for `modules` sites it is not known what code they are in.
    """

    instructions: tuple[tuple[str, int], ...] = ()
    threads: int = 0
    configurations: int = 0
    modules: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Process:
    """One program of one process: what it executed until it ended, executed another program, or was read.

    `started` is in seconds since 1970, `parent` 0 where it is not known.
    """

    pid: int
    parent: int
    started: float
    executable: str
    command: tuple[str, ...]
    sites: tuple[Site, ...]
    configurations: tuple[Configuration, ...]
    threads: tuple[Thread, ...]
    lost: Lost = Lost()

    @property
    def instructions(self) -> int:
        """AMX instructions that completed."""
        return sum(site.executed for site in self.sites) + sum(count for _, count in self.lost.instructions)


@dataclass(frozen=True)
class Recorded:
    """Everything that was recorded.

    `unreadable` says which files could not be read, and why; `unrecorded` how many processes wrote none.
    """

    processes: tuple[Process, ...]
    unreadable: tuple[str, ...] = field(default=())
    unrecorded: tuple[str, ...] = field(default=())

    @property
    def complete(self) -> bool:
        """Whether every process was recorded, as far as is known: what is not counted was not executed."""
        return not self.unreadable and not self.unrecorded

    @property
    def instructions(self) -> int:
        """AMX instructions that completed, in all processes."""
        return sum(process.instructions for process in self.processes)

    @functools.cached_property
    def sites(self) -> tuple[Site, ...]:
        """Of all processes, the same places in the same files added up; the most executed first."""
        found: dict[object, Site] = {}
        for process in self.processes:
            for site in process.sites:
                key = _place(process, site)
                found[key] = _sum_of_sites(found[key], site) if key in found else site
        return tuple(sorted(found.values(), key=lambda site: (-site.executed, site.address)))

    @functools.cached_property
    def totals(self) -> tuple[Total, ...]:
        """For each instruction, the most executed first."""
        by_name: defaultdict[str, list[Site]] = defaultdict(list)
        unplaced: defaultdict[str, int] = defaultdict(int)
        for site in self.sites:
            by_name[site.mnemonic].append(site)
        for process in self.processes:
            for mnemonic, count in process.lost.instructions:
                unplaced[mnemonic] += count
        totals = [
            Total(
                mnemonic,
                sites=len(by_name[mnemonic]),
                executed=sum(site.executed for site in by_name[mnemonic]) + unplaced[mnemonic],
                faults=sum(site.faults for site in by_name[mnemonic]),
                work=sum(site.work for site in by_name[mnemonic]),
                capacity=sum(site.capacity for site in by_name[mnemonic]),
                unplaced=unplaced[mnemonic],
            )
            for mnemonic in {*by_name, *unplaced}
        ]
        return tuple(sorted(totals, key=lambda total: (-total.executed, total.mnemonic)))

    @functools.cached_property
    def configurations(self) -> tuple[Configuration, ...]:
        """Of all processes, equal ones added up, the most loaded first."""
        found: dict[bytes, Configuration] = {}
        for each in (each for process in self.processes for each in process.configurations):
            before = found.get(each.image, Configuration(each.image, 0, 0))
            found[each.image] = Configuration(
                each.image, before.loads + each.loads, before.changes + each.changes
            )
        return tuple(sorted(found.values(), key=lambda each: (-each.loads, each.image)))

    def executed(self, *actions: Action) -> int:
        """Completed instructions that do one of these."""
        return sum(total.executed for total in self.totals if action_of(total.mnemonic) in actions)

    def work(self, *actions: Action) -> int:
        """Multiply-adds of products, or bytes of loads and stores."""
        return sum(total.work for total in self.totals if action_of(total.mnemonic) in actions)

    def utilisation(self, *actions: Action) -> float | None:
        """How full the tiles were in instructions that do one of these; None where there were none."""
        capacity = sum(total.capacity for total in self.totals if action_of(total.mnemonic) in actions)
        return self.work(*actions) / capacity if capacity else None

    @property
    def intensity(self) -> float | None:
        """Operations (two for each multiply-add) per byte between tiles and memory; None: unknown."""
        counted = (Action.PRODUCT, Action.LOAD, Action.STORE)
        if any(total.unplaced for total in self.totals if action_of(total.mnemonic) in counted):
            return None
        moved = self.work(Action.LOAD, Action.STORE)
        return 2 * self.work(Action.PRODUCT) / moved if moved else None


def _elements(mnemonic: str) -> int:
    """Of one operand of a product, in a row of a full tile."""
    return COLSB // 2 if mnemonic in SIXTEEN_BIT else COLSB


def dimensions(mnemonic: str) -> tuple[tuple[str, int], ...]:
    """The extents of an instruction by name, and what full tiles have."""
    if action_of(mnemonic) is Action.PRODUCT:
        return ("m", ROWS), ("n", COLSB // 4), ("k", _elements(mnemonic))
    return ("rows", ROWS), ("colsb", COLSB)


def _work_of_full_tiles(mnemonic: str) -> int:
    action = action_of(mnemonic)
    if action is Action.PRODUCT:
        return ROWS * (COLSB // 4) * _elements(mnemonic)
    return ROWS * COLSB if action in (Action.LOAD, Action.STORE) else 0


def _place(process: Process, site: Site) -> object:
    """The same for two processes where the code is the same: in a file by its offset, else by address."""
    location = site.location
    if location.offset is not None:
        return location.module, location.offset, str(site)
    return process.executable, site.address, str(site)


def _sum_of_sites(one: Site, other: Site) -> Site:
    extents = one.extents or other.extents
    if one.extents and other.extents:
        extents = tuple(
            Extent(a.name, min(a.low, b.low), max(a.high, b.high), a.full)
            for a, b in zip(one.extents, other.extents, strict=True)
        )
    return replace(
        one,
        executed=one.executed + other.executed,
        faults=one.faults + other.faults,
        work=one.work + other.work,
        extents=extents,
    )
