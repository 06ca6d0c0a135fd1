"""Which checks were asked for: by id, by group, or by the beginning of ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from amx.conformance.check import Check
from amx.conformance.groups import checks

__all__ = ["Selection", "select"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Checks in the catalogue's order. Those in `asked` run although they are optional."""

    checks: tuple[Check, ...]
    asked: frozenset[str]


def select(
    words: Sequence[str], *, optional: bool = False, among: Iterable[Check] | None = None
) -> Selection:
    """The checks that one of the words selects, all without words; an optional one runs if named in full.

    words: ids ("ALT-03"), groups ("PERM") or beginnings of ids ("PTR-0"), in either case.
    optional: run the optional ones too.

    Raises
    ------
    ValueError: a word selects nothing.
    """
    catalogue = tuple(checks() if among is None else among)
    wanted = [word.upper() for word in words]
    for word in wanted:
        if not any(_selects(word, check) for check in catalogue):
            groups = ", ".join(dict.fromkeys(check.group for check in catalogue))
            raise ValueError(f"{word} is no check. The groups are {groups}; --list shows all.")
    chosen = tuple(
        check for check in catalogue if not wanted or any(_selects(word, check) for word in wanted)
    )
    asked = {check.id for check in chosen if optional or check.id in wanted}
    return Selection(chosen, frozenset(asked))


def _selects(word: str, check: Check) -> bool:
    return check.id.startswith(word) if "-" in word else check.group == word
