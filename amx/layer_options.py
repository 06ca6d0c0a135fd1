"""What a layer is made with: weights, bias, and how rows and results are rounded; each read, or refused."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from amx import errors
from amx._lib import lib
from amx.arrays import Array, as_array
from amx.dlpack import BFLOAT16
from amx.dtypes import Element, bits, element_of, parse
from amx.nibbles import PackedNibbles
from amx.packing import Packed, packed_as
from amx.quantization import quantize
from amx.quantized import Quantized, anew, as_float32, form_of, refuse_first

__all__ = [
    "FLOATS",
    "Given",
    "Weights",
    "activation_of",
    "bias_of",
    "element_of_layer",
    "finite_of",
    "rounding_of",
    "rows_of",
]

FLOATS = ("float32", "bfloat16", "float16")
_ACTIVATIONS = {
    None: lib.LAYER_NO_ACTIVATION,
    "relu": lib.LAYER_RELU,
    "gelu": lib.LAYER_GELU,
    "gelu_tanh": lib.LAYER_GELU_TANH,
    "silu": lib.LAYER_SILU,
}
_SHORT = {"bf16": "bfloat16", "fp16": "float16"}
_DYNAMIC = ("dynamic", "dynamic-symmetric")
_BEYOND = 2**128  # what float32 stays below
_SMALLEST = np.float32(2.0**-126)


@dataclass(frozen=True, slots=True)
class Given:
    """One scale and zero point for all numbers, of int8 or uint8."""

    scale: float
    zero_point: int
    dtype: str


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights (K, N), packed.

    Attributes
    ----------
    packed: of int8, uint8, bfloat16 or float16, or of 4 bits, with scales and zero points.
    scale, zero_point: of 8 bits, as of `Quantized`: one, or (N,); None of others.
    sum: of 8 bits, int32 (N,), of each column's numbers, modulo 2**32.
    farthest: the largest distance of a number from its zero point.
    """

    packed: Packed | PackedNibbles
    scale: Array | None = None
    zero_point: Array | None = None
    sum: Array | None = None
    farthest: int = 0

    @classmethod
    def quantized(cls, weight: Quantized) -> Weights:
        """Of 8 or 4 bits, (N, K).

        Raises
        ------
        ShapeError: they are no matrix, or of 8 bits with scales along K, or of 4 with other groups than
            there are sums of.
        """
        _check_matrix(weight.shape)
        if weight.dtype == "uint4":
            return cls(PackedNibbles(weight))
        if weight.group is not None or weight.axis == 1:
            along = f"group={weight.group}" if weight.group is not None else "axis=1"
            raise errors.ShapeError(
                f"weight is Quantized with {along}",
                cause="A sum over K is an integer only where all of K has one scale",
                remedy="Quantise with axis=0, such as amx.quantize(weight.dequantize(), axis=0)",
            )
        values, zero = weight.values, weight.zero_point
        farthest = 0
        if values.size:
            beside = zero[:, np.newaxis] if zero.ndim else zero
            low, high = (each(values, axis=1, keepdims=True).astype(np.int64) for each in (np.min, np.max))
            farthest = int(max((high - beside).max(), (beside - low).max(), 0))
        total = values.sum(axis=1, dtype=np.int32)
        return cls(packed_as(Packed, values.T, None), weight.scale, zero, total, farthest)

    @classmethod
    def of(cls, weight: object, element: Element) -> Weights:
        """What floats (N, K) are rounded to, or a `Quantized`.

        Raises
        ------
        DtypeError, ShapeError: what is documented of `amx.Linear`.
        QuantizationError: numbers that are not finite, where they are quantised.
        """
        if isinstance(weight, Quantized):
            if element is not Element.INT8:
                raise errors.DtypeError(
                    f"weight is Quantized, and dtype={element.value!r}",
                    cause="It has integers",
                    remedy="Leave dtype out, or pass its dequantize()",
                )
            return cls.quantized(anew(weight))
        given = as_array(weight, "weight")[...]
        _check_matrix(given.shape)
        if element is not Element.INT8:
            of_bits = element is Element.BFLOAT16 and given.dtype == np.uint16
            if not of_bits and element_of(given.dtype) is not element:
                given = as_float32(given, "weight")
            return cls(packed_as(Packed, given.T, element))
        return cls.quantized(quantize(finite_of(given), axis=0))

    @classmethod
    def over(cls, packed: Packed, scale: object, zero_point: object) -> Weights:
        """A packed matrix (K, N) as it is, whose sums nobody has taken.

        Raises
        ------
        ShapeError: it is no matrix, or there are other numbers of scales and zero points.
        DtypeError, QuantizationError: scales and zero points that are none, or missing, or not wanted.
        """
        if packed.ndim != 2:
            raise errors.ShapeError(
                f"packed has shape {packed.shape}",
                cause="a layer's packed weights are a matrix (K, N): inputs, outputs",
                remedy="pack one matrix",
            )
        kind = packed.element.value
        if packed.element.size > 1:
            if scale is not None or zero_point is not None:
                raise errors.QuantizationError(
                    f"{'zero_point' if scale is None else 'scale'} with packed weights of {kind}",
                    cause="only integers have scales and zero points",
                    remedy="leave it out",
                )
            return cls(packed)
        if scale is None:
            raise errors.QuantizationError(
                f"scale is missing, with packed weights of {kind}",
                cause="integers have no scale by themselves",
                remedy="pass that of the Quantized whose values were packed",
            )
        of_each = as_array(scale, "scale")[...]
        stand_in = np.zeros((packed.shape[1], 1), kind)
        zero = 0 if zero_point is None else zero_point
        told = Quantized(stand_in, of_each, zero, axis=0 if of_each.ndim else None)
        form = np.iinfo(kind)
        low, high = (int(each(told.zero_point, initial=0)) for each in (np.min, np.max))
        return cls(packed, told.scale, told.zero_point, farthest=max(form.max - low, high - form.min))

    @property
    def dtype(self) -> str:
        """Of a number."""
        return "uint4" if isinstance(self.packed, PackedNibbles) else self.packed.element.value

    def unpack(self) -> Quantized | Array:
        """(N, K) again: a `Quantized`, or an array of the 16-bit type; bfloat16 as its bits."""
        if isinstance(self.packed, PackedNibbles):
            return self.packed.unpack()
        values = np.ascontiguousarray(bits(self.packed.unpack(), self.packed.element).T)
        if self.scale is None or self.zero_point is None:
            return values
        return Quantized(values, self.scale, self.zero_point, None if self.scale.ndim == 0 else 0)

    def real(self) -> Quantized | Array:
        """The same, in float32 where it is an array."""
        found = self.unpack()
        if isinstance(found, Quantized):
            return found
        return as_float32(found.view(BFLOAT16) if found.dtype == np.uint16 else found, "weight")


def finite_of(weight: object) -> Array:
    """float32 (N, K), to be quantised.

    Raises
    ------
    DtypeError, ShapeError, QuantizationError: as of `Weights.of`.
    """
    given = as_array(weight, "weight")[...]
    _check_matrix(given.shape)
    if given.dtype.kind in "iu" and given.dtype.itemsize == 1:
        raise errors.DtypeError(
            f"weight is an array of {given.dtype}",
            cause="Integers have no scale by themselves",
            remedy="Pass amx.Quantized(weight, scale, zero_point, axis=0)",
        )
    array = as_float32(given, "weight")
    cause = "numbers that are not finite in float32 have no scale"
    refuse_first(~np.isfinite(array), given, "weight", cause, "look where they come from")
    return array


def _check_matrix(shape: tuple[int, ...]) -> None:
    if len(shape) != 2:
        raise errors.ShapeError(
            f"weight has shape {shape}",
            cause="a layer's weights are a matrix (N, K): outputs, inputs",
            remedy="reshape it",
        )


def bias_of(bias: object, n: int) -> Array | None:
    """float32 (N,), a copy that nobody can write or resize."""
    if bias is None:
        return None
    given = as_array(bias, "bias")[...]
    array = as_float32(given, "bias")
    if array.shape != (n,):
        raise errors.ShapeError(
            f"bias has shape {array.shape}",
            cause=f"weight has {n} rows, one for each output, and a bias for each is ({n},)",
            remedy="pass the bias of this layer, or None",
        )
    return np.frombuffer(array.tobytes(), np.float32)


def element_of_layer(dtype: object) -> Element:
    """What rows are multiplied by: INT8, which stands for integers of 8 bits, or a 16-bit float."""
    try:
        element = parse(dtype)
    except errors.DtypeError:
        element = Element.UINT8
    if element is Element.UINT8:
        four = str(dtype) in ("int4", "uint4")
        raise errors.DtypeError(
            f"dtype={dtype!r}",
            cause="Weights are rounded to int8, bfloat16 or float16",
            remedy='For 4 bits pass amx.quantize(weight, "uint4", group=32, symmetric=False)'
            if four
            else "Name one of int8, bfloat16, float16; others are passed as amx.Quantized",
        )
    return element


def activation_of(name: object) -> int:
    """By its number in csrc/layer/layer.h."""
    known = _ACTIVATIONS.get(name) if name is None or isinstance(name, str) else None
    if known is None:
        raise errors.LayerError(
            f"activation={name!r}",
            cause="It is none that a layer has",
            remedy=f"Name one of {', '.join(filter(None, _ACTIVATIONS))}, or None",
        )
    return int(known)


def rows_of(activations: object) -> Given | str:
    """How rows are quantised: by one scale, or by the name of how each finds its own."""
    if isinstance(activations, str):
        if activations in _DYNAMIC:
            return activations
    elif isinstance(activations, Quantized | tuple):
        return _given(activations, "activations")
    raise errors.LayerError(
        f"activations={activations!r}",
        cause="It says how rows are quantised",
        remedy=f"Name {' or '.join(map(repr, _DYNAMIC))}, or pass (scale, zero_point, dtype)",
    )


def rounding_of(out_dtype: object) -> Given | str:
    """What results are: integers of one scale, or floats by their name."""
    if isinstance(out_dtype, Quantized | tuple):
        return _given(out_dtype, "out_dtype")
    try:
        name = out_dtype if isinstance(out_dtype, str) else np.dtype(out_dtype).name  # type: ignore[call-overload]
    except Exception:  # no dtype at all, whatever a foreign object raises
        name = ""
    name = _SHORT.get(name, name)
    if out_dtype is not None and name in FLOATS:
        return str(name)
    integers = name in ("int8", "uint8")
    raise errors.DtypeError(
        f"out_dtype={out_dtype!r}",
        cause=f"{name} has no scale by itself"
        if integers
        else f"Results are {', '.join(FLOATS)}, int8 or uint8",
        remedy=f'Pass (scale, zero_point, "{name}")'
        if integers
        else 'Name one of these floats, or pass (scale, zero_point, "int8")',
    )


def _given(source: Quantized | tuple[object, ...], name: str) -> Given:
    """What a `Quantized` has for all of its values, or what is given for them."""
    if isinstance(source, tuple):
        if len(source) != 3:
            raise errors.LayerError(
                f"{name} is a tuple of {len(source)}",
                cause="It has a scale, a zero point and a type",
                remedy='Pass (scale, zero_point, "uint8"), or an amx.Quantized with one scale',
            )
        scale, zero_point, dtype = source
        try:
            kind, form = form_of(dtype)
            if isinstance(scale, int):
                scale = float(scale) if abs(scale) < _BEYOND else math.inf
            source = Quantized(np.zeros((), form.carrier), scale, zero_point, dtype=kind)
        except (errors.DtypeError, errors.ShapeError, errors.QuantizationError) as error:
            raise type(error)(f"{name}: {error.what}", cause=error.cause, remedy=error.remedy) from None
    else:
        source = anew(source)
    if source.dtype == "uint4" or source.scale.shape != ():
        raise errors.QuantizationError(
            f"{name} is of {source.dtype} with scales of shape {source.scale.shape}",
            cause="it is one scale and zero point for all numbers, of int8 or uint8",
            remedy='pass (scale, zero_point, "uint8"), or what amx.quantize() gives without axis and group',
        )
    if source.scale < _SMALLEST:
        raise errors.QuantizationError(
            f"{name}: scale is {source.scale}",
            cause="the inverse of a scale below 2**-126 may be infinite",
            remedy="pass 2**-126 instead",
        )
    return Given(float(source.scale), int(source.zero_point), source.dtype)
