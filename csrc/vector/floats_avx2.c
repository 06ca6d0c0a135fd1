/* bfloat16 and float16 on AVX2, FMA and F16C: chains.inc.h has the contract. 4 rows of 16 columns: 8
 * registers of a chain, 2 of B, one of A. VFMADD stands by itself, since compilers take forms of it that need
 * copies. */
#include "emulator/vectors.h"
#include "vector/families.h"

#ifdef __x86_64__
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma,f16c")))

#define CHAINS_NAME           avx2
#define CHAINS_TARGET         AVX2
#define CHAINS_VECTOR         __m256
#define CHAINS_LANES          8
#define CHAINS_ROWS           4
#define CHAINS_TILES          1
#define CHAINS_LOAD(p)        _mm256_loadu_ps(p)
#define CHAINS_STORE(p, x)    _mm256_storeu_ps(p, x)
#define CHAINS_ZERO()         _mm256_setzero_ps()
#define CHAINS_WORD(p)        _mm256_broadcast_ss(p)
#define CHAINS_ADD(x, y)      _mm256_add_ps(x, y)
#define CHAINS_HAS_NAN(x)     (_mm256_movemask_ps(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)) != 0)
#define CHAINS_FMA(sum, a, b) __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b))
#define CHAINS_KEEP(x)        __asm__("" : "+x"(x))

/* 8 words to 8 even and 8 odd elements as binary32. */
struct chains_avx2_pair {
    __m256 even, odd;
};

AVX2 static inline struct chains_avx2_pair widen_bf16(const uint8_t *from) {
    const __m256i x = _mm256_loadu_si256((const __m256i *)from);
    return (struct chains_avx2_pair){
        _mm256_castsi256_ps(_mm256_slli_epi32(x, 16)),
        _mm256_castsi256_ps(_mm256_and_si256(x, _mm256_set1_epi32((int)0xFFFF0000))),
    };
}

AVX2 static inline struct chains_avx2_pair widen_fp16(const uint8_t *from) {
    const __m256i apart =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    enum { EVEN_LOW_ODD_HIGH = 0xD8 };
    const __m256i x = _mm256_permute4x64_epi64(
        _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *)from), apart), EVEN_LOW_ODD_HIGH);
    return (struct chains_avx2_pair){
        _mm256_cvtph_ps(_mm256_castsi256_si128(x)),
        _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1)),
    };
}

AVX2 static inline __m256 widen_numbers(enum vector_kind kind, __m128i halves) {
    return kind == VECTOR_BF16 ? _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16))
                               : _mm256_cvtph_ps(halves);
}

#define CHAINS_WIDEN(kind, from)   ((kind) == VECTOR_BF16 ? widen_bf16(from) : widen_fp16(from))
#define CHAINS_NUMBERS(kind, from) widen_numbers(kind, _mm_loadu_si128((const __m128i *)(from)))
#include "vector/chains.inc.h"

/* One row by a panel, widened in registers while B goes by: an even and an odd chain of the columns of a tile
 * are four registers, and the tiles go by in the order in which they lie. */
AVX2 static inline void add_chunk(float *sums, const float *a, const uint8_t *b,
                                  const enum vector_kind kind) {
    for (int tile = 0; tile < 2; tile++, b += VECTOR_TILE, sums += VECTOR_COLUMNS) {
        __m256 even[2], odd[2];
        even[0] = even[1] = odd[0] = odd[1] = _mm256_setzero_ps();
#pragma GCC unroll 4
        for (int word = 0; word < CHAINS_STEPS; word++) {
            const uint8_t *line = b + word * VECTOR_CHUNK;
            vector_fetch_line(line);
            const __m256 a_even = CHAINS_WORD(a + 2 * word), a_odd = CHAINS_WORD(a + 2 * word + 1);
#pragma GCC unroll 2
            for (int i = 0; i < 2; i++) {
                const struct chains_avx2_pair wide = CHAINS_WIDEN(kind, line + 32 * i);
                CHAINS_FMA(even[i], a_even, wide.even);
                CHAINS_FMA(odd[i], a_odd, wide.odd);
            }
        }
        for (int i = 0; i < 2; i++) {
            float *const sum = sums + i * CHAINS_LANES;
            CHAINS_STORE(sum, CHAINS_ADD(CHAINS_LOAD(sum), CHAINS_ADD(even[i], odd[i])));
        }
    }
}

AVX2 static inline void multiply_row(const struct vector_block *on, int64_t row,
                                     const enum vector_kind kind) {
    enum { PANEL = 2 * VECTOR_COLUMNS };
    _Alignas(64) float sums[PANEL];
    const float *a = (const float *)(on->a + row * on->a_row);
    const uint8_t *b = on->b;
    memcpy(sums, on->from + row * on->from_row, sizeof sums);
    for (int64_t q = 0; q < on->chunks; q++, a += 2 * CHAINS_STEPS, b += on->b_chunk) {
        add_chunk(sums, a, b, kind);
    }
    int has_nan = 0;
    for (int i = 0; i < PANEL; i += CHAINS_LANES) {
        has_nan |= CHAINS_HAS_NAN(CHAINS_LOAD(sums + i));
    }
    if (has_nan) {
        vector_redo(on, row, 1, sums, PANEL);
    } else {
        memcpy(on->c + row * on->c_row, sums, sizeof sums);
    }
}

AVX2 static void multiply_few(const struct vector_block *on) {
    for (int64_t row = 0; row < on->rows; row++) {
        if (on->kind == VECTOR_BF16) {
            multiply_row(on, row, VECTOR_BF16);
        } else {
            multiply_row(on, row, VECTOR_FP16);
        }
    }
}

const struct vector_family vector_floats_avx2 = {
    .name = "avx2",
    .needs = AMXEMU_HAS_AVX2,
    .rows = CHAINS_ROWS,
    .tiles = 1,
    .cycles = 512,
    .a_bytes = CHAINS_A_CHUNK,
    .b_bytes = CHAINS_B_CHUNK,
    .prepare_a = chains_avx2_prepare_a,
    .multiply = chains_avx2_multiply,
    .few = 1,
    .multiply_few = multiply_few,
};
#endif
