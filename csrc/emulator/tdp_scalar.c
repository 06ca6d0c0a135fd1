/* The reference for every tile product: each element in the order the instruction defines. */
#include "tdp.h"

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

static uint32_t widen_half(uint32_t half, int is_fp16) {
    return is_fp16 ? amxemu_from_fp16((uint16_t)half) : amxemu_from_bf16((uint16_t)half);
}

/* Even and odd elements of K run in two chains from +0; d comes last and first in NaN priority. */
void amxemu_float_row_scalar(const struct amxemu_product *p, int is_fp16, unsigned row) {
    for (unsigned n = 0; n < p->n; n++) {
        uint32_t even = 0, odd = 0;
        for (unsigned k = 0; k < p->k; k++) {
            const uint32_t a = load32(p->a[row], k), b = load32(p->b[k], n);
            even = amxemu_fma32(widen_half(a & 0xFFFF, is_fp16), widen_half(b & 0xFFFF, is_fp16), even);
            odd = amxemu_fma32(widen_half(a >> 16, is_fp16), widen_half(b >> 16, is_fp16), odd);
        }
        store32(p->d[row], n, amxemu_add32(load32(p->d[row], n), amxemu_add32(even, odd)));
    }
}

void amxemu_float_scalar(const struct amxemu_product *p, int is_fp16) {
    for (unsigned m = 0; m < p->m; m++)
        amxemu_float_row_scalar(p, is_fp16, m);
}
