/* 16-bit floats by VFMADD on binary32, for one vector length; included once by each family's file, with
 *
 *   CHAINS_NAME      of the family's functions, e.g. avx2
 *   CHAINS_TARGET    attribute of functions that use its instructions
 *   CHAINS_VECTOR    a vector of CHAINS_LANES binary32
 *   CHAINS_ROWS      rows of a block
 *   CHAINS_TILES     column tiles of a block
 *   CHAINS_LOAD(p), CHAINS_STORE(p, x), CHAINS_ZERO()    a vector, at any address
 *   CHAINS_WORD(p)              a number, repeated
 *   CHAINS_WIDEN(kind, from)    words as a struct chains_NAME_pair: their even and their odd elements
 *   CHAINS_NUMBERS(kind, from)  adjacent elements as a vector
 *   CHAINS_FMA(sum, a, b)       sum = a * b + sum
 *   CHAINS_KEEP(x)              x is in a register, and not to be read again for each use
 *   CHAINS_ADD(x, y), CHAINS_HAS_NAN(x)
 *
 * Defines chains_NAME_prepare_a() and _multiply().
 *
 * Registers  CHAINS_ROWS rows of one chain, CHAINS_TILES * 16 columns wide; a row of B; a number of A
 * Layout     a chunk of a row of A: its 32 elements as binary32; of B: 16 rows of even elements of all
 *            columns, then 16 of odd ones
 * Order      docs/numerics.md: the even chain, put aside; the odd chain; their sum; the accumulator plus that
 * NaN        which one comes out is not VFMADD's to say: vector_redo() decides, before anything is stored
 * B          is prepared by the first rows, while they multiply
 * Edges      rows that are left over go by 4 or 2 and 1; columns are always computed
 * Ceiling    16/17 of VFMADD: for 32 products an element takes two additions
 */
#include <stdint.h>

#include "vector/vector.h"

#define CHAINS_JOIN_(a, b)    chains_##a##_##b
#define CHAINS_JOIN(a, b)     CHAINS_JOIN_(a, b)
#define CHAINS_FUNCTION(what) CHAINS_JOIN(CHAINS_NAME, what)
#define CHAINS_INLINE         static inline __attribute__((always_inline)) CHAINS_TARGET

enum {
    CHAINS_STEPS = 16, /* of each chain in a chunk */
    CHAINS_COLUMNS = CHAINS_TILES * VECTOR_COLUMNS,
    CHAINS_ACROSS = CHAINS_COLUMNS / CHAINS_LANES,
    CHAINS_A_CHUNK = 2 * 4 * CHAINS_STEPS,
    CHAINS_B_CHUNK = 2 * CHAINS_STEPS * 4 * CHAINS_COLUMNS,
};

CHAINS_INLINE const uint8_t *CHAINS_FUNCTION(row)(const uint8_t *chunk, int word, int i) {
    const int column = i * CHAINS_LANES;
    return chunk + column / VECTOR_COLUMNS * VECTOR_TILE + word * VECTOR_CHUNK + column % VECTOR_COLUMNS * 4;
}

/* Words of a row of B, from where they lie to where they are prepared; the even elements. */
CHAINS_INLINE CHAINS_VECTOR CHAINS_FUNCTION(widen_row)(float *to, const uint8_t *chunk, int word, int i,
                                                       const enum vector_kind kind) {
    float *const even = to + word * CHAINS_COLUMNS + i * CHAINS_LANES;
    const struct CHAINS_FUNCTION(pair) wide = CHAINS_WIDEN(kind, CHAINS_FUNCTION(row)(chunk, word, i));
    CHAINS_STORE(even, wide.even);
    CHAINS_STORE(even + CHAINS_B_CHUNK / 8, wide.odd);
    return wide.even;
}

CHAINS_INLINE void CHAINS_FUNCTION(widen_a)(const struct vector_rows *on, const enum vector_kind kind) {
    for (int64_t r = 0; r < on->rows; r++) {
        float *to = (float *)(on->to + r * on->to_row);
        const uint8_t *from = on->from + r * on->from_row;
        for (int64_t q = 0; q < on->chunks; q++, to += 2 * CHAINS_STEPS, from += on->from_chunk) {
#pragma GCC unroll 4
            for (int i = 0; i < 2 * CHAINS_STEPS; i += CHAINS_LANES) {
                CHAINS_STORE(to + i, CHAINS_NUMBERS(kind, from + 2 * i));
            }
        }
    }
}

CHAINS_TARGET static void CHAINS_FUNCTION(prepare_a)(const struct vector_rows *on) {
    if (on->kind == VECTOR_BF16) {
        CHAINS_FUNCTION(widen_a)(on, VECTOR_BF16);
    } else {
        CHAINS_FUNCTION(widen_a)(on, VECTOR_FP16);
    }
}

/* A step of a chain: a row of B, prepared, or, where it `widens`, as it comes, and then prepared. */
CHAINS_INLINE void CHAINS_FUNCTION(step)(CHAINS_VECTOR chain[][CHAINS_ACROSS], const float *const *a,
                                         int64_t in_a, float *b, const uint8_t *words, int s,
                                         const int widens, const enum vector_kind kind, const int rows) {
    CHAINS_VECTOR row[CHAINS_ACROSS];
#pragma GCC unroll 4
    for (int i = 0; i < CHAINS_ACROSS; i++) {
        row[i] = widens ? CHAINS_FUNCTION(widen_row)(b, words, s, i, kind)
                        : CHAINS_LOAD(b + s * CHAINS_COLUMNS + i * CHAINS_LANES);
        CHAINS_KEEP(row[i]);
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        const CHAINS_VECTOR number = CHAINS_WORD(a[r] + in_a + 2 * s);
#pragma GCC unroll 4
        for (int i = 0; i < CHAINS_ACROSS; i++) {
            CHAINS_FMA(chain[r][i], number, row[i]);
        }
    }
}

/* One chain of a chunk, from +0, of 16 steps, or of `some`, if that is not 0. Where it `widens`, it is the
 * even one, and B is prepared meanwhile: its stores hide behind the products. */
CHAINS_INLINE void CHAINS_FUNCTION(chain)(CHAINS_VECTOR chain[][CHAINS_ACROSS], const float *const *a,
                                          int64_t in_a, float *b, const uint8_t *words, const int widens,
                                          const enum vector_kind kind, const int rows, int some) {
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int i = 0; i < CHAINS_ACROSS; i++) {
            chain[r][i] = CHAINS_ZERO();
        }
    }
    if (some > 0) {
        for (int s = 0; s < some; s++) {
            CHAINS_FUNCTION(step)(chain, a, in_a, b, words, s, widens, kind, rows);
        }
        return;
    }
#pragma GCC unroll 16
    for (int s = 0; s < CHAINS_STEPS; s++) {
        CHAINS_FUNCTION(step)(chain, a, in_a, b, words, s, widens, kind, rows);
    }
}

/* Rows `first` ... against B prepared, or, where they are the first ones and `widens`, as it comes. */
CHAINS_INLINE void CHAINS_FUNCTION(group)(const struct vector_block *on, int64_t first, const int rows,
                                          const int widens, const enum vector_kind kind, int some) {
    _Alignas(64) float aside[CHAINS_ROWS][CHAINS_COLUMNS], sums[CHAINS_ROWS][CHAINS_COLUMNS];
    const float *a[CHAINS_ROWS];
    float *b = (float *)on->prepared;
    const uint8_t *words = on->b;
    CHAINS_VECTOR chain[CHAINS_ROWS][CHAINS_ACROSS];
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        a[r] = (const float *)(on->a + (first + r) * on->a_row);
        const float *from = (const float *)(on->from + (first + r) * on->from_row);
#pragma GCC unroll 4
        for (int i = 0; i < CHAINS_ACROSS; i++) {
            CHAINS_STORE(sums[r] + i * CHAINS_LANES, CHAINS_LOAD(from + i * CHAINS_LANES));
        }
    }
    for (int64_t q = 0; q < on->chunks; q++, b += CHAINS_B_CHUNK / 4, words += on->b_chunk) {
        vector_fetch_ahead(on, first / CHAINS_ROWS, q);
        CHAINS_FUNCTION(chain)(chain, a, 2 * CHAINS_STEPS * q, b, words, widens, kind, rows, some);
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
            for (int i = 0; i < CHAINS_ACROSS; i++) {
                CHAINS_STORE(aside[r] + i * CHAINS_LANES, chain[r][i]);
            }
        }
        CHAINS_FUNCTION(chain)(chain, a, 2 * CHAINS_STEPS * q + 1, b + CHAINS_B_CHUNK / 8, words, 0, kind,
                               rows, some);
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
            for (int i = 0; i < CHAINS_ACROSS; i++) {
                float *const sum = sums[r] + i * CHAINS_LANES;
                const CHAINS_VECTOR both = CHAINS_ADD(CHAINS_LOAD(aside[r] + i * CHAINS_LANES), chain[r][i]);
                CHAINS_STORE(sum, CHAINS_ADD(CHAINS_LOAD(sum), both));
            }
        }
    }
    int has_nan = 0;
    for (int r = 0; r < rows; r++) {
        for (int i = 0; i < CHAINS_ACROSS; i++) {
            has_nan |= CHAINS_HAS_NAN(CHAINS_LOAD(sums[r] + i * CHAINS_LANES));
        }
    }
    if (has_nan) {
        vector_redo(on, first, rows, sums[0], CHAINS_COLUMNS);
        return;
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        float *const to = (float *)(on->c + (first + r) * on->c_row);
#pragma GCC unroll 4
        for (int i = 0; i < CHAINS_ACROSS; i++) {
            CHAINS_STORE(to + i * CHAINS_LANES, CHAINS_LOAD(sums[r] + i * CHAINS_LANES));
        }
    }
}

/* How many there are. */
CHAINS_INLINE int64_t CHAINS_FUNCTION(first_rows)(const struct vector_block *on, const enum vector_kind kind,
                                                  int some) {
    if (on->rows < CHAINS_ROWS) {
        CHAINS_FUNCTION(group)(on, 0, 1, 1, kind, some);
        return 1;
    }
    CHAINS_FUNCTION(group)(on, 0, CHAINS_ROWS, 1, kind, some);
    return CHAINS_ROWS;
}

CHAINS_INLINE void CHAINS_FUNCTION(all_rows)(const struct vector_block *on, int some) {
    int64_t row = on->kind == VECTOR_BF16 ? CHAINS_FUNCTION(first_rows)(on, VECTOR_BF16, some)
                                          : CHAINS_FUNCTION(first_rows)(on, VECTOR_FP16, some);
    for (; row + CHAINS_ROWS <= on->rows; row += CHAINS_ROWS) {
        CHAINS_FUNCTION(group)(on, row, CHAINS_ROWS, 0, on->kind, some);
    }
    for (; CHAINS_ROWS > 4 && row + 4 <= on->rows; row += 4) {
        CHAINS_FUNCTION(group)(on, row, 4, 0, on->kind, some);
    }
    for (; row + 2 <= on->rows; row += 2) {
        CHAINS_FUNCTION(group)(on, row, 2, 0, on->kind, some);
    }
    if (row < on->rows) {
        CHAINS_FUNCTION(group)(on, row, 1, 0, on->kind, some);
    }
}

CHAINS_TARGET static void CHAINS_FUNCTION(add_some)(const struct vector_block *on) {
    const int some = on->last_words;
    if (some < 1) {
        __builtin_unreachable();
    }
    CHAINS_FUNCTION(all_rows)(on, some);
}

/* Whole chunks; then, of a last one that K does not fill, the words that there are, to what C has by then. */
CHAINS_TARGET static void CHAINS_FUNCTION(multiply)(const struct vector_block *on) {
    struct vector_block part = *on;
    part.chunks -= on->last_words < CHAINS_STEPS;
    if (part.chunks > 0) {
        CHAINS_FUNCTION(all_rows)(&part, 0);
    }
    if (part.chunks < on->chunks) {
        part.a += part.chunks * CHAINS_A_CHUNK;
        part.b += part.chunks * on->b_chunk;
        part.from = part.chunks > 0 ? on->c : on->from;
        part.from_row = part.chunks > 0 ? on->c_row : on->from_row;
        part.chunks = 1;
        part.ahead_groups = 0;
        CHAINS_FUNCTION(add_some)(&part);
    }
}
