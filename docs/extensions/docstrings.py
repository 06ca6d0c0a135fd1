"""The package's docstrings as Sphinx reads them: their sections as lists, `names` as links.

A section is a heading with a line of hyphens below it, and has entries `name: text`, or text alone.
Parameters may stand without a heading.
"""

import inspect
import re
from collections.abc import Iterator
from typing import Any

from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

from amx import errors

LISTS = ("Parameters", "Attributes", "Returns", "Raises")
ENTRY = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*): (.*)", re.DOTALL)
QUOTED = re.compile(r"(?<![`:\w])`([^`<>\n]+(?:\n[^`<>\n]+)?)`(?![`_])")
PAGE = re.compile(r"\bdocs/([a-z]+)\.md")
EXAMPLE = re.compile(r"^ *>>> .*?(?:\n *\n|\Z)", re.MULTILINE | re.DOTALL)


def sections(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Each heading with its lines; that before the first is empty."""
    heading, body = "", []
    for line in lines:
        if body and re.fullmatch(r"-{3,}", line):
            following = body.pop()
            yield heading, body
            heading, body = following, []
        else:
            body.append(line)
    yield heading, body


def entries(body: list[str]) -> Iterator[str]:
    """The entries of a list, each on one line."""
    entry: list[str] = []
    for line in body:
        if line and not line[0].isspace() and entry:
            yield " ".join(entry)
            entry = []
        if line.strip():
            entry.append(line.strip())
    if entry:
        yield " ".join(entry)


def exception(name: str) -> str:
    """An exception: a link, if it is one of the package's."""
    return f":py:exc:`~amx.errors.{name}`" if name in errors.__all__ else f"``{name}``"


def listed(heading: str, body: list[str]) -> Iterator[str]:
    """A list of fields."""
    yield from ("", f":{heading}:")
    if heading == "Returns":
        yield f"    {' '.join(entries(body))}"
    else:
        for each in entries(body):
            match = ENTRY.match(each)
            if not match:
                yield from (f"    {each}", "")
            elif heading == "Raises":
                yield from (f"    {exception(match[1])}", f"        {match[2]}", "")
            else:
                names = match[1].replace("*", r"\*")
                yield from (f"    **{names}**", f"        {match[2]}", "")
    yield ""


def paragraphs(body: list[str], parameters: set[str]) -> Iterator[str]:
    """Text, in which paragraphs of parameters become lists."""
    for paragraph in re.split(r"\n\s*\n", "\n".join(body)):
        lines = paragraph.splitlines()
        matches = [ENTRY.match(each) for each in entries(lines)]
        if matches and all(
            match and set(match[1].replace("*", "").split(", ")) <= parameters for match in matches
        ):
            yield from listed("Parameters", lines)
        else:
            yield from (*lines, "")


def code(match: re.Match[str]) -> str:
    """What stands between backquotes: a link, if it is a name of the package, else code."""
    text = re.sub(r"\s+", " ", match[1])
    return f":py:obj:`{text}`" if re.fullmatch(r"amx(\.\w+)+(\(\))?", text) else f"``{text}``"


def marked(text: str) -> str:
    """The text with its backquotes doubled and its pages as links, but in examples."""
    parts, end = [], 0
    for example in (*EXAMPLE.finditer(text), None):
        prose = text[end : example.start() if example else None]
        parts.append(PAGE.sub(r":doc:`/\1`", QUOTED.sub(code, prose)))
        if example:
            parts.append(example.group())
            end = example.end()
    return "".join(parts)


def parameters_of(obj: Any) -> set[str]:
    """The names of what a function takes, or a class when it is called."""
    try:
        return set(inspect.signature(obj).parameters)
    except (TypeError, ValueError):
        return set()


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Sphinx has read a docstring."""
    rendered: list[str] = []
    for heading, body in sections(marked("\n".join(lines)).splitlines()):
        if heading in LISTS:
            rendered += listed(heading, body)
        else:
            rendered += [f".. rubric:: {heading}", ""] if heading else []
            rendered += paragraphs(body, parameters_of(obj))
    lines[:] = rendered


def signature(app: Sphinx, what: str, name: str, obj: Any, *_: Any) -> tuple[str, None] | None:
    """How errors are made is all the same, and the root shows it."""
    is_one = what == "exception" and issubclass(obj, errors.AmxError) and obj is not errors.AmxError
    return ("", None) if is_one else None


def resolve(app: Sphinx, env: Any, node: pending_xref, contnode: Any) -> Any:
    """A name of the package that is on no page stays code; what annotations name may be private."""
    target = node.get("reftarget", "")
    return contnode if node.get("refdomain") == "py" and target.startswith("amx.") else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx asks for it."""
    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-process-signature", signature)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True}
