/* amx-provoke list | faults | run ID [--model] [--fault NAME]: one provocation of the kernel a process, and
 * what was seen as JSON lines on standard output. amx-provoke all: one after the other, as the first process
 * of a system too.
 *
 * Everything here and below is libc and system calls: the program runs statically linked in an initramfs.
 */
#define _GNU_SOURCE /* NSIG */
#include "provoke/checks/checks.h"
#include "provoke/faults/faults.h"
#include "provoke/guest/all.h"
#include "provoke/guest/frames.h"
#include "provoke/guest/init.h"
#include "provoke/guest/place.h"
#include "provoke/guest/plan.h"
#include "provoke/guest/record.h"
#include "provoke/kernels/kernels.h"
#include "provoke/harness/see.h"
#include "provoke/harness/stage.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { EXIT_USAGE = 2 };

static int usage(void) {
    fputs(
        "usage: amx-provoke list\n"
        "       amx-provoke faults\n"
        "       amx-provoke run ID [--model] [--fault NAME]\n"
        "       amx-provoke record\n"
        "       amx-provoke all [--plan FILE] [--frames] [--model] [--fault NAME]\n"
        "One provocation of the kernel's AMX interface; what it saw is one JSON object a line, the last of "
        "a\n"
        "complete run {\"end\": true}. --model puts a model of the kernel and of the tiles in their place,\n"
        "--fault a deliberate fault over either. record: the machine and the place. all: these, and then "
        "every\n"
        "provocation, or those of a plan (a line each: ID SECONDS); --frames numbers the lines and gives "
        "each a\n"
        "checksum. Exit status: 0 complete, 77 cannot be provoked here\n"
        "({\"cannot\": reason}), 70 the program itself failed ({\"broken\": reason}), 2 usage.\n",
        stderr);
    return EXIT_USAGE;
}

static int list(void) {
    for (const struct provocation *const *group = provoke_groups; *group; group++)
        for (const struct provocation *p = *group; p->id; p++)
            see_provocation(p->id, p->what, p->needs_real_frames);
    return 0;
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
    const struct provocation *const provocation = provoke_find(id);
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
    if (!stage)
        see_text("start", id);
    if (on_model && provocation->needs_real_frames)
        provoke_cannot("only a real kernel shows this, not the model");
    provocation->run(kernel);
    provoke_end();
}

static int record(void) {
    lines_to(STDOUT_FILENO);
    const int result = say_machine();
    say_place();
    return result || frames_failed() ? EXIT_BROKEN : 0;
}

static int all(char *options[]) {
    struct guest_run wanted = {0};
    int is_framed = 0;
    for (; *options; options++) {
        if (!strcmp(*options, "--frames"))
            is_framed = 1;
        else if (!strcmp(*options, "--model"))
            wanted.on_model = 1;
        else if (!strcmp(*options, "--plan") && options[1])
            wanted.plan = *++options;
        else if (!strcmp(*options, "--fault") && options[1])
            wanted.fault = *++options;
        else
            return usage();
    }
    char why[GUEST_WHY];
    static struct guest_plan plan;
    if (guest_plan(&plan, &wanted, why) != 0) {
        fprintf(stderr, "amx-provoke: %s\n", why);
        return EXIT_USAGE;
    }
    if (is_framed)
        frames_to(STDOUT_FILENO, -1, 0);
    else
        lines_to(STDOUT_FILENO);
    return guest_all(&plan, &wanted);
}

int main(int argc, char *argv[]) {
    if (getpid() == 1 && argc && !strcmp(argv[0], "/init"))
        guest_init();
    if (argc == 2 && !strcmp(argv[1], "list"))
        return list();
    if (argc == 2 && !strcmp(argv[1], "faults")) {
        provoke_list_faults();
        return 0;
    }
    if (argc >= 3 && !strcmp(argv[1], "run"))
        return run(argv + 2);
    if (argc == 2 && !strcmp(argv[1], "record"))
        return record();
    if (argc >= 2 && !strcmp(argv[1], "all"))
        return all(argv + 2);
    return usage();
}
