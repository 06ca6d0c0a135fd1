/* The loops over blocks, on a team of threads.
 *
 * Threads never split K, so every element of C has one accumulator whose K ascends: the bits of the result do
 * not depend on the plan. Where K is cut, partial sums rest as float32 or int32, exactly as they were, in a
 * buffer of this thread whose rows do not fall on each other in the caches, whatever the stride of C; C
 * itself is written once, and once more each time that operands are packed over another part of K.
 */
#include <errno.h>
#include <string.h>

#include "gemm/gemm.h"
#include "gemm/packed.h"
#include "gemm/session.h"

#if defined(_OPENMP)
#include <omp.h>
#endif

struct buffers {
    uint8_t *a, *stripe,
        *sums; /* the stripe is the team's where it shares each item, the others one thread's */
};

/* Pairs of matrices with one second operand, one pair at a time, and the team and buffers that multiply it.
 */
struct job {
    struct gemm_call *call;
    struct gemm_matrix a, b;
    const uint8_t *packed;
    uint8_t *c;
    struct gemm_team team;
    int row_parts, column_parts;
    struct buffers buffers;
    struct gemm_session *session;
    int asks; /* this thread is the one that called */
    struct gemm_watch watch;
};

static int64_t min64(int64_t x, int64_t y) {
    return x < y ? x : y;
}
static int64_t panels_of(int64_t count) {
    return (count + GEMM_PANEL - 1) / GEMM_PANEL;
}
static int64_t offset_of(struct gemm_offsets offsets, int64_t item) {
    if (offsets.each != NULL) {
        return offsets.each[item];
    }
    if (item < offsets.inner) { /* mostly: saves a division */
        return item * offsets.step;
    }
    return item % offsets.inner * offsets.step + item / offsets.inner * offsets.outer;
}

static void barrier(struct gemm_team team) {
    if (team.size > 1) {
#if defined(_OPENMP)
#pragma omp barrier
#endif
    }
}

static int is_to_stop(const struct gemm_call *call) {
    return __atomic_load_n(&call->stop.wanted, __ATOMIC_RELAXED);
}

/* The caller, while the registers are its own. */
static void ask(struct job *job) {
    gemm_session_end(job->session);
    if (gemm_ask(&job->watch)) {
        __atomic_store_n(&job->call->stop.wanted, 1, __ATOMIC_RELAXED);
    }
    gemm_session_begin(job->session, job->call->engine);
}
/* Before so many chunks of a block are multiplied: whether they are not to be. */
static int stops_before(struct job *job, int64_t chunks) {
    if (job->asks && gemm_is_time(&job->watch, chunks)) {
        ask(job);
    }
    return is_to_stop(job->call);
}

/* In whole units but the last. */
static struct gemm_range share(int64_t count, int64_t unit, int rank, int size) {
    if (size == 1) { /* mostly: saves divisions */
        return (struct gemm_range){0, count};
    }
    const struct gemm_range units = gemm_share((count + unit - 1) / unit, rank, size);
    return (struct gemm_range){min64(count, units.begin * unit), min64(count, units.end * unit)};
}
static int64_t block_height(const struct amx_gemm_plan *plan) {
    return GEMM_ROWS * plan->row_tiles;
}
/* Panels of B in a block of C in registers. */
static int64_t block_panels(const struct amx_gemm_plan *plan) {
    return GEMM_ROWS * plan->column_tiles / GEMM_PANEL;
}
static struct gemm_range my_rows(const struct job *job) {
    const struct amx_gemm_plan *plan = job->call->plan;
    return share(plan->m, block_height(plan), job->team.rank / job->column_parts, job->row_parts);
}
static struct gemm_range my_panels(const struct job *job, int64_t panels) {
    return share(panels, block_panels(job->call->plan), job->team.rank % job->column_parts,
                 job->column_parts);
}

/* Panels of B over a part of K, found or packed by the team. */
struct stripe {
    const uint8_t *data; /* of panel `begin`, counted within the stripe, as this thread finds it */
    int64_t panel_bytes; /* from each to the next */
    int64_t first_panel, panels, begin;
    struct gemm_range chunks; /* of K */
};

/* Elements of K in front of a chunk, of which the last may not be full. */
static int64_t elements_before(const struct gemm_matrix *b, int64_t chunk) {
    return min64(b->rows, chunk * (GEMM_CHUNK / b->element));
}

/* 0, or 1 where the product is to stop, for all who meet at the barriers here. */
static int get_stripe(const struct job *job, int64_t first_panel, int64_t panels, struct gemm_range chunks,
                      struct stripe *stripe) {
    if (job->packed != NULL) {
        const int64_t panel_bytes = job->call->packed->chunks * GEMM_STEP;
        const uint8_t *data = job->packed + first_panel * panel_bytes + chunks.begin * GEMM_STEP;
        *stripe = (struct stripe){data, panel_bytes, first_panel, panels, 0, chunks};
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
        barrier(job->team); /* until nobody works on what the buffer held */
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
        barrier(job->team);
    }
    *stripe = (struct stripe){data, panel_bytes, first_panel, panels, ours.begin, chunks};
    return 0;
}

/* A part of C and the part of K that is added to it now: rows, and panels and chunks of the stripe. */
struct block {
    int64_t row, rows;
    struct gemm_range panels;
    int64_t chunk, chunks;
    int begins, ends; /* the stripe's chunks */
};

/* Whether the rows of A that are used in turns are too many for the sets of L2 that they fall into: a cache
 * holds no more rows than its size divided by the power of two that divides their distance, unless they fill
 * that distance. */
static int rows_share_sets(const struct gemm_call *call) {
    const struct amx_gemm_plan *plan = call->plan;
    const uint64_t stride = (uint64_t)call->a.row_stride, apart = stride & -stride;
    return (uint64_t)(plan->kc * GEMM_CHUNK) < apart &&
           (uint64_t)plan->caches.l2 / apart <= (uint64_t)min64(plan->mc, plan->m);
}
/* Rows of A that are read where they lie. Else they are packed: columns that are not adjacent, or, where the
 * plan asks for it, rows that are not whole lines or that evict each other. */
static int is_direct(const struct gemm_call *call) {
    const struct gemm_matrix *a = &call->a;
    const int whole_lines = ((uintptr_t)a->data | (uintptr_t)a->row_stride) % GEMM_CHUNK == 0;
    return a->column_stride == a->element && (!call->plan->pack_a || (whole_lines && !rows_share_sets(call)));
}
/* Chunks of K that are packed of A: all, those of a stripe at a time, or one that K does not fill, or none.
 */
static int64_t packed_chunks_of(const struct gemm_call *call) {
    if (!is_direct(call)) {
        return call->plan->chunks;
    }
    return call->a.columns * call->a.element % GEMM_CHUNK != 0;
}

/* Those of them among a stripe's. */
static struct gemm_range packed_range(const struct gemm_call *call, struct gemm_range chunks) {
    const int64_t first = call->plan->chunks - call->packed_chunks;
    return (struct gemm_range){min64(chunks.end, chunks.begin > first ? chunks.begin : first), chunks.end};
}

/* Pack what has to be packed of rows of A. */
static void pack_rows(const struct job *job, int64_t first, int64_t rows, struct gemm_range stripe) {
    const struct gemm_range range = packed_range(job->call, stripe);
    const int64_t height = block_height(job->call->plan), chunks = range.end - range.begin;
    for (int64_t row = 0; chunks > 0 && row < rows; row += height) {
        gemm_pack_a(job->buffers.a + row * chunks * GEMM_CHUNK, height, &job->a, first + row, range.begin,
                    chunks);
    }
}

/* Where the kernels find A from a block's row `row` on: in its own memory, but for a last chunk that K does
 * not fill; or packed. */
static struct gemm_column find_a(const struct job *job, const struct stripe *stripe,
                                 const struct block *block, int64_t row) {
    const struct gemm_matrix *a = &job->a;
    const struct amx_gemm_plan *plan = job->call->plan;
    const int64_t height = block_height(plan), packed = job->call->packed_chunks;
    if (packed == plan->chunks) {
        const int64_t chunks = stripe->chunks.end - stripe->chunks.begin;
        const int64_t chunk = block->chunk - stripe->chunks.begin;
        return (struct gemm_column){
            .a = job->buffers.a + (row * chunks + chunk * height) * GEMM_CHUNK,
            .a_row = GEMM_CHUNK,
            .a_chunk = height * GEMM_CHUNK,
            .a_block = chunks * height * GEMM_CHUNK,
        };
    }
    const int has_tail = packed > 0 && block->chunk + block->chunks == plan->chunks;
    return (struct gemm_column){
        .a = a->data + (block->row + row) * a->row_stride + block->chunk * GEMM_CHUNK,
        .a_tail = has_tail ? job->buffers.a + row * GEMM_CHUNK : NULL,
        .a_row = a->row_stride,
        .a_chunk = GEMM_CHUNK,
        .a_block = height * a->row_stride,
        .tail_block = height * GEMM_CHUNK,
    };
}

/* What of B is multiplied after a column's: the same chunks of the next panel, or, where a block is one panel
 * wide, the next chunks, then the next panel, which follow. At the end of B it is what lies behind: a
 * prefetch faults on nothing. */
static const uint8_t *next_of_b(const struct amx_gemm_plan *plan, const struct stripe *stripe,
                                const struct gemm_column *column, const struct block *block) {
    const int one_panel = block->panels.end - block->panels.begin == block_panels(plan);
    return column->b + (one_panel ? block->chunks * GEMM_STEP : stripe->panel_bytes);
}

/* One column of `blocks` of `rows` rows each, from the block's row `row` on, by all its panels. Panels in
 * their order, but where the last of them are narrower and configured: then these come first. */
static void multiply_rows(struct job *job, const struct stripe *stripe, const struct block *block,
                          int64_t row, int64_t rows, int64_t blocks) {
    const struct gemm_call *call = job->call;
    const struct amx_gemm_plan *plan = call->plan;
    const int tall = rows > GEMM_ROWS;
    const int64_t panels = tall ? 1 : 2, begin = block->panels.begin;
    const int64_t sums_row = plan->nc * 4 + GEMM_CHUNK; /* an odd number of lines */
    const int last = block->chunk + block->chunks == plan->chunks;
    const int starts = block->chunk == 0 && !call->adds;
    const int whole_lines = ((uintptr_t)job->c | (uintptr_t)call->c_row) % GEMM_CHUNK == 0;
    const int64_t columns =
        min64((block->panels.end - begin) * GEMM_PANEL, plan->n - (stripe->first_panel + begin) * GEMM_PANEL);
    const int64_t whole = tall ? columns / GEMM_PANEL : columns / (2 * GEMM_PANEL);
    const int64_t rest = columns - whole * panels * GEMM_PANEL;
    const int64_t steps = whole + (rest > 0);
    const int rest_first = rest > 0 && gemm_session_has(job->session, rows, rest) &&
                           !gemm_session_has(job->session, rows, panels * GEMM_PANEL);
    const int prefetch_b = plan->prefetch_b && blocks > 1;
    struct gemm_column column = find_a(job, stripe, block, row);
    column.chunks = block->chunks;
    column.blocks = blocks;
    column.stream_a = plan->stream_a;
    column.stream_b = plan->stream_b;
    column.rows = rows;
    if (prefetch_b) {
        column.ahead_lines = (GEMM_STEP / GEMM_CHUNK + blocks - 1) / blocks;
    }
    for (int64_t i = 0; i < steps && !stops_before(job, blocks * block->chunks); i++) {
        const int64_t step = rest_first ? (i + whole) % steps : i, q = begin + step * panels;
        const int64_t left = (stripe->first_panel + q) * GEMM_PANEL;
        const int64_t width = step < whole ? panels * GEMM_PANEL : rest;
        const int64_t tiles = (width + GEMM_ROWS - 1) / GEMM_ROWS;
        uint8_t *c = job->c + (block->row + row) * call->c_row + left * 4;
        uint8_t *sums = block->begins && block->ends
                            ? NULL
                            : job->buffers.sums + row * sums_row + (q - begin) * GEMM_PANEL * 4;
        column.b = stripe->data + (q - stripe->begin) * stripe->panel_bytes +
                   (block->chunk - stripe->chunks.begin) * GEMM_STEP;
        column.b_right = tiles > 2 ? column.b + stripe->panel_bytes : column.b;
        column.ahead = prefetch_b ? next_of_b(plan, stripe, &column, block) : NULL;
        column.from = starts ? NULL : block->begins ? c : sums;
        column.from_row = block->begins ? call->c_row : sums_row;
        column.c = block->ends ? c : sums;
        column.c_row = block->ends ? call->c_row : sums_row;
        column.from_block = rows * column.from_row;
        column.c_block = rows * column.c_row;
        column.staging =
            plan->stream_c && last && whole_lines && width % GEMM_ROWS == 0 ? job->session->staging : NULL;
        column.own_rows = plan->prefetch_c && last && column.staging == NULL
                              ? (rows + block->chunks - 1) / block->chunks
                              : 0;
        gemm_session_shape(job->session, rows, width);
        (tall ? call->kernels->tall : call->kernels->wide)[tiles - 1](&job->session->tiles, &column);
    }
}

/* Whole blocks, and the rows that are left: first what is configured since the block before. */
static void multiply_block(struct job *job, const struct stripe *stripe, const struct block *block) {
    const struct amx_gemm_plan *plan = job->call->plan;
    const int64_t height = block_height(plan);
    const int64_t whole = plan->row_tiles == 1 ? block->rows / GEMM_ROWS : block->rows / (2 * GEMM_ROWS);
    const int64_t rest = block->rows - whole * height;
    const int rest_first = job->session->rows == rest;
    if (rest > 0 && rest_first) {
        multiply_rows(job, stripe, block, whole * height, rest, 1);
    }
    if (whole > 0) {
        multiply_rows(job, stripe, block, 0, height, whole);
    }
    if (rest > 0 && !rest_first) {
        multiply_rows(job, stripe, block, whole * height, rest, 1);
    }
}

static void multiply_stripe(struct job *job, const struct stripe *stripe) {
    const struct amx_gemm_plan *plan = job->call->plan;
    const int64_t panels = plan->nc / GEMM_PANEL;
    const struct gemm_range rows = my_rows(job), mine = my_panels(job, stripe->panels);
    const struct gemm_range chunks = stripe->chunks;
    for (int64_t row = rows.begin; row < rows.end && !is_to_stop(job->call); row += plan->mc) {
        pack_rows(job, row, min64(plan->mc, rows.end - row), chunks);
        for (int64_t q = mine.begin; q < mine.end; q += panels) {
            for (int64_t chunk = chunks.begin; chunk < chunks.end; chunk += plan->kc) {
                const struct block block = {
                    .row = row,
                    .rows = min64(plan->mc, rows.end - row),
                    .panels = {q, min64(mine.end, q + panels)},
                    .chunk = chunk,
                    .chunks = min64(plan->kc, chunks.end - chunk),
                    .begins = chunk == chunks.begin,
                    .ends = chunk + plan->kc >= chunks.end,
                };
                multiply_block(job, stripe, &block);
            }
        }
    }
}

/* Items begin ... end - 1, which have the same second operand: what is packed of it serves them all. 0, or 1
 * where the product is to stop. */
static int run_items(const struct gemm_call *call, int64_t begin, int64_t end, struct job *job) {
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
            struct stripe stripe;
            if (get_stripe(job, panel, min64(at_a_time, all - panel), chunks, &stripe)) {
                return 1;
            }
            for (int64_t item = begin; item < end; item++) {
                job->a.data = call->a.data + offset_of(call->a_offset, item);
                job->c = call->c + offset_of(call->c_offset, item);
                multiply_stripe(job, &stripe);
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
static void run_thread(struct gemm_call *call, struct gemm_team team, struct buffers buffers) {
    const struct amx_gemm_plan *plan = call->plan;
    struct gemm_session session;
    struct job job = {
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
        job.team = (struct gemm_team){0, 1};
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
static int get_buffers(const struct gemm_call *call, int own_stripe, struct buffers *buffers) {
    const struct amx_gemm_plan *plan = call->plan;
    const int64_t sums = plan->kc < plan->depth ? plan->mc * (plan->nc * 4 + GEMM_CHUNK) : 0;
    const int64_t chunks = min64(call->packed_chunks, plan->depth);
    int error = get_buffer(GEMM_BUFFER_A, plan->mc * chunks * GEMM_CHUNK, &buffers->a);
    if (error == 0) {
        error = get_buffer(GEMM_BUFFER_C, sums, &buffers->sums);
    }
    return error == 0 && own_stripe ? get_stripe_buffer(call, &buffers->stripe) : error;
}

static int run_alone(struct gemm_call *call) {
    struct buffers buffers = {NULL, NULL, NULL};
    const int error = get_buffers(call, 1, &buffers);
    if (error == 0) {
        run_thread(call, (struct gemm_team){0, 1}, buffers);
    }
    return error;
}

#if defined(_OPENMP)
static int run_team(struct gemm_call *call) {
    uint8_t *shared_stripe = NULL;
    int error = call->plan->over_batch ? 0 : get_stripe_buffer(call, &shared_stripe);
    if (error != 0) {
        return error;
    }
#pragma omp parallel num_threads(call->plan->threads) default(none) shared(call, shared_stripe, error)
    {
        const struct gemm_team team = {omp_get_thread_num(), omp_get_num_threads()};
        struct buffers buffers = {NULL, shared_stripe, NULL};
        const int mine = get_buffers(call, call->plan->over_batch, &buffers);
        if (mine != 0) {
#pragma omp atomic write
            error = mine;
        }
#pragma omp barrier /* everybody sees the error */
        if (error == 0) {
            run_thread(call, team, buffers);
        }
    }
    return error;
}
#else
static int run_team(struct gemm_call *call) {
    return run_alone(call);
}
#endif

/* K = 0: a sum of nothing. */
static void fill_zero(const struct gemm_call *call) {
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
    const int error =
        gemm_find_plan(call->engine, op, threads, call->a.rows, call->b.columns, call->a.columns, batch,
                       batch > 0 ? count_operands(call, batch) : 0, &call->plan);
    if (error != 0) {
        return error;
    }
    const struct amx_gemm_plan *plan = call->plan;
    if (call->engine != AMX_EMULATED && (call->engine != AMX_NATIVE || amx_is_stub())) {
        return -ENOSYS;
    }
    const struct gemm_micro_set *set = gemm_micro_for(op);
    call->kernels = call->engine == AMX_NATIVE ? &set->native : &set->emulated;
    if (plan->m == 0 || plan->n == 0 || plan->batch == 0) {
        return 0;
    }
    if (plan->k == 0) {
        fill_zero(call);
        return 0;
    }
    call->packed_chunks = packed_chunks_of(call);
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
