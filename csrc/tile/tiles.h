/* The tile instructions, on the CPU or on the software tile machine. (s): -ENOSYS in a build of stubs. */
#ifndef AMX_TILES_H
#define AMX_TILES_H

#include "machine/machine.h"
#include <stdint.h>

/* AMX_VECTOR: products alone, in vector registers. */
enum { AMX_NATIVE = 0, AMX_EMULATED = 1, AMX_VECTOR = 2 };
enum { AMX_TDPBSSD = 0, AMX_TDPBSUD, AMX_TDPBUSD, AMX_TDPBUUD, AMX_TDPBF16PS, AMX_TDPFP16PS };

/* Where `expected` is given, the operation runs only while the tile configuration equals it, start_row
 * included, else -ESTALE. NULL: no check. An emulated #UD is -EILSEQ, #GP -EINVAL; natively both are signals.
 */
int amx_ldtilecfg(int engine, const uint8_t config[64]);
int amx_sttilecfg(int engine, uint8_t config[64]);
int amx_tilerelease(int engine);
int amx_tilezero(int engine, const uint8_t *expected, int tile);
int amx_tileloadd(int engine, const uint8_t *expected, int tile, const void *base, int64_t stride);
int amx_tileloaddt1(int engine, const uint8_t *expected, int tile, const void *base, int64_t stride);
int amx_tilestored(int engine, const uint8_t *expected, int tile, void *base, int64_t stride);
int amx_tdp(int engine, const uint8_t *expected, int op, int d, int a, int b);
/* An open TileContext on this thread: products then keep its data. */
void amx_tile_owner(int engine, int owned);

/* (s) LDTILECFG, TILEZERO, TILERELEASE under the fault guard: allocates this thread's tile state. A
 * configuration that was loaded is loaded again, its tiles zero; live tile data is left alone, since it
 * proves what is asked. */
int amx_probe_tilezero(struct amx_probe *probe);

/* (s) Other things under the same guard, for its tests. */
enum {
    AMX_GUARD_UD2,
    AMX_GUARD_INT3,
    AMX_GUARD_LOAD,
    AMX_GUARD_LOAD_BEFORE, /* the guarded instruction */
    AMX_GUARD_LOAD_AFTER,
    AMX_GUARD_SPIN
};
int amx_probe_guarded(int what, uint64_t address, struct amx_probe *probe); /* SPIN: address times */

#endif
