/* Integers by VPDPBUSD, for one vector length; included once by each family's file, with
 *
 *   DOTS_NAME      of the family's functions, e.g. avx512_vnni
 *   DOTS_TARGET    attribute of functions that use its instructions
 *   DOTS_VECTOR    a vector of DOTS_BYTES bytes
 *   DOTS_ROWS      rows of a block
 *   DOTS_TILES     column tiles of a block
 *   DOTS_FEW       rows that go by all of B at once
 *   DOTS_LOAD(p), DOTS_STORE(p, x), DOTS_ZERO()    a vector, at any address
 *   DOTS_WORD(p), DOTS_BYTE(b)            4 bytes, or one, repeated
 *   DOTS_XOR(x, y)                        of bits
 *   DOTS_ADD(x, y), DOTS_TIMES_128(x), DOTS_MINUS_128(x)    of 32-bit words
 *   DOTS_DOT(kind, sum, a, b)             sum += a * b, four bytes a word; nothing saturates
 *   DOTS_MOVES_SIGNS                      1: no instruction for two signed or two unsigned factors
 *
 * Defines dots_NAME_prepare_a(), _multiply() and _multiply_few().
 *
 * Registers  DOTS_ROWS rows of C, DOTS_TILES * 16 columns wide; a row of B; a word of A
 * Layout     A and B as they come: four bytes of K a word
 * Signs      VPDPBUSD multiplies unsigned by signed bytes: A by B, or B by A. For two signed factors A moves
 *            up by 128 (its top bits are flipped), for two unsigned ones down, and C begins with 128 times
 *            the sums of B's columns less, or more. Padding moves too, and meets the zeros of B
 *            These sums are made anew for each block of rows: packed operands are the same for all engines,
 *            and have no room for sums that only this one wants; for 12 rows they cost 1/12 of its products
 * Few rows   DOTS_FEW rows of 32 columns of C, and the columns' sums beside them
 * Edges      rows that are left over go by 4, 2 and 1; the columns of a tile are always computed
 * Ceiling    VPDPBUSD from registers
 */
#include <stdint.h>

#include "vector/vector.h"

#define DOTS_JOIN_(a, b)    dots_##a##_##b
#define DOTS_JOIN(a, b)     DOTS_JOIN_(a, b)
#define DOTS_FUNCTION(what) DOTS_JOIN(DOTS_NAME, what)
#define DOTS_INLINE         static inline __attribute__((always_inline)) DOTS_TARGET

enum {
    DOTS_WORDS = 16, /* of a chunk */
    DOTS_LANES = DOTS_BYTES / 4,
    DOTS_ACROSS = DOTS_TILES * VECTOR_COLUMNS / DOTS_LANES, /* vectors in a row of C or B */
    DOTS_FEW_ACROSS = 2 * VECTOR_COLUMNS / DOTS_LANES,      /* in a row of a panel */
    DOTS_PER_TILE = VECTOR_CHUNK / DOTS_BYTES,
};

static inline int DOTS_FUNCTION(moves_signs)(enum vector_kind kind) {
    return DOTS_MOVES_SIGNS && (kind == VECTOR_SS || kind == VECTOR_UU);
}

/* Of few chunks row by row takes longer: the inner loop is the longer one. */
DOTS_TARGET static void DOTS_FUNCTION(prepare_a)(const struct vector_rows *on) {
    const DOTS_VECTOR move = DOTS_BYTE(DOTS_FUNCTION(moves_signs)(on->kind) ? 0x80 : 0);
    const int by_rows = on->chunks > 4;
    const int64_t outer = by_rows ? on->rows : on->chunks, inner = by_rows ? on->chunks : on->rows;
    const int64_t to_row = on->to_row, from_row = on->from_row, from_chunk = on->from_chunk;
    for (int64_t o = 0; o < outer; o++) {
        uint8_t *to = on->to + o * (by_rows ? to_row : VECTOR_CHUNK);
        const uint8_t *from = on->from + o * (by_rows ? from_row : from_chunk);
        for (int64_t i = 0; i < inner; i++) {
#pragma GCC unroll 2
            for (int j = 0; j < VECTOR_CHUNK; j += DOTS_BYTES) {
                DOTS_STORE(to + j, DOTS_XOR(DOTS_LOAD(from + j), move));
            }
            to += by_rows ? VECTOR_CHUNK : to_row;
            from += by_rows ? from_chunk : from_row;
        }
    }
}

/* Vector i of a row of B, in this word of a chunk. */
static inline const uint8_t *DOTS_FUNCTION(row)(const uint8_t *chunk, int word, int i) {
    return chunk + i / DOTS_PER_TILE * VECTOR_TILE + word * VECTOR_CHUNK + i % DOTS_PER_TILE * DOTS_BYTES;
}

/* What C begins with, less what was there: of sums of signed columns, or of unsigned ones. */
DOTS_INLINE DOTS_VECTOR DOTS_FUNCTION(moved)(DOTS_VECTOR sums, enum vector_kind kind) {
    return kind == VECTOR_SS ? DOTS_MINUS_128(sums) : DOTS_TIMES_128(sums);
}

/* One more to a sum of columns. */
#define DOTS_COUNT(kind, sum, b)                                                                             \
    do {                                                                                                     \
        if ((kind) == VECTOR_SS)                                                                             \
            DOTS_DOT(VECTOR_US, sum, ones, b);                                                               \
        else                                                                                                 \
            DOTS_DOT(VECTOR_SU, sum, ones, b);                                                               \
    } while (0)

/* What C begins with besides. */
DOTS_INLINE void DOTS_FUNCTION(sum_columns)(const struct vector_block *on, const enum vector_kind kind,
                                            const int across, int32_t *before) {
    const DOTS_VECTOR ones = DOTS_BYTE(1);
    const uint8_t *b = on->b;
    DOTS_VECTOR sum[2][DOTS_ACROSS]; /* of every other word, so that additions need not wait */
#pragma GCC unroll 4
    for (int i = 0; i < across; i++) {
        sum[0][i] = sum[1][i] = DOTS_ZERO();
    }
    for (int64_t q = 0; q < on->chunks; q++, b += on->b_chunk) {
        const uint8_t *const end = b + vector_words(on, q) * VECTOR_CHUNK;
        for (const uint8_t *words = b; words < end; words += 4 * VECTOR_CHUNK) {
#pragma GCC unroll 4
            for (int word = 0; word < 4; word++) {
#pragma GCC unroll 4
                for (int i = 0; i < across; i++) {
                    const DOTS_VECTOR row = DOTS_LOAD(DOTS_FUNCTION(row)(words, word, i));
                    DOTS_COUNT(kind, sum[word % 2][i], row);
                }
            }
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < across; i++) {
        const DOTS_VECTOR both = DOTS_ADD(sum[0][i], sum[1][i]);
        DOTS_STORE(before + i * DOTS_LANES, DOTS_FUNCTION(moved)(both, kind));
    }
}

/* A word of A's rows against a row of B. */
DOTS_INLINE void DOTS_FUNCTION(word)(DOTS_VECTOR c[][DOTS_ACROSS], const struct vector_rows_of_a *a,
                                     const uint8_t *lines, const int word, const int rows, const int across,
                                     const enum vector_kind kind) {
    DOTS_VECTOR row[DOTS_ACROSS];
#pragma GCC unroll 4
    for (int i = 0; i < across; i++) {
        row[i] = DOTS_LOAD(DOTS_FUNCTION(row)(lines, word, i));
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        const DOTS_VECTOR four = DOTS_WORD(vector_row_of_a(a, r) + 4 * word);
#pragma GCC unroll 4
        for (int i = 0; i < across; i++) {
            DOTS_DOT(kind, c[r][i], four, row[i]);
        }
    }
}

DOTS_INLINE void DOTS_FUNCTION(group)(const struct vector_block *on, int64_t first, const int rows,
                                      const int across, const enum vector_kind kind, const int32_t *before) {
    struct vector_rows_of_a a = vector_a_from(on, first, rows);
    const uint8_t *b = on->b;
    DOTS_VECTOR c[DOTS_ROWS][DOTS_ACROSS], begin[DOTS_ACROSS];
#pragma GCC unroll 4
    for (int i = 0; i < across; i++) {
        begin[i] = DOTS_FUNCTION(moves_signs)(kind) ? DOTS_LOAD(before + i * DOTS_LANES) : DOTS_ZERO();
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        vector_fetch_results(on, first + r, across / DOTS_PER_TILE);
#pragma GCC unroll 4
        for (int i = 0; i < across; i++) {
            c[r][i] = begin[i];
        }
    }
    if (on->from_row != 0) { /* not zeros */
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
            for (int i = 0; i < across; i++) {
                const uint8_t *from = on->from + (first + r) * on->from_row + i * DOTS_BYTES;
                c[r][i] = DOTS_ADD(c[r][i], DOTS_LOAD(from));
            }
        }
    }
    for (int64_t q = 0; q < on->chunks; q++, b += on->b_chunk) {
        const int words = q + 1 < on->chunks ? DOTS_WORDS : on->last_words;
        const uint8_t *lines = b;
        vector_fetch_ahead(on, first / DOTS_ROWS, q);
        for (int left = words; left >= 4; left -= 4, lines += 4 * VECTOR_CHUNK) {
#pragma GCC unroll 4
            for (int word = 0; word < 4; word++) {
                DOTS_FUNCTION(word)(c, &a, lines, word, rows, across, kind);
            }
            vector_go_on(&a, rows, 16);
        }
        for (int left = words % 4; left > 0; left--, lines += VECTOR_CHUNK) {
            DOTS_FUNCTION(word)(c, &a, lines, 0, rows, across, kind);
            vector_go_on(&a, rows, 4);
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int i = 0; i < across; i++) {
            DOTS_STORE(on->c + (first + r) * on->c_row + i * DOTS_BYTES, c[r][i]);
        }
    }
}

/* Rows that are left over go in groups of 4, 2 and 1. */
DOTS_INLINE void DOTS_FUNCTION(groups)(const struct vector_block *on, const int across,
                                       const enum vector_kind kind) {
    _Alignas(64) int32_t before[DOTS_ACROSS * DOTS_LANES];
    int64_t row = 0;
    if (DOTS_FUNCTION(moves_signs)(kind)) {
        DOTS_FUNCTION(sum_columns)(on, kind, across, before);
    }
    for (; row + DOTS_ROWS <= on->rows; row += DOTS_ROWS) {
        DOTS_FUNCTION(group)(on, row, DOTS_ROWS, across, kind, before);
    }
    for (; row + 4 <= on->rows; row += 4) {
        DOTS_FUNCTION(group)(on, row, 4, across, kind, before);
    }
    if (row + 2 <= on->rows) {
        DOTS_FUNCTION(group)(on, row, 2, across, kind, before);
        row += 2;
    }
    if (row < on->rows) {
        DOTS_FUNCTION(group)(on, row, 1, across, kind, before);
    }
}

/* A block, or the first column tile of it, where no more columns count. */
DOTS_INLINE void DOTS_FUNCTION(columns)(const struct vector_block *on, const enum vector_kind kind) {
    if (DOTS_TILES > 1 && on->columns <= VECTOR_COLUMNS) {
        DOTS_FUNCTION(groups)(on, DOTS_PER_TILE, kind);
    } else {
        DOTS_FUNCTION(groups)(on, DOTS_ACROSS, kind);
    }
}

DOTS_TARGET static void DOTS_FUNCTION(multiply)(const struct vector_block *on) {
    switch (on->kind) {
    case VECTOR_SS:
        DOTS_FUNCTION(columns)(on, VECTOR_SS);
        break;
    case VECTOR_SU:
        DOTS_FUNCTION(columns)(on, VECTOR_SU);
        break;
    case VECTOR_US:
        DOTS_FUNCTION(columns)(on, VECTOR_US);
        break;
    default:
        DOTS_FUNCTION(columns)(on, VECTOR_UU);
        break;
    }
}

/* The columns are summed up while B goes by. */
DOTS_INLINE void DOTS_FUNCTION(few)(const struct vector_block *on, int64_t first, const int rows,
                                    const enum vector_kind kind) {
    const DOTS_VECTOR ones = DOTS_BYTE(1);
    const uint8_t *b = on->b;
    DOTS_VECTOR c[DOTS_FEW][DOTS_FEW_ACROSS], sum[DOTS_FEW_ACROSS];
#pragma GCC unroll 4
    for (int i = 0; i < DOTS_FEW_ACROSS; i++) {
        sum[i] = DOTS_ZERO();
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            const uint8_t *from = on->from + (first + r) * on->from_row;
            c[r][i] = DOTS_LOAD(from + i * DOTS_BYTES);
        }
    }
    for (int64_t q = 0; q < on->chunks; q++, b += on->b_chunk) {
#pragma GCC unroll 2
        for (int tile = 0; tile < 2; tile++) {
#pragma GCC unroll 4
            for (int word = 0; word < DOTS_WORDS; word++) {
                DOTS_VECTOR four[DOTS_FEW];
                vector_fetch_line(b + tile * VECTOR_TILE + word * VECTOR_CHUNK);
#pragma GCC unroll 4
                for (int r = 0; r < rows; r++) {
                    four[r] = DOTS_WORD(on->a + (first + r) * on->a_row + q * VECTOR_CHUNK + 4 * word);
                }
#pragma GCC unroll 2
                for (int j = 0; j < DOTS_PER_TILE; j++) {
                    const int i = tile * DOTS_PER_TILE + j;
                    const DOTS_VECTOR row = DOTS_LOAD(DOTS_FUNCTION(row)(b, word, i));
                    if (DOTS_FUNCTION(moves_signs)(kind)) {
                        DOTS_COUNT(kind, sum[i], row);
                    }
#pragma GCC unroll 4
                    for (int r = 0; r < rows; r++) {
                        DOTS_DOT(kind, c[r][i], four[r], row);
                    }
                }
            }
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < DOTS_FEW_ACROSS; i++) {
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            if (DOTS_FUNCTION(moves_signs)(kind)) {
                c[r][i] = DOTS_ADD(c[r][i], DOTS_FUNCTION(moved)(sum[i], kind));
            }
            DOTS_STORE(on->c + (first + r) * on->c_row + i * DOTS_BYTES, c[r][i]);
        }
    }
}

DOTS_INLINE void DOTS_FUNCTION(by_kind)(const struct vector_block *on, int64_t first, const int rows) {
    switch (on->kind) {
    case VECTOR_SS:
        DOTS_FUNCTION(few)(on, first, rows, VECTOR_SS);
        break;
    case VECTOR_SU:
        DOTS_FUNCTION(few)(on, first, rows, VECTOR_SU);
        break;
    case VECTOR_US:
        DOTS_FUNCTION(few)(on, first, rows, VECTOR_US);
        break;
    default:
        DOTS_FUNCTION(few)(on, first, rows, VECTOR_UU);
        break;
    }
}

DOTS_TARGET static void DOTS_FUNCTION(multiply_few)(const struct vector_block *on) {
    int64_t row = 0;
    for (; row + DOTS_FEW <= on->rows; row += DOTS_FEW) {
        DOTS_FUNCTION(by_kind)(on, row, DOTS_FEW);
    }
    for (; row < on->rows; row++) {
        DOTS_FUNCTION(by_kind)(on, row, 1);
    }
}
