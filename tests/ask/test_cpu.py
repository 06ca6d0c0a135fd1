"""Feature bits, palettes and identities, on machines whose CPUID is known."""

import json

import machines
import pytest

import amx
from amx import cpu, machine
from amx.cpu import Feature, Status
from amx.machine import ChildAction, Step
from amx.recording import Recorded

BASE = {Feature.AMX_TILE, Feature.AMX_INT8, Feature.AMX_BF16}
FP16, COMPLEX = Feature.AMX_FP16, Feature.AMX_COMPLEX
MIRRORED = {Feature.AMX_FP8, Feature.AMX_AVX512, Feature.AMX_MOVRS}
WITHDRAWN = {Feature.AMX_TRANSPOSE, Feature.AMX_TF32}


def facts(name, **changed):
    found = json.loads((machines.DIRECTORY / f"{name}.json").read_text())
    return {**found, **changed}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("zen5-kvm", set()),
        ("ice-lake", set()),
        ("sapphire-rapids", BASE),
        ("granite-rapids-bare-metal", BASE | {FP16}),
        ("granite-rapids-d", BASE | {FP16, COMPLEX}),
        ("granite-rapids-firecracker-hides-fp16", BASE),
        ("diamond-rapids", BASE | {FP16, COMPLEX} | MIRRORED),
        ("withdrawn-features", BASE | {FP16, COMPLEX} | MIRRORED | WITHDRAWN),
    ],
)
def test_announced_features(name, expected):
    with machine.use(machines.load(name)):
        assert cpu.announced() == cpu.features() == expected


def test_withdrawn_features_are_labelled():
    assert {feature for feature in Feature if feature.status is Status.WITHDRAWN} == WITHDRAWN


@pytest.mark.parametrize(
    ("feature", "where"),
    [  # SDM vol. 2A, CPUID, and the ISE reference
        (Feature.AMX_BF16, "CPUID.7.0:EDX[22]"),
        (Feature.AMX_TILE, "CPUID.7.0:EDX[24]"),
        (Feature.AMX_INT8, "CPUID.7.0:EDX[25]"),
        (Feature.AMX_FP16, "CPUID.7.1:EAX[21]"),
        (Feature.AMX_COMPLEX, "CPUID.7.1:EDX[8]"),
        (Feature.AMX_FP8, "CPUID.1E.1:EAX[4]"),
        (Feature.AMX_TRANSPOSE, "CPUID.1E.1:EAX[5]"),
        (Feature.AMX_TF32, "CPUID.1E.1:EAX[6]"),
        (Feature.AMX_AVX512, "CPUID.1E.1:EAX[7]"),
        (Feature.AMX_MOVRS, "CPUID.1E.1:EAX[8]"),
    ],
)
def test_where_a_feature_is_announced(feature, where):
    assert feature.where == where


def test_subleaf_1_is_not_believed_where_subleaf_0_does_not_offer_it():
    found = facts("granite-rapids-bare-metal")
    words = found["cpuid"]["7.0"].split()
    found["cpuid"]["7.0"] = " ".join(["0x0", *words[1:]])
    with machine.use(Recorded(found)):
        assert cpu.announced() == BASE


def test_leaves_above_the_highest_are_not_believed():
    found = facts("sapphire-rapids")
    words = found["cpuid"]["0.0"].split()
    found["cpuid"]["0.0"] = " ".join(["0x6", *words[1:]])
    with machine.use(Recorded(found)):
        assert cpu.announced() == frozenset()
        assert cpu.palettes() == ()
        assert cpu.tile_multiplier() is None


def test_palette_1_is_eight_tiles_of_sixteen_rows_of_64_bytes():
    with machine.use(machines.load("sapphire-rapids")):
        assert cpu.palettes() == (cpu.Palette(1, 8192, 1024, 64, 8, 16),)
        assert cpu.tile_multiplier() == cpu.TileMultiplier(max_k=16, max_n=64)


def test_palette_0_alone_is_no_palette():
    with machine.use(machines.load("hypervisor-hides-palette")):
        assert cpu.palettes() == ()


@pytest.mark.parametrize(
    ("name", "family", "model", "virtual", "has_amx"),
    [
        ("sapphire-rapids", 6, 0x8F, False, True),
        ("granite-rapids-bare-metal", 6, 0xAD, False, True),
        ("granite-rapids-firecracker-hides-fp16", 6, 0xA7, True, False),
        ("hypervisor-hides-flags", 6, 0x8F, True, True),
        ("diamond-rapids", 19, 0x01, False, True),
        ("sierra-forest", 6, 0xAF, False, False),
        ("zen5-kvm", 26, 0x02, True, False),
    ],
)
def test_identity(name, family, model, virtual, has_amx):
    with machine.use(machines.load(name)):
        found = cpu.processor()
    assert (found.family, found.model, found.virtual, found.model_has_amx) == (
        family,
        model,
        virtual,
        has_amx,
    )


def test_the_hypervisor_signs():
    with machine.use(machines.load("zen5-kvm")):
        assert cpu.processor().hypervisor == "KVMKVMKVM"


@pytest.mark.parametrize(("highest", "expected"), [(0x8000_0008, "Intel(R) Xeon(R) 6"), (0x8000_0001, "")])
def test_the_brand_string_is_of_three_leaves_where_cpuid_has_them(highest, expected):
    text = b" Intel(R) Xeon(R) 6".ljust(48, b"\0")
    words = [hex(int.from_bytes(text[at : at + 4], "little")) for at in range(0, 48, 4)]
    leaves = {f"{0x8000_0002 + n:x}.0": " ".join(words[4 * n : 4 * n + 4]) for n in range(3)}
    leaves["80000000.0"] = f"{highest:#x} 0x0 0x0 0x0"
    known = facts("sapphire-rapids")
    with machine.use(Recorded({**known, "cpuid": {**known["cpuid"], **leaves}})):
        assert cpu.brand() == expected


def test_leaf_1e_against_leaf_7():
    with machine.use(machines.load("leaves-disagree")):
        assert [str(each) for each in cpu.disagreements()] == [
            "amx_fp16: CPUID.1E.1:EAX[3] says yes, CPUID.7.1:EAX[21] says no"
        ]


def test_cpuinfo_against_cpuid():
    with machine.use(Recorded(facts("sapphire-rapids", cpuinfo_flags="fpu amx_tile amx_bf16"))):
        assert [str(each) for each in cpu.disagreements()] == [
            "amx_int8: CPUID.7.0:EDX[25] says yes, /proc/cpuinfo says no"
        ]
    with machine.use(Recorded(facts("ice-lake", cpuinfo_flags="fpu amx_int8"))):
        assert [str(each) for each in cpu.disagreements()] == [
            "amx_int8: /proc/cpuinfo says yes, CPUID.7.0:EDX[25] says no"
        ]


@pytest.mark.parametrize("flags", ["", "fpu amx_tile amx_int8 amx_bf16"])
def test_what_cpuinfo_never_prints_contradicts_nothing(flags):
    with machine.use(Recorded(facts("granite-rapids-d", cpuinfo_flags=flags))):
        assert cpu.disagreements() == ()


def test_amx_assume_trusts_an_executed_instruction(monkeypatch):
    monkeypatch.setenv("AMX_ASSUME", "fp16")
    with machine.use(machines.load("granite-rapids-firecracker-hides-fp16")):
        assert cpu.features() == BASE | {FP16}
        assert cpu.announced() == BASE
        assert amx.available("fp16")


def test_amx_assume_does_not_trust_an_instruction_that_faults(monkeypatch):
    monkeypatch.setenv("AMX_ASSUME", "fp16")
    with machine.use(machines.load("sapphire-rapids")):
        assert cpu.features() == BASE


def test_without_amx_assume_nothing_is_executed(monkeypatch):
    monkeypatch.delenv("AMX_ASSUME", raising=False)
    replayed = machines.load("granite-rapids-firecracker-hides-fp16")
    assert replayed.probe_child(ChildAction.TDPFP16PS).step is Step.DONE
    with machine.use(replayed):
        assert cpu.features() == BASE
