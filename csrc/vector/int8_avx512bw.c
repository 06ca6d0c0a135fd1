/* Integers on AVX-512BW, for CPUs without VNNI: words.inc.h has the contract. 6 rows of 32 columns: 12
 * registers of C, 2 of B, one of A, two for products. */
#include "emulator/vectors.h"
#include "vector/families.h"

#ifdef __x86_64__
#include <immintrin.h>

#ifndef AVX512 /* tests put a model of the instructions in their place */
#define AVX512 __attribute__((target("avx512f,avx512bw")))
#define WORDS_MADD(s0, s1, a, b0, b1)                                                                        \
    do {                                                                                                     \
        __m512i p0, p1;                                                                                      \
        __asm__("vpmaddwd %5, %4, %2\n\tvpmaddwd %6, %4, %3\n\tvpaddd %2, %0, %0\n\tvpaddd %3, %1, %1"       \
                : "+v"(s0), "+v"(s1), "=&v"(p0), "=&v"(p1)                                                   \
                : "v"(a), "v"(b0), "v"(b1));                                                                 \
    } while (0)
#define WORDS_KEEP(x) __asm__("" : "+v"(x))
#else
#define WORDS_KEEP(x) (void)(x)
#define WORDS_MADD(s0, s1, a, b0, b1)                                                                        \
    ((s0) = _mm512_add_epi32(s0, _mm512_madd_epi16(a, b0)),                                                  \
     (s1) = _mm512_add_epi32(s1, _mm512_madd_epi16(a, b1)))
#endif

#define WORDS_NAME        avx512bw
#define WORDS_TARGET      AVX512
#define WORDS_VECTOR      __m512i
#define WORDS_BYTES       64
#define WORDS_ROWS        6
#define WORDS_TILES       2
#define WORDS_LOAD(p)     _mm512_loadu_si512(p)
#define WORDS_STORE(p, x) _mm512_storeu_si512(p, x)
#define WORDS_ZERO()      _mm512_setzero_si512()
#define WORDS_WORD(p)     _mm512_set1_epi32(vector_word(p))
#define WORDS_LOW(x, s)                                                                                      \
    ((s) ? _mm512_srai_epi16(_mm512_slli_epi16(x, 8), 8) : _mm512_and_si512(x, _mm512_set1_epi16(0xFF)))
#define WORDS_HIGH(x, s)      ((s) ? _mm512_srai_epi16(x, 8) : _mm512_srli_epi16(x, 8))
#define WORDS_PLUS(sum, a, b) _mm512_add_epi32(sum, _mm512_madd_epi16(a, b))
#include "vector/words.inc.h"

const struct vector_family vector_int8_avx512bw = {
    .name = "avx512bw",
    .needs = AMXEMU_HAS_AVX512,
    .rows = WORDS_ROWS,
    .tiles = WORDS_TILES,
    .cycles = 328,
    .a_bytes = WORDS_A_CHUNK,
    .b_bytes = WORDS_B_CHUNK,
    .prepare_a = words_avx512bw_prepare_a,
    .multiply = words_avx512bw_multiply,
    .few = WORDS_FEW,
    .multiply_few = words_avx512bw_multiply_few,
};
#endif
