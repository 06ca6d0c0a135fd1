/* How one binary32 multiply-add comes out, bit for bit. docs/numerics.md has the definition. */
#include "float32.h"

#define SIGN        UINT32_C(0x80000000)
#define INFINITE    UINT32_C(0x7F800000)
#define FRACTION    UINT32_C(0x007FFFFF)
#define QUIET       UINT32_C(0x00400000)
#define DEFAULT_NAN UINT32_C(0xFFC00000)
#define ONE         UINT32_C(0x3F800000)

enum { FRACTION_BITS = 23, MAX_BIASED = 255, INTEGER_BIAS = 127 + FRACTION_BITS };

/* significand * 2^exponent, nonzero, normalised to bit 62 so that a sum has room for its carry. */
struct term {
    uint64_t significand;
    int exponent;
    uint32_t sign;
};
enum { TOP = 62 };

static int is_nan(uint32_t x) {
    return (x & ~SIGN) > INFINITE;
}
static int is_infinite(uint32_t x) {
    return (x & ~SIGN) == INFINITE;
}
static int is_zero(uint32_t x) {
    return (x & INFINITE) == 0;
} /* denormals are zeros here */
static uint32_t denormal_to_zero(uint32_t x) {
    return is_zero(x) ? x & SIGN : x;
}
static uint32_t significand_of(uint32_t x) {
    return (x & FRACTION) | (FRACTION + 1);
}
static int exponent_of(uint32_t x) {
    return (int)((x & INFINITE) >> FRACTION_BITS) - INTEGER_BIAS;
}

static struct term normalised(uint64_t value, int power, uint32_t sign) {
    const int shift = __builtin_clzll(value) - (63 - TOP);
    return (struct term){value << shift, power - shift, sign};
}

/* Shift right; any bit lost stays visible in the lowest one. */
static uint64_t shift_right_sticky(uint64_t value, int shift) {
    if (shift > 63)
        return value != 0;
    return value >> shift | ((value & ((UINT64_C(1) << shift) - 1)) != 0);
}

static uint32_t rounded(uint64_t value, int power, uint32_t sign) {
    const int msb = 63 - __builtin_clzll(value);
    int drop = msb - FRACTION_BITS;

    if (drop > 0) {
        const uint64_t half = UINT64_C(1) << (drop - 1);
        const uint64_t rest = value & (2 * half - 1);
        value >>= drop;
        value += rest > half || (rest == half && (value & 1));
        if (value >> (FRACTION_BITS + 1)) {
            value >>= 1;
            drop++;
        }
    } else {
        value <<= -drop;
    }
    const int biased = power + drop + INTEGER_BIAS;
    if (biased >= MAX_BIASED)
        return sign | INFINITE;
    if (biased <= 0)
        return sign;
    return sign | (uint32_t)biased << FRACTION_BITS | ((uint32_t)value & FRACTION);
}

/* The smaller term is shifted to the larger one's exponent. Bits get lost only when the exponents differ by
 * more than 14 (a product has 48 bits of 63), where cancellation is at most one bit: one sticky bit then
 * rounds right. */
static uint32_t sum(struct term x, struct term y) {
    if (x.exponent < y.exponent) {
        const struct term smaller = x;
        x = y;
        y = smaller;
    }
    y.significand = shift_right_sticky(y.significand, x.exponent - y.exponent);
    if (x.sign == y.sign)
        return rounded(x.significand + y.significand, x.exponent, x.sign);
    if (x.significand == y.significand)
        return 0; /* exact cancellation is +0 when rounding to nearest */
    if (x.significand > y.significand)
        return rounded(x.significand - y.significand, x.exponent, x.sign);
    return rounded(y.significand - x.significand, x.exponent, y.sign);
}

uint32_t amxemu_fma32(uint32_t a, uint32_t b, uint32_t c) {
    if (is_nan(a))
        return a | QUIET;
    if (is_nan(b))
        return b | QUIET;
    if (is_nan(c))
        return c | QUIET;
    c = denormal_to_zero(c);

    const uint32_t sign = (a ^ b) & SIGN;
    if (is_infinite(a) || is_infinite(b)) {
        if (is_zero(a) || is_zero(b) || (is_infinite(c) && c != (sign | INFINITE)))
            return DEFAULT_NAN;
        return sign | INFINITE;
    }
    if (is_infinite(c))
        return c;
    if (is_zero(a) || is_zero(b)) {
        if (is_zero(c))
            return c & sign; /* -0 only from two negative zeros */
        return c;
    }
    const struct term product =
        normalised((uint64_t)significand_of(a) * significand_of(b), exponent_of(a) + exponent_of(b), sign);
    if (is_zero(c))
        return rounded(product.significand, product.exponent, sign);
    return sum(product, normalised(significand_of(c), exponent_of(c), c & SIGN));
}

uint32_t amxemu_add32(uint32_t x, uint32_t y) {
    return amxemu_fma32(x, ONE, y);
}

uint32_t amxemu_from_bf16(uint16_t x) {
    return (uint32_t)x << 16;
}

uint32_t amxemu_from_fp16(uint16_t x) {
    enum { FP16_FRACTION = 10, FP16_MAX = 31, REBIAS = 127 - 15 };
    const uint32_t sign = (uint32_t)(x & 0x8000) << 16;
    const uint32_t biased = x >> FP16_FRACTION & FP16_MAX;
    const uint32_t fraction = x & 0x3FF;

    if (biased == FP16_MAX) {
        const uint32_t wide = sign | INFINITE | fraction << (FRACTION_BITS - FP16_FRACTION);
        return fraction ? wide | QUIET : wide;
    }
    if (biased)
        return sign | (biased + REBIAS) << FRACTION_BITS | fraction << (FRACTION_BITS - FP16_FRACTION);
    if (fraction == 0)
        return sign;
    const int shift =
        __builtin_clz(fraction) - (31 - FP16_FRACTION); /* makes the leading bit the hidden one */
    return sign | (uint32_t)(REBIAS + 1 - shift) << FRACTION_BITS |
           ((fraction << shift & 0x3FF) << (FRACTION_BITS - FP16_FRACTION));
}

uint32_t amxemu_from_int32(int32_t x) {
    if (x == 0)
        return 0;
    return x < 0 ? rounded(-(uint64_t)x, 0, SIGN) : rounded((uint64_t)x, 0, 0);
}

uint32_t amxemu_from_fixed(int64_t high, int64_t low, int power) {
    const int64_t carry = low >> 32;
    uint64_t upper = (uint64_t)(high + carry);
    uint64_t lower = (uint64_t)low & UINT32_MAX;
    uint32_t sign = 0;

    if (high + carry < 0) {
        sign = SIGN;
        upper = ~upper + (lower == 0);
        lower = -lower & UINT32_MAX;
    }
    if (upper == 0 && lower == 0)
        return 0;
    if (upper >> 32 == 0)
        return rounded(upper << 32 | lower, power, sign);
    /* more than 32 bits are left, so one bit stands for those below */
    return rounded(upper << 1 | (lower != 0), power + 31, sign);
}

uint16_t amxemu_to_bf16(uint32_t x) {
    enum { DROPPED = 16 };
    if (is_nan(x))
        return (uint16_t)((x | QUIET) >> DROPPED);
    x = denormal_to_zero(x);
    return (uint16_t)((x + 0x7FFF + (x >> DROPPED & 1)) >> DROPPED);
}

uint16_t amxemu_to_fp16(uint32_t x) {
    enum { DROPPED = 13, MIN_NORMAL = -14, MAX_NORMAL = 15, FP16_FRACTION = 10, FP16_INFINITE = 0x7C00 };
    const uint16_t sign = (uint16_t)(x >> 16 & 0x8000);
    const int exponent = exponent_of(x) + FRACTION_BITS; /* of the leading bit */

    if (is_nan(x))
        return (uint16_t)(sign | FP16_INFINITE | ((x | QUIET) & FRACTION) >> DROPPED);
    if (is_zero(x))
        return sign;
    if (exponent > MAX_NORMAL)
        return sign | FP16_INFINITE;
    const int drop = exponent < MIN_NORMAL ? DROPPED + MIN_NORMAL - exponent : DROPPED;
    if (drop > FRACTION_BITS + 1)
        return sign;
    const uint32_t significand = significand_of(x);
    const uint32_t half = UINT32_C(1) << (drop - 1), rest = significand & (2 * half - 1);
    uint32_t kept = significand >> drop;
    kept += rest > half || (rest == half && (kept & 1));
    /* the leading bit, and a carry out of rounding, count up the exponent */
    const uint32_t below = exponent < MIN_NORMAL ? 0 : (uint32_t)(exponent - MIN_NORMAL);
    return (uint16_t)(sign | ((below << FP16_FRACTION) + kept));
}
