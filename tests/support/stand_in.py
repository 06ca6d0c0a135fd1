"""Stand-ins for amx-provoke and for checks: shell text in the place of a provocation."""

import dataclasses

import machines

from amx import diagnosis, machine
from amx.conformance.check import Check
from amx.conformance.environment import Environment
from amx.lane import Lane

END = "echo '{\"end\": true}'"


def see(key, value):
    """Shell text that writes one observation, `value` as JSON text."""
    return f"echo '{{\"{key}\": {value}}}'"


def write(directory, provocations):
    """A program that runs the shell text of an id; the arguments behind the id are "$*"."""
    program = directory / "amx-provoke"
    cases = "\n".join(f"{id})\n shift 2\n{text}\n;;" for id, text in provocations.items())
    program.write_text(f'#!/bin/sh\ncase "$2" in\n{cases}\n*) echo "no provocation $2" >&2; exit 2;;\nesac\n')
    program.chmod(0o755)
    return program


def good(seen):
    """The judge of most stand-ins."""
    seen.equal("x", seen["x"], 3)


def check(id, judge=good, **more):
    """A check with nothing special about it."""
    return Check(id, f"claim of {id}", authority="arch/x86/fpu: a_function()", since="", judge=judge, **more)


def environment(**more):
    """A machine with AMX and all preconditions; `more` replaces fields."""
    with machine.use(machines.load("sapphire-rapids")):
        found = diagnosis.explain(probe=True)
    place = Environment(
        lane=Lane.NATIVE,
        fault="",
        diagnosis=found,
        release="6.18.44",
        kernel_version=(6, 18, 44),
        lacking={},
        nothing="",
        facts=(("kernel", "Linux 6.18.44"), ("note", "<&>")),
    )
    return dataclasses.replace(place, **more)


def install(*declared):
    """Put these checks in the place of the catalogue, in this process."""
    from amx.conformance import check as module
    from amx.conformance import groups

    groups.load = lambda: None
    module._checks.clear()
    module._checks.update({each.id: each for each in declared})
