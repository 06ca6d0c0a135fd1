/* How a program asks whether the tracer (ptrace/ptrace.h) gives it AMX already. */
#ifndef TRAP_TRACED_H
#define TRAP_TRACED_H

#include <sys/syscall.h>
#include <unistd.h>

/* Of arch_prctl: the tracer answers 0, the kernel EINVAL. */
enum { ARCH_AMX_IS_TRACED = 0x414d5800 };

static inline int trap_is_traced(void) {
    return syscall(SYS_arch_prctl, ARCH_AMX_IS_TRACED, 0) == 0;
}

#endif
