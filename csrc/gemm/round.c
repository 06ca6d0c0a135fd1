/* float32 operands rounded to what tiles multiply: to nearest, ties to even, with gradual underflow; a NaN
 * becomes quiet and keeps its sign and the upper end of its payload. */
#include <string.h>

#include "emulator/float32.h"
#include "emulator/mxcsr.h"
#include "gemm/gemm.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2,f16c")))
#endif

/* Elements that a thread takes at a time, and those for which it is worth to wake a second one. */
enum { PIECE = 4096, WORTH_THREADS = 32 * PIECE };

/* `from` may lie at any address. */
typedef void rounder(uint16_t *to, const uint8_t *from, int64_t count);

static void to_bf16_scalar(uint16_t *to, const uint8_t *from, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        uint32_t word;
        memcpy(&word, from + 4 * i, sizeof word);
        const uint32_t upper = word >> 16, rounded = (word + 0x7FFF + (upper & 1)) >> 16;
        to[i] = (uint16_t)((word & 0x7FFFFFFF) > 0x7F800000 ? upper | 0x40 : rounded);
    }
}
static void to_fp16_scalar(uint16_t *to, const uint8_t *from, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        uint32_t word;
        memcpy(&word, from + 4 * i, sizeof word);
        to[i] = amxemu_to_fp16(word);
    }
}

#if defined(__x86_64__)
enum { LANES = 8 };

AVX2 static inline __m256i load(const uint8_t *from) {
    return _mm256_loadu_si256((const void *)from);
}
AVX2 static inline __m256i bf16_of(__m256i word) { /* in the lower half of each word */
    const __m256i upper = _mm256_srli_epi32(word, 16), odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF));
    const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(word, up), 16);
    const __m256i magnitude = _mm256_and_si256(word, _mm256_set1_epi32(0x7FFFFFFF));
    const __m256i is_nan = _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(0x7F800000));
    return _mm256_blendv_epi8(rounded, _mm256_or_si256(upper, _mm256_set1_epi32(0x40)), is_nan);
}
AVX2 static void to_bf16_avx2(uint16_t *to, const uint8_t *from, int64_t count) {
    int64_t i = 0;
    for (; i + 2 * LANES <= count; i += 2 * LANES) {
        const __m256i first = bf16_of(load(from + 4 * i)), second = bf16_of(load(from + 4 * (i + LANES)));
        const __m256i lanes = _mm256_packus_epi32(first, second); /* quarters 0, 2, 1, 3 */
        _mm256_storeu_si256((void *)(to + i), _mm256_permute4x64_epi64(lanes, 0xD8));
    }
    to_bf16_scalar(to + i, from + 4 * i, count - i);
}

/* The caller's MXCSR may trap what is inexact, and is not to keep flags of it. */
AVX2 static void to_fp16_avx2(uint16_t *to, const uint8_t *from, int64_t count) {
    const uint32_t mxcsr = amxemu_exchange_mxcsr(AMXEMU_RESET_MXCSR);
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        const __m256 wide = _mm256_castsi256_ps(load(from + 4 * i));
        _mm_storeu_si128((void *)(to + i), _mm256_cvtps_ph(wide, _MM_FROUND_TO_NEAREST_INT));
    }
    amxemu_exchange_mxcsr(mxcsr);
    to_fp16_scalar(to + i, from + 4 * i, count - i);
}
#endif

static rounder *rounder_to(int format) {
#if defined(__x86_64__)
    if (amxemu_selected_path() >= AMXEMU_AVX2) {
        return format == AMX_FP16 ? to_fp16_avx2 : to_bf16_avx2;
    }
#endif
    return format == AMX_FP16 ? to_fp16_scalar : to_bf16_scalar;
}

struct rounding {
    rounder *round;
    int64_t rows, columns, pieces; /* of a row */
    const uint8_t *from;
    int64_t from_row;
    uint16_t *to;
};

static void round_piece(const struct rounding *r, int64_t piece) {
    const int64_t row = piece / r->pieces, column = piece % r->pieces * PIECE;
    const int64_t count = r->columns - column < PIECE ? r->columns - column : PIECE;
    r->round(r->to + row * r->columns + column, r->from + row * r->from_row + 4 * column, count);
}

static void round_share(struct team team, void *work) {
    const struct rounding *r = work;
    const struct gemm_range mine = gemm_share(r->rows * r->pieces, team.rank, team.size);
    for (int64_t piece = mine.begin; piece < mine.end; piece++) {
        round_piece(r, piece);
    }
}

void amx_round(int format, int threads, int64_t rows, int64_t columns, const void *from, int64_t from_row,
               void *to) {
    const struct rounding r = {
        rounder_to(format), rows, columns, (columns + PIECE - 1) / PIECE, from, from_row, to,
    };
    const int available = rows * columns < WORTH_THREADS ? 1 : team_available();
    const int team = threads == 0 || threads > available ? available : threads;
    team_run(team, round_share, (void *)&r);
}
