/* Whether a thread of a product goes on: what it asks between blocks, while nothing is in registers. */
#include "gemm/job.h"

/* The caller, while the registers are its own. In a child that was forked meanwhile there is no team to meet
 * at barriers, nor at the end of the parallel region, which is left as it is. */
static void ask(struct gemm_job *job) {
    const int forks = team_forks();
    gemm_session_end(job->session);
    if (gemm_ask(&job->watch)) {
        __atomic_store_n(&job->call->stop.wanted, 1, __ATOMIC_RELAXED);
    }
    if (forks != team_forks() && job->call->without_team != NULL) {
        longjmp(*job->call->without_team, 1);
    }
    gemm_session_begin(job->session, job->call->engine);
}

int gemm_stops_before(struct gemm_job *job, int64_t chunks) {
    if (job->asks && !is_to_stop(job->call) && gemm_is_time(&job->watch, chunks)) {
        ask(job);
    }
    return is_to_stop(job->call);
}
