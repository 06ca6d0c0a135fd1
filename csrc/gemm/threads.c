/* How many threads a product may use, and what fork does to that. */
#include "gemm/gemm.h"

#if defined(_OPENMP)
#include <omp.h>
#include <pthread.h>

static int forks;

/* libgomp's pool does not survive fork: a parallel region in the child waits for threads that are not there.
 */
static void mark_child(void) {
    forks++;
}
__attribute__((constructor)) static void watch_fork(void) {
    pthread_atfork(NULL, NULL, mark_child);
}

int gemm_threads_available(void) {
    return forks > 0 || omp_in_parallel() ? 1 : omp_get_max_threads();
}
int gemm_forks(void) {
    return forks;
}
#else
int gemm_threads_available(void) {
    return 1;
}
int gemm_forks(void) {
    return 0;
}
#endif
