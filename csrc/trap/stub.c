/* What platforms other than x86-64 Linux get. */
#include "trap/emulation.h"
#include "trap/ptrace/run.h"

#include <errno.h>
#include <string.h>

int amx_is_launched(void) {
    return 0;
}

int amx_trap_start(const struct amx_trap_options *options) {
    (void)options;
    return -ENOSYS;
}

int amx_trap_stop(void) {
    return -ENOSYS;
}

void amx_trap_count(struct amx_trap_counts *counts) {
    memset(counts, 0, sizeof *counts);
}

int amx_trap_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]) {
    (void)leaf, (void)subleaf, (void)registers;
    return -ENOSYS;
}

int amx_trap_xgetbv(uint32_t index, uint64_t *value) {
    (void)index, (void)value;
    return -ENOSYS;
}

int amx_trap_arch_prctl(int op, uint64_t argument) {
    (void)op, (void)argument;
    return -ENOSYS;
}

int amx_ptrace_run(const char *path, char *const argv[], char *const envp[],
                   const struct amx_trap_options *options, struct amx_trap_counts *counts, int *status) {
    (void)path, (void)argv, (void)envp, (void)options, (void)counts, (void)status;
    return -ENOSYS;
}
