/* Rows of 8 bits as kernels of 4-bit weights take them: word by word beside each other, signed, and with the
 * sums of each piece of a group. */
#include <string.h>

#include "gemm/nibbles.h"

enum { PER_PIECE = NIBBLES_PIECE * NIBBLES_UNIT };

int64_t nibbles_row_bytes(const struct amx_nibbles *b) {
    const int64_t whole = b->group_units > 0 ? b->deep / b->group_units : 0;
    const int64_t rest = b->deep - whole * b->group_units;
    const int64_t pieces = whole * ((b->group_units + NIBBLES_PIECE - 1) / NIBBLES_PIECE) +
                           (rest + NIBBLES_PIECE - 1) / NIBBLES_PIECE;
    return b->deep * NIBBLES_UNIT + 4 * pieces;
}

/* One row's part of a piece with `count` elements of K. */
static void prepare_piece(uint8_t *to, int64_t units, int rows, int row, const uint8_t *x, int64_t count,
                          int is_unsigned, int32_t zero) {
    uint8_t filled[PER_PIECE] = {0};
    memcpy(filled, x, (size_t)count);
    int32_t sum = 0;
    for (int64_t i = 0; i < count; i++) {
        sum += is_unsigned ? x[i] : (int8_t)x[i];
    }
    for (int64_t word = 0; word < 8 * units; word++) {
        uint32_t four;
        memcpy(&four, filled + 4 * word, sizeof four);
        four ^= is_unsigned ? 0x80808080 : 0;
        memcpy(to + 4 * (word * rows + row), &four, sizeof four);
    }
    const int16_t pair[2] = {(int16_t)((is_unsigned ? 128 : 0) - zero), (int16_t)(count * zero - sum)};
    memcpy(to + 4 * (8 * units * rows + row), pair, sizeof pair);
}

void nibbles_prepare(uint8_t *to, const struct amx_nibbles *b, const struct nibbles_rows *from, int64_t first,
                     int rows) {
    for (int64_t group = 0; group < b->deep; group += b->group_units) {
        const int64_t left = b->deep - group, units = left < b->group_units ? left : b->group_units;
        for (int64_t done = 0; done < units; done += NIBBLES_PIECE) {
            const int64_t some = nibbles_piece(units, done), k = (group + done) * NIBBLES_UNIT;
            const int64_t count = b->k - k < some * NIBBLES_UNIT ? b->k - k : some * NIBBLES_UNIT;
            for (int row = 0; row < rows; row++) {
                const uint8_t *const x = from->x + (first + row) * from->x_row + k;
                const int32_t zero = from->zero != NULL ? from->zero[first + row] : 0;
                prepare_piece(to, some, rows, row, x, count, from->is_unsigned, zero);
            }
            to += (some * NIBBLES_UNIT + 4) * rows;
        }
    }
}
