"""Tensors of torch and arrays of JAX: read where they lie, refused with the reason, and made of results.

Neither library is imported here: who passes a tensor has imported it.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from amx import errors
from amx.dlpack import BFLOAT16
from amx.foreign_objects import described, first_line

__all__ = ["from_jax", "from_torch", "is_jax", "is_torch", "like", "written"]

Array = npt.NDArray[Any]


def is_torch(source: object) -> bool:
    """Whether it is a `torch.Tensor`, of a subclass too, whatever class it claims."""
    kind = getattr(sys.modules.get("torch"), "Tensor", None)
    return kind is not None and issubclass(type(source), kind)


def is_jax(source: object) -> bool:
    """Whether it is a `jax.Array`, traced ones too."""
    jax = sys.modules.get("jax")
    kind = getattr(jax, "Array", None)
    return kind is not None and issubclass(type(source), (kind, jax.core.Tracer))  # type: ignore[union-attr]


def from_torch(tensor: Any, name: str) -> Array:
    """An array over the memory of a tensor; bfloat16 as `BFLOAT16`.

    Raises
    ------
    DtypeError: it requires grad, or its memory alone is not what it stands for.
    """
    torch: Any = sys.modules["torch"]
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        raise _no_tensor(tensor, torch, name)
    is_bfloat16 = tensor.dtype is torch.bfloat16
    if is_bfloat16 and tensor.requires_grad:  # its bits would no longer do so
        raise _no_tensor(tensor, torch, name)
    try:
        array: Array = (tensor.view(torch.uint16) if is_bfloat16 else tensor).numpy()
    except Exception as error:  # torch refuses what it knows to be more than its memory
        raise _no_tensor(tensor, torch, name, error) from error
    if tensor.is_floating_point() and torch.autograd.forward_ad.unpack_dual(tensor).tangent is not None:
        raise _no_tensor(tensor, torch, name)
    return array.view(BFLOAT16) if is_bfloat16 else array


def _no_tensor(tensor: Any, torch: Any, name: str, error: Exception | None = None) -> errors.DtypeError:
    """Why a tensor is not taken: the first of the reasons that it has."""
    what, cause, remedy = f"{name} is {described(tensor)}", "What is computed here has no gradient", ""
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        cause = "It is a subclass of torch.Tensor, whose memory may mean anything"
        remedy = "Pass the tensor that it stands for, or as_subclass(torch.Tensor) if it means nothing else"
    elif tensor.requires_grad:
        what, remedy = f"{what} that requires grad", "Pass its detach()"
    elif tensor.device.type == "meta":
        what, cause = f"{what} on meta", "It has a shape, and no elements"
        remedy = "Pass a tensor on the CPU"
    elif tensor.device.type != "cpu":
        what, cause = f"{what} on {tensor.device}", "AMX reads the memory of the CPU"
        remedy = "Pass its cpu()"
    elif tensor.layout is not torch.strided:
        what, cause = f"{what} with layout {tensor.layout}", "Matrices are dense here"
        remedy = "Pass its to_dense()"
    elif tensor.is_quantized:
        what, cause = f"{what} of {tensor.dtype}", "Its scale and zero point would be lost"
        remedy = "Pass its int_repr(), and apply them to the result; or its dequantize()"
    elif tensor.is_conj():
        what, cause = f"{what} with the conjugate bit", "Its memory holds the conjugates of its elements"
        remedy = "Pass real and imag of its resolve_conj(), one at a time"
    elif tensor.is_neg():
        what, cause = f"{what} with the negative bit", "Its memory holds the negatives of its elements"
        remedy = "Pass its resolve_neg()"
    elif error is None:
        what, remedy = f"{what} with a tangent", "Pass the primal of torch.autograd.forward_ad.unpack_dual()"
    else:
        what = f"{what} of {tensor.dtype}"
        cause = f"Its numpy() raised {first_line(error)}"
        remedy = "Pass a dense tensor of int8, uint8, bfloat16, float16 or float32 on the CPU"
    return errors.DtypeError(what, cause=cause, remedy=remedy)


def from_jax(array: Any, name: str) -> Array:
    """A read-only array over the memory of a JAX array; if that is spread over devices of the CPU, a copy.

    Raises
    ------
    DtypeError: it is traced, or on another device. What JAX itself raises is not caught.
    """
    jax: Any = sys.modules["jax"]
    if isinstance(array, jax.core.Tracer):
        raise errors.DtypeError(
            f"{name} is an array that JAX traces",
            cause="Under jit, grad and vmap it has no elements yet",
            remedy="Multiply outside of them, or in jax.pure_callback()",
        )
    elsewhere = sorted({device.platform for device in array.devices()} - {"cpu"})
    if elsewhere:
        raise errors.DtypeError(
            f"{name} is a JAX array on {', '.join(elsewhere)}",
            cause="AMX reads the memory of the CPU",
            remedy="Pass jax.device_get() of it",
        )
    return np.asarray(array)


def like(operands: tuple[object, ...], result: Any) -> Any:
    """The result as what the first operand is that is a tensor of torch or an array of JAX.

    Its memory stays the same, but JAX copies bfloat16, and what does not begin at 64 bytes.
    """
    for each in operands:
        if type(each) is np.ndarray:
            continue
        if is_torch(each):
            torch: Any = sys.modules["torch"]
            bits, is_bfloat16 = _bits(result)
            tensor = torch.from_numpy(bits)
            return tensor.view(torch.bfloat16) if is_bfloat16 else tensor
        if is_jax(each):
            jax: Any = sys.modules["jax"]
            bits, is_bfloat16 = _bits(result)
            array = jax.dlpack.from_dlpack(bits)
            return array.view("bfloat16") if is_bfloat16 else array
    return result


def _bits(result: Any) -> tuple[Array, bool]:
    """An array of a type that others know, and whether these are the bits of bfloat16."""
    array = np.asarray(result)
    is_bfloat16 = array.dtype.kind == "V"  # as ml_dtypes' is, and ours
    return array.view(np.uint16) if is_bfloat16 else array, is_bfloat16


def written(out: object) -> None:
    """Tell torch that a tensor has been written, in case that a gradient was to be made of it."""
    if is_torch(out):
        sys.modules["torch"].autograd.graph.increment_version(out)
