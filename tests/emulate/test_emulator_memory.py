"""TILELOADD and TILESTORED on the software tile machine: rows, start_row, and faults."""

import numpy as np
import pytest
from emulator_machine import OK, PF, UD, Machine, Window, image

ROWS, COLSB = 5, 12


def machine_with(rows=ROWS, colsb=COLSB, start_row=0):
    machine = Machine()
    assert machine.ldtilecfg(image([(0, 0), (rows, colsb)], start_row=start_row)) == OK
    machine.tiles[1][:] = 0x5A
    return machine


def window(size, **fields):
    return Window(bytearray(i % 251 for i in range(size)), **fields)


def rows_at(memory, offsets, colsb=COLSB):
    return np.array([list(memory.bytes[offset : offset + colsb]) for offset in offsets], np.uint8)


@pytest.mark.parametrize("stride", [COLSB, 64, 17, 0, 3])
def test_load_reads_a_row_each_stride(stride):
    """Rows go to the front of the tile's rows; what is beyond the shape becomes zero."""
    machine, memory = machine_with(), window(400)
    assert machine.load(1, memory, memory.address + 2, stride) == OK
    assert (machine.tiles[1][:ROWS, :COLSB] == rows_at(memory, [2 + r * stride for r in range(ROWS)])).all()
    assert not machine.tiles[1][:, COLSB:].any()
    assert not machine.tiles[1][ROWS:].any()


def test_strides_may_be_negative_and_wrap():
    machine, memory = machine_with(), window(400)
    assert machine.load(1, memory, memory.address + 300, -33) == OK
    assert (machine.tiles[1][:ROWS, :COLSB] == rows_at(memory, [300 - r * 33 for r in range(ROWS)])).all()
    memory = window(400, address=2**64 - 100)
    assert machine.load(1, memory, 2**64 - 60, 10) == OK


@pytest.mark.parametrize("start_row", [1, 4])
def test_load_goes_on_at_start_row(start_row):
    """Rows before it are kept, beyond their shape too; afterwards it is 0."""
    machine, memory = machine_with(start_row=start_row), window(400)
    assert machine.load(1, memory, memory.address, 20) == OK
    assert (machine.tiles[1][:start_row] == 0x5A).all()
    offsets = [r * 20 for r in range(start_row, ROWS)]
    assert (machine.tiles[1][start_row:ROWS, :COLSB] == rows_at(memory, offsets)).all()
    assert not machine.tiles[1][ROWS:].any()
    assert machine.start_row == 0


@pytest.mark.parametrize(("size", "row", "missing"), [(0, 0, 0), (11, 0, 11), (45, 2, 5), (91, 4, 11)])
def test_load_fault_finishes_rows_before_and_zeroes_the_others(size, row, missing):
    """start_row names the row that faulted, the fault its first inaccessible byte."""
    machine, memory = machine_with(), window(size)
    assert machine.load(1, memory, memory.address, 20) == PF
    assert machine.fault == memory.address + 20 * row + missing
    assert machine.start_row == row
    kept = rows_at(memory, [20 * r for r in range(row)]).reshape(-1, COLSB)
    assert (machine.tiles[1][:row, :COLSB] == kept).all()
    assert not machine.tiles[1][row:].any()


def test_a_faulted_load_completes_when_executed_again():
    machine = machine_with()
    assert machine.load(1, window(50), 0x10000, 20) == PF
    memory = window(400)
    assert machine.load(1, memory, 0x10000, 20) == OK
    assert (machine.tiles[1][:ROWS, :COLSB] == rows_at(memory, [20 * r for r in range(ROWS)])).all()


def test_store_writes_colsb_bytes_of_each_row():
    machine, memory = machine_with(start_row=2), Window(bytearray(400))
    machine.tiles[1][:] = np.arange(1024).reshape(16, 64) % 251
    assert machine.store(1, memory, memory.address + 7, 20) == OK
    expected = bytearray(400)
    for row in range(2, ROWS):
        expected[7 + 20 * row : 7 + 20 * row + COLSB] = bytes(machine.tiles[1][row, :COLSB])
    assert memory.bytes == expected
    assert machine.start_row == 0


def test_store_fault_leaves_its_row_untouched():
    """Also the bytes of that row that could have been written."""
    machine, memory = machine_with(), Window(bytearray(45))
    assert machine.store(1, memory, memory.address, 20) == PF
    assert machine.fault == memory.address + 45
    assert machine.start_row == 2
    row = b"\x5a" * 12
    assert memory.bytes == row + bytes(8) + row + bytes(8) + bytes(5)
    assert (machine.tiles[1] == 0x5A).all()


def test_store_to_read_only_memory_faults_at_its_first_byte():
    machine, memory = machine_with(), window(400, writable=False)
    assert machine.store(1, memory, memory.address + 3, 20) == PF
    assert machine.fault == memory.address + 3
    assert machine.load(1, memory, memory.address, 20) == OK


@pytest.mark.parametrize("insn", ["load", "store"])
@pytest.mark.parametrize(("rows", "colsb", "start_row"), [(5, 13, 0), (5, 2, 0), (5, 12, 5), (5, 12, 255)])
def test_ud_before_any_access(insn, rows, colsb, start_row):
    """A colsb that is no multiple of 4, or start_row at or beyond the rows: nothing changes."""
    machine, memory = machine_with(rows, colsb, start_row), window(400)
    before = bytes(memory.bytes)
    assert getattr(machine, insn)(1, memory, memory.address, 20) == UD
    assert (machine.tiles[1] == 0x5A).all()
    assert memory.bytes == before
    assert machine.start_row == start_row


@pytest.mark.parametrize("insn", ["load", "store"])
def test_ud_without_rows_or_configuration(insn):
    memory = window(400)
    assert getattr(machine_with(), insn)(0, memory, memory.address, 20) == UD
    assert getattr(Machine(), insn)(1, memory, memory.address, 20) == UD
