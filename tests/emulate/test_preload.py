"""Unmodified programs under libamxemu.so see a CPU and a kernel with AMX."""

import os
import shutil
import signal
import struct
import subprocess
import sys

import children
import pytest
from children import how_it_ended
from compiling import ROOT, compile_c
from preloading import SANITIZED, compile_program, environment, reports, run, run_python

from amx import machine
from amx._lib import lib
from amx.emulation import launcher, trace

pytestmark = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")
imports_amx = pytest.mark.skipif(SANITIZED, reason="a sanitizer's runtime must be the first library")

AMX = [sys.executable, "-c", "import sys; from amx.cli import main; sys.exit(main())"]

ANSWERS = """\
highest leaf 0x{:x}
amx 1 1 1
libc 1
palette 0x4002000 0x80040 0x10 0
xcr0 0x60000 0
0x1021 0 0x60000
0x1022 0 0x20000
request 0
permission 0x60000
xinuse 0
signal 11, code 128, at the instruction: 1
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """What was compiled from tests/c/preload/, by name."""
    directory = tmp_path_factory.mktemp("programs")
    for name in ("question", "loader", "filters", "protections", "stack_sizes"):
        compile_program(f"{name}.c", directory / name)
    compile_program("question.c", directory / "static", "-static")
    compile_program("stack_sizes.c", directory / "static-sizes", "-static")
    compile_program("constructor.c", directory / "constructor.so", "-shared", "-fPIC")
    return directory


@pytest.fixture(scope="module")
def tiles(programs):
    """tiles.c, made of the compiler's intrinsics."""
    try:
        return compile_program("tiles.c", programs / "tiles", "-mamx-tile", "-mamx-int8", "-lpthread")
    except subprocess.CalledProcessError:
        pytest.skip("the compiler has no intrinsics for AMX")


def expected():
    """What question.c prints."""
    return ANSWERS.format(max(machine.current().cpuid(0).eax, 0x1E))


def has_tiles():
    """Whether this CPU executes tile configuration itself."""
    xcr0 = machine.Real().xgetbv(0)
    return xcr0 is not None and xcr0 >> 17 & 3 == 3


def said(result):
    """An older C library, which has no such words, is not held against the emulation."""
    return result.stdout.replace("libc without a word on it", "libc 1")


# ---- what there is


def test_cpuid_xgetbv_and_arch_prctl_are_answered(programs, tmp_path):
    """And XGETBV of a register that does not exist is #GP, as on the CPU."""
    result = run([programs / "question"], tmp_path)
    assert said(result) == expected(), result.stderr
    (report,) = reports(tmp_path)
    assert report["program"] == str(programs / "question")
    assert (report["cpuid"], report["xgetbv"], report["arch_prctl"]) == (3, 2, 4)
    assert (report["unscanned"], report["instructions"]) == (0, 0)


def test_where_no_filter_can_be_installed_libc_answers_arch_prctl(programs, tmp_path):
    ours = environment(tmp_path)
    variables = [f"{name}={value}" for name, value in ours.items() if name.startswith(("AMX_", "LD_"))]
    command = [programs / "filters", "refuse", "/usr/bin/env", *variables, programs / "question"]
    result = children.run(command, capture_output=True, text=True)
    assert said(result) == expected(), result.stderr
    assert [report["arch_prctl"] for report in reports(tmp_path)] == [4]


def test_an_unknown_feature_is_no_program(programs, tmp_path):
    result = run([programs / "question"], tmp_path, AMX_EMULATE_ANNOUNCE="avx512_fp16,avx1024")
    assert (result.returncode, result.stdout) == (125, "")
    assert result.stderr == "amx emulate: avx512_fp16,avx1024: Invalid argument\n"


def test_without_a_model_the_library_does_nothing(programs):
    variables = {**os.environ, "LD_PRELOAD": launcher.library()}
    alone, preloaded = (
        children.run([programs / "question"], env=env, capture_output=True, text=True).stdout
        for env in (None, variables)
    )
    assert preloaded == alone


def test_an_unknown_model_is_no_program(programs, tmp_path):
    result = run([programs / "question"], tmp_path, cpu="skylake")
    assert (result.returncode, result.stdout) == (125, "")
    assert result.stderr == "amx emulate: skylake: Invalid argument\n"


@pytest.mark.parametrize("name", [launcher.REPORT, launcher.TRACE])
def test_a_process_that_cannot_write_its_record_runs_without(programs, tmp_path, name):
    """A child that became another user, for one."""
    nowhere = str(tmp_path / "missing" / "record")
    made = {**environment(tmp_path), name: nowhere}
    result = children.run([programs / "question"], env=made, capture_output=True, text=True)
    assert (result.returncode, said(result)) == (0, expected())
    reason = f"amx emulate: {nowhere}: No such file or directory. This process is not recorded.\n"
    assert result.stderr == reason


@pytest.mark.parametrize("times", [1, 3])
def test_constructors_of_libraries_loaded_later_see_it(programs, tmp_path, times):
    """Also when the library was unloaded and comes again."""
    result = run([programs / "loader", programs / "constructor.so", times], tmp_path)
    assert result.stdout == "1 0x60000\n" * times, result.stderr


@pytest.mark.parametrize("flags", [(), ("-Wl,-z,initfirst",)])
def test_constructors_that_come_first_have_libcs_functions(programs, tmp_path, flags):
    """The dynamic linker lets one library be the first: the last that wants to be."""
    library = compile_program("early.c", tmp_path / "early.so", "-shared", "-fPIC", "-pthread", *flags)
    result = run([programs / "question"], tmp_path, LD_PRELOAD=str(library))
    assert (result.returncode, said(result)) == (0, "early\n" + expected()), result.stderr


# ---- signals of the program


@pytest.mark.parametrize("patch", [False, True])
def test_a_product_by_the_compilers_intrinsics(tiles, tmp_path, patch):
    result = run([tiles, "run"], tmp_path, patch=patch)
    assert (result.stdout, result.returncode) == ("right\n", 0), result.stderr
    (report,) = reports(tmp_path)
    assert (report["instructions"], report["patched"]) == (6, 6 if patch else 0)


@pytest.mark.parametrize(
    ("how", "printed", "patched"),
    [
        ("always", "42 42 0 0 " * 2, 0),
        ("alternating", "42 42 0 0 " * 2, 3),
        ("moves", "42 42 42 0 0 0 " * 2, 3),
    ],
)
@pytest.mark.parametrize("way", ["preloaded", "traced"])
def test_a_program_may_write_over_a_part_of_what_it_has_executed(
    programs, tmp_path, way, how, printed, patched
):
    """A jump in the place of an instruction would lead anywhere: none stands in what can be written."""
    command = [programs / "protections", how]
    if way == "traced":
        result = children.run([*AMX, "emulate", "--ptrace", "--", *command], capture_output=True, text=True)
    else:
        result = run(command, tmp_path)
    assert (result.returncode, result.stdout) == (0, f"{printed}\n"), result.stderr
    if way == "preloaded" and not has_tiles():  # such a CPU configures them itself, and is patched for that
        (report,) = reports(tmp_path)
        assert min(report["patched"], 3) == patched, report


def make_code_writable(program):
    """Set PF_W in its executable segment (ELF-64 Object File Format, "Program Header Table")."""
    file = bytearray(program.read_bytes())
    (table,) = struct.unpack_from("<Q", file, 32)
    size, count = struct.unpack_from("<HH", file, 54)
    for at in range(table, table + size * count, size):
        kind, flags = struct.unpack_from("<II", file, at)
        if (kind, flags & 1) == (1, 1):  # PT_LOAD, PF_X
            struct.pack_into("<I", file, at + 4, flags | 2)
    program.write_bytes(file)


@pytest.mark.parametrize("way", ["preloaded", "traced"])
def test_code_of_a_file_that_can_be_written_is_left_as_it_is(tmp_path, way):
    """A packed program may be reading what it unpacks. In other code INT3s stand over XGETBV."""
    if not (machine.Real().cpuid(1).ecx >> 27) & 1:
        pytest.skip("there is no XGETBV here")
    program = compile_program("self_reading.c", tmp_path / "self-reading")

    def says():
        if way == "preloaded":
            return run([program], tmp_path).stdout
        return children.run(
            [*AMX, "emulate", "--ptrace", "--", program], capture_output=True, text=True
        ).stdout

    assert says() == "same 0\n", "an INT3 over XGETBV"
    make_code_writable(program)
    assert says() == "same 1\n"


def test_blocked_signals_do_not_block_the_emulation_and_read_back_as_blocked(tiles, tmp_path):
    result = run([tiles, "blocked"], tmp_path, patch=False)
    assert (result.stdout, result.returncode) == ("right\n1 1\n1\n0\n", 0), result.stderr


SENT_WHILE_READING = """
import ctypes, os, signal, sys

def sleeps_or_has_ended(pid):
    if os.getppid() != pid:
        return True
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "R"

number, action, reader = int(sys.argv[1]), sys.argv[2], os.getpid()
signal.signal(number, signal.SIG_IGN if action == "ignored" else lambda *_: None)
if action == "restarts":
    signal.siginterrupt(number, False)
away, back = os.pipe()
if os.fork() == 0:
    for act in (lambda: os.kill(reader, number), lambda: os.write(back, b"x")):
        while not sleeps_or_has_ended(reader):
            pass
        act()
    os._exit(0)
os.close(back)
print(ctypes.CDLL(None).read(away, ctypes.create_string_buffer(1), 1))
"""


@pytest.mark.parametrize(("action", "result"), [("ignored", 1), ("restarts", 1), ("interrupts", -1)])
@pytest.mark.parametrize("name", ["SIGILL", "SIGTRAP", "SIGSEGV", "SIGBUS", "SIGSYS"])
@imports_amx
def test_a_sent_signal_interrupts_a_system_call_only_where_it_would(tmp_path, name, action, result):
    """-1 is EINTR, 1 the byte that comes after the signal."""
    done = run_python(SENT_WHILE_READING, tmp_path, int(getattr(signal, name)), action)
    assert done.stdout == f"{result}\n", done.stderr


def test_a_new_thread_has_its_creators_configuration_and_mask(tiles, tmp_path):
    result = run([tiles, "blocked thread"], tmp_path)
    assert (result.stdout, result.returncode) == ("right\n", 0), result.stderr


def test_a_fault_that_the_program_believes_to_be_blocked_kills(tiles, tmp_path):
    """As the kernel does, past the program's handler."""
    result = run([tiles, "blocked fault"], tmp_path)
    assert (result.stdout, how_it_ended(result)) == ("", "SIGSEGV")


def test_a_handler_that_blocks_everything_may_use_tiles(tiles, tmp_path):
    result = run([tiles, "handler"], tmp_path)
    assert (result.stdout, result.returncode) == ("right\n1 1\n", 0), result.stderr


def test_a_program_with_a_handler_for_sigill_of_its_own(tiles, tmp_path):
    result = run([tiles, "own handler"], tmp_path)
    assert (result.stdout, result.returncode) == ("right\nright\n1 1\n", 0), result.stderr


def test_with_permission_a_small_alternate_stack_is_refused(tiles, tmp_path):
    result = run([tiles, "altstack"], tmp_path)
    assert result.stdout == "-1 1\n"


def replaces_auxv():
    """Whether this kernel lets a process replace what /proc/PID/auxv shows (CONFIG_CHECKPOINT_RESTORE)."""
    size = (
        "import ctypes, sys; sys.exit(ctypes.CDLL(None).prctl(35, 15, ctypes.byref(ctypes.c_uint()), 0, 0))"
    )
    return children.run([sys.executable, "-c", size]).returncode == 0


@pytest.mark.parametrize("way", ["preloaded", "traced", "traced static"])
def test_an_alternate_stack_of_the_size_that_the_kernel_tells_is_enough(programs, tmp_path, way):
    """As Erlang/OTP, CPython and Rust size theirs: however a program asks, before and after permission."""
    program = programs / ("static-sizes" if way == "traced static" else "stack_sizes")
    if way == "preloaded":
        result = run([program], tmp_path)
    else:
        result = children.run([*AMX, "emulate", "--ptrace", "--", program], capture_output=True, text=True)
    lines = children.run([program], capture_output=True, text=True).stdout.splitlines()
    natively = dict(line.split()[:2] for line in lines)
    found = dict(line.split(" ", 1) for line in result.stdout.splitlines())
    assert list(found) == ["getauxval", "sysconf", "larger", "stack", "proc"], result.stderr
    if not replaces_auxv():
        assert found.pop("proc").split()[0] == natively["proc"]
    for asked, answer in found.items():
        if natively[asked] == "not":  # told by this kernel (5.14) or this C library (glibc 2.34)
            assert answer == "not told", asked
        else:
            size = max(4 * 11952 if asked == "larger" else 11952, int(natively[asked]))
            assert answer == f"{size} 0 0 0", asked


def test_faulthandler_prints_and_the_process_dies_of_a_genuine_segfault(tmp_path):
    script = "import faulthandler, ctypes; faulthandler.enable(); ctypes.string_at(8)"
    result = run_python(script, tmp_path)
    assert "Fatal Python error: Segmentation fault" in result.stderr
    assert how_it_ended(result) == "SIGSEGV"


# ---- children and ends


@pytest.mark.parametrize(
    ("how", "printed"),
    [
        ("execve", "right\n"),
        ("execl", "right\n"),
        ("execle", "right\n"),
        ("posix_spawn", "right\n0 0\n"),
        ("vfork", "right\nright 0\n"),
        ("exec blocked", "right 1\n"),
    ],
)
def test_a_child_with_an_empty_environment_is_emulated_too(tiles, tmp_path, how, printed):
    """All but the last clear it; the last has its signals blocked when it begins."""
    result = run([tiles, how], tmp_path)
    assert (result.stdout, result.returncode) == (printed, 0), result.stderr
    assert [report["arch_prctl"] for report in reports(tmp_path)] == [1, 1]


@pytest.mark.parametrize(
    "way", [pytest.param([], marks=imports_amx), ["--ptrace"]], ids=["preloaded", "traced"]
)
def test_a_thread_that_outlives_the_first_is_patched_and_traced(tmp_path, way):
    """Where its code is from is known, though /proc/PID/maps is empty by then."""
    program = compile_c(tmp_path / "tracee", [ROOT / "tests/c/tracee.c"])
    command = [*AMX, "emulate", *way, "--trace", tmp_path / "trace.json", "--", program, "leader-ends"]
    result = children.run(list(map(str, command)), capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (7, "right\n"), result.stderr
    (process,) = trace.Trace.load(tmp_path / "trace.json").processes
    assert {site.location.module for site in process.sites} == {str(program)}


def test_a_forked_child_has_a_line_of_its_own(tiles, tmp_path):
    result = run([tiles, "fork"], tmp_path)
    assert result.stdout.replace("\n", "") == "rightright", result.stderr
    parent, child = reports(tmp_path)
    assert (parent["instructions"], parent["arch_prctl"]) == (6, 1)
    assert (child["instructions"], child["arch_prctl"]) == (5, 0)
    assert parent["pid"] != child["pid"]


@pytest.mark.parametrize(
    ("how", "ended", "counted"),
    [("_exit", 0, 6), ("abort", "SIGABRT", 6), ("segfault", "SIGSEGV", 6), ("kill", "SIGKILL", 4)],
)
def test_what_was_counted_is_reported_however_the_process_ends(tiles, tmp_path, how, ended, counted):
    """Of a killed process, what it did up to the last power of two."""
    result = run([tiles, how], tmp_path)
    assert (result.stdout, how_it_ended(result)) == ("right\n", ended)
    assert [report["instructions"] for report in reports(tmp_path)] == [counted]


def test_programs_that_are_executed_do_not_add_filters(programs, tmp_path):
    filters = programs / "filters"
    result = run([filters, "none", filters, "none", filters], tmp_path)
    expected = 1 + seccomp_filters()
    assert result.stdout.split() == ["Seccomp_filters:", str(expected)], result.stderr


def seccomp_filters():
    with open("/proc/self/status") as status:
        found = [line.split()[1] for line in status if line.startswith("Seccomp_filters:")]
    return int(found[0]) if found else pytest.skip("this kernel does not count filters")


def test_a_static_child_dies_when_it_asks_for_amx(programs, tmp_path):
    """Its CPUID is the host's, and the filter is between it and the kernel."""
    result = run([programs / "filters", "none", programs / "static"], tmp_path)
    assert how_it_ended(result) == "SIGSYS"


# ---- this package under the launcher


@imports_amx
def test_amx_is_available_to_this_package(tmp_path):
    script = """
    import numpy as np, amx
    amx.request()
    a, b = (np.arange(64 * 48).reshape(shape).astype(np.int8) for shape in ((48, 64), (64, 48)))
    print(amx.get_backend(), (amx.matmul(a, b) == a.astype(np.int64) @ b.astype(np.int64)).all())
    """
    result = run_python(script, tmp_path)
    assert result.stdout == "Backend.NATIVE True\n", result.stderr
    (report,) = reports(tmp_path)
    assert report["instructions"] > 0


# ---- what is announced beside AMX

LEAF_7 = """
from amx.machine import Real
real = Real()
print(*(register >> bit & 1 for register, bit in (
    (real.cpuid(7, 0).edx, 23), (real.cpuid(7, 1).eax, 5), (real.cpuid(7, 1).eax, 4))))
"""


@imports_amx
@pytest.mark.parametrize("way", ["preloaded", "traced"])
@pytest.mark.parametrize("names", ["avx512_fp16", "avx512_bf16,avx_vnni", "none", None])
def test_features_that_are_named_are_announced_to_all_code(tmp_path, way, names):
    """Else what the host has: nothing here has oneDNN in it."""
    real = machine.Real()
    host = [real.cpuid(7, 0).edx >> 23 & 1, real.cpuid(7, 1).eax >> 5 & 1, real.cpuid(7, 1).eax >> 4 & 1]
    wanted = (names or "").split(",")
    features = ("avx512_fp16", "avx512_bf16", "avx_vnni")
    expected = [int(has or name in wanted) for has, name in zip(host, features, strict=True)]
    if way == "preloaded":
        more = {} if names is None else {"AMX_EMULATE_ANNOUNCE": names}
        result = run_python(LEAF_7, tmp_path, **more)
    else:
        options = [] if names is None else ["--announce", names]
        command = [*AMX, "emulate", "--ptrace", *options, "--", sys.executable]
        result = children.run([*command, "-c", LEAF_7], capture_output=True, text=True)
    assert result.stdout.split() == list(map(str, expected)), result.stderr


def test_who_dies_of_what_was_announced_is_told_so(programs, tmp_path):
    """VMINPH of a CPU without AVX512_FP16; elsewhere, or where a hypervisor only hides it, nobody dies."""
    by_itself = children.run([programs / "question", "fp16"], capture_output=True)
    if how_it_ended(by_itself) != "SIGILL":
        pytest.skip("this processor executes VMINPH")
    result = run([programs / "question", "fp16"], tmp_path, AMX_EMULATE_ANNOUNCE="avx512_fp16")
    assert how_it_ended(result) == "SIGILL"
    assert "beside AMX are announced avx512_fp16" in result.stderr


# ---- more than one copy


def test_of_two_copies_the_first_emulates(tiles, tmp_path):
    """As when one environment's `amx emulate` runs another's."""
    copy = shutil.copy(launcher.library(), tmp_path)
    variables = environment(tmp_path)
    variables["LD_PRELOAD"] = f"{copy}:{launcher.library()}"
    result = children.run([tiles, "execve"], env=variables, capture_output=True, text=True)
    assert (result.stdout, result.returncode) == ("right\n", 0), result.stderr
    assert [report["instructions"] for report in reports(tmp_path)] == [1, 6]


def test_a_copy_that_a_program_loads_does_nothing(tmp_path):
    copy = shutil.copy(launcher.library(), tmp_path)
    script = """
    import ctypes, sys
    ctypes.CDLL(sys.argv[1])
    """
    result = run_python(script, tmp_path, copy)
    assert result.returncode == 0, result.stderr
    assert len(reports(tmp_path)) == 1
