"""csrc/trap/code over files, as the tracer looks at them; and ELF files that say whatever a test wants."""

import ctypes
import os
import struct

from compiling import EMULATOR, ROOT, compile_c, objects

CPUID, XGETBV, CONFIG = 1, 2, 4
CODE = ("file", "scan", "image", "unwind_table", "insn_length")
SOURCES = [ROOT / "tests/c/code_scan.c", *(ROOT / f"csrc/trap/code/{name}.c" for name in CODE)]

PT_LOAD, PT_GNU_EH_FRAME = 1, 0x6474E550
R, RX = 4, 5
"""p_flags."""
PAGE = 4096


class Found(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_uint), ("length", ctypes.c_uint), ("address", ctypes.c_uint64)]


def build(output, *flags):
    return compile_c(output, [*objects(SOURCES, *flags), *objects(EMULATOR)], "-shared", "-fPIC", *flags)


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


def header(headers, *, at=64, sections=(0, 0, 0)):
    """An ELF header; sections: e_shoff, e_shnum, e_shstrndx."""
    offset, count, names = sections
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    return struct.pack("<16s2HI3QI6H", ident, 3, 62, 1, 0, at, offset, 0, 64, 56, headers, 64, count, names)


def segment(kind=PT_LOAD, flags=RX, offset=0, address=0, size=PAGE):
    return struct.pack("<2I6Q", kind, flags, offset & (2**64 - 1), address, 0, size, size, PAGE)


def section(name, address, offset, size):
    """A section header; name: its place among the names."""
    return struct.pack("<2I4Q2I2Q", name, 1, 2, address, offset, size, 0, 0, 1, 0)
