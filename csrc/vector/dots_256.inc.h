/* What families of dots.inc.h on 256 bits have in common. */
#define DOTS_VECTOR       __m256i
#define DOTS_BYTES        32
#define DOTS_ROWS         6
#define DOTS_TILES        1
#define DOTS_FEW          2
#define DOTS_LOAD(p)      _mm256_loadu_si256((const __m256i *)(p))
#define DOTS_STORE(p, x)  _mm256_storeu_si256((__m256i *)(p), x)
#define DOTS_ZERO()       _mm256_setzero_si256()
#define DOTS_WORD(p)      _mm256_set1_epi32(vector_word(p))
#define DOTS_BYTE(b)      _mm256_set1_epi8((char)(b))
#define DOTS_XOR(x, y)    _mm256_xor_si256(x, y)
#define DOTS_ADD(x, y)    _mm256_add_epi32(x, y)
#define DOTS_TIMES_128(x) _mm256_slli_epi32(x, 7)
#define DOTS_MINUS_128(x) _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32(x, 7))
#include "vector/dots.inc.h"
