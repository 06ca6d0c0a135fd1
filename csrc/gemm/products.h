/* Matrix products. */
#ifndef AMX_PRODUCTS_H
#define AMX_PRODUCTS_H

#include <stdint.h>

#include "layer/layer.h"

/* C = A B for `batch` pairs of matrices, or C += A B, where c holds the sums of the `before` elements of K in
 * front of these, in whole chunks of 64 bytes. All strides and offsets in bytes, of any sign; the arrays of
 * offsets have one entry an item, NULL stands for zeros. Elements: 1 byte for the 8-bit instructions, 2 for
 * the 16-bit ones; c is int32 or float32 with adjacent columns. Errors: -EINVAL, -ENOMEM and -EINTR (c
 * undefined then), -ECHILD where the process is a child forked meanwhile and the sums that c held are lost,
 * -ENOSYS, -EXDEV where one c could overlap an operand. */
int amx_gemm(int engine, int op, int threads, int64_t m, int64_t n, int64_t k, int64_t before, int64_t batch,
             const void *a, int64_t a_row, int64_t a_column, const int64_t *a_offset, const void *b,
             int64_t b_row, int64_t b_column, const int64_t *b_offset, void *c, int64_t c_row,
             const int64_t *c_offset);

/* For all matrices of an array of this shape (..., K, N), in the layout of csrc/gemm/gemm.h; NULL without
 * memory. */
struct amx_packed;
struct amx_packed *amx_packed_new(int element, int dimensions, const int64_t *shape);
/* Over memory that holds such already, from a 64-byte boundary on, and outlives it; NULL also where it would
 * not be of so many bytes. */
struct amx_packed *amx_packed_over(void *data, int64_t bytes, int element, int dimensions,
                                   const int64_t *shape);
void amx_packed_free(struct amx_packed *packed);
int64_t amx_packed_bytes(const struct amx_packed *packed);
const void *amx_packed_data(const struct amx_packed *packed);
/* Rows and columns of one matrix: from multiples of 64 bytes and of 32 columns on, to such or to its end. */
int amx_packed_fill(struct amx_packed *packed, int64_t item, int64_t first_row, int64_t rows,
                    int64_t first_column, int64_t columns, const void *b, int64_t row, int64_t column);
/* As amx_gemm with a packed second operand, of whose K it takes k elements behind `before`; b_item: which of
 * its matrices belongs to each pair, NULL for the first. -EINVAL where their columns are not n, or it has no
 * such matrix. */
int amx_gemm_packed(int engine, int op, int threads, int64_t m, int64_t n, int64_t k, int64_t before,
                    int64_t batch, /**/
                    const void *a, int64_t a_row, int64_t a_column, const int64_t *a_offset,
                    const struct amx_packed *b, const int64_t *b_item, void *c, int64_t c_row,
                    const int64_t *c_offset);

/* A layer's results of A B, where B is the first matrix of a packed operand: what `layer` has of rows and
 * columns is of all m and n, its c, rows, columns and k are ignored, and its out overlaps nothing that is
 * read. Rows of A have adjacent elements. Errors as amx_gemm_packed's; -E2BIG: K is so deep that sums would
 * have to rest in c. */
int amx_gemm_layer(int engine, int op, int threads, int64_t m, int64_t k, const void *a, int64_t a_row,
                   const struct amx_packed *b, const struct layer_block *layer);
/* layer_quantize_rows() by several threads. */
void amx_gemm_layer_rows(int threads, const struct layer_rows *rows);

/* Weights of 4 bits, 0 to 15, for products with rows of 8 bits: values of n columns, `row` bytes apart, and k
 * elements of each, `column` bytes apart; scales, and zero points 0 to 16, for each column and group of
 * consecutive elements, adjacent. In the layout of csrc/gemm/nibbles.h; 0, -ENOMEM, -EINTR, or -EINVAL where
 * groups are neither whole units of 32 nor all of K, or longer than 2^19. */
struct amx_nibbles;
int amx_nibbles_new(int64_t n, int64_t k, int64_t group, const uint8_t *values, int64_t row, int64_t column,
                    const float *scale, const int32_t *zero, struct amx_nibbles **made);
struct amx_nibbles *amx_nibbles_over(void *data, int64_t bytes, int64_t n, int64_t k);
void amx_nibbles_free(struct amx_nibbles *b);
int64_t amx_nibbles_bytes(const struct amx_nibbles *b);
void *amx_nibbles_data(const struct amx_nibbles *b);
int64_t amx_nibbles_group(const struct amx_nibbles *b);
int amx_nibbles_zero(const struct amx_nibbles *b);
/* What was packed, all adjacent. */
void amx_nibbles_unpack(const struct amx_nibbles *b, uint8_t *values, float *scale, int32_t *zero);
/* A layer's results of the product with m rows of uint8, or int8, whose zero points are layer->row_zero, NULL
 * for none: docs/numerics.md, "4 bits". The layer's c is ignored, it has no other zero points and no
 * column_scale; its out overlaps nothing that is read. -EINVAL, -ENOMEM, -EINTR (out undefined then), -EXDEV
 * where out overlaps a. */
int amx_nibbles_layer(int engine, int threads, int64_t m, int is_unsigned, const void *a, int64_t a_row,
                      const struct amx_nibbles *b, const struct layer_block *layer);
/* The same for NumPy arrays, by the addresses of the objects, as amx_gemm_arrays() takes them: x (..., k),
 * residual (0 for none) and out (..., n), whose element types are the caller's to check. Rows are quantised,
 * or rounded from float32, first; of 16 bits they are of the weights' type. -EINVAL also where strides or
 * types do not fit or out overlaps another, -E2BIG also where there are too many rows to be quantised at
 * once, -EDOM where results are integers and a row that is quantised is not finite: nothing has been written
 * then. */
struct amx_layer {
    int op; /* AMX_TDP*, of rows and weights; of 4 bits as of int8 */
    const struct amx_packed *packed;
    const struct amx_nibbles *nibbles; /* in its place */
    struct layer_rows rows;            /* q_type, given_scale and given_zero count, where !block.c_is_float */
    struct layer_block block;          /* what all rows have in common */
};
int amx_layer_arrays(int engine, int threads, const struct amx_layer *layer, enum layer_type x_type,
                     uint64_t x_array, enum layer_type residual_type, uint64_t residual_array,
                     uint64_t out_array);
/* The kernels that do, as amx_vector_family() and its like have them for the others; there always is one. */
const char *amx_nibbles_family(int index);
int amx_nibbles_select(const char *name);
const char *amx_nibbles_selected(void);

/* Who is asked every few milliseconds, by long products and packing in the process's first thread, whether
 * they are to go on: 0, or else they end with -EINTR. It may do anything, multiply too; NULL: nobody. */
void amx_gemm_ask(int (*ask)(void));
int amx_gemm_asking(void); /* whether this thread is answering: its product goes on only afterwards */

/* The same for NumPy arrays, by the addresses of the objects: the least a call can cost. Operands as in
 * numpy.matmul, of at least two dimensions, c of the shape of the result; packed: instead of b, else NULL.
 * Element types are the caller's to check, and nobody may reshape the arrays meanwhile. -EINVAL where shapes,
 * strides or writeability do not fit, or the batch is more than two axes with a step in each; -ENOSYS before
 * amx_arrays_header(). */
int amx_gemm_arrays(int engine, int op, int threads, uint64_t a_array, uint64_t b_array,
                    const struct amx_packed *packed, uint64_t c_array);
/* Whether products on AMX_NATIVE may begin from now on (as at first); else they end with -ECANCELED at once.
 * Returns how many are running. */
int amx_gemm_native(int may_begin);
void amx_arrays_header(int64_t size); /* bytes before an object's own fields */
struct amx_array {
    uint64_t data;
    int dimensions, flags;
    int64_t shape[2], strides[2];
};
void amx_arrays_read(uint64_t array, struct amx_array *found); /* up to two dimensions */

/* Rows of float32, at any address and from_row bytes apart, rounded to adjacent rows of bfloat16 or float16:
 * to nearest, ties to even; NaN becomes quiet and keeps sign and upper payload. Threads: as for a product. */
enum { AMX_BF16 = 0, AMX_FP16 };
void amx_round(int format, int threads, int64_t rows, int64_t columns, const void *from, int64_t from_row,
               void *to);

/* The kernels that multiply in vector registers, by op (AMX_TDP*). Of those that this CPU and kernel allow,
 * best first, the name of number `index`; NULL behind the last one. */
const char *amx_vector_family(int op, int index);
/* Those of that name from now on, NULL: the best again; 0, -ENOTSUP, or -EINVAL for no op.
 * Not while a product runs. */
int amx_vector_select(int op, const char *name);
const char *amx_vector_selected(int op); /* NULL: none, and AMX_VECTOR is the software tile machine */

/* How a product is cut. Threads: at most `threads`, 0 for all there may be. */
struct amx_caches {
    int64_t l1, l2; /* bytes of one core's own data caches */
};
struct amx_gemm_plan {
    int64_t m, n, k, batch;
    int64_t operands; /* distinct second operands to pack; 0: packed already */
    struct amx_caches caches;
    const char *family;     /* of kernels in vector registers; NULL: tiles */
    int mr, nr;             /* rows and columns of a block of C in registers */
    int64_t chunks;         /* of 64 bytes of K */
    int64_t kc, mc, nc;     /* a block: chunks of K, rows of A, columns of B */
    int64_t depth;          /* chunks of K of which operands are packed at a time: whole blocks, or all */
    int64_t stripe;         /* columns of B that are packed at a time */
    int stream_a, stream_b; /* loaded with TILELOADDT1, past L1 */
    int pack_a;             /* A is packed where its rows are not whole lines, or share sets of L2 */
    int prefetch_b;         /* the next panel of B is prefetched into L2 */
    int stream_c;           /* C is stored past the caches, where it consists of whole lines */
    int prefetch_c;         /* else it is prefetched for writing */
    int huge_pages;         /* asked for, for packed panels of B */
    int threads;            /* in all */
    int over_batch;         /* threads take whole items of the batch; else they share each item */
    int row_parts, column_parts; /* of one item; their product is the team that shares it */
};
/* caches: NULL for this core's. -EINVAL for impossible sizes, -ENOMEM for larger ones than any memory. */
int amx_gemm_make_plan(int engine, int op, int threads, int64_t m, int64_t n, int64_t k, int64_t batch, /**/
                       int64_t operands, const struct amx_caches *caches, struct amx_gemm_plan *plan);
/* Plan as on a core with these caches, NULL for its own: so tests turn every loop over blocks with small
 * products. Not while a product runs. */
void amx_gemm_assume_caches(const struct amx_caches *caches);
/* What 0 stands for. Visible, so that a program that looks at its libraries knows this one by it. */
int amx_gemm_threads(void) __attribute__((visibility("default")));

#endif
