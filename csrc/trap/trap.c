#define _GNU_SOURCE /* RTLD_DEFAULT */
#include "trap/trap.h"

#include "machine/stand_in.h"
#include "trap/answers/answers.h"
#include "trap/cpu/emulated.h"
#include "trap/cpu/virtual_cpu.h"
#include "trap/host/cpu.h"
#include "machine/traced.h"
#include "trap/patch/patch.h"
#include "trap/signals/signals.h"
#include "trap/signals/traps.h"
#include "trap/thread/frame.h"
#include "trap/thread/native_config.h"
#include "trap/thread/thread.h"
#include "trap/trace/trace.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ARCH_GET_XCOMP_PERM = 0x1022 };
enum { XTILECFG = 1 << 17, XTILEDATA = 1 << 18 };

static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;
static struct amxemu_cpu virtual; /* what trap_cpu() gives */
static const struct machine_stand_in stand_in = {amx_trap_xgetbv, amx_trap_arch_prctl, trap_sigaction,
                                                 trap_handle};

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
    const uint64_t xcr0 = xgetbv_of_host(XGETBV_XCR0);
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
    trap_threads_reset(answers_start(xcr0, whole_program));
    const int hybrid = options->hybrid < 0 ? has_tiles : options->hybrid;
    error = options->trace ? trap_trace_open(options->trace) : 0;
    if (error != 0)
        return error;
    error = trap_patch_start(options->patch, hybrid);
    if (error != 0) {
        trap_trace_close();
        return error;
    }
    virtual = virtual_cpu(model, xcr0);
    trap_set_cpu(&virtual, hybrid);
    error = trap_signals_start(whole_program);
    if (error == 0) {
        machine_set_stand_in(&stand_in);
        return 0;
    }
    trap_set_cpu(NULL, hybrid);
    trap_patch_stop();
    trap_trace_close();
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
        machine_set_stand_in(NULL);
        trap_set_cpu(NULL, 0);
        trap_trace_close();
        error = 0;
    }
    pthread_mutex_unlock(&starting);
    return error;
}

/* ---- counts ---- */

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
