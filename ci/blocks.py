#!/usr/bin/env python3
"""Run the blocks of code in Markdown pages: ci/blocks.py [PAGE...]. ci/docs calls it, by its own Python.

Without pages these are README.md and all of docs/. The blocks of a page run in order in one new directory:

- python: a program of its own, which ends with status 0.
- console: each line that begins with "$ " is given to bash, with the lines that it continues on by a
  backslash, or by "> " at their beginning. Each command ends with status 0. The other lines are output, and
  are not compared.
- {code-block} with :caption: or :name: is written to the file of that name.
- An HTML comment on the line before says otherwise: <!-- not run: why -->, or <!-- status: 0 or 77 -->,
  which is that of the program or of the last command.

Other blocks are shown, and have a language that is not taken for a program; one without a language is "text".
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHOWN = {"asm", "c", "cmake", "diff", "dockerfile", "ini", "json", "make", "text", "toml", "xml", "yaml"}
SECONDS = 120  # that a block may take
FENCE = re.compile(r"( *)(`{3,}|~{3,})\s*([^`]*?)\s*")
COMMENT = re.compile(r" *<!-- *(not run|status): *(.*?) *--> *")
OPTION = re.compile(r" *:(caption|name): *(\S+) *")


class PageError(Exception):
    """A page does not keep to the conventions."""


@dataclass(frozen=True)
class Block:
    """What stands between two fences: `line` is the first one's."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str | None = None
    statuses: tuple[int, ...] = (0,)
    file: str | None = None

    @property
    def place(self) -> str:
        """Where it stands."""
        page = self.page.resolve()
        return f"{page.relative_to(ROOT) if page.is_relative_to(ROOT) else page}:{self.line}"


@dataclass
class Outcome:
    """What became of a page's blocks."""

    page: Path
    seconds: float = 0.0
    ran: int = 0
    not_run: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def blocks_of(page: Path) -> Iterator[Block]:
    """The blocks of a page that are run, written, or marked as not run."""
    lines = page.read_text().splitlines()
    at = 0
    while at < len(lines):
        opening = FENCE.fullmatch(lines[at])
        comment = COMMENT.fullmatch(lines[at - 1]) if at else None
        if not opening:
            if COMMENT.fullmatch(lines[at]) and not FENCE.fullmatch("".join(lines[at + 1 : at + 2])):
                raise PageError(f"{page}:{at + 1}: this comment is not on the line before a block")
            at += 1
            continue
        indent, fence, info = opening.groups()
        closing = re.compile(rf" *{fence[0]}{{{len(fence)},}} *")
        end = next((i for i in range(at + 1, len(lines)) if closing.fullmatch(lines[i])), None)
        if end is None:
            raise PageError(f"{page}:{at + 1}: this block has no end")
        text = [
            line[len(indent) :] if line.startswith(indent) else line.lstrip() for line in lines[at + 1 : end]
        ]
        block = block_at(page, at + 1, info, text, comment)
        if block is not None:
            yield block
        at = end + 1


def block_at(
    page: Path, line: int, info: str, text: list[str], comment: re.Match[str] | None
) -> Block | None:
    """What these lines are; None, if nothing is to be done with them."""
    where = f"{page}:{line}"
    not_run = comment[2] if comment and comment[1] == "not run" else None
    if not_run == "":
        raise PageError(f"{where}: say why this is not run")
    statuses = (0,)
    if comment and comment[1] == "status":
        if not re.fullmatch(r"\d+( or \d+)*", comment[2]):
            raise PageError(f"{where}: {comment[2]!r} is no status: write <!-- status: 0 or 77 -->")
        statuses = tuple(map(int, comment[2].split(" or ")))
    if info.startswith("{"):
        options = [match for match in map(OPTION.fullmatch, text) if match]
        if info.startswith("{code-block}") and options:
            body = text[next((i for i, each in enumerate(text) if not re.match(r" *:\w+:", each)), 0) :]
            return Block(page, line, "file", "\n".join(body).strip("\n") + "\n", not_run, file=options[0][2])
        return None
    if info in ("python", "console"):
        return Block(page, line, info, "\n".join(text) + "\n", not_run, statuses)
    if not_run is not None:
        return Block(page, line, info, "", not_run)
    if info not in SHOWN:
        raise PageError(
            f"{where}: a block of {info or 'no language'}: python and console are run, "
            f"{', '.join(sorted(SHOWN))} are shown; mark others <!-- not run: why -->"
        )
    return None


def commands(text: str) -> Iterator[str]:
    """What a block of a console gives to bash."""
    command: list[str] = []
    for line in text.splitlines():
        goes_on = bool(command) and (line.startswith("> ") or command[-1].endswith("\\"))
        if command and not goes_on:
            yield "\n".join(command)
            command = []
        if line.startswith("$ "):
            command = [line[2:]]
        elif goes_on:
            command.append(line.removeprefix("> "))
    if command:
        yield "\n".join(command)


def script(block: Block) -> str:
    """What bash is given: each command, and whether its status is one of those that are expected."""
    given = list(commands(block.text))
    lines = ["set -o pipefail"]
    for number, command in enumerate(given, 1):
        expected = block.statuses if number == len(given) else {0, *block.statuses}
        words = " or ".join(map(str, expected))
        otherwise = f"""echo {shlex.quote(f"{command}: status")} "$status, not {words}" >&2; exit 99"""
        lines += [
            command,
            f"status=$?; case $status in {'|'.join(map(str, expected))}) ;; *) {otherwise} ;; esac",
        ]
    return "\n".join(lines)


def program(block: Block, directory: Path) -> list[str]:
    """What runs the block."""
    if block.language == "console":
        if not list(commands(block.text)):
            raise PageError(f"{block.place}: a console without a command: lines to run begin with '$ '")
        return ["bash", "-c", script(block)]
    file = directory / f"line_{block.line}.py"
    file.write_text(block.text)
    return [sys.executable, str(file)]


def failure(block: Block, directory: Path) -> str | None:
    """Run the block; what went wrong."""
    if block.file is not None:
        file = directory / block.file
        if not file.resolve().is_relative_to(directory.resolve()):
            return f"{block.place}: {block.file} is not in the page's directory"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text)
        return None
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AMX_")}
    environment |= {"HOME": str(directory), "PYTHONUNBUFFERED": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    try:
        done = subprocess.run(
            program(block, directory),
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        said = (error.output or b"").decode(errors="replace")
        return f"{block.place}: not done after {SECONDS} seconds\n{said}"
    allowed = (0,) if block.language == "console" else block.statuses
    if done.returncode in allowed:
        return None
    return f"{block.place}: status {done.returncode}\n{done.stdout}"


def run(page: Path) -> Outcome:
    """Run a page's blocks. After one that fails the others run, too."""
    outcome = Outcome(page)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="amx-blocks-") as name:
        try:
            for block in blocks_of(page):
                if block.not_run is not None:
                    outcome.not_run.append(f"{block.place}: {block.not_run}")
                    continue
                failed = failure(block, Path(name))
                outcome.ran += 1
                if failed is not None:
                    outcome.failures.append(failed)
        except PageError as error:
            outcome.failures.append(str(error))
    outcome.seconds = time.monotonic() - begin
    return outcome


def pages() -> list[Path]:
    """README.md and all pages of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def main(argv: Sequence[str] | None = None) -> int:
    """Run them, and say what was not run and what failed."""
    reader = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reader.add_argument("page", nargs="*", type=Path)
    chosen: list[Path] = reader.parse_args(argv).page or pages()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as executor:
        outcomes = list(executor.map(run, chosen))
    for title, lists in (
        ("not run", [outcome.not_run for outcome in outcomes]),
        ("failed", [outcome.failures for outcome in outcomes]),
    ):
        for line in (line for each in lists for line in each):
            print(f"{title}: {line}")
    slowest = max(outcomes, key=lambda outcome: outcome.seconds)
    failures = sum(len(outcome.failures) for outcome in outcomes)
    print(
        f"{sum(outcome.ran for outcome in outcomes)} blocks ran, {failures} failed, "
        f"{sum(len(outcome.not_run) for outcome in outcomes)} are not run; "
        f"{slowest.page.name} took longest, {slowest.seconds:.0f} s"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
