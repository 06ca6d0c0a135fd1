"""ELF files that say whatever a test wants: their headers, symbols, and programs that are headers only."""

import struct

PT_LOAD, PT_INTERP, PT_NOTE, PT_GNU_EH_FRAME = 1, 3, 4, 0x6474E550
R, RX = 4, 5
"""p_flags."""
SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB = 1, 2, 3
HEADER_BYTES, PROGRAM_BYTES, SECTION_BYTES, SYMBOL_BYTES = 64, 56, 64, 24
X86_64 = 62
PAGE = 4096


def header(headers, *, at=HEADER_BYTES, sections=(0, 0, 0), bits=64, machine=X86_64):
    """An ELF header; sections: e_shoff, e_shnum, e_shstrndx."""
    offset, count, names = sections
    ident = (b"\x7fELF" + bytes([bits // 32, 1, 1])).ljust(16, b"\0")
    sizes = HEADER_BYTES, PROGRAM_BYTES, headers, SECTION_BYTES, count, names
    return struct.pack("<16s2HI3QI6H", ident, 3, machine, 1, 0, at, offset, 0, *sizes)


def segment(kind=PT_LOAD, flags=RX, offset=0, address=0, size=PAGE):
    """A program header."""
    return struct.pack("<2I6Q", kind, flags, offset & (2**64 - 1), address, 0, size, size, PAGE)


def section(kind, offset, size, *, name=0, address=0, link=0):
    """A section header; name: its place among the names."""
    return struct.pack("<2I4Q2I2Q", name, kind, 2, address, offset, size, link, 0, 1, 0)


def function(name, address, size):
    """A symbol; name: its place among the strings."""
    return struct.pack("<IBBHQQ", name, 2, 0, 1, address, size)


def program(path, *, bits=64, machine=X86_64, loader=None):
    """An executable file that is headers only, with PT_LOAD and, for a loader, PT_INTERP."""
    name = (loader or "").encode() + b"\0"
    name_at = HEADER_BYTES + 2 * PROGRAM_BYTES
    segments = [segment(flags=R, size=0)]
    if loader:
        segments.append(segment(PT_INTERP, R, name_at, size=len(name)))
    headers = header(len(segments), bits=bits, machine=machine) + b"".join(segments)
    path.write_bytes(headers.ljust(name_at, b"\0") + name)
    path.chmod(0o755)
    return path
