/* A second operand packed once for many products. */
#include <errno.h>
#include <stdlib.h>

#include "gemm/packed.h"

struct amx_packed *amx_packed_new(int element, int dimensions, int64_t count, int64_t k, int64_t n) {
    if ((element != 1 && element != 2) || count < 0 || k < 0 || n < 0) {
        return NULL;
    }
    struct amx_packed *packed = calloc(1, sizeof *packed);
    if (packed == NULL) {
        return NULL;
    }
    packed->element = element;
    packed->dimensions = dimensions;
    packed->count = count;
    packed->k = k;
    packed->n = n;
    const int64_t panels = n / GEMM_PANEL + (n % GEMM_PANEL != 0);
    const int64_t per_chunk = GEMM_CHUNK / element;
    packed->chunks = k / per_chunk + (k % per_chunk != 0);
    int64_t bytes;
    if (__builtin_mul_overflow(panels, packed->chunks, &bytes) ||
        __builtin_mul_overflow(bytes, (int64_t)GEMM_STEP, &bytes)) {
        free(packed);
        return NULL;
    }
    packed->item_bytes = bytes;
    if (!__builtin_mul_overflow(bytes, count, &bytes)) {
        packed->data = gemm_pages((size_t)bytes);
    }
    if (packed->data == NULL) {
        free(packed);
        return NULL;
    }
    return packed;
}

void amx_packed_free(struct amx_packed *packed) {
    if (packed != NULL) {
        free(packed->data);
        free(packed);
    }
}

int64_t amx_packed_bytes(const struct amx_packed *packed) {
    return packed->item_bytes * packed->count;
}

int amx_packed_fill(struct amx_packed *packed, int64_t item, const void *b, int64_t row, int64_t column) {
    if (item < 0 || item >= packed->count) {
        return -EINVAL;
    }
    const struct gemm_matrix matrix = {b, packed->k, packed->n, row, column, packed->element};
    uint8_t *panel = packed->data + item * packed->item_bytes;
    for (int64_t c = 0; c < packed->n; c += GEMM_PANEL, panel += packed->chunks * GEMM_STEP) {
        gemm_pack_b(panel, &matrix, c, 0, packed->chunks);
    }
    return 0;
}
