/* A child of child_run() that says whether it is dumpable and dies. */
#include "provoke/frames.h"
#include "provoke/main.h"

#include <sys/prctl.h>
#include <sys/wait.h>

const char *provoke_stage;

void provoke_arguments(char *arguments[PROVOKE_ARGUMENTS], const char *stage) {
    (void)stage;
    arguments[0] = NULL;
}

static void die(const struct kernel *k, void *unused) {
    (void)k, (void)unused;
    see_int("dumpable", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
    signal(SIGSEGV, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    area_raise(SIGSEGV);
}

int main(void) {
    see_ending("ending", child_run(&provoke_real_kernel, die, NULL, 5000));
    provoke_end();
}
