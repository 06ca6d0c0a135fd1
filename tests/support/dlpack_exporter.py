"""An exporter of DLPack made by hand: its capsules say whatever a test wants, and count their deletions."""

import ctypes
import itertools

import numpy as np

VERSIONED, UNVERSIONED = b"dltensor_versioned", b"dltensor"
READ_ONLY = 1
CODES = {"i": 0, "u": 1, "f": 2, "bfloat16": 4, "c": 5, "b": 6}


class Tensor(ctypes.Structure):
    """DLTensor of dlpack.h."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Managed(ctypes.Structure):
    """DLManagedTensor, from before version 1.0."""

    _fields_ = [("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", Deleter)]


class Versioned(ctypes.Structure):
    """DLManagedTensorVersioned."""

    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", Tensor),
    ]


_api = ctypes.pythonapi
_Destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, _Destructor)(
    ("PyCapsule_New", _api)
)
# The capsule by address: in its destructor it is no object any more.
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _api))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", _api)
)
_lent = {}  # by number: what its capsule's memory needs, until its deleter is called


@_Destructor
def _destroy(capsule):
    """As the protocol has it: a capsule that nobody has marked as used calls the deleter."""
    for name, kind in ((VERSIONED, Versioned), (UNVERSIONED, Managed)):
        if _is_valid(capsule, name):
            address = _pointer(capsule, name)
            kind.from_address(address).deleter(address)


class Exporter:
    """An object whose only way is DLPack, over the memory of a NumPy array.

    Parameters
    ----------
    array: what it lends; of ml_dtypes' bfloat16, too.
    name: of its capsules.
    flags, version: of a versioned one.
    device: what `__dlpack_device__` says.
    fields: of the DLTensor, which say something else than the array.
    """

    _numbers = itertools.count()

    def __init__(self, array, name=VERSIONED, *, flags=0, version=(1, 0), device=(1, 0), **fields):
        self.array, self.name, self.flags, self.version, self.device = array, name, flags, version, device
        self.fields, self.deleted, self.asked = fields, 0, []

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, **options):
        self.asked.append(options)
        array, step = self.array, self.array.itemsize
        integers = ctypes.c_int64 * array.ndim
        fields = {
            "data": array.ctypes.data,
            "device_type": 1,
            "ndim": array.ndim,
            "code": CODES["bfloat16" if array.dtype.name == "bfloat16" else array.dtype.kind],
            "bits": 8 * step,
            "lanes": 1,
            "shape": array.shape,
            "strides": tuple(stride // step for stride in array.strides),
            **self.fields,
        }
        for each in ("shape", "strides"):
            fields[each] = None if fields[each] is None else integers(*fields[each])
        number, kind = next(self._numbers), Versioned if self.name == VERSIONED else Managed

        @Deleter
        def delete(_):
            self.deleted += 1
            _lent.pop(number)

        managed = kind(deleter=delete, tensor=Tensor(**fields))
        if kind is Versioned:
            (managed.major, managed.minor), managed.flags = self.version, self.flags
        _lent[number] = managed, delete, array, fields
        return _new(ctypes.addressof(managed), self.name, _destroy)


class OldExporter(Exporter):
    """From before version 1.0, when `__dlpack__` took a stream alone."""

    def __init__(self, array, **fields):
        super().__init__(array, UNVERSIONED, **fields)

    def __dlpack__(self, *, stream=None):
        return super().__dlpack__(stream=stream)


def bfloat16_bits(array):
    """Of small integers, whose upper halves as float32 they are."""
    return (array.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
