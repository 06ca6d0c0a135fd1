/* Integers on AVX2: words.inc.h has the contract. 4 rows of 16 columns: 8 registers of C, 2 of B, one of A,
 * two for products. VPMADDWD and VPADDD of two sums stand together, since compilers add products up in
 * another order and run out of registers. */
#include "emulator/vectors.h"
#include "vector/families.h"

#ifdef __x86_64__
#include <immintrin.h>

#define WORDS_NAME        avx2
#define WORDS_TARGET      __attribute__((target("avx2")))
#define WORDS_VECTOR      __m256i
#define WORDS_BYTES       32
#define WORDS_ROWS        4
#define WORDS_TILES       1
#define WORDS_LOAD(p)     _mm256_loadu_si256((const __m256i *)(p))
#define WORDS_STORE(p, x) _mm256_storeu_si256((__m256i *)(p), x)
#define WORDS_ZERO()      _mm256_setzero_si256()
#define WORDS_WORD(p)     _mm256_castps_si256(_mm256_broadcast_ss((const float *)(p)))
#define WORDS_LOW(x, s)                                                                                      \
    ((s) ? _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8) : _mm256_and_si256(x, _mm256_set1_epi16(0xFF)))
#define WORDS_HIGH(x, s) ((s) ? _mm256_srai_epi16(x, 8) : _mm256_srli_epi16(x, 8))
#define WORDS_MADD(s0, s1, a, b0, b1)                                                                        \
    do {                                                                                                     \
        __m256i p0, p1;                                                                                      \
        __asm__("vpmaddwd %5, %4, %2\n\tvpmaddwd %6, %4, %3\n\tvpaddd %2, %0, %0\n\tvpaddd %3, %1, %1"       \
                : "+x"(s0), "+x"(s1), "=&x"(p0), "=&x"(p1)                                                   \
                : "x"(a), "x"(b0), "x"(b1));                                                                 \
    } while (0)
#define WORDS_KEEP(x)         __asm__("" : "+x"(x))
#define WORDS_PLUS(sum, a, b) _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
#include "vector/words.inc.h"

const struct vector_family vector_int8_avx2 = {
    .name = "avx2",
    .needs = AMXEMU_HAS_AVX2,
    .rows = WORDS_ROWS,
    .tiles = WORDS_TILES,
    .cycles = 656,
    .a_bytes = WORDS_A_CHUNK,
    .b_bytes = WORDS_B_CHUNK,
    .prepare_a = words_avx2_prepare_a,
    .multiply = words_avx2_multiply,
    .few = WORDS_FEW,
    .multiply_few = words_avx2_multiply_few,
};
#endif
