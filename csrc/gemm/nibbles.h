/* 4-bit weights as they are packed: for each tile of 16 columns, one behind the other, what struct
 * nibbles_block of csrc/vector/nibbles.h calls B, scales and zeros. */
#ifndef AMX_GEMM_NIBBLES_H
#define AMX_GEMM_NIBBLES_H

#include "gemm/gemm.h"
#include "vector/nibbles.h"

struct amx_nibbles {
    uint8_t *units, *scales, *zeros; /* zeros: NULL where all are `zero` */
    int zero, scales_are_float16;
    int64_t k, n;
    int64_t deep, group_units; /* units of K, and of a group */
    int64_t groups, tiles;
};

static inline int64_t nibbles_scale_bytes(const struct amx_nibbles *b) {
    return b->groups * NIBBLES_COLUMNS * (b->scales_are_float16 ? 2 : 4); /* of a tile */
}

/* ---- nibble_rows.c ---- */

/* Rows of 8 bits and their zero points. */
struct nibbles_rows {
    const uint8_t *x;
    int64_t x_row;
    int is_unsigned;
    const int32_t *zero; /* NULL: 0 for all */
};
int64_t nibbles_row_bytes(const struct amx_nibbles *b); /* of a row as kernels take it */
/* These rows, for one call of a kernel: as A of csrc/vector/nibbles.h. */
void nibbles_prepare(uint8_t *to, const struct amx_nibbles *b, const struct nibbles_rows *from, int64_t first,
                     int rows);

#endif
