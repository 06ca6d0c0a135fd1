"""What a matrix product must be, written from docs/numerics.md in NumPy and independent of the C code.

Integers: NumPy's int64 product, modulo 2**32. Floats: the defined order, one fused multiply-add at a time
    over whole matrices. A product of two bfloat16 or float16 values has at most 22 significant bits, so
    product plus float32 addend in float64 followed by one rounding to float32 is the fused result.
"""

import numpy as np

CHUNK = 32  # elements of K that are summed in their own pair of chains before they reach the accumulator
TINY = np.float64(2.0**-126)
DEFAULT_NAN = 0xFFC00000


def integer_product(a, b):
    """int32, modulo 2**32."""
    wide = np.matmul(a.astype(np.int64), b.astype(np.int64))
    return (wide & 0xFFFFFFFF).astype(np.uint32).view(np.int32)


def float_product(a, b, element, total=None):
    """float32 bits of (M, K) times (K, N), added to `total`; a, b: bit patterns (uint16) of the element."""
    a, b = _widen(a, element), _widen(b, element)
    m, k = a.shape
    n = b.shape[1]
    total = np.zeros((m, n), np.float32) if total is None else total
    zero_a, zero_b = np.zeros((m, 1), np.float32), np.zeros((1, n), np.float32)
    for start in range(0, k, CHUNK):
        even, odd = np.zeros((m, n), np.float32), np.zeros((m, n), np.float32)
        end = min(start + CHUNK, k)
        for i in range(start, end, 2):
            even = fma(a[:, i : i + 1], b[i : i + 1, :], even)
            last = i + 1 == end  # an odd last element meets +0
            odd = fma(zero_a if last else a[:, i + 1 : i + 2], zero_b if last else b[i + 1 : i + 2, :], odd)
        total = add(total, add(even, odd))
    return total.view(np.uint32)


def fma(a, b, c):
    """float32 a * b + c, rounded once to nearest even, tiny results flushed; first NaN of a, b, c wins."""
    with np.errstate(all="ignore"):
        exact = a.astype(np.float64) * b.astype(np.float64) + c.astype(np.float64)
    return _finish(exact, a, b, c)


def add(x, y):
    """float32 x + y, likewise."""
    with np.errstate(all="ignore"):
        exact = x.astype(np.float64) + y.astype(np.float64)
    return _finish(exact, x, y)


def _finish(exact, *operands):
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
        # Tininess is detected after rounding as if the exponent had no bound: round a copy scaled far from
        # the bottom.
        unbounded = (exact * 2.0**100).astype(np.float32).astype(np.float64) * 2.0**-100
        tiny = np.abs(unbounded) < TINY
    bits = rounded.view(np.uint32).copy()
    bits[tiny] &= 0x80000000
    nan = np.isnan(exact)
    if nan.any():
        chosen = np.full(exact.shape, DEFAULT_NAN, np.uint32)
        for operand in reversed(operands):
            operand = np.broadcast_to(operand, exact.shape)
            chosen = np.where(np.isnan(operand), _bits(operand) | 0x00400000, chosen)
        bits[nan] = chosen[nan]
    return bits.view(np.float32)


def _bits(array):
    return np.ascontiguousarray(array).view(np.uint32)


def _widen(pattern, element):
    pattern = np.ascontiguousarray(pattern, dtype=np.uint16)
    if element == "bfloat16":
        word = pattern.astype(np.uint32) << 16
        denormal = (word & 0x7F800000) == 0
        return np.where(denormal, word & 0x80000000, word).astype(np.uint32).view(np.float32)
    sign = (pattern.astype(np.uint32) & 0x8000) << 16
    exponent, mantissa = (pattern >> 10) & 31, (pattern & 0x3FF).astype(np.uint32)
    number = np.ldexp(
        1.0 * np.where(exponent == 0, mantissa, mantissa | 0x400), np.maximum(exponent, 1).astype(int) - 25
    )
    word = number.astype(np.float32).view(np.uint32)
    special = 0x7F800000 | (mantissa << 13) | np.where(mantissa != 0, 0x00400000, 0).astype(np.uint32)
    return (np.where(exponent == 31, special, word) | sign).astype(np.uint32).view(np.float32)
