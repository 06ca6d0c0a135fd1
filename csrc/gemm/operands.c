/* The products of amx.h whose operands are pointers and strides; and of all, whether c lies apart. */
#include <errno.h>

#include "gemm/gemm.h"
#include "gemm/packed.h"

int gemm_element_of(int op) {
    return op >= AMX_TDPBF16PS ? 2 : 1;
}

/* The bytes of rows x columns elements, and of those of all items of a batch, as an interval. */
struct extent {
    uintptr_t begin, end;
};
static void widen(int64_t *low, int64_t *high, int64_t count, int64_t stride) {
    const int64_t last = (count - 1) * stride;
    *(last < 0 ? low : high) += last;
}
static struct extent extent_of(const struct gemm_matrix *matrix, int64_t batch, struct gemm_offsets items) {
    int64_t low = 0, high = matrix->element;
    widen(&low, &high, matrix->rows, matrix->row_stride);
    widen(&low, &high, matrix->columns, matrix->column_stride);
    if (batch > 1) {
        widen(&low, &high, items.inner, items.step);
        widen(&low, &high, batch / items.inner, items.outer);
    }
    return (struct extent){(uintptr_t)matrix->data + (uintptr_t)low,
                           (uintptr_t)matrix->data + (uintptr_t)high};
}
static int overlap(struct extent x, struct extent y) {
    return x.begin < y.end && y.begin < x.end;
}

/* Of one item, or of a batch whose items are steps apart; listed offsets are the caller's to check. */
static int c_overlaps(const struct gemm_call *call, int64_t batch) {
    const struct gemm_matrix c = {call->c, call->a.rows, call->b.columns, call->c_row, 4, 4};
    if (c.rows <= 0 || c.columns <= 0 || call->a.columns <= 0 || batch <= 0) {
        return 0;
    }
    const struct extent out = extent_of(&c, batch, call->c_offset);
    return overlap(out, extent_of(&call->a, batch, call->a_offset)) ||
           (call->packed == NULL && overlap(out, extent_of(&call->b, batch, call->b_offset)));
}

static struct gemm_offsets listed(const int64_t *each) {
    return (struct gemm_offsets){.each = each, .inner = 1};
}

int gemm_run_apart(struct gemm_call *call, int op, int threads, int64_t batch) {
    return c_overlaps(call, batch) ? -EXDEV : gemm_run(call, op, threads, batch);
}

int amx_gemm(int engine, int op, int threads, int64_t m, int64_t n, int64_t k, int64_t before, int64_t batch,
             const void *a, int64_t a_row, int64_t a_column, const int64_t *a_offset, /**/
             const void *b, int64_t b_row, int64_t b_column, const int64_t *b_offset, /**/
             void *c, int64_t c_row, const int64_t *c_offset) {
    struct gemm_call call = {
        .engine = engine,
        .a = {a, m, k, a_row, a_column, gemm_element_of(op)},
        .b = {b, k, n, b_row, b_column, gemm_element_of(op)},
        .packed = NULL,
        .a_offset = listed(a_offset),
        .b_offset = listed(b_offset),
        .c_offset = listed(c_offset),
        .c = c,
        .c_row = c_row,
        .layer = NULL,
        .before = before,
        .plan = NULL,
        .kernels = NULL,
        .family = NULL,
        .packed_chunks = 0,
        .packed_before = 0,
        .adds = 0,
        .kind = 0,
        .stop = {0, 0},
        .without_team = NULL,
    };
    return gemm_run_apart(&call, op, threads, batch);
}

/* Whether there is a matrix for each pair. */
static int has_items(const struct amx_packed *packed, const int64_t *item, int64_t batch) {
    if (item == NULL) {
        return batch <= 0 || packed->count > 0;
    }
    for (int64_t i = 0; i < batch; i++) {
        if (item[i] < 0 || item[i] >= packed->count) {
            return 0;
        }
    }
    return 1;
}

int amx_gemm_packed(int engine, int op, int threads, int64_t m, int64_t n, int64_t k, int64_t before,
                    int64_t batch,                                                           /**/
                    const void *a, int64_t a_row, int64_t a_column, const int64_t *a_offset, /**/
                    const struct amx_packed *b, const int64_t *b_item,                       /**/
                    void *c, int64_t c_row, const int64_t *c_offset) {
    if (n != b->n || !has_items(b, b_item, batch)) {
        return -EINVAL;
    }
    struct gemm_call call = {
        .engine = engine,
        .a = {a, m, k, a_row, a_column, gemm_element_of(op)},
        .b = {NULL, k, b->n, 0, 0, gemm_element_of(op)},
        .packed = b,
        .a_offset = listed(a_offset),
        .b_offset = listed(b_item),
        .c_offset = listed(c_offset),
        .c = c,
        .c_row = c_row,
        .layer = NULL,
        .before = before,
        .plan = NULL,
        .kernels = NULL,
        .family = NULL,
        .packed_chunks = 0,
        .packed_before = 0,
        .adds = 0,
        .kind = 0,
        .stop = {0, 0},
        .without_team = NULL,
    };
    return gemm_run_apart(&call, op, threads, batch);
}
