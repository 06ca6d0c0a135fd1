/* The XSAVE area, signals that disturb no register, and tiles to recognise again. */
#include "provoke/harness/area.h"
#include "provoke/harness/system.h"

#include <errno.h>

uint32_t area_end(const struct kernel *k, uint64_t features) {
    uint32_t end = AREA_EXTENDED;
    for (uint32_t number = 2; number < 63; number++) {
        if (!(features >> number & 1))
            continue;
        const struct xcomponent component = tool_component(k, number);
        if (component.offset + component.size > end)
            end = component.offset + component.size;
    }
    return end;
}

uint64_t area_features(const struct kernel *k) {
    uint64_t features = 0;
    return k->arch_prctl(ARCH_GET_XCOMP_SUPP, (uint64_t)(uintptr_t)&features) == 0 ? features : k->xcr0();
}

void area_raise(int signo) {
    const long process = system_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
    const long thread = system_call(SYS_gettid, 0, 0, 0, 0, 0, 0);
    const long error = system_call(SYS_tgkill, process, thread, signo, 0, 0, 0);
    if (error)
        provoke_cannot("a thread may not send itself a signal here: %s", strerror((int)-error));
}

void tiles_make(struct tiles *tiles, int rows, int colsb, unsigned seed) {
    tool_config(tiles->config, rows, colsb);
    tool_pattern(tiles->rows, seed);
    for (int row = 0; row < 16; row++)
        for (int column = 0; column < 64; column++)
            if (row >= rows || column >= colsb)
                tiles->rows[row * 64 + column] = 0;
}

void tiles_load(const struct kernel *k, const struct tiles *tiles) {
    k->ldtilecfg(tiles->config);
    k->tileloadd(tiles->rows);
}

int tiles_lost(const struct kernel *k, const struct tiles *tiles) {
    struct tiles seen = {{0}, {0}};
    int lost = 0;
    k->sttilecfg(seen.config);
    if (seen.config[0] != 0) /* else TILESTORED would fault */
        k->tilestored(seen.rows);
    for (size_t i = 0; i < sizeof seen.config; i++)
        lost += seen.config[i] != tiles->config[i];
    for (size_t i = 0; i < sizeof seen.rows; i++)
        lost += seen.rows[i] != tiles->rows[i];
    return lost;
}

int tiles_granted(const struct kernel *k) {
    uint64_t permission = 0;
    if (!(k->xcr0() & XFEATURE_MASK_XTILEDATA) || k->arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) != 0)
        return 0;
    return k->arch_prctl(ARCH_GET_XCOMP_PERM, (uintptr_t)&permission) == 0 &&
           (permission & XFEATURE_MASK_XTILEDATA) != 0;
}
