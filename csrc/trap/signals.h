/* The signals by which AMX instructions are noticed, and the program's own actions for them. */
#ifndef TRAP_SIGNALS_H
#define TRAP_SIGNALS_H

#include <signal.h>
#include <ucontext.h>

/* Takes SIGILL, SIGSEGV, SIGBUS and SIGTRAP, and with a filter on arch_prctl also SIGSYS; 0 or -errno. */
int trap_signals_start(int with_sigsys);
void trap_signals_stop(void); /* gives back those that are still ours */

/* What a signal means to the emulation: 1 when it was dealt with and the program goes on at the context. A
 * modelled fault is not: then *info and the context are those of the fault, which is the program's.
 * For a handler of others that stands before ours. Async-signal-safe. */
int trap_handle(int signal, siginfo_t *info, ucontext_t *context);

/* The action that the program believes to be in force, of a signal that was taken; NULL for others. */
struct sigaction *trap_program_action(int signal);
/* sigaction() of the program, for any signal: 0 or -errno. */
int trap_sigaction(int signal, const struct sigaction *new_action, struct sigaction *old_action);

#endif
