/* Who multiplies what: items, stripes of B and a team of threads with its buffers.
 *
 * Threads never split K, so every element of C has one accumulator whose K ascends: the bits of the result do
 * not depend on the plan.
 */
#include <errno.h>
#include <string.h>

#include "gemm/job.h"
#include "gemm/packed.h"

static int64_t offset_of(struct gemm_offsets offsets, int64_t item) {
    if (offsets.each != NULL) {
        return offsets.each[item];
    }
    if (item < offsets.inner) { /* mostly: saves a division */
        return item * offsets.step;
    }
    return item % offsets.inner * offsets.step + item / offsets.inner * offsets.outer;
}

/* Elements of K in front of a chunk, of which the last may not be full. */
static int64_t elements_before(const struct gemm_matrix *b, int64_t chunk) {
    return min64(b->rows, chunk * (GEMM_CHUNK / b->element));
}

/* 0, or 1 where the product is to stop, for all who meet at the barriers here. */
static int get_stripe(const struct gemm_job *job, int64_t first_panel, int64_t panels,
                      struct gemm_range chunks, struct gemm_stripe *stripe) {
    if (job->packed != NULL) {
        const int64_t panel_bytes = job->call->packed->chunks * GEMM_STEP;
        const uint8_t *data = job->packed + first_panel * panel_bytes + chunks.begin * GEMM_STEP;
        *stripe = (struct gemm_stripe){data, panel_bytes, first_panel, panels, 0, chunks};
        return is_to_stop(job->call);
    }
    const int64_t panel_bytes = job->call->plan->depth * GEMM_STEP;
    const int64_t row = elements_before(&job->b, chunks.begin);
    struct gemm_matrix b = job->b;
    b.data += row * b.row_stride;
    b.rows = elements_before(&job->b, chunks.end) - row;
    /* Those who will read the same columns pack them, so that they are in their caches, each into a place of
     * its own, which is the same for all stripes: others may still be reading theirs. */
    const int sharers = job->row_parts;
    const struct gemm_range ours = my_panels(job, panels);
    const int64_t place = my_panels(job, panels_of(job->call->plan->stripe)).begin;
    uint8_t *data = job->buffers.stripe + place * panel_bytes;
    if (sharers > 1) {
        struct gemm_stop *stop = &job->call->stop;
        if (job->team.rank == 0) { /* the others read it between the next barrier and the one behind it */
            stop->agreed = is_to_stop(job->call);
        }
        team_meet(job->team); /* until nobody works on what the buffer held */
        if (stop->agreed) {
            return 1;
        }
    } else if (is_to_stop(job->call)) {
        return 1;
    }
    const struct gemm_range mine =
        gemm_share(ours.end - ours.begin, job->team.rank / job->column_parts, sharers);
    gemm_pack_b(data + mine.begin * panel_bytes, panel_bytes, &b,
                (first_panel + ours.begin + mine.begin) * GEMM_PANEL, mine.end - mine.begin);
    if (sharers > 1) {
        team_meet(job->team);
    }
    *stripe = (struct gemm_stripe){data, panel_bytes, first_panel, panels, ours.begin, chunks};
    return 0;
}

/* Items begin ... end - 1, which have the same second operand: what is packed of it serves them all. 0, or 1
 * where the product is to stop. */
static int run_items(const struct gemm_call *call, int64_t begin, int64_t end, struct gemm_job *job) {
    const struct amx_gemm_plan *plan = call->plan;
    const int64_t all = panels_of(plan->n), at_a_time = panels_of(plan->stripe);
    if (call->packed != NULL) {
        job->packed = call->packed->data + offset_of(call->b_offset, begin) * call->packed->item_bytes +
                      call->packed_before * GEMM_STEP;
    } else {
        job->b.data = call->b.data + offset_of(call->b_offset, begin);
    }
    for (int64_t panel = 0; panel < all; panel += at_a_time) {
        for (int64_t chunk = 0; chunk < plan->chunks; chunk += plan->depth) {
            const struct gemm_range chunks = {chunk, min64(plan->chunks, chunk + plan->depth)};
            struct gemm_stripe stripe;
            if (get_stripe(job, panel, min64(at_a_time, all - panel), chunks, &stripe)) {
                return 1;
            }
            for (int64_t item = begin; item < end; item++) {
                job->a.data = call->a.data + offset_of(call->a_offset, item);
                job->c = call->c + offset_of(call->c_offset, item);
                if (call->family != NULL) {
                    gemm_multiply_stripe_in_vectors(job, &stripe);
                } else {
                    gemm_multiply_stripe(job, &stripe);
                }
            }
        }
    }
    return 0;
}

/* The first item after `begin` with another second operand. */
static int64_t end_of_operand(const struct gemm_call *call, int64_t begin, int64_t end) {
    const struct gemm_offsets offsets = call->b_offset;
    const int64_t operand = offset_of(offsets, begin);
    int64_t item = begin + 1;
    while (item < end && offset_of(offsets, item) == operand) {
        item++;
    }
    return item;
}

/* What one thread of the call does. */
static void run_thread(struct gemm_call *call, struct team team, struct gemm_buffers buffers) {
    const struct amx_gemm_plan *plan = call->plan;
    struct gemm_session session;
    struct gemm_job job = {
        .call = call,
        .a = call->a,
        .b = call->b,
        .packed = NULL,
        .c = call->c,
        .team = team,
        .row_parts = plan->row_parts,
        .column_parts = plan->column_parts,
        .buffers = buffers,
        .session = &session,
        .asks = team.rank == 0,
        .watch = gemm_watch_begin(),
    };
    struct gemm_range items = {0, plan->batch};
    if (plan->over_batch) {
        items = gemm_share(plan->batch, team.rank, team.size);
        job.team = team_of_one();
    } else if (team.size != plan->threads) { /* fewer came than were called */
        job.row_parts = 1;
        job.column_parts = team.size;
    }
    gemm_session_begin(&session, call->engine);
    for (int64_t item = items.begin, next; item < items.end; item = next) {
        next = end_of_operand(call, item, items.end);
        if (run_items(call, item, next, &job)) {
            break;
        }
    }
    if (plan->stream_c) {
        gemm_stores_done();
    }
    gemm_session_end(&session);
}

/* A buffer of this thread, if any is needed: 0, or -ENOMEM. */
static int get_buffer(enum gemm_buffer which, int64_t size, uint8_t **buffer) {
    *buffer = size > 0 ? gemm_workspace(which, (size_t)size) : NULL;
    return size > 0 && *buffer == NULL ? -ENOMEM : 0;
}
static int get_stripe_buffer(const struct gemm_call *call, uint8_t **stripe) {
    const struct amx_gemm_plan *plan = call->plan;
    const int64_t size = call->packed != NULL ? 0 : panels_of(plan->stripe) * plan->depth * GEMM_STEP;
    return get_buffer(GEMM_BUFFER_B, size, stripe);
}

/* The buffers of one thread; a stripe of its own only where it needs one. 0, or -ENOMEM. */
static int get_buffers(const struct gemm_call *call, int own_stripe, struct gemm_buffers *buffers) {
    const struct amx_gemm_plan *plan = call->plan;
    const int64_t sums = plan->kc < plan->depth                        ? plan->mc * gemm_sums_row(call, 0)
                         : call->layer != NULL && call->family == NULL ? plan->mc * gemm_sums_row(call, 1)
                                                                       : 0;
    const int64_t chunks = min64(call->packed_chunks, plan->depth);
    const int64_t a = call->family != NULL ? gemm_vector_buffer(call) : plan->mc * chunks * GEMM_CHUNK;
    int error = get_buffer(GEMM_BUFFER_A, a, &buffers->a);
    if (error == 0) {
        error = get_buffer(GEMM_BUFFER_C, sums, &buffers->sums);
    }
    return error == 0 && own_stripe ? get_stripe_buffer(call, &buffers->stripe) : error;
}

static int run_alone(struct gemm_call *call) {
    struct gemm_buffers buffers = {NULL, NULL, NULL};
    const int error = get_buffers(call, 1, &buffers);
    if (error == 0) {
        run_thread(call, team_of_one(), buffers);
    }
    return error;
}

struct together {
    struct gemm_call *call;
    uint8_t *stripe; /* that all share; NULL: each has one, or none is needed */
    int error;       /* atomic */
};
static void work_together(struct team team, void *work) {
    struct together *all = work;
    struct gemm_buffers buffers = {NULL, all->stripe, NULL};
    const int mine = get_buffers(all->call, all->call->plan->over_batch, &buffers);
    if (mine != 0) {
        __atomic_store_n(&all->error, mine, __ATOMIC_RELAXED);
    }
    team_meet(team); /* everybody sees the error */
    if (__atomic_load_n(&all->error, __ATOMIC_RELAXED) == 0) {
        run_thread(all->call, team, buffers);
    }
}
static int run_parallel(struct gemm_call *call) {
    struct together all = {call, NULL, 0};
    all.error = call->plan->over_batch ? 0 : get_stripe_buffer(call, &all.stripe);
    if (all.error == 0) {
        team_run(call->plan->threads, work_together, &all);
    }
    return all.error;
}

/* A forked child begins again, alone, unless c held sums before. */
static int run_team(struct gemm_call *call) {
    jmp_buf without_team;
    if (setjmp(without_team) != 0) {
        call->without_team = NULL;
        return is_to_stop(call) ? 0 : call->adds ? -ECHILD : run_alone(call);
    }
    call->without_team = &without_team;
    const int error = run_parallel(call);
    call->without_team = NULL;
    return error;
}

/* K = 0: a sum of nothing. */
static void fill_zero(const struct gemm_call *call) {
    if (call->layer != NULL) {
        static const uint8_t zeros[4 * GEMM_PANEL];
        for (int64_t column = 0; column < call->plan->n; column += GEMM_PANEL) {
            gemm_finish(call->layer, 0, 0, call->plan->m, column, min64(GEMM_PANEL, call->plan->n - column),
                        zeros, 0);
        }
        return;
    }
    for (int64_t item = 0; item < call->plan->batch; item++) {
        uint8_t *c = call->c + offset_of(call->c_offset, item);
        for (int64_t row = 0; row < call->plan->m; row++) {
            memset(c + row * call->c_row, 0, (size_t)(call->plan->n * 4));
        }
    }
}

/* Runs of items with the same second operand: how many have to be packed. */
static int64_t count_operands(const struct gemm_call *call, int64_t batch) {
    const struct gemm_offsets offsets = call->b_offset;
    if (call->packed != NULL) {
        return 0;
    }
    if (offsets.each == NULL) {
        return offsets.step != 0 ? batch : offsets.outer != 0 ? batch / offsets.inner : 1;
    }
    int64_t count = 1;
    for (int64_t item = 1; item < batch; item++) {
        count += offsets.each[item] != offsets.each[item - 1];
    }
    return count;
}

static int run_planned(struct gemm_call *call) {
    const int error = call->plan->threads > 1 ? run_team(call) : run_alone(call);
    return error == 0 && is_to_stop(call) ? -EINTR : error;
}

/* Whether the part of K is in whole chunks, but for its end, and the packed operand has it. */
static int is_part_of_k(const struct gemm_call *call) {
    const int64_t k = call->a.columns, before = call->before;
    const int64_t all = call->packed != NULL ? call->packed->k : k + before;
    const int ends_within_k = k != all - before;
    return before >= 0 && k >= 0 && k <= all - before && before * call->a.element % GEMM_CHUNK == 0 &&
           (!ends_within_k || k * call->a.element % GEMM_CHUNK == 0);
}

int gemm_run(struct gemm_call *call, int op, int threads, int64_t batch) {
    const struct amx_packed *packed = call->packed;
    if (!is_part_of_k(call) || (packed != NULL && packed->element != call->a.element)) {
        return -EINVAL;
    }
    call->adds = call->before != 0;
    call->packed_before = call->before * call->a.element / GEMM_CHUNK;
    call->kind = (enum vector_kind)op;
    call->family = gemm_family(call->engine, op);
    const int error =
        gemm_find_plan(call->engine, call->family, op, threads, call->a.rows, call->b.columns,
                       call->a.columns, batch, batch > 0 ? count_operands(call, batch) : 0, &call->plan);
    if (error != 0) {
        return error;
    }
    const struct amx_gemm_plan *plan = call->plan;
    if (call->engine != AMX_EMULATED && call->engine != AMX_VECTOR &&
        (call->engine != AMX_NATIVE || amx_is_stub())) {
        return -ENOSYS;
    }
    if (call->layer != NULL && plan->depth < plan->chunks) {
        return -E2BIG;
    }
    const struct gemm_micro_set *set = gemm_micro_for(op);
    call->kernels = call->engine == AMX_NATIVE ? &set->native : &set->emulated;
    if (plan->m == 0 || plan->n == 0 || plan->batch == 0) {
        return 0;
    }
    if (plan->k == 0) {
        if (!call->adds) {
            fill_zero(call);
        }
        return 0;
    }
    call->packed_chunks = gemm_packed_chunks(call);
    if (call->engine != AMX_NATIVE) {
        return run_planned(call);
    }
    const int refused = gemm_gate_enter();
    if (refused) {
        return refused;
    }
    const int result = run_planned(call);
    gemm_gate_leave();
    return result;
}
