#include "data.h"

#include <string.h>

/* A binary format of 8, 16 or 32 bits. */
struct format {
    unsigned fraction_bits, max_biased;
};
static const struct format BF16 = {7, 255}, FP16 = {10, 31}, FP32 = {23, 255}, BF8 = {2, 31}, HF8 = {3, 15};

static uint32_t number(struct random *r, struct format f, unsigned biased) {
    const uint32_t fraction = (uint32_t)random64(r) & ((1u << f.fraction_bits) - 1);
    const uint32_t sign = below(r, 2);
    return (sign * (f.max_biased + 1) + biased) << f.fraction_bits | fraction;
}

static uint32_t power_of_two(struct random *r, struct format f, unsigned biased) {
    return number(r, f, biased) >> f.fraction_bits << f.fraction_bits;
}

static uint32_t special(struct random *r, struct format f) {
    switch (below(r, 6)) {
    case 0: /* zero */
        return power_of_two(r, f, 0);
    case 1: /* denormal */
        return number(r, f, 0);
    case 2: /* infinity */
        return power_of_two(r, f, f.max_biased);
    case 3: /* a NaN, or by chance infinity */
        return number(r, f, f.max_biased);
    case 4: /* largest exponent */
        return number(r, f, f.max_biased - 1);
    default: /* smallest normal exponent */
        return number(r, f, 1);
    }
}

/* Each tile is of one kind: mixing everything would give NaN everywhere. */
enum kind {
    TAME,
    TAME_AND_SPECIAL,
    NEAR_UNDERFLOW, /* where products of two such are about the smallest normal binary32 */
    NEAR_OVERFLOW,
    POWERS, /* exact sums, cancellation, the boundary of tininess */
    DENORMAL,
    ANYTHING,
    KINDS,
};

static uint32_t element(struct random *r, struct format f, enum kind kind) {
    const unsigned one = f.max_biased / 2;
    const int narrow = f.max_biased < 255;
    switch (kind) {
    case TAME_AND_SPECIAL:
        if (one_in(r, 32))
            return special(r, f);
        return number(r, f, one - 4 + below(r, 8));
    case NEAR_UNDERFLOW:
        if (f.fraction_bits == FP32.fraction_bits)
            return number(r, f, below(r, 4));
        return number(r, f, narrow ? below(r, 6) : one - 66 + below(r, 6));
    case NEAR_OVERFLOW:
        if (f.fraction_bits == FP32.fraction_bits)
            return number(r, f, f.max_biased - 1 - below(r, 3));
        return number(r, f, narrow ? f.max_biased - 1 : one + 60 + below(r, 6));
    case POWERS: {
        static const uint8_t below_one[8] = {0, 0, 17, 62, 63, 63, 64, 80};
        if (f.fraction_bits == FP32.fraction_bits)
            return power_of_two(r, f, one_in(r, 2) ? 1 + below(r, 24) : one - 12 + below(r, 24));
        return power_of_two(r, f, narrow ? below(r, f.max_biased) : one - below_one[below(r, 8)]);
    }
    case DENORMAL:
        return number(r, f, one_in(r, 4) ? 1 + below(r, 2) : 0);
    case ANYTHING:
        return (uint32_t)random64(r);
    default:
        return number(r, f, one - 4 + below(r, 8));
    }
}

/* binary32 numbers around the limits of float16 */
static void fill_about_fp16(struct random *r, uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i += 4) {
        const uint32_t word = number(r, FP32, FP32.max_biased / 2 - 28 + below(r, 48));
        memcpy(bytes + i, &word, sizeof word);
    }
}

static void fill_fp8(struct random *r, enum kind kind, uint8_t *bytes, size_t size) {
    const struct format format = one_in(r, 2) ? BF8 : HF8;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)element(r, format, kind);
}

void fill_data(struct random *r, enum family family, uint8_t *bytes, size_t size) {
    const int is_float = family == FAMILY_BF16 || family == FAMILY_FP16 || family == FAMILY_COMPLEX ||
                         family == FAMILY_FP8 || family == FAMILY_ROW;
    const struct format half = family == FAMILY_BF16 ? BF16 : FP16;
    const int as_sum = one_in(r, 3) || family == FAMILY_ROW;
    const enum kind kind = (enum kind)below(r, KINDS);

    if (family == FAMILY_ROW && one_in(r, 2)) {
        fill_about_fp16(r, bytes, size);
        return;
    }
    if (family == FAMILY_FP8 && !as_sum) {
        fill_fp8(r, kind, bytes, size);
        return;
    }
    for (size_t i = 0; i < size; i += 4) {
        uint32_t word = (uint32_t)random64(r);
        if (is_float && as_sum) {
            word = element(r, FP32, kind);
        } else if (is_float) {
            const uint32_t even = element(r, half, kind), odd = element(r, half, kind);
            word = (even & 0xFFFF) | odd << 16;
        }
        memcpy(bytes + i, &word, sizeof word);
    }
}
