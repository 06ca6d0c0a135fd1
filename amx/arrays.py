"""The one way in for arrays of any kind: each operand, output and tile source is read here, or refused.

What shares its memory is not copied: NumPy's arrays, torch's tensors, JAX's arrays on the CPU, and whatever
exports `__array_interface__`, `__array__`, the buffer protocol or DLPack. Lists become arrays as in NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from amx import dlpack, errors
from amx.foreign_objects import described, first_line, remedy_for, ways_of
from amx.tensors import from_jax, from_torch, is_jax, is_torch

__all__ = ["Array", "as_array", "as_output", "refuse_mask"]

Array = npt.NDArray[Any]
_DEEPEST = 64  # NumPy makes no array of lists that are nested deeper


def as_array(source: object, name: str) -> Array:
    """An array of the values of `source`, called `name` in errors; never of Python objects.

    Raises
    ------
    DtypeError: no array of numbers can be made of it, or it has a mask.
    ShapeError: lists of unequal length.
    """
    if type(source) is np.ndarray:
        if source.dtype.hasobject:
            raise _no_array(source, name)
        return source
    if is_torch(source):
        return from_torch(source, name)
    refuse_mask(source, name)
    try:
        array = _read(source, name)
        if type(array) is not np.ndarray:
            if array is not source:
                refuse_mask(array, name)  # what `__array__` gave
            array = np.asarray(array)
    except (errors.AmxError, MemoryError):
        raise
    except Exception as error:  # whatever a foreign object raises
        if isinstance(source, list | tuple) and isinstance(error, ValueError):
            raise _uneven(source, name) from error
        raise _no_array(source, name, error) from error
    if array.dtype.hasobject:
        raise _no_array(source, name)
    return array


def _read(source: object, name: str) -> Array:
    """Of NumPy's class or a subclass."""
    if is_jax(source):
        return from_jax(source, name)
    if _lends_by_dlpack(source):
        return dlpack.read(source, name)
    return np.asanyarray(source)


def _lends_by_dlpack(source: object) -> bool:
    """Rather than by `__array__`, which may copy, from another device too."""
    ways = ways_of(source)
    return "__dlpack__" in ways and ways[0] not in ("__array_interface__", "__array_struct__")


def as_output(out: object, name: str) -> Array:
    """A plain array over the memory of `out`: of NumPy without a mask, of torch, or of what lends its memory.

    Raises
    ------
    DtypeError: it is something else.
    BufferReadOnlyError: it cannot be written.
    """
    if is_torch(out):
        return from_torch(out, name)
    if is_jax(out):
        raise errors.BufferReadOnlyError(
            f"{name} is an array of JAX",
            cause="These are immutable",
            remedy="Leave it out: the result of operands of JAX is a new array of JAX",
        )
    refuse_mask(out, name)
    try:
        array = _memory_of(out, name)
    except (errors.AmxError, MemoryError):
        raise
    except Exception as error:  # whatever a foreign object raises
        raise _no_output(out, name, f"It lends no memory: {first_line(error)}") from error
    if array.dtype.hasobject:
        raise _no_output(out, name, "It holds references to Python objects")
    if not array.flags.writeable:
        raise errors.BufferReadOnlyError(
            f"{name} is read-only",
            cause="Its writeable flag is off",
            remedy="Pass an array that may be written",
        )
    return array


def _memory_of(out: Any, name: str) -> Array:
    """Never a copy, as of what has `__array__` alone, or claims another class than its own."""
    if issubclass(type(out), np.ndarray):
        return np.asarray(out)  # whose attributes are NumPy's own, whatever those of a subclass say
    if _lends_by_dlpack(out):
        return dlpack.read(out, name)
    if "__array_interface__" in ways_of(out):
        return np.asarray(dlpack.Lent(out.__array_interface__, out))
    return np.asarray(memoryview(out))


def _no_output(out: object, name: str, cause: str) -> errors.DtypeError:
    return errors.DtypeError(
        f"{name} is {described(out)}",
        cause=cause,
        remedy="Pass np.empty(...), a torch tensor, or what else shares its memory with NumPy",
    )


def refuse_mask(source: object, name: str) -> None:
    """Raise `DtypeError` for a masked array, and for lists that hold one."""
    is_masked = isinstance(source, np.ma.MaskedArray)
    if is_masked or (isinstance(source, list | tuple) and _has_mask(source)):
        raise errors.DtypeError(
            f"{name} is a masked array"
            if is_masked
            else f"{name} is {described(source)} with a masked array",
            cause="Tiles have no masks, and masked elements would be taken as if they were not",
            remedy="Pass its filled(0), or its data if the mask does not matter",
        )


def _has_mask(items: Sequence[object], depth: int = 0) -> bool:
    kinds = set(map(type, items))
    if any(issubclass(kind, np.ma.MaskedArray) for kind in kinds):
        return True
    if depth == _DEEPEST or kinds.isdisjoint((list, tuple)):
        return False
    return any(isinstance(each, list | tuple) and _has_mask(each, depth + 1) for each in items)


def _uneven(source: object, name: str) -> errors.ShapeError:
    return errors.ShapeError(
        f"{name} is {described(source)} that makes no array",
        cause="Its rows are not of one length",
        remedy="Make them equally long",
    )


def _no_array(source: object, name: str, error: Exception | None = None) -> errors.DtypeError:
    """The error for a source that NumPy makes no array of, or only one of Python objects."""
    what = f"{name} is {described(source)}"
    if isinstance(source, np.ndarray):
        what = f"{name} is an array of {source.dtype}"
    cause = (
        "NumPy makes no array of numbers of it"
        if error is None
        else f"Its conversion raised {first_line(error)}"
    )
    return errors.DtypeError(what, cause=cause, remedy=remedy_for(source))
