/* See team.h. */
#include "bench/team.h"

#include "bench/bench.h"

#if defined(_OPENMP)
#include <omp.h>

static int run_team(int threads, bench_body *body, const void *work) {
    int came = 1;
#pragma omp parallel num_threads(threads) default(none) shared(body, work, came)
    {
        const int rank = omp_get_thread_num(), size = omp_get_num_threads();
        if (rank == 0) {
            came = size;
        }
        body(work, rank, size);
    }
    return came;
}
#else
static int run_team(int threads, bench_body *body, const void *work) {
    (void)threads;
    body(work, 0, 1);
    return 1;
}
#endif

int bench_on_team(int threads, bench_body *body, const void *work) {
    const int available = amx_gemm_threads(); /* 1 in a forked child, whose OpenMP threads are gone */
    if (threads > available) {
        threads = available;
    }
    if (threads > 1) {
        return run_team(threads, body, work);
    }
    body(work, 0, 1);
    return 1;
}
