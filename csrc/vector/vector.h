/* Products of blocks in vector registers, with the bits that tiles would give: families of kernels, one for
 * each set of vector instructions, and which of them this CPU has.
 *
 * Layouts. A chunk is 64 bytes of K, as in gemm/gemm.h: 16 words of four 8-bit or two 16-bit elements.
 *
 *   A            a[row][chunk][64 bytes of K]
 *   A, prepared  a[row][chunk][a_bytes]: what the family makes of each chunk
 *   B            b[chunk][word 0-15][column 0-15][4 bytes of K], a column tile, as TDP and VPDPBUSD want it
 *   B, prepared  what the family makes of it for itself, b_bytes a chunk, or nothing
 *   C            c[row][column], int32 or float32
 *
 * Integers are exact modulo 2^32. Floats follow docs/numerics.md: for each chunk an even and an odd chain
 * from +0, then their sum is added to the accumulator, which begins as `from`. VDPBF16PS and VFMADD*PH have
 * another order of operations or another rounding, so no family uses them.
 */
#ifndef AMX_VECTOR_VECTOR_H
#define AMX_VECTOR_VECTOR_H

#include <stdint.h>
#include <string.h>

enum {
    VECTOR_CHUNK = 64,   /* bytes of K */
    VECTOR_COLUMNS = 16, /* of a column tile */
    VECTOR_TILE = 1024,  /* bytes of a chunk of it, as it comes */
};

/* What is multiplied: the bits of AMX_TDP*'s numbers, in its order. */
enum vector_kind { VECTOR_SS, VECTOR_SU, VECTOR_US, VECTOR_UU, VECTOR_BF16, VECTOR_FP16, VECTOR_KINDS };

/* Rows of A against one column tile of B, or as many as the family takes: tiles lie VECTOR_TILE apart. */
struct vector_block {
    const uint8_t *a; /* prepared */
    int64_t a_row;
    const uint8_t *b;
    int64_t b_chunk;
    uint8_t *prepared; /* room for b_bytes a chunk */
    int64_t chunks, rows;
    int last_words;      /* of the last chunk that exist: 1 to 16; what is behind them counts as nothing */
    int64_t columns;     /* that count: others may hold anything */
    const uint8_t *from; /* what C begins with: sums so far, or one row of zeros, 0 bytes apart */
    int64_t from_row;
    uint8_t *c; /* with room for all columns of the tiles */
    int64_t c_row;
    const uint8_t *results; /* what c will be or become, prefetched while products are computed */
    int64_t results_row;
    enum vector_kind kind;
    /* What will be needed next of B, so many bytes from here, in as many chunks: prefetched into L2 by the
     * first `ahead_groups` groups of rows, each `ahead_lines` lines of each chunk. */
    int64_t ahead;
    int64_t ahead_groups, ahead_lines;
};

/* Rows of A to be prepared: row r of chunk q is at from + r * from_row + q * from_chunk. */
struct vector_rows {
    uint8_t *to;
    int64_t to_row;
    const uint8_t *from;
    int64_t from_row, from_chunk;
    int64_t rows, chunks;
    enum vector_kind kind;
};

struct vector_family {
    const char *name;
    unsigned needs; /* of amxemu_vectors() */
    int rows;       /* of C that are kept in registers */
    int tiles;      /* column tiles beside each other: 1, or 2 */
    int cycles;     /* of 16 rows, 16 columns and a chunk at the ceiling, with two units */
    int a_bytes, b_bytes;
    int deepest; /* chunks of a block: B comes from L2 as fast as from L1; 0: what fits into half of L1 */
    void (*prepare_a)(const struct vector_rows *rows);
    void (*multiply)(const struct vector_block *block);
    /* The same for up to `few` rows and both column tiles of a panel, B going by once; 0: there is no such
     * kernel. */
    int few;
    void (*multiply_few)(const struct vector_block *block);
};

/* Words of chunk q to be multiplied, in whole quarters of a chunk: what lies beyond K is padding. */
static inline int vector_words(const struct vector_block *on, int64_t q) {
    return q + 1 < on->chunks ? 16 : (on->last_words + 3) / 4 * 4;
}

/* The chunk behind these, if any, a_chunk bytes each of A prepared: added to what C has then. */
static inline struct vector_block vector_behind(const struct vector_block *on, int64_t a_chunk) {
    struct vector_block last = *on;
    last.a += on->chunks * a_chunk;
    last.b += on->chunks * on->b_chunk;
    if (on->chunks > 0) {
        last.from = on->c;
        last.from_row = on->c_row;
    }
    last.chunks = 1;
    last.ahead_groups = 0; /* one chunk is not worth it */
    return last;
}

/* Where up to 12 rows of A lie, told by few registers: three rows from each of these, `row` apart. */
struct vector_rows_of_a {
    const uint8_t *three[4];
    int64_t row;
};

#define VECTOR_INLINE static inline __attribute__((always_inline))

VECTOR_INLINE struct vector_rows_of_a vector_a_from(const struct vector_block *on, int64_t first,
                                                    const int rows) {
    struct vector_rows_of_a a = {.row = on->a_row};
#pragma GCC unroll 4
    for (int i = 0; 3 * i < rows; i++) {
        a.three[i] = on->a + (first + 3 * i) * on->a_row;
    }
    return a;
}

VECTOR_INLINE const uint8_t *vector_row_of_a(const struct vector_rows_of_a *a, const int r) {
    return a->three[r / 3] + r % 3 * a->row;
}

VECTOR_INLINE void vector_go_on(struct vector_rows_of_a *a, const int rows, int64_t bytes) {
#pragma GCC unroll 4
    for (int i = 0; 3 * i < rows; i++) {
        a->three[i] += bytes;
    }
}

/* No fault, whatever lies there. */
static inline const void *vector_address(const uint8_t *from, int64_t offset) {
    return (const void *)((uintptr_t)from + (uintptr_t)offset);
}

/* Beside chunk q of a group of rows. */
static inline void vector_fetch_ahead(const struct vector_block *on, int64_t group, int64_t q) {
    enum { INTO_L2 = 2 };
    if (group < on->ahead_groups) {
        const int64_t first = on->ahead + q * on->b_chunk + group * on->ahead_lines * VECTOR_CHUNK;
        for (int64_t i = 0; i < on->ahead_lines; i++) {
            __builtin_prefetch(vector_address(on->b, first + i * VECTOR_CHUNK), 0, INTO_L2);
        }
    }
}

/* Beside a line of a panel that goes by once, in the order in which it lies: out of it, prefetchers of CPUs
 * lose track. */
static inline void vector_fetch_line(const uint8_t *line) {
    enum { AHEAD = 2048 };
    __builtin_prefetch(vector_address(line, AHEAD));
}

/* A row of results, of so many column tiles. */
static inline void vector_fetch_results(const struct vector_block *on, int64_t row, const int tiles) {
    enum { TO_BE_WRITTEN = 1 };
    for (int i = 0; i < tiles; i++) {
        __builtin_prefetch(vector_address(on->results, row * on->results_row + i * 4 * VECTOR_COLUMNS),
                           TO_BE_WRITTEN);
    }
}

/* Four bytes from any address. */
static inline int vector_word(const uint8_t *from) {
    int word;
    memcpy(&word, from, sizeof word);
    return word;
}

/* Best first; NULL behind the last one of those that this CPU and kernel allow. */
const struct vector_family *vector_nth(enum vector_kind kind, int index);
/* What products use: the best, or what was chosen by name; NULL: there is none. */
const struct vector_family *vector_selected(enum vector_kind kind);
int vector_select(enum vector_kind kind, const char *name); /* NULL: the best; 0, or -ENOTSUP */

/* ---- redo.c ---- */

/* Rows of a block whose results hold a NaN, from `results` (rows of all its columns, adjacent) to c, each NaN
 * chosen as tiles would. */
void vector_redo(const struct vector_block *block, int64_t row, int64_t rows, const float *results,
                 int64_t results_row);

#endif
