/* This process's own AMX instructions, executed by the software tile machine. (s): -ENOSYS in a build of
 * stubs. */
#ifndef AMX_EMULATION_H
#define AMX_EMULATION_H

#include <stdint.h>

struct amx_trap_options {
    const char *cpu;   /* of struct amxemu_cpu: spr, gnr, gnr-d, dmr */
    int patch;         /* whether sites that trapped are patched; 0: every instruction traps */
    const char *trace; /* absolute path of a directory; NULL: none */
    int hybrid;        /* -1: find out; 1: the CPU has AMX, and runs configuration instructions itself */
    const char
        *announce; /* to traced programs, beside AMX: csrc/trap/answers/announce.h; NULL: what oneDNN wants */
};
/* (s) Takes SIGILL, SIGSEGV, SIGBUS and SIGTRAP and chains what is not AMX's. -EINVAL unknown cpu; -EALREADY
 * active, or this program runs under `amx emulate`; -EPERM this process has the kernel's permission, so that
 * AMX instructions run by themselves; -ENOTSUP the CPU has AMX, and what does not trap without permission
 * cannot be patched; where no file can be made in the directory of the trace, its error. */
int amx_trap_start(const struct amx_trap_options *options);
/* (s) Instructions and handlers are put back as they were, handlers only where they are still ours. No
 * thread may be executing AMX instructions. -ESRCH not active. */
int amx_trap_stop(void);

/* Of all threads since the start, in a forked child since the fork; under `amx emulate` that emulation's. */
struct amx_trap_counts {
    uint64_t instructions;                /* AMX instructions that completed */
    uint64_t traps;                       /* signals taken for them */
    uint64_t sites, patched, unpatchable; /* where they stand */
    uint64_t faults;                      /* instructions that ended in a signal to the program */
    uint64_t cpuid, xgetbv, arch_prctl;   /* answered in place of the CPU or the kernel */
    /* By amx_ptrace_run() only: processes whose trace could not be written, and the errno of the first. */
    uint64_t unrecorded, unrecorded_error;
};
void amx_trap_count(struct amx_trap_counts *counts);

/* (s) What the emulated CPU and its kernel answer, to the calling thread; -ESRCH when not active. */
int amx_trap_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]); /* eax, ebx, ecx, edx */
int amx_trap_xgetbv(uint32_t index, uint64_t *value);                       /* XCR0, XINUSE; else -EINVAL */
int amx_trap_arch_prctl(int op, uint64_t argument);                         /* 0 or the kernel's -errno */
int amx_is_launched(void); /* 1: the library that `amx emulate` preloads is in this process */

#endif
