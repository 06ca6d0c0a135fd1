"""One decoded instruction: effective addresses, faults, and what happens to RIP."""

import pytest
from emulator_machine import GP, OK, PF, SS, UD, WITHDRAWN, Machine, Window, decode, image

from amx._lib import ffi, lib

RAX, RCX, RSP, RBP, R12 = 0, 1, 4, 5, 12
RIP = 0x400000
NONCANONICAL = 0x4000_0000_0000_0000
BASE = 0x7000_0000

LDTILECFG_RAX = bytes.fromhex("c4e2784900")
STTILECFG_RAX = bytes.fromhex("c4e2794900")
STTILECFG_RIP = bytes.fromhex("c4e279490500010000")  # sttilecfg [rip + 0x100]
LOAD = bytes.fromhex("c4e27b4b0c08")  # tileloadd tmm1, [rax + rcx]
LOAD_SCALED = bytes.fromhex("c4e27b4b4cc810")  # tileloadd tmm1, [rax + 8 * rcx + 16]
LOAD_RSP = bytes.fromhex("c4e27b4b0c0c")  # tileloadd tmm1, [rsp + rcx]
LOAD_RBP = bytes.fromhex("c4e27b4b4c0d00")  # tileloadd tmm1, [rbp + rcx]
LOAD_R12 = bytes.fromhex("c4c27b4b0c0c")  # tileloadd tmm1, [r12 + rcx]
STORE = bytes.fromhex("c4e27a4b0c08")  # tilestored [rax + rcx], tmm1
ROWS, COLSB = 4, 8


def machine(start_row=0):
    made = Machine()
    assert made.ldtilecfg(image([(0, 0), (ROWS, COLSB)], start_row=start_row)) == OK
    made.tiles[1][:] = 0x5A
    return made


def window(size=256, address=BASE):
    return Window(bytearray(i % 251 + 1 for i in range(size)), address)


def loaded(made):
    """Where each row came from: its first byte tells, see `window`."""
    return [int(made.tiles[1][row, 0]) - 1 for row in range(ROWS)]


def test_base_displacement_and_scaled_index():
    """The index is the stride: it is not part of the first row's address."""
    made = machine()
    assert made.step(LOAD_SCALED, window(), gpr={RAX: BASE, RCX: 3}) == (OK, RIP + len(LOAD_SCALED))
    assert loaded(made) == [16, 40, 64, 88]


def test_scaling_drops_the_indexs_high_bits():
    made = machine()
    assert made.step(LOAD_SCALED, window(), gpr={RAX: BASE, RCX: 0xE000_0000_0000_0003})[0] == OK
    assert loaded(made) == [16, 40, 64, 88]


def test_a_negative_index_goes_down():
    made = machine()
    assert made.step(LOAD, window(), gpr={RAX: BASE + 100, RCX: -10})[0] == OK
    assert loaded(made) == [100, 90, 80, 70]


def test_no_index_is_stride_0():
    made = machine()
    assert made.step(bytes.fromhex("c4e27b4b0c20"), window(), gpr={RAX: BASE + 5, RSP: 40})[0] == OK
    assert loaded(made) == [5, 5, 5, 5]


def test_rip_is_that_of_the_next_instruction():
    memory = Window(bytearray(64), RIP + len(STTILECFG_RIP) + 0x100)
    assert machine().step(STTILECFG_RIP, memory) == (OK, RIP + len(STTILECFG_RIP))
    assert memory.bytes == image([(0, 0), (ROWS, COLSB)])


@pytest.mark.parametrize(("prefix", "base"), [("64", {"fs_base": 0x30}), ("65", {"gs_base": 0x30})])
def test_segment_bases_are_added(prefix, base):
    made = machine()
    bases = {"fs_base": 1 << 40, "gs_base": 1 << 40} | base
    assert made.step(bytes.fromhex(prefix) + LOAD, window(), gpr={RAX: BASE, RCX: 10}, **bases)[0] == OK
    assert loaded(made) == [0x30, 0x3A, 0x44, 0x4E]
    assert made.step(LOAD, window(), gpr={RAX: BASE, RCX: 10}, **bases)[0] == OK
    assert loaded(made) == [0, 10, 20, 30]


def test_67_truncates_every_row():
    """The high halves of base and stride have no effect, in no row."""
    made = machine()
    gpr = {RAX: 0xDEAD_BEEF_0000_0000 | BASE, RCX: 0x1234_5678_0000_000A}
    assert made.step(b"\x67" + LOAD, window(), gpr=gpr)[0] == OK
    assert loaded(made) == [0, 10, 20, 30]


def test_67_wraps_at_4_gib_between_rows():
    made = machine()
    memory = window(address=0)
    gpr = {RAX: 0xFFFF_FFF0, RCX: 0x20}
    assert made.step(b"\x67" + LOAD, memory, gpr=gpr)[0] == PF
    assert made.fault == 0xFFFF_FFF0
    made = machine(start_row=1)
    assert made.step(b"\x67" + LOAD, memory, gpr=gpr)[0] == OK
    assert loaded(made)[1:] == [0x10, 0x30, 0x50]


def test_the_segment_base_is_added_after_truncation():
    made = machine()
    gpr = {RAX: 0xFFFF_FFFF_0000_0000, RCX: 10}
    assert made.step(b"\x65\x67" + LOAD, window(), gpr=gpr, gs_base=BASE)[0] == OK
    assert loaded(made) == [0, 10, 20, 30]


@pytest.mark.parametrize(
    ("insn", "register", "outcome"),
    [(LOAD, RAX, GP), (LOAD_RSP, RSP, SS), (LOAD_RBP, RBP, SS), (LOAD_R12, R12, GP)],
)
@pytest.mark.parametrize("bits", [48, 57])
def test_noncanonical_addresses(insn, register, outcome, bits):
    """By the first or the last byte; the stack's registers as base make it #SS; RIP stays."""
    half = 1 << bits - 1
    for address in (NONCANONICAL, half, half - COLSB + 1, 2**64 - half - 1, 2**64 - half - COLSB):
        step = machine().step(insn, window(), gpr={register: address, RCX: 0}, la57=bits == 57)
        assert step == (outcome, RIP), hex(address)


@pytest.mark.parametrize("insn", [LDTILECFG_RAX, STTILECFG_RAX])
@pytest.mark.parametrize("bits", [48, 57])
def test_noncanonical_addresses_of_configurations(insn, bits):
    half = 1 << bits - 1
    for address, outcome in ((half - 63, GP), (2**64 - half - 1, GP), (half - 64, PF), (2**64 - half, PF)):
        step = machine().step(insn, window(), gpr={RAX: address}, la57=bits == 57)
        assert step == (outcome, RIP), hex(address)


def test_a_segment_prefix_makes_it_gp():
    assert machine().step(b"\x65" + LOAD_RSP, window(), gpr={RSP: NONCANONICAL, RCX: 0})[0] == GP


def test_a_noncanonical_row_stops_where_it_is():
    """Rows before it are loaded, start_row names it."""
    made = machine()
    assert made.step(LOAD, window(), gpr={RAX: BASE, RCX: 1 << 61}) == (GP, RIP)
    assert loaded(made)[0] == 0
    assert not made.tiles[1][1:].any()
    assert made.start_row == 1


@pytest.mark.parametrize("bits", [48, 57])
def test_canonical_addresses_only_page_fault(bits):
    """The kernel's half too."""
    half = 1 << bits - 1
    for address in (2**64 - half, 2**64 - 256, 0, half - COLSB):
        made = machine()
        assert made.step(LOAD, window(), gpr={RAX: address, RCX: 8}, la57=bits == 57) == (PF, RIP)
        assert made.fault == address


def test_ud_comes_before_any_address_check():
    assert machine(start_row=ROWS).step(LOAD, window(), gpr={RAX: NONCANONICAL, RCX: 0}) == (UD, RIP)


def test_a_page_fault_leaves_rip_and_start_row_for_another_try():
    made, gpr = machine(), {RAX: BASE, RCX: 16}
    assert made.step(STORE, window(36), gpr=gpr) == (PF, RIP)
    assert made.fault == BASE + 36
    assert made.start_row == 2
    memory = window(64)
    assert made.step(STORE, memory, gpr=gpr) == (OK, RIP + len(STORE))
    assert made.start_row == 0
    assert memory.bytes[:8] != b"\x5a" * 8
    assert memory.bytes[32:40] == memory.bytes[48:56] == b"\x5a" * 8


@pytest.mark.parametrize("size", [0, 63])
def test_a_configuration_is_read_whole_or_not_at_all(size):
    made = machine()
    assert made.step(LDTILECFG_RAX, window(size), gpr={RAX: BASE}) == (PF, RIP)
    assert made.fault == BASE + size
    assert made.config == image([(0, 0), (ROWS, COLSB)])
    assert (made.tiles[1] == 0x5A).all()


@pytest.mark.parametrize("size", [0, 63])
def test_a_configuration_is_written_whole_or_not_at_all(size):
    made, memory = machine(), window(size)
    before = bytes(memory.bytes)
    assert made.step(STTILECFG_RAX, memory, gpr={RAX: BASE}) == (PF, RIP)
    assert made.fault == BASE + size
    assert memory.bytes == before


def test_a_bad_configuration_is_gp_and_leaves_rip():
    memory = Window(bytearray([9, *[0] * 63]), BASE)
    assert machine().step(LDTILECFG_RAX, memory, gpr={RAX: BASE}) == (GP, RIP)


def test_an_unconfigured_machine_stores_zeros():
    memory = window(64)
    assert Machine().step(STTILECFG_RAX, memory, gpr={RAX: BASE})[0] == OK
    assert memory.bytes == bytes(64)


# ---- MOVRS and APX ----


@pytest.mark.parametrize("code", ["c4e27b4a4cc810", "c4e2794a4cc810"])
def test_movrs_loads_are_loads(code):
    """TILELOADDRS and TILELOADDRST1 tmm1, [rax + 8 * rcx + 16]; faults and start_row too."""
    code = bytes.fromhex(code)
    made = machine()
    assert made.step(code, window(), gpr={RAX: BASE, RCX: 3}) == (OK, RIP + len(code))
    assert loaded(made) == [16, 40, 64, 88]
    assert made.step(code, window(64), gpr={RAX: BASE, RCX: 3}) == (PF, RIP)
    assert (made.fault, made.start_row) == (BASE + 64, 2)


APX_LOAD = bytes.fromhex("629a7b084b4cf110")  # tileloadd tmm1, [r25 + 8 * r30 + 16]


def test_registers_of_apx_address_memory():
    made = machine()
    assert made.step(APX_LOAD, window(), egpr={25: BASE, 30: 3}) == (OK, RIP + len(APX_LOAD))
    assert loaded(made) == [16, 40, 64, 88]


def test_without_apx_its_encodings_are_ud():
    """Also where they name no register of its."""
    made = machine()
    assert made.step(APX_LOAD, window()) == (UD, RIP)
    plain = bytes.fromhex("62f27c084900")  # ldtilecfg [rax]
    assert made.step(plain, window(), gpr={RAX: BASE}) == (UD, RIP)
    assert made.step(plain, Window(bytearray(64), BASE), gpr={RAX: BASE}, egpr={})[0] == OK


def test_withdrawn_instructions_are_ud():
    """Executed, they change nothing."""
    made = machine(start_row=2)
    verdict, insn = decode(bytes.fromhex("c4e26148ca"))  # tmmultf32ps
    assert verdict == WITHDRAWN
    registers = ffi.new("struct amxemu_registers *", {"rip": RIP})
    outcome = lib.amx_emu_step(made.state, registers, insn, window().handle, ffi.new("uint64_t *"))
    assert (outcome, registers.rip, made.start_row) == (UD, RIP, 2)
