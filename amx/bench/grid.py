"""Which products are measured: presets, and shapes as the command line writes them."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from amx.dtypes import NAMES, Element

__all__ = ["PRESETS", "Case", "Dtype", "Shape", "parse_case", "parse_preset"]


class Dtype(enum.Enum):
    """What is multiplied. INT8: by int8, into int32; the floats into float32."""

    INT8 = "int8"
    BF16 = "bf16"
    FP16 = "fp16"

    @property
    def element(self) -> Element:
        """The operands' element type."""
        return {Dtype.INT8: Element.INT8, Dtype.BF16: Element.BFLOAT16, Dtype.FP16: Element.FLOAT16}[self]

    @property
    def exact(self) -> bool:
        """Whether the product has one right result, whatever the order of additions."""
        return self is Dtype.INT8


@dataclass(frozen=True, slots=True)
class Shape:
    """(M, K) by (K, N), `batch` times with operands of their own each time.

    `ld`, the leading dimension, is the number of elements from one row to the next in both operands and in
    the result of the kernel; None where rows lie next to each other.
    """

    m: int
    n: int
    k: int
    batch: int = 1
    ld: int | None = None

    @property
    def operations(self) -> int:
        """Multiplications and additions: 2 M N K for each of the batch."""
        return 2 * self.m * self.n * self.k * self.batch

    def bytes(self, dtype: Dtype) -> int:
        """The least a product moves: each operand read once, the result written once."""
        size = dtype.element.size
        return self.batch * (size * (self.m * self.k + self.k * self.n) + 4 * self.m * self.n)

    def intensity(self, dtype: Dtype) -> float:
        """Operations per byte moved."""
        return self.operations / self.bytes(dtype)

    def __str__(self) -> str:
        batch = "" if self.batch == 1 else f"{self.batch}x"
        ld = "" if self.ld is None else f"@{self.ld}"
        return f"{batch}{self.m}x{self.n}x{self.k}{ld}"


@dataclass(frozen=True, slots=True)
class Case:
    """One product to measure, or the `layer` whose product it is."""

    shape: Shape
    dtype: Dtype
    layer: bool = False

    def __str__(self) -> str:
        return f"{'layer:' if self.layer else ''}{self.shape}:{self.dtype.value}"


def _square(*sizes: int) -> tuple[Shape, ...]:
    return tuple(Shape(size, size, size) for size in sizes)


PRESETS: dict[str, tuple[Shape, ...]] = {
    "square": _square(16, 32, 64, 128, 256, 512, 1024, 2048, 4096),
    # tokens x features of a 7B model: projections, and the wide layer of its MLP
    "llm": (*(Shape(m, 4096, 4096) for m in (1, 16, 128, 512)), Shape(128, 11008, 4096)),
    # attention: scores (M N K = 128 128 64) and values, for 64 heads
    "batch": (Shape(128, 128, 64, 64), Shape(128, 64, 128, 64)),
    "skinny": (
        *(Shape(m, 1024, 1024) for m in (1, 4, 8, 16, 32)),
        Shape(1024, 16, 1024),
        Shape(1024, 1024, 16),
        Shape(16, 16, 4096),
    ),
    # nothing tuned for: primes, tails in every dimension, M != N != K, and leading dimensions that are powers
    # of two and not, both of whole arrays and of parts of larger ones
    "odd": (
        *_square(67, 100, 131, 333, 1000, 1537),
        Shape(127, 509, 251),
        Shape(500, 300, 700),
        Shape(1000, 1003, 997),
        Shape(1000, 1024, 1024),
        Shape(1000, 1040, 1088),
        *(Shape(333, 333, 333, ld=ld) for ld in (512, 528)),
        *(Shape(1000, 1000, 1000, ld=ld) for ld in (1024, 1040, 4096)),
    ),
    # what this project measures itself by (goals.py)
    "goals": (
        *_square(64, 128, 256, 512, 1024, 2048, 4096),
        *(Shape(m, 4096, 4096) for m in (1, 16, 128, 512)),
        Shape(128, 11008, 4096),
        Shape(128, 64, 128, 64),
        Shape(128, 128, 64, 64),
    ),
    # of transformers, small and large: (K, N) of a layer, for one row and for many
    "layers": tuple(
        Shape(m, n, k)
        for k, n in ((384, 1536), (768, 3072), (4096, 4096), (4096, 11008))
        for m in (1, 128, 512)
    ),
}
OF_LAYERS = ("layers",)  # presets

_SHAPE = re.compile(r"(layer:)?(?:(\d+)x)?(\d+)x(\d+)x(\d+)(?:@(\d+))?(?::(\w+))?", re.ASCII)


def parse_case(text: str, dtypes: tuple[Dtype, ...]) -> tuple[Case, ...]:
    """The products that `MxNxK`, `BxMxNxK`, either with `@LD`, `:dtype` or both stands for; or the layers.

    Without a dtype: one for each of `dtypes`.

    Raises
    ------
    ValueError: it is no such text, a dimension is 0, rows are longer than LD, the dtype is unknown, or a
        layer has a batch or an LD.
    """
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is neither a preset ({', '.join(PRESETS)}) nor a shape (MxNxK or BxMxNxK, with "
            "@LD, :dtype, both or neither; layer:MxNxK, with :dtype or without, for a layer)"
        )
    layer, batch, m, n, k, ld, dtype = match.groups()
    shape = Shape(int(m), int(n), int(k), int(batch or 1), None if ld is None else int(ld))
    if shape.operations == 0:
        raise ValueError(f"{text!r} has a dimension of 0: there is nothing to measure")
    if shape.ld is not None and shape.ld < (longest := max(shape.n, shape.k)):
        raise ValueError(
            f"{text!r}: rows of {longest} elements do not fit a leading dimension of {shape.ld}, which has "
            "to be at least N and K"
        )
    if layer and (shape.batch > 1 or shape.ld is not None):
        raise ValueError(f"{text!r}: a layer has neither a batch nor a leading dimension: leave them out")
    chosen = dtypes if dtype is None else (parse_dtype(dtype),)
    return tuple(Case(shape, each, layer is not None) for each in chosen)


def parse_dtype(text: str) -> Dtype:
    """The dtype of that name, or of another that `amx.matmul` knows; a ValueError names those there are."""
    for dtype in Dtype:
        if dtype.element is NAMES.get(text):
            return dtype
    raise ValueError(f"dtype {text!r} is none of {', '.join(each.value for each in Dtype)}")


def parse_preset(text: str, dtypes: tuple[Dtype, ...]) -> tuple[Case, ...]:
    """The products of a preset, or of a shape, in the order in which they are measured.

    Raises
    ------
    ValueError: as `parse_case`.
    """
    if text in PRESETS:
        return tuple(Case(shape, dtype, text in OF_LAYERS) for dtype in dtypes for shape in PRESETS[text])
    return parse_case(text, dtypes)
