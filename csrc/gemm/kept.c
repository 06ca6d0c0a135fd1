/* The plan of this thread's last product: making it anew takes longer than planning saves a small product.
 *
 * A plan depends on nothing but what is compared here: the product, this core's caches, and how many threads
 * it may use now, which is another number in a forked child, in a parallel region, or after a change of
 * OpenMP's settings.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "gemm/gemm.h"

struct kept {
    int engine, op, threads;
    struct amx_gemm_plan plan;
};

/* A pointer: static TLS is scarce (csrc/tile/tile.c). */
static _Thread_local struct kept *mine;
static pthread_key_t at_thread_end;
static int has_key; /* else the process has none left, and threads leave their memory behind */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void release(void *kept) {
    free(kept);
    mine = NULL;
}
static void make_key(void) {
    has_key = pthread_key_create(&at_thread_end, release) == 0;
}

static struct kept *make_kept(void) {
    pthread_once(&once, make_key);
    mine = calloc(1, sizeof *mine); /* no plan is for no threads */
    if (has_key) {
        pthread_setspecific(at_thread_end, mine);
    }
    return mine;
}

static int threads_for(int most) {
    const int available = most == 1 ? 1 : gemm_threads_available();
    return most == 0 || most > available ? available : most;
}

int gemm_find_plan(int engine, int op, int most, int64_t m, int64_t n, int64_t k, int64_t batch,
                   int64_t operands, const struct amx_gemm_plan **plan) {
    struct kept *kept = mine != NULL ? mine : make_kept();
    if (kept == NULL) {
        return -ENOMEM;
    }
    const struct amx_gemm_plan *last = &kept->plan;
    const struct amx_caches caches = gemm_caches();
    const int threads = threads_for(most);
    *plan = last;
    if (kept->engine == engine && kept->op == op && kept->threads == threads && last->m == m &&
        last->n == n && last->k == k && last->batch == batch && last->operands == operands &&
        last->caches.l1 == caches.l1 && last->caches.l2 == caches.l2) {
        return 0;
    }
    kept->threads = 0; /* until it is a plan */
    const int error = amx_gemm_make_plan(engine, op, threads, m, n, k, batch, operands, &caches, &kept->plan);
    if (error == 0) {
        kept->engine = engine;
        kept->op = op;
        kept->threads = threads;
    }
    return error;
}
