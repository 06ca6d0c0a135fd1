"""What a guest's tests did, from what ci/guest/session.py wrote before the guest ended, however it ended."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Verdict:
    """What went wrong by test, in the words to print; `skipped` counts reasons."""

    passed: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    not_run: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)  # of the guest, not of a test

    @property
    def good(self) -> bool:
        """Every test that was selected has run, and none failed."""
        return not (self.failed or self.not_run or self.trouble)

    @property
    def summary(self) -> str:
        """The counts."""
        counts = f"{self.passed} passed, {self.skipped.total()} skipped, {len(self.failed)} failed"
        return f"{counts}, {len(self.not_run)} not run" + "".join(f"; {line}" for line in self.trouble)

    def __str__(self) -> str:
        lines = [f"FAILED {test}\n{why}\n" for test, why in self.failed.items()]
        lines += [f"skipped {count} times: {why}" for why, count in self.skipped.most_common()]
        lines += [f"NOT RUN {test}" for test in self.not_run]
        return "\n".join(lines)


def _lines(results: Path) -> list[dict[str, Any]]:
    """The lines that are whole; a guest may end amid one."""
    written = results.read_text().splitlines(keepends=True) if results.exists() else []
    return [json.loads(line) for line in written if line.endswith("\n")]


def read(folder: Path, differences: str, *, in_time: bool) -> Verdict:
    """The verdict on the guest that left its files in `folder`; `differences` as of `machine.differences`."""
    found = Verdict(trouble=[differences] if differences else [])
    if not in_time:
        found.trouble.append("its time was over")
    lines = _lines(folder / "results")
    selected: list[str] = next((line["selected"] for line in lines if "selected" in line), [])
    running = None
    outcomes: dict[str, dict[str, Any]] = {}
    for line in lines:
        running = line.get("begins", running)
        test = line.get("test")
        if test is not None and outcomes.get(test, {}).get("outcome") != "failed":
            outcomes[test] = line
    for test, line in outcomes.items():
        if line["outcome"] == "failed":
            found.failed[test] = line["why"]
        elif line["outcome"] == "skipped":
            found.skipped[line["why"]] += 1
        else:
            found.passed += 1
    found.not_run = [test for test in selected if test not in outcomes]
    if running in found.not_run:
        found.trouble.append(f"it ended in {running}")
    status = folder / "status"
    if not selected:
        found.trouble.append(f"no test was selected: see output, console and qemu in {folder}")
    elif in_time and not status.exists():
        found.trouble.append(f"it did not come to its end: see {folder}/console")
    elif in_time and (text := status.read_text().strip()) != "0" and not found.failed:
        found.trouble.append(f"pytest ended with {text}: see {folder}/output")
    return found
