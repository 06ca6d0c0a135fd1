"""The layers of csrc/, as csrc/layers.txt declares them, held against its files: `ci/layers.py [CSRC]`.

An arrow is an include, or the use of a function or variable that another file defines and a header declares.
Every arrow leads to the same room or further down, and files form no circle; a file and its header are one.
Says each that does not, of circles the first, and ends with 1.
"""

from __future__ import annotations

import graphlib
import itertools
import re
import sys
from dataclasses import dataclass
from pathlib import Path

CSRC = Path(__file__).resolve().parents[1] / "csrc"
NO_CODE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)
INCLUDE = re.compile(r'^#\s*include "([^"]+)"', re.MULTILINE)
# At the beginning of a line, as clang-format leaves them; what is static is the file's own.
TYPE = r"^(?!static\b|typedef\b|extern\b|return\b|else\b)(?:_Noreturn )?(?:[A-Za-z_]\w*[ *]+)+"
FUNCTION = re.compile(TYPE + r"(\w+)\([^;{}]*\)\s*\{", re.MULTILINE)
VARIABLE = re.compile(TYPE + r"\(?\*?(\w+)(?:\)\([^;{}]*\))?(?:\[[^\]]*\])*\s*(?:=|;|,)", re.MULTILINE)
DECLARED_FUNCTION = re.compile(TYPE + r"(\w+)\(", re.MULTILINE)
DECLARED_VARIABLES = re.compile(r"^(?:__attribute__.*?\)\) )?extern ([^;]*);", re.MULTILINE)
WORD = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class Layer:
    """Rooms that know nothing of each other, and the question that they answer."""

    rooms: tuple[str, ...]
    question: str


def declared(csrc: Path) -> list[Layer]:
    """Lowest first."""
    lines = [line for line in (csrc / "layers.txt").read_text().splitlines() if line and line[0] != "#"]
    found = [re.fullmatch(r"(\S+(?: \S+)*)(?: {2,}(.*))?", line) for line in lines]
    return [Layer(tuple(match[1].split(" ")), match[2] or "") for match in found if match]


def module_of(name: str) -> str:
    """A file and its own header are one."""
    return re.sub(r"\.[ch]$", "", name)


def room_of(module: str, layers: list[Layer]) -> tuple[int, str] | None:
    """Its layer and room: the longest declared name that it is, or lies in."""
    rooms = [(number, room) for number, layer in enumerate(layers) for room in layer.rooms]
    fitting = [
        (number, room)
        for number, room in rooms
        if module == module_of(room) or (room == module_of(room) and module.startswith(f"{room}/"))
    ]
    return max(fitting, key=lambda each: len(each[1]), default=None)


def arrows(csrc: Path) -> dict[tuple[str, str], str]:
    """From module to module: the include or a name that makes it so."""
    files = {str(path.relative_to(csrc)): path.read_text() for path in sorted(csrc.rglob("*.[ch]"))}
    code = {name: NO_CODE.sub(" ", text) for name, text in files.items()}
    headers = "\n".join(text for name, text in code.items() if name.endswith(".h"))
    in_headers = {*DECLARED_FUNCTION.findall(headers)}
    for declaration in DECLARED_VARIABLES.findall(headers):
        in_headers.update(WORD.findall(declaration))
    homes: dict[str, set[str]] = {}
    for name, text in code.items():
        if name.endswith(".c"):
            for word in {*FUNCTION.findall(text), *VARIABLE.findall(text)} & in_headers:
                homes.setdefault(word, set()).add(module_of(name))
    found: dict[tuple[str, str], str] = {}
    for name, text in files.items():
        here = module_of(name)
        for header in INCLUDE.findall(text):
            path = csrc / header if (csrc / header).exists() else (csrc / name).parent / header
            found.setdefault((here, module_of(str(path.relative_to(csrc)))), f'includes "{header}"')
        if name.endswith(".c"):
            for word in sorted(set(WORD.findall(code[name]))):
                if len(homes.get(word, ())) == 1:  # else it is one of several that are never linked together
                    found.setdefault((here, *homes[word]), f"uses {word}")
    return {arrow: why for arrow, why in found.items() if arrow[0] != arrow[1]}


def faults(csrc: Path) -> list[str]:
    """What is not as declared, a line each."""
    layers, found = declared(csrc), arrows(csrc)
    said = []
    for (source, target), why in found.items():
        above, below = room_of(source, layers), room_of(target, layers)
        if above is None or below is None:
            said.append(f"csrc/layers.txt does not have {source if above is None else target}")
        elif above[0] < below[0] or (above[0] == below[0] and above != below):
            said.append(f"{source} {why}: {target} is not below it")
    graph: dict[str, list[str]] = {}
    for source, target in sorted(found):
        graph.setdefault(source, []).append(target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        circle = error.args[1][::-1]
        said.append(
            "a circle: " + ", ".join(f"{a} {found[a, b]} of {b}" for a, b in itertools.pairwise(circle))
        )
    return sorted(set(said))


def main() -> int:
    """The command."""
    found = faults(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else CSRC)
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
