/* Integers by VPMADDWD, for one vector length; included once by each family's file, with
 *
 *   WORDS_NAME      of the family's functions, e.g. avx2
 *   WORDS_TARGET    attribute of functions that use its instructions
 *   WORDS_VECTOR    a vector of WORDS_BYTES bytes
 *   WORDS_ROWS      rows of a block
 *   WORDS_TILES     column tiles of a block
 *   WORDS_LOAD(p), WORDS_STORE(p, x), WORDS_ZERO()    a vector, at any address
 *   WORDS_WORD(p)                        4 bytes, repeated
 *   WORDS_LOW(x, s), WORDS_HIGH(x, s)    even and odd bytes as 16-bit words, signed or not
 *   WORDS_MADD(s0, s1, a, b0, b1)        s0 += a * b0, s1 += a * b1, words in pairs: two VPMADDWD, then two
 *                                        VPADDD. Zen 3 takes 7 % longer for one of each after the other
 *   WORDS_PLUS(sum, a, b)                sum + a * b, words in pairs
 *   WORDS_KEEP(x)                        x is in a register, and not to be read again for each use
 *
 * Defines words_NAME_prepare_a(), _multiply() and _multiply_few().
 *
 * Registers  WORDS_ROWS rows of C, WORDS_TILES * 16 columns wide; a row of B; a word of A; two products
 * Layout     a chunk of a row of A: 16 even words, a[4w] and a[4w + 2] as 16 bits each, then 16 odd ones,
 *            a[4w + 1] and a[4w + 3]; of B: 16 rows of even words of all columns, then 16 of odd ones
 * Steps      a word of A against a row of B is one VPMADDWD for each vector. Its sum of two products is at
 *            most 2 * 255^2: nothing saturates (VPMADDUBSW would)
 * B          is prepared by the first rows, while they multiply
 * Few rows   split it in registers: WORDS_FEW rows of 32 columns of C, two halves of B and the words of A
 *            (of 16 registers of 16 bytes some spill)
 * Edges      rows that are left over go by 2 and 1; columns are always computed
 * Ceiling    VPMADDWD and VPADDD from registers
 */
#include <stdint.h>

#include "vector/vector.h"

#define WORDS_JOIN_(a, b)    words_##a##_##b
#define WORDS_JOIN(a, b)     WORDS_JOIN_(a, b)
#define WORDS_FUNCTION(what) WORDS_JOIN(WORDS_NAME, what)
#define WORDS_INLINE         static inline __attribute__((always_inline)) WORDS_TARGET

enum {
    WORDS_STEPS = 32, /* of a chunk: 16 even words, 16 odd ones */
    WORDS_LANES = WORDS_BYTES / 4,
    WORDS_ACROSS = WORDS_TILES * VECTOR_COLUMNS / WORDS_LANES, /* vectors in a row of C or B */
    WORDS_B_ROW = WORDS_ACROSS * WORDS_BYTES,
    WORDS_A_CHUNK = 4 * WORDS_STEPS,
    WORDS_B_CHUNK = WORDS_STEPS * WORDS_B_ROW,
    WORDS_FEW = 2,
    WORDS_FEW_ACROSS = 2 * VECTOR_COLUMNS / WORDS_LANES, /* in a row of a panel */
};

WORDS_INLINE void WORDS_FUNCTION(split_a)(const struct vector_rows *on, const int is_signed) {
    for (int64_t r = 0; r < on->rows; r++) {
        uint8_t *to = on->to + r * on->to_row;
        const uint8_t *from = on->from + r * on->from_row;
        for (int64_t q = 0; q < on->chunks; q++, to += WORDS_A_CHUNK, from += on->from_chunk) {
#pragma GCC unroll 4
            for (int i = 0; i < VECTOR_CHUNK; i += WORDS_BYTES) {
                const WORDS_VECTOR x = WORDS_LOAD(from + i);
                WORDS_STORE(to + i, WORDS_LOW(x, is_signed));
                WORDS_STORE(to + VECTOR_CHUNK + i, WORDS_HIGH(x, is_signed));
            }
        }
    }
}

WORDS_TARGET static void WORDS_FUNCTION(prepare_a)(const struct vector_rows *on) {
    if (on->kind == VECTOR_SS || on->kind == VECTOR_SU) {
        WORDS_FUNCTION(split_a)(on, 1);
    } else {
        WORDS_FUNCTION(split_a)(on, 0);
    }
}

WORDS_INLINE const uint8_t *WORDS_FUNCTION(row)(const uint8_t *chunk, int word, int i) {
    const int column = i * WORDS_LANES;
    return chunk + column / VECTOR_COLUMNS * VECTOR_TILE + word * VECTOR_CHUNK + column % VECTOR_COLUMNS * 4;
}

/* A word of a row of B, from where it lies to where it is prepared. */
WORDS_INLINE void WORDS_FUNCTION(split_word)(uint8_t *to, const uint8_t *chunk, int word, int i,
                                             const int is_signed, WORDS_VECTOR *low, WORDS_VECTOR *high) {
    const WORDS_VECTOR x = WORDS_LOAD(WORDS_FUNCTION(row)(chunk, word, i));
    uint8_t *const even = to + word * WORDS_B_ROW + i * WORDS_BYTES;
    *low = WORDS_LOW(x, is_signed);
    *high = WORDS_HIGH(x, is_signed);
    WORDS_STORE(even, *low);
    WORDS_STORE(even + WORDS_B_CHUNK / 2, *high);
}

WORDS_INLINE void WORDS_FUNCTION(begin)(const struct vector_block *on, int64_t first, const int rows,
                                        WORDS_VECTOR c[][WORDS_ACROSS]) {
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        const uint8_t *from = on->from + (first + r) * on->from_row;
#pragma GCC unroll 8
        for (int i = 0; i < WORDS_ACROSS; i++) {
            c[r][i] = WORDS_LOAD(from + i * WORDS_BYTES);
        }
    }
}

WORDS_INLINE void WORDS_FUNCTION(end)(const struct vector_block *on, int64_t first, const int rows,
                                      WORDS_VECTOR c[][WORDS_ACROSS]) {
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        uint8_t *to = on->c + (first + r) * on->c_row;
#pragma GCC unroll 8
        for (int i = 0; i < WORDS_ACROSS; i++) {
            WORDS_STORE(to + i * WORDS_BYTES, c[r][i]);
        }
    }
}

/* Even ones, or odd ones. */
WORDS_INLINE void WORDS_FUNCTION(four_words)(WORDS_VECTOR c[][WORDS_ACROSS], const uint8_t *const *a,
                                             const uint8_t *b, int64_t in_a, const int rows) {
#pragma GCC unroll 4
    for (int s = 0; s < 4; s++) {
        WORDS_VECTOR row[WORDS_ACROSS];
#pragma GCC unroll 8
        for (int i = 0; i < WORDS_ACROSS; i++) {
            row[i] = WORDS_LOAD(b + s * WORDS_B_ROW + i * WORDS_BYTES);
            WORDS_KEEP(row[i]);
        }
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            const WORDS_VECTOR word = WORDS_WORD(a[r] + in_a + 4 * s);
#pragma GCC unroll 4
            for (int i = 0; i < WORDS_ACROSS; i += 2) {
                WORDS_MADD(c[r][i], c[r][i + 1], word, row[i], row[i + 1]);
            }
        }
    }
}

/* Rows `first` ... against B prepared. */
WORDS_INLINE void WORDS_FUNCTION(group)(const struct vector_block *on, int64_t first, const int rows) {
    const uint8_t *a[WORDS_ROWS], *b = on->prepared;
    WORDS_VECTOR c[WORDS_ROWS][WORDS_ACROSS];
    WORDS_FUNCTION(begin)(on, first, rows, c);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        a[r] = on->a + (first + r) * on->a_row;
    }
    for (int64_t q = 0; q < on->chunks; q++, b += WORDS_B_CHUNK) {
        vector_fetch_ahead(on, first / WORDS_ROWS, q);
        const int words = vector_words(on, q);
        for (int w = 0; w < words; w += 4) { /* longer bodies make gcc copy registers */
            WORDS_FUNCTION(four_words)(c, a, b + w * WORDS_B_ROW, q * WORDS_A_CHUNK + 4 * w, rows);
            WORDS_FUNCTION(four_words)(c, a, b + w * WORDS_B_ROW + WORDS_B_CHUNK / 2,
                                       q * WORDS_A_CHUNK + 4 * w + VECTOR_CHUNK, rows);
        }
    }
    WORDS_FUNCTION(end)(on, first, rows, c);
}

/* The first rows against B as it comes, which is prepared meanwhile: its stores hide behind the products. */
WORDS_INLINE void WORDS_FUNCTION(first_group)(const struct vector_block *on, const int is_signed) {
    const uint8_t *b = on->b;
    uint8_t *to = on->prepared;
    const uint8_t *a[WORDS_ROWS];
    WORDS_VECTOR c[WORDS_ROWS][WORDS_ACROSS];
    WORDS_FUNCTION(begin)(on, 0, WORDS_ROWS, c);
#pragma GCC unroll 6
    for (int r = 0; r < WORDS_ROWS; r++) {
        a[r] = on->a + r * on->a_row;
    }
    for (int64_t q = 0; q < on->chunks; q++, b += on->b_chunk, to += WORDS_B_CHUNK) {
        const int words = vector_words(on, q);
        vector_fetch_ahead(on, 0, q);
#pragma GCC unroll 4
        for (int w = 0; w < words; w++) {
            WORDS_VECTOR low[WORDS_ACROSS], high[WORDS_ACROSS];
#pragma GCC unroll 8
            for (int i = 0; i < WORDS_ACROSS; i++) {
                WORDS_FUNCTION(split_word)(to, b, w, i, is_signed, &low[i], &high[i]);
            }
#pragma GCC unroll 6
            for (int r = 0; r < WORDS_ROWS; r++) {
                const uint8_t *const word = a[r] + q * WORDS_A_CHUNK + 4 * w;
                const WORDS_VECTOR even = WORDS_WORD(word), odd = WORDS_WORD(word + VECTOR_CHUNK);
#pragma GCC unroll 4
                for (int i = 0; i < WORDS_ACROSS; i += 2) {
                    WORDS_MADD(c[r][i], c[r][i + 1], even, low[i], low[i + 1]);
                    WORDS_MADD(c[r][i], c[r][i + 1], odd, high[i], high[i + 1]);
                }
            }
        }
    }
    WORDS_FUNCTION(end)(on, 0, WORDS_ROWS, c);
}

WORDS_INLINE void WORDS_FUNCTION(split_b)(const struct vector_block *on, const int is_signed) {
    const uint8_t *b = on->b;
    uint8_t *to = on->prepared;
    for (int64_t q = 0; q < on->chunks; q++, b += on->b_chunk, to += WORDS_B_CHUNK) {
        const int words = vector_words(on, q);
        for (int w = 0; w < words; w++) {
            for (int i = 0; i < WORDS_ACROSS; i++) {
                WORDS_VECTOR low, high;
                WORDS_FUNCTION(split_word)(to, b, w, i, is_signed, &low, &high);
            }
        }
    }
}

WORDS_TARGET static void WORDS_FUNCTION(multiply)(const struct vector_block *on) {
    const int is_signed = on->kind == VECTOR_SS || on->kind == VECTOR_US;
    int64_t row = 0;
    if (on->rows < WORDS_ROWS) {
        WORDS_FUNCTION(split_b)(on, is_signed);
    } else if (is_signed) {
        WORDS_FUNCTION(first_group)(on, 1);
        row = WORDS_ROWS;
    } else {
        WORDS_FUNCTION(first_group)(on, 0);
        row = WORDS_ROWS;
    }
    for (; row + WORDS_ROWS <= on->rows; row += WORDS_ROWS) {
        WORDS_FUNCTION(group)(on, row, WORDS_ROWS);
    }
    for (; WORDS_ROWS > 2 && row + 2 <= on->rows; row += 2) {
        WORDS_FUNCTION(group)(on, row, 2);
    }
    if (row < on->rows) {
        WORDS_FUNCTION(group)(on, row, 1);
    }
}

/* Split in registers while B goes by. */
WORDS_INLINE void WORDS_FUNCTION(few)(const struct vector_block *on, int64_t first, const int rows,
                                      const int is_signed) {
    const uint8_t *b = on->b;
    WORDS_VECTOR c[WORDS_FEW][WORDS_FEW_ACROSS];
#pragma GCC unroll 2
    for (int r = 0; r < rows; r++) {
        const uint8_t *from = on->from + (first + r) * on->from_row;
#pragma GCC unroll 8
        for (int i = 0; i < WORDS_FEW_ACROSS; i++) {
            c[r][i] = WORDS_LOAD(from + i * WORDS_BYTES);
        }
    }
    for (int64_t q = 0; q < on->chunks; q++, b += on->b_chunk) {
#pragma GCC unroll 2
        for (int tile = 0; tile < 2; tile++) {
#pragma GCC unroll 4
            for (int word = 0; word < 16; word++) {
                const uint8_t *line = b + tile * VECTOR_TILE + word * VECTOR_CHUNK;
                WORDS_VECTOR even[WORDS_FEW], odd[WORDS_FEW];
                vector_fetch_line(line);
#pragma GCC unroll 2
                for (int r = 0; r < rows; r++) {
                    const uint8_t *a = on->a + (first + r) * on->a_row + q * WORDS_A_CHUNK + 4 * word;
                    even[r] = WORDS_WORD(a);
                    odd[r] = WORDS_WORD(a + VECTOR_CHUNK);
                }
#pragma GCC unroll 4
                for (int i = 0; i < WORDS_FEW_ACROSS / 2; i++) {
                    const WORDS_VECTOR x = WORDS_LOAD(line + i * WORDS_BYTES);
                    const WORDS_VECTOR low = WORDS_LOW(x, is_signed), high = WORDS_HIGH(x, is_signed);
#pragma GCC unroll 2
                    for (int r = 0; r < rows; r++) {
                        WORDS_VECTOR *const sum = &c[r][tile * WORDS_FEW_ACROSS / 2 + i];
                        *sum = WORDS_PLUS(*sum, even[r], low);
                        *sum = WORDS_PLUS(*sum, odd[r], high);
                    }
                }
            }
        }
    }
#pragma GCC unroll 2
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (int i = 0; i < WORDS_FEW_ACROSS; i++) {
            WORDS_STORE(on->c + (first + r) * on->c_row + i * WORDS_BYTES, c[r][i]);
        }
    }
}

WORDS_TARGET static void WORDS_FUNCTION(multiply_few)(const struct vector_block *on) {
    const int is_signed = on->kind == VECTOR_SS || on->kind == VECTOR_US;
    int64_t row = 0;
    for (; row + WORDS_FEW <= on->rows; row += WORDS_FEW) {
        if (is_signed) {
            WORDS_FUNCTION(few)(on, row, WORDS_FEW, 1);
        } else {
            WORDS_FUNCTION(few)(on, row, WORDS_FEW, 0);
        }
    }
    for (; row < on->rows; row++) {
        if (is_signed) {
            WORDS_FUNCTION(few)(on, row, 1, 1);
        } else {
            WORDS_FUNCTION(few)(on, row, 1, 0);
        }
    }
}
