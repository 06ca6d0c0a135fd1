"""The definition of docs/numerics.md, "Quantisation", in exact fractions: each operation rounded to binary32.

Shares no code with the package, and needs no floating-point unit.
"""

import itertools
from fractions import Fraction

INFINITY = "infinity"
LEVELS = {"int8": (-128, 127), "uint8": (0, 255), "uint4": (0, 15)}
SYMMETRIC = {"int8": (-127, 127, 0), "uint8": (1, 255, 128), "uint4": (0, 15, 8)}
SMALLEST = Fraction(1, 2**126)
LARGEST_FLOAT16 = 65504


def scale_of_4_bits(scale):
    """To the nearest binary16, ties to even, where that is normal."""
    exponent = next(
        (e for e in range(-15, 16) if 2 ** Fraction(e) <= abs(scale) < 2 ** Fraction(e + 1)), None
    )
    if exponent is None:
        return scale
    unit = Fraction(2) ** (max(exponent, -14) - 10)
    half = round(scale / unit) * unit  # Python rounds half to even
    return half if Fraction(2) ** -14 <= abs(half) <= LARGEST_FLOAT16 else scale


def rounded(number):
    """To the nearest binary32, ties to even, with denormals; INFINITY beyond (of either sign)."""
    number = Fraction(number)
    if number == 0:
        return number
    exponent = abs(number.numerator).bit_length() - number.denominator.bit_length()
    if abs(number) < Fraction(2) ** exponent:
        exponent -= 1
    unit = Fraction(2) ** (max(exponent, -126) - 23)
    result = round(number / unit) * unit  # Python rounds half to even
    return INFINITY if abs(result) >= 2**128 else result


def slice_of(numbers, dtype, symmetric):
    """(scale, zero point, values) of one slice, a list of fractions that are binary32."""
    low, high = min([Fraction(0), *numbers]), max([Fraction(0), *numbers])
    first, last = LEVELS[dtype]
    if not symmetric:
        span = rounded(high - low)
        if span == INFINITY:
            half = rounded(rounded(high / 2) - rounded(low / 2))
            scale = rounded(half / Fraction(last - first, 2))
        else:
            scale = max(rounded(span / (last - first)), SMALLEST) if span else Fraction(1)
        scale = scale_of_4_bits(scale) if dtype == "uint4" else scale
        inverse = rounded(1 / scale)
        zero = clip(first + round(rounded(-low * inverse)), first, last)
    else:
        first, last, zero = SYMMETRIC[dtype]
        most = max(high, -low)
        if most == 0:
            scale = Fraction(1)
        elif dtype != "uint4":
            scale = max(rounded(most / 127), SMALLEST)
        else:
            signed = next(number for number in numbers if abs(number) == most)
            scale = scale_of_4_bits(max(rounded(most / 8), SMALLEST) * (-1 if signed > 0 else 1))
        inverse = rounded(1 / scale)
    return scale, zero, [clip(round(rounded(x * inverse)) + zero, first, last) for x in numbers]


def clip(number, low, high):
    return max(low, min(high, number))


def slices(shape, axis, group):
    """The indices that share a scale, by the index of that scale."""
    scales = () if axis is None else (shape[axis],)
    if group is not None:
        scales = (shape[0], -(-shape[1] // group))
    found = {key: [] for key in itertools.product(*map(range, scales))}
    for index in itertools.product(*map(range, shape)):
        key = () if axis is None else (index[axis],)
        found[key if group is None else (index[0], index[1] // group)].append(index)
    return found


def real_of(value, zero, scale):
    """What a value stands for."""
    return rounded(rounded(value - zero) * scale)
