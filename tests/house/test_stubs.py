"""What platforms other than x86-64 Linux get: an import, the reason for no AMX, and products without it."""

import errno

import numpy as np
import pytest

import amx
from amx import cli
from amx._lib import ffi, lib
from amx.causes import Cause

pytestmark = pytest.mark.skipif(not lib.amx_is_stub(), reason="this build has the machine layer")


@pytest.fixture
def native():
    amx.set_backend("native")
    yield
    amx.set_backend("auto")


def test_nothing_is_available():
    assert amx.available() is False


@pytest.mark.parametrize("probe", [False, True])
def test_the_diagnosis_names_the_build(probe):
    assert amx.explain(probe=probe).cause is Cause.NO_MACHINE_LAYER


@pytest.mark.parametrize(
    "call",
    [
        amx.request,
        amx.prefault,
        amx.get_backend,
        lambda: amx.matmul(np.ones((2, 2), np.int8), np.ones((2, 2), np.int8)),
        lambda: amx.TileContext(amx.TileConfig.for_product("int8")).__enter__(),
    ],
)
def test_what_needs_the_machine_raises_the_explained_error(native, call):
    with pytest.raises(amx.errors.AmxUnavailableError) as raised:
        call()
    assert raised.value.cause.startswith("This build has no machine layer")
    assert raised.value.remedy


@pytest.mark.parametrize("call", [lambda: amx.emulate().__enter__(), lambda: cli.main(["emulate", "true"])])
def test_nothing_can_be_emulated_in_running_code(call, capsys):
    try:
        assert call() == 125
        said = capsys.readouterr().err
    except amx.errors.EmulationError as error:
        said = str(error)
    assert "This build has no machine layer" in said


def test_products_run_all_the_same():
    """In vector registers where the CPU has such instructions, and tiles on the software tile machine."""
    a, b = np.full((3, 70), 2, np.uint8), np.full((70, 5), -3, np.int8)
    amx.set_backend("auto")
    in_vectors = lib.amx_vector_family(lib.AMX_TDPBSSD, 0) != ffi.NULL
    category = amx.VectorWarning if in_vectors else amx.EmulatedWarning
    with pytest.warns(category, match="no machine layer"):
        c = amx.matmul(a, b)
    assert (c == -420).all()


def test_instructions_are_not_emulated():
    """There is nothing to trap, and nothing that could ask for it."""
    name = ffi.new("char[]", b"spr")
    assert lib.amx_trap_start(ffi.new("struct amx_trap_options *", {"cpu": name})) == -errno.ENOSYS
    assert lib.amx_trap_stop() == lib.amx_trap_arch_prctl(0x1021, 0) == -errno.ENOSYS


def test_no_check_is_judged(capsys):
    assert cli.main(["check"]) == 77
    text = capsys.readouterr().out
    assert "This build has no machine layer" in text
    assert "Nothing could be judged" in text
