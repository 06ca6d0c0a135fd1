/* See session.h. */
#include "gemm/session.h"
#include "tile/tile.h"

void gemm_session_begin(struct gemm_session *s, int engine) {
    s->engine = engine;
    s->rows = s->columns = 0;
    if (engine == AMX_EMULATED) {
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
    if (s->engine == AMX_EMULATED) {
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

int gemm_session_has(const struct gemm_session *s, int64_t rows, int64_t columns) {
    return s->rows == rows && s->columns == columns;
}

void gemm_session_shape(struct gemm_session *s, int64_t rows, int64_t columns) {
    if (gemm_session_has(s, rows, columns)) {
        return;
    }
    uint8_t config[64];
    gemm_configure(config, rows, columns);
    if (s->engine == AMX_EMULATED) {
        amxemu_ldtilecfg(&s->tiles, config);
    } else {
        amx_native_ldtilecfg(config);
    }
    s->rows = rows;
    s->columns = columns;
}
