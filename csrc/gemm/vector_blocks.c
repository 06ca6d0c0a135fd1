/* One thread's part of C for a stripe of B, in vector registers: the loops over blocks.
 *
 * For a block of mc rows and nc columns, and kc chunks of K, the rows of A are prepared once, into a buffer
 * for L2; then the columns of B that the family takes at once are multiplied with all of these rows, by the
 * first of which they are prepared, where the family wants that, into a buffer for L1 (or L2: `deepest`).
 * What preparing costs is shared by nc columns and mc rows. Where K is cut, partial sums rest as in blocks.c.
 */
#include <string.h>

#include "emulator/mxcsr.h"
#include "gemm/job.h"

/* Columns of a block whose results a layer makes at once: of fewer, it takes longer for each. */
enum { FINISHED = 4 * GEMM_PANEL };

static const uint8_t zeros[4 * GEMM_PANEL];

/* In one buffer: a prepared block of B, a block of C that C has no room for, and rows of A. */
struct places {
    uint8_t *b, *edge, *a;
    int64_t edge_row, a_row;
};

static int64_t width_of(const struct vector_family *family) {
    return VECTOR_COLUMNS * (int64_t)family->tiles;
}

/* Of A prepared: an odd number of lines, so that rows do not fall on each other in L1. */
static int64_t a_row(const struct vector_family *family, const struct amx_gemm_plan *plan) {
    return plan->kc * family->a_bytes + GEMM_CHUNK;
}

/* Few rows prepare no B. */
static int64_t b_bytes(const struct vector_family *family, const struct amx_gemm_plan *plan) {
    return plan->m <= family->few ? 0 : plan->kc * family->b_bytes;
}

static int64_t most_rows(const struct amx_gemm_plan *plan) {
    return min64(plan->mc, plan->m);
}

/* An odd number of lines, where there are many. */
static int64_t edge_row(const struct gemm_call *call) {
    return call->layer != NULL ? 4 * FINISHED + GEMM_CHUNK : 4 * GEMM_PANEL;
}

int64_t gemm_vector_buffer(const struct gemm_call *call) {
    const struct vector_family *family = call->family;
    return b_bytes(family, call->plan) + most_rows(call->plan) * (edge_row(call) + a_row(family, call->plan));
}

static struct places find_places(const struct gemm_job *job) {
    const struct vector_family *family = job->call->family;
    const struct amx_gemm_plan *plan = job->call->plan;
    uint8_t *b = job->buffers.a, *edge = b + b_bytes(family, plan);
    return (struct places){
        .b = b,
        .edge = edge,
        .edge_row = edge_row(job->call),
        .a = edge + most_rows(plan) * edge_row(job->call),
        .a_row = a_row(family, plan),
    };
}

/* The floating-point environment of floats, of which the caller's is put aside. Not inlined where they work,
 * so that no arithmetic moves out of it. */
static uint32_t enter(enum vector_kind kind) {
    return kind >= VECTOR_BF16 ? amxemu_exchange_mxcsr(AMXEMU_TILE_UNIT_MXCSR) : 0;
}

static void leave(enum vector_kind kind, uint32_t mxcsr) {
    if (kind >= VECTOR_BF16) {
        amxemu_exchange_mxcsr(mxcsr);
    }
}

static __attribute__((noinline)) void prepare(const struct vector_family *family,
                                              const struct vector_rows *rows) {
    const uint32_t mxcsr = enter(rows->kind);
    family->prepare_a(rows);
    leave(rows->kind, mxcsr);
}

/* Chunks that lie whole in rows whose columns are adjacent are prepared from there, others from a tile. */
static void prepare_a(const struct gemm_job *job, const struct places *places,
                      const struct gemm_block *block) {
    const struct vector_family *family = job->call->family;
    const struct gemm_matrix *a = &job->a;
    const int64_t per_chunk = GEMM_CHUNK / a->element;
    struct vector_rows rows = {
        .to = places->a,
        .to_row = places->a_row,
        .from = a->data + block->row * a->row_stride + block->chunk * GEMM_CHUNK,
        .from_row = a->row_stride,
        .from_chunk = GEMM_CHUNK,
        .rows = block->rows,
        .kind = job->call->kind,
    };
    if (a->column_stride == a->element) {
        rows.chunks = min64(block->chunks, a->columns / per_chunk - block->chunk);
        prepare(family, &rows);
    }
    enum { TOGETHER = 4 };
    _Alignas(64) uint8_t tiles[TOGETHER * GEMM_TILE];
    for (int64_t chunk = rows.chunks; chunk < block->chunks; chunk += TOGETHER) {
        rows.chunks = min64(TOGETHER, block->chunks - chunk);
        for (int64_t row = 0; row < block->rows; row += GEMM_ROWS) {
            gemm_pack_a(tiles, GEMM_ROWS, a, block->row + row, block->chunk + chunk, rows.chunks);
            rows.to = places->a + row * places->a_row + chunk * family->a_bytes;
            rows.from = tiles;
            rows.from_row = GEMM_CHUNK;
            rows.from_chunk = GEMM_TILE;
            rows.rows = min64(GEMM_ROWS, block->rows - row);
            prepare(family, &rows);
        }
    }
}

static void copy_rows(uint8_t *to, int64_t to_row, const uint8_t *from, int64_t from_row, int64_t rows,
                      int64_t bytes) {
    for (int64_t row = 0; row < rows; row++) {
        memcpy(to + row * to_row, from + row * from_row, (size_t)bytes);
    }
}

static __attribute__((noinline)) void multiply(const struct vector_family *family,
                                               const struct vector_block *on, int few) {
    const uint32_t mxcsr = enter(on->kind);
    if (few) {
        family->multiply_few(on);
    } else {
        family->multiply(on);
    }
    leave(on->kind, mxcsr);
}

/* The first rows prefetch the next column tile of B, or of the panel behind it; what lies behind the last one
 * makes no difference. */
static int64_t next_of_b(const struct vector_family *family, const struct gemm_stripe *stripe,
                         int64_t column) {
    const int64_t in_panel = column % GEMM_PANEL / GEMM_ROWS * GEMM_TILE;
    return family->tiles == 1 && in_panel == 0 ? GEMM_TILE : stripe->panel_bytes - in_panel;
}

/* `columns` columns from column `column` of the stripe. A layer makes results of those that have come
 * together so far, where they are enough, or the `last` ones. `on` is what all columns have in common. */
static void multiply_columns(struct gemm_job *job, const struct gemm_stripe *stripe,
                             const struct places *places, const struct gemm_block *block,
                             struct vector_block on, int64_t column, int64_t columns, int few, int last) {
    const struct gemm_call *call = job->call;
    const struct vector_family *family = call->family;
    const int64_t width = few ? GEMM_PANEL : width_of(family);
    const int64_t sums_row = gemm_sums_row(call, 0);
    const int starts = block->chunk == 0 && !call->adds, finishes = block->ends && call->layer != NULL;
    const int64_t first = stripe->first_panel * GEMM_PANEL + column,
                  waiting = finishes ? (column - block->panels.begin * GEMM_PANEL) % FINISHED : 0;
    uint8_t *const edge = places->edge + 4 * waiting;
    uint8_t *const c = job->c + block->row * call->c_row + first * 4;
    uint8_t *const sums = block->begins && block->ends
                              ? NULL
                              : job->buffers.sums + (column - block->panels.begin * GEMM_PANEL) * 4;
    on.b = stripe->data + (column / GEMM_PANEL - stripe->begin) * stripe->panel_bytes +
           (block->chunk - stripe->chunks.begin) * GEMM_STEP + column % GEMM_PANEL / GEMM_ROWS * GEMM_TILE;
    on.ahead = next_of_b(family, stripe, column);
    on.columns = columns;
    on.from = starts ? zeros : block->begins ? c : sums;
    on.from_row = starts ? 0 : block->begins ? call->c_row : sums_row;
    on.c = finishes ? edge : block->ends ? c : sums;
    on.c_row = finishes ? places->edge_row : block->ends ? call->c_row : sums_row;
    on.results = on.c;
    on.results_row = on.c_row;
    if (finishes) {
        on.results_row = call->layer->out_row;
        on.results = (const uint8_t *)call->layer->out + block->row * on.results_row +
                     first * gemm_size_of(call->layer->out_type);
    }
    if (columns < width && !starts) {
        copy_rows(edge, places->edge_row, on.from, on.from_row, on.rows, 4 * columns);
        on.from = edge;
        on.from_row = places->edge_row;
    }
    if (columns < width && !finishes) {
        uint8_t *const to = on.c;
        const int64_t to_row = on.c_row;
        on.c = edge;
        on.c_row = places->edge_row;
        multiply(family, &on, few);
        copy_rows(to, to_row, edge, places->edge_row, on.rows, 4 * columns);
        return;
    }
    multiply(family, &on, few);
    if (finishes && (last || waiting + width == FINISHED)) {
        gemm_finish(call->layer, call->a.columns, block->row, block->rows, first - waiting, waiting + columns,
                    places->edge, places->edge_row);
    }
}

/* Of the chunk in front of `chunk`, in words of 4 bytes. */
static int last_words(const struct gemm_matrix *a, int64_t chunk) {
    const int64_t beyond = chunk * GEMM_CHUNK - a->columns * a->element;
    return (int)((GEMM_CHUNK - (beyond > 0 ? beyond : 0) + 3) / 4);
}

/* What the groups of rows prefetch of the next column tiles, in equal parts as far as it goes. */
static void share_ahead(struct vector_block *on, const struct vector_family *family) {
    const int64_t lines = (int64_t)family->tiles * GEMM_TILE / GEMM_CHUNK, groups = on->rows / family->rows;
    on->ahead_lines = groups > 0 ? (lines + groups - 1) / groups : 0;
    on->ahead_groups = groups > 0 ? lines / on->ahead_lines : 0;
}

/* Less, where the product is to stop. */
static void multiply_block(struct gemm_job *job, const struct gemm_stripe *stripe,
                           const struct places *places, const struct gemm_block *block) {
    const struct vector_family *family = job->call->family;
    struct vector_block on = {
        .a = places->a,
        .a_row = places->a_row,
        .b_chunk = GEMM_STEP,
        .prepared = places->b,
        .chunks = block->chunks,
        .rows = block->rows,
        .last_words = last_words(&job->a, block->chunk + block->chunks),
        .kind = job->call->kind,
    };
    const int few = block->rows <= family->few;
    const int64_t width = few ? GEMM_PANEL : width_of(family);
    const int64_t end =
        min64(block->panels.end * GEMM_PANEL, job->call->plan->n - stripe->first_panel * GEMM_PANEL);
    share_ahead(&on, family);
    prepare_a(job, places, block);
    for (int64_t column = block->panels.begin * GEMM_PANEL; column < end; column += width) {
        if (gemm_stops_before(job, (block->rows + GEMM_PANEL - 1) / GEMM_PANEL * block->chunks)) {
            return;
        }
        multiply_columns(job, stripe, places, block, on, column, min64(width, end - column), few,
                         column + width >= end);
    }
}

void gemm_multiply_stripe_in_vectors(struct gemm_job *job, const struct gemm_stripe *stripe) {
    const struct amx_gemm_plan *plan = job->call->plan;
    const struct places places = find_places(job);
    const int64_t panels = plan->nc / GEMM_PANEL;
    const struct gemm_range rows = my_rows(job), mine = my_panels(job, stripe->panels),
                            chunks = stripe->chunks;
    for (int64_t q = mine.begin; q < mine.end; q += panels) {
        for (int64_t row = rows.begin; row < rows.end; row += plan->mc) {
            for (int64_t chunk = chunks.begin; chunk < chunks.end && !is_to_stop(job->call);
                 chunk += plan->kc) {
                const struct gemm_block block = gemm_block_at(plan, rows, mine, chunks, row, q, chunk);
                multiply_block(job, stripe, &places, &block);
            }
        }
    }
}
