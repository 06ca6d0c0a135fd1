/* How the tile configuration is loaded, stored and released: LDTILECFG, STTILECFG, TILERELEASE. */
#include "emulator.h"

#include <string.h>

/* Layout of the 64 bytes (SDM vol. 1, 18.2.2, palette 1). What lies between is reserved and must be zero. */
enum {
    IMAGE_PALETTE = 0,
    IMAGE_START_ROW = 1,
    IMAGE_COLSB = 16, /* 16-bit little endian for each tile */
    IMAGE_ROWS = 48,
};
enum { MAX_PALETTE = 1 };

static int all_zero(const uint8_t *bytes, size_t begin, size_t end) {
    uint8_t any = 0;
    for (size_t i = begin; i < end; i++)
        any |= bytes[i];
    return any == 0;
}

enum amxemu_outcome amxemu_ldtilecfg(struct amxemu_state *s, const uint8_t image[AMXEMU_CONFIG_BYTES]) {
    uint16_t colsb[AMXEMU_TILES];
    uint8_t rows[AMXEMU_TILES];

    if (image[IMAGE_PALETTE] > MAX_PALETTE)
        return AMXEMU_GP;
    if (image[IMAGE_PALETTE] == 0) { /* the other 63 bytes are not looked at */
        amxemu_tilerelease(s);
        return AMXEMU_OK;
    }
    if (!all_zero(image, IMAGE_START_ROW + 1, IMAGE_COLSB) ||
        !all_zero(image, IMAGE_COLSB + 2 * AMXEMU_TILES, IMAGE_ROWS) ||
        !all_zero(image, IMAGE_ROWS + AMXEMU_TILES, AMXEMU_CONFIG_BYTES))
        return AMXEMU_GP;
    for (unsigned t = 0; t < AMXEMU_TILES; t++) {
        const uint8_t *field = image + IMAGE_COLSB + 2 * t;
        colsb[t] = (uint16_t)(field[0] | field[1] << 8);
        rows[t] = image[IMAGE_ROWS + t];
        if (colsb[t] > AMXEMU_COLSB || rows[t] > AMXEMU_ROWS || (colsb[t] == 0) != (rows[t] == 0))
            return AMXEMU_GP;
    }
    memset(s->tile, 0, sizeof s->tile);
    memcpy(s->colsb, colsb, sizeof colsb);
    memcpy(s->rows, rows, sizeof rows);
    s->palette = image[IMAGE_PALETTE];
    s->start_row = image[IMAGE_START_ROW]; /* any value: only loads and stores judge it */
    return AMXEMU_OK;
}

void amxemu_sttilecfg(const struct amxemu_state *s, uint8_t image[AMXEMU_CONFIG_BYTES]) {
    memset(image, 0, AMXEMU_CONFIG_BYTES);
    if (s->palette == 0)
        return;
    image[IMAGE_PALETTE] = s->palette;
    image[IMAGE_START_ROW] = s->start_row;
    for (unsigned t = 0; t < AMXEMU_TILES; t++) {
        image[IMAGE_COLSB + 2 * t] = (uint8_t)s->colsb[t];
        image[IMAGE_COLSB + 2 * t + 1] = (uint8_t)(s->colsb[t] >> 8);
        image[IMAGE_ROWS + t] = s->rows[t];
    }
}

void amxemu_tilerelease(struct amxemu_state *s) {
    memset(s, 0, sizeof *s);
}
