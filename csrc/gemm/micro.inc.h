/* The micro-kernels of one instruction on both engines; included once for each instruction, with
 *   MICRO_INSN    the instruction as insn.h names it, e.g. TDPBSSD
 * Defines gemm_micro_TDPBSSD, the set that micro.c lists.
 *
 * Budget  TMM0-3 C: tile (i, j) in 2 * i + j    TMM4-5 A: row tiles 0-1    TMM6-7 B: column tiles 0-1
 * A, B, C as struct gemm_column says: a[k / chunk] in rows of 64 bytes, b[k / g][column][k % g],
 * c[row][column] Order   per chunk A0 B0 B1 A1, each product as soon as its operands are there; per
 * accumulator K ascends Stores  a finished tile of C is stored in the first chunk of the next block, just
 * before its register starts anew, so that the store overlaps products (docs/performance.md) Edges   rows and
 * columns beyond the block are outside the configuration (gemm_configure) Leaves  the configuration as it
 * was, C in TMM0-3, the last chunk's operands in TMM4-7
 */

#define MICRO_JOIN_(a, b, c)      a##_##b##_##c
#define MICRO_JOIN(a, b, c)       MICRO_JOIN_(a, b, c)
#define MICRO_NAME(engine, shape) MICRO_JOIN(engine, shape, MICRO_INSN)
#define MICRO_PASTE_(a, b)        a##b
#define MICRO_PASTE(a, b)         MICRO_PASTE_(a, b)

/* Inside a kernel: row_tiles and column_tiles are constants, `on` the struct gemm_column, c the block's
 * place, finished that of the block before, NULL at first. */
#define MICRO_C(t, base)  ((base) + ((t) >> 1) * GEMM_ROWS * on->c_row + ((t) & 1) * GEMM_CHUNK)
#define MICRO_FINISH(t)   STORE(t, MICRO_C(t, finished), on->c_row)
#define MICRO_CONTINUE(t) (void)0
#define MICRO_START(t)                                                                                       \
    do {                                                                                                     \
        if (finished != NULL)                                                                                \
            MICRO_FINISH(t);                                                                                 \
        if (on->accumulate)                                                                                  \
            LOAD(t, MICRO_C(t, c), on->c_row);                                                               \
        else                                                                                                 \
            ZERO(t);                                                                                         \
    } while (0)
#define MICRO_LOAD_A(t, p, stride)                                                                           \
    do {                                                                                                     \
        if (on->stream_a)                                                                                    \
            LOADT1(t, p, stride);                                                                            \
        else                                                                                                 \
            LOAD(t, p, stride);                                                                              \
    } while (0)
/* One chunk; begin is MICRO_START in the block's first one. */
#define MICRO_CHUNK(a, a_row, a_tile, begin)                                                                 \
    do {                                                                                                     \
        MICRO_LOAD_A(4, a, a_row);                                                                           \
        LOAD(6, b, GEMM_CHUNK);                                                                              \
        begin(0);                                                                                            \
        TDP(0, 4, 6);                                                                                        \
        if (column_tiles > 1) {                                                                              \
            LOAD(7, b + GEMM_TILE, GEMM_CHUNK);                                                              \
            begin(1);                                                                                        \
            TDP(1, 4, 7);                                                                                    \
        }                                                                                                    \
        if (row_tiles > 1) {                                                                                 \
            MICRO_LOAD_A(5, (a) + (a_tile), a_row);                                                          \
            begin(2);                                                                                        \
            TDP(2, 5, 6);                                                                                    \
            if (column_tiles > 1) {                                                                          \
                begin(3);                                                                                    \
                TDP(3, 5, 7);                                                                                \
            }                                                                                                \
        }                                                                                                    \
        b += GEMM_STEP;                                                                                      \
    } while (0)

#define MICRO_KERNEL(engine, shape, tiles_in_rows, tiles_in_columns)                                         \
    static void MICRO_NAME(engine, shape)(struct amxemu_state * tiles, const struct gemm_column *on) {       \
        enum { row_tiles = tiles_in_rows, column_tiles = tiles_in_columns };                                 \
        const int64_t body = on->chunks - (on->a_tail != NULL);                                              \
        const uint8_t *a_block = on->a, *tail = on->a_tail;                                                  \
        uint8_t *c = on->c, *finished = NULL;                                                                \
        (void)tiles;                                                                                         \
        for (int64_t block = 0; block < on->blocks; block++) {                                               \
            const uint8_t *a = a_block, *b = on->b;                                                          \
            if (body > 0) {                                                                                  \
                MICRO_CHUNK(a, on->a_row, on->a_tile, MICRO_START);                                          \
                for (int64_t chunk = 1; chunk < body; chunk++) {                                             \
                    a += on->a_chunk;                                                                        \
                    MICRO_CHUNK(a, on->a_row, on->a_tile, MICRO_CONTINUE);                                   \
                }                                                                                            \
                if (tail != NULL)                                                                            \
                    MICRO_CHUNK(tail, GEMM_CHUNK, GEMM_TILE, MICRO_CONTINUE);                                \
            } else {                                                                                         \
                MICRO_CHUNK(tail, GEMM_CHUNK, GEMM_TILE, MICRO_START);                                       \
            }                                                                                                \
            finished = c;                                                                                    \
            c += on->c_block;                                                                                \
            a_block += on->a_block;                                                                          \
            if (tail != NULL)                                                                                \
                tail += GEMM_STEP;                                                                           \
        }                                                                                                    \
        MICRO_FINISH(0);                                                                                     \
        if (column_tiles > 1)                                                                                \
            MICRO_FINISH(1);                                                                                 \
        if (row_tiles > 1)                                                                                   \
            MICRO_FINISH(2);                                                                                 \
        if (row_tiles > 1 && column_tiles > 1)                                                               \
            MICRO_FINISH(3);                                                                                 \
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
#define ZERO(t)              AMX_TILEZERO(t)
#define LOAD(t, p, stride)   AMX_TILELOADD(t, p, stride)
#define LOADT1(t, p, stride) AMX_TILELOADDT1(t, p, stride)
#define STORE(t, p, stride)  AMX_TILESTORED(t, p, stride)
#define TDP(d, a, b)         MICRO_PASTE(AMX_, MICRO_INSN)(d, a, b)
MICRO_KERNELS(native)
#define MICRO_NATIVE MICRO_SET(native)
#undef ZERO
#undef LOAD
#undef LOADT1
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

#define ADDRESS(p)           ((uint64_t)(uintptr_t)(p))
#define ZERO(t)              amxemu_tilezero(tiles, t)
#define LOAD(t, p, stride)   amxemu_tileloadd(tiles, t, ADDRESS(p), stride, &amxemu_direct_memory, NULL)
#define LOADT1(t, p, stride) LOAD(t, p, stride)
#define STORE(t, p, stride)  amxemu_tilestored(tiles, t, ADDRESS(p), stride, &amxemu_direct_memory, NULL)
#define TDP(d, a, b)         amxemu_tdp(tiles, MICRO_PASTE(AMXEMU_, MICRO_INSN), d, a, b)
MICRO_KERNELS(emulated)

const struct gemm_micro_set MICRO_PASTE(gemm_micro_, MICRO_INSN) = {
    .native = MICRO_NATIVE,
    .emulated = MICRO_SET(emulated),
};

#undef ADDRESS
#undef ZERO
#undef LOAD
#undef LOADT1
#undef STORE
#undef TDP
#undef MICRO_NATIVE
#undef MICRO_SET
#undef MICRO_KERNELS
#undef MICRO_KERNEL
#undef MICRO_CHUNK
#undef MICRO_LOAD_A
#undef MICRO_START
#undef MICRO_CONTINUE
#undef MICRO_FINISH
#undef MICRO_C
#undef MICRO_NAME
#undef MICRO_PASTE
#undef MICRO_PASTE_
#undef MICRO_JOIN
#undef MICRO_JOIN_
#undef MICRO_INSN
