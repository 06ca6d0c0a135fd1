/* The products on AVX2, FMA and F16C, equal to tdp_scalar.c in every bit.
 *
 * Both operands are first widened into two planes, the even and the odd elements of each 32-bit word. Then a
 * word of A against a row of B is one instruction for eight columns: VPMADDWD for bytes as 16-bit words
 * (a0*b0 + a2*b2, at most 2 * 255^2, so nothing saturates), VFMADD for halves as binary32. Rows are
 * multiplied in blocks, rounded up to a whole block: a tile always has 16, and what the surplus leaves in d
 * is zeroed by amxemu_tdp. Nothing here depends on data outside the shape, which may hold anything.
 */
#include "mxcsr.h"
#include "product.h"

#ifdef __x86_64__
#include <immintrin.h>

#define AVX2     __attribute__((target("avx2,fma,f16c")))
#define NOINLINE __attribute__((noinline))

enum { WORDS = AMXEMU_COLSB / 4, LANES = 8 };

/* plane[row][word]: two 16-bit integers, or one binary32 */
struct planes {
    _Alignas(32) uint32_t even[AMXEMU_ROWS][WORDS];
    _Alignas(32) uint32_t odd[AMXEMU_ROWS][WORDS];
};

static unsigned round_up(unsigned rows, unsigned block) {
    return (rows + block - 1) / block * block;
}

AVX2 static inline __m256i load(const void *from) {
    return _mm256_loadu_si256((const __m256i *)from);
}
AVX2 static inline void store(void *to, __m256i x) {
    _mm256_storeu_si256((__m256i *)to, x);
}
AVX2 static inline __m256i broadcast(uint32_t word) {
    return _mm256_set1_epi32((int)word);
}

AVX2 static void widen_bytes(struct planes *to, const uint8_t (*tile)[AMXEMU_COLSB], unsigned rows,
                             int is_signed) {
    for (unsigned r = 0; r < rows; r++)
        for (unsigned w = 0; w < WORDS; w += LANES) {
            const __m256i x = load(tile[r] + 4 * w);
            if (is_signed) {
                store(&to->even[r][w], _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8));
                store(&to->odd[r][w], _mm256_srai_epi16(x, 8));
            } else {
                store(&to->even[r][w], _mm256_and_si256(x, _mm256_set1_epi16(0xFF)));
                store(&to->odd[r][w], _mm256_srli_epi16(x, 8));
            }
        }
}

/* 4 rows by 16 words of d in 8 registers. */
enum { INT8_BLOCK = 4 };

AVX2 void amxemu_int8_avx2(const struct amxemu_product *p, int a_signed, int b_signed) {
    struct planes a, b;
    widen_bytes(&a, p->a, round_up(p->m, INT8_BLOCK), a_signed);
    widen_bytes(&b, p->b, p->k, b_signed);

    for (unsigned m = 0; m < p->m; m += INT8_BLOCK) {
        __m256i d[INT8_BLOCK][2];
        for (unsigned i = 0; i < INT8_BLOCK; i++) {
            d[i][0] = load(p->d[m + i]);
            d[i][1] = load(p->d[m + i] + 4 * LANES);
        }
        for (unsigned k = 0; k < p->k; k++) {
            const __m256i even0 = load(&b.even[k][0]), even1 = load(&b.even[k][LANES]);
            const __m256i odd0 = load(&b.odd[k][0]), odd1 = load(&b.odd[k][LANES]);
            for (unsigned i = 0; i < INT8_BLOCK; i++) {
                const __m256i even = broadcast(a.even[m + i][k]), odd = broadcast(a.odd[m + i][k]);
                d[i][0] = _mm256_add_epi32(d[i][0], _mm256_madd_epi16(even, even0));
                d[i][1] = _mm256_add_epi32(d[i][1], _mm256_madd_epi16(even, even1));
                d[i][0] = _mm256_add_epi32(d[i][0], _mm256_madd_epi16(odd, odd0));
                d[i][1] = _mm256_add_epi32(d[i][1], _mm256_madd_epi16(odd, odd1));
            }
        }
        for (unsigned i = 0; i < INT8_BLOCK; i++) {
            store(p->d[m + i], d[i][0]);
            store(p->d[m + i] + 4 * LANES, d[i][1]);
        }
    }
}

AVX2 static void widen_bf16(struct planes *to, const uint8_t (*tile)[AMXEMU_COLSB], unsigned rows) {
    for (unsigned r = 0; r < rows; r++)
        for (unsigned w = 0; w < WORDS; w += LANES) {
            const __m256i x = load(tile[r] + 4 * w);
            store(&to->even[r][w], _mm256_slli_epi32(x, 16));
            store(&to->odd[r][w], _mm256_and_si256(x, _mm256_set1_epi32((int)0xFFFF0000)));
        }
}

AVX2 static void widen_fp16(struct planes *to, const uint8_t (*tile)[AMXEMU_COLSB], unsigned rows) {
    /* in each half of the register: the low halves of its 4 words, then the high ones */
    const __m256i apart =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    enum { EVEN_LOW_ODD_HIGH = 0xD8 };
    for (unsigned r = 0; r < rows; r++)
        for (unsigned w = 0; w < WORDS; w += LANES) {
            const __m256i x = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(load(tile[r] + 4 * w), apart),
                                                       EVEN_LOW_ODD_HIGH);
            store(&to->even[r][w], _mm256_castps_si256(_mm256_cvtph_ps(_mm256_castsi256_si128(x))));
            store(&to->odd[r][w], _mm256_castps_si256(_mm256_cvtph_ps(_mm256_extracti128_si256(x, 1))));
        }
}

/* As factors_of_a in tdp_scalar.c. */
AVX2 static void choose_part(struct planes *a, unsigned rows, enum amxemu_float type) {
    const __m256i sign = _mm256_set1_epi32((int)0x80000000);
    for (unsigned r = 0; r < rows; r++)
        for (unsigned w = 0; w < WORDS; w += LANES) {
            const __m256i real = load(&a->even[r][w]), imaginary = load(&a->odd[r][w]);
            if (type == AMXEMU_FLOAT_COMPLEX_REAL) {
                store(&a->odd[r][w], _mm256_xor_si256(imaginary, sign));
            } else {
                store(&a->even[r][w], imaginary);
                store(&a->odd[r][w], real);
            }
        }
}

AVX2 static inline __m256 load_float(const void *from) {
    return _mm256_loadu_ps((const float *)from);
}

/* 2 rows by 16 words, an even and an odd chain for each: 8 registers. */
enum { FLOAT_BLOCK = 2 };

/* To be called with the default MXCSR: exact, but QEMU 7.2 has VCVTPH2PS obey DAZ, which it does not know.
 * Not inlined, as multiply_float is not, so that nothing moves out of the stretch in which its MXCSR is set.
 */
AVX2 NOINLINE static void widen_float(const struct amxemu_product *p, enum amxemu_float type,
                                      struct planes *a, struct planes *b) {
    if (type == AMXEMU_FLOAT_BF16) {
        widen_bf16(a, p->a, round_up(p->m, FLOAT_BLOCK));
        widen_bf16(b, p->b, p->k);
    } else {
        widen_fp16(a, p->a, round_up(p->m, FLOAT_BLOCK));
        widen_fp16(b, p->b, p->k);
    }
    if (type == AMXEMU_FLOAT_COMPLEX_REAL || type == AMXEMU_FLOAT_COMPLEX_IMAGINARY)
        choose_part(a, round_up(p->m, FLOAT_BLOCK), type);
}

/* Returns the rows that have a NaN in them as a mask, with d unchanged there: which NaN comes out is not
 * VFMADD's to say (tdp_scalar.c does those rows). To be called with the tile unit's MXCSR. */
AVX2 NOINLINE static unsigned multiply_float(const struct amxemu_product *p, const struct planes *a,
                                             const struct planes *b) {
    const unsigned columns = (1u << p->n) - 1;
    unsigned nan_rows = 0;

    for (unsigned m = 0; m < p->m; m += FLOAT_BLOCK) {
        __m256 even[FLOAT_BLOCK][2], odd[FLOAT_BLOCK][2];
        for (unsigned i = 0; i < FLOAT_BLOCK; i++)
            even[i][0] = even[i][1] = odd[i][0] = odd[i][1] = _mm256_setzero_ps();
        for (unsigned k = 0; k < p->k; k++) {
            const __m256 even0 = load_float(&b->even[k][0]), even1 = load_float(&b->even[k][LANES]);
            const __m256 odd0 = load_float(&b->odd[k][0]), odd1 = load_float(&b->odd[k][LANES]);
            for (unsigned i = 0; i < FLOAT_BLOCK; i++) {
                const __m256 a_even = _mm256_castsi256_ps(broadcast(a->even[m + i][k]));
                const __m256 a_odd = _mm256_castsi256_ps(broadcast(a->odd[m + i][k]));
                even[i][0] = _mm256_fmadd_ps(a_even, even0, even[i][0]);
                even[i][1] = _mm256_fmadd_ps(a_even, even1, even[i][1]);
                odd[i][0] = _mm256_fmadd_ps(a_odd, odd0, odd[i][0]);
                odd[i][1] = _mm256_fmadd_ps(a_odd, odd1, odd[i][1]);
            }
        }
        for (unsigned i = 0; i < FLOAT_BLOCK; i++) {
            uint8_t *row = p->d[m + i];
            const __m256 d0 = _mm256_add_ps(load_float(row), _mm256_add_ps(even[i][0], odd[i][0]));
            const __m256 d1 =
                _mm256_add_ps(load_float(row + 4 * LANES), _mm256_add_ps(even[i][1], odd[i][1]));
            const unsigned nan = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(d0, d0, _CMP_UNORD_Q)) |
                                 (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(d1, d1, _CMP_UNORD_Q)) << LANES;
            if (nan & columns) {
                nan_rows |= 1u << (m + i);
            } else {
                store(row, _mm256_castps_si256(d0));
                store(row + 4 * LANES, _mm256_castps_si256(d1));
            }
        }
    }
    return nan_rows;
}

/* Not inlined, and of volatile operands, so that the CPU computes it and no compiler. */
AVX2 NOINLINE static float multiply_add(const volatile float operands[3]) {
    const __m128 a = _mm_set_ss(operands[0]), b = _mm_set_ss(operands[1]), c = _mm_set_ss(operands[2]);
    return _mm_cvtss_f32(_mm_fmadd_ss(a, b, c));
}

int amxemu_flushes_what_was_rounded(void) {
    const float least_normal = 0x1p-126f;
    const volatile float operands[] = {-0x1p-64f, 0x1p-124f, least_normal};
    const uint32_t mxcsr = amxemu_exchange_mxcsr(AMXEMU_TILE_UNIT_MXCSR);
    const float rounded_up = multiply_add(operands);
    amxemu_exchange_mxcsr(mxcsr);
    return rounded_up == least_normal;
}

void amxemu_float_avx2(const struct amxemu_product *p, enum amxemu_float type) {
    struct planes a, b;
    const uint32_t mxcsr = amxemu_exchange_mxcsr(AMXEMU_RESET_MXCSR);
    widen_float(p, type, &a, &b);
    amxemu_exchange_mxcsr(AMXEMU_TILE_UNIT_MXCSR);
    const unsigned nan_rows = multiply_float(p, &a, &b);
    amxemu_exchange_mxcsr(mxcsr);
    for (unsigned row = 0; row < p->m; row++)
        if (nan_rows >> row & 1)
            amxemu_float_row_scalar(p, type, row);
}
#endif
