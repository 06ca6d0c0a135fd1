/* 4-bit weights as they are packed: a head, and for each tile of 16 columns, one behind the other, first what
 * struct nibbles_block of csrc/vector/nibbles.h calls B, then scales, then zeros. Beside N and K the
 * memory is all that there is to know. */
#ifndef AMX_GEMM_NIBBLES_H
#define AMX_GEMM_NIBBLES_H

#include "gemm/gemm.h"
#include "vector/nibbles.h"

enum { NIBBLES_HEAD_BYTES = 64, NIBBLES_HIGHEST_ZERO = 16 };

struct nibbles_head { /* at the begin of NIBBLES_HEAD_BYTES */
    int64_t group;    /* elements of K; one that is K or longer is all of it */
    int64_t zero, zeros_differ, scales_are_float16;
};

struct amx_nibbles {
    uint8_t *data; /* from a 64-byte boundary */
    int64_t bytes;
    int is_lent;
    int64_t group;
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
