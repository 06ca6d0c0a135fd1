"""Our side: calls of `amx.matmul`, and the packed product repeated inside one C call."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

import amx
from amx._lib import CData, ffi, lib
from amx.backend import engine_for
from amx.bench.grid import Dtype
from amx.bench.operands import Operands, aligned
from amx.bench.peers.peer import Form
from amx.driver import raise_for
from amx.dtypes import Array, accumulator, address, tdp
from amx.gemm import PackedMatrix

__all__ = ["Kernel", "bits_differ", "call_of"]


def call_of(operands: Operands, form: Form) -> Callable[[], Array]:
    """`amx.matmul` of the operands as a user would write it: bfloat16 in ml_dtypes' type where installed."""
    a, b = _as_users_hold(operands.a, operands.case.dtype), _as_users_hold(operands.b, operands.case.dtype)
    dtype = "bfloat16" if a.dtype == np.uint16 else None
    if form is Form.PACKED:
        packed = amx.pack(b, dtype=dtype)
        return lambda: amx.matmul(a, packed, dtype=dtype)
    return lambda: amx.matmul(a, b, dtype=dtype)


def bits_differ(one: Array, other: Array) -> str:
    """How two of our own results differ, which they must not in a single bit; empty where they agree."""
    wrong = int(np.count_nonzero(one.view(np.uint32) != other.view(np.uint32)))
    return f"{wrong} of {one.size} elements have other bits than amx.matmul's" if wrong else ""


def _as_users_hold(array: Array, dtype: Dtype) -> Array:
    if dtype is not Dtype.BF16:
        return array
    try:
        import ml_dtypes
    except ImportError:
        return array
    return array.view(ml_dtypes.bfloat16)


@dataclass(frozen=True)
class Kernel:
    """The packed product without Python around it; `result` is what the last repetition wrote.

    Copies of the packed B take turns, a C call each; a single one is multiplied by repeatedly in one C call.
    """

    operands: Operands
    packed: tuple[PackedMatrix, ...]
    turns: Iterator[PackedMatrix]
    result: Array
    threads: int

    @classmethod
    def of(cls, operands: Operands, threads: int, copies: int = 1) -> Kernel:
        """Pack B, and make room for C."""
        case = operands.case
        packed = tuple(amx.pack(operands.b, dtype=case.dtype.element) for _ in range(copies))
        rows = (*operands.a.shape[:-1], case.shape.ld or case.shape.n)
        dtype = accumulator(case.dtype.element)
        memory = aligned(math.prod(rows) * dtype.itemsize)  # as amx.matmul makes large results
        result = memory.view(dtype).reshape(rows)[..., : case.shape.n]
        return cls(operands, packed, itertools.cycle(packed), result, threads)

    @property
    def packed_bytes(self) -> int:
        """Of all copies."""
        return sum(packed.nbytes for packed in self.packed)

    def run(self, repetitions: int) -> None:
        """The product `repetitions` times."""
        if len(self.packed) == 1:
            self._repeat(repetitions, self.packed[0])
            return
        for packed in itertools.islice(self.turns, repetitions):
            self._repeat(1, packed)

    def _repeat(self, repetitions: int, packed: PackedMatrix) -> None:
        case, a, c = self.operands.case, self.operands.a, self.result
        op = tdp(case.dtype.element, case.dtype.element)
        assert op is not None
        a_offsets, items, c_offsets = (
            _steps(case.shape.batch, step)
            for step in (a.shape[-2] * a.strides[-2], 1, c.shape[-2] * c.strides[-2])
        )
        error = lib.amx_bench_repeat(
            repetitions, engine_for(op), op, self.threads,
            case.shape.m, c.shape[-1], case.shape.k, case.shape.batch,
            address(a), a.strides[-2], a.itemsize, _pointer(a_offsets),
            packed._handle, _pointer(items),
            address(c), c.strides[-2], _pointer(c_offsets),
        )  # fmt: skip
        raise_for(error)


def _steps(count: int, step: int) -> Array:
    return np.arange(count, dtype=np.int64) * step


def _pointer(offsets: Array) -> CData:
    return ffi.from_buffer("int64_t[]", offsets)
