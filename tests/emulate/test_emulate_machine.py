"""The CPU and the kernel in a block of amx.emulate(): features, permission, tile state, stacks, diagnosis."""

import pytest
from emulating import child

from amx import machine
from amx._lib import lib

pytestmark = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")
FEATURES = {
    "spr": "tile int8 bf16",
    "gnr": "tile int8 bf16 fp16",
    "gnr-d": "tile int8 bf16 fp16 complex",
    "dmr": "tile int8 bf16 fp16 complex fp8 avx512 movrs",
}
ZMM = not lib.amx_is_stub() and (machine.Real().xgetbv(0) or 0) & 0xE6 == 0xE6


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
    assert "fp16" in str(raised(amx.VectorWarning, lambda: amx.matmul(half, half)))
    amx.set_backend("native")
    raised(amx.errors.FeatureError, lambda: amx.matmul(half, half))
""")


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


def test_an_emulated_machine_is_not_recorded(tmp_path):
    file = tmp_path / "machine.json"
    child(f"""
from amx import cli
with amx.emulate():
    assert cli.main(["info", "--record", {str(file)!r}]) == 1
""")
    assert not file.exists()
