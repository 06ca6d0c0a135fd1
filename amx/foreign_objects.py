"""What an object of another library is, asked without trust: its kind, its ways, and what to pass instead."""

from __future__ import annotations

import numpy as np

__all__ = ["attribute_of", "described", "first_line", "remedy_for", "ways_of"]

_WAYS = ("__array_interface__", "__array_struct__", "__array__", "__dlpack__")


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
    return [way for way in _WAYS if attribute_of(source, way) is not None]


def remedy_for(source: object) -> str:
    """What to pass instead, by what the object has, so that nobody's library needs to be imported."""
    if isinstance(source, np.ndarray):
        return "Convert it with astype() to what its elements are"
    for method in ("unpack", "toarray", "todense", "cpu", "to_numpy", "numpy"):
        if callable(attribute_of(source, method)):
            return f"Pass its {method}()"
    return "Pass a NumPy array, a list of numbers, or an object that exports its memory to NumPy"


def attribute_of(source: object, name: str) -> object:
    """Of this name; None if it has none, or raises anything."""
    try:
        return getattr(source, name, None)
    except Exception:  # whatever a foreign object raises
        return None


def first_line(error: Exception) -> str:
    """What an error of a foreign object says, in one line."""
    text = str(error).strip().split("\n")[0]
    return type(error).__name__ + (f": {text}" if text else "")
