/* The system call that reads and asks for AMX permission. glibc has no wrapper for it. */
#include "machine/machine.h"

#include <errno.h>

#if AMX_STUBS

int amx_arch_prctl(int op, uint64_t argument) {
    (void)op, (void)argument;
    return -ENOSYS;
}

int amx_arch_prctl_get(int op, uint64_t *value) {
    (void)op, (void)value;
    return -ENOSYS;
}

#else

#include <sys/syscall.h>
#include <unistd.h>

int amx_arch_prctl(int op, uint64_t argument) {
    return syscall(SYS_arch_prctl, op, argument) == 0 ? 0 : -errno;
}

int amx_arch_prctl_get(int op, uint64_t *value) {
    return amx_arch_prctl(op, (uint64_t)(uintptr_t)value);
}

#endif
