"""Pages about the structure name files and functions that there are; the picture is of today's layers."""

import re
import sys

import children
import pytest

PAGES = ["docs/architecture.md", "CONTRIBUTING.md"]
PATH = re.compile(r"(?:amx|csrc|tests|ci|docs)/[\w./-]*")


def steps(page):
    """Pairs of a file and a function that follows it in a paragraph."""
    for paragraph in re.split(r"\n(?=\d+\. |\n|- |\| )", (children.ROOT / page).read_text()):
        file = None
        for span in re.findall(r"`([^`\n]+)`", paragraph):
            if PATH.fullmatch(span):
                file = span
            elif re.fullmatch(r"\w+\(\)", span) and file:
                yield file, span[:-2]


@pytest.mark.parametrize("page", PAGES)
def test_every_path_exists(page):
    paths = {
        span
        for span in re.findall(r"`([^`\n]+)`", (children.ROOT / page).read_text())
        if PATH.fullmatch(span)
    }
    assert len(paths) > 15
    assert [path for path in sorted(paths) if not (children.ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_function_is_defined_where_the_page_says(page):
    missing = [
        (file, name)
        for file, name in steps(page)
        if not re.search(
            rf"^ *(?:def|class) {name}\b|^[a-z_].*\b{name}\([^;]*$", (children.ROOT / file).read_text(), re.M
        )
    ]
    assert missing == []


def test_the_journeys_name_many_functions():
    assert len(set(steps("docs/architecture.md"))) > 40


def test_the_picture_is_of_the_declared_layers():
    done = children.run(
        [sys.executable, children.ROOT / "ci/picture.py", "--check"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
