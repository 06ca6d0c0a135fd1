/* The reference for every tile product: each element in the order the instruction defines. */
#include "product.h"

#include "float32.h"

#include <string.h>

static uint32_t load32(const uint8_t *row, unsigned i) {
    uint32_t word;
    memcpy(&word, row + 4 * i, sizeof word);
    return word;
}

static void store32(uint8_t *row, unsigned i, uint32_t word) {
    memcpy(row + 4 * i, &word, sizeof word);
}

static int32_t widen(uint8_t byte, int is_signed) {
    return is_signed ? (int8_t)byte : byte;
}

void amxemu_int8_scalar(const struct amxemu_product *p, int a_signed, int b_signed) {
    for (unsigned m = 0; m < p->m; m++)
        for (unsigned n = 0; n < p->n; n++) {
            uint32_t sum = load32(p->d[m], n); /* wraps modulo 2^32, never saturates */
            for (unsigned k = 0; k < p->k; k++)
                for (unsigned j = 0; j < 4; j++)
                    sum +=
                        (uint32_t)(widen(p->a[m][4 * k + j], a_signed) * widen(p->b[k][4 * n + j], b_signed));
            store32(p->d[m], n, sum);
        }
}

struct pair {
    uint32_t even, odd;
};

static struct pair widen_halves(uint32_t word, enum amxemu_float type) {
    const uint16_t even = (uint16_t)word, odd = (uint16_t)(word >> 16);
    if (type == AMXEMU_FLOAT_BF16)
        return (struct pair){amxemu_from_bf16(even), amxemu_from_bf16(odd)};
    return (struct pair){amxemu_from_fp16(even), amxemu_from_fp16(odd)};
}

/* What the real and the imaginary element of b are multiplied with, for one part of the complex product. A
 * NaN's sign is changed with the others'. Specification only: compared with no silicon. */
static struct pair factors_of_a(uint32_t word, enum amxemu_float type) {
    enum { SIGN = 31 };
    const struct pair a = widen_halves(word, type);
    switch (type) {
    case AMXEMU_FLOAT_COMPLEX_REAL:
        return (struct pair){a.even, a.odd ^ UINT32_C(1) << SIGN};
    case AMXEMU_FLOAT_COMPLEX_IMAGINARY:
        return (struct pair){a.odd, a.even};
    default:
        return a;
    }
}

/* Even and odd elements of K run in two chains from +0; d comes last and first in NaN priority. */
void amxemu_float_row_scalar(const struct amxemu_product *p, enum amxemu_float type, unsigned row) {
    for (unsigned n = 0; n < p->n; n++) {
        uint32_t even = 0, odd = 0;
        for (unsigned k = 0; k < p->k; k++) {
            const struct pair a = factors_of_a(load32(p->a[row], k), type);
            const struct pair b = widen_halves(load32(p->b[k], n), type);
            even = amxemu_fma32(a.even, b.even, even);
            odd = amxemu_fma32(a.odd, b.odd, odd);
        }
        store32(p->d[row], n, amxemu_add32(load32(p->d[row], n), amxemu_add32(even, odd)));
    }
}

void amxemu_float_scalar(const struct amxemu_product *p, enum amxemu_float type) {
    for (unsigned m = 0; m < p->m; m++)
        amxemu_float_row_scalar(p, type, m);
}
