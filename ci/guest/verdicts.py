"""Hold a report of `amx check --json` against the verdicts expected: `verdicts.py [--write] REPORT EXPECTED`.

EXPECTED has lines of a verdict and ids; # begins a comment, which `--write` leaves where it is in the head.
"""

import json
import sys
import textwrap
from pathlib import Path

WIDTH = 100


def expected(text: str) -> dict[str, str]:
    """The verdict of each check."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        verdict, *ids = line.partition("#")[0].split() or [""]
        for id in ids:
            if id in found:
                sys.exit(f"verdicts: {id} is there twice")
            found[id] = verdict
    return found


def reported(path: Path) -> dict[str, tuple[str, str]]:
    """The verdict of each check, and its reason."""
    checks = json.loads(path.read_text())["checks"]
    return {check["id"]: (check["verdict"], check["reason"]) for check in checks}


def differences(wanted: dict[str, str], found: dict[str, tuple[str, str]]) -> list[str]:
    """What is otherwise, a line each, in the order of the catalogue."""
    lines = []
    for id in dict.fromkeys((*found, *wanted)):
        verdict, reason = found.get(id, ("not made", ""))
        if verdict != wanted.get(id, "unknown"):
            why = f" ({reason})" if reason else ""
            lines.append(f"{id}: {verdict}{why}, expected: {wanted.get(id, 'unknown')}")
    return lines


def rendered(head: list[str], found: dict[str, tuple[str, str]]) -> str:
    """The text of an expectation: the comments of its head, then the ids by verdict."""
    by_verdict: dict[str, list[str]] = {}
    for id, (verdict, _) in found.items():
        by_verdict.setdefault(verdict, []).append(id)
    lines = list(head)
    for verdict, ids in sorted(by_verdict.items()):
        indent = f"{verdict} "
        lines += textwrap.wrap(
            " ".join(ids), WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        )
    return "\n".join(lines) + "\n"


def main(*words: str) -> int:
    """The exit status: 1 if anything is otherwise."""
    report, file = map(Path, words[-2:])
    if not report.exists():
        print("there is no report: see the text beside it")
        return 1
    found = reported(report)
    text = file.read_text() if file.exists() else ""
    if words[0] == "--write":
        head = [line for line in text.splitlines() if line.startswith("#")]
        file.write_text(rendered(head, found))
        return 0
    lines = differences(expected(text), found)
    print("\n".join(lines) or f"{len(found)} verdicts as expected")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
