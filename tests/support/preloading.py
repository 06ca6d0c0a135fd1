"""Programs under libamxemu.so, with the environment that `amx emulate` would give them."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import children
from compiling import ROOT, WARNINGS, compiler

from amx.emulation import launcher

SANITIZED = "asan" in os.environ.get(launcher.PRELOAD, "")
# What programs that are not ours start with: a sanitizer's runtime is not for them.
FOREIGN = {name: value for name, value in os.environ.items() if not (SANITIZED and name == launcher.PRELOAD)}

# Of a report, as two processes write them.
LINES = (
    '{"pid": 12, "program": "/a", "instructions": 100, "traps": 5, "sites": 4, "patched": 3, '
    '"unpatchable": 1, "faults": 2, "cpuid": 6, "xgetbv": 7, "arch_prctl": 8, "unplaced": 1, '
    '"unscanned": 0}    \n'
    '{"pid": 13, "program": "/b", "instructions":          11}\n\n'
)


def environment(directory, *, cpu="spr", patch=True, trace=False, **more):
    """Of a program whose processes report to `directory`."""
    base = {**FOREIGN, "AMX_BACKEND": ""}
    return launcher.environment(base | more, cpu=cpu, patch=patch, directory=str(directory), trace=trace)


def run(command, directory, *, timeout=60, **options):
    """Run a program; its completed process."""
    return children.run(
        list(map(str, command)),
        env=environment(directory, **options),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def run_python(script, directory, *arguments, **options):
    """Run Python code."""
    return run([sys.executable, "-c", textwrap.dedent(script), *arguments], directory, **options)


def reports(directory):
    """The lines of the processes, in the order of their beginnings."""
    return [json.loads(line) for line in Path(launcher.report_file(str(directory))).read_text().splitlines()]


def compile_program(source, output, *flags):
    """Compile one of tests/c/preload/, as any program would be."""
    command = [
        *compiler(),
        "-O1",
        *WARNINGS,
        ROOT / "tests/c/preload" / source,
        "-o",
        output,
        *flags,
    ]
    children.run(list(map(str, command)), check=True, stdin=subprocess.DEVNULL)
    return output
