"""A log of amx-provoke: what each provocation in it saw, as if made here, or what is missing of it.

Nothing is taken on trust: a provocation counts when all its frames are there, from its `start` to its
`ended`, which says how many they are. What the kernel says of itself belongs to the check of that time.
"""

from __future__ import annotations

import bisect
import operator
from collections.abc import Iterator, Sequence
from typing import Any

from amx.conformance import provoke
from amx.conformance.guest.ending import End, Ending
from amx.conformance.guest.frames import Frame, has_frames
from amx.conformance.guest.kernel import Kind, Message, message
from amx.conformance.guest.made import Made, content_of
from amx.conformance.guest.parts import (
    BOUNDED,
    LogError,
    Part,
    has_room,
    id_of,
    joined,
    kernel_text,
    parts,
)
from amx.conformance.provoke import Run

__all__ = ["Log", "LogError", "read"]

MOST_SEEN = 1 << 18  # bytes of what one provocation saw; real ones have some thousand
MOST_MADE = 5000  # provocations; the catalogue has some ninety
MOST_SHOWN = 8  # messages of one kind, of one check or outside of any
OF_RUN = frozenset({"begin", "machine", "place", "start", "ended", "status", "done"})


class Log:
    """One run."""

    def __init__(self, part: Part, *, framed: bool, stopped: str = "", trouble: Sequence[str] = ()) -> None:
        self._part = part
        self._framed = framed
        self._trouble = tuple(trouble)
        self._made: dict[str, list[Made]] = {}
        self._lost_starts: set[str] = set()
        self._times: list[tuple[int, str]] = [(-1, "")]  # from each of these frames on, which check it is
        self._divide()
        self._messages: dict[str, list[Message]] = {}
        self._unclear: dict[str, str] = {}
        self._hear()
        self._torn = {self._when(number) for number in part.torn}
        self.begin = self._begin()
        self.plan = self._plan()
        self.ending = self._ending(stopped)

    # What it says of the run.

    @property
    def fault(self) -> str:
        """The deliberate fault."""
        found = (self.begin or {}).get("fault")
        return found[:BOUNDED] if isinstance(found, str) else ""

    @property
    def model(self) -> bool:
        """Whether it was on the model of the kernel."""
        return (self.begin or {}).get("model") is True

    @property
    def version(self) -> str:
        """Of the program."""
        found = (self.begin or {}).get("version")
        return found[:BOUNDED] if isinstance(found, str) else ""

    @property
    def damage(self) -> str:
        """Why nothing in it can be judged, empty where something can."""
        if self.begin is None:
            if self._framed or "begin" in self._part.kinds:
                return "; ".join(("the beginning of the run is not in the log, or damaged", *self.broken))
        elif self.begin.get("format") != 1:
            return f"the log has format {self.begin.get('format')!s:.40}, and this version reads 1"
        elif not isinstance(self.begin.get("plan"), list):
            return "the beginning of the run has no plan"
        return ""

    @property
    def broken(self) -> tuple[str, ...]:
        """What amx-provoke said of itself that it could not do, beside the provocations."""
        return _some([f"amx-provoke said: {each!s:.300}" for each in self.objects("broken")])

    @property
    def seconds(self) -> float:
        """That the provocations took together."""
        return sum(each.end[1] for made in self._made.values() for each in made)

    def objects(self, kind: str) -> Iterator[Any]:
        """The contents of the run's own frames of this kind."""
        return (content_of(frame) for frame in self._of_kind(kind))

    def _of_kind(self, kind: str) -> Iterator[Frame]:
        inside = {number for made in self._made.values() for each in made for number in each.numbers}
        return (
            frame
            for number, frame in self._part.frames.items()
            if frame.kind == kind and number not in inside
        )

    @property
    def trouble(self) -> tuple[str, ...]:
        """What is wrong with the run as a whole, beside the checks."""
        found = list(self._trouble)
        if self.ending.end is not End.DONE and not (self.ending.end is End.CUT and self._is_a_loop):
            found.append(str(self.ending))
        found += _some(
            [
                f"the kernel said outside of any check: {each.text}"
                for each in self._messages.get("", ())
                if each.kind is not Kind.NOTE and each.text != self.ending.said
            ]
        )
        lost = self._part.highest + 1 - len(self._part.frames)
        if lost:
            found.append(f"the log is damaged: {lost} frame{'s are' if lost > 1 else ' is'} lost")
        return tuple(found)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the kernel said outside of any check and that is no trouble."""
        said = [each.text for each in self._messages.get("", ()) if each.kind is Kind.NOTE]
        return (*self.broken, *_some([f"the kernel said outside of any check: {each}" for each in said]))

    # What it says of a check.

    def run(self, id: str, **_: object) -> Run:
        """What came of the provocation of a check, as of `provoke.provoke`, or what is missing of it."""
        messages = self._messages.get(id, [])
        run = self._run(id, _some([each.text for each in messages]))
        bad = next((each.text for each in messages if each.kind is not Kind.NOTE), "")
        if not bad:
            return run
        return Run(
            run.observations, run.ending, errors=run.errors, seconds=run.seconds, kernel_failure=bad,
            kernel=run.kernel,
        )  # fmt: skip

    def _run(self, id: str, kernel: tuple[str, ...]) -> Run:
        lost = self._lost(id)
        if lost:
            return Run(ending="", lost=lost, kernel=kernel)
        (made,) = self._made[id]
        ending, seconds = made.end
        objects: list[tuple[str, Any]] = []
        unreadable: list[str] = []
        errors = ""
        for frame in (self._part.frames[number] for number in made.numbers[1:-1]):
            try:
                content = frame.content
                if frame.kind == "text":
                    unreadable.append(str(content))
                elif frame.kind == "errors":
                    errors += str(content)
                elif frame.kind == "kernel":
                    continue
                elif frame.kind == "broken":
                    objects.append(("broken", content))
                elif self._framed and frame.kind == "seen":
                    ((key, value),) = content.items()
                    objects.append((key, value))
                elif self._framed:
                    raise ValueError(f"{frame.kind} is nothing that a provocation has seen")
                else:
                    objects.append((frame.kind, content))
            except (ValueError, AttributeError) as error:
                return Run(
                    ending="", lost=f"the log has an object that cannot be taken: {error}", kernel=kernel
                )
        return provoke.run_of(
            objects, unreadable, ending=ending, errors=errors, seconds=seconds, kernel=kernel
        )

    def _lost(self, id: str) -> str:
        """Why the run of a check is not in the log, or not all of it; empty where it is."""
        made = self._made.get(id, [])
        if not made:
            return self._not_made(id)
        if len(made) > 1:
            return f"it is in the log {len(made)} times"
        only = made[0]
        if only.ended is None:
            if self.ending.end is not End.DONE and self.ending.during == id and not self._is_a_loop:
                return str(self.ending)
            return "the log lacks its end" + self._status_wanted
        ending, _ = only.end
        if not ending:
            return "the log does not say how it ended"
        there = len(only.numbers)
        wanted = only.frames_wanted
        if id in self._unclear:
            return f"the log is damaged: it may have been now that the kernel said: {self._unclear[id]}"
        if self._framed and (wanted != there or only.last - only.first + 1 != there):
            return f"the log is damaged: of its {wanted} frames {there} are there"
        if not self._framed and (id in self._torn or (wanted is not None and wanted > there)):
            return "the log is damaged: lines of it are lost or torn"
        size = sum(len(self._part.frames[number].raw) for number in only.numbers)
        return f"it has {size:,} bytes in the log, more than {MOST_SEEN:,}" if size > MOST_SEEN else ""

    def _not_made(self, id: str) -> str:
        if id not in self.plan:
            return "the run that is in the log was not to make it"
        if id in self._lost_starts:
            return "the log lacks its beginning"
        later = self.plan[self.plan.index(id) + 1 :]
        if self.ending.end is End.DONE or any(each in self._made for each in later):
            return "its lines are lost from the log"
        return f"not made: {self.ending}"

    @property
    def _is_a_loop(self) -> bool:
        """Whether somebody's shell has called the provocations: then nothing says what the last one is."""
        return not self._framed and self.begin is None

    @property
    def _status_wanted(self) -> str:
        return ' (of a shell\'s loop: echo "{\\"status\\": $?}" behind each run)' if self._is_a_loop else ""

    # How it is read.

    def _divide(self) -> None:
        """Find what belongs to each provocation."""
        now: Made | None = None
        for number, frame in self._part.frames.items():
            if frame.kind == "start":
                if len(self._times) > 2 * MOST_MADE:
                    raise LogError(f"it has more than {MOST_MADE:,} provocations")
                now = Made(number, [number])
                self._times.append((number, id_of(frame)))
                self._made.setdefault(id_of(frame), []).append(now)
                name = id_of(frame)
            elif now and frame.kind in ("ended", "status"):
                if frame.kind == "ended" and id_of(frame) != name:
                    self._lost_starts.add(id_of(frame))
                else:
                    now.numbers.append(number)
                    now.last, now.ended = number, frame
                now = None
                self._times.append((number, ""))
            elif frame.kind in OF_RUN:
                if frame.kind == "ended":
                    self._lost_starts.add(id_of(frame))
                now = None
                self._times.append((number, ""))
            elif now:
                now.numbers.append(number)

    def _begin(self) -> dict[str, Any] | None:
        frame = next((each for each in self._part.frames.values() if each.kind == "begin"), None)
        content = content_of(frame) if frame else None
        return content if isinstance(content, dict) else None

    def _plan(self) -> tuple[str, ...]:
        """The checks that were to be made; of a log without `begin` those that were."""
        named = self.begin.get("plan") if self.begin else None
        if not isinstance(named, list):
            return tuple(dict.fromkeys((*self._made, *sorted(self._lost_starts))))
        return tuple(dict.fromkeys(each[:BOUNDED] for each in named if isinstance(each, str)))

    def _ending(self, stopped: str) -> Ending:
        for when, messages in self._messages.items():
            for each in messages:
                if each.kind is Kind.PANIC:
                    return Ending(End.PANIC, when, each.text)
        last = self._when(self._part.highest)
        if self._part.rebooted:
            return Ending(End.REBOOTED, last)
        return Ending(End.DONE) if "done" in self._part.kinds else Ending(End.CUT, last, stopped=stopped)

    def _when(self, number: int) -> str:
        """The check that is being made behind a frame; empty between them."""
        return self._times[bisect.bisect(self._times, number, key=operator.itemgetter(0)) - 1][1]

    def _hear(self) -> None:
        """Find out during which check the kernel said something.

        In frames that is their place. Elsewhere it is between two frames of the same text: where another text
        shows that more than one check was made between these, it cannot be told which.
        """
        said: dict[tuple[str, Message], None] = {}  # in order
        for number, frame in self._part.frames.items():
            found = message(kernel_text(frame)) if frame.kind == "kernel" else None
            if found and found.kind is not Kind.BOOT and has_room(len(said), found):
                said[self._when(number), found] = None
        for heard in self._part.heard:
            first = bisect.bisect(self._times, heard.after, key=operator.itemgetter(0)) - 1
            last = len(self._times)
            if heard.before is not None:
                last = bisect.bisect_left(self._times, heard.before, key=operator.itemgetter(0))
            between = {when for _, when in self._times[first : max(last, first + 1)]}
            if len(between) == 1:
                said[between.pop(), heard.message] = None
            elif not any((when, heard.message) in said for when in between):
                said["", heard.message] = None
                if heard.message.kind is not Kind.NOTE:
                    self._unclear.update(dict.fromkeys(between, heard.message.text))
        for when, each in said:
            self._messages.setdefault(when, []).append(each)


def _some(texts: Sequence[str]) -> tuple[str, ...]:
    """As many as are shown, and how many more there are."""
    more = len(texts) - MOST_SHOWN
    return (*texts[:MOST_SHOWN], *([f"and {more} more such messages"] if more > 0 else ()))


def read(texts: Sequence[bytes], *, stopped: str = "") -> Log:
    """The last run in a log, which is one text, or what came from a console and from a port beside it.

    stopped: what is known beside the log on how the guest ended ("its 60 s were over").

    Raises
    ------
    LogError: no line of amx-provoke is in it, or it has more in it than any run.
    """
    framed = any(map(has_frames, texts))
    found = [parts(text, framed=framed) for text in texts]
    trouble: list[str] = []
    longest = max(found, key=lambda each: sum(len(part.frames) for part in each))
    for part in longest[:-1]:
        broken = Log(part, framed=framed)
        if broken.ending.end is not End.DONE:
            during = broken.ending.during
            what = f"during {during}" if during else "outside of any check"
            trouble.append(f"the guest began anew {what}: this is the last of {len(longest)} runs in the log")
    run = longest[-1]
    for other in (each for each in found if each is not longest):
        last = other[-1]
        if last.frames and not run.fits(last):
            trouble.append("the files are of different runs: only the fuller one is judged")
        else:
            run = joined(run, last)
    if "broken" in run.kinds and not run.kinds & {"begin", "start"}:
        raise LogError("; ".join(Log(run, framed=framed).broken))
    if not run.kinds & {"begin", "start", "machine"}:
        said = " / ".join(each[:120] for each in run.last)
        raise LogError(
            "no line of amx-provoke is in it: "
            + (f"the last lines are {said}" if said else "it is empty, the kernel said nothing")
            + (f" ({stopped})" if stopped else "")
        )
    return Log(run, framed=framed, stopped=stopped, trouble=trouble)
