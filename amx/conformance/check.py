"""What a check is: a claim about the kernel, its authority, and a judgement of what a provocation saw."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Check", "Expectation", "Judge", "KnownBug", "Need", "Verdict", "check", "upstream", "version"]

DEBIAN = re.compile(r"\bDebian ([0-9]{1,5}\.[0-9]{1,5}(\.[0-9]{1,5})?)")


class Verdict(enum.Enum):
    """What came of a check."""

    PASS = "PASS"  # every expectation holds
    FAIL = "FAIL"  # one does not, or the provocation hung or died where it should not
    SKIP = "SKIP"  # a stated precondition lacks
    INFO = "INFO"  # observed; no claim is made
    ERROR = "ERROR"  # the harness itself failed: no statement about the kernel


class Need(enum.Enum):
    """A precondition of a check, beyond an x86-64 Linux."""

    AMX = "AMX that this process may use"
    TILES = "tile instructions that execute, permission aside"
    KERNEL_TILES = "tile state that the kernel arms, copies and drops"
    FRAMES = "tile data where the kernel shows it, or a model that does"
    REAL_FRAMES = "tile data of the CPU in ptrace, cores or the kernel's own signal frames"
    ONE_MACHINE = "CPUID, /proc/cpuinfo and saved states of one and the same machine"
    APART = "an emulator, if any, outside the program's memory and system calls"
    PTRACE = "ptrace of its own children"
    ROOT = "root"
    KVM = "/dev/kvm"
    CORE_FILE = "a core pattern that is a file"
    OPT_IN = "to be asked for by name or --optional"
    ALONE = "no other check at the same time"  # reads system-wide state or loads all CPUs


@dataclass(frozen=True, slots=True)
class KnownBug:
    """A kernel bug that this check can show: what, and the releases with the fix ("6.8, 6.7.6, 6.6.18").

    `introduced` is the first release with the bug; none: it is as old as what it concerns.
    """

    what: str
    fixed: str
    introduced: str = ""

    def may_be_in(self, release: str) -> bool:
        """Whether a kernel release has the bug and lacks the fix: that of its own branch, or of the first."""
        here = version(release)
        if self.introduced and here < version(self.introduced):
            return False
        fixes = [version(fix) for fix in re.findall(r"\d+\.\d+[.\d]*", self.fixed)]
        branch = [fix for fix in fixes if fix[:2] == here[:2]]
        return here < (branch or [max(fixes, default=here)])[0]


@dataclass(frozen=True, slots=True)
class Expectation:
    """One thing a judge looked at: what it is, what was expected, what was observed."""

    what: str
    expected: str
    observed: str
    holds: bool


@dataclass
class Judge:
    """What a provocation saw, and the expectations a check holds against it.

    `seen[key]` is the one observation of that key; a missing or repeated key is a KeyError, which the runner
    reports as FAIL when the provocation died before it and as ERROR otherwise. `seen.all(key)` gives all of
    them.
    """

    observations: tuple[tuple[str, Any], ...]
    ending: str  # "exit 0", "SIGILL", "hung"
    expectations: list[Expectation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # information beside the verdict

    def __getitem__(self, key: str) -> Any:
        values = self.all(key)
        if len(values) != 1:
            raise KeyError(f"{key}: observed {len(values)} times")
        return values[0]

    def __contains__(self, key: str) -> bool:
        return any(name == key for name, _ in self.observations)

    def all(self, key: str) -> list[Any]:
        """Every observation of a key, in order."""
        return [value for name, value in self.observations if name == key]

    def equal(self, what: str, observed: Any, expected: Any, show: Callable[[Any], str] = str) -> None:
        """Expect equality; `show` writes both sides (`hex` for masks)."""
        self.expectations.append(Expectation(what, show(expected), show(observed), observed == expected))

    def true(self, what: str, condition: bool, observed: object, expected: object) -> None:
        """Expect a condition, described by what was expected and observed."""
        self.expectations.append(Expectation(what, str(expected), str(observed), bool(condition)))

    def exited(self, key: str, who: str) -> bool:
        """Expect that a child exited with 0; False: what the child should have seen is missing."""
        ending = {name: value for name, value in self[key].items() if name != "core"}
        self.equal(f"how {who} ended", ending, {"exit": 0})
        return ending == {"exit": 0}

    def note(self, text: str) -> None:
        """Information for the report that is no claim."""
        self.notes.append(text)


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the catalogue."""

    id: str
    claim: str
    authority: str  # kernel file and function, document, or mailing-list decision
    since: str  # kernel release from which the claim holds, as "5.16 (what is special)"; none: always
    judge: Callable[[Judge], None]
    needs: frozenset[Need] = frozenset()
    depends: tuple[str, ...] = ()  # ids without which this one says nothing
    covers: tuple[str, ...] = ()  # assertions of the kernel's selftest (K01-K23)
    bugs: tuple[KnownBug, ...] = ()
    documented: str = ""  # what the kernel's documentation says where it differs from the claim
    information: bool = False  # INFO instead of PASS; an expectation, if any, can still fail
    timeout: float = 10.0  # seconds

    @property
    def group(self) -> str:
        """The part of the id before the dash."""
        return self.id.partition("-")[0]


def version(text: str) -> tuple[int, ...]:
    """The numbers at the start of a kernel release ("6.1.50-generic" is 6, 1, 50); empty when it has none."""
    found = re.match(r"\d+(\.\d+)+", text)
    return tuple(map(int, found.group().split("."))) if found else ()


def upstream(release: str, uname: str) -> str:
    """The release that says which fixes a kernel has: Debian's own (6.1.0-56) is an ABI's name."""
    found = DEBIAN.search(uname)
    return found[1] if found else release


_checks: dict[str, Check] = {}  # declared so far


def check(
    id: str, claim: str, *, authority: str, since: str, **more: Any
) -> Callable[[Callable[[Judge], None]], Callable[[Judge], None]]:
    """Declare the decorated function the judge of a check."""

    def declare(judge: Callable[[Judge], None]) -> Callable[[Judge], None]:
        assert id not in _checks, f"{id} is declared twice"
        needs = frozenset(more.pop("needs", ()))
        _checks[id] = Check(id, claim, authority, since, judge, needs=needs, **more)
        return judge

    return declare
