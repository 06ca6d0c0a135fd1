/* 4-bit weights packed once for many products. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "emulator/float32.h"
#include "gemm/nibbles.h"

/* The weights as they come: a row for each column of B. */
struct source {
    const uint8_t *values;
    int64_t row, column;
    const float *scale;
    const int32_t *zero;
};

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Scales that float16 has all of take half the memory; zero points that are equal, none. */
static void look_at(const struct source *from, struct amx_nibbles *b, int *zeros_differ) {
    const int64_t count = b->n * b->groups;
    b->scales_are_float16 = 1;
    b->zero = count > 0 ? from->zero[0] : 0;
    for (int64_t i = 0; i < count; i++) {
        const uint32_t bits = bits_of(from->scale[i]);
        b->scales_are_float16 &= amxemu_from_fp16(amxemu_to_fp16(bits)) == bits;
        *zeros_differ |= from->zero[i] != b->zero;
    }
}

static void pack_column(const struct amx_nibbles *b, const struct source *from, int64_t n) {
    const int64_t tile = n / NIBBLES_COLUMNS, column = n % NIBBLES_COLUMNS;
    uint8_t *const units = b->units + tile * b->deep * NIBBLES_UNIT_BYTES + 4 * column;
    const uint8_t *const values = from->values + n * from->row;
    for (int64_t k = 0; k < b->k; k++) {
        const int64_t word = k % NIBBLES_UNIT / 4;
        uint8_t *const line = units + k / NIBBLES_UNIT * NIBBLES_UNIT_BYTES + word % 4 * 64;
        line[k % 4] |= (uint8_t)((values[k * from->column] & 15) << (word < 4 ? 0 : 4));
    }
    for (int64_t g = 0; g < b->groups; g++) {
        const int64_t to = (tile * b->groups + g) * NIBBLES_COLUMNS + column;
        const float scale = from->scale[n * b->groups + g];
        if (b->scales_are_float16) {
            ((uint16_t *)(void *)b->scales)[to] = amxemu_to_fp16(bits_of(scale));
        } else {
            ((float *)(void *)b->scales)[to] = scale;
        }
        if (b->zeros != NULL) {
            b->zeros[to] = (uint8_t)from->zero[n * b->groups + g];
        }
    }
}

static int pack(const struct amx_nibbles *b, const struct source *from) {
    struct gemm_watch watch = gemm_watch_begin();
    for (int64_t n = 0; n < b->n; n++) {
        pack_column(b, from, n);
        if (gemm_is_time(&watch, b->deep) && gemm_ask(&watch)) {
            return -EINTR;
        }
    }
    return 0;
}

/* Zeros; NULL without memory, or if it is more than any. */
static uint8_t *get(int64_t count, int64_t bytes) {
    int64_t size;
    uint8_t *const memory = __builtin_mul_overflow(count, bytes, &size) ? NULL : gemm_pages((size_t)size);
    if (memory != NULL) {
        memset(memory, 0, (size_t)size);
    }
    return memory;
}

int amx_nibbles_new(int64_t n, int64_t k, int64_t group, const uint8_t *values, int64_t row, int64_t column,
                    const float *scale, const int32_t *zero, struct amx_nibbles **made) {
    const struct source from = {values, row, column, scale, zero};
    const int64_t length = group < k ? group : k;
    if (n < 0 || k < 0 || group < 1 || (group < k && group % NIBBLES_UNIT != 0) || length > NIBBLES_LONGEST) {
        return -EINVAL;
    }
    struct amx_nibbles *const b = calloc(1, sizeof *b);
    if (b == NULL) {
        return -ENOMEM;
    }
    int zeros_differ = 0;
    b->k = k;
    b->n = n;
    b->deep = (k + NIBBLES_UNIT - 1) / NIBBLES_UNIT;
    b->groups = k == 0 ? 0 : (k - 1) / group + 1;
    b->group_units = (length + NIBBLES_UNIT - 1) / NIBBLES_UNIT;
    b->tiles = n / NIBBLES_COLUMNS + (n % NIBBLES_COLUMNS != 0);
    look_at(&from, b, &zeros_differ);
    b->units = get(b->tiles, b->deep * NIBBLES_UNIT_BYTES);
    b->scales = get(b->tiles, nibbles_scale_bytes(b));
    b->zeros = zeros_differ ? get(b->tiles, b->groups * NIBBLES_COLUMNS) : NULL;
    const int has_all = b->units != NULL && b->scales != NULL && (!zeros_differ || b->zeros != NULL);
    const int error = has_all ? pack(b, &from) : -ENOMEM;
    if (error != 0) {
        amx_nibbles_free(b);
        return error;
    }
    *made = b;
    return 0;
}

void amx_nibbles_free(struct amx_nibbles *b) {
    if (b != NULL) {
        free(b->units);
        free(b->scales);
        free(b->zeros);
        free(b);
    }
}

static void unpack_column(const struct amx_nibbles *b, int64_t n, uint8_t *values, float *scale,
                          int32_t *zero) {
    const int64_t tile = n / NIBBLES_COLUMNS, column = n % NIBBLES_COLUMNS;
    const uint8_t *const units = b->units + tile * b->deep * NIBBLES_UNIT_BYTES + 4 * column;
    for (int64_t k = 0; k < b->k; k++) {
        const int64_t word = k % NIBBLES_UNIT / 4;
        const uint8_t *const line = units + k / NIBBLES_UNIT * NIBBLES_UNIT_BYTES + word % 4 * 64;
        values[k] = word < 4 ? line[k % 4] & 15 : line[k % 4] >> 4;
    }
    for (int64_t g = 0; g < b->groups; g++) {
        const int64_t from = (tile * b->groups + g) * NIBBLES_COLUMNS + column;
        const uint32_t bits = b->scales_are_float16
                                  ? amxemu_from_fp16(((const uint16_t *)(const void *)b->scales)[from])
                                  : bits_of(((const float *)(const void *)b->scales)[from]);
        memcpy(scale + g, &bits, sizeof bits);
        zero[g] = b->zeros != NULL ? b->zeros[from] : b->zero;
    }
}

void amx_nibbles_unpack(const struct amx_nibbles *b, uint8_t *values, float *scale, int32_t *zero) {
    for (int64_t n = 0; n < b->n; n++) {
        unpack_column(b, n, values + n * b->k, scale + n * b->groups, zero + n * b->groups);
    }
}

int64_t amx_nibbles_bytes(const struct amx_nibbles *b) {
    const int64_t zeros = b->zeros != NULL ? b->groups * NIBBLES_COLUMNS : 0;
    return b->tiles * (b->deep * NIBBLES_UNIT_BYTES + nibbles_scale_bytes(b) + zeros);
}
