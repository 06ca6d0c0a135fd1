"""NumPy's array objects, read by C where they lie: address, shape, strides and flags, behind id().

Why: asking an array for them costs more than a small product. An empty packed product takes 1.1 us this way;
with the capsules that `__array_struct__` makes of operand and result it takes 0.27 us more, before anybody
has looked into them, with cffi's `from_buffer` 0.8 us, with `ctypes.data` or `__array_interface__` over 3 us.

What it rests on: CPython's id() is the object's address; an object's own fields follow its header, of
`object.__basicsize__` bytes; and NumPy's fields are those of PyArrayObject_fields in its ndarraytypes.h,
which every extension module that was compiled against NumPy reads in place too (PyArray_DATA and the like are
inline). None of it is believed: at import, what C reads of two arrays is compared with what NumPy says of
them, and without agreement C reads none, and products take the longer way.
"""

from __future__ import annotations

import sys

import numpy as np

from amx._lib import ffi, lib

__all__ = ["layer_arrays", "multiply_arrays", "read_arrays_in_place"]

_ARRAY_FIELDS = 60  # bytes of what C reads of an array object

# By engine, instruction, threads, the ids of a and b (or 0), what b is packed in (or NULL), and the id of c.
multiply_arrays = lib.amx_gemm_arrays
# By engine, threads, a struct amx_layer, types and ids of x and residual (or 0), and the id of out.
layer_arrays = lib.amx_layer_arrays


def read_arrays_in_place() -> None:
    """Tell C where an array's fields are, if a trial shows that it finds them there.

    CPython's id() is the object's address.
    """
    header = object.__basicsize__
    known = sys.implementation.name == "cpython" and sys.maxsize == 2**63 - 1
    if not known or np.ndarray.__basicsize__ < header + _ARRAY_FIELDS:
        return
    lib.amx_arrays_header(header)
    trial = np.zeros((5, 7), np.int32)[1:4, 2:5]
    trial.flags.writeable = False
    found = ffi.new("struct amx_array *")
    for array in (trial, np.zeros((3, 4), np.float32)):
        lib.amx_arrays_read(id(array), found)
        read = found.data, found.dimensions, found.flags, tuple(found.shape), tuple(found.strides)
        address = array.__array_interface__["data"][0]
        if read != (address, 2, array.flags.num, array.shape, array.strides):
            lib.amx_arrays_header(0)
            return  # what would be read next is no array's


read_arrays_in_place()
