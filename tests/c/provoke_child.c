/* A child of child_run() that says whether it is dumpable and dies; or with an argument, "fork" or "clone",
 * one that waits beside its parent. */
#define _GNU_SOURCE /* CLONE_VM */
#include "provoke/kernels/kernels.h"
#include "provoke/harness/see.h"
#include "provoke/harness/system.h"
#include "provoke/harness/tools.h"
#include "provoke/harness/tracee.h"

#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static void die(const struct kernel *k, void *unused) {
    (void)k, (void)unused;
    see_int("dumpable", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
    signal(SIGSEGV, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    tool_raise(SIGSEGV);
}

static _Noreturn int wait_here(void *unused) {
    (void)unused;
    see_int("child", system_call(SYS_getpid, 0, 0, 0, 0, 0, 0));
    for (;;)
        system_call(SYS_pause, 0, 0, 0, 0, 0, 0);
}

/* A child that waits for ever, made the one way or the other. */
static void leave_child(const struct kernel *k, int in_this_memory) {
    if (in_this_memory)
        k->clone_run(CLONE_VM, wait_here, NULL);
    else if (tool_fork(k) == 0)
        wait_here(NULL);
    wait_here(NULL);
}

int main(int argc, char *argv[]) {
    if (argc == 2)
        leave_child(&provoke_real_kernel, !strcmp(argv[1], "clone"));
    see_ending("ending", child_run(&provoke_real_kernel, die, NULL, 5000));
    provoke_end();
}
