/* Products that become a layer's results, and the rows that it takes. */
#include <errno.h>

#include "gemm/job.h"
#include "gemm/packed.h"

int amx_gemm_layer(int engine, int op, int threads, int64_t m, int64_t k, const void *a, int64_t a_row,
                   const struct amx_packed *b, const struct layer_block *layer) {
    const int element = gemm_element_of(op);
    if (b->count < 1 || k != b->k || m < 0 || a_row < 0 || layer->out_row < 0 || layer->residual_row < 0) {
        return -EINVAL;
    }
    struct gemm_call call = {
        .engine = engine,
        .a = {a, m, k, a_row, element, element},
        .b = {NULL, k, b->n, 0, 0, element},
        .packed = b,
        .a_offset = {.inner = 1},
        .b_offset = {.inner = 1},
        .c_offset = {.inner = 1},
        .c = layer->out,
        .c_row = layer->out_row,
        .layer = layer,
    };
    const int64_t bytes = (m - 1) * a_row + k * element;
    return gemm_out_overlaps(layer, m, b->n, a, bytes) ? -EXDEV : gemm_run(&call, op, threads, 1);
}

static struct layer_rows some_rows(const struct layer_rows *on, int64_t first, int64_t rows) {
    struct layer_rows some = *on;
    some.x = (const uint8_t *)on->x + first * on->x_row;
    some.q = (uint8_t *)on->q + first * on->q_row;
    some.scale = on->scale + first;
    some.zero = on->zero + first;
    some.sum = on->sum + first;
    some.rows = rows;
    return some;
}

static void quantize_share(struct team team, void *work) {
    const struct layer_rows *on = work;
    const struct gemm_range mine = gemm_share(on->rows, team.rank, team.size);
    const struct layer_rows some = some_rows(on, mine.begin, mine.end - mine.begin);
    layer_quantize_rows(&some);
}

void amx_gemm_layer_rows(int threads, const struct layer_rows *on) {
    enum { WORTH_THREADS = 1 << 16 }; /* elements */
    const int available = on->rows * on->k < WORTH_THREADS ? 1 : team_available();
    const int most = threads == 0 || threads > available ? available : threads;
    const int team = on->rows < most ? (int)on->rows : most;
    if (team <= 1) {
        layer_quantize_rows(on);
        return;
    }
    team_run(team, quantize_share, (void *)on);
}
