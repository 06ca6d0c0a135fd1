/* See session.h. */
#include "gemm/session.h"
#include "tile/tile.h"

/* All eight of 16 rows and 64 bytes: of every block whose edges are edges of tiles. */
static const _Alignas(64) uint8_t whole_tiles[64] = {
    [0] = 1,   [16] = 64, [18] = 64, [20] = 64, [22] = 64, [24] = 64, [26] = 64, [28] = 64, [30] = 64,
    [48] = 16, [49] = 16, [50] = 16, [51] = 16, [52] = 16, [53] = 16, [54] = 16, [55] = 16,
};

void gemm_session_begin(struct gemm_session *s, int engine) {
    s->engine = engine;
    s->rows = s->columns = 0;
    if (engine != AMX_NATIVE) {
        s->tiles.palette = 0; /* the data is zeroed with the first configuration */
        return;
    }
    s->keep_data = amx_tile_native_is_owned();
    if (s->keep_data) {
        amx_native_save(&s->found);
    } else {
        amx_native_sttilecfg(s->found.config);
    }
}

void gemm_session_end(struct gemm_session *s) {
    if (s->engine != AMX_NATIVE) {
        return;
    }
    if (s->keep_data) {
        amx_native_restore(&s->found);
    } else if (s->found.config[0] != 0) {
        amx_native_ldtilecfg(s->found.config);
    } else {
        amx_native_tilerelease();
    }
}

/* The largest block under whose configuration one of this shape is multiplied: more columns, where its last
 * column tile is whole; and any number of whole tiles. */
struct shape {
    int64_t rows, columns;
};
static struct shape largest(int64_t rows, int64_t columns) {
    const int64_t most = rows > GEMM_ROWS ? 2 * GEMM_ROWS : 4 * GEMM_ROWS;
    if (columns % GEMM_ROWS != 0) {
        return (struct shape){rows, columns};
    }
    return rows % GEMM_ROWS != 0 ? (struct shape){rows, most} : (struct shape){2 * GEMM_ROWS, 2 * GEMM_ROWS};
}

int gemm_session_has(const struct gemm_session *s, int64_t rows, int64_t columns) {
    const struct shape shape = largest(rows, columns);
    return s->rows == shape.rows && s->columns == shape.columns;
}

void gemm_session_shape(struct gemm_session *s, int64_t rows, int64_t columns) {
    if (gemm_session_has(s, rows, columns)) {
        return;
    }
    const struct shape shape = largest(rows, columns);
    _Alignas(64) uint8_t edges[64];
    const uint8_t *config = whole_tiles;
    if (shape.rows % GEMM_ROWS != 0 || shape.columns % GEMM_ROWS != 0) {
        gemm_configure(edges, shape.rows, shape.columns);
        config = edges;
    }
    if (s->engine != AMX_NATIVE) {
        amxemu_ldtilecfg(&s->tiles, config);
    } else {
        amx_native_ldtilecfg(config);
    }
    s->rows = shape.rows;
    s->columns = shape.columns;
}
