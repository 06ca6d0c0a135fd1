/* amx-provoke: one provocation of the kernel a process, and what was seen as JSON lines on standard output.
 *
 * A provocation never judges. It reaches the kernel's AMX interface and the tile instructions through `struct
 * kernel` alone, so that a model of the kernel, or one with a deliberate fault, can be put in the kernel's
 * place. Everything here is libc and system calls: the program runs statically linked in an initramfs.
 */
#ifndef AMX_PROVOKE_KERNEL_H
#define AMX_PROVOKE_KERNEL_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* uapi/asm/prctl.h and asm/fpu/types.h; written out because headers before 5.16 lack them. */
enum {
    ARCH_GET_XCOMP_SUPP = 0x1021,
    ARCH_GET_XCOMP_PERM = 0x1022,
    ARCH_REQ_XCOMP_PERM = 0x1023,
    ARCH_GET_XCOMP_GUEST_PERM = 0x1024,
    ARCH_REQ_XCOMP_GUEST_PERM = 0x1025,
    XFEATURE_XTILECFG = 17,
    XFEATURE_XTILEDATA = 18,
};
#define XFEATURE_MASK_XTILECFG  (UINT64_C(1) << XFEATURE_XTILECFG)
#define XFEATURE_MASK_XTILEDATA (UINT64_C(1) << XFEATURE_XTILEDATA)

/* ---- the kernel and the tile unit, as a provocation reaches them -------------------------------------- */

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

extern const struct kernel provoke_real_kernel;
/* A model of the kernel's permission machine with the tiles emulated, and any kernel with the deliberate
 * fault of that name over it; NULL: unknown name. */
const struct kernel *provoke_model_kernel(void);
const struct kernel *provoke_faulty_kernel(const struct kernel *base, const char *fault);
void provoke_list_faults(void); /* one JSON line each: {"fault": name, "what": ...} */

/* ---- a provocation ------------------------------------------------------------------------------------ */

struct provocation {
    const char *id;   /* the check's, e.g. "PERM-02" */
    const char *what; /* one line */
    /* A run that returns is complete. It starts with default dispositions, nothing blocked, and no core dumps
     * (RLIMIT_CORE 1, which also keeps pipes of core_pattern away). */
    void (*run)(const struct kernel *k);
    int needs_real_frames; /* reads or edits real signal frames, ptrace or cores of tile data: no model can
                              stand in */
};
/* After tool_exec_again(k, "stage"): that stage; NULL in the first image. */
extern const char *provoke_stage;
/* Ends a complete run from wherever it is, e.g. a thread that outlived the leader. */
_Noreturn void provoke_end(void);
/* One array a group, ended by {0}; main.c lists them. */
extern const struct provocation provoke_disc[], provoke_perm[], provoke_inh[], provoke_fault[], provoke_alt[],
    provoke_sig[], provoke_sret[], provoke_ptr[], provoke_core[], provoke_ctx[], provoke_life[],
    provoke_kvm[], provoke_sbx[], provoke_xs[], provoke_isa[];

/* ---- what was seen: one JSON line each, by a single write(2), safe in signal handlers, threads and vfork
 * children
 */

void see_int(const char *key, int64_t value);
void see_bits(const char *key, uint64_t value); /* a mask, address or register */
void see_text(const char *key, const char *value);
void see_ints(const char *key, const int64_t *values, size_t count); /* up to 200 */
void see_bytes(const char *key, const void *bytes, size_t count);    /* as hexadecimal text, up to 1500 */
/* How a child ended, from waitpid: {"exit": n} or {"signal": n, "core": bool}. */
void see_ending(const char *key, int wait_status);
/* A caught signal: {"signal": n, "code": si_code, "address": si_addr, "ip": RIP, "trapno": n}. */
void see_signal(const char *key, const siginfo_t *info, const void *ucontext);
void see_frame(const char *key, const struct frame *frame);

/* This check cannot be made here, because a stated precondition lacks: ends the process (77), the check is a
 * SKIP. */
_Noreturn void provoke_cannot(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The harness itself failed, e.g. mmap: ends the process (70), the check is an ERROR. */
_Noreturn void provoke_broken(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- tools that several groups use (tools.c) ---------------------------------------------------------- */

void tool_config(uint8_t config[64], int rows, int colsb); /* all eight tiles alike */
void tool_pattern(uint8_t rows[1024], unsigned seed);      /* never zero */
/* A child that does not outlive this thread, 0 in the child; one that was made otherwise, or -errno; a
 * thread, for thread_join(); zeroed memory, never freed, that children share. What the machine does not allow
 * here (limits, filters) is provoke_cannot(). */
pid_t tool_fork(const struct kernel *k);
pid_t tool_made(pid_t pid);
uint64_t tool_thread(const struct kernel *k, void *(*run)(void *), void *argument);
void *tool_map_shared(size_t size);
void tool_drop_privilege(void); /* of root; provoke_cannot() where that is impossible */
int tool_wait(pid_t child);     /* wait status; a child that cannot or is broken ends the caller likewise */
/* Install a SA_SIGINFO handler; on_altstack: SA_ONSTACK. */
void tool_handle(int signo, void (*handler)(int, siginfo_t *, void *), int on_altstack);
/* Run `action` and say how it ended: 0, or the signal it raised, with *info. Catches SIGILL, SIGSEGV, SIGBUS,
 * SIGTRAP on this thread by siglongjmp (so tile configuration and data are gone after a signal). */
int tool_catch(void (*action)(const struct kernel *), const struct kernel *k, siginfo_t *info);
/* The process image again from its start, by k->execve: `run` is called with provoke_stage set. Returns
 * -errno. */
long tool_exec_again(const struct kernel *k, const char *stage);
size_t tool_insn_length(enum insn insn);
void tool_skip(void *ucontext, enum insn insn); /* resume behind the instruction */
void tool_need_tiles(const struct kernel *k);   /* CPU and XCR0 have tiles, else provoke_cannot() */
void tool_need_xcr0(const struct kernel *k);    /* the same of XCR0 itself */
void tool_need_xsave(const struct kernel *k);   /* and of XSAVE, which a CPU that is emulated may lack */
void tool_need_xinuse(const struct kernel *k);  /* the same of XGETBV(1) */
void tool_request(const struct kernel *k); /* needs tiles; permission, else provoke_cannot() with the errno */
void tool_answered(const char *operation, long result); /* with 0, else provoke_cannot() */
uint64_t tool_permission(const struct kernel *k);       /* GET_PERM; provoke_cannot() where it fails */
uint64_t tool_minsigstksz(const struct kernel *k);      /* AT_MINSIGSTKSZ, else provoke_cannot() */
struct xcomponent {
    uint32_t size, offset, flags; /* CPUID.D.n: EAX, EBX, ECX */
};
struct xcomponent tool_component(const struct kernel *k, uint32_t number);
void tool_touch(const struct kernel *k);                      /* LDTILECFG, TILEZERO; for tool_catch() */
void tool_see_touch(const struct kernel *k, const char *key); /* the signal of tool_touch(), 0: none */
void *tool_map(size_t size); /* zeroed pages, never freed; provoke_cannot() where there is no memory */
void tool_await(const _Atomic int *flag); /* until it is not 0 */

#endif
