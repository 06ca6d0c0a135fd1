"""amx.used(): whether a call used AMX, and how that is known.

No instruction is emulated for it, and nothing is changed. What can be seen, by how much it tells:

- The processor's own counter of cycles in which the AMX unit was busy, over all threads
  (`amx.emulation.busy_counter`): yes and no are both certain, where it can be had.
- Permission: as long as the kernel has granted none, no tile instruction can complete, in no thread.
- Signal frames of the calling thread: they grow with its first use of tile data, and stay so.
- XINUSE of the calling thread: tiles left in use. Cleared by TILERELEASE, which good libraries execute.

What pool threads did on a machine without the counter, or the calling thread for a second time with its tiles
released, nothing shows: then the answer is that it is not known.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, NoReturn, ParamSpec, TypeVar

from amx import diagnosis, machine, permission, xstate
from amx._lib import ffi, lib
from amx.causes import Cause
from amx.diagnosis import RungName
from amx.emulation import busy_counter
from amx.emulation.busy_counter import Counter
from amx.emulation.machine import Emulated
from amx.xstate import XFEATURE_MASK_XTILE, XFEATURE_MASK_XTILEDATA

__all__ = ["Used", "Verdict", "used"]

P = ParamSpec("P")
T = TypeVar("T")


class Verdict(enum.Enum):
    """Whether AMX was used."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Used(Generic[T]):
    """Whether a call used AMX, on what evidence, and what it returned."""

    verdict: Verdict
    evidence: tuple[str, ...]
    result: T

    def __str__(self) -> str:
        return f"{self.verdict}: {'; '.join(self.evidence)}"

    def __bool__(self) -> NoReturn:
        raise TypeError('amx.used() can answer "unknown" too. Compare its verdict: Verdict.YES, NO, UNKNOWN.')


def used(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Used[T]:
    """Call a function, and tell whether this process used AMX meanwhile.

    It is about all code in the process, on any thread, so that other threads at work on something else count
    too. Child processes are seen only by the processor's counter.

    Where this says "unknown", `amx emulate --trace FILE -- PROGRAM` in a process of its own tells for sure,
    and how well AMX was used, at the cost of emulation.

    Parameters
    ----------
    function, args, kwargs: what to call; its exceptions pass through.

    Examples
    --------
    >>> import amx
    >>> print(amx.used(sum, [1, 2]).result)
    3
    """
    current = machine.current()
    if current.emulated:
        return _by_counts(current.emulated, lambda: function(*args, **kwargs))
    missing = _missing()
    if missing:
        return Used(Verdict.NO, (f"AMX cannot be used here: {missing}",), function(*args, **kwargs))
    before = _look()
    with busy_counter.count() as counter:
        result = function(*args, **kwargs)
        after = _look()
        return _judge(before, after, counter, result)


def _missing() -> str:
    """Why nothing in this process can use AMX, whatever the call does; empty where something might.

    A filter's refusal is no such reason: permission may have been granted before the filter was installed.
    """
    failure = diagnosis.explain().failure
    if failure is None or failure.cause is None or failure.name in _OPEN_TO_THE_CALL:
        return ""
    return "" if failure.cause in _WORDS_OF_A_FILTER else failure.cause.words


_OPEN_TO_THE_CALL = (RungName.PERMISSION, RungName.REQUEST, RungName.CONFIRMED)
_WORDS_OF_A_FILTER = (Cause.SECCOMP_EPERM, Cause.SECCOMP_ENOSYS)


@dataclass(frozen=True, slots=True)
class _Look:
    """What is to be seen of the process and the calling thread at one time."""

    permitted: bool | None  # None where the kernel does not say
    xinuse: int | None
    touched: bool | None


def _look() -> _Look:
    held = permission.permitted()
    permitted = None if held is None else bool(held & XFEATURE_MASK_XTILEDATA)
    return _Look(permitted, xstate.xinuse(), xstate.has_touched())


def _judge(before: _Look, after: _Look, counter: Counter, result: T) -> Used[T]:
    proofs = tuple(_proofs(before, after, counter))
    if proofs:
        return Used(Verdict.YES, proofs, result)
    refutation = _refutation(after, counter)
    if refutation:
        return Used(Verdict.NO, (refutation,), result)
    return Used(Verdict.UNKNOWN, tuple(_doubts(before, after, counter)), result)


def _proofs(before: _Look, after: _Look, counter: Counter) -> Iterator[str]:
    reading = counter.read()
    if reading and reading.count and after.permitted and busy_counter.is_trustworthy():
        yield f"{busy_counter.AMX_BUSY.name} counted {reading.count:,} cycles in the threads of this process"
    if before.xinuse is not None and after.xinuse is not None:
        new = after.xinuse & ~before.xinuse & XFEATURE_MASK_XTILE
        if new:
            yield f"XINUSE is {after.xinuse:#x} after the call: the calling thread's tiles are left in use"
    if before.touched is False and after.touched:
        yield "the calling thread used tile data for the first time: its signal frames have grown"


def _refutation(after: _Look, counter: Counter) -> str:
    if after.permitted is False:
        return "the kernel has granted this process no permission for tile data, not even during the call"
    reading = counter.read()
    if reading and reading.count == 0 and reading.is_complete and busy_counter.is_trustworthy():
        return (
            f"{busy_counter.AMX_BUSY.name} counted no cycle in any thread of this process, and products are "
            "counted here"
        )
    return ""


def _doubts(before: _Look, after: _Look, counter: Counter) -> Iterator[str]:
    if counter.refusal:
        yield f"the AMX unit's cycles cannot be counted: {counter.refusal}"
    else:
        yield "the AMX unit's cycles were not all counted, or their counter does not count products here"
    if after.permitted is None:
        yield "permission for tile data cannot be read"
    elif not before.permitted:
        yield "permission for tile data was granted during the call, so that something meant to use it"
    if before.xinuse is None or after.xinuse is None:
        yield "XINUSE cannot be read"
    elif before.xinuse & XFEATURE_MASK_XTILE:
        yield "the calling thread's tiles were in use before the call already"
    else:
        yield "the calling thread has no tiles in use, as when it released them, or other threads worked"
    if after.touched:
        yield "the calling thread had used tile data before the call already"


def _by_counts(emulated: str, call: Callable[[], T]) -> Used[T]:
    if not (lib.amx_is_launched() or isinstance(machine.current(), Emulated)):
        return Used(
            Verdict.UNKNOWN, (f"AMX is emulated ({emulated}), and counted outside this process",), call()
        )
    before = _emulated_instructions()
    result = call()
    after = _emulated_instructions()
    verdict = Verdict.YES if after > before else Verdict.NO
    return Used(verdict, (f"{after - before:,} AMX instructions were emulated ({emulated})",), result)


def _emulated_instructions() -> int:
    counts = ffi.new("struct amx_trap_counts *")
    lib.amx_trap_count(counts)
    return int(counts.instructions)
