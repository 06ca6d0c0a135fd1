#include "kernel_model/kernel_model.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

enum {
    ARCH_GET_XCOMP_SUPP = 0x1021,
    ARCH_GET_XCOMP_PERM = 0x1022,
    ARCH_REQ_XCOMP_PERM = 0x1023,
    ARCH_GET_XCOMP_GUEST_PERM = 0x1024,
    ARCH_REQ_XCOMP_GUEST_PERM = 0x1025,
    XFEATURE_XTILECFG = 17,
    XFEATURE_XTILEDATA = 18,
    MINSIGSTKSZ_X86 = 2048,
    XSTATE_BV = 512, /* in an XSAVE area */
    ROW_STRIDE = 64,
};
#define XFEATURE_MASK_XTILECFG  (UINT64_C(1) << XFEATURE_XTILECFG)
#define XFEATURE_MASK_XTILEDATA (UINT64_C(1) << XFEATURE_XTILEDATA)

/* ---- processes and threads --------------------------------------------------------------------------------
 */

void kernel_model_process_init(struct kernel_model_process *process,
                               const struct kernel_model_machine *machine) {
    const uint64_t by_default = machine->features & ~XFEATURE_MASK_XTILEDATA;
    process->machine = machine;
    process->permission = by_default;
    process->guest_permission = by_default;
    process->guest_locked = 0;
    process->tasks = NULL;
}

static void join(struct kernel_model_task *task, struct kernel_model_process *process) {
    task->process = process;
    task->next = process->tasks;
    process->tasks = task;
}

void kernel_model_task_init(struct kernel_model_task *task, struct kernel_model_process *process) {
    memset(task, 0, sizeof *task);
    join(task, process);
}

/* fpu_inherit_perms(): the lock of the guest permission included. */
void kernel_model_process_clone(const struct kernel_model_process *parent,
                                struct kernel_model_process *child) {
    *child = *parent;
    child->tasks = NULL;
}

/* fpu_clone() saves the default features only: the configuration goes over, the data does not. */
void kernel_model_task_clone(const struct kernel_model_task *parent, struct kernel_model_task *child,
                             struct kernel_model_process *process, int keeps_altstack) {
    *child = *parent;
    memset(child->tiles.tile, 0, sizeof child->tiles.tile);
    child->expanded = 0;
    child->data_live = 0;
    if (!keeps_altstack)
        child->altstack_size = 0;
    join(child, process);
}

void kernel_model_task_exit(struct kernel_model_task *task) {
    struct kernel_model_task **link = &task->process->tasks;
    while (*link && *link != task)
        link = &(*link)->next;
    if (*link)
        *link = task->next;
}

/* ---- permission -------------------------------------------------------------------------------------------
 */

static long request(struct kernel_model_process *process, uint64_t component, int guest) {
    const struct kernel_model_machine *const machine = process->machine;
    if (component >= machine->feature_count)
        return -EINVAL;
    if (component != XFEATURE_XTILEDATA || !(machine->features & XFEATURE_MASK_XTILEDATA))
        return -EOPNOTSUPP;
    if ((guest ? process->guest_permission : process->permission) & XFEATURE_MASK_XTILEDATA)
        return 0; /* altstacks are not looked at again, nor the lock */
    if (guest) {
        if (process->guest_locked)
            return -EBUSY;
        process->guest_permission |= XFEATURE_MASK_XTILEDATA;
        return 0;
    }
    for (const struct kernel_model_task *task = process->tasks; task; task = task->next)
        if (task->altstack_size && task->altstack_size < machine->minsigstksz)
            return -ENOSPC;
    process->permission |= XFEATURE_MASK_XTILEDATA;
    return 0;
}

long kernel_model_arch_prctl(struct kernel_model_process *process, int op, uint64_t argument) {
    const struct kernel_model_machine *const machine = process->machine;
    switch (op) {
    case ARCH_GET_XCOMP_SUPP:
        return machine->put_user(argument, machine->features);
    case ARCH_GET_XCOMP_PERM:
        return machine->put_user(argument, process->permission);
    case ARCH_GET_XCOMP_GUEST_PERM:
        return machine->put_user(argument, process->guest_permission);
    case ARCH_REQ_XCOMP_PERM:
        return request(process, argument, 0);
    case ARCH_REQ_XCOMP_GUEST_PERM:
        return request(process, argument, 1);
    default:
        return -EINVAL;
    }
}

long kernel_model_altstack(struct kernel_model_task *task, uint64_t size) {
    const struct kernel_model_process *const process = task->process;
    if (size) {
        if (size < MINSIGSTKSZ_X86)
            return -ENOMEM;
        if (process->permission & XFEATURE_MASK_XTILEDATA && size <= process->machine->altstack_floor)
            return -ENOMEM;
    }
    task->altstack_size = size;
    return 0;
}

void kernel_model_create_vcpu(struct kernel_model_process *process) {
    process->guest_locked = 1; /* fpu_lock_guest_permissions() */
}

/* ---- tile instructions ------------------------------------------------------------------------------------
 */

static const struct kernel_model_fault completed;

static size_t refuse_read(void *context, uint64_t address, void *to, size_t size) {
    (void)context, (void)address, (void)to, (void)size;
    return 0;
}

static size_t refuse_write(void *context, uint64_t address, const void *from, size_t size) {
    (void)context, (void)address, (void)from, (void)size;
    return 0;
}

static struct kernel_model_fault fault_of(enum amxemu_outcome outcome) {
    switch (outcome) {
    case AMXEMU_UD:
        return (struct kernel_model_fault){SIGILL, ILL_ILLOPN, 1};
    case AMXEMU_GP:
        return (struct kernel_model_fault){SIGSEGV, SI_KERNEL, 0};
    case AMXEMU_SS:
        return (struct kernel_model_fault){SIGBUS, SI_KERNEL, 0};
    case AMXEMU_PF:
        return (struct kernel_model_fault){SIGSEGV, SEGV_MAPERR, 0};
    default:
        return completed;
    }
}

static int reads_data_only(enum amxemu_op op) {
    return op == AMXEMU_TILESTORED || op >= AMXEMU_TILEMOVROW;
}

/* #UD comes before #NM, and #NM before any access to memory (SDM vol. 1, 13.14). Without permission the data
 * is zero, and stays so whatever the instruction does. */
static struct kernel_model_fault refuse(struct kernel_model_task *task, struct amxemu_registers *r,
                                        const struct amxemu_insn *insn) {
    static const struct amxemu_memory inaccessible = {refuse_read, refuse_write, NULL};
    struct amxemu_state *const tiles = &task->tiles;
    const uint64_t rip = r->rip;
    const uint8_t start_row = tiles->start_row;
    if (amxemu_step(tiles, r, insn, &inaccessible, NULL) == AMXEMU_UD)
        return fault_of(AMXEMU_UD);
    r->rip = rip;
    tiles->start_row = start_row;
    return (struct kernel_model_fault){SIGILL, ILL_ILLOPC, 1};
}

struct kernel_model_fault kernel_model_step(struct kernel_model_task *task, struct amxemu_registers *r,
                                            const struct amxemu_insn *insn,
                                            const struct amxemu_memory *memory, struct amxemu_fault *at) {
    const int configures =
        insn->op == AMXEMU_LDTILECFG || insn->op == AMXEMU_STTILECFG || insn->op == AMXEMU_TILERELEASE;
    r->la57 = task->process->machine->la57;
    if (!configures && !(task->process->permission & XFEATURE_MASK_XTILEDATA))
        return refuse(task, r, insn);
    const enum amxemu_outcome outcome = amxemu_step(&task->tiles, r, insn, memory, at);
    if (configures) {
        if (outcome == AMXEMU_OK && insn->op != AMXEMU_STTILECFG)
            task->data_live = 0;
    } else if (outcome != AMXEMU_UD) {
        task->expanded = 1;
        if (!reads_data_only(insn->op))
            task->data_live = 1;
    }
    return fault_of(outcome);
}

static struct kernel_model_fault data_insn(struct kernel_model_task *task, enum amxemu_op op, uint64_t rows) {
    enum { RAX = 0, RCX = 1 };
    const struct amxemu_insn insn = {.op = op, .a = 1, .b = 2, .base = RAX, .index = RCX, .segment = -1};
    struct amxemu_registers r = {.gpr = {[RAX] = rows, [RCX] = ROW_STRIDE}};
    return kernel_model_step(task, &r, &insn, &amxemu_direct_memory, NULL);
}

struct kernel_model_fault kernel_model_ldtilecfg(struct kernel_model_task *task, const uint8_t config[64]) {
    const enum amxemu_outcome outcome = amxemu_ldtilecfg(&task->tiles, config);
    if (outcome == AMXEMU_OK)
        task->data_live = 0;
    return fault_of(outcome);
}

void kernel_model_sttilecfg(const struct kernel_model_task *task, uint8_t config[64]) {
    amxemu_sttilecfg(&task->tiles, config);
}

void kernel_model_tilerelease(struct kernel_model_task *task) {
    amxemu_tilerelease(&task->tiles);
    task->data_live = 0;
}

struct kernel_model_fault kernel_model_tilezero(struct kernel_model_task *task) {
    return data_insn(task, AMXEMU_TILEZERO, 0);
}

struct kernel_model_fault kernel_model_tileloadd(struct kernel_model_task *task, const void *rows) {
    return data_insn(task, AMXEMU_TILELOADD, (uintptr_t)rows);
}

struct kernel_model_fault kernel_model_tilestored(struct kernel_model_task *task, void *rows) {
    return data_insn(task, AMXEMU_TILESTORED, (uintptr_t)rows);
}

struct kernel_model_fault kernel_model_tdpbssd(struct kernel_model_task *task) {
    return data_insn(task, AMXEMU_TDPBSSD, 0);
}

static void restore_config(struct kernel_model_task *task, const uint8_t *image) {
    struct amxemu_state restored = {0};
    if (image && amxemu_ldtilecfg(&restored, image) != AMXEMU_OK)
        memset(&restored, 0, sizeof restored); /* XRSTOR of an invalid one never faults */
    memcpy(restored.tile, task->tiles.tile, sizeof restored.tile);
    task->tiles = restored;
}

struct kernel_model_fault kernel_model_xrstor(struct kernel_model_task *task, const uint8_t *area,
                                              uint64_t features) {
    const struct kernel_model_machine *const machine = task->process->machine;
    uint64_t present;
    memcpy(&present, area + XSTATE_BV, sizeof present);
    if (features & present & XFEATURE_MASK_XTILEDATA &&
        !(task->process->permission & XFEATURE_MASK_XTILEDATA))
        return (struct kernel_model_fault){SIGILL, ILL_ILLOPC, 1};
    if (features & XFEATURE_MASK_XTILECFG)
        restore_config(task, present & XFEATURE_MASK_XTILECFG ? area + machine->config_offset : NULL);
    if (features & XFEATURE_MASK_XTILEDATA) {
        task->data_live = (present & XFEATURE_MASK_XTILEDATA) != 0;
        task->expanded |= task->data_live;
        if (task->data_live)
            memcpy(task->tiles.tile, area + machine->data_offset, sizeof task->tiles.tile);
        else
            memset(task->tiles.tile, 0, sizeof task->tiles.tile);
    }
    return completed;
}

uint64_t kernel_model_xinuse(const struct kernel_model_task *task) {
    return (task->tiles.palette ? XFEATURE_MASK_XTILECFG : 0) |
           (task->data_live ? XFEATURE_MASK_XTILEDATA : 0);
}
