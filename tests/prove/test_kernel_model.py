"""The model of the kernel, against what a kernel 6.18 did on AMX hardware (docs/abi.md)."""

import ctypes
import errno
import platform
import signal
import struct

import pytest
from compiling import EMULATOR, ROOT, compile_c, objects

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="a model of x86-64 Linux")

SUPP, PERM, REQ, GUEST_PERM, GUEST_REQ = range(0x1021, 0x1026)
ALL, DEFAULT = 0x600E7, 0x200E7
XTILECFG, XTILEDATA = 1 << 17, 1 << 18
ILL_ILLOPC = signal.SIGILL * 1000 + 1
ILL_ILLOPN = signal.SIGILL * 1000 + 2
SI_KERNEL = -(signal.SIGSEGV * 1000 + 128)
SEGV_MAPERR = -(signal.SIGSEGV * 1000 + 1)
POINTER = ctypes.c_void_p
CONFIG = bytes([1, *[0] * 15, *[64, 0] * 8, *[0] * 16, *[16] * 8, *[0] * 8])
PATTERN = bytes((i * 7 + 1) % 251 + 1 for i in range(1024))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    sources = [
        ROOT / "tests/c/kernel_model.c",
        ROOT / "csrc/kernel_model/kernel_model.c",
        *EMULATOR,
    ]
    output = tmp_path_factory.mktemp("model") / "kernel_model.so"
    library = ctypes.CDLL(str(compile_c(output, objects(sources), "-shared", "-fPIC")))
    for name, result, *arguments in (
        ("process", POINTER, ctypes.c_int),
        ("child", POINTER, POINTER),
        ("task", POINTER, POINTER),
        ("clone", POINTER, POINTER, POINTER, ctypes.c_int),
        ("exit", None, POINTER),
        ("arch_prctl", ctypes.c_long, POINTER, ctypes.c_int, ctypes.c_uint64),
        ("read", ctypes.c_uint64, POINTER, ctypes.c_int),
        ("read_to_nowhere", ctypes.c_long, POINTER, ctypes.c_int),
        ("altstack", ctypes.c_long, POINTER, ctypes.c_uint64),
        ("create_vcpu", None, POINTER),
        ("ldtilecfg", ctypes.c_int, POINTER, ctypes.c_char_p),
        ("sttilecfg", None, POINTER, ctypes.c_char_p),
        ("tilerelease", None, POINTER),
        ("tilezero", ctypes.c_int, POINTER),
        ("tileloadd", ctypes.c_int, POINTER, ctypes.c_char_p),
        ("load_from", ctypes.c_int, POINTER, ctypes.c_uint64),
        ("tilestored", ctypes.c_int, POINTER, ctypes.c_char_p),
        ("tdpbssd", ctypes.c_int, POINTER),
        ("xrstor", ctypes.c_int, POINTER, ctypes.c_char_p, ctypes.c_uint64),
        ("xinuse", ctypes.c_uint64, POINTER),
    ):
        function = getattr(library, f"model_{name}")
        function.restype, function.argtypes = result, arguments
        setattr(library, name, function)
    return library


@pytest.fixture
def process(model):
    return model.process(0)


@pytest.fixture
def task(model, process):
    return model.task(process)


def request(model, process):
    return model.arch_prctl(process, REQ, 18)


def stored(model, task):
    rows = ctypes.create_string_buffer(1024)
    assert model.tilestored(task, rows) == 0
    return rows.raw


def configuration(model, task):
    config = ctypes.create_string_buffer(64)
    model.sttilecfg(task, config)
    return config.raw


def test_tile_data_is_supported_and_not_permitted_at_first(model, process):
    assert model.read(process, SUPP) == ALL
    assert model.read(process, PERM) == DEFAULT
    assert model.read(process, GUEST_PERM) == DEFAULT


def test_a_request_adds_bit_18_and_may_be_repeated(model, process):
    assert [request(model, process), model.read(process, PERM)] == [0, ALL]
    assert [request(model, process), model.read(process, PERM)] == [0, ALL]


@pytest.mark.parametrize("number", [0, 1, 2, 5, 8, 9, 10, 11, 16, 17, 19])
def test_other_components_cannot_be_asked_for(model, process, number):
    assert model.arch_prctl(process, REQ, number) == -errno.EOPNOTSUPP
    assert model.read(process, PERM) == DEFAULT


@pytest.mark.parametrize("number", [20, 21, 31, 32, 62, 63, 64, 2**64 - 1, 1 << 32 | 18])
def test_unknown_components_are_invalid(model, process, number):
    assert model.arch_prctl(process, REQ, number) == -errno.EINVAL


@pytest.mark.parametrize("op", [1, 0x1020, 0x1026, 0x1027])
def test_unknown_operations_are_invalid(model, process, op):
    assert model.arch_prctl(process, op, 0) == -errno.EINVAL


@pytest.mark.parametrize("op", [SUPP, PERM, GUEST_PERM])
def test_a_pointer_that_cannot_be_written_through_is_efault(model, process, op):
    assert model.read_to_nowhere(process, op) == -errno.EFAULT


@pytest.mark.parametrize(("size", "result"), [(11951, -errno.ENOSPC), (11952, 0), (0, 0)])
def test_a_request_wants_room_on_the_altstack(model, process, task, size, result):
    assert model.altstack(task, size) == 0
    assert request(model, process) == result
    assert model.read(process, PERM) == (DEFAULT if result else ALL)


def test_another_threads_altstack_refuses_until_it_exits(model, process, task):
    other = model.clone(task, process, 0)
    assert model.altstack(other, 8192) == 0
    assert request(model, process) == -errno.ENOSPC
    model.exit(other)
    assert request(model, process) == 0


@pytest.mark.parametrize(("size", "result"), [(2047, -errno.ENOMEM), (2048, 0)])
def test_the_least_altstack_without_permission(model, task, size, result):
    assert model.altstack(task, size) == result


@pytest.mark.parametrize(
    ("size", "result"), [(2048, -errno.ENOMEM), (11836, -errno.ENOMEM), (11837, 0), (0, 0)]
)
def test_the_least_altstack_with_permission(model, process, task, size, result):
    request(model, process)
    assert model.altstack(task, size) == result


def test_a_refused_altstack_changes_nothing(model, process, task):
    assert model.altstack(task, 1024) == -errno.ENOMEM
    assert request(model, process) == 0


def test_guest_permission_is_separate_and_looks_at_no_altstack(model, process, task):
    model.altstack(task, 4096)
    assert model.arch_prctl(process, GUEST_REQ, 18) == 0
    assert (model.read(process, GUEST_PERM), model.read(process, PERM)) == (ALL, DEFAULT)
    assert request(model, process) == -errno.ENOSPC


def test_a_vcpu_locks_guest_permission_for_children_too(model, process):
    model.create_vcpu(process)
    assert model.arch_prctl(process, GUEST_REQ, 18) == -errno.EBUSY
    assert model.arch_prctl(model.child(process), GUEST_REQ, 18) == -errno.EBUSY
    assert request(model, process) == 0


def test_guest_permission_from_before_the_vcpu_may_be_asked_for_again(model, process):
    model.arch_prctl(process, GUEST_REQ, 18)
    model.create_vcpu(process)
    assert model.arch_prctl(process, GUEST_REQ, 18) == 0


def test_a_child_has_a_copy_of_the_permission(model, process):
    before = model.child(process)
    request(model, process)
    after = model.child(process)
    assert (model.read(before, PERM), model.read(after, PERM)) == (DEFAULT, ALL)
    request(model, before)
    assert model.read(before, PERM) == ALL


@pytest.mark.parametrize(("keeps_altstack", "result"), [(1, -errno.ENOSPC), (0, 0)])
def test_a_child_without_the_memory_has_the_altstack(model, process, task, keeps_altstack, result):
    model.altstack(task, 4096)
    child = model.child(process)
    model.clone(task, child, keeps_altstack)
    assert request(model, child) == result


def test_configuration_goes_over_to_a_clone_and_data_does_not(model, process, task):
    request(model, process)
    model.ldtilecfg(task, CONFIG)
    model.tileloadd(task, PATTERN)
    clone = model.clone(task, model.child(process), 1)
    assert model.xinuse(clone) == XTILECFG
    assert configuration(model, clone) == CONFIG
    assert stored(model, clone) == bytes(1024)
    assert stored(model, task) == PATTERN


def test_tile_data_needs_permission_and_configuration_does_not(model, task):
    assert model.ldtilecfg(task, CONFIG) == 0
    assert model.xinuse(task) == XTILECFG
    assert configuration(model, task) == CONFIG
    rows = ctypes.create_string_buffer(PATTERN, 1024)
    assert model.tilezero(task) == ILL_ILLOPC
    assert model.tileloadd(task, PATTERN) == ILL_ILLOPC
    assert model.tilestored(task, rows) == ILL_ILLOPC
    assert model.tdpbssd(task) == ILL_ILLOPC
    assert rows.raw == PATTERN
    assert model.xinuse(task) == XTILECFG
    model.tilerelease(task)
    assert model.xinuse(task) == 0


@pytest.mark.parametrize("permitted", [False, True])
def test_a_missing_configuration_comes_before_a_missing_permission(model, process, task, permitted):
    if permitted:
        request(model, process)
    assert model.tilezero(task) == ILL_ILLOPN
    assert model.tdpbssd(task) == ILL_ILLOPN
    assert model.tileloadd(task, PATTERN) == ILL_ILLOPN


def with_byte(at, value):
    return CONFIG[:at] + bytes([value]) + CONFIG[at + 1 :]


@pytest.mark.parametrize(
    "config",
    [
        with_byte(0, 2),
        with_byte(2, 1),
        with_byte(48, 17),
        with_byte(16, 68),
        with_byte(48, 0),
        with_byte(32, 4),
    ],
    ids=["palette", "reserved", "rows", "colsb", "no rows", "tile 8"],
)
def test_a_bad_configuration_is_a_general_protection_fault(model, task, config):
    model.ldtilecfg(task, CONFIG)
    assert model.ldtilecfg(task, config) == SI_KERNEL
    assert configuration(model, task) == CONFIG


@pytest.mark.parametrize(("la57", "bits"), [(0, 48), (1, 57)])
def test_addresses_are_canonical_as_the_machines_page_tables_have_it(model, la57, bits):
    """A page fault up to there, a general protection fault beyond."""
    process = model.process(la57)
    task, half = model.task(process), 1 << bits - 1
    request(model, process)
    model.ldtilecfg(task, CONFIG)
    for address in (0, half - 64, 2**64 - half, 2**64 - 64):
        assert model.load_from(task, address) == SEGV_MAPERR, hex(address)
    for address in (half - 63, half, 2**64 - half - 1, 1 << 62):
        assert model.load_from(task, address) == SI_KERNEL, hex(address)


def test_xinuse_follows_the_instructions(model, process, task):
    request(model, process)
    model.ldtilecfg(task, CONFIG)
    assert model.tileloadd(task, bytes(1024)) == 0
    assert model.xinuse(task) == XTILECFG | XTILEDATA, "zeros are not tracked"
    model.ldtilecfg(task, CONFIG)
    assert model.xinuse(task) == XTILECFG
    assert model.tilezero(task) == 0
    assert model.xinuse(task) == XTILECFG | XTILEDATA
    model.tilerelease(task)
    assert model.xinuse(task) == 0


def area(features, config=CONFIG):
    made = bytearray(11008)
    made[512:520] = struct.pack("<Q", features)
    made[2752:2816] = config
    made[2816:11008] = PATTERN * 8
    return bytes(made)


def test_xrstor_of_data_without_permission_faults_and_changes_nothing(model, task):
    model.ldtilecfg(task, CONFIG)
    other = with_byte(48, 3)
    assert model.xrstor(task, area(XTILECFG | XTILEDATA, other), XTILECFG | XTILEDATA) == ILL_ILLOPC
    assert configuration(model, task) == CONFIG
    assert model.xrstor(task, area(0), XTILEDATA) == 0, "initial data needs no permission"
    assert model.xinuse(task) == XTILECFG


def test_xrstor_restores_what_is_asked_for(model, process, task):
    request(model, process)
    assert model.xrstor(task, area(XTILECFG | XTILEDATA), XTILECFG | XTILEDATA) == 0
    assert stored(model, task) == PATTERN
    assert model.xrstor(task, area(0), XTILECFG) == 0
    assert model.xinuse(task) == XTILEDATA, "data can be live without a configuration"


def test_xrstor_of_an_invalid_configuration_is_initial_and_keeps_the_data(model, process, task):
    request(model, process)
    model.xrstor(task, area(XTILECFG | XTILEDATA), XTILECFG | XTILEDATA)
    assert model.xrstor(task, area(XTILECFG, with_byte(0, 7)), XTILECFG) == 0
    assert model.xinuse(task) == XTILEDATA
