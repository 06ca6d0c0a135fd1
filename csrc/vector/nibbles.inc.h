/* 4-bit weights, for one length of vectors; included once by each family's file, with
 *
 *   NIBBLES_NAME      of the family's functions, e.g. avx512_vnni
 *   NIBBLES_TARGET    attribute of functions that use its instructions
 *   NIBBLES_VECTOR, NIBBLES_FLOATS   vectors of NIBBLES_BYTES bytes
 *   NIBBLES_ROWS      rows that go by B at once: 4, 6 or 10
 *   NIBBLES_FEW       rows that have two sums of d, since one would wait for itself
 *   NIBBLES_LOAD(p), NIBBLES_ZERO(), NIBBLES_ALL(i)    a vector at any address; a word of 32 bits, repeated
 *   NIBBLES_AND(x, y), NIBBLES_OR(x, y), NIBBLES_DOWN_4(x), NIBBLES_UP_16(x)   of words; bits shifted
 *   NIBBLES_ADD_BYTES(x, y), NIBBLES_ADD(x, y)         of words
 *   NIBBLES_PART(sum)             what the sums of a unit begin with
 *   NIBBLES_DOT(part, q, x)       part += q * x, four unsigned by four signed bytes a word; q up to 15
 *   NIBBLES_WHOLE(sum, part)      the sum, after a unit
 *   NIBBLES_COUNT(sum, q)         sum + four unsigned bytes, each up to 120
 *   NIBBLES_MADD(x, y)            two products of 16 bits a word
 *   NIBBLES_BYTES_AT(p)           NIBBLES_LANES unsigned bytes, each in a word
 *   NIBBLES_HALVES_AT(p), NIBBLES_FLOATS_AT(p)     scales, float16 or float32
 *   NIBBLES_TO_FLOAT(x), NIBBLES_MULTIPLIED(x, y), NIBBLES_ADDED(x, y), NIBBLES_STORE(p, x)   of float32
 *
 * Defines nibbles_NAME_multiply().
 *
 * Registers  for each row a sum of d and one of S, as wide as a vector, few rows two of d; a line of B,
 *            its two words, what they add up to, and what masks and counts them
 * Layout     lines of B as they come: one is two words of K, after AND and a shift. Rows of A are beside each
 *            other, word by word, each repeated from memory
 * Columns    of a tile, as many as a vector has, then the others
 * Sums of q  are made of bytes while B goes by, once for all rows: eight words add up to 120 at most
 * Order      of d none, since nothing wraps; of S that of groups
 */
#include "vector/vector.h"

#define NIBBLES_JOIN_(a, b)    nibbles_##a##_##b
#define NIBBLES_JOIN(a, b)     NIBBLES_JOIN_(a, b)
#define NIBBLES_FUNCTION(what) NIBBLES_JOIN(NIBBLES_NAME, what)
#define NIBBLES_INLINE         static inline __attribute__((always_inline)) NIBBLES_TARGET

enum { NIBBLES_LANES = NIBBLES_BYTES / 4, NIBBLES_SCALES_AHEAD = 512, NIBBLES_ZEROS_AHEAD = 256 };

/* A word of all rows. */
NIBBLES_INLINE void NIBBLES_FUNCTION(word)(NIBBLES_VECTOR *part, NIBBLES_VECTOR q, const uint8_t *a,
                                           const int rows) {
#pragma GCC unroll 10
    for (int r = 0; r < rows; r++) {
        const NIBBLES_VECTOR x = NIBBLES_ALL(vector_word(a + 4 * r));
        part[r] = NIBBLES_DOT(part[r], q, x);
    }
}

/* A unit: d of each row, and the sums of q. */
NIBBLES_INLINE void NIBBLES_FUNCTION(unit)(NIBBLES_VECTOR d[2][NIBBLES_ROWS], NIBBLES_VECTOR *sum,
                                           const uint8_t *a, const uint8_t *b, const int rows) {
    const NIBBLES_VECTOR mask = NIBBLES_ALL(0x0F0F0F0F);
    const int second = rows <= NIBBLES_FEW;
    NIBBLES_VECTOR bytes = NIBBLES_ZERO(), part[2][NIBBLES_ROWS];
#pragma GCC unroll 10
    for (int r = 0; r < rows; r++) {
        part[0][r] = NIBBLES_PART(d[0][r]);
        part[1][r] = NIBBLES_PART(d[1][r]);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        const NIBBLES_VECTOR line = NIBBLES_LOAD(b + 64 * j);
        const NIBBLES_VECTOR low = NIBBLES_AND(line, mask), high = NIBBLES_AND(NIBBLES_DOWN_4(line), mask);
        vector_fetch_line(b + 64 * j);
        NIBBLES_FUNCTION(word)(part[0], low, a + 4 * rows * j, rows);
        NIBBLES_FUNCTION(word)(part[second], high, a + 4 * rows * (j + 4), rows);
        bytes = NIBBLES_ADD_BYTES(bytes, NIBBLES_ADD_BYTES(low, high));
    }
#pragma GCC unroll 10
    for (int r = 0; r < rows; r++) {
        d[0][r] = NIBBLES_WHOLE(d[0][r], part[0][r]);
        if (second) {
            d[1][r] = NIBBLES_WHOLE(d[1][r], part[1][r]);
        }
    }
    *sum = NIBBLES_COUNT(*sum, bytes);
}

/* Columns `first` ... of the tile, as many as a vector has. */
NIBBLES_INLINE void NIBBLES_FUNCTION(columns)(const struct nibbles_block *on, const int first,
                                              const int rows) {
    const int float16 = on->scales_are_float16, scale_bytes = float16 ? 2 : 4;
    const uint8_t *a = on->a, *b = on->b + 4 * first;
    const uint8_t *scale = (const uint8_t *)on->scales + first * scale_bytes;
    const uint8_t *zero = on->zeros == NULL ? NULL : on->zeros + first;
    NIBBLES_VECTOR z = NIBBLES_ALL(on->zero << 16);
    NIBBLES_FLOATS total[NIBBLES_ROWS];
#pragma GCC unroll 10
    for (int r = 0; r < rows; r++) {
        total[r] = NIBBLES_TO_FLOAT(NIBBLES_ZERO());
    }
    for (int64_t unit = 0; unit < on->units; unit += on->group_units) {
        const int64_t left = on->units - unit, units = left < on->group_units ? left : on->group_units;
        NIBBLES_VECTOR d[2][NIBBLES_ROWS];
#pragma GCC unroll 10
        for (int r = 0; r < rows; r++) {
            d[0][r] = d[1][r] = NIBBLES_ZERO();
        }
        if (zero != NULL) {
            z = NIBBLES_UP_16(NIBBLES_BYTES_AT(zero));
            __builtin_prefetch(vector_address(zero, NIBBLES_ZEROS_AHEAD));
            zero += NIBBLES_COLUMNS;
        }
        for (int64_t done = 0; done < units;) {
            NIBBLES_VECTOR sum = NIBBLES_ZERO();
            const int64_t end = done + nibbles_piece(units, done);
            for (; done < end; done++, a += NIBBLES_UNIT * rows, b += NIBBLES_UNIT_BYTES) {
                NIBBLES_FUNCTION(unit)(d, &sum, a, b, rows);
            }
            const NIBBLES_VECTOR pair = NIBBLES_OR(sum, z);
#pragma GCC unroll 10
            for (int r = 0; r < rows; r++) {
                const NIBBLES_VECTOR x = NIBBLES_ALL(vector_word(a + 4 * r));
                d[0][r] = NIBBLES_ADD(d[0][r], NIBBLES_MADD(pair, x));
            }
            a += 4 * rows;
        }
        const NIBBLES_FLOATS s = float16 ? NIBBLES_HALVES_AT(scale) : NIBBLES_FLOATS_AT(scale);
        __builtin_prefetch(vector_address(scale, NIBBLES_SCALES_AHEAD));
        scale += NIBBLES_COLUMNS * scale_bytes;
#pragma GCC unroll 10
        for (int r = 0; r < rows; r++) {
            const NIBBLES_VECTOR both = rows <= NIBBLES_FEW ? NIBBLES_ADD(d[0][r], d[1][r]) : d[0][r];
            total[r] = NIBBLES_ADDED(total[r], NIBBLES_MULTIPLIED(NIBBLES_TO_FLOAT(both), s));
        }
    }
#pragma GCC unroll 10
    for (int r = 0; r < rows; r++) {
        NIBBLES_STORE((float *)(void *)((uint8_t *)on->sums + r * on->sums_row) + first, total[r]);
    }
}

NIBBLES_INLINE void NIBBLES_FUNCTION(tile)(const struct nibbles_block *on, const int rows) {
    for (int first = 0; first < NIBBLES_COLUMNS; first += NIBBLES_LANES) {
        NIBBLES_FUNCTION(columns)(on, first, rows);
    }
}

#define NIBBLES_CASE(n)                                                                                      \
    case n:                                                                                                  \
        NIBBLES_FUNCTION(tile)(on, n);                                                                       \
        break;

NIBBLES_TARGET static void NIBBLES_FUNCTION(multiply)(const struct nibbles_block *on) {
    switch (on->rows) {
        NIBBLES_CASE(1)
        NIBBLES_CASE(2)
        NIBBLES_CASE(3)
        NIBBLES_CASE(4)
#if NIBBLES_ROWS > 4
        NIBBLES_CASE(5)
        NIBBLES_CASE(6)
#endif
#if NIBBLES_ROWS > 6
        NIBBLES_CASE(7)
        NIBBLES_CASE(8)
        NIBBLES_CASE(9)
        NIBBLES_CASE(10)
#endif
    default:
        break;
    }
}
