"""Matrices in .npy files: one reader, which believes nothing that a file says, and one writer."""

from __future__ import annotations

import math
import os
import stat
import warnings
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["read", "write"]

_LONGEST = 200  # characters of NumPy's own words, which quote the header


def read(file: BinaryIO) -> NDArray[Any]:
    """The array in a .npy file, which may be a pipe.

    Raises
    ------
    ValueError: it is no .npy file, or has fewer elements than it says, Python objects, or more than memory.
    OSError: it cannot be read.
    """
    shape, is_fortran, dtype = _header(file)
    if dtype.hasobject or dtype.itemsize == 0:
        raise ValueError(f"its elements are {dtype}, which are no numbers")
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or _is_less(file, size):
        raise _cut_short(shape, dtype)
    try:
        memory = np.empty(size, np.uint8)
    except (MemoryError, ValueError):
        raise ValueError(f"there is no memory for the {size} bytes that its header announces") from None
    begin, view = 0, memory.data
    while begin < size:
        count = file.readinto(view[begin:])  # type: ignore[attr-defined]  # a BufferedReader, or the like
        if not count:
            raise _cut_short(shape, dtype)
        begin += count
    try:
        return memory.view(dtype).reshape(shape, order="F" if is_fortran else "C")
    except (TypeError, ValueError) as error:  # more dimensions than NumPy has, say
        raise ValueError(
            f"its shape {_shortened(str(shape))} makes no array: {_shortened(str(error))}"
        ) from None


def write(file: BinaryIO, array: NDArray[Any]) -> None:
    """An array as a .npy file. NumPy would write to a real file past Python, and not know what went wrong."""
    np.lib.format.write_array(SimpleNamespace(write=file.write), array, allow_pickle=False)


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """As NumPy parses it, with the errors of that as ValueError: it evaluates Python, of any depth."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on what its literals look like
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                return np.lib.format.read_array_header_1_0(file)
            if version in ((2, 0), (3, 0)):  # which differ in the encoding of names of fields alone
                return np.lib.format.read_array_header_2_0(file)
            raise ValueError(f"it is of version {version[0]}.{version[1]}, and NumPy's are 1.0 to 3.0")
    except OSError:
        raise
    except Exception as error:
        words = str(error)
        if isinstance(error, ValueError) and not words.startswith("malformed node"):  # which are the parser's
            raise ValueError(_shortened(words)) from None
        raise ValueError(f"its header cannot be parsed ({type(error).__name__})") from None


def _is_less(file: BinaryIO, size: int) -> bool:
    """Whether a regular file ends before so many more bytes. Others are read to see."""
    try:
        found = os.fstat(file.fileno())
    except OSError:  # no file of the system's
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size - file.tell() < size


def _cut_short(shape: tuple[int, ...], dtype: np.dtype[Any]) -> ValueError:
    return ValueError(f"its header announces {_shortened(str(shape))} elements of {dtype}, and it has fewer")


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
