"""What a layer is put together from: its options, and weights, bias and options made its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from amx import errors
from amx._lib import lib
from amx.arrays import Array
from amx.dtypes import Element
from amx.layer_call import CalledWith, refuse_not_finite
from amx.layer_options import Given, Weights, activation_of, rounding_of, rows_of
from amx.layer_steps import Rounding, Rows, Steps
from amx.quantized import Quantized

__all__ = ["Options", "rounding_as", "rows_as", "steps_from"]

_MOST = 2**31  # what sums stay below
_RANGES = {"int8": (-128, 127), "uint8": (0, 255)}
_TYPES = {
    "float32": lib.LAYER_FLOAT32,
    "bfloat16": lib.LAYER_BFLOAT16,
    "float16": lib.LAYER_FLOAT16,
    "uint8": lib.LAYER_UINT8,
    "int8": lib.LAYER_INT8,
}


@dataclass(frozen=True, slots=True)
class Options:
    """How a layer computes: `activation`, `rows` and `result` as `amx.Linear` has them, read.

    `element` is what rows are multiplied as, INT8 for integers of 8 bits.
    """

    element: Element
    activation: str | None
    rows: Given | str
    result: Given | str

    @classmethod
    def of(cls, element: Element, activation: str | None, activations: object, out_dtype: object) -> Options:
        """Of what `amx.Linear` is given, or the error that it documents."""
        activation_of(activation)
        rows, result = rows_of(activations), rounding_of(out_dtype)
        if element is not Element.INT8 and rows != "dynamic":
            raise errors.LayerError(
                f"activations={activations!r} with dtype={element.value!r}",
                cause="Rows are quantised in 8 bits only",
                remedy='Leave it out, or pass dtype="int8"',
            )
        return cls(element, activation, rows, result)

    def called_with(self, k: int, n: int) -> CalledWith:
        """What calls of a layer (K, N) have to be of."""
        result = self.result.dtype if isinstance(self.result, Given) else self.result
        return CalledWith(k, n, None if self.element is Element.INT8 else self.element, result)

    @property
    def needs_sums(self) -> bool:
        """Of weights: rows have zero points."""
        return self.rows != "dynamic-symmetric"


def steps_from(weights: Weights, bias: Array | None, options: Options) -> Steps:
    """What belongs to every row, or the error where sums could leave int32 or integers be NaN."""
    k, n = weights.packed.shape
    in_integers = options.element is Element.INT8
    if in_integers and weights.scale is not None:
        _check_k(k, options.rows, weights.farthest)
    if isinstance(options.result, Given):
        _check_finite(weights, bias)
    return Steps(
        packed=weights.packed,
        rows=rows_as(options.rows) if in_integers else None,
        scale=_each(weights.scale, n, np.float32),
        zero=_each(weights.zero_point, n, np.int32, if_any=True),
        sum=_each(weights.sum, n, np.int32) if options.needs_sums else None,
        bias=bias,
        activation=activation_of(options.activation),
        rounding=rounding_as(options.result),
    )


def rows_as(activations: Given | str) -> Rows:
    """How rows of 8 bits are quantised."""
    if isinstance(activations, Given):
        kind = activations.dtype
        return Rows(_TYPES[kind], Element(kind), activations.scale, activations.zero_point)
    if activations == "dynamic":
        return Rows(lib.LAYER_UINT8, Element.UINT8)
    return Rows(lib.LAYER_INT8_SYMMETRIC, Element.INT8)


def rounding_as(result: Given | str) -> Rounding:
    """What results are rounded to."""
    if isinstance(result, Given):
        return Rounding(_TYPES[result.dtype], result.scale, result.zero_point)
    return Rounding(_TYPES[result])


def _check_k(k: int, activations: Given | str, of_weights: int) -> None:
    """Sums are exact: K times the farthest that rows and weights are from their zero points is an int32."""
    of_rows = 127 if activations == "dynamic-symmetric" else 255
    if isinstance(activations, Given):
        low, high = _RANGES[activations.dtype]
        of_rows = max(high - activations.zero_point, activations.zero_point - low)
    if k * of_rows * of_weights >= _MOST:
        most = (_MOST - 1) // (of_rows * of_weights)
        raise errors.LayerError(
            f"weight has K = {k}",
            cause=f"a sum of {k} products of up to {of_rows} * {of_weights} could leave int32",
            remedy=f"make layers of up to {most} columns, the results of each the residual of the next, "
            'or pass dtype="bfloat16"',
        )


def _check_finite(weights: Weights, bias: Array | None) -> None:
    """Where results are integers, nothing of the layer may make them NaN."""
    own = weights.unpack() if weights.scale is None else None
    if not isinstance(own, Quantized):
        refuse_not_finite(own, "weight")
    if bias is not None and not np.isfinite(bias).all():
        raise errors.QuantizationError(
            f"bias[{int(np.isfinite(bias).argmin())}] is {bias[np.isfinite(bias).argmin()]}",
            cause="results are integers, which no NaN and no infinity can be",
            remedy='look where it comes from, or pass out_dtype="float32"',
        )


def _each(array: Array | None, n: int, dtype: Any, *, if_any: bool = False) -> Array | None:
    """(N,) of what there is one of, or N; None where all are 0 and that says nothing."""
    if array is None or (if_any and not array.any()):
        return None
    return np.ascontiguousarray(np.broadcast_to(array, (n,)), dtype)
