/* What surrounds the product in a layer, for a block in cache, on one thread: rows quantised before it, and
 * scales, bias, residual, activation and rounding after it. docs/numerics.md, "Layers", is the definition.
 *
 * One text (*.inc.h) is compiled for each width of vector registers; all give the same bits. Arithmetic is
 * binary32 to nearest even, one rounding an operation, whatever MXCSR of the caller says, which is kept.
 */
#ifndef AMX_LAYER_LAYER_H
#define AMX_LAYER_LAYER_H

#include <stdint.h>

enum layer_type {
    LAYER_FLOAT32,
    LAYER_BFLOAT16,
    LAYER_FLOAT16,
    LAYER_UINT8,           /* 0 to 255, asymmetric */
    LAYER_INT8,            /* -128 to 127, asymmetric */
    LAYER_UINT8_SYMMETRIC, /* 1 to 255, zero point 128 */
    LAYER_INT8_SYMMETRIC,  /* -127 to 127, zero point 0 */
};

/* Rows to be quantised, each with a scale and zero point of its own, or all with those that are given. No
 * array overlaps another. Arrays that are not bytes are aligned as C wants it, but x, which may lie anywhere.
 */
struct layer_rows {
    const void *x; /* element i of row r is at r * x_row bytes, then i elements */
    int64_t x_row;
    enum layer_type x_type; /* a float */
    int64_t rows, k;
    enum layer_type q_type; /* of 8 bits */
    float given_scale;      /* normal, positive, finite; 0: none is given */
    int32_t given_zero;     /* in the range of q_type */
    void *q;                /* row r begins at r * q_row bytes; behind its k elements zeros, to q_bytes */
    int64_t q_row, q_bytes;
    /* One a row. Of a row that holds a NaN or an infinity the scale is NaN, and the others are 0, as all of
     * q. */
    float *scale;
    int32_t *zero;
    int32_t *sum; /* of its q */
};
void layer_quantize_rows(const struct layer_rows *on);

enum layer_activation { LAYER_NO_ACTIVATION, LAYER_RELU, LAYER_SILU, LAYER_GELU, LAYER_GELU_TANH };

/* Products to be made results, in this order; what is NULL is left out:
 *
 *   c[m][n]  - row_zero[m] * column_sum[n] - column_zero[n] * (row_sum[m] - k * row_zero[m])   modulo 2^32
 *   as float32, * row_scale[m], * column_scale[n], + bias[n], + residual[m][n], activation, rounded to out
 *
 * out may begin where c does, or the residual where it has the type of out, if their rows are as far apart;
 * else out overlaps nothing. c, residual and out may lie at any address. */
struct layer_block {
    const void *c; /* int32, or float32 where c_is_float: then there are no zero points */
    int64_t c_row; /* bytes from row to row, as of all others here */
    int c_is_float;
    int64_t rows, columns, k;
    const float *row_scale;
    const int32_t *row_zero, *row_sum; /* row_sum: where there is column_zero */
    const float *column_scale;
    const int32_t *column_zero, *column_sum; /* column_sum: where there is row_zero */
    const float *bias;
    const void *residual;
    int64_t residual_row;
    enum layer_type residual_type; /* a float */
    enum layer_activation activation;
    void *out;
    int64_t out_row;
    enum layer_type out_type;
    float out_scale;  /* of 8-bit results: normal, positive, finite; a NaN becomes their smallest number */
    int32_t out_zero; /* in the range of out_type */
};
void layer_finish(const struct layer_block *on);

/* y[i] = f(x[i]): the functions by themselves. y may be x. */
enum layer_function { LAYER_EXP, LAYER_TANH, LAYER_ERF };
void layer_apply(enum layer_function function, const float *x, float *y, int64_t count);

/* Set this thread's MXCSR, where there is one, and return what it was: for arithmetic elsewhere. */
uint32_t layer_exchange_mxcsr(uint32_t mxcsr);

/* The widths that this CPU and kernel allow, best first; NULL behind the last one. */
const char *layer_width(int index);
/* What is used from now on; NULL: the best. 0, or -ENOTSUP. Not while another thread is within the above. */
int layer_select(const char *name);
const char *layer_selected(void);

#endif
