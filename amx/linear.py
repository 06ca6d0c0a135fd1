"""A linear layer, `amx.Linear`: a product with what surrounds it, as docs/numerics.md (Layers) defines it."""

from __future__ import annotations

from typing import Any, NoReturn, cast, final

import numpy as np

from amx import errors
from amx._lib import lib
from amx.arrays import Array
from amx.dlpack import BFLOAT16
from amx.dtypes import Element, dtype_of, empty
from amx.float_environment import as_after_reset
from amx.layer_call import Call, CalledWith, matrices, read, refuse_not_finite
from amx.layer_options import (
    Given,
    Weights,
    activation_of,
    bias_of,
    element_of_layer,
    rounding_of,
    rows_of,
)
from amx.layer_steps import TYPES, Rounding, Rows, Steps, compute, compute_at_once
from amx.quantized import Quantized
from amx.tensors import like, written

__all__ = ["Linear", "rounding_as", "rows_as", "steps_of"]

_ndarray = np.ndarray
_MOST = 2**31  # what sums stay below
_RANGES = {"int8": (-128, 127), "uint8": (0, 255)}
_TYPES = {
    "float32": lib.LAYER_FLOAT32,
    "bfloat16": lib.LAYER_BFLOAT16,
    "float16": lib.LAYER_FLOAT16,
    "uint8": lib.LAYER_UINT8,
    "int8": lib.LAYER_INT8,
}


@final
class Linear:
    """A linear layer: `activation(x @ weight.T + bias + residual)` in 4, 8 or 16 bits, as `torch.nn.Linear`.

    In 8 bits rows of x are quantised, products and their sums are exact integers, and scales make float32 of
    these; in 4 bits the same for each group of weights, and what these give is added up in float32; in 16
    bits rows are rounded, and sums are float32. What follows is float32 in one order of operations
    (docs/numerics.md, Layers): the same bits on every backend, with any number of threads.
    Immutable; may be shared by threads and pickled.

    Parameters
    ----------
    weight: array (N, K) of float16, bfloat16, float32 or float64, of the kinds that `amx.matmul` reads; or a
        `Quantized` (N, K) of int8 or uint8 with one scale or `axis=0`, or of uint4, then also with groups of
        a multiple of 32. It is copied. In int8 floats are quantised as by `amx.quantize(weight, axis=0)`.
    bias: (N,) of these floats, or None.
    dtype: "int8" (which stands for integers of 8 or 4 bits), "bfloat16" or "float16". In bfloat16, uint16 is
        read as its bits, of `weight` and in calls.
    activation: None, "relu", "gelu" (by erf), "gelu_tanh" or "silu".
    activations: how rows of x are quantised, beside weights of integers only. "dynamic": each to uint8 by a
        scale and zero point of its own. "dynamic-symmetric": each to int8 by a scale of its own. `(scale,
        zero_point, dtype)`, or a `Quantized` with one scale, such as `amx.quantize(sample, "uint8",
        symmetric=False)`: all by these, and what is beyond the type becomes its ends.
    out_dtype: "float32", "bfloat16" or "float16"; or `(scale, zero_point, dtype)`, or a `Quantized` with one
        scale, for results of int8 or uint8.

    Raises
    ------
    DtypeError: other types of weight or bias, or names of other types.
    ShapeError: `weight` is no matrix, or has scales along K that its sums cannot have; `bias` is not (N,).
    QuantizationError: weights to be quantised that are not finite; a scale or zero point that is out of
        range; where results are integers, weights or bias with a NaN or an infinity.
    LayerError: an unknown activation; or so large a K that sums could leave int32.

    Examples
    --------
    >>> import numpy as np
    >>> layer = amx.Linear(np.eye(2, 3, dtype=np.float32), [1.0, -9.0], activation="relu")
    >>> layer(np.array([[0, 255, 255]], np.float32))
    array([[1.   , 246. ]], dtype=float32)
    """

    __slots__ = (
        "__weakref__",
        "_activation",
        "_bias",
        "_called_with",
        "_known",
        "_result",
        "_rows",
        "_steps",
        "_weights",
    )
    _weights: Weights
    _bias: Array | None
    _activation: str | None
    _rows: Given | str
    _result: Given | str
    _steps: Steps
    _called_with: CalledWith
    # By dtypes of x, residual and out that it has been called with: what layer.h calls the first two. Of
    # NumPy's own arrays.
    _known: dict[tuple[Any, Any, Any], tuple[int, int]]

    @as_after_reset
    def __init__(
        self,
        weight: object,
        bias: object = None,
        *,
        dtype: object = "int8",
        activation: str | None = None,
        activations: object = "dynamic",
        out_dtype: object = "float32",
    ) -> None:
        if hasattr(self, "_steps"):
            raise AttributeError("a Linear is immutable: make another one")
        element = element_of_layer(dtype)
        number, given_rows, result = activation_of(activation), rows_of(activations), rounding_of(out_dtype)
        in_integers = element is Element.INT8
        if not in_integers and given_rows != "dynamic":
            raise errors.LayerError(
                f"activations={activations!r} with dtype={element.value!r}",
                cause="Rows are quantised in 8 bits only",
                remedy='Leave it out, or pass dtype="int8"',
            )
        weights = Weights.of(weight, element)
        k, n = weights.packed.shape
        own_bias = bias_of(bias, n)
        rows = rows_as(given_rows) if in_integers else None
        if rows is not None and weights.sum is not None:
            _check_k(k, given_rows, weights.farthest)
        if isinstance(result, Given):
            _check_finite(weights, own_bias)
        fields: dict[str, Any] = {
            "_weights": weights,
            "_bias": own_bias,
            "_activation": activation,
            "_rows": given_rows,
            "_result": result,
            "_steps": Steps(
                packed=weights.packed,
                rows=rows,
                scale=_each(weights.scale, n, np.float32),
                zero=_each(weights.zero_point, n, np.int32, if_any=True),
                sum=None if given_rows == "dynamic-symmetric" else _each(weights.sum, n, np.int32),
                bias=own_bias,
                activation=number,
                rounding=rounding_as(result),
            ),
            "_called_with": CalledWith(
                k, n, None if in_integers else element, result.dtype if isinstance(result, Given) else result
            ),
            "_known": {},
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __call__(self, x: object, residual: object = None, out: object = None) -> Any:
        """The layer's results for rows of x.

        Parameters
        ----------
        x: array (..., K) of float32, bfloat16 or float16, of the kinds that `amx.matmul` reads; in a layer of
            16 bits of float32, which is rounded to nearest even, or of the layer's type. Any strides. Where
            elements of a row are adjacent it is read where it lies.
        residual: (..., N) of float32, bfloat16 or float16, which is added before the activation.
        out: array (..., N) of the results' type to write into and return. Any strides; it may overlap x or
            residual, and then takes the size of the result besides.

        Returns
        -------
        (..., N) of `out_dtype`. It is `out`, if given; else a new array of x's kind: of torch, JAX or NumPy.
        A row of x with a NaN or an infinity has NaN for results, where it is quantised.

        Raises
        ------
        DtypeError: elements of other types, or `out` of another type than the results; tensors that
            `amx.matmul` refuses.
        ShapeError: another K, or `residual` or `out` of another shape than the result.
        BufferReadOnlyError: `out` cannot be written.
        QuantizationError: results are integers, and a row of x or residual has a NaN or an infinity.
        AllocationError, AmxUnavailableError, KeyboardInterrupt: as of `amx.matmul`.

        Notes
        -----
        Other Python threads run meanwhile: none of them may resize or reshape these arrays in place.
        """
        if type(x) is _ndarray and (done := self._at_once(x, residual, out)) is not None:
            return done
        call = read(x, residual, out, self._called_with)
        if isinstance(self._result, Given):
            refuse_not_finite(call.x, "x")
            refuse_not_finite(call.residual, "residual")
        result = call.out if call.is_direct else empty(call.shape, self._called_with.carrier)
        assert result is not None
        for rows, added, into in matrices(call.x, call.residual, result):
            assert rows is not None
            assert into is not None
            compute(self._steps, rows, added, into)
        self._remember(x, residual, out, call)
        if call.out is None:
            return _of_the_kind_of(x, result, self._called_with.result)
        if result is not call.out:
            call.out[...] = result
        written(out)
        return out

    def _at_once(self, x: Array, residual: object, out: object) -> Array | None:
        """The results, where all are arrays that C takes as they are; else None, and nothing is done."""
        types = self._known.get(_dtypes(x, residual, out))
        if types is None:
            return None
        if isinstance(self._result, Given) and (self._steps.rows is None or residual is not None):
            return None  # who looks for NaN in what becomes integers is not C
        result: Any = out
        if out is None:
            try:
                result = empty((*x.shape[:-1], self._called_with.n), self._called_with.carrier)
            except MemoryError:  # which stands, unless the operands do not fit
                return None
        added: Any = residual
        if not compute_at_once(self._steps, x, types[0], added, types[1], result):
            return None
        if out is None and self._called_with.result == "bfloat16":
            result = result.view(dtype_of(Element.BFLOAT16))
        return cast("Array", result)

    def _remember(self, x: object, residual: object, out: object, call: Call) -> None:
        """These dtypes of NumPy's own arrays, which the layer takes."""
        given = [each for each in (x, residual, out) if each is not None]
        if all(type(each) is _ndarray and each.dtype.isnative for each in given):
            residual_type = TYPES[(call.x if call.residual is None else call.residual).dtype]
            self._known[_dtypes(x, residual, out)] = TYPES[call.x.dtype], residual_type

    @property
    def in_features(self) -> int:
        """K."""
        return self._called_with.k

    @property
    def out_features(self) -> int:
        """N."""
        return self._called_with.n

    @property
    def dtype(self) -> str:
        """Of the weights: int8, uint8, uint4, bfloat16 or float16."""
        return self._weights.dtype

    @property
    def weight(self) -> Quantized | Array:
        """(N, K): of 8 or 4 bits a `Quantized`, of 16 a float32 array; new each time."""
        return self._weights.real()

    @property
    def bias(self) -> Array | None:
        """float32 (N,), read-only, or None."""
        return None if self._bias is None else self._bias[...]

    @property
    def activation(self) -> str | None:
        """Its name."""
        return self._activation

    @property
    def activations(self) -> str | tuple[float, int, str] | None:
        """How rows are quantised, as it is given; None in 16 bits."""
        return None if self._steps.rows is None else _as_given(self._rows)

    @property
    def out_dtype(self) -> str | tuple[float, int, str]:
        """Of results, as it is given."""
        return _as_given(self._result)

    @property
    def nbytes(self) -> int:
        """Bytes of weights, scales and bias."""
        own = (self._steps.scale, self._steps.zero, self._steps.sum, self._bias)
        return self._steps.packed.nbytes + sum(each.nbytes for each in own if each is not None)

    def __repr__(self) -> str:
        facts = {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bias": self._bias is not None,
            "dtype": self.dtype,
            "activation": self.activation,
            "activations": self.activations,
            "out_dtype": self.out_dtype,
            "nbytes": self.nbytes,
        }
        return f"Linear({', '.join(f'{name}={fact}' for name, fact in facts.items() if fact is not None)})"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Linear is immutable: {name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Linear is immutable: {name} cannot be deleted")

    def __copy__(self) -> Linear:
        return self

    def __deepcopy__(self, memo: object) -> Linear:
        return self

    def __reduce__(self) -> tuple[Any, ...]:  # through the constructor, which validates and packs
        in_integers = self._steps.rows is not None
        options = {
            "dtype": "int8" if in_integers else self.dtype,
            "activation": self._activation,
            "activations": _as_given(self._rows),
            "out_dtype": _as_given(self._result),
        }
        return _made, (self._weights.unpack(), self._bias, options)


def _made(weight: object, bias: object, options: dict[str, Any]) -> Linear:
    return Linear(weight, bias, **options)


def _as_given(what: Given | str) -> str | tuple[float, int, str]:
    return what if isinstance(what, str) else (what.scale, what.zero_point, what.dtype)


def _dtypes(*arrays: Any) -> tuple[Any, ...]:
    """Of what is not of NumPy's own class its class: None, and what is never known."""
    x, residual, out = arrays
    return (
        x.dtype if type(x) is _ndarray else type(x),
        residual.dtype if type(residual) is _ndarray else type(residual),
        out.dtype if type(out) is _ndarray else type(out),
    )


def steps_of(layer: Linear) -> Steps:
    """What it computes with."""
    return layer._steps


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


def _of_the_kind_of(x: object, result: Array, name: str) -> Any:
    if name != "bfloat16":
        return like((x,), result)
    named = result.view(BFLOAT16)
    made = like((x,), named)
    return result.view(dtype_of(Element.BFLOAT16)) if made is named else made
