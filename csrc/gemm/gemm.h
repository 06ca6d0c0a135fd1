/* Matrix products on tiles: the parts and what they hand to each other.
 *
 *   pack.c     operands into panels of tiles           plan.c    how a product is cut into blocks and threads
 *   micro*.c   a column of blocks of C                 driver.c  the loops over blocks, on a team of threads
 *
 * A tile of A or B is 1 KiB of 16 rows of 64 bytes. A "chunk" is the 64 bytes of K that one tile holds: 64
 * elements of 8 bits or 32 of 16 bits. A "panel" is the part of an operand that belongs to 32 rows of A or 32
 * columns of B:
 *
 *   A panel: [chunk][row tile 0-1][row 0-15][k % chunk]              rows of A, as TDP's operand a
 *   B panel: [chunk][column tile 0-1][k/g][column 0-15][k % g]       g = 4 bytes of K, as TDP's operand b
 *
 * Every chunk of a panel has two tiles, so that addresses are plain arithmetic, even where 16 rows or columns
 * are enough. An A whose rows are contiguous is not packed at all, but for the last chunk of a K that does
 * not fill it: TILELOADD takes any stride between rows. What lies beyond K in the last chunk is padding that
 * leaves every result as it is (pack.c says why); rows and columns beyond M and N are outside the tile
 * configuration and never read.
 */
#ifndef AMX_GEMM_H
#define AMX_GEMM_H

#include <stddef.h>
#include <stdint.h>

#include "amx.h"
#include "emulator/emulator.h"

enum {
    GEMM_TILE = 1024,          /* bytes */
    GEMM_CHUNK = 64,           /* bytes of K in a tile row */
    GEMM_ROWS = 16,            /* rows of an A tile, columns of a B tile */
    GEMM_PANEL = 32,           /* rows or columns of a panel */
    GEMM_STEP = 2 * GEMM_TILE, /* a chunk of a panel */
};

/* A matrix in memory: element (r, c) at data + r * row_stride + c * column_stride, in bytes, any sign. */
struct gemm_matrix {
    const uint8_t *data;
    int64_t rows, columns;
    int64_t row_stride, column_stride;
    int element; /* bytes: 1 or 2 */
};

/* ---- pack.c ---- */

/* Rows first_row ... of A (at most 32), chunks first_chunk ..., into an A panel of two tiles a chunk. */
void gemm_pack_a(uint8_t *panel, const struct gemm_matrix *a, int64_t first_row, int64_t first_chunk,
                 int64_t chunks);
/* The same of B: columns first_column ... (at most 32). */
void gemm_pack_b(uint8_t *panel, const struct gemm_matrix *b, int64_t first_column, int64_t first_chunk,
                 int64_t chunks);

/* ---- micro_*.c ---- */

/* One panel of B against a column of equal blocks of A, each (1 or 2 row tiles) x (1 or 2 column tiles). */
struct gemm_column {
    /* A: row r of row tile i in chunk q of block p is at a + p * a_block + q * a_chunk + i * a_tile + r *
     * a_row, in its own memory or packed. The last chunk lies in a_tail instead, if that is not NULL: packed,
     * [block][row tile][16 rows][64 bytes], always two tiles a block. */
    const uint8_t *a, *a_tail;
    int64_t a_row, a_tile, a_chunk, a_block;
    const uint8_t *b;
    int64_t chunks, blocks;
    uint8_t *c; /* int32 or float32 */
    int64_t c_row, c_block;
    int accumulate; /* C is loaded first, else it starts from +0 */
    int stream_a;   /* A comes from beyond L1: load it with TILELOADDT1 */
};
/* The tile configuration is gemm_configure()'s. tiles is the emulated state, or NULL natively. */
typedef void gemm_micro(struct amxemu_state *tiles, const struct gemm_column *column);
struct gemm_micro_set {
    /* [row tiles - 1][column tiles - 1]; native is NULL in a stub build */
    gemm_micro *native[2][2], *emulated[2][2];
};
extern const struct gemm_micro_set gemm_micro_TDPBSSD, gemm_micro_TDPBSUD, gemm_micro_TDPBUSD,
    gemm_micro_TDPBUUD, gemm_micro_TDPBF16PS, gemm_micro_TDPFP16PS;
const struct gemm_micro_set *gemm_micro_for(int op); /* AMX_TDP* */

/* The configuration under which a block of rows x columns (1-32 each) is multiplied.
 * TMM0-3 hold C (2 * row tile + column tile), TMM4-5 A, TMM6-7 B. */
void gemm_configure(uint8_t config[64], int64_t rows, int64_t columns);

/* ---- workspace.c ---- */

/* A buffer of this thread, 64-byte aligned, kept for the next call; NULL without memory. Freed when the
 * thread ends. */
enum gemm_buffer { GEMM_BUFFER_A, GEMM_BUFFER_B, GEMM_BUFFERS };
uint8_t *gemm_workspace(enum gemm_buffer which, size_t size);

/* ---- threads.c ---- */

/* One member of the team that computes a product. */
struct gemm_team {
    int rank, size;
};
int gemm_threads_available(void); /* what OpenMP would use now; 1 without OpenMP and in a forked child */

/* ---- plan.c ---- */

/* The part of `count` units that belongs to `rank` of `size`, balanced to within one unit. */
struct gemm_range {
    int64_t begin, end;
};
struct gemm_range gemm_share(int64_t count, int rank, int size);

#endif
