/* The tiles around a signal handler of the program: it starts with the INIT state, and what it interrupted
 * comes back when it returns, as with the kernel's signal frame (fpu__clear_user_states(),
 * restore_fpregs_from_user()). A handler that jumps out loses both data and configuration.
 */
#ifndef TRAP_HANDLER_H
#define TRAP_HANDLER_H

#include <signal.h>

/* Calls the handler of an action that has one. */
void trap_call_handler(const struct sigaction *action, int signal, siginfo_t *info, void *context);

#endif
