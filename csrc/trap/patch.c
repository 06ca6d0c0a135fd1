#include "patch.h"

int trap_patch_start(int enabled, int hybrid) {
    (void)enabled, (void)hybrid;
    return 0;
}

void trap_patch_stop(void) {}

void trap_patch_count(struct amx_trap_counts *counts) {
    counts->sites = counts->patched = counts->unpatchable = 0;
}

void trap_site_seen(uint64_t rip, const struct amxemu_insn *insn) {
    (void)rip, (void)insn;
}

int trap_site_at(uint64_t rip, struct amxemu_insn *insn) {
    (void)rip, (void)insn;
    return 0;
}

uint64_t trap_thunk_fault_site(uint64_t rip) {
    (void)rip;
    return 0;
}
