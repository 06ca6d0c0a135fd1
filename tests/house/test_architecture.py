"""Pages about the structure name files and functions that there are."""

import re
from pathlib import Path

import children
import pytest

import amx

PAGES = ["docs/architecture.md", "CONTRIBUTING.md"]
PATH = re.compile(r"(?:amx|csrc|tests|ci|docs|examples)/[\w./-]*")
DEFINITION = r"^ *(?:def|class) {0}\b|^[a-z_].*\b{0}\([^;]*$"


def place(path):
    """Where it is: what belongs to the package may be installed elsewhere."""
    return (Path(amx.__file__).parents[1] if path.startswith("amx/") else children.ROOT) / path


def spans(text):
    return re.findall(r"`([^`\n]+)`", text)


def steps(page):
    """Pairs of a file and a function that follows it in a paragraph."""
    for paragraph in re.split(r"\n(?=\d+\. |\n|- |\| )", (children.ROOT / page).read_text()):
        file = None
        for span in spans(paragraph):
            if PATH.fullmatch(span):
                file = None if span.endswith("/") else span
            elif re.fullmatch(r"\w+\(\)", span) and file:
                yield file, span[:-2]


@pytest.mark.parametrize("page", PAGES)
def test_every_path_exists(page):
    found = {span for span in spans((children.ROOT / page).read_text()) if PATH.fullmatch(span)}
    assert len(found) > 15
    in_no_wheel = {"amx/_native.cdef.txt"} if not (children.ROOT / "amx").exists() else set()
    assert [path for path in sorted(found - in_no_wheel) if not place(path).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_function_is_defined_where_the_page_says(page):
    assert [
        (file, name)
        for file, name in steps(page)
        if not re.search(DEFINITION.format(name), place(file).read_text(), re.MULTILINE)
    ] == []


def test_the_journeys_name_many_functions():
    assert len(set(steps("docs/architecture.md"))) > 40
