/* A program as a tracee: amx_ptrace_run.
 *
 * The tracer is a thread of its own. So it waits for no child but its tracees (__WNOTHREAD), and when it is
 * gone, however it ended, the kernel kills them (PTRACE_O_EXITKILL).
 */
#include "trap/ptrace/ptrace.h"

#include "machine/machine.h"
#include "trap/answers/announce.h"
#include "trap/cpu/virtual_cpu.h"
#include "trap/ptrace/run.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* ---- signals to the launcher are for the program ---- */

static const int forwarded[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
enum { FORWARDED = sizeof forwarded / sizeof *forwarded };

static struct tracer *_Atomic running;

/* What the terminal sends reaches the program by itself: it is in the same process group. */
static void forward(int number, siginfo_t *info, void *context) {
    (void)context;
    const int error = errno;
    const struct tracer *const tracer = atomic_load(&running);
    const pid_t pid = tracer ? tracer->first : 0;
    if (pid > 0 && info->si_code <= 0)
        kill(pid, number);
    errno = error;
}

static void set_forwarding(struct sigaction previous[FORWARDED]) {
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_RESTART};
    action.sa_sigaction = forward;
    for (int i = 0; i < FORWARDED; i++) {
        sigaction(forwarded[i], NULL, &previous[i]);
        if (previous[i].sa_handler != SIG_IGN) /* which the program inherits */
            sigaction(forwarded[i], &action, NULL);
    }
}

static void end_forwarding(const struct sigaction previous[FORWARDED]) {
    for (int i = 0; i < FORWARDED; i++)
        sigaction(forwarded[i], &previous[i], NULL);
}

/* ---- the tracer ---- */

struct run {
    const char *path;
    char *const *argv;
    char *const *envp;
    struct amxemu_cpu cpu; /* the tracer's */
    struct tracer tracer;
};

static void *trace(void *argument) {
    struct run *const run = argument;
    struct tracer *const tracer = &run->tracer;
    const pid_t pid = tracer_start(run->path, run->argv, run->envp, tracer);
    if (pid <= 0) { /* 0: killed before its first instruction */
        tracer->error = (int)pid;
        return NULL;
    }
    tracer->first = pid;
    tracer_serve(tracer);
    return NULL;
}

static int trace_in_thread(struct run *run) {
    struct sigaction previous[FORWARDED];
    sigset_t all, mask;
    pthread_t thread;

    set_forwarding(previous);
    sigfillset(&all); /* signals are for the other threads */
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    run->tracer.mask = mask;
    const int error = pthread_create(&thread, NULL, trace, run);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    if (!error)
        pthread_join(thread, NULL);
    end_forwarding(previous);
    return error ? -error : run->tracer.error;
}

static const struct amxemu_cpu *model_named(const char *name) {
    const struct amxemu_cpu *cpu;
    for (unsigned i = 0; (cpu = amxemu_cpu_model(i)); i++)
        if (strcmp(cpu->name, name) == 0)
            break;
    return cpu;
}

/* 0 without XGETBV. */
static uint64_t host_xcr0(void) {
    uint64_t xcr0;
    return amx_xgetbv(0, &xcr0) == 0 ? xcr0 : 0;
}

static int has_tiles(void) {
    return (host_xcr0() >> 17 & 3) == 3;
}

int amx_ptrace_run(const char *path, char *const argv[], char *const envp[],
                   const struct amx_trap_options *options, struct amx_trap_counts *counts, int *status) {
    struct run run = {.path = path, .argv = argv, .envp = envp};
    struct tracer *expected = NULL;

    *status = -1;
    const struct amxemu_cpu *const model = model_named(options->cpu);
    if (!model || announce_start(options->announce) != 0)
        return -EINVAL;
    run.cpu = virtual_cpu(model, host_xcr0());
    run.tracer.cpu = &run.cpu;
    run.tracer.tracing.directory = options->trace;
    run.tracer.status = -1;
    run.tracer.hybrid = options->hybrid < 0 ? has_tiles() : options->hybrid;
    if (!atomic_compare_exchange_strong(&running, &expected, &run.tracer))
        return -EBUSY;
    const int error = trace_in_thread(&run);
    atomic_store(&running, NULL);
    *counts = run.tracer.counts;
    counts->unrecorded = run.tracer.tracing.unrecorded;
    counts->unrecorded_error = (uint64_t)-run.tracer.tracing.error;
    *status = error && !run.tracer.has_begun ? -1 : run.tracer.status;
    return error;
}
