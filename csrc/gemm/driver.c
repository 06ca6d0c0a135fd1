/* The loops over blocks, on a team of threads.
 *
 * Threads never split K, so every element of C has one accumulator whose K ascends: the bits of the result do
 * not depend on the plan. Between blocks of K the partial sums rest in C itself, as float32 or int32, exactly
 * as they were.
 */
#include <errno.h>
#include <string.h>

#include "gemm/gemm.h"
#include "gemm/packed.h"
#include "gemm/session.h"

#if defined(_OPENMP)
#include <omp.h>
#endif

struct call {
    int engine;
    struct amx_gemm_plan plan;
    gemm_micro *const (*micro)[2];
    struct gemm_matrix a, b; /* of item 0 */
    const int64_t *a_offset, *b_offset, *c_offset;
    const struct amx_packed *packed; /* then b is not used and b_item is */
    const int64_t *b_item;
    uint8_t *c;
    int64_t c_row;
};

/* One pair of matrices, and the team and buffers that multiply it. */
struct job {
    const struct call *call;
    struct gemm_matrix a, b;
    const uint8_t *packed;
    uint8_t *c;
    struct gemm_team team;
    int row_parts, column_parts;
    uint8_t *a_block, *b_stripe; /* b_stripe is the team's, a_block this thread's */
    struct gemm_session *session;
};

static int64_t min64(int64_t x, int64_t y) {
    return x < y ? x : y;
}
static int64_t panels_of(int64_t count) {
    return (count + GEMM_PANEL - 1) / GEMM_PANEL;
}
static int64_t offset_of(const int64_t *offsets, int64_t item) {
    return offsets == NULL ? 0 : offsets[item];
}

static void barrier(struct gemm_team team) {
    if (team.size > 1) {
#if defined(_OPENMP)
#pragma omp barrier
#endif
    }
}

/* Panels of B over the whole of K, found or packed by the team. */
struct stripe {
    const uint8_t *data;
    int64_t first_panel, panels;
};

static struct stripe get_stripe(const struct job *job, int64_t first_panel, int64_t panels) {
    const int64_t chunks = job->call->plan.chunks, panel_bytes = chunks * GEMM_STEP;
    if (job->packed != NULL) {
        return (struct stripe){job->packed + first_panel * panel_bytes, first_panel, panels};
    }
    barrier(job->team); /* until nobody works on what the buffer held */
    for (int64_t p = job->team.rank; p < panels; p += job->team.size) {
        gemm_pack_b(job->b_stripe + p * panel_bytes, &job->b, (first_panel + p) * GEMM_PANEL, 0, chunks);
    }
    barrier(job->team);
    return (struct stripe){job->b_stripe, first_panel, panels};
}

/* A part of C and the part of K that is added to it now: rows, and panels of the stripe. */
struct block {
    int64_t row, rows;
    struct gemm_range panels;
    int64_t chunk, chunks;
};

/* Where the kernels find A: in its own memory if its rows are contiguous, but for a last chunk that K does
 * not fill; else packed into this thread's block. */
static struct gemm_column find_a(const struct job *job, const struct block *block) {
    const struct gemm_matrix *a = &job->a;
    const struct amx_gemm_plan *plan = &job->call->plan;
    const int direct = a->column_stride == a->element;
    const int ends_within_chunk =
        block->chunk + block->chunks == plan->chunks && a->columns * a->element % GEMM_CHUNK != 0;
    const int64_t packed_chunks = !direct ? block->chunks : ends_within_chunk ? 1 : 0;
    for (int64_t p = 0; packed_chunks > 0 && p < panels_of(block->rows); p++) {
        gemm_pack_a(job->a_block + p * packed_chunks * GEMM_STEP, a, block->row + p * GEMM_PANEL,
                    block->chunk + block->chunks - packed_chunks, packed_chunks);
    }
    if (!direct) {
        return (struct gemm_column){
            .a = job->a_block,
            .a_row = GEMM_CHUNK,
            .a_tile = GEMM_TILE,
            .a_chunk = GEMM_STEP,
            .a_block = packed_chunks * GEMM_STEP,
        };
    }
    return (struct gemm_column){
        .a = a->data + block->row * a->row_stride + block->chunk * GEMM_CHUNK,
        .a_tail = packed_chunks > 0 ? job->a_block : NULL,
        .a_row = a->row_stride,
        .a_tile = GEMM_ROWS * a->row_stride,
        .a_chunk = GEMM_CHUNK,
        .a_block = GEMM_PANEL * a->row_stride,
    };
}

static void multiply_block(const struct job *job, const struct stripe *stripe, const struct block *block) {
    const struct call *call = job->call;
    const struct amx_gemm_plan *plan = &call->plan;
    const int64_t whole = block->rows / GEMM_PANEL, rest = block->rows % GEMM_PANEL;
    struct gemm_column column = find_a(job, block);
    column.chunks = block->chunks;
    column.c_row = call->c_row;
    column.c_block = GEMM_PANEL * call->c_row;
    column.accumulate = block->chunk > 0;
    column.stream_a = plan->stream_a;
    for (int64_t q = block->panels.begin; q < block->panels.end; q++) {
        const int64_t first = (stripe->first_panel + q) * GEMM_PANEL;
        const int64_t width = min64(GEMM_PANEL, plan->n - first);
        column.b = stripe->data + (q * plan->chunks + block->chunk) * GEMM_STEP;
        column.c = job->c + block->row * call->c_row + first * 4;
        if (whole > 0) {
            column.blocks = whole;
            gemm_session_shape(job->session, GEMM_PANEL, width);
            call->micro[1][width > GEMM_ROWS](&job->session->tiles, &column);
        }
        if (rest > 0) {
            struct gemm_column last = column;
            last.blocks = 1;
            last.a += whole * column.a_block;
            last.a_tail = column.a_tail == NULL ? NULL : column.a_tail + whole * GEMM_STEP;
            last.c += whole * column.c_block;
            gemm_session_shape(job->session, rest, width);
            call->micro[rest > GEMM_ROWS][width > GEMM_ROWS](&job->session->tiles, &last);
        }
    }
}

static void multiply(const struct job *job) {
    const struct amx_gemm_plan *plan = &job->call->plan;
    const int64_t all_panels = panels_of(plan->n), stripe_panels = panels_of(plan->stripe);
    const int64_t block_panels = plan->nc / GEMM_PANEL;
    const struct gemm_range my_rows =
        gemm_share(panels_of(plan->m), job->team.rank / job->column_parts, job->row_parts);
    const int64_t end = min64(plan->m, my_rows.end * GEMM_PANEL);
    for (int64_t first = 0; first < all_panels; first += stripe_panels) {
        const struct stripe stripe = get_stripe(job, first, min64(stripe_panels, all_panels - first));
        const struct gemm_range mine =
            gemm_share(stripe.panels, job->team.rank % job->column_parts, job->column_parts);
        for (int64_t q = mine.begin; q < mine.end; q += block_panels) {
            for (int64_t row = my_rows.begin * GEMM_PANEL; row < end; row += plan->mc) {
                for (int64_t chunk = 0; chunk < plan->chunks; chunk += plan->kc) {
                    const struct block block = {
                        .row = row,
                        .rows = min64(plan->mc, end - row),
                        .panels = {q, min64(mine.end, q + block_panels)},
                        .chunk = chunk,
                        .chunks = min64(plan->kc, plan->chunks - chunk),
                    };
                    multiply_block(job, &stripe, &block);
                }
            }
        }
    }
}

static void run_item(const struct call *call, int64_t item, struct job *job) {
    job->a = call->a;
    job->a.data += offset_of(call->a_offset, item);
    job->b = call->b;
    if (call->packed != NULL) {
        job->packed = call->packed->data + offset_of(call->b_item, item) * call->packed->item_bytes;
    } else {
        job->b.data += offset_of(call->b_offset, item);
    }
    job->c = call->c + offset_of(call->c_offset, item);
    multiply(job);
}

static size_t a_block_bytes(const struct amx_gemm_plan *plan) {
    return (size_t)(plan->mc / GEMM_PANEL * plan->kc * GEMM_STEP);
}
static size_t b_stripe_bytes(const struct amx_gemm_plan *plan) {
    return (size_t)(panels_of(plan->stripe) * plan->chunks * GEMM_STEP);
}

/* What one thread of the call does. The stripe is the team's where it shares each item. */
static void run_thread(const struct call *call, struct gemm_team team, uint8_t *a_block, uint8_t *stripe) {
    const struct amx_gemm_plan *plan = &call->plan;
    struct gemm_session session;
    struct job job = {.call = call, .a_block = a_block, .b_stripe = stripe, .session = &session};
    struct gemm_range items = {0, plan->batch};
    job.team = team;
    job.row_parts = plan->row_parts;
    job.column_parts = plan->column_parts;
    if (plan->over_batch) {
        items = gemm_share(plan->batch, team.rank, team.size);
        job.team = (struct gemm_team){0, 1};
    }
    gemm_session_begin(&session, call->engine);
    for (int64_t item = items.begin; item < items.end; item++) {
        run_item(call, item, &job);
    }
    gemm_session_end(&session);
}

/* The buffers of one thread; a stripe of its own only where it needs one. 0, or -ENOMEM. */
static int get_buffers(const struct call *call, int own_stripe, uint8_t **a_block, uint8_t **stripe) {
    *a_block = gemm_workspace(GEMM_BUFFER_A, a_block_bytes(&call->plan));
    if (own_stripe && call->packed == NULL) {
        *stripe = gemm_workspace(GEMM_BUFFER_B, b_stripe_bytes(&call->plan));
        return *a_block != NULL && *stripe != NULL ? 0 : -ENOMEM;
    }
    return *a_block != NULL ? 0 : -ENOMEM;
}

static int run_alone(const struct call *call) {
    uint8_t *a_block, *stripe = NULL;
    const int error = get_buffers(call, 1, &a_block, &stripe);
    if (error == 0) {
        run_thread(call, (struct gemm_team){0, 1}, a_block, stripe);
    }
    return error;
}

#if defined(_OPENMP)
static int run_team(struct call *call) {
    uint8_t *shared_stripe = NULL;
    int error = 0;
    if (!call->plan.over_batch && call->packed == NULL) {
        shared_stripe = gemm_workspace(GEMM_BUFFER_B, b_stripe_bytes(&call->plan));
        if (shared_stripe == NULL) {
            return -ENOMEM;
        }
    }
#pragma omp parallel num_threads(call->plan.threads) default(none) shared(call, shared_stripe, error)
    {
        const struct gemm_team team = {omp_get_thread_num(), omp_get_num_threads()};
        uint8_t *a_block, *stripe = shared_stripe;
        const int mine = get_buffers(call, call->plan.over_batch, &a_block, &stripe);
        if (mine != 0) {
#pragma omp atomic write
            error = mine;
        }
#pragma omp single
        {
            if (team.size != call->plan.threads && !call->plan.over_batch) { /* fewer came than were called */
                call->plan.row_parts = 1;
                call->plan.column_parts = team.size;
            }
        } /* an implied barrier: everybody sees the error and the split */
        if (error == 0) {
            run_thread(call, team, a_block, stripe);
        }
    }
    return error;
}
#else
static int run_team(struct call *call) {
    return run_alone(call);
}
#endif

/* K = 0: a sum of nothing. */
static void fill_zero(const struct call *call) {
    for (int64_t item = 0; item < call->plan.batch; item++) {
        uint8_t *c = call->c + offset_of(call->c_offset, item);
        for (int64_t row = 0; row < call->plan.m; row++) {
            memset(c + row * call->c_row, 0, (size_t)(call->plan.n * 4));
        }
    }
}

static int run(struct call *call, int op) {
    const struct amx_gemm_plan *plan = &call->plan;
    if (call->engine != AMX_EMULATED && (call->engine != AMX_NATIVE || amx_is_stub())) {
        return -ENOSYS;
    }
    const struct gemm_micro_set *set = gemm_micro_for(op);
    call->micro = call->engine == AMX_NATIVE ? set->native : set->emulated;
    if (plan->m == 0 || plan->n == 0 || plan->batch == 0) {
        return 0;
    }
    if (plan->k == 0) {
        fill_zero(call);
        return 0;
    }
    return plan->threads > 1 ? run_team(call) : run_alone(call);
}

/* The bytes of rows x columns elements, as an interval; offsets of a batch are the caller's to check. */
struct extent {
    uintptr_t begin, end;
};
static struct extent extent_of(const void *data, int64_t rows, int64_t columns, int64_t row, int64_t column,
                               int64_t element) {
    const int64_t r = (rows - 1) * row, c = (columns - 1) * column;
    const int64_t low = (r < 0 ? r : 0) + (c < 0 ? c : 0), high = (r > 0 ? r : 0) + (c > 0 ? c : 0);
    return (struct extent){(uintptr_t)data + (uintptr_t)low, (uintptr_t)data + (uintptr_t)(high + element)};
}
static int overlap(struct extent x, struct extent y) {
    return x.begin < y.end && y.begin < x.end;
}

int amx_gemm(int engine, int op, int threads, int64_t m, int64_t n, int64_t k, int64_t batch, /**/
             const void *a, int64_t a_row, int64_t a_column, const int64_t *a_offset,         /**/
             const void *b, int64_t b_row, int64_t b_column, const int64_t *b_offset,         /**/
             void *c, int64_t c_row, const int64_t *c_offset) {
    const int element = op >= AMX_TDPBF16PS ? 2 : 1;
    struct call call = {
        .engine = engine,
        .a = {a, m, k, a_row, a_column, element},
        .b = {b, k, n, b_row, b_column, element},
        .a_offset = a_offset,
        .b_offset = b_offset,
        .c_offset = c_offset,
        .c = c,
        .c_row = c_row,
    };
    const int error = amx_gemm_make_plan(engine, op, threads, m, n, k, batch, &call.plan);
    if (error != 0) {
        return error;
    }
    if (m > 0 && n > 0 && k > 0 && batch > 0) {
        const struct extent out = extent_of(c, m, n, c_row, 4, 4);
        if (overlap(out, extent_of(a, m, k, a_row, a_column, element)) ||
            overlap(out, extent_of(b, k, n, b_row, b_column, element))) {
            return -EXDEV;
        }
    }
    return run(&call, op);
}

int amx_gemm_packed(int engine, int op, int threads, int64_t m, int64_t batch,               /**/
                    const void *a, int64_t a_row, int64_t a_column, const int64_t *a_offset, /**/
                    const struct amx_packed *b, const int64_t *b_item,                       /**/
                    void *c, int64_t c_row, const int64_t *c_offset) {
    const int element = op >= AMX_TDPBF16PS ? 2 : 1;
    struct call call = {
        .engine = engine,
        .a = {a, m, b->k, a_row, a_column, element},
        .a_offset = a_offset,
        .c_offset = c_offset,
        .packed = b,
        .b_item = b_item,
        .c = c,
        .c_row = c_row,
    };
    const int error = amx_gemm_make_plan(engine, op, threads, m, b->n, b->k, batch, &call.plan);
    if (error != 0 || element != b->element) {
        return error != 0 ? error : -EINVAL;
    }
    call.plan.stripe = b->n; /* packed already: nothing bounds it */
    if (m > 0 && b->n > 0 && b->k > 0 && batch > 0 &&
        overlap(extent_of(c, m, b->n, c_row, 4, 4), extent_of(a, m, b->k, a_row, a_column, element))) {
        return -EXDEV;
    }
    return run(&call, op);
}

int amx_gemm_plain(int engine, int op, int threads, int64_t m, const void *a, const struct amx_packed *b,
                   void *c) {
    return amx_gemm_packed(engine, op, threads, m, 1, a, b->k * b->element, b->element, NULL, b, NULL, c,
                           b->n * 4, NULL);
}
