/* System calls by which code that was generated becomes writable, or moves: patched sites in it become the
 * program's own before (patch.h). libc's own calls, of malloc for one, concern no code. */
#define _GNU_SOURCE
#include "trap/cpu/emulated.h"
#include "trap/patch/patch.h"
#include "trap/preload/interpose.h"

#include <stdarg.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* By the system calls themselves: allocators make them before anything of libc can be looked up. */
static long remap(void *address, size_t size, long number, const long arguments[5]) {
    return trap_cpu() == NULL
               ? syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4])
               : trap_patch_remap((uintptr_t)address, size, number, arguments);
}

INTERPOSED int mprotect(void *address, size_t size, int protection) {
    const long arguments[5] = {(long)address, (long)size, protection};
    return (int)remap(address, size, SYS_mprotect, arguments);
}

INTERPOSED int pkey_mprotect(void *address, size_t size, int protection, int key);
int pkey_mprotect(void *address, size_t size, int protection, int key) {
    enum { NO_KEY = -1 }; /* for which libc makes the other call: kernels may lack this one */
    const long arguments[5] = {(long)address, (long)size, protection, key};
    return key == NO_KEY ? mprotect(address, size, protection)
                         : (int)remap(address, size, SYS_pkey_mprotect, arguments);
}

INTERPOSED void *mremap(void *address, size_t old_size, size_t new_size, int flags, ...) {
    void *to = NULL;
    if (flags & MREMAP_FIXED) {
        va_list list;
        va_start(list, flags);
        to = va_arg(list, void *);
        va_end(list);
    }
    const long arguments[5] = {(long)address, (long)old_size, (long)new_size, flags, (long)to};
    return (void *)remap(address, old_size, SYS_mremap, arguments);
}
