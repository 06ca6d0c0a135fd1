"""Layers whose arrays C reads where they lie: which these are, and that others go the longer way."""

import ml_dtypes
import numpy as np
import pytest
from linear_cases import as_words

import amx
from amx import errors
from amx import layer as layers

K, N = 70, 50


@pytest.fixture
def longer(monkeypatch):
    """What goes the longer way."""
    blocks = []
    compute = layers.compute
    monkeypatch.setattr(layers, "compute", lambda *block: (blocks.append(1), compute(*block)))
    return blocks


@pytest.fixture(params=["int8", "uint4", "bfloat16"])
def layer(request, rng):
    weight = rng.standard_normal((N, K)).astype("f")
    if request.param == "uint4":
        weight = amx.quantize(weight, "uint4", axis=0, symmetric=False)
    dtype = request.param if request.param == "bfloat16" else "int8"
    return amx.Linear(weight, rng.standard_normal(N), dtype=dtype, activation="relu")


def rows(rng, *shape):
    return rng.standard_normal(shape).astype("f")


def within(x):
    return x, None, x.reshape(-1)[4 : 9 * N + 4].reshape(9, N)


AT_ONCE = {
    "one row": lambda rng: (rows(rng, K),),
    "a matrix": lambda rng: (rows(rng, 9, K),),
    "more dimensions": lambda rng: (rows(rng, 2, 3, 4, K),),
    "dimensions of one": lambda rng: (rows(rng, 1, 3, 1, K),),
    "rows apart": lambda rng: (rows(rng, 9, 2 * K)[:, 3 : K + 3],),
    "the same row": lambda rng: (np.broadcast_to(rows(rng, K), (9, K)),),
    "bfloat16": lambda rng: (rows(rng, 9, K).astype(ml_dtypes.bfloat16),),
    "a residual": lambda rng: (rows(rng, 3, 3, K), rows(rng, 3, 3, N)),
    "another residual": lambda rng: (rows(rng, 9, K), rows(rng, 9, N + 5)[:, 5:].astype(np.float16)),
    "out": lambda rng: (rows(rng, 9, K), None, np.empty((9, N), "f")),
    "out, rows apart": lambda rng: (rows(rng, 9, K), None, np.empty((9, 2 * N), "f")[:, N:]),
    "unaligned": lambda rng: (np.frombuffer(b"-" + rows(rng, 9, K).tobytes(), "f4", 9 * K, 1).reshape(9, K),),
}
LONGER = {
    "columns apart": lambda rng: (rows(rng, 9, 2 * K)[:, ::2],),
    "rows downwards": lambda rng: (rows(rng, 9, K)[::-1],),
    "uneven rows": lambda rng: (rows(rng, 3, 5, K)[:, :3],),
    "each row thrice": lambda rng: (np.broadcast_to(rows(rng, 4, 1, K), (4, 3, K)),),
    "a residual's row thrice": lambda rng: (
        rows(rng, 4, 3, K), np.broadcast_to(rows(rng, 4, 1, N), (4, 3, N))
    ),
    "the other byte order": lambda rng: (rows(rng, 9, K).astype(">f4"),),
    "a memoryview": lambda rng: (memoryview(rows(rng, 9, K)),),
    "out within x": lambda rng: within(rows(rng, 9, K)),
    "a residual downwards": lambda rng: (rows(rng, 9, K), rows(rng, 9, N)[::-1]),
    "out downwards": lambda rng: (rows(rng, 9, K), None, np.empty((9, N), "f")[::-1]),
    "out on itself": lambda rng: (
        rows(rng, 9, K), None, np.lib.stride_tricks.as_strided(np.empty(N + 8, "f"), (9, N), (4, 4))
    ),
    "no rows": lambda rng: (rows(rng, 0, K),),
}  # fmt: skip


@pytest.mark.parametrize("kind", AT_ONCE)
def test_arrays_that_c_takes_give_the_same_bits(backend, layer, longer, rng, kind):
    x, residual, out = (*AT_ONCE[kind](rng), None, None)[:3]
    want = as_words(layer(x, residual, out)).copy()
    assert len(longer) == 1
    found = layer(x, residual, out)
    np.testing.assert_array_equal(as_words(found), want)
    assert len(longer) == 1
    assert out is None or found is out


@pytest.mark.parametrize("kind", LONGER)
def test_others_go_the_longer_way(backend, layer, longer, rng, kind):
    """After arrays of the same types that C takes."""
    x, residual, out = (*LONGER[kind](rng), None, None)[:3]
    of_x = np.array(x, np.float32)
    plain = of_x, *(None if each is None else np.array(each) for each in (residual, out))
    want = as_words(layer(*plain)).copy()
    before = len(longer)
    found = layer(x, residual, out)
    assert len(longer) > before
    if kind != "out on itself":  # whose results lie on each other
        np.testing.assert_array_equal(as_words(found), want)


WRONG = {
    "x": (errors.ShapeError, lambda: (np.ones((9, K + 1), "f"),)),
    "no x": (errors.ShapeError, lambda: (np.ones((), "f"),)),
    "residual": (errors.ShapeError, lambda: (np.ones((9, K), "f"), np.ones((8, N), "f"))),
    "its columns": (errors.ShapeError, lambda: (np.ones((9, K), "f"), np.ones((9, N + 1), "f"))),
    "out": (errors.ShapeError, lambda: (np.ones((9, K), "f"), None, np.ones((9, 1, N), "f"))),
    "its type": (errors.DtypeError, lambda: (np.ones((9, K), "f"), None, np.ones((9, N), "f8"))),
    "read-only": (errors.BufferReadOnlyError, lambda: (np.ones((9, K), "f"), None, read_only())),
}


def read_only():
    array = np.ones((9, N), "f")
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("kind", WRONG)
def test_what_does_not_fit_is_refused_by_a_layer_that_knows_its_types(backend, layer, kind):
    error, make = WRONG[kind]
    x, out = np.ones((9, K), "f"), np.ones((9, N), "f")
    for residual, into in ((None, None), (out, None), (None, out.copy())):
        layer(x, residual, into)
    given = make()
    before = given[2].copy() if len(given) == 3 else None
    with pytest.raises(error):
        layer(*given)
    assert before is None or (given[2] == before).all()


def test_a_row_that_is_not_finite_is_named_where_results_are_integers(backend, rng):
    layer = amx.Linear(rng.standard_normal((N, K)), out_dtype=(0.1, 3, "uint8"))
    x = rows(rng, 9, K)
    layer(x)
    out = np.full((9, N), 7, np.uint8)
    layer(x, out=out.copy())
    x[4, 5] = np.inf
    with pytest.raises(errors.QuantizationError, match=r"x\[4\] has"):
        layer(x, out=out)
    assert (out == 7).all()


def test_rows_of_more_than_a_block(backend, longer, rng):
    """8 MiB of what is made of rows: those go the longer way, and a part of them not."""
    layer, x = amx.Linear(rows(rng, 3, 64)), rows(rng, 120_000, 64)
    found = layer(x)
    assert len(longer) == 1
    np.testing.assert_array_equal(as_words(layer(x[:99_999])), as_words(found[:99_999]))
    assert len(longer) == 1
    layer(x)
    assert len(longer) == 2


def test_rows_have_the_results_that_they_have_alone(backend, layer, rng):
    x = rows(rng, 33, K)
    together = layer(x)
    for _ in range(2):
        np.testing.assert_array_equal(as_words(np.stack([layer(row) for row in x])), as_words(together))
