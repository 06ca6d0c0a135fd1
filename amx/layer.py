"""Linear layers, `amx.Linear` and `amx.linear`: products and what surrounds them, as of docs/numerics.md."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NoReturn, cast, final

import numpy as np

from amx import errors
from amx.arrays import Array
from amx.dlpack import BFLOAT16
from amx.dtypes import Element, dtype_of, empty, tdp
from amx.float_environment import as_after_reset
from amx.foreign_objects import described
from amx.layer_call import Call, CalledWith, matrices, read, refuse_not_finite
from amx.layer_options import Given, Weights, bias_of, element_of_layer
from amx.layer_parts import Options, steps_from
from amx.layer_steps import TYPES, Steps, compute, compute_at_once
from amx.operands import Operand
from amx.packing import Packed
from amx.parts import multiply
from amx.quantized import Quantized
from amx.tensors import like, written

__all__ = ["Linear", "linear", "steps_of"]

_ndarray = np.ndarray


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
        options = Options.of(element_of_layer(dtype), activation, activations, out_dtype)
        self._fill(Weights.of(weight, options.element), bias, options)

    def _fill(self, weights: Weights, bias: object, options: Options) -> None:
        k, n = weights.packed.shape
        own_bias = bias_of(bias, n)
        fields: dict[str, Any] = {
            "_weights": weights,
            "_bias": own_bias,
            "_activation": options.activation,
            "_rows": options.rows,
            "_result": options.result,
            "_steps": steps_from(weights, own_bias, options),
            "_called_with": options.called_with(k, n),
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


@as_after_reset
def linear(
    x: object,
    packed: Packed,
    bias: object = None,
    *,
    scale: object = None,
    zero_point: object = None,
    activation: str | None = None,
    activations: object = "dynamic",
    out_dtype: object = "float32",
    residual: object = None,
    out: object = None,
) -> Any:
    """What an `amx.Linear` computes, of weights that are packed already: they are not copied.

    A `Linear` looks once at what this looks at in every call, and takes some 0.1 ms less for each.

    Parameters
    ----------
    x, residual, out: as of a call of `amx.Linear`.
    packed: (K, N), as `amx.pack(weight.T)` makes it; of int8, uint8, bfloat16 or float16.
    bias, activation, activations, out_dtype: as of `amx.Linear`.
    scale: of 8-bit weights, and only these: float32 or other floats, one or (N,).
    zero_point: the same, integers; None: 0.

    Returns
    -------
    (..., N), as `amx.Linear` does.

    Raises
    ------
    DtypeError: `packed` is not packed, or an array is of another type.
    ShapeError: `packed` is no matrix, or an array does not fit it.
    QuantizationError: a scale that is missing, not wanted or out of range, or such a zero point.
    What `amx.Linear` raises.

    Examples
    --------
    >>> import numpy as np
    >>> packed = amx.pack(np.array([[1, -2], [3, 4]], np.int8))
    >>> amx.linear(np.array([[0, 255]], np.float32), packed, scale=0.5)
    array([[382.5, 510. ]], dtype=float32)
    """
    if not isinstance(packed, Packed):
        raise errors.DtypeError(
            f"packed is {described(packed)}",
            cause="These are weights that amx.pack has packed",
            remedy="Pass amx.pack(weight.T), or make an amx.Linear(weight)",
        )
    in_integers = packed.element.size == 1
    element = Element.INT8 if in_integers else packed.element
    options = Options.of(element, activation, activations, out_dtype)
    weights = Weights.over(packed, scale, zero_point)
    if in_integers and options.needs_sums:
        weights = replace(weights, sum=_sums(packed))
    layer = object.__new__(Linear)
    layer._fill(weights, bias, options)
    return layer(x, residual, out)


def _sums(packed: Packed) -> Array:
    """int32 (N,), modulo 2**32: of each column, which is a product with ones; taken once."""
    if packed._sums is None:
        k, n = packed.shape
        op = tdp(Element.UINT8, packed.element)
        assert op is not None
        found = np.empty((1, n), np.int32)
        multiply(op, Operand(np.ones((1, k), np.uint8), Element.UINT8), packed, found)
        object.__setattr__(packed, "_sums", found[0])
    assert packed._sums is not None
    return packed._sums


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


def _of_the_kind_of(x: object, result: Array, name: str) -> Any:
    if name != "bfloat16":
        return like((x,), result)
    named = result.view(BFLOAT16)
    made = like((x,), named)
    return result.view(dtype_of(Element.BFLOAT16)) if made is named else made
