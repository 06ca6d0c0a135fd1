"""What a built file (ELF) says of itself that makes a fault in it harder to use, and what it needs.

For ci/wheels and the tests.
"""

from __future__ import annotations

from collections.abc import Iterator

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Symbol

PF_X, PF_W = 1, 2
DF_BIND_NOW, DF_1_NOW = 8, 1


def segments(elf: ELFFile, kind: str) -> list:
    """The segments of a kind."""
    return [segment for segment in elf.iter_segments() if segment["p_type"] == kind]


def dynamic(elf: ELFFile) -> dict[str, list]:
    """By the names of tags; of a file that is linked statically, nothing."""
    tags: dict[str, list] = {}
    for segment in segments(elf, "PT_DYNAMIC"):
        for tag in segment.iter_tags():
            tags.setdefault(tag.entry.d_tag, []).append(tag)
    return tags


def has_flag(elf: ELFFile, tag: str, flag: int) -> bool:
    """Whether DT_FLAGS or DT_FLAGS_1 has that bit."""
    return any(found.entry.d_val & flag for found in dynamic(elf).get(tag, []))


def libraries(elf: ELFFile) -> set[str]:
    """What it is linked with."""
    return {tag.needed for tag in dynamic(elf).get("DT_NEEDED", [])}


def symbols(elf: ELFFile) -> list[Symbol]:
    """Those that are bound dynamically."""
    section = elf.get_section_by_name(".dynsym")
    return list(section.iter_symbols()) if section else []


def imported(elf: ELFFile) -> set[str]:
    """The names that others define."""
    return {symbol.name for symbol in symbols(elf) if symbol["st_shndx"] == "SHN_UNDEF"}


def late_binding(elf: ELFFile) -> Iterator[str]:
    """Faults where what is bound can be written to when code of ours runs: no full RELRO."""
    tags = dynamic(elf)
    if not segments(elf, "PT_GNU_RELRO"):
        yield "no segment becomes read-only after relocation (-z relro)"
    now = has_flag(elf, "DT_FLAGS", DF_BIND_NOW) or has_flag(elf, "DT_FLAGS_1", DF_1_NOW)
    if tags and not now and "DT_BIND_NOW" not in tags:
        yield "functions are bound lazily (no -z now)"


def writable_code(elf: ELFFile) -> Iterator[str]:
    """Faults where memory is writable and executable: a stack, a segment, code with relocations."""
    stacks = segments(elf, "PT_GNU_STACK")
    if not stacks:
        yield "it does not say that its stack is not executable (PT_GNU_STACK)"
    for segment in [*segments(elf, "PT_LOAD"), *stacks]:
        if segment["p_flags"] & (PF_W | PF_X) == PF_W | PF_X:
            what = "the stack" if segment in stacks else f"the segment at {segment['p_vaddr']:#x}"
            yield f"{what} is writable and executable"
    if "DT_TEXTREL" in dynamic(elf):
        yield "its code is changed by relocations (DT_TEXTREL)"


def fixed_address(elf: ELFFile) -> Iterator[str]:
    """A program that is not position-independent; one that is linked statically, for an initramfs, may be."""
    if elf["e_type"] != "ET_DYN" and dynamic(elf):
        yield "the program is loaded at a fixed address (no PIE)"


def search_path(elf: ELFFile) -> Iterator[str]:
    """Where it has libraries looked for, which is nowhere of its own."""
    for name in ("DT_RPATH", "DT_RUNPATH"):
        for tag in dynamic(elf).get(name, []):
            yield f"it looks for libraries in {getattr(tag, name[3:].lower())} ({name})"


def faults(elf: ELFFile) -> list[str]:
    """All of these."""
    return [
        fault for look in (late_binding, writable_code, fixed_address, search_path) for fault in look(elf)
    ]
