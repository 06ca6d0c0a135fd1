"""Sequences of calls of the public names, with arrays and objects that are not what they seem.

Each call gives the right numbers, or one of the errors that callers expect. Out of reach is what NumPy itself
believes (a false `__array_interface__`), and `amx.lowlevel`.
"""

import contextlib
import copy
import random
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import operands
import product_model

import amx
from fuzz.changing import spoil
from fuzz.choices import Choices
from fuzz.engine import Fuzzer

EXPECTED = amx.AmxError, ValueError, TypeError, MemoryError, OverflowError, IndexError
MOST_CALLS = 30
MOST_ELEMENTS = 20_000  # of an array
SIZES = (0, 1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65, 70)
ELEMENTS = ("int8", "uint8", "bfloat16", "float16")
OTHERS = (np.bool_, np.int16, np.uint16, np.int32, np.float32, np.float64, np.complex64, object, "V2", ">i2",
          "S1", "M8[s]", [("x", "i1")])  # fmt: skip
NAMES = (
    None,
    "int8",
    "bf16",
    "bfloat16",
    "fp16",
    "float16",
    "float32",
    "",
    "x",
    7,
    np.int8,
    np.float32,
    np.dtype("V2"),
)
ATTRIBUTES = ("shape", "strides", "dtype", "ndim", "size", "nbytes", "ctypes", "data", "itemsize")
PRODUCTS = ("dpbssd", "dpbsud", "dpbusd", "dpbuud", "dpbf16ps", "dpfp16ps")


class LyingArray(np.ndarray):
    """Says of itself what it is asked to say, where Python lets it."""

    says: dict[str, Any]

    def __getattribute__(self, name: str) -> Any:
        says = np.ndarray.__getattribute__(self, "__dict__").get("says", {})
        return says[name] if name in says else np.ndarray.__getattribute__(self, name)


class Raising:
    """Raises whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name) if name.startswith("__array") else AttributeError(name)


class Converting:
    """Is an array when asked, each time another."""

    def __init__(self, arrays: list[Any]) -> None:
        self.arrays = arrays

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        self.arrays.append(self.arrays.pop(0))
        return self.arrays[0]


class LyingConfig(amx.TileConfig):
    """Loads other tiles than it says it has."""

    def to_bytes(self) -> bytes:
        return amx.TileConfig([(16, 64)] * 8).to_bytes()


class LyingNumber(int):
    """Is another number each time it is asked."""

    def __index__(self) -> int:
        return 1

    def __lt__(self, other: Any) -> bool:
        return True


class Caller:
    """What one input does."""

    def __init__(self, engine: str, data: bytes) -> None:
        self.c = Choices(data)
        self.engine = engine
        self.arrays: list[Any] = []
        self.packed: list[amx.PackedMatrix] = []
        self.plain: dict[int, np.ndarray[Any, Any]] = {}  # by the identity of a packed one, what was packed
        self.tiles: amx.TileContext | None = None
        self.loaded: dict[int, bytes] = {}

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

    # ---- arrays

    def make(self) -> None:
        self.arrays.append(self.array())
        del self.arrays[:-6]

    def array(self) -> Any:
        """An array, honest six times of eight."""
        shape = [self.c.one_of(SIZES) for _ in range(self.c.one_of((2, 2, 2, 2, 1, 3, 3, 0, 4)))]
        while np.prod(shape, dtype=float) > MOST_ELEMENTS:
            del shape[0]
        chance = np.random.default_rng(self.c.below(256))
        if self.c.often(7):
            made = operands.random_array(chance, shape, self.c.one_of(ELEMENTS), 0.1)
        else:
            made = np.zeros(shape, self.c.one_of(OTHERS))
        made = self.laid_out(made)
        return made if self.c.often(7) else self.disguised(made)

    def laid_out(self, made: Any) -> Any:
        kind = self.c.below(10)
        if kind < 4 or made.ndim == 0:
            return made
        if kind == 4:
            return np.asfortranarray(made)
        if kind == 5:
            return made[::-1][..., ::-1]
        if kind == 6:
            return made.swapaxes(0, -1)
        if kind == 7:
            return np.broadcast_to(made[:1], made.shape)
        if kind == 8:
            memory = np.zeros(made.nbytes + 1, np.uint8)[1:]
            moved = memory.view(made.dtype).reshape(made.shape) if made.dtype != object else made
            moved[...] = made
            return moved
        made.flags.writeable = False
        return made

    def disguised(self, made: Any) -> Any:
        kind = self.c.below(9)
        if kind == 0:
            return np.ma.masked_array(made, mask=made == made)
        if kind == 1:
            return memoryview(made) if made.dtype.kind in "iuf" else made
        if kind == 2:
            return made.tolist()
        if kind == 3:
            return Raising()
        if kind == 4:
            return Converting([made, *self.arrays])
        if kind == 5:
            return self.c.one_of((None, 1, "x", b"bytes", bytearray(64), [[1], [2, 3]], {}, amx))
        lying = made.view(LyingArray)
        lying.says = {
            self.c.one_of(ATTRIBUTES): self.c.one_of(
                ((64, 64), (1000, 1000), (-1, -1), np.dtype(np.int8), np.dtype(np.int32), 2, 1 << 40, None)
            )
        }
        return lying

    def some(self) -> Any:
        return self.c.one_of(self.arrays) if self.arrays and self.c.often(6) else self.array()

    # ---- products

    def multiply(self) -> None:
        a = self.some()
        if self.c.often(6) and _is_plain(a) and a.ndim and a.dtype in (np.int8, np.uint8, np.float16):
            shape = (*a.shape[:-2], a.shape[-1], self.c.one_of(SIZES))[-3:]
            b = operands.random_array(np.random.default_rng(1), shape, a.dtype.name, 0.1)
            b = self.laid_out(b)
        else:
            b = self.c.one_of(self.packed) if self.packed and self.c.often(4) else self.some()
        options: dict[str, Any] = {}
        if not self.c.often(6):
            options["dtype"] = self.c.one_of(NAMES)
        if not self.c.often(5):
            options["out"] = self.out(a, b)
        want = self.expected(a, b) if options.get("dtype") is None else None
        result = amx.matmul(a, b, **options)
        if want is not None:
            got = operands.as_bits(np.asarray(result))
            assert np.array_equal(got.reshape(want.shape), want), f"{_seen(a)} {_seen(b)} {options}"

    def out(self, a: Any, b: Any) -> Any:
        """Where a result may fit, or not; or over an operand."""
        if not self.c.often(5):
            return self.some()
        shape = (4, 4)
        if _is_plain(a) and _is_plain(b):
            with contextlib.suppress(ValueError):
                shape = np.matmul(np.empty(a.shape), np.empty(b.shape)).shape
        dtype = np.int32 if getattr(a, "dtype", None) in (np.int8, np.uint8) else np.float32
        made = np.empty(shape, dtype)
        kind = self.c.below(6)
        if kind == 0 and _is_plain(a) and a.flags.c_contiguous:
            memory = a.reshape(-1).view(np.uint8) if a.dtype != object else made.view(np.uint8)
            return memory[: made.nbytes].view(dtype).reshape(shape)
        if kind == 1:
            return np.ma.masked_array(made, mask=True)
        if kind == 2:
            lying = made[..., :1].view(LyingArray)
            lying.says = {"shape": shape, "strides": made.strides}
            return lying
        return self.laid_out(made)

    def expected(self, a: Any, b: Any) -> Any:
        """What the model of docs/numerics.md gives; None where it is not asked."""
        b = self.plain.get(id(b), b)
        if not _is_plain(a) or not _is_plain(b) or a.ndim != 2 or b.ndim != 2:
            return None
        if a.shape[1] != b.shape[0]:
            return None
        if a.dtype in (np.int8, np.uint8) and b.dtype in (np.int8, np.uint8):
            return product_model.integer_product(a, b)
        if a.dtype == b.dtype and a.dtype in (np.float16, ml_dtypes.bfloat16):
            return operands.expected(np.array(a, order="C"), np.array(b, order="C"), a.dtype.name)
        return None

    def pack(self) -> None:
        b = self.some()
        packed = amx.pack(b, dtype=None if self.c.often(6) else self.c.one_of(NAMES))
        if _is_plain(b) and packed.dtype == b.dtype:
            self.plain[id(packed)] = b.copy()
        self.packed.append(packed)

    def unpack(self) -> None:
        packed = self.c.one_of(self.packed or [amx.pack(np.ones((3, 5), np.int8))])
        found = packed.unpack()
        plain = self.plain.get(id(packed))
        assert plain is None or found.tobytes() == np.ascontiguousarray(plain).tobytes()
        assert packed.T.shape == packed.shape[::-1]

    def forge(self) -> None:
        """Change what is immutable, through public names."""
        packed = self.c.one_of(self.packed or [amx.pack(np.ones((3, 5), np.int8))])
        shape = tuple(self.c.one_of(SIZES) for _ in range(2))
        kind = self.c.below(6)
        try:
            if kind == 0:
                packed.__init__(shape, packed.element, packed._handle)
            elif kind == 1:
                packed.__setstate__((None, {"shape": shape, "k": shape[0], "n": shape[1]}))
            elif kind == 2:
                packed.shape = shape
            elif kind == 3:
                forged = amx.PackedMatrix(shape, packed.element, packed._handle)
                self.packed.append(forged)
            elif kind == 4:
                self.packed.append(copy.deepcopy(packed))
            else:
                packed.__class__ = type("Other", (amx.PackedMatrix,), {"__slots__": (), "shape": shape})
        except (AttributeError, NotImplementedError):
            return
        self.plain.pop(id(packed), None)
        k = packed.shape[0]
        amx.matmul(
            np.ones((17, k if isinstance(k, int) else 3), np.int8), self.packed[-1] if kind == 3 else packed
        )

    # ---- tiles

    def configuration(self) -> amx.TileConfig:
        kind = self.c.below(6)
        if kind == 0:
            found = amx.TileConfig.from_bytes(self.c.bytes(64))
            return found if found is not None else amx.TileConfig([(1, 4)])
        if kind == 1:
            return amx.TileConfig.for_product(self.c.one_of(ELEMENTS), self.c.below(40), self.c.below(40))
        if kind == 2:
            return amx.TileConfig.for_product(self.c.one_of(ELEMENTS))
        of = LyingConfig if kind == 3 else amx.TileConfig
        shapes = [
            self.c.one_of(((16, 64), (1, 4), (1, 64), (16, 4), (3, 12), None, (0, 0), (17, 64), (1, 65)))
            for _ in range(8)
        ]
        return of([shape if self.c.often(7) or shape is None else (16, 64) for shape in shapes])

    def configure(self) -> None:
        found = self.configuration()
        assert type(found) is LyingConfig or amx.TileConfig.from_bytes(found.to_bytes()) == found
        str(found)

    def enter(self) -> None:
        if self.tiles is not None and self.c.often(4):
            tiles, self.tiles = self.tiles, None
            tiles.__exit__(None, None, None)
        if self.c.often(1) and self.tiles is not None:
            self.tiles.__enter__()
        if self.tiles is None:
            tiles = amx.TileContext(self.configuration())
            self.tiles = tiles.__enter__()
            self.loaded = {}

    def tile(self) -> None:
        """One call on the tiles that are open."""
        if self.tiles is None:
            self.enter()
        tiles = self.tiles
        assert tiles is not None
        number = (
            self.c.below(8)
            if self.c.often(7)
            else self.c.one_of((-1, 8, True, 2**70, "x", None, LyingNumber(99), 1.0))
        )
        kind = self.c.below(8)
        if kind == 0:
            self.loaded.pop(number, None)
            tiles.zero(number)
        elif kind in (1, 2):
            self.load(tiles, number)
        elif kind == 3:
            out = tiles.store(number)
            want = self.loaded.get(number)
            assert want is None or out.tobytes() == want
        elif kind == 4:
            where = {} if self.c.often(4) else {"offset": self.c.integer(), "stride": self.c.integer()}
            tiles.store(number, self.memory(), **where)
        elif kind == 5:
            numbers = [self.c.below(8) for _ in range(3)]
            self.loaded.pop(numbers[0], None)
            getattr(tiles, self.c.one_of(PRODUCTS))(*numbers)
        elif kind == 6:
            self.reconfigure(tiles)
        else:
            self.multiply()

    def reconfigure(self, tiles: amx.TileContext) -> None:
        """Say that the open tiles are others."""
        try:
            if self.c.often(4):
                tiles.config = amx.TileConfig([(1, 4)] * 8)
            else:
                tiles.__init__(self.configuration())
        except AttributeError:
            return
        self.loaded = {}
        for number in range(8):
            tiles.store(number)

    def load(self, tiles: amx.TileContext, number: Any) -> None:
        self.loaded.pop(number, None)
        load = self.c.one_of((tiles.load, tiles.loadt1))
        if self.c.often(4):
            shape = (
                tiles.config.tiles[number]
                if number in range(8) and number < len(tiles.config.tiles)
                else None
            )
            source = np.arange(shape.rows * shape.colsb if shape else 64, dtype=np.uint8)
            load(number, source)
            self.loaded[number] = source.tobytes()
        elif self.c.often(4):
            load(number, self.memory(), offset=self.c.integer(), stride=self.c.integer())
        else:
            load(number, self.some(), dtype=self.c.one_of(NAMES))

    def memory(self) -> Any:
        """A buffer of about the size of a tile."""
        size = self.c.one_of((1024, 1023, 1025, 64, 4, 0, 15 * 64 + 4, 4096))
        kind = self.c.below(5)
        if kind == 0:
            return bytes(size)
        if kind == 1:
            return bytearray(size)
        if kind == 2:
            return np.zeros(size, np.uint8)[:: self.c.one_of((1, -1, 2))]
        if kind == 3:
            return self.some()
        return np.zeros(size // 4, self.c.one_of((np.int32, np.float32)))

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


def _is_plain(array: Any) -> bool:
    return type(array) is np.ndarray


def _seen(array: Any) -> str:
    return " ".join(str(getattr(array, name, "")) for name in ("__class__", "dtype", "shape", "strides"))


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


def _plant_odd() -> None:
    """The last element of K is left out where it has no partner."""
    usual = amx.matmul

    def matmul(a: Any, b: Any, **options: Any) -> Any:
        if _is_plain(a) and _is_plain(b) and a.ndim == b.ndim == 2 and a.shape[1] == len(b) and len(b) % 2:
            return usual(a[:, :-1], b[:-1], **options)
        return usual(a, b, **options)

    amx.matmul = matmul


def _plant_bounds() -> None:
    """A tile is stored into a buffer that ends before it."""
    from amx import tiles

    usual = tiles.region_of

    def region_of(source: Any, shape: Any, *rest: Any, **more: Any) -> Any:
        return usual(source, type(shape)(1, 4), *rest, **more)

    tiles.region_of = region_of


def _fuzzer(engine: str, enter: Callable[[], None]) -> Fuzzer:
    return Fuzzer(
        f"api-{engine}",
        partial(attack, engine),
        change,
        enter=enter,
        planted={"odd-k": _plant_odd, "unbounded-store": _plant_bounds},
        sanitized=frozenset({"unbounded-store"}),
    )


FUZZERS = [_fuzzer("emulated", lambda: None), _fuzzer("native", enter_native)]
if "vector" in {backend.value for backend in amx.Backend}:
    FUZZERS.append(_fuzzer("vector", lambda: None))
