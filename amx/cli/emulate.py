"""`amx emulate -- PROGRAM`: run a program as on a CPU and a kernel with AMX."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import json
import os
from typing import TYPE_CHECKING

from amx.cli._files import STANDARD, refusal
from amx.cli._streams import print_error
from amx.errors import EmulationError, ProgramError

if TYPE_CHECKING:
    from amx.emulation.probe import Survey

__all__ = ["add_parser", "run"]

SCHEMA = 1  # of --probe --json
FEATURES = ("avx512_fp16", "avx512_bf16", "avx_vnni")  # as amx.emulation.launcher
CPUS = ("spr", "gnr", "gnr-d", "dmr")
OWN_FAILURE, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127  # as env(1), timeout(1) and the shells have them


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "emulate",
        help="run a program as on a CPU and a kernel with AMX",
        usage="amx emulate [OPTIONS] -- PROGRAM [ARGUMENTS]\n       amx emulate --probe [--json]",
        description="Run an unmodified program as on a CPU and a kernel with AMX: its AMX instructions run "
        "on the software tile machine, and CPUID, XGETBV and arch_prctl answer accordingly. Status: the "
        "program's (a shell shows 128 + n when signal n killed it), 127 when it is not found, 126 when it "
        "cannot be executed, 125 when it cannot be emulated, 2 for wrong usage. docs/emulation.md says what "
        "each way needs.",
    )
    parser.add_argument("--cpu", choices=CPUS, default="spr", help="the CPU to emulate (default: spr)")
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--ptrace",
        action="store_true",
        help="trace the program instead of preloading: slower, but also for static ones",
    )
    way.add_argument("--sde", action="store_true", help="run it under Intel SDE, where that is installed")
    way.add_argument(
        "--probe",
        action="store_true",
        help="run nothing; say what works on this machine, and why the rest does not",
    )
    parser.add_argument(
        "--no-patch",
        action="store_true",
        help="let every AMX instruction trap, instead of patching its site after the first time",
    )
    parser.add_argument(
        "--announce",
        metavar="FEATURES",
        help="let CPUID announce these features beside AMX though this processor lacks them: "
        "avx512_fp16, avx512_bf16, avx_vnni, separated by commas; or none. A program that executes their "
        "instructions dies (default: avx512_fp16, to oneDNN, where it lacks nothing else)",
    )
    parser.add_argument("--stats", action="store_true", help="afterwards print every process's counts")
    parser.add_argument(
        "--stats-file",
        metavar="FILE",
        help="write them as one JSON object (see docs/json.md), - for the standard output, here and below",
    )
    parser.add_argument(
        "--trace",
        metavar="FILE",
        help="write what was executed, site by site, to FILE (see docs/json.md), and print a summary",
    )
    parser.add_argument("--json", action="store_true", help="with --probe: print one JSON object")
    parser.add_argument("program", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(run=run, usage_error=parser.error)


def run(arguments: argparse.Namespace) -> int:
    """Run the program; its exit status."""
    command = arguments.program[1:] if arguments.program[:1] == ["--"] else arguments.program
    _check_usage(arguments, command)
    if arguments.probe:
        return _probe(as_json=arguments.json)
    try:
        return _emulate(arguments, command)
    except ProgramError as error:
        print_error(f"amx: {error}")
        return NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE
    except EmulationError as error:
        print_error(f"amx: {error}")
        return OWN_FAILURE
    except OSError as error:  # no process, no memory: before there was a program
        print_error(f"amx emulate: {error.strerror}")
        return OWN_FAILURE


def _check_usage(arguments: argparse.Namespace, command: list[str]) -> None:
    refuse = arguments.usage_error
    if arguments.probe and command:
        refuse("--probe runs no program")
    if not arguments.probe and not command:
        refuse("no PROGRAM")
    if arguments.json and not arguments.probe:
        refuse("--json is for --probe; --stats-file writes the counts as JSON")
    if arguments.sde and (arguments.no_patch or arguments.stats or arguments.stats_file or arguments.trace):
        refuse("--no-patch, --stats, --stats-file and --trace are not Intel SDE's")
    if arguments.sde and arguments.announce:
        refuse("--announce is not Intel SDE's")
    unknown = {*(arguments.announce or "none").split(",")} - {*FEATURES, "none"}
    if unknown:
        refuse(f"--announce {', '.join(sorted(unknown))}: not one of {', '.join(FEATURES)}, none")
    if arguments.ptrace and arguments.no_patch:
        refuse("--no-patch does not go with --ptrace, which patches nothing")
    for option in ("stats_file", "trace"):
        file = getattr(arguments, option)
        if refused := refusal(file):
            refuse(f"--{option.replace('_', '-')} {file}: {refused}")
    if arguments.stats_file == arguments.trace == STANDARD:
        refuse("only one of --stats-file and --trace can go to the standard output")


def _emulate(arguments: argparse.Namespace, command: list[str]) -> int:
    from amx.emulation import launcher, program, sde, supervise

    found = program.find(command[0])
    if arguments.sde:
        words = sde.command(arguments.cpu, [found.path, *command[1:]])
        return supervise.become(words[0], words, os.environ)
    if arguments.ptrace:
        program.require_traceable(found)
        return _traced(arguments, found.path, command)
    program.require_preloadable(found)
    if arguments.stats or arguments.stats_file or arguments.trace:
        return _with_reports(arguments, found.path, command)
    environment = launcher.environment(
        os.environ, cpu=arguments.cpu, patch=not arguments.no_patch, announce=arguments.announce
    )
    return supervise.become(found.path, command, environment)


def _with_reports(arguments: argparse.Namespace, path: str, command: list[str]) -> int:
    from amx.cli._emulate_reports import Reports
    from amx.emulation import launcher, scratch, supervise

    reports = Reports(arguments)
    with scratch.directory(reports.name) as directory:
        environment = launcher.environment(
            os.environ,
            cpu=arguments.cpu,
            patch=not arguments.no_patch,
            directory=directory,
            trace=arguments.trace is not None,
            announce=arguments.announce,
        )
        status = supervise.run(path, command, environment)
        reports.of_directory(directory, status)
    return status


def _traced(arguments: argparse.Namespace, path: str, command: list[str]) -> int:
    from amx.cli._emulate_reports import Reports
    from amx.emulation import launcher, scratch, traced

    environment = launcher.environment(
        os.environ, cpu=arguments.cpu, patch=False, preload=False, announce=arguments.announce
    )
    reports = Reports(arguments)
    # Only what is recorded needs files.
    with scratch.directory(reports.name) if arguments.trace else contextlib.nullcontext("") as directory:
        ended = traced.run(path, command, environment, cpu=arguments.cpu, trace=directory)
        reports.of_tracer(path, ended, directory)
    return ended.status


def _probe(*, as_json: bool) -> int:
    from amx.emulation.probe import survey

    found = survey()
    if as_json:
        print(json.dumps({"schema": SCHEMA, "works": found.works, **dataclasses.asdict(found)}, indent=2))
    else:
        _show(found)
    return 0 if found.works else 1


def _show(found: Survey) -> None:
    from rich.table import Table
    from rich.text import Text

    from amx._console import open_console

    console = open_console()
    for heading, findings in (("this machine", found.means), ("what works", found.ways)):
        table = Table(heading, "", "", box=None, pad_edge=False)
        for finding in findings:
            answer = Text("yes", "green") if finding.works else Text("no", "yellow")
            reason = finding.reason if finding.works else f"{finding.reason}. {finding.remedy}."
            table.add_row(finding.name, answer, reason)
        console.print(table)
        console.print()
