/* Integers on AVX-VNNI-INT8: dots.inc.h has the contract. 6 rows of 16 columns: 12 registers of C, 2 of B,
 * one of A. There is an instruction for each combination of signs. Compilers know them from gcc 13 and clang
 * 16 on, assemblers from binutils 2.40. */
#include "emulator/vectors.h"
#include "vector/families.h"

#if defined(__x86_64__) && AMX_HAS_AVX_VNNI_INT8
#include <immintrin.h>

#ifndef AVX_VNNI_INT8 /* tests put a model of the instructions in their place */
#define AVX_VNNI_INT8                    __attribute__((target("avx2")))
#define DOTS_ASM(instruction, sum, x, y) __asm__(instruction " %2, %1, %0" : "+x"(sum) : "x"(x), "x"(y))
#define DOT_SS(sum, a, b)                DOTS_ASM("vpdpbssd", sum, a, b)
#define DOT_SU(sum, a, b)                DOTS_ASM("vpdpbsud", sum, a, b)
#define DOT_UU(sum, a, b)                DOTS_ASM("vpdpbuud", sum, a, b)
#else
#define DOT_SS(sum, a, b) ((sum) = _mm256_dpbssd_epi32(sum, a, b))
#define DOT_SU(sum, a, b) ((sum) = _mm256_dpbsud_epi32(sum, a, b))
#define DOT_UU(sum, a, b) ((sum) = _mm256_dpbuud_epi32(sum, a, b))
#endif

#define DOTS_NAME        avx_vnni_int8
#define DOTS_TARGET      AVX_VNNI_INT8
#define DOTS_MOVES_SIGNS 0
#define DOTS_DOT(kind, sum, a, b)                                                                            \
    do {                                                                                                     \
        if ((kind) == VECTOR_SS)                                                                             \
            DOT_SS(sum, a, b);                                                                               \
        else if ((kind) == VECTOR_SU)                                                                        \
            DOT_SU(sum, a, b);                                                                               \
        else if ((kind) == VECTOR_US)                                                                        \
            DOT_SU(sum, b, a);                                                                               \
        else                                                                                                 \
            DOT_UU(sum, a, b);                                                                               \
    } while (0)
#include "vector/dots_256.inc.h"

const struct vector_family vector_int8_avx_vnni_int8 = {
    .name = "avx-vnni-int8",
    .needs = AMXEMU_HAS_AVX2 | AMXEMU_HAS_AVX_VNNI_INT8,
    .rows = DOTS_ROWS,
    .tiles = DOTS_TILES,
    .cycles = 256,
    .a_bytes = VECTOR_CHUNK,
    .b_bytes = 0,
    .prepare_a = dots_avx_vnni_int8_prepare_a,
    .multiply = dots_avx_vnni_int8_multiply,
    .few = DOTS_FEW,
    .multiply_few = dots_avx_vnni_int8_multiply_few,
};
#endif
