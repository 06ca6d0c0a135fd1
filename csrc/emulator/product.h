/* The products behind amxemu_tdp, one set of functions for each arithmetic path.
 *
 * A tile is 16 rows of 64 bytes: a[m][4 * k + j], b[k][4 * n + j], d[m] 16 words of 32 bit; M, N and K count
 * rows of d, words of a row of d, and words of a row of a. What a kernel leaves in d outside M x N is zeroed
 * by amxemu_tdp.
 */
#ifndef AMXEMU_PRODUCT_H
#define AMXEMU_PRODUCT_H

#include "emulator.h"

struct amxemu_product {
    uint8_t (*d)[AMXEMU_COLSB];
    const uint8_t (*a)[AMXEMU_COLSB];
    const uint8_t (*b)[AMXEMU_COLSB];
    unsigned m, n, k;
};

/* What the two 16-bit elements of a word are. Complex numbers are two float16, the real part first; a kernel
 * computes one part of the product. */
enum amxemu_float {
    AMXEMU_FLOAT_BF16,
    AMXEMU_FLOAT_FP16,
    AMXEMU_FLOAT_COMPLEX_REAL,
    AMXEMU_FLOAT_COMPLEX_IMAGINARY,
};

void amxemu_int8_scalar(const struct amxemu_product *p, int a_signed, int b_signed);
void amxemu_float_scalar(const struct amxemu_product *p, enum amxemu_float type);
void amxemu_float_row_scalar(const struct amxemu_product *p, enum amxemu_float type, unsigned row);
/* bf8: E5M2; else hf8, E4M3. On every path. */
void amxemu_fp8(const struct amxemu_product *p, int a_is_bf8, int b_is_bf8);

/* Only where amxemu_best_path() is at least AMXEMU_AVX2. */
void amxemu_int8_avx2(const struct amxemu_product *p, int a_signed, int b_signed);
void amxemu_float_avx2(const struct amxemu_product *p, enum amxemu_float type);
/* Only where it is at least AMXEMU_AVX512_VNNI, and AMXEMU_AVX512. */
void amxemu_int8_avx512_vnni(const struct amxemu_product *p, int a_signed, int b_signed);
void amxemu_float_avx512(const struct amxemu_product *p, enum amxemu_float type);
/* Whether FTZ takes for tiny what is tiny when it has been rounded, as hardware does (SDM vol. 1, 4.9.1.5);
 * QEMU 7.2 does so before. */
int amxemu_flushes_what_was_rounded(void);

#endif
