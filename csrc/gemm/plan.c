/* How a product is cut into blocks and threads: from its shape and this core's caches, never from the CPU's
 * model.
 *
 * kc      a B panel of 32 columns x kc chunks stays in two thirds of L1 while A streams past it
 * mc, nc  the blocks that are used again stay in half of L2 (choose_block)
 * stripe  what a call packs of B at a time is bounded in memory; a prepacked B has no such limit
 */
#include <errno.h>
#include <pthread.h>

#include "gemm/gemm.h"

#define LARGEST (INT64_C(1) << 48) /* more than addresses reach; smaller sizes overflow nothing below */
enum { L1_DEFAULT = 32 << 10, L2_DEFAULT = 1 << 20, STRIPE_BYTES = 16 << 20 };

/* Below this many operations a second thread costs more than it brings: waking a team takes microseconds. */
enum { NATIVE_PARALLEL_OPERATIONS = 1 << 23, EMULATED_PARALLEL_OPERATIONS = 1 << 19 };

struct caches {
    int64_t l1, l2;
};

/* Leaf 4 (Intel) and leaf 0x8000001D (AMD) have the same layout: type, level, ways, partitions, line, sets.
 */
static void read_cache_leaf(uint32_t leaf, struct caches *caches) {
    for (uint32_t index = 0; index < 8; index++) {
        uint32_t r[4];
        if (amx_cpuid(leaf, index, r) != 0 || (r[0] & 31) == 0) {
            return;
        }
        const uint32_t type = r[0] & 31, level = (r[0] >> 5) & 7;
        const int64_t size = ((int64_t)(r[1] >> 22) + 1) * (((r[1] >> 12) & 1023) + 1) * ((r[1] & 4095) + 1) *
                             ((int64_t)r[2] + 1);
        enum { DATA = 1, UNIFIED = 3 };
        if (level == 1 && type == DATA) {
            caches->l1 = size;
        } else if (level == 2 && type == UNIFIED) {
            caches->l2 = size;
        }
    }
}

static struct caches read_caches(void) {
    struct caches caches = {0, 0};
    uint32_t r[4];
    if (amx_cpuid(0, 0, r) == 0 && r[0] >= 4) {
        read_cache_leaf(4, &caches);
    }
    if (caches.l1 == 0 && amx_cpuid(0x80000000u, 0, r) == 0 && r[0] >= 0x8000001Du) {
        read_cache_leaf(0x8000001Du, &caches);
    }
    if (caches.l1 == 0) {
        caches.l1 = L1_DEFAULT;
    }
    if (caches.l2 == 0) {
        caches.l2 = L2_DEFAULT;
    }
    return caches;
}

static struct caches known;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void read_once(void) {
    known = read_caches();
}
static struct caches core_caches(void) {
    pthread_once(&once, read_once);
    return known;
}

static int64_t ceil_div(int64_t x, int64_t y) {
    return (x + y - 1) / y;
}
static int64_t min64(int64_t x, int64_t y) {
    return x < y ? x : y;
}
static int64_t max64(int64_t x, int64_t y) {
    return x > y ? x : y;
}

struct gemm_range gemm_share(int64_t count, int rank, int size) {
    const int64_t each = count / size, more = count % size;
    const int64_t begin = rank * each + min64(rank, more);
    return (struct gemm_range){begin, begin + each + (rank < more)};
}

/* The grid of threads with the smallest largest part; among equals, the squarest part (least operand
 * traffic). */
static void split(int64_t row_panels, int64_t column_panels, int threads, struct amx_gemm_plan *plan) {
    int64_t best_area = INT64_MAX, best_edges = INT64_MAX;
    for (int rows = 1; rows <= threads; rows++) {
        if (threads % rows != 0) {
            continue;
        }
        const int64_t height = ceil_div(row_panels, rows), width = ceil_div(column_panels, threads / rows);
        const int64_t area = height * width, edges = height + width;
        if (area < best_area || (area == best_area && edges < best_edges)) {
            best_area = area;
            best_edges = edges;
            plan->row_parts = rows;
            plan->column_parts = threads / rows;
        }
    }
}

/* mc and nc. Where one block of K is all of K, C is written once and may lie anywhere: the A block alone is
 * kept in L2. Else C is loaded again for every block of K, and A, B and C blocks share L2, as square as can
 * be, so that A and B are read again as seldom as possible. */
static void choose_block(struct amx_gemm_plan *plan, int64_t l2, int64_t row_panels, int64_t column_panels) {
    const int64_t k_bytes = plan->kc * GEMM_CHUNK;
    int64_t tallest = max64(1, l2 / (k_bytes * GEMM_PANEL)), widest = column_panels;
    if (plan->kc < plan->chunks) {
        int64_t edge = GEMM_PANEL;
        while (4 * (edge + GEMM_PANEL) * (edge + GEMM_PANEL) + 2 * (edge + GEMM_PANEL) * k_bytes <= l2) {
            edge += GEMM_PANEL;
        }
        tallest = widest = edge / GEMM_PANEL;
    }
    plan->mc = GEMM_PANEL * max64(1, min64(tallest, row_panels));
    plan->nc = GEMM_PANEL * max64(1, min64(widest, column_panels));
}

int amx_gemm_threads(void) {
    return gemm_threads_available();
}

int amx_gemm_make_plan(int engine, int op, int threads, int64_t m, int64_t n, int64_t k, int64_t batch,
                       struct amx_gemm_plan *plan) {
    const int64_t element = op >= AMX_TDPBF16PS ? 2 : 1;
    if (gemm_micro_for(op) == NULL || m < 0 || n < 0 || k < 0 || batch < 0 || threads < 0 || m > LARGEST ||
        n > LARGEST || k > LARGEST) {
        return -EINVAL;
    }
    const struct caches caches = core_caches();
    const int64_t chunks = k / (GEMM_CHUNK / element) + (k % (GEMM_CHUNK / element) != 0);
    *plan = (struct amx_gemm_plan){.m = m, .n = n, .k = k, .batch = batch, .chunks = chunks};

    const int64_t row_panels = ceil_div(m, GEMM_PANEL), column_panels = ceil_div(n, GEMM_PANEL);
    const int64_t deepest = max64(1, caches.l1 * 2 / 3 / GEMM_STEP);
    plan->kc =
        max64(1, ceil_div(chunks, max64(1, ceil_div(chunks, deepest)))); /* equal blocks, none deeper */
    choose_block(plan, caches.l2 / 2, row_panels, column_panels);
    plan->stream_a = (min64(plan->mc, m) + GEMM_PANEL) * plan->kc * GEMM_CHUNK > caches.l1;
    const double operations = 2.0 * (double)m * (double)n * (double)k * (double)batch;
    const double worth = engine == AMX_NATIVE ? NATIVE_PARALLEL_OPERATIONS : EMULATED_PARALLEL_OPERATIONS;
    const int available = operations < worth ? 1 : gemm_threads_available();
    const int64_t wanted = threads == 0 || threads > available ? available : threads;
    plan->threads = 1;
    plan->row_parts = plan->column_parts = 1;
    if (wanted > 1) {
        plan->over_batch = batch >= wanted;
        if (plan->over_batch) {
            plan->threads = (int)wanted;
        } else {
            plan->threads = (int)max64(1, min64(wanted, row_panels * column_panels));
            split(row_panels, column_panels, plan->threads, plan);
        }
    }
    const int64_t widest_stripe = max64(plan->column_parts, STRIPE_BYTES / (max64(1, chunks) * GEMM_STEP));
    plan->stripe = GEMM_PANEL * max64(1, min64(widest_stripe, column_panels));
    return 0;
}
