/* The micro-kernels of one instruction on both engines; included once for each instruction, with
 *   MICRO_INSN    the instruction as insn.h names it, e.g. TDPBSSD
 * Defines gemm_micro_TDPBSSD, the set that micro.c lists.
 *
 * Tall    2 row tiles x 1-2 column tiles: TMM0-3 C, tile (i, j) in 2 * i + j; TMM4-5 A; TMM6-7 B
 * Wide    1 row tile x 1-4 column tiles: TMM0-3 C; TMM4 A; TMM5-7 B, the last column tile's by itself
 * Layout  A, B, C as struct gemm_column says: a[k / chunk] in rows of 64 bytes, b[k / g][column][k % g],
 *         c[row][column]
 * Order   per chunk A0 B0 B1 A1 or A0 B0 B1 B2 B3, each product as soon as its operands are there; per
 *         accumulator K ascends
 * Stores  a finished tile of C is stored in the first chunk of the next block, just before its register
 *         starts anew, so that the store overlaps products (docs/performance.md)
 * Ahead   lines of the B that comes next, and of the block's own C, for writing, are prefetched beside the
 *         products, a share a chunk
 * Edges   rows and columns beyond the block are outside the configuration (gemm_configure)
 * Leaves  the configuration as it was, C in TMM0-3, the last chunk's operands in TMM4-7
 */

#define MICRO_JOIN_(a, b, c)      a##_##b##_##c
#define MICRO_JOIN(a, b, c)       MICRO_JOIN_(a, b, c)
#define MICRO_NAME(engine, shape) MICRO_JOIN(engine, shape, MICRO_INSN)
#define MICRO_PASTE_(a, b)        a##b
#define MICRO_PASTE(a, b)         MICRO_PASTE_(a, b)

/* Inside a kernel: row_tiles and column_tiles are constants, `on` the struct gemm_column, from and c the
 * block's places, finished that of the block before, in rows of finished_row bytes; NULL at first. */
#define MICRO_PLACE(t, base, row)                                                                            \
    ((base) + (row_tiles > 1 ? ((t) >> 1) * GEMM_ROWS * (row) + ((t) & 1) * GEMM_CHUNK : (t) * GEMM_CHUNK))
#define MICRO_FINISH(t)   STORE(t, MICRO_PLACE(t, finished, finished_row), finished_row)
#define MICRO_CONTINUE(t) (void)0
#define MICRO_START(t)                                                                                       \
    do {                                                                                                     \
        if (finished != NULL)                                                                                \
            MICRO_FINISH(t);                                                                                 \
        if (from != NULL)                                                                                    \
            LOAD(t, MICRO_PLACE(t, from, on->from_row), on->from_row);                                       \
        else                                                                                                 \
            ZERO(t);                                                                                         \
    } while (0)
#define MICRO_LOAD(t, p, stride, stream)                                                                     \
    do {                                                                                                     \
        if (stream)                                                                                          \
            LOADT1(t, p, stride);                                                                            \
        else                                                                                                 \
            LOAD(t, p, stride);                                                                              \
    } while (0)
#define MICRO_LOAD_A(t, p, stride) MICRO_LOAD(t, p, stride, on->stream_a)
#define MICRO_LOAD_B(t, p)         MICRO_LOAD(t, p, GEMM_CHUNK, on->stream_b)
/* One chunk; begin is MICRO_START in the block's first one. */
#define MICRO_TALL(a, a_row, begin)                                                                          \
    do {                                                                                                     \
        MICRO_LOAD_A(4, a, a_row);                                                                           \
        MICRO_LOAD_B(6, b);                                                                                  \
        begin(0);                                                                                            \
        TDP(0, 4, 6);                                                                                        \
        if (column_tiles > 1) {                                                                              \
            MICRO_LOAD_B(7, b + GEMM_TILE);                                                                  \
            begin(1);                                                                                        \
            TDP(1, 4, 7);                                                                                    \
        }                                                                                                    \
        MICRO_LOAD_A(5, (a) + GEMM_ROWS * (a_row), a_row);                                                   \
        begin(2);                                                                                            \
        TDP(2, 5, 6);                                                                                        \
        if (column_tiles > 1) {                                                                              \
            begin(3);                                                                                        \
            TDP(3, 5, 7);                                                                                    \
        }                                                                                                    \
        b += GEMM_STEP;                                                                                      \
    } while (0)
#define MICRO_WIDE(a, a_row, begin)                                                                          \
    do {                                                                                                     \
        MICRO_LOAD_A(4, a, a_row);                                                                           \
        MICRO_LOAD_B(5, b);                                                                                  \
        begin(0);                                                                                            \
        TDP(0, 4, 5);                                                                                        \
        if (column_tiles > 1) {                                                                              \
            MICRO_LOAD_B(6, b + GEMM_TILE);                                                                  \
            begin(1);                                                                                        \
            TDP(1, 4, 6);                                                                                    \
        }                                                                                                    \
        if (column_tiles == 3) {                                                                             \
            MICRO_LOAD_B(7, right);                                                                          \
            begin(2);                                                                                        \
            TDP(2, 4, 7);                                                                                    \
        }                                                                                                    \
        if (column_tiles == 4) {                                                                             \
            MICRO_LOAD_B(5, right);                                                                          \
            begin(2);                                                                                        \
            TDP(2, 4, 5);                                                                                    \
            MICRO_LOAD_B(7, right + GEMM_TILE);                                                              \
            begin(3);                                                                                        \
            TDP(3, 4, 7);                                                                                    \
        }                                                                                                    \
        b += GEMM_STEP;                                                                                      \
        right += GEMM_STEP;                                                                                  \
    } while (0)

#define MICRO_AHEAD()                                                                                        \
    do {                                                                                                     \
        if (ahead != NULL) {                                                                                 \
            for (int64_t line = 0; line < on->ahead_lines; line++, ahead += GEMM_CHUNK)                      \
                PREFETCH(ahead);                                                                             \
        }                                                                                                    \
        for (int64_t row = 0; row < on->own_rows && own_left > 0; row++, own_left--, own += on->c_row) {     \
            for (int tile = 0; tile < column_tiles; tile++)                                                  \
                PREFETCHW(own + tile * GEMM_CHUNK);                                                          \
        }                                                                                                    \
    } while (0)

#define MICRO_KERNEL(engine, shape, chunk_of, tiles_in_rows, tiles_in_columns)                               \
    static void MICRO_NAME(engine, shape)(struct amxemu_state * tiles, const struct gemm_column *on) {       \
        enum { row_tiles = tiles_in_rows, column_tiles = tiles_in_columns, width = column_tiles * 64 };      \
        const int64_t body = on->chunks - (on->a_tail != NULL);                                              \
        const int64_t finished_row = on->staging != NULL ? width : on->c_row;                                \
        const uint8_t *a_block = on->a, *tail = on->a_tail, *from = on->from;                                \
        const uint8_t *ahead = on->ahead;                                                                    \
        uint8_t *c = on->c, *finished = NULL;                                                                \
        (void)tiles, (void)ahead;                                                                            \
        for (int64_t block = 0; block < on->blocks; block++) {                                               \
            const uint8_t *a = a_block, *b = on->b, *right = on->b_right, *own = c;                          \
            int64_t own_left = on->rows;                                                                     \
            if (body > 0) {                                                                                  \
                chunk_of(a, on->a_row, MICRO_START);                                                         \
            } else {                                                                                         \
                chunk_of(tail, GEMM_CHUNK, MICRO_START);                                                     \
            }                                                                                                \
            MICRO_AHEAD();                                                                                   \
            if (on->staging != NULL && finished != NULL)                                                     \
                gemm_store_past_caches(c - on->c_block, on->c_row, finished, on->rows, width);               \
            for (int64_t chunk = 1; chunk < body; chunk++) {                                                 \
                a += on->a_chunk;                                                                            \
                MICRO_AHEAD();                                                                               \
                chunk_of(a, on->a_row, MICRO_CONTINUE);                                                      \
            }                                                                                                \
            if (tail != NULL) {                                                                              \
                if (body > 0)                                                                                \
                    chunk_of(tail, GEMM_CHUNK, MICRO_CONTINUE);                                              \
                tail += on->tail_block;                                                                      \
            }                                                                                                \
            finished = on->staging != NULL ? on->staging : c;                                                \
            c += on->c_block;                                                                                \
            a_block += on->a_block;                                                                          \
            if (from != NULL)                                                                                \
                from += on->from_block;                                                                      \
            (void)right;                                                                                     \
        }                                                                                                    \
        MICRO_FINISH(0);                                                                                     \
        if (row_tiles > 1 || column_tiles > 2)                                                               \
            MICRO_FINISH(2);                                                                                 \
        if (column_tiles > 1)                                                                                \
            MICRO_FINISH(1);                                                                                 \
        if (row_tiles * column_tiles == 4)                                                                   \
            MICRO_FINISH(3);                                                                                 \
        if (on->staging != NULL)                                                                             \
            gemm_store_past_caches(c - on->c_block, on->c_row, finished, on->rows, width);                   \
    }
#define MICRO_KERNELS(engine)                                                                                \
    MICRO_KERNEL(engine, 2x1, MICRO_TALL, 2, 1)                                                              \
    MICRO_KERNEL(engine, 2x2, MICRO_TALL, 2, 2)                                                              \
    MICRO_KERNEL(engine, 1x1, MICRO_WIDE, 1, 1)                                                              \
    MICRO_KERNEL(engine, 1x2, MICRO_WIDE, 1, 2)                                                              \
    MICRO_KERNEL(engine, 1x3, MICRO_WIDE, 1, 3)                                                              \
    MICRO_KERNEL(engine, 1x4, MICRO_WIDE, 1, 4)
#define MICRO_SET(engine)                                                                                    \
    {                                                                                                        \
        .tall = {MICRO_NAME(engine, 2x1), MICRO_NAME(engine, 2x2)},                                          \
        .wide = {MICRO_NAME(engine, 1x1), MICRO_NAME(engine, 1x2), MICRO_NAME(engine, 1x3),                  \
                 MICRO_NAME(engine, 1x4)},                                                                   \
    }

#if !AMX_STUBS
#define ZERO(t)              AMX_TILEZERO(t)
#define LOAD(t, p, stride)   AMX_TILELOADD(t, p, stride)
#define LOADT1(t, p, stride) AMX_TILELOADDT1(t, p, stride)
#define STORE(t, p, stride)  AMX_TILESTORED(t, p, stride)
#define TDP(d, a, b)         MICRO_PASTE(AMX_, MICRO_INSN)(d, a, b)
#define PREFETCH(p)          __builtin_prefetch(p, 0, 2)                  /* into L2: PREFETCHT1 */
#define PREFETCHW(p)         __asm__ volatile("prefetchw %0" ::"m"(*(p))) /* into L1, to be written */
MICRO_KERNELS(native)
#define MICRO_NATIVE MICRO_SET(native)
#undef ZERO
#undef LOAD
#undef LOADT1
#undef STORE
#undef TDP
#undef PREFETCH
#undef PREFETCHW
#else
#define MICRO_NATIVE                                                                                         \
    {                                                                                                        \
        .tall = {NULL}                                                                                       \
    }
#endif

#define ADDRESS(p)           ((uint64_t)(uintptr_t)(p))
#define ZERO(t)              amxemu_tilezero(tiles, t)
#define LOAD(t, p, stride)   amxemu_tileloadd(tiles, t, ADDRESS(p), stride, &amxemu_direct_memory, NULL)
#define LOADT1(t, p, stride) LOAD(t, p, stride)
#define STORE(t, p, stride)  amxemu_tilestored(tiles, t, ADDRESS(p), stride, &amxemu_direct_memory, NULL)
#define TDP(d, a, b)         amxemu_tdp(tiles, MICRO_PASTE(AMXEMU_, MICRO_INSN), d, a, b)
#define PREFETCH(p)          (void)(p)
#define PREFETCHW(p)         (void)(p)
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
#undef PREFETCH
#undef PREFETCHW
#undef MICRO_AHEAD
#undef MICRO_NATIVE
#undef MICRO_SET
#undef MICRO_KERNELS
#undef MICRO_KERNEL
#undef MICRO_WIDE
#undef MICRO_TALL
#undef MICRO_LOAD_B
#undef MICRO_LOAD_A
#undef MICRO_LOAD
#undef MICRO_START
#undef MICRO_CONTINUE
#undef MICRO_FINISH
#undef MICRO_PLACE
#undef MICRO_NAME
#undef MICRO_PASTE
#undef MICRO_PASTE_
#undef MICRO_JOIN
#undef MICRO_JOIN_
#undef MICRO_INSN
