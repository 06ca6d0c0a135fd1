"""amx.emulate(): AMX in this process for a block's time. Blocks run in children: they take over signals."""

import errno
import types

import children
import pytest

import amx
from amx import errors, machine
from amx._lib import lib
from amx.emulation import session

pytestmark = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")

BEGIN = """
import sys
import numpy as np
import amx
from amx import cpu, machine, permission, xstate
from amx.causes import Cause

def operands():
    rng = np.random.default_rng(5)
    return [rng.integers(-128, 128, shape, dtype=np.int8) for shape in ((70, 130), (130, 40))]

a, b = operands()
expected = a.astype(np.int64) @ b.astype(np.int64)

def raised(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError("nothing was raised")

def signals_taken():
    with open("/proc/self/status") as lines:
        return next(line for line in lines if line.startswith("SigCgt"))
"""
FEATURES = {
    "spr": "tile int8 bf16",
    "gnr": "tile int8 bf16 fp16",
    "gnr-d": "tile int8 bf16 fp16 complex",
    "dmr": "tile int8 bf16 fp16 complex fp8 avx512 movrs",
}
ZMM = not lib.amx_is_stub() and (machine.Real().xgetbv(0) or 0) & 0xE6 == 0xE6


def child(code, **environment):
    """Run the code after BEGIN, in a process without AMX_BACKEND; it must end well. What it wrote."""
    result = children.run_python("-W", "error", "-c", BEGIN + code, **{"AMX_BACKEND": "", **environment})
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def has_tiles():
    """Whether this CPU executes tile configuration itself."""
    xcr0 = machine.Real().xgetbv(0)
    return xcr0 is not None and xcr0 >> 17 & 3 == 3


def test_inside_amx_is_there_and_outside_it_is_as_before():
    child("""
real, taken = machine.current(), signals_taken()
before = amx.available(), amx.get_backend.__globals__["_mode"]
with amx.emulate("gnr") as emulation:
    assert amx.available() and amx.available("fp16")
    assert amx.get_backend() is amx.Backend.NATIVE
    assert (amx.matmul(a, b) == expected).all()
    assert emulation.counts.instructions > 100
    inside = emulation.counts
assert machine.current() is real and signals_taken() == taken
assert (amx.available(), amx.get_backend.__globals__["_mode"]) == before
assert emulation.counts == inside
""")


def test_an_exception_puts_everything_back_too():
    child("""
real, taken = machine.current(), signals_taken()
amx.set_backend("emulated")
def fail():
    with amx.emulate():
        assert amx.get_backend() is amx.Backend.NATIVE
        raise KeyError("mine")
assert raised(KeyError, fail).args == ("mine",)
assert machine.current() is real and signals_taken() == taken
assert amx.get_backend() is amx.Backend.EMULATED
""")


def test_permission_is_the_models_and_each_block_begins_without():
    child("""
for _ in range(2):
    with amx.emulate():
        assert permission.supported() and not permission.granted()
        assert permission.permitted() & 3 << 17 == 1 << 17
        config = amx.TileConfig.for_product("int8")
        raised(amx.errors.AmxPermissionError, amx.TileContext(config, request=False).__enter__)
        raised(amx.errors.AmxPermissionError, amx.prefault)
        amx.request()
        assert permission.granted() and not permission.granted(guest=True)
        amx.prefault()
        amx.request(guest=True)
        assert permission.granted(guest=True)
""")


@pytest.mark.parametrize("name", FEATURES)
def test_the_cpu_announces_what_it_has(name):
    """Row moves only where there are ZMM registers to move to."""
    expected = sorted(f"amx_{feature}" for feature in FEATURES[name].split() if feature != "avx512" or ZMM)
    said = child(f"""
with amx.emulate({name!r}):
    print(*sorted(str(feature) for feature in cpu.features()))
""")
    assert said.split() == expected


def test_the_machine_is_that_of_the_manuals():
    # SDM vol. 1, 13.5 and 18.2; offsets as docs/abi.md has them of hardware. Signal frames are the real ones.
    child("""
real = machine.current()
with amx.emulate():
    assert cpu.palettes() == (cpu.Palette(1, 8192, 1024, 64, 8, 16),)
    assert cpu.tile_multiplier() == cpu.TileMultiplier(max_k=16, max_n=64)
    layout = xstate.layout()
    assert layout.enabled
    assert [(c.number, c.size, c.offset, c.xfd) for c in layout.components] == [
        (17, 64, 2752, False), (18, 8192, 2816, True)]
    assert xstate.altstack_need().before == real.getauxval(xstate.AT_MINSIGSTKSZ)
    assert not cpu.disagreements()
""")


def test_xinuse_follows_the_tiles():
    # Where the CPU has tiles, what only configures them executes there until its site is known.
    child("""
bits = 2 if cpu.announced() else 3
with amx.emulate():
    if xstate.xinuse() is not None:  # a host without XGETBV(1)
        seen = [xstate.xinuse() >> 17 & 3]
        with amx.TileContext(amx.TileConfig.for_product("int8")) as tiles:
            seen.append(xstate.xinuse() >> 17 & 3)
            tiles.zero(0)
            seen.append(xstate.xinuse() >> 17 & 3)
            amx.prefault()
            assert (tiles.store(0) == 0).all()
        seen.append(xstate.xinuse() >> 17 & 3)
        assert [bit & bits for bit in seen] == [bit & bits for bit in (0, 1, 3, 0)], seen
""")


def test_fp16_is_that_cpus_only():
    child("""
half = np.ones((4, 4), np.float16)
with amx.emulate("gnr") as emulation:
    assert (amx.matmul(half, half) == 4).all()
    assert emulation.counts.instructions > 0
with amx.emulate("spr"):
    assert "fp16" in str(raised(amx.EmulatedWarning, lambda: amx.matmul(half, half)))
    amx.set_backend("native")
    raised(amx.errors.FeatureError, lambda: amx.matmul(half, half))
""")


def test_trapped_and_patched_compute_the_same():
    said = child("""
for patch in (False, True):
    with amx.emulate(patch=patch) as emulation:
        c = amx.matmul(a, b)
    assert (c == expected).all()
    counts = emulation.counts
    print(counts.instructions, counts.traps, counts.patched)
""")
    trapped, patched = (list(map(int, line.split())) for line in said.splitlines())
    assert trapped[0] == patched[0]
    if has_tiles():  # what only configures them would not trap, and is patched whatever is asked for
        assert trapped[1] < trapped[0]
        assert 0 < trapped[2] < patched[2]
    else:
        assert trapped[1:] == [trapped[0], 0]
    assert patched[1] <= patched[0]


def test_the_diagnosis_says_that_it_speaks_of_an_emulated_cpu():
    said = child("""
with amx.emulate("gnr"):
    for found in (amx.explain(), amx.explain(probe=True), amx.explain(request=True)):
        assert found.usable and found.cause is None
        assert found.emulated == "gnr, by amx.emulate()"
        print(str(found).splitlines()[0], "|", str(found).splitlines()[-1])
    from amx import cli
    cli.main(["explain", "--json"])
assert amx.explain().emulated == ""
""")
    lines = said.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["emulated"] * 3
    assert all("| usable, emulated" in line for line in lines[:3])
    assert '"emulated": "gnr, by amx.emulate()"' in said


def test_a_forked_probe_sees_the_emulated_machine_and_changes_nothing():
    child("""
from amx.machine import ChildAction, Step
with amx.emulate("spr"):
    current = machine.current()
    asked = current.probe_child(ChildAction.REQUEST, 0x1023, 18)
    assert (asked.step, asked.result, asked.value >> 17 & 3) == (Step.DONE, 0, 3), asked
    refused = current.probe_child(ChildAction.REQUEST, 0x1023, 17)
    assert refused.result == -95, refused
    assert current.probe_child(ChildAction.TILEZERO).step is Step.DONE
    missing = current.probe_child(ChildAction.TDPFP16PS)
    assert (missing.step, missing.signal, missing.code) == (Step.TDPFP16PS, 4, 2), missing
    assert not permission.granted()
    guarded = current.probe_tilezero()
    assert (guarded.step, guarded.signal, guarded.code) == (Step.TILEZERO, 4, 1), guarded
""")


ALTERNATE_STACK = """
import ctypes
libc = ctypes.CDLL(None)
class Stack(ctypes.Structure):
    _fields_ = [("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
kept = []
def set_stack(size):
    memory = ctypes.create_string_buffer(size)
    kept.append(memory)
    assert libc.sigaltstack(ctypes.byref(Stack(ctypes.addressof(memory), 0, size)), None) == 0
    return memory
"""


def test_an_alternate_stack_too_small_for_a_real_frame_is_refused_as_by_the_kernel():
    """MINSIGSTKSZ, 2048 bytes, is too small where frames hold AVX-512."""
    child(f"""{ALTERNATE_STACK}
set_stack(2048)
with amx.emulate():
    if xstate.altstack_need().before > 2048:
        assert amx.explain().cause is Cause.ALTSTACK_OF_THIS_THREAD
        assert amx.explain(probe=True).cause is Cause.ALTSTACK_OF_THIS_THREAD
        error = raised(amx.errors.AmxPermissionError, amx.request)
        assert error.errno == 28 and "emulated: spr, by amx.emulate()" in error.evidence, error.evidence
    else:
        amx.request()
""")


@pytest.mark.parametrize("patch", [True, False])
def test_faulthandlers_stack_on_a_cpu_with_small_frames_is_enough(patch):
    """9,632 bytes without AVX, CPython's SIGSTKSZ + AT_MINSIGSTKSZ: pytest always has such a stack."""
    said = child(f"""{ALTERNATE_STACK}
import faulthandler, threading
faulthandler.enable()
def work():
    memory = set_stack(9632)
    assert (amx.matmul(a, b) == expected).all()
    amx.prefault()
    right.append(bytes(memory) == bytes(9632))
right = []
set_stack(9632)
with amx.emulate(patch={patch}) as emulation:
    amx.request()
    work()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert emulation.counts.instructions > 0
    print(*right)
""")
    assert said == "True True\n", "and no instruction trapped on it"


def test_other_products_are_as_ever():
    child("""
x = np.random.default_rng(1).standard_normal((50, 50))
before = (x @ x).tobytes()
with amx.emulate():
    assert (x @ x).tobytes() == before
    amx.matmul(a, b)
    assert (x @ x).tobytes() == before
""")


def test_threads_and_forked_children_are_emulated():
    child("""
import os, threading
wrong = []
def work():
    if not (amx.matmul(a, b) == expected).all():
        wrong.append(threading.get_ident())
with amx.emulate():
    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not wrong
    pid = os.fork()
    if pid == 0:
        os._exit(0 if (amx.matmul(a, b) == expected).all() else 1)
    assert os.waitpid(pid, 0)[1] == 0
""")


def test_blocks_come_and_go_while_other_threads_multiply():
    """Which never notice; children forked meanwhile leave the block as well."""
    child("""
import os, threading, time, warnings
warnings.simplefilter("ignore", amx.EmulatedWarning)
right, wrong, done = [], [], False
def work():
    while not done:
        (right if (amx.matmul(a, b) == expected).all() else wrong).append(None)
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
pid = None
for _ in range(10):
    with amx.emulate() as emulation:
        amx.matmul(a, b)
        before = len(right)
        while len(right) < before + 5:
            time.sleep(0.001)
        pid = os.fork()
    if pid == 0:
        os._exit(not (amx.matmul(a, b) == expected).all())
    assert os.waitpid(pid, 0)[1] == 0
    assert emulation.counts.instructions > 0
done = True
for thread in threads:
    thread.join()
assert not wrong
""")


def test_contexts_of_other_threads_are_closed_between_two_instructions():
    """Those find out by an error, whatever they were doing."""
    child("""
import threading, time, warnings
warnings.simplefilter("ignore", amx.EmulatedWarning)
config, rows = amx.TileConfig.for_product("int8"), np.ones((16, 64), np.int8)
closed, rounds, done = [], [], False
def work():
    while not done:
        try:
            with amx.TileContext(config) as tiles:
                for _ in range(50):
                    tiles.zero(0)
                    tiles.load(1, rows)
                    tiles.load(2, rows)
                    tiles.dpbssd(0, 1, 2)
                    assert (tiles.store(0) == 64).all()
            rounds.append(None)
        except (amx.errors.ContextClosedError, amx.errors.FeatureError):  # the latter just before
            closed.append(None)
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
left_open = 0
for _ in range(40):
    try:
        with amx.emulate():
            time.sleep(0.005)
    except amx.errors.ContextError:
        left_open += 1
    except amx.errors.EmulationError as error:
        assert "TileContext open" in error.what
done = True
for thread in threads:
    thread.join()
assert left_open and closed and rounds
""")


def test_the_counts_are_those_of_the_block_alone():
    """Also where a thread that executed something in an earlier one is still there, or ended."""
    child("""
import threading
leave = threading.Event()
def work(wait):
    amx.matmul(a, b)
    done.release()
    wait and leave.wait()
done = threading.Semaphore(0)
with amx.emulate() as first:
    threads = [threading.Thread(target=work, args=[wait]) for wait in (False, True)]
    for thread in threads:
        thread.start()
        done.acquire()
    threads[0].join()
    amx.matmul(a, b)
with amx.emulate() as second:
    pass
leave.set()
assert first.counts.instructions > 0 and first.counts.traps > 0
assert (second.counts.instructions, second.counts.traps) == (0, 0), second.counts
""")


def test_a_block_ends_though_code_that_was_patched_is_gone():
    """And though the thread that ends it has executed nothing itself."""
    child("""
import ctypes, mmap, os, threading
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
config = ctypes.create_string_buffer(amx.TileConfig.for_product("int8").to_bytes(), 64)
def generate_and_unmap():
    amx.request()
    code = os.memfd_create("code")
    os.write(code, bytes.fromhex("c4e2784907 c4e27b49c0 c4e27849c0 c3"))  # ldtilecfg, tilezero, tilerelease
    protection = mmap.PROT_READ | mmap.PROT_EXEC
    address = libc.mmap(None, ctypes.c_size_t(4096), protection, mmap.MAP_PRIVATE, code, ctypes.c_long(0))
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(ctypes.addressof(config))
    patched.append(emulation.counts.patched)
    assert libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(4096)) == 0
patched = []
with amx.emulate() as emulation:
    thread = threading.Thread(target=generate_and_unmap)
    thread.start()
    thread.join()
assert patched[0] > 0
""")


def test_a_handler_put_back_over_ours_does_not_call_itself():
    """As faulthandler does, which takes the signals amid a block and gives them back after it."""
    code = """
import ctypes, faulthandler, mmap
with amx.emulate():
    faulthandler.enable()
faulthandler.disable()
code = mmap.mmap(-1, 4096, prot=7)
code.write(bytes.fromhex("0f0b"))
with amx.emulate():
    assert (amx.matmul(a, b) == expected).all()
    print("right", flush=True)
    ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
"""
    result = children.run_python("-c", BEGIN + code, AMX_BACKEND="")
    assert (result.stdout, children.how_it_ended(result)) == ("right\n", "SIGILL"), result.stderr


def test_one_block_at_a_time_also_of_another_thread():
    child("""
import threading
opened, leave = threading.Event(), threading.Event()
def other():
    with amx.emulate("gnr"):
        opened.set()
        leave.wait()
thread = threading.Thread(target=other)
thread.start()
opened.wait()
error = raised(amx.errors.EmulationError, amx.emulate("dmr").__enter__)
assert "while gnr is emulated" in error.what
leave.set()
thread.join()
with amx.emulate("dmr"):
    raised(amx.errors.EmulationError, amx.emulate("dmr").__enter__)
    assert (amx.matmul(a, b) == expected).all()
""")


def test_a_tile_context_that_is_open_forbids_to_begin():
    child("""
amx.set_backend("emulated")
with amx.TileContext(amx.TileConfig.for_product("int8")):
    error = raised(amx.errors.EmulationError, amx.emulate().__enter__)
assert "1 TileContext open" in error.what
""")


def test_a_tile_context_left_open_is_closed_and_the_next_block_works():
    child("""
import threading
config = amx.TileConfig.for_product("int8")
def leave_open():
    with amx.emulate():
        mine.__enter__()
        thread = threading.Thread(target=others.__enter__)
        thread.start()
        thread.join()
mine, others = amx.TileContext(config), amx.TileContext(config)
assert "2 TileContext open" in raised(amx.errors.ContextError, leave_open).what
raised(amx.errors.ContextClosedError, lambda: mine.zero(0))
mine.__exit__(None, None, None)
with amx.emulate(), amx.TileContext(config) as tiles:
    tiles.zero(0)
    assert (tiles.store(0) == 0).all()
""")


def test_a_permission_that_others_got_of_the_real_kernel_is_named():
    child("""
def ask_the_kernel():
    with amx.emulate():
        machine.Real.xgetbv = lambda self, index: 0x600E7
        machine.Real.arch_prctl_get = lambda self, op: machine.Reply(0, 0x600E7)
error = raised(amx.errors.EmulationError, ask_the_kernel)
assert "while it was emulated" in error.what
assert machine.current().emulated == ""
""")


def test_a_trace_is_there_when_the_block_has_ended(tmp_path):
    file = tmp_path / "trace.json"
    child(f"""
from amx.emulation import trace
with amx.emulate("gnr", trace={str(file)!r}) as emulation:
    amx.matmul(a, b)
    assert emulation.trace is None
assert emulation.trace.instructions == emulation.counts.instructions > 0
assert trace.Trace.load({str(file)!r}).instructions == emulation.counts.instructions
""")


def test_a_forked_child_that_leaves_the_block_leaves_the_trace_to_its_parent(tmp_path):
    file = tmp_path / "trace.json"
    said = child(f"""
import os
with amx.emulate(trace={str(file)!r}) as emulation:
    pid = os.fork()
    if pid == 0:
        amx.matmul(a, b)
        sys.exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    assert not os.path.exists({str(file)!r})
    amx.matmul(a, b)
print([process.pid == os.getpid() for process in emulation.trace.processes])
""")
    assert said == "[True, False]\n"
    assert file.exists()


LOST = {"removed": "shutil.rmtree(directory)", "open to others": "os.chmod(directory, 0o755)"}
RECORDING = """
import os, shutil, tempfile, warnings
def block(file, damage, ended=None):
    with amx.emulate(trace=file):
        (name,) = os.listdir(tempfile.gettempdir())
        directory = os.path.join(tempfile.gettempdir(), name)
        exec(damage)
        if ended:
            raise ended
"""


@pytest.mark.parametrize("damage", LOST.values(), ids=LOST)
def test_the_status_of_a_program_whose_trace_is_lost_is_its_own(tmp_path, damage):
    file = tmp_path / "trace.json"
    file.write_text("old")
    code = f"block({str(file)!r}, {damage!r}, SystemExit(7))"
    done = children.run_python("-c", BEGIN + RECORDING + code, TMPDIR=own(tmp_path), AMX_BACKEND="")
    assert done.returncode == 7, done.stderr
    (said,) = [line for line in done.stderr.splitlines() if "RuntimeWarning" in line]
    line = (BEGIN + RECORDING).partition("    with amx")[0].count("\n") + 1
    assert said.startswith(f"<string>:{line}: ")
    assert f"amx.emulate(trace={str(file)!r}): nothing is written. There is no directory" in said
    assert file.read_text() == "old"


def test_not_even_where_warnings_are_errors(tmp_path):
    code = f"block({str(tmp_path / 'trace.json')!r}, {LOST['removed']!r}, SystemExit(7))"
    done = children.run_python(
        "-W", "error", "-c", BEGIN + RECORDING + code, TMPDIR=own(tmp_path), AMX_BACKEND=""
    )
    assert (done.returncode, done.stderr) == (7, "")


def test_an_exception_has_a_note_of_a_trace_that_is_lost(tmp_path):
    file = tmp_path / "trace.json"
    child(
        f"""{RECORDING}
error = raised(KeyError, lambda: block({str(file)!r}, {LOST["removed"]!r}, KeyError("mine")))
assert error.args == ("mine",)
(note,) = error.__notes__
assert "nothing is written. There is no directory" in note
""",
        TMPDIR=own(tmp_path),
    )


@pytest.mark.parametrize("damage", LOST.values(), ids=LOST)
def test_a_block_that_ends_well_raises_for_a_trace_that_is_lost(tmp_path, damage):
    child(
        f"""{RECORDING}
error = raised(amx.errors.EmulationError, lambda: block({str(tmp_path / "trace.json")!r}, {damage!r}))
assert error.what.startswith("There is no directory")
assert not machine.current().emulated
""",
        TMPDIR=own(tmp_path),
    )


def test_a_block_that_cannot_be_entered_leaves_the_old_trace(tmp_path):
    file = tmp_path / "trace.json"
    file.write_text("old")
    child(f"""
amx.set_backend("emulated")
with amx.emulate():
    raised(amx.errors.EmulationError, amx.emulate(trace={str(file)!r}).__enter__)
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGILL])
raised(amx.errors.EmulationError, amx.emulate(trace={str(file)!r}).__enter__)
""")
    assert file.read_text() == "old"


def own(tmp_path):
    """A place for temporary files in which there are no others."""
    (tmp_path / "own").mkdir()
    return str(tmp_path / "own")


def test_a_trace_that_can_be_no_file_is_refused_at_once(tmp_path):
    with pytest.raises(errors.EmulationError, match="no such directory"):
        amx.emulate(trace=tmp_path / "none" / "trace.json")
    with pytest.raises(errors.EmulationError, match="is a directory"):
        amx.emulate(trace=tmp_path)


def test_as_a_decorator_each_call_is_a_block():
    child("""
@amx.emulate("gnr")
def product():
    assert not permission.granted()
    return amx.matmul(a, b)
assert (product() == expected).all() and (product() == expected).all()
assert machine.current().emulated == ""
""")


def test_an_emulated_machine_is_not_recorded(tmp_path):
    file = tmp_path / "machine.json"
    child(f"""
from amx import cli
with amx.emulate():
    assert cli.main(["info", "--record", {str(file)!r}]) == 1
""")
    assert not file.exists()


def test_nothing_is_taken_over_before_a_block_is_entered():
    code = """
def taken():
    with open("/proc/self/status") as lines:
        return [line for line in lines if line.startswith(("SigCgt", "SigBlk", "Seccomp"))]
import numpy  # whose threads make libc take a signal
before = taken()
import amx
block = amx.emulate()
amx.emulation.features()
assert taken() == before
"""
    result = children.run_python("-c", code)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["SIGILL", "SIGTRAP"])
def test_a_thread_that_blocks_what_instructions_raise_is_refused(name):
    """Its first instruction would kill the process; a parent can hand on such a mask."""
    child(f"""
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) if {name!r} == "SIGILL" else {{signal.{name}}})
error = raised(amx.errors.EmulationError, amx.emulate().__enter__)
assert {name!r} in str(error) and "pthread_sigmask" in error.remedy, error
exec(error.remedy.partition(": ")[2])
with amx.emulate():
    amx.request()
    assert (amx.matmul(a, b) == expected).all()
""")


def test_an_unknown_cpu_is_a_value_error_that_names_the_known_ones():
    with pytest.raises(ValueError, match=r"amx.emulate\('zen5'\).*spr, gnr, gnr-d, dmr"):
        amx.emulate("zen5")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (-errno.EPERM, "fresh process that does not request permission"),
        (-errno.EALREADY, "emulated already"),
        (-errno.ENOMEM, "ENOMEM"),
    ],
)
def test_what_the_trap_refuses_is_explained_and_changes_nothing(monkeypatch, answer, words):
    fake = types.SimpleNamespace(amxemu_cpu_model=lib.amxemu_cpu_model, amx_trap_start=lambda options: answer)
    monkeypatch.setattr(session, "lib", fake)
    before = machine.current()
    for _ in range(2):
        with pytest.raises(errors.EmulationError, match=words):
            amx.emulate().__enter__()
    assert machine.current() is before


@pytest.mark.native
def test_a_process_with_real_permission_is_told_to_start_afresh():
    child("""
amx.request()
error = raised(amx.errors.EmulationError, amx.emulate().__enter__)
assert "fresh process" in error.remedy
""")
