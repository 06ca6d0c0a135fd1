/* ISA: what the XSAVE instructions write into user space's own areas. */
#include "provoke/checks/checks.h"
#include "provoke/harness/area.h"
#include "provoke/harness/see.h"
#include "provoke/harness/tools.h"

#include <stdio.h>
#include <string.h>

enum { POISON = 0xa5 };

static void save(const struct kernel *k, const char *name, enum xsave how, uint64_t features) {
    const struct xcomponent data = area_component(k, XFEATURE_XTILEDATA);
    static uint8_t *area;
    char key[60];
    if (!area)
        area = tool_map(AREA_MAX);
    memset(area, POISON, AREA_MAX);
    memset(area + AREA_XSTATE_BV, 0, AREA_EXTENDED - AREA_XSTATE_BV); /* XSAVE keeps the rest of the header */
    k->xsave(how, area, features);
    int64_t zeros = 0, end = AREA_MAX;
    for (uint32_t i = 0; i < data.size; i++)
        zeros += area[data.offset + i] == 0;
    while (end > 0 && area[end - 1] == POISON)
        end--;
    snprintf(key, sizeof key, "%s.data_zeros", name);
    see_int(key, zeros);
    snprintf(key, sizeof key, "%s.written_end", name);
    see_int(key, end);
    snprintf(key, sizeof key, "%s.xstate_bv", name);
    see_bits(key, area_get(area, AREA_XSTATE_BV));
}

static void isa_01(const struct kernel *k) {
    const uint64_t features = area_features(k);
    tool_need_tiles(k);
    see_bits("permission", tool_permission(k));
    see_int("data_size", area_component(k, XFEATURE_XTILEDATA).size);
    see_int("small", area_end(k, features & ~XFEATURE_MASK_XTILEDATA));
    see_int("big", area_end(k, features));
    save(k, "xsave_all", XSAVE_PLAIN, UINT64_MAX);
    save(k, "xsave_without_18", XSAVE_PLAIN, ~XFEATURE_MASK_XTILEDATA);
    save(k, "xsaveopt_all", XSAVE_OPT, UINT64_MAX);
    save(k, "xsavec_all", XSAVE_C, UINT64_MAX);
    see_bits("permission_after", tool_permission(k));
}

const struct provocation provoke_isa[] = {
    {"ISA-01", "XSAVE, XSAVEOPT and XSAVEC of everything without permission", isa_01, 0},
    {0},
};
