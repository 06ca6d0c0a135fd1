"""The lines of a log: frames of amx-provoke, anywhere in a line, and the text of the kernel and of others.

A frame is `AMX1 SEQ CRC JSON`: SEQ counts the frames of a run from 0, CRC is zlib's of `SEQ JSON`, JSON is an
object with one key in ASCII. What a console puts into a line (NUL bytes, escape sequences, carriage returns)
is taken out first, since none of it can be in a frame; what is damaged otherwise has another checksum.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from amx.printable import printable, printable_lines

__all__ = ["Frame", "Said", "content", "has_frames", "lines"]

LARGEST = 16 << 10  # bytes of a frame's JSON
LONGEST = 16 << 10  # bytes of a text that are looked at
DEEPEST = 16  # objects and arrays in each other
HEADER = re.compile(rb"AMX1 (0|[1-9][0-9]{0,8}) ([0-9a-f]{8}) (?=\{)")
ESCAPES = re.compile(
    rb"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b\r\n]{0,256}(?:\x07|\x1b\\)|[ -Z\\^-~])"
)
FOREIGN = bytes({*range(0x20), *range(0x7F, 0x100)} - {*b"\r\n"})  # in no frame
KIND = re.compile(rb'\{\s*"([a-z]{1,16})"\s*:')
DECODER = json.JSONDecoder()
LINE = re.compile(rb"[^\r\n]+")


@dataclass(frozen=True, slots=True)
class Frame:
    """An object of a run. `number` is its place, -1 where it came unframed; `kind` its key."""

    number: int
    kind: str
    raw: bytes

    @property
    def content(self) -> Any:
        """The value of its key. ValueError where it is none that can be taken."""
        return content(self.raw, printable_lines if self.kind == "errors" else printable)


@dataclass(frozen=True, slots=True)
class Said:
    """Text of the kernel or of others; `torn` where it looks like an object or a frame of ours, damaged."""

    text: str
    torn: bool = False


def has_frames(text: bytes) -> bool:
    """Whether this is a log of frames; else its objects are lines of their own."""
    return HEADER.search(text) is not None


def lines(text: bytes, *, framed: bool) -> Iterator[Frame | Said]:
    """All that is in a log, in order."""
    text = ESCAPES.sub(b"", text).translate(None, FOREIGN)
    for found in LINE.finditer(text):
        line = found.group()
        yield from _framed(line) if framed else _unframed(line)


def content(raw: bytes, fit: Callable[[str], str] = printable) -> Any:
    """The value of an object with one key, every text in it made `fit` to be printed.

    Raises
    ------
    ValueError: it is no such object, or has numbers beyond 64 bits or what lies too deep.
    """
    ((value,),) = (_object(raw).values(),)
    return _checked(value, fit, DEEPEST)


def _object(raw: bytes) -> dict[str, Any]:
    if len(raw) > LARGEST:
        raise ValueError(f"an object of more than {LARGEST:,} bytes")
    try:
        whole = json.loads(raw, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("objects in objects without end") from None
    if not isinstance(whole, dict) or len(whole) != 1:
        raise ValueError("no object with one key")
    return whole


def _framed(line: bytes) -> Iterator[Frame | Said]:
    header = HEADER.search(line)
    before = line[: header.start()] if header else line
    if before.strip():
        yield Said(_text(before))
    while header:
        following = HEADER.search(line, header.end())
        yield from _frame(line, header, following.start() if following else len(line))
        header = following


def _frame(line: bytes, header: re.Match[bytes], end: int) -> Iterator[Frame | Said]:
    """The frame with this header, which ends where its object does, and what stands behind it."""
    begin, crc = header.end(), int(header[2], 16)
    raw = line[begin : min(end, begin + LARGEST)]
    raw = raw[: raw.rfind(b"}") + 1]
    if zlib.crc32(header[1] + b" " + raw) != crc:  # something is behind it, or in it
        raw = raw[: _size_of_object(raw)]
    kind = KIND.match(raw)
    if kind and zlib.crc32(header[1] + b" " + raw) == crc:
        yield Frame(int(header[1]), kind[1].decode(), raw)
        if line[begin + len(raw) : end].strip():
            yield Said(_text(line[begin + len(raw) : end]))
    else:
        yield Said(_text(line[header.start() : end]), torn=True)


def _size_of_object(text: bytes) -> int:
    """Bytes of the JSON at the beginning; 0 where there is none."""
    try:
        return DECODER.raw_decode(text.decode())[1]
    except (ValueError, RecursionError):
        return 0


def _unframed(line: bytes) -> Iterator[Frame | Said]:
    line = line.strip()
    if not line:
        return
    if line.startswith(b"{") and line.endswith(b"}"):
        try:
            ((kind, _),) = _object(line).items()
        except ValueError:
            pass
        else:
            yield Frame(-1, printable(kind), line)
            return
    yield Said(_text(line), torn=b'{"' in line)


def _text(line: bytes) -> str:
    return line[:LONGEST].decode(errors="replace")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _checked(value: Any, fit: Callable[[str], str], depth: int) -> Any:
    if depth == 0:
        raise ValueError("objects in objects too deep")
    if isinstance(value, str):
        return fit(value)
    if isinstance(value, list):
        return [_checked(each, fit, depth - 1) for each in value]
    if isinstance(value, dict):
        return {printable(key): _checked(each, fit, depth - 1) for key, each in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number without end")
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise ValueError("a number of more than 64 bits")
    return value
