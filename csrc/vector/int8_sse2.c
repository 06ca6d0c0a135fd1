/* Integers on any x86-64: words.inc.h has the contract. 2 rows of 16 columns: 8 registers of C, 4 of B, one
 * of A, one for a product. */
#include "vector/families.h"

#ifdef __x86_64__
#include <emmintrin.h>

#define WORDS_NAME sse2
#define WORDS_TARGET
#define WORDS_VECTOR      __m128i
#define WORDS_BYTES       16
#define WORDS_ROWS        2
#define WORDS_TILES       1
#define WORDS_LOAD(p)     _mm_loadu_si128((const __m128i *)(p))
#define WORDS_STORE(p, x) _mm_storeu_si128((__m128i *)(p), x)
#define WORDS_ZERO()      _mm_setzero_si128()
#define WORDS_WORD(p)     _mm_castps_si128(_mm_load1_ps((const float *)(p)))
#define WORDS_LOW(x, s)                                                                                      \
    ((s) ? _mm_srai_epi16(_mm_slli_epi16(x, 8), 8) : _mm_and_si128(x, _mm_set1_epi16(0xFF)))
#define WORDS_HIGH(x, s) ((s) ? _mm_srai_epi16(x, 8) : _mm_srli_epi16(x, 8))
#define WORDS_MADD(s0, s1, a, b0, b1)                                                                        \
    ((s0) = _mm_add_epi32(s0, _mm_madd_epi16(a, b0)), (s1) = _mm_add_epi32(s1, _mm_madd_epi16(a, b1)))
#define WORDS_KEEP(x)         __asm__("" : "+x"(x))
#define WORDS_PLUS(sum, a, b) _mm_add_epi32(sum, _mm_madd_epi16(a, b))
#include "vector/words.inc.h"

const struct vector_family vector_int8_sse2 = {
    .name = "sse2",
    .rows = WORDS_ROWS,
    .tiles = WORDS_TILES,
    .cycles = 1312,
    .a_bytes = WORDS_A_CHUNK,
    .b_bytes = WORDS_B_CHUNK,
    .prepare_a = words_sse2_prepare_a,
    .multiply = words_sse2_multiply,
    .few = WORDS_FEW,
    .multiply_few = words_sse2_multiply_few,
};
#endif
