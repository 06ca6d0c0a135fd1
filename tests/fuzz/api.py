"""Sequences of calls of the public names, with arrays and objects that are not what they seem.

Each call gives the right numbers, or one of the errors that callers expect. Out of reach is what NumPy itself
believes (a false `__array_interface__`), and `amx.lowlevel`.
"""

import contextlib
import random
import warnings
from collections.abc import Callable
from functools import partial

import amx
from fuzz.api_products import NAMES, plant_odd
from fuzz.api_tiles import LyingNumber, Tiles, plant_bounds
from fuzz.changing import spoil
from fuzz.choices import Choices
from fuzz.engine import Fuzzer

EXPECTED = amx.AmxError, ValueError, TypeError, MemoryError, OverflowError, IndexError
MOST_CALLS = 30


class Caller(Tiles):
    """What one input does."""

    def __init__(self, engine: str, data: bytes) -> None:
        super().__init__(Choices(data))
        self.engine = engine

    def run(self) -> None:
        amx.set_backend(self.engine)
        tiles = (self.tile, self.tile, self.tile, self.enter, self.configure)
        matrices = (self.multiply, self.multiply, self.make, self.make, self.pack, self.unpack, self.forge)
        try:
            for _ in range(MOST_CALLS):
                if not self.c:
                    break
                self.attempt(self.c.one_of((*matrices, *tiles, self.settings)))
        finally:
            if self.tiles is not None:
                self.tiles.__exit__(None, None, None)
            amx.set_num_threads(None)

    def attempt(self, call: Callable[[], None]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(*EXPECTED):
                call()

    def settings(self) -> None:
        kind = self.c.below(5)
        if kind == 0:
            amx.set_num_threads(self.c.one_of((None, 1, 2, 3, 0, -1, 2**40, "x", LyingNumber(2))))
        elif kind == 1:
            amx.plan(
                self.c.integer(),
                self.c.integer(),
                self.c.integer(),
                self.c.one_of(NAMES),
                batch=self.c.integer(),
            )
        elif kind == 2:
            amx.set_backend(self.c.one_of(("emulated", self.engine, "x", None, 3)))
        elif kind == 3:
            amx.TileConfig(
                self.c.one_of(([], [(1, 4)] * 9, None, "xx", [(1,)], [("1", 4)], [(2**70, 4)])),
                start_row=self.c.integer(),
            )
        else:
            amx.available(self.c.one_of(("int8", "fp16", "x", "", None, 3)))


def attack(engine: str, data: bytes) -> None:
    """One sequence."""
    Caller(engine, data).run()


def change(chance: random.Random, corpus: list[bytes]) -> bytes:
    """A new sequence, or one that is like another."""
    if chance.random() < 0.7:
        return chance.randbytes(chance.choice((20, 60, 200, 500)))
    return spoil(chance, chance.choice(corpus), corpus)


def enter_native() -> None:
    """Native tiles, emulated where the CPU has none."""
    if not amx.available():
        amx.emulate("gnr").__enter__()
    amx.set_backend("native")


def _fuzzer(engine: str, enter: Callable[[], None]) -> Fuzzer:
    return Fuzzer(
        f"api-{engine}",
        partial(attack, engine),
        change,
        enter=enter,
        planted={"odd-k": plant_odd, "unbounded-store": plant_bounds},
        sanitized=frozenset({"unbounded-store"}),
    )


FUZZERS = [
    _fuzzer("emulated", lambda: None),
    _fuzzer("vector", lambda: None),
    _fuzzer("native", enter_native),
]
