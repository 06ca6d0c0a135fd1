"""The one way in for arrays of any kind: each operand, output and tile source is read here, or refused.

What shares its memory is not copied: NumPy's arrays, and whatever exports `__array_interface__`, `__array__`,
the buffer protocol or DLPack. Lists become arrays as in NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from amx import errors

__all__ = ["Array", "as_array", "as_output", "described", "refuse_mask", "remedy_for", "ways_of"]

Array = npt.NDArray[Any]
_DEEPEST = 64  # NumPy makes no array of lists that are nested deeper
_WAYS = ("__array_interface__", "__array_struct__", "__array__", "__dlpack__")


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
    refuse_mask(source, name)
    try:
        array = _read(source)
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


def as_output(out: object, name: str) -> Array:
    """A plain array over the memory of `out`, which has to be a NumPy array without a mask.

    Raises
    ------
    DtypeError: it is something else.
    BufferReadOnlyError: it cannot be written.
    """
    if not issubclass(type(out), np.ndarray):  # of what claims another class, NumPy would make a copy
        raise errors.DtypeError(
            f"{name} is {described(out)}",
            cause="It has to be a NumPy array, whose memory the result is written to",
            remedy="Pass np.empty(...), or a NumPy array that shares memory with it",
        )
    refuse_mask(out, name)
    array: Array = np.asarray(out)  # whose attributes are NumPy's own, whatever those of a subclass say
    if not array.flags.writeable:
        raise errors.BufferReadOnlyError(
            f"{name} is read-only",
            cause="Its writeable flag is off",
            remedy="Pass an array that may be written",
        )
    return array


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


def described(source: object) -> str:
    """What kind of thing it is: "None", "a set", "a torch.Tensor"."""
    if source is None:
        return "None"
    kind = type(source)
    home = kind.__module__.partition(".")[0]
    name = kind.__name__ if home in ("builtins", "numpy") else f"{home}.{kind.__name__}"
    return f"{'an' if name[0] in 'aeioAEIO' else 'a'} {name}"


def ways_of(source: object) -> list[str]:
    """The names of what it has to hand out its memory by, beside the buffer protocol."""
    return [way for way in _WAYS if _attribute(source, way) is not None]


def _read(source: object) -> Array:
    """Of NumPy's class or a subclass."""
    return np.from_dlpack(source) if ways_of(source) == ["__dlpack__"] else np.asanyarray(source)  # type: ignore[arg-type]


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
    cause = "NumPy makes no array of numbers of it" if error is None else _first_line(error)
    return errors.DtypeError(what, cause=cause, remedy=remedy_for(source))


def _first_line(error: Exception) -> str:
    text = str(error).strip().split("\n")[0]
    return f"Its conversion raised {type(error).__name__}" + (f": {text}" if text else "")


def remedy_for(source: object) -> str:
    """What to pass instead, by what the object has, so that nobody's library needs to be imported."""
    if _attribute(source, "requires_grad") is True:
        return "Pass its detach()"
    if str(_attribute(source, "dtype")) == "torch.bfloat16":
        return 'Pass its view(torch.uint16).numpy(), and dtype="bfloat16"'
    if isinstance(source, np.ndarray):
        return "Convert it with astype() to what its elements are"
    for method in ("unpack", "toarray", "todense", "cpu", "to_numpy", "numpy"):
        if callable(_attribute(source, method)):
            return f"Pass its {method}()"
    return "Pass a NumPy array, a list of numbers, or an object that exports its memory to NumPy"


def _attribute(source: object, name: str) -> object:
    try:
        return getattr(source, name, None)
    except Exception:  # whatever a foreign object raises
        return None
