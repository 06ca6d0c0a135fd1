"""Arrays of JAX on the CPU: read where they lie, given back as results, and refused with the reason."""

import gc

import ml_dtypes
import numpy as np
import pytest

import amx
from amx.arrays import as_array
from amx.tensors import like

jax = pytest.importorskip("jax")
jnp = jax.numpy

ONES = np.ones((16, 64), np.int8)
SEED = 73
TYPES = ["int8", "uint8", "bfloat16", "float16"]


@pytest.fixture(autouse=True)
def _emulated():
    amx.set_backend("emulated")
    with jax.default_device(jax.devices("cpu")[0]):
        yield


def small(shape, dtype):
    """Integers whose products no type rounds, and NumPy's int64 of the same."""
    rng = np.random.default_rng(SEED)
    values = rng.integers(0 if dtype == "uint8" else -9, 9, shape)
    return jnp.asarray(values.astype(np.float32)).astype(dtype), values


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
@pytest.mark.parametrize("dtype", TYPES)
def test_products_of_jax_are_of_jax(dtype, batch):
    """NumPy's, with both operands of JAX and with either."""
    a, values = small((*batch, 12, 24), dtype)
    want = np.matmul(values, values.swapaxes(-1, -2))
    packed = amx.pack(a.mT)
    found = [
        amx.matmul(a, a.mT),
        amx.matmul(a, packed),
        a @ packed,
        amx.matmul(a, np.asarray(a.mT)),
        amx.matmul(np.asarray(a), a.mT),
    ]
    for each in found:
        assert isinstance(each, jax.Array)
        assert each.dtype == (jnp.int32 if dtype in ("int8", "uint8") else jnp.float32)
        np.testing.assert_array_equal(np.asarray(each), want)


def test_vectors_leave_dimensions_out():
    a, values = small((4, 8), "int8")
    found = amx.matmul(a[0], a[0])
    assert isinstance(found, jax.Array)
    assert (found.shape, int(found)) == ((), int(values[0] @ values[0]))
    assert amx.matmul(a, a[0]).tolist() == (values @ values[0]).tolist()


@pytest.mark.parametrize("dtype", [*TYPES, "float32", "int32"])
def test_arrays_are_not_copied(dtype):
    """The array that is read begins where JAX's does, and cannot be written."""
    a = jnp.ones((8, 64), dtype)
    found = as_array(a, "a")
    assert found.__array_interface__["data"][0] == a.unsafe_buffer_pointer()
    assert not found.flags.writeable


def test_large_results_are_not_copied():
    """They begin at 64 bytes, which JAX wants; the memory lives as long as its array."""
    rng = np.random.default_rng(SEED)
    memory = np.zeros((1 << 17) + 64, np.uint8)
    aligned = memory[-memory.__array_interface__["data"][0] % 64 :][: 1 << 17].view(np.int32)
    assert like((jnp.ones(1),), aligned).unsafe_buffer_pointer() == aligned.__array_interface__["data"][0]
    a = rng.integers(-128, 128, (512, 8), dtype=np.int8)
    found = amx.matmul(jnp.asarray(a), a.T)
    assert found.unsafe_buffer_pointer() % 64 == 0
    gc.collect()
    np.testing.assert_array_equal(np.asarray(found), a.astype(np.int64) @ a.T)


def test_float32_needs_a_dtype():
    a, values = small((4, 8), "float32")
    found = amx.matmul(a, a.T, dtype="bfloat16")
    assert isinstance(found, jax.Array)
    np.testing.assert_array_equal(np.asarray(found), values @ values.T)
    with pytest.raises(amx.errors.DtypeError, match="operand a is float32"):
        amx.matmul(a, a.T)


@pytest.mark.parametrize("transform", ["jit", "vmap", "grad"])
def test_traced_arrays_are_refused(transform):
    """They have no elements yet."""

    def product(a):
        amx.matmul(a, a.T)
        return a.sum()

    want = r"operand a is an array that JAX traces\. Under jit, .* no elements.*jax\.pure_callback\(\)"
    with pytest.raises(amx.errors.DtypeError, match=want):
        getattr(jax, transform)(product)(
            jnp.ones((2, 4, 4), jnp.float16)[0 if transform != "vmap" else slice(None)]
        )


def test_pure_callback_is_the_way_into_jit():
    """As the error says."""
    a, values = small((4, 8), "int8")

    @jax.jit
    def product(a):
        shape = jax.ShapeDtypeStruct((4, 4), jnp.int32)
        return jax.pure_callback(lambda a: np.asarray(amx.matmul(a, a.T)), shape, a)

    np.testing.assert_array_equal(np.asarray(product(a)), values @ values.T)


class OnGpu:
    """A device of another kind."""

    platform = "gpu"


def test_arrays_on_other_devices_are_refused(monkeypatch):
    """Copying them is not ours to decide."""
    a = jnp.ones((4, 4), jnp.int8)
    monkeypatch.setattr(type(a), "devices", lambda self: {OnGpu()})
    with pytest.raises(
        amx.errors.DtypeError, match=r"operand a is a JAX array on gpu\. .*Pass jax\.device_get\(\)"
    ):
        amx.matmul(a, a)


def test_what_jax_refuses_is_refused():
    """In its words: keys of random numbers, and arrays that were deleted."""
    with pytest.raises(
        amx.errors.DtypeError, match="conversion raised TypeError: JAX array with PRNGKey dtype"
    ):
        amx.matmul(jax.random.key(0), ONES)
    a = jnp.ones((4, 4), jnp.int8) + jnp.int8(1)
    a.delete()
    with pytest.raises(amx.errors.DtypeError, match="conversion raised RuntimeError: Array has been deleted"):
        amx.matmul(a, ONES)
    with pytest.raises(amx.errors.DtypeError, match="operand a is int4"):
        amx.matmul(jnp.ones((4, 4), jnp.int4), ONES[:4])


def test_outputs_are_not_of_jax():
    """Which never changes an array."""
    out = jnp.zeros((16, 16), jnp.int32)
    want = r"out is an array of JAX\. These are immutable\. Leave it out"
    with pytest.raises(amx.errors.BufferReadOnlyError, match=want):
        amx.matmul(ONES, ONES.T, out=out)
    with amx.TileContext(amx.TileConfig.for_product("int8")) as tiles:
        tiles.zero(0)
        with pytest.raises(amx.errors.BufferReadOnlyError, match=want):
            tiles.store(0, out)
    assert not out.any()


def test_an_output_of_numpy_is_returned():
    """Whatever the operands are."""
    a, values = small((4, 8), "int8")
    out = np.empty((4, 4), np.int32)
    assert amx.matmul(a, a.T, out=out) is out
    np.testing.assert_array_equal(out, values @ values.T)


def test_tiles_load_arrays_of_jax():
    a = jnp.arange(16 * 32).reshape(16, 32).astype(jnp.bfloat16)
    with amx.TileContext(amx.TileConfig.for_product("bfloat16")) as tiles:
        tiles.load(1, a)
        bits = tiles.store(1)
    np.testing.assert_array_equal(bits.view(ml_dtypes.bfloat16), np.asarray(a))


def test_results_of_bfloat16_are_of_jax_too():
    """Of layers, which round."""
    values = np.arange(6).reshape(2, 3)
    found = like((jnp.ones(1),), values.astype(ml_dtypes.bfloat16))
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(found.astype(jnp.float32)), values)


def test_a_layer_that_is_traced_is_refused():
    """By the error of what is traced: JAX holds what it traces by a weak reference."""
    layer = amx.Linear(np.eye(2, 3, dtype=np.float32))
    with pytest.raises(amx.errors.DtypeError, match="x is an array that JAX traces"):
        jax.jit(layer)(jnp.ones((4, 3)))
