/* Whether products may use the CPU's tiles, and how many do: who takes those away has to wait for these. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "gemm/gemm.h"

static atomic_int allowed = 1, running;

/* The threads that ran them are not in the child. */
static void forget_running(void) {
    running = 0;
}
__attribute__((constructor)) static void watch_fork(void) {
    pthread_atfork(NULL, NULL, forget_running);
}

/* Counted before it is looked at: who forbids sees the count, or this sees that it is forbidden. */
int gemm_gate_enter(void) {
    running++;
    if (allowed) {
        return 0;
    }
    running--;
    return -ECANCELED;
}

void gemm_gate_leave(void) {
    running--;
}

int amx_gemm_native(int may_begin) {
    allowed = may_begin;
    return running;
}
