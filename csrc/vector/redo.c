/* Floats whose NaN VFMADD does not choose as tiles do: element by element, as docs/numerics.md defines it. */
#include "vector/vector.h"

#include <string.h>

#include "emulator/float32.h"

static uint32_t load32(const void *from) {
    uint32_t x;
    memcpy(&x, from, sizeof x);
    return x;
}

static uint32_t widen(uint16_t x, enum vector_kind kind) {
    return kind == VECTOR_BF16 ? amxemu_from_bf16(x) : amxemu_from_fp16(x);
}

static int is_nan(uint32_t x) {
    return (x & 0x7FFFFFFF) > 0x7F800000;
}

/* A prepared holds the elements of a chunk as binary32, in every family. */
static uint32_t element(const struct vector_block *on, int64_t row, int64_t column) {
    const uint8_t *a = on->a + row * on->a_row, *b = on->b;
    b += column / VECTOR_COLUMNS * VECTOR_TILE + column % VECTOR_COLUMNS * 4;
    uint32_t sum = load32(on->from + row * on->from_row + 4 * column);
    for (int64_t q = 0; q < on->chunks; q++, a += 2 * VECTOR_CHUNK, b += on->b_chunk) {
        uint32_t even = 0, odd = 0;
        for (int word = 0; word < 16; word++) {
            const uint32_t two = load32(b + word * VECTOR_CHUNK);
            even = amxemu_fma32(load32(a + 8 * word), widen((uint16_t)two, on->kind), even);
            odd = amxemu_fma32(load32(a + 8 * word + 4), widen((uint16_t)(two >> 16), on->kind), odd);
        }
        sum = amxemu_add32(sum, amxemu_add32(even, odd));
    }
    return sum;
}

void vector_redo(const struct vector_block *on, int64_t row, int64_t rows, const float *results,
                 int64_t results_row) {
    for (int64_t r = row; r < row + rows; r++, results += results_row) {
        for (int64_t column = 0; column < on->columns; column++) {
            uint32_t result = load32(results + column);
            if (is_nan(result)) {
                result = element(on, r, column);
            }
            memcpy(on->c + r * on->c_row + 4 * column, &result, sizeof result);
        }
    }
}
