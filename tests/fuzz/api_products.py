"""Products of arrays and objects that are not what they seem: the right numbers, or an error."""

import contextlib
import copy
from typing import Any

import ml_dtypes
import numpy as np
import operands
import product_model

import amx
from fuzz.choices import Choices

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


class Products:
    """Products, and what is multiplied: arrays, and what passes for one."""

    def __init__(self, choices: Choices) -> None:
        self.c = choices
        self.arrays: list[Any] = []
        self.packed: list[amx.PackedMatrix] = []
        self.plain: dict[int, np.ndarray[Any, Any]] = {}  # by the identity of a packed one, what was packed

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


def _is_plain(array: Any) -> bool:
    return type(array) is np.ndarray


def _seen(array: Any) -> str:
    return " ".join(str(getattr(array, name, "")) for name in ("__class__", "dtype", "shape", "strides"))


def plant_odd() -> None:
    """The last element of K is left out where it has no partner."""
    usual = amx.matmul

    def matmul(a: Any, b: Any, **options: Any) -> Any:
        if _is_plain(a) and _is_plain(b) and a.ndim == b.ndim == 2 and a.shape[1] == len(b) and len(b) % 2:
            return usual(a[:, :-1], b[:-1], **options)
        return usual(a, b, **options)

    amx.matmul = matmul
