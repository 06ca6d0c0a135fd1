/* Whose handler a signal runs: the emulation takes some signals, and the program keeps its own actions for
 * all.
 */
#ifndef TRAP_SIGNALS_H
#define TRAP_SIGNALS_H

#include <signal.h>
#include <stdint.h>

/* Takes SIGILL, SIGSEGV, SIGBUS and SIGTRAP, and with a filter on arch_prctl also SIGSYS; 0 or -errno. */
int trap_signals_start(int with_sigsys);
void trap_signals_stop(void); /* gives back those that are still ours */

int trap_takes(int signal);
/* Of the signals that are taken, those that the program believes to be blocked in the calling thread, bit n -
 * 1 for signal n. They are not: the kernel kills a thread whose instruction traps meanwhile. */
uint64_t *trap_believed_blocked(void);

/* sigaction() of the program, for any signal: 0 or -errno. Its handlers then run as handlers do on a CPU with
 * AMX (handler.h), and may use AMX themselves: SIGILL, SIGTRAP and SIGSYS are left out of their masks,
 * though not out of what is read back. */
int trap_sigaction(int signal, const struct sigaction *new_action, struct sigaction *old_action);

#endif
