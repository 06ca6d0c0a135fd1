/* What the vector units can do with the pair of instructions that a product without tiles consists of: from
 * registers alone, and as a block of 6 rows by 2 vectors whose operands come from L1.
 *
 * Contract of all loops
 * Budget  registers 0-11 C (row i, vector j in 2 * i + j), 12-13 B, 14 A, 15 the product before it is added;
 *         no more than 16, so that one text does for 16, 32 and 64 bytes (W)
 * A       [step][row 0-5][4 bytes], each broadcast: two words, four unsigned bytes, or one float
 * B       [step][vector 0-1][W bytes], as many words, signed bytes or floats for each 32 bits of C
 * C       [row 0-5][vector 0-1][W bytes] of 32 bits each, int32 modulo 2^32 or float32, written once by
 *         rank 0, so that what was computed can be checked
 * Data    dense, as in tiles.c
 *
 * Registers and the order of instructions are fixed by the text: a compiler would reassociate and spill. Each
 * product is followed at once by its addition. Of 13 orders tried on Zen 3 (additions 1, 3 or 4 products
 * later, in groups of 2, 4 and 6, 8 to 12 accumulators) none was faster by more than 1 %, and several slower
 * by 5 to 10: 157 GOP/s of VPMADDWD + VPADDD, 3.1 instructions a cycle. 12 accumulators hide what VFMADD and
 * VPDPBUSD take (4 or 5 cycles, two a cycle).
 */
#include <errno.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/team.h"
#include "emulator/vectors.h"

#if !AMX_STUBS

enum { ROWS = 6, VECTORS = 2, WIDEST = 64 };

struct products {
    int loop;
    const uint8_t *a, *b;
    uint8_t *c;
    int64_t steps, rounds;
};

#define ALL_16(X)  X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define CLOBBER(i) "xmm" #i,
#define EACH_C(X)  X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)

/* Row by row: LOAD_A(row), then PRODUCT(vector of B, C) twice. */
#define ROW(LOAD_A, PRODUCT, row, c0, c1) LOAD_A(row) PRODUCT(12, c0) PRODUCT(13, c1)
#define STEP(LOAD_A, PRODUCT)                                                                                \
    ROW(LOAD_A, PRODUCT, 0, 0, 1)                                                                            \
    ROW(LOAD_A, PRODUCT, 1, 2, 3)                                                                            \
    ROW(LOAD_A, PRODUCT, 2, 4, 5)                                                                            \
    ROW(LOAD_A, PRODUCT, 3, 6, 7)                                                                            \
    ROW(LOAD_A, PRODUCT, 4, 8, 9)                                                                            \
    ROW(LOAD_A, PRODUCT, 5, 10, 11)
#define NO_LOAD(row)

#define LOOP    ".p2align 6\n1:\n"
#define AGAIN   "dec %[n]\n jnz 1b\n"
#define ADVANCE "add $24, %[a]\n add $2*%c[w], %[b]\n"

/* The two loops of a pair of instructions. ZERO(i), STORE(i): of C; LOAD_B(vector, i); LEAVE: at the end. */
#define LOOPS(name, W, ZERO, LOAD_A, LOAD_B, PRODUCT, STORE, LEAVE)                                          \
    static void products_##name(const uint8_t *a, const uint8_t *b, uint8_t *c, int64_t rounds) {            \
        __asm__ volatile(EACH_C(ZERO) LOAD_A(0) LOAD_B(0, 12) LOAD_B(1, 13) LOOP STEP(NO_LOAD, PRODUCT)      \
                             AGAIN EACH_C(STORE) LEAVE                                                       \
                         : [n] "+r"(rounds)                                                                  \
                         : [a] "r"(a), [b] "r"(b), [c] "r"(c), [w] "i"(W)                                    \
                         : ALL_16(CLOBBER) "cc", "memory");                                                  \
    }                                                                                                        \
    static void block_##name(const uint8_t *a, const uint8_t *b, uint8_t *c, int64_t steps) {                \
        __asm__ volatile(EACH_C(ZERO) LOOP LOAD_B(0, 12) LOAD_B(1, 13) STEP(LOAD_A, PRODUCT)                 \
                             ADVANCE AGAIN EACH_C(STORE) LEAVE                                               \
                         : [n] "+r"(steps), [a] "+r"(a), [b] "+r"(b)                                         \
                         : [c] "r"(c), [w] "i"(W)                                                            \
                         : ALL_16(CLOBBER) "cc", "memory");                                                  \
    }

#define ZERO_SSE(i)           "pxor %%xmm" #i ", %%xmm" #i "\n"
#define LOAD_A_SSE(row)       "movd 4*" #row "(%[a]), %%xmm14\n pshufd $0, %%xmm14, %%xmm14\n"
#define LOAD_B_SSE(vector, i) "movdqu 16*" #vector "(%[b]), %%xmm" #i "\n"
#define MADD_SSE(b, c) "movdqa %%xmm" #b ", %%xmm15\n pmaddwd %%xmm14, %%xmm15\n paddd %%xmm15, %%xmm" #c "\n"
#define STORE_SSE(i)   "movdqu %%xmm" #i ", 16*" #i "(%[c])\n"
LOOPS(pmaddwd_xmm, 16, ZERO_SSE, LOAD_A_SSE, LOAD_B_SSE, MADD_SSE, STORE_SSE, "")

/* Of VEX and EVEX; R is y or z. */
#define ZERO_VEX(i)              "vpxor %%xmm" #i ", %%xmm" #i ", %%xmm" #i "\n"
#define LOAD_A_VEX(R, row)       "vpbroadcastd 4*" #row "(%[a]), %%" #R "mm14\n"
#define LOAD_B_VEX(R, vector, i) "vmovups %c[w]*" #vector "(%[b]), %%" #R "mm" #i "\n"
#define MADD_VEX(R, b, c)                                                                                    \
    "vpmaddwd %%" #R "mm" #b ", %%" #R "mm14, %%" #R "mm15\n"                                                \
    "vpaddd %%" #R "mm15, %%" #R "mm" #c ", %%" #R "mm" #c "\n"
#define FMA_VEX(R, b, c) "vfmadd231ps %%" #R "mm" #b ", %%" #R "mm14, %%" #R "mm" #c "\n"
#define STORE_VEX(R, i)  "vmovups %%" #R "mm" #i ", %c[w]*" #i "(%[c])\n"

#define LOAD_A_YMM(row)       LOAD_A_VEX(y, row)
#define LOAD_B_YMM(vector, i) LOAD_B_VEX(y, vector, i)
#define MADD_YMM(b, c)        MADD_VEX(y, b, c)
#define FMA_YMM(b, c)         FMA_VEX(y, b, c)
#define DP_YMM(b, c)          "%{vex%} vpdpbusd %%ymm" #b ", %%ymm14, %%ymm" #c "\n"
#define STORE_YMM(i)          STORE_VEX(y, i)
LOOPS(vpmaddwd_ymm, 32, ZERO_VEX, LOAD_A_YMM, LOAD_B_YMM, MADD_YMM, STORE_YMM, "vzeroupper\n")
#if AMX_HAS_AVX_VNNI
LOOPS(vpdpbusd_ymm, 32, ZERO_VEX, LOAD_A_YMM, LOAD_B_YMM, DP_YMM, STORE_YMM, "vzeroupper\n")
#endif
LOOPS(fma_ymm, 32, ZERO_VEX, LOAD_A_YMM, LOAD_B_YMM, FMA_YMM, STORE_YMM, "vzeroupper\n")

#define LOAD_A_ZMM(row)       LOAD_A_VEX(z, row)
#define LOAD_B_ZMM(vector, i) LOAD_B_VEX(z, vector, i)
#define MADD_ZMM(b, c)        MADD_VEX(z, b, c)
#define FMA_ZMM(b, c)         FMA_VEX(z, b, c)
#define DP_ZMM(b, c)          "vpdpbusd %%zmm" #b ", %%zmm14, %%zmm" #c "\n"
#define STORE_ZMM(i)          STORE_VEX(z, i)
LOOPS(vpmaddwd_zmm, 64, ZERO_VEX, LOAD_A_ZMM, LOAD_B_ZMM, MADD_ZMM, STORE_ZMM, "vzeroupper\n")
LOOPS(vpdpbusd_zmm, 64, ZERO_VEX, LOAD_A_ZMM, LOAD_B_ZMM, DP_ZMM, STORE_ZMM, "vzeroupper\n")
LOOPS(fma_zmm, 64, ZERO_VEX, LOAD_A_ZMM, LOAD_B_ZMM, FMA_ZMM, STORE_ZMM, "vzeroupper\n")

/* By AMX_LOOP_*; NULL: the assembler did not know it. */
static const struct {
    unsigned needs; /* of enum amxemu_vectors */
    int width;
    void (*products)(const uint8_t *a, const uint8_t *b, uint8_t *c, int64_t rounds);
    void (*block)(const uint8_t *a, const uint8_t *b, uint8_t *c, int64_t steps);
} loops[] = {
    {0, 16, products_pmaddwd_xmm, block_pmaddwd_xmm},
    {AMXEMU_HAS_AVX2, 32, products_vpmaddwd_ymm, block_vpmaddwd_ymm},
    {AMXEMU_HAS_AVX512, 64, products_vpmaddwd_zmm, block_vpmaddwd_zmm},
#if AMX_HAS_AVX_VNNI
    {AMXEMU_HAS_AVX_VNNI, 32, products_vpdpbusd_ymm, block_vpdpbusd_ymm},
#else
    {0, 0, NULL, NULL},
#endif
    {AMXEMU_HAS_AVX512_VNNI, 64, products_vpdpbusd_zmm, block_vpdpbusd_zmm},
    {AMXEMU_HAS_AVX2, 32, products_fma_ymm, block_fma_ymm},
    {AMXEMU_HAS_AVX512, 64, products_fma_zmm, block_fma_zmm},
};

int amx_bench_has_loop(int loop) {
    return loop >= 0 && loop < (int)(sizeof loops / sizeof *loops) && loops[loop].products != NULL &&
           (amxemu_vectors() & loops[loop].needs) == loops[loop].needs;
}

/* steps 0: from registers. */
static void run(const void *work, int rank, int size) {
    const struct products *w = work;
    uint8_t c[ROWS * VECTORS * WIDEST];
    (void)size;
    if (w->steps == 0)
        loops[w->loop].products(w->a, w->b, c, w->rounds);
    for (int64_t round = 0; w->steps != 0 && round < w->rounds; round++)
        loops[w->loop].block(w->a, w->b, c, w->steps);
    if (rank == 0)
        memcpy(w->c, c, (size_t)(ROWS * VECTORS * loops[w->loop].width));
}

int amx_bench_vector_products(int loop, int threads, const void *a, const void *b, void *c, int64_t rounds) {
    const struct products work = {loop, a, b, c, 0, rounds};
    return amx_bench_has_loop(loop) && rounds > 0 ? bench_on_team(threads, run, &work) : -EINVAL;
}

int amx_bench_vector_block(int loop, int threads, const void *a, const void *b, void *c, int64_t steps,
                           int64_t rounds) {
    const struct products work = {loop, a, b, c, steps, rounds};
    return amx_bench_has_loop(loop) && steps > 0 && rounds > 0 ? bench_on_team(threads, run, &work) : -EINVAL;
}

#else

int amx_bench_has_loop(int loop) {
    (void)loop;
    return 0;
}
int amx_bench_vector_products(int loop, int threads, const void *a, const void *b, void *c, int64_t rounds) {
    (void)loop, (void)threads, (void)a, (void)b, (void)c, (void)rounds;
    return -ENOSYS;
}
int amx_bench_vector_block(int loop, int threads, const void *a, const void *b, void *c, int64_t steps,
                           int64_t rounds) {
    (void)loop, (void)threads, (void)a, (void)b, (void)c, (void)steps, (void)rounds;
    return -ENOSYS;
}

#endif
