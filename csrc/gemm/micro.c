/* Which micro-kernels belong to an instruction, and the tile configuration they share. */
#include <string.h>

#include "gemm/gemm.h"

const struct gemm_micro_set *gemm_micro_for(int op) {
    switch (op) {
    case AMX_TDPBSSD:
        return &gemm_micro_TDPBSSD;
    case AMX_TDPBSUD:
        return &gemm_micro_TDPBSUD;
    case AMX_TDPBUSD:
        return &gemm_micro_TDPBUSD;
    case AMX_TDPBUUD:
        return &gemm_micro_TDPBUUD;
    case AMX_TDPBF16PS:
        return &gemm_micro_TDPBF16PS;
    case AMX_TDPFP16PS:
        return &gemm_micro_TDPFP16PS;
    default:
        return NULL;
    }
}

static void set_tile(uint8_t config[64], int tile, int64_t rows, int64_t colsb) {
    if (rows > 0 &&
        colsb > 0) { /* else the tile is left out: rows and colsb are zero together or not at all */
        config[16 + 2 * tile] = (uint8_t)colsb;
        config[48 + tile] = (uint8_t)rows;
    }
}

void gemm_configure(uint8_t config[64], int64_t rows, int64_t columns) {
    const int64_t row[2] = {rows < GEMM_ROWS ? rows : GEMM_ROWS, rows - GEMM_ROWS};
    const int64_t colsb[2] = {4 * (columns < GEMM_ROWS ? columns : GEMM_ROWS), 4 * (columns - GEMM_ROWS)};
    memset(config, 0, 64);
    config[0] = 1;
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 2; j++) {
            set_tile(config, 2 * i + j, row[i], colsb[j]);
        }
        set_tile(config, 4 + i, row[i], GEMM_CHUNK);
        set_tile(config, 6 + i, GEMM_ROWS, colsb[i]);
    }
}
