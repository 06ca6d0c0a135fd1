/* The model of the kernel behind the table: which task is running, its system calls, and the machine.
 *
 * Tasks are found by their thread id, not in TLS: a CLONE_VM child shares its parent's TLS but has a tile
 * state and a permission of its own. Tile instructions take no lock, since a task's state is its own and its
 * process's permission one atomic word; everything else takes one lock with all signals blocked.
 */
#define _GNU_SOURCE /* gettid, CLONE_VM */
#include "provoke/kernel.h"
#include "provoke/kernels/model_frames.h"
#include "provoke/kernels/model_insn.h"
#include "provoke/kernels/model_state.h"
#include "provoke/harness/system.h"

#include "kernel_model/kernel_model.h"

#include <errno.h>
#include <linux/kvm.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The machine whose kernel was observed (docs/abi.md): without PKU, shadow stack and APX. Its vector
 * registers are this CPU's, since provocations load them: AVX and AVX-512 are there where they are here. */
enum {
    CONFIG_OFFSET = 2752,
    CONFIG_SIZE = 64,
    DATA_OFFSET = 2816,
    DATA_SIZE = 8192,
    XSAVE_SIZE = 11008,
    MINSIGSTKSZ_VALUE = 11952,
    ALTSTACK_FLOOR = 11836,
    KNOWN_FEATURES = 20,
    AT_MINSIGSTKSZ_TYPE = 51,
};
/* XCR0: x87 and SSE; the same, AVX, opmask and both parts of ZMM. */
enum { X87_SSE = 0x3, VECTORS = 0xe7 };
static const uint64_t tiles = XFEATURE_MASK_XTILECFG | XFEATURE_MASK_XTILEDATA;

static int put_user(uint64_t address, uint64_t value) {
    if (!address)
        return -EFAULT; /* below: no mask wanted */
    /* Writes the eight bytes of a signal mask there, or says EFAULT as put_user() would. */
    const long error = system_call(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)address, sizeof value, 0, 0);
    if (error)
        return (int)error;
    memcpy((void *)(uintptr_t)address, &value, sizeof value);
    return 0;
}

static struct kernel_model_machine machine = {
    .feature_count = KNOWN_FEATURES,
    .config_offset = CONFIG_OFFSET,
    .data_offset = DATA_OFFSET,
    .size = XSAVE_SIZE,
    .minsigstksz = MINSIGSTKSZ_VALUE,
    .altstack_floor = ALTSTACK_FLOOR,
    .put_user = put_user,
};

/* ---- who is running ----------------------------------------------------------------------------------- */

enum { TASKS = 256, PROCESSES = 64 };
static struct {
    _Atomic pid_t thread; /* 0: free */
    struct kernel_model_task task;
} tasks[TASKS];
static struct {
    pid_t pid; /* 0: free */
    struct kernel_model_process process;
} processes[PROCESSES];
static atomic_flag locked = ATOMIC_FLAG_INIT;

static pid_t thread_id(void) {
    return (pid_t)system_call(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

static pid_t process_id(void) {
    return (pid_t)system_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

static uint64_t lock(void) {
    const uint64_t all = UINT64_MAX;
    uint64_t previous;
    system_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&previous, sizeof all, 0, 0);
    while (atomic_flag_test_and_set(&locked))
        system_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    return previous;
}

static void unlock(uint64_t previous) {
    atomic_flag_clear(&locked);
    system_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&previous, 0, sizeof previous, 0, 0);
}

struct kernel_model_task *model_current(void) {
    const pid_t thread = thread_id();
    for (int i = 0; i < TASKS; i++)
        if (atomic_load_explicit(&tasks[i].thread, memory_order_relaxed) == thread)
            return &tasks[i].task;
    provoke_broken("the model knows no thread %d", (int)thread);
}

/* With the lock held. */
static struct kernel_model_task *new_task(void) {
    for (int i = 0; i < TASKS; i++)
        if (tasks[i].thread == 0) {
            tasks[i].thread = thread_id();
            return &tasks[i].task;
        }
    provoke_broken("more than %d threads", TASKS);
}

static struct kernel_model_process *new_process(void) {
    for (int i = 0; i < PROCESSES; i++)
        if (processes[i].pid == 0) {
            processes[i].pid = process_id();
            return &processes[i].process;
        }
    provoke_broken("more than %d processes in one memory", PROCESSES);
}

struct kernel_model_task *model_first_task(void) {
    return &tasks[0].task;
}

static void forget_task(struct kernel_model_task *task) {
    kernel_model_task_exit(task);
    for (int i = 0; i < TASKS; i++)
        if (&tasks[i].task == task)
            tasks[i].thread = 0;
}

static void forget_process(struct kernel_model_process *process) {
    for (int i = 0; i < PROCESSES; i++)
        if (&processes[i].process == process)
            processes[i].pid = 0;
}

/* ---- system calls ------------------------------------------------------------------------------------- */

static long model_arch_prctl(int op, uint64_t argument) {
    const uint64_t mask = lock();
    const long result = kernel_model_arch_prctl(model_current()->process, op, argument);
    unlock(mask);
    return result;
}

/* The real one is set as well: signals arrive on it, and it knows the rest of the rules. */
static long model_sigaltstack(const stack_t *set, stack_t *old) {
    const uint64_t mask = lock();
    struct kernel_model_task *const task = model_current();
    const uint64_t previous = task->altstack_size;
    long result = 0;
    if (set)
        result = kernel_model_altstack(task, set->ss_flags & SS_DISABLE ? 0 : set->ss_size);
    if (!result)
        result = provoke_real_kernel.sigaltstack(set, old);
    if (result)
        task->altstack_size = previous;
    unlock(mask);
    return result;
}

/* KVM itself is the real one, if any. */
static long model_ioctl(int fd, unsigned long request, void *argument) {
    const long result = provoke_real_kernel.ioctl(fd, request, argument);
    if (request == KVM_CREATE_VCPU && result >= 0) {
        const uint64_t mask = lock();
        kernel_model_create_vcpu(model_current()->process);
        unlock(mask);
    }
    return result;
}

/* What a new process starts from, taken before it exists. */
struct birth {
    struct kernel_model_process process;
    struct kernel_model_task task;
    int shares_memory, keeps_altstack;
    int (*child)(void *);
    void *argument;
};

static void conceive(struct birth *birth, uint64_t flags) {
    struct kernel_model_task *const parent = model_current();
    birth->process = *parent->process;
    birth->task = *parent;
    birth->shares_memory = (flags & CLONE_VM) != 0;
    birth->keeps_altstack = (flags & (CLONE_VM | CLONE_VFORK)) != CLONE_VM;
}

/* In the child, with the lock held. */
static void be_born(const struct birth *birth) {
    if (!birth->shares_memory) { /* what was copied are the parent's threads */
        for (int i = 0; i < TASKS; i++)
            tasks[i].thread = 0;
        for (int i = 0; i < PROCESSES; i++)
            processes[i].pid = 0;
    }
    struct kernel_model_process *const process = new_process();
    kernel_model_process_clone(&birth->process, process);
    kernel_model_task_clone(&birth->task, new_task(), process, birth->keeps_altstack);
}

static pid_t model_fork(void) {
    struct birth birth;
    const uint64_t mask = lock();
    conceive(&birth, 0);
    const pid_t pid = provoke_real_kernel.fork();
    if (pid == 0)
        be_born(&birth);
    unlock(mask);
    return pid;
}

static int run_child(void *argument) {
    const struct birth *const birth = argument;
    uint64_t mask;
    if (!birth->shares_memory)
        atomic_flag_clear(&locked); /* copied in whatever state another thread had it */
    mask = lock();
    be_born(birth);
    unlock(mask);
    const int status = birth->child(birth->argument);
    if (birth->shares_memory) {
        mask = lock();
        struct kernel_model_task *const task = model_current();
        struct kernel_model_process *const process = task->process;
        forget_task(task);
        forget_process(process);
        unlock(mask);
    }
    return status;
}

static pid_t model_clone_run(uint64_t flags, int (*child)(void *), void *argument) {
    struct birth *const birth = tool_map(sizeof *birth); /* outlives this call where memory is shared */
    birth->child = child;
    birth->argument = argument;
    const uint64_t mask = lock();
    conceive(birth, flags);
    unlock(mask);
    return provoke_real_kernel.clone_run(flags, run_child, birth);
}

static pid_t model_vfork_run(int (*child)(void *), void *argument) {
    return model_clone_run(CLONE_VM | CLONE_VFORK, child, argument);
}

struct thread_birth {
    struct kernel_model_task parent;
    struct kernel_model_process *process;
    void *(*run)(void *);
    void *argument;
};

static void *run_thread(void *argument) {
    struct thread_birth *const birth = argument;
    uint64_t mask = lock();
    kernel_model_task_clone(&birth->parent, new_task(), birth->process, 0);
    unlock(mask);
    void *const result = birth->run(birth->argument);
    mask = lock();
    forget_task(model_current());
    unlock(mask);
    free(birth);
    return result;
}

static int model_thread_start(uint64_t *thread, void *(*run)(void *), void *argument) {
    struct thread_birth *const birth = aligned_alloc(_Alignof(struct thread_birth), sizeof *birth);
    if (!birth)
        return ENOMEM;
    birth->parent = *model_current();
    birth->process = birth->parent.process;
    birth->run = run;
    birth->argument = argument;
    return provoke_real_kernel.thread_start(thread, run_thread, birth);
}

static uint64_t model_xinuse(void) {
    return (provoke_real_kernel.xinuse() & machine.features & ~tiles) | kernel_model_xinuse(model_current());
}

int model_expanded(void) {
    return model_current()->expanded;
}

/* ---- the machine -------------------------------------------------------------------------------------- */

static void model_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]) {
    enum { OSXSAVE = 1 << 27, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, AMX_INT8 = 1 << 25, XGETBV1 = 1 << 2 };
    static const uint32_t components[][4] = {
        [0] = {0, XSAVE_SIZE, XSAVE_SIZE, 0},
        [17] = {CONFIG_SIZE, CONFIG_OFFSET, 2, 0}, /* ECX[1]: aligned to 64 when compacted */
        [18] = {DATA_SIZE, DATA_OFFSET, 6, 0},     /* ECX[2]: XFD */
    };
    provoke_real_kernel.cpuid(leaf, subleaf, registers);
    if (leaf == 0 && registers[0] < 0x1e)
        registers[0] = 0x1e;
    if (leaf == 1)
        registers[2] |= OSXSAVE;
    if (leaf == 7 && subleaf == 0)
        registers[3] |= AMX_BF16 | AMX_TILE | AMX_INT8;
    if (leaf == 0xd && (subleaf == 0 || subleaf == 17 || subleaf == 18))
        memcpy(registers, components[subleaf], sizeof *components);
    if (leaf == 0xd && subleaf == 0)
        registers[0] = (uint32_t)machine.features;
    if (leaf == 0xd && subleaf == 1)
        registers[0] |= XGETBV1;
    if (leaf == 0x1d || leaf == 0x1e) {
        static const uint32_t palettes[4] = {1}, palette1[4] = {8192 | 1024u << 16, 64 | 8 << 16, 16};
        static const uint32_t tmul[4] = {0, 16 | 64 << 8};
        memset(registers, 0, sizeof palettes);
        if (leaf == 0x1d && subleaf <= 1)
            memcpy(registers, subleaf ? palette1 : palettes, sizeof palettes);
        if (leaf == 0x1e && subleaf == 0)
            memcpy(registers, tmul, sizeof tmul);
    }
}

static uint64_t model_xcr0(void) {
    return machine.features;
}

static uint64_t model_auxv(uint64_t type) {
    return type == AT_MINSIGSTKSZ_TYPE ? MINSIGSTKSZ_VALUE : provoke_real_kernel.auxv(type);
}

const struct kernel *provoke_model_kernel(void) {
    static struct kernel model;
    model = provoke_real_kernel;
    model.arch_prctl = model_arch_prctl;
    model.sigaltstack = model_sigaltstack;
    model.fork = model_fork;
    model.vfork_run = model_vfork_run;
    model.clone_run = model_clone_run;
    model.thread_start = model_thread_start;
    model.xinuse = model_xinuse;
    model.ioctl = model_ioctl;
    model.cpuid = model_cpuid;
    model.xcr0 = model_xcr0;
    model.auxv = model_auxv;
    model_add_insns(&model);
    model_add_state(&model);
    model_add_frames(&model);

    machine.features = X87_SSE | (provoke_real_kernel.xcr0() & VECTORS) | tiles;
    const uint64_t mask = lock();
    struct kernel_model_process *const process = new_process();
    kernel_model_process_init(process, &machine);
    kernel_model_task_init(new_task(), process);
    unlock(mask);
    return &model;
}
