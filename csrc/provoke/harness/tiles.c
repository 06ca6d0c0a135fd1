/* Tiles to recognise again. */
#include "provoke/harness/tiles.h"

#include <string.h>

void tiles_config(uint8_t config[64], int rows, int colsb) {
    enum { COLSB = 16, ROWS = 48, TILES = 8 };
    memset(config, 0, 64);
    config[0] = 1; /* palette */
    for (int t = 0; t < TILES; t++) {
        config[COLSB + 2 * t] = (uint8_t)colsb;
        config[ROWS + t] = (uint8_t)rows;
    }
}

void tiles_pattern(uint8_t rows[1024], unsigned seed) {
    for (unsigned i = 0; i < 1024; i++)
        rows[i] = (uint8_t)((i * 131 + (i >> 8) * 31 + seed * 97) % 255 + 1);
}

void tiles_make(struct tiles *tiles, int rows, int colsb, unsigned seed) {
    tiles_config(tiles->config, rows, colsb);
    tiles_pattern(tiles->rows, seed);
    for (int row = 0; row < 16; row++)
        for (int column = 0; column < 64; column++)
            if (row >= rows || column >= colsb)
                tiles->rows[row * 64 + column] = 0;
}

void tiles_load(const struct kernel *k, const struct tiles *tiles) {
    k->ldtilecfg(tiles->config);
    k->tileloadd(tiles->rows);
}

int tiles_lost(const struct kernel *k, const struct tiles *tiles) {
    struct tiles seen = {{0}, {0}};
    int lost = 0;
    k->sttilecfg(seen.config);
    if (seen.config[0] != 0) /* else TILESTORED would fault */
        k->tilestored(seen.rows);
    for (size_t i = 0; i < sizeof seen.config; i++)
        lost += seen.config[i] != tiles->config[i];
    for (size_t i = 0; i < sizeof seen.rows; i++)
        lost += seen.rows[i] != tiles->rows[i];
    return lost;
}

int tiles_granted(const struct kernel *k) {
    uint64_t permission = 0;
    if (!(k->xcr0() & XFEATURE_MASK_XTILEDATA) || k->arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) != 0)
        return 0;
    return k->arch_prctl(ARCH_GET_XCOMP_PERM, (uintptr_t)&permission) == 0 &&
           (permission & XFEATURE_MASK_XTILEDATA) != 0;
}
