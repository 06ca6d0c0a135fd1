"""NumKong: dot products of all rows with all rows of a packed matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from amx.bench.grid import Dtype
from amx.bench.operands import Operands
from amx.bench.peers.peer import (
    FLOAT32_ROUNDOFF,
    AmxUse,
    Form,
    Peer,
    Product,
    UnsupportedError,
    Verdict,
    use_of_a_call,
)
from amx.dtypes import Array

__all__ = ["NumKong"]


class NumKong(Peer):
    """`dots_packed` of int8, bfloat16 and float16 into int32 and float32, on the calling thread."""

    name = module = package = "numkong"

    def prepare(self, operands: Operands, form: Form, threads: int) -> Product:
        """See Peer."""
        import numkong

        dtype = operands.case.dtype
        if form is Form.PLAIN:
            raise UnsupportedError("only packed products")
        if operands.case.shape.batch > 1:
            raise UnsupportedError("no batches")
        if threads > 1:
            raise UnsupportedError("works on the calling thread only")
        a = _tensor(operands.a, dtype)
        packed = numkong.dots_pack(_tensor(np.ascontiguousarray(operands.b.T), dtype))
        roundoff = None if dtype.exact else FLOAT32_ROUNDOFF
        return Product(lambda: numkong.dots_packed(a, packed), _to_numpy, roundoff)

    def used_amx(self, product: Product) -> AmxUse:
        """By its capabilities, then by XINUSE."""
        import numkong

        capabilities = numkong.get_capabilities()
        active = [name for name in ("sapphireamx", "graniteamx") if capabilities.get(name)]
        if not active:
            return AmxUse(Verdict.NO, "its capability sapphireamx is off")
        seen = use_of_a_call(product)
        return AmxUse(seen.verdict, f"its capability {' and '.join(active)} is on; {seen.evidence}")


def _tensor(array: Array, dtype: Dtype) -> Any:
    """A view that keeps the array alive; NumKong reads bfloat16 by name only."""
    import numkong

    if dtype is not Dtype.BF16:
        return array
    return numkong.from_pointer(array.ctypes.data, array.shape, "bf16", strides=array.strides, owner=array)


def _to_numpy(result: Any) -> Array:
    return np.asarray(result)
