/* One thread's part of C for a stripe of B: the loops over blocks, and how the kernels find A.
 *
 * Where K is cut, partial sums rest as float32 or int32, exactly as they were, in a buffer of this thread
 * whose rows do not fall on each other in the caches, whatever the stride of C; C itself is written once, and
 * once more each time that operands are packed over another part of K.
 */
#include "gemm/job.h"

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
int64_t gemm_packed_chunks(const struct gemm_call *call) {
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
static void pack_rows(const struct gemm_job *job, int64_t first, int64_t rows, struct gemm_range stripe) {
    const struct gemm_range range = packed_range(job->call, stripe);
    const int64_t height = job->call->plan->mr, chunks = range.end - range.begin;
    for (int64_t row = 0; chunks > 0 && row < rows; row += height) {
        gemm_pack_a(job->buffers.a + row * chunks * GEMM_CHUNK, height, &job->a, first + row, range.begin,
                    chunks);
    }
}

/* Where the kernels find A from a block's row `row` on: in its own memory, but for a last chunk that K does
 * not fill; or packed. */
static struct gemm_column find_a(const struct gemm_job *job, const struct gemm_stripe *stripe,
                                 const struct gemm_block *block, int64_t row) {
    const struct gemm_matrix *a = &job->a;
    const struct amx_gemm_plan *plan = job->call->plan;
    const int64_t height = plan->mr, packed = job->call->packed_chunks;
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
static const uint8_t *next_of_b(const struct amx_gemm_plan *plan, const struct gemm_stripe *stripe,
                                const struct gemm_column *column, const struct gemm_block *block) {
    const int one_panel = block->panels.end - block->panels.begin == block_panels(plan);
    return column->b + (one_panel ? block->chunks * GEMM_STEP : stripe->panel_bytes);
}

/* One column of `blocks` of `rows` rows each, from the block's row `row` on, by all its panels. Panels in
 * their order, but where the last of them are narrower and configured: then these come first. */
static void multiply_rows(struct gemm_job *job, const struct gemm_stripe *stripe,
                          const struct gemm_block *block, int64_t row, int64_t rows, int64_t blocks) {
    const struct gemm_call *call = job->call;
    const struct amx_gemm_plan *plan = call->plan;
    const int tall = rows > GEMM_ROWS;
    const int64_t panels = tall ? 1 : 2, begin = block->panels.begin;
    const int last = block->chunk + block->chunks == plan->chunks;
    const int finishes = last && call->layer != NULL, at_once = finishes && block->begins;
    const int64_t sums_row = gemm_sums_row(call, at_once);
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
    for (int64_t i = 0; i < steps && !gemm_stops_before(job, blocks * block->chunks); i++) {
        const int64_t step = rest_first ? (i + whole) % steps : i, q = begin + step * panels;
        const int64_t left = (stripe->first_panel + q) * GEMM_PANEL;
        const int64_t width = step < whole ? panels * GEMM_PANEL : rest;
        const int64_t tiles = (width + GEMM_ROWS - 1) / GEMM_ROWS;
        uint8_t *c = job->c + (block->row + row) * call->c_row + left * 4;
        uint8_t *sums = at_once ? job->buffers.sums
                        : block->begins && block->ends
                            ? NULL
                            : job->buffers.sums + row * sums_row + (q - begin) * GEMM_PANEL * 4;
        column.b = stripe->data + (q - stripe->begin) * stripe->panel_bytes +
                   (block->chunk - stripe->chunks.begin) * GEMM_STEP;
        column.b_right = tiles > 2 ? column.b + stripe->panel_bytes : column.b;
        column.ahead = prefetch_b ? next_of_b(plan, stripe, &column, block) : NULL;
        column.from = starts ? NULL : block->begins ? c : sums;
        column.from_row = block->begins ? call->c_row : sums_row;
        column.c = block->ends && !finishes ? c : sums;
        column.c_row = block->ends && !finishes ? call->c_row : sums_row;
        column.from_block = rows * column.from_row;
        column.c_block = rows * column.c_row;
        column.staging = plan->stream_c && last && !finishes && whole_lines && width % GEMM_ROWS == 0
                             ? job->session->staging
                             : NULL;
        column.own_rows = plan->prefetch_c && last && !finishes && column.staging == NULL
                              ? (rows + block->chunks - 1) / block->chunks
                              : 0;
        gemm_session_shape(job->session, rows, width);
        (tall ? call->kernels->tall : call->kernels->wide)[tiles - 1](&job->session->tiles, &column);
        if (finishes) {
            gemm_finish(call->layer, call->a.columns, block->row + row, blocks * rows, left, width, sums,
                        sums_row);
        }
    }
}

/* Whole blocks, and the rows that are left: first what is configured since the block before. */
static void multiply_block(struct gemm_job *job, const struct gemm_stripe *stripe,
                           const struct gemm_block *block) {
    const struct amx_gemm_plan *plan = job->call->plan;
    const int64_t height = plan->mr;
    const int64_t whole = block->rows / height;
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

void gemm_multiply_stripe(struct gemm_job *job, const struct gemm_stripe *stripe) {
    const struct amx_gemm_plan *plan = job->call->plan;
    const int64_t panels = plan->nc / GEMM_PANEL;
    const struct gemm_range rows = my_rows(job), mine = my_panels(job, stripe->panels);
    const struct gemm_range chunks = stripe->chunks;
    for (int64_t row = rows.begin; row < rows.end && !is_to_stop(job->call); row += plan->mc) {
        pack_rows(job, row, min64(plan->mc, rows.end - row), chunks);
        for (int64_t q = mine.begin; q < mine.end; q += panels) {
            for (int64_t chunk = chunks.begin; chunk < chunks.end; chunk += plan->kc) {
                const struct gemm_block block = gemm_block_at(plan, rows, mine, chunks, row, q, chunk);
                multiply_block(job, stripe, &block);
            }
        }
    }
}
