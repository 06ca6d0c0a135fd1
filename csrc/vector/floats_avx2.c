/* bfloat16 and float16 on AVX2, FMA and F16C, by VFMADD on binary32. VFMADD stands by itself, since compilers
 * take forms of it that need copies.
 *
 * Registers  4 rows of one chain, 16 columns wide: 8; 2 of a row of B; a number of A
 * Layout     a chunk of a row of A: its 32 elements as binary32; of B: 16 rows of even elements of all
 *            columns, then 16 of odd ones
 * Order      docs/numerics.md: the even chain, put aside; the odd chain; their sum; the accumulator plus that
 * NaN        which one comes out is not VFMADD's to say: vector_redo() decides, before anything is stored
 * B          is prepared by the first rows, while they multiply
 * Few rows   one row by a panel, widened in registers
 * Edges      rows that are left over go by 2 and 1; columns are always computed
 * Ceiling    16/17 of VFMADD: for 32 products an element takes two additions
 */
#include "emulator/vectors.h"
#include "vector/families.h"

#ifdef __x86_64__
#include <immintrin.h>

#define AVX2           __attribute__((target("avx2,fma,f16c")))
#define INLINE         static inline __attribute__((always_inline)) AVX2
#define FMA(sum, a, b) __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b))
#define KEEP(x)        __asm__("" : "+x"(x)) /* in a register, and not to be read again for each use */

enum {
    LANES = 8,
    ROWS = 4,
    STEPS = 16, /* of each chain in a chunk */
    ACROSS = VECTOR_COLUMNS / LANES,
    A_CHUNK = 2 * 4 * STEPS,
    B_CHUNK = 2 * STEPS * 4 * VECTOR_COLUMNS,
};

/* 8 words to 8 even and 8 odd elements as binary32. */
struct pair {
    __m256 even, odd;
};

INLINE struct pair widen_bf16(const uint8_t *from) {
    const __m256i x = _mm256_loadu_si256((const __m256i *)from);
    return (struct pair){
        _mm256_castsi256_ps(_mm256_slli_epi32(x, 16)),
        _mm256_castsi256_ps(_mm256_and_si256(x, _mm256_set1_epi32((int)0xFFFF0000))),
    };
}

INLINE struct pair widen_fp16(const uint8_t *from) {
    const __m256i apart =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    enum { EVEN_LOW_ODD_HIGH = 0xD8 };
    const __m256i x = _mm256_permute4x64_epi64(
        _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *)from), apart), EVEN_LOW_ODD_HIGH);
    return (struct pair){
        _mm256_cvtph_ps(_mm256_castsi256_si128(x)),
        _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1)),
    };
}

INLINE struct pair widen(const enum vector_kind kind, const uint8_t *from) {
    return kind == VECTOR_BF16 ? widen_bf16(from) : widen_fp16(from);
}

INLINE int is_nan(__m256 x) {
    return _mm256_movemask_ps(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)) != 0;
}

INLINE __m256 numbers(const enum vector_kind kind, const uint8_t *from) {
    const __m128i halves = _mm_loadu_si128((const __m128i *)from);
    return kind == VECTOR_BF16 ? _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16))
                               : _mm256_cvtph_ps(halves);
}

/* Words of a row of B, from where they lie to where they are prepared; the even elements. */
INLINE __m256 widen_row(float *to, const uint8_t *chunk, int word, int i, const enum vector_kind kind) {
    float *const even = to + word * VECTOR_COLUMNS + i * LANES;
    const struct pair wide = widen(kind, chunk + word * VECTOR_CHUNK + i * 4 * LANES);
    _mm256_storeu_ps(even, wide.even);
    _mm256_storeu_ps(even + B_CHUNK / 8, wide.odd);
    return wide.even;
}

INLINE void widen_a(const struct vector_rows *on, const enum vector_kind kind) {
    for (int64_t r = 0; r < on->rows; r++) {
        float *to = (float *)(on->to + r * on->to_row);
        const uint8_t *from = on->from + r * on->from_row;
        for (int64_t q = 0; q < on->chunks; q++, to += 2 * STEPS, from += on->from_chunk) {
#pragma GCC unroll 4
            for (int i = 0; i < 2 * STEPS; i += LANES) {
                _mm256_storeu_ps(to + i, numbers(kind, from + 2 * i));
            }
        }
    }
}

AVX2 static void prepare_a(const struct vector_rows *on) {
    if (on->kind == VECTOR_BF16) {
        widen_a(on, VECTOR_BF16);
    } else {
        widen_a(on, VECTOR_FP16);
    }
}

/* A step of a chain: a row of B, prepared, or, where it `widens`, as it comes, and then prepared. */
INLINE void step(__m256 chain[][ACROSS], const float *const *a, int64_t in_a, float *b, const uint8_t *words,
                 int s, const int widens, const enum vector_kind kind, const int rows) {
    __m256 row[ACROSS];
#pragma GCC unroll 2
    for (int i = 0; i < ACROSS; i++) {
        row[i] =
            widens ? widen_row(b, words, s, i, kind) : _mm256_loadu_ps(b + s * VECTOR_COLUMNS + i * LANES);
        KEEP(row[i]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        const __m256 number = _mm256_broadcast_ss(a[r] + in_a + 2 * s);
#pragma GCC unroll 2
        for (int i = 0; i < ACROSS; i++) {
            FMA(chain[r][i], number, row[i]);
        }
    }
}

/* One chain of a chunk, from +0, of 16 steps, or of `some`, if that is not 0. Where it `widens`, it is the
 * even one, and B is prepared meanwhile: its stores hide behind the products. */
INLINE void add_chain(__m256 chain[][ACROSS], const float *const *a, int64_t in_a, float *b,
                      const uint8_t *words, const int widens, const enum vector_kind kind, const int rows,
                      int some) {
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
        for (int i = 0; i < ACROSS; i++) {
            chain[r][i] = _mm256_setzero_ps();
        }
    }
    if (some > 0) {
        for (int s = 0; s < some; s++) {
            step(chain, a, in_a, b, words, s, widens, kind, rows);
        }
        return;
    }
#pragma GCC unroll 16
    for (int s = 0; s < STEPS; s++) {
        step(chain, a, in_a, b, words, s, widens, kind, rows);
    }
}

/* Rows `first` ... against B prepared, or, where they are the first ones and `widens`, as it comes. */
INLINE void group(const struct vector_block *on, int64_t first, const int rows, const int widens,
                  const enum vector_kind kind, int some) {
    _Alignas(64) float aside[ROWS][VECTOR_COLUMNS], sums[ROWS][VECTOR_COLUMNS];
    const float *a[ROWS];
    float *b = (float *)on->prepared;
    const uint8_t *words = on->b;
    __m256 chain[ROWS][ACROSS];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        a[r] = (const float *)(on->a + (first + r) * on->a_row);
        const float *from = (const float *)(on->from + (first + r) * on->from_row);
#pragma GCC unroll 2
        for (int i = 0; i < ACROSS; i++) {
            _mm256_storeu_ps(sums[r] + i * LANES, _mm256_loadu_ps(from + i * LANES));
        }
    }
    for (int64_t q = 0; q < on->chunks; q++, b += B_CHUNK / 4, words += on->b_chunk) {
        vector_fetch_ahead(on, first / ROWS, q);
        add_chain(chain, a, 2 * STEPS * q, b, words, widens, kind, rows, some);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
            for (int i = 0; i < ACROSS; i++) {
                _mm256_storeu_ps(aside[r] + i * LANES, chain[r][i]);
            }
        }
        add_chain(chain, a, 2 * STEPS * q + 1, b + B_CHUNK / 8, words, 0, kind, rows, some);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
            for (int i = 0; i < ACROSS; i++) {
                float *const sum = sums[r] + i * LANES;
                const __m256 both = _mm256_add_ps(_mm256_loadu_ps(aside[r] + i * LANES), chain[r][i]);
                _mm256_storeu_ps(sum, _mm256_add_ps(_mm256_loadu_ps(sum), both));
            }
        }
    }
    int has_nan = 0;
    for (int r = 0; r < rows; r++) {
        for (int i = 0; i < ACROSS; i++) {
            has_nan |= is_nan(_mm256_loadu_ps(sums[r] + i * LANES));
        }
    }
    if (has_nan) {
        vector_redo(on, first, rows, sums[0], VECTOR_COLUMNS);
        return;
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        float *const to = (float *)(on->c + (first + r) * on->c_row);
#pragma GCC unroll 2
        for (int i = 0; i < ACROSS; i++) {
            _mm256_storeu_ps(to + i * LANES, _mm256_loadu_ps(sums[r] + i * LANES));
        }
    }
}

/* How many there are. */
INLINE int64_t first_rows(const struct vector_block *on, const enum vector_kind kind, int some) {
    if (on->rows < ROWS) {
        group(on, 0, 1, 1, kind, some);
        return 1;
    }
    group(on, 0, ROWS, 1, kind, some);
    return ROWS;
}

INLINE void all_rows(const struct vector_block *on, int some) {
    int64_t row =
        on->kind == VECTOR_BF16 ? first_rows(on, VECTOR_BF16, some) : first_rows(on, VECTOR_FP16, some);
    for (; row + ROWS <= on->rows; row += ROWS) {
        group(on, row, ROWS, 0, on->kind, some);
    }
    for (; row + 2 <= on->rows; row += 2) {
        group(on, row, 2, 0, on->kind, some);
    }
    if (row < on->rows) {
        group(on, row, 1, 0, on->kind, some);
    }
}

AVX2 static void add_some(const struct vector_block *on) {
    const int some = on->last_words;
    if (some < 1) {
        __builtin_unreachable();
    }
    all_rows(on, some);
}

/* Whole chunks; then, of a last one that K does not fill, the words that there are, to what C has by then. */
AVX2 static void multiply(const struct vector_block *on) {
    struct vector_block whole = *on;
    whole.chunks -= on->last_words < STEPS;
    if (whole.chunks > 0) {
        all_rows(&whole, 0);
    }
    if (whole.chunks < on->chunks) {
        const struct vector_block last = vector_behind(&whole, A_CHUNK);
        add_some(&last);
    }
}

/* One row by a panel, widened in registers while B goes by: an even and an odd chain of the columns of a tile
 * are four registers, and the tiles go by in the order in which they lie. */
INLINE void add_chunk(float *sums, const float *a, const uint8_t *b, const enum vector_kind kind) {
    for (int tile = 0; tile < 2; tile++, b += VECTOR_TILE, sums += VECTOR_COLUMNS) {
        __m256 even[2], odd[2];
        even[0] = even[1] = odd[0] = odd[1] = _mm256_setzero_ps();
#pragma GCC unroll 4
        for (int word = 0; word < STEPS; word++) {
            const uint8_t *line = b + word * VECTOR_CHUNK;
            vector_fetch_line(line);
            const __m256 a_even = _mm256_broadcast_ss(a + 2 * word),
                         a_odd = _mm256_broadcast_ss(a + 2 * word + 1);
#pragma GCC unroll 2
            for (int i = 0; i < 2; i++) {
                const struct pair wide = widen(kind, line + 32 * i);
                FMA(even[i], a_even, wide.even);
                FMA(odd[i], a_odd, wide.odd);
            }
        }
        for (int i = 0; i < 2; i++) {
            float *const sum = sums + i * LANES;
            _mm256_storeu_ps(sum, _mm256_add_ps(_mm256_loadu_ps(sum), _mm256_add_ps(even[i], odd[i])));
        }
    }
}

INLINE void multiply_row(const struct vector_block *on, int64_t row, const enum vector_kind kind) {
    enum { PANEL = 2 * VECTOR_COLUMNS };
    _Alignas(64) float sums[PANEL];
    const float *a = (const float *)(on->a + row * on->a_row);
    const uint8_t *b = on->b;
    memcpy(sums, on->from + row * on->from_row, sizeof sums);
    for (int64_t q = 0; q < on->chunks; q++, a += 2 * STEPS, b += on->b_chunk) {
        add_chunk(sums, a, b, kind);
    }
    int has_nan = 0;
    for (int i = 0; i < PANEL; i += LANES) {
        has_nan |= is_nan(_mm256_loadu_ps(sums + i));
    }
    if (has_nan) {
        vector_redo(on, row, 1, sums, PANEL);
    } else {
        memcpy(on->c + row * on->c_row, sums, sizeof sums);
    }
}

AVX2 static void multiply_few(const struct vector_block *on) {
    for (int64_t row = 0; row < on->rows; row++) {
        if (on->kind == VECTOR_BF16) {
            multiply_row(on, row, VECTOR_BF16);
        } else {
            multiply_row(on, row, VECTOR_FP16);
        }
    }
}

const struct vector_family vector_floats_avx2 = {
    .name = "avx2",
    .needs = AMXEMU_HAS_AVX2,
    .rows = ROWS,
    .tiles = 1,
    .cycles = 512,
    .a_bytes = A_CHUNK,
    .b_bytes = B_CHUNK,
    .prepare_a = prepare_a,
    .multiply = multiply,
    .few = 1,
    .multiply_few = multiply_few,
};
#endif
