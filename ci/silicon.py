"""What only a CPU with AMX can say, in one dated record: the steps of ci/silicon, which says how to call it.

A record is a directory: JSON as the tools give it, and summary.md, which is written anew after each step, so
that a run that ends early leaves what it saw. Logs stay in build/silicon.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import amx
from amx import lifetime

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "docs/records"
DIGESTS = ROOT / "tests/data/silicon-digests.json"
AMX = str(Path(sys.executable).with_name("amx"))
CANNOT_RUN = 77
INTERRUPTED = 128 + signal.SIGINT
MINUTE = 60

HYBRID = (
    *("emulate", "used", "trap", "trap_faults", "trap_frame", "trap_signals", "trap_threads"),
    *("patch", "preload", "ptrace", "trace", "virtual_cpu", "kernel_model", "check_emulated"),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One command; `limit` in seconds; `output` is the file of the record for its standard output."""

    name: str
    command: tuple[str, ...]
    limit: int
    output: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """How a step ended: `status` as the shell has it, None where it was stopped at its limit."""

    step: Step
    status: int | None
    seconds: float
    log: Path

    @property
    def result(self) -> str:
        """In one or two words."""
        if self.status is None:
            return f"stopped after {self.step.limit} s"
        return {0: "passed", CANNOT_RUN: "could not run"}.get(self.status, f"failed (status {self.status})")


def steps(record: Path, *, count: int, quick: bool) -> list[Step]:
    """All of them, in order: what proves the numbers first, then the kernel's part, then the speed."""
    python, tests, seed = sys.executable, ROOT / "tests", str(int(time.time()))
    pytest = (python, "-m", "pytest", "-q", "-p", "no:cacheprovider")

    def test(name: str) -> str:
        return str(next(tests.glob(f"*/test_{name}.py")))

    differential = (python, str(tests / "support/differential.py"))
    amx = (AMX,)
    instructions = ("--count", str(count), "--seed", seed)
    short = ("--quick", "--peers", "numpy") if quick else ()
    require = () if quick else ("--require", "native")
    threads = len(os.sched_getaffinity(0))
    return [
        Step("machine", (*amx, "info", "--record", str(record / "machine.json")), MINUTE),
        Step("info", (*amx, "info", "--json"), MINUTE, "info.json"),
        Step("native lane", (*pytest, test("native_lane")), 20 * MINUTE),
        Step("native tests", (*pytest, "-m", "native and not long", str(tests)), 10 * MINUTE),
        Step("all encodings", (*differential, "--sweep", "997" if quick else "1"), 15 * MINUTE),
        Step("instructions", (*differential, *instructions), 20 * MINUTE),
        Step("patched instructions", (*differential, "--lane", "patched", *instructions), 20 * MINUTE),
        Step("digests", (*differential, "--record", str(record / "digests.json")), 10 * MINUTE),
        Step("digests replayed", (*pytest, test("differential")), 10 * MINUTE),
        Step(
            "hybrid emulation, amx.used",
            (*pytest, *map(test, HYBRID[: 2 if quick else None])),
            20 * MINUTE,
        ),
        Step(
            "amx check",
            (*amx, "check", "--optional", *require, "--json", str(record / "check.json")),
            15 * MINUTE,
        ),
        Step("goals", (*amx, "bench", "goals", "--json", *short), 40 * MINUTE, "goals-1.json"),
        *(
            [
                Step(
                    "goals, two threads",
                    (*amx, "bench", "goals", "--threads", "2", "--json", *short),
                    40 * MINUTE,
                    "goals-2.json",
                )
            ]
            if threads > 1
            else []
        ),
        Step(
            "odd, skinny", (*amx, "bench", "odd", "skinny", "--json", *short), 40 * MINUTE, "odd-skinny.json"
        ),
    ]


def run(step: Step, record: Path, logs: Path) -> End:
    """Run a step in a process group of its own, which ends with it."""
    log = logs / f"{re.sub('[^a-z0-9]+', '-', step.name)}.log"
    began = time.monotonic()
    with contextlib.ExitStack() as files:
        errors = files.enter_context(log.open("w"))
        output = files.enter_context((record / step.output).open("w")) if step.output else errors
        child = subprocess.Popen(
            step.command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            process_group=0,
            preexec_fn=lifetime.tied(),
        )
        try:
            status: int | None = child.wait(step.limit)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(5)
    if status is not None and status < 0:
        status = 128 - status
    return End(step, status, time.monotonic() - began, log)


def keep_digests(record: Path) -> str:
    """Let the tests replay the first digests; a sentence where those of another CPU differ, else empty."""
    fresh = record / "digests.json"
    if not fresh.exists():
        return ""
    if not DIGESTS.exists():
        shutil.copyfile(fresh, DIGESTS)
        return ""
    ours, theirs = (_digests(json.loads(path.read_text())) for path in (fresh, DIGESTS))
    differing = sorted(
        f"{family} {seed}"
        for family, seed in ours.keys() & theirs
        if ours[family, seed] != theirs[family, seed]
    )
    return f"differ from {DIGESTS.name}: {', '.join(differing)}" if differing else ""


def _digests(content: dict[str, Any]) -> dict[tuple[str, int], str]:
    return {(entry["family"], entry["seed"]): entry["sha256"] for entry in content["digests"]}


def summary(title: str, ends: list[End], planned: list[Step], record: Path, notes: list[str]) -> str:
    """summary.md."""
    lines = [f"# {title}", "", *notes, "", "| step | result | seconds |", "|---|---|---|"]
    lines += [f"| {end.step.name} | {end.result} | {end.seconds:.0f} |" for end in ends]
    lines += [f"| {step.name} | not run | |" for step in planned[len(ends) :]]
    for end in ends:
        if end.status != 0:
            lines += ["", f"## {end.step.name}: {end.result}", "", "```", *_last_words(end), "```"]
    check = _read(record / "check.json")
    if check:
        lines += ["", "## The kernel", "", *_of_the_kernel(check)]
    goals = [
        goal for name in ("goals-1.json", "goals-2.json", "odd-skinny.json") for goal in _goals(record / name)
    ]
    for heading, wanted in (("Reached", True), ("Not reached", False), ("Not measured", None)):
        found = [text for reached, text in goals if reached is wanted]
        lines += ["", f"## {heading}: {len(found)} of {len(goals)} goals", "", *found]
    return "\n".join(lines) + "\n"


def _last_words(end: End) -> list[str]:
    """What pytest or a tool says failed; without paths of this machine."""
    text = end.log.read_text(errors="replace").replace(str(ROOT), ".").replace(str(Path.home()), "~")
    told = [line for line in text.splitlines() if line.strip()]
    failed = [line for line in told if line.startswith(("FAILED ", "ERROR "))]
    return [line[:300] for line in [*failed[:50], *told[-5:]]]


def _of_the_kernel(check: dict[str, Any]) -> Iterator[str]:
    yield ", ".join(f"{count} {verdict}" for verdict, count in check["counts"].items() if count) + "."
    for found in check["checks"]:
        if found["verdict"] not in ("PASS", "SKIP"):
            yield f"* {found['id']} {found['verdict']}: {found['claim']}"


def _goals(path: Path) -> Iterator[tuple[bool | None, str]]:
    for goal in (_read(path) or {}).get("goals", ()):
        what = f"* {goal['case']}, {goal['threads']} thread(s), {goal['of']}: {goal['figure']}"
        against = f" to {goal['against']}" if goal["against"] else ""
        measured = goal["measured"]
        if measured is None:
            yield None, f"{what}{against}, goal {goal['goal']:.2f}"
            continue
        figures = f"{measured['median']:.2f} ({measured['low']:.2f} to {measured['high']:.2f})"
        engine = "" if goal["native"] else ", not on the CPU's tiles"
        yield (
            measured["median"] >= goal["goal"],
            f"{what}{against} {figures}, goal {goal['goal']:.2f}{engine}",
        )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def name_of(info: dict[str, Any]) -> str:
    """YYYY-MM-DD-<cpu>-<kernel>."""
    brand = re.sub(r"\(r\)|\(tm\)|intel|cpu|processor|@.*", " ", info["processor"]["brand"].lower())
    cpu = re.sub("[^a-z0-9]+", "-", brand).strip("-") or "unknown"
    kernel = re.sub("[^A-Za-z0-9.]+", "-", platform.release())
    return f"{datetime.date.today().isoformat()}-{cpu}-{kernel}"


def _directory(wanted: Path) -> Path:
    """A new directory of that name, or with the next free number."""
    for number in range(1, 100):
        path = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            return path
    raise FileExistsError(wanted)


def _notes(info: dict[str, Any], *, rehearsal: bool) -> list[str]:
    processor = info["processor"]
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    hypervisor = f", under {processor['hypervisor'] or 'a hypervisor'}" if processor["virtual"] else ""
    notes = [
        f"{processor['brand']} (family {processor['family']}, model {processor['model']}, stepping "
        f"{processor['stepping']}){hypervisor}; {len(os.sched_getaffinity(0))} CPUs; load "
        f"{os.getloadavg()[0]:.2f} at the start; Linux {platform.release()}; "
        f"Python {platform.python_version()}; linux-amx {info['version']}, commit {commit or 'unknown'}.",
    ]
    if rehearsal:
        notes.insert(0, "**A rehearsal: nothing here is about silicon.** The steps ran in short.")
        notes.insert(1, "")
    return notes


def refusal() -> str:
    """Why this machine cannot say anything about silicon; empty where it can."""
    found = amx.explain(probe=True)
    if found.usable and not found.emulated:
        return ""
    return f"{found}\nci/silicon: AMX of this machine cannot be used, so that nothing is recorded"


def main() -> int:
    """Run as a script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--refuse", action="store_true", help="only say whether this machine has AMX: 0, or 77"
    )
    parser.add_argument(
        "--rehearse", type=Path, metavar="DIRECTORY", help="run in short, into DIRECTORY/NAME"
    )
    options = parser.parse_args()
    rehearsal = options.rehearse is not None
    reason = "" if rehearsal else refusal()
    if reason or options.refuse:
        print(reason or "AMX can be used", file=sys.stderr)
        return CANNOT_RUN if reason else 0

    info = json.loads(
        subprocess.run(
            [AMX, "info", "--json"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        ).stdout
    )
    record = _directory((options.rehearse if rehearsal else RECORDS) / name_of(info))
    logs = ROOT / "build/silicon" / record.name
    logs.mkdir(parents=True, exist_ok=True)
    planned = steps(
        record, count=int(os.environ.get("COUNT", 2000 if rehearsal else 5_000_000)), quick=rehearsal
    )
    notes = _notes(info, rehearsal=rehearsal)
    return run_all(planned, record, logs, notes, rehearsal=rehearsal)


def run_all(planned: list[Step], record: Path, logs: Path, notes: list[str], *, rehearsal: bool) -> int:
    """Run the steps in order, whatever becomes of each; 0, 1 where one failed, 130 after an interrupt."""
    ends: list[End] = []
    interrupted = False
    for step in planned:
        print(f"== {step.name}", flush=True)
        try:
            ends.append(run(step, record, logs))
        except KeyboardInterrupt:
            interrupted = True
            notes.append("Interrupted.")
        else:
            print(f"   {ends[-1].result}, {ends[-1].seconds:.0f} s ({ends[-1].log})", flush=True)
            if step.name == "digests" and not rehearsal:
                difference = keep_digests(record)
                notes += [f"**The digests {difference}.**"] if difference else []
        (record / "summary.md").write_text(summary(record.name, ends, planned, record, notes))
        if interrupted:
            return INTERRUPTED
    print(f"== {record}: commit it, and show it in docs/performance.md and docs/numerics.md")
    return 1 if any(end.status != 0 for end in ends) or any("digests differ" in note for note in notes) else 0


if __name__ == "__main__":
    sys.exit(main())
