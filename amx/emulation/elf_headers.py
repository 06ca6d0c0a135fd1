"""The headers of 64-bit ELF files: ELF-64 object file format, and elf(5).

A module by itself since commands that only start a program do not import NumPy.
"""

from __future__ import annotations

import struct

ELFMAG, ELFCLASS64, ELFDATA2LSB, EM_X86_64 = b"\x7fELF", 2, 1, 62
PT_LOAD, PT_INTERP, PT_NOTE = 1, 3, 4

HEADER = struct.Struct("<16s 2H I 3Q I 6H")
PROGRAM_HEADER = struct.Struct("<2I 6Q")
SECTION_HEADER = struct.Struct("<2I 4Q 2I 2Q")

MOST_SEGMENTS = 65536 // PROGRAM_HEADER.size  # as fs/binfmt_elf.c (load_elf_phdrs) has it
