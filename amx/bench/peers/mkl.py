"""Intel MKL from its PyPI wheel, through ctypes: cblas_gemm_s8u8s32, bf16bf16f32, f16f16f32."""

from __future__ import annotations

import ctypes
import importlib.metadata
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from amx.bench.grid import Dtype
from amx.bench.operands import Operands, aligned
from amx.bench.peers.peer import FLOAT32_ROUNDOFF, Form, Peer, Product, UnsupportedError
from amx.dtypes import Array

__all__ = ["Mkl"]

# mkl_cblas.h and mkl_service.h
ROW_MAJOR, NO_TRANSPOSE, PACKED, B_MATRIX, FIX_OFFSET = 101, 111, 151, 162, 173
SEQUENTIAL = 1

_INT, _FLOAT, _BYTE, _POINTER = ctypes.c_int, ctypes.c_float, ctypes.c_int8, ctypes.c_void_p
_NAMES = {
    Dtype.INT8: "cblas_gemm_s8u8s32",
    Dtype.BF16: "cblas_gemm_bf16bf16f32",
    Dtype.FP16: "cblas_gemm_f16f16f32",
}


class Mkl(Peer):
    """The C calls with a new result array each, since that is what all others return.

    In row-major order s8u8s32 takes uint8 by int8.
    """

    name = package = "mkl"
    module = "ctypes"

    def missing(self) -> str:
        """See Peer."""
        try:
            _library()
        except (importlib.metadata.PackageNotFoundError, FileNotFoundError):
            return "no libmkl_rt: pip install mkl"
        except OSError as error:
            return f"libmkl_rt cannot be loaded: {error}"
        return ""

    def version(self) -> str:
        """Of the wheel."""
        return importlib.metadata.version("mkl")

    def prepare(self, operands: Operands, form: Form, threads: int) -> Product:
        """See Peer."""
        if operands.case.shape.batch > 1:
            raise UnsupportedError("no batches of one call")
        mkl = _library()
        if threads == 1:
            mkl.MKL_Set_Threading_Layer(SEQUENTIAL)  # effective before the first product
        mkl.MKL_Set_Num_Threads(threads)
        shape, dtype = operands.case.shape, operands.case.dtype
        name = _NAMES[dtype]
        a, b, transposed = operands.a, operands.b, NO_TRANSPOSE
        if form is Form.PACKED:
            b, transposed, name = _pack(mkl, operands), PACKED, f"{name}_compute"
        a_address, b_address = a.ctypes.data, b.ctypes.data
        m, n, k = shape.m, shape.n, shape.k
        lda, ldb = shape.ld or k, shape.ld or n
        function = getattr(mkl, name)
        function.restype = None
        if dtype is Dtype.INT8:
            offset = np.zeros(1, np.int32)
            offset_address = offset.ctypes.data
            function.argtypes = [
                *[_INT] * 7, _FLOAT, _POINTER, _INT, _BYTE, _POINTER, _INT, _BYTE, _FLOAT, _POINTER, _INT,
                _POINTER,
            ]  # fmt: skip

            def integers() -> tuple[Array, object]:
                c = np.empty((m, n), np.int32)
                function(
                    ROW_MAJOR, NO_TRANSPOSE, transposed, FIX_OFFSET, m, n, k, 1.0, a_address, lda, 0,
                    b_address, ldb, 0, 0.0, c.ctypes.data, n, offset_address,
                )  # fmt: skip
                return c, (a, b, offset)

            return Product(integers, _first, None, unsigned=True)
        function.argtypes = [
            *[_INT] * 6, _FLOAT, _POINTER, _INT, _POINTER, _INT, _FLOAT, _POINTER, _INT,
        ]  # fmt: skip

        def floats() -> tuple[Array, object]:
            c = np.empty((m, n), np.float32)
            function(
                ROW_MAJOR, NO_TRANSPOSE, transposed, m, n, k, 1.0, a_address, lda, b_address, ldb, 0.0,
                c.ctypes.data, n,
            )  # fmt: skip
            return c, (a, b)

        return Product(floats, _first, FLOAT32_ROUNDOFF)


def _first(result: tuple[Array, object]) -> Array:
    """The result array; what stands beside it only keeps the operands alive."""
    return result[0]


def _pack(mkl: Any, operands: Operands) -> Array:
    shape, b = operands.case.shape, operands.b
    name = _NAMES[operands.case.dtype]
    get_size, pack = getattr(mkl, f"{name}_pack_get_size"), getattr(mkl, f"{name}_pack")
    get_size.restype = ctypes.c_size_t
    get_size.argtypes = [_INT] * 4
    pack.restype = None
    pack.argtypes = [*[_INT] * 6, _POINTER, _INT, _POINTER]
    packed = aligned(get_size(B_MATRIX, shape.m, shape.n, shape.k))
    pack(
        ROW_MAJOR, B_MATRIX, NO_TRANSPOSE, shape.m, shape.n, shape.k, b.ctypes.data,
        shape.ld or shape.n, packed.ctypes.data,
    )  # fmt: skip
    return packed


@cache
def _library() -> Any:
    for file in importlib.metadata.files("mkl") or ():
        if file.name.startswith("libmkl_rt.so"):
            return ctypes.CDLL(str(Path(str(file.locate())).resolve()))
    raise FileNotFoundError("libmkl_rt.so")
