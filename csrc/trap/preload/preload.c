/* libamxemu.so's beginning: preloaded into a program, it emulates AMX from before the program's other
 * constructors until its end.
 *
 * Environment: AMX_EMULATE_CPU, the model; without it the library does nothing. AMX_EMULATE_PATCH, 0: every
 * instruction traps. AMX_EMULATE_ANNOUNCE, features (announce.h). AMX_EMULATE_TRACE, a directory.
 * AMX_EMULATE_REPORT, a file (preload/report.h).
 */
#define _GNU_SOURCE
#include "trap/answers/announce.h"
#include "trap/answers/cpuid.h"
#include "trap/preload/interpose.h"
#include "trap/answers/objects.h"
#include "trap/patch/patch.h"
#include "trap/preload/report.h"
#include "trap/preload/seccomp.h"
#include "trap/signals/signals.h"
#include "machine/traced.h"
#include "trap/trap.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* amx_trap_start() of _native finds it, and does not start a second emulation. */
__attribute__((visibility("default"))) extern const int amx_emulated_by_launcher;
const int amx_emulated_by_launcher = 1;

/* amx_trap_count() of _native asks it. */
__attribute__((visibility("default"))) void amx_launched_count(struct amx_trap_counts *counts);
void amx_launched_count(struct amx_trap_counts *counts) {
    trap_count(counts);
}

enum { EXIT_CANNOT_EMULATE = 125 }; /* as env and timeout have it: not the program's own status */

__attribute__((noreturn)) static void give_up(const char *what, int error) {
    fprintf(stderr, "amx emulate: %s: %s\n", what, strerror(error));
    _exit(EXIT_CANNOT_EMULATE);
}

/* A child that changed its user or its root may not write where its parent does: it is emulated all the same.
 */
static void go_on_unrecorded(const char *where, int error) {
    fprintf(stderr, "amx emulate: %s: %s. This process is not recorded.\n", where, strerror(error));
}

static int start(struct amx_trap_options options) {
    trap_patch_generated();
    const int error = trap_start(&options, 1);
    if (error == 0 || options.trace == NULL)
        return error;
    const char *const trace = options.trace;
    options.trace = NULL;
    const int error_without = trap_start(&options, 1);
    if (error_without == 0)
        go_on_unrecorded(trace, -error);
    return error_without;
}

/* A program may be started with signals blocked. */
static void unblock(void) {
    static const int ours[] = {SIGILL, SIGTRAP, SIGBUS, SIGSEGV, SIGSYS};
    sigset_t none, before;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (sigismember(&before, ours[i])) {
            *trap_believed_blocked() |= UINT64_C(1) << (ours[i] - 1);
            sigaddset(&none, ours[i]);
        }
    pthread_sigmask(SIG_UNBLOCK, &none, NULL);
}

/* Whether this is the copy whose functions the program calls: another one may have been preloaded before it,
 * or this one loaded by name. */
static int is_first(void) {
    static const char here;
    Dl_info first, own;
    const void *const found = dlsym(RTLD_DEFAULT, "amx_emulated_by_launcher");
    return found == NULL || dladdr(found, &first) == 0 || dladdr(&here, &own) == 0 ||
           first.dli_fbase == own.dli_fbase;
}

/* `environment` is that of the process's stack. */
static void begin(char **environment) {
    interpose_start();
    if (environ == NULL)
        environ = environment;
    const char *const cpu = getenv("AMX_EMULATE_CPU"), *const patch = getenv("AMX_EMULATE_PATCH");
    if (cpu == NULL || !is_first())
        return;
    const struct amx_trap_options options = {
        .cpu = cpu,
        .patch = patch == NULL || strcmp(patch, "0") != 0,
        .trace = getenv("AMX_EMULATE_TRACE"),
        .hybrid = -1,
    };
    if (trap_is_traced()) /* AMX is there */
        return;
    interpose_keep(environ);
    unblock();
    int error = announce_start(getenv("AMX_EMULATE_ANNOUNCE"));
    if (error)
        give_up(getenv("AMX_EMULATE_ANNOUNCE"), -error);
    error = start(options);
    if (error)
        give_up(error == -EINVAL ? cpu : "the emulation cannot begin", -error);
    if (seccomp_start() != 0)
        interpose_arch_prctl();
    interpose_auxv(environment);
    cpuid_start();
    objects_start(cpuid_trap_image);
    error = report_start(getenv("AMX_EMULATE_REPORT"));
    if (error)
        go_on_unrecorded(getenv("AMX_EMULATE_REPORT"), -error);
}

#ifdef __GLIBC__

/* Its dynamic linker gives constructors main's arguments. This one runs before libc's own, which sets
 * `environ`. */
__attribute__((constructor)) static void construct(int argc, char **argv, char **environment) {
    (void)argc, (void)argv;
    begin(environment);
}

#else

__attribute__((constructor)) static void construct(void) {
    begin(environ);
}

#endif
