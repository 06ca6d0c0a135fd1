/* One instruction over and over: where the CPU meets it, which may execute it, trap, or find a jump instead;
 * and by a call of the software tile machine. */
#include "emulator/emulator.h"
#include "tile/tiles.h"
#include <errno.h>

#include "bench/bench.h"
#include "insn.h"

#if !AMX_STUBS

enum { TILE = 1024, ROW = 64 };

static void whole_tiles(uint8_t config[64]) {
    for (int i = 0; i < 64; i++)
        config[i] = i == 0 ? 1 : i >= 16 && i < 32 && i % 2 == 0 ? ROW : i >= 48 && i < 56 ? 16 : 0;
}

#define REPEAT(insn)                                                                                         \
    for (int64_t i = 0; i < rounds; i++) {                                                                   \
        insn;                                                                                                \
    }                                                                                                        \
    break

static int by_cpu(enum amxemu_op op, uint8_t *data, int64_t rounds) {
    uint8_t config[64];
    whole_tiles(config);
    AMX_LDTILECFG(config);
    AMX_TILEZERO(0);
    AMX_TILELOADD(1, data, ROW);
    AMX_TILELOADD(2, data + TILE, ROW);
    int error = 0;
    switch (op) {
    case AMXEMU_TILEZERO:
        REPEAT(AMX_TILEZERO(0));
    case AMXEMU_TILELOADD:
        REPEAT(AMX_TILELOADD(0, data, ROW));
    case AMXEMU_TILESTORED:
        REPEAT(AMX_TILESTORED(1, data, ROW));
    case AMXEMU_TDPBSSD:
        REPEAT(AMX_TDPBSSD(0, 1, 2));
    case AMXEMU_TDPBF16PS:
        REPEAT(AMX_TDPBF16PS(0, 1, 2));
    default:
        error = -EINVAL;
    }
    AMX_TILERELEASE();
    return error;
}

static int by_call(enum amxemu_op op, uint8_t *data, int64_t rounds) {
    const struct amxemu_memory *const memory = &amxemu_direct_memory;
    struct amxemu_state s = {0};
    uint8_t config[64];
    whole_tiles(config);
    amxemu_ldtilecfg(&s, config);
    amxemu_tileloadd(&s, 1, (uintptr_t)data, ROW, memory, NULL);
    amxemu_tileloadd(&s, 2, (uintptr_t)(data + TILE), ROW, memory, NULL);
    switch (op) {
    case AMXEMU_TILEZERO:
        REPEAT(amxemu_tilezero(&s, 0));
    case AMXEMU_TILELOADD:
        REPEAT(amxemu_tileloadd(&s, 0, (uintptr_t)data, ROW, memory, NULL));
    case AMXEMU_TILESTORED:
        REPEAT(amxemu_tilestored(&s, 1, (uintptr_t)data, ROW, memory, NULL));
    case AMXEMU_TDPBSSD:
    case AMXEMU_TDPBF16PS:
        REPEAT(amxemu_tdp(&s, op, 0, 1, 2));
    default:
        return -EINVAL;
    }
    return 0;
}

int amx_bench_instruction(int engine, int op, void *data, int64_t rounds) {
    return engine == AMX_NATIVE ? by_cpu((enum amxemu_op)op, data, rounds)
                                : by_call((enum amxemu_op)op, data, rounds);
}
#else
int amx_bench_instruction(int engine, int op, void *data, int64_t rounds) {
    (void)engine, (void)op, (void)data, (void)rounds;
    return -ENOSYS;
}
#endif
