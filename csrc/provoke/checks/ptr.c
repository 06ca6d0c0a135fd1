/* PTR: the saved state of another task, read and written as NT_X86_XSTATE. */
#include "provoke/checks/checks.h"
#include "provoke/harness/area.h"
#include "provoke/harness/registers.h"
#include "provoke/harness/see.h"
#include "provoke/harness/tiles.h"
#include "provoke/harness/tools.h"
#include "provoke/harness/tracee.h"

#include <errno.h>
#include <string.h>

static uint8_t area[AREA_MAX], other[AREA_MAX];

static uint32_t whole_size(const struct kernel *k) {
    uint32_t registers[4];
    k->cpuid(0xd, 0, registers);
    return registers[1]; /* of all components that XCR0 enables */
}

static void get(const struct kernel *k, pid_t pid, uint8_t *into, size_t *length) {
    *length = AREA_MAX;
    const long result = tracee_get(k, pid, into, length);
    if (result < 0 && k->xcr0() == 0)
        provoke_cannot("ptrace has no NT_X86_XSTATE where the kernel does not use XSAVE: %s",
                       strerror((int)-result));
    if (result == -EPERM || result == -ENOSYS)
        provoke_cannot("ptrace(PTRACE_GETREGSET) is denied: %s", strerror((int)-result));
    if (result < 0)
        provoke_broken("PTRACE_GETREGSET: %s", strerror((int)-result));
}

static long set_whole(const struct kernel *k, pid_t pid, const uint8_t *from) {
    size_t length = whole_size(k);
    return tracee_set(k, pid, from, &length);
}

/* ---- reading ------------------------------------------------------------------------------------------ */

static const char *const states[] = {"fresh", "permitted", "configured", "touched", "released"};

/* A stop in each of the states that this machine has. */
static void through_states(const struct kernel *k, void *unused) {
    struct tiles tiles;
    (void)unused;
    tracee_stop();
    if (!tiles_granted(k))
        return;
    tracee_stop();
    tiles_make(&tiles, 16, 64, 1);
    k->ldtilecfg(tiles.config);
    tracee_stop();
    tiles_load(k, &tiles);
    tracee_stop();
    k->tilerelease();
    tracee_stop();
}

static void ptr_01(const struct kernel *k) {
    see_int("size", whole_size(k));
    see_bits("xcr0", k->xcr0());
    const pid_t pid = tracee_start(k, through_states, NULL);
    size_t state = 0;
    do {
        size_t length;
        get(k, pid, area, &length);
        see_text("state", states[state++]);
        see_int("length", (int64_t)length);
        see_bits("sw", area_get(area, AREA_MAGIC1));
        see_bits("xstate_bv", area_get(area, AREA_XSTATE_BV));
    } while (tracee_resume(k, pid) && state < sizeof states / sizeof *states);
    see_int("granted", tiles_granted(k)); /* to a process that is not traced */
}

static void ptr_02(const struct kernel *k) {
    /* PKRU has a value of the kernel's own where the bit is clear. */
    const uint64_t pkru = UINT64_C(1) << 9;
    enum { POISON = 0xa5 };
    tool_need_tiles(k);
    const uint64_t features = area_features(k) & ~pkru;
    const pid_t pid = tracee_start(k, through_states, NULL);
    size_t state = 0;
    do {
        size_t length;
        memset(area, POISON, sizeof area);
        get(k, pid, area, &length);
        const uint64_t init = features & ~area_get(area, AREA_XSTATE_BV) & ~UINT64_C(3);
        int64_t nonzero = 0;
        for (uint32_t number = 2; number < 63; number++) {
            if (!(init >> number & 1))
                continue;
            const struct xcomponent component = area_component(k, number);
            for (uint32_t i = 0; i < component.size; i++)
                nonzero += area[component.offset + i] != 0;
        }
        see_text("state", states[state++]);
        see_bits("init", init);
        see_int("nonzero", nonzero);
    } while (tracee_resume(k, pid) && state < sizeof states / sizeof *states);
}

/* ---- writing ------------------------------------------------------------------------------------------ */

static struct tiles before, after;

static void see_tiles(const struct kernel *k, const char *inuse, const char *config_key) {
    uint8_t config[64];
    int lost = 0;
    see_bits(inuse, k->xinuse() & (XFEATURE_MASK_XTILECFG | XFEATURE_MASK_XTILEDATA));
    k->sttilecfg(config);
    for (size_t i = 0; i < sizeof config; i++)
        lost += config[i] != before.config[i];
    see_int(config_key, lost);
}

static void written_to(const struct kernel *k, void *unused) {
    (void)unused;
    tiles_load(k, &before);
    tracee_stop();
    see_int("written_lost", tiles_lost(k, &after));
    tiles_load(k, &before);
    tracee_stop();
    see_tiles(k, "cleared_18.xinuse", "cleared_18.config_lost");
    tiles_load(k, &before);
    tracee_stop();
    see_tiles(k, "cleared_17_18.xinuse", "cleared_17_18.config_lost");
}

static int clear_and_resume(const struct kernel *k, pid_t pid, uint64_t bits, const char *key) {
    size_t length;
    get(k, pid, area, &length);
    area_put(area, AREA_XSTATE_BV, area_get(area, AREA_XSTATE_BV) & ~bits);
    see_int(key, set_whole(k, pid, area));
    return tracee_resume(k, pid);
}

static void ptr_03(const struct kernel *k) {
    size_t length;
    tool_request(k);
    tiles_make(&before, 16, 64, 3);
    tiles_make(&after, 16, 64, 33);
    const struct xcomponent tiles = area_component(k, XFEATURE_XTILEDATA);
    const uint32_t data = tiles.offset;
    const pid_t pid = tracee_start(k, written_to, NULL);
    get(k, pid, area, &length);
    see_int("read_differs", memcmp(area + data, before.rows, sizeof before.rows) != 0);
    memcpy(area + data, after.rows, sizeof after.rows);
    see_int("set", set_whole(k, pid, area));
    get(k, pid, other, &length);
    see_int("read_back_differs", memcmp(area + data, other + data, tiles.size) != 0);
    if (tracee_resume(k, pid) && clear_and_resume(k, pid, XFEATURE_MASK_XTILEDATA, "cleared_18"))
        clear_and_resume(k, pid, XFEATURE_MASK_XTILECFG | XFEATURE_MASK_XTILEDATA, "cleared_17_18");
}

static void stop_once(const struct kernel *k, void *unused) {
    (void)k, (void)unused;
    tracee_stop();
}

static void ptr_04(const struct kernel *k) {
    const size_t size = whole_size(k);
    const size_t lengths[] = {0,        8,    512,      576,      size - 64, size - 8,  size - 4,
                              size - 1, size, size + 1, size + 8, size + 64, 2 * 16384, 16384};
    size_t length;
    const pid_t pid = tracee_start(k, stop_once, NULL);
    get(k, pid, area, &length);
    see_int("size", (int64_t)size);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        length = lengths[i];
        const long result = tracee_set(k, pid, area, &length);
        see_ints("set", (const int64_t[]){(int64_t)lengths[i], result, (int64_t)length}, 3);
    }
    tracee_resume(k, pid);
}

static uint8_t loaded[REGISTERS_MAX];

static void with_avx(const struct kernel *k, void *unused) {
    uint8_t stored[REGISTERS_MAX];
    (void)unused;
    registers_load(2, loaded);
    tracee_stop();
    registers_store(2, stored);
    see_int("tracee_lost", memcmp(loaded, stored, area_component(k, 2).size) != 0);
}

/* The first of the numbers from `from` on that neither XCR0 nor IA32_XSS knows. */
static unsigned foreign_bit(const struct kernel *k, unsigned from) {
    for (unsigned number = from; number < 62; number++)
        if (area_component(k, number).size == 0 && !(k->xcr0() >> number & 1))
            return number;
    provoke_broken("every component number is taken");
}

static void ptr_05(const struct kernel *k) {
    const struct {
        const char *name;
        size_t offset;
        uint64_t bits;
    } edits[] = {
        {"xcomp_bv_compacted", AREA_XCOMP_BV, AREA_XCOMP_COMPACTED},
        {"xcomp_bv_bit", AREA_XCOMP_BV, 1},
        {"reserved_first", AREA_RESERVED, 1},
        {"reserved_last", AREA_EXTENDED - 8, UINT64_C(1) << 63},
        {"supervisor_pt", AREA_XSTATE_BV, UINT64_C(1) << 8},
        {"supervisor_cet_user", AREA_XSTATE_BV, UINT64_C(1) << 11},
        {"foreign", AREA_XSTATE_BV, UINT64_C(1) << foreign_bit(k, XFEATURE_XTILEDATA + 2)},
        {"bit_63", AREA_XSTATE_BV, UINT64_C(1) << 63},
    };
    int64_t changed = 0;
    size_t length, length_again;
    if (!registers_present(k, 2))
        provoke_cannot("this machine has no AVX, and so no extended state to keep");
    registers_make(k, 2, 5, loaded);
    const pid_t pid = tracee_start(k, with_avx, NULL);
    get(k, pid, area, &length);
    see_int("unedited", set_whole(k, pid, area));
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        memcpy(other, area, sizeof other);
        area_put(other, edits[i].offset, area_get(other, edits[i].offset) | edits[i].bits);
        /* A refused write that was carried out none the less would show. */
        other[area_component(k, 2).offset] ^= 0xff;
        see_int(edits[i].name, set_whole(k, pid, other));
        get(k, pid, other, &length_again);
        changed += length_again != length || memcmp(other, area, length) != 0;
    }
    see_int("changed", changed);
    tracee_resume(k, pid);
}

static void untouched(const struct kernel *k, void *unused) {
    (void)unused;
    for (int granted = 0; granted < 2; granted++) {
        if (granted)
            tool_request(k);
        k->tilerelease();
        tracee_stop();
        see_tiles(k, "xinuse", "config_lost");
        see_bits("permission", tool_permission(k));
    }
}

static void ptr_06(const struct kernel *k) {
    tool_need_tiles(k);
    tiles_make(&before, 16, 64, 6);
    const struct xcomponent config = area_component(k, XFEATURE_XTILECFG);
    const struct xcomponent data = area_component(k, XFEATURE_XTILEDATA);
    see_bits("first_permission", tool_permission(k));
    const pid_t pid = tracee_start(k, untouched, NULL);
    int more = 1;
    for (int granted = 0; granted < 2 && more; granted++) {
        size_t length;
        get(k, pid, area, &length);
        memcpy(other, area, sizeof other);
        memcpy(other + data.offset, before.rows, sizeof before.rows);
        area_put(other, AREA_XSTATE_BV, area_get(other, AREA_XSTATE_BV) | XFEATURE_MASK_XTILEDATA);
        see_int("set_18", set_whole(k, pid, other));
        get(k, pid, other, &length);
        see_int("changed", memcmp(other, area, length) != 0);
        memcpy(area + config.offset, before.config, sizeof before.config);
        area_put(area, AREA_XSTATE_BV, area_get(area, AREA_XSTATE_BV) | XFEATURE_MASK_XTILECFG);
        see_int("set_17", set_whole(k, pid, area));
        more = tracee_resume(k, pid);
    }
}

const struct provocation provoke_ptr[] = {
    {"PTR-01", "PTRACE_GETREGSET of a task in each state of permission", ptr_01, 0},
    {"PTR-02", "the same into a poisoned buffer", ptr_02, 0},
    {"PTR-03", "PTRACE_SETREGSET of live tiles", ptr_03, 0},
    {"PTR-04", "PTRACE_SETREGSET of every kind of length", ptr_04, 1},
    {"PTR-05", "PTRACE_SETREGSET of headers that are none", ptr_05, 1},
    {"PTR-06", "PTRACE_SETREGSET of tile state into a task that has touched no tile", ptr_06, 0},
    {0},
};
