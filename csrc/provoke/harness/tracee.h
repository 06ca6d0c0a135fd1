/* Children that are traced, and children that may not hang. */
#ifndef AMX_PROVOKE_TRACEE_H
#define AMX_PROVOKE_TRACEE_H

#include "provoke/kernel.h"

/* Forks a child that asks to be traced and runs `run`, which stops by tracee_stop(); returns its pid once it
 * has stopped there. Where ptrace is denied: provoke_cannot(). The child dies with this process. A tracee
 * that is killed ends the run, here and below, with see_ending("tracee") as the last that was seen. */
pid_t tracee_start(const struct kernel *k, void (*run)(const struct kernel *k, void *argument),
                   void *argument);
void tracee_stop(void);
/* Lets it run to its next stop: 1, or to its end: 0 and see_ending("tracee"). */
int tracee_resume(const struct kernel *k, pid_t pid);
/* NT_X86_XSTATE: 0 or -errno; *length in and out. */
long tracee_get(const struct kernel *k, pid_t pid, void *area, size_t *length);
long tracee_set(const struct kernel *k, pid_t pid, const void *area, size_t *length);

/* A child whose only task is `run`; returns its wait status, -1 when it did not end within `milliseconds` and
 * was killed. */
int child_run(const struct kernel *k, void (*run)(const struct kernel *k, void *argument), void *argument,
              int milliseconds);

#endif
