"""Quantised weights of others, as `amx.Quantized`: what ONNX, GPTQ and AWQ store for a linear layer.

All of them store a matrix (K, N), whose product with x (M, K) is wanted; here it is (N, K), as in
`torch.nn.Linear`. Arrays are taken from any library, such as tensors that safetensors read. GPTQ and AWQ pack
eight values of 4 bits into an int32, from the lowest bits up. Nothing is read from files here.
"""

from __future__ import annotations

import numpy as np

from amx import errors
from amx.arrays import Array, as_array
from amx.quantized import Quantized, whole

__all__ = ["from_awq", "from_gptq", "from_onnx"]

_AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)  # the place in a word of each of its columns
_ZEROS_LESS = {"gptq": 1, "gptq_v2": 0}  # what was taken from zero points before they were stored


def from_onnx(b: object, scale: object, zero_point: object = 0) -> Quantized:
    """The second operand of ONNX's QLinearMatMul, MatMulInteger, or DequantizeLinear before MatMul.

    Parameters
    ----------
    b: int8 or uint8 (K, N); copied.
    scale: float32 or float16; one, or one for each column: (), (1,), (N,) or (1, N).
    zero_point: integers, likewise. 0 where the model has none.

    Returns
    -------
    Quantized (N, K), of `axis` 0 where there is a scale for each column.

    Raises
    ------
    DtypeError: elements of other types, such as ONNX's int4.
    ShapeError: `b` is no matrix, or scale and zero point do not fit it.
    QuantizationError: a scale that is not finite and above 0, or a zero point that is not of `b`'s type.
    """
    matrix = _matrix(b, "b")
    if matrix.dtype not in (np.int8, np.uint8):
        raise errors.DtypeError(
            f"b is an array of {matrix.dtype}",
            cause="8-bit weights are int8 or uint8",
            remedy="pass it as the model has it; what packs 4 bits otherwise, unpack into amx.Quantized",
        )
    n = matrix.shape[1]
    each, zeros = _of_columns(scale, n, "scale"), _of_columns(zero_point, n, "zero_point")
    values = np.ascontiguousarray(matrix.T)
    return Quantized(values, each, zeros, None if each.ndim == 0 else 0)


def from_gptq(
    qweight: object,
    qzeros: object,
    scales: object,
    g_idx: object = None,
    *,
    group: int | None = None,
    checkpoint_format: str = "gptq",
) -> Quantized:
    """A layer of 4 bits that GPTQ has quantised, as AutoGPTQ and GPTQModel store it.

    Parameters
    ----------
    qweight: int32 (K / 8, N), eight rows in a word.
    qzeros: int32 (groups, N / 8), eight columns in a word.
    scales: float16 (groups, N); float32 and bfloat16 too.
    g_idx: integers (K,), the group of each row. Where groups are not adjacent rows ("act-order", `desc_act`),
        the columns of the result are sorted by group, and its `order` says whose they are.
    group: `group_size` of quantize_config.json, -1 for a single group; None where K divides by the groups.
    checkpoint_format: `"gptq"`, where zero points are stored less one, or `"gptq_v2"`, as they are.

    Returns
    -------
    Quantized (N, K) of uint4 with groups.

    Raises
    ------
    DtypeError: words that are not int32, or values of another width than 4 bits.
    ShapeError: shapes that do not fit each other.
    QuantizationError: a `checkpoint_format` that is none of these, a scale that is 0 or not finite, or a
        `g_idx` with groups of different lengths.

    Notes
    -----
    Under `"gptq"` a stored 15 is the zero point 16, as AutoGPTQ reads it. Some writers stored it for 0 too,
    and others then changed what is beside it in the word: what it was cannot be told from such a checkpoint.
    """
    words, zero_words, each, length = _parts(qweight, qzeros, scales, group, down=8)
    if checkpoint_format not in tuple(_ZEROS_LESS):
        raise errors.QuantizationError(
            f"checkpoint_format={checkpoint_format!r}",
            cause="it says whether zero points are stored less one",
            remedy=f"name one of these: {', '.join(_ZEROS_LESS)}",
        )
    zeros = _nibbles(zero_words).T.astype(np.int32) + _ZEROS_LESS[checkpoint_format]
    values = _nibbles(np.ascontiguousarray(words.T))
    order = None if g_idx is None else _order(g_idx, 8 * len(words), length)
    if order is not None:
        values = values.take(order, axis=1)
    return Quantized(values, each.T, zeros, 0, length, "uint4", order)


def from_awq(qweight: object, qzeros: object, scales: object, *, group: int | None = None) -> Quantized:
    """A layer of 4 bits that AWQ has quantised, in the layout that AutoAWQ calls GEMM.

    Parameters
    ----------
    qweight: int32 (K, N / 8); a word has its columns in the places 0, 4, 1, 5, 2, 6, 3, 7.
    qzeros: int32 (groups, N / 8), likewise.
    scales: float16 (groups, N); float32 and bfloat16 too.
    group: `q_group_size` of the configuration, -1 for a single group; None where K divides by the groups.

    Returns
    -------
    Quantized (N, K) of uint4 with groups.

    Raises
    ------
    DtypeError: words that are not int32, or values of another width than 4 bits.
    ShapeError: shapes that do not fit each other, such as those of the layout GEMV.
    QuantizationError: a scale that is 0 or not finite.
    """
    words, zero_words, each, length = _parts(qweight, qzeros, scales, group, down=1)
    values, zeros = (
        _nibbles(packed).reshape(*packed.shape, 8)[:, :, _AWQ_ORDER].reshape(len(packed), each.shape[1]).T
        for packed in (words, zero_words)
    )
    return Quantized(np.ascontiguousarray(values), each.T, zeros, 0, length, "uint4")


def _parts(
    qweight: object, qzeros: object, scales: object, group: int | None, *, down: int
) -> tuple[Array, Array, Array, int]:
    """Words of values and of zero points, scales (groups, N), and how many rows a group has.

    A word of `qweight` has values of so many rows, `down`: all 8, or 1 and then 8 columns.
    """
    words, zero_words, each = _words(qweight, "qweight"), _words(qzeros, "qzeros"), _matrix(scales, "scales")
    groups, n = each.shape
    _check_columns(n, zero_words)
    what = "(K / 8, N)" if down == 8 else "(K, N / 8)"
    _check_shape(words, (len(words), n * down // 8), "qweight", what)
    length = _group_length(down * len(words), groups, group)
    _check_shape(zero_words, (groups, n // 8), "qzeros", "(groups, N / 8)")
    return words, zero_words, each, length


def _nibbles(words: Array) -> Array:
    """(rows, words) as uint8 (rows, 8 * words), the lowest bits first."""
    pairs = np.ascontiguousarray(words, "<u4").view(np.uint8)
    values = np.empty((words.shape[0], 8 * words.shape[1]), np.uint8)
    np.bitwise_and(pairs, 15, out=values[:, 0::2])
    np.right_shift(pairs, 4, out=values[:, 1::2])
    return values


def _order(g_idx: object, k: int, length: int) -> Array | None:
    """The rows sorted by their group, or None if they are."""
    groups = as_array(g_idx, "g_idx")
    if groups.dtype.kind not in "iu":
        raise errors.DtypeError(
            f"g_idx is an array of {groups.dtype}",
            cause="it has the number of each row's group",
            remedy="pass it as it was stored, in int32",
        )
    _check_shape(groups, (k,), "g_idx", "(K,)")
    order = np.argsort(groups, kind="stable")
    if not np.array_equal(groups[order], np.arange(k) // length):
        raise errors.QuantizationError(
            f"g_idx has groups that are not of {length} rows",
            cause="each group has as many rows as the others, the last one perhaps fewer",
            remedy="pass the group that the checkpoint was made with, or quantise again",
        )
    return None if np.array_equal(order, np.arange(k)) else order


def _group_length(k: int, groups: int, group: int | None) -> int:
    if group is None and (groups == 0 or k % groups):
        raise errors.ShapeError(
            f"{groups} groups of K = {k}",
            cause="they do not divide it evenly, so their length is not known",
            remedy="pass group, which the configuration calls group_size or q_group_size",
        )
    length = max(k, 1) if group == -1 else max(k // groups, 1) if group is None else whole(group, "group")
    if length < 1 or -(-k // length) != groups:
        raise errors.ShapeError(
            f"group={group} with {groups} groups of K = {k}",
            cause="scales has a row for each group, and K / group is another number",
            remedy="pass group_size or q_group_size of the configuration",
        )
    return length


def _check_columns(n: int, zero_words: Array) -> None:
    """Of other widths there are more or fewer words for the columns."""
    bits = 32 * zero_words.shape[1] / n if n else 4
    if bits in (2, 3, 8):
        raise errors.DtypeError(
            f"qzeros has {zero_words.shape[1]} words for the {n} columns of scales: {bits:g} bits for each",
            cause="only checkpoints of 4 bits are read",
            remedy="quantise the layer to 4 or to 8 bits with amx.quantize()",
        )
    if n % 8:
        raise errors.ShapeError(
            f"scales has {n} columns",
            cause="eight of them are packed into each word of qzeros",
            remedy="pass scales (groups, N) as they were stored, not transposed",
        )


def _words(source: object, name: str) -> Array:
    words = _matrix(source, name)
    if words.dtype.kind not in "iu" or words.dtype.itemsize != 4:
        raise errors.DtypeError(
            f"{name} is an array of {words.dtype}",
            cause="eight values of 4 bits are packed into an int32",
            remedy="pass it as it was stored, without a conversion",
        )
    return words


def _matrix(source: object, name: str) -> Array:
    array = as_array(source, name)
    if array.ndim != 2:
        raise errors.ShapeError(
            f"{name} has shape {array.shape}", cause="it is a matrix", remedy="pass one layer's at a time"
        )
    return array


def _of_columns(source: object, n: int, name: str) -> Array:
    array = as_array(source, name)
    if array.shape not in ((), (1,), (n,), (1, n)):
        raise errors.ShapeError(
            f"{name} has shape {array.shape}",
            cause=f"there is one for all, or one for each of the {n} columns",
            remedy="pass what the node has",
        )
    return array.reshape(()) if array.size == 1 else array.reshape(n)


def _check_shape(array: Array, shape: tuple[int, ...], name: str, what: str) -> None:
    if array.shape != shape:
        raise errors.ShapeError(
            f"{name} has shape {array.shape}",
            cause=f"by the other arrays {what} is {shape}",
            remedy="pass all arrays of one layer as they were stored, in this layout",
        )
