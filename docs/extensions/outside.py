"""Links that leave docs/ lead somewhere in the site, too; on GitHub they lead to the files.

A page of project/ that stands for a file of the repository's top has that file's text in the site.
"""

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Pages that have the text of another file.
TEXTS = {
    "project/changelog": ROOT / "CHANGELOG.md",
    "project/contributing": ROOT / "CONTRIBUTING.md",
    "project/security": ROOT / "SECURITY.md",
    "project/digits": ROOT / "amx/data/README.md",
}
PAGES = {path: DOCS / f"{page}.md" for page, path in TEXTS.items()} | {ROOT / "README.md": DOCS / "index.md"}
FENCE = re.compile(r"^ *(`{3,}|~{3,}).*?^ *\1`*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(\]\()([^)\s#:]+)(#[^)\s]*)?(\))")


def rewritten(text: str, source: Path, page: Path) -> str:
    """The text of `source` as the site's `page` has it: its links, but those in blocks of code."""

    def link(match: re.Match[str]) -> str:
        before, target, anchor, after = match.groups()
        there = Path(os.path.normpath(source.parent / target))
        if source != page or not there.is_relative_to(DOCS):
            there = PAGES.get(there, there)
            if there.is_dir() and (there / "README.md").exists():
                there /= "README.md"
            target = os.path.relpath(there, page.parent)
        anchor = "" if there == DOCS / "index.md" else anchor or ""
        return f"{before}{target}{anchor}{after}"

    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [LINK.sub(link, text[end : fence.start()]), fence.group()]
        end = fence.end()
    return "".join([*parts, LINK.sub(link, text[end:])])


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Sphinx has read a page."""
    page = DOCS / f"{docname}.md"
    path = TEXTS.get(docname, page)
    if path != page:
        app.env.note_dependency(str(path))
    source[0] = rewritten(path.read_text() if path != page else source[0], path, page)


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx asks for it."""
    app.connect("source-read", read)
    return {"parallel_read_safe": True}
