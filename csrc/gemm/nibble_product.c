/* Products with 4-bit weights, made a layer's results: blocks and threads.
 *
 * A thread prepares some rows, so many that half of L2 holds them, and goes with these through its columns: a
 * tile of 16 columns at a time over all of K, by as many rows at once as the kernel takes. Sums of 128
 * columns rest in cache until the layer's results are made of them. Threads share columns, and rows where
 * there are fewer tiles than threads; none splits K.
 */
#include <errno.h>

#include "emulator/mxcsr.h"
#include "gemm/job.h"
#include "gemm/nibbles.h"
#include "vector/nibble_families.h"

enum {
    FINISHED = 8,                                           /* tiles whose results are made at once */
    MOST_ROWS = 240,                                        /* of a block, so that its sums stay in L2, too */
    SUMS_ROW = FINISHED * NIBBLES_COLUMNS * 4 + GEMM_CHUNK, /* bytes, an odd number of lines */
    WORTH_THREAD = 1 << 19,                                 /* products */
};

struct call {
    const struct nibbles_family *family;
    const struct amx_nibbles *b;
    struct nibbles_rows rows;
    int64_t m, block; /* rows in all, and of a block */
    struct layer_block layer;
    int threads, row_parts, column_parts;
    int stop;              /* atomic */
    jmp_buf *without_team; /* where the caller goes on in a forked child */
};

struct part {
    struct call *call;
    struct gemm_range rows, tiles;
    uint8_t *a, *sums;
    int asks; /* this thread is the one that called */
    struct gemm_watch watch;
};

static int stops(const struct call *call) {
    return __atomic_load_n(&call->stop, __ATOMIC_RELAXED);
}

/* In a child that was forked meanwhile there is no team to meet at the end of the parallel region. */
static int stops_before(struct part *part, int64_t chunks) {
    struct call *const call = part->call;
    if (part->asks && !stops(call) && gemm_is_time(&part->watch, chunks)) {
        const int forks = team_forks();
        if (gemm_ask(&part->watch)) {
            __atomic_store_n(&call->stop, 1, __ATOMIC_RELAXED);
        }
        if (forks != team_forks() && call->without_team != NULL) {
            longjmp(*call->without_team, 1);
        }
    }
    return stops(call);
}

/* Rows of a block that go by B together. */
static int64_t groups_of(const struct call *call, int64_t rows) {
    return (rows + call->family->rows - 1) / call->family->rows;
}

static void prepare(const struct part *part, int64_t first, int64_t rows) {
    const struct call *const call = part->call;
    const int count = (int)groups_of(call, rows);
    for (int i = 0; i < count; i++) {
        const struct gemm_range group = gemm_share(rows, i, count);
        nibbles_prepare(part->a + group.begin * nibbles_row_bytes(call->b), call->b, &call->rows,
                        first + group.begin, (int)(group.end - group.begin));
    }
}

/* Through a pointer, so that no arithmetic leaves what lies between the exchanges. */
static void multiply(const struct nibbles_family *family, const struct nibbles_block *on) {
    const uint32_t before = layer_exchange_mxcsr(AMXEMU_RESET_MXCSR);
    family->multiply(on);
    layer_exchange_mxcsr(before);
}

/* The rows that are prepared, and a tile. */
static void multiply_tile(const struct part *part, int64_t rows, int64_t tile, uint8_t *sums) {
    const struct call *const call = part->call;
    const struct amx_nibbles *const b = call->b;
    const int count = (int)groups_of(call, rows);
    struct nibbles_block on = {
        .b = b->units + tile * b->deep * NIBBLES_UNIT_BYTES,
        .scales = b->scales + tile * nibbles_scale_bytes(b),
        .scales_are_float16 = b->scales_are_float16,
        .zeros = b->zeros != NULL ? b->zeros + tile * b->groups * NIBBLES_COLUMNS : NULL,
        .zero = b->zero,
        .units = b->deep,
        .group_units = b->group_units,
        .sums_row = SUMS_ROW,
    };
    for (int i = 0; i < count; i++) {
        const struct gemm_range group = gemm_share(rows, i, count);
        on.a = part->a + group.begin * nibbles_row_bytes(b);
        on.rows = (int)(group.end - group.begin);
        on.sums = (float *)(void *)(sums + group.begin * SUMS_ROW);
        multiply(call->family, &on);
    }
}

/* Less, where the product is to stop. */
static void run_part(struct part *part) {
    const struct call *const call = part->call;
    const struct amx_nibbles *const b = call->b;
    for (int64_t row = part->rows.begin; row < part->rows.end; row += call->block) {
        const int64_t rows = min64(call->block, part->rows.end - row);
        const int64_t work = (rows + GEMM_PANEL - 1) / GEMM_PANEL * ((b->deep + 1) / 2);
        prepare(part, row, rows);
        for (int64_t tile = part->tiles.begin; tile < part->tiles.end; tile += FINISHED) {
            const int64_t end = min64(part->tiles.end, tile + FINISHED), column = tile * NIBBLES_COLUMNS;
            for (int64_t each = tile; each < end; each++) {
                if (stops_before(part, work)) {
                    return;
                }
                multiply_tile(part, rows, each, part->sums + (each - tile) * NIBBLES_COLUMNS * 4);
            }
            gemm_finish(&call->layer, b->k, row, rows, column, min64(b->n, end * NIBBLES_COLUMNS) - column,
                        part->sums, SUMS_ROW);
        }
    }
}

/* What one thread of the call does; with `error` 0 or -ENOMEM. */
static struct part part_of(struct call *call, struct team team, int *error) {
    const int as_planned = team.size == call->threads; /* else fewer came than were called */
    const int row_parts = as_planned ? call->row_parts : 1, column_parts = team.size / row_parts;
    struct part part = {
        .call = call,
        .rows = share(call->m, call->family->rows, team.rank / column_parts, row_parts),
        .tiles = gemm_share(call->b->tiles, team.rank % column_parts, column_parts),
        .a = gemm_workspace(GEMM_BUFFER_A, (size_t)(call->block * nibbles_row_bytes(call->b))),
        .sums = gemm_workspace(GEMM_BUFFER_C, (size_t)(call->block * SUMS_ROW)),
        .asks = team.rank == 0,
        .watch = gemm_watch_begin(),
    };
    *error = part.a == NULL || part.sums == NULL ? -ENOMEM : 0;
    return part;
}

static int run_alone(struct call *call) {
    int error;
    struct part part = part_of(call, team_of_one(), &error);
    if (error == 0) {
        run_part(&part);
    }
    return error;
}

struct together {
    struct call *call;
    int error; /* atomic */
};
static void work_together(struct team team, void *work) {
    struct together *all = work;
    int mine;
    struct part part = part_of(all->call, team, &mine);
    if (mine != 0) {
        __atomic_store_n(&all->error, mine, __ATOMIC_RELAXED);
    } else {
        run_part(&part);
    }
}
static int run_parallel(struct call *call) {
    struct together all = {call, 0};
    team_run(call->threads, work_together, &all);
    return all.error;
}

/* A forked child begins again, alone. */
static int run_team(struct call *call) {
    jmp_buf without_team;
    if (setjmp(without_team) != 0) {
        call->without_team = NULL;
        return stops(call) ? 0 : run_alone(call);
    }
    call->without_team = &without_team;
    const int error = run_parallel(call);
    call->without_team = NULL;
    return error;
}

/* Blocks of rows as equal as whole groups allow, none larger than fits. */
static int64_t block_of(const struct call *call) {
    const int64_t each = call->family->rows, fit = gemm_caches().l2 / 2 / (nibbles_row_bytes(call->b) + 1);
    const int64_t most = min64(MOST_ROWS, fit) / each * each;
    const int64_t count = (call->m - 1) / (most > each ? most : each) + 1;
    const int64_t rows = (call->m - 1) / count + 1;
    return (rows - 1) / each * each + each;
}

static void share_out(struct call *call, int most) {
    const double worth = (double)call->m * (double)call->b->n * (double)call->b->k / WORTH_THREAD;
    const int available = most == 1 || worth < 2 ? 1 : team_available();
    const int wanted = most == 0 || most > available ? available : most;
    const int team = worth < wanted ? (int)worth : wanted;
    call->column_parts = (int)min64(team > 1 ? team : 1, call->b->tiles);
    call->row_parts = (int)min64(team > 1 ? team / call->column_parts : 1, groups_of(call, call->m));
    call->threads = call->column_parts * call->row_parts;
}

int amx_nibbles_layer(int engine, int threads, int64_t m, int is_unsigned, const void *a, int64_t a_row,
                      const struct amx_nibbles *b, const struct layer_block *layer) {
    if (m < 0 || a_row < 0 || layer->out_row < 0 || layer->residual_row < 0) {
        return -EINVAL;
    }
    struct call call = {
        .family = engine == AMX_EMULATED ? &nibbles_plain : nibbles_selected(),
        .b = b,
        .rows = {a, a_row, is_unsigned, layer->row_zero},
        .m = m,
        .layer = *layer,
    };
    call.layer.c_is_float = 1;
    call.layer.row_zero = NULL;
    if (m == 0 || b->n == 0) {
        return 0;
    }
    if (gemm_out_overlaps(layer, m, b->n, a, (m - 1) * a_row + b->k)) {
        return -EXDEV;
    }
    call.block = block_of(&call);
    share_out(&call, threads);
    const int error = call.threads > 1 ? run_team(&call) : run_alone(&call);
    return error == 0 && stops(&call) ? -EINTR : error;
}

const char *amx_nibbles_family(int index) {
    const struct nibbles_family *const family = nibbles_nth(index);
    return family != NULL ? family->name : NULL;
}

int amx_nibbles_select(const char *name) {
    return nibbles_select(name);
}

const char *amx_nibbles_selected(void) {
    return nibbles_selected()->name;
}
