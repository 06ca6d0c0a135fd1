/* bfloat16 and float16 on AVX-512F: chains.inc.h has the contract. 12 rows of 32 columns: 24 registers of a
 * chain, 2 of B, one of A. VDPBF16PS is of no use here: it adds both products of a word to one chain. Nor is
 * VFMADD*PH, which rounds to 16 bits. */
#include "emulator/vectors.h"
#include "vector/families.h"

#ifdef __x86_64__
#include <immintrin.h>

#ifndef AVX512 /* tests put a model of the instructions in their place */
#define AVX512                __attribute__((target("avx512f,avx512bw")))
#define CHAINS_FMA(sum, a, b) __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b))
#define CHAINS_KEEP(x)        __asm__("" : "+v"(x))
#else
#define CHAINS_KEEP(x)        (void)(x)
#define CHAINS_FMA(sum, a, b) ((sum) = _mm512_fmadd_ps(a, b, sum))
#endif

#define CHAINS_NAME        avx512
#define CHAINS_TARGET      AVX512
#define CHAINS_VECTOR      __m512
#define CHAINS_LANES       16
#define CHAINS_ROWS        12
#define CHAINS_TILES       2
#define CHAINS_LOAD(p)     _mm512_loadu_ps(p)
#define CHAINS_STORE(p, x) _mm512_storeu_ps(p, x)
#define CHAINS_ZERO()      _mm512_setzero_ps()
#define CHAINS_WORD(p)     _mm512_set1_ps(*(p))
#define CHAINS_ADD(x, y)   _mm512_add_ps(x, y)
#define CHAINS_HAS_NAN(x)  (_mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q) != 0)
/* 16 words to 16 even and 16 odd elements as binary32. */
struct chains_avx512_pair {
    __m512 even, odd;
};

AVX512 static inline struct chains_avx512_pair widen_bf16(const uint8_t *from) {
    const __m512i x = _mm512_loadu_si512(from);
    return (struct chains_avx512_pair){
        _mm512_castsi512_ps(_mm512_slli_epi32(x, 16)),
        _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32((int)0xFFFF0000))),
    };
}

/* VPMOVDW keeps the lower half of each word. */
AVX512 static inline struct chains_avx512_pair widen_fp16(const uint8_t *from) {
    const __m512i x = _mm512_loadu_si512(from);
    return (struct chains_avx512_pair){
        _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x)),
        _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(x, 16))),
    };
}

AVX512 static inline __m512 widen_numbers(enum vector_kind kind, __m256i halves) {
    return kind == VECTOR_BF16 ? _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16))
                               : _mm512_cvtph_ps(halves);
}

#define CHAINS_WIDEN(kind, from)   ((kind) == VECTOR_BF16 ? widen_bf16(from) : widen_fp16(from))
#define CHAINS_NUMBERS(kind, from) widen_numbers(kind, _mm256_loadu_si256((const __m256i *)(from)))
#include "vector/chains.inc.h"

const struct vector_family vector_floats_avx512 = {
    .name = "avx512",
    .needs = AMXEMU_HAS_AVX512,
    .rows = CHAINS_ROWS,
    .tiles = CHAINS_TILES,
    .cycles = 256,
    .a_bytes = CHAINS_A_CHUNK,
    .b_bytes = CHAINS_B_CHUNK,
    .prepare_a = chains_avx512_prepare_a,
    .multiply = chains_avx512_multiply,
};
#endif
