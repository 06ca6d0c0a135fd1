"""What of AMX a process executed, as csrc/trap/trace/trace.c records it and amx.emulation.trace tells it."""

import json
import os
import re
import shutil
import signal
import struct
import sys
import textwrap
import time
from pathlib import Path

import children
import preloading
import pytest
from compiling import compile_c, compiler
from emulator_encode import row_code
from emulator_machine import image
from self_tracing import HAS_TILES, START, TRACED, executed, expected
from trapping import PRELUDE

from amx._lib import lib
from amx.emulation import perf_map, trace
from amx.emulation.disassembly import Action, decode, mnemonics
from amx.emulation.room import Room
from amx.emulation.symbols import Code
from amx.emulation.trace import Extent, Trace
from amx.emulation.trace_file import USED
from amx.errors import TraceError

needs_machine_layer = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")
foreign_programs = pytest.mark.skipif(
    preloading.SANITIZED, reason="a sanitizer's runtime must be the first library"
)


def record(directory, script, *arguments, kill=None):
    """Run a script with the emulation on and its trace in a directory; the trace."""
    done = children.run_python(
        "-c", TRACED + START + textwrap.dedent(script), directory, *arguments, AMX_TEST_LANE=""
    )
    assert children.how_it_ended(done) == (kill or 0), done.stderr
    return trace.read(directory)


def only(found, mnemonic):
    """The one site of an instruction."""
    (site,) = [site for site in found.sites if site.mnemonic == mnemonic]
    return site


PRODUCT = """
shapes = {"full": [(16, 64)] * 3, "half": [(8, 64), (8, 64), (16, 64)], "small": [(3, 8), (3, 12), (3, 8)]}
def configure(name):
    colsb = b"".join(colsb.to_bytes(2, "little") for _, colsb in shapes[name])
    rows = bytes(rows for rows, _ in shapes[name])
    ldtilecfg(bytes([1, *[0] * 15]) + colsb.ljust(32, b"\\0") + rows.ljust(16, b"\\0"), 0)
"""


@needs_machine_layer
def test_counts_and_bytes(tmp_path):
    found = record(
        tmp_path,
        """
        ldtilecfg(config, 0)
        for _ in range(3):
            tileloadd(data, 64)
        for _ in range(2):
            tilestored(data, 64)
        tilerelease(0, 0)
        """,
    )
    counts = expected(tileloadd=3, tilestored=2, ldtilecfg=1, tilerelease=1)
    assert executed(found) == counts
    assert (found.work(Action.LOAD), found.work(Action.STORE)) == (3 * 1024, 2 * 1024)
    assert str(only(found, "tileloadd")) == "tileloadd tmm0, [rdi + rsi*1]"
    (process,) = found.processes
    (thread,) = process.threads
    assert thread.id == process.pid
    if not HAS_TILES:
        assert (found.instructions, thread.instructions, thread.left_configured) == (7, 7, False)
    assert process.command[1] == "-c"


@needs_machine_layer
@pytest.mark.parametrize(
    ("shape", "m", "n", "k"), [("full", 16, 16, 64), ("half", 8, 16, 64), ("small", 3, 2, 12)]
)
def test_useful_multiply_adds_of_int8_products(tmp_path, shape, m, n, k):
    """M x N x K of 16 x 16 x 64."""
    found = record(tmp_path, PRODUCT + "configure(sys.argv[2]); tdpbssd(0, 0); tdpbssd(0, 0)", shape)
    site = only(found, "tdpbssd")
    assert (site.work, site.capacity) == (2 * m * n * k, 2 * 16 * 16 * 64)
    assert site.utilisation == m * n * k / (16 * 16 * 64)
    assert site.extents == (Extent("m", m, m, 16), Extent("n", n, n, 16), Extent("k", k, k, 64))


@needs_machine_layer
def test_useful_multiply_adds_of_16_bit_products(tmp_path):
    """16 x 16 x 32 of bfloat16 fill the tiles; extents span what was seen."""
    found = record(
        tmp_path, PRODUCT + "for name in 'full', 'half', 'small': configure(name); tdpbf16ps(0, 0)"
    )
    site = only(found, "tdpbf16ps")
    assert site.work == 16 * 16 * 32 + 8 * 16 * 32 + 3 * 2 * 6
    assert site.capacity == 3 * 16 * 16 * 32
    assert [str(extent) for extent in site.extents] == ["m 3-16 of 16", "n 2-16 of 16", "k 6-32 of 32"]


@needs_machine_layer
@pytest.mark.skipif(HAS_TILES, reason="this CPU executes LDTILECFG itself")
def test_configurations(tmp_path):
    """Their images with counts; a change is what differs from what the thread had last."""
    found = record(
        tmp_path,
        PRODUCT
        + textwrap.dedent(
            """
            for name in ("full", "full", "half", "full", "full"):
                configure(name)
            tilerelease(0, 0)
            configure("full")
            """
        ),
    )
    full, half = found.configurations
    assert (full.image, full.loads, full.changes) == (image([(16, 64)] * 3), 5, 3)
    assert (half.image, half.loads, half.changes) == (image([(8, 64), (8, 64), (16, 64)]), 1, 1)
    assert (str(full), str(half)) == ("tmm0-2 16x64", "tmm0-1 8x64, tmm2 16x64")
    (thread,) = found.processes[0].threads
    assert (thread.ldtilecfgs, thread.changes, thread.tilereleases, thread.left_configured) == (6, 4, 1, True)


@needs_machine_layer
def test_faults_are_counted_apart(tmp_path):
    """TILEZERO of a tile that is not configured, and the process dies of it."""
    found = record(tmp_path, "ldtilecfg(config, 0); tileloadd(data, 64); tilezero3(0, 0)", kill="SIGILL")
    site = only(found, "tilezero")
    assert (site.executed, site.faults, site.extents) == (0, 1, ())
    assert executed(found) == expected(ldtilecfg=1, tileloadd=1, tilezero=0)


@needs_machine_layer
@pytest.mark.parametrize(
    ("ending", "kill"),
    [
        ("os.kill(os.getpid(), 9)", "SIGKILL"),
        ("os._exit(0)", None),
        ("os.execv('/bin/true', ['true'])", None),
    ],
)
def test_counts_outlive_the_process(tmp_path, ending, kill):
    found = record(tmp_path, f"ldtilecfg(config, 0); tileloadd(data, 64); {ending}", kill=kill)
    assert executed(found) == expected(ldtilecfg=1, tileloadd=1)


@needs_machine_layer
def test_a_forked_child_has_a_file_of_its_own(tmp_path):
    """Also one that is born by clone() alone, of which libc knows nothing."""
    found = record(
        tmp_path,
        """
        ldtilecfg(config, 0)
        SYS_clone, SIGCHLD, WALL = 56, 17, 0x40000000
        syscall = ctypes.CDLL(None).syscall
        if os.fork() == 0:
            os._exit(0)
        os.wait()
        for births in range(3):
            if (os.fork() if births else syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)) == 0:
                for _ in range(births + 1):
                    tileloadd(data, 64)
                os.kill(os.getpid(), 9)
            os.waitpid(-1, WALL)
        """,
    )
    parent, *born = found.processes
    assert [process.parent for process in born] == [parent.pid] * 4
    assert [process.instructions for process in found.processes] == [int(not HAS_TILES), 0, 1, 2, 3]
    assert executed(found) == expected(tileloadd=6, ldtilecfg=1)
    assert only(found, "tileloadd").executed == 6


@needs_machine_layer
def test_every_start_has_a_file_of_its_own(tmp_path):
    found = record(
        tmp_path,
        """
        ldtilecfg(config, 0)
        tileloadd(data, 64)
        assert lib.amx_trap_stop() == 0 and start_traced(sys.argv[1]) == 0 and request() == 0
        ldtilecfg(config, 0)
        tileloadd(data, 64)
        tileloadd(data, 64)
        assert lib.amx_trap_stop() == 0
        """,
    )
    loads = [
        [site.executed for site in each.sites if site.mnemonic == "tileloadd"] for each in found.processes
    ]
    assert loads == [[1], [2]]


@needs_machine_layer
def test_threads(tmp_path):
    """No instruction of many threads at one site is lost, and each is told apart."""
    found = record(
        tmp_path,
        """
        import threading
        def work():
            ldtilecfg(config, 0)
            for _ in range(200):
                tileloadd(data, 64)
            barrier.wait()
        barrier = threading.Barrier(8)
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """,
    )
    assert executed(found) == expected(tileloadd=8 * 200, ldtilecfg=8)
    each = 200 + (not HAS_TILES)
    assert [thread.instructions for thread in found.processes[0].threads] == [each] * 8


@needs_machine_layer
def test_overflow_is_counted_by_mnemonic(tmp_path):
    """More sites than the table has: what has none is counted all the same."""
    found = record(
        tmp_path,
        """
        sites = 20000
        many = mmap.mmap(-1, 5 * sites + 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        many.write(bytes.fromhex("c4e27b49c0") * sites + b"\\xc3")
        ldtilecfg(config, 0)
        ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(many)))()
        """,
    )
    assert executed(found) == expected(tilezero=20000, ldtilecfg=1)
    tilezero = found.totals[0]
    assert 0 < tilezero.unplaced == tilezero.executed - tilezero.sites
    assert tilezero.sites > 10000
    assert f"table of sites was full: {tilezero.unplaced:,} instructions" in str(found)


@needs_machine_layer
def test_without_a_trace_nothing_is_written(tmp_path):
    script = "assert start() == 0 and request() == 0; ldtilecfg(config, 0)"
    done = children.run_python("-c", PRELUDE + script, AMX_TEST_LANE="")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


@needs_machine_layer
def test_a_directory_that_cannot_be_written_to_is_refused(tmp_path):
    """And nothing is emulated then."""
    script = TRACED + START.replace("== 0 and request() == 0", "== -2")
    done = children.run_python(
        "-c", script + "print(lib.amx_trap_stop())", tmp_path / "nowhere", AMX_TEST_LANE=""
    )
    assert done.stdout == "-3\n", done.stderr  # -ENOENT, then -ESRCH


PROGRAM = r"""
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((noinline)) void configure(const void *image) {
    __asm__ volatile(".byte 0xC4, 0xE2, 0x78, 0x49, 0x07" : : "D"(image) : "memory"); /* ldtilecfg [rdi] */
}
__attribute__((noinline)) void zero_twice(void) {
    __asm__ volatile(".byte 0xC4, 0xE2, 0x7B, 0x49, 0xC0"); /* tilezero tmm0 */
    __asm__ volatile(".byte 0xC4, 0xE2, 0x7B, 0x49, 0xC0");
}
int main(void) {
    uint8_t image[64] = {[0] = 1, [16] = 64, [48] = 16};
    if (syscall(SYS_arch_prctl, 0x1023, 18) != 0)
        return 1;
    configure(image);
    zero_twice();
    zero_twice();
    return 0;
}
"""
FIRST_LINE, SECOND_LINE = 10, 11


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A C program with symbols and line numbers."""
    directory = tmp_path_factory.mktemp("program")
    source = directory / "program.c"
    source.write_text(PROGRAM)
    return compile_c(directory / "program", [source], "-g")


@needs_machine_layer
@foreign_programs
def test_sites_in_a_file_have_function_line_and_build_id(tmp_path, program):
    """Also when the process has gone."""
    preloading.run([program], tmp_path, trace=True).check_returncode()
    found = trace.read(tmp_path)
    first, second = sorted(
        (site for site in found.sites if site.mnemonic == "tilezero"), key=lambda site: site.address
    )
    assert (first.executed, second.executed) == (2, 2)
    for site, line in (first, FIRST_LINE), (second, SECOND_LINE):
        assert site.location.code is Code.FILE
        assert site.location.module == str(program)
        assert site.location.symbol == "zero_twice"
        if shutil.which("addr2line"):
            assert re.fullmatch(rf".*/program\.c:{line}", site.location.line)
    assert second.location.symbol_offset - first.location.symbol_offset == 5
    if shutil.which("readelf"):
        notes = children.run(["readelf", "-n", program], capture_output=True, text=True, check=True).stdout
        build_id = re.search(r"Build ID: (\w+)", notes)
        assert first.location.build_id == (build_id[1] if build_id else "")


@needs_machine_layer
@foreign_programs
def test_sites_are_found_in_files_of_any_name(tmp_path, program):
    """Names are bytes, which need not be UTF-8; /proc/PID/maps escapes a newline."""
    copy = shutil.copy(program, tmp_path / os.fsdecode(b"a\xff \"b\n'c: $ORIGIN"))
    preloading.run([copy], tmp_path, trace=True).check_returncode()
    found = trace.read(tmp_path)
    location = next(site.location for site in found.sites if site.mnemonic == "tilezero")
    assert (location.code, location.symbol) == (Code.FILE, "zero_twice")
    assert location.module == str(tmp_path / "a\\xff \"b\n'c: $ORIGIN")
    assert Trace.load(written(found, tmp_path / "trace.json")) == found


def written(found, file):
    found.write(file)
    return file


@needs_machine_layer
@foreign_programs
def test_every_program_of_a_process_has_a_file_of_its_own(tmp_path, program):
    """Those of children, too: exec ends one and begins another."""
    script = 'echo $$; "$0"; exec "$0"'
    done = preloading.run(["/bin/sh", "-c", script, program], tmp_path, trace=True)
    shell = int(done.stdout)
    found = trace.read(tmp_path).processes
    programs = [process for process in found if process.executable == str(program)]
    assert len(programs) == 2
    assert all(process.instructions >= 4 for process in programs)
    assert [process.pid == shell for process in programs] == [False, True]
    assert programs[0].parent == shell
    (first, *_) = found
    assert (first.pid, first.instructions) == (shell, 0)


@needs_machine_layer
@foreign_programs
def test_a_file_that_is_no_longer_what_ran_gives_no_symbol(tmp_path, program):
    copy = tmp_path / "copy"
    copy.write_bytes(program.read_bytes())
    copy.chmod(0o755)
    directory = tmp_path / "trace"
    directory.mkdir(mode=0o700)
    preloading.run([copy], directory, trace=True).check_returncode()
    assert "zero_twice" in {site.location.symbol for site in trace.read(directory).sites}
    copy.write_bytes(program.read_bytes().replace(bytes.fromhex("c4e27b49c0"), b"\x90" * 5))
    by_name = {site.mnemonic: site.location for site in trace.read(directory).sites}
    assert (by_name["tilezero"].symbol, by_name["tilezero"].build_id) == ("", "")
    if not HAS_TILES:
        assert by_name["ldtilecfg"].symbol == "configure"


@needs_machine_layer
def test_generated_code_is_named_as_such(tmp_path):
    """And by what its generator wrote to /tmp/perf-PID.map."""
    found = record(
        tmp_path,
        """
        with open(f"/tmp/perf-{os.getpid()}.map", "w") as names:
            page = ctypes.cast(tileloadd, ctypes.c_void_p).value
            names.write(f"{page:x} 10 kernel of mine\\n")
        ldtilecfg(config, 0)
        tileloadd(data, 64)
        tilestored(data, 64)
        """,
    )
    os.unlink(f"/tmp/perf-{found.processes[0].pid}.map")
    by_name = {site.mnemonic: site.location for site in found.sites}
    assert {location.code for location in by_name.values()} == {Code.GENERATED}
    assert (by_name["tileloadd"].symbol, by_name["tileloadd"].symbol_offset) == ("kernel of mine", 0)
    assert by_name["tilestored"].symbol == ""


@pytest.mark.parametrize(("age_ms", "names"), [(4, {0x1008: (0x1000, "f")}), (1000, {})])
def test_the_names_of_an_earlier_process_are_not_taken(age_ms, names):
    """A file of the same number that is older than the process; times of files lag by up to a tick."""
    pid, started = os.getpid(), time.time_ns()
    path = Path(f"/tmp/perf-{pid}.map")
    path.write_text("1000 10 f\n")
    try:
        written = started - age_ms * 1_000_000
        os.utime(path, ns=(written, written))
        assert perf_map.names(pid, started, [0x1008, 0x1010], Room(2**30)) == names
    finally:
        path.unlink()


@needs_machine_layer
def test_json_and_back(tmp_path):
    found = record(tmp_path, PRODUCT + "configure('half'); tdpbssd(0, 0); tilezero3(0, 0)", kill="SIGILL")
    file = tmp_path / "trace.json"
    found.write(file)
    assert Trace.load(file) == found
    assert json.loads(file.read_text())["totals"][0]["utilisation"] in (0.5, None)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1, "processes": 3}'])
def test_a_file_that_is_no_trace(tmp_path, content):
    (tmp_path / "file").write_text(content)
    with pytest.raises(TraceError, match="file"):
        Trace.load(tmp_path / "file")


def test_a_missing_directory(tmp_path):
    with pytest.raises(TraceError, match=r"no directory '.*nowhere'"):
        trace.read(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"", b"AMXTRACE", b"AMXTRACE" + b"\x09" * 4096, b"x" * 4096])
def test_files_that_cannot_be_read_are_named(tmp_path, content):
    (tmp_path / "1.trace").write_bytes(content)
    found = trace.read(tmp_path)
    assert found.processes == ()
    assert re.search(r"Not read: .*1\.trace is no trace", str(found))


@needs_machine_layer
def damaged(directory, damage):
    """Why a trace of one instruction is not read whose file was overwritten as `damage` says."""
    record(directory, "tilezero3(0, 0)", kill="SIGILL")
    (file,) = directory.glob("*.trace")
    content = bytearray(file.read_bytes())
    at, value = damage(content)
    content[at : at + len(value)] = value
    file.write_bytes(content)
    (reason,) = trace.read(directory).unreadable
    return reason


@needs_machine_layer
@pytest.mark.parametrize("table", range(4))
def test_a_damaged_table_is_named(tmp_path, table):
    """However many entries of no size it says that it has."""
    at = 32 + 16 * table  # offset, entries, bytes of each: csrc/trap/trace/file.h
    assert "smaller entries" in damaged(tmp_path, lambda _: (at + 4, struct.pack("<2I", 2**31, 0)))


@needs_machine_layer
def test_an_unknown_instruction_is_named(tmp_path):
    def operation(content):
        """The packed instruction's first byte, in the first entry that is used."""
        at, entries, size = struct.unpack_from("<3I", content, 32 + 16 * 3)
        entry = next(at for at in range(at, at + entries * size, size) if content[at] == USED)
        return entry + 16, b"\xff"

    assert "does not know" in damaged(tmp_path, operation)


def test_amx_was_not_used(tmp_path):
    assert str(record(tmp_path, "")) == "AMX was not used: 0 instructions in 1 process."


@needs_machine_layer
def test_the_verdict_on_half_full_tiles(tmp_path):
    """Which instruction, and what of its tiles is not used."""
    found = record(tmp_path, PRODUCT + "configure('half'); tdpbssd(0, 0); tdpbssd(0, 0)")
    assert found.verdicts[0] == (
        f"AMX was used: {2 + (not HAS_TILES)} instructions in 1 process and 1 thread, 2 products among them."
    )
    expected = "Tiles were 50% full in products: m 8 of 16 in tdpbssd tmm0, tmm1, tmm2 at (generated code"
    assert found.verdicts[1].startswith(expected)
    assert found.verdicts[1].endswith("executed 2 times.")


OBJDUMP = [
    "c4e2784900", "c4e27849042c", "c4e2784905f0ffffff", "c4e2794980000100ff", "c4c2784945f8", "c4e27849c0",
    "c4e27b49f8", "c4e27b4b1408", "c4e27b4b1420", "64c4e27b4b1420", "65c4e27b4b1408", "67c4e27b4b1408",
    "c4a27b4b5460c0", "c482794b7cc57f", "c4e27a4b348d78563412", "c4e27a4b342578563412", "c4e2635eca",
    "c4e2425ef5", "c4e2795ed1", "c4e2605eca", "c4e2625cca", "67c4e2784905f0ffffff",
]  # fmt: skip


@pytest.mark.parametrize("code", OBJDUMP)
def test_operands_as_objdump_writes_them(tmp_path, code):
    """But for spaces, its comments, the register riz that stands for no index, and ds: of plain numbers."""
    compiler()
    source = tmp_path / "code.s"
    source.write_text(".byte " + ",".join(f"0x{byte:02x}" for byte in bytes.fromhex(code)) + "\n")
    try:
        children.run(["as", source, "-o", tmp_path / "code.o"], check=True)
        command = ["objdump", "-d", "-M", "intel", "--no-show-raw-insn", tmp_path / "code.o"]
        listing = children.run(command, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError as error:
        pytest.skip(f"no {error.filename}")
    theirs = listing.splitlines()[-1].partition("\t")[2].partition("#")[0].strip()
    if "bad" in theirs:
        pytest.skip("this objdump does not know it")
    theirs = re.sub(r"\+[re]iz\*1", "", theirs).replace("+0xfffffffffffffff0", "-0x10")
    theirs = re.sub(r"ds:(0x\w+)", r"[\1]", theirs)
    assert str(decode(bytes.fromhex(code))).replace(" ", "") == theirs.replace(" ", "")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (row_code("tilemovrow", 1, 2, register=0), "tilemovrow zmm1, tmm2, eax"),
        (row_code("tcvtrowd2ps", 25, 7, register=9), "tcvtrowd2ps zmm25, tmm7, r9d"),
        (row_code("tcvtrowps2phl", 31, 0, row=5), "tcvtrowps2phl zmm31, tmm0, 5"),
        (bytes.fromhex("c4e2606cca"), "tcmmrlfp16ps tmm1, tmm2, tmm3"),
        (bytes.fromhex("c4e560fdca"), "tdpbf8ps tmm1, tmm2, tmm3"),
    ],
)
def test_operands_of_newer_instructions(code, text):
    """As the ISE reference writes them."""
    assert str(decode(code)) == text


def test_what_is_no_amx_instruction():
    assert decode(b"\x90" * 15) is None
    assert decode(bytes.fromhex("c4e26b5ec0")) is None  # not distinct


def test_every_mnemonic_has_an_action():
    """ROW is what is left over, so it is named here."""
    from amx.emulation.disassembly import action_of

    rows = {name for name in mnemonics()[: lib.AMXEMU_OPS] if action_of(name) is Action.ROW}
    assert all(name.startswith(("tilemovrow", "tcvtrow")) for name in rows)
    assert len(rows) == 6


MATRICES = """
import numpy as np, amx
a, b = np.ones((40, 100), np.int8), np.ones((100, 70), np.int8)
assert (amx.matmul(a, b) == 100).all()
"""
MODES = {
    "patched": ["-c", "import sys; from amx import cli; sys.exit(cli.main())", "emulate"],
    "trapped": ["-c", "import sys; from amx import cli; sys.exit(cli.main())", "emulate", "--no-patch"],
    "ptrace": ["-c", "import sys; from amx import cli; sys.exit(cli.main())", "emulate", "--ptrace"],
}


@needs_machine_layer
@foreign_programs
@pytest.mark.parametrize("mode", MODES)
def test_every_way_of_emulating_records_the_same(tmp_path, mode):
    """As amx.emulate() in the process itself does; the launcher prints the summary."""
    ours, theirs = tmp_path / "ours.json", tmp_path / "theirs.json"
    inside = f"import amx\nwith amx.emulate(trace={str(ours)!r}):\n" + textwrap.indent(MATRICES, "    ")
    done = children.run_python("-c", inside, AMX_TEST_LANE="", AMX_BACKEND="native", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    command = [*MODES[mode], "--trace", theirs, "--", sys.executable, "-c", MATRICES]
    done = children.run_python(*command, AMX_TEST_LANE="", AMX_BACKEND="native", OMP_NUM_THREADS="1")
    if mode == "ptrace" and "could not be traced" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("AMX was used: ")
    inside, found = Trace.load(ours), Trace.load(theirs)
    assert executed(found) == executed(inside)
    assert {site.location.module for site in found.sites} == {site.location.module for site in inside.sites}
    if not HAS_TILES:
        assert found.totals == inside.totals
        assert found.configurations == inside.configurations


@needs_machine_layer
def test_signals_while_recording(tmp_path):
    """A handler that uses AMX itself, between and amid the instructions of what it interrupts."""
    found = record(
        tmp_path,
        f"""
        import signal
        hits = 0
        def handler(*_):
            global hits
            hits += 1
            tilezero0(0, 0)
        tilezero0 = function("c4e27b49c0")
        ldtilecfg(config, 0)
        signal.signal({int(signal.SIGALRM)}, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for _ in range(3000):
            tileloadd(data, 64)
        signal.setitimer(signal.ITIMER_REAL, 0)
        open(sys.argv[1] + "/hits", "w").write(str(hits))
        """,
    )
    hits = int((tmp_path / "hits").read_text())
    assert hits > 0
    assert executed(found) == expected(tileloadd=3000, tilezero=hits, ldtilecfg=1)
