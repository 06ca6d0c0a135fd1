/* AVX-512, AVX512-VNNI, AVX-VNNI and AVX-VNNI-INT8 for CPUs that have AVX2, FMA and F16C: found before the
 * compiler's <immintrin.h> (-I), it puts functions of its own under the intrinsics' names.
 *
 * Integers are in C, as the SDM's pages have them; binary32 is two AVX2 instructions for each of AVX-512,
 * and so obeys MXCSR as they do. What there is, is what csrc/ and tests use; more goes in the same way.
 * A function that uses it must not have AVX-512 among its targets, or the compiler takes that for the
 * 512-bit vectors in between: sources let a macro of theirs be defined from outside, as AVX512 here.
 */
#ifndef TESTS_AVX512_MODEL_H
#define TESTS_AVX512_MODEL_H

#include_next <immintrin.h>
#include <stdint.h>
#include <string.h>

#define AVX512_MODEL  1
#define AVX512        __attribute__((target("avx2,fma,f16c")))
#define AVX512_VNNI   AVX512
#define AVX_VNNI      AVX512
#define AVX_VNNI_INT8 AVX512
#define MODEL         static inline __attribute__((always_inline, unused)) AVX512

union model_register {
    __m512i whole;
    __m512 floats;
    __m256i half[2];
    __m256 float_half[2];
    __m128i quarter[4];
    uint8_t ub[64];
    int8_t b[64];
    int16_t w[32];
    uint16_t uw[32];
    int32_t d[16];
    uint32_t ud[16];
};

/* ---- moves ---- */

MODEL __m512i model_load(const void *from) {
    union model_register r;
    memcpy(&r, from, sizeof r);
    return r.whole;
}
MODEL void model_store(void *to, __m512i x) {
    memcpy(to, &x, sizeof x);
}
MODEL __m512i model_repeat(uint32_t x) {
    union model_register r;
    for (int i = 0; i < 16; i++)
        r.ud[i] = x;
    return r.whole;
}
MODEL __m512i model_of_floats(__m512 x) {
    return (union model_register){.floats = x}.whole;
}
MODEL __m512 model_to_floats(__m512i x) {
    return (union model_register){.whole = x}.floats;
}
MODEL __m256i model_half(__m512i x, int i) {
    return (union model_register){.whole = x}.half[i & 1];
}
MODEL __m512i model_of_halves(__m256i low, __m256i high) {
    return (union model_register){.half = {low, high}}.whole;
}
MODEL __m128i model_quarter(__m512i x, int i) {
    return (union model_register){.whole = x}.quarter[i & 3];
}

MODEL __m256i model_lower_halves(__m512i vx) {
    const union model_register x = {.whole = vx};
    union model_register r = {.ub = {0}};
    for (int i = 0; i < 16; i++)
        r.uw[i] = (uint16_t)x.ud[i];
    return r.half[0];
}

MODEL __m512i model_as_words(__m256i halves) {
    const union model_register x = {.half = {halves, halves}};
    union model_register r;
    for (int i = 0; i < 16; i++)
        r.ud[i] = x.uw[i];
    return r.whole;
}

MODEL __m512i model_bytes_as_words(__m128i bytes) {
    const union model_register x = {.quarter = {bytes}};
    union model_register r;
    for (int i = 0; i < 16; i++)
        r.ud[i] = x.ub[i];
    return r.whole;
}

/* ---- integers ---- */

#define MODEL_BINARY(name, field, count, type, expression)                                                   \
    MODEL __m512i model_##name(__m512i vx, __m512i vy) {                                                     \
        const union model_register x = {.whole = vx}, y = {.whole = vy};                                     \
        union model_register r;                                                                              \
        for (int i = 0; i < count; i++)                                                                      \
            r.field[i] = (type)(expression);                                                                 \
        return r.whole;                                                                                      \
    }
MODEL_BINARY(add_epi32, ud, 16, uint32_t, x.ud[i] + y.ud[i])
MODEL_BINARY(sub_epi32, ud, 16, uint32_t, x.ud[i] - y.ud[i])
MODEL_BINARY(add_epi16, uw, 32, uint16_t, x.uw[i] + y.uw[i])
MODEL_BINARY(sub_epi16, uw, 32, uint16_t, x.uw[i] - y.uw[i])
MODEL_BINARY(add_epi8, ub, 64, uint8_t, x.ub[i] + y.ub[i])
MODEL_BINARY(and, ud, 16, uint32_t, x.ud[i] & y.ud[i])
MODEL_BINARY(or, ud, 16, uint32_t, x.ud[i] | y.ud[i])
MODEL_BINARY(xor, ud, 16, uint32_t, x.ud[i] ^ y.ud[i])
MODEL_BINARY(andnot, ud, 16, uint32_t, ~x.ud[i] & y.ud[i])
/* Both products of -32768 by itself wrap to -2^31, as the SDM says. */
MODEL_BINARY(madd_epi16, ud, 16, uint32_t,
             (uint32_t)(x.w[2 * i] * y.w[2 * i]) + (uint32_t)(x.w[2 * i + 1] * y.w[2 * i + 1]))
MODEL_BINARY(permutexvar_epi16, uw, 32, uint16_t, y.uw[x.uw[i] & 31])
MODEL_BINARY(permutexvar_epi32, ud, 16, uint32_t, y.ud[x.ud[i] & 15])

#define MODEL_SHIFT(name, field, count, type, bits, beyond, expression)                                      \
    MODEL __m512i model_##name(__m512i vx, unsigned by) {                                                    \
        const union model_register x = {.whole = vx};                                                        \
        union model_register r;                                                                              \
        for (int i = 0; i < count; i++)                                                                      \
            r.field[i] = (type)(by >= bits ? (beyond) : (expression));                                       \
        return r.whole;                                                                                      \
    }
MODEL_SHIFT(slli_epi32, ud, 16, uint32_t, 32, 0, x.ud[i] << by)
MODEL_SHIFT(srli_epi32, ud, 16, uint32_t, 32, 0, x.ud[i] >> by)
MODEL_SHIFT(srai_epi32, d, 16, int32_t, 32, x.d[i] >> 31, x.d[i] >> by)
MODEL_SHIFT(slli_epi16, uw, 32, uint16_t, 16, 0, (uint32_t)x.uw[i] << by)
MODEL_SHIFT(srli_epi16, uw, 32, uint16_t, 16, 0, x.uw[i] >> by)
MODEL_SHIFT(srai_epi16, w, 32, int16_t, 16, x.w[i] >> 15, x.w[i] >> by)

/* A word of the VPDPB**D: four products, and their sum and the accumulator's modulo 2^32. */
MODEL uint32_t model_dot_word(uint32_t sum, const uint8_t x[4], const uint8_t y[4], int x_signed,
                              int y_signed) {
    for (int j = 0; j < 4; j++)
        sum += (uint32_t)((x_signed ? (int8_t)x[j] : x[j]) * (y_signed ? (int8_t)y[j] : y[j]));
    return sum;
}
MODEL __m512i model_dpbusd_512(__m512i sum, __m512i vx, __m512i vy) {
    const union model_register x = {.whole = vx}, y = {.whole = vy};
    union model_register r = {.whole = sum};
    for (int i = 0; i < 16; i++)
        r.ud[i] = model_dot_word(r.ud[i], x.ub + 4 * i, y.ub + 4 * i, 0, 1);
    return r.whole;
}
#define MODEL_DOT(name, x_signed, y_signed)                                                                  \
    MODEL __m256i model_##name(__m256i sum, __m256i vx, __m256i vy) {                                        \
        union model_register x = {.half = {vx}}, y = {.half = {vy}}, r = {.half = {sum}};                    \
        for (int i = 0; i < 8; i++)                                                                          \
            r.ud[i] = model_dot_word(r.ud[i], x.ub + 4 * i, y.ub + 4 * i, x_signed, y_signed);               \
        return r.half[0];                                                                                    \
    }
MODEL_DOT(dpbssd, 1, 1)
MODEL_DOT(dpbsud, 1, 0)
MODEL_DOT(dpbusd, 0, 1)
MODEL_DOT(dpbuud, 0, 0)

/* ---- binary32 ---- */

#define MODEL_FLOATS(name, arguments, low, high)                                                             \
    MODEL __m512 model_##name arguments {                                                                    \
        return (union model_register){.float_half = {low, high}}.floats;                                     \
    }
#define MODEL_LOW(x)  ((union model_register){.floats = x}.float_half[0])
#define MODEL_HIGH(x) ((union model_register){.floats = x}.float_half[1])
MODEL_FLOATS(add_ps, (__m512 x, __m512 y), _mm256_add_ps(MODEL_LOW(x), MODEL_LOW(y)),
             _mm256_add_ps(MODEL_HIGH(x), MODEL_HIGH(y)))
MODEL_FLOATS(mul_ps, (__m512 x, __m512 y), _mm256_mul_ps(MODEL_LOW(x), MODEL_LOW(y)),
             _mm256_mul_ps(MODEL_HIGH(x), MODEL_HIGH(y)))
MODEL_FLOATS(fmadd_ps, (__m512 x, __m512 y, __m512 z),
             _mm256_fmadd_ps(MODEL_LOW(x), MODEL_LOW(y), MODEL_LOW(z)),
             _mm256_fmadd_ps(MODEL_HIGH(x), MODEL_HIGH(y), MODEL_HIGH(z)))
MODEL_FLOATS(cvtph_ps, (__m256i x), _mm256_cvtph_ps(_mm256_castsi256_si128(x)),
             _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1)))
MODEL_FLOATS(cvtepi32_ps, (__m512i x), _mm256_cvtepi32_ps(model_half(x, 0)),
             _mm256_cvtepi32_ps(model_half(x, 1)))
MODEL __mmask16 model_unordered(__m512 x, __m512 y) {
    return (__mmask16)(_mm256_movemask_ps(_mm256_cmp_ps(MODEL_LOW(x), MODEL_LOW(y), _CMP_UNORD_Q)) |
                       _mm256_movemask_ps(_mm256_cmp_ps(MODEL_HIGH(x), MODEL_HIGH(y), _CMP_UNORD_Q)) << 8);
}

/* ---- their names ---- */

#undef _mm512_slli_epi32
#undef _mm512_srli_epi32
#undef _mm512_srai_epi32
#undef _mm512_slli_epi16
#undef _mm512_srli_epi16
#undef _mm512_srai_epi16
#undef _mm512_cmp_ps_mask
#undef _mm256_dpbusd_epi32
#undef _mm256_dpbusd_avx_epi32
#undef _mm256_dpbssd_epi32
#undef _mm256_dpbsud_epi32
#undef _mm256_dpbuud_epi32
#undef _mm512_extracti64x4_epi64
#undef _mm512_inserti64x4
#undef _mm512_extracti32x4_epi32

#define _mm512_loadu_si512(p)     model_load(p)
#define _mm512_load_si512(p)      model_load(p)
#define _mm512_loadu_ps(p)        model_to_floats(model_load(p))
#define _mm512_load_ps(p)         model_to_floats(model_load(p))
#define _mm512_storeu_si512(p, x) model_store(p, x)
#define _mm512_store_si512(p, x)  model_store(p, x)
#define _mm512_storeu_ps(p, x)    model_store(p, model_of_floats(x))
#define _mm512_store_ps(p, x)     model_store(p, model_of_floats(x))
#define _mm512_stream_si512(p, x) model_store(p, x)
#define _mm512_setzero_si512()    model_repeat(0)
#define _mm512_setzero_ps()       model_to_floats(model_repeat(0))
#define _mm512_set1_epi32(x)      model_repeat((uint32_t)(x))
#define _mm512_set1_epi16(x)      model_repeat((uint16_t)(x) * UINT32_C(0x10001))
#define _mm512_set1_epi8(x)       model_repeat((uint8_t)(x) * UINT32_C(0x1010101))
#define _mm512_set1_ps(x)                                                                                    \
    model_to_floats(model_repeat((union {                                                                    \
                                     float f;                                                                \
                                     uint32_t u;                                                             \
                                 }){x}                                                                       \
                                     .u))
#define _mm512_castsi512_ps(x)          model_to_floats(x)
#define _mm512_castps_si512(x)          model_of_floats(x)
#define _mm512_castsi512_si256(x)       model_half(x, 0)
#define _mm512_extracti64x4_epi64(x, i) model_half(x, i)
#define _mm512_inserti64x4(x, half, i)                                                                       \
    ((i) ? model_of_halves(model_half(x, 0), half) : model_of_halves(half, model_half(x, 1)))
#define _mm512_cvtepi32_epi16(x)           model_lower_halves(x)
#define _mm512_cvtepu16_epi32(halves)      model_as_words(halves)
#define _mm512_cvtepu8_epi32(bytes)        model_bytes_as_words(bytes)
#define _mm512_broadcast_i64x4(half)       model_of_halves(half, half)
#define _mm512_extracti32x4_epi32(x, i)    model_quarter(x, i)
#define _mm512_add_epi32(x, y)             model_add_epi32(x, y)
#define _mm512_sub_epi32(x, y)             model_sub_epi32(x, y)
#define _mm512_add_epi8(x, y)              model_add_epi8(x, y)
#define _mm512_add_epi16(x, y)             model_add_epi16(x, y)
#define _mm512_sub_epi16(x, y)             model_sub_epi16(x, y)
#define _mm512_and_si512(x, y)             model_and(x, y)
#define _mm512_or_si512(x, y)              model_or(x, y)
#define _mm512_xor_si512(x, y)             model_xor(x, y)
#define _mm512_andnot_si512(x, y)          model_andnot(x, y)
#define _mm512_and_epi32(x, y)             model_and(x, y)
#define _mm512_xor_epi32(x, y)             model_xor(x, y)
#define _mm512_madd_epi16(x, y)            model_madd_epi16(x, y)
#define _mm512_permutexvar_epi16(i, x)     model_permutexvar_epi16(i, x)
#define _mm512_permutexvar_epi32(i, x)     model_permutexvar_epi32(i, x)
#define _mm512_slli_epi32(x, by)           model_slli_epi32(x, by)
#define _mm512_srli_epi32(x, by)           model_srli_epi32(x, by)
#define _mm512_srai_epi32(x, by)           model_srai_epi32(x, by)
#define _mm512_slli_epi16(x, by)           model_slli_epi16(x, by)
#define _mm512_srli_epi16(x, by)           model_srli_epi16(x, by)
#define _mm512_srai_epi16(x, by)           model_srai_epi16(x, by)
#define _mm512_dpbusd_epi32(sum, x, y)     model_dpbusd_512(sum, x, y)
#define _mm256_dpbusd_epi32(sum, x, y)     model_dpbusd(sum, x, y)
#define _mm256_dpbusd_avx_epi32(sum, x, y) model_dpbusd(sum, x, y)
#define _mm256_dpbssd_epi32(sum, x, y)     model_dpbssd(sum, x, y)
#define _mm256_dpbsud_epi32(sum, x, y)     model_dpbsud(sum, x, y)
#define _mm256_dpbuud_epi32(sum, x, y)     model_dpbuud(sum, x, y)
#define _mm512_add_ps(x, y)                model_add_ps(x, y)
#define _mm512_mul_ps(x, y)                model_mul_ps(x, y)
#define _mm512_fmadd_ps(x, y, z)           model_fmadd_ps(x, y, z)
#define _mm512_cvtph_ps(x)                 model_cvtph_ps(x)
#define _mm512_cvtepi32_ps(x)              model_cvtepi32_ps(x)
/* of the predicates only _CMP_UNORD_Q */
#define _mm512_cmp_ps_mask(x, y, predicate)                                                                  \
    ((void)sizeof(char[(predicate) == _CMP_UNORD_Q ? 1 : -1]), model_unordered(x, y))

#endif
