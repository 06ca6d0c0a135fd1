/* Integers by VPMADDWD, for one vector length; included once by each family's file, with
 *   WORDS_NAME     of the family's functions, e.g. avx2
 *   WORDS_TARGET   attribute of functions that use its instructions
 *   WORDS_VECTOR   a vector of WORDS_BYTES bytes
 *   WORDS_ROWS     rows of a block, 1 to 6
 *   WORDS_TILES    column tiles of a block
 *   WORDS_LOAD(p), WORDS_STORE(p, x), WORDS_ZERO(), WORDS_WORD(p): a vector, at any address; and 4 bytes,
 * repeated WORDS_LOW(x, s), WORDS_HIGH(x, s): the even and odd bytes of 16-bit words as 16-bit words, signed
 * or not WORDS_MADD(sum, a, b): VPMADDWD and VPADDD, sum += a * b, by words in pairs Defines
 * words_NAME_prepare_a(), _prepare_b(), _multiply() and _multiply_few().
 *
 * Registers  WORDS_ROWS rows of C of WORDS_TILES * 16 columns; a row of B; a word of A, repeated; a product
 * Layout     a chunk of a row of A is 16 even words, a[4w] and a[4w + 2] as 16 bits each, then 16 odd ones,
 * a[4w + 1] and a[4w + 3]; of B 16 rows of even words of all columns, then 16 of odd ones Steps      a word
 * of A against a row of B is one VPMADDWD for as many columns as a vector has words. Its sum of two products
 * is at most 2 * 255^2: nothing saturates (VPMADDUBSW would) Edges      rows that are left over have kernels
 * of their own; columns are always computed Ceiling    VPMADDWD and VPADDD from registers
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

WORDS_INLINE void WORDS_FUNCTION(split_b)(uint8_t *to, const uint8_t *from, int64_t from_chunk,
                                          int64_t chunks, int is_signed) {
    for (int64_t q = 0; q < chunks; q++, to += WORDS_B_CHUNK, from += from_chunk) {
        for (int tile = 0; tile < WORDS_TILES; tile++) {
            const uint8_t *row = from + tile * VECTOR_TILE;
            uint8_t *even = to + tile * VECTOR_CHUNK;
            for (int word = 0; word < 16; word++, row += VECTOR_CHUNK, even += WORDS_B_ROW) {
                for (int i = 0; i < VECTOR_CHUNK; i += WORDS_BYTES) {
                    const WORDS_VECTOR x = WORDS_LOAD(row + i);
                    WORDS_STORE(even + i, WORDS_LOW(x, is_signed));
                    WORDS_STORE(even + WORDS_B_CHUNK / 2 + i, WORDS_HIGH(x, is_signed));
                }
            }
        }
    }
}

WORDS_TARGET static void WORDS_FUNCTION(prepare_b)(uint8_t *to, int32_t *sums, const uint8_t *from,
                                                   int64_t from_chunk, int64_t chunks,
                                                   enum vector_kind kind) {
    (void)sums;
    if (kind == VECTOR_SS || kind == VECTOR_US) {
        WORDS_FUNCTION(split_b)(to, from, from_chunk, chunks, 1);
    } else {
        WORDS_FUNCTION(split_b)(to, from, from_chunk, chunks, 0);
    }
}

WORDS_INLINE void WORDS_FUNCTION(group)(const struct vector_block *on, int64_t first, const int rows) {
    const uint8_t *a[WORDS_ROWS], *b = on->b;
    WORDS_VECTOR c[WORDS_ROWS][WORDS_ACROSS];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        a[r] = on->a + (first + r) * on->a_row;
        const uint8_t *from = on->from + (first + r) * on->from_row;
#pragma GCC unroll 8
        for (int i = 0; i < WORDS_ACROSS; i++) {
            c[r][i] = on->from != NULL ? WORDS_LOAD(from + i * WORDS_BYTES) : WORDS_ZERO();
        }
    }
    for (int64_t q = 0; q < on->chunks; q++, b += WORDS_B_CHUNK) {
        vector_fetch_ahead(on, first / WORDS_ROWS, q);
#pragma GCC unroll 32
        for (int s = 0; s < WORDS_STEPS; s++) {
            WORDS_VECTOR row[WORDS_ACROSS];
#pragma GCC unroll 8
            for (int i = 0; i < WORDS_ACROSS; i++) {
                row[i] = WORDS_LOAD(b + s * WORDS_B_ROW + i * WORDS_BYTES);
            }
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++) {
                const WORDS_VECTOR word = WORDS_WORD(a[r] + q * WORDS_A_CHUNK + 4 * s);
#pragma GCC unroll 8
                for (int i = 0; i < WORDS_ACROSS; i++) {
                    WORDS_MADD(c[r][i], word, row[i]);
                }
            }
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        uint8_t *to = on->c + (first + r) * on->c_row;
#pragma GCC unroll 8
        for (int i = 0; i < WORDS_ACROSS; i++) {
            WORDS_STORE(to + i * WORDS_BYTES, c[r][i]);
        }
    }
}

WORDS_TARGET static void WORDS_FUNCTION(multiply)(const struct vector_block *on) {
    int64_t row = 0;
    for (; row + WORDS_ROWS <= on->rows; row += WORDS_ROWS) {
        WORDS_FUNCTION(group)(on, row, WORDS_ROWS);
    }
    switch (on->rows - row) {
#if WORDS_ROWS > 5
    case 5:
        WORDS_FUNCTION(group)(on, row, 5);
        break;
    case 4:
        WORDS_FUNCTION(group)(on, row, 4);
        break;
#endif
#if WORDS_ROWS > 3
    case 3:
        WORDS_FUNCTION(group)(on, row, 3);
        break;
    case 2:
        WORDS_FUNCTION(group)(on, row, 2);
        break;
#endif
    case 1:
        WORDS_FUNCTION(group)(on, row, 1);
        break;
    default:
        break;
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
            c[r][i] = on->from != NULL ? WORDS_LOAD(from + i * WORDS_BYTES) : WORDS_ZERO();
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
                        WORDS_MADD(c[r][tile * WORDS_FEW_ACROSS / 2 + i], even[r], low);
                        WORDS_MADD(c[r][tile * WORDS_FEW_ACROSS / 2 + i], odd[r], high);
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
