"""What a tile product computes, exact in Python integers: written from docs/numerics.md, not the C code.

`Rules` are the instruction's; each field changed by itself is a plausible mistake, and the tests show that
the C code does not make it. A tile is a list of rows of 32-bit words.
"""

from __future__ import annotations

from dataclasses import dataclass

SIGN, INFINITY, QUIET = 0x80000000, 0x7F800000, 0x00400000
UNIT = 298  # sums are integers in units of 2**-298: exact for a product of any two binary32 numbers
SMALLEST_NORMAL = 1 << UNIT - 126
OVERFLOW = 1 << UNIT + 128


@dataclass(frozen=True)
class Rules:
    """How a float product is done; the defaults are the hardware's."""

    nan_order: tuple[int, int, int] = (0, 1, 2)  # of a, b, c
    default_nan: int = 0xFFC00000
    denormals_are_zero: bool = True
    tiny_after_rounding: bool = True
    tiny_keeps_sign: bool = True
    even_first: bool = True  # even + odd, not odd + even
    dst_first: bool = True  # d + sum, not sum + d
    separate_sum: bool = True  # chains start from +0; False: the even chain starts from d
    fp16_denormals: bool = True  # float16 denormals keep their value
    two_chains: bool = True  # even and odd elements apart; False: one chain through all


HARDWARE = Rules()


def is_nan(x: int) -> bool:
    """Whether these binary32 bits are a NaN."""
    return x & ~SIGN > INFINITY


def value(x: int, rules: Rules = HARDWARE) -> int:
    """A finite binary32 number in units of 2**-149."""
    biased, fraction = x >> 23 & 0xFF, x & 0x7FFFFF
    if biased == 0:
        magnitude = 0 if rules.denormals_are_zero else fraction
    else:
        magnitude = (fraction | 0x800000) << biased - 1
    return -magnitude if x & SIGN else magnitude


def rounded(exact: int, sign_of_zero: int, rules: Rules) -> int:
    """Binary32 nearest to `exact` units of 2**-298, ties to even, with the rule for tiny results."""
    if exact == 0:
        return sign_of_zero
    sign = SIGN if exact < 0 else 0
    magnitude = abs(exact)
    drop = max(magnitude.bit_length() - 24, 0)
    kept, rest = magnitude >> drop, magnitude & (1 << drop) - 1
    if rest * 2 > 1 << drop or (drop and rest * 2 == 1 << drop and kept & 1):
        kept += 1
    nearest = kept << drop
    if (nearest if rules.tiny_after_rounding else magnitude) < SMALLEST_NORMAL:
        return sign if rules.tiny_keeps_sign else 0
    if nearest >= OVERFLOW:
        return sign | INFINITY
    biased = nearest.bit_length() - 1 - UNIT + 127
    return sign | biased << 23 | nearest >> nearest.bit_length() - 24 & 0x7FFFFF


def fma(a: int, b: int, c: int, rules: Rules = HARDWARE) -> int:
    """Binary32 bits of a * b + c, rounded once."""
    for which in rules.nan_order:
        operand = (a, b, c)[which]
        if is_nan(operand):
            return operand | QUIET
    sign = (a ^ b) & SIGN
    infinite = [x & ~SIGN == INFINITY for x in (a, b, c)]
    if infinite[0] or infinite[1]:
        zero = any(x & ~SIGN == 0 or (x & INFINITY == 0 and rules.denormals_are_zero) for x in (a, b))
        if zero or (infinite[2] and c & SIGN != sign):
            return rules.default_nan
        return sign | INFINITY
    if infinite[2]:
        return c
    product, addend = value(a, rules) * value(b, rules), value(c, rules) << 149
    # An exact zero sum is -0 only where both parts are -0.
    both_negative = product == 0 and addend == 0 and sign and c & SIGN
    return rounded(product + addend, SIGN if both_negative else 0, rules)


def add(x: int, y: int, rules: Rules = HARDWARE) -> int:
    """Binary32 bits of x + y; NaN order x, y."""
    return fma(x, 0x3F800000, y, Rules(**{**vars(rules), "nan_order": (0, 1, 2)}))


def widen_bf16(x: int) -> int:
    """Bfloat16 bits as binary32 bits."""
    return x << 16


def widen_fp16(x: int) -> int:
    """Half precision bits as binary32 bits: exact, denormals become normal, NaN becomes quiet."""
    sign, biased, fraction = (x & 0x8000) << 16, x >> 10 & 31, x & 0x3FF
    if biased == 31:
        return sign | INFINITY | fraction << 13 | (QUIET if fraction else 0)
    if biased == 0:
        if fraction == 0:
            return sign
        top = fraction.bit_length() - 1  # fraction * 2**-24
        return sign | top - 24 + 127 << 23 | (fraction << 23 - top & 0x7FFFFF)
    return sign | biased - 15 + 127 << 23 | fraction << 13


SIGNED = {  # of a and b
    "tdpbssd": (True, True),
    "tdpbsud": (True, False),
    "tdpbusd": (False, True),
    "tdpbuud": (False, False),
}
Tile = list[list[int]]


def float_element(name: str, d: int, a: list[int], b: list[int], rules: Rules = HARDWARE) -> int:
    """One element of d from a row of a and a column of b, words of two 16-bit elements each."""

    def widen(x: int) -> int:
        if name == "tdpbf16ps":
            return widen_bf16(x)
        return widen_fp16(x if rules.fp16_denormals or x & 0x7C00 else x & 0x8000)

    even, odd = 0 if rules.separate_sum else d, 0
    for x, y in zip(a, b, strict=True):
        even = fma(widen(x & 0xFFFF), widen(y & 0xFFFF), even, rules)
        if rules.two_chains:
            odd = fma(widen(x >> 16), widen(y >> 16), odd, rules)
        else:
            even = fma(widen(x >> 16), widen(y >> 16), even, rules)
    total = add(even, odd, rules) if rules.even_first else add(odd, even, rules)
    if not rules.separate_sum:
        return total
    return add(d, total, rules) if rules.dst_first else add(total, d, rules)


def int8_element(name: str, d: int, a: list[int], b: list[int]) -> int:
    """One element of d from words of four 8-bit elements each, modulo 2**32."""

    def elements(words: list[int], signed: bool) -> list[int]:
        parts = [word >> shift & 0xFF for word in words for shift in (0, 8, 16, 24)]
        return [part - 256 if signed and part > 127 else part for part in parts]

    a_signed, b_signed = SIGNED[name]
    products = (x * y for x, y in zip(elements(a, a_signed), elements(b, b_signed), strict=True))
    return (d + sum(products)) % 2**32


def product(name: str, d: Tile, a: Tile, b: Tile, rules: Rules = HARDWARE) -> Tile:
    """The new d (M rows of N words) from a (M of K) and b (K of N)."""
    columns = [list(column) for column in zip(*b, strict=True)]

    def element(m: int, n: int) -> int:
        if name in SIGNED:
            return int8_element(name, d[m][n], a[m], columns[n])
        return float_element(name, d[m][n], a[m], columns[n], rules)

    return [[element(m, n) for n in range(len(columns))] for m in range(len(a))]
