"""Random products of dask arrays, and what they must be by the definition; imported where Dask is."""

import dask.array as da
import numpy as np
import product_model

import amx

INTEGERS = ("int8", "uint8")
FLOATS = ("bfloat16", "float16")
FORMS = ("both", "a", "b", "packed")  # which operands are dask arrays; the other one is NumPy's, or packed


def cut(rng, size):
    """Chunks of an axis: one, even ones, or any, of size 1 too."""
    way = rng.integers(3) if size > 1 else 0
    if way == 0:
        return (size,)
    if way == 1:
        step = int(rng.integers(1, size + 1))
        return (step,) * (size // step) + ((size % step,) if size % step else ())
    ends = np.sort(rng.choice(np.arange(1, size), int(rng.integers(1, min(size, 6))), replace=False))
    return tuple(int(each) for each in np.diff([0, *ends, size]))


def values(rng, shape, dtype):
    """Any integers; floats of about 1, as float32 that `dtype=` rounds."""
    if dtype in INTEGERS:
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max + 1, shape, dtype)
    return rng.standard_normal(shape, np.float32)


def product(rng):
    """(dask's result, NumPy's a and b, the chunks of K, dtype= or None)."""
    is_integer = rng.random() < 0.6
    kinds = rng.choice(INTEGERS, 2) if is_integer else (str(rng.choice(FLOATS)),) * 2
    m, k, n = (int(each) for each in rng.integers(1, 40, 3))
    batch = tuple(int(each) for each in rng.integers(1, 4, int(rng.integers(0, 3))))
    shapes = []
    for tail in ((m, k), (k, n)):
        kept = batch[int(rng.integers(0, len(batch) + 1)) :]
        shapes.append((*[1 if rng.random() < 0.3 else each for each in kept], *tail))
    shapes = [
        shape[:-2] + shape[-1:] if not shape[:-2] and rng.random() < 0.15 else shape for shape in shapes
    ]
    if len(shapes[0]) == 1:
        shapes[0] = (k,)
    if len(shapes[1]) == 1:
        shapes[1] = (k,)
    a, b = (values(rng, shape, kind) for shape, kind in zip(shapes, kinds, strict=True))
    dtype = None if is_integer else kinds[0]
    of_k = cut(rng, k)
    form = str(rng.choice(FORMS if b.ndim > 1 else FORMS[:3]))
    axis = max(b.ndim - 2, 0)
    x, y = a, b
    if form != "b":
        x = da.from_array(a, chunks=(*(cut(rng, size) for size in a.shape[:-1]), of_k))
    if form in ("both", "b"):
        cuts = [cut(rng, size) for size in b.shape]
        cuts[axis] = of_k
        y = da.from_array(b, chunks=tuple(cuts))
    elif form == "packed":
        y = amx.pack(b, dtype=dtype)
    return amx.dask.matmul(x, y, dtype=dtype), a, b, of_k, dtype


def expected(a, b, of_k, dtype):
    """int64 modulo 2**32; or products of chunks of K, added in float32 from the first to the last."""
    if dtype is None:
        return product_model.integer_product(a, b)
    begin, total = 0, None
    for size in of_k:
        rows = (..., slice(begin, begin + size), slice(None)) if b.ndim > 1 else slice(begin, begin + size)
        part = amx.matmul(a[..., begin : begin + size], b[rows], dtype=dtype)
        total = part if total is None else total + part
        begin += size
    return total


def check(found, want, lazy):
    """The bits, and what the lazy array had said of them."""
    assert np.shape(found) == lazy.shape == want.shape
    assert found.dtype == lazy.dtype == lazy._meta.dtype == want.dtype
    assert type(lazy._meta) is np.ndarray
    assert lazy._meta.ndim == want.ndim
    assert np.asarray(found).tobytes() == np.asarray(want).tobytes()
