/* The products of amx.h: operands as pointers and strides, or as NumPy arrays that are read where they lie.
 *
 * Asking an array for a buffer costs more than a small product. Its fields are those of PyArrayObject_fields
 * in NumPy's ndarraytypes.h. Every extension module that was compiled against NumPy reads them in place
 * (PyArray_DATA and the like are inline), so they stay as they are. They follow the object's header, whose
 * size the interpreter tells; amx/gemm.py compares what is read here with what NumPy says before it relies on
 * it.
 */
#include <errno.h>

#include "gemm/gemm.h"
#include "gemm/packed.h"

static int element_of(int op) {
    return op >= AMX_TDPBF16PS ? 2 : 1;
}

/* The bytes of rows x columns elements, and of `count` such matrices a step apart, as an interval. */
struct extent {
    uintptr_t begin, end;
};
static void widen(int64_t *low, int64_t *high, int64_t count, int64_t stride) {
    const int64_t last = (count - 1) * stride;
    *(last < 0 ? low : high) += last;
}
static struct extent extent_of(const struct gemm_matrix *matrix, int64_t count, int64_t step) {
    int64_t low = 0, high = matrix->element;
    widen(&low, &high, matrix->rows, matrix->row_stride);
    widen(&low, &high, matrix->columns, matrix->column_stride);
    widen(&low, &high, count, step);
    return (struct extent){(uintptr_t)matrix->data + (uintptr_t)low,
                           (uintptr_t)matrix->data + (uintptr_t)high};
}
static int overlap(struct extent x, struct extent y) {
    return x.begin < y.end && y.begin < x.end;
}

/* Of one item, or of a batch whose items are steps apart; other offsets of a batch are the caller's to check.
 */
static int c_overlaps(const struct gemm_call *call, int64_t batch) {
    const struct gemm_matrix c = {
        call->c, call->a.rows, call->packed != NULL ? call->packed->n : call->b.columns, call->c_row, 4, 4};
    if (c.rows <= 0 || c.columns <= 0 || call->a.columns <= 0 || batch <= 0) {
        return 0;
    }
    const struct extent out = extent_of(&c, batch, call->c_offset.step);
    return overlap(out, extent_of(&call->a, batch, call->a_offset.step)) ||
           (call->packed == NULL && overlap(out, extent_of(&call->b, batch, call->b_offset.step)));
}

static int run(struct gemm_call *call, int op, int threads, int64_t batch) {
    return c_overlaps(call, batch) ? -EXDEV : gemm_run(call, op, threads, batch);
}

int amx_gemm(int engine, int op, int threads, int64_t m, int64_t n, int64_t k, int64_t batch, /**/
             const void *a, int64_t a_row, int64_t a_column, const int64_t *a_offset,         /**/
             const void *b, int64_t b_row, int64_t b_column, const int64_t *b_offset,         /**/
             void *c, int64_t c_row, const int64_t *c_offset) {
    struct gemm_call call = {
        .engine = engine,
        .a = {a, m, k, a_row, a_column, element_of(op)},
        .b = {b, k, n, b_row, b_column, element_of(op)},
        .a_offset = {a_offset, 0},
        .b_offset = {b_offset, 0},
        .c_offset = {c_offset, 0},
        .c = c,
        .c_row = c_row,
    };
    return run(&call, op, threads, batch);
}

int amx_gemm_packed(int engine, int op, int threads, int64_t m, int64_t batch,               /**/
                    const void *a, int64_t a_row, int64_t a_column, const int64_t *a_offset, /**/
                    const struct amx_packed *b, const int64_t *b_item,                       /**/
                    void *c, int64_t c_row, const int64_t *c_offset) {
    struct gemm_call call = {
        .engine = engine,
        .a = {a, m, b->k, a_row, a_column, element_of(op)},
        .packed = b,
        .a_offset = {a_offset, 0},
        .b_offset = {b_item, 0},
        .c_offset = {c_offset, 0},
        .c = c,
        .c_row = c_row,
    };
    return run(&call, op, threads, batch);
}

/* ---- NumPy arrays ---- */

struct fields {
    uint8_t *data;
    int dimensions;
    const int64_t *shape, *strides;
    const void *base, *descr;
    int flags;
};
enum { WRITEABLE = 0x0400 }; /* NPY_ARRAY_WRITEABLE */

static uintptr_t header; /* bytes; 0: not told */

static const struct fields *fields_of(uint64_t array) {
    return (const struct fields *)((uintptr_t)array + header);
}

void amx_arrays_header(int64_t size) {
    header = (uintptr_t)size;
}

void amx_arrays_read(uint64_t array, struct amx_array *found) {
    const struct fields *fields = fields_of(array);
    found->data = (uint64_t)(uintptr_t)fields->data;
    found->dimensions = fields->dimensions;
    found->flags = fields->flags;
    for (int i = 0; i < 2 && i < fields->dimensions; i++) {
        found->shape[i] = fields->shape[i];
        found->strides[i] = fields->strides[i];
    }
}

/* `count` matrices, a step apart. */
struct matrices {
    struct gemm_matrix first;
    int64_t count, step;
};

/* 0, or -EINVAL where there are no two dimensions, or those before them are no one step. */
static int read_matrices(const struct fields *array, int element, struct matrices *found) {
    const int rows = array->dimensions - 2, columns = array->dimensions - 1;
    if (rows < 0) {
        return -EINVAL;
    }
    const int64_t *shape = array->shape, *strides = array->strides;
    *found = (struct matrices){
        .first = {array->data, shape[rows], shape[columns], strides[rows], strides[columns], element},
        .count = 1,
    };
    if (found->first.columns == 1) { /* then its stride is anything */
        found->first.column_stride = element;
    }
    for (int i = rows - 1; i >= 0; i--) {
        if (shape[i] == 1) {
            continue;
        }
        if (found->count == 1) {
            found->step = strides[i];
        } else if (strides[i] != found->step * found->count) {
            return -EINVAL;
        }
        found->count *= shape[i];
    }
    return 0;
}

static int same_batch(const struct fields *x, const struct fields *y) {
    int same = x->dimensions == y->dimensions;
    for (int i = 0; same && i < x->dimensions - 2; i++) {
        same = x->shape[i] == y->shape[i];
    }
    return same;
}

/* Whether tiles can be stored into c: adjacent columns, then rows and matrices that follow each other. The
 * strides of nothing are anything. */
static int can_be_stored_into(const struct matrices *c) {
    if (c->first.rows == 0 || c->first.columns == 0 || c->count == 0) {
        return 1;
    }
    const int64_t row = c->first.columns * 4;
    const int64_t matrix = (c->first.rows - 1) * c->first.row_stride + row;
    return c->first.column_stride == 4 && (c->first.rows <= 1 || c->first.row_stride >= row) &&
           (c->count <= 1 || c->step >= matrix);
}

int amx_gemm_arrays(int engine, int op, int threads, uint64_t a_array, uint64_t b_array,
                    const struct amx_packed *packed, uint64_t c_array) {
    const struct fields *const a_fields = fields_of(a_array), *const c_fields = fields_of(c_array);
    const struct fields *const b_fields = packed == NULL ? fields_of(b_array) : NULL;
    struct matrices a, b = {.count = 1}, c;
    int shared; /* one second operand for all items */
    if (header == 0) {
        return -ENOSYS;
    }
    if (read_matrices(a_fields, element_of(op), &a) != 0 || read_matrices(c_fields, 4, &c) != 0 ||
        !same_batch(a_fields, c_fields) || (c_fields->flags & WRITEABLE) == 0 || !can_be_stored_into(&c)) {
        return -EINVAL;
    }
    if (packed != NULL) {
        shared = packed->dimensions == 2;
        b.first.rows = packed->k;
        b.first.columns = packed->n;
        b.step = shared ? 0 : 1;
        if (!shared && (a_fields->dimensions != 3 || packed->dimensions != 3 || packed->count != a.count)) {
            return -EINVAL;
        }
    } else {
        shared = b_fields->dimensions == 2;
        if (read_matrices(b_fields, element_of(op), &b) != 0 ||
            (!shared && !same_batch(a_fields, b_fields))) {
            return -EINVAL;
        }
    }
    if (a.first.columns != b.first.rows || c.first.rows != a.first.rows ||
        c.first.columns != b.first.columns) {
        return -EINVAL;
    }
    if (shared && a.step == a.first.rows * a.first.row_stride &&
        c.step == a.first.rows * c.first.row_stride) {
        a.first.rows *= a.count; /* one taller product */
        a.count = 1;
    }
    struct gemm_call call = {
        .engine = engine,
        .a = a.first,
        .b = b.first,
        .packed = packed,
        .a_offset = {NULL, a.step},
        .b_offset = {NULL, b.step},
        .c_offset = {NULL, c.step},
        .c = (uint8_t *)(uintptr_t)c.first.data,
        .c_row = c.first.row_stride,
    };
    return run(&call, op, threads, a.count);
}
