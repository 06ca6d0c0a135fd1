/* 4-bit weights in plain C, for any CPU, and for the software tile machine: nibbles.h has the contract. */
#include <string.h>

#include "emulator/float32.h"
#include "vector/nibble_families.h"

enum { ROWS = 4 };

/* A row and a column over a piece, as nibbles.h takes it apart. */
static int32_t piece(const int8_t *words, const int16_t *pair, int rows, const uint8_t *b, int64_t units,
                     int zero) {
    int32_t products = 0, sum = 0;
    for (int64_t word = 0; word < 8 * units; word++) {
        const uint8_t *const line = b + word / 8 * NIBBLES_UNIT_BYTES + word % 4 * 64;
        for (int i = 0; i < 4; i++) {
            const int q = word % 8 < 4 ? line[i] & 15 : line[i] >> 4;
            products += words[4 * rows * word + i] * q;
            sum += q;
        }
    }
    return products + pair[0] * sum + pair[1] * zero;
}

static float scale_of(const struct nibbles_block *on, int64_t at) {
    if (!on->scales_are_float16) {
        return ((const float *)on->scales)[at];
    }
    const uint32_t bits = amxemu_from_fp16(((const uint16_t *)on->scales)[at]);
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return scale;
}

static float element(const struct nibbles_block *on, int row, int column) {
    const uint8_t *a = on->a, *b = on->b + 4 * column;
    float total = 0;
    for (int64_t unit = 0, at = column; unit < on->units; unit += on->group_units, at += NIBBLES_COLUMNS) {
        const int64_t left = on->units - unit, units = left < on->group_units ? left : on->group_units;
        uint32_t d = 0; /* which other zero points than there are leave */
        for (int64_t done = 0; done < units; done += NIBBLES_PIECE) {
            const int64_t some = nibbles_piece(units, done);
            const uint8_t *const pairs = a + some * NIBBLES_UNIT * on->rows;
            d += (uint32_t)piece((const int8_t *)a + 4 * row, (const int16_t *)(const void *)pairs + 2 * row,
                                 on->rows, b, some, on->zeros != NULL ? on->zeros[at] : on->zero);
            a = pairs + 4 * on->rows;
            b += some * NIBBLES_UNIT_BYTES;
        }
        total = total + (float)(int32_t)d * scale_of(on, at);
    }
    return total;
}

static void multiply(const struct nibbles_block *on) {
    for (int row = 0; row < on->rows; row++) {
        for (int column = 0; column < NIBBLES_COLUMNS; column++) {
            float *const to = (float *)(void *)((uint8_t *)on->sums + row * on->sums_row) + column;
            *to = element(on, row, column);
        }
    }
}

const struct nibbles_family nibbles_plain = {"plain", 0, ROWS, multiply};
