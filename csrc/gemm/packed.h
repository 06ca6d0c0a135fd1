/* A packed second operand: count items of [panel][chunk][2 tiles], see gemm.h. */
#ifndef AMX_GEMM_PACKED_H
#define AMX_GEMM_PACKED_H

#include "gemm/gemm.h"

struct amx_packed {
    uint8_t *data;
    int is_lent; /* data is somebody else's to free */
    int64_t count, k, n, chunks;
    int64_t item_bytes;
    int element; /* bytes */
    int dimensions;
    int64_t shape[]; /* of the array that was packed; then, as its strides, items from each to the next */
};

#endif
