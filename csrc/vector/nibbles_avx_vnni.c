/* 4-bit weights on AVX-VNNI: nibbles.inc.h has the contract. 6 rows of 8 columns: 6 registers of d and 6 of
 * S, of which the compiler keeps some in memory from group to group. */
#include "emulator/vectors.h"
#include "vector/nibble_families.h"

#if defined(__x86_64__) && AMX_HAS_AVX_VNNI
#include <immintrin.h>

#ifndef AVX_VNNI /* tests put a model of the instructions in their place */
#define AVX_VNNI __attribute__((target("avx2,f16c,avxvnni")))
#endif

#define NIBBLES_NAME             avx_vnni
#define NIBBLES_TARGET           AVX_VNNI
#define NIBBLES_ROWS             6
#define NIBBLES_FEW              2
#define NIBBLES_PART(sum)        (sum)
#define NIBBLES_DOT(part, q, x)  _mm256_dpbusd_avx_epi32(part, q, x)
#define NIBBLES_WHOLE(sum, part) (part)
#define NIBBLES_COUNT(sum, q)    _mm256_dpbusd_avx_epi32(sum, q, _mm256_set1_epi8(1))
#include "vector/nibbles_256.inc.h"

const struct nibbles_family nibbles_avx_vnni = {
    "avx-vnni",
    AMXEMU_HAS_AVX2 | AMXEMU_HAS_AVX_VNNI,
    NIBBLES_ROWS,
    nibbles_avx_vnni_multiply,
};
#endif
