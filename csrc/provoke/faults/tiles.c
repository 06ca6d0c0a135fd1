/* Kernels that raise the wrong faults (group FAULT). */
#include "provoke/faults/base.h"
#include "provoke/faults/lists.h"
#include "provoke/harness/area.h"

#include <signal.h>
#include <string.h>

/* ---- the signal of a missing permission --------------------------------------------------------------- */

static void wrong_code(void) {
    if (fault_permitted())
        fault_base->tilezero();
    else
        fault_raise(ILL_ILLOPN, fault_base->address_of(INSN_TILEZERO));
}

static void wrong_address(const void *rows) {
    if (fault_permitted())
        fault_base->tileloadd(rows);
    else
        fault_raise(ILL_ILLOPC, fault_base->address_of(INSN_TILELOADD) + 1);
}

static void store_anyway(void *rows) {
    if (fault_permitted())
        fault_base->tilestored(rows);
    else
        memset(rows, 0, 1024);
}

static void load_config_if_permitted(const uint8_t config[64]) {
    if (fault_permitted())
        fault_base->ldtilecfg(config);
    else
        fault_raise(ILL_ILLOPC, fault_base->address_of(INSN_LDTILECFG));
}

static void restore_data_needs_permission(const uint8_t *area, uint64_t features) {
    if (features & XFEATURE_MASK_XTILEDATA && !fault_permitted())
        fault_raise(ILL_ILLOPC, fault_base->address_of(INSN_XRSTOR));
    else
        fault_base->xrstor(area, features);
}

static void restore_config_first(const uint8_t *area, uint64_t features) {
    if (!fault_permitted())
        fault_base->xrstor(area, features & XFEATURE_MASK_XTILECFG);
    fault_base->xrstor(area, features);
}

/* ---- blocked, ignored, retried ------------------------------------------------------------------------ */

static void zero_unless_blocked(void) {
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    if (fault_permitted() || !sigismember(&blocked, SIGILL))
        fault_base->tilezero();
}

static void zero_unless_ignored(void) {
    struct sigaction action;
    sigaction(SIGILL, NULL, &action);
    if (fault_permitted() || action.sa_handler != SIG_IGN)
        fault_base->tilezero();
}

static void load_once(const void *rows) {
    const int permitted = fault_permitted();
    fault_base->tileloadd(rows);
    if (!permitted) /* a handler has returned */
        fault_base->tilezero();
}

/* ---- configurations ----------------------------------------------------------------------------------- */

static void load_any_palette(const uint8_t config[64]) {
    if (config[0] <= 1)
        fault_base->ldtilecfg(config);
}

static void zero_unconfigured(void) {
    uint8_t config[64];
    fault_base->sttilecfg(config);
    if (config[0] == 0)
        fault_raise(ILL_ILLOPC, fault_base->address_of(INSN_TILEZERO));
    else
        fault_base->tilezero();
}

static void hide_start_row(const void *ucontext, struct frame *frame) {
    enum { START_ROW = 1 };
    fault_base->read_frame(ucontext, frame);
    const struct xcomponent config = area_component(fault_base, XFEATURE_XTILECFG);
    if (config.size && frame->xstate && frame->xstate_size >= config.offset + config.size)
        frame->xstate[config.offset + START_ROW] = 0;
}

const struct fault faults_of_tiles[] = {
    {"wrong-si-code", "TILEZERO without permission is ILL_ILLOPN", {.tilezero = wrong_code}},
    {"wrong-si-addr",
     "TILELOADD without permission has si_addr behind its first byte",
     {.tileloadd = wrong_address}},
    {"store-without-permission", "TILESTORED works without permission", {.tilestored = store_anyway}},
    {"config-needs-permission",
     "LDTILECFG without permission raises SIGILL",
     {.ldtilecfg = load_config_if_permitted}},
    {"initial-data-needs-permission",
     "XRSTOR of initial tile data without permission raises SIGILL",
     {.xrstor = restore_data_needs_permission}},
    {"faulting-load-is-imprecise",
     "XRSTOR loads the configuration before it faults",
     {.xrstor = restore_config_first}},
    {"blocked-signal-waits", "a blocked SIGILL does not kill", {.tilezero = zero_unless_blocked}},
    {"ignored-signal-is-dropped", "an ignored SIGILL does not kill", {.tilezero = zero_unless_ignored}},
    {"load-is-not-retried", "TILELOADD is skipped when the handler returns", {.tileloadd = load_once}},
    {"bad-palette-accepted", "LDTILECFG takes palette 2", {.ldtilecfg = load_any_palette}},
    {"no-config-looks-like-no-permission",
     "TILEZERO without configuration is ILL_ILLOPC",
     {.tilezero = zero_unconfigured}},
    {"frame-hides-start-row", "start_row is 0 in every frame", {.read_frame = hide_start_row}},
    {0},
};
