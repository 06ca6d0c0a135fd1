/* Faults of tile instructions. */
#define _GNU_SOURCE /* REG_TRAPNO */
#include "provoke/checks/checks.h"
#include "provoke/harness/area.h"
#include "provoke/harness/see.h"
#include "provoke/harness/tiles.h"
#include "provoke/harness/tools.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <ucontext.h>
#include <unistd.h>

enum { ROWS = 16, COLSB = 64, TILE = ROWS * COLSB, PAGE = 4096, XSTATE_BV = 512 };

/* ---- one fault, seen in its handler ------------------------------------------------------------------- */

static sigjmp_buf back;
static const char *key;

static void on_fault(int signo, siginfo_t *info, void *context) {
    (void)signo;
    see_signal(key, info, context);
    siglongjmp(back, 1);
}

/* Runs `action` and tells what it raised, or that it raised nothing. */
static void observe(const char *name, void (*action)(const struct kernel *), const struct kernel *k) {
    key = name;
    tool_handle(SIGILL, on_fault, 0);
    tool_handle(SIGSEGV, on_fault, 0);
    if (!sigsetjmp(back, 1)) {
        action(k);
        see_text(name, "no signal");
    }
}

static void configure(const struct kernel *k) {
    uint8_t config[64];
    tiles_config(config, ROWS, COLSB);
    k->ldtilecfg(config);
}

static uint8_t data[TILE];

static void zero(const struct kernel *k) {
    configure(k);
    k->tilezero();
}
static void load(const struct kernel *k) {
    configure(k);
    k->tileloadd(data);
}
static void store(const struct kernel *k) {
    configure(k);
    k->tilestored(data);
}
static void multiply(const struct kernel *k) {
    configure(k);
    k->tdpbssd();
}

/* An XSAVE area in standard format that holds these of the tile components; the configuration has `rows`
 * rows. */
static uint8_t *area_with(const struct kernel *k, uint64_t features, int rows) {
    uint32_t xsave[4];
    k->cpuid(0xd, 0, xsave);
    uint8_t *const area = tool_map(xsave[1]);
    memcpy(area + XSTATE_BV, &features, sizeof features);
    tiles_config(area + area_component(k, XFEATURE_XTILECFG).offset, rows, COLSB);
    for (int tile = 0; tile < 8; tile++)
        tiles_pattern(area + area_component(k, XFEATURE_XTILEDATA).offset + tile * TILE, 11);
    return area;
}

static const uint8_t *restored;
static void restore_data(const struct kernel *k) {
    configure(k);
    k->xrstor(restored, XFEATURE_MASK_XTILEDATA);
}

static int leaves_out_xrstor(const struct kernel *k) {
    if (k->xrstor_reaches_tiles())
        return 0;
    see_text("left out", "xrstor");
    return 1;
}

static void fault_01(const struct kernel *k) {
    static const struct {
        const char *name, *address;
        enum insn insn;
        void (*run)(const struct kernel *k);
    } tried[] = {
        {"tilezero", "tilezero at", INSN_TILEZERO, zero},
        {"tileloadd", "tileloadd at", INSN_TILELOADD, load},
        {"tilestored", "tilestored at", INSN_TILESTORED, store},
        {"tdpbssd", "tdpbssd at", INSN_TDPBSSD, multiply},
        {"xrstor", "xrstor at", INSN_XRSTOR, restore_data},
    };
    tool_need_tiles(k);
    restored = area_with(k, XFEATURE_MASK_XTILEDATA, ROWS);
    see_bits("permission", tool_permission(k));
    for (size_t i = 0; i < sizeof tried / sizeof *tried; i++) {
        if (tried[i].insn == INSN_XRSTOR && leaves_out_xrstor(k))
            continue;
        see_bits(tried[i].address, k->address_of(tried[i].insn));
        observe(tried[i].name, tried[i].run, k);
    }
}

static void fault_02(const struct kernel *k) {
    uint8_t config[64], stored[64];
    siginfo_t info;
    tool_need_tiles(k);
    tool_need_xinuse(k);
    restored = area_with(k, 0, ROWS);
    tiles_config(config, ROWS, COLSB);
    see_int("ldtilecfg", tool_catch(configure, k, &info));
    see_bits("xinuse after ldtilecfg", k->xinuse());
    k->sttilecfg(stored);
    see_int("same configuration", !memcmp(config, stored, sizeof config));
    see_int("xrstor of initial data", tool_catch(restore_data, k, &info));
    k->tilerelease();
    see_bits("xinuse after tilerelease", k->xinuse());
    see_bits("permission", tool_permission(k));
}

static const struct kernel *skipping;
static volatile sig_atomic_t signals;

static void skip_xrstor(int signo, siginfo_t *info, void *context) {
    (void)signo, (void)info;
    if (++signals > 1)
        provoke_broken("the instruction could not be skipped");
    tool_skip(context, INSN_XRSTOR);
}

static void fault_03(const struct kernel *k) {
    const uint64_t tiles = XFEATURE_MASK_XTILECFG | XFEATURE_MASK_XTILEDATA;
    uint8_t config[64], stored[64];
    tool_need_tiles(k);
    tool_need_xinuse(k);
    skipping = k;
    tool_handle(SIGILL, skip_xrstor, 0);
    const uint8_t *const area = area_with(k, tiles, ROWS / 2);
    tiles_config(config, ROWS, COLSB);
    k->ldtilecfg(config);
    see_bits("xinuse before", k->xinuse() & tiles);
    k->xrstor(area, tiles);
    see_bits("xinuse after", k->xinuse() & tiles);
    k->sttilecfg(stored);
    see_int("signals", signals);
    see_int("same configuration", !memcmp(config, stored, sizeof config));
}

/* ---- FAULT-04: children that must die ----------------------------------------------------------------- */

static void *touch(void *k) {
    tool_touch(k);
    return NULL;
}

static void by_default(const struct kernel *k) {
    tool_touch(k);
}
static void blocked(const struct kernel *k) {
    sigset_t ill;
    sigemptyset(&ill);
    sigaddset(&ill, SIGILL);
    sigprocmask(SIG_BLOCK, &ill, NULL);
    tool_touch(k);
}
static void ignored(const struct kernel *k) {
    signal(SIGILL, SIG_IGN);
    tool_touch(k);
}
static void by_a_thread(const struct kernel *k) {
    k->thread_join(tool_thread(k, touch, (void *)k));
}

static void fault_04(const struct kernel *k) {
    static const struct {
        const char *name;
        void (*run)(const struct kernel *k);
    } deaths[] = {
        {"default", by_default},
        {"blocked", blocked},
        {"ignored", ignored},
        {"in a thread", by_a_thread},
    };
    tool_need_tiles(k);
    for (size_t i = 0; i < sizeof deaths / sizeof *deaths; i++) {
        const pid_t child = tool_fork(k);
        if (child == 0) {
            prctl(PR_SET_DUMPABLE, 0);
            deaths[i].run(k);
            _exit(0);
        }
        see_ending(deaths[i].name, tool_wait(child));
    }
}

/* ---- FAULT-05: configurations ------------------------------------------------------------------------- */

static uint8_t image[64];

static void load_image(const struct kernel *k) {
    k->ldtilecfg(image);
}
static void load_image_and_tile(const struct kernel *k) {
    k->ldtilecfg(image);
    k->tileloadd(data);
}
static void load_image_and_store(const struct kernel *k) {
    k->ldtilecfg(image);
    k->tilestored(data);
}
static void zero_unconfigured(const struct kernel *k) {
    k->tilerelease();
    k->tilezero();
}

static void with(int at, int value, const char *name, void (*action)(const struct kernel *),
                 const struct kernel *k) {
    tiles_config(image, ROWS, COLSB);
    image[at] = (uint8_t)value;
    observe(name, action, k);
}

static void fault_05(const struct kernel *k) {
    enum { PALETTE = 0, START_ROW = 1, RESERVED = 2, COLSB0 = 16, COLSB8 = 32, ROWS0 = 48, ROWS8 = 56 };
    tool_need_tiles(k);
    observe("no configuration, no permission", zero_unconfigured, k);
    tool_request(k);
    see_bits("tilezero at", k->address_of(INSN_TILEZERO));
    see_bits("tileloadd at", k->address_of(INSN_TILELOADD));
    see_bits("tilestored at", k->address_of(INSN_TILESTORED));
    observe("no configuration", zero_unconfigured, k);
    with(COLSB0, 6, "colsb no multiple of 4, load", load_image_and_tile, k);
    with(START_ROW, ROWS, "start_row beyond rows, load", load_image_and_tile, k);
    with(START_ROW, ROWS, "start_row beyond rows, store", load_image_and_store, k);

    with(PALETTE, 2, "bad: palette 2", load_image, k);
    with(RESERVED, 1, "bad: reserved byte", load_image, k);
    with(ROWS0, 17, "bad: 17 rows", load_image, k);
    with(COLSB0, 68, "bad: colsb 68", load_image, k);
    with(ROWS0, 0, "bad: rows 0", load_image, k);
    with(COLSB0, 0, "bad: colsb 0", load_image, k);
    with(ROWS8, 1, "bad: rows of tile 8", load_image, k);
    with(COLSB8, 4, "bad: colsb of tile 8", load_image, k);

    with(COLSB0, 6, "accepted: colsb no multiple of 4", load_image, k);
    with(START_ROW, ROWS, "accepted: start_row beyond rows", load_image, k);
    memset(image, 0xa5, sizeof image);
    image[PALETTE] = 0;
    observe("accepted: palette 0 with garbage", load_image, k);
    see_bits("xinuse after palette 0", k->xinuse());
}

/* ---- handlers that return ----------------------------------------------------------------------------- */

static volatile long requested = 1;

static void request_and_retry(int signo, siginfo_t *info, void *context) {
    (void)signo, (void)info, (void)context;
    if (++signals > 1)
        provoke_broken("the instruction faults again after the request gave %ld", requested);
    requested = skipping->arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
}

static void fault_06(const struct kernel *k) {
    const uint64_t tiles = XFEATURE_MASK_XTILECFG | XFEATURE_MASK_XTILEDATA;
    uint8_t pattern[TILE], stored[TILE] = {0};
    tool_need_tiles(k);
    skipping = k;
    tool_handle(SIGILL, request_and_retry, 0);
    tiles_pattern(pattern, 5);
    configure(k);
    k->tileloadd(pattern);
    k->tilestored(stored);
    see_int("signals", signals);
    see_int("request", requested);
    see_int("same data", !memcmp(pattern, stored, sizeof stored));
    if (leaves_out_xrstor(k))
        return;
    const uint8_t *const area = area_with(k, tiles, ROWS);
    k->xrstor(area, tiles);
    k->tilestored(stored);
    see_int("same restored data",
            !memcmp(area + area_component(k, XFEATURE_XTILEDATA).offset, stored, sizeof stored));
}

static uint8_t *second_half;
static uint32_t config_offset;

static void map_and_resume(int signo, siginfo_t *info, void *context) {
    struct frame frame;
    (void)signo;
    if (++signals > 1)
        provoke_broken("the page faults again after it was mapped");
    skipping->read_frame(context, &frame);
    see_signal(key, info, context);
    see_bits("xstate_bv", frame.xstate_bv);
    see_int("start_row in the frame", frame.xstate ? frame.xstate[config_offset + 1] : -1);
    if (mprotect(second_half, PAGE, PROT_READ | PROT_WRITE))
        provoke_broken("mprotect: %s", strerror(errno));
    skipping->sigreturn(context);
}

static void fault_07(const struct kernel *k) {
    uint8_t config[64], pattern[TILE], stored[TILE];
    tool_request(k);
    skipping = k;
    config_offset = area_component(k, XFEATURE_XTILECFG).offset;
    tool_handle(SIGSEGV, map_and_resume, 0);
    uint8_t *const pages = tool_map(2 * PAGE);
    uint8_t *const rows = pages + PAGE - TILE / 2; /* row 8 is the first on the second page */
    second_half = pages + PAGE;
    see_bits("page", (uintptr_t)second_half);
    tiles_pattern(pattern, 7);

    memcpy(rows, pattern, sizeof pattern);
    mprotect(second_half, PAGE, PROT_NONE);
    configure(k);
    key = "load";
    k->tileloadd(rows);
    k->sttilecfg(config);
    see_int("start_row after the load", config[1]);
    k->tilestored(stored);
    see_int("loaded", !memcmp(stored, pattern, sizeof pattern));

    memset(pages, 0, 2 * PAGE);
    mprotect(second_half, PAGE, PROT_NONE);
    signals = 0;
    key = "store";
    k->tilestored(rows);
    k->sttilecfg(config);
    see_int("start_row after the store", config[1]);
    see_int("stored", !memcmp(rows, pattern, sizeof pattern));
}

/* ---- optional ----------------------------------------------------------------------------------------- */

static void fault_08(const struct kernel *k) {
    tool_need_tiles(k);
    see_bits("permission", tool_permission(k));
    observe("fresh", zero, k);
    volatile uint8_t *const page = tool_map(PAGE);
    mprotect((void *)page, PAGE, PROT_NONE); /* its fault leaves 14 in the task's trap_nr */
    if (sigsetjmp(back, 1) == 0) {
        key = "page fault";
        *page = 2;
    }
    observe("after a page fault", zero, k);
}

static void fault_09(const struct kernel *k) {
    static const char nth[] = "/proc/self/fail-nth", waits[] = "/sys/kernel/debug/failslab/ignore-gfp-wait";
    char setting = '?';
    tool_request(k);
    const int fail_nth = open(nth, O_WRONLY | O_CLOEXEC);
    if (fail_nth < 0)
        provoke_cannot("%s: %s (needs a kernel with FAULT_INJECTION, and root)", nth, strerror(errno));
    const int ignore = open(waits, O_RDONLY | O_CLOEXEC);
    if (ignore < 0 || read(ignore, &setting, 1) != 1 || setting != 'N')
        provoke_cannot("%s is not N, and this check does not change it", waits);
    configure(k);
    key = "allocation failed";
    tool_handle(SIGSEGV, on_fault, 0);
    if (sigsetjmp(back, 1) == 0) {
        see_bits("tilezero at", k->address_of(INSN_TILEZERO));
        configure(k);
        if (write(fail_nth, "1", 1) != 1)
            provoke_cannot("%s: %s", nth, strerror(errno));
        k->tilezero();
        see_text(key, "no signal");
    }
}

const struct provocation provoke_fault[] = {
    {"FAULT-01", "instructions on tile data without permission", fault_01, 0},
    {"FAULT-02", "instructions on the configuration without permission", fault_02, 0},
    {"FAULT-03", "XRSTOR of both components without permission, skipped by the handler", fault_03, 0},
    {"FAULT-04", "tile data without permission while SIGILL is blocked, ignored, or in a thread", fault_04,
     0},
    {"FAULT-05", "missing and bad configurations", fault_05, 0},
    {"FAULT-06", "a request inside the handler of SIGILL", fault_06, 0},
    {"FAULT-07", "page faults in the middle of TILELOADD and TILESTORED", fault_07, 1},
    {"FAULT-08", "REG_TRAPNO of the SIGILL without permission", fault_08, 1},
    {"FAULT-09", "first use of tile data while the kernel has no memory", fault_09, 1},
    {0},
};
