"""What torch's compiler and exporter know of this package: the operators `amx::linear` and `amx::matmul`.

All that `amx::linear` computes with are its arguments: numbers, words, and tensors, one of them the memory of
packed weights itself. It keeps nothing between calls, neither a table of layers nor a cache. What is
multiplied is therefore what a module's buffers hold, whoever wrote, copied, stored, loaded or forked them, in
whatever thread; and a graph with its tensors is complete in another process too. The price is that programs
which store these tensors store the layout of packed weights, so its number, `LAYOUT`, is an argument, and
another one is refused.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch

from amx import errors, gemm
from amx.arrays import as_array
from amx.dtypes import Element
from amx.layer_call import CalledWith, matrices, read
from amx.layer_options import Given, activation_of, rounding_of, rows_of
from amx.layer_parts import rounding_as, rows_as
from amx.layer_steps import Rounding, Rows, Steps, compute, compute_at_once
from amx.nibbles import PackedNibbles
from amx.packing import LAYOUT, Packed, packed_over

__all__ = ["linear", "matmul", "weights_in"]

_LINE = 64
_NIBBLES = "uint4"
_FLOATS = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}
_LINEAR = """(Tensor x, Tensor packed, Tensor? scale, Tensor? zero_point, Tensor? column_sum, Tensor? bias,
    Tensor? order, SymInt in_features, SymInt out_features, str element, str? activation, str rows,
    float row_scale, int row_zero_point, int layout) -> Tensor"""


@torch.library.custom_op("amx::linear", mutates_args=(), device_types="cpu", schema=_LINEAR)  # type: ignore[untyped-decorator]
def linear(
    x: torch.Tensor,
    packed: torch.Tensor,
    scale: torch.Tensor | None,
    zero_point: torch.Tensor | None,
    column_sum: torch.Tensor | None,
    bias: torch.Tensor | None,
    order: torch.Tensor | None,
    in_features: int,
    out_features: int,
    element: str,
    activation: str | None,
    rows: str,
    row_scale: float,
    row_zero_point: int,
    layout: int,
) -> torch.Tensor:
    """The operator `amx::linear`: what `amx.torch.Linear` computes of x, with its buffers.

    Parameters
    ----------
    x: (..., in_features) of float32, bfloat16 or float16, of which the results are too.
    packed: uint8, the memory of weights in this layout.
    scale, zero_point, column_sum: (out_features,) of float32, int32 and int32: of 8-bit weights, `zero_point`
        only where one is not 0, `column_sum` only where rows have zero points; else None. Those of 4 bits are
        in `packed`.
    bias: float32 (out_features,), or None.
    order: int64 (in_features,), of 4-bit weights: which column of x each of theirs is for; or None.
    element: of the weights: "int8", "uint8", "uint4", "bfloat16" or "float16".
    activation: as of `amx.Linear`.
    rows: how rows are quantised: "dynamic", "dynamic-symmetric", or "int8" or "uint8" with `row_scale` and
        `row_zero_point`; "" in 16 bits.

    Raises
    ------
    DtypeError, ShapeError: of x, as of `amx.Linear`; of other tensors that are not as said here.
    LayerError: another layout; words that are none of these, or do not belong together; x requires grad.
    """
    _refuse_tangents()
    k, n = in_features, out_features
    _check_layout(layout)
    result = _result_of(x, k)
    options = _options(k, n, element, activation, rows, row_scale, row_zero_point, result)
    has_scales = element in ("int8", "uint8")
    _check_presence("scale", scale, has_scales)
    _check_presence("column_sum", column_sum, has_scales and rows != "dynamic-symmetric")
    if not has_scales:
        _check_presence("zero_point", zero_point, False)
    if element != _NIBBLES:
        _check_presence("order", order, False)
    steps = Steps(
        packed=weights_in(packed, element, (k, n), order),
        rows=options.rows,
        scale=_plain(scale, "scale", torch.float32, n),
        zero=_plain(zero_point, "zero_point", torch.int32, n),
        sum=_plain(column_sum, "column_sum", torch.int32, n),
        bias=_plain(bias, "bias", torch.float32, n),
        activation=options.activation,
        rounding=options.rounding,
    )
    if x.requires_grad:
        x = x.detach()
    out = torch.empty((*x.shape[:-1], n), dtype=x.dtype, device="cpu")
    kind = options.rounding.type  # of results, and so of x
    if compute_at_once(steps, as_array(x, "x"), kind, None, 0, as_array(out, "out")):
        return out
    call = read(x, None, out, options.called_with)
    assert call.out is not None
    for part, _, into in matrices(call.x, None, call.out):
        assert part is not None
        assert into is not None
        compute(steps, part, None, into)
    return out


@linear.register_fake  # type: ignore[untyped-decorator]
def _linear_shape(x: torch.Tensor, *arguments: Any) -> torch.Tensor:
    in_features, out_features = arguments[6:8]
    for each in arguments[:6]:  # the meta device's tensors, if some are
        if each is not None and each.device.type != x.device.type:
            raise errors.LayerError(
                f"x is on {x.device}, and a tensor of the layer on {each.device}",
                cause="Those on the meta device have no elements",
                remedy="Load the layer's state_dict, or move x",
            )
    _result_of(x, in_features)
    return x.new_empty((*x.shape[:-1], out_features))


def weights_in(
    packed: torch.Tensor, element: str, shape: tuple[int, int], order: torch.Tensor | None
) -> Packed | PackedNibbles:
    """Packed weights (K, N) over a tensor's memory, whatever it has; of `element` there is one."""
    memory = _plain(packed, "packed", torch.uint8, packed.numel())
    if packed.data_ptr() % _LINE:  # as in a file that is mapped
        memory = _plain(packed.clone(), "packed", torch.uint8, packed.numel())
    if element == _NIBBLES:
        return PackedNibbles.over(memory, shape, _order(order, shape[0]))
    return packed_over(memory, shape, Element(element))


@dataclass(frozen=True, slots=True)
class _Options:
    """What the words among the arguments mean."""

    activation: int
    rows: Rows | None
    rounding: Rounding
    called_with: CalledWith


@functools.lru_cache(1024)
def _options(
    k: int, n: int, element: str, activation: str | None, rows: str, scale: float, zero: int, result: str
) -> _Options:
    if element != _NIBBLES and element not in {each.value for each in Element}:
        raise errors.LayerError(
            f"element={element!r}",
            cause="Weights are int8, uint8, uint4, bfloat16 or float16",
            remedy="Name one of these",
        )
    kind = None if element == _NIBBLES else Element(element)
    in_integers = kind in (None, Element.INT8, Element.UINT8)
    if in_integers != bool(rows):
        raise errors.LayerError(
            f"rows={rows!r} with element={element!r}",
            cause="Rows are quantised beside integers, and only then",
            remedy='Pass "dynamic" with int8, uint8 and uint4, else ""',
        )
    given: Given | str = rows
    if in_integers:
        given = rows_of((scale, zero, rows) if rows in ("int8", "uint8") else rows)
    return _Options(
        activation_of(activation),
        rows_as(given) if in_integers else None,
        rounding_as(rounding_of(result)),
        CalledWith(k, n, None if in_integers else kind, result),
    )


def _check_layout(layout: int) -> None:
    if layout != LAYOUT:
        raise errors.LayerError(
            f"packed weights of layout {layout}",
            cause=f"another version of this package has packed them, and this one's layout is {LAYOUT}",
            remedy="make the module of its state_dict(), or export the program again",
        )


def _result_of(x: torch.Tensor, k: int) -> str:
    """The name of the results' type, of x that can be multiplied."""
    if x.dtype not in _FLOATS:
        raise errors.DtypeError(
            f"x is of {x.dtype}",
            cause="It is taken from float32, bfloat16 or float16",
            remedy="Pass x.float()",
        )
    if x.ndim == 0 or x.shape[-1] != k:
        raise errors.ShapeError(
            f"x has shape {tuple(x.shape)}",
            cause=f"This layer takes rows of {k} elements, (..., {k})",
            remedy="Transpose or cut x, or call the layer that it is for",
        )
    return _FLOATS[x.dtype]


def _check_presence(name: str, tensor: torch.Tensor | None, is_wanted: bool) -> None:
    if (tensor is None) is is_wanted:
        raise errors.LayerError(
            f"{name} is {'None' if is_wanted else 'given'}",
            cause="That does not belong to such weights and rows",
            remedy="Use amx.torch.Linear, which has what belongs together",
        )


def _order(tensor: torch.Tensor | None, k: int) -> Any:
    """Its array, of columns that there are."""
    order = _plain(tensor, "order", torch.int64, k)
    if k and order is not None and not 0 <= order.min() <= order.max() < k:
        raise errors.LayerError(
            f"order has numbers from {order.min()} to {order.max()}",
            cause=f"Columns of x are 0 to {k - 1}",
            remedy="Use amx.torch.Linear, whose buffers belong together",
        )
    return order


def _plain(tensor: torch.Tensor | None, name: str, dtype: torch.dtype, n: int) -> Any:
    """Its array, after all that C relies on."""
    if tensor is None:
        return None
    if tensor.dtype is not dtype or tensor.shape != (n,) or tensor.device.type != "cpu":
        raise errors.ShapeError(
            f"{name} is of {tensor.dtype}, shape {tuple(tensor.shape)}, on {tensor.device}",
            cause=f"It is of {dtype}, shape ({n},), on the CPU",
            remedy="Use amx.torch.Linear, whose buffers keep their types",
        )
    if tensor.requires_grad or not tensor.is_contiguous():
        tensor = tensor.detach().contiguous()
    return tensor.numpy()


_MATMUL = "(Tensor a, Tensor b, str? dtype=None) -> Tensor"


@torch.library.custom_op("amx::matmul", mutates_args=(), device_types="cpu", schema=_MATMUL)  # type: ignore[untyped-decorator]
def matmul(a: torch.Tensor, b: torch.Tensor, dtype: str | None = None) -> torch.Tensor:
    """`amx.matmul` of two tensors, as the operator `amx::matmul`: for what is compiled or exported.

    Parameters
    ----------
    a, b: (..., M, K) or (K,), and (..., K, N) or (K,), as of `amx.matmul`; on the CPU.
    dtype: as of `amx.matmul`: None, "bfloat16" or "float16".

    Returns
    -------
    int32 for integers, float32 for floats; adjacent, whatever the operands' strides.

    Raises
    ------
    LayerError: an operand requires grad, and gradients are enabled. Else as `amx.matmul`.
    """
    _refuse_tangents()
    if a.ndim == 1 or b.ndim == 1:  # whose result may be a scalar, which no `out` is
        return gemm.matmul(a.detach(), b.detach(), dtype=dtype).clone()
    out = _product_shape(a, b, dtype)
    gemm.matmul(a.detach(), b.detach(), out, dtype=dtype)
    return out


@matmul.register_fake  # type: ignore[untyped-decorator]
def _product_shape(a: torch.Tensor, b: torch.Tensor, dtype: str | None = None) -> torch.Tensor:
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise errors.ShapeError(
            f"operands of shapes {tuple(a.shape)} and {tuple(b.shape)}",
            cause="a is (..., M, K) or (K,), b is (..., K, N) or (K,)",
            remedy="Transpose or reshape one of them",
        )
    batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    shape = (*batch, *a.shape[-2:-1], *(b.shape[-1:] if b.ndim > 1 else ()))
    in_integers = dtype is None and a.dtype in (torch.int8, torch.uint8)
    return a.new_empty(shape, dtype=torch.int32 if in_integers else torch.float32)


def _refuse_tangents() -> None:
    """Which an operator does not see; torch would take them for zeros."""
    if getattr(torch.autograd.forward_ad, "_current_level", -1) >= 0:
        raise errors.LayerError(
            "a call within forward-mode differentiation",
            cause="What is computed here has no tangents",
            remedy="Call it outside of dual_level() and of torch.func.jvp(), for example beforehand",
        )


def _refuse_gradient(ctx: Any, inputs: Any, output: Any) -> None:
    """Where torch notes how a gradient would be made: before anybody gets a result that should have one."""
    raise errors.LayerError(
        "an operand requires grad, and gradients are enabled",
        cause="What is computed here has no gradient",
        remedy="Compute within torch.inference_mode() or torch.no_grad(), or pass its detach()",
    )


def _backward(ctx: Any, gradient: Any) -> None:
    raise AssertionError("there is no way here")


for _operator in (linear, matmul):
    _operator.register_autograd(_backward, setup_context=_refuse_gradient)
