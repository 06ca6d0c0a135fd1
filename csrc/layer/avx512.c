/* Vectors of 64 bytes: AVX-512 F, BW, DQ, VL. text.inc.h has the contract. */
#include "emulator/vectors.h"
#include "layer/widths.h"

#ifdef __x86_64__
#include <immintrin.h>

#define LAYER_NAME   avx512
#define LAYER_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define LAYER_BYTES  64
#include "layer/vectors.inc.h"

#define LAYER_MASK                  __mmask16
#define LAYER_ALL(x)                _mm512_set1_ps(x)
#define LAYER_ALL_INT(x)            ((LAYER_I)_mm512_set1_epi32(x))
#define LAYER_LESS(x, y)            _mm512_cmp_ps_mask(x, y, _CMP_LT_OQ)
#define LAYER_UNORDERED(x, y)       _mm512_cmp_ps_mask(x, y, _CMP_UNORD_Q)
#define LAYER_ANY(mask)             ((mask) != 0)
#define LAYER_SELECT(mask, yes, no) _mm512_mask_blend_ps(mask, no, yes)
#define LAYER_MIN(x, y)             _mm512_min_ps(x, y)
#define LAYER_MAX(x, y)             _mm512_max_ps(x, y)
#define LAYER_ROUND(x)              ((LAYER_I)_mm512_cvtps_epi32(x))
#define LAYER_FLOAT(i)              _mm512_cvtepi32_ps((__m512i)(i))
#define LAYER_SCALE(p, n)           _mm512_scalef_ps(p, LAYER_FLOAT(n))
#define LAYER_SUM_BYTES(b)          ((LAYER_L)_mm512_sad_epu8((__m512i)(b), _mm512_setzero_si512()))
#define LAYER_PACK(i)               LAYER_FUNCTION(pack)(i)
#define LAYER_PACK_UPPER(x, y)      LAYER_FUNCTION(pack_upper)(x, y)
#define LAYER_WIDEN_BF16(p)                                                                                  \
    ((LAYER_F)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(p))), 16))
#define LAYER_WIDEN_FP16(p)    (LAYER_F) _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(p)))
#define LAYER_STORE_FP16(p, x) _mm256_storeu_si256((void *)(p), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT))

/* Packing goes by quarters, of 16 bytes. */
LAYER_TARGET static inline LAYER_B LAYER_FUNCTION(pack)(const LAYER_I i[4]) {
    const __m512i lower = _mm512_packs_epi32((__m512i)i[0], (__m512i)i[1]);
    const __m512i upper = _mm512_packs_epi32((__m512i)i[2], (__m512i)i[3]);
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return (LAYER_B)_mm512_permutexvar_epi32(order, _mm512_packus_epi16(lower, upper));
}

LAYER_TARGET static inline LAYER_I LAYER_FUNCTION(pack_upper)(LAYER_I x, LAYER_I y) {
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    const __m512i lower = _mm512_srai_epi32((__m512i)x, 16), upper = _mm512_srai_epi32((__m512i)y, 16);
    return (LAYER_I)_mm512_permutexvar_epi64(order, _mm512_packs_epi32(lower, upper));
}

#include "layer/text.inc.h"

const struct layer_text layer_avx512 = {
    "avx512", AMXEMU_HAS_AVX512, layer_avx512_quantize_rows, layer_avx512_finish, layer_avx512_apply,
};
#endif
