/* What brings one row of a tile to a ZMM register, as it is or converted: AMX-AVX512.
 *
 * Specification only (Intel's ISE reference, revision 062): neither the #UD rules nor the treatment of rows
 * beyond the tile, of denormals and of NaN were compared with silicon. The row's number is taken modulo 16;
 * earlier revisions also selected a part of the row and raised #GP.
 */
#include "emulator.h"
#include "float32.h"

#include <string.h>

static uint32_t converted(enum amxemu_op op, uint32_t word) {
    switch (op) {
    case AMXEMU_TCVTROWD2PS:
        return amxemu_from_int32((int32_t)word);
    case AMXEMU_TCVTROWPS2BF16H: /* the result is the upper half of the word, the rest of which is zero */
        return (uint32_t)amxemu_to_bf16(word) << 16;
    case AMXEMU_TCVTROWPS2BF16L:
        return amxemu_to_bf16(word);
    case AMXEMU_TCVTROWPS2PHH:
        return (uint32_t)amxemu_to_fp16(word) << 16;
    case AMXEMU_TCVTROWPS2PHL:
        return amxemu_to_fp16(word);
    default:
        return word;
    }
}

enum amxemu_outcome amxemu_tilerow(struct amxemu_state *s, enum amxemu_op op, unsigned t, uint32_t row,
                                   uint8_t zmm[AMXEMU_COLSB]) {
    if (s->palette == 0 || s->rows[t] == 0 || s->colsb[t] % 4 != 0)
        return AMXEMU_UD;
    row %= AMXEMU_ROWS;
    memset(zmm, 0, AMXEMU_COLSB);
    if (row < s->rows[t])
        for (unsigned i = 0; i < s->colsb[t]; i += 4) {
            uint32_t word;
            memcpy(&word, s->tile[t][row] + i, sizeof word);
            word = converted(op, word);
            memcpy(zmm + i, &word, sizeof word);
        }
    s->start_row = 0;
    return AMXEMU_OK;
}
