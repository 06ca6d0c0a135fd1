"""Inputs made of others: bytes, and trees of JSON."""

import copy
import json
import random
from typing import Any

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF,
            2**63 - 1, 2**63, 2**64 - 1, 2**64 - 4096, 4096, 4095)  # fmt: skip
NESTED = 100_000  # brackets, deeper than any parser recurses


def spoil(chance: random.Random, data: bytes, others: list[bytes], first: int = 0) -> bytes:
    """A few changes of bytes behind the first ones."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3, 5, 8))):
        if len(changed) <= first:
            break
        at = chance.randrange(first, len(changed))
        end = min(len(changed), at + chance.choice((1, 2, 4, 8, 16, 64, 256)))
        kind = chance.randrange(8)
        if kind == 0:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind in (1, 2):
            set_field(chance, changed, at)
        elif kind == 3:
            changed[at:end] = chance.randbytes(end - at)
        elif kind == 4:
            del changed[at:end]
        elif kind == 5:
            changed[at:at] = changed[at:end] * chance.choice((1, 1, 2, 50))
        elif kind == 6:
            other = chance.choice(others)
            begin = chance.randrange(len(other) + 1)
            changed[at:end] = other[begin : begin + chance.choice((4, 16, 64, len(other)))]
        else:
            del changed[at if chance.random() < 0.3 else len(changed) :]
    return bytes(changed)


def set_field(chance: random.Random, data: bytearray, at: int) -> None:
    """A number of 1, 2, 4 or 8 bytes at a multiple of its size becomes extreme, near another, or random."""
    width = chance.choice((1, 2, 4, 4, 8, 8))
    at -= at % width
    old = int.from_bytes(data[at : at + width], "little")
    new = chance.choice(
        (
            chance.choice(EXTREMES),
            old + chance.choice((-8, -1, 1, 8, 4096, -4096)),
            chance.getrandbits(8 * width),
        )
    )
    data[at : at + width] = (new % (1 << (8 * width))).to_bytes(width, "little")[: len(data) - at]


WORDS = ("", "0x", "0xg", "-0x1", "nan", "\ud800", "\x1b[31m\n", "tdpbssd", "file", "a" * 3000, "1" * 5000)
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 16, 2**31, 2**63, 2**64, 10**30, 0.5, -0.0, 1e308, float("inf"),
    float("nan"), [], {}, [[]], [None], ["x"], [1, 2], {"x": 1}, *WORDS,
)  # fmt: skip


def spoil_tree(chance: random.Random, tree: Any) -> Any:
    """A few values replaced, left out or moved; a copy."""
    tree = copy.deepcopy(tree)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        places = list(_places(tree))
        if not places:
            break
        holder, key = chance.choice(places)
        kind = chance.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1:
            other, other_key = chance.choice(places)
            holder[key] = copy.deepcopy(other[other_key])
        elif kind == 2 and isinstance(holder, dict):
            holder[chance.choice(WORDS)] = chance.choice(VALUES)
        elif kind == 2:
            holder.append(copy.deepcopy(holder[key]))
        elif kind == 3 and isinstance(holder[key], int):
            holder[key] += chance.choice((-1, 1, 2**32, -(2**40)))
        else:
            holder[key] = copy.deepcopy(chance.choice(VALUES))
    return tree


def as_text(chance: random.Random, tree: Any) -> bytes:
    """JSON, seldom what only looks like it."""
    text = json.dumps(tree)
    kind = chance.randrange(20)
    if kind == 0:
        return spoil(chance, text.encode(), [text.encode()])
    if kind == 1:
        digits = chance.choice(
            ("1e999", "-1e999", "1" * 5000, "1" * 400 + ".5", "NaN", "[" * NESTED, '{"a":' * NESTED)
        )
        numbers = [at for at, letter in enumerate(text) if letter.isdigit() and not text[at - 1].isdigit()]
        at = chance.choice(numbers or [0])
        text = text[:at] + digits + text[at + 1 :]
    return text.encode()


def _places(tree: Any) -> Any:
    """(holder, key) of every value in a tree."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, key
        yield from _places(tree[key])
