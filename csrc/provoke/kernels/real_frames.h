/* This machine's kernel behind the table's entries for signal frames, ptrace, core files, KVM, buffers. */
#ifndef AMX_PROVOKE_REAL_FRAMES_H
#define AMX_PROVOKE_REAL_FRAMES_H

#include "provoke/kernel.h"

void real_sigreturn(void *ucontext);
long real_ptrace(long request, pid_t pid, void *address, void *data);
long real_sched_yield(void);
long real_ioctl(int fd, unsigned long request, void *argument);
long real_read_core(const char *path, uint8_t *buffer, size_t size);
int real_xstate_buffers(void);
void real_xsave(enum xsave how, uint8_t *area, uint64_t features);

#endif
