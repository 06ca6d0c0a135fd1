/* How many threads a product may use, and what fork does to that. */
#include <pthread.h>

#include "gemm/gemm.h"

#if defined(_OPENMP)
#include <omp.h>
#endif

static int forked;

/* libgomp's pool does not survive fork: a parallel region in the child waits for threads that are not there.
 */
static void mark_child(void) {
    forked = 1;
}
__attribute__((constructor)) static void watch_fork(void) {
    pthread_atfork(NULL, NULL, mark_child);
}

int gemm_threads_available(void) {
#if defined(_OPENMP)
    if (!forked && !omp_in_parallel()) {
        return omp_get_max_threads();
    }
#endif
    return 1;
}
