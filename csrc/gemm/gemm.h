/* Matrix products: the parts and what they hand to each other.
 *
 *   operands.c   pointers and strides, or NumPy arrays, into a call
 *   plan.c       how a product is cut into blocks and threads; kept.c has the last plan
 *   driver.c     items, stripes of B and threads, with job.h
 *   blocks.c     one thread's loops over blocks of tiles; vector_blocks.c those over vector registers
 *   micro*.c     a column of blocks of C
 *   pack.c       operands into panels of tiles, with shuffle.c and copy.c; packed.c keeps those of a B
 *   round.c      float32 operands to 16-bit ones
 *   session.c    the tile registers of one thread, found and given back
 *   interrupt.c  whether a long product is to go on, which stop.c asks between blocks
 *   family.c     the kernels in vector registers (csrc/vector/), by names
 *   nibble*.c    products with 4-bit weights, which have kernels, a layout and a driver of their own
 *   stores.c, pages.c, workspace.c               memory, as below
 *
 * A tile of A or B is 1 KiB of 16 rows of 64 bytes. A "chunk" is the 64 bytes of K that one tile holds: 64
 * elements of 8 bits or 32 of 16 bits. A "panel" is the part of an operand that belongs to the rows of one
 * block of C (32, or 16 where blocks are 1x4) or to 32 columns of B:
 *
 *   A panel: [chunk][row 0-31 or 0-15][k % chunk]                    rows of A, as TDP's operand a
 *   B panel: [chunk][column tile 0-1][k/g][column 0-15][k % g]       g = 4 bytes of K, as TDP's operand b
 *
 * Every chunk of a B panel has two tiles, so that addresses are plain arithmetic, even where 16 columns are
 * enough. An A whose rows are contiguous is read where it lies, since TILELOADD takes any stride between
 * rows, but for the last chunk of a K that does not fill it; unless the rows are no whole lines or share sets
 * of L2 (blocks.c, is_direct()). What lies beyond K in the last chunk is padding that leaves every result as
 * it is (pack.c says why); rows and columns beyond M and N are outside the tile configuration and never read.
 */
#ifndef AMX_GEMM_H
#define AMX_GEMM_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include "emulator/emulator.h"
#include "gemm/products.h"
#include "team/team.h"
#include "tile/tiles.h"
#include "vector/vector.h"

enum {
    GEMM_TILE = 1024,          /* bytes */
    GEMM_CHUNK = 64,           /* bytes of K in a tile row */
    GEMM_ROWS = 16,            /* rows of an A tile, columns of a B tile */
    GEMM_PANEL = 32,           /* columns of a B panel */
    GEMM_STEP = 2 * GEMM_TILE, /* a chunk of a B panel */
};

/* A matrix in memory: element (r, c) at data + r * row_stride + c * column_stride, in bytes, any sign. */
struct gemm_matrix {
    const uint8_t *data;
    int64_t rows, columns;
    int64_t row_stride, column_stride;
    int element; /* bytes: 1 or 2 */
};

/* ---- pack.c ---- */

enum { GEMM_PACKED_TOGETHER = 12 }; /* panels of B */

/* Rows first_row ... of A, at most `height`, chunks first_chunk ..., into an A panel of that height. */
void gemm_pack_a(uint8_t *panel, int64_t height, const struct gemm_matrix *a, int64_t first_row,
                 int64_t first_chunk, int64_t chunks);
/* Columns first_column ... of B, `panels` panels of them or as many as there are, over all of its rows, into
 * B panels that begin panel_bytes apart. Several at a time cost much less than each alone. */
void gemm_pack_b(uint8_t *to, int64_t panel_bytes, const struct gemm_matrix *b, int64_t first_column,
                 int64_t panels);

/* ---- copy.c ---- */

/* `rows` runs of `bytes` bytes, 1 to 64, to rows of 64 bytes, in this order, each filled up from the same
 * place of `padding`. Nothing else of `from` is read. */
void gemm_copy_rows(uint8_t *to, int64_t to_stride, const uint8_t *from, int64_t from_stride, int64_t rows,
                    int64_t bytes, const uint8_t padding[64]);

/* ---- shuffle.c ---- */

/* `groups` groups of g rows of B, `tiles` * 16 adjacent columns of each, into as many rows of as many tiles:
 * of those of the panel at `to`, then of the panels that follow, `panel_bytes` apart. If `ahead` is not 0,
 * what lies as many bytes from these rows is prefetched. */
void gemm_interleave(uint8_t *to, int64_t panel_bytes, const uint8_t *from, int64_t row_stride, int64_t ahead,
                     int64_t groups, int64_t tiles, int element);
/* A tile from 16 columns of 64 bytes of K, or back; `ahead` as above. */
void gemm_transpose(uint8_t *tile, const uint8_t *from, int64_t column_stride, int64_t ahead);

/* ---- micro_*.c ---- */

/* One or two panels of B against a column of equal blocks of A. Blocks are tall (17-32 rows, up to 32
 * columns) or wide (1-16 rows, up to 64 columns). */
struct gemm_column {
    /* A: row r of row tile i in chunk q of block p is at a + p * a_block + q * a_chunk + (16 * i + r) *
     * a_row, in its own memory or packed. The last chunk lies in a_tail instead, if that is not NULL: packed,
     * [block][tail_block / 64 rows][64 bytes]. */
    const uint8_t *a, *a_tail;
    int64_t a_row, a_chunk, a_block, tail_block;
    const uint8_t *b, *b_right; /* the panel of column tiles 0-1, and that of 2-3 in a wide block */
    int64_t chunks, blocks;
    const uint8_t
        *ahead; /* what will be needed next of B, or NULL: prefetched `ahead_lines` of 64 bytes a chunk */
    int64_t ahead_lines;
    int64_t own_rows; /* of the block's own C, prefetched for writing a chunk; 0: none */
    /* C, int32 or float32: block p's partial sums are loaded from `from` + p * from_block, or start from +0
     * where it is NULL; they are stored to c + p * c_block, which may be the same place. */
    const uint8_t *from;
    int64_t from_row, from_block;
    uint8_t *c;
    int64_t c_row, c_block;
    /* Not NULL: a finished block goes to this buffer of 4 KiB, and from there past the caches to c, whose
     * lines of 64 bytes it fills. */
    uint8_t *staging;
    int64_t rows;           /* of a block */
    int stream_a, stream_b; /* they come from beyond L1: loaded with TILELOADDT1 */
};
/* The tile configuration is gemm_configure()'s. tiles is the emulated state, or NULL natively. */
typedef void gemm_micro(struct amxemu_state *tiles, const struct gemm_column *column);
struct gemm_kernels {
    gemm_micro *tall[2], *wide[4]; /* by column tiles - 1 */
};
struct gemm_micro_set {
    struct gemm_kernels native, emulated; /* native is NULL in a stub build */
};
extern const struct gemm_micro_set gemm_micro_TDPBSSD, gemm_micro_TDPBSUD, gemm_micro_TDPBUSD,
    gemm_micro_TDPBUUD, gemm_micro_TDPBF16PS, gemm_micro_TDPFP16PS;
const struct gemm_micro_set *gemm_micro_for(int op); /* AMX_TDP* */

/* The configuration under which a block of rows x columns is multiplied.
 * Tall: TMM0-3 hold C (2 * row tile + column tile), TMM4-5 A, TMM6-7 B.
 * Wide: TMM0-3 hold C (column tile), TMM4 A, TMM5-7 B: the last column tile's in a register of its own,
 * since it may be narrower. */
void gemm_configure(uint8_t config[64], int64_t rows, int64_t columns);

/* ---- stores.c ---- */

/* `rows` rows of `bytes` (whole lines) from adjacent rows to `to`, 64-byte aligned, past the caches. Weakly
 * ordered: gemm_stores_done() before anybody else is told. */
void gemm_store_past_caches(uint8_t *to, int64_t to_row, const uint8_t *from, int64_t rows, int64_t bytes);
void gemm_stores_done(void);

/* ---- pages.c ---- */

/* Memory from a 64-byte boundary; of large buffers the kernel is asked to back whole huge pages with such,
 * and may decline. NULL without memory; given back with free(). */
void *gemm_pages(size_t size);
int gemm_wants_huge_pages(double size); /* whether gemm_pages() asks */

/* ---- workspace.c ---- */

/* A buffer of this thread from gemm_pages(), kept for the next call; NULL without memory. Freed when the
 * thread ends. It has 64 bytes at least, and of a new one the first 64 are zero. */
enum gemm_buffer { GEMM_BUFFER_A, GEMM_BUFFER_B, GEMM_BUFFER_C, GEMM_BUFFER_PLAN, GEMM_BUFFERS };
uint8_t *gemm_workspace(enum gemm_buffer which, size_t size);
/* From one to the other, products of this thread have buffers of their own. */
struct gemm_workspace {
    uint8_t *buffer[GEMM_BUFFERS];
    size_t size[GEMM_BUFFERS];
};
struct gemm_workspace gemm_workspace_put_aside(void);
void gemm_workspace_put_back(const struct gemm_workspace *aside);

/* ---- interrupt.c ---- */

/* How one thread of a product comes to ask. */
struct gemm_watch {
    int64_t work; /* to be done until the clock is looked at */
    int64_t time; /* when it asks, in nanoseconds; 0: not known yet */
};
enum {
    GEMM_WATCHED = 1024
}; /* chunks of a block of C: some 30 microseconds of AMX, a millisecond emulated */
static inline struct gemm_watch gemm_watch_begin(void) {
    return (struct gemm_watch){GEMM_WATCHED, 0};
}
/* After so many chunks: whether it is time to ask. */
int gemm_is_time_now(struct gemm_watch *watch);
static inline int gemm_is_time(struct gemm_watch *watch, int64_t chunks) {
    return (watch->work -= chunks) <= 0 && gemm_is_time_now(watch);
}
/* Not within a session: other products may run meanwhile. Whether to stop. */
int gemm_ask(struct gemm_watch *watch);

/* ---- gate.c ---- */

/* Around each product on the CPU's tiles: 0, or -ECANCELED where none may begin. */
int gemm_gate_enter(void);
void gemm_gate_leave(void);

/* ---- driver.c ---- */

/* Where the items of a batch lie, in bytes; of packed operands, which one: `each`, or, where it is NULL,
 * groups of `inner` items (not 0) a step apart, which begin `outer` apart. */
struct gemm_offsets {
    const int64_t *each;
    int64_t step, inner, outer;
};
/* Whether to stop: what the caller said when asked (atomic), and what a team has agreed on at a barrier. */
struct gemm_stop {
    int wanted, agreed;
};
struct gemm_call {
    int engine;
    struct gemm_matrix a, b;         /* of item 0 */
    const struct amx_packed *packed; /* then b has a shape only */
    struct gemm_offsets a_offset, b_offset, c_offset;
    uint8_t *c;
    int64_t c_row;
    const struct layer_block
        *layer;     /* makes results of what would be c, and c is not used; NULL: c is wanted */
    int64_t before; /* elements of K, in whole chunks, whose sums are in c; packed operands have them too */
    /* These are gemm_run()'s. Callers name them too: an incomplete initialiser clears all before, slowly. */
    const struct amx_gemm_plan *plan;
    const struct gemm_kernels *kernels;
    const struct vector_family *family; /* NULL: tiles */
    int64_t packed_chunks;              /* of A: all of its K, the last chunk, or none */
    int64_t packed_before;              /* chunks of packed operands that are not multiplied now */
    int adds;                           /* to what is in c */
    enum vector_kind kind;
    struct gemm_stop stop;
    jmp_buf *without_team; /* where the caller goes on in a forked child */
};
/* As amx_gemm(), for operands that C does not overlap. */
int gemm_run(struct gemm_call *call, int op, int threads, int64_t batch);

/* ---- operands.c ---- */

int gemm_element_of(int op); /* bytes of an element of a and b */
/* The same, unless c overlaps an operand: -EXDEV. Listed offsets are the caller's to check. */
int gemm_run_apart(struct gemm_call *call, int op, int threads, int64_t batch);

/* ---- plan.c ---- */

/* The part of `count` units that belongs to `rank` of `size`, balanced to within one unit. */
struct gemm_range {
    int64_t begin, end;
};
struct gemm_range gemm_share(int64_t count, int rank, int size);
struct amx_caches gemm_caches(void); /* this core's, or what is assumed of them */
/* As amx_gemm_make_plan() for these kernels. */
int gemm_make_plan(int engine, const struct vector_family *family, int op, int threads, int64_t m, int64_t n,
                   int64_t k, int64_t batch, int64_t operands, const struct amx_caches *caches,
                   struct amx_gemm_plan *plan);

/* ---- family.c ---- */

/* The kernels of an engine in vector registers; NULL: tiles. */
const struct vector_family *gemm_family(int engine, int op);

/* ---- kept.c ---- */

/* As gemm_make_plan() for this core, of the plan that this thread keeps until its next product. */
int gemm_find_plan(int engine, const struct vector_family *family, int op, int most, int64_t m, int64_t n,
                   int64_t k, int64_t batch, int64_t operands, const struct amx_gemm_plan **plan);

#endif
