"""The runs that a log has in it: each `begin` starts one, and what does not fit together is none.

Frames that come twice are one. Where their numbers go back, or one number has two contents, another run has
begun whose `begin` is lost: frames of two runs never make one.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from amx.conformance.guest.frames import Frame, Said, lines
from amx.conformance.guest.kernel import Kind, Message, message

__all__ = ["BOUNDED", "Heard", "LogError", "Part", "has_room", "id_of", "joined", "kernel_text", "parts"]

MOST_FRAMES = 200_000  # of a text; a run has some thousands
MOST_LINES = 1_250_000  # of others; a log of 64 MiB has a million
MOST_PARTS = 1000
MOST_MESSAGES = 1000  # of the kernel about itself, in a run
LAST = 5  # lines that are kept for who asks how it ended
BOUNDED = 64  # characters of an id that are kept


class LogError(ValueError):
    """There is nothing in a log that could be judged; the text says what there is instead."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the kernel said, not in a frame, and the numbers of the frames `after` and `before` which."""

    message: Message
    after: int  # -1 before all of them
    before: int | None = None  # None behind all of them


@dataclass
class Part:
    """A run, or what there is of one."""

    frames: dict[int, Frame] = field(default_factory=dict)  # by number; unframed ones are counted here
    heard: list[Heard] = field(default_factory=list)
    torn: list[int] = field(default_factory=list)  # of unframed lines: behind which frames one is damaged
    rebooted: bool = False  # the kernel started anew after that
    last: deque[str] = field(default_factory=lambda: deque(maxlen=LAST))
    kinds: set[str] = field(default_factory=set)
    highest: int = -1

    def take(self, frame: Frame) -> bool:
        """Add a frame; False where it is of another run."""
        number = self.highest + 1 if frame.number < 0 else frame.number
        known = self.frames.get(number)
        if frame.kind == "begin" and "begin" in self.kinds:
            return known is not None and known.raw == frame.raw and self.highest == 0
        if known:
            return known.raw == frame.raw
        if number < self.highest:
            return False
        self.frames[number] = frame
        self.kinds.add(frame.kind)
        self.highest = number
        for at in range(len(self.heard) - 1, -1, -1):
            if self.heard[at].before is not None:
                break
            self.heard[at] = dataclasses.replace(self.heard[at], before=number)
        return True

    def hear(self, said: Message) -> None:
        """What the kernel says of itself."""
        if has_room(len(self.heard), said):
            self.heard.append(Heard(said, self.highest))

    def fits(self, other: Part) -> bool:
        """Whether both are of one run: some frames are the same, and none are different."""
        small, large = sorted((self.frames, other.frames), key=len)
        common = [number for number in small if number in large]
        return bool(common) and all(small[number].raw == large[number].raw for number in common)

    def ends_as(self, other: Part) -> bool:
        """Whether an end of a check is in both, which has a duration that no other run has."""
        return any(frame.kind == "ended" and number in other.frames for number, frame in self.frames.items())


def has_room(kept: int, said: Message) -> bool:
    """Whether a message is kept beside so many: however many notes there are, an oops still is."""
    return kept < (MOST_MESSAGES if said.kind is Kind.NOTE else 2 * MOST_MESSAGES)


def id_of(frame: Frame) -> str:
    """The id in a `start` or an `ended`; some text that is none where there is none."""
    try:
        content = frame.content
    except ValueError:
        return "?"
    id = content.get("id") if isinstance(content, dict) else content
    return id[:BOUNDED] if isinstance(id, str) and id else "?"


def kernel_text(frame: Frame) -> str:
    """The text in a message of the kernel."""
    try:
        content = frame.content
    except ValueError:
        return ""
    return (
        content[1] if isinstance(content, list) and len(content) == 2 and isinstance(content[1], str) else ""
    )


def parts(text: bytes, *, framed: bool) -> list[Part]:
    """The runs in one text, in order; one at the least, which may be empty.

    Raises
    ------
    LogError: it has more in it than any run.
    """
    found = [Part()]
    frames = texts = 0
    for each in lines(text, framed=framed):
        part = found[-1]
        if isinstance(each, Said):
            frames += each.torn
            texts += 1
            found.extend(_hear(part, each, framed=framed))
        else:
            frames += 1
            if not part.take(each):
                found.append(Part())
                found[-1].take(each)
        if frames > MOST_FRAMES or texts > MOST_LINES or len(found) > MOST_PARTS:
            raise LogError(
                f"it has more than {MOST_FRAMES:,} frames, {MOST_LINES:,} other lines or {MOST_PARTS:,} runs"
            )
    return list(_merged(_without_boots(found)))


def _hear(part: Part, said: Said, *, framed: bool) -> Iterator[Part]:
    """Of a line that is no frame; a new part where a kernel starts after another."""
    heard = message(said.text)
    if heard and heard.kind is Kind.BOOT and part.frames and "done" not in part.kinds:
        part.rebooted = True
        part = Part()
        yield part
    if heard and heard.kind is not Kind.BOOT:
        part.hear(heard)
    part.last.append(said.text)
    if said.torn and not framed:
        part.torn.append(part.highest)


def _without_boots(found: list[Part]) -> Iterator[Part]:
    """What was said before the first frame of a run belongs to that run; behind the last run, to that one."""
    before: Part | None = None
    said: list[Heard] = []
    for part in found:
        if not part.frames:
            said = _bounded(said, part.heard)
            continue
        part.heard[:0] = (dataclasses.replace(each, before=-1) for each in said)
        said = []
        if before:
            yield before
        before = part
    before = before or Part(last=found[-1].last)
    before.heard += (dataclasses.replace(each, after=before.highest + 1) for each in said)
    yield before


def _merged(found: Iterator[Part]) -> Iterator[Part]:
    """Runs that come twice, as where two files were made one."""
    before: Part | None = None
    for part in found:
        if before and not before.rebooted and before.fits(part) and before.ends_as(part):
            before = joined(before, part)
            continue
        if before:
            yield before
        before = part
    if before:
        yield before


def _bounded(some: list[Heard], more: list[Heard]) -> list[Heard]:
    kept = list(some)
    for each in more:
        if has_room(len(kept), each.message):
            kept.append(each)
    return kept


def joined(one: Part, other: Part) -> Part:
    """The run whose parts these are, where `fits` says so."""
    first, last = (one, other) if one.highest > other.highest else (other, one)
    return Part(
        frames=dict(sorted({**first.frames, **last.frames}.items())),
        heard=_bounded(one.heard, other.heard),
        torn=[*one.torn, *other.torn],
        rebooted=one.rebooted or other.rebooted,
        last=other.last if len(other.last) > len(one.last) else one.last,
        kinds=one.kinds | other.kinds,
        highest=first.highest,
    )
