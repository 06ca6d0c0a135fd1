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
    conjugates: bool = True  # the product of imaginary parts counts negatively
    negates_a: bool = True  # by the sign of a, not of b: a NaN shows it
    imaginary_of_a_first: bool = True  # in the even chain of an imaginary part
    fp8_denormals: bool = True  # 8-bit denormals keep their value
    hf8_finite: bool = True  # E4M3 has numbers where IEEE has infinity and NaN
    one_rounding: bool = True  # 8-bit products are added exactly; False: one by one, rounded each time
    fp8_default_nan: bool = True  # any NaN gives the default one
    fp8_sees_denormal_d: bool = True  # a denormal d beside a sum of zero keeps its sign


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


def widen_fp8(x: int, fraction_bits: int, bias: int, rules: Rules = HARDWARE) -> int:
    """E5M2 (2, 15) or E4M3 (3, 7) bits as binary32 bits: exact, denormals become normal, NaN quiet."""
    sign, biased, fraction = (x & 0x80) << 24, (x & 0x7F) >> fraction_bits, x & (1 << fraction_bits) - 1
    whole = fraction_bits == 3 and rules.hf8_finite
    top = (1 << 7 - fraction_bits) - 1
    if biased == top and (fraction == 7 if whole else True):
        return sign | INFINITY | fraction << 23 - fraction_bits | (QUIET if fraction else 0)
    if biased == 0:
        if fraction == 0 or not rules.fp8_denormals:
            return sign
        leading = fraction.bit_length() - 1
        exponent = leading - fraction_bits + 1 - bias
        return sign | exponent + 127 << 23 | (fraction << 23 - leading & 0x7FFFFF)
    return sign | biased - bias + 127 << 23 | fraction << 23 - fraction_bits


FP8 = {  # formats of a and b: fraction bits and bias
    "tdpbf8ps": ((2, 15), (2, 15)),
    "tdpbhf8ps": ((2, 15), (3, 7)),
    "tdphbf8ps": ((3, 7), (2, 15)),
    "tdphf8ps": ((3, 7), (3, 7)),
}
COMPLEX = ("tcmmrlfp16ps", "tcmmimfp16ps")
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
        factors = [(widen(x & 0xFFFF), widen(y & 0xFFFF)), (widen(x >> 16), widen(y >> 16))]
        if name in COMPLEX:
            factors = complex_factors(name, factors, rules)
        even = fma(*factors[0], even, rules)
        if rules.two_chains:
            odd = fma(*factors[1], odd, rules)
        else:
            even = fma(*factors[1], even, rules)
    return with_d(d, even, odd, rules)


def complex_factors(name: str, factors: list[tuple[int, int]], rules: Rules) -> list[tuple[int, int]]:
    """What is multiplied for the even and for the odd chain; in: (real, real), (imaginary, imaginary)."""
    (real_a, real_b), (imaginary_a, imaginary_b) = factors
    if name == "tcmmimfp16ps":
        crossed = [(imaginary_a, real_b), (real_a, imaginary_b)]
        return crossed if rules.imaginary_of_a_first else crossed[::-1]
    if rules.conjugates and rules.negates_a:
        imaginary_a ^= SIGN
    elif rules.conjugates:
        imaginary_b ^= SIGN
    return [(real_a, real_b), (imaginary_a, imaginary_b)]


def fp8_value(x: int, fraction_bits: int, rules: Rules) -> int | None:
    """A finite 8-bit float in units of its smallest denormal number; None for infinities and NaN."""
    biased, fraction = (x & 0x7F) >> fraction_bits, x & (1 << fraction_bits) - 1
    magnitude = (
        fraction * rules.fp8_denormals if biased == 0 else (fraction | 1 << fraction_bits) << biased - 1
    )
    if widen_fp8(x, fraction_bits, 0, rules) & INFINITY == INFINITY:
        return None
    return -magnitude if x & 0x80 else magnitude


def fp8_element(name: str, d: int, a: list[int], b: list[int], rules: Rules = HARDWARE) -> int:
    """One element of d from words of four 8-bit floats each: an exact sum, rounded once, added to d."""
    formats = FP8[name]
    pairs = [(x >> s & 0xFF, y >> s & 0xFF) for x, y in zip(a, b, strict=True) for s in (0, 8, 16, 24)]
    wide = [tuple(widen_fp8(x, *f, rules) for x, f in zip(pair, formats, strict=True)) for pair in pairs]
    products = [fma(x, y, SIGN, rules) for x, y in wide]  # exact
    if not rules.one_rounding:
        total = 0
        for product_ in products:
            total = add(total, product_, rules)
        return add(d, total, rules)
    nans = [x for x in (d, *products) if is_nan(x)]
    if nans:
        return rules.default_nan if rules.fp8_default_nan else nans[0]
    infinities = {x for x in products if x & ~SIGN == INFINITY}
    if len(infinities) == 2:
        return rules.default_nan
    if infinities:
        return add(d, infinities.pop(), rules)
    unit = sum(1 - bias - fraction_bits for fraction_bits, bias in formats)  # a product's is 2**unit
    exact = 0
    for (x, y), (f, g) in ((pair, formats) for pair in pairs):
        exact += fp8_value(x, f[0], rules) * fp8_value(y, g[0], rules)
    if not rules.separate_sum and d & INFINITY != INFINITY:
        return rounded((exact << UNIT + unit) + (value(d, rules) << 149), 0, rules)
    total = rounded(exact << UNIT + unit, 0, rules)
    denormal = d & INFINITY == 0 and d & ~SIGN
    if total == 0 and denormal and rules.fp8_sees_denormal_d:
        return d & SIGN
    return add(d, total, rules)


def with_d(d: int, even: int, odd: int, rules: Rules) -> int:
    """The two chains and what was in d."""
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
        if name in FP8:
            return fp8_element(name, d[m][n], a[m], columns[n], rules)
        return float_element(name, d[m][n], a[m], columns[n], rules)

    return [[element(m, n) for n in range(len(columns))] for m in range(len(a))]


def from_int32(x: int) -> int:
    """Binary32 bits of a two's complement number, to nearest even."""
    return rounded((x - 2**32 if x & SIGN else x) << UNIT, 0, HARDWARE)


def to_half(x: int, fraction_bits: int, bias: int, denormals: bool) -> int:
    """Bfloat16 (7, 127) or half precision (10, 15) bits of a binary32 number, to nearest even.

    With `denormals` results below the smallest normal number are denormal; operands are zero there anyway.
    """
    sign, dropped = x >> 16 & 0x8000, 23 - fraction_bits
    top = 2 * bias + 1
    if is_nan(x):
        return sign | top << fraction_bits | (x | QUIET) % 2**23 >> dropped
    exact = abs(value(x))  # of 2**-149
    # the representable numbers are whole multiples of a unit, which grows with the number
    smallest_unit = 149 + 1 - bias - fraction_bits
    unit = max(exact.bit_length() - 1 - fraction_bits, smallest_unit if denormals else 0)
    count, rest = exact >> unit, exact & (1 << unit) - 1
    count += 2 * rest > 1 << unit or (2 * rest == 1 << unit and count & 1)
    if count == 0:
        return sign
    biased = count.bit_length() - 1 + unit - 149 + bias
    if x & INFINITY == INFINITY or biased >= top:
        return sign | top << fraction_bits
    if biased <= 0:
        return sign | count
    fraction = count << fraction_bits >> count.bit_length() - 1
    return sign | biased << fraction_bits | fraction % (1 << fraction_bits)


ROWS = {  # what becomes of a word
    "tilemovrow": lambda x: x,
    "tcvtrowd2ps": from_int32,
    "tcvtrowps2bf16h": lambda x: to_half(x, 7, 127, denormals=False) << 16,
    "tcvtrowps2bf16l": lambda x: to_half(x, 7, 127, denormals=False),
    "tcvtrowps2phh": lambda x: to_half(x, 10, 15, denormals=True) << 16,
    "tcvtrowps2phl": lambda x: to_half(x, 10, 15, denormals=True),
}
