/* amx-provoke list | faults | run ID [--model] [--fault NAME]: one provocation of the kernel a process, and
 * what was seen as JSON lines on standard output.
 *
 * Everything here and below is libc and system calls: the program runs statically linked in an initramfs.
 */
#define _GNU_SOURCE /* NSIG */
#include "provoke/checks/checks.h"
#include "provoke/faults/faults.h"
#include "provoke/kernels/kernels.h"
#include "provoke/harness/see.h"
#include "provoke/harness/stage.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static const struct provocation *const groups[] = {
    provoke_disc, provoke_perm, provoke_inh, provoke_fault, provoke_alt,
    provoke_sig,  provoke_sret, provoke_ptr, provoke_core,  provoke_ctx,
    provoke_life, provoke_kvm,  provoke_sbx, provoke_xs,    provoke_isa,
};
enum { GROUPS = sizeof groups / sizeof *groups };

enum { EXIT_USAGE = 2 };

static int usage(void) {
    fputs(
        "usage: amx-provoke list\n"
        "       amx-provoke faults\n"
        "       amx-provoke run ID [--model] [--fault NAME]\n"
        "One provocation of the kernel's AMX interface; what it saw is one JSON object a line, the last of "
        "a\n"
        "complete run {\"end\": true}. --model puts a model of the kernel and of the tiles in their place,\n"
        "--fault a deliberate fault over either. Exit status: 0 complete, 77 cannot be provoked here\n"
        "({\"cannot\": reason}), 70 the program itself failed ({\"broken\": reason}), 2 usage.\n",
        stderr);
    return EXIT_USAGE;
}

static int list(void) {
    for (size_t g = 0; g < GROUPS; g++)
        for (const struct provocation *p = groups[g]; p->id; p++)
            see_provocation(p->id, p->what, p->needs_real_frames);
    return 0;
}

static const struct provocation *find(const char *wanted) {
    for (size_t g = 0; g < GROUPS; g++)
        for (const struct provocation *p = groups[g]; p->id; p++)
            if (!strcmp(p->id, wanted))
                return p;
    return NULL;
}

static void raise_limit(int resource, rlim_t enough) {
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0 || limit.rlim_cur >= enough)
        return;
    limit.rlim_cur = limit.rlim_max < enough ? limit.rlim_max : enough;
    setrlimit(resource, &limit);
}

/* What exec keeps of the caller's signal state and limits would be in the way. */
static void start_afresh(void) {
    enum { STACK = 8 * 1024 * 1024 };
    struct sigaction by_default = {.sa_handler = SIG_DFL};
    sigset_t none;
    for (int signo = 1; signo < NSIG; signo++)
        sigaction(signo, &by_default, NULL); /* refused for SIGKILL, SIGSTOP and libc's own */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);

    /* As much as the hard limits give. */
    static const int limited[] = {RLIMIT_AS,     RLIMIT_DATA,  RLIMIT_FSIZE,
                                  RLIMIT_NOFILE, RLIMIT_NPROC, RLIMIT_SIGPENDING};
    for (size_t i = 0; i < sizeof limited / sizeof *limited; i++)
        raise_limit(limited[i], RLIM_INFINITY);
    raise_limit(RLIMIT_STACK, STACK);

    /* 1 is less than any core file and makes fs/coredump.c refuse to start a core_pattern's pipe. */
    struct rlimit core;
    getrlimit(RLIMIT_CORE, &core);
    if (core.rlim_max >= 1) {
        core.rlim_cur = 1;
        setrlimit(RLIMIT_CORE, &core);
    }
}

static int run(char *arguments[]) {
    if (!arguments[0])
        return usage();
    char *const id = arguments[0], *fault = NULL;
    const char *stage = NULL;
    int on_model = 0;
    for (char **option = arguments + 1; *option; option++) {
        if (!strcmp(*option, "--model"))
            on_model = 1;
        else if (!strcmp(*option, "--fault") && option[1])
            fault = *++option;
        else if (!strcmp(*option, "--stage") && option[1]) /* of stage_exec() alone */
            stage = *++option;
        else
            return usage();
    }
    const struct provocation *const provocation = find(id);
    if (!provocation) {
        fprintf(stderr, "amx-provoke: no provocation %s; `amx-provoke list` names them\n", id);
        return EXIT_USAGE;
    }
    const struct kernel *kernel = on_model ? provoke_model_kernel() : &provoke_real_kernel;
    if (fault && !(kernel = provoke_faulty_kernel(kernel, fault))) {
        fprintf(stderr, "amx-provoke: no fault %s; `amx-provoke faults` names them\n", fault);
        return EXIT_USAGE;
    }
    stage_enter(stage, id, on_model, fault);
    start_afresh();
    if (on_model && provocation->needs_real_frames)
        provoke_cannot("only a real kernel shows this, not the model");
    provocation->run(kernel);
    provoke_end();
}

int main(int argc, char *argv[]) {
    if (argc == 2 && !strcmp(argv[1], "list"))
        return list();
    if (argc == 2 && !strcmp(argv[1], "faults")) {
        provoke_list_faults();
        return 0;
    }
    if (argc >= 3 && !strcmp(argv[1], "run"))
        return run(argv + 2);
    return usage();
}
