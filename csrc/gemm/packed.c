/* A second operand packed once for many products. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gemm/packed.h"

/* Items of the shape's leading dimensions, and the steps in each; -1 where they are too many or negative. */
static int64_t count_items(struct amx_packed *packed) {
    int64_t count = 1, *strides = packed->shape + packed->dimensions;
    for (int i = packed->dimensions - 3; i >= 0; i--) {
        strides[i] = count;
        if (packed->shape[i] < 0 || __builtin_mul_overflow(count, packed->shape[i], &count)) {
            return -1;
        }
    }
    return count;
}

/* Without data, whose bytes are *all; NULL where they are too many, or there is no memory. */
static struct amx_packed *described(int element, int dimensions, const int64_t *shape, int64_t *all) {
    if ((element != 1 && element != 2) || dimensions < 2) {
        return NULL;
    }
    const size_t size = (size_t)dimensions * sizeof *shape;
    struct amx_packed *packed = calloc(1, sizeof *packed + 2 * size);
    if (packed == NULL) {
        return NULL;
    }
    const int64_t k = shape[dimensions - 2], n = shape[dimensions - 1];
    memcpy(packed->shape, shape, size);
    packed->element = element;
    packed->dimensions = dimensions;
    packed->count = count_items(packed);
    packed->k = k;
    packed->n = n;
    const int64_t panels = n / GEMM_PANEL + (n % GEMM_PANEL != 0);
    const int64_t per_chunk = GEMM_CHUNK / element;
    packed->chunks = k / per_chunk + (k % per_chunk != 0);
    int64_t bytes;
    if (packed->count < 0 || k < 0 || n < 0 || __builtin_mul_overflow(panels, packed->chunks, &bytes) ||
        __builtin_mul_overflow(bytes, (int64_t)GEMM_STEP, &bytes)) {
        free(packed);
        return NULL;
    }
    packed->item_bytes = bytes;
    if (__builtin_mul_overflow(bytes, packed->count, all)) {
        free(packed);
        return NULL;
    }
    return packed;
}

struct amx_packed *amx_packed_new(int element, int dimensions, const int64_t *shape) {
    int64_t bytes;
    struct amx_packed *packed = described(element, dimensions, shape, &bytes);
    if (packed == NULL) {
        return NULL;
    }
    packed->data = gemm_pages((size_t)bytes);
    if (packed->data == NULL) {
        free(packed);
        return NULL;
    }
    return packed;
}

struct amx_packed *amx_packed_over(void *data, int64_t bytes, int element, int dimensions,
                                   const int64_t *shape) {
    int64_t wanted;
    struct amx_packed *packed = described(element, dimensions, shape, &wanted);
    if (packed != NULL && bytes != wanted) {
        free(packed);
        return NULL;
    }
    if (packed != NULL) {
        packed->data = data;
        packed->is_lent = 1;
    }
    return packed;
}

void amx_packed_free(struct amx_packed *packed) {
    if (packed != NULL) {
        if (!packed->is_lent) {
            free(packed->data);
        }
        free(packed);
    }
}

int64_t amx_packed_bytes(const struct amx_packed *packed) {
    return packed->item_bytes * packed->count;
}

const void *amx_packed_data(const struct amx_packed *packed) {
    return packed->data;
}

/* Whether a part of `all` begins where a unit does, and ends so, or with all. */
static int is_part(int64_t first, int64_t count, int64_t all, int64_t unit) {
    return first >= 0 && count >= 0 && first <= all && count <= all - first && first % unit == 0 &&
           (count % unit == 0 || count == all - first);
}

/* A piece at a time, between which it asks whether to go on. */
int amx_packed_fill(struct amx_packed *packed, int64_t item, int64_t first_row, int64_t rows,
                    int64_t first_column, int64_t columns, const void *b, int64_t row, int64_t column) {
    enum { PIECE = GEMM_PACKED_TOGETHER * GEMM_PANEL, CHUNKS = 256 }; /* 6 MiB */
    const int64_t per_chunk = GEMM_CHUNK / packed->element, deep = CHUNKS * per_chunk;
    if (item < 0 || item >= packed->count || !is_part(first_row, rows, packed->k, per_chunk) ||
        !is_part(first_column, columns, packed->n, GEMM_PANEL)) {
        return -EINVAL;
    }
    const int64_t panel_bytes = packed->chunks * GEMM_STEP;
    struct gemm_watch watch = gemm_watch_begin();
    for (int64_t c = 0; c < columns; c += PIECE) {
        uint8_t *panels =
            packed->data + item * packed->item_bytes + (first_column + c) / GEMM_PANEL * panel_bytes;
        for (int64_t r = 0; r < rows; r += deep) {
            const struct gemm_matrix piece = {
                .data = (const uint8_t *)b + r * row + c * column,
                .rows = rows - r < deep ? rows - r : deep,
                .columns = columns - c < PIECE ? columns - c : PIECE,
                .row_stride = row,
                .column_stride = column,
                .element = packed->element,
            };
            gemm_pack_b(panels + (first_row + r) / per_chunk * GEMM_STEP, panel_bytes, &piece, 0,
                        GEMM_PACKED_TOGETHER);
            if (gemm_is_time(&watch, GEMM_WATCHED) && gemm_ask(&watch)) {
                return -EINTR;
            }
        }
    }
    return 0;
}
