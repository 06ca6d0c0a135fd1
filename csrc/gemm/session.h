/* The tile registers of one thread while it works on a product. */
#ifndef AMX_GEMM_SESSION_H
#define AMX_GEMM_SESSION_H

#include "gemm/gemm.h"
#include "tile/native.h"

struct gemm_session {
    int engine;
    int keep_data;         /* a TileContext of this thread is open */
    int64_t rows, columns; /* of the largest block that is configured */
    struct amx_native_saved found;
    struct amxemu_state tiles;                   /* the emulated registers */
    _Alignas(64) uint8_t staging[4 * GEMM_TILE]; /* a block of C on its way past the caches */
};

/* Borrow the registers: what another owner has configured comes back with gemm_session_end(), and an open
 * TileContext's data too. (Tile data of foreign code need not: the psABI makes tiles caller-saved.) */
void gemm_session_begin(struct gemm_session *s, int engine);
void gemm_session_end(struct gemm_session *s);
/* Make blocks of this shape multipliable; loads the configuration only when it changes. */
void gemm_session_shape(struct gemm_session *s, int64_t rows, int64_t columns);
int gemm_session_has(const struct gemm_session *s, int64_t rows, int64_t columns); /* whether they are */

#endif
