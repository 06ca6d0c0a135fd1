"""What Node Feature Discovery labels a node of Kubernetes with, as a file of its `local` source.

docs/fleets.md lists them: one `namespace/name=value` a line. Names and values hold to what Kubernetes allows
in labels: letters, digits, `-`, `_` and `.`, at most 63.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from amx import cpu, machine
from amx.diagnosis import Diagnosis, Outcome, RungName, explain
from amx.errors import EmulationError
from amx.lane import lane_of
from amx.version import __version__

__all__ = ["features"]

NAMESPACE = "feature.node.kubernetes.io"  # the only one under kubernetes.io that NFD lets others use
MOST_PALETTES = 4  # which a hypervisor can make 16 of; there is one
REQUESTS = {Outcome.OK: "granted", Outcome.FAILED: "refused"}


def features(vector: Mapping[str, tuple[str, ...]] | None) -> str:
    """The file's text. `vector` is as in `amx.cli.info.Info`.

    Raises
    ------
    EmulationError: AMX is emulated in this process, and the node has none of it.
    """
    if emulated := machine.current().emulated:
        raise EmulationError(
            f"There are no labels for {emulated}",
            cause="This process sees emulated AMX, of which other processes of the node have none",
            remedy="Run it outside the emulation",
        )
    lines = [f"# amx info --nfd, linux-amx {__version__}"]
    lines += [f"{NAMESPACE}/amx.{name}={value}" for name, value in _labels(vector)]
    return "\n".join(lines) + "\n"


def _labels(vector: Mapping[str, tuple[str, ...]] | None) -> Iterator[tuple[str, str]]:
    diagnosis = explain(probe=True)
    yield "usable", str(diagnosis.usable).lower()
    yield "lane", lane_of(diagnosis).value
    if diagnosis.cause:
        yield "cause", diagnosis.cause.name
    yield "permission", _permission(diagnosis)
    for feature in sorted(cpu.announced(), key=str):
        yield str(feature).removeprefix("amx_"), "true"
    for palette in cpu.palettes()[:MOST_PALETTES]:
        name = f"palette-{palette.number}"
        yield f"{name}.tiles", str(palette.max_names)
        yield f"{name}.rows", str(palette.max_rows)
        yield f"{name}.row-bytes", str(palette.bytes_per_row)
    for group, families in (vector or {}).items():
        yield f"vector.{group}", families[0] if families else "none"


def _permission(diagnosis: Diagnosis) -> str:
    """What a request was answered, in a child."""
    return REQUESTS.get(diagnosis.rung(RungName.REQUEST).outcome, "unknown")
