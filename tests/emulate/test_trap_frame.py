"""Registers in a signal frame: what is read from the XSAVE area and put into it (SDM vol. 1, 13.4)."""

import ctypes
import struct

import compiling
import pytest

from amx._lib import lib

pytestmark = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")

SSE, AVX, ZMM_HI256, HI16_ZMM, XTILECFG, APX = 1, 2, 6, 7, 17, 19
AVX512 = [SSE, AVX, ZMM_HI256, HI16_ZMM]
PLACES = {SSE: (160, 256), AVX: (576, 256), ZMM_HI256: (1152, 512), HI16_ZMM: (1664, 1024)}
SIZE, STALE = 2816, 0xEE
CONFIG = bytes([1, *[0] * 15, *[64, 0] * 8, *[0] * 16, *[16] * 8, *[0] * 8])
ROW = bytes(range(1, 65))


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    output = tmp_path_factory.mktemp("frame") / "frame.so"
    library = ctypes.CDLL(
        str(compiling.compile_c(output, [compiling.ROOT / "tests/c/frame.c"], "-shared", "-fPIC"))
    )
    library.frame_prepare()
    return library


def bits(components):
    return sum(1 << component for component in components)


def area(room, in_use, magic=0x46505853):
    """With room for some components, of which some are in use; bytes of the others are stale."""
    made = bytearray([STALE]) * SIZE
    made[464:480] = struct.pack("<IIQ", magic, SIZE + 4, bits(room))
    made[512:576] = struct.pack("<Q", bits(in_use)) + bytes(56)
    made[2752:2816] = CONFIG
    return (ctypes.c_ubyte * SIZE).from_buffer(made)


def in_use(made):
    return struct.unpack_from("<Q", made, 512)[0]


def registers(made):
    """ZMM0-31, of an area in which all their components are in use."""
    data = bytes(made)
    lower = [
        data[160 + 16 * i :][:16] + data[576 + 16 * i :][:16] + data[1152 + 32 * i :][:32] for i in range(16)
    ]
    return lower + [data[1664 + 64 * i :][:64] for i in range(16)]


def test_the_configuration_of_the_cpu_is_taken_out(frame):
    """It is INIT from then on, and other components stay."""
    made, config = area([*AVX512, XTILECFG], [SSE, XTILECFG]), ctypes.create_string_buffer(64)
    assert frame.frame_take_config(made, config) == 1
    assert config.raw == CONFIG
    assert in_use(made) == bits([SSE])
    assert frame.frame_take_config(made, config) == 0


@pytest.mark.parametrize(
    "made", [area([SSE], [SSE]), area([SSE, XTILECFG], [SSE]), area([XTILECFG], [XTILECFG], magic=0)]
)
def test_there_may_be_no_configuration(frame, made):
    """No room for it, the INIT state (whose bytes are stale), or a frame without XSAVE."""
    before = bytes(made)
    assert frame.frame_take_config(made, ctypes.create_string_buffer(64)) == 0
    assert bytes(made) == before


def test_what_is_in_use_is_what_the_frame_says(frame):
    """The handler itself runs with all components INIT; without XSAVE there is nothing to read."""
    frame.frame_xinuse.argtypes = ctypes.c_void_p, ctypes.c_uint64
    frame.frame_xinuse.restype = ctypes.c_uint64
    assert frame.frame_xinuse(area([*AVX512, XTILECFG], [AVX, XTILECFG]), 1) == bits([AVX, XTILECFG])
    assert frame.frame_xinuse(area([SSE], [SSE, XTILECFG]), 1) == bits([SSE]), "no room for it"
    assert frame.frame_xinuse(area([SSE], [SSE], magic=0), 1) == 1


@pytest.mark.parametrize("number", [0, 5, 15, 16, 31])
def test_a_zmm_register_is_written_and_the_others_are_kept(frame, number):
    made = area(AVX512, AVX512)
    expected = [bytes([STALE]) * 64] * 32
    expected[number] = ROW
    assert frame.frame_write_zmm(made, number, ROW) == 1
    assert registers(made) == expected
    assert in_use(made) == bits(AVX512)


@pytest.mark.parametrize(
    ("number", "components"), [(5, [SSE, AVX, ZMM_HI256]), (20, [HI16_ZMM])], ids=["lower", "upper"]
)
def test_components_in_the_init_state_become_zeros(frame, number, components):
    """Not what stale bytes the frame has in their place."""
    made = area(AVX512, [])
    assert frame.frame_write_zmm(made, number, ROW) == 1
    assert in_use(made) == bits(components)
    found = registers(made)
    same_half = range(16) if number < 16 else range(16, 32)
    assert [found[i] for i in same_half] == [ROW if i == number else bytes(64) for i in same_half]


def test_there_may_be_no_zmm_registers(frame):
    made = area([SSE, AVX], [SSE, AVX])
    before = bytes(made)
    assert frame.frame_write_zmm(made, 3, ROW) == 0
    assert bytes(made) == before


def test_r16_to_r31_are_zero_without_apx(frame):
    """Or in the INIT state; else they are the component's."""
    found = (ctypes.c_uint64 * 16)()
    for made in (area([SSE], [SSE]), area([SSE, APX], [SSE])):
        frame.frame_egprs(made, found)
        assert list(found) == [0] * 16
    made = area([SSE, APX], [APX])
    struct.pack_into("<16Q", made, 960, *range(100, 116))
    frame.frame_egprs(made, found)
    assert list(found) == list(range(100, 116))
