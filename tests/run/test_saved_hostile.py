"""`amx.load_safetensors` and files that are damaged, lie, or were made to harm: errors that name them."""

import json
import os
import random
import time

import numpy as np
import pytest

import amx
from amx.errors import SavedFileError

TENSOR = {"dtype": "U8", "shape": [2, 3], "data_offsets": [0, 6]}


def file_of(header, data=b"", size=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if size is None else size).to_bytes(8, "little") + text + data


def refusal(tmp_path, content):
    path = tmp_path / "hostile"
    path.write_bytes(content)
    with pytest.raises(SavedFileError) as raised:
        amx.load_safetensors(path)
    assert raised.value.what == f"{path} is no safetensors file that can be loaded"
    assert len(str(raised.value)) < 1500
    assert str(raised.value).isprintable()
    return raised.value.cause


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it has 0 bytes, and the size of a header alone has 8"),
        (b"1234567", "it has 7 bytes"),
        (file_of(b""), "size of a header"),
        (file_of({}, size=3), "size of a header of 3 bytes"),
        (file_of({}, size=2**64 - 1), "size of a header of 18,446"),
        (file_of({}, size=16 << 20), "size of a header of 16,777,216"),
        (file_of(b"{]"), "no JSON"),
        (file_of(b"[1]"), "no object"),
        (file_of(b'{"\xff": 1}'), "no JSON"),
        (file_of(b'{"a": NaN}'), "NaN is no number"),
        (file_of(b'{"a": 1, "a": 1}'), "a name stands in it twice"),
        (file_of(b"[" * 100_000), "too many brackets"),
        (file_of(b'{"a": %s}' % (b"9" * 5000)), "no JSON"),
        (file_of({"a": 3}), "'a' has not just dtype"),
        (file_of({"a": {**TENSOR, "more": 1}}, bytes(6)), "'a' has not just dtype"),
        (file_of({"a\x1b[2J": 3}), r"'a\x1b[2J'"),
        (file_of({"a" * 2000: 3}), "aaa..."),
        (file_of({"a": {**TENSOR, "dtype": "F8_E5M2"}}, bytes(6)), "'a' is of 'F8_E5M2'"),
        (file_of({"a": {**TENSOR, "dtype": ["U8"]}}, bytes(6)), "'a' is of"),
        (file_of({"a": {**TENSOR, "dtype": "U16"}}, bytes(6)), "12 bytes by its shape"),
        (file_of({"a": {**TENSOR, "shape": [2, -3]}}, bytes(6)), "no shape"),
        (file_of({"a": {**TENSOR, "shape": [2, 3.0]}}, bytes(6)), "no shape"),
        (file_of({"a": {**TENSOR, "shape": [True, 6]}}, bytes(6)), "no shape"),
        (file_of({"a": {**TENSOR, "shape": 6}}, bytes(6)), "no shape"),
        (file_of({"a": {**TENSOR, "shape": [1] * 40 + [6]}}, bytes(6)), "no shape"),
        (file_of({"a": {**TENSOR, "shape": [2**62, 2**62]}}, bytes(6)), "bytes by its shape"),
        (file_of({"a": {**TENSOR, "shape": [0, 2**40], "data_offsets": [0, 0]}}), "no shape"),
        (file_of({"a": {**TENSOR, "data_offsets": [6, 0]}}, bytes(6)), "by its data_offsets"),
        (file_of({"a": {**TENSOR, "data_offsets": [0, 6, 6]}}, bytes(6)), "no data_offsets"),
        (file_of({"a": {**TENSOR, "data_offsets": [-6, 0]}}, bytes(6)), "no data_offsets"),
        (file_of({"a": {**TENSOR, "data_offsets": [1, 7]}}, bytes(7)), "begins at byte 1, where 0 is due"),
        (file_of({"a": TENSOR, "b": TENSOR}, bytes(6)), "begins at byte 0, where 6 is due"),
        (file_of({"a": TENSOR}, bytes(5)), "it has 5 bytes of elements, and names 6"),
        (file_of({"a": TENSOR}, bytes(7)), "it has 7 bytes of elements, and names 6"),
        (file_of({"a": {**TENSOR, "dtype": "BOOL"}}, b"\0\1\2\0\0\0"), "other bytes than 0 and 1"),
        (file_of({"__metadata__": {"a": 1}}), "__metadata__ is not text"),
        (file_of({"__metadata__": []}), "__metadata__ is not text"),
        (file_of({"__metadata__": {"amx": "{"}}), "metadata of this package is no JSON"),
        (file_of({"__metadata__": {"amx": "[" * 100_000}}), "metadata of this package is no JSON"),
        (file_of({"__metadata__": {"amx": "{}"}}), "no version"),
        (file_of({"__metadata__": {"amx": '{"version": 2, "objects": {}}'}}), "version '2'"),
        (file_of({"__metadata__": {"amx": '{"version": true, "objects": {}}'}}), "version 'True'"),
        (file_of({"__metadata__": {"amx": '{"version": 1}'}}), "not just version and objects"),
        (file_of({"__metadata__": {"amx": '{"version": 1, "objects": []}'}}), "not just version and objects"),
    ],
)
def test_headers(tmp_path, content, said):
    assert said in refusal(tmp_path, content)


def parts_of(tmp_path, made):
    path = tmp_path / "honest"
    amx.save_safetensors(path, {"a": made})
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    return header, json.loads(header["__metadata__"]["amx"])["objects"]["a"], content[end:]


def with_fact(header, fact, data):
    facts = json.dumps({"version": 1, "objects": {"a": fact}})
    return file_of({**header, "__metadata__": {"amx": facts}}, data)


LINEAR = amx.Linear(np.ones((2, 3), "f"), [1.0, 2.0], activation="relu")
ROUNDED = amx.Linear(np.ones((2, 3), "f"), dtype="bfloat16")
FOUR = amx.quantize(np.ones((2, 3), "f"), "uint4", group=2)
WEIGHT = {"is": "Quantized", "dtype": "int8", "shape": [2, 3], "axis": 0, "group": None, "order": False}


@pytest.mark.parametrize(
    ("made", "changes", "said"),
    [
        (LINEAR, {"is": "Convolution"}, "none of Linear"),
        (LINEAR, {"is": ["Linear"]}, "none of Linear"),
        (LINEAR, {"is": "PackedMatrix"}, "not just is: 'activation'"),
        (LINEAR, {"more": 1}, "'more'"),
        (LINEAR, {"bias": 1}, "bias is neither true nor false"),
        (LINEAR, {"weight": None}, "'a.weight' is of I8"),
        (LINEAR, {"weight": 3}, "weight is not Quantized"),
        (LINEAR, {"weight": {**WEIGHT, "shape": [3, 2]}}, "(2, 3), and it says (3, 2)"),
        (LINEAR, {"weight": {**WEIGHT, "shape": [2, "3"]}}, "its shape is none"),
        (LINEAR, {"weight": {**WEIGHT, "dtype": "uint8"}}, "is of I8, and not of U8"),
        (LINEAR, {"weight": {**WEIGHT, "dtype": {}}}, "no type that is quantised"),
        (LINEAR, {"weight": {**WEIGHT, "axis": 1}}, "scale has shape (2,)"),
        (LINEAR, {"weight": {**WEIGHT, "axis": True}}, "axis or group is no number"),
        (LINEAR, {"weight": {**WEIGHT, "order": True}}, "no tensor 'a.weight_order'"),
        (LINEAR, {"dtype": "bfloat16"}, "weight is Quantized"),
        (LINEAR, {"dtype": "int7"}, "dtype='int7'"),
        (LINEAR, {"activation": "tanh"}, "activation='tanh'"),
        (LINEAR, {"activation": {}}, "activation is neither text nor"),
        (LINEAR, {"activations": None}, "activations=None"),
        (LINEAR, {"activations": [1, 0, "uint8"]}, "activations is neither text nor"),
        (LINEAR, {"activations": [-1.0, 0, "uint8"]}, "activations: scale is -1.0"),
        (LINEAR, {"activations": [1.0, 2**70, "uint8"]}, "activations"),
        (LINEAR, {"out_dtype": "complex64"}, "out_dtype='complex64'"),
        (ROUNDED, {"bias": True}, "no tensor 'a.bias'"),
        (ROUNDED, {"dtype": "float16"}, "'a.weight' is of BF16"),
        (ROUNDED, {"weight": WEIGHT}, "'a.weight' is of BF16"),
        (FOUR, {"shape": [2, 2]}, "4 values of 4 bits"),
        (FOUR, {"shape": [2**24 + 1, 0]}, "its shape is none"),
        (FOUR, {"group": 2**70}, "it has groups of"),
        (FOUR, {"group": 0}, "group=0"),
        (FOUR, {"group": None, "axis": None}, "scale has shape (2, 2)"),
    ],
)
def test_what_is_said_of_an_object(tmp_path, made, changes, said):
    header, fact, data = parts_of(tmp_path, made)
    if made is LINEAR:
        assert fact["weight"] == WEIGHT
    assert said in refusal(tmp_path, with_fact(header, {**fact, **changes}, data))


def test_values_that_its_type_cannot_have(tmp_path):
    header, fact, data = parts_of(tmp_path, LINEAR)  # scales come first
    nan = np.float32(np.nan).tobytes()
    begin = header["a.weight_scale"]["data_offsets"][0]
    assert "is nan" in refusal(tmp_path, with_fact(header, fact, data[:begin] + nan + data[begin + 4 :]))


def test_one_tensor_of_two_objects(tmp_path):
    header, fact, data = parts_of(tmp_path, LINEAR)
    facts = json.dumps({"version": 1, "objects": {"a": fact, "a.weight": WEIGHT}})
    content = file_of({**header, "__metadata__": {"amx": facts}}, data)
    assert "'a.weight': there is no tensor" in refusal(tmp_path, content)


def test_a_tensor_with_the_name_of_an_object(tmp_path):
    header, fact, data = parts_of(tmp_path, LINEAR)
    begin = len(data)
    header["a"] = {"dtype": "U8", "shape": [1], "data_offsets": [begin, begin + 1]}
    assert "'a' is a tensor, and" in refusal(tmp_path, with_fact(header, fact, data + b"1"))


def test_a_small_file_does_not_fill_the_memory_when_packed(tmp_path):
    """Matrices of one element each are 2048 times as large then."""
    count = 1 << 20
    header = {"a": {"dtype": "U8", "shape": [count, 1, 1], "data_offsets": [0, count]}}
    content = with_fact(header, {"is": "PackedMatrix"}, bytes(count))
    assert "when packed" in refusal(tmp_path, content)


def test_what_is_no_file_or_too_large(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", "/dev/zero"):
        with pytest.raises(OSError, match="no regular file"):
            amx.load_safetensors(path)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="more than 17,179,869,184 bytes"):
        amx.load_safetensors(tmp_path / "sparse")
    with pytest.raises(OSError, match="more than 5 bytes"):
        amx.load_safetensors(tmp_path / "sparse", most=5)
    with pytest.raises(FileNotFoundError):
        amx.load_safetensors(tmp_path / "none")


def test_random_damage_is_refused_or_harmless(tmp_path):
    """AMX_SEED repeats a run."""
    seed = int(os.environ.get("AMX_SEED", time.time_ns()))
    print("seed", seed)
    chance, path = random.Random(seed), tmp_path / "file"
    packed = amx.pack(np.ones((3, 2), np.int8))
    objects = {"a": LINEAR, "b": ROUNDED, "c": FOUR, "d": packed, "e": np.arange(3)}
    amx.save_safetensors(path, objects)
    honest = path.read_bytes()
    refused = 0
    for _ in range(1500):
        content = bytearray(honest)
        for _ in range(chance.randrange(1, 4)):
            place = chance.randrange(len(content))
            if chance.random() < 0.5:
                content[place] = (
                    chance.choice(b'\0\xff0129"{}[],:-.e') if chance.random() < 0.8 else content[place] ^ 1
                )
            else:
                content[place : place + chance.randrange(5)] = chance.choice(
                    (b"", b"0", b'"', b"[[", b"null")
                )
        path.write_bytes(content)
        try:
            amx.load_safetensors(path)
        except SavedFileError:
            refused += 1
    assert refused > 500
