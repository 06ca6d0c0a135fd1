"""ci/wheels.py finds what is wrong with a wheel: each fault is planted in one made of what is installed."""

import importlib.util
import json
import platform
import zipfile
from pathlib import Path

import children
import pytest
import wheels
import zigcc
from elftools.elf.elffile import ELFFile

from amx._lib import lib
from amx.version import __version__

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or lib.amx_is_stub(), reason="x86-64 Linux only"
)

DIST_INFO = f"linux_amx-{__version__}.dist-info"
TAGS = "cp311-abi3-manylinux_2_28_x86_64"
NATIVE = "amx/_native.abi3.so"
EMULATOR = "amx/emulation/libamxemu.so"
PROVOKE = "amx/conformance/amx-provoke"
STATIC = "amx/conformance/amx-provoke-static"
BILL = f"{DIST_INFO}/sboms/linux-amx.cdx.json"
COMPONENTS = ["cffi", "Optical Recognition of Handwritten Digits", "musl"]


def bill(*components, version=__version__):
    return json.dumps(
        {
            "metadata": {"component": {"version": version}},
            "components": [{"name": name} for name in components],
        }
    ).encode()


@pytest.fixture(scope="module")
def installed():
    """The files of a wheel by their names; of those that are compiled, what this build made of them."""
    native = Path(importlib.util.find_spec("amx._native").origin)
    files = {name: (native.parent / name.removeprefix("amx/")).read_bytes() for name in (EMULATOR, PROVOKE)}
    files |= {NATIVE: native.read_bytes(), STATIC: files[PROVOKE], BILL: bill(*COMPONENTS)}
    files |= {f"{DIST_INFO}/{name}": b"" for name in wheels.IN_DIST_INFO if "sboms" not in name}
    files |= {name: b"" for name in wheels.NEEDED if name not in files}
    return files | {f"{DIST_INFO}/WHEEL": f"Tag: {TAGS}\n".encode()}


@pytest.fixture
def faults(installed, tmp_path):
    """What is found in a wheel with these files instead; None: without that one."""

    def find(changes, tags=TAGS, mode=0o755, sdist=None):
        path = tmp_path / f"linux_amx-{__version__}-{tags}.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in {**installed, **changes}.items():
                if content is not None:
                    entry = zipfile.ZipInfo(name)
                    entry.external_attr = mode << 16
                    archive.writestr(entry, content)
        return set(wheels.of_wheel(wheels.Wheel.read(path), sdist))

    return find


@pytest.fixture
def without(faults):
    return faults({})


def changed(content, offset, new):
    return content[:offset] + new + content[offset + len(new) :]


def segment_at(content, kind, tmp_path):
    """Where the header of the first segment of that kind is."""
    path = tmp_path / "elf"
    path.write_bytes(content)
    with path.open("rb") as file:
        elf = ELFFile(file)
        kinds = [segment["p_type"] for segment in elf.iter_segments()]
        return elf["e_phoff"] + kinds.index(kind) * elf["e_phentsize"]


def tag_at(content, kind, tmp_path):
    path = tmp_path / "elf"
    path.write_bytes(content)
    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".dynamic")
        kinds = [tag.entry.d_tag for tag in section.iter_tags()]
        return section["sh_offset"] + kinds.index(kind) * section["sh_entsize"]


def test_a_stack_that_is_executable(faults, without, installed, tmp_path):
    at = segment_at(installed[EMULATOR], "PT_GNU_STACK", tmp_path)
    found = faults({EMULATOR: changed(installed[EMULATOR], at + 4, b"\x07")})
    assert found - without == {f"{EMULATOR}: the stack is writable and executable"}


def test_a_file_that_says_nothing_of_its_stack(faults, without, installed, tmp_path):
    at = segment_at(installed[NATIVE], "PT_GNU_STACK", tmp_path)
    [fault] = faults({NATIVE: changed(installed[NATIVE], at, bytes(4))}) - without
    assert "PT_GNU_STACK" in fault


def test_a_segment_that_stays_writable(faults, without, installed, tmp_path):
    at = segment_at(installed[NATIVE], "PT_GNU_RELRO", tmp_path)
    [fault] = faults({NATIVE: changed(installed[NATIVE], at, bytes(4))}) - without
    assert "(-z relro)" in fault


def test_functions_that_are_bound_lazily(faults, without, installed, tmp_path):
    content = installed[PROVOKE]
    for tag in ("DT_FLAGS", "DT_FLAGS_1"):
        content = changed(content, tag_at(content, tag, tmp_path) + 8, bytes(8))
    assert faults({PROVOKE: content}) - without == {f"{PROVOKE}: functions are bound lazily (no -z now)"}


@pytest.mark.parametrize(("tag", "number"), [("DT_RPATH", 15), ("DT_RUNPATH", 29)])
def test_a_path_where_libraries_are_looked_for(faults, without, installed, tmp_path, tag, number):
    at = tag_at(installed[EMULATOR], "DT_NEEDED", tmp_path)
    found = faults({EMULATOR: changed(installed[EMULATOR], at, number.to_bytes(8, "little"))})
    assert found - without == {f"{EMULATOR}: it looks for libraries in libc.so.6 ({tag})"}


def test_a_program_at_a_fixed_address(faults, without, installed):
    found = faults({PROVOKE: changed(installed[PROVOKE], 16, b"\x02")})
    assert found - without == {f"{PROVOKE}: the program is loaded at a fixed address (no PIE)"}


def test_a_library_that_is_none_of_the_c_library(faults, without, installed):
    found = faults({EMULATOR: installed[EMULATOR].replace(b"libc.so.6\0", b"libz.so.1\0")})
    assert f"{EMULATOR}: it needs libz.so.1" in found - without


def test_a_program_of_the_other_c_library(faults, without):
    tags = TAGS.replace("manylinux_2_28", "musllinux_1_2")
    assert f"{PROVOKE}: it needs libc.so.6" in faults({}, tags=tags) - without


def test_an_emulator_that_is_initialised_late(faults, without, installed, tmp_path):
    at = tag_at(installed[EMULATOR], "DT_FLAGS_1", tmp_path)
    assert installed[EMULATOR][at + 8] & wheels.DF_1_INITFIRST
    late = changed(installed[EMULATOR], at + 8, b"\x01")
    [fault] = faults({EMULATOR: late}) - without
    assert "(-z initfirst)" in fault
    path = tmp_path / "late.so"
    path.write_bytes(late)
    zigcc.set_initfirst(path)
    assert faults({EMULATOR: path.read_bytes()}) == without


def test_a_static_program_that_is_not(faults):
    """The one of this fixture is the other program."""
    assert f"{STATIC}: it is not linked statically" in faults({})


@pytest.mark.parametrize("place", ["/home/somebody", "/tmp/build", str(children.ROOT)])
@pytest.mark.parametrize("name", [NATIVE, BILL])
def test_a_path_of_the_machine_that_built_it(faults, without, installed, place, name):
    found = faults({name: installed[name] + f" {place}/csrc/amx.c".encode()}) - without
    assert any(f"{name}: it names {place}" in fault for fault in found)


def test_what_python_files_say_is_no_path_of_a_machine(faults, without):
    assert faults({"amx/__init__.py": b"# as in /home/somebody"}) == without


def test_one_that_is_too_large(faults, without, monkeypatch):
    monkeypatch.setattr(wheels, "LARGEST", 2**16)
    [fault] = faults({}) - without
    assert "MiB, and not" in fault


@pytest.mark.parametrize("name", [*wheels.NEEDED, *(f"{DIST_INFO}/{name}" for name in wheels.IN_DIST_INFO)])
def test_a_file_that_is_missing(faults, without, name):
    assert f"{name} is missing" in faults({name: None}) - without


@pytest.mark.parametrize(
    "name",
    [
        "tests/test_gemm.py",
        "amx/tests/__init__.py",
        "amx/gemm.c",
        "amx/__pycache__/gemm.cpython-311.pyc",
        "amx/.cache",
    ],
)
def test_what_is_of_tests_or_the_build(faults, without, name):
    assert faults({name: b""}) - without == {f"{name}: it is of the tests or the build"}


def test_thread_local_variables_that_musl_does_not_load(faults, installed, tmp_path):
    at = tag_at(installed[NATIVE], "DT_FLAGS", tmp_path) + 8
    static = changed(installed[NATIVE], at, (8 | 16).to_bytes(8, "little"))  # BIND_NOW and STATIC_TLS
    lazy = changed(installed[NATIVE], at, (8).to_bytes(8, "little"))
    on_musl = TAGS.replace("manylinux_2_28", "musllinux_1_2")
    [fault] = faults({NATIVE: static}, on_musl) - faults({NATIVE: lazy}, on_musl)
    assert "initial-exec" in fault
    assert faults({NATIVE: static}) == faults({NATIVE: lazy})


def test_a_program_that_nothing_can_be_preloaded_into(faults, without, installed, tmp_path):
    at = segment_at(installed[PROVOKE], "PT_INTERP", tmp_path)
    [fault] = faults({PROVOKE: changed(installed[PROVOKE], at, bytes(4))}) - without
    assert f"{PROVOKE}: it is linked statically" in fault


def test_a_binary_that_is_not_ours(faults, without, installed):
    found = faults({"amx/libgomp.so.1": installed[EMULATOR]})
    assert found - without == {"amx/libgomp.so.1: it is no file of ours"}


@pytest.mark.parametrize("interpreter", ["cpython-314t-x86_64-linux-gnu", "abi3t-x86_64-linux-musl"])
def test_a_second_compiled_module(faults, without, installed, interpreter):
    second = f"amx/_native.{interpreter}.so"
    assert (
        f"compiled modules: {NATIVE}, {second}, and not one" in faults({second: installed[NATIVE]}) - without
    )


def test_a_program_that_cannot_be_executed(faults, without):
    assert f"{PROVOKE}: it is not executable" in faults({}, mode=0o644) - without


def test_one_that_nobody_repaired(faults, without):
    [fault] = [fault for fault in faults({}, tags="cp311-abi3-linux_x86_64") - without if "platform" in fault]
    assert "linux_x86_64" in fault


def test_other_tags_than_its_name_has(faults, without):
    [fault] = faults({f"{DIST_INFO}/WHEEL": b"Tag: cp312-abi3-linux_x86_64\n"}) - without
    assert "cp312-abi3-linux_x86_64" in fault


def test_python_that_is_otherwise_than_in_the_sdist(faults, installed):
    ours = {"amx/a.py": b"", "amx/b.py": b""}
    sdist = {**installed, **ours, "amx/b.py": b"x"}
    assert "amx/b.py: it is not that of the sdist" in faults(ours, sdist=sdist)
    assert "amx/a.py: it is not that of the sdist" not in faults(ours, sdist=sdist)


@pytest.mark.parametrize("left_out", COMPONENTS)
def test_a_bill_that_leaves_something_out(faults, without, left_out):
    [fault] = faults({BILL: bill(*(name for name in COMPONENTS if name != left_out))}) - without
    assert "it lacks" in fault


@pytest.mark.parametrize("content", [b"{", b"[]", bill(*COMPONENTS, version="0.0.1")])
def test_a_bill_that_is_none_of_this_release(faults, without, content):
    [fault] = faults({BILL: content}) - without
    assert BILL in fault


def test_what_is_no_wheel_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="no wheel or sdist"):
        wheels.main(str(tmp_path / "nothing.whl"))
