/* Single tile instructions on the CPU, by tile number. Callers have checked that the CPU has AMX, that this
 * process has permission, that numbers are below 8 and that the configuration fits: anything else ends in a
 * signal. */
#ifndef AMX_TILE_NATIVE_H
#define AMX_TILE_NATIVE_H

#include <stdint.h>

void amx_native_ldtilecfg(const uint8_t config[64]);
void amx_native_sttilecfg(uint8_t config[64]);
void amx_native_tilerelease(void);
void amx_native_tilezero(int tile);
void amx_native_tileloadd(int tile, const void *base, int64_t stride);
void amx_native_tileloaddt1(int tile, const void *base, int64_t stride);
void amx_native_tilestored(int tile, void *base, int64_t stride);
void amx_native_tdp(int op, int d, int a, int b); /* op: AMX_TDPBSSD ... */

/* Everything the tiles of this thread hold, for code that must borrow them. 8 KiB + 64 B. */
struct amx_native_saved {
    _Alignas(64) uint8_t tile[8][1024];
    uint8_t config[64];
};
void amx_native_save(struct amx_native_saved *saved);
void amx_native_restore(const struct amx_native_saved *saved);

#endif
