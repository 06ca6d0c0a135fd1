/* 4-bit weights on AVX-512 VNNI: nibbles.inc.h has the contract. 10 rows of 16 columns: 10 registers of d and
 * 10 of S; of 12 rows compilers keep some in memory. Rows are signed, so that their words may be the operand
 * that VPDPBUSD repeats from memory: on Zen 4 two a cycle are repeated so, or by a load, and only one full
 * line is loaded. */
#include "emulator/vectors.h"
#include "vector/nibble_families.h"

#ifdef __x86_64__
#include <immintrin.h>

#ifndef AVX512_VNNI /* tests put a model of the instructions in their place */
#define AVX512_VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))
#endif

#define NIBBLES_NAME             avx512_vnni
#define NIBBLES_TARGET           AVX512_VNNI
#define NIBBLES_VECTOR           __m512i
#define NIBBLES_FLOATS           __m512
#define NIBBLES_BYTES            64
#define NIBBLES_ROWS             10
#define NIBBLES_FEW              6
#define NIBBLES_LOAD(p)          _mm512_loadu_si512(p)
#define NIBBLES_ZERO()           _mm512_setzero_si512()
#define NIBBLES_ALL(i)           _mm512_set1_epi32(i)
#define NIBBLES_AND(x, y)        _mm512_and_si512(x, y)
#define NIBBLES_OR(x, y)         _mm512_or_si512(x, y)
#define NIBBLES_DOWN_4(x)        _mm512_srli_epi32(x, 4)
#define NIBBLES_UP_16(x)         _mm512_slli_epi32(x, 16)
#define NIBBLES_ADD_BYTES(x, y)  _mm512_add_epi8(x, y)
#define NIBBLES_ADD(x, y)        _mm512_add_epi32(x, y)
#define NIBBLES_PART(sum)        (sum)
#define NIBBLES_DOT(part, q, x)  _mm512_dpbusd_epi32(part, q, x)
#define NIBBLES_WHOLE(sum, part) (part)
#define NIBBLES_COUNT(sum, q)    _mm512_dpbusd_epi32(sum, q, _mm512_set1_epi8(1))
#define NIBBLES_MADD(x, y)       _mm512_madd_epi16(x, y)
#define NIBBLES_BYTES_AT(p)      _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define NIBBLES_HALVES_AT(p)     _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p)))
#define NIBBLES_FLOATS_AT(p)     _mm512_loadu_ps(p)
#define NIBBLES_TO_FLOAT(x)      _mm512_cvtepi32_ps(x)
#define NIBBLES_MULTIPLIED(x, y) _mm512_mul_ps(x, y)
#define NIBBLES_ADDED(x, y)      _mm512_add_ps(x, y)
#define NIBBLES_STORE(p, x)      _mm512_storeu_ps(p, x)
#include "vector/nibbles.inc.h"

const struct nibbles_family nibbles_avx512_vnni = {
    "avx512-vnni",
    AMXEMU_HAS_AVX512 | AMXEMU_HAS_AVX512_VNNI,
    NIBBLES_ROWS,
    nibbles_avx512_vnni_multiply,
};
#endif
