/* The products on AVX-512, equal to tdp_scalar.c in every bit.
 *
 * A row of B is one register, sixteen rows of d are sixteen more, and a word of A is repeated in a register
 * as it is read: VPDPBUSD for bytes, VFMADD for halves as binary32, for sixteen columns at once. Of a tile
 * with at most eight rows eight are computed; what the surplus leaves in d is zeroed by amxemu_tdp. Nothing
 * here depends on data outside the shape, which may hold anything.
 */
#include "mxcsr.h"
#include "product.h"

#ifdef __x86_64__
#include <immintrin.h>
#include <string.h>

/* Tests define them otherwise where a model stands for the instructions. */
#ifndef AVX512
#define AVX512      __attribute__((target("avx512f,avx512bw")))
#define AVX512_VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))
#endif
#define INLINE   static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))

enum { WORDS = AMXEMU_COLSB / 4, FEW_ROWS = 8 };

AVX512 INLINE __m512i load(const void *from) {
    return _mm512_loadu_si512(from);
}
AVX512 INLINE void store(void *to, __m512i x) {
    _mm512_storeu_si512(to, x);
}
AVX512 INLINE __m512i repeat(const uint8_t *word) {
    int value;
    memcpy(&value, word, sizeof value);
    return _mm512_set1_epi32(value);
}

/* ---- bytes ----
 *
 * Of the factors of VPDPBUSD the first is unsigned, the second signed. Where both are of a kind, A is taken
 * 128 away from what it is, which adds 128 times the sum of B's column, or takes it away. */

struct offset_a {
    _Alignas(64) uint8_t rows[AMXEMU_ROWS][AMXEMU_COLSB];
};

AVX512 INLINE void offset_by_128(struct offset_a *to, const struct amxemu_product *p) {
    for (unsigned m = 0; m < p->m; m++)
        store(to->rows[m], _mm512_xor_si512(load(p->a[m]), _mm512_set1_epi8((char)0x80)));
}

AVX512_VNNI INLINE __m512i column_sums_times_128(const struct amxemu_product *p, const int b_signed) {
    enum { LOG2_OF_128 = 7 };
    const __m512i ones = _mm512_set1_epi8(1);
    __m512i sum = _mm512_setzero_si512();
    for (unsigned k = 0; k < p->k; k++)
        sum = b_signed ? _mm512_dpbusd_epi32(sum, ones, load(p->b[k]))
                       : _mm512_dpbusd_epi32(sum, load(p->b[k]), ones);
    return _mm512_slli_epi32(sum, LOG2_OF_128);
}

/* d += more + a * b */
AVX512_VNNI INLINE void multiply_bytes(const struct amxemu_product *p, const uint8_t (*a)[AMXEMU_COLSB],
                                       __m512i more, const int b_signed, const unsigned rows) {
    __m512i d[AMXEMU_ROWS];
#pragma GCC unroll 16
    for (unsigned m = 0; m < rows; m++)
        d[m] = _mm512_add_epi32(load(p->d[m]), more);
    for (unsigned k = 0; k < p->k; k++) {
        const __m512i b = load(p->b[k]);
#pragma GCC unroll 16
        for (unsigned m = 0; m < rows; m++)
            d[m] = b_signed ? _mm512_dpbusd_epi32(d[m], repeat(a[m] + 4 * k), b)
                            : _mm512_dpbusd_epi32(d[m], b, repeat(a[m] + 4 * k));
    }
#pragma GCC unroll 16
    for (unsigned m = 0; m < rows; m++)
        store(p->d[m], d[m]);
}

AVX512_VNNI NOINLINE static void multiply_by_signed(const struct amxemu_product *p,
                                                    const uint8_t (*a)[AMXEMU_COLSB], __m512i more) {
    if (p->m > FEW_ROWS)
        multiply_bytes(p, a, more, 1, AMXEMU_ROWS);
    else
        multiply_bytes(p, a, more, 1, FEW_ROWS);
}

AVX512_VNNI NOINLINE static void multiply_by_unsigned(const struct amxemu_product *p,
                                                      const uint8_t (*a)[AMXEMU_COLSB], __m512i more) {
    if (p->m > FEW_ROWS)
        multiply_bytes(p, a, more, 0, AMXEMU_ROWS);
    else
        multiply_bytes(p, a, more, 0, FEW_ROWS);
}

AVX512_VNNI void amxemu_int8_avx512_vnni(const struct amxemu_product *p, int a_signed, int b_signed) {
    const __m512i nothing = _mm512_setzero_si512();
    struct offset_a a;
    if (a_signed && b_signed) { /* a + 128, unsigned */
        offset_by_128(&a, p);
        multiply_by_signed(p, a.rows, _mm512_sub_epi32(nothing, column_sums_times_128(p, 1)));
    } else if (b_signed) {
        multiply_by_signed(p, p->a, nothing);
    } else if (a_signed) {
        multiply_by_unsigned(p, p->a, nothing);
    } else { /* a - 128, signed */
        offset_by_128(&a, p);
        multiply_by_unsigned(p, a.rows, column_sums_times_128(p, 0));
    }
}

/* ---- halves ---- */

/* [row][word]: what each half of B's words is multiplied with */
struct factors_of_a {
    _Alignas(64) float even[AMXEMU_ROWS][WORDS];
    _Alignas(64) float odd[AMXEMU_ROWS][WORDS];
};

/* The even or odd halves of 16 words as binary32. VCVTPH2PS knows no DAZ. */
AVX512 INLINE __m512 widen(__m512i words, const int is_bf16, const int odd) {
    static const uint16_t even_halves[2 * WORDS] = {0,  2,  4,  6,  8,  10, 12, 14,
                                                    16, 18, 20, 22, 24, 26, 28, 30};
    if (is_bf16)
        return _mm512_castsi512_ps(odd ? _mm512_and_si512(words, _mm512_set1_epi32((int)0xFFFF0000))
                                       : _mm512_slli_epi32(words, 16));
    const __m512i even = load(even_halves);
    const __m512i chosen = odd ? _mm512_add_epi16(even, _mm512_set1_epi16(1)) : even;
    return _mm512_cvtph_ps(_mm512_castsi512_si256(_mm512_permutexvar_epi16(chosen, words)));
}

/* As factors_of_a() in tdp_scalar.c. */
AVX512 INLINE void widen_a(struct factors_of_a *to, const struct amxemu_product *p, const int is_bf16,
                           enum amxemu_float type) {
    const __m512i sign = _mm512_set1_epi32((int)0x80000000);
    for (unsigned m = 0; m < p->m; m++) {
        const __m512i words = load(p->a[m]);
        const __m512i even = _mm512_castps_si512(widen(words, is_bf16, 0));
        const __m512i odd = _mm512_castps_si512(widen(words, is_bf16, 1));
        const int crosswise = type == AMXEMU_FLOAT_COMPLEX_IMAGINARY;
        store(to->even[m], crosswise ? odd : even);
        store(to->odd[m], crosswise                           ? even
                          : type == AMXEMU_FLOAT_COMPLEX_REAL ? _mm512_xor_si512(odd, sign)
                                                              : odd);
    }
}

/* The even or the odd chains of all columns, from +0. */
AVX512 INLINE void run_chain(__m512 chain[AMXEMU_ROWS], const struct amxemu_product *p,
                             const float (*a)[WORDS], const int is_bf16, const int odd, const unsigned rows) {
#pragma GCC unroll 16
    for (unsigned m = 0; m < rows; m++)
        chain[m] = _mm512_setzero_ps();
    for (unsigned k = 0; k < p->k; k++) {
        const __m512 b = widen(load(p->b[k]), is_bf16, odd);
#pragma GCC unroll 16
        for (unsigned m = 0; m < rows; m++)
            chain[m] = _mm512_fmadd_ps(_mm512_set1_ps(a[m][k]), b, chain[m]);
    }
}

/* As multiply_float() in tdp_avx2.c: the rows that have a NaN in them, with d unchanged there. */
AVX512 INLINE unsigned multiply_halves(const struct amxemu_product *p, enum amxemu_float type,
                                       const int is_bf16, const unsigned rows) {
    const unsigned columns = (1u << p->n) - 1;
    unsigned nan_rows = 0;
    struct factors_of_a a;
    float even[AMXEMU_ROWS][WORDS];
    __m512 chain[AMXEMU_ROWS];

    widen_a(&a, p, is_bf16, type);
    run_chain(chain, p, (const float (*)[WORDS])a.even, is_bf16, 0, rows);
#pragma GCC unroll 16
    for (unsigned m = 0; m < rows; m++)
        _mm512_storeu_ps(even[m], chain[m]);
    run_chain(chain, p, (const float (*)[WORDS])a.odd, is_bf16, 1, rows);
#pragma GCC unroll 16
    for (unsigned m = 0; m < rows; m++) {
        const __m512 sum = _mm512_add_ps(_mm512_loadu_ps(even[m]), chain[m]);
        const __m512 d = _mm512_add_ps(_mm512_castsi512_ps(load(p->d[m])), sum);
        if (_mm512_cmp_ps_mask(d, d, _CMP_UNORD_Q) & columns)
            nan_rows |= 1u << m;
        else
            store(p->d[m], _mm512_castps_si512(d));
    }
    return nan_rows;
}

/* Not inlined, so that nothing moves out of the stretch in which MXCSR is the tile unit's. */
AVX512 NOINLINE static unsigned multiply_bf16(const struct amxemu_product *p) {
    return p->m > FEW_ROWS ? multiply_halves(p, AMXEMU_FLOAT_BF16, 1, AMXEMU_ROWS)
                           : multiply_halves(p, AMXEMU_FLOAT_BF16, 1, FEW_ROWS);
}

AVX512 NOINLINE static unsigned multiply_fp16(const struct amxemu_product *p, enum amxemu_float type) {
    return p->m > FEW_ROWS ? multiply_halves(p, type, 0, AMXEMU_ROWS) : multiply_halves(p, type, 0, FEW_ROWS);
}

void amxemu_float_avx512(const struct amxemu_product *p, enum amxemu_float type) {
    const uint32_t mxcsr = amxemu_exchange_mxcsr(AMXEMU_TILE_UNIT_MXCSR);
    const unsigned nan_rows = type == AMXEMU_FLOAT_BF16 ? multiply_bf16(p) : multiply_fp16(p, type);
    amxemu_exchange_mxcsr(mxcsr);
    for (unsigned row = 0; row < p->m; row++)
        if (nan_rows >> row & 1)
            amxemu_float_row_scalar(p, type, row);
}
#endif
