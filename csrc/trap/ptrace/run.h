/* The emulation for a program that is traced. (s): -ENOSYS in a build of stubs. */
#ifndef AMX_PTRACE_RUN_H
#define AMX_PTRACE_RUN_H

#include "trap/emulation.h"

/* (s) Runs a program, static ones too, as a tracee with the AMX of options->cpu; patch is not looked
 * at. Its threads, its children and what they become by execve are traced as well, and the call
 * returns when all have ended. *status is the program's, as of waitpid, and -1 when nothing of it ran;
 * *counts are of all together.
 *
 * SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1 and SIGUSR2 that are sent to this process meanwhile, other than
 * by its terminal, go to the program. All that is traced is killed when this process ends.
 *
 * -EINVAL unknown cpu, or unknown feature to be announced; -EBUSY already running; else what fork,
 * ptrace or execve failed with. */
int amx_ptrace_run(const char *path, char *const argv[], char *const envp[],
                   const struct amx_trap_options *options, struct amx_trap_counts *counts, int *status);

#endif
