"""Errors say what, why and what to do, carry the same as fields, and survive pickling."""

import copy
import errno
import inspect
import pickle

import pytest

from amx import errors

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.AmxError) and kind.__module__ == errors.__name__
]
FIELDS = {
    "cause": "the kernel is old",
    "remedy": "boot a newer one",
    "operation": "arch_prctl",
    "errno": errno.EINVAL,
    "evidence": ("Linux 5.10", "XCR0 0x2e7"),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_survives_pickling(kind):
    original = kind("the request failed", **FIELDS)
    for again in (pickle.loads(pickle.dumps(original)), copy.copy(original)):
        assert type(again) is kind
        assert str(again) == str(original)
        assert vars(again) == vars(original)


def test_the_text_is_what_then_cause_then_remedy():
    text = str(errors.AmxPermissionError("The request failed", **FIELDS))
    assert text == "The request failed (EINVAL). The kernel is old. Boot a newer one."


def test_the_text_leaves_out_what_is_not_known():
    assert str(errors.ShapeError("(2, 3) and (4, 5) do not fit")) == "(2, 3) and (4, 5) do not fit."


def test_names_of_functions_keep_their_spelling():
    assert str(errors.DtypeError("no", remedy="amx.pack(b) first")) == "no. amx.pack(b) first."


def test_eopnotsupp_has_the_kernels_name():
    assert "(EOPNOTSUPP)" in str(errors.AmxUnavailableError("x", errno=errno.EOPNOTSUPP))
    assert errors.errno_name(errno.ENOSPC) == "ENOSPC"
    assert errors.errno_name(12345) == "12345"


def test_signals_have_names_or_numbers():
    """Of the real-time signals only the first and the last have names."""
    assert [errors.signal_name(number) for number in (4, 40)] == ["SIGILL", "signal 40"]


@pytest.mark.parametrize("kind", CLASSES)
def test_one_root_for_all(kind):
    assert issubclass(kind, errors.AmxError)
    assert kind.__doc__


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.AllocationError, MemoryError),
        (errors.AmxUnavailableError, RuntimeError),
        (errors.AmxPermissionError, errors.AmxUnavailableError),
        (errors.FeatureError, errors.AmxUnavailableError),
        (errors.ShapeError, ValueError),
        (errors.TileConfigError, ValueError),
        (errors.DtypeError, TypeError),
        (errors.TileDtypeError, TypeError),
        (errors.AmxWarning, UserWarning),
        (errors.EmulatedWarning, errors.AmxWarning),
        (errors.VectorWarning, errors.AmxWarning),
    ],
)
def test_mistakes_are_also_pythons_own(kind, builtin):
    assert issubclass(kind, builtin)
