"""`amx.save_safetensors` and `amx.load_safetensors`: what is loaded is what was saved, to the bit."""

import json
import os

import ml_dtypes
import numpy as np
import pytest

import amx
from amx import errors


def there_and_back(tmp_path, objects):
    path = tmp_path / "saved.safetensors"
    amx.save_safetensors(path, objects)
    assert os.listdir(tmp_path) == [path.name]
    return amx.load_safetensors(path)


def assert_same(found, wanted):
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert found.tobytes() == wanted.tobytes()


def assert_same_quantized(found, wanted):
    for name in ("axis", "group", "dtype"):
        assert getattr(found, name) == getattr(wanted, name), name
    for name in ("values", "scale", "zero_point"):
        assert_same(getattr(found, name), getattr(wanted, name))
    assert (found.order is None) == (wanted.order is None)
    assert wanted.order is None or found.order.tolist() == wanted.order.tolist()


def layers():
    rng = np.random.default_rng(141)
    weight, bias = rng.standard_normal((7, 50)).astype("f"), rng.standard_normal(7).astype("f")
    values = rng.integers(0, 256, (7, 50)).astype(np.uint8)
    return {
        "plain": amx.Linear(weight),
        "all options": amx.Linear(
            weight, bias, activation="gelu_tanh", activations="dynamic-symmetric", out_dtype="float16"
        ),
        "given scales": amx.Linear(
            weight, bias, activation="relu", activations=(0.1, 3, "uint8"), out_dtype=(0.3, -5, "int8")
        ),
        "of uint8": amx.Linear(amx.Quantized(values, 0.01, 77)),
        "a scale a row": amx.Linear(amx.Quantized(values, np.arange(1, 8, dtype="f"), np.arange(7), axis=0)),
        "4 bits": amx.Linear(
            amx.quantize(weight, "uint4", group=32, symmetric=False), bias, activation="silu"
        ),
        "bfloat16": amx.Linear(weight, bias, dtype="bfloat16", activation="silu", out_dtype="bfloat16"),
        "float16": amx.Linear(weight, dtype="float16"),
        "no rows": amx.Linear(np.zeros((0, 5), "f")),
        "no columns": amx.Linear(np.zeros((3, 0), "f"), [1, 2, 3.0], dtype="bfloat16"),
    }


def test_layers_have_the_same_results_and_options_on_every_engine(backend, tmp_path):
    made = layers()
    if backend == "native" and not amx.available("fp16"):
        del made["float16"]
    loaded = there_and_back(tmp_path, made)
    assert list(loaded) == list(made)
    for name, layer in made.items():
        assert repr(loaded[name]) == repr(layer)
        x = np.random.default_rng(142).standard_normal((20, layer.in_features)).astype("f")
        assert_same(loaded[name](x), layer(x))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint4"])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("slices", [{}, {"axis": 0}, {"axis": 1}, {"group": 4}, {"group": 1000}])
def test_quantised_matrices(tmp_path, dtype, symmetric, slices):
    for shape in ((5, 13), (4, 4), (0, 3), (3, 0)):
        array = np.random.default_rng(144).standard_normal(shape).astype("f")
        made = amx.quantize(array, dtype, symmetric=symmetric, **slices)
        assert_same_quantized(there_and_back(tmp_path, {"q": made})["q"], made)


def test_quantised_arrays_of_other_kinds(tmp_path):
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 16
    made = {
        "number": amx.Quantized(np.uint8(7), 0.5, 16, dtype="uint4"),
        "stack": amx.Quantized(values, [1, 2, 3.0], [0, 16, 8], axis=1, dtype="uint4"),
        "ordered": amx.Quantized(
            values[0], np.full((3, 2), -2.0), 8, group=2, dtype="uint4", order=[3, 1, 0, 2]
        ),
    }
    for name, loaded in there_and_back(tmp_path, made).items():
        assert_same_quantized(loaded, made[name])


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.float16, ml_dtypes.bfloat16])
def test_packed_matrices(tmp_path, dtype):
    for shape in ((3, 5), (2, 0, 70, 40), (2, 3, 70, 40), (0, 3), (3, 0)):
        array = np.random.default_rng(145).integers(0, 100, shape).astype(dtype)
        loaded = there_and_back(tmp_path, {"packed": amx.pack(array)})["packed"]
        assert isinstance(loaded, amx.PackedMatrix)
        assert_same(loaded.unpack(), array)


def arrays():
    plain = np.random.default_rng(146).integers(0, 2**62, (3, 4))
    made = {f"{kind}{bits}": plain.astype(f"{kind}{bits}") for kind in "iu" for bits in (1, 2, 4, 8)}
    made |= {f"f{bits}": plain.astype(f"f{bits}") for bits in (4, 8)}
    made |= {"f2": (plain % 1000).astype("f2"), "bool": plain > 2**61, "number": np.float32(3)}
    made |= {"bfloat16": plain.astype(ml_dtypes.bfloat16), "nothing": np.zeros((2, 0, 3), np.int16)}
    return made


def test_arrays(tmp_path):
    made = arrays()
    loaded = there_and_back(tmp_path, made)
    assert loaded.keys() == made.keys()
    for name, array in made.items():
        assert_same(loaded[name], np.asarray(array))
        assert loaded[name].flags.writeable


def test_arrays_of_any_layout(tmp_path):
    array = np.arange(24, dtype=np.int32).reshape(4, 6)
    made = {"f": np.asfortranarray(array), "every other": array[::2, ::-2], "swapped": array.astype(">i4")}
    for name, loaded in there_and_back(tmp_path, made).items():
        assert_same(loaded, np.ascontiguousarray(made[name].astype("<i4")))


def test_the_bytes_of_a_file(tmp_path):
    """By hand: sizes, header, elements; 4-bit values 1, 2, 3 are the bytes 0x21, 0x03."""
    made = amx.Quantized(np.array([[1, 2, 3]], np.uint8), 0.5, 8, dtype="uint4")
    path = tmp_path / "file"
    amx.save_safetensors(path, {"q": made})
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    assert size % 8 == 0
    assert content[8 + size :] == b"\0\0\0\x3f" + b"\x21\x03" + b"\x08"
    header = json.loads(content[8 : 8 + size])
    facts = {
        "is": "Quantized",
        "dtype": "uint4",
        "shape": [1, 3],
        "axis": None,
        "group": None,
        "order": False,
    }
    assert json.loads(header.pop("__metadata__")["amx"]) == {"version": 1, "objects": {"q": facts}}
    assert header == {
        "q": {"dtype": "U8", "shape": [2], "data_offsets": [4, 6]},
        "q_scale": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
        "q_zero_point": {"dtype": "U8", "shape": [], "data_offsets": [6, 7]},
    }


def test_the_library_of_that_name_reads_what_is_written(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    made = arrays()
    del made["bfloat16"]
    path = tmp_path / "file"
    amx.save_safetensors(path, {**made, **layers()})
    found = library.load_file(path)
    for name, array in made.items():
        assert_same(found[name], np.asarray(array))
    weight = layers()["plain"].weight
    assert_same(found["plain.weight"], weight.values)
    assert_same(found["plain.weight_scale"], weight.scale)


def test_what_the_library_of_that_name_writes_is_read(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    made = arrays()
    path = tmp_path / "file"
    library.save_file({name: np.asarray(array) for name, array in made.items()}, path, {"format": "np"})
    found = amx.load_safetensors(path)
    for name, array in made.items():
        assert_same(found[name], np.asarray(array))


@pytest.mark.parametrize(
    ("objects", "error", "said"),
    [
        ([1], errors.DtypeError, "objects is list"),
        ({3: np.zeros(3)}, errors.DtypeError, "3 is a name"),
        ({"a": "text"}, errors.DtypeError, "'a' is of text"),
        ({"a": np.zeros(3, "c8")}, errors.DtypeError, "'a' is of complex64"),
        ({"a": object()}, errors.DtypeError, "'a'"),
        ({"__metadata__": np.zeros(3)}, errors.SavedFileError, "an object is called '__metadata__'"),
        ({"\ud800": np.zeros(3)}, errors.SavedFileError, "UTF-8 cannot write"),
        (
            {"a": amx.Linear(np.ones((2, 3))), "a.weight": np.zeros(3)},
            errors.SavedFileError,
            "two tensors are called 'a.weight'",
        ),
    ],
)
def test_what_cannot_be_saved_leaves_the_old_file(tmp_path, objects, error, said):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error, match=said):
        amx.save_safetensors(path, objects)
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"old", ["file"])


def test_a_directory_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        amx.save_safetensors(tmp_path / "none" / "file", {})
