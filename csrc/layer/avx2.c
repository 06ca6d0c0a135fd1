/* Vectors of 32 bytes: AVX2 and F16C. text.inc.h has the contract. */
#include "emulator/vectors.h"
#include "layer/widths.h"

#ifdef __x86_64__
#include <immintrin.h>

#define LAYER_NAME   avx2
#define LAYER_TARGET __attribute__((target("avx2,f16c")))
#define LAYER_BYTES  32
#include "layer/vectors.inc.h"

#define LAYER_MASK                  LAYER_I
#define LAYER_ALL(x)                _mm256_set1_ps(x)
#define LAYER_ALL_INT(x)            ((LAYER_I)_mm256_set1_epi32(x))
#define LAYER_LESS(x, y)            ((LAYER_I)_mm256_cmp_ps(x, y, _CMP_LT_OQ))
#define LAYER_UNORDERED(x, y)       ((LAYER_I)_mm256_cmp_ps(x, y, _CMP_UNORD_Q))
#define LAYER_ANY(mask)             (_mm256_movemask_ps((__m256)(mask)) != 0)
#define LAYER_SELECT(mask, yes, no) _mm256_blendv_ps(no, yes, (__m256)(mask))
#define LAYER_MIN(x, y)             _mm256_min_ps(x, y)
#define LAYER_MAX(x, y)             _mm256_max_ps(x, y)
#define LAYER_ROUND(x)              ((LAYER_I)_mm256_cvtps_epi32(x))
#define LAYER_FLOAT(i)              _mm256_cvtepi32_ps((__m256i)(i))
#define LAYER_SCALE(p, n)           LAYER_FUNCTION(scale_in_two_steps)(p, n)
#define LAYER_SUM_BYTES(b)          ((LAYER_L)_mm256_sad_epu8((__m256i)(b), _mm256_setzero_si256()))
#define LAYER_PACK(i)               LAYER_FUNCTION(pack)(i)
#define LAYER_PACK_UPPER(x, y)      LAYER_FUNCTION(pack_upper)(x, y)
#define LAYER_WIDEN_BF16(p)                                                                                  \
    ((LAYER_F)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(p))), 16))
#define LAYER_WIDEN_FP16(p)    (LAYER_F) _mm256_cvtph_ps(_mm_loadu_si128((const void *)(p)))
#define LAYER_STORE_FP16(p, x) _mm_storeu_si128((void *)(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT))

/* Packing goes by halves, of 16 bytes. */
LAYER_TARGET static inline LAYER_B LAYER_FUNCTION(pack)(const LAYER_I i[4]) {
    const __m256i lower = _mm256_packs_epi32((__m256i)i[0], (__m256i)i[1]);
    const __m256i upper = _mm256_packs_epi32((__m256i)i[2], (__m256i)i[3]);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    return (LAYER_B)_mm256_permutevar8x32_epi32(_mm256_packus_epi16(lower, upper), order);
}

LAYER_TARGET static inline LAYER_I LAYER_FUNCTION(pack_upper)(LAYER_I x, LAYER_I y) {
    const __m256i lower = _mm256_srai_epi32((__m256i)x, 16), upper = _mm256_srai_epi32((__m256i)y, 16);
    return (LAYER_I)_mm256_permute4x64_epi64(_mm256_packs_epi32(lower, upper), 0xD8);
}

#include "layer/scale.inc.h"
#include "layer/text.inc.h"

const struct layer_text layer_avx2 = {
    "avx2", AMXEMU_HAS_AVX2, layer_avx2_quantize_rows, layer_avx2_finish, layer_avx2_apply,
};
#endif
