/* See native.h. */
#include "tile/native.h"

#if !AMX_STUBS

#include <stddef.h>
#include "insn.h"

void amx_native_ldtilecfg(const uint8_t config[64]) {
    AMX_LDTILECFG(config);
}
void amx_native_sttilecfg(uint8_t config[64]) {
    AMX_STTILECFG(config);
}
void amx_native_tilerelease(void) {
    AMX_TILERELEASE();
}

/* The tile number is part of the encoding: one case for each. */
#define CASE(t, insn, ...)                                                                                   \
    case t:                                                                                                  \
        insn(t __VA_OPT__(, ) __VA_ARGS__);                                                                  \
        break;
#define BY_NUMBER(tile, ...)                                                                                 \
    switch (tile) {                                                                                          \
        CASE(0, __VA_ARGS__)                                                                                 \
        CASE(1, __VA_ARGS__)                                                                                 \
        CASE(2, __VA_ARGS__)                                                                                 \
        CASE(3, __VA_ARGS__)                                                                                 \
        CASE(4, __VA_ARGS__)                                                                                 \
        CASE(5, __VA_ARGS__)                                                                                 \
        CASE(6, __VA_ARGS__)                                                                                 \
        CASE(7, __VA_ARGS__)                                                                                 \
    }

void amx_native_tilezero(int tile) {
    BY_NUMBER(tile, AMX_TILEZERO)
}
void amx_native_tileloadd(int tile, const void *base, int64_t stride) {
    BY_NUMBER(tile, AMX_TILELOADD, base, stride)
}
void amx_native_tileloaddt1(int tile, const void *base, int64_t stride) {
    BY_NUMBER(tile, AMX_TILELOADDT1, base, stride)
}
void amx_native_tilestored(int tile, void *base,
                           int64_t stride){BY_NUMBER(tile, AMX_TILESTORED, base, stride)}

/* The tile numbers of a product are part of its encoding: one 16-byte routine for each of 8 * 8 * 8 triples
 * and each instruction, in the order of amx.h's AMX_TDP*. endbr64 lets them be called where indirect branch
 * tracking is on. */
#define TDP_ROUTINES(pp, opcode)                                                                             \
    ".irp d,0,1,2,3,4,5,6,7\n"                                                                               \
    ".irp a,0,1,2,3,4,5,6,7\n"                                                                               \
    ".irp b,0,1,2,3,4,5,6,7\n"                                                                               \
    ".balign 16\n"                                                                                           \
    ".byte 0xf3, 0x0f, 0x1e, 0xfa\n"                                                                         \
    ".byte 0xc4, 0xe2, 0x78 - 8 * \\b + " #pp ", " #opcode ", 0xc0 | (\\d << 3) | \\a\n"                     \
    "ret\n"                                                                                                  \
    ".endr\n.endr\n.endr\n"

__asm__(".pushsection .text\n"
        ".balign 16\n"
        ".local amx_tdp_routines\n"
        "amx_tdp_routines:\n" TDP_ROUTINES(3, 0x5e) TDP_ROUTINES(2, 0x5e) TDP_ROUTINES(1, 0x5e)
            TDP_ROUTINES(0, 0x5e) TDP_ROUTINES(2, 0x5c) TDP_ROUTINES(3, 0x5c) ".popsection\n");

void amx_native_tdp(int op, int d, int a, int b) {
    size_t slot = (((size_t)op * 8 + (size_t)d) * 8 + (size_t)a) * 8 + (size_t)b;
    uintptr_t routines;
    __asm__("leaq amx_tdp_routines(%%rip), %0" : "=r"(routines));
    ((void (*)(void))(routines + slot * 16))();
}

/* Tiles whose rows are no multiple of 4 bytes can only hold zeros: nothing can be loaded or multiplied into
 * them. */
static int holds_data(const uint8_t config[64], int tile) {
    int colsb = config[16 + 2 * tile];
    return config[0] != 0 && config[48 + tile] != 0 && colsb % 4 == 0;
}

void amx_native_save(struct amx_native_saved *saved) {
    AMX_STTILECFG(saved->config);
    for (int t = 0; t < 8; t++) {
        if (holds_data(saved->config, t)) {
            amx_native_tilestored(t, saved->tile[t], 64);
        }
    }
}

void amx_native_restore(const struct amx_native_saved *saved) {
    if (saved->config[0] == 0) {
        AMX_TILERELEASE();
        return;
    }
    AMX_LDTILECFG(saved->config);
    for (int t = 0; t < 8; t++) {
        if (holds_data(saved->config, t)) {
            amx_native_tileloadd(t, saved->tile[t], 64);
        }
    }
}

#else /* nothing reaches these: amx_is_stub() keeps the engine emulated */

void amx_native_ldtilecfg(const uint8_t config[64]) {
    (void)config;
}
void amx_native_sttilecfg(uint8_t config[64]) {
    (void)config;
}
void amx_native_tilerelease(void) {}
void amx_native_tilezero(int tile) {
    (void)tile;
}
void amx_native_tileloadd(int tile, const void *base, int64_t stride) {
    (void)tile, (void)base, (void)stride;
}
void amx_native_tileloaddt1(int tile, const void *base, int64_t stride) {
    (void)tile, (void)base, (void)stride;
}
void amx_native_tilestored(int tile, void *base, int64_t stride) {
    (void)tile, (void)base, (void)stride;
}
void amx_native_tdp(int op, int d, int a, int b) {
    (void)op, (void)d, (void)a, (void)b;
}
void amx_native_save(struct amx_native_saved *saved) {
    (void)saved;
}
void amx_native_restore(const struct amx_native_saved *saved) {
    (void)saved;
}

#endif
