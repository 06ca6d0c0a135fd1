#!/usr/bin/env python3
"""Look where links lead: ci/links.py SITE; ci/docs calls it, after Sphinx has made the site.

In the Markdown files of the repository and in the site every link to a file of ours has its file, and the
anchor in it. No page of the site loads anything from another host.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^ *(`{3,}|~{3,}).*?^ *\1`*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
LINK = re.compile(r"\]\(<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]: *(\S+)|\b(?:src|href)=\"([^\"]+)\"", re.MULTILINE)
HEADING = re.compile(r"^#+ +(.*?)#* *$", re.MULTILINE)
# What makes a browser fetch something, by element.
LOADS = {
    "audio": "src",
    "embed": "src",
    "iframe": "src",
    "image": "href",
    "img": "src",
    "input": "src",
    "link": "href",
    "object": "data",
    "script": "src",
    "source": "src",
    "track": "src",
    "use": "href",
    "video": "src",
}
LINKED = {"alternate", "author", "canonical", "help", "license", "next", "prev", "search", "index"}
FETCHED = re.compile(r"""(?:url\(|@import)\s*["']?([^"')\s;]+)""")


@cache
def anchors_of_markdown(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    text = BLOCK.sub("", page.read_text())
    anchors: set[str] = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))
    for heading in HEADING.findall(text):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        count = 0
        while (anchor := f"{slug}-{count}" if count else slug) in anchors:
            count += 1
        anchors.add(anchor)
    return anchors


def wrong_in_markdown(page: Path) -> Iterator[str]:
    """What of a Markdown page leads nowhere."""
    text = BLOCK.sub(lambda match: "\n" * match.group().count("\n"), page.read_text())
    prose = CODE.sub(lambda match: re.sub(r"[^\n]", "x", match.group()), text)
    for match in LINK.finditer(prose):
        target = next(filter(None, match.groups()))
        line = prose.count("\n", 0, match.start()) + 1
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        there = page.parent / unquote(parts.path) if parts.path else page
        if not there.exists():
            yield f"{page}:{line}: {target}: there is no such file"
        elif parts.fragment and there.suffix == ".md" and parts.fragment not in anchors_of_markdown(there):
            yield f"{page}:{line}: {target}: there is no such heading"


class Page(HTMLParser):
    """What a page of the site has, and what it refers to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.in_style = False
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element."""
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        self.in_style = tag == "style"
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        of = values.get(LOADS.get(tag, ""))
        if of and not (tag == "link" and set(values.get("rel", "").split()) <= LINKED):
            self.loads.append(of)
        self.loads += [each.split()[0] for each in values.get("srcset", "").split(",") if each.strip()]
        self.loads += FETCHED.findall(values.get("style", ""))

    def handle_data(self, data: str) -> None:
        """Styles load, too."""
        if self.in_style:
            self.loads += FETCHED.findall(data)


@cache
def page_of(path: Path) -> Page:
    """The page in that file."""
    return Page(path)


def wrong_in_site(path: Path) -> Iterator[str]:
    """What of a page of the site leads nowhere, or is loaded from elsewhere."""
    page = page_of(path)
    for target in page.loads:
        parts = urlsplit(target)
        if parts.netloc or parts.scheme not in ("", "data"):
            yield f"{path}: loads {target} from another host"
        elif parts.path.startswith("/"):
            yield f"{path}: {target} is nothing on a disk: not relative"
        elif parts.path and not parts.scheme and not (path.parent / unquote(parts.path)).exists():
            yield f"{path}: {target}: there is no such file"
    for target in page.links:
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if not there.is_file():
            yield f"{path}: {target}: there is no such file"
        elif (
            parts.fragment
            and there.suffix == ".html"
            and unquote(parts.fragment) not in page_of(there).anchors
        ):
            yield f"{path}: {target}: there is no such anchor"


def wrong_in_styles(path: Path) -> Iterator[str]:
    """What a style sheet loads from another host."""
    for target in FETCHED.findall(path.read_text()):
        if urlsplit(target).netloc:
            yield f"{path}: loads {target} from another host"


def markdown_files() -> list[Path]:
    """Those of the repository, new ones as well; without git those at its top and in docs/."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        return [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).exists()]


def main() -> int:
    """Say what leads nowhere."""
    reader = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reader.add_argument("site", type=Path)
    site: Path = reader.parse_args().site.resolve()
    pages, markdown = sorted(site.rglob("*.html")), markdown_files()
    if not pages:
        reader.error(f"no page in {site}")
    wrong = [line for page in markdown for line in wrong_in_markdown(page)]
    wrong += [line for page in pages for line in wrong_in_site(page)]
    wrong += [line for style in site.rglob("*.css") for line in wrong_in_styles(style)]
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"{len(markdown)} Markdown files and {len(pages)} pages looked at: {len(wrong)} faults")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
