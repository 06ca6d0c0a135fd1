"""`amx matmul`: files in, a file and a report out."""

import json
import os
import sys

import children
import numpy as np
import operands
import pytest

from amx import cli
from amx.cli import _npy


@pytest.fixture
def files(tmp_path):
    """Write arrays as .npy files; gives the paths of these and of the output as arguments."""

    def write(*arrays):
        paths = [tmp_path / f"{name}.npy" for name in "ab"]
        for path, array in zip(paths, arrays, strict=True):
            np.save(path, array)
        return [*map(str, paths), "-o", str(tmp_path / "c.npy")]

    return write


def test_the_output_file_holds_the_product(files, backend):
    random = np.random.default_rng(2)
    a = random.integers(0, 256, (33, 70), dtype=np.uint8)
    b = random.integers(-128, 128, (70, 5), dtype=np.int8)
    call = files(a, b)
    assert cli.main(["matmul", *call]) == 0
    c = np.load(call[-1])
    assert c.dtype == np.int32
    assert (c == a.astype(np.int64) @ b).all()


def test_the_json_report_names_shape_backend_and_speed(files, backend, capsys):
    call = files(np.ones((2, 3), np.int8), np.ones((3, 4), np.int8))
    assert cli.main(["matmul", *call, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["shape"] == [2, 4]
    assert report["dtype"] == "int32"
    assert report["backend"] == backend
    _, _, section = (children.ROOT / "docs/json.md").read_text().partition("\n## `amx matmul --json`\n")
    assert report.pop("schema") == 1
    assert all(f"`{key}`" in section.partition("\n## ")[0] for key in report)
    assert report["gops"] == pytest.approx(48e-9 / report["seconds"])


@pytest.mark.parametrize("kind", [np.float32, np.uint16, "V2"])
def test_bfloat16_is_read_from_float32_uint16_and_from_what_ml_dtypes_saves(files, backend, kind):
    ones = np.array([[1, 2]], np.float32)
    stored = ones if kind is np.float32 else (ones.view(np.uint32) >> 16).astype(np.uint16).view(kind)
    call = files(stored, stored.T.copy())
    assert cli.main(["matmul", *call, "--dtype", "bfloat16"]) == 0
    assert np.load(call[-1]).tolist() == [[5.0]]


def test_shapes_that_do_not_fit_fail_and_are_named(files, capsys):
    assert cli.main(["matmul", *files(np.ones((2, 3), np.int8), np.ones((4, 4), np.int8))]) == 1
    error = capsys.readouterr().err
    assert "(2, 3)" in error
    assert "(4, 4)" in error


def test_a_missing_file_is_a_usage_error_that_names_it(tmp_path, capsys):
    assert cli.main(["matmul", str(tmp_path / "none.npy"), "b.npy", "-o", "c.npy"]) == 2
    assert f"cannot read {tmp_path / 'none.npy'}: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"1,2,3\n", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_npy_file_is_a_usage_error(tmp_path, capsys, content):
    bad = tmp_path / "bad.npy"
    bad.write_bytes(content)
    assert cli.main(["matmul", str(bad), str(bad), "-o", str(tmp_path / "c.npy")]) == 2
    assert f"{bad} is not a readable .npy file" in capsys.readouterr().err


HEADER = b"{'descr': '|i1', 'fortran_order': False, 'shape': (2, 3)}"


def npy(header, rest=b"", version=1):
    """A .npy file with any header."""
    size = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + header + rest


def shape(text, descr="'|i1'"):
    return npy(b"{'descr': %s, 'fortran_order': False, 'shape': %s}" % (descr.encode(), text.encode()))


MALFORMED = {
    "never closed": npy(b"{'descr': (" + b"(" * 2000),
    "nested deeply": npy(b"-" * 9000 + b"1"),
    "a header of numbers": npy(b"1"),
    "an unhashable key": npy(b"{[]: 1}"),
    "a nul": npy(HEADER.replace(b"descr", b"de\0cr")),
    "a dtype of nothing": shape("(2, 3)", "()"),
    "a dtype of too much": shape("(2, 3)", "('<i4', (2, 3), 4, 5)"),
    "a field without a type": shape("(2, 3)", "[('a',)]"),
    "elements of no bytes": shape("(2, 3)", "'|S0'"),
    "a negative shape": shape("(-1, 3)"),
    "a shape of names": shape("('a', 3)"),
    "too many dimensions": shape("(" + "1, " * 300 + ")") + b"1",
    "more than there is": shape("(2, 3)") + b"12345",
    "more than any memory": shape("(9223372036854775807, 9223372036854775807)"),
    "as many as make nothing": shape("(4294967296, 4294967296)"),
    "more than this memory, but nothing of it": shape("(1099511627776, 1024)"),
    "another version": npy(HEADER, b"123456", 9),
    "a long header": npy(HEADER + b" " * 20000, b"123456"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_npy_file_is_a_usage_error_in_one_line(tmp_path, capsys, kind):
    bad = tmp_path / "bad.npy"
    bad.write_bytes(MALFORMED[kind])
    assert cli.main(["matmul", str(bad), str(bad), "-o", str(tmp_path / "c.npy")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"amx matmul: {bad} is not a readable .npy file: ")
    assert error.count("\n") == 1
    assert len(error) < 500 + len(str(bad))
    assert os.listdir(tmp_path) == ["bad.npy"]


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("order", "CF")
def test_every_version_and_order_of_npy_files_is_read(tmp_path, version, order):
    array = np.arange(6, dtype=">i2").reshape(2, 3).astype("i1", order=order)
    with open(tmp_path / "a.npy", "w+b") as file:
        np.lib.format.write_array(file, array, version=(version, 0))
        file.seek(0)
        found = _npy.read(file)
    assert found.tolist() == array.tolist()
    assert (found.dtype, found.flags.f_contiguous) == (array.dtype, array.flags.f_contiguous)


def test_what_never_ends_is_not_read_to_its_end(tmp_path):
    """A device of zeros has no header; nor is more read of a stream than its header says."""
    program = [sys.executable, "-m", "amx", "matmul", "/dev/zero", "/dev/zero", "-o", tmp_path / "c.npy"]
    done = children.run(program, timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "/dev/zero is not a readable .npy file" in done.stderr


def test_a_pipe_is_read_as_a_file_is(files, tmp_path, backend):
    call = files(np.ones((2, 3), np.int8), np.ones((3, 4), np.int8))
    os.mkfifo(tmp_path / "pipe")
    with children.start(["cp", call[0], tmp_path / "pipe"]):
        assert cli.main(["matmul", str(tmp_path / "pipe"), *call[1:]]) == 0
    assert (np.load(call[-1]) == 3).all()


def test_the_output_may_be_an_input(files, backend):
    call = files(np.ones((3, 3), np.int8), np.ones((3, 3), np.int8))
    assert cli.main(["matmul", call[0], call[0], "-o", call[0]]) == 0
    assert np.load(call[0]).tolist() == [[3] * 3] * 3
    assert np.load(call[1]).dtype == np.int8


def test_where_there_is_no_room_the_old_output_stays_and_it_is_said_why(files, tmp_path):
    """In a child, with a limit on the size of files."""
    call = files(np.ones((64, 64), np.int8), np.ones((64, 64), np.int8))
    old = tmp_path / "c.npy"
    old.write_bytes(b"old")
    code = (
        "import resource, sys\n"
        "from amx import cli\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "sys.exit(cli.main(['matmul', *sys.argv[1:]]))\n"
    )
    done = children.run_python("-c", code, *call, AMX_BACKEND="emulated")
    assert (done.returncode, done.stderr) == (2, f"amx matmul: cannot write {old}: File too large\n")
    assert old.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["a.npy", "b.npy", "c.npy"]


def test_pickled_objects_are_refused(files, capsys):
    objects = np.array([[{}]], dtype=object)
    assert cli.main(["matmul", *files(objects, objects)]) == 2
    assert "not a readable .npy file" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_a_usage_error(files, tmp_path, capsys):
    ones = np.ones((1, 1), np.int8)
    call = [*files(ones, ones)[:2], "-o", str(tmp_path / "no" / "c.npy")]
    assert cli.main(["matmul", *call]) == 2
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["bf16", "fp16", "float16"])
def test_types_have_the_names_that_they_have_in_python(files, backend, name):
    ones = np.ones((2, 3), np.float32)
    call = files(ones, ones.T.copy())
    if name != "bf16":
        operands.need(backend, "float16")
    assert cli.main(["matmul", *call, "--dtype", name]) == 0
    assert np.load(call[-1]).tolist() == [[3, 3], [3, 3]]


def test_another_type_is_a_usage_error(files, capsys):
    ones = np.ones((2, 2), np.float32)
    with pytest.raises(SystemExit) as caught:
        cli.main(["matmul", *files(ones, ones), "--dtype", "int8"])
    assert caught.value.code == 2
    assert "'int8' is none of bfloat16, float16, bf16, fp16" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("dtype", "options", "says"),
    [
        (np.float32, [], "Pass --dtype bfloat16 or --dtype float16 to round it"),
        ("V2", [], "Pass --dtype bfloat16 if these are the bits of bfloat16"),
        (np.int16, [], "Save it as one of these types"),
        (bool, [], "Save it as one of these types"),
        (np.int8, ["--dtype", "fp16"], "is int8 and --dtype float16"),
    ],
)
def test_errors_name_files_and_options(files, capsys, dtype, options, says):
    """Not the arguments of Python's function."""
    a = np.zeros((2, 2), dtype)
    call = files(a, a)
    assert cli.main(["matmul", *call, *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"amx: {call[0]} is ")
    assert says in error
    assert "dtype=" not in error
    assert "operand" not in error
