"""`amx check --boot` and `--initramfs`: the checks are made in a guest, which a kernel is booted for."""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import os
import re
from collections.abc import Callable

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from amx._console import open_console
from amx.cli import _check_compare, _check_judge
from amx.cli._check_show import for_people, missing_lane, terminal
from amx.cli._files import STANDARD, refusal, writing
from amx.cli._streams import print_error
from amx.conformance import environment as _environment
from amx.conformance.groups import checks
from amx.conformance.guest import initramfs, judging, machines
from amx.conformance.guest import log as _log
from amx.conformance.guest.boot import CONSOLE, PORT, Boot
from amx.conformance.guest.log import Log, LogError
from amx.conformance.guest.machines import Settings
from amx.conformance.report import json_report, reading
from amx.conformance.report.matrix import Unread, compare
from amx.conformance.report.reading import ReportError, Run
from amx.conformance.runner import Report
from amx.conformance.selection import Selection, select
from amx.errors import GuestError
from amx.printable import printable

__all__ = ["add_options", "refuse", "run", "run_all", "separate", "write_initramfs"]

WORST_LAST = (0, 77, 2, 1)  # exit statuses
OF_QEMU = ("accel", "cpu", "smp", "memory")  # options
OF_A_BOOT = (*OF_QEMU, "append", "runner", "timeout")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    parser.add_argument(
        "--initramfs",
        metavar="FILE",
        help="run nothing: write an initramfs that makes the selected checks in any kernel, and says on the "
        "console what it saw, for --judge",
    )
    guest = parser.add_argument_group("a kernel that does not run here")
    guest.add_argument(
        "--boot",
        nargs="+",
        metavar="BZIMAGE",
        help="boot it in QEMU and judge it; several are booted one after the other, and compared",
    )
    guest.add_argument(
        "--runner",
        metavar="COMMAND",
        help="what boots it in QEMU's place: {kernel}, {initrd} and {append} stand for what it is given, and "
        "{console} for the file that it writes the console to (else its standard output). No shell",
    )
    guest.add_argument(
        "--accel", choices=("kvm", "tcg"), help="QEMU's (default: kvm where it works, else tcg)"
    )
    guest.add_argument("--cpu", help="as QEMU names it (default: host by KVM, else max)")
    guest.add_argument("--smp", type=_count, metavar="CPUS", help="their number (default: 1)")
    guest.add_argument("--memory", type=_count, metavar="MIB", help="its size (default: 512)")
    guest.add_argument("--append", metavar="WORDS", help="more for the kernel's command line")
    guest.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help="for the whole boot (default: 120); then the guest is killed, and what is missing is an error",
    )


def separate(arguments: argparse.Namespace) -> None:
    """Behind --boot, words that name checks and no file are the selection's (`--boot bzImage PERM`)."""
    words: list[str] = arguments.boot or []
    for word in words[1:]:
        if os.path.exists(word):
            continue
        with contextlib.suppress(ValueError):
            select([word])
            words.remove(word)
            arguments.selection.append(word)


def refuse(arguments: argparse.Namespace) -> None:
    """Refuse what cannot be asked for together."""
    say: Callable[[str], None] = arguments.usage_error
    if file := arguments.initramfs:
        if arguments.boot:
            say("--boot makes its own initramfs: ask for one or the other")
        if why := refusal(file):
            say(f"--initramfs {file}: {why}")
    given = [option for option in OF_A_BOOT if getattr(arguments, option) is not None]
    if not arguments.boot:
        if given:
            say(f"--{given[0]} is about a boot: name the kernel by --boot")
        return
    if "runner" in given and given[0] in OF_QEMU:
        say(f"--{given[0]} is about QEMU, and --runner takes its place")
    if len(arguments.boot) > _check_compare.MOST:
        say(f"--boot takes at most {_check_compare.MOST} kernels")
    if len(arguments.boot) > 1 and arguments.ktap:
        say("--ktap is about one run: boot one kernel")
    if any(each in (arguments.append or "") for each in "\n\0"):
        say("--append takes words of one line")


def write_initramfs(selection: Selection, arguments: argparse.Namespace) -> int:
    """Write it; the exit status.

    Raises
    ------
    FileError: it cannot be written.
    GuestError: there is none.
    """
    archive, count = _archive(selection)
    with writing(arguments.initramfs) as opened:
        opened.write(archive)
    if arguments.initramfs != STANDARD:
        print(f"{printable(arguments.initramfs)}: {len(archive):,} bytes, {count} checks")
    return 0


def run(selection: Selection, arguments: argparse.Namespace) -> Report:
    """Boot the one kernel, and judge and show it.

    Raises
    ------
    GuestError: it cannot be booted here.
    LogError: there is nothing in what it said that could be judged.
    """
    (kernel,) = arguments.boot
    archive, count = _archive(selection)
    booted = _boot(kernel, archive, count, arguments)
    return _check_judge.judge(_log_of(booted), _source(kernel, booted), selection, arguments)


def run_all(selection: Selection, arguments: argparse.Namespace) -> int:
    """Boot several kernels one after the other, show what failed, and compare them; the worst exit status.

    Raises
    ------
    GuestError: one cannot be booted here; then none is.
    """
    archive, count = _archive(selection)
    for kernel in arguments.boot:
        machines.check(kernel, _settings(arguments))
    shown = terminal(arguments)
    runs: list[Run] = []
    unread: list[Unread] = []
    statuses = []
    for kernel in arguments.boot:
        try:
            booted = _boot(kernel, archive, count, arguments)
            report = _report(_log_of(booted), _source(kernel, booted), selection, arguments)
            shown.end(report)
            statuses.append(report.exit_status)
            runs.append(reading.read(json_report.as_json(report), kernel))
        except (LogError, ReportError) as error:
            print_error(f"amx check: {error}")
            unread.append(Unread(printable(kernel), str(error)))
    if len(runs) + len(unread) > 1:
        statuses.append(_check_compare.show(compare(runs, unread=unread), arguments))
    return max(statuses, key=WORST_LAST.index)


def _boot(kernel: str, archive: bytes, count: int, arguments: argparse.Namespace) -> Boot:
    """Boot it, with its progress on a terminal."""
    settings = _settings(arguments)
    console = open_console(for_people(arguments))
    if not console.is_terminal:
        booted = machines.boot(kernel, archive, settings, (lambda id: None, lambda: None))
    else:
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task(f"booting {printable(os.path.basename(kernel))}", total=count)
            about_to = functools.partial(_describe, progress, task)
            booted = machines.boot(kernel, archive, settings, (about_to, lambda: progress.advance(task)))
    console.print(Text(f"{printable(kernel)}: {booted.by}{_notes(booted)}, {booted.seconds:.1f} s"))
    return booted


def _describe(progress: Progress, task: TaskID, id: str) -> None:
    progress.update(task, description=id)


def _log_of(booted: Boot) -> Log:
    texts = [booted.logs[name] for name in (CONSOLE, PORT) if name in booted.logs]
    try:
        return _log.read(texts, stopped=booted.stopped)
    except LogError as error:
        if booted.has_begun:
            raise LogError(f"what the guest said cannot be judged: {error}") from None
        if booted.panic:
            raise LogError(f"the kernel panicked before its first process: {booted.panic}") from None
        said = f"; {booted.by} said: {' / '.join(booted.messages)}" if booted.messages else ""
        raise LogError(f"the kernel did not come to its first process: {error}{said}") from None


def _report(log: Log, source: str, selection: Selection, arguments: argparse.Namespace) -> Report:
    """Judge a log without showing each check."""
    environment = judging.environment(log, source=source)
    results = judging.LogRunner(log, environment, asked=selection.asked).run(selection.checks)
    missing = missing_lane(environment, arguments.require)
    return judging.report(log, environment, selection, list(results), missing)


def _source(kernel: str, booted: Boot) -> str:
    return f"{printable(kernel)} in {booted.by}{_notes(booted)}"


def _notes(booted: Boot) -> str:
    return f" ({'; '.join(booted.notes)})" if booted.notes else ""


def _settings(arguments: argparse.Namespace) -> Settings:
    given = {option: getattr(arguments, option) for option in OF_A_BOOT}
    return Settings(
        **{option: value for option, value in given.items() if value is not None},
        fault=_environment.fault(),
        model=arguments.model or _environment.is_modelled(),
    )


def _archive(selection: Selection) -> tuple[bytes, int]:
    """An initramfs, and the number of checks that it makes."""
    plan = initramfs.plan(selection, checks())
    if not plan:
        raise GuestError(
            "there is no check to be made",
            cause="Those that were selected are optional",
            remedy="Ask for them by their whole names or with --optional",
        )
    return initramfs.archive(initramfs.program(), plan), plan.count("\n")


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,6}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not (math.isfinite(seconds) and seconds > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no time in seconds")
    return seconds
