"""What a layer computes of rows: they are quantised, multiplied, and results are made of their products.

docs/numerics.md, "Layers", is the definition; csrc/layer/layer.h is the contract of what surrounds the
product. Rows are taken in blocks, so that nothing of the size of x is made.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field

import numpy as np

from amx import threads
from amx._lib import CData, ffi, lib
from amx.arrays import Array
from amx.backend import _engines, engine_for
from amx.driver import raise_for
from amx.dtypes import RESULTS, Element, address, as_elements, conversion, empty, tdp
from amx.in_place import layer_arrays
from amx.interrupts import raise_interrupt
from amx.nibbles import PackedNibbles
from amx.operands import Operand, ranges
from amx.packing import Packed
from amx.parts import multiply

__all__ = ["TYPES", "Rounding", "Rows", "Steps", "compute", "compute_at_once"]

_MOST_BYTES = 8 << 20  # of what is made of a block's rows
_WHOLE = 32  # rows, of which blocks are multiples
_LINE = 64
TYPES = {
    np.dtype(np.float32): lib.LAYER_FLOAT32,
    np.dtype(np.uint16): lib.LAYER_BFLOAT16,
    np.dtype(np.float16): lib.LAYER_FLOAT16,
}


@dataclass(frozen=True, slots=True)
class Rows:
    """How rows are quantised: to `type` of layer.h, each by its own scale, or all by one that is not 0."""

    type: int
    element: Element
    scale: float = 0.0
    zero: int = 0


@dataclass(frozen=True, slots=True)
class Rounding:
    """What results are rounded to: `type` of layer.h, with the scale and zero point of 8-bit ones."""

    type: int
    scale: float = 1.0
    zero: int = 0


@dataclass(frozen=True, slots=True)
class Steps:
    """What belongs to every row.

    Attributes
    ----------
    packed: the weights, (K, N).
    rows: how rows are quantised; None: of float32 they are rounded to the type of `packed`.
    scale: of 8-bit weights, float32 (N,); those of 4 bits have their own.
    zero: their zero points, int32 (N,), if any is not 0.
    sum: of their columns, int32 (N,), if rows have zero points.
    bias: float32 (N,), or None.
    activation: as in layer.h.
    rounding: of the results.
    """

    packed: Packed | PackedNibbles
    rows: Rows | None
    scale: Array | None
    zero: Array | None
    sum: Array | None
    bias: Array | None
    activation: int
    rounding: Rounding
    call: CData = field(init=False)  # a struct amx_layer with all of this, which no call writes into

    def __post_init__(self) -> None:
        k, n = self.packed.shape
        fields = {
            "columns": n, "k": k, "c_is_float": self.rows is None, "activation": self.activation,
            "column_scale": _floats(self.scale), "column_zero": _integers(self.zero),
            "column_sum": _integers(self.sum), "bias": _floats(self.bias),
            "out_type": self.rounding.type, "out_scale": self.rounding.scale, "out_zero": self.rounding.zero,
        }  # fmt: skip
        rows = {} if self.rows is None else {
            "q_type": self.rows.type, "given_scale": self.rows.scale, "given_zero": self.rows.zero
        }  # fmt: skip
        packed = self.packed._handle
        is_nibbles = isinstance(self.packed, PackedNibbles)
        of_weights = {"nibbles": packed} if is_nibbles else {"packed": packed}
        call = ffi.new("struct amx_layer *", {"op": self.op, "rows": rows, "block": fields, **of_weights})
        object.__setattr__(self, "call", call)

    @property
    def op(self) -> int:
        """The instruction that multiplies rows and weights, by its number; of 4 bits as of int8."""
        weights = self.packed
        element = Element.INT8 if isinstance(weights, PackedNibbles) else weights.element
        op = tdp(element if self.rows is None else self.rows.element, element)
        assert op is not None
        return op


def compute_at_once(
    steps: Steps, x: Array, x_type: int, residual: Array | None, residual_type: int, out: Array
) -> bool:
    """The layer's results for rows of x in one call of C; False where that does not take the arrays.

    Parameters
    ----------
    x, residual, out: arrays of NumPy's own class, (..., K) and (..., N) of any shape and strides. Their
        elements are of `x_type` and `residual_type` of layer.h, and of what `steps.rounding` says.

    Notes
    -----
    Most of what a small layer takes is Python: `compute` costs 30 us more.
    """
    call = steps.call
    engine = _engines[call.op]
    if engine is None or _order(steps) is not None:
        return False
    added = 0 if residual is None else id(residual)
    error = layer_arrays(engine, threads.limit, call, x_type, id(x), residual_type, added, id(out))
    if error == -errno.EINTR:  # a signal's handler raised
        raise_interrupt()
    return error == 0


def compute(steps: Steps, x: Array, residual: Array | None, out: Array) -> None:
    """The layer's results for rows of x, into out.

    Parameters
    ----------
    x: (M, K) of float32, float16, or uint16 with the bits of bfloat16; in any layout.
    residual: (M, N) likewise, or None.
    out: (M, N) of what `steps.rounding` says, bfloat16 as its bits. Elements of a row are adjacent, rows go
        upwards, and from the first byte to the last it overlaps neither x nor residual.
    """
    if out.size == 0:
        return
    made = 0 if residual is None or _is_ready(residual) else residual.shape[1] * residual.itemsize
    made += 0 if _is_ready(x) and _order(steps) is None else x.shape[1] * x.itemsize
    if steps.rows is not None:
        made += _padded(x.shape[1]) + 12  # scale, zero point and sum
    elif conversion(x.dtype):
        made += 2 * x.shape[1]
    for block in ranges(len(x), _rows_of(made) if made else max(1, len(x))):
        _compute_block(steps, x[block], None if residual is None else residual[block], out[block])


def _rows_of(bytes_each: int) -> int:
    rows = max(1, _MOST_BYTES // bytes_each)
    return rows // _WHOLE * _WHOLE or rows


def _padded(k: int) -> int:
    return -(-k // _LINE) * _LINE


def _is_ready(matrix: Array) -> bool:
    """Whether C reads it where it lies: this machine's numbers, adjacent in a row, whose rows go upwards."""
    adjacent = matrix.shape[1] <= 1 or matrix.strides[1] == matrix.itemsize
    return adjacent and matrix.strides[0] >= 0 and matrix.dtype.isnative


def _ready(matrix: Array) -> Array:
    if _is_ready(matrix):
        return matrix
    return matrix.astype(
        matrix.dtype.newbyteorder("="), order="C", copy=True
    )  # NumPy keeps a single row's stride


@dataclass(frozen=True, slots=True)
class _Block:
    """Rows as they are multiplied, what each has of its own if it was quantised, and what goes in and out."""

    a: Operand
    scale: Array | None
    zero: Array | None
    sum: Array | None
    residual: Array | None
    out: Array

    def part(self, rows: slice) -> _Block:
        """Some of them."""
        scale, zero, total, residual = (
            None if each is None else each[rows] for each in (self.scale, self.zero, self.sum, self.residual)
        )
        return _Block(self.a.part(-2, rows), scale, zero, total, residual, self.out[rows])


def _order(steps: Steps) -> Array | None:
    """In which the columns of x are multiplied, if in another."""
    return steps.packed.order if isinstance(steps.packed, PackedNibbles) else None


def _compute_block(steps: Steps, x: Array, residual: Array | None, out: Array) -> None:
    order, packed = _order(steps), steps.packed
    x = _ready(x) if order is None else np.take(_ready(x), order, axis=1)
    residual = None if residual is None else _ready(residual)
    if isinstance(packed, PackedNibbles):
        assert steps.rows is not None
        raise_for(_multiply_nibbles(packed, steps, _quantized(steps.rows, x, residual, out)))
        return
    if steps.rows is None:
        a = Operand(as_elements(x, packed.element, "x")[0], packed.element)
        block = _Block(a, None, None, None, residual, out)
    else:
        block = _quantized(steps.rows, x, residual, out)
    error = _multiply(steps.op, block.a.array, packed, _layer(steps, block))
    if error == -errno.E2BIG:  # K is too deep to be done with in one go
        _multiply_first(steps.op, packed, steps, block)
    else:
        raise_for(error)


def _quantized(rows: Rows, x: Array, residual: Array | None, out: Array) -> _Block:
    m, k = x.shape
    q = empty((m, _padded(k)), np.dtype(rows.element.value))
    scale, zero, total = np.empty(m, np.float32), np.empty(m, np.int32), np.empty(m, np.int32)
    on = {
        "x": address(x), "x_row": x.strides[0], "x_type": TYPES[x.dtype], "rows": m, "k": k,
        "q_type": rows.type, "given_scale": rows.scale, "given_zero": rows.zero,
        "q": address(q), "q_row": q.shape[1], "q_bytes": q.shape[1],
        "scale": _floats(scale), "zero": _integers(zero), "sum": _integers(total),
    }  # fmt: skip
    lib.amx_gemm_layer_rows(threads.limit, ffi.new("struct layer_rows *", on))
    return _Block(Operand(q[:, :k], rows.element), scale, zero, total, residual, out)


def _multiply(op: int, a: Array, packed: Packed, layer: CData) -> int:
    """The product and what follows it, in one call of C; its error."""
    (m, k), row, settled = a.shape, a.strides[0], False
    while True:
        engine = engine_for(op, settled=settled)
        error = lib.amx_gemm_layer(engine, op, threads.limit, m, k, address(a), row, packed._handle, layer)
        if error != -errno.ECANCELED:  # tiles went away after the engine was looked up
            return error
        settled = True


def _multiply_nibbles(packed: PackedNibbles, steps: Steps, block: _Block) -> int:
    """The same with weights of 4 bits. Where there are tiles, too, vector registers multiply these."""
    array, is_unsigned = block.a.array, block.a.element is Element.UINT8
    return lib.amx_nibbles_layer(
        engine_for(steps.op), threads.limit, len(array), is_unsigned, address(array), array.strides[0],
        packed._handle, _layer(steps, block),
    )  # fmt: skip


def _multiply_first(op: int, packed: Packed, steps: Steps, block: _Block) -> None:
    """The product, then what follows it: where K is so deep that sums rest in memory meanwhile."""
    n = packed.shape[1]
    for rows in ranges(len(block.out), _rows_of(4 * n)):
        some = block.part(rows)
        c = empty((len(some.out), n), RESULTS[op])
        multiply(op, some.a, packed, c)
        layer = _layer(steps, some)
        layer.c, layer.c_row, layer.rows = address(c), c.strides[0], len(c)
        lib.layer_finish(layer)


def _layer(steps: Steps, block: _Block) -> CData:
    """A struct layer_block, which points into the arrays of both."""
    has_row_zeros = steps.sum is not None or isinstance(steps.packed, PackedNibbles)
    layer = ffi.new("struct layer_block *", steps.call.block)
    layer.row_scale = _floats(block.scale)
    layer.row_zero = _integers(block.zero if has_row_zeros else None)
    layer.row_sum = _integers(None if steps.zero is None else block.sum)
    layer.out, layer.out_row = address(block.out), block.out.strides[0]
    if block.residual is not None:
        layer.residual, layer.residual_row = address(block.residual), block.residual.strides[0]
        layer.residual_type = TYPES[block.residual.dtype]
    return layer


def _floats(array: Array | None) -> CData:
    return ffi.NULL if array is None else ffi.from_buffer("float[]", array)


def _integers(array: Array | None) -> CData:
    return ffi.NULL if array is None else ffi.from_buffer("int32_t[]", array)
