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
static void look_at(const struct source *from, int64_t count, struct nibbles_head *head) {
    head->scales_are_float16 = 1;
    head->zero = count > 0 ? from->zero[0] : 0;
    for (int64_t i = 0; i < count; i++) {
        const uint32_t bits = bits_of(from->scale[i]);
        head->scales_are_float16 &= amxemu_from_fp16(amxemu_to_fp16(bits)) == bits;
        head->zeros_differ |= from->zero[i] != head->zero;
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

static int64_t up(int64_t count, int64_t step) {
    return count / step + (count % step != 0);
}

/* What sizes say; 0, or -EINVAL for groups that are none. */
static int describe(struct amx_nibbles *b, int64_t n, int64_t k, int64_t group) {
    const int64_t length = group < k ? group : k;
    if (n < 0 || k < 0 || group < 1 || (group < k && group % NIBBLES_UNIT != 0) || length > NIBBLES_LONGEST) {
        return -EINVAL;
    }
    *b = (struct amx_nibbles){
        .group = group,
        .k = k,
        .n = n,
        .deep = up(k, NIBBLES_UNIT),
        .group_units = up(length, NIBBLES_UNIT),
        .groups = up(k, group),
        .tiles = up(n, NIBBLES_COLUMNS),
    };
    return 0;
}

/* What the head says besides, and bytes of all of it; -ENOMEM for more than there can be. */
static int64_t count_bytes(struct amx_nibbles *b, const struct nibbles_head *head) {
    enum { MOST = NIBBLES_UNIT_BYTES + 5 * NIBBLES_COLUMNS }; /* of a unit, which has at most one group */
    b->zero = (int)head->zero;
    b->scales_are_float16 = head->scales_are_float16 != 0;
    int64_t bytes;
    if (b->deep > INT64_MAX / MOST) {
        return -ENOMEM;
    }
    const int64_t zeros = head->zeros_differ != 0 ? b->groups * NIBBLES_COLUMNS : 0;
    const int64_t tile = b->deep * NIBBLES_UNIT_BYTES + nibbles_scale_bytes(b) + zeros;
    if (__builtin_mul_overflow(b->tiles, tile, &bytes) || bytes > INT64_MAX - NIBBLES_HEAD_BYTES) {
        return -ENOMEM;
    }
    return bytes + NIBBLES_HEAD_BYTES;
}

static void lay_out(struct amx_nibbles *b, uint8_t *data, int64_t bytes, int64_t zeros_differ) {
    b->data = data;
    b->bytes = bytes;
    b->units = data + NIBBLES_HEAD_BYTES;
    b->scales = b->units + b->tiles * b->deep * NIBBLES_UNIT_BYTES;
    b->zeros = zeros_differ != 0 ? b->scales + b->tiles * nibbles_scale_bytes(b) : NULL;
}

static struct amx_nibbles *kept(const struct amx_nibbles *b) {
    struct amx_nibbles *const made = malloc(sizeof *made);
    if (made != NULL) {
        *made = *b;
    }
    return made;
}

int amx_nibbles_new(int64_t n, int64_t k, int64_t group, const uint8_t *values, int64_t row, int64_t column,
                    const float *scale, const int32_t *zero, struct amx_nibbles **made) {
    const struct source from = {values, row, column, scale, zero};
    struct nibbles_head head = {.group = group};
    struct amx_nibbles b;
    int error = describe(&b, n, k, group);
    if (error != 0) {
        return error;
    }
    look_at(&from, n * b.groups, &head);
    const int64_t bytes = count_bytes(&b, &head);
    uint8_t *const data = bytes < 0 ? NULL : gemm_pages((size_t)bytes);
    if (data == NULL) {
        return -ENOMEM;
    }
    memset(data, 0, (size_t)bytes);
    memcpy(data, &head, sizeof head);
    lay_out(&b, data, bytes, head.zeros_differ);
    error = pack(&b, &from);
    *made = error == 0 ? kept(&b) : NULL;
    if (*made == NULL) {
        free(data);
        return error == 0 ? -ENOMEM : error;
    }
    return 0;
}

struct amx_nibbles *amx_nibbles_over(void *data, int64_t bytes, int64_t n, int64_t k) {
    struct nibbles_head head;
    struct amx_nibbles b;
    if (bytes < NIBBLES_HEAD_BYTES) {
        return NULL;
    }
    memcpy(&head, data, sizeof head); /* once: others may write there meanwhile */
    if (describe(&b, n, k, head.group) != 0 || count_bytes(&b, &head) != bytes || head.zero < 0 ||
        head.zero > NIBBLES_HIGHEST_ZERO) {
        return NULL;
    }
    lay_out(&b, data, bytes, head.zeros_differ);
    b.is_lent = 1;
    return kept(&b);
}

void amx_nibbles_free(struct amx_nibbles *b) {
    if (b != NULL) {
        if (!b->is_lent) {
            free(b->data);
        }
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
    return b->bytes;
}

int64_t amx_nibbles_group(const struct amx_nibbles *b) {
    return b->group;
}

int amx_nibbles_zero(const struct amx_nibbles *b) {
    return b->zeros != NULL ? -1 : b->zero;
}

void *amx_nibbles_data(const struct amx_nibbles *b) {
    return b->data;
}
