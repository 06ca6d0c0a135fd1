/* What families of nibbles.inc.h on 256 bits have in common. */
#define NIBBLES_VECTOR           __m256i
#define NIBBLES_FLOATS           __m256
#define NIBBLES_BYTES            32
#define NIBBLES_LOAD(p)          _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define NIBBLES_ZERO()           _mm256_setzero_si256()
#define NIBBLES_ALL(i)           _mm256_set1_epi32(i)
#define NIBBLES_AND(x, y)        _mm256_and_si256(x, y)
#define NIBBLES_OR(x, y)         _mm256_or_si256(x, y)
#define NIBBLES_DOWN_4(x)        _mm256_srli_epi32(x, 4)
#define NIBBLES_UP_16(x)         _mm256_slli_epi32(x, 16)
#define NIBBLES_ADD_BYTES(x, y)  _mm256_add_epi8(x, y)
#define NIBBLES_ADD(x, y)        _mm256_add_epi32(x, y)
#define NIBBLES_MADD(x, y)       _mm256_madd_epi16(x, y)
#define NIBBLES_BYTES_AT(p)      _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p)))
#define NIBBLES_HALVES_AT(p)     _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define NIBBLES_FLOATS_AT(p)     _mm256_loadu_ps((const float *)(const void *)(p))
#define NIBBLES_TO_FLOAT(x)      _mm256_cvtepi32_ps(x)
#define NIBBLES_MULTIPLIED(x, y) _mm256_mul_ps(x, y)
#define NIBBLES_ADDED(x, y)      _mm256_add_ps(x, y)
#define NIBBLES_STORE(p, x)      _mm256_storeu_ps(p, x)
#include "vector/nibbles.inc.h"
