"""csrc/trap/code over files, as the tracer looks at them."""

import ctypes
import os

from compiling import ROOT, compile_c, objects

CPUID, XGETBV, CONFIG = 1, 2, 4
CODE = ("file", "scan", "image", "unwind_table", "insn_length")
SOURCES = [ROOT / "tests/c/code_scan.c", *(ROOT / f"csrc/trap/code/{name}.c" for name in CODE)]
SOURCES.append(ROOT / "csrc/emulator/decode.c")


class Found(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_uint), ("length", ctypes.c_uint), ("address", ctypes.c_uint64)]


def build(output, *flags, more=()):
    """A shared library for `load`; more: words for what links it."""
    return compile_c(output, [*objects(SOURCES, *flags), *more], "-shared", "-fPIC", *flags)


def load(path):
    library = ctypes.CDLL(str(path))
    library.scan_file.restype = library.first_difference.restype = ctypes.c_long
    library.insn_length.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    return library


def scan(library, path, kinds=CPUID | XGETBV | CONFIG):
    """(kind, address, length) of the first 4096 sites, and how many places could not be judged; or -errno."""
    found, unknown = (Found * 4096)(), ctypes.c_size_t()
    count = library.scan_file(os.fsencode(path), kinds, found, len(found), ctypes.byref(unknown))
    if count < 0:
        return count
    return [(each.kind, each.address, each.length) for each in found[:count]], unknown.value
