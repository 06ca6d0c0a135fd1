/* A layer's results for NumPy arrays, which are read where they lie (in_place.h): what is not as C wants it
 * is refused before anything is written, and the caller takes the longer way. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gemm/in_place.h"
#include "gemm/job.h"
#include "gemm/packed.h"
#include "tile/tiles.h"

enum { MOST_BYTES = 8 << 20 }; /* of what is made of rows */

/* The rows of an array of any dimensions but none, as many bytes apart. */
struct rows {
    uint8_t *data;
    int64_t rows, columns, row;
};

/* 0, or -EINVAL where elements of a row are not adjacent, or rows neither go upwards nor are equally far
 * apart. */
static int read_rows(const struct gemm_array *array, int64_t element, struct rows *found) {
    const int last = array->dimensions - 1;
    if (last < 0 || (array->shape[last] > 1 && array->strides[last] != element)) {
        return -EINVAL;
    }
    *found = (struct rows){array->data, 1, array->shape[last], array->shape[last] * element};
    for (int i = last - 1; i >= 0; i--) {
        if (array->shape[i] == 1) {
            continue;
        }
        if (found->rows == 1) {
            found->row = array->strides[i];
        } else if (array->strides[i] != found->rows * found->row) { /* rows may all be one: both are 0 */
            return -EINVAL;
        }
        found->rows *= array->shape[i];
    }
    return found->rows < 1 || found->row < 0 ? -EINVAL : 0;
}

static int have_same_shape(const struct gemm_array *x, const struct gemm_array *y) {
    const size_t before_columns = sizeof *x->shape * (size_t)(x->dimensions - 1);
    return x->dimensions == y->dimensions && memcmp(x->shape, y->shape, before_columns) == 0;
}

static int64_t bytes_of(const struct rows *rows, int64_t element) {
    return (rows->rows - 1) * rows->row + rows->columns * element;
}

/* What is made of rows lies in one piece: first their elements, padded to whole lines. */
static int64_t padded(int64_t bytes) {
    return (bytes + GEMM_CHUNK - 1) / GEMM_CHUNK * GEMM_CHUNK;
}

static int any_nan(const float *x, int64_t count) {
    int found = 0;
    for (int64_t i = 0; i < count; i++) {
        found |= isnan(x[i]);
    }
    return found;
}

static int multiply(const struct amx_layer *layer, int engine, int threads, const struct rows *a,
                    const struct layer_block *block) {
    return layer->nibbles != NULL ? amx_nibbles_layer(engine, threads, a->rows, layer->op == AMX_TDPBUSD,
                                                      a->data, a->row, layer->nibbles, block)
                                  : amx_gemm_layer(engine, layer->op, threads, a->rows, a->columns, a->data,
                                                   a->row, layer->packed, block);
}

/* Quantised first. */
static int multiply_quantized(const struct amx_layer *layer, int engine, int threads, const struct rows *x,
                              enum layer_type x_type, struct layer_block *block) {
    const int64_t q_row = padded(x->columns), m = x->rows;
    if (m > MOST_BYTES / (q_row + 12)) {
        return -E2BIG;
    }
    uint8_t *const made = aligned_alloc(GEMM_CHUNK, (size_t)padded(m * (q_row + 12)));
    if (made == NULL) {
        return -ENOMEM;
    }
    struct layer_rows rows = layer->rows;
    rows.x = x->data;
    rows.x_row = x->row;
    rows.x_type = x_type;
    rows.rows = m;
    rows.k = x->columns;
    rows.q = made;
    rows.q_row = rows.q_bytes = q_row;
    rows.scale = (float *)(void *)(made + m * q_row);
    rows.zero = (int32_t *)(void *)(made + m * (q_row + 4));
    rows.sum = (int32_t *)(void *)(made + m * (q_row + 8));
    amx_gemm_layer_rows(threads, &rows);
    block->row_scale = rows.scale;
    block->row_zero = layer->nibbles != NULL || block->column_sum != NULL ? rows.zero : NULL;
    block->row_sum = block->column_zero != NULL ? rows.sum : NULL;
    /* No integer stands for a NaN, and who says which row has one is not here. */
    const struct rows a = {made, m, x->columns, q_row};
    const int is_lost = gemm_size_of(block->out_type) == 1 && any_nan(rows.scale, m);
    const int error = is_lost ? -EDOM : multiply(layer, engine, threads, &a, block);
    free(made);
    return error;
}

/* float32 rounded first, to what the weights are. */
static int multiply_rounded(const struct amx_layer *layer, int engine, int threads, const struct rows *x,
                            const struct layer_block *block) {
    const int64_t row = padded(2 * x->columns), m = x->rows;
    if (m > MOST_BYTES / row) {
        return -E2BIG;
    }
    const struct rows a = {aligned_alloc(GEMM_CHUNK, (size_t)(m * row)), m, x->columns, 2 * x->columns};
    if (a.data == NULL) {
        return -ENOMEM;
    }
    amx_round(layer->op == AMX_TDPBF16PS ? AMX_BF16 : AMX_FP16, threads, m, x->columns, x->data, x->row,
              a.data);
    const int error = multiply(layer, engine, threads, &a, block);
    free(a.data);
    return error;
}

int amx_layer_arrays(int engine, int threads, const struct amx_layer *layer, enum layer_type x_type,
                     uint64_t x_array, enum layer_type residual_type, uint64_t residual_array,
                     uint64_t out_array) {
    if (!gemm_reads_arrays()) {
        return -ENOSYS;
    }
    const struct gemm_array *const x_fields = gemm_array_of(x_array), *const out_fields =
                                                                          gemm_array_of(out_array);
    struct layer_block block = layer->block;
    struct rows x, out, residual = {0};
    if (x_fields->dimensions < 1 || !have_same_shape(x_fields, out_fields) ||
        (out_fields->flags & GEMM_WRITEABLE) == 0 || read_rows(x_fields, gemm_size_of(x_type), &x) != 0 ||
        read_rows(out_fields, gemm_size_of(block.out_type), &out) != 0) {
        return -EINVAL;
    }
    const int is_quantised = !block.c_is_float;
    const enum layer_type weights = layer->op == AMX_TDPBF16PS ? LAYER_BFLOAT16 : LAYER_FLOAT16;
    if (!is_quantised && x_type != LAYER_FLOAT32 && x_type != weights) {
        return -EINVAL;
    }
    if (x.columns != block.k || x.columns < 1 || out.columns != block.columns || out.columns < 1 ||
        (out.rows > 1 && out.row < out.columns * gemm_size_of(block.out_type))) {
        return -EINVAL;
    }
    block.rows = out.rows;
    block.out = out.data;
    block.out_row = out.row;
    if (residual_array != 0) {
        const struct gemm_array *const fields = gemm_array_of(residual_array);
        block.residual_type = residual_type;
        if (!have_same_shape(out_fields, fields) ||
            read_rows(fields, gemm_size_of(residual_type), &residual) != 0 ||
            residual.columns != out.columns) {
            return -EINVAL;
        }
        block.residual = residual.data;
        block.residual_row = residual.row;
    }
    if (gemm_out_overlaps(&block, out.rows, out.columns, x.data, bytes_of(&x, gemm_size_of(x_type))) ||
        (residual_array != 0 && gemm_out_overlaps(&block, out.rows, out.columns, residual.data,
                                                  bytes_of(&residual, gemm_size_of(residual_type))))) {
        return -EINVAL;
    }
    return is_quantised              ? multiply_quantized(layer, engine, threads, &x, x_type, &block)
           : x_type == LAYER_FLOAT32 ? multiply_rounded(layer, engine, threads, &x, &block)
                                     : multiply(layer, engine, threads, &x, &block);
}
