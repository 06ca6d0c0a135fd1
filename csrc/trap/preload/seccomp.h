/* A filter that makes arch_prctl's operations of dynamically enabled features trap, for the model to answer.
 */
#ifndef TRAP_SECCOMP_H
#define TRAP_SECCOMP_H

/* Installs it, unless this process has it from a program that executed this one: 0 or -errno. It is never
 * removed, and exec keeps it. After SIGSYS is taken; before other threads. */
int seccomp_start(void);

#endif
