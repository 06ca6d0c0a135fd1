/* What a layer makes of products, block by block, while they are in cache: no matrix of int32 or float32 sums
 * is kept. docs/numerics.md, "Layers", is the definition. */
#include "gemm/job.h"

int64_t gemm_size_of(enum layer_type type) {
    return type == LAYER_FLOAT32 ? 4 : type == LAYER_BFLOAT16 || type == LAYER_FLOAT16 ? 2 : 1;
}

static const void *behind(const void *from, int64_t offset) {
    return from == NULL ? NULL : (const uint8_t *)from + offset;
}

int gemm_out_overlaps(const struct layer_block *layer, int64_t rows, int64_t columns, const void *from,
                      int64_t bytes) {
    const int64_t size = (rows - 1) * layer->out_row + columns * gemm_size_of(layer->out_type);
    const uintptr_t begin = (uintptr_t)from, out = (uintptr_t)layer->out;
    return rows > 0 && out < begin + (uintptr_t)bytes && begin < out + (uintptr_t)size;
}

void gemm_finish(const struct layer_block *layer, int64_t k, int64_t row, int64_t rows, int64_t column,
                 int64_t columns, const uint8_t *sums, int64_t sums_row) {
    struct layer_block on = *layer;
    on.c = sums;
    on.c_row = sums_row;
    on.rows = rows;
    on.columns = columns;
    on.k = k;
    on.row_scale = behind(on.row_scale, row * 4);
    on.row_zero = behind(on.row_zero, row * 4);
    on.row_sum = behind(on.row_sum, row * 4);
    on.column_scale = behind(on.column_scale, column * 4);
    on.column_zero = behind(on.column_zero, column * 4);
    on.column_sum = behind(on.column_sum, column * 4);
    on.bias = behind(on.bias, column * 4);
    on.residual = behind(on.residual, row * on.residual_row + column * gemm_size_of(on.residual_type));
    on.out = (uint8_t *)on.out + row * on.out_row + column * gemm_size_of(on.out_type);
    layer_finish(&on);
}
