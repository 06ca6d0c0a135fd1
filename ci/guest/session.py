"""Run pytest in a guest and write what each test did to a file at once: `session.py FILE [pytest arguments]`.

A guest can end at any moment, by its time limit or a panic, so that a report written at the end is no report.
The lines are JSON: the tests selected, then for each its beginning, and the outcome of its call and of
whatever else did not pass.
"""

import json
import sys
from pathlib import Path

import pytest


class Results:
    """A plugin of pytest that appends to a file."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def write(self, **line: object) -> None:
        """Append a line and close the file: the host reads it through a file system without a cache."""
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that cannot be imported."""
        if report.failed:
            self.write(test=report.nodeid, outcome="failed", why=report.longreprtext, seconds=0)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Deselection is done."""
        self.write(selected=[item.nodeid for item in session.items])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """So that the test which a guest died of has a name."""
        self.write(begins=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of one test."""
        if report.when == "call" or not report.passed:
            skipped = report.skipped and isinstance(report.longrepr, tuple)
            why = report.longrepr[2] if skipped else report.longreprtext
            self.write(test=report.nodeid, outcome=report.outcome, why=why, seconds=round(report.duration, 2))


if __name__ == "__main__":
    sys.path[0] = ""
    sys.exit(pytest.main(sys.argv[2:], plugins=[Results(sys.argv[1])]))
