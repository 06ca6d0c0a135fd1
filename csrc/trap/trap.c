#define _GNU_SOURCE /* RTLD_DEFAULT */
#include "trap/trap.h"

#include "trap/host/address.h"
#include "trap/thread/altstack.h"
#include "trap/answers/cpuid.h"
#include "trap/thread/frame.h"
#include "trap/thread/memory.h"
#include "trap/thread/native_config.h"
#include "trap/patch/patch.h"
#include "trap/signals/signals.h"
#include "trap/thread/thread.h"
#include "trap/trace/trace.h"
#include "trap/host/traced.h"
#include "trap/cpu/virtual_cpu.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ARCH_GET_XCOMP_PERM = 0x1022 };
enum { MINSIGSTKSZ_TYPE = 51 }; /* AT_MINSIGSTKSZ, which older headers lack */
enum { XTILECFG = 1 << 17, XTILEDATA = 1 << 18 };

static _Atomic(const struct amxemu_cpu *) cpu;
static atomic_int hybrid;
static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;
struct trap_answers trap_answers;

const struct amxemu_cpu *trap_cpu(void) {
    return atomic_load_explicit(&cpu, memory_order_acquire);
}

int trap_is_hybrid(void) {
    return atomic_load_explicit(&hybrid, memory_order_relaxed);
}

/* ---- the modelled machine ---- */

static int put_user(uint64_t address, uint64_t value) {
    return trap_own_memory.write(NULL, address, &value, sizeof value) == sizeof value ? 0 : -EFAULT;
}

static uint64_t host_xcr0; /* 0 without XSAVE */
static struct kernel_model_machine machine;
static struct amxemu_cpu virtual; /* which `cpu` points to */

enum { XCR0 = 0, XINUSE = 1 };

/* XCR0 or XINUSE of this CPU; 0 where it cannot tell. */
static uint64_t host_xgetbv(uint32_t index) {
    enum { OSXSAVE = 1 << 27, XSTATE_LEAF = 0xD, XGETBV_1 = 1 << 2 };
    uint32_t r[4], eax, edx;
    cpuid_of_host(1, 0, r);
    if (!(r[2] & OSXSAVE))
        return 0;
    if (index == XINUSE) {
        cpuid_of_host(XSTATE_LEAF, 1, r);
        if (!(r[0] & XGETBV_1))
            return 0;
    }
    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(index));
    return (uint64_t)edx << 32 | eax;
}

static int tile_data_is_permitted(void) {
    uint64_t permitted = 0;
    return syscall(SYS_arch_prctl, ARCH_GET_XCOMP_PERM, &permitted) == 0 && permitted & XTILEDATA;
}

/* ---- start and stop ---- */

static const struct amxemu_cpu *find_cpu(const char *name) {
    const struct amxemu_cpu *found;
    for (unsigned i = 0; name != NULL && (found = amxemu_cpu_model(i)) != NULL; i++)
        if (strcmp(found->name, name) == 0)
            return found;
    return NULL;
}

int amx_is_launched(void) {
    return dlsym(RTLD_DEFAULT, "amx_emulated_by_launcher") != NULL;
}

static int start(const struct amx_trap_options *options, const struct amxemu_cpu *model, int whole_program) {
    const uint64_t xcr0 = host_xgetbv(XCR0);
    const int has_tiles = (xcr0 & (XTILECFG | XTILEDATA)) == (XTILECFG | XTILEDATA);
    if (trap_cpu() != NULL)
        return -EALREADY;
    /* exec took the permission from a whole program, and a filter may be between it and the kernel already */
    if (!whole_program && has_tiles && tile_data_is_permitted())
        return -EPERM;
    int error = trap_threads_at_fork();
    if (error != 0)
        return error;
    /* Both ask CPUID, which a handler should not. */
    trap_frame_prepare();
    amxemu_selected_path();
    trap_native_config_prepare(has_tiles);
    machine = virtual_machine(xcr0, address_la57(), put_user);
    if (!whole_program) /* the frames are the host's, and so is what other code reads of their size */
        machine.minsigstksz = getauxval(MINSIGSTKSZ_TYPE);
    trap_threads_reset(&machine);
    trap_answers.cpuid = trap_answers.xgetbv = trap_answers.arch_prctl = 0;
    hybrid = options->hybrid < 0 ? has_tiles : options->hybrid;
    error = options->trace ? trap_trace_open(options->trace) : 0;
    if (error != 0)
        return error;
    error = trap_patch_start(options->patch, hybrid);
    if (error != 0) {
        trap_trace_close();
        return error;
    }
    host_xcr0 = xcr0;
    virtual = virtual_cpu(model, xcr0);
    atomic_store_explicit(&cpu, &virtual, memory_order_release);
    error = trap_signals_start(whole_program);
    if (error != 0) {
        atomic_store(&cpu, NULL);
        trap_patch_stop();
        trap_trace_close();
    }
    return error;
}

int trap_start(const struct amx_trap_options *options, int whole_program) {
    const struct amxemu_cpu *const model = find_cpu(options->cpu);
    if (model == NULL)
        return -EINVAL;
    pthread_mutex_lock(&starting);
    const int error = start(options, model, whole_program);
    pthread_mutex_unlock(&starting);
    return error;
}

int amx_trap_start(const struct amx_trap_options *options) {
    return amx_is_launched() || trap_is_traced() ? -EALREADY : trap_start(options, 0);
}

int amx_trap_stop(void) {
    int error = -ESRCH;
    pthread_mutex_lock(&starting);
    if (trap_cpu() != NULL) {
        trap_patch_stop();
        trap_signals_stop();
        atomic_store(&cpu, NULL);
        trap_trace_close();
        error = 0;
    }
    pthread_mutex_unlock(&starting);
    return error;
}

/* ---- questions ---- */

void trap_count(struct amx_trap_counts *counts) {
    memset(counts, 0, sizeof *counts);
    const uint64_t lock = trap_lock();
    for (const struct trap_thread *thread = trap_first_thread(); thread != NULL; thread = thread->next) {
        counts->instructions += thread->instructions;
        counts->traps += thread->traps;
        counts->faults += thread->faults;
    }
    trap_unlock(lock);
    trap_patch_count(counts);
    counts->cpuid = trap_answers.cpuid;
    counts->xgetbv = trap_answers.xgetbv;
    counts->arch_prctl = trap_answers.arch_prctl;
}

void amx_trap_count(struct amx_trap_counts *counts) {
    void (*const of_launcher)(struct amx_trap_counts *) =
        (void (*)(struct amx_trap_counts *))dlsym(RTLD_DEFAULT, "amx_launched_count");
    (of_launcher ? of_launcher : trap_count)(counts);
}

int amx_trap_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]) {
    static _Atomic uint32_t highest; /* leaf; asked once, since asking may cost an exit to the hypervisor */
    uint32_t host[4];
    const struct amxemu_cpu *const model = trap_cpu();
    if (model == NULL)
        return -ESRCH;
    if (highest == 0) {
        cpuid_of_host(0, 0, host);
        highest = host[0];
    }
    cpuid_of_host(leaf, subleaf, host);
    virtual_cpuid(model, leaf, subleaf, host, highest, host_xcr0, registers);
    return 0;
}

int trap_xgetbv(uint32_t index, const ucontext_t *context, uint64_t *value) {
    if (trap_cpu() == NULL)
        return -ESRCH;
    if (index != XCR0 && index != XINUSE)
        return -EINVAL;
    const struct trap_thread *const thread = trap_thread();
    if (thread == NULL)
        return -ENOMEM;
    if (index == XCR0) {
        *value = machine.features;
        return 0;
    }
    const uint64_t here = host_xgetbv(XINUSE), host = context ? trap_frame_xinuse(context, here) : here;
    *value = virtual_xinuse(host, kernel_model_xinuse(&thread->task));
    return 0;
}

int amx_trap_xgetbv(uint32_t index, uint64_t *value) {
    return trap_xgetbv(index, NULL, value);
}

int amx_trap_arch_prctl(int op, uint64_t argument) {
    if (trap_cpu() == NULL)
        return -ESRCH;
    trap_note_altstack();
    const uint64_t lock = trap_lock();
    trap_threads_reap();
    const int result = (int)kernel_model_arch_prctl(trap_process(), op, argument);
    trap_unlock(lock);
    return result;
}
