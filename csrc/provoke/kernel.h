/* The kernel and the tile unit, as a provocation reaches them.
 *
 * All that a provocation does to them goes through this table, so that a model of the kernel, or one with a
 * deliberate fault, can be put in the kernel's place.
 */
#ifndef AMX_PROVOKE_KERNEL_H
#define AMX_PROVOKE_KERNEL_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __AVX__
#error "baseline x86-64 alone: VEX instructions of the compiler's would change the registers looked at"
#endif

/* uapi/asm/prctl.h and asm/fpu/types.h; written out because headers before 5.16 lack them. */
enum {
    ARCH_GET_XCOMP_SUPP = 0x1021,
    ARCH_GET_XCOMP_PERM = 0x1022,
    ARCH_REQ_XCOMP_PERM = 0x1023,
    ARCH_GET_XCOMP_GUEST_PERM = 0x1024,
    ARCH_REQ_XCOMP_GUEST_PERM = 0x1025,
    XFEATURE_XTILECFG = 17,
    XFEATURE_XTILEDATA = 18,
    AT_MINSIGSTKSZ_TYPE = 51, /* uapi/asm/auxvec.h since 5.14 */
};
#define XFEATURE_MASK_XTILECFG  (UINT64_C(1) << XFEATURE_XTILECFG)
#define XFEATURE_MASK_XTILEDATA (UINT64_C(1) << XFEATURE_XTILEDATA)

/* What a signal handler finds in its frame (A9 of the ABI: magic, sizes, feature masks, the saved state). */
struct frame {
    uint8_t *xstate; /* the FXSAVE image and what follows it, in the frame itself; NULL: the frame has none */
    uint32_t magic1, extended_size, xstate_size;
    uint64_t xfeatures; /* of the software-reserved bytes */
    uint64_t xstate_bv, xcomp_bv;
    uint32_t magic2;      /* read behind xstate_size; 0 where magic1 says that there is none */
    int has_uc_fp_xstate; /* uc_flags has UC_FP_XSTATE */
};

enum insn {
    INSN_LDTILECFG,
    INSN_STTILECFG,
    INSN_TILERELEASE,
    INSN_TILEZERO,
    INSN_TILELOADD,
    INSN_TILESTORED,
    INSN_TDPBSSD,
    INSN_XRSTOR,
    INSNS
};

enum xsave { XSAVE_PLAIN, XSAVE_OPT, XSAVE_C };

struct kernel {
    /* All system calls: 0 or more, or -errno. */
    long (*arch_prctl)(int op, uint64_t argument);
    long (*sigaltstack)(const stack_t *set, stack_t *old);
    pid_t (*fork)(void);
    /* CLONE_VM | CLONE_VFORK: the child's pid, once it has exited or exec'd. */
    pid_t (*vfork_run)(int (*child)(void *), void *argument);
    /* A new process with these flags (no CLONE_THREAD), a stack of its own and SIGCHLD at its end. With
     * CLONE_VM it shares this thread's TLS too: `child` may use this table and see_*(), nothing else of libc.
     */
    pid_t (*clone_run)(uint64_t flags, int (*child)(void *), void *argument);
    int (*thread_start)(uint64_t *thread, void *(*run)(void *), void *argument); /* pthread_create's errno */
    int (*thread_join)(uint64_t thread);
    long (*execve)(const char *path, char *const argv[], char *const envp[]);
    /* Tile instructions on this thread. Rows of tile memory are 64 bytes apart. A fault is a signal, as on
     * hardware. */
    void (*ldtilecfg)(const uint8_t config[64]);
    void (*sttilecfg)(uint8_t config[64]);
    void (*tilerelease)(void);
    void (*tilezero)(void);                                 /* TMM0 */
    void (*tileloadd)(const void *rows);                    /* TMM0 */
    void (*tilestored)(void *rows);                         /* TMM0 */
    void (*tdpbssd)(void);                                  /* TMM0 += TMM1 * TMM2 */
    void (*xrstor)(const uint8_t *area, uint64_t features); /* 64-byte aligned, standard format */
    int (*xrstor_reaches_tiles)(void);                      /* 0: tiles are emulated, and not there for it */
    uint64_t (*xinuse)(void);                               /* XGETBV(1), 0 where the CPU lacks it */
    /* Where each instruction lies, for comparison with si_addr. A handler that wants it skipped adds
     * tool_insn_length() to RIP. */
    uintptr_t (*address_of)(enum insn insn);
    void (*read_frame)(const void *ucontext, struct frame *frame);
    /* What the machine says of itself. */
    void (*cpuid)(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]); /* eax, ebx, ecx, edx */
    uint64_t (*xcr0)(void);                                                /* 0 without OSXSAVE */
    uint64_t (*auxv)(uint64_t type);                                       /* 0 when absent */
    /* The last act of a handler that has read its frame, before it returns: nothing where the kernel's
     * sigreturn does the work; the model restores here, and faults change what is restored. */
    void (*sigreturn)(void *ucontext);
    long (*ptrace)(long request, pid_t pid, void *address, void *data);
    long (*sched_yield)(void);
    long (*ioctl)(int fd, unsigned long request, void *argument); /* of /dev/kvm and its files */
    /* A core file's first bytes: how many, or -errno. */
    long (*read_core)(const char *path, uint8_t *buffer, size_t size);
    int (*xstate_buffers)(void); /* tasks with a buffer for dynamic state, of the whole system, or -errno */
    void (*xsave)(enum xsave how, uint8_t *area, uint64_t features); /* 64-byte aligned */
};

#endif
