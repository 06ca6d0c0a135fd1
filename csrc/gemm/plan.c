/* How a product is cut into blocks and threads: from its shape and this core's caches, never from the CPU's
 * model. docs/performance.md argues the choices; the cycles are those of the machine recorded there.
 *
 * kernel   2x2 tiles, or 1x4 for few rows and for what fits half of L2
 * kc       a B panel of kc chunks of K stays in two thirds of L1 while A streams past it; all of K where a
 *          panel is used only once
 * mc, nc   what is used again stays in L2, with room beside it; a B from beyond it is prefetched a panel
 *          ahead
 * depth    the part of K over which a call packs at a time: all of it, unless that takes too much memory
 * stripe   what a call packs of B at a time: half of L2 where A is small enough to be read again for
 *          each, else bounded in memory
 * C        past the caches where it exceeds half of L2, unless its stores could not hide behind products;
 *          else prefetched where it exceeds half of L1
 */
#include <errno.h>
#include <pthread.h>

#include "gemm/gemm.h"

#define LARGEST (INT64_C(1) << 48) /* more than addresses reach; smaller sizes overflow nothing below */
enum { L1_DEFAULT = 32 << 10, L2_DEFAULT = 1 << 20 };

/* What a thread may pack of B and of A at a time. */
enum { STRIPE_BYTES = 16 << 20, ROWS_BYTES = 8 << 20 };

/* Cycles of a product of tiles, and of a load of a tile of B from L2 and from beyond. */
enum { CYCLES_TDP = 16, CYCLES_LOAD_L2 = 19, CYCLES_LOAD_FAR = 105 };
/* Below this a second thread costs more than it brings: waking a team takes microseconds. The software tile
 * machine needs some 32 times as long as tiles, vector registers as long as their family says. */
enum { PARALLEL_CYCLES = 8192, EMULATED_TIMES = 32 };

/* Where rows of A begin within a line, each row of a tile lies in two, and A from L2 costs twice as much: 84
 * cycles of loads beside the 64 of a step. Copying a tile costs as much as that does in six panels of B. */
enum { WORTH_PACKING_A = 8 * GEMM_PANEL };

/* Storing C past the caches takes as long as products over so many bytes of K; it hides behind deeper ones.
 * Shallower ones are bound by their stores, which the third level takes faster than memory does: until C is
 * larger than any core's share of it, here taken as a multiple of L2. */
enum { DEEP_ENOUGH_TO_HIDE_STORES = 512, BEYOND_ANY_CACHE = 32 };

/* Leaf 4 (Intel) and leaf 0x8000001D (AMD) have the same layout: type, level, ways, partitions, line, sets.
 */
static void read_cache_leaf(uint32_t leaf, struct amx_caches *caches) {
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

static struct amx_caches read_caches(void) {
    struct amx_caches caches = {0, 0};
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

static struct amx_caches known;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void read_once(void) {
    known = read_caches();
}
struct amx_caches gemm_caches(void) {
    pthread_once(&once, read_once);
    return known;
}

void amx_gemm_assume_caches(const struct amx_caches *caches) {
    pthread_once(&once, read_once);
    known = caches != NULL ? *caches : read_caches();
}

static int64_t ceil_div(int64_t x, int64_t y) { /* of sizes up to LARGEST */
    return (x + y - 1) / y;
}
static int64_t min64(int64_t x, int64_t y) {
    return x < y ? x : y;
}
static int64_t max64(int64_t x, int64_t y) {
    return x > y ? x : y;
}

/* Columns of the panels that a block of C in registers lies in. */
static int64_t panels_width(const struct amx_gemm_plan *plan) {
    return max64(plan->nr, GEMM_PANEL);
}

/* The size of the equal parts, none larger than `most`, of `count` units; at least 1. */
static int64_t equal_blocks(int64_t count, int64_t most) {
    return count == 0 ? 1 : ceil_div(count, ceil_div(count, max64(1, most)));
}

struct gemm_range gemm_share(int64_t count, int rank, int size) {
    const int64_t each = count / size, more = count % size;
    const int64_t begin = rank * each + min64(rank, more);
    return (struct gemm_range){begin, begin + each + (rank < more)};
}

/* The grid of threads with the smallest largest part, in blocks; among equals, the squarest part (least
 * operand traffic). */
static void split(int64_t row_blocks, int64_t column_blocks, int threads, struct amx_gemm_plan *plan) {
    double best_area = 0, best_edges = 0; /* sizes that no memory holds overflow no double */
    for (int rows = 1; rows <= threads; rows++) {
        if (threads % rows != 0) {
            continue;
        }
        const double height = (double)ceil_div(row_blocks, rows);
        const double width = (double)ceil_div(column_blocks, threads / rows);
        const double area = height * width, edges = height + width;
        if (rows == 1 || area < best_area || (area == best_area && edges < best_edges)) {
            best_area = area;
            best_edges = edges;
            plan->row_parts = rows;
            plan->column_parts = threads / rows;
        }
    }
}

/* Sizes in bytes, as doubles: products of sizes overflow nothing. */
static double a_bytes(const struct amx_gemm_plan *plan) {
    return (double)plan->m * (double)plan->chunks * GEMM_CHUNK;
}
static double b_bytes(const struct amx_gemm_plan *plan) {
    return (double)ceil_div(plan->n, GEMM_PANEL) * (double)plan->chunks * GEMM_STEP;
}
static double c_bytes(const struct amx_gemm_plan *plan) {
    return (double)plan->m * (double)plan->n * 4;
}

/* 1x4 reads an A tile once for 64 columns, B as often as there are rows of tiles, and writes C in runs of 256
 * bytes. That suits few rows, and what stays in L2 with a panel of 64 columns in L1. The software tile
 * machine is slower by its fifth load. */
static void choose_kernel(struct amx_gemm_plan *plan, int engine, const struct vector_family *family) {
    if (family != NULL) {
        plan->family = family->name;
        const int few = plan->m <= family->few;
        plan->mr = few ? (int)max64(1, plan->m) : family->rows;
        plan->nr = few ? GEMM_PANEL : GEMM_ROWS * family->tiles;
        return;
    }
    const struct amx_caches *caches = &plan->caches;
    const int in_l2 = a_bytes(plan) + b_bytes(plan) + c_bytes(plan) <= (double)caches->l2 / 2;
    const int panel_in_l1 = plan->chunks * 2 * GEMM_STEP <= caches->l1 * 2 / 3;
    const int wide = plan->m <= GEMM_ROWS || (engine == AMX_NATIVE && in_l2 && panel_in_l1);
    plan->mr = wide ? GEMM_ROWS : 2 * GEMM_ROWS;
    plan->nr = wide ? 4 * GEMM_ROWS : 2 * GEMM_ROWS;
}

static void choose_threads(struct amx_gemm_plan *plan, int slower, int most, int64_t row_blocks,
                           int64_t column_blocks) {
    plan->threads = plan->row_parts = plan->column_parts = 1;
    const double b_tiles = (double)ceil_div(plan->n, GEMM_ROWS) * (double)plan->chunks * (double)plan->batch;
    const int64_t products = CYCLES_TDP * ceil_div(plan->m, GEMM_ROWS);
    const int64_t load = b_bytes(plan) > (double)plan->caches.l2 ? CYCLES_LOAD_FAR : CYCLES_LOAD_L2;
    const double cycles = b_tiles * (double)max64(products, load);
    if (cycles * slower < PARALLEL_CYCLES) {
        return;
    }
    const int available = team_available();
    const int64_t wanted = most == 0 || most > available ? available : most;
    if (wanted <= 1) {
        return;
    }
    /* Whole items each, where they give more to do than the blocks of one, unless the team would then pack
     * one second operand several times. */
    const double blocks = (double)row_blocks * (double)column_blocks;
    const int few_blocks = blocks < (double)wanted;
    const int own_operands = plan->operands == 0 || plan->operands >= wanted || few_blocks;
    const int more_items = few_blocks && plan->batch > max64(1, (int64_t)blocks);
    plan->over_batch = (plan->batch >= wanted || more_items) && own_operands;
    plan->threads = (int)(plan->over_batch ? min64(wanted, plan->batch)
                          : few_blocks     ? max64(1, (int64_t)blocks)
                                           : wanted);
    if (!plan->over_batch) {
        split(row_blocks, column_blocks, plan->threads, plan);
    }
}

/* Products of so many rows of blocks take as long as a tile of B from beyond L2. */
static int64_t blocks_that_hide_b(const struct amx_gemm_plan *plan) {
    return ceil_div(CYCLES_LOAD_FAR, CYCLES_TDP * (plan->mr / GEMM_ROWS));
}
/* Rows of A over `chunks` of K, in blocks, that stay in L2 while panels of B, partial sums and C go by: three
 * eighths of it, or up to half where fewer rows would not hide the loads of B. */
static int64_t tallest_in_l2(const struct amx_gemm_plan *plan, int64_t chunks) {
    const int64_t block = plan->mr * chunks * GEMM_CHUNK, l2 = plan->caches.l2;
    return max64(l2 * 3 / 8 / block, min64(blocks_that_hide_b(plan), l2 / 2 / block));
}

/* mc and nc where K is cut, in blocks: A with all of K in L2 while panels of B go by once for each mc
 * rows, 1024 / mc bytes a cycle, prefetched behind their products; or, where K is too deep for so many rows,
 * blocks of A, B and partial sums, as square as can be, that share half of L2, and A and B go by with 2048 /
 * edge bytes a cycle. */
static void choose_deep_blocks(const struct amx_gemm_plan *plan, int64_t row_blocks, int64_t column_blocks,
                               int64_t *tallest, int64_t *widest) {
    const int64_t height = plan->mr, width = plan->nr;
    const int64_t l2 = plan->caches.l2 / 2, k_bytes = plan->kc * GEMM_CHUNK;
    int64_t edge = width;
    while (4 * (edge + width) * (edge + width) + 2 * (edge + width) * k_bytes <= l2) {
        edge += width;
    }
    *tallest = tallest_in_l2(plan, plan->chunks);
    *widest = 1;
    if (*tallest < min64(row_blocks, blocks_that_hide_b(plan)) && 2 * *tallest * height <= edge) {
        const int64_t rows = min64(edge, row_blocks * height), columns = min64(edge, column_blocks * width);
        *tallest =
            columns < edge ? (l2 - columns * k_bytes) / (4 * columns + k_bytes) / height : edge / height;
        *widest = rows < edge ? (l2 - rows * k_bytes) / (4 * rows + k_bytes) / width : edge / width;
    }
}

/* kc, mc and nc for one thread's part of rows and columns (blocks of C in registers). Where one block of K is
 * all of K, C is written once and may lie anywhere. */
static void choose_blocks(struct amx_gemm_plan *plan, int engine, int64_t row_blocks, int64_t column_blocks) {
    const int64_t height = plan->mr, width = plan->nr;
    const int64_t deepest = max64(1, plan->caches.l1 * 2 / 3 / (width * GEMM_CHUNK));
    plan->kc = equal_blocks(plan->chunks, row_blocks == 1 ? plan->chunks : deepest);
    const int64_t k_bytes = plan->kc * GEMM_CHUNK;
    int64_t tallest = tallest_in_l2(plan, plan->kc), widest = column_blocks;
    if (plan->kc < plan->chunks) {
        choose_deep_blocks(plan, row_blocks, column_blocks, &tallest, &widest);
    }
    plan->mc = height * equal_blocks(row_blocks, tallest);
    plan->nc = width * equal_blocks(column_blocks, widest);
    plan->stream_b = row_blocks == 1 &&
                     (double)(column_blocks * width + plan->m) * (double)k_bytes > (double)plan->caches.l1;
    plan->stream_a = (min64(plan->mc, plan->m) + (plan->stream_b ? 0 : width)) * k_bytes > plan->caches.l1;
    plan->pack_a = engine == AMX_NATIVE && plan->stream_a && plan->mr > GEMM_ROWS &&
                   min64(plan->n, column_blocks * width) >= WORTH_PACKING_A;
    const double rows_of_a = (double)min64(plan->mc, plan->m) * (double)plan->chunks * GEMM_CHUNK;
    plan->prefetch_b =
        engine == AMX_NATIVE && plan->mc > height && b_bytes(plan) + rows_of_a > (double)plan->caches.l2 / 2;
}

/* In vector registers: a prepared B of kc chunks and one width of columns takes half of L1, or is as deep as
 * the family has it; the prepared rows of A take three eighths of L2, and partial sums a quarter of it. Few
 * rows go by all of B as it lies, over as much of K as their own part of L2 holds: mostly all. */
static void choose_vector_blocks(struct amx_gemm_plan *plan, const struct vector_family *family,
                                 int64_t row_blocks, int64_t column_blocks) {
    const int64_t width = panels_width(plan), l2 = plan->caches.l2;
    const int64_t b_chunk = family->b_bytes > 0 ? family->b_bytes : family->tiles * GEMM_TILE;
    const int64_t of_a = l2 * 3 / 8, chunk_of_a = plan->mr * family->a_bytes;
    const int64_t deepest = plan->m <= family->few ? of_a / chunk_of_a
                            : family->deepest > 0  ? family->deepest
                                                   : plan->caches.l1 / 2 / b_chunk;
    plan->kc = equal_blocks(plan->chunks, deepest);
    plan->mc = plan->mr * equal_blocks(row_blocks, of_a / (max64(1, plan->kc) * chunk_of_a));
    const int64_t widest = plan->kc < plan->chunks ? l2 / 4 / (4 * plan->mc * width) : column_blocks;
    plan->nc = width * equal_blocks(column_blocks, widest);
}

/* Where K goes on behind `depth`, the sums so far rest in C. */
static void choose_depth(struct amx_gemm_plan *plan) {
    const int64_t width = panels_width(plan);
    const int64_t b = plan->operands > 0 ? STRIPE_BYTES / (width * GEMM_CHUNK) : plan->chunks;
    const int64_t a = plan->family == NULL ? ROWS_BYTES / (plan->mc * GEMM_CHUNK) : plan->chunks;
    const int64_t most = max64(1, min64(a, b));
    if (plan->chunks <= most) {
        plan->depth = plan->chunks;
        return;
    }
    if (plan->kc > most) {
        plan->kc = equal_blocks(plan->chunks, most);
    }
    plan->depth = most / plan->kc * plan->kc;
}

static void choose_stripe(struct amx_gemm_plan *plan, int64_t column_blocks) {
    const int64_t width = panels_width(plan);
    const int64_t block = max64(1, plan->depth) * GEMM_CHUNK * width;
    const double in_l2 = (double)plan->caches.l2 / 2 * plan->column_parts;
    const int reread_a = a_bytes(plan) <= (double)plan->caches.l2 / 2;
    const double most = (reread_a ? in_l2 : STRIPE_BYTES) / (double)block; /* blocks */
    int64_t blocks = column_blocks;
    if (plan->operands > 0 && most < (double)column_blocks) {
        blocks = min64(column_blocks, max64(plan->column_parts, (int64_t)most));
    }
    plan->stripe = width * max64(1, blocks);
    if (plan->operands > 0 && (double)plan->stripe * (double)(block / width) <= in_l2) {
        plan->prefetch_b = 0; /* it has just been packed into L2 */
    }
    plan->huge_pages = gemm_wants_huge_pages((double)block / (double)width * (double)plan->stripe);
}

/* The software tile machine is too slow to be held up by its stores. */
static void choose_stores(struct amx_gemm_plan *plan, int engine) {
    const double all = c_bytes(plan) * (double)plan->batch, l2 = (double)plan->caches.l2;
    const int deep = plan->chunks * GEMM_CHUNK >= DEEP_ENOUGH_TO_HIDE_STORES;
    plan->stream_c =
        engine == AMX_NATIVE && all / plan->threads > l2 / 2 && (deep || all > BEYOND_ANY_CACHE * l2);
    plan->prefetch_c = engine == AMX_NATIVE && all / plan->threads > (double)plan->caches.l1 / 2;
}

int amx_gemm_threads(void) {
    return team_available();
}

int amx_gemm_make_plan(int engine, int op, int threads, int64_t m, int64_t n, int64_t k, int64_t batch,
                       int64_t operands, const struct amx_caches *caches, struct amx_gemm_plan *plan) {
    return gemm_make_plan(engine, gemm_family(engine, op), op, threads, m, n, k, batch, operands, caches,
                          plan);
}

int gemm_make_plan(int engine, const struct vector_family *family, int op, int threads, int64_t m, int64_t n,
                   int64_t k, int64_t batch, int64_t operands, const struct amx_caches *caches,
                   struct amx_gemm_plan *plan) {
    const int64_t per_chunk = op >= AMX_TDPBF16PS ? GEMM_CHUNK / 2 : GEMM_CHUNK;
    if (gemm_micro_for(op) == NULL || m < 0 || n < 0 || k < 0 || batch < 0 || operands < 0 || threads < 0 ||
        (caches != NULL && (caches->l1 <= 0 || caches->l2 <= 0))) {
        return -EINVAL;
    }
    if (m > LARGEST || n > LARGEST || k > LARGEST) {
        return -ENOMEM;
    }
    *plan = (struct amx_gemm_plan){
        .m = m,
        .n = n,
        .k = k,
        .batch = batch,
        .operands = operands,
        .caches = caches != NULL ? *caches : gemm_caches(),
        .chunks = ceil_div(k, per_chunk),
    };
    choose_kernel(plan, engine, family);
    const int64_t row_blocks = ceil_div(m, plan->mr);
    const int64_t column_blocks = ceil_div(n, panels_width(plan));
    const int slower = family != NULL         ? family->cycles / CYCLES_TDP
                       : engine == AMX_NATIVE ? 1
                                              : EMULATED_TIMES;
    choose_threads(plan, slower, threads, row_blocks, column_blocks);
    const int64_t my_row_blocks = max64(1, ceil_div(row_blocks, plan->row_parts));
    const int64_t my_column_blocks = max64(1, ceil_div(column_blocks, plan->column_parts));
    if (family != NULL) {
        choose_vector_blocks(plan, family, my_row_blocks, my_column_blocks);
    } else {
        choose_blocks(plan, engine, my_row_blocks, my_column_blocks);
    }
    choose_depth(plan);
    choose_stripe(plan, column_blocks);
    choose_stores(plan, engine);
    return 0;
}
