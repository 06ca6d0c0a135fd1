"""`amx matmul` of .npy files: every file is multiplied, or refused in a line, and nothing is half written."""

import contextlib
import io
import random
import struct
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from amx import cli
from fuzz import changing
from fuzz.engine import Fuzzer

MAGIC = b"\x93NUMPY"
DESCRIPTIONS = (
    "'|i1'", "'|u1'", "'<f2'", "'<f4'", "'|V2'", "'<u2'", "'>f4'", "'|O'", "'<M8[ns]'", "'<U5'", "'|V0'",
    "''", "[('x', '|i1')]", "[('x', '|i1', (3,))]", "[]", "('|i1', (2, 2))", "None", "1", "'|i1, |i1'",
    "{'names': 3}", "('|i1',)", "[('x', 'x')]", "'|i0'", "'|V4294967296'", "b'|i1'", "'\\x00'", "((((",
    "'|i1", "\\",
)  # fmt: skip
SHAPES = (
    "(4, 8)", "(8,)", "()", "(0, 0)", "(-1, 8)", "(4, -8)", "(2**3, 2)", "(True, 8)", "(4.0, 8)", "4",
    "[4, 8]", "('4', 8)", "(None,)", "(9223372036854775807, 2)", "(18446744073709551616,)",
    "(4294967296, 4294967296, 4)", "(1,) * 40", f"({'1, ' * 70})", f"{'(' * 300}1{')' * 300}",
    f"({'9' * 5000},)", "(1e400,)", "(4, 8", "(0x4, 8)", "(1000000, 1000000)",
    "(0, 9223372036854775807)", "-" * 5000 + "1", "[" * 500, "(4, 8)[0]",
)  # fmt: skip
ORDERS = ("False", "True", "0", "None", "'C'", "1.0", "[]")
WIDTH = struct.Struct("<I")  # of the first file, before the two


def matmul(data: bytes) -> None:
    """Two files, behind the size of the first."""
    size = WIDTH.unpack(data[:4].ljust(4, b"\0"))[0]
    with tempfile.TemporaryDirectory() as directory:
        a, b, c = (Path(directory, name) for name in ("a.npy", "b.npy", "c.npy"))
        a.write_bytes(data[4 : 4 + size])
        b.write_bytes(data[4 + size :])
        c.write_bytes(b"what was there")
        said, report = io.StringIO(), io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stderr(said), contextlib.redirect_stdout(report):
            warnings.simplefilter("ignore")
            status = cli.main(["matmul", str(a), str(b), "-o", str(c)])
        if status == 0:
            np.load(c, allow_pickle=False)
        else:
            assert status in (1, 2), status
            assert said.getvalue().strip().startswith("amx"), said.getvalue()
            assert "None" not in said.getvalue() or b"None" in data, said.getvalue()
            assert c.read_bytes() == b"what was there"
        assert sorted(path.name for path in Path(directory).iterdir()) == ["a.npy", "b.npy", "c.npy"]


def change(chance: random.Random, corpus: list[bytes]) -> bytes:
    """Two files of which one or both are spoiled, in the words of their headers or anywhere."""
    files = [chance.choice((_of_words, _spoiled, _whole))(chance, corpus) for _ in range(2)]
    return WIDTH.pack(len(files[0])) + b"".join(files)


def _whole(chance: random.Random, corpus: list[bytes]) -> bytes:
    data = chance.choice(corpus)
    size = WIDTH.unpack_from(data)[0]
    return chance.choice((data[4 : 4 + size], data[4 + size :]))


def _spoiled(chance: random.Random, corpus: list[bytes]) -> bytes:
    return changing.spoil(chance, _whole(chance, corpus), corpus, chance.choice((0, 6, 8, 10)))


def _of_words(chance: random.Random, corpus: list[bytes]) -> bytes:
    def one(these: tuple[str, ...]) -> str:
        return chance.choice(these) if chance.random() < 0.4 else these[0]

    entries = [f"'descr': {one(DESCRIPTIONS)}", f"'fortran_order': {one(ORDERS)}", f"'shape': {one(SHAPES)}"]
    kind = chance.randrange(12)
    if kind == 0:
        del entries[chance.randrange(3)]
    elif kind == 1:
        entries.append(chance.choice(("'more': 1", "'shape': (1,)", "3: 4", "**{}", "'x': " + "[" * 3000)))
    text = f"{{{', '.join(entries)}}}"
    if kind == 2:
        text = chance.choice(
            ("", "(" * 3000, "'" * 7, '"""', text[:-1], text + "\n}", "None", "\0", "0" * 9999, "{**1}")
        )
    version = chance.choice(((1, 0), (2, 0), (3, 0), (3, 0), (4, 0), (0, 9)))
    header = text.encode("utf-8", "replace").ljust(chance.choice((118, 54, 0))) + b"\n"
    form = "<H" if version == (1, 0) else "<I"
    size = struct.pack(form, min(len(header) + chance.choice((0, 0, 0, 1, -1, 9)), 0xFFFF))
    return MAGIC + bytes(version) + size + header + chance.randbytes(chance.choice((32, 64, 0, 31)))


def _plant_traceback() -> None:
    """What NumPy raises is handed on as it is."""
    from amx.cli import matmul as command

    def read(path: str) -> object:
        with open(path, "rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)

    command._read = read


def _plant_loss() -> None:
    """The old result is gone before there is a new one."""
    from amx.cli import matmul as command

    whole: Callable[..., int] = command.run

    def run(arguments):
        Path(arguments.output).write_bytes(b"")
        return whole(arguments)

    command.run = run


FUZZER = Fuzzer("npy", matmul, change, planted={"traceback": _plant_traceback, "lost-file": _plant_loss})
