/* The few contacts with CPU and kernel. Functions marked (s) return -ENOSYS in a build without them. */
#ifndef AMX_MACHINE_H
#define AMX_MACHINE_H

#include <stddef.h>
#include <stdint.h>

int amx_is_stub(
    void); /* 1 in a build without the machine layer; then everything marked (s) returns -ENOSYS */

int amx_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]); /* (s) eax, ebx, ecx, edx */
int amx_xgetbv(uint32_t index, uint64_t *value);                       /* (s) -ENODEV without OSXSAVE */
int amx_arch_prctl(int op, uint64_t argument);                         /* (s) raw: 0 or the kernel's -errno */
int amx_arch_prctl_get(int op, uint64_t *value);                       /* (s) ops that write a u64 */
uint64_t amx_getauxval(uint64_t type);                                 /* 0 when absent */
int amx_sigaltstack(uint64_t *address, uint64_t *size, int *flags);    /* (s) this thread's */
/* (s) A running counter of a thread (as gettid) and of what it creates from now on, user mode only: a file
 * descriptor from which three uint64_t are read, the count, and the nanoseconds that it was wanted and that
 * it counted. type and config as of perf_event_open(2); else that call's -errno. */
int amx_perf_open(uint32_t type, uint64_t config, int thread);

int amx_is_traced(void); /* 1: `amx emulate --ptrace` traces this process */

/* How a guarded or forked probe ended. */
enum {
    AMX_STEP_PREPARE = 0, /* nothing was tried yet */
    AMX_STEP_GET,         /* arch_prctl, a reading operation */
    AMX_STEP_REQUEST,     /* arch_prctl, a requesting operation */
    AMX_STEP_CONFIRM,     /* reading back what was requested */
    AMX_STEP_STTILECFG,
    AMX_STEP_LDTILECFG,
    AMX_STEP_TILEZERO,
    AMX_STEP_TDPFP16PS,
    AMX_STEP_OTHER, /* what the tests put under the guard */
    AMX_STEP_DONE,
};
struct amx_probe {
    int step;         /* AMX_STEP_*, where it ended */
    int signal;       /* 0 when nothing was raised; else the signal */
    int code;         /* si_code; 0 also when the signal killed a child unseen */
    int result;       /* of the system call: 0 or -errno */
    int confirmed;    /* of reading back what was requested: 0 or -errno; value is 0 where it failed */
    uint64_t address; /* si_addr */
    uint64_t value;   /* what a reading operation wrote; of a guarded fault the frame's xfeatures, or 0 */
};

/* (s) In a forked child, which a filter may kill without harm: GET reads op; REQUEST asks op for component
 * and reads it back; TILEZERO and TDPFP16PS ask for tile data, whatever the answer, and execute. -ETIMEDOUT:
 * the child hung and was killed. The child does not run atfork handlers nor raise SIGCHLD. */
enum { AMX_CHILD_GET, AMX_CHILD_REQUEST, AMX_CHILD_TILEZERO, AMX_CHILD_TDPFP16PS };
int amx_probe_child(int action, int op, uint64_t component, int timeout_ms, struct amx_probe *probe);

/* (s) What an emulator would use here, in a forked child too. result is of the system call that was refused,
 * else 0. TILES_TRAP ends with SIGILL, at LDTILECFG or only at TILEZERO; CPUID_FAULTS with SIGSEGV; SECCOMP
 * with SIGSYS; the others without a signal. -EINVAL: no such means. */
enum {
    AMX_MEANS_TILES_TRAP,
    AMX_MEANS_CPUID_FAULTS,
    AMX_MEANS_SECCOMP, /* RET_TRAP */
    AMX_MEANS_PTRACE,  /* of a child */
    AMX_MEANS_PATCHING,
    AMX_MEANS_SYNC_CORE, /* membarrier(2) */
};
int amx_probe_means(int means, int timeout_ms, struct amx_probe *probe);

#endif
