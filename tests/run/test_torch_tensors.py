"""Tensors of torch: read and written where they lie, given back as results, and refused with the reason."""

import gc
import weakref

import ml_dtypes
import numpy as np
import pytest

import amx
from amx import gemm
from amx.arrays import as_array
from amx.dlpack import BFLOAT16
from amx.tensors import like

torch = pytest.importorskip("torch")

ONES = np.ones((16, 64), np.int8)
SEED = 72
INTEGERS = ["int8", "uint8"]
FLOATS = ["bfloat16", "float16"]


@pytest.fixture(autouse=True)
def _emulated():
    amx.set_backend("emulated")


def small(shape, dtype):
    """Integers whose products no type rounds, and NumPy's int64 of the same."""
    rng = np.random.default_rng(SEED)
    values = rng.integers(0 if dtype == "uint8" else -9, 9, shape)
    return torch.from_numpy(values).to(getattr(torch, dtype)), values


def address_of(array):
    return array.__array_interface__["data"][0]


LAYOUTS = {
    "rows": lambda t: t,
    "columns": lambda t: t.mT,
    "steps": lambda t: t[..., ::2, 1::3],
    "expanded": lambda t: t[..., :1].expand(t.shape),
    "one row": lambda t: t[..., 3:4, :],
    "no rows": lambda t: t[..., :0, :],
    "no columns": lambda t: t[..., :0],
}


def of_numpy(layout, values):
    return LAYOUTS[layout](torch.from_numpy(values)).numpy()


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
def test_products_of_tensors_are_tensors(dtype, layout, batch):
    """NumPy's, of whatever layout, with both operands of torch and with either."""
    t, values = small((*batch, 12, 24), dtype)
    a, of_a = LAYOUTS[layout](t), of_numpy(layout, values)
    want = np.matmul(of_a, of_a.swapaxes(-1, -2))
    packed = amx.pack(a.mT)
    found = [amx.matmul(a, a.mT), amx.matmul(a, packed), a @ packed]
    if dtype != "bfloat16":
        found += [amx.matmul(a, a.mT.numpy()), amx.matmul(a.numpy(), a.mT)]
    for each in found:
        assert type(each) is torch.Tensor
        assert each.dtype == (torch.int32 if dtype in INTEGERS else torch.float32)
        np.testing.assert_array_equal(each.numpy(), want)


def test_the_first_operand_of_torch_decides():
    """A packed matrix is of no kind, whatever it was packed from."""
    t, values = small((4, 8), "int8")
    array = values.astype(np.int8)
    assert type(amx.matmul(array, amx.pack(t.T))) is np.ndarray
    assert type(array @ amx.pack(t.T)) is np.ndarray
    assert type(amx.matmul(array, t.T)) is torch.Tensor


def test_vectors_leave_dimensions_out():
    t, values = small((4, 8), "int8")
    want = values @ values[0]
    found = amx.matmul(t, t[0])
    assert (found.shape, found.tolist()) == ((4,), want.tolist())
    found = amx.matmul(t[0], t[0])
    assert type(found) is torch.Tensor
    assert (found.shape, found.dtype, found.item()) == ((), torch.int32, want[0])


@pytest.mark.parametrize("dtype", ["int8", "bfloat16", "float32", "float64", "int32", "uint16"])
def test_tensors_are_not_copied(dtype):
    """The array that is read begins where the tensor does, offset and all."""
    t = torch.zeros((8, 9), dtype=getattr(torch, dtype))[2:, 1:]
    assert address_of(as_array(t, "a")) == t.data_ptr()


@pytest.mark.parametrize("rows", [2, 512])
def test_results_are_not_copied(rows, monkeypatch):
    """The tensor's memory is what the product was written to, and lives as long as it."""
    made = []
    empty = gemm.empty

    def remembered(*arguments):
        made.append(empty(*arguments))
        return made[-1]

    monkeypatch.setattr(gemm, "empty", remembered)
    t, values = small((rows, 128), "int8")
    found = amx.matmul(t, t.T)
    assert address_of(made.pop()) == found.data_ptr()
    del t
    gc.collect()
    np.testing.assert_array_equal(found.numpy(), values @ values.T)


def test_operands_are_let_go():
    """Nothing keeps a tensor after the call."""
    t, _ = small((4, 8), "bfloat16")
    gone = weakref.ref(t)
    amx.matmul(t, amx.pack(t.T))
    del t
    gc.collect()
    assert gone() is None


def test_float32_and_bits_need_a_dtype():
    """As those of NumPy; what is bfloat16 already may be called so."""
    t, values = small((4, 8), "bfloat16")
    want = values @ values.T
    for each in (t, t.float(), t.view(torch.uint16)):
        np.testing.assert_array_equal(amx.matmul(each, each.T, dtype="bfloat16").numpy(), want)
        packed = amx.pack(each.T, dtype="bfloat16")
        np.testing.assert_array_equal(amx.matmul(each, packed, dtype="bfloat16").numpy(), want)
    np.testing.assert_array_equal(amx.matmul(t.float(), t.float().T, dtype="float16").numpy(), want)
    with pytest.raises(amx.errors.DtypeError, match="operand a is bfloat16 and dtype='float16'"):
        amx.matmul(t, t.T, dtype="float16")


@pytest.mark.parametrize("dtype", ["float64", "float32", "int32", "bool", "complex64", "uint16"])
def test_types_that_amx_does_not_multiply_are_named(dtype):
    """By torch's name for them, which is NumPy's too."""
    t = torch.ones((4, 4), dtype=getattr(torch, dtype))
    with pytest.raises(amx.errors.DtypeError, match=f"operand a is {dtype}"):
        amx.matmul(t, t)


class Subclass(torch.Tensor):
    """Whose memory might mean anything."""


def dual():
    forward = torch.autograd.forward_ad
    t = torch.ones((16, 64), dtype=torch.bfloat16)
    return forward.make_dual(t, t)


def quantized():
    return torch.quantize_per_tensor(torch.ones(16, 64), 0.1, 0, torch.qint8)


def negative(dtype=torch.complex64):
    return torch.imag(torch.ones((16, 64), dtype=dtype).conj())


HALF = torch.ones((16, 64), dtype=torch.bfloat16)
REFUSED = {
    "requires grad": (
        lambda: HALF.clone().requires_grad_(),
        r"Tensor that requires grad\. .*Pass its detach\(\)",
    ),
    "float32 that does": (lambda: HALF.float().requires_grad_(), r"requires grad\. .*Pass its detach\(\)"),
    "a result that does": (
        lambda: HALF.clone().requires_grad_() * 2,
        r"requires grad\. .*Pass its detach\(\)",
    ),
    "a parameter": (lambda: torch.nn.Parameter(HALF), r"torch\.Parameter that requires grad.*detach\(\)"),
    "a tangent": (dual, r"with a tangent\. .*unpack_dual\(\)"),
    "meta": (lambda: HALF.to("meta"), r"torch\.Tensor on meta\. It has a shape, and no elements"),
    "sparse": (lambda: HALF.to_sparse(), r"with layout torch\.sparse_coo\. .*Pass its to_dense\(\)"),
    "quantised": (quantized, r"of torch\.qint8\. .*Pass its int_repr\(\)"),
    "conjugate": (
        lambda: torch.ones((16, 64), dtype=torch.complex64).conj(),
        r"conjugate bit\. .*, one at a time",
    ),
    "negative": (negative, r"with the negative bit\. .*Pass its resolve_neg\(\)"),
    "negative half": (
        lambda: negative(torch.complex32),
        r"with the negative bit\. .*Pass its resolve_neg\(\)",
    ),
    "a subclass": (
        lambda: HALF.as_subclass(Subclass),
        r"Subclass\. It is a subclass of torch\.Tensor.*as_subclass",
    ),
    "float8": (lambda: HALF.to(torch.float8_e5m2), r"Tensor of torch\.float8_e5m2\. .*int8, uint8, bfloat16"),
}
WAYS = {
    "first": lambda t: amx.matmul(t, ONES.T),
    "second": lambda t: amx.matmul(ONES.T, t),
    "packed": amx.pack,
    "by a packed one": lambda t: amx.matmul(t, amx.pack(ONES.T)),
    "at a packed one": lambda t: t @ amx.pack(ONES.T),
    "out": lambda t: amx.matmul(ONES, ONES.T, out=t),
    "tile": lambda t: of_tiles("load", t),
    "stored": lambda t: of_tiles("store", t),
}


def of_tiles(move, tensor):
    with amx.TileContext(amx.TileConfig.for_product("int8")) as tiles:
        tiles.zero(1)
        getattr(tiles, move)(1, tensor)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # of torch about its own
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", REFUSED)
def test_tensors_that_are_more_than_their_memory_are_refused(what, way):
    """Each with its kind, the reason and what to pass; none is detached, copied or converted silently."""
    make, message = REFUSED[what]
    if (what, way) == ("a subclass", "at a packed one"):
        return  # whose operator torch keeps to itself
    with torch.autograd.forward_ad.dual_level():
        tensor = make()
        with pytest.raises(amx.errors.DtypeError, match=r"^(operand|The source|out)") as caught:
            WAYS[way](tensor)
        caught.match(message)


def test_what_requires_grad_is_refused_without_gradients_too():
    """Under no_grad torch itself makes a result that does not."""
    t = HALF.clone().requires_grad_()
    with torch.no_grad(), pytest.raises(amx.errors.DtypeError, match="requires grad"):
        amx.matmul(t, t.T)
    parameter = torch.nn.Parameter(HALF, requires_grad=False)
    assert (amx.matmul(parameter, parameter.T) == 64).all()


@pytest.mark.parametrize("transform", ["vmap", "grad"])
def test_what_torch_transforms_is_refused(transform):
    """It has no memory of its own."""

    def product(t):
        amx.matmul(t, t.mT)
        return t.sum()

    with pytest.raises(amx.errors.DtypeError, match=r"operand a is a torch\.Tensor"):
        getattr(torch.func, transform)(product)(torch.ones((2, 4, 4), dtype=torch.float16))


def test_inference_mode():
    """Its tensors are as others, within and without."""
    with torch.inference_mode():
        t, values = small((4, 8), "bfloat16")
        found = amx.matmul(t, t.T)
        out = torch.empty((4, 4))
        assert amx.matmul(t, amx.pack(t.T), out=out) is out
    assert found.is_inference()
    for each in (found, out, amx.matmul(t, t.T), amx.matmul(t, t.T, out=out)):
        np.testing.assert_array_equal(each.numpy(), values @ values.T)


@pytest.mark.parametrize("layout", ["rows", "columns", "steps"])
def test_outputs_are_written_where_they_lie(layout):
    """Every element and nothing else; operands may be of NumPy."""
    t, values = small((4, 8), "int8")
    memory = torch.full((9, 20), 7, dtype=torch.int32)
    views = {"rows": memory[2:6, 3:7], "columns": memory[2:6, 3:7].T, "steps": memory[:8:2, ::5]}
    want = memory.numpy().copy()
    for operand in (t, t.numpy()):
        out = views[layout]
        assert amx.matmul(operand, operand.T, out=out) is out
        np.testing.assert_array_equal(out.numpy(), values @ values.T)
    out.fill_(7)
    np.testing.assert_array_equal(memory.numpy(), want)


def test_an_output_in_an_operand():
    """Is written when the operand is no longer needed."""
    memory = torch.arange(64, dtype=torch.int32).reshape(4, 16)
    a = memory.view(torch.int8).reshape(4, 64)
    want = a.long() @ a.long().T
    out = memory[:, :4]
    amx.matmul(a, a.T, out=out)
    assert (out == want).all()


def test_an_output_of_another_shape_or_type_is_named():
    for out in (torch.empty((4, 4)), torch.empty((4, 4), dtype=torch.bfloat16), torch.empty((4, 4)).long()):
        with pytest.raises(amx.errors.DtypeError, match="The result is int32"):
            amx.matmul(ONES[:4], ONES[:4].T, out=out)
    with pytest.raises(amx.errors.ShapeError, match=r"out has shape \(4, 5\)"):
        amx.matmul(ONES[:4], ONES[:4].T, out=torch.empty((4, 5), dtype=torch.int32))


def test_torch_knows_what_was_written():
    """A gradient that was to be made of the old values is an error, not wrong."""
    weights = torch.ones(4, 4)
    x = torch.ones(4, 4, requires_grad=True)
    y = (x * weights).sum()
    amx.matmul(HALF[:4], HALF[:4].T, out=weights)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()
    before = weights._version
    with amx.TileContext(amx.TileConfig([(4, 16)])) as tiles:
        tiles.zero(0)
        tiles.store(0, weights)
    assert weights._version == before + 1
    assert not weights.any()


def test_tiles_hold_tensors():
    """Bytes of rows that are adjacent, of bfloat16 under its name."""
    config = amx.TileConfig.for_product("bfloat16")
    a = torch.arange(16 * 32).reshape(16, 32).remainder(7).to(torch.bfloat16)
    eye = torch.zeros((16, 32), dtype=torch.bfloat16)
    eye[:, ::2] = torch.eye(16)  # row k of pairs (2k, 2k + 1): the even columns
    out = torch.empty((16, 16))
    with amx.TileContext(config) as tiles:
        tiles.load(1, a)
        tiles.load(2, eye)
        tiles.zero(0)
        tiles.dpbf16ps(0, 1, 2)
        assert tiles.store(0, out) is out
        assert (out == a[:, ::2].float()).all()
        back = torch.empty_like(a)
        assert (tiles.store(1, back) == a).all()
        with pytest.raises(amx.errors.BufferLayoutError):
            tiles.load(1, a.repeat(1, 2)[:, ::2])
        with pytest.raises(amx.errors.TileDtypeError, match="out is bfloat16"):
            tiles.store(0, torch.empty((16, 32), dtype=torch.bfloat16))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of torch about its own
def test_compiled_functions_call_a_product_that_is_not():
    """As the documentation of matmul says."""
    t, values = small((4, 8), "int8")
    product = torch.compiler.disable(amx.matmul)

    @torch.compile(backend="eager")
    def twice(t):
        return product(t, t.mT) * 2

    np.testing.assert_array_equal(twice(t).numpy(), 2 * (values @ values.T))


def test_the_default_device_of_torch_is_not_where_results_are():
    """They are where they were computed."""
    with torch.device("meta"):
        found = amx.matmul(HALF, HALF.T)
    assert found.device.type == "cpu"
    assert (found == 64).all()


def test_results_of_bfloat16_are_of_torch_too():
    """Of layers, which round; with ml_dtypes or without."""
    values = np.arange(6).reshape(2, 3)
    bits = (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    for result in (bits.view(BFLOAT16), bits.view(ml_dtypes.bfloat16)):
        found = like((HALF,), result)
        assert found.dtype is torch.bfloat16
        assert found.data_ptr() == address_of(result.view(np.uint16))
        assert found.tolist() == values.tolist()
