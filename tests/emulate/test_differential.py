"""AMX instructions on the CPU, or trapped where it has none, equal the tile machine byte for byte."""

import json
import random
import re
import subprocess
import sys

import children
import differential
import pytest
from emulator_machine import ROW_MOVES

from amx import machine
from amx._lib import lib


def vector_bytes():
    """Of this CPU's vector registers, as far as the operating system has enabled them."""
    xcr0 = 0 if lib.amx_is_stub() else machine.Real().xgetbv(0) or 0
    return 64 if xcr0 & 0xE6 == 0xE6 else 32 if xcr0 & 6 == 6 else 16


WIDTH = vector_bytes()

# One wrong line each, and what the run must then notice.
DEFECTS = {
    "REX before a legacy prefix counts": (
        "decode.c",
        "rex = (byte & 0xF0) == 0x40;",
        "rex |= (byte & 0xF0) == 0x40;",
    ),
    "67 truncates nothing": ("step.c", "insn->address32 ? UINT32_MAX", "insn->address32 ? UINT64_MAX"),
    "no #SS": ("step.c", "stack ? AMXEMU_SS", "stack ? AMXEMU_GP"),
    "no NaN row is redone": ("tdp_avx2.c", "if (nan & columns)", "if (nan & columns & 0)"),
    "rows come from the lower registers": (
        "decode.c",
        "(int8_t)payload->vvvv",
        "(int8_t)(payload->vvvv & 7)",
    ),
    "AVX2 does not negate": ("tdp_avx2.c", "_mm256_xor_si256(imaginary, sign)", "imaginary"),
    "AVX2 keeps the caller's MXCSR": (
        "tdp_avx2.c",
        "amxemu_exchange_mxcsr(AMXEMU_TILE_UNIT_MXCSR);\n    const unsigned nan_rows",
        "const unsigned nan_rows",
    ),
}


# The same in csrc/trap/patch/thunk.c.
DEFECTS_OF_THUNKS = {
    "flags are not restored": ('"popfq\\n"', '"add $8, %rsp\\n"'),
    "upper halves become zero": ('"cmpb $0, " UPPERS', '"cmpb $1, " UPPERS'),
    "no respect for the red zone": ("STACK_TAKEN = 144", "STACK_TAKEN = 16"),
}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return differential.build(tmp_path_factory.mktemp("differential"))


@pytest.fixture
def with_defect(tmp_path):
    """Makes the program with one wrong line in a file of csrc/."""

    def build(file, right, wrong):
        source = differential.ROOT / "csrc" / file
        text = source.read_text()
        assert text.count(right) == 1
        changed = tmp_path / source.name
        changed.write_text(text.replace(right, wrong))
        return differential.build(tmp_path, {source: changed})

    return build


def run(program, *arguments):
    return children.run(
        [program, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=250
    )


@pytest.mark.parametrize("count", [20_000, pytest.param(200_000, marks=pytest.mark.matrix)])
def test_cpu_and_tile_machine_agree(count):
    """Of random instructions: on AMX where it may be used, else on the #UD trap."""
    if differential.compiler() is None:
        pytest.skip("no C compiler")
    seed = random.getrandbits(32)
    print(f"seed {seed}")
    result = run(sys.executable, differential.__file__, "--count", count, "--seed", seed)
    print(result.stdout, result.stderr)
    if result.returncode == differential.CANNOT_RUN:
        pytest.skip(result.stderr)
    assert result.returncode == 0
    assert re.search(rf"seed {seed}: {count} instructions .*, 0 differences", result.stdout)


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_noticed(defect, with_defect):
    """A tile machine with one wrong line differs, and the case is printed."""
    file, right, wrong = DEFECTS[defect]
    if file == "tdp_avx2.c" and lib.amxemu_best_path() != lib.AMXEMU_AVX2:
        pytest.skip("AVX2's path is not this CPU's best one")
    lane = "emulated" if "rows" in defect and WIDTH < 64 else "auto"  # where no instruction can show it
    options = ("--lane", lane, "--seed", 1, "--count", 4_000)
    result = run(with_defect(f"emulator/{file}", right, wrong), *options)
    if result.returncode == differential.CANNOT_RUN:
        pytest.skip(result.stderr)
    assert result.returncode == 1
    assert "difference: seed 1" in result.stdout
    assert "instruction: " in result.stdout


def test_decoder_and_table_of_encodings_agree(program):
    """Of millions of encodings the same ones are instructions, and the same instructions."""
    result = run(program, "--lane", "emulated", "--sweep", 1)
    assert result.returncode == 0, result.stdout
    encodings, valid, differences = re.search(
        r"(\d+) encodings \((\d+) valid.*, (\d+) differences", result.stdout
    ).groups()
    assert int(encodings) > 3_000_000
    assert int(valid) > 10_000
    assert int(differences) == 0


def test_the_cpu_agrees_on_encodings(program):
    """#UD or not, on AMX where it may be used, else on the #UD trap."""
    result = run(program, "--sweep", 97)
    if result.returncode == differential.CANNOT_RUN:
        pytest.skip(result.stderr)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 differences" in result.stdout


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("rex = (byte & 0xF0) == 0x40;", "rex |= (byte & 0xF0) == 0x40;"),
        ("p->vvvv < AMXEMU_TILES && reg != rm &&", "p->vvvv < AMXEMU_TILES &&"),
        ("p->w == 0 && ", ""),
        ("if (mod == 0 && (sib & 7) == 5) {", "if (0) {"),
    ],
    ids=["REX", "same tile", "W", "length"],
)
def test_a_wrong_rule_of_encoding_is_noticed(right, wrong, with_defect):
    program = with_defect("emulator/decode.c", right, wrong)
    result = run(program, "--lane", "emulated", "--sweep", 1)
    assert result.returncode == 1
    assert re.search(r"difference: encoding \d+, by the table (valid|#UD): ", result.stdout)


@pytest.mark.parametrize("count", [10_000, pytest.param(50_000, marks=pytest.mark.matrix)])
def test_patched_instructions_and_tile_machine_agree(program, count):
    """Random instructions by a thunk, 0 differences; nothing else in registers and red zone changes."""
    seed = random.getrandbits(32)
    print(f"seed {seed}")
    result = run(program, "--lane", "patched", "--count", count, "--seed", seed)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{count} instructions" in result.stdout


@pytest.mark.parametrize(("entry", "vectors"), [("sse", 16), ("avx", 32)])
def test_thunks_of_lesser_cpus(entry, vectors, with_defect):
    """What saves registers where there is no AVX-512, or no AVX, tried wherever there is."""
    if vectors > WIDTH:
        pytest.skip("this CPU has no AVX")
    program = with_defect(
        "trap/patch/thunk.c", "(uintptr_t)enter, *insn", f"(uintptr_t)trap_thunk_enter_{entry}, *insn"
    )
    for family in ("config", "memory", "int8", "fp16", "encoding"):
        result = run(program, "--lane", "patched", "--count", 2000, "--vectors", vectors, "--family", family)
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("defect", DEFECTS_OF_THUNKS)
def test_a_defect_of_thunks_is_noticed(defect, with_defect):
    """Whatever the program can see is looked at."""
    if "upper" in defect and WIDTH < 32:
        pytest.skip("this CPU has no AVX")
    program = with_defect("trap/patch/thunk.c", *DEFECTS_OF_THUNKS[defect])
    result = run(program, "--lane", "patched", "--seed", 1, "--count", 2000)
    assert result.returncode == 1
    assert "other registers changed" in result.stdout


def assert_rows_are_refused(program, *options):
    """By name, and before anything runs."""
    for more in ([], ["--stream"]):
        result = run(program, "--lane", *options, "--family", "row", "--count", 100, *more)
        assert (result.returncode, result.stdout) == (differential.CANNOT_RUN, "")
        assert set(ROW_MOVES) <= set(result.stderr.split()), result.stderr


@pytest.mark.parametrize("vectors", [16, 32])
@pytest.mark.parametrize("lane", ["auto", "patched", "emulated"])
def test_without_zmm_registers_there_are_no_rows(program, lane, vectors):
    """As on a CPU without AVX-512: the family is refused, and the newer encodings are the others."""
    first = run(program, "--count", 1, "--lane", lane)
    if first.returncode == differential.CANNOT_RUN:
        pytest.skip(first.stderr)
    assert_rows_are_refused(program, lane, "--vectors", vectors)
    result = run(program, "--lane", lane, "--family", "newer-encoding", "--count", 3000, "--vectors", vectors)
    if first.stdout.startswith("lane native") and result.returncode == differential.CANNOT_RUN:
        pytest.skip(result.stderr)
    assert result.returncode == 0, result.stdout + result.stderr
    assert int(re.search(r"Left out, .*: (\d+) instructions", result.stdout)[1]) > 300


@pytest.mark.parametrize("vectors", [16, 32])
def test_digests_without_rows_do_not_depend_on_the_lane(program, vectors):
    """Also where all instructions of a case are left out."""
    whole, rest = (
        differential.digest(program, "emulated", "newer-encoding", 9, 300, width) for width in (64, vectors)
    )
    assert whole != rest
    try:
        assert differential.digest(program, "auto", "newer-encoding", 9, 300, vectors) == rest
    except subprocess.CalledProcessError as error:
        if error.returncode != differential.CANNOT_RUN:
            raise
        pytest.skip("this CPU lacks some of the newer instructions")


@pytest.mark.parametrize("family", differential.FAMILIES)
def test_digests_do_not_depend_on_the_lane(program, family):
    """What a recording hashes is what the tile machine produces by itself."""
    first = run(program, "--count", 1)
    if first.returncode == differential.CANNOT_RUN:
        pytest.skip(first.stderr)
    here = first.stdout.split()[1].rstrip(",")
    assert here in ("native", "trapped")
    vectors = WIDTH if family == "newer-encoding" and WIDTH < 64 else None
    if family == "row" and WIDTH < 64:
        assert_rows_are_refused(program, here)
        return
    expected = differential.digest(program, "emulated", family, 9, 300, vectors)
    assert differential.digest(program, "emulated", family, 10, 300, vectors) != expected
    try:
        assert differential.digest(program, here, family, 9, 300, vectors) == expected
    except subprocess.CalledProcessError as error:
        if here == "trapped" or error.returncode != differential.CANNOT_RUN:
            raise
        pytest.skip(f"this CPU lacks instructions of {family}")


def test_recorded_silicon_is_reproduced(program):
    """The tile machine gives the digests that a CPU with AMX has recorded."""
    if not differential.DIGESTS.exists():
        pytest.skip("no CPU with AMX has recorded digests yet (tests/support/differential.py --record)")
    recorded = json.loads(differential.DIGESTS.read_text())
    for entry in recorded["digests"]:
        found = differential.digest(program, "emulated", entry["family"], entry["seed"], recorded["count"])
        assert found == entry["sha256"], entry


def test_recording_needs_amx(tmp_path):
    """Where there is no AMX nothing is written, and the status says that it could not run."""
    if differential.compiler() is None:
        pytest.skip("no C compiler")
    file = tmp_path / "digests.json"
    result = run(sys.executable, differential.__file__, "--record", file)
    assert (result.returncode == 0) == file.exists()
    assert result.returncode in (0, differential.CANNOT_RUN)
