/* Integers on AVX-512 VNNI: dots.inc.h has the contract. 12 rows of 32 columns: 24 registers of C, 2 of B,
 * one of A. A word of A is repeated once for two instructions: repeated by each, it would take all loads that
 * there are. */
#include "emulator/vectors.h"
#include "vector/families.h"

#ifdef __x86_64__
#include <immintrin.h>

#ifndef AVX512_VNNI /* tests put a model of the instructions in their place */
#define AVX512_VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))
#endif

#define DOTS_NAME         avx512_vnni
#define DOTS_TARGET       AVX512_VNNI
#define DOTS_VECTOR       __m512i
#define DOTS_BYTES        64
#define DOTS_ROWS         12
#define DOTS_TILES        2
#define DOTS_FEW          4
#define DOTS_LOAD(p)      _mm512_loadu_si512(p)
#define DOTS_STORE(p, x)  _mm512_storeu_si512(p, x)
#define DOTS_ZERO()       _mm512_setzero_si512()
#define DOTS_WORD(p)      _mm512_set1_epi32(vector_word(p))
#define DOTS_BYTE(b)      _mm512_set1_epi8((char)(b))
#define DOTS_XOR(x, y)    _mm512_xor_si512(x, y)
#define DOTS_ADD(x, y)    _mm512_add_epi32(x, y)
#define DOTS_TIMES_128(x) _mm512_slli_epi32(x, 7)
#define DOTS_MINUS_128(x) _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(x, 7))
#define DOTS_MOVES_SIGNS  1
#define DOTS_DOT(kind, sum, a, b)                                                                            \
    ((sum) = (kind) == VECTOR_SS || (kind) == VECTOR_US ? _mm512_dpbusd_epi32(sum, a, b)                     \
                                                        : _mm512_dpbusd_epi32(sum, b, a))
#include "vector/dots.inc.h"

const struct vector_family vector_int8_avx512_vnni = {
    .name = "avx512-vnni",
    .needs = AMXEMU_HAS_AVX512 | AMXEMU_HAS_AVX512_VNNI,
    .rows = DOTS_ROWS,
    .tiles = DOTS_TILES,
    .cycles = 128,
    .a_bytes = VECTOR_CHUNK,
    .b_bytes = 0,
    .deepest = 32,
    .prepare_a = dots_avx512_vnni_prepare_a,
    .multiply = dots_avx512_vnni_multiply,
    .few = DOTS_FEW,
    .multiply_few = dots_avx512_vnni_multiply_few,
};
#endif
