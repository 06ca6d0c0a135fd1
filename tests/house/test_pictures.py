"""Pictures of the documentation: of their records, readable anywhere, told in words where they stand."""

import re
import sys
import xml.etree.ElementTree as ET

import children
import pytest

from amx.conformance import groups

DOCS = children.ROOT / "docs"
PICTURES = sorted((DOCS / "pictures").glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"


def test_the_pictures_are_of_their_records():
    done = children.run(
        [sys.executable, children.ROOT / "ci/pictures.py", "--check"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("picture", [*PICTURES, DOCS / "architecture.svg"], ids=lambda path: path.stem)
def test_a_picture_is_small_has_a_description_and_loads_nothing(picture):
    content = picture.read_text()
    assert picture.stat().st_size <= 60 * 1024
    root = ET.fromstring(content)
    assert root.findtext(f"{SVG}title")
    assert root.findtext(f"{SVG}desc")
    assert "prefers-color-scheme: dark" in content
    assert set(re.findall(r"https?://[^\"' )]+", content)) == {"http://www.w3.org/2000/svg"}
    assert "url(" not in content.replace("url(#head)", "")


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.stem)
def test_a_picture_stands_on_a_page_with_words_for_who_cannot_see_it(picture):
    pages = [*DOCS.rglob("*.md"), children.ROOT / "README.md"]
    shown = [
        words
        for page in pages
        for words, target in re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", page.read_text())
        if (page.parent / target).resolve() == picture
    ]
    assert shown
    assert all(len(words) > 20 for words in shown)
    assert not any("\n" in words for words in shown)  # Sphinx takes the break away, and puts no space


def test_the_layout_of_b_is_what_the_instructions_answer_today():
    asked = children.run(
        [sys.executable, children.ROOT / "ci/draw/tile_layout.py"], capture_output=True, text=True, check=True
    )
    rows = [" ".join(f"b[{4 * row + place % 4}][{place // 4}]" for place in range(16)) for row in range(2)]
    pairs = [" ".join(f"b[{2 * row + place % 2}][{place // 2}]" for place in range(8)) for row in range(4)]
    expected = [f"int8 row {row}: {places}" for row, places in enumerate(rows)]
    expected += [f"bf16 row {row}: {places}" for row, places in enumerate(pairs)]
    assert expected == asked.stdout.splitlines()
    assert expected == (DOCS / "pictures/tile-layout.txt").read_text().splitlines()[1:]


def test_the_ways_between_states_are_checks_that_there_are():
    named = re.search(r"amx check (.*)", (DOCS / "pictures/states.txt").read_text())[1].split()
    assert set(named) <= {check.id for check in groups.checks()}
