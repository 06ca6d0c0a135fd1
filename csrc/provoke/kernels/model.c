/* The model of the kernel behind the table: its machine, and the system calls that neither begin nor end a
 * task. */
#include "provoke/kernels/kernels.h"
#include "provoke/kernels/model_births.h"
#include "provoke/kernels/model_frames.h"
#include "provoke/kernels/model_insn.h"
#include "provoke/kernels/model_state.h"
#include "provoke/kernels/model_tasks.h"
#include "provoke/harness/system.h"

#include "kernel_model/kernel_model.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>

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

/* ---- system calls ------------------------------------------------------------------------------------- */

static long model_arch_prctl(int op, uint64_t argument) {
    const uint64_t mask = model_lock();
    const long result = kernel_model_arch_prctl(model_current()->process, op, argument);
    model_unlock(mask);
    return result;
}

/* The real one is set as well: signals arrive on it, and it knows the rest of the rules. */
static long model_sigaltstack(const stack_t *set, stack_t *old) {
    const uint64_t mask = model_lock();
    struct kernel_model_task *const task = model_current();
    const uint64_t previous = task->altstack_size;
    long result = 0;
    if (set)
        result = kernel_model_altstack(task, set->ss_flags & SS_DISABLE ? 0 : set->ss_size);
    if (!result)
        result = provoke_real_kernel.sigaltstack(set, old);
    if (result)
        task->altstack_size = previous;
    model_unlock(mask);
    return result;
}

/* KVM itself is the real one, if any. */
static long model_ioctl(int fd, unsigned long request, void *argument) {
    const long result = provoke_real_kernel.ioctl(fd, request, argument);
    if (request == KVM_CREATE_VCPU && result >= 0) {
        const uint64_t mask = model_lock();
        kernel_model_create_vcpu(model_current()->process);
        model_unlock(mask);
    }
    return result;
}

static uint64_t model_xinuse(void) {
    return (provoke_real_kernel.xinuse() & machine.features & ~tiles) | kernel_model_xinuse(model_current());
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

static int model_xrstor_reaches_tiles(void) {
    return 1;
}

const struct kernel *provoke_model_kernel(void) {
    static struct kernel model;
    model = provoke_real_kernel;
    model.arch_prctl = model_arch_prctl;
    model.sigaltstack = model_sigaltstack;
    model.xinuse = model_xinuse;
    model.ioctl = model_ioctl;
    model.cpuid = model_cpuid;
    model.xcr0 = model_xcr0;
    model.auxv = model_auxv;
    model.xrstor_reaches_tiles = model_xrstor_reaches_tiles;
    model_add_births(&model);
    model_add_insns(&model);
    model_add_state(&model);
    model_add_frames(&model);

    machine.features = X87_SSE | (provoke_real_kernel.xcr0() & VECTORS) | tiles;
    const uint64_t mask = model_lock();
    struct kernel_model_process *const process = model_new_process();
    kernel_model_process_init(process, &machine);
    kernel_model_task_init(model_new_task(), process);
    model_unlock(mask);
    return &model;
}
