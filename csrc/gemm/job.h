/* What one thread of a product works on: driver.c goes through it, blocks.c multiplies. */
#ifndef AMX_GEMM_JOB_H
#define AMX_GEMM_JOB_H

#include "gemm/gemm.h"
#include "gemm/session.h"

struct gemm_buffers {
    uint8_t *a, *stripe,
        *sums; /* the stripe is the team's where it shares each item, the others one thread's */
};

/* Pairs of matrices with one second operand, one pair at a time, and the team and buffers that multiply it.
 */
struct gemm_job {
    struct gemm_call *call;
    struct gemm_matrix a, b;
    const uint8_t *packed;
    uint8_t *c;
    struct team team;
    int row_parts, column_parts;
    struct gemm_buffers buffers;
    struct gemm_session *session;
    int asks; /* this thread is the one that called */
    struct gemm_watch watch;
};

/* Panels of B over a part of K, found or packed by the team. */
struct gemm_stripe {
    const uint8_t *data; /* of panel `begin`, counted within the stripe, as this thread finds it */
    int64_t panel_bytes; /* from each to the next */
    int64_t first_panel, panels, begin;
    struct gemm_range chunks; /* of K */
};

/* A part of C and the part of K that is added to it now: rows, and panels and chunks of the stripe. */
struct gemm_block {
    int64_t row, rows;
    struct gemm_range panels;
    int64_t chunk, chunks;
    int begins, ends; /* the stripe's chunks */
};

static inline int64_t min64(int64_t x, int64_t y) {
    return x < y ? x : y;
}
static inline int64_t panels_of(int64_t count) {
    return (count + GEMM_PANEL - 1) / GEMM_PANEL;
}
static inline int is_to_stop(const struct gemm_call *call) {
    return __atomic_load_n(&call->stop.wanted, __ATOMIC_RELAXED);
}

/* The block of the plan's size, within these, that begins there. */
static inline struct gemm_block gemm_block_at(const struct amx_gemm_plan *plan, struct gemm_range rows,
                                              struct gemm_range panels, struct gemm_range chunks, int64_t row,
                                              int64_t panel, int64_t chunk) {
    return (struct gemm_block){
        .row = row,
        .rows = min64(plan->mc, rows.end - row),
        .panels = {panel, min64(panels.end, panel + plan->nc / GEMM_PANEL)},
        .chunk = chunk,
        .chunks = min64(plan->kc, chunks.end - chunk),
        .begins = chunk == chunks.begin,
        .ends = chunk + plan->kc >= chunks.end,
    };
}

/* In whole units but the last. */
static inline struct gemm_range share(int64_t count, int64_t unit, int rank, int size) {
    if (size == 1) { /* mostly: saves divisions */
        return (struct gemm_range){0, count};
    }
    const struct gemm_range units = gemm_share((count + unit - 1) / unit, rank, size);
    return (struct gemm_range){min64(count, units.begin * unit), min64(count, units.end * unit)};
}
/* Panels of B in a block of C in registers. */
static inline int64_t block_panels(const struct amx_gemm_plan *plan) {
    return plan->nr > GEMM_PANEL ? plan->nr / GEMM_PANEL : 1;
}
static inline struct gemm_range my_panels(const struct gemm_job *job, int64_t panels) {
    return share(panels, block_panels(job->call->plan), job->team.rank % job->column_parts,
                 job->column_parts);
}

static inline struct gemm_range my_rows(const struct gemm_job *job) {
    const struct amx_gemm_plan *plan = job->call->plan;
    return share(plan->m, plan->mr, job->team.rank / job->column_parts, job->row_parts);
}

/* ---- finish.c ---- */

int64_t gemm_size_of(enum layer_type type); /* bytes */
/* Whether `out`, of so many rows and columns, overlaps bytes at `from`. Its rows go upwards. */
int gemm_out_overlaps(const struct layer_block *layer, int64_t rows, int64_t columns, const void *from,
                      int64_t bytes);
/* The layer's results of these rows and columns, whose products over K are complete and lie at `sums`. */
void gemm_finish(const struct layer_block *layer, int64_t k, int64_t row, int64_t rows, int64_t column,
                 int64_t columns, const uint8_t *sums, int64_t sums_row);

/* From a row of sums to the next, an odd number of lines: of a block, or of one column where a layer's
 * results are made of it at once. */
static inline int64_t gemm_sums_row(const struct gemm_call *call, int at_once) {
    return (at_once ? 2 * GEMM_PANEL : call->plan->nc) * 4 + GEMM_CHUNK;
}

/* ---- stop.c ---- */

/* Before so many chunks of a block are multiplied: whether they are not to be. */
int gemm_stops_before(struct gemm_job *job, int64_t chunks);

/* ---- vector_blocks.c ---- */

/* As gemm_multiply_stripe(), in vector registers. */
void gemm_multiply_stripe_in_vectors(struct gemm_job *job, const struct gemm_stripe *stripe);
int64_t gemm_vector_buffer(const struct gemm_call *call); /* bytes that it needs as buffers.a */

/* ---- blocks.c ---- */

/* Chunks of K that are packed of A: all, those of a stripe at a time, or one that K does not fill, or none.
 */
int64_t gemm_packed_chunks(const struct gemm_call *call);
/* This thread's part of C = or += A B for the columns and the part of K that a stripe holds; less, where the
 * product is to stop. */
void gemm_multiply_stripe(struct gemm_job *job, const struct gemm_stripe *stripe);

#endif
