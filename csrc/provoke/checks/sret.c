/* SRET: what sigreturn makes of a frame that the handler has edited. */
#define _GNU_SOURCE
#include "provoke/checks/checks.h"
#include "provoke/harness/area.h"
#include "provoke/harness/registers.h"
#include "provoke/harness/see.h"
#include "provoke/harness/system.h"
#include "provoke/harness/tiles.h"
#include "provoke/harness/tools.h"
#include "provoke/harness/tracee.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

static const struct kernel *kernel; /* for the handlers */
static void (*edit)(struct frame *frame);
static int frames_without_state;

static void editing(int signo, siginfo_t *info, void *ucontext) {
    struct frame frame;
    (void)signo, (void)info;
    kernel->read_frame(ucontext, &frame);
    if (frame.xstate)
        edit(&frame);
    else
        frames_without_state++;
    kernel->sigreturn(ucontext);
}

static void start(const struct kernel *k) {
    kernel = k;
    tool_handle(SIGUSR1, editing, 0);
}

/* "variant.what" */
static const char *key(const char *variant, const char *what) {
    static char text[80];
    snprintf(text, sizeof text, "%s.%s", variant, what);
    return text;
}

static uint64_t tiles_inuse(const struct kernel *k) {
    return k->xinuse() & (XFEATURE_MASK_XTILECFG | XFEATURE_MASK_XTILEDATA);
}

static int config_nonzero(const struct kernel *k) {
    uint8_t config[64];
    int count = 0;
    k->sttilecfg(config);
    for (size_t i = 0; i < sizeof config; i++)
        count += config[i] != 0;
    return count;
}

static uint8_t *component(const struct frame *frame, uint32_t number) {
    return frame->xstate + area_component(kernel, number).offset;
}

static void clear_bits(const struct frame *frame, size_t offset, uint64_t bits) {
    area_put(frame->xstate, offset, area_get(frame->xstate, offset) & ~bits);
}

static void set_bits(const struct frame *frame, size_t offset, uint64_t bits) {
    area_put(frame->xstate, offset, area_get(frame->xstate, offset) | bits);
}

static struct tiles before, after;

static void overwrite_data(struct frame *frame) {
    memcpy(component(frame, XFEATURE_XTILEDATA), after.rows, sizeof after.rows);
}

static void sret_01(const struct kernel *k) {
    tool_request(k);
    start(k);
    tiles_make(&before, 16, 64, 1);
    tiles_make(&after, 16, 64, 2);
    edit = overwrite_data;
    tiles_load(k, &before);
    tool_raise(SIGUSR1);
    see_int("differs_from_edit", tiles_lost(k, &after));
    see_int("differs_from_original", tiles_lost(k, &before));
    k->tilerelease();
}

static void clear_data(struct frame *frame) {
    clear_bits(frame, AREA_XSTATE_BV, XFEATURE_MASK_XTILEDATA);
}
static void clear_both(struct frame *frame) {
    clear_bits(frame, AREA_XSTATE_BV, XFEATURE_MASK_XTILECFG | XFEATURE_MASK_XTILEDATA);
}
static void clear_sw(struct frame *frame) {
    clear_bits(frame, AREA_XFEATURES, XFEATURE_MASK_XTILEDATA);
}

static void sret_02(const struct kernel *k) {
    static const struct {
        const char *name;
        void (*edit)(struct frame *frame);
    } variants[] = {
        {"xstate_bv_18", clear_data}, {"xstate_bv_17_18", clear_both}, {"sw_xfeatures_18", clear_sw}};
    tool_request(k);
    start(k);
    tiles_make(&before, 16, 64, 1);
    after = before;
    memset(after.rows, 0, sizeof after.rows);
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        edit = variants[i].edit;
        tiles_load(k, &before);
        tool_raise(SIGUSR1);
        see_bits(key(variants[i].name, "xinuse"), tiles_inuse(k));
        see_int(key(variants[i].name, "config_nonzero"), config_nonzero(k));
        see_int(key(variants[i].name, "differs_from_init_data"), tiles_lost(k, &after));
    }
    k->tilerelease();
}

/* ---- frames that are no valid state: AVX's upper halves stand for everything above SSE, on any machine  */

static sigjmp_buf back;

static void segv(int signo, siginfo_t *info, void *ucontext) {
    struct frame frame;
    (void)signo;
    kernel->read_frame(ucontext, &frame);
    see_signal("caught", info, ucontext);
    int64_t live = 0;
    if (frame.xstate && frame.xstate_bv >> 2 & 1) {
        const struct xcomponent avx = area_component(kernel, 2);
        for (uint32_t i = 0; i < avx.size; i++)
            live += frame.xstate[avx.offset + i] != 0;
    }
    see_int("caught_avx", live);
    see_bits("caught_tiles", frame.xstate_bv & (XFEATURE_MASK_XTILECFG | XFEATURE_MASK_XTILEDATA));
    siglongjmp(back, 1);
}

struct variant {
    const char *name;
    void (*edit)(struct frame *frame);
};

static void try(const struct kernel *k, const struct variant *variant, int with_tiles) {
    static uint8_t loaded[REGISTERS_MAX], stored[REGISTERS_MAX];
    see_text("variant", variant->name);
    edit = variant->edit;
    registers_make(k, 2, 3, loaded);
    memset(stored, 0, sizeof stored);
    if (sigsetjmp(back, 1) == 0) {
        if (with_tiles)
            tiles_load(k, &before);
        registers_load(2, loaded);
        tool_raise(SIGUSR1);
        registers_store(2, stored);
        see_int(key(variant->name, "signal"), 0);
    } else {
        see_int(key(variant->name, "signal"), SIGSEGV);
        registers_store(2, stored);
    }
    int64_t kept = 0, nonzero = 0;
    const uint32_t size = area_component(k, 2).size;
    for (uint32_t i = 0; i < size; i++) {
        kept += stored[i] == loaded[i];
        nonzero += stored[i] != 0;
    }
    see_int(key(variant->name, "avx_kept"), kept);
    see_int(key(variant->name, "avx_nonzero"), nonzero);
    if (!with_tiles)
        return;
    see_bits(key(variant->name, "xinuse"), tiles_inuse(k));
    see_int(key(variant->name, "config_nonzero"), config_nonzero(k));
    k->tilerelease();
}

static void leave(struct frame *frame) {
    (void)frame;
}
static void bad_magic1(struct frame *frame) {
    area_put32(frame->xstate, AREA_MAGIC1, 0);
}
static void bad_magic2(struct frame *frame) {
    area_put32(frame->xstate, frame->xstate_size, 0);
}
static void larger_size(struct frame *frame) {
    area_put32(frame->xstate, AREA_XSTATE_SIZE, frame->xstate_size + 64);
}
static void tiny_size(struct frame *frame) {
    area_put32(frame->xstate, AREA_XSTATE_SIZE, AREA_XSTATE_BV);
}
static void short_extended_size(struct frame *frame) {
    area_put32(frame->xstate, AREA_EXTENDED_SIZE, frame->xstate_size - 64);
}
static void reserved_first(struct frame *frame) {
    area_put(frame->xstate, AREA_RESERVED, 1);
}
static void xcomp_bv(struct frame *frame) {
    area_put(frame->xstate, AREA_XCOMP_BV, 1);
}
static void unknown_bit(struct frame *frame) {
    set_bits(frame, AREA_XSTATE_BV, UINT64_C(1) << 61);
}

static void try_all(const struct kernel *k, const struct variant *variants) {
    if (!registers_present(k, 2))
        provoke_cannot("this machine has no AVX, and so no state that could be lost");
    const int with_tiles = tiles_granted(k);
    start(k);
    tool_handle(SIGSEGV, segv, 0);
    tiles_make(&before, 16, 64, 1);
    see_int("avx", area_component(k, 2).size);
    see_int("tiles", with_tiles);
    for (; variants->name; variants++)
        try(k, variants, with_tiles);
    see_int("frames_without_state", frames_without_state);
    k->sched_yield(); /* the corrupted state must not come back with the next context switch */
    see_int("survived", 1);
}

static void sret_03(const struct kernel *k) {
    static const struct variant variants[] = {{"unedited", leave},
                                              {"magic1", bad_magic1},
                                              {"magic2", bad_magic2},
                                              {"larger_xstate_size", larger_size},
                                              {"tiny_xstate_size", tiny_size},
                                              {"short_extended_size", short_extended_size},
                                              {0}};
    try_all(k, variants);
}

static void sret_04(const struct kernel *k) {
    static const struct variant variants[] = {{"unedited", leave},
                                              {"reserved", reserved_first},
                                              {"xcomp_bv", xcomp_bv},
                                              {"unknown_bit", unknown_bit},
                                              {0}};
    try_all(k, variants);
}

/* ---- tile data that the frame has no room for --------------------------------------------------------- */

static void set_data_bit(struct frame *frame) {
    see_int("edited_size", frame->xstate_size);
    set_bits(frame, AREA_XFEATURES, XFEATURE_MASK_XTILEDATA);
    set_bits(frame, AREA_XSTATE_BV, XFEATURE_MASK_XTILEDATA);
}

static void touch_inside(struct frame *frame) {
    see_int("edited_size", frame->xstate_size);
    tiles_load(kernel, &after);
    see_int("inside_lost", tiles_lost(kernel, &after));
}

static void tilezero(const struct kernel *k) {
    k->tilezero();
}

static void see_after(const struct kernel *k, const char *variant) {
    see_bits(key(variant, "permission"), tool_permission(k));
    see_bits(key(variant, "xinuse"), tiles_inuse(k));
    uint8_t config[64];
    int lost = 0;
    k->sttilecfg(config);
    for (size_t i = 0; i < sizeof config; i++)
        lost += config[i] != before.config[i];
    see_int(key(variant, "config_lost"), lost);
}

static void sret_05(const struct kernel *k) {
    siginfo_t info;
    tool_need_tiles(k);
    start(k);
    see_int("small", area_end(k, area_features(k) & ~XFEATURE_MASK_XTILEDATA));
    see_bits("permission", tool_permission(k));
    tiles_make(&before, 16, 64, 1);
    tiles_make(&after, 4, 16, 2);
    edit = set_data_bit;
    k->ldtilecfg(before.config);
    tool_raise(SIGUSR1);
    see_after(k, "unpermitted");
    see_int("unpermitted.touch", tool_catch(tilezero, k, &info));

    tool_request(k);
    see_bits("granted", tool_permission(k));
    k->ldtilecfg(before.config);
    tool_raise(SIGUSR1);
    see_after(k, "untouched");
    k->ldtilecfg(before.config);
    edit = touch_inside;
    tool_raise(SIGUSR1);
    see_after(k, "inside");
    k->tilerelease();
}

/* ---- tile data that cannot be read -------------------------------------------------------------------- */

static int *reached; /* shared with the child: its handler got as far as sigreturn */

/* Takes away a page that lies in the frame's tile data as a whole; the handler's stack is below the frame. */
static void unmap_data(struct frame *frame) {
    const uintptr_t page_size = 4096;
    const uintptr_t data = (uintptr_t)component(frame, XFEATURE_XTILEDATA);
    /* 4: a shrunken state has its second magic where the data begins */
    const uintptr_t page = (data + 4 + page_size - 1) & ~(page_size - 1);
    *reached = system_call(SYS_munmap, (long)page, (long)page_size, 0, 0, 0, 0) == 0;
}

static void unmap_data_shrunken(struct frame *frame) {
    const uint32_t small = area_end(kernel, area_features(kernel) & ~XFEATURE_MASK_XTILEDATA);
    const uint32_t magic2 = 0x46505845;
    area_put32(frame->xstate, AREA_XSTATE_SIZE, small);
    area_put32(frame->xstate, small, magic2);
    unmap_data(frame);
}

static void return_to_unmapped(const struct kernel *k, void *unused) {
    const size_t size = (size_t)tool_minsigstksz(k) + 128 * 1024;
    const stack_t stack = {.ss_sp = tool_map(size), .ss_size = size};
    (void)unused;
    if (k->sigaltstack(&stack, NULL) != 0)
        return;
    kernel = k;
    tool_handle(SIGUSR1, editing, 1);
    signal(SIGSEGV, SIG_DFL);
    /* A child that can no longer die must not keep the reader of standard output waiting. */
    for (int file = 0; file <= 2; file++)
        system_call(SYS_close, file, 0, 0, 0, 0, 0);
    tiles_load(k, &before);
    tool_raise(SIGUSR1);
}

static void sret_06(const struct kernel *k) {
    static const struct variant variants[] = {{"unmapped", unmap_data},
                                              {"unmapped_shrunken", unmap_data_shrunken}};
    tool_request(k);
    tiles_make(&before, 16, 64, 1);
    reached = tool_map_shared(sizeof *reached);
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        *reached = 0;
        edit = variants[i].edit;
        const int status = child_run(k, return_to_unmapped, NULL, 3000);
        see_int(key(variants[i].name, "reached"), *reached);
        see_int(key(variants[i].name, "hung"), status == -1);
        if (status != -1)
            see_ending(key(variants[i].name, "ending"), status);
    }
}

static void bad_palette(struct frame *frame) {
    *component(frame, XFEATURE_XTILECFG) = 7;
}

static void sret_07(const struct kernel *k) {
    uint8_t *const area = tool_map(AREA_MAX);
    tool_request(k);
    start(k);
    tiles_make(&before, 16, 64, 1);
    edit = bad_palette;
    tiles_load(k, &before);
    tool_raise(SIGUSR1);
    see_bits("sigreturn.xinuse", tiles_inuse(k));
    see_int("sigreturn.config_nonzero", config_nonzero(k));
    tiles_load(k, &before);
    area_put(area, AREA_XSTATE_BV, XFEATURE_MASK_XTILECFG);
    memcpy(area + area_component(k, XFEATURE_XTILECFG).offset, before.config, sizeof before.config);
    area[area_component(k, XFEATURE_XTILECFG).offset] = 7;
    k->xrstor(area, XFEATURE_MASK_XTILECFG);
    see_bits("xrstor.xinuse", tiles_inuse(k));
    see_int("xrstor.config_nonzero", config_nonzero(k));
    k->tilerelease();
}

const struct provocation provoke_sret[] = {
    {"SRET-01", "overwrite the tile data in the frame", sret_01, 0},
    {"SRET-02", "clear the bits of tile state in the frame", sret_02, 0},
    {"SRET-03", "spoil the magic numbers and sizes of the frame", sret_03, 1},
    {"SRET-04", "spoil the header of the frame's state", sret_04, 1},
    {"SRET-05", "claim tile data in a frame without it, and touch a tile first in a handler", sret_05, 0},
    {"SRET-06", "return to a frame whose tile data is not mapped", sret_06, 1},
    {"SRET-07", "return to a frame with an invalid configuration, and XRSTOR one", sret_07, 0},
    {0},
};
