"""What runs on workers: each function is a task of a graph, and its arguments are chunks or other results."""

from __future__ import annotations

import operator
import pickle
import pkgutil
from collections.abc import Callable
from typing import Any

import numpy as np
from dask.sizeof import sizeof

from amx.arrays import Array
from amx.float_environment import as_after_reset
from amx.gemm import PackedMatrix, matmul
from amx.gemm import pack as pack_matrix
from amx.layer import Linear

__all__ = ["Sealed", "add", "apply", "multiply", "opened", "pack", "task"]


class Sealed:
    """A layer or packed matrix on its way to a worker, where it arrives as the bytes of its pickled form.

    A pickled layer packs its weights where it is loaded. A scheduler loads the graphs that pass through it,
    and need not load this, nor have this package.
    """

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return bytes, (pickle.dumps(self.value, pickle.HIGHEST_PROTOCOL),)


def task(function: Callable[..., Any], *arguments: Any) -> tuple[Any, ...]:
    """A function of this module as a task of a graph, which a worker finds by its name.

    Where this package is missing, the task fails and says so; a function that cannot be loaded would end the
    worker, and Dask would look for another one.
    """
    return operator.call, (pkgutil.resolve_name, f"{__name__}:{function.__name__}"), *arguments


def opened(sealed: Sealed | bytes) -> Any:
    """What all tasks of a worker share."""
    return pickle.loads(sealed) if isinstance(sealed, bytes) else sealed.value


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
