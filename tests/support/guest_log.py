"""Logs of amx-provoke, made here: its objects in the order of a run, framed or not."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zlib

import machines

from amx import machine, recording
from amx.conformance import place, provoke

FACTS = (
    "cpuid",
    "xcr0",
    "xinuse",
    "arch_prctl",
    "child",
    "auxv",
    "sysconf",
    "altstack",
    "cpuinfo_flags",
    "kernel",
)
PLACE = {
    "uid": 0,
    "seccomp": False,
    "yama": None,
    "core_pattern": "core",
    "core_limit": True,
    "kvm": "usable",
    "cmdline": "console=ttyS0",
}


def frame(number, thing):
    """The line of a frame."""
    body = f"{number} {json.dumps(thing)}".encode()
    number, _, text = body.partition(b" ")
    return b"AMX1 %s %08x %s\n" % (number, zlib.crc32(body), text)


def framed(things):
    """The text of a log of frames."""
    return b"".join(frame(number, each) for number, each in enumerate(things))


def unframed(things):
    """The text of a log of lines."""
    lines = (each.get("seen", each) for each in things)
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


def facts_of(name):
    """The facts of a recorded machine, as frames have them."""
    text = json.loads((machines.DIRECTORY / f"{name}.json").read_text())
    return facts(text)


def facts(record):
    """One object for each fact, CPUID's in two."""
    found = [{"machine": {fact: record[fact]}} for fact in FACTS if fact != "cpuid"]
    leaves = {**dict.fromkeys(recording.leaves(), "0x0 0x0 0x0 0x0"), **record["cpuid"]}
    names = sorted(leaves)
    halves = (names[: len(names) // 2], names[len(names) // 2 :])
    return [*({"machine": {"cpuid": {each: leaves[each] for each in half}}} for half in halves), *found]


def begin(ids, **more):
    """The first object of a run."""
    return {
        "begin": {"format": 1, "version": "0.1.0", "plan": list(ids), "fault": "", "model": False, **more}
    }


def ran(id, seen, how="exit 0", extra=(), seconds=0.01):
    """The objects of one provocation."""
    inside = [*({"seen": each} for each in seen), *extra]
    ended = {"id": id, "how": how, "seconds": seconds, "frames": len(inside) + 2}
    return [{"start": id}, *inside, {"ended": ended}]


def whole(runs, machine="sapphire-rapids", place=PLACE, **more):
    """A run of stand-ins: `runs` has what was seen for each id, or the objects of `ran`."""
    things = [begin(runs, **more), *facts_of(machine), {"place": place}]
    for id, seen in runs.items():
        things += seen if seen and "start" in seen[0] else ran(id, seen)
    return [*things, {"done": {"runs": len(runs)}}]


def provoked(ids, *, model=False, fault=""):
    """What amx-provoke sees here, as the program itself would send it."""
    current = machine.current()
    record = json.loads(recording.record(current, title="here", source="here"))
    things = [begin(ids, model=model, fault=fault), *facts(record)]
    here = dataclasses.asdict(place.here())
    things.append({"place": {**here, "yama": here["yama"] or None}})
    for id in ids:
        things += _provoked(id, model, fault)
    return [*things, {"done": {"runs": len(ids)}}]


def _provoked(id, model, fault):
    options = ["--model"] * model + (["--fault", fault] if fault else [])
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        variables = {**os.environ, provoke.DIRECTORY: directory, "AMX_PYTHON": sys.executable}
        done = subprocess.run(
            [provoke.program(), "run", id, *options],
            capture_output=True,
            cwd=directory,
            env=variables,
            timeout=60,
            start_new_session=True,
            check=False,
        )
    seen = [json.loads(line) for line in done.stdout.splitlines() if not line.startswith(b'{"start"')]
    extra = [{"errors": done.stderr.decode()[:4096]}] if done.stderr else []
    status = done.returncode
    how = f"exit {status}" if status >= 0 else signal.Signals(-status).name
    return ran(id, seen, how, extra, round(time.monotonic() - start, 6))
