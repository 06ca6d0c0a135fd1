/* The plan of this thread's last product: making it anew takes longer than planning saves a small product.
 *
 * A plan depends on nothing but what is compared here: the product, this core's caches, and how many threads
 * it may use now.
 */
#include <errno.h>

#include "gemm/gemm.h"

/* In a new buffer no threads: the beginning is zero, and no plan is for none. */
struct kept {
    int engine, op, threads;
    struct amx_gemm_plan plan;
};

static int threads_for(int most) {
    const int available = most == 1 ? 1 : team_available();
    return most == 0 || most > available ? available : most;
}

int gemm_find_plan(int engine, const struct vector_family *family, int op, int most, int64_t m, int64_t n,
                   int64_t k, int64_t batch, int64_t operands, const struct amx_gemm_plan **plan) {
    struct kept *kept = (struct kept *)gemm_workspace(GEMM_BUFFER_PLAN, sizeof *kept);
    if (kept == NULL) {
        return -ENOMEM;
    }
    const struct amx_gemm_plan *last = &kept->plan;
    const struct amx_caches caches = gemm_caches();
    const int threads = threads_for(most);
    *plan = last;
    if (kept->engine == engine && kept->op == op && kept->threads == threads && last->m == m &&
        last->n == n && last->k == k && last->batch == batch && last->operands == operands &&
        last->caches.l1 == caches.l1 && last->caches.l2 == caches.l2 &&
        last->family == (family != NULL ? family->name : NULL)) {
        return 0;
    }
    kept->threads = 0; /* until it is a plan */
    const int error =
        gemm_make_plan(engine, family, op, threads, m, n, k, batch, operands, &caches, &kept->plan);
    if (error == 0) {
        kept->engine = engine;
        kept->op = op;
        kept->threads = threads;
    }
    return error;
}
