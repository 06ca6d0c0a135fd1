"""Whether what a file of a machine says are its facts, in the form that `amx.recording` describes.

Such files come from other people. What is taken here can be replayed; the rest is refused by name, before
anything is made of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from amx import foreign_file
from amx.errors import RecordError
from amx.machine import Step
from amx.printable import printable

__all__ = ["read", "what_is_wrong"]

SCHEMA = 1
LARGEST = 1 << 20  # bytes of a file; real ones have about 4 KiB
READS = ("0x1021", "0x1022", "0x1024")
REQUESTS = ("0x1023", "0x1025")
EXECUTED = ("tilezero", "tdpfp16ps")
MOST_ERRNO = 4095  # MAX_ERRNO, linux/err.h
KERNEL = ("sysname", "release", "version", "architecture")

Rule = Callable[[object], bool]


def read(path: Path) -> Mapping[str, Any]:
    """The facts in a file.

    Raises
    ------
    OSError: it cannot be read, or is no regular file of LARGEST bytes at the most.
    RecordError: it is no record of a machine, or of another schema.
    """
    try:
        facts = json.loads(foreign_file.read(path, LARGEST).decode())
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"It is no JSON: {error}") from None
    if not isinstance(facts, dict):
        raise _refused(path, "It is no JSON object")
    if facts.get("schema") != SCHEMA:
        raise _refused(path, f"It has schema {facts.get('schema')!r:.40}, and this version reads {SCHEMA}")
    wrong = what_is_wrong(facts)
    if wrong:
        raise _refused(path, f"{wrong}, which is not what such a file has there")
    return facts


def what_is_wrong(facts: Mapping[str, object]) -> str:
    """The first of the facts that cannot be replayed, as the beginning of a sentence; empty where all can."""
    for name, rule in FACTS.items():
        if not rule(facts.get(name, ...)):
            return f"Its {name} is {facts[name]!r:.80}" if name in facts else f"There is no {name}"
    return ""


def _refused(path: Path, cause: str) -> RecordError:
    return RecordError(
        f"{printable(str(path))} is no record of a machine",
        cause=cause,
        remedy="Record it again: amx info --record FILE",
    )


# Rules, for each kind of value.


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _is_number(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _is_hexadecimal(value: object, bits: int = 64) -> bool:
    if not isinstance(value, str) or len(value) > 2 + bits // 4:
        return False
    try:
        return 0 <= int(value, 16) < 1 << bits
    except ValueError:
        return False


def _is_mask(value: object) -> bool:
    return value is None or _is_hexadecimal(value)


def _is_object(value: object, key: Rule, entry: Rule) -> bool:
    return isinstance(value, dict) and all(map(key, value)) and all(map(entry, value.values()))


def _is_leaf(name: object) -> bool:
    words = str(name).split(".")
    return len(words) == 2 and all(_is_hexadecimal(word, 32) for word in words)


def _are_registers(value: object) -> bool:
    words = value.split() if isinstance(value, str) else []
    return len(words) == 4 and all(_is_hexadecimal(word, 32) for word in words)


def _is_end(value: Mapping[str, object]) -> bool:
    """Of a process: by a signal, or in no time; nothing of it where it went on."""
    return (
        _is_number(value.get("signal", 0), 0, 64)
        and _is_number(value.get("code", 0), -(2**31), 2**31 - 1)
        and isinstance(value.get("timed_out", False), bool)
    )


def _is_answer(value: object, answer: str) -> bool:
    """`result` and what was read, or how the process ended instead."""
    if not isinstance(value, dict) or not _is_end(value):
        return False
    if "result" not in value:
        return bool(value.get("signal") or value.get("timed_out"))
    return _is_number(value["result"], -MOST_ERRNO, 0) and _is_hexadecimal(value.get(answer, "0"))


def _are_answers(value: object) -> bool:
    return isinstance(value, dict) and (
        all(_is_answer(value.get(op), "value") for op in READS)
        and all(_is_answer(value.get(op), "then") and _has_then(value[op]) for op in REQUESTS)
    )


def _has_then(answer: Mapping[str, object]) -> bool:
    """What the reading operation returns after a request that was granted."""
    return answer.get("result") != 0 or "then" in answer


def _are_children(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    others = {op: answer for op, answer in value.items() if op not in EXECUTED}
    return (
        all(isinstance(value.get(name), dict) for name in EXECUTED)
        and all(
            str(value[name].get("step")) in Step.__members__ and _is_end(value[name]) for name in EXECUTED
        )
        and others.keys() <= {*READS, *REQUESTS}
        and all(_is_answer(answer, "value" if op in READS else "then") for op, answer in others.items())
        and all(_has_then(answer) for op, answer in others.items() if op in REQUESTS)
    )


def _is_altstack(value: object) -> bool:
    return isinstance(value, dict) and all(
        _is_number(value.get(name), 0, 2**63 - 1) for name in ("size", "flags")
    )


def _is_kernel(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == {*KERNEL} and all(map(_is_text, value.values()))


def _is_decimal(name: object) -> bool:
    return isinstance(name, str) and name.isdecimal() and name.isascii()


def _is_size(value: object) -> bool:
    return _is_number(value, -1, 2**63 - 1)


FACTS: Mapping[str, Rule] = {
    "cpuid": lambda value: _is_object(value, _is_leaf, _are_registers),
    "xcr0": _is_mask,
    "xinuse": _is_mask,
    "arch_prctl": _are_answers,
    "child": _are_children,
    "auxv": lambda value: _is_object(value, _is_decimal, lambda each: _is_number(each, 0, 2**64 - 1)),
    "sysconf": lambda value: _is_object(value, _is_decimal, lambda each: each is None or _is_size(each)),
    "altstack": _is_altstack,
    "cpuinfo_flags": _is_text,
    "kernel": _is_kernel,
}
