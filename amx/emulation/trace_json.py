"""A trace as the JSON object that docs/json.md describes, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import amx
from amx.emulation.symbols import Code, Location
from amx.emulation.trace import Configuration, Extent, Lost, Process, Site, Thread, Trace
from amx.errors import TraceError

__all__ = ["as_json", "from_json"]

SCHEMA = 1


def as_json(trace: Trace) -> dict[str, object]:
    """The object; `verdicts` and `totals` are there for others to read, `from_json` makes them anew."""
    return {
        "schema": SCHEMA,
        "version": amx.__version__,
        "verdicts": list(trace.verdicts),
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


def from_json(path: Path) -> Trace:
    """The trace in a file.

    Raises
    ------
    TraceError: it is no trace, or of another schema.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        content = json.loads(text)
        schema = content["schema"]
        if schema == SCHEMA:
            return Trace(
                tuple(map(_process, content["processes"])),
                tuple(content["unreadable"]),
                tuple(content.get("unrecorded", ())),
            )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TraceError(
            f"{path} is no trace", cause=f"{type(error).__name__}: {error}", remedy="Record it again"
        ) from None
    raise TraceError(f"{path} has schema {schema!r}", cause=f"This version reads schema {SCHEMA}")


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


def _process(content: dict[str, Any]) -> Process:
    lost = content["lost"]
    return Process(
        pid=content["pid"],
        parent=content["parent"],
        started=content["started"],
        executable=content["executable"],
        command=tuple(content["command"]),
        sites=tuple(map(_site, content["sites"])),
        configurations=tuple(
            Configuration(bytes.fromhex(each["image"]), each["loads"], each["changes"])
            for each in content["configurations"]
        ),
        threads=tuple(Thread(**each) for each in content["threads"]),
        lost=Lost(
            tuple((each["mnemonic"], each["executed"]) for each in lost["instructions"]),
            lost["threads"],
            lost["configurations"],
            lost["modules"],
            lost.get("reason", ""),
        ),
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


def _site(content: dict[str, Any]) -> Site:
    location = content["location"]
    return Site(
        address=int(content["address"], 16),
        mnemonic=content["mnemonic"],
        operands=content["operands"],
        location=Location(**{**location, "code": Code(location["code"])}),
        executed=content["executed"],
        faults=content["faults"],
        work=content["work"],
        extents=tuple(Extent(**each) for each in content["extents"]),
    )
