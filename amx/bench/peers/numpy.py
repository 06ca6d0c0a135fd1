"""NumPy: its BLAS in float32, and its integer loops."""

from __future__ import annotations

from typing import Any

import numpy as np

from amx.bench.grid import Dtype
from amx.bench.operands import Operands
from amx.bench.peers.peer import FLOAT32_ROUNDOFF, AmxUse, Form, Peer, Product, UnsupportedError, Verdict
from amx.dtypes import Array

__all__ = ["Numpy", "NumpyFloat32", "NumpyInteger"]

LARGEST_INTEGER_PRODUCT = 1 << 27  # operations; larger ones take seconds


def _same(result: Array) -> Array:
    return result


class Numpy(Peer):
    """`@` of float32: what one does with operands of small types without a library for them.

    Operands are converted in each call; packed: the second one beforehand.
    """

    name = "numpy"
    module = package = "numpy"

    def version(self) -> str:
        """With a word on threads: only threadpoolctl can limit those of the BLAS."""
        try:
            import threadpoolctl  # noqa: F401
        except ImportError:
            return f"{np.__version__} (threads not limited: threadpoolctl is missing)"
        return np.__version__

    def prepare(self, operands: Operands, form: Form, threads: int) -> Product:
        """See Peer."""
        _limit_threads(threads)
        a, b, b32 = operands.a, operands.b, operands.b_float32
        if operands.case.dtype is Dtype.BF16:
            a = a.view(_bfloat16())
            b = b.view(_bfloat16())
        if form is Form.PACKED:
            return Product(lambda: a.astype(np.float32) @ b32, _same, FLOAT32_ROUNDOFF)
        return Product(lambda: a.astype(np.float32) @ b.astype(np.float32), _same, FLOAT32_ROUNDOFF)

    def used_amx(self, product: Product) -> AmxUse:
        """No: there are no float32 tiles in current hardware."""
        return AmxUse(Verdict.NO, "float32")


class NumpyFloat32(Numpy):
    """`@` of operands that are float32 before; NumPy has nothing to prepare, so packed is the same."""

    name = "numpy-float32"
    float32 = True

    def prepare(self, operands: Operands, form: Form, threads: int) -> Product:
        """See Peer."""
        _limit_threads(threads)
        a, b = operands.a_float32, operands.b_float32
        return Product(lambda: a @ b, _same, FLOAT32_ROUNDOFF)


class NumpyInteger(Peer):
    """`@` of int32: exact, without a BLAS."""

    name = "numpy-int"
    module = package = "numpy"

    def prepare(self, operands: Operands, form: Form, threads: int) -> Product:
        """See Peer."""
        if operands.case.dtype is not Dtype.INT8:
            raise UnsupportedError("only for integers")
        if form is Form.PACKED:
            raise UnsupportedError("no packed operands")
        if operands.case.shape.operations > LARGEST_INTEGER_PRODUCT:
            raise UnsupportedError("takes seconds: NumPy has no BLAS for integers")
        a, b = operands.a, operands.b
        return Product(lambda: a.astype(np.int32) @ b.astype(np.int32), _same, None)

    def used_amx(self, product: Product) -> AmxUse:
        """No: plain loops."""
        return AmxUse(Verdict.NO, "loops in C")


def _bfloat16() -> np.dtype[Any]:
    try:
        import ml_dtypes
    except ImportError:
        raise UnsupportedError("NumPy has no bfloat16 without ml_dtypes: pip install ml-dtypes") from None
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype


def _limit_threads(threads: int) -> None:
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return
    threadpool_limits(limits=threads, user_api="blas")
