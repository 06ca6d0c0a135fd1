"""A trace as the JSON object that docs/json.md describes, and back."""

from __future__ import annotations

import json
from pathlib import Path

from amx import foreign_file
from amx.emulation.symbols import Code, Location
from amx.emulation.trace_data import Configuration, Extent, Lost, Process, Recorded, Site, Thread, dimensions
from amx.emulation.trace_verdicts import verdicts
from amx.errors import TraceError
from amx.foreign_json import SIGNED, Json
from amx.printable import printable
from amx.version import __version__

__all__ = ["as_json", "from_json", "load"]

SCHEMA = 1
BYTES = 512 * 2**20  # of a file
IMAGE_BYTES = 64


def as_json(trace: Recorded) -> dict[str, object]:
    """The object; `verdicts` and `totals` are there for others to read, `from_json` makes them anew."""
    return {
        "schema": SCHEMA,
        "version": __version__,
        "verdicts": list(verdicts(trace)),
        "instructions": trace.instructions,
        "intensity": trace.intensity,
        "totals": [
            {
                "mnemonic": total.mnemonic,
                "sites": total.sites,
                "executed": total.executed,
                "faults": total.faults,
                "work": total.work,
                "utilisation": total.utilisation,
                "unplaced": total.unplaced,
            }
            for total in trace.totals
        ],
        "processes": [_process_as_json(process) for process in trace.processes],
        "unreadable": list(trace.unreadable),
        "unrecorded": list(trace.unrecorded),
    }


def load(path: Path) -> Recorded:
    """The trace in a file.

    Raises
    ------
    OSError: it cannot be read; it is no regular file, or has more than BYTES.
    TraceError: it is no trace, or of another schema.
    """
    return from_json(foreign_file.read(path, BYTES).decode(errors="replace"), printable(str(path)))


def from_json(text: str, name: str) -> Recorded:
    """What `as_json` was made of; errors call it by the name.

    Raises
    ------
    TraceError: it is no trace, or of another schema.
    """
    try:
        content = json.loads(text)
        schema = content["schema"]
        if schema == SCHEMA:
            return _trace(Json(content))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TraceError(
            f"{name} is no trace", cause=f"{type(error).__name__}: {error}", remedy="Record it again"
        ) from None
    raise TraceError(f"{name} has another schema", cause=f"This version reads schema {SCHEMA}")


def _trace(content: Json) -> Recorded:
    return Recorded(
        tuple(map(_process, content.objects("processes"))),
        content.texts("unreadable"),
        content.texts("unrecorded", ()),  # older ones have none
    )


def _process_as_json(process: Process) -> dict[str, object]:
    return {
        "pid": process.pid,
        "parent": process.parent,
        "started": process.started,
        "executable": process.executable,
        "command": list(process.command),
        "instructions": process.instructions,
        "sites": [_site_as_json(site) for site in process.sites],
        "configurations": [
            {"image": each.image.hex(), "tiles": str(each), "loads": each.loads, "changes": each.changes}
            for each in process.configurations
        ],
        "threads": [
            {
                "id": each.id,
                "instructions": each.instructions,
                "ldtilecfgs": each.ldtilecfgs,
                "changes": each.changes,
                "tilereleases": each.tilereleases,
                "left_configured": each.left_configured,
            }
            for each in process.threads
        ],
        "lost": {
            "instructions": [{"mnemonic": name, "executed": n} for name, n in process.lost.instructions],
            "threads": process.lost.threads,
            "configurations": process.lost.configurations,
            "modules": process.lost.modules,
            "reason": process.lost.reason,
        },
    }


def _process(content: Json) -> Process:
    lost = content.inner("lost")
    return Process(
        pid=content.number("pid", SIGNED),
        parent=content.number("parent", SIGNED),
        started=content.seconds("started"),
        executable=content.text("executable"),
        command=content.texts("command"),
        sites=tuple(map(_site, content.objects("sites"))),
        configurations=tuple(map(_configuration, content.objects("configurations"))),
        threads=tuple(map(_thread, content.objects("threads"))),
        lost=Lost(
            tuple((each.text("mnemonic"), each.number("executed")) for each in lost.objects("instructions")),
            lost.number("threads"),
            lost.number("configurations"),
            lost.number("modules"),
            lost.text("reason", ""),
        ),
    )


def _configuration(content: Json) -> Configuration:
    image = bytes.fromhex(content.text("image"))
    if len(image) != IMAGE_BYTES:
        raise ValueError(f"image has {len(image)} bytes")
    return Configuration(image, content.number("loads"), content.number("changes"))


def _thread(content: Json) -> Thread:
    return Thread(
        content.number("id", SIGNED),
        content.number("instructions"),
        content.number("ldtilecfgs"),
        content.number("changes"),
        content.number("tilereleases"),
        content.flag("left_configured"),
    )


def _site_as_json(site: Site) -> dict[str, object]:
    location = site.location
    return {
        "address": hex(site.address),
        "mnemonic": site.mnemonic,
        "operands": site.operands,
        "executed": site.executed,
        "faults": site.faults,
        "work": site.work,
        "utilisation": site.utilisation,
        "extents": [
            {"name": each.name, "low": each.low, "high": each.high, "full": each.full}
            for each in site.extents
        ],
        "location": {
            "code": location.code.value,
            "module": location.module,
            "offset": location.offset,
            "build_id": location.build_id,
            "symbol": location.symbol,
            "symbol_offset": location.symbol_offset,
            "line": location.line,
        },
    }


def _site(content: Json) -> Site:
    location = content.inner("location")
    mnemonic = content.text("mnemonic")
    return Site(
        address=content.address("address"),
        mnemonic=mnemonic,
        operands=content.text("operands"),
        location=Location(
            Code(location.text("code")),
            location.text("module"),
            location.number_or_none("offset"),
            location.text("build_id"),
            location.text("symbol"),
            location.number("symbol_offset"),
            location.text("line"),
        ),
        executed=content.number("executed"),
        faults=content.number("faults"),
        work=content.number("work"),
        extents=_extents(mnemonic, content.objects("extents")),
    )


def _extents(mnemonic: str, contents: tuple[Json, ...]) -> tuple[Extent, ...]:
    """None, or those that the instruction has."""
    found = tuple(
        Extent(each.text("name"), each.number("low"), each.number("high"), each.number("full"))
        for each in contents
    )
    if found and tuple((each.name, each.full) for each in found) != dimensions(mnemonic):
        raise ValueError(f"extents are not those of {mnemonic!r}")
    return found
