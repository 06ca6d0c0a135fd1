/* This thread's alternate signal stack, which the kernel measures before it grants AMX. */
#include "machine/machine.h"

#include <errno.h>

#if AMX_STUBS

int amx_sigaltstack(uint64_t *address, uint64_t *size, int *flags) {
    (void)address, (void)size, (void)flags;
    return -ENOSYS;
}

#else

#include <signal.h>

/* size in bytes; 0, with SS_DISABLE in flags, when the thread has none. */
int amx_sigaltstack(uint64_t *address, uint64_t *size, int *flags) {
    stack_t stack;
    if (sigaltstack(NULL, &stack) != 0)
        return -errno;
    *address = (uint64_t)(uintptr_t)stack.ss_sp;
    *size = stack.ss_size;
    *flags = stack.ss_flags;
    return 0;
}

#endif
