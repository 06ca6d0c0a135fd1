/* Products of 8-bit rows with 4-bit weights in groups of K, which are unpacked inside the product: the
 * kernels, one family for each set of vector instructions, and which of them this CPU has.
 *
 * Weights q are 0 to 15, with a scale s and a zero point z, 0 to 16, for each group and column. For a row x,
 * whose zero point is zx, docs/numerics.md has
 *
 *   d = sum over the group of (x - zx) * (q - z), exact;    S = +0, then for each group S = S + float32(d) *
 * s
 *
 * each operation rounded once. Kernels take d apart, so that they multiply small numbers only:
 *
 *   d = sum of x * q  -  zx * sum of q  -  z * sum of (x - zx)
 *
 * Layouts. A unit is 32 elements of K. A group is whole units; where K ends within one, q is 0 behind it. A
 * piece is as many units of a group as there are, at most 4: over these the sums above fit 16 bits.
 *
 *   B       b[unit][line 0-3][column 0-15][4 elements of K]: line j has word j of the unit, which is elements
 *           4 * j to 4 * j + 3, in the low halves of its bytes, and word j + 4 in the high ones
 *   scales  scales[group][column], float16 or float32
 *   zeros   zeros[group][column], a byte each, or one number for all
 *   A       for each piece words[unit][word 0-7][row][4], int8; then pairs[row][2], int16: -zx and
 *           -sum of (x - zx). uint8 rows come less 128, x and zx
 *   S       sums[row][column], float32
 */
#ifndef AMX_VECTOR_NIBBLES_H
#define AMX_VECTOR_NIBBLES_H

#include <stdint.h>

enum {
    NIBBLES_UNIT = 32,         /* elements of K */
    NIBBLES_UNIT_BYTES = 256,  /* of B */
    NIBBLES_COLUMNS = 16,      /* of a tile */
    NIBBLES_PIECE = 4,         /* units */
    NIBBLES_MOST_ROWS = 10,    /* that any family takes */
    NIBBLES_LONGEST = 1 << 19, /* elements of a group: d fits 32 bits */
};

/* Some rows against a column tile, over all of K. Each is aligned as its vectors and numbers are. */
struct nibbles_block {
    const uint8_t *a;
    int rows; /* 1 to the family's */
    const uint8_t *b;
    const void *scales;
    int scales_are_float16;
    const uint8_t *zeros; /* NULL: `zero` for all */
    int zero;
    int64_t units, group_units; /* of K, and of a group; the last group may have fewer */
    float *sums;
    int64_t sums_row; /* bytes from row to row */
};

struct nibbles_family {
    const char *name;
    unsigned needs;                                   /* of amxemu_vectors() */
    int rows;                                         /* that go by B at once */
    void (*multiply)(const struct nibbles_block *on); /* with MXCSR as after reset */
};

/* Units of the piece that begins `done` units behind the beginning of a group with so many. */
static inline int64_t nibbles_piece(int64_t units, int64_t done) {
    return units - done < NIBBLES_PIECE ? units - done : NIBBLES_PIECE;
}

/* ---- nibble_family.c ---- */

/* Best first; NULL behind the last one of those that this CPU and kernel allow, which is plain C. */
const struct nibbles_family *nibbles_nth(int index);
/* What products use: the best, or what was chosen by name. */
const struct nibbles_family *nibbles_selected(void);
int nibbles_select(const char *name); /* NULL: the best; 0, or -ENOTSUP */

#endif
