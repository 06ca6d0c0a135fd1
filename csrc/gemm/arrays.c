/* The product of amx.h whose operands are NumPy arrays, which are read where they lie: amx/in_place.py says
 * why, what it rests on, and compares what is read here with what NumPy says before any product relies on it.
 */
#include <errno.h>

#include "gemm/gemm.h"
#include "gemm/in_place.h"
#include "gemm/packed.h"

static uintptr_t header; /* bytes; 0: not told */

int gemm_reads_arrays(void) {
    return header != 0;
}

const struct gemm_array *gemm_array_of(uint64_t array) {
    return (const struct gemm_array *)((uintptr_t)array + header);
}

void amx_arrays_header(int64_t size) {
    header = (uintptr_t)size;
}

void amx_arrays_read(uint64_t array, struct amx_array *found) {
    const struct gemm_array *const fields = gemm_array_of(array);
    found->data = (uint64_t)(uintptr_t)fields->data;
    found->dimensions = fields->dimensions;
    found->flags = fields->flags;
    for (int i = 0; i < 2 && i < fields->dimensions; i++) {
        found->shape[i] = fields->shape[i];
        found->strides[i] = fields->strides[i];
    }
}

/* The shape of an array, or of what was packed; then strides count items. */
struct stack {
    int dimensions;
    const int64_t *shape, *strides;
};

/* Matrices of two dimensions at least. */
static struct gemm_matrix matrix_of(const struct gemm_array *array, int element) {
    const int rows = array->dimensions - 2, columns = array->dimensions - 1;
    const int64_t *shape = array->shape, *strides = array->strides;
    return (struct gemm_matrix){
        .data = array->data,
        .rows = shape[rows],
        .columns = shape[columns],
        .row_stride = strides[rows],
        .column_stride = shape[columns] == 1 ? element : strides[columns], /* of one column: anything */
        .element = element,
    };
}

/* Items of a batch, and steps from one to the next in a, b and c: 0 where one serves them all. */
enum { OF_A, OF_B, OF_C, STACKS };
struct axis {
    int64_t count, step[STACKS];
};

static int continues(const struct axis *outer, const struct axis *inner) {
    int same = 1;
    for (int i = 0; i < STACKS; i++) {
        same &= outer->step[i] == inner->count * inner->step[i];
    }
    return same;
}

/* The dimensions before the last two, from the innermost, as numpy.matmul broadcasts those of a and b: 0, or
 * -EINVAL where c is not of that shape, or they are no two axes. */
static int read_batch(const struct stack stacks[STACKS], struct axis batch[2]) {
    const int a_or_b = stacks[OF_A].dimensions > stacks[OF_B].dimensions ? OF_A : OF_B;
    const int dimensions = stacks[OF_C].dimensions;
    struct axis *axis = batch;
    batch[0] = batch[1] = (struct axis){.count = 1};
    if (dimensions != stacks[a_or_b].dimensions) {
        return -EINVAL;
    }
    for (int back = 3; back <= dimensions; back++) {
        struct axis next;
        int64_t counts[STACKS];
        for (int i = 0; i < STACKS; i++) {
            const struct stack *stack = &stacks[i];
            counts[i] = back <= stack->dimensions ? stack->shape[stack->dimensions - back] : 1;
            next.step[i] = counts[i] == 1 ? 0 : stack->strides[stack->dimensions - back];
        }
        next.count = counts[OF_A] == 1 ? counts[OF_B] : counts[OF_A];
        if (counts[OF_C] != next.count || (counts[OF_B] != 1 && counts[OF_B] != next.count)) {
            return -EINVAL;
        }
        if (next.count == 1) {
            continue;
        }
        if (axis->count == 1) {
            *axis = next;
        } else if (continues(&next, axis)) {
            axis->count *= next.count;
        } else if (axis == batch) {
            *++axis = next;
        } else {
            return -EINVAL;
        }
    }
    return 0;
}

static int is_beyond(int64_t *size, int64_t count, int64_t step) {
    const int beyond = count <= 1 || step >= *size;
    *size += (count - 1) * step;
    return beyond;
}

/* Whether tiles can be stored into c: adjacent columns, then rows and matrices that follow each other. The
 * strides of nothing are anything. */
static int can_be_stored_into(const struct gemm_matrix *c, const struct axis batch[2]) {
    int64_t size = c->columns * 4;
    if (c->rows == 0 || c->columns == 0 || batch[0].count == 0 || batch[1].count == 0) {
        return 1;
    }
    return c->column_stride == 4 && is_beyond(&size, c->rows, c->row_stride) &&
           is_beyond(&size, batch[0].count, batch[0].step[OF_C]) &&
           is_beyond(&size, batch[1].count, batch[1].step[OF_C]);
}

/* Whether the rows of the next item follow those of one as they follow each other. */
static int rows_go_on(const struct gemm_matrix *matrix, int64_t step) {
    return matrix->rows == 1 || step == matrix->rows * matrix->row_stride;
}
static void take_rows(struct gemm_matrix *matrix, int64_t items, int64_t step) {
    matrix->row_stride = matrix->rows == 1 ? step : matrix->row_stride;
    matrix->rows *= items;
}

/* Items with one second operand follow each other, so that it is packed once, and are one taller product
 * where they can be. */
static void join_items(struct gemm_matrix *a, struct gemm_matrix *c, struct axis batch[2]) {
    if (batch[0].step[OF_B] != 0 && batch[1].step[OF_B] == 0) {
        const struct axis inner = batch[0];
        batch[0] = batch[1];
        batch[1] = inner;
    }
    const struct axis inner = batch[0];
    if (inner.count > 1 && inner.step[OF_B] == 0 && rows_go_on(a, inner.step[OF_A]) &&
        rows_go_on(c, inner.step[OF_C])) {
        take_rows(a, inner.count, inner.step[OF_A]);
        take_rows(c, inner.count, inner.step[OF_C]);
        batch[0] = batch[1];
        batch[1] = (struct axis){.count = 1};
    }
}

static struct gemm_offsets offsets_in(const struct axis batch[2], int i) {
    return (struct gemm_offsets){
        .step = batch[0].step[i],
        .inner = batch[0].count,
        .outer = batch[1].step[i],
    };
}

int amx_gemm_arrays(int engine, int op, int threads, uint64_t a_array, uint64_t b_array,
                    const struct amx_packed *packed, uint64_t c_array) {
    if (!gemm_reads_arrays()) {
        return -ENOSYS;
    }
    const struct gemm_array *const a_fields = gemm_array_of(a_array), *const c_fields =
                                                                          gemm_array_of(c_array);
    const struct gemm_array *const b_fields = packed == NULL ? gemm_array_of(b_array) : NULL;
    const struct stack stacks[STACKS] = {
        [OF_A] = {a_fields->dimensions, a_fields->shape, a_fields->strides},
        [OF_B] = packed == NULL
                     ? (struct stack){b_fields->dimensions, b_fields->shape, b_fields->strides}
                     : (struct stack){packed->dimensions, packed->shape, packed->shape + packed->dimensions},
        [OF_C] = {c_fields->dimensions, c_fields->shape, c_fields->strides},
    };
    struct axis batch[2];
    if (stacks[OF_A].dimensions < 2 || stacks[OF_B].dimensions < 2 ||
        (c_fields->flags & GEMM_WRITEABLE) == 0 || read_batch(stacks, batch) != 0) {
        return -EINVAL;
    }
    const int element = gemm_element_of(op);
    struct gemm_matrix a = matrix_of(a_fields, element), c = matrix_of(c_fields, 4);
    const struct gemm_matrix b = packed == NULL
                                     ? matrix_of(b_fields, element)
                                     : (struct gemm_matrix){.rows = packed->k, .columns = packed->n};
    if (a.columns != b.rows || c.rows != a.rows || c.columns != b.columns || !can_be_stored_into(&c, batch)) {
        return -EINVAL;
    }
    join_items(&a, &c, batch);
    struct gemm_call call = {
        .engine = engine,
        .a = a,
        .b = b,
        .packed = packed,
        .a_offset = offsets_in(batch, OF_A),
        .b_offset = offsets_in(batch, OF_B),
        .c_offset = offsets_in(batch, OF_C),
        .c = (uint8_t *)(uintptr_t)c.data,
        .c_row = c.row_stride,
        .layer = NULL,
        .before = 0,
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
    return gemm_run_apart(&call, op, threads, batch[0].count * batch[1].count);
}
