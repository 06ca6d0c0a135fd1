/* The products of 8-bit floats: TDPBF8PS, TDPBHF8PS, TDPHBF8PS, TDPHF8PS, on every path.
 *
 * Specification only (ISE reference, revision 062, as two emulators transcribe it): all products that go
 * into one element of d are added exactly, that sum is rounded once, and then added to d.
 */
#include "float32.h"
#include "product.h"

#include <string.h>

enum kind { FINITE, INFINITE, NOT_A_NUMBER };

/* significand * 2^shift units of the format, which are its smallest denormal numbers. */
struct number {
    enum kind kind;
    int negative;
    uint32_t significand;
    unsigned shift;
};

struct format {
    unsigned fraction_bits;
    int unit; /* 2^unit */
    int has_infinities;
};
static const struct format BF8 = {2, -16, 1}; /* E5M2, as IEEE 754 would have it */
static const struct format HF8 = {3, -9, 0};  /* E4M3: S.1111.111 is a NaN, and nothing else is special */

static struct number read(uint8_t byte, const struct format *format) {
    const uint32_t hidden = UINT32_C(1) << format->fraction_bits;
    const uint32_t fraction = byte & (hidden - 1), biased = (byte & 0x7Fu) >> format->fraction_bits;
    const uint32_t largest = 0x7Fu >> format->fraction_bits;
    struct number x = {
        .kind = FINITE,
        .negative = byte >> 7,
        .significand = biased ? hidden | fraction : fraction,
        .shift = biased ? biased - 1 : 0,
    };
    if (biased == largest && format->has_infinities)
        x.kind = fraction ? NOT_A_NUMBER : INFINITE;
    else if (biased == largest && fraction == hidden - 1)
        x.kind = NOT_A_NUMBER;
    return x;
}

/* high * 2^32 + low, exact: a product is at most 49 * 2^58 units, and 64 of them are added. */
struct sum {
    int64_t high, low;
    int positive_infinity, negative_infinity;
    int invalid; /* a NaN, or infinity * 0 */
};

static void add_product(struct sum *sum, struct number x, struct number y) {
    const int negative = x.negative ^ y.negative;
    if (x.kind == NOT_A_NUMBER || y.kind == NOT_A_NUMBER) {
        sum->invalid = 1;
    } else if (x.kind == INFINITE || y.kind == INFINITE) {
        if ((x.kind == FINITE && x.significand == 0) || (y.kind == FINITE && y.significand == 0))
            sum->invalid = 1;
        else if (negative)
            sum->negative_infinity = 1;
        else
            sum->positive_infinity = 1;
    } else {
        const int64_t product = (int64_t)x.significand * y.significand;
        const unsigned shift = x.shift + y.shift;
        const int64_t shifted = product << (shift < 32 ? shift : shift - 32);
        *(shift < 32 ? &sum->low : &sum->high) += negative ? -shifted : shifted;
    }
}

static uint32_t add_to(uint32_t d, const struct sum *sum, int unit) {
    const uint32_t sign = UINT32_C(1) << 31, infinity = UINT32_C(0x7F800000);
    if (sum->invalid || (sum->positive_infinity && sum->negative_infinity) || (d & ~sign) > infinity)
        return UINT32_C(0xFFC00000); /* whatever NaN it was */
    const uint32_t rounded = sum->positive_infinity   ? infinity
                             : sum->negative_infinity ? sign | infinity
                                                      : amxemu_from_fixed(sum->high, sum->low, unit);
    /* A denormal d counts; only beside zero can that be seen: the result is tiny then, a zero of its sign. */
    if (rounded == 0 && (d & infinity) == 0 && (d & ~sign) != 0)
        return d & sign;
    return amxemu_add32(d, rounded);
}

void amxemu_fp8(const struct amxemu_product *p, int a_is_bf8, int b_is_bf8) {
    const struct format *const a = a_is_bf8 ? &BF8 : &HF8, *const b = b_is_bf8 ? &BF8 : &HF8;
    for (unsigned m = 0; m < p->m; m++)
        for (unsigned n = 0; n < p->n; n++) {
            struct sum sum = {0};
            uint32_t d;
            for (unsigned k = 0; k < p->k; k++)
                for (unsigned j = 0; j < 4; j++)
                    add_product(&sum, read(p->a[m][4 * k + j], a), read(p->b[k][4 * n + j], b));
            memcpy(&d, p->d[m] + 4 * n, sizeof d);
            d = add_to(d, &sum, a->unit + b->unit);
            memcpy(p->d[m] + 4 * n, &d, sizeof d);
        }
}
