"""What runs on workers: each function is a task of a graph, and its arguments are chunks or other results."""

from __future__ import annotations

import pickle
from typing import Any, TypeVar

import numpy as np
from dask.sizeof import sizeof

from amx.arrays import Array
from amx.float_environment import as_after_reset
from amx.gemm import PackedMatrix, matmul
from amx.gemm import pack as pack_matrix
from amx.layer import Linear

__all__ = ["Sealed", "add", "apply", "multiply", "opened", "pack"]

_T = TypeVar("_T")


class Sealed:
    """A layer or packed matrix on its way to a worker: who only passes it on need not make it.

    A pickled layer packs its weights where it is loaded. A scheduler loads the graphs that pass through it,
    and loads this as the bytes that it sends on.
    """

    __slots__ = ("_bytes", "_value")

    def __init__(self, value: object = None, pickled: bytes | None = None) -> None:
        self._value = value
        self._bytes = pickled

    def open(self) -> Any:
        """What is in it."""
        return self._value if self._bytes is None else pickle.loads(self._bytes)

    def __reduce__(self) -> tuple[Any, ...]:
        pickled = self._bytes
        if pickled is None:
            pickled = pickle.dumps(self._value, pickle.HIGHEST_PROTOCOL)
        return Sealed, (None, pickled)


def opened(sealed: Sealed) -> Any:
    """What all tasks of a worker share."""
    return sealed.open()


def pack(b: object, dtype: str | None) -> PackedMatrix:
    """A chunk of the second operand, for all products with it that this worker makes."""
    return pack_matrix(b, dtype=dtype)


def multiply(a: object, b: object, dtype: str | None) -> Any:
    """The product of one chunk of each operand."""
    return matmul(a, b, dtype=dtype)


@as_after_reset
def add(total: Array, product: Array) -> Array:
    """The sum so far and the product of the next chunk of K: int32 modulo 2**32, or float32."""
    result: Array = np.add(total, product)
    return result


def apply(layer: Linear, x: object) -> Any:
    """The layer's results for one chunk of rows."""
    return layer(x)


def _bytes_of(value: PackedMatrix | Linear) -> int:
    return value.nbytes


# By which Dask knows how much a worker has in memory, and what is to be written to disk.
sizeof.register((PackedMatrix, Linear), _bytes_of)
