"""What of AMX the software tile machine has: families, their status, CPUs, and the page that says so."""

import re
import sys
from pathlib import Path

import children
import machines
import pytest
from emulator_encode import evex, row_code
from emulator_machine import INVALID, NOT_AMX, OPS, VALID, decode

from amx import cpu, emulation, machine
from amx._lib import ffi, lib
from amx.emulation import Status

NUMERICS = Path(__file__).parents[2] / "docs/numerics.md"
FAMILIES = {family.name: family for family in emulation.features()}
MODELS = {}
while model := lib.amxemu_cpu_model(len(MODELS)):
    MODELS[ffi.string(model.name).decode()] = model
RECORDED = {
    "spr": "sapphire-rapids",
    "gnr": "granite-rapids-bare-metal",
    "gnr-d": "granite-rapids-d",
    "dmr": "diamond-rapids",
}


def test_every_instruction_belongs_to_one_family_and_every_name_is_unique():
    """Encodings of APX are further ones of instructions that another family has."""
    own = [name for family in FAMILIES.values() if family.name != "apx" for name in family.instructions]
    assert len(own) == len(set(own)) == lib.AMXEMU_NAMED_OPS
    assert set(FAMILIES["apx"].instructions) < set(own)


def test_only_what_was_compared_with_silicon_is_called_verified():
    """INT8, BF16 and FP16, with configuration, loads and stores: all that the study could execute."""
    verified = {name for name, family in FAMILIES.items() if family.status is Status.VERIFIED}
    assert verified == {"amx_tile", "amx_int8", "amx_bf16", "amx_fp16"}


def test_what_intel_withdrew_is_not_executed():
    withdrawn = {name for name, family in FAMILIES.items() if family.status is Status.WITHDRAWN}
    assert withdrawn == {feature.value for feature in cpu.Feature if feature.status is cpu.Status.WITHDRAWN}
    for family in FAMILIES.values():
        executed = [name in OPS for name in family.instructions]
        assert executed == [family.status is not Status.WITHDRAWN] * len(executed)


def test_families_are_the_kernels_flags():
    assert set(FAMILIES) - {"apx"} == {feature.value for feature in cpu.Feature}


@pytest.mark.parametrize("name", RECORDED)
def test_emulated_cpus_have_what_the_recorded_ones_announce(name):
    with machine.use(machines.load(RECORDED[name])):
        announced = {feature.value for feature in cpu.announced()}
    assert {family.name for family in FAMILIES.values() if name in family.cpus} - {"apx"} == announced
    assert set(RECORDED) == set(MODELS)


def test_a_cpu_knows_the_instructions_of_its_families():
    knows = {}
    for code in ("c4e2635eca", "c4e2635cca", "c4e2606cca", "c4e560fdca", "c4e27b4a1408", "62f37d4807ca08"):
        _, insn = decode(bytes.fromhex(code))
        mnemonic = ffi.string(lib.amxemu_mnemonic(insn.op)).decode()
        knows[mnemonic] = [name for name, model in MODELS.items() if lib.amxemu_cpu_has(model, insn)]
    assert knows == {
        "tdpbssd": ["spr", "gnr", "gnr-d", "dmr"],
        "tdpfp16ps": ["gnr", "gnr-d", "dmr"],
        "tcmmrlfp16ps": ["gnr-d", "dmr"],
        "tdpbf8ps": ["dmr"],
        "tileloaddrs": ["dmr"],
        "tilemovrow": ["dmr"],
    }


def test_a_cpu_without_apx_does_not_know_its_encodings():
    for code, expected in (("c4e2784900", True), ("62f27c084900", False)):  # ldtilecfg [rax]
        _, insn = decode(bytes.fromhex(code))
        assert bool(lib.amxemu_cpu_has(MODELS["spr"], insn)) == expected
        assert lib.amxemu_cpu_has(MODELS["dmr"], insn)


def test_the_encodings_of_apx_are_those_that_decode():
    """Among memory forms and row moves with r16."""
    found = set()
    for opcode in (0x49, 0x4A, 0x4B):
        for pp in range(4):
            verdict, insn = decode(evex(2, pp, opcode, 0x04, 0x20, rm=16))
            if verdict == VALID:
                assert insn.apx
                found.add(ffi.string(lib.amxemu_mnemonic(insn.op)).decode())
            else:
                assert verdict in (INVALID, NOT_AMX)
    found |= {name for name in OPS if "row" in name and decode(row_code(name, 0, 1, register=16))[1].apx}
    assert set(FAMILIES["apx"].instructions) == found


def test_a_family_says_what_it_is():
    assert str(FAMILIES["amx_fp8"]) == (
        "amx_fp8 (specified only; dmr): tdpbf8ps, tdpbhf8ps, tdphbf8ps, tdphf8ps"
    )
    assert str(FAMILIES["amx_tf32"]) == "amx_tf32 (withdrawn): tmmultf32ps"


def test_the_page_has_the_same_table():
    rows = [
        f"| {family.name} | {family.status} | {', '.join(family.cpus) or 'none'} "
        f"| {', '.join(name.upper() for name in family.instructions)} |"
        for family in FAMILIES.values()
    ]
    table = re.search(r"\| family \|.*\n\|[-|]+\n((?:\|.*\n)+)", NUMERICS.read_text())
    assert table, "docs/numerics.md has no table of the families"
    assert table.group(1).splitlines() == rows


def test_importing_the_package_loads_nothing():
    child = "import amx.emulation, sys; print({'numpy', 'amx._native'} & set(sys.modules))"
    result = children.run([sys.executable, "-c", child], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"
