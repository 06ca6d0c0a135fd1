/* How large signal frames are on a kernel with AMX, in all the ways that a program can ask. Who sizes its
 * alternate stack by any of them is granted permission. */
#define _GNU_SOURCE
#include "trap/cpu/emulated.h"
#include "trap/cpu/virtual_cpu.h"
#include "trap/host/mm_map.h"
#include "trap/preload/interpose.h"

#include <elf.h>
#include <errno.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MINSIGSTKSZ_TYPE = 51 }; /* AT_MINSIGSTKSZ, which older headers lack */

#ifdef __GLIBC__ /* musl reads the vector anew each time */

enum { SC_MINSIGSTKSZ = 249, SC_SIGSTKSZ = 250 }; /* since glibc 2.34 */

/* libc's, by its other name: allocators ask before anything can be looked up. */
long __sysconf(int name);

static long at_least(long value, long least) {
    return value < least ? least : value;
}

/* What libc answers is what its loader read before this library was there. One that knows no such name says
 * so. */
INTERPOSED long sysconf(int name) {
    enum { FRAMES = 4 }; /* of _SC_SIGSTKSZ, as glibc has it */
    const long found = __sysconf(name);
    if ((name != SC_MINSIGSTKSZ && name != SC_SIGSTKSZ) || found < 0 || trap_cpu() == NULL)
        return found;
    return at_least(found, (name == SC_SIGSTKSZ ? FRAMES : 1) * VIRTUAL_MINSIGSTKSZ);
}

#endif

/* The kernel's copy, for /proc/PID/auxv. Where it may not be replaced, it stays the real kernel's. */
static void replace_kernels(Elf64_auxv_t *vector, size_t size) {
    struct prctl_mm_map map;
    if (mm_map_read("/proc/thread-self/stat", (uint64_t)syscall(SYS_brk, 0), &map) != 0)
        return;
    map.auxv = (void *)vector;
    map.auxv_size = (uint32_t)size;
    syscall(SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0);
}

/* The vector stands behind the environment on the initial stack (psABI, "Initial Process Stack"), which
 * programs look through, and where glibc's getauxval() reads. Who removed variables from the environment left
 * more than one NULL behind it; no vector begins with one. */
void interpose_auxv(char **environment) {
    const int error = errno;
    size_t count = 0;
    int changed = 0;
    while (*environment != NULL)
        environment++;
    while (*environment == NULL)
        environment++;
    Elf64_auxv_t *const vector = (Elf64_auxv_t *)environment;
    for (; vector[count].a_type != AT_NULL; count++)
        if (vector[count].a_type == MINSIGSTKSZ_TYPE && vector[count].a_un.a_val < VIRTUAL_MINSIGSTKSZ) {
            vector[count].a_un.a_val = VIRTUAL_MINSIGSTKSZ;
            changed = 1;
        }
    if (changed)
        replace_kernels(vector, (count + 1) * sizeof *vector);
    errno = error;
}
