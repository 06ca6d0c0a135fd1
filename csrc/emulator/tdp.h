/* The products behind amxemu_tdp, one set of functions for each arithmetic path.
 *
 * A tile is 16 rows of 64 bytes: a[m][4 * k + j], b[k][4 * n + j], d[m] 16 words of 32 bit; M, N and K count
 * rows of d, words of a row of d, and words of a row of a. What a kernel leaves in d outside M x N is zeroed
 * by amxemu_tdp.
 */
#ifndef AMXEMU_TDP_H
#define AMXEMU_TDP_H

#include "emulator.h"

struct amxemu_product {
    uint8_t (*d)[AMXEMU_COLSB];
    const uint8_t (*a)[AMXEMU_COLSB];
    const uint8_t (*b)[AMXEMU_COLSB];
    unsigned m, n, k;
};

void amxemu_int8_scalar(const struct amxemu_product *p, int a_signed, int b_signed);
void amxemu_float_scalar(const struct amxemu_product *p, int is_fp16);
void amxemu_float_row_scalar(const struct amxemu_product *p, int is_fp16, unsigned row);

/* Only where amxemu_best_path() is AMXEMU_AVX2. */
void amxemu_int8_avx2(const struct amxemu_product *p, int a_signed, int b_signed);
void amxemu_float_avx2(const struct amxemu_product *p, int is_fp16);

#endif
