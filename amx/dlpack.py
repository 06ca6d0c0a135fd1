"""DLPack: memory that an object lends, by a description that is read once and checked before it is used.

NumPy's own reader has no bfloat16, and believes what it reads. The layout is that of dlpack.h, before version
1.0 and of 1.x. The capsule stays unused, and the arrays over its memory keep it: when the last one is gone,
the capsule's own destructor calls the exporter's deleter, as the protocol demands of it.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import operator
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from amx import errors
from amx.foreign_objects import described, remedy_for

__all__ = ["BFLOAT16", "Lent", "bytes_at", "read"]

# The bits of bfloat16 under their name, which NumPy has no type for.
BFLOAT16 = np.dtype([("bfloat16", np.uint16)])

_VERSION = (1, 0)  # the newest that is asked for
# DLTensor: data, device's type and number, ndim, type's code, bits and lanes, shape, strides, byte_offset.
_TENSOR = struct.Struct("@PiiiBBHPPQ")
# DLManagedTensorVersioned up to its DLTensor: version's major and minor, context, deleter, flags.
_VERSIONED = struct.Struct("@IIPPQ")
_READ_ONLY = 1  # DLPACK_FLAG_BITMASK_READ_ONLY
_CPU = 1  # kDLCPU
_DEVICES = {
    2: "CUDA",
    3: "CUDA host",
    4: "OpenCL",
    7: "Vulkan",
    8: "Metal",
    10: "ROCm",
    13: "CUDA managed",
    14: "oneAPI",
}
_MOST_DIMENSIONS = 64  # of a NumPy array
_MEMORY = 1 << 63  # no process has an address beyond

# By kDLInt, kDLUInt, kDLFloat, kDLBfloat, kDLComplex and kDLBool, and bits.
_DTYPES = {
    **{(0, 8 * size): np.dtype(f"i{size}") for size in (1, 2, 4, 8)},
    **{(1, 8 * size): np.dtype(f"u{size}") for size in (1, 2, 4, 8)},
    **{(2, 8 * size): np.dtype(f"f{size}") for size in (2, 4, 8)},
    (4, 16): BFLOAT16,
    **{(5, 8 * size): np.dtype(f"c{size}") for size in (8, 16)},
    (6, 8): np.dtype(np.bool_),
}

_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)
_pointer_in = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


class Lent:
    """Memory for NumPy to make an array of, which keeps this, and this its owner."""

    def __init__(self, interface: object, owner: object) -> None:
        self.__array_interface__ = interface
        self.owner = owner


def bytes_at(place: int, count: int, owner: object) -> npt.NDArray[Any]:
    """Memory of C that may be written, uint8, which keeps its owner."""
    return np.asarray(
        Lent({"data": (place, False), "shape": (count,), "typestr": "|u1", "version": 3}, owner)
    )


def read(source: Any, name: str) -> npt.NDArray[Any]:
    """An array over the memory that `source` lends by `__dlpack__`; bfloat16 as `BFLOAT16`.

    It is read-only where the exporter does not say that it may be written, as before version 1.0.

    Raises
    ------
    DtypeError: memory of another device, elements that NumPy has no type for, or a description that cannot be
        true. What the object itself raises is not caught.
    """
    device = operator.index(source.__dlpack_device__()[0])
    if device != _CPU:
        raise _elsewhere(source, name, device)
    try:
        capsule = source.__dlpack__(max_version=_VERSION)
    except TypeError:  # from before there were versions
        capsule = source.__dlpack__()
    tensor, is_writable = _tensor_in(capsule)
    if tensor is None:
        raise _untrue(source, name, "it gave no DLPack capsule of version 1 or before")
    data, device, _, ndim, code, bits, lanes, shape_at, strides_at, offset = tensor
    if device != _CPU:
        raise _elsewhere(source, name, device)
    dtype = _DTYPES.get((code, bits))
    if dtype is None or lanes != 1:
        raise errors.DtypeError(
            f"{name} is {described(source)} of DLPack type {code} with {bits} bits and {lanes} lanes",
            cause="NumPy has no such type, nor is it bfloat16",
            remedy="Convert it to int8, uint8, bfloat16, float16 or float32",
        )
    if not 0 <= ndim <= _MOST_DIMENSIONS or (ndim > 0 and not shape_at):
        raise _untrue(source, name, f"it says {ndim} dimensions{'' if shape_at else ' and has no shape'}")
    shape = _integers(shape_at, ndim)
    if min(shape, default=0) < 0 or math.prod(max(count, 1) for count in shape) * dtype.itemsize >= _MEMORY:
        raise _untrue(source, name, f"no memory holds its shape {shape}")
    if 0 in shape:
        return np.empty(shape, dtype)
    # In elements; where there is one alone, no step is made.
    steps = _integers(strides_at, ndim) if strides_at else _contiguous(shape)
    strides = tuple(step * dtype.itemsize if n > 1 else 0 for n, step in zip(shape, steps, strict=True))
    spans = [(n - 1) * stride for n, stride in zip(shape, strides, strict=True)]
    address = data + offset
    first = address + sum(span for span in spans if span < 0)
    end = address + sum(span for span in spans if span > 0) + dtype.itemsize
    if not data or first <= 0 or end >= _MEMORY:
        raise _untrue(source, name, f"no memory is at {address:#x} with shape {shape} and strides {steps}")
    if address % dtype.alignment:
        raise _untrue(source, name, f"elements of {dtype.itemsize} bytes do not begin at {address:#x}")
    carrier = np.dtype(np.uint16) if dtype is BFLOAT16 else dtype
    interface = {
        "data": (address, not is_writable),
        "shape": shape,
        "strides": strides,
        "typestr": carrier.str,
        "version": 3,
    }
    array = np.asarray(Lent(interface, capsule))
    return array if dtype is carrier else array.view(dtype)


def _tensor_in(capsule: object) -> tuple[tuple[int, ...] | None, bool]:
    """The fields of its DLTensor, or None; and whether it says that it may be written."""
    if _is_valid(capsule, b"dltensor_versioned"):
        address = _pointer_in(capsule, b"dltensor_versioned")
        major, _, _, _, flags = _VERSIONED.unpack(ctypes.string_at(address, _VERSIONED.size))
        if major != _VERSION[0]:
            return None, False
        tensor = ctypes.string_at(address + _VERSIONED.size, _TENSOR.size)
        return _TENSOR.unpack(tensor), not flags & _READ_ONLY
    if _is_valid(capsule, b"dltensor"):
        return _TENSOR.unpack(ctypes.string_at(_pointer_in(capsule, b"dltensor"), _TENSOR.size)), False
    return None, False


def _integers(address: int, count: int) -> tuple[int, ...]:
    return struct.unpack(f"@{count}q", ctypes.string_at(address, 8 * count)) if count else ()


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """In elements."""
    return tuple(itertools.accumulate(reversed(shape[1:]), operator.mul, initial=1))[::-1] if shape else ()


def _elsewhere(source: object, name: str, device: int) -> errors.DtypeError:
    return errors.DtypeError(
        f"{name} is {described(source)} in the memory of a {_DEVICES.get(device, 'foreign')} device"
        f" (DLPack type {device})",
        cause="AMX reads the memory of the CPU",
        remedy=remedy_for(source),
    )


def _untrue(source: object, name: str, what: str) -> errors.DtypeError:
    return errors.DtypeError(
        f"{name} is {described(source)} whose DLPack description cannot be true",
        cause=f"Of its memory, {what}",
        remedy=remedy_for(source),
    )
