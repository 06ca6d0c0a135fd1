"""CPUID and XGETBV of the emulated CPUs, read as amx.cpu and amx.xstate read those of real machines."""

import ctypes
import platform

import machines
import pytest
from compiling import ROOT, compile_c

from amx import cpu, machine, xstate
from amx._lib import lib
from amx.cpu import Feature
from amx.machine import Registers

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="of x86-64 processors")

SPR = {Feature.AMX_TILE, Feature.AMX_INT8, Feature.AMX_BF16}
GNR = SPR | {Feature.AMX_FP16}
GNR_D = GNR | {Feature.AMX_COMPLEX}
DMR = GNR_D | {Feature.AMX_FP8, Feature.AMX_AVX512, Feature.AMX_MOVRS}
MODELS = {"spr": SPR, "gnr": GNR, "gnr-d": GNR_D, "dmr": DMR}
RECORDED = {
    "spr": "sapphire-rapids",
    "gnr": "granite-rapids-bare-metal",
    "gnr-d": "granite-rapids-d",
    "dmr": "diamond-rapids",
}
WITH_ZMM = ["zen5-kvm", "ice-lake", *RECORDED.values(), "withdrawn-features"]
HOSTS = ["zen5-kvm", "ice-lake", "sierra-forest", "noxsave", *RECORDED.values(), "withdrawn-features"]
AMX_LEAVES = [(0xD, 17), (0xD, 18), (0x1D, 0), (0x1D, 1), (0x1D, 2), (0x1E, 0), (0x1E, 1), (0x1E, 2)]
AMX_BITS = {(7, 0): Registers(0, 0, 0, 1 << 22 | 1 << 24 | 1 << 25), (7, 1): Registers(1 << 21, 0, 0, 1 << 8)}
OSXSAVE = 1 << 27


class AMXEMUCpu(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("title", ctypes.c_char_p), ("families", ctypes.c_uint32)]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    sources = [ROOT / "csrc/trap/cpu/virtual_cpu.c", ROOT / "csrc/emulator/features.c"]
    output = tmp_path_factory.mktemp("virtual_cpu") / "virtual_cpu.so"
    library = ctypes.CDLL(str(compile_c(output, sources, "-shared", "-fPIC")))
    library.amxemu_cpu_model.restype = ctypes.POINTER(AMXEMUCpu)
    library.virtual_cpu.restype = AMXEMUCpu
    library.virtual_cpu.argtypes = [ctypes.POINTER(AMXEMUCpu), ctypes.c_uint64]
    for name in ("virtual_xcr0", "virtual_xinuse"):
        getattr(library, name).restype = ctypes.c_uint64
        getattr(library, name).argtypes = [ctypes.c_uint64] * (1 + (name == "virtual_xinuse"))
    return library


class Emulated:
    """A recorded machine with the emulated CPU in front of its CPUID and XGETBV."""

    def __init__(self, library, host, name):
        models = iter(library.amxemu_cpu_model(i) for i in range(16))
        self.library, self.host = library, machines.load(host)
        model = next(model for model in models if model and model.contents.name == name.encode())
        self.model = library.virtual_cpu(model, self.host.xgetbv(0) or 0)

    def __getattr__(self, name):
        return getattr(self.host, name)

    def cpuid(self, leaf, subleaf=0):
        words = self.host.cpuid(leaf, subleaf)
        host = (ctypes.c_uint32 * 4)(words.eax, words.ebx, words.ecx, words.edx)
        registers = (ctypes.c_uint32 * 4)()
        xcr0 = ctypes.c_uint64(self.host.xgetbv(0) or 0)
        self.library.virtual_cpuid(
            ctypes.byref(self.model), leaf, subleaf, host, self.host.cpuid(0).eax, xcr0, registers
        )
        return Registers(*registers)

    def xgetbv(self, index):
        assert index == 0
        return self.library.virtual_xcr0(self.host.xgetbv(0) or 0)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("name", MODELS)
def test_it_announces_what_the_model_has_whatever_the_host_has(library, host, name):
    """But for row moves to ZMM registers, which the host must have."""
    with machine.use(Emulated(library, host, name)):
        without = set() if host in WITH_ZMM else {Feature.AMX_AVX512}
        assert cpu.announced() == MODELS[name] - without
        assert not [found for found in cpu.disagreements() if "/proc" not in str(found)]


@pytest.mark.parametrize("xcr0", [0, 3, 7, 0x207, 0x47, 0xC7, 0xE1, 0x600E1])
def test_without_all_parts_of_the_zmm_registers_there_are_no_row_moves(library, xcr0):
    """XSAVE's components 1, 2, 5, 6 and 7."""
    models = iter(library.amxemu_cpu_model(i) for i in range(len(MODELS)))
    for model in models:
        families = model.contents.families
        assert library.virtual_cpu(model, xcr0 | 0xE6).families == families
        assert library.virtual_cpu(model, xcr0).families == families & ~(1 << lib.AMXEMU_FAMILY_AVX512)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("name", MODELS)
def test_tiles_and_their_place_in_the_xsave_area_are_as_on_the_real_cpu(library, host, name):
    with machine.use(machines.load(RECORDED[name])):
        geometry = cpu.palettes(), cpu.tile_multiplier(), xstate.layout().components
    with machine.use(Emulated(library, host, name)):
        assert (cpu.palettes(), cpu.tile_multiplier(), xstate.layout().components) == geometry
        assert xstate.layout().enabled
        assert xstate.layout().supported & 0x60003 == 0x60003
        assert (xstate.layout().standard_size >= 11008) == (host != "noxsave")
        assert xstate.layout().standard_limit >= 11008


@pytest.mark.parametrize("name", MODELS)
def test_on_its_own_host_the_emulated_cpu_changes_nothing(library, name):
    emulated = Emulated(library, RECORDED[name], name)
    for leaf, subleaf in [(0, 0), (1, 0), (7, 0), (7, 1), (0xD, 0), (0xD, 1), *AMX_LEAVES, (0x80000000, 0)]:
        assert emulated.cpuid(leaf, subleaf) == emulated.host.cpuid(leaf, subleaf)
    assert emulated.xgetbv(0) == emulated.host.xgetbv(0)


def test_what_is_not_amx_stays_the_hosts(library):
    emulated = Emulated(library, "zen5-kvm", "dmr")
    for leaf, subleaf in [(1, 0), (0xD, 2), (0x80000001, 0), (0x40000000, 0), (0x20, 0)]:
        assert emulated.cpuid(leaf, subleaf) == emulated.host.cpuid(leaf, subleaf)
    for place, amx in AMX_BITS.items():
        ours, host = emulated.cpuid(*place), emulated.host.cpuid(*place)
        for name in ("eax", "ebx", "ecx", "edx"):
            assert getattr(ours, name) & ~getattr(amx, name) == getattr(host, name) & ~getattr(amx, name)
    vendor, host = emulated.cpuid(0), emulated.host.cpuid(0)
    assert vendor.eax == 0x1E
    assert (vendor.ebx, vendor.ecx, vendor.edx) == (host.ebx, host.ecx, host.edx)


def test_leaves_that_the_host_lacks_read_as_zeros_up_to_those_of_amx(library):
    emulated = Emulated(library, "zen5-kvm", "spr")
    garbage = (ctypes.c_uint32 * 4)(1, 2, 3, 4)  # Intel answers for the highest leaf instead
    registers = (ctypes.c_uint32 * 4)()
    for leaf, expected in ((0x1B, [1, 2, 3, 4]), (0x1C, [0] * 4), (0x1F, [1, 2, 3, 4])):
        library.virtual_cpuid(
            ctypes.byref(emulated.model), leaf, 0, garbage, 0x1B, ctypes.c_uint64(7), registers
        )
        assert list(registers) == expected


def test_subleaf_1_of_leaf_7_exists_only_where_a_feature_is_announced_there(library):
    assert Emulated(library, "ice-lake", "spr").cpuid(7).eax == 0
    assert Emulated(library, "ice-lake", "gnr").cpuid(7).eax == 1


def test_a_host_without_xsave_gets_xgetbv_which_traps_there(library):
    emulated = Emulated(library, "noxsave", "spr")
    assert not emulated.host.cpuid(1).ecx & OSXSAVE
    assert emulated.cpuid(1).ecx & OSXSAVE
    assert emulated.xgetbv(0) == 0x60003


def test_a_host_without_xsave_is_not_told_how_much_it_saves(library):
    """Who is told, as glibc's dynamic linker, executes it."""
    assert Emulated(library, "noxsave", "spr").cpuid(0xD, 0).ebx == 0


def test_the_compacted_size_grows_by_both_components_aligned(library):
    assert Emulated(library, "zen5-kvm", "spr").cpuid(0xD, 1).ebx == -(-0x9A8 // 64) * 64 + 64 + 8192


def test_xinuse_takes_the_bits_of_tiles_from_the_emulated_state(library):
    assert library.virtual_xinuse(0x400A2, 1 << 17) == 0x200A2
    assert library.virtual_xinuse(0xA2, 3 << 17 | 1) == 0x600A2


@pytest.mark.parametrize("tiles", [0, 1 << 17, 3 << 17])
def test_a_configuration_that_the_cpu_loaded_itself_is_the_last_and_zeroed_the_tiles(library, tiles):
    """Where the CPU has tiles, LDTILECFG runs unseen until something traps."""
    assert library.virtual_xinuse(0x200A2, tiles) == 0x200A2
