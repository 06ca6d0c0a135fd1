"""Intel SDE, where it is installed: another emulator, of whole processors. It is not redistributable."""

from __future__ import annotations

import os
import shutil

from amx.errors import EmulationError

__all__ = ["HOME", "command", "find"]

HOME = "SDE_HOME"  # variable with the directory that SDE was unpacked to
NAMES = ("sde64", "sde")
# SDE has no chip of its own for Granite Rapids D, which differs by AMX-COMPLEX; its -gnr is said to have it.
CHIPS = {"spr": "-spr", "gnr": "-gnr", "gnr-d": "-gnr", "dmr": "-dmr"}


def find() -> str | None:
    """Path of SDE's launcher: in $SDE_HOME, then in PATH; None where it is not installed."""
    home = os.environ.get(HOME)
    places = [home] if home else []
    for place in (*places, None):
        for name in NAMES:
            found = shutil.which(name, path=place)
            if found:
                return found
    return None


def command(cpu: str, argv: list[str]) -> list[str]:
    """The command line that runs `argv` under SDE as a CPU by our name.

    Raises
    ------
    EmulationError: SDE is not installed.
    """
    found = find()
    if found is None:
        raise EmulationError(
            "Intel SDE is not installed",
            cause=f"There is no {' or '.join(NAMES)} in ${HOME} or in PATH",
            remedy=f"Unpack Intel SDE under Intel's licence and set {HOME} to its directory, "
            "or leave --sde away: the emulator of this package needs nothing else",
        )
    return [found, CHIPS[cpu], "--", *argv]
