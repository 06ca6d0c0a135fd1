"""Pages of docs/ whose tables repeat what the package knows. ci/docs runs their blocks of code."""

import re
from pathlib import Path

from amx.causes import Cause
from amx.conformance.groups import checks

DOCS = Path(__file__).parents[2] / "docs"
KNOWN_BUGS = (DOCS / "howto/known-bugs.md").read_text()


def test_the_table_of_causes_is_the_packages():
    rows = re.findall(r"^\| (.*) \| (.*) \|$", (DOCS / "reference/causes.md").read_text(), re.MULTILINE)
    assert rows[1:] == [(cause.words, cause.remedy) for cause in Cause]


def test_the_page_of_known_bugs_has_all_that_the_checks_name():
    known = {(bug.introduced, bug.fixed, check.id) for check in checks() for bug in check.bugs}
    rows = re.findall(r"^\|.*\| (.*) \| (.*) \| ([A-Z, 0-9-]+) \|$", KNOWN_BUGS, re.MULTILINE)
    told = {(since.strip("-"), fixed, id) for since, fixed, ids in rows for id in ids.split(", ")}
    # A request is no older than AMX in Linux, which the page says.
    assert {(since if since != "5.16" else "", fixed, id) for since, fixed, id in told} == known
