/* Whether /proc tells of the processes that this one knows. */
#include "machine/machine.h"

#if !AMX_STUBS

#include "proc.h"

#include <stdlib.h>
#include <unistd.h>

int machine_proc_is_ours(void) {
    char number[16];
    const ssize_t length = readlink("/proc/self", number, sizeof number - 1);
    number[length > 0 ? length : 0] = '\0';
    return atoi(number) == getpid();
}

#endif
