/* Loops that `amx bench` times. (s): -ENOSYS in a build of stubs. */
#ifndef AMX_BENCH_H
#define AMX_BENCH_H

#include "gemm/products.h"
#include <stdint.h>

/* What the tile unit can do. (s) Results: the number of threads that ran it, at most `threads`, or -errno.
 * Permission is the caller's to have; tiles of these threads are lost. op: AMX_TDP*. a, b: `chunks` pairs of
 * tiles of 1 KiB each, 64-byte aligned; c: 4 KiB, the 2x2 block after the last round. */
int amx_bench_products(
    int op, int threads, const void *a, const void *b, void *c,
    int64_t rounds); /* 4 * rounds products of the first pair, from registers, per thread */
int amx_bench_block(int op, int threads, const void *a, const void *b, void *c, int64_t chunks,
                    int64_t rounds); /* 4 * chunks * rounds loads and products per thread */
int amx_bench_tileload(int t1, int threads, const void *data, int64_t size,
                       int64_t rounds); /* the threads share the data, whole groups of 8 KiB */

/* What the vector units can do (vectors.c). A loop is there where CPU and kernel have its instructions: 1 or
 * 0; the others answer -EINVAL if it is not. (s) Results: the number of threads that ran it, at most
 * `threads`, or -errno. a, b: `steps` times 24 bytes, and twice the width of a vector; c: 12 vectors. */
enum {
    AMX_LOOP_PMADDWD_XMM = 0,
    AMX_LOOP_VPMADDWD_YMM,
    AMX_LOOP_VPMADDWD_ZMM,
    AMX_LOOP_VPDPBUSD_YMM,
    AMX_LOOP_VPDPBUSD_ZMM,
    AMX_LOOP_FMA_YMM,
    AMX_LOOP_FMA_ZMM
};
int amx_bench_has_loop(int loop);
int amx_bench_vector_products(
    int loop, int threads, const void *a, const void *b, void *c,
    int64_t rounds); /* 12 products of the first row and step, from registers, a round */
int amx_bench_vector_block(int loop, int threads, const void *a, const void *b, void *c, int64_t steps,
                           int64_t rounds); /* 12 products a step, each round from zero */

/* Memory through plain loads and stores, `size` bytes shared by the threads. data: 64-byte aligned. */
enum { AMX_STREAM_READ = 0, AMX_STREAM_WRITE, AMX_STREAM_WRITE_NT };
int amx_bench_stream(int kind, int threads, void *data, int64_t size, int64_t rounds);

/* amx_gemm_packed, `repetitions` times; each configures and releases the tiles. 0 or -errno. */
int amx_bench_repeat(int64_t repetitions, int engine, int op, int threads, int64_t m, int64_t n, int64_t k,
                     int64_t batch, const void *a, int64_t a_row, int64_t a_column,
                     const int64_t *a_offset,                           /**/
                     const struct amx_packed *b, const int64_t *b_item, /**/
                     void *c, int64_t c_row, const int64_t *c_offset);

/* (s) One instruction `rounds` times on whole tiles, an enum amxemu_op: TILEZERO, TILELOADD, TILESTORED,
 * TDPBSSD or TDPBF16PS. data: two tiles of 1 KiB. */
int amx_bench_instruction(int engine, int op, void *data, int64_t rounds);

#endif
