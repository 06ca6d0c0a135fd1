"""`amx ci -- PROGRAM`: run a program on AMX where there is any, else emulated, and tell a CI which it was.

What `action.yml` and `ci/gitlab.yml` call. The status is the program's; what else is to be told goes into the
files that the CI names: GITHUB_OUTPUT gets `lane=...` before the program runs, GITHUB_STEP_SUMMARY a text in
Markdown afterwards. Neither has the command, in which there may be secrets.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys

from amx import written_file
from amx.cli._files import STANDARD, refusal
from amx.cli._markdown import fenced
from amx.cli._streams import print_error
from amx.cli.emulate import CPUS, NOT_EXECUTABLE, NOT_FOUND, OWN_FAILURE
from amx.cli.explain import show
from amx.diagnosis import Diagnosis, explain
from amx.errors import AmxError, ProgramError
from amx.lane import Lane, lane_of

__all__ = ["add_parser", "run"]

ANY = "any"
REQUIREMENTS = (Lane.NATIVE.value, Lane.EMULATED.value, ANY)
NOT_TRACED = "Nothing was traced: only programs that this command emulates are."


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "ci",
        help="run a program on AMX where there is any, else emulated, and tell a CI which it was",
        usage="amx ci [OPTIONS] -- PROGRAM [ARGUMENTS]",
        description="Print what amx explain says; run the program natively where AMX can be used, else as "
        "amx emulate does; and write the lane and a summary into the files that the CI names. Status: the "
        "program's (128 + n when signal n killed it), 127 when it is not found, 126 when it cannot be "
        "executed, 125 when it was not run for want of AMX or of an emulation, 2 for wrong usage. "
        "docs/ci.md has the workflows.",
    )
    parser.add_argument(
        "--require",
        choices=REQUIREMENTS,
        default=ANY,
        help="native: without AMX fail and run nothing; emulated: emulate also where there is AMX "
        "(default: any)",
    )
    parser.add_argument("--cpu", choices=CPUS, default="spr", help="the CPU to emulate (default: spr)")
    parser.add_argument(
        "--trace",
        metavar="FILE",
        help="of an emulated program: write what of AMX it executed to FILE, and a table into the summary",
    )
    parser.add_argument(
        "--summary",
        metavar="FILE",
        default=os.environ.get("GITHUB_STEP_SUMMARY"),
        help="append a summary in Markdown to FILE (default: GITHUB_STEP_SUMMARY)",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        default=os.environ.get("GITHUB_OUTPUT"),
        help="append a line, lane=native, lane=emulated or lane=none, to FILE (default: GITHUB_OUTPUT)",
    )
    parser.add_argument("program", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(run=run, usage_error=parser.error)


def run(arguments: argparse.Namespace) -> int:
    """Run the program; its exit status."""
    command = arguments.program[1:] if arguments.program[:1] == ["--"] else arguments.program
    if not command:
        arguments.usage_error("no PROGRAM")
    if arguments.trace == STANDARD:
        arguments.usage_error("--trace takes a file, which the summary is made of")
    if refused := refusal(arguments.trace):
        arguments.usage_error(f"--trace {arguments.trace}: {refused}")
    diagnosis = explain(probe=True)
    show(diagnosis)
    found = lane_of(diagnosis)
    lane = _lane(found, diagnosis, arguments.require)
    _append("the lane", arguments.output, f"lane={lane.value}\n")
    print(f"lane: {lane.value}", flush=True)
    is_traced = False
    if lane is Lane.NONE:
        status = OWN_FAILURE
        print_error(f"amx ci: --require native, so nothing was run. {_why_not_native(diagnosis)}")
    else:
        # Where tiles are emulated already, by `amx emulate` or Intel SDE, the program's are too.
        is_emulated = lane is Lane.EMULATED and found is not Lane.EMULATED
        traced = arguments.trace if is_emulated else None
        before = _identity(traced)
        status = _run([*_emulation(arguments.cpu, traced), *command] if is_emulated else command)
        is_traced = _identity(traced) != before  # else it is there from an earlier run
    text = _summary(arguments, diagnosis, lane, status, is_traced=is_traced)
    _append("the summary", arguments.summary, text)
    return status


def _lane(found: Lane, diagnosis: Diagnosis, required: str) -> Lane:
    """Where the program runs; NONE where it may not."""
    if found is Lane.NATIVE and diagnosis.usable and required != Lane.EMULATED.value:
        return Lane.NATIVE
    return Lane.NONE if required == Lane.NATIVE.value else Lane.EMULATED


def _emulation(cpu: str, trace: str | None) -> list[str]:
    command = [sys.executable, "-P", "-m", "amx", "emulate", f"--cpu={cpu}"]
    return [*command, *([f"--trace={trace}"] if trace else []), "--"]


def _run(command: list[str]) -> int:
    from amx.emulation import program, supervise

    try:
        found = program.find(command[0])
    except ProgramError as error:
        print_error(f"amx ci: {error}")
        return NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE
    return supervise.run(found.path, command, os.environ)


def _why_not_native(diagnosis: Diagnosis) -> str:
    if diagnosis.cause:
        return f"AMX cannot be used here: {diagnosis.cause.words}. {diagnosis.remedy}."
    return f"AMX is emulated here: {diagnosis.emulated or 'the processor has none'}."


def _identity(file: str | None) -> tuple[int, int] | None:
    """What differs between a file and the one that takes its place."""
    try:
        found = os.stat(file) if file else None
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns) if found else None


def _summary(
    arguments: argparse.Namespace, diagnosis: Diagnosis, lane: Lane, status: int, *, is_traced: bool
) -> str:
    title = {
        Lane.NATIVE: "native",
        Lane.EMULATED: f"emulated ({arguments.cpu})",
        Lane.NONE: "required, and not there: nothing was run",
    }
    facts = [
        ("lane", lane.value),
        ("required", arguments.require),
        ("status", f"{status}{' ✅' if status == 0 else ' ❌'}"),
    ]
    lines = [f"### AMX: {title[lane]}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in facts]
    if lane is not Lane.NATIVE:
        lines += ["", fenced(_why_not_native(diagnosis))]
    if arguments.trace:
        lines += ["", *(_traced(arguments.trace) if is_traced else [NOT_TRACED])]
    lines += ["", "<details><summary>amx explain</summary>", "", fenced(str(diagnosis)), "", "</details>"]
    return "\n".join(lines) + "\n\n"


def _traced(file: str) -> list[str]:
    from amx.emulation.trace import Trace

    try:
        text = str(Trace.load(file))
    except (AmxError, OSError) as error:
        text = f"The trace cannot be read: {error}"
    return ["<details><summary>What of AMX was executed</summary>", "", fenced(text), "", "</details>"]


def _append(what: str, file: str | None, text: str) -> None:
    """Where that cannot be, it is said; the status is still the program's."""
    if not file:
        return
    try:
        written_file.append(file, text.encode(errors="backslashreplace"))
    except OSError as error:
        print_error(f"amx ci: {what} cannot be written into {file}: {error.strerror}")
