/* How many threads a product may use, and what fork does to that. */
#include "gemm/gemm.h"

#if defined(_OPENMP)
#include <omp.h>
#include <pthread.h>

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
    return forked || omp_in_parallel() ? 1 : omp_get_max_threads();
}
#else
int gemm_threads_available(void) {
    return 1;
}
#endif
