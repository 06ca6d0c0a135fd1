"""Files in the safetensors format: named arrays behind a header of JSON, which somebody else may have made.

A file is the size of the header (8 bytes, lowest first), the header, and the elements of all tensors without
gaps. The library of that name is not used: it maps files, which ends the process where one is cut short
meanwhile, and NumPy has no bfloat16, which is uint16 with its bits here.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeGuard

import numpy as np

from amx import errors, foreign_file
from amx.arrays import Array
from amx.printable import printable
from amx.written_file import writing

__all__ = ["TYPES", "Tensor", "called", "is_shape", "read_tensors", "refuse", "write_tensors"]

TYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("<i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("<u1"),
    "BOOL": np.dtype("bool"),
}
_METADATA = "__metadata__"
_MOST_HEADER = 16 << 20  # bytes
_MOST_DIMENSIONS = 32
_MOST_OF_NOTHING = 1 << 24


@dataclass(frozen=True, slots=True)
class Tensor:
    """An array, and the name of its type in `TYPES`, whose dtype it has."""

    type: str
    array: Array


def called(name: str) -> str:
    """A name as it stands in errors."""
    return printable(repr(name if len(name) <= 80 else f"{name[:80]}..."))


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write a file, whole or not at all.

    Raises
    ------
    OSError: see `amx.written_file.writing`.
    """
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].array.itemsize, item[0]))  # all aligned
    header: dict[str, Any] = {_METADATA: dict(metadata)}
    end = 0
    for name, tensor in ordered:
        begin, end = end, end + tensor.array.nbytes
        header[name] = {"dtype": tensor.type, "shape": tensor.array.shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _MOST_HEADER:
        raise errors.SavedFileError(
            f"names and metadata are {len(text):,} bytes",
            cause=f"a header has {_MOST_HEADER:,} at most",
            remedy="save fewer objects in a file",
        )
    with writing(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in ordered:
            file.write(np.ascontiguousarray(tensor.array).reshape(-1).view(np.uint8).data)


def read_tensors(path: str | os.PathLike[str], most: int) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a file of up to `most` bytes, in new arrays, and the metadata.

    Raises
    ------
    OSError: it cannot be read, is no regular file, or has more bytes.
    SavedFileError: it is no such file, or its header is not true.
    """
    with foreign_file.opened(path, most=most) as file:
        if file.status.st_size < 8:
            refuse(path, f"it has {file.status.st_size} bytes, and the size of a header alone has 8")
        size = int.from_bytes(file.read(0, 8), "little")
        if not 2 <= size <= min(_MOST_HEADER, file.status.st_size - 8):
            refuse(path, f"its first 8 bytes are the size of a header of {size:,} bytes, which it has not")
        header = _parsed(path, file.read(8, size))
        metadata = header.pop(_METADATA, {})
        if not isinstance(metadata, dict) or not all(isinstance(each, str) for each in metadata.values()):
            refuse(path, f"{_METADATA} is not text by names")
        places = {name: _Place.of(path, name, entry) for name, entry in header.items()}
        end = 0
        for name, place in sorted(places.items(), key=lambda item: (item[1].begin, item[1].end)):
            if place.begin != end:
                refuse(path, f"{called(name)} begins at byte {place.begin}, where {end} is due")
            end = place.end
        if end != file.status.st_size - 8 - size:
            refuse(path, f"it has {file.status.st_size - 8 - size:,} bytes of elements, and names {end:,}")
        tensors = {}
        for name, place in places.items():
            content = bytearray(file.read(8 + size + place.begin, place.end - place.begin))
            if len(content) != place.end - place.begin:
                refuse(path, "it was cut short meanwhile")
            if place.type == "BOOL" and content.translate(None, b"\0\1"):
                refuse(path, f"{called(name)} is BOOL, and has other bytes than 0 and 1")
            array = np.frombuffer(content, TYPES[place.type]).reshape(place.shape)
            tensors[name] = Tensor(place.type, array.astype(array.dtype.newbyteorder("="), copy=False))
    return tensors, metadata


@dataclass(frozen=True, slots=True)
class _Place:
    """What the header says of a tensor."""

    type: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @classmethod
    def of(cls, path: str | os.PathLike[str], name: str, entry: Any) -> _Place:
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            refuse(path, f"{called(name)} has not just dtype, shape and data_offsets")
        kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(kind, str) or kind not in TYPES:
            refuse(
                path, f"{called(name)} is of {called(str(kind))}, and those read here are {', '.join(TYPES)}"
            )
        if not is_shape(shape):
            refuse(path, f"{called(name)} has no shape that an array can have")
        if not _are_sizes(offsets) or len(offsets) != 2:
            refuse(path, f"{called(name)} has no data_offsets")
        size = math.prod(shape) * TYPES[kind].itemsize
        if offsets[1] - offsets[0] != size:
            refuse(path, f"{called(name)} has {size} bytes by its shape, and others by its data_offsets")
        return cls(kind, tuple(shape), *offsets)


def is_shape(found: object) -> bool:
    """Whether it is one, of JSON; and of no elements not very many rows, for which a layer has scales."""
    return (
        _are_sizes(found)
        and len(found) <= _MOST_DIMENSIONS
        and (0 not in found or math.prod(filter(None, found)) <= _MOST_OF_NOTHING)
    )


def _are_sizes(found: object) -> TypeGuard[list[int]]:
    return isinstance(found, list) and all(type(each) is int and 0 <= each < 2**63 for each in found)


def _parsed(path: str | os.PathLike[str], text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        said = "too many brackets" if isinstance(error, RecursionError) else str(error)
        refuse(path, f"its header is no JSON: {printable(said[:200])}", error)
    return found if isinstance(found, dict) else refuse(path, "its header is no object")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands in it twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def refuse(path: str | os.PathLike[str], cause: str, error: Exception | None = None) -> NoReturn:
    """Raise the error about a file that is not what it should be."""
    raise errors.SavedFileError(
        f"{printable(os.fsdecode(path))} is no safetensors file that can be loaded",
        cause=cause,
        remedy="get it again from where it was made, or save it anew with amx.save_safetensors()",
    ) from error
