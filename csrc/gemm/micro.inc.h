/* The micro-kernels of one instruction on both engines; included once for each instruction, with
 *   MICRO_INSN    the instruction as insn.h names it, e.g. TDPBSSD
 * Defines gemm_micro_TDPBSSD, the set that micro.c lists.
 *
 * Budget  TMM0-3 C: tile (i, j) in 2 * i + j    TMM4-5 A: row tiles 0-1    TMM6-7 B: column tiles 0-1
 * A       a[chunk][i][16][64 bytes], i below the number of row tiles
 * B       b[chunk][j][k/g][16 columns][k % g], always two tiles a chunk
 * C       rows ldc bytes apart, 64 bytes a row tile; loaded first where accumulate is set, else zeroed
 * Order   per chunk A0 B0 B1 A1, each product as soon as its operands are there; per accumulator K ascends
 * Edges   rows and columns beyond the block are outside the configuration (gemm_configure)
 * Leaves  the configuration as it was, C in TMM0-3, the last chunk's operands in TMM4-7
 */

#define MICRO_JOIN_(a, b, c)      a##_##b##_##c
#define MICRO_JOIN(a, b, c)       MICRO_JOIN_(a, b, c)
#define MICRO_NAME(engine, shape) MICRO_JOIN(engine, shape, MICRO_INSN)
#define MICRO_PASTE_(a, b)        a##b
#define MICRO_PASTE(a, b)         MICRO_PASTE_(a, b)

#define MICRO_KERNEL(engine, shape, row_tiles, column_tiles)                                                 \
    static void MICRO_NAME(engine, shape)(struct amxemu_state * tiles, const uint8_t *a, const uint8_t *b,   \
                                          int64_t chunks, uint8_t *c, int64_t ldc, int accumulate) {         \
        uint8_t *const c1 = c + GEMM_ROWS * ldc;                                                             \
        (void)tiles, (void)c1;                                                                               \
        if (accumulate) {                                                                                    \
            LOAD(0, c, ldc);                                                                                 \
            if (column_tiles > 1)                                                                            \
                LOAD(1, c + GEMM_CHUNK, ldc);                                                                \
            if (row_tiles > 1)                                                                               \
                LOAD(2, c1, ldc);                                                                            \
            if (row_tiles > 1 && column_tiles > 1)                                                           \
                LOAD(3, c1 + GEMM_CHUNK, ldc);                                                               \
        } else {                                                                                             \
            ZERO(0);                                                                                         \
            if (column_tiles > 1)                                                                            \
                ZERO(1);                                                                                     \
            if (row_tiles > 1)                                                                               \
                ZERO(2);                                                                                     \
            if (row_tiles > 1 && column_tiles > 1)                                                           \
                ZERO(3);                                                                                     \
        }                                                                                                    \
        for (int64_t chunk = 0; chunk < chunks; chunk++, a += (row_tiles) * GEMM_TILE, b += GEMM_B_STEP) {   \
            LOAD(4, a, GEMM_CHUNK);                                                                          \
            LOAD(6, b, GEMM_CHUNK);                                                                          \
            TDP(0, 4, 6);                                                                                    \
            if (column_tiles > 1) {                                                                          \
                LOAD(7, b + GEMM_TILE, GEMM_CHUNK);                                                          \
                TDP(1, 4, 7);                                                                                \
            }                                                                                                \
            if (row_tiles > 1) {                                                                             \
                LOAD(5, a + GEMM_TILE, GEMM_CHUNK);                                                          \
                TDP(2, 5, 6);                                                                                \
                if (column_tiles > 1)                                                                        \
                    TDP(3, 5, 7);                                                                            \
            }                                                                                                \
        }                                                                                                    \
        STORE(0, c, ldc);                                                                                    \
        if (column_tiles > 1)                                                                                \
            STORE(1, c + GEMM_CHUNK, ldc);                                                                   \
        if (row_tiles > 1)                                                                                   \
            STORE(2, c1, ldc);                                                                               \
        if (row_tiles > 1 && column_tiles > 1)                                                               \
            STORE(3, c1 + GEMM_CHUNK, ldc);                                                                  \
    }
#define MICRO_KERNELS(engine)                                                                                \
    MICRO_KERNEL(engine, 1x1, 1, 1)                                                                          \
    MICRO_KERNEL(engine, 1x2, 1, 2)                                                                          \
    MICRO_KERNEL(engine, 2x1, 2, 1)                                                                          \
    MICRO_KERNEL(engine, 2x2, 2, 2)
#define MICRO_SET(engine)                                                                                    \
    {                                                                                                        \
        {MICRO_NAME(engine, 1x1), MICRO_NAME(engine, 1x2)}, {                                                \
            MICRO_NAME(engine, 2x1), MICRO_NAME(engine, 2x2)                                                 \
        }                                                                                                    \
    }

#if !AMX_STUBS
#define ZERO(t)             AMX_TILEZERO(t)
#define LOAD(t, p, stride)  AMX_TILELOADD(t, p, stride)
#define STORE(t, p, stride) AMX_TILESTORED(t, p, stride)
#define TDP(d, a, b)        MICRO_PASTE(AMX_, MICRO_INSN)(d, a, b)
MICRO_KERNELS(native)
#define MICRO_NATIVE MICRO_SET(native)
#undef ZERO
#undef LOAD
#undef STORE
#undef TDP
#else
#define MICRO_NATIVE                                                                                         \
    {                                                                                                        \
        {                                                                                                    \
            NULL                                                                                             \
        }                                                                                                    \
    }
#endif

#define ADDRESS(p)          ((uint64_t)(uintptr_t)(p))
#define ZERO(t)             amxemu_tilezero(tiles, t)
#define LOAD(t, p, stride)  amxemu_tileloadd(tiles, t, ADDRESS(p), stride, &amxemu_direct_memory, NULL)
#define STORE(t, p, stride) amxemu_tilestored(tiles, t, ADDRESS(p), stride, &amxemu_direct_memory, NULL)
#define TDP(d, a, b)        amxemu_tdp(tiles, MICRO_PASTE(AMXEMU_, MICRO_INSN), d, a, b)
MICRO_KERNELS(emulated)

const struct gemm_micro_set MICRO_PASTE(gemm_micro_, MICRO_INSN) = {
    .native = MICRO_NATIVE,
    .emulated = MICRO_SET(emulated),
};

#undef ADDRESS
#undef ZERO
#undef LOAD
#undef STORE
#undef TDP
#undef MICRO_NATIVE
#undef MICRO_SET
#undef MICRO_KERNELS
#undef MICRO_KERNEL
#undef MICRO_NAME
#undef MICRO_PASTE
#undef MICRO_PASTE_
#undef MICRO_JOIN
#undef MICRO_JOIN_
#undef MICRO_INSN
