"""What is installed is built so that a fault of ours is harder to use: by what the files themselves say."""

import importlib.util
import os
import platform
import re
from pathlib import Path

import hardening
import pytest
from elftools.elf.elffile import ELFFile

from amx._lib import lib

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or lib.amx_is_stub(), reason="x86-64 Linux only"
)

ENDBR64 = b"\xf3\x0f\x1e\xfa"
FORTIFIED = re.compile(r"__(?!stack_chk)\w+_chk$")
"""Functions of glibc that know how large what they write to is."""


@pytest.fixture(scope="module", params=["_native", "libamxemu.so", "amx-provoke"])
def built(request):
    native = Path(importlib.util.find_spec("amx._native").origin)
    places = {
        "_native": native,
        "libamxemu.so": native.parent / "emulation/libamxemu.so",
        "amx-provoke": native.parent / "conformance/amx-provoke",
    }
    with places[request.param].open("rb") as file:
        yield ELFFile(file)


def test_what_is_bound_is_read_only_before_anything_runs(built):
    """Full RELRO."""
    assert [*hardening.late_binding(built)] == []


def test_nothing_is_writable_and_executable(built):
    assert [*hardening.writable_code(built)] == []


def test_programs_run_at_any_address(built):
    assert [*hardening.fixed_address(built)] == []


def test_functions_with_arrays_have_a_canary(built):
    """-fstack-protector-strong."""
    assert "__stack_chk_fail" in hardening.imported(built)


def test_functions_of_the_c_library_know_the_sizes(built):
    """_FORTIFY_SOURCE, which is in the headers of glibc."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("this C library has no fortified functions")
    if (
        "_FORTIFY_SOURCE" in os.environ.get("CFLAGS", "")
        or os.environ.get("SKBUILD_CMAKE_BUILD_TYPE") == "Debug"
    ):
        pytest.skip("CFLAGS or the type of the build ask for something else")
    if any(name.startswith(("__asan", "__ubsan", "__tsan")) for name in hardening.imported(built)):
        pytest.skip("sanitizers look into the plain functions")
    assert any(map(FORTIFIED.match, hardening.imported(built)))


def test_what_is_jumped_to_says_so(built):
    """-fcf-protection: what is exported begins with ENDBR64, and so does what is called by pointers."""
    code = built.get_section_by_name(".text")
    content, start = code.data(), code["sh_addr"]
    functions = [
        (symbol.name, content[symbol["st_value"] - start :][:4])
        for symbol in hardening.symbols(built)
        if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_shndx"] != "SHN_UNDEF"
    ]
    assert [name for name, first in functions if first != ENDBR64] == []
    assert content.count(ENDBR64) > 50
