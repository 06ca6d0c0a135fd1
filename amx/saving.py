"""Layers, packed and quantised matrices, and arrays in a safetensors file, as other programs read it, too.

Saved are numbers and options, of which every machine and engine makes the same layers; they are packed again
when loaded. A tensor has its object's name, or a longer one that begins with it. What no tensor says (which
activation, which groups) is JSON in the metadata, under "amx".
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from amx import errors
from amx.arrays import Array, as_array
from amx.dtypes import Element, bits, dtype_of, element_of, name_of
from amx.gemm import PackedMatrix, pack
from amx.layer import Linear
from amx.quantized import Quantized
from amx.tensor_file import TYPES, Tensor, called, is_shape, read_tensors, refuse, write_tensors

__all__ = ["load_safetensors", "save_safetensors"]

VERSION = 1
MOST = 16 << 30  # bytes of a file
_KEY = "amx"
_OPTIONS = ("dtype", "activation", "activations", "out_dtype")
_TYPE_NAMES = {dtype: name for name, dtype in TYPES.items() if name != "BF16"}
_PANEL, _CHUNK = 32, 64  # columns, and bytes of K, of which packed matrices consist
_MOST_TIMES, _SMALL = 64, 1 << 20  # what is packed is no more than so many times this and what the file has
_LARGEST_GROUP = 1 << 16  # where a row has no more elements


def save_safetensors(path: str | os.PathLike[str], objects: Mapping[str, object]) -> None:
    """Write layers and arrays into a safetensors file, from which `load_safetensors` makes the same ones.

    It is written beside and renamed when all of it is on the disk: an old file is whole until then.

    Parameters
    ----------
    path: of the file.
    objects: by name: `Linear`, `PackedMatrix`, `Quantized`, and arrays of numbers or bool of the kinds that
        `amx.matmul` reads. Of a layer "a" the tensors are "a.weight" and "a.bias"; of a `Quantized` "q", as
        of a layer's weight, "q" (4-bit values two in a byte, the first in the lower bits), "q_scale",
        "q_zero_point" and "q_order".

    Raises
    ------
    DtypeError: an object or a name is of another type.
    SavedFileError: two tensors would have one name, or a name is not text that UTF-8 can write.
    OSError: the file cannot be written.

    Examples
    --------
    >>> import amx, numpy as np, os, tempfile
    >>> layer = amx.Linear(np.eye(2, 3, dtype=np.float32), activation="gelu")
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> amx.save_safetensors(path, {"first": layer})
    >>> amx.load_safetensors(path)["first"].activation
    'gelu'
    """
    if not isinstance(objects, Mapping):
        raise errors.DtypeError(
            f"objects is {type(objects).__name__}",
            cause="a file has objects by their names",
            remedy='pass a dict, such as {"layer": layer}',
        )
    tensors: dict[str, Tensor] = {}
    facts: dict[str, Any] = {}
    for name, value in objects.items():
        _check_name(name)
        parts, fact = _taken_apart(name, value)
        for each, tensor in parts.items():
            if each in tensors:
                raise errors.SavedFileError(
                    f"two tensors are called {called(each)}",
                    cause=f"one of them is of {called(name)}",
                    remedy="give the objects other names",
                )
            tensors[each] = tensor
        if fact:
            facts[name] = fact
    write_tensors(path, tensors, {_KEY: json.dumps({"version": VERSION, "objects": facts})})


def load_safetensors(path: str | os.PathLike[str], *, most: int = MOST) -> dict[str, Any]:
    """Read what `save_safetensors` has written, or the arrays of any other safetensors file.

    Nothing in the file is run or believed: what does not fit is an error, whoever made it.

    Parameters
    ----------
    path: of the file.
    most: bytes that it may have.

    Returns
    -------
    objects by name: `Linear`, `PackedMatrix` and `Quantized` as they were saved, and for all other tensors
    NumPy arrays, those of bfloat16 as ml_dtypes', or uint16 with its bits where that is not installed.

    Raises
    ------
    SavedFileError: it is no such file, or of a newer version, or damaged, or says of itself what is not true.
    OSError: it cannot be read, is no regular file, or has more than `most` bytes.
    """
    tensors, metadata = read_tensors(path, most)
    made = {}
    if _KEY in metadata:
        for name, fact in _facts(path, metadata[_KEY]).items():
            try:
                made[name] = _put_together(name, fact, tensors)
            except MemoryError:
                raise
            except (errors.AmxError, ValueError) as error:
                said = error.what if isinstance(error, errors.AmxError) else str(error)
                refuse(path, f"{called(name)}: {said}", error)
    for name, tensor in tensors.items():  # that remain
        if name in made:
            refuse(path, f"{called(name)} is a tensor, and something else, too")
        made[name] = _array(tensor)
    return made


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise errors.DtypeError(f"{name!r} is a name", cause="names are text", remedy="pass a str")
    try:
        name.encode()
    except UnicodeEncodeError:
        name = "__metadata__"
    if name == "__metadata__":
        raise errors.SavedFileError(
            f"an object is called {called(name)}, or what UTF-8 cannot write",
            cause="no tensor of a safetensors file can be",
            remedy="give it another name",
        )


def _taken_apart(name: str, value: object) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of an object, and what they do not say: nothing of an array."""
    if isinstance(value, Linear):
        _, (weight, bias, options) = value.__reduce__()  # what makes it again is what is pickled
        parts, fact = _taken_apart(f"{name}.weight", weight)
        if options["dtype"] == Element.BFLOAT16.value:
            parts = {f"{name}.weight": Tensor("BF16", weight)}
        if bias is not None:
            parts[f"{name}.bias"] = _tensor(bias, name)
        return parts, {"is": "Linear", "weight": fact or None, "bias": bias is not None, **options}
    if isinstance(value, Quantized):
        values = _in_bytes(value.values) if value.dtype == "uint4" else value.values
        zero_point = value.zero_point.astype(value.values.dtype)
        arrays = {name: values, f"{name}_scale": value.scale, f"{name}_zero_point": zero_point}
        if value.order is not None:
            arrays[f"{name}_order"] = value.order.astype(np.int64)
        fact = {"is": "Quantized", "dtype": value.dtype, "shape": value.shape, "axis": value.axis}
        fact |= {"group": value.group, "order": value.order is not None}
        return {each: _tensor(array, each) for each, array in arrays.items()}, fact
    if isinstance(value, PackedMatrix):
        return {name: _tensor(value.unpack(), name, value.element)}, {"is": "PackedMatrix"}
    return {name: _tensor(value, name)}, {}


def _tensor(value: object, name: str, element: Element | None = None) -> Tensor:
    array = as_array(value, called(name))
    native = array.dtype if array.dtype.isnative else array.dtype.newbyteorder("=")
    if (element or element_of(native)) is Element.BFLOAT16:
        return Tensor("BF16", bits(array, Element.BFLOAT16))
    kind = _TYPE_NAMES.get(native)
    if kind is None:
        raise errors.DtypeError(
            f"{called(name)} is of {name_of(array.dtype)}",
            cause="The format has integers and floats of up to 64 bits, and bool",
            remedy="Convert it to one of these",
        )
    return Tensor(kind, array.astype(TYPES[kind], copy=False))


def _in_bytes(values: Array) -> Array:
    """Two numbers of 4 bits in each, the first in the lower ones."""
    flat = values.reshape(-1)
    pairs = np.zeros((flat.size + 1) // 2, np.uint8)
    pairs |= flat[::2]
    pairs[: flat.size // 2] |= flat[1::2] << 4
    return pairs


def _facts(path: str | os.PathLike[str], text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        refuse(path, "its metadata of this package is no JSON", error)
    if not isinstance(found, dict) or "version" not in found:
        refuse(path, "its metadata of this package has no version")
    if type(found["version"]) is not int or found["version"] != VERSION:
        refuse(path, f"it is of version {called(str(found['version']))}, and this package reads {VERSION}")
    if set(found) != {"version", "objects"} or not isinstance(found["objects"], dict):
        refuse(path, "its metadata of this package has not just version and objects")
    return found["objects"]


def _put_together(name: str, fact: Any, tensors: dict[str, Tensor]) -> Any:
    """An object, of tensors that are no others' from then on."""
    kind = fact.get("is") if isinstance(fact, dict) else None
    make = _MAKERS.get(kind) if isinstance(kind, str) else None
    if make is None:
        raise ValueError(f"it is none of {', '.join(_MAKERS)}")
    return make(name, fact, tensors)


def _linear(name: str, fact: dict[str, Any], tensors: dict[str, Tensor]) -> Linear:
    _check_keys(fact, "weight", "bias", *_OPTIONS)
    options = {each: _option(fact, each) for each in _OPTIONS}
    weight: Quantized | Array
    if fact["weight"] is not None:
        weight = _quantized(f"{name}.weight", fact["weight"], tensors)
        _check_room(weight.values.T)
    else:
        weight = _taken(tensors, f"{name}.weight", *("BF16",) if options["dtype"] == "bfloat16" else ("F16",))
        _check_room(weight.T)
    bias = _taken(tensors, f"{name}.bias", "F32") if _flag(fact, "bias") else None
    return Linear(weight, bias, **options)


def _option(fact: dict[str, Any], name: str) -> Any:
    option = fact[name]
    if isinstance(option, list) and list(map(type, option)) == [float, int, str]:
        return tuple(option)
    if not isinstance(option, str | None):
        raise ValueError(f"{name} is neither text nor a scale, a zero point and a type")
    return option


def _quantized(name: str, fact: Any, tensors: dict[str, Tensor]) -> Quantized:
    if not isinstance(fact, dict) or fact.get("is") != "Quantized":
        raise ValueError("its weight is not Quantized")
    _check_keys(fact, "dtype", "shape", "axis", "group", "order")
    dtype, shape, axis, group = (fact[each] for each in ("dtype", "shape", "axis", "group"))
    if dtype not in ("int8", "uint8", "uint4"):
        raise ValueError("it is of no type that is quantised")
    if type(axis) not in (int, type(None)) or type(group) not in (int, type(None)):
        raise ValueError("its axis or group is no number")
    carrier = "I8" if dtype == "int8" else "U8"
    values = _taken(tensors, name, carrier)
    if not is_shape(shape):
        raise ValueError("its shape is none")
    if dtype == "uint4":
        values = _in_nibbles(values, tuple(shape))
    if values.shape != tuple(shape):
        raise ValueError(f"its values have shape {values.shape}, and it says {tuple(shape)}")
    if group is not None and group > max(_LARGEST_GROUP, *shape):
        raise ValueError(f"it has groups of {group}")
    scale, zero_point = (
        _taken(tensors, f"{name}_scale", "F32"),
        _taken(tensors, f"{name}_zero_point", carrier),
    )
    order = _taken(tensors, f"{name}_order", "I64") if _flag(fact, "order") else None
    return Quantized(values, scale, zero_point, axis, group, dtype, order)


def _packed(name: str, fact: dict[str, Any], tensors: dict[str, Tensor]) -> PackedMatrix:
    _check_keys(fact)
    is_bfloat16 = name in tensors and tensors[name].type == "BF16"
    array = _taken(tensors, name, "I8", "U8", "F16", "BF16")
    _check_room(array)
    return pack(array, dtype="bfloat16" if is_bfloat16 else None)


_MAKERS: dict[str, Callable[[str, dict[str, Any], dict[str, Tensor]], Any]] = {
    "Linear": _linear,
    "Quantized": _quantized,
    "PackedMatrix": _packed,
}


def _check_keys(fact: dict[str, Any], *names: str) -> None:
    if set(fact) != {"is", *names}:
        others = ", ".join(map(called, sorted({"is", *names} ^ set(fact))))
        raise ValueError(f"what is said of it is not just {', '.join(('is', *names))}: {others}")


def _flag(fact: dict[str, Any], name: str) -> bool:
    if not isinstance(fact[name], bool):
        raise ValueError(f"{name} is neither true nor false")
    return fact[name] is True


def _taken(tensors: dict[str, Tensor], name: str, *types: str) -> Array:
    """The elements of a tensor that no other object has."""
    tensor = tensors.pop(name, None)
    if tensor is None:
        raise ValueError(f"there is no tensor {called(name)} left for it")
    if tensor.type not in types:
        raise ValueError(f"{called(name)} is of {tensor.type}, and not of {', '.join(types)}")
    return tensor.array


def _check_room(array: Array) -> None:
    """A few bytes of a file are not to fill the memory: packed matrices have whole panels."""
    if array.ndim < 2 or array.size == 0:
        return
    *batch, k, n = array.shape
    packed = math.prod(batch) * _up(n, _PANEL) * _up(k * array.itemsize, _CHUNK)
    if packed > _MOST_TIMES * (array.nbytes + _SMALL):
        raise ValueError(f"of {array.nbytes:,} bytes and shape {array.shape}, it has {packed:,} when packed")


def _up(count: int, step: int) -> int:
    return -(-count // step) * step


def _in_nibbles(pairs: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of `_in_bytes`."""
    count = math.prod(shape)
    if pairs.shape != ((count + 1) // 2,):
        raise ValueError(f"{count} values of 4 bits are not {pairs.shape} bytes")
    flat = np.empty(2 * pairs.size, np.uint8)
    flat[::2], flat[1::2] = pairs & 15, pairs >> 4
    return flat[:count].reshape(shape)


def _array(tensor: Tensor) -> Array:
    return tensor.array.view(dtype_of(Element.BFLOAT16)) if tensor.type == "BF16" else tensor.array
