/* The tile functions of amx.h: one instruction on the engine that the caller names. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tile/tile.h"

#include "emulator/emulator.h"
#include "tile/native.h"
#include "tile/tiles.h"

/* A pointer: what is loaded late has hundreds of bytes of static TLS, which the emulation of instructions
 * (csrc/trap/thread/thread.c) needs this library to live in. */
static _Thread_local struct amxemu_state *emulated;
static _Thread_local int native_owned;
static pthread_key_t at_thread_end;
static int has_key; /* else the process has none left, and threads leave their memory behind */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void release(void *state) {
    free(state);
    emulated = NULL;
}

static void make_key(void) {
    has_key = pthread_key_create(&at_thread_end, release) == 0;
}

/* 0 or -ENOMEM. */
static int make_emulated(void) {
    if (emulated != NULL) {
        return 0;
    }
    pthread_once(&once, make_key);
    emulated = aligned_alloc(_Alignof(struct amxemu_state), sizeof *emulated);
    if (emulated == NULL) {
        return -ENOMEM;
    }
    memset(emulated, 0, sizeof *emulated);
    if (has_key) {
        pthread_setspecific(at_thread_end, emulated);
    }
    return 0;
}

int amx_tile_native_is_owned(void) {
    return native_owned;
}

void amx_tile_owner(int engine, int owned) {
    if (engine == AMX_NATIVE) {
        native_owned = owned;
    }
}

/* As the kernel does for the CPU's tiles: fork copies the configuration and leaves the data behind
 * (fpu_clone). */
static void forget_tile_data(void) {
    if (emulated != NULL) {
        memset(emulated->tile, 0, sizeof emulated->tile);
    }
    native_owned = 0;
}
__attribute__((constructor)) static void watch_fork(void) {
    pthread_atfork(NULL, NULL, forget_tile_data);
}

static int result_of(enum amxemu_outcome outcome) {
    switch (outcome) {
    case AMXEMU_OK:
        return 0;
    case AMXEMU_UD:
        return -EILSEQ;
    default:
        return -EINVAL;
    }
}

static int is_tile(int tile) {
    return tile >= 0 && tile < AMXEMU_TILES;
}

/* 0, or why an operation may not run: another engine, no memory, or a configuration other than the expected
 * one.
 */
static int refuse(int engine, const uint8_t *expected) {
    uint8_t current[64];
    if (engine != AMX_EMULATED && (engine != AMX_NATIVE || amx_is_stub())) {
        return -ENOSYS;
    }
    if (engine == AMX_EMULATED && make_emulated() != 0) {
        return -ENOMEM;
    }
    if (expected == NULL) {
        return 0;
    }
    amx_sttilecfg(engine, current);
    return memcmp(current, expected, sizeof current) == 0 ? 0 : -ESTALE;
}

int amx_ldtilecfg(int engine, const uint8_t config[64]) {
    int error = refuse(engine, NULL);
    if (error != 0) {
        return error;
    }
    if (engine == AMX_EMULATED) {
        return result_of(amxemu_ldtilecfg(emulated, config));
    }
    amx_native_ldtilecfg(config);
    return 0;
}

int amx_sttilecfg(int engine, uint8_t config[64]) {
    int error = refuse(engine, NULL);
    if (error != 0) {
        return error;
    }
    if (engine == AMX_EMULATED) {
        amxemu_sttilecfg(emulated, config);
    } else {
        amx_native_sttilecfg(config);
    }
    return 0;
}

int amx_tilerelease(int engine) {
    int error = refuse(engine, NULL);
    if (error != 0) {
        return error;
    }
    if (engine == AMX_EMULATED) {
        amxemu_tilerelease(emulated);
    } else {
        amx_native_tilerelease();
    }
    return 0;
}

int amx_tilezero(int engine, const uint8_t *expected, int tile) {
    int error = is_tile(tile) ? refuse(engine, expected) : -EINVAL;
    if (error != 0) {
        return error;
    }
    if (engine == AMX_EMULATED) {
        return result_of(amxemu_tilezero(emulated, (unsigned)tile));
    }
    amx_native_tilezero(tile);
    return 0;
}

int amx_tileloadd(int engine, const uint8_t *expected, int tile, const void *base, int64_t stride) {
    int error = is_tile(tile) ? refuse(engine, expected) : -EINVAL;
    if (error != 0) {
        return error;
    }
    if (engine == AMX_EMULATED) {
        return result_of(amxemu_tileloadd(emulated, (unsigned)tile, (uint64_t)(uintptr_t)base, stride,
                                          &amxemu_direct_memory, NULL));
    }
    amx_native_tileloadd(tile, base, stride);
    return 0;
}

int amx_tileloaddt1(int engine, const uint8_t *expected, int tile, const void *base, int64_t stride) {
    int error = is_tile(tile) ? refuse(engine, expected) : -EINVAL;
    if (error != 0) {
        return error;
    }
    if (engine == AMX_EMULATED) { /* T1 is a cache hint */
        return amx_tileloadd(engine, NULL, tile, base, stride);
    }
    amx_native_tileloaddt1(tile, base, stride);
    return 0;
}

int amx_tilestored(int engine, const uint8_t *expected, int tile, void *base, int64_t stride) {
    int error = is_tile(tile) ? refuse(engine, expected) : -EINVAL;
    if (error != 0) {
        return error;
    }
    if (engine == AMX_EMULATED) {
        return result_of(amxemu_tilestored(emulated, (unsigned)tile, (uint64_t)(uintptr_t)base, stride,
                                           &amxemu_direct_memory, NULL));
    }
    amx_native_tilestored(tile, base, stride);
    return 0;
}

int amx_tdp(int engine, const uint8_t *expected, int op, int d, int a, int b) {
    int error = is_tile(d) && is_tile(a) && is_tile(b) && op >= AMX_TDPBSSD && op <= AMX_TDPFP16PS
                    ? refuse(engine, expected)
                    : -EINVAL;
    if (error != 0) {
        return error;
    }
    if (engine == AMX_EMULATED) {
        return result_of(amxemu_tdp(emulated, (enum amxemu_op)(AMXEMU_TDPBSSD + op), (unsigned)d, (unsigned)a,
                                    (unsigned)b));
    }
    amx_native_tdp(op, d, a, b);
    return 0;
}
