/* What the tile unit itself can do: products alone, the 2x2 block from L1, and loads.
 *
 * Contract of all loops
 * Budget  as in csrc/gemm: TMM0-3 C (tile (i, j) in 2 * i + j), TMM4-5 A, TMM6-7 B; all 16 rows of 64 bytes
 * A, B    [chunk][tile 0-1][16][64 bytes] each; both hold dense data, since the clock depends on it: zeros
 *         make a core measurably faster
 * C       AMX_BENCH_C_BYTES, [tile 0-3][16][64 bytes], written once by rank 0, so that what was computed can
 *         be checked
 * Leaves  the tiles in the INIT state; what they held before is lost
 */
#include "tile/tiles.h"
#include <errno.h>

#include "bench/bench.h"
#include "bench/team.h"
#include "insn.h"

#if !AMX_STUBS

enum { TILE = 1024, ROW = 64, PAIR = 2 * TILE };

struct products {
    const uint8_t *a, *b;
    uint8_t *c;
    int64_t chunks, rounds;
};

static void configure(void) {
    uint8_t config[64] = {1}; /* palette; SDM vol. 1, 18.3: bytes per row from byte 16, rows from byte 48 */
    for (int t = 0; t < 8; t++) {
        config[16 + 2 * t] = ROW;
        config[48 + t] = 16;
    }
    AMX_LDTILECFG(config);
}

static void zero_c(void) {
    AMX_TILEZERO(0);
    AMX_TILEZERO(1);
    AMX_TILEZERO(2);
    AMX_TILEZERO(3);
}

static void finish(uint8_t *c, int rank) {
    if (rank == 0) {
        AMX_TILESTORED(0, c, ROW);
        AMX_TILESTORED(1, c + TILE, ROW);
        AMX_TILESTORED(2, c + 2 * TILE, ROW);
        AMX_TILESTORED(3, c + 3 * TILE, ROW);
    }
    AMX_TILERELEASE();
}

/* products: four accumulators, nothing but TDP in the loop; the first chunk's operands.
 * block: per chunk 4 loads and 4 products, A0 B0 B1 A1, each product as soon as its operands are there; C
 * starts from zero in every round, so that floats stay in range. */
#define LOOPS(insn)                                                                                          \
    static void products_##insn(const void *work, int rank, int size) {                                      \
        const struct products *w = work;                                                                     \
        (void)size;                                                                                          \
        configure();                                                                                         \
        zero_c();                                                                                            \
        AMX_TILELOADD(4, w->a, ROW);                                                                         \
        AMX_TILELOADD(5, w->a + TILE, ROW);                                                                  \
        AMX_TILELOADD(6, w->b, ROW);                                                                         \
        AMX_TILELOADD(7, w->b + TILE, ROW);                                                                  \
        for (int64_t round = 0; round < w->rounds; round++) {                                                \
            AMX_##insn(0, 4, 6);                                                                             \
            AMX_##insn(1, 4, 7);                                                                             \
            AMX_##insn(2, 5, 6);                                                                             \
            AMX_##insn(3, 5, 7);                                                                             \
        }                                                                                                    \
        finish(w->c, rank);                                                                                  \
    }                                                                                                        \
    static void block_##insn(const void *work, int rank, int size) {                                         \
        const struct products *w = work;                                                                     \
        (void)size;                                                                                          \
        configure();                                                                                         \
        for (int64_t round = 0; round < w->rounds; round++) {                                                \
            const uint8_t *a = w->a, *b = w->b;                                                              \
            zero_c();                                                                                        \
            for (int64_t chunk = 0; chunk < w->chunks; chunk++, a += PAIR, b += PAIR) {                      \
                AMX_TILELOADD(4, a, ROW);                                                                    \
                AMX_TILELOADD(6, b, ROW);                                                                    \
                AMX_##insn(0, 4, 6);                                                                         \
                AMX_TILELOADD(7, b + TILE, ROW);                                                             \
                AMX_##insn(1, 4, 7);                                                                         \
                AMX_TILELOADD(5, a + TILE, ROW);                                                             \
                AMX_##insn(2, 5, 6);                                                                         \
                AMX_##insn(3, 5, 7);                                                                         \
            }                                                                                                \
        }                                                                                                    \
        finish(w->c, rank);                                                                                  \
    }

LOOPS(TDPBSSD)
LOOPS(TDPBSUD)
LOOPS(TDPBUSD)
LOOPS(TDPBUUD)
LOOPS(TDPBF16PS)
LOOPS(TDPFP16PS)

/* By AMX_TDP*. */
static bench_body *const products_of[] = {products_TDPBSSD, products_TDPBSUD,   products_TDPBUSD,
                                          products_TDPBUUD, products_TDPBF16PS, products_TDPFP16PS};
static bench_body *const block_of[] = {block_TDPBSSD, block_TDPBSUD,   block_TDPBUSD,
                                       block_TDPBUUD, block_TDPBF16PS, block_TDPFP16PS};

static int is_op(int op) {
    return op >= AMX_TDPBSSD && op <= AMX_TDPFP16PS;
}

int amx_bench_products(int op, int threads, const void *a, const void *b, void *c, int64_t rounds) {
    const struct products work = {a, b, c, 1, rounds};
    return is_op(op) ? bench_on_team(threads, products_of[op], &work) : -EINVAL;
}

int amx_bench_block(int op, int threads, const void *a, const void *b, void *c, int64_t chunks,
                    int64_t rounds) {
    const struct products work = {a, b, c, chunks, rounds};
    return is_op(op) ? bench_on_team(threads, block_of[op], &work) : -EINVAL;
}

struct loads {
    const uint8_t *data;
    int64_t groups, rounds; /* a group is 8 tiles */
};

#define LOAD_GROUP(insn, p)                                                                                  \
    do {                                                                                                     \
        insn(0, p, ROW);                                                                                     \
        insn(1, (p) + TILE, ROW);                                                                            \
        insn(2, (p) + 2 * TILE, ROW);                                                                        \
        insn(3, (p) + 3 * TILE, ROW);                                                                        \
        insn(4, (p) + 4 * TILE, ROW);                                                                        \
        insn(5, (p) + 5 * TILE, ROW);                                                                        \
        insn(6, (p) + 6 * TILE, ROW);                                                                        \
        insn(7, (p) + 7 * TILE, ROW);                                                                        \
    } while (0)

/* Each thread loads its own part of the data. */
#define LOAD_LOOP(name, insn)                                                                                \
    static void name(const void *work, int rank, int size) {                                                 \
        const struct loads *w = work;                                                                        \
        const int64_t begin = w->groups * rank / size, end = w->groups * (rank + 1) / size;                  \
        configure();                                                                                         \
        for (int64_t round = 0; round < w->rounds; round++) {                                                \
            for (int64_t group = begin; group < end; group++) {                                              \
                const uint8_t *p = w->data + group * 8 * TILE;                                               \
                LOAD_GROUP(insn, p);                                                                         \
            }                                                                                                \
        }                                                                                                    \
        AMX_TILERELEASE();                                                                                   \
    }
LOAD_LOOP(load, AMX_TILELOADD)
LOAD_LOOP(load_t1, AMX_TILELOADDT1)

int amx_bench_tileload(int t1, int threads, const void *data, int64_t size, int64_t rounds) {
    const struct loads work = {data, size / (8 * TILE), rounds};
    return bench_on_team(threads, t1 ? load_t1 : load, &work);
}

#else

int amx_bench_products(int op, int threads, const void *a, const void *b, void *c, int64_t rounds) {
    (void)op, (void)threads, (void)a, (void)b, (void)c, (void)rounds;
    return -ENOSYS;
}
int amx_bench_block(int op, int threads, const void *a, const void *b, void *c, int64_t chunks,
                    int64_t rounds) {
    (void)op, (void)threads, (void)a, (void)b, (void)c, (void)chunks, (void)rounds;
    return -ENOSYS;
}
int amx_bench_tileload(int t1, int threads, const void *data, int64_t size, int64_t rounds) {
    (void)t1, (void)threads, (void)data, (void)size, (void)rounds;
    return -ENOSYS;
}

#endif
