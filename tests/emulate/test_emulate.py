"""amx.emulate(): AMX in this process for a block's time; what begins a block, refuses it, and is put back."""

import errno
import types

import children
import pytest
from emulating import BEGIN, child, has_tiles

import amx
from amx import errors, machine
from amx._lib import lib
from amx.emulation import session

pytestmark = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")


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


def test_to_emulate_is_to_ask_for_tiles_whatever_backend_was_chosen():
    """Products are native inside, and outside as before, of which nothing is said."""
    child("""
for mode in ("vector", "emulated"):
    amx.set_backend(mode)
    before = [amx.get_backend(group) for group in ("tile", "int8")]
    assert before[0] is amx.Backend.EMULATED
    for _ in range(2):
        with amx.emulate() as emulation:
            assert amx.get_backend("int8") is amx.get_backend() is amx.Backend.NATIVE
            assert (amx.matmul(a, b) == expected).all()
        assert emulation.counts.instructions > 0
        assert [amx.get_backend(group) for group in ("tile", "int8")] == before
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


def test_other_products_are_as_ever():
    child("""
x = np.random.default_rng(1).standard_normal((50, 50))
before = (x @ x).tobytes()
with amx.emulate():
    assert (x @ x).tobytes() == before
    amx.matmul(a, b)
    assert (x @ x).tobytes() == before
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
    code = libc.memfd_create(b"code", 0)
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


def test_as_a_decorator_each_call_is_a_block():
    child("""
@amx.emulate("gnr")
def product():
    assert not permission.granted()
    return amx.matmul(a, b)
assert (product() == expected).all() and (product() == expected).all()
assert machine.current().emulated == ""
""")


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
