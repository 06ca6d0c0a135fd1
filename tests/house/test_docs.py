"""Pages of docs/ whose tables repeat what the package knows."""

import re
from pathlib import Path

from amx.conformance.groups import checks

KNOWN_BUGS = (Path(__file__).parents[2] / "docs/howto/known-bugs.md").read_text()


def test_the_page_of_known_bugs_has_all_that_the_checks_name():
    known = {(bug.introduced, bug.fixed, check.id) for check in checks() for bug in check.bugs}
    rows = re.findall(r"^\|.*\| (.*) \| (.*) \| ([A-Z, 0-9-]+) \|$", KNOWN_BUGS, re.MULTILINE)
    told = {(since.strip("-"), fixed, id) for since, fixed, ids in rows for id in ids.split(", ")}
    # A request is no older than AMX in Linux, which the page says.
    assert {(since if since != "5.16" else "", fixed, id) for since, fixed, id in told} == known
