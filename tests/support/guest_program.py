"""Stand-ins for what a guest is made of: a program that needs nothing, and a kernel's header."""

import struct


def elf(*, interpreter=False, machine=62, kind=2, segments=True):
    """The headers of an ELF file; nothing would run it."""
    kinds = ([3] if interpreter else []) + ([1] if segments else [])
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<16s2HI3QI6H", identity, kind, machine, 1, 0, 64, 0, 0, 64, 56, len(kinds), 0, 0, 0)
    return header + b"".join(struct.pack("<2I6Q", each, 5, 0, 0, 0, 0, 0, 0) for each in kinds)


def bzimage():
    """What boot protocol 2.00 and newer begins with."""
    return bytes(0x1FE) + b"\x55\xaa\xeb\x66HdrS" + bytes(512)
