/* 4-bit weights on AVX2 and F16C: nibbles.inc.h has the contract. 4 rows of 8 columns: 4 registers of d, 4 of
 * S, and up to 8 of a unit. VPMADDUBSW adds two products in 16 bits, at most 2 * 15 * 128 of either sign, and
 * eight words of them, a unit, stay below 2^15: nothing saturates, nothing wraps. */
#include "emulator/vectors.h"
#include "vector/nibble_families.h"

#ifdef __x86_64__
#include <immintrin.h>

#define NIBBLES_NAME             avx2
#define NIBBLES_TARGET           __attribute__((target("avx2,f16c")))
#define NIBBLES_ROWS             4
#define NIBBLES_FEW              0
#define NIBBLES_PART(sum)        _mm256_setzero_si256()
#define NIBBLES_DOT(part, q, x)  _mm256_add_epi16(part, _mm256_maddubs_epi16(q, x))
#define NIBBLES_WHOLE(sum, part) _mm256_add_epi32(sum, _mm256_madd_epi16(part, _mm256_set1_epi16(1)))
#define NIBBLES_COUNT(sum, q)                                                                                \
    _mm256_add_epi32(sum,                                                                                    \
                     _mm256_madd_epi16(_mm256_maddubs_epi16(q, _mm256_set1_epi8(1)), _mm256_set1_epi16(1)))
#include "vector/nibbles_256.inc.h"

const struct nibbles_family nibbles_avx2 = {"avx2", AMXEMU_HAS_AVX2, NIBBLES_ROWS, nibbles_avx2_multiply};
#endif
