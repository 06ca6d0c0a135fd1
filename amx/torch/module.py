"""A module of torch with the numbers of `amx.Linear`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from amx import errors
from amx import layer as layers
from amx.dtypes import Element, bits
from amx.layer import steps_of
from amx.layer_options import finite_of
from amx.nibbles import PackedNibbles
from amx.packing import LAYOUT, memory_of
from amx.quantization import quantize
from amx.quantized import Quantized
from amx.torch.operators import linear, weights_in

__all__ = ["Linear"]

_TOGETHER = (("weight", "scale", "zero_point", "order"), ("row_scale", "row_zero_point"))
_INTEGERS = ("int8", "uint8")
_NIBBLES = "uint4"
_GROUP = 32  # elements of K with one scale, if nobody says


class Linear(torch.nn.Module):  # type: ignore[misc]
    """A linear layer in 4, 8 or 16 bits: the results of `amx.Linear`, bit for bit, in a module of torch.

    Parameters
    ----------
    weight: a `torch.nn.Linear`, whose weight and bias are taken; or (N, K) as of `amx.Linear`, a tensor or a
        `Quantized`. Tensors that require grad are detached: these weights cannot be trained.
    bias: (N,) as of `amx.Linear`, or None.
    dtype, activation, activations: as of `amx.Linear`; besides, `dtype` may be "uint4", or one of torch's.
    group, symmetric: of dtype="uint4", how weights are quantised, as of `amx.quantize`: in groups of a
        multiple of 32, and None is 32; None is not symmetric.

    Raises
    ------
    LayerError: `weight` is a module other than a linear one with its own forward, or bias is given with it;
        or group or symmetric are given, and nothing is quantised to 4 bits.
    What `amx.Linear` and `amx.quantize` raise.

    Notes
    -----
    `forward(x)` takes (..., K) of float32, bfloat16 or float16 and returns the same type: in 16 bits float32
    or the layer's. Under autocast x is first cast to autocast's type, as of torch's own linear layer. An x
    that requires grad while gradients are enabled is a `LayerError`. Threads are those that
    `amx.set_num_threads` allows, whatever torch's are.

    The packed weights are a buffer, and there is no other copy: what is copied, pickled, shared, forked or
    exported with the buffers is all of it (amx/torch/operators.py says why). Buffers keep their types:
    `half()` and `to(torch.bfloat16)` change nothing. Pickled modules and exported programs have the
    layout of this version of the package, and another one may refuse it; a state_dict has not.

    `state_dict()` has new tensors, of today's weights: `weight` (N, K) of int8 or uint8, `scale` float32 (N,)
    and `zero_point` int32 (N,), or `weight` of bfloat16 or float16; `bias` float32 (N,), if any; `row_scale`
    and `row_zero_point`, float32 and int32 (), where `activations` are given numbers. Of 4 bits `weight` is
    uint8 (N, K / 2 rounded up), two numbers of a row in a byte, the first in the lower bits, `scale` and
    `zero_point` are (N, groups), and `order` is int64 (K,), if it is another than that of columns.
    `load_state_dict` takes these, or those of a `torch.nn.Linear`, which are quantised or rounded: to 4 bits
    in groups as this layer has them, symmetric if its zero points are all 8.

    Examples
    --------
    >>> layer = amx.torch.Linear(torch.nn.Linear(3, 2), activation="relu")
    >>> with torch.inference_mode():
    ...     layer(torch.ones(4, 3)).shape
    torch.Size([4, 2])
    """

    packed: torch.Tensor
    scale: torch.Tensor | None
    zero_point: torch.Tensor | None
    column_sum: torch.Tensor | None
    bias: torch.Tensor | None
    order: torch.Tensor | None

    def __init__(
        self,
        weight: object,
        bias: object = None,
        *,
        dtype: object = "int8",
        activation: str | None = None,
        activations: object = "dynamic",
        group: int | None = None,
        symmetric: bool | None = None,
    ) -> None:
        super().__init__()
        if isinstance(weight, torch.nn.Module):
            weight, bias = _of_module(weight, bias)
        if isinstance(dtype, torch.dtype):
            dtype = str(dtype).removeprefix("torch.")
        if isinstance(dtype, str) and dtype == _NIBBLES:
            dtype = "int8"  # integers
            if not isinstance(weight, Quantized):
                group = _GROUP if group is None else group
                weight = _quantized(weight, _NIBBLES, group, symmetric)
                group = symmetric = None
        if group is not None or symmetric is not None:
            raise errors.LayerError(
                f"group={group!r}, symmetric={symmetric!r}",
                cause='They say how floats become dtype="uint4", which these do not',
                remedy='Leave them out, or pass floats and dtype="uint4"',
            )
        layer = layers.Linear(
            _detached(weight), _detached(bias), dtype=dtype, activation=activation, activations=activations
        )
        self.in_features = layer.in_features
        self.out_features = layer.out_features
        self.dtype = layer.dtype
        self.activation = activation
        self.layout = LAYOUT
        self._take(layer, is_replaced=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Results for rows of x, of x's type: (..., N)."""
        if torch.is_autocast_enabled("cpu") and x.is_floating_point() and x.dtype is not torch.float64:
            x = x.to(torch.get_autocast_dtype("cpu"))
        return linear(
            x,
            self.packed,
            self.scale,
            self.zero_point,
            self.column_sum,
            self.bias,
            self.order,
            self.in_features,
            self.out_features,
            self.dtype,
            self.activation,
            self.rows,
            self.row_scale,
            self.row_zero_point,
            self.layout,
        )

    @property
    def nbytes(self) -> int:
        """Bytes of its buffers."""
        return sum(each.nbytes for each in self.buffers())

    @property
    def activations(self) -> str | tuple[float, int, str] | None:
        """How rows are quantised, as of `amx.Linear`; None in 16 bits."""
        if self.rows in _INTEGERS:
            return self.row_scale, self.row_zero_point, self.rows
        return self.rows or None

    def extra_repr(self) -> str:
        """What torch shows of it."""
        facts = {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bias": self.bias is not None,
            "dtype": self.dtype,
            "group": self.group,
            "activation": self.activation,
            "activations": self.activations,
        }
        return ", ".join(f"{name}={fact}" for name, fact in facts.items() if fact is not None)

    def _apply(self, fn: Any, recurse: bool = True) -> Linear:
        """What `to`, `half`, `share_memory` and others do to buffers, which keep their types."""
        for name, buffer in list(self._buffers.items()):
            moved = fn(buffer)
            self._buffers[name] = moved if moved.dtype == buffer.dtype else buffer.to(moved.device)
        return self

    def _take(self, layer: layers.Linear, is_replaced: bool) -> None:
        """Numbers of a layer of this one's shape and types, into the buffers that there are, if they fit."""
        given, weight = layer.activations, steps_of(layer).packed
        self.row_scale, self.row_zero_point, self.rows = (
            given if isinstance(given, tuple) else (1.0, 0, given or "")
        )
        self.group = weight.group if isinstance(weight, PackedNibbles) else None
        self.symmetric = isinstance(weight, PackedNibbles) and weight.is_symmetric
        for name, tensor in _buffers_of(layer).items():
            old = self._buffers.get(name)
            if is_replaced or old is None or tensor is None or old.is_meta or old.shape != tensor.shape:
                self._put(name, tensor)
            else:
                old.copy_(tensor)

    def _put(self, name: str, tensor: torch.Tensor | None) -> None:
        """A buffer; None is an attribute, since torch.export miscounts buffers that are None."""
        self._buffers.pop(name, None)
        self.__dict__.pop(name, None)
        if tensor is None:
            self.__dict__[name] = None
        else:
            self.register_buffer(name, tensor, persistent=False)  # state_dict has them unpacked

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination.update((prefix + name, tensor) for name, tensor in self._state().items())

    def _state(self) -> dict[str, torch.Tensor]:
        """What a state_dict has."""
        state = self._weights()
        if self.bias is not None:
            state["bias"] = self.bias.clone()
        if self.rows in _INTEGERS:
            state["row_scale"] = torch.tensor(self.row_scale, dtype=torch.float32, device="cpu")
            state["row_zero_point"] = torch.tensor(self.row_zero_point, dtype=torch.int32, device="cpu")
        return state

    def _weights(self) -> dict[str, torch.Tensor]:
        """(N, K), unpacked; without elements on the meta device."""
        found = _described(self) if self.packed.is_meta else _unpacked(self)
        if self.scale is not None:
            zero = self.zero_point
            found["scale"] = self.scale.clone()
            found["zero_point"] = (
                torch.zeros_like(self.scale, dtype=torch.int32) if zero is None else zero.clone()
            )
        if self.order is not None:
            found["order"] = self.order.clone()
        return found

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Whole layers are made of what is there, and refused as `amx.Linear` refuses them."""
        below = ((key[len(prefix) :], tensor) for key, tensor in state_dict.items() if key.startswith(prefix))
        found = {name: tensor for name, tensor in below if "." not in name}
        expected = self._expected(found)
        missing_keys += [prefix + name for name in expected if name not in found] if strict else []
        unexpected_keys += [prefix + name for name in found if name not in expected] if strict else []
        used = {name for name in expected if name in found}
        for names in _TOGETHER:
            if not used.issuperset(set(names).intersection(expected)):
                used.difference_update(names)
        state = {**self._state(), **{name: found[name] for name in used}}
        if "weight" in used:
            for name in ("scale", "order"):  # floats are to be quantised
                if name not in used:
                    state.pop(name, None)
        try:
            layer = self._made_of(state)
        except errors.AmxError as error:
            error_msgs.append(f"{prefix.rstrip('.') or 'this layer'}: {error}")
            return
        self._take(layer, local_metadata.get("assign_to_params_buffers", False))

    def _expected(self, found: dict[str, torch.Tensor]) -> list[str]:
        """Names in a state_dict: of this layer's, or of a float one's."""
        names = ["weight"]
        weight = found.get("weight")
        is_float = weight is not None and weight.is_floating_point() and "scale" not in found
        if self.rows and not is_float:
            names += ["scale", "zero_point"]
        if self.dtype == _NIBBLES and not is_float and "order" in found:
            names.append("order")
        if self.bias is not None:
            names.append("bias")
        if self.rows in _INTEGERS and not is_float:
            names += ["row_scale", "row_zero_point"]
        return names

    def _made_of(self, state: dict[str, torch.Tensor]) -> layers.Linear:
        """The layer of a state_dict, of this one's shape and types."""
        weight: Any = _detached(state["weight"])
        n, k = self.out_features, self.in_features
        in_nibbles = self.dtype == _NIBBLES and "scale" in state
        shape = n, (k + 1) // 2 if in_nibbles else k
        if weight.shape != shape:
            raise errors.ShapeError(
                f"weight has shape {tuple(weight.shape)}",
                cause=f"This layer's is {shape}",
                remedy="Load it into a layer of its shape",
            )
        if "scale" in state:
            if weight.dtype is not _carrier(self.dtype):
                raise errors.DtypeError(
                    f"weight is of {weight.dtype}",
                    cause=f"This layer's is of {self.dtype}, in {_carrier(self.dtype)}",
                    remedy="Load it into a layer of its type",
                )
            scale, zero, order = (_detached(state.get(name)) for name in ("scale", "zero_point", "order"))
            if in_nibbles:
                weight = Quantized(_numbers(weight, k), scale, zero, 0, self.group, _NIBBLES, order)
            else:
                weight = Quantized(weight, scale, zero, axis=0)
        elif self.rows:
            weight = _quantized(weight, self.dtype, self.group, self.symmetric)
        activations: object = self.rows or "dynamic"
        if self.rows in _INTEGERS:
            activations = state["row_scale"].item(), int(state["row_zero_point"]), self.rows
        return layers.Linear(
            weight,
            _detached(state.get("bias")),
            dtype="int8" if self.rows else self.dtype,
            activation=self.activation,
            activations=activations,
        )


def _of_module(module: torch.nn.Module, bias: object) -> tuple[object, object]:
    """Weight and bias of a linear layer."""
    kind = type(module)
    if not isinstance(module, torch.nn.Linear) or kind.forward is not torch.nn.Linear.forward:
        raise errors.LayerError(
            f"weight is a {kind.__module__}.{kind.__qualname__}",
            cause="What it computes may be something else than a linear layer",
            remedy="Pass a torch.nn.Linear, or weight and bias",
        )
    if bias is not None:
        raise errors.LayerError(
            "bias beside a torch.nn.Linear", cause="That has its own", remedy="Pass its weight and a bias"
        )
    return module.weight, module.bias


def _detached(source: object) -> object:
    return source.detach() if isinstance(source, torch.Tensor) else source


def _quantized(weight: object, dtype: str, group: int | None, symmetric: bool | None) -> Quantized:
    """Floats (N, K), as of the layer's options."""
    floats = finite_of(_detached(weight))
    if dtype == _NIBBLES:
        return quantize(floats, dtype, group=group, symmetric=bool(symmetric))
    return quantize(floats, dtype, axis=0)


def _carrier(dtype: str) -> torch.dtype:
    """Of the weights in a state_dict."""
    return torch.uint8 if dtype == _NIBBLES else getattr(torch, dtype)


def _described(layer: Linear) -> dict[str, torch.Tensor]:
    """What `_unpacked` makes, on the meta device."""
    n, k = layer.out_features, layer.in_features
    shape = n, (k + 1) // 2 if layer.group else k
    found = {"weight": torch.empty(shape, dtype=_carrier(layer.dtype), device="meta")}
    if layer.group:
        groups = n, -(-k // layer.group)
        found["scale"] = torch.empty(groups, dtype=torch.float32, device="meta")
        found["zero_point"] = torch.empty(groups, dtype=torch.int32, device="meta")
    return found


def _unpacked(layer: Linear) -> dict[str, torch.Tensor]:
    """Of the packed memory: weights, and what lies beside them."""
    packed = weights_in(layer.packed, layer.dtype, (layer.in_features, layer.out_features), None)
    if isinstance(packed, PackedNibbles):
        found = packed.unpack()
        arrays = {"scale": found.scale, "zero_point": found.zero_point}
        beside = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        return {"weight": _pairs(torch.from_numpy(found.values.copy())), **beside}
    values = torch.from_numpy(np.ascontiguousarray(bits(packed.unpack(), packed.element).T))
    return {"weight": values.view(torch.bfloat16) if packed.element is Element.BFLOAT16 else values}


def _pairs(values: torch.Tensor) -> torch.Tensor:
    """Two numbers of 4 bits of a row in a byte, the first in the lower bits."""
    even = torch.nn.functional.pad(values, (0, values.shape[1] % 2))
    return even[:, ::2] | even[:, 1::2] << 4


def _numbers(pairs: torch.Tensor, k: int) -> torch.Tensor:
    """The inverse of it."""
    return torch.stack((pairs & 15, pairs >> 4), 2).reshape(len(pairs), 2 * pairs.shape[1])[:, :k]


@torch.inference_mode(False)  # type: ignore[untyped-decorator]  # tensors that can be written anywhere
def _buffers_of(layer: layers.Linear) -> dict[str, torch.Tensor | None]:
    steps = steps_of(layer)
    copied = {
        "scale": steps.scale,
        "zero_point": steps.zero,
        "column_sum": steps.sum,
        "bias": steps.bias,
        "order": steps.packed.order if isinstance(steps.packed, PackedNibbles) else None,
    }
    packed = steps.packed.memory if isinstance(steps.packed, PackedNibbles) else memory_of(steps.packed)
    return {
        "packed": torch.from_numpy(packed),
        **{name: None if each is None else torch.from_numpy(np.array(each)) for name, each in copied.items()},
    }
