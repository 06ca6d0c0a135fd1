"""`amx matmul`: the product of two matrices in .npy files."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import amx
from amx.cli import _npy
from amx.cli._files import STANDARD, reading, refusal, writing
from amx.cli._streams import print_error
from amx.dtypes import NAMES
from amx.printable import printable

__all__ = ["add_parser", "run"]

SCHEMA = 1


@dataclass(frozen=True)
class Report:
    """One product: what was multiplied, by what, and how fast (reading and writing files aside)."""

    output: str
    shape: tuple[int, ...]
    dtype: str
    backend: str
    threads: int
    seconds: float
    gops: float

    def __str__(self) -> str:
        return (
            f"{printable(self.output)}: {self.shape} {self.dtype}, {self.backend} backend, "
            f"{self.threads} thread(s), {self.seconds:.6f} s, {self.gops:.1f} GOP/s"
        )


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "matmul",
        help="multiply two matrices in .npy files",
        description="Write the product of A and B: int8 and uint8 give int32, bfloat16 and float16 float32. "
        "- is the standard input for A or B, and for C the standard output; the report then goes to the "
        "standard error.",
    )
    parser.add_argument("a", metavar="A.npy")
    parser.add_argument("b", metavar="B.npy")
    parser.add_argument("-o", "--output", metavar="C.npy", required=True)
    parser.add_argument(
        "--dtype",
        metavar="{bfloat16,bf16,float16,fp16}",
        type=_dtype,
        help="round float32 inputs to this type; bfloat16 also for uint16 inputs that hold bfloat16",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=run, usage_error=parser.error)


def run(arguments: argparse.Namespace) -> int:
    """Multiply, write and report; a file that cannot be read or written is status 2."""
    if arguments.a == arguments.b == STANDARD:
        arguments.usage_error("A and B cannot both be the standard input")
    if refused := refusal(arguments.output):
        return _unusable(f"cannot write {arguments.output}: {refused}")
    try:
        a, b = _read(arguments.a), _read(arguments.b)
    except ValueError as error:
        return _unusable(error)
    with warnings.catch_warnings():  # the report names the backend; `amx explain` says why
        warnings.simplefilter("ignore", amx.AmxWarning)
        multiply = amx.matmul
        with contextlib.suppress(amx.errors.DtypeError):  # which the product reports
            amx.plan(1, 1, 1, arguments.dtype or a.dtype.name)  # what is decided once is not its time
        start = time.perf_counter()
        try:
            c: NDArray[Any] = multiply(a, b, dtype=arguments.dtype)
        except amx.errors.DtypeError as error:
            raise _in_our_words(error, arguments) from error
        seconds = time.perf_counter() - start
        plan = _plan(a, b, c, arguments.dtype or a.dtype.name)
    with writing(arguments.output) as file:
        _npy.write(file, c)
    operations = 2 * c.size * a.shape[-1]
    report = Report(
        output=arguments.output,
        shape=c.shape,
        dtype=c.dtype.name,
        backend=plan.backend.value,
        threads=plan.threads,
        seconds=seconds,
        gops=operations / seconds / 1e9,
    )
    text = json.dumps({"schema": SCHEMA, **asdict(report)}) if arguments.json else str(report)
    print(text, file=sys.stderr if arguments.output == STANDARD else sys.stdout)
    return 0


def _dtype(text: str) -> str:
    """What `amx.matmul` calls a type that inputs can be rounded to."""
    element = NAMES.get(text)
    if element is None or element.size == 1:
        names = ", ".join(name for name, each in NAMES.items() if each.size == 2)
        raise argparse.ArgumentTypeError(f"{text!r} is none of {names}")
    return element.value


_OPERAND = re.compile(r"\boperand ([ab])\b")
_ARGUMENT = re.compile(r"""\bdtype=(['"]?)(\w+)\1""")


def _in_our_words(error: amx.errors.DtypeError, arguments: argparse.Namespace) -> amx.errors.DtypeError:
    """The error of `amx.matmul`, with files for operands and options for arguments."""
    what, cause, remedy = (
        _ARGUMENT.sub(r"--dtype \2", _OPERAND.sub(lambda found: str(getattr(arguments, found[1])), text))
        for text in (error.what, error.cause, error.remedy)
    )
    if "--dtype" not in remedy or "(" in remedy:  # what Python would do
        remedy = "Save it as one of these types"
    return amx.errors.DtypeError(what, cause=cause, remedy=remedy)


def _plan(a: NDArray[Any], b: NDArray[Any], c: NDArray[Any], dtype: str) -> amx.Plan:
    """How the product was cut: a vector is one row or column."""
    m = a.shape[-2] if a.ndim > 1 else 1
    n = b.shape[-1] if b.ndim > 1 else 1
    return amx.plan(m, n, a.shape[-1], dtype, batch=c.size // max(1, m * n))


def _unusable(problem: object) -> int:
    print_error(f"amx matmul: {problem}")
    return 2


def _read(path: str) -> NDArray[Any]:
    try:
        with reading(path) as file:
            array = _npy.read(file)
    except ValueError as error:
        name = "the standard input" if path == STANDARD else path
        raise ValueError(f"{name} is not a readable .npy file: {error}") from error
    # A .npy file cannot name bfloat16: NumPy writes it as two anonymous bytes.
    return array.view(np.uint16) if array.dtype == np.dtype("V2") else array
