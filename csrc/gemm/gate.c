/* Whether products may use the CPU's tiles, and how many do: who takes those away has to wait for these. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "gemm/gemm.h"

static atomic_int allowed = 1, running;
static _Thread_local int mine; /* of those that run */

/* Other threads and what they ran are not in the child; a product whose caller forked, when it was asked, is.
 */
static void forget_others(void) {
    running = mine;
}
__attribute__((constructor)) static void watch_fork(void) {
    pthread_atfork(NULL, NULL, forget_others);
}

/* Counted before it is looked at: who forbids sees the count, or this sees that it is forbidden. */
int gemm_gate_enter(void) {
    mine++;
    running++;
    if (allowed) {
        return 0;
    }
    gemm_gate_leave();
    return -ECANCELED;
}

void gemm_gate_leave(void) {
    mine--;
    running--;
}

int amx_gemm_native(int may_begin) {
    allowed = may_begin;
    return running;
}
