/* Integers on AVX-VNNI: dots.inc.h has the contract. 6 rows of 16 columns: 12 registers of C, 2 of B, one of
 * A. Assemblers know VPDPBUSD in VEX from binutils 2.36 on, later than some that gcc 11 is used with. */
#include "emulator/vectors.h"
#include "vector/families.h"

#if defined(__x86_64__) && AMX_HAS_AVX_VNNI
#include <immintrin.h>

#ifndef AVX_VNNI /* tests put a model of the instructions in their place */
#define AVX_VNNI __attribute__((target("avx2,avxvnni")))
#endif

#define DOTS_NAME        avx_vnni
#define DOTS_TARGET      AVX_VNNI
#define DOTS_MOVES_SIGNS 1
#define DOTS_DOT(kind, sum, a, b)                                                                            \
    ((sum) = (kind) == VECTOR_SS || (kind) == VECTOR_US ? _mm256_dpbusd_avx_epi32(sum, a, b)                 \
                                                        : _mm256_dpbusd_avx_epi32(sum, b, a))
#include "vector/dots_256.inc.h"

const struct vector_family vector_int8_avx_vnni = {
    .name = "avx-vnni",
    .needs = AMXEMU_HAS_AVX2 | AMXEMU_HAS_AVX_VNNI,
    .rows = DOTS_ROWS,
    .tiles = DOTS_TILES,
    .cycles = 256,
    .a_bytes = VECTOR_CHUNK,
    .b_bytes = 0,
    .prepare_a = dots_avx_vnni_prepare_a,
    .multiply = dots_avx_vnni_multiply,
    .few = DOTS_FEW,
    .multiply_few = dots_avx_vnni_multiply_few,
};
#endif
