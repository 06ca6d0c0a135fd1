/* A child that tries what may end it: a system call that a filter kills for, an instruction that faults.
 *
 * What it runs calls nothing that is not async-signal-safe. It is made by clone without an exit signal: the
 * caller's SIGCHLD handling does not notice it, nobody's wait(-1) reaps it, and no atfork handler runs. It
 * answers in a shared page, which survives any end and needs no descriptor.
 */
#ifndef AMX_MACHINE_FORKED_H
#define AMX_MACHINE_FORKED_H

#include "machine/machine.h"

#include <sys/types.h>

/* Runs `body` in a child, where SIGSEGV, SIGILL, SIGBUS and SIGSYS are written into *report and end it, and
 * waits for its end. Where AMX is emulated in this process, it is in the child. When `body` returns,
 * report->step becomes AMX_STEP_DONE. 0, -ETIMEDOUT when it was killed after timeout_ms, or -errno when there
 * is no child. */
int machine_forked(void (*body)(volatile struct amx_probe *report, const void *argument),
                   const void *argument, int timeout_ms, struct amx_probe *probe);

/* In a child: it is killed when the thread of `parent` that made it ends, at once where that has ended, and
 * it can be seen: no filter forbids to ask, and it is in no other PID namespace. */
void machine_die_with(pid_t parent);

#endif
