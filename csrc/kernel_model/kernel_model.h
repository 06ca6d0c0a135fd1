/* What Linux does about AMX: permission, inheritance, alternate signal stacks, and which tile instructions
 * fault.
 *
 * Pure: no system call, no signal, no allocation, no globals, no lock. Who uses it keeps one process and one
 * task for each real one, tells it of fork, clone, exec and exit, serialises what changes a process (the
 * kernel does so by siglock), and delivers the faults. Sources: arch/x86/kernel/fpu/xstate.c
 * (fpu_xstate_prctl, __xstate_request_perm, validate_sigaltstack), fpu/core.c (fpu_clone, fpstate_reset),
 * fpu/signal.c, traps.c (handle_xfd_event), signal.c (sigaltstack_size_valid); what they do was also observed
 * on hardware.
 */
#ifndef AMX_KERNEL_MODEL_H
#define AMX_KERNEL_MODEL_H

#include "emulator/emulator.h"

#include <stddef.h>
#include <stdint.h>

/* The machine and the kernel's build. */
struct kernel_model_machine {
    uint64_t features;      /* user xfeatures: XCR0, and what ARCH_GET_XCOMP_SUPP gives */
    unsigned feature_count; /* XFEATURE_MAX: numbers below are known though they cannot be asked for */
    uint32_t config_offset, data_offset, size; /* of XTILECFG, XTILEDATA and the whole, standard format */
    uint64_t minsigstksz;                      /* AT_MINSIGSTKSZ: what a request wants of each altstack */
    uint64_t altstack_floor; /* with permission, sigaltstack() wants more than this many bytes */
    int la57;                /* paging with five levels: which addresses are canonical */
    /* Copies to memory of the process: 0 or -EFAULT. */
    int (*put_user)(uint64_t address, uint64_t value);
};

struct kernel_model_task;

struct kernel_model_process {
    const struct kernel_model_machine *machine;
    _Atomic uint64_t permission; /* the host's; read by tile instructions of any thread */
    uint64_t guest_permission;
    int guest_locked; /* FPU_GUEST_PERM_LOCKED */
    struct kernel_model_task *tasks;
};

/* A thread. */
struct kernel_model_task {
    struct kernel_model_process *process;
    struct kernel_model_task *next; /* of the same process */
    uint64_t altstack_size;         /* 0: none */
    int expanded;                   /* fpstate_realloc() was done: signal frames have room for tile data */
    int data_live;                  /* XINUSE[18] */
    struct amxemu_state tiles;
};

/* An instruction's fault. Where it completed, signal is 0. */
struct kernel_model_fault {
    int signal, code; /* code is si_code */
    int at_insn;      /* si_addr is the instruction's address, else 0 */
};

/* exec, and the first program. */
void kernel_model_process_init(struct kernel_model_process *process,
                               const struct kernel_model_machine *machine);
void kernel_model_task_init(struct kernel_model_task *task, struct kernel_model_process *process);
/* clone: of a process; and of a task, into a process that may be its own. keeps_altstack: not CLONE_VM, or
 * CLONE_VFORK.
 */
void kernel_model_process_clone(const struct kernel_model_process *parent,
                                struct kernel_model_process *child);
void kernel_model_task_clone(const struct kernel_model_task *parent, struct kernel_model_task *child,
                             struct kernel_model_process *process, int keeps_altstack);
void kernel_model_task_exit(struct kernel_model_task *task);

/* The five operations; -EINVAL for others. */
long kernel_model_arch_prctl(struct kernel_model_process *process, int op, uint64_t argument);
/* Whether a stack of `size` may be set (0: disabling); the kernel's other reasons to refuse are not looked
 * at. */
long kernel_model_altstack(struct kernel_model_task *task, uint64_t size);
/* KVM_CREATE_VCPU: guest permission is final from now on. */
void kernel_model_create_vcpu(struct kernel_model_process *process);

/* Any AMX instruction; r->la57 is the machine's. Of a page fault, SIGSEGV SEGV_MAPERR, *at is the address;
 * else it is left alone. */
struct kernel_model_fault kernel_model_step(struct kernel_model_task *task, struct amxemu_registers *r,
                                            const struct amxemu_insn *insn,
                                            const struct amxemu_memory *memory, struct amxemu_fault *at);

/* Tile instructions on TMM0, TMM1, TMM2 with a row stride of 64; memory is the caller's own, and may fault
 * for real. */
struct kernel_model_fault kernel_model_ldtilecfg(struct kernel_model_task *task, const uint8_t config[64]);
void kernel_model_sttilecfg(const struct kernel_model_task *task, uint8_t config[64]);
void kernel_model_tilerelease(struct kernel_model_task *task);
struct kernel_model_fault kernel_model_tilezero(struct kernel_model_task *task);
struct kernel_model_fault kernel_model_tileloadd(struct kernel_model_task *task, const void *rows);
struct kernel_model_fault kernel_model_tilestored(struct kernel_model_task *task, void *rows);
struct kernel_model_fault kernel_model_tdpbssd(struct kernel_model_task *task);
/* The tile components of XRSTOR from an area in standard format. */
struct kernel_model_fault kernel_model_xrstor(struct kernel_model_task *task, const uint8_t *area,
                                              uint64_t features);
uint64_t kernel_model_xinuse(const struct kernel_model_task *task); /* bits 17 and 18 */

#endif
