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

static int64_t tile_of(int64_t count, int tile) { /* rows or columns of a block in its tile number `tile` */
    const int64_t rest = count - tile * GEMM_ROWS;
    return rest < GEMM_ROWS ? rest : GEMM_ROWS;
}

static void configure_tall(uint8_t config[64], int64_t rows, int64_t columns) {
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 2; j++) {
            set_tile(config, 2 * i + j, tile_of(rows, i), 4 * tile_of(columns, j));
        }
        set_tile(config, 4 + i, tile_of(rows, i), GEMM_CHUNK);
        set_tile(config, 6 + i, GEMM_ROWS, 4 * tile_of(columns, i));
    }
}

static void configure_wide(uint8_t config[64], int64_t rows, int64_t columns) {
    for (int j = 0; j < 4; j++) {
        set_tile(config, j, rows, 4 * tile_of(columns, j));
    }
    set_tile(config, 4, rows, GEMM_CHUNK);
    set_tile(config, 5, GEMM_ROWS, 4 * tile_of(columns, 0));
    set_tile(config, 6, GEMM_ROWS, 4 * tile_of(columns, 1));
    set_tile(config, 7, GEMM_ROWS, 4 * tile_of(columns, columns > 3 * GEMM_ROWS ? 3 : 2));
}

void gemm_configure(uint8_t config[64], int64_t rows, int64_t columns) {
    memset(config, 0, 64);
    config[0] = 1;
    if (rows > GEMM_ROWS) {
        configure_tall(config, rows, columns);
    } else {
        configure_wide(config, rows, columns);
    }
}
