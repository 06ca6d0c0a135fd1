"""exp, tanh and erf of csrc/layer/: the bits that docs/numerics.md gives, and how far they are from right."""

import math
import os
import re
import subprocess
import time

import children
import compiling
import layer_calls
import layer_model
import numpy as np
import pytest

WORST = {"exp": 0.98, "tanh": 1.34, "erf": 1.85}  # units in the last place: docs/numerics.md
SOURCES = [
    compiling.ROOT / "tests/c/layer_functions.c",
    *sorted(compiling.ROOT.glob("csrc/layer/*.c")),
    compiling.ROOT / "csrc/emulator/vectors.c",
]


@pytest.fixture(params=layer_calls.widths())
def width(request):
    with layer_calls.selected(request.param):
        yield request.param


@pytest.mark.parametrize(
    ("name", "x", "right"),
    [
        ("exp", [0, -0.0, np.inf, -np.inf, 88.72284, -104, 1e-40], [1, 1, np.inf, 0, np.inf, 0, 1]),
        ("tanh", [0, -0.0, np.inf, -np.inf, 1e-40, -1e-40, 10], [0, -0.0, 1, -1, 1e-40, -1e-40, 1]),
        ("erf", [0, -0.0, np.inf, -np.inf, 4, -4, -3e38], [0, -0.0, 1, -1, 1, -1, -1]),
    ],
)
def test_zeros_infinities_and_the_ends(width, name, x, right):
    found = layer_calls.apply(name, np.array([*x, np.nan], np.float32))
    np.testing.assert_array_equal(found, np.array([*right, np.nan], np.float32))
    np.testing.assert_array_equal(np.signbit(found[:-1]), np.signbit(np.array(right, np.float32)))


@pytest.mark.parametrize("name", WORST)
def test_the_bits_are_those_of_the_page(width, name):
    seed = int(os.environ.get("AMX_SEED", time.time_ns()))
    print("seed", seed)
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 1 << 32, 100_003, np.uint32).view(np.float32)
    x = np.concatenate([x, (rng.standard_normal(100_000) * 10).astype(np.float32)])
    found, right = layer_calls.apply(name, x), getattr(layer_model, name)(x)
    is_nan = np.isnan(right)
    np.testing.assert_array_equal(np.isnan(found), is_nan)
    np.testing.assert_array_equal(layer_calls.bits(found)[~is_nan], layer_calls.bits(right)[~is_nan])


def test_the_page_has_the_constants():
    page = (compiling.ROOT / "docs/numerics.md").read_text()
    for words in layer_model.CONSTANTS.values():
        for word in words.split():
            assert f"`{word}`" in page


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    output = tmp_path_factory.mktemp("layer") / "layer_functions"
    return compiling.compile_c(output, [*compiling.objects(SOURCES), "-lm"])


def errors(program, step):
    """The worst error of each function over every step-th float; all widths agree, on NaN too."""
    seed = int(os.environ.get("AMX_SEED", time.time_ns()))
    print("seed", seed)
    words = [program, str(step), str(seed % step)]
    done = children.run(words, timeout=7200, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    pattern = r"(\w+): (\S+) at \S+, falls \d+, NaN wrong 0, widths differ 0"
    lines = done.stdout.splitlines()
    found = dict(match.groups() for match in map(re.compile(pattern).fullmatch, lines) if match)
    assert list(WORST) == list(found), lines
    return {name: float(worst) for name, worst in found.items()}


def test_errors(program):
    """Of every 997th float."""
    for name, worst in errors(program, 997).items():
        assert 0.4 < worst <= WORST[name]


@pytest.mark.long
@pytest.mark.timeout(7500)
def test_errors_of_all_floats(program):
    for name, worst in errors(program, 1).items():
        assert WORST[name] - 0.01 < worst <= WORST[name]


@pytest.mark.parametrize("name", WORST)
def test_errors_by_another_measure(width, name):
    """Python's float64 functions, and NumPy's unit in the last place."""
    x = np.linspace(-5, 5, 4001, dtype=np.float32)
    right = np.array([getattr(math, name)(each) for each in x.tolist()])
    found = layer_calls.apply(name, x).astype(np.float64)
    unit = np.spacing(np.abs(right).astype(np.float32)).astype(np.float64)
    assert np.max(np.abs(found - right) / unit) < 2
