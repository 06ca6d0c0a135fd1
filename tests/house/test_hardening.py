"""What is installed is built so that a fault of ours is harder to use: by what the files themselves say."""

import importlib.util
import os
import platform
import re
import struct
from pathlib import Path

import pytest

from amx._lib import lib

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or lib.amx_is_stub(), reason="x86-64 Linux only"
)

PT_LOAD, PT_DYNAMIC, PT_GNU_STACK, PT_GNU_RELRO = 1, 2, 0x6474E551, 0x6474E552
PF_X, PF_W = 1, 2
DT_TEXTREL, DT_BIND_NOW, DT_FLAGS, DT_FLAGS_1 = 22, 24, 30, 0x6FFFFFFB
DF_BIND_NOW, DF_1_NOW = 8, 1
SHT_DYNSYM = 11
UNDEFINED, STT_FUNC = 0, 2
ENDBR64 = b"\xf3\x0f\x1e\xfa"
FORTIFIED = re.compile(r"__(?!stack_chk)\w+_chk$")
"""Functions of glibc that know how large what they write to is."""


class Elf:
    """A file as the dynamic linker reads it."""

    def __init__(self, path):
        self.content = Path(path).read_bytes()
        at, sections_at, size, count, section_size, sections = struct.unpack_from("<32x2Q6x4H", self.content)
        self.segments = [struct.unpack_from("<2I5Q", self.content, at + i * size) for i in range(count)]
        self.sections = [
            struct.unpack_from("<2I4Q2I2Q", self.content, sections_at + i * section_size)
            for i in range(sections)
        ]
        self.dynamic = dict(self._dynamic())

    def offset(self, address):
        for kind, _, offset, start, _, size, _ in self.segments:
            if kind == PT_LOAD and start <= address < start + size:
                return offset + address - start
        raise AssertionError(f"nothing is at {address:#x}")

    def of_kind(self, kind):
        return [segment for segment in self.segments if segment[0] == kind]

    def _dynamic(self):
        [(_, _, offset, _, _, size, _)] = self.of_kind(PT_DYNAMIC)
        yield from struct.iter_unpack("<2Q", self.content[offset : offset + size])

    def symbols(self):
        """(name, type, section, address) of those that are bound dynamically."""
        [table] = [section for section in self.sections if section[1] == SHT_DYNSYM]
        offset, size, strings = table[4], table[5], self.sections[table[6]][4]
        for symbol in struct.iter_unpack("<I2BH2Q", self.content[offset : offset + size]):
            name, info, _, section, address, _ = symbol
            end = self.content.index(b"\0", strings + name)
            yield self.content[strings + name : end].decode(), info & 15, section, address

    def imported(self):
        return {name for name, _, section, _ in self.symbols() if section == UNDEFINED}


@pytest.fixture(scope="module", params=["_native", "libamxemu.so", "amx-provoke"])
def built(request):
    native = Path(importlib.util.find_spec("amx._native").origin)
    places = {
        "_native": native,
        "libamxemu.so": native.parent / "emulation/libamxemu.so",
        "amx-provoke": native.parent / "conformance/amx-provoke",
    }
    return Elf(places[request.param])


def test_what_is_bound_is_read_only_before_anything_runs(built):
    """Full RELRO."""
    assert built.of_kind(PT_GNU_RELRO)
    flags = built.dynamic.get(DT_FLAGS, 0) & DF_BIND_NOW or built.dynamic.get(DT_FLAGS_1, 0) & DF_1_NOW
    assert flags or DT_BIND_NOW in built.dynamic


def test_nothing_is_writable_and_executable(built):
    for _, flags, *_ in [*built.of_kind(PT_LOAD), *built.of_kind(PT_GNU_STACK)]:
        assert flags & (PF_W | PF_X) != PF_W | PF_X
    assert built.of_kind(PT_GNU_STACK)
    assert DT_TEXTREL not in built.dynamic


def test_functions_with_arrays_have_a_canary(built):
    """-fstack-protector-strong."""
    assert "__stack_chk_fail" in built.imported()


def test_functions_of_the_c_library_know_the_sizes(built):
    """_FORTIFY_SOURCE, which is in the headers of glibc."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("this C library has no fortified functions")
    if (
        "_FORTIFY_SOURCE" in os.environ.get("CFLAGS", "")
        or os.environ.get("SKBUILD_CMAKE_BUILD_TYPE") == "Debug"
    ):
        pytest.skip("CFLAGS or the type of the build ask for something else")
    if any(name.startswith(("__asan", "__ubsan", "__tsan")) for name in built.imported()):
        pytest.skip("sanitizers look into the plain functions")
    assert any(map(FORTIFIED.match, built.imported()))


def test_what_is_jumped_to_says_so(built):
    """-fcf-protection: what is exported begins with ENDBR64, and so does what is called by pointers."""
    functions = [
        (name, built.content[built.offset(address) :][:4])
        for name, kind, section, address in built.symbols()
        if kind == STT_FUNC and section != UNDEFINED
    ]
    assert [name for name, code in functions if code != ENDBR64] == []
    assert built.content.count(ENDBR64) > 50
