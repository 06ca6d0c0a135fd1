/* Operands into panels of tiles (layout: gemm.h).
 *
 * Padding beyond K. Integers: zeros. Floats: a product is defined over ceil(K/2) pairs of which only an odd
 * last element is padded with +0, while the tiles here always hold 16 pairs in a chunk. The pairs that do not
 * exist are -0 in A and +0 in B: their product is -0, and e + (-0) = e for every e that a chain can hold, -0
 * and NaN included, so they change nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "gemm/gemm.h"

enum {
    /* Each group of rows of K writes a line to each panel, and where the panels are a power of two apart
     * these fall on one set of L1: no more than it has ways (12, and 8 before Ice Lake). */
    GROUP = GEMM_PACKED_TOGETHER,
    /* Prefetched: groups of 4 bytes of K where B goes by rows, which may be a power of two apart again, so no
     * further; chunks of 64 bytes where it goes by columns. */
    GROUPS_AHEAD = 2,
    CHUNKS_AHEAD = 4,
    /* Chunks of a row of A copied together: 1 KiB, whose places in a panel are 2 KiB apart, so that 8 fall on
     * one set of L1. Meanwhile the same of a later row is prefetched. */
    A_CHUNKS = 16,
    ROWS_AHEAD = 2,
};

static inline int64_t min64(int64_t x, int64_t y) {
    return x < y ? x : y;
}

static const uint8_t zeros[GEMM_CHUNK];

/* rows x columns elements from anywhere to rows of 64 bytes, `to_stride` apart: the elements, adjacent, then
 * what is in the same place of `padding`. Rows that are less apart keep what is in front of the next. */
static void gather(uint8_t *to, int64_t to_stride, const uint8_t *from, int64_t rows, int64_t columns,
                   int64_t row_stride, int64_t column_stride, int element, const uint8_t padding[64]) {
    if (column_stride == element) {
        gemm_copy_rows(to, to_stride, from, row_stride, rows, columns * element, padding);
        return;
    }
    for (int64_t r = 0; r < rows; r++, to += to_stride, from += row_stride) {
        memcpy(to, padding, GEMM_CHUNK);
        if (element == 1) {
            for (int64_t c = 0; c < columns; c++) {
                to[c] = from[c * column_stride];
            }
        } else {
            for (int64_t c = 0; c < columns; c++) {
                memcpy(to + 2 * c, from + c * column_stride, 2);
            }
        }
    }
}

/* A's padding in one tile row whose first `valid` elements are set. */
static void pad_a_row(uint8_t *row, int64_t valid, int element) {
    if (element == 1) {
        memset(row + valid, 0, (size_t)(GEMM_CHUNK - valid));
        return;
    }
    for (int64_t k = valid; k < GEMM_CHUNK / 2; k++) {
        int existing_pair = k == valid && valid % 2 != 0;
        row[2 * k] = 0;
        row[2 * k + 1] = existing_pair ? 0x00 : 0x80;
    }
}

/* Whole chunks of rows of A, row after row, each with the lines of a later one prefetched: chunk after chunk
 * a row that does not begin with a line would have its lines fetched twice. */
static void copy_chunks(uint8_t *to, int64_t step, const uint8_t *from, int64_t row_stride, int64_t rows,
                        int64_t chunks) {
    for (int64_t row = 0; row < rows; row++, to += GEMM_CHUNK, from += row_stride) {
        for (int64_t chunk = 0; row + ROWS_AHEAD < rows && chunk < chunks; chunk++) {
            __builtin_prefetch(from + ROWS_AHEAD * row_stride + chunk * GEMM_CHUNK);
        }
        gemm_copy_rows(to, step, from, GEMM_CHUNK, chunks, GEMM_CHUNK, zeros);
    }
}

/* Of an A whose columns are adjacent in memory, the rows of whole tiles in a chunk: how many. What B's
 * interleaving makes of them has groups of K as rows, and is turned. */
static int64_t turn_tiles(uint8_t *to, const struct gemm_matrix *a, const uint8_t *from, int64_t rows,
                          int64_t valid) {
    if (a->row_stride != a->element || valid * a->element != GEMM_CHUNK) {
        return 0;
    }
    int64_t row = 0;
    for (; row + GEMM_ROWS <= rows; row += GEMM_ROWS) {
        uint8_t strip[GEMM_TILE];
        gemm_interleave(strip, 0, from + row * a->row_stride, a->column_stride, 0, GEMM_ROWS, 1, a->element);
        gemm_transpose(to + row * GEMM_CHUNK, strip, GEMM_CHUNK, 0);
    }
    return row;
}

void gemm_pack_a(uint8_t *panel, int64_t height, const struct gemm_matrix *a, int64_t first_row,
                 int64_t first_chunk, int64_t chunks) {
    const int64_t rows = min64(height, a->rows - first_row), step = height * GEMM_CHUNK;
    const int64_t chunk_elements = GEMM_CHUNK / a->element;
    const int64_t whole = min64(chunks, a->columns / chunk_elements - first_chunk);
    const uint8_t *from =
        a->data + first_row * a->row_stride + first_chunk * chunk_elements * a->column_stride;
    int64_t chunk = 0;
    for (; a->column_stride == a->element && chunk < whole; chunk += min64(A_CHUNKS, whole - chunk)) {
        copy_chunks(panel + chunk * step, step, from + chunk * GEMM_CHUNK, a->row_stride, rows,
                    min64(A_CHUNKS, whole - chunk));
    }
    for (; chunk < chunks; chunk++) {
        const int64_t k = chunk * chunk_elements;
        const int64_t valid = min64(chunk_elements, a->columns - first_chunk * chunk_elements - k);
        uint8_t padding[GEMM_CHUNK] = {0};
        pad_a_row(padding, valid, a->element);
        const uint8_t *columns = from + k * a->column_stride;
        const int64_t turned = turn_tiles(panel + chunk * step, a, columns, rows, valid);
        gather(panel + chunk * step + turned * GEMM_CHUNK, GEMM_CHUNK, columns + turned * a->row_stride,
               rows - turned, valid, a->row_stride, a->column_stride, a->element, padding);
    }
}

/* One tile of a B that goes by columns: of the 64 bytes of K and 16 columns from `from`, `valid` elements and
 * `columns` exist, the rest becomes zero. */
static void pack_b_tile(uint8_t *tile, const struct gemm_matrix *b, const uint8_t *from, int64_t valid,
                        int64_t columns, int64_t ahead) {
    if (b->row_stride == b->element && valid * b->element == GEMM_CHUNK && columns == GEMM_ROWS) {
        gemm_transpose(tile, from, b->column_stride, ahead);
        return;
    }
    uint8_t strip[GEMM_TILE] = {0};
    gather(strip, GEMM_CHUNK, from, columns, valid, b->column_stride, b->row_stride, b->element, zeros);
    gemm_transpose(tile, strip, GEMM_CHUNK, 0);
}

/* Columns first ... end - 1 of a B that goes by columns: each panel from one end of K to the other, as it
 * lies in memory. */
static void pack_columns(uint8_t *to, int64_t panel_bytes, const struct gemm_matrix *b, int64_t first,
                         int64_t end, int64_t chunks) {
    const int64_t chunk_elements = GEMM_CHUNK / b->element;
    for (int64_t column = first; column < end; column += GEMM_PANEL, to += panel_bytes) {
        const int64_t panel_end = min64(end, column + GEMM_PANEL);
        uint8_t *panel = to;
        for (int64_t chunk = 0; chunk < chunks; chunk++, panel += GEMM_STEP) {
            const int64_t k = chunk * chunk_elements, valid = min64(chunk_elements, b->rows - k);
            const int64_t ahead = chunk + CHUNKS_AHEAD < chunks ? CHUNKS_AHEAD * GEMM_CHUNK : 0;
            for (int64_t c = column; c < panel_end; c += GEMM_ROWS) {
                pack_b_tile(panel + (c - column) / GEMM_ROWS * GEMM_TILE, b,
                            b->data + k * b->row_stride + c * b->column_stride, valid,
                            min64(GEMM_ROWS, panel_end - c), ahead);
            }
        }
    }
}

/* Rows of one tile of a B that goes by rows: of `groups` * g rows of K and 16 columns from `from`, `existing`
 * rows and `columns` columns exist, the rest becomes zero. */
static void pack_edge(uint8_t *to, const struct gemm_matrix *b, const uint8_t *from, int64_t groups,
                      int64_t existing, int64_t columns) {
    uint8_t strip[GEMM_TILE + GEMM_CHUNK] = {0};
    const int64_t row = GEMM_ROWS * b->element;
    gather(strip, row, from, existing, columns, b->row_stride, b->column_stride, b->element, zeros);
    gemm_interleave(to, 0, strip, row, 0, groups, 1, b->element);
}

/* Columns first ... end - 1 of a B that goes by rows, at most a group of panels. K is outermost, so that each
 * line of B is used whole while it is there: panel by panel it would be fetched for 32 columns, and again for
 * the next, when rows that are a power of two apart have long pushed each other out of the caches. */
static void pack_group(uint8_t *panels, int64_t panel_bytes, const struct gemm_matrix *b, int64_t first,
                       int64_t end, int64_t chunks) {
    const int64_t g = 4 / b->element, chunk_elements = GEMM_CHUNK / b->element;
    const int64_t direct = b->column_stride == b->element ? (end - first) / GEMM_ROWS : 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++, panels += GEMM_STEP) {
        const uint8_t *from = b->data + chunk * chunk_elements * b->row_stride + first * b->column_stride;
        const int64_t valid = min64(chunk_elements, b->rows - chunk * chunk_elements), groups = valid / g;
        const int64_t ahead = direct > g && chunk + 1 < chunks ? GROUPS_AHEAD * g * b->row_stride : 0;
        gemm_interleave(panels, panel_bytes, from, b->row_stride, ahead, groups, direct, b->element);
        for (int64_t c = groups < GEMM_ROWS ? 0 : direct * GEMM_ROWS; c < end - first; c += GEMM_ROWS) {
            const int64_t done = c < direct * GEMM_ROWS ? groups : 0;
            pack_edge(panels + c / GEMM_PANEL * panel_bytes + c % GEMM_PANEL / GEMM_ROWS * GEMM_TILE +
                          done * GEMM_CHUNK,
                      b, from + done * g * b->row_stride + c * b->column_stride, GEMM_ROWS - done,
                      valid - done * g, min64(GEMM_ROWS, end - first - c));
        }
    }
}

void gemm_pack_b(uint8_t *to, int64_t panel_bytes, const struct gemm_matrix *b, int64_t first_column,
                 int64_t panels) {
    const int64_t end = min64(b->columns, first_column + panels * GEMM_PANEL);
    const int64_t chunk_elements = GEMM_CHUNK / b->element;
    const int64_t chunks = b->rows / chunk_elements + (b->rows % chunk_elements != 0);
    if (llabs(b->row_stride) < llabs(b->column_stride) || b->columns == 1) {
        pack_columns(to, panel_bytes, b, first_column, end, chunks);
        return;
    }
    for (int64_t c = first_column; c < end; c += GROUP * GEMM_PANEL, to += GROUP * panel_bytes) {
        pack_group(to, panel_bytes, b, c, min64(end, c + GROUP * GEMM_PANEL), chunks);
    }
}
