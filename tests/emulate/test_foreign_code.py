"""Files made to harm who looks at their code: each is refused, or looked at for a bounded price."""

import ctypes
import errno
import mmap
import os
import platform
import random
import socket
import struct
import subprocess

import children
import elf_writing
import pytest
import scanning
from compiling import ROOT, compile_c
from elf_writing import PAGE, PT_GNU_EH_FRAME, SHT_PROGBITS, R

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="about x86-64 code")

HEADERS_MOST = 1170
BYTES_MOST = 1 << 30
SPAN_MOST = 1 << 32
WORK_MOST = 1 << 25
CPUID = b"\x0f\xa2"
NOP = b"\x90"

SCANS = """
import sys, scanning
library = scanning.load(sys.argv[1])
for path in sys.argv[2:]:
    print(scanning.scan(library, path), flush=True)
"""
CUTS = """
import ctypes, sys, scanning
library = scanning.load(sys.argv[1])
ctypes.c_int.in_dll(library, "scan_cuts_off").value = 1
print(scanning.scan(library, sys.argv[2]))
"""


@pytest.fixture(scope="module")
def path_of_library(tmp_path_factory):
    return scanning.build(tmp_path_factory.mktemp("foreign_code") / "code_scan.so")


@pytest.fixture(scope="module")
def library(path_of_library):
    return scanning.load(path_of_library)


def write(path, *parts, size=None):
    """A file of these parts, each from its place on; sparse where nothing is."""
    with path.open("wb") as file:
        for place, content in parts:
            file.seek(place)
            file.write(content)
        if size is not None:
            file.truncate(size)
    return path


def elf(path, *segments, size=None, code=(), **options):
    headers = elf_writing.header(len(segments), **options) + b"".join(segments)
    return write(path, (0, headers), *code, size=size)


def test_a_file_of_code_that_is_in_order(library, tmp_path):
    """What the hostile ones below differ from."""
    code = b"\xb8\x07\0\0\0" + CPUID  # mov $7, %eax
    path = elf(tmp_path / "file", elf_writing.segment(offset=PAGE), size=2 * PAGE, code=[(PAGE + 16, code)])
    assert scanning.scan(library, path) == ([(scanning.CPUID, 21, 2)], 0)


@pytest.mark.parametrize("kind", ["FIFO", "link to a FIFO", "directory", "socket", "/dev/zero", "/dev/tty"])
def test_what_is_no_regular_file_is_refused(library, tmp_path, kind):
    path = tmp_path / "file"
    if kind == "directory":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(os.fspath(path))
    elif kind.startswith("/dev"):
        path = kind
        if not os.path.exists(path):
            pytest.skip(f"there is no {path} here")
    else:
        os.mkfifo(tmp_path / "fifo")
        path.symlink_to("fifo") if kind == "link to a FIFO" else os.rename(tmp_path / "fifo", path)
    assert scanning.scan(library, path) == -errno.ENOEXEC


def test_a_fifo_is_not_opened(library, tmp_path):
    """Who waits for a reader of it goes on waiting."""
    os.mkfifo(tmp_path / "fifo")
    script = ["sh", "-c", "echo waits && exec 3>fifo"]
    with children.start(script, cwd=tmp_path, stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"waits\n"
        for _ in range(20):
            assert scanning.scan(library, tmp_path / "fifo") == -errno.ENOEXEC
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(0.3)
        with open(tmp_path / "fifo", "rb"):
            assert writer.wait(60) == 0


def test_a_missing_file(library, tmp_path):
    assert scanning.scan(library, tmp_path / "none") == -errno.ENOENT


def test_a_file_that_is_cut_off_meanwhile(path_of_library, tmp_path):
    """When its first site is found: it was read, and whoever had mapped it would die of SIGBUS."""
    size, code = 64 * PAGE, b"\xb8\x07\0\0\0" + CPUID
    path = elf(
        tmp_path / "file", elf_writing.segment(size=size), size=size, code=[(PAGE, code), (size - PAGE, code)]
    )
    result = children.run_python("-c", CUTS, path_of_library, path)
    found = [(scanning.CPUID, PAGE + 5, 2), (scanning.CPUID, size - PAGE + 5, 2)]
    assert (children.how_it_ended(result), result.stdout) == (0, f"({found}, 0)\n")
    assert path.stat().st_size == 0


@pytest.mark.parametrize(
    ("count", "expected"), [(1, ([], 0)), (HEADERS_MOST, ([], 0)), (HEADERS_MOST + 1, None)]
)
def test_the_number_of_segments_is_limited(library, tmp_path, count, expected):
    """To as many as the kernel takes of a program; a file may say 65,535."""
    path = elf(tmp_path / "file", *[elf_writing.segment()] * count, size=1 << 20)
    assert scanning.scan(library, path) == (-errno.EFBIG if expected is None else expected)


@pytest.mark.parametrize("count", [1, 64])
def test_what_the_segments_hold_together_is_limited(library, tmp_path, count):
    """Also where they are the same bytes of a sparse file again and again."""
    size = BYTES_MOST // count
    files = [
        elf(tmp_path / str(more), *[elf_writing.segment(size=size + more)] * count, size=2 * BYTES_MOST)
        for more in (0, 1)
    ]
    assert [scanning.scan(library, path) for path in files] == [([], 0), -errno.EFBIG]


def test_the_distance_of_segments_is_limited(library, tmp_path):
    for address, expected in (
        (SPAN_MOST - PAGE, ([], 0)),
        (SPAN_MOST, -errno.EFBIG),
        (1 << 63, -errno.EFBIG),
    ):
        path = elf(tmp_path / "file", elf_writing.segment(), elf_writing.segment(address=address), size=PAGE)
        assert scanning.scan(library, path) == expected


def test_what_can_be_written_is_not_read(library, tmp_path):
    """Data may be of any size, and code that can be written is never changed."""
    path = elf(
        tmp_path / "file",
        elf_writing.segment(offset=PAGE),
        elf_writing.segment(flags=6, address=PAGE, size=2 * BYTES_MOST),
        size=2 * BYTES_MOST,
    )
    assert scanning.scan(library, path) == ([], 0)


@pytest.mark.parametrize(
    ("segment", "at"),
    [
        (elf_writing.segment(address=2**64 - PAGE), 64),
        (elf_writing.segment(offset=2**64 - PAGE), 64),
        (elf_writing.segment(offset=2**63), 64),
        (elf_writing.segment(size=2**64 - 1), 64),
        (elf_writing.segment(size=2 * PAGE), 64),
        (elf_writing.segment(address=1), 64),
        (elf_writing.segment(), 2**63 - 1),
        (elf_writing.segment(), 2**64 - 1),
    ],
    ids=[
        "address",
        "offset",
        "negative offset",
        "size",
        "beyond the end",
        "alignment",
        "headers",
        "headers -1",
    ],
)
def test_numbers_that_no_file_can_have(library, tmp_path, segment, at):
    path = elf(tmp_path / "file", segment, size=PAGE, at=at)
    assert scanning.scan(library, path) == -errno.ENOEXEC


def test_sections_without_number_or_place(library, tmp_path):
    for sections in ((2**64 - 8, 65535, 65535), (0, 65535, 0), (2**63, 1, 1), (PAGE, 65535, 2)):
        path = elf(tmp_path / "file", elf_writing.segment(), size=PAGE, sections=sections)
        assert scanning.scan(library, path) == ([], 0)


def test_places_that_are_costly_to_judge_are_given_up(library, tmp_path):
    """Of a file that is full of CPUID's bytes, what is behind the most work is one unknown place."""
    size = 2 << 20
    path = elf(tmp_path / "file", elf_writing.segment(size=size), code=[(PAGE, CPUID * ((size - PAGE) // 2))])
    _, unknown = scanning.scan(library, path)
    assert 1000 < unknown < (size - PAGE) // 2


def common_record(encoding):
    """A CIE; addresses in its FDEs are from where they stand on: of 4 bytes with 0x1B, of 8 with 0x1C."""
    return struct.pack("<2I8sB3x", 16, 0, b"\1zR\0\1\x78\x10\1", encoding)


def test_functions_that_all_begin_at_the_beginning_are_given_up(library, tmp_path):
    """Decoding would begin there for each place: unwind tables can ask for the square of their length."""
    places, text, names = 16000, 2 * PAGE, b"\0.eh_frame\0"
    code = (NOP * 14 + CPUID) * places
    tables = text + len(code)
    frame = common_record(0x1B)
    for place in range(places):
        at = tables + len(frame)
        frame += struct.pack("<2IiI", 12, len(frame) + 4, text - (at + 8), 16 * (place + 1))
    frame += bytes(4)
    strings = tables + len(frame)
    sections = elf_writing.section(SHT_PROGBITS, strings, len(names))
    sections += elf_writing.section(SHT_PROGBITS, tables, len(frame), name=1, address=tables)
    path = elf(
        tmp_path / "file",
        elf_writing.segment(offset=text, address=text, size=len(code)),
        elf_writing.segment(flags=R, offset=tables, address=tables, size=len(frame)),
        code=[(text, code), (tables, frame), (strings, names), (strings + 64, sections)],
        sections=(strings + 64, 2, 0),
    )
    sites = library.scan_file(
        os.fsencode(path), scanning.CPUID, None, 0, ctypes.byref(unknown := ctypes.c_size_t())
    )
    assert sites**2 * 15 / 2 < WORK_MOST  # instructions
    assert (100 < sites < places, unknown.value) == (True, 1)


def random_damage(seed, whole):
    """Numbers of the headers and tables replaced by such as are at the edge of something."""
    choose = random.Random(seed)
    content = bytearray(whole)
    places = [place for place, byte in enumerate(whole[:-8]) if byte]
    edges = [0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, len(whole), PAGE, 2**47]
    for _ in range(choose.randint(1, 6)):
        width = choose.choice([1, 2, 4, 8])
        place = choose.choice(places)
        value = (
            choose.choice(edges) + choose.randint(-2, 2) if choose.random() < 0.7 else choose.getrandbits(64)
        )
        content[place : place + width] = (value % 2 ** (8 * width)).to_bytes(width, "little")
    return bytes(content)


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    """Where UndefinedBehaviorSanitizer finds something, the process dies of SIGILL or SIGTRAP."""
    traps = ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
    try:
        return scanning.build(tmp_path_factory.mktemp("sanitized") / "code_scan.so", *traps)
    except subprocess.CalledProcessError:
        pytest.skip("the compiler has no -fsanitize-undefined-trap-on-error")


def test_nothing_undefined_is_done_with_what_a_file_says(sanitized, tmp_path):
    source = tmp_path / "source.c"
    source.write_text(
        'void asks(void) { __asm__("xor %ecx, %ecx\\n cpuid"); }\n'
        "void calls(void (*f)(void)) { f(); asks(); }\n"
    )
    flags = ["-shared", "-fPIC", "-nostdlib", "-Wl,--build-id=none", "-Wl,--eh-frame-hdr"]
    path = compile_c(tmp_path / "whole.so", [source], *flags)
    whole = path.read_bytes()
    seed = random.randrange(2**32)
    print("seed", seed)
    files = [path]
    for number in range(400):
        files.append(tmp_path / f"{number}")
        files[-1].write_bytes(random_damage(seed + number, whole))
    result = children.run_python("-c", SCANS, sanitized, *files)
    said = result.stdout.splitlines()
    assert children.how_it_ended(result) == 0, f"file {len(said)}"
    assert len(said) == len(files)
    assert said[0].startswith(f"([({scanning.CPUID},")


@pytest.mark.parametrize("size", [2**63, 2**64 - 1])
def test_a_function_that_ends_beyond_all_addresses(sanitized, tmp_path, size):
    """It is none; with an end before its beginning all code is outside of what the table names."""
    text, tables, record = PAGE, 2 * PAGE, 20 + 20  # the FDE, behind the table and the CIE
    entry = struct.pack("<2i", text - tables, record)
    table = struct.pack("<4BiI", 1, 0x1B, 3, 0x3B, 16, 1) + entry
    function = struct.pack("<2IqQ", 20, record - 20 + 4, text - (tables + record + 8), size)
    path = elf(
        tmp_path / "file",
        elf_writing.segment(flags=R),
        elf_writing.segment(offset=text, address=text),
        elf_writing.segment(flags=R, offset=tables, address=tables),
        elf_writing.segment(PT_GNU_EH_FRAME, R, tables, tables, len(table)),
        code=[(text, b"\xb8\x07\0\0\0" + CPUID), (tables, table + common_record(0x1C) + function)],
        size=3 * PAGE,
    )
    result = children.run_python("-c", SCANS, sanitized, path)
    assert children.how_it_ended(result) == 0
    found = [(scanning.CPUID, text + 5, 2)] if size == 2**63 else []
    assert result.stdout == f"({found}, 0)\n"


# ---- what is written to


@pytest.fixture(scope="module")
def write_byte(tmp_path_factory):
    output = tmp_path_factory.mktemp("byte") / "byte.so"
    sources = [ROOT / f"csrc/trap/code/{name}.c" for name in ("byte", "mapping")]
    function = ctypes.CDLL(str(compile_c(output, sources, "-shared", "-fPIC"))).code_byte_write
    function.argtypes = [ctypes.c_void_p, ctypes.c_uint8]
    return function


@pytest.mark.parametrize(
    ("flags", "expected"),
    [(mmap.MAP_PRIVATE, 0), (mmap.MAP_SHARED, -errno.EACCES)],
    ids=["private", "shared"],
)
def test_no_byte_of_a_shared_mapping_is_written(write_byte, tmp_path, flags, expected):
    """Where a file could be written by its mapping, the file stays as it is."""
    path = tmp_path / "code"
    path.write_bytes(NOP * PAGE)
    with path.open("r+b") as file:
        protection = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        code = mmap.mmap(file.fileno(), PAGE, flags=flags, prot=protection)
    address = ctypes.addressof(anchor := ctypes.c_char.from_buffer(code))
    assert write_byte(address, 0xCC) == expected
    assert code[:1] == (b"\xcc" if expected == 0 else NOP)
    assert path.read_bytes() == NOP * PAGE
    del anchor
