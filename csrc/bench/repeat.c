/* A packed product many times in one call, so that what a call from Python costs is left out. */
#include "bench/bench.h"

int amx_bench_repeat(int64_t repetitions, int engine, int op, int threads, int64_t m, int64_t n, int64_t k,
                     int64_t batch, const void *a, int64_t a_row, int64_t a_column, const int64_t *a_offset,
                     const struct amx_packed *b, const int64_t *b_item, void *c, int64_t c_row,
                     const int64_t *c_offset) {
    for (int64_t i = 0; i < repetitions; i++) {
        const int error = amx_gemm_packed(engine, op, threads, m, n, k, 0, batch, a, a_row, a_column,
                                          a_offset, b, b_item, c, c_row, c_offset);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}
