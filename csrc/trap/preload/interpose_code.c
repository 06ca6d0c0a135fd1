/* System calls by which code that was generated becomes writable, or moves: patched sites in it become the
 * program's own before (patch.h). libc's own calls, of malloc for one, concern no code. */
#define _GNU_SOURCE
#include "trap/preload/interpose.h"

#include "trap/patch.h"
#include "trap/trap.h"

#include <stdarg.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

REAL(int, mprotect, void *, size_t, int);
REAL(int, pkey_mprotect, void *, size_t, int, int);
REAL(void *, mremap, void *, size_t, size_t, int, ...);

const struct interposed interposed_code[] = {
    LOOKED_UP(mprotect),
    LOOKED_UP(pkey_mprotect),
    LOOKED_UP(mremap),
    {NULL, NULL},
};

INTERPOSED int mprotect(void *address, size_t size, int protection) {
    const long arguments[5] = {(long)address, (long)size, protection};
    return trap_cpu() == NULL ? LIBCS(mprotect)(address, size, protection)
                              : (int)trap_patch_remap((uintptr_t)address, size, SYS_mprotect, arguments);
}

INTERPOSED int pkey_mprotect(void *address, size_t size, int protection, int key);
int pkey_mprotect(void *address, size_t size, int protection, int key) {
    enum { NO_KEY = -1 }; /* for which libc makes the other call: kernels may lack this one */
    const long arguments[5] = {(long)address, (long)size, protection, key};
    if (key == NO_KEY)
        return mprotect(address, size, protection);
    return trap_cpu() == NULL ? LIBCS(pkey_mprotect)(address, size, protection, key)
                              : (int)trap_patch_remap((uintptr_t)address, size, SYS_pkey_mprotect, arguments);
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
    if (trap_cpu() == NULL)
        return LIBCS(mremap)(address, old_size, new_size, flags, to);
    return (void *)trap_patch_remap((uintptr_t)address, old_size, SYS_mremap, arguments);
}
