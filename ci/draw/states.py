"""The permission of a process as states; each way from one to another is a check of the conformance suite."""

from __future__ import annotations

import re
from dataclasses import dataclass

from draw.svg import box, document, text

WIDTH, HEIGHT, LINE = 760, 590, 15
VERDICT = re.compile(r"^([A-Z]+) +([A-Z]+-\d+) ", re.MULTILINE)
STYLE = """
.dashed { stroke-dasharray: 5 4 }
.good { fill: #e3f4e8; stroke: #5f9f76 } .bad { fill: #fbe7e6; stroke: #c27c78 }
@media (prefers-color-scheme: dark) {
  .good { fill: #1d3b2a; stroke: #5f9f76 } .bad { fill: #45221f; stroke: #c27c78 }
}
"""


@dataclass(frozen=True)
class State:
    """A box."""

    x: int
    y: int
    name: str
    words: str
    kind: str


@dataclass(frozen=True)
class Way:
    """An arrow: its path, what leads along it, and the checks that hold it."""

    path: str
    at: tuple[int, int]
    words: tuple[str, ...]
    checks: tuple[str, ...]
    anchor: str = ""


@dataclass(frozen=True)
class Kept:
    """What leaves the permission as it is."""

    words: str
    checks: tuple[str, ...]


BOX = (240, 52)
STATES = (
    State(30, 84, "no permission", "tile data is not in the mask", "box"),
    State(490, 84, "permission", "tile data is in the mask", "good"),
    State(290, 262, "refused", "the mask is as before", "bad"),
    State(30, 366, "SIGILL", "at the instruction, ILL_ILLOPC", "bad"),
)
WAYS = (
    Way("M150 34 V76", (162, 52), ("a program begins",), ("PERM-01",)),
    Way("M270 98 H482", (376, 74), ("it asks: 0",), ("PERM-02",), "middle"),
    Way("M490 122 H278", (376, 141), ("exec",), ("INH-05",), "middle"),
    Way(
        "M250 136 C250 200, 350 190, 350 254", (345, 190),
        ("it asks: ENOSPC, a thread's", "signal stack is too small"), ("ALT-01", "ALT-03"),
    ),
    Way(
        "M200 136 V280 Q200 290, 210 290 H282", (68, 190),
        ("a seccomp filter", "answers: an", "error, or a", "false 0"), ("SBX-01",),
    ),
    Way(
        "M530 290 C580 290, 600 240, 600 144", (612, 190),
        ("that stack is", "gone, it asks", "again: 0"), ("ALT-01",),
    ),
    Way("M50 136 V358", (68, 318), ("it touches tile data",), ("FAULT-01",)),
    Way(
        "M270 392 H704 Q718 392, 718 378 V144", (290, 366),
        ("its handler asks and returns, the instruction completes",), ("FAULT-06",),
    ),
)  # fmt: skip
KEPT = (
    Kept("fork: the child has the permission, or lacks it, as the parent", ("INH-01",)),
    Kept("threads: one asks for all, older and newer", ("PERM-04", "PERM-06")),
    Kept("the thread that began the program ends", ("PERM-07",)),
    Kept("it asks again: 0; for another component: an error", ("PERM-05", "PERM-03")),
    Kept("with permission, sigaltstack() of a small stack: ENOMEM", ("ALT-04",)),
    Kept("with permission, a later seccomp filter, or setuid", ("SBX-02",)),
)
CHECKS = sorted({check for each in (*WAYS, *KEPT) for check in each.checks})
COMMAND = f"amx emulate -- amx check {' '.join(CHECKS)}"


def draw(record: str) -> str:
    """The SVG. A way that the model contradicts is an error; one that it cannot show is dashed."""
    verdicts = {check: verdict for verdict, check in VERDICT.findall(record)}
    wrong = {check: verdicts.get(check) for check in CHECKS if verdicts.get(check) not in ("PASS", "SKIP")}
    if wrong:
        raise ValueError(f"the model of the kernel does not do what the picture shows: {wrong}")
    drawn = []
    for state in STATES:
        middle = state.x + BOX[0] / 2
        drawn.append(box(state.x, state.y, *BOX, state.kind, radius=8))
        drawn.append(text(middle, state.y + 23, state.name, "title", anchor="middle"))
        drawn.append(text(middle, state.y + 41, state.words, "quiet", anchor="middle"))
    for way in WAYS:
        seen = all(verdicts[check] == "PASS" for check in way.checks)
        drawn.append(f'<path class="arrow{"" if seen else " dashed"}" d="{way.path}"/>')
        x, y = way.at
        for row, words in enumerate(way.words):
            drawn.append(text(x, y + row * LINE, words, anchor=way.anchor))
        drawn.append(text(x, y + len(way.words) * LINE, ", ".join(way.checks), "quiet", anchor=way.anchor))
    drawn.append(text(30, 452, "What changes nothing", "title"))
    for row, kept in enumerate(KEPT):
        drawn.append(text(30, 474 + row * 17, f"· {kept.words}"))
        drawn.append(text(WIDTH - 30, 474 + row * 17, ", ".join(kept.checks), "quiet", anchor="end"))
    passed = sum(verdict == "PASS" for verdict in verdicts.values())
    note = f"{passed} of {len(CHECKS)} checks passed on the model of the kernel (amx emulate)"
    drawn.append(text(30, HEIGHT - 8, f"{note}; dashed: it cannot run that one", "quiet"))
    ways = "; ".join(f"{' '.join(way.words)} ({', '.join(way.checks)})" for way in WAYS)
    description = f"States: {', '.join(state.name for state in STATES)}. Ways: {ways}."
    return document(WIDTH, HEIGHT, "The permission of a process for tile data", description, drawn, STYLE)
