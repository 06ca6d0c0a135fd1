/* Vectors of 16 bytes on any x86-64. text.inc.h has the contract. */
#include "layer/widths.h"

#ifdef __x86_64__
#include <emmintrin.h>

#define LAYER_NAME sse2
#define LAYER_TARGET
#define LAYER_BYTES 16
#include "layer/vectors.inc.h"

#define LAYER_MASK                  LAYER_I
#define LAYER_ALL(x)                _mm_set1_ps(x)
#define LAYER_ALL_INT(x)            ((LAYER_I)_mm_set1_epi32(x))
#define LAYER_LESS(x, y)            ((LAYER_I)_mm_cmplt_ps(x, y))
#define LAYER_UNORDERED(x, y)       ((LAYER_I)_mm_cmpunord_ps(x, y))
#define LAYER_ANY(mask)             (_mm_movemask_ps((__m128)(mask)) != 0)
#define LAYER_SELECT(mask, yes, no) ((LAYER_F)(((LAYER_I)(yes) & (mask)) | ((LAYER_I)(no) & ~(mask))))
#define LAYER_MIN(x, y)             _mm_min_ps(x, y)
#define LAYER_MAX(x, y)             _mm_max_ps(x, y)
#define LAYER_ROUND(x)              ((LAYER_I)_mm_cvtps_epi32(x))
#define LAYER_FLOAT(i)              _mm_cvtepi32_ps((__m128i)(i))
#define LAYER_SCALE(p, n)           LAYER_FUNCTION(scale_in_two_steps)(p, n)
#define LAYER_SUM_BYTES(b)          ((LAYER_L)_mm_sad_epu8((__m128i)(b), _mm_setzero_si128()))
#define LAYER_PACK(i)               LAYER_FUNCTION(pack)(i)
#define LAYER_PACK_UPPER(x, y)      LAYER_FUNCTION(pack_upper)(x, y)
#define LAYER_WIDEN_BF16(p)                                                                                  \
    ((LAYER_F)_mm_unpacklo_epi16(_mm_setzero_si128(), _mm_loadl_epi64((const void *)(p))))
#define LAYER_LOAD_HALVES(p)                                                                                 \
    ((LAYER_U)_mm_unpacklo_epi16(_mm_loadl_epi64((const void *)(p)), _mm_setzero_si128()))
#define LAYER_WIDEN_FP16(p)    LAYER_FUNCTION(widen_fp16)(p)
#define LAYER_STORE_FP16(p, x) LAYER_FUNCTION(store_fp16)(p, x)

static inline LAYER_B LAYER_FUNCTION(pack)(const LAYER_I i[4]) {
    const __m128i lower = _mm_packs_epi32((__m128i)i[0], (__m128i)i[1]);
    const __m128i upper = _mm_packs_epi32((__m128i)i[2], (__m128i)i[3]);
    return (LAYER_B)_mm_packus_epi16(lower, upper);
}

static inline LAYER_I LAYER_FUNCTION(pack_upper)(LAYER_I x, LAYER_I y) {
    return (LAYER_I)_mm_packs_epi32(_mm_srai_epi32((__m128i)x, 16), _mm_srai_epi32((__m128i)y, 16));
}

#include "layer/float16.inc.h"
#include "layer/scale.inc.h"
#include "layer/text.inc.h"

const struct layer_text layer_sse2 = {
    "sse2", 0, layer_sse2_quantize_rows, layer_sse2_finish, layer_sse2_apply,
};
#endif
