#define _GNU_SOURCE
#include "trap/code/memory.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA           0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

enum { JUMP_SLACK = 64 }; /* from anywhere in an instruction, and back behind it */

static const uint64_t reach = UINT64_C(1) << 31, step = UINT64_C(1) << 21;
/* Of user space with five levels of page tables, or inside; with four the kernel refuses the rest. */
static const uint64_t lowest = UINT64_C(1) << 16, highest = UINT64_C(1) << 56;

static uint64_t distance(uint64_t a, uint64_t b) {
    return a > b ? a - b : b - a;
}

int code_memory_reaches(uint64_t address, const uint8_t *start, size_t size) {
    const uint64_t first = (uintptr_t)start;
    return distance(address, first) < reach - JUMP_SLACK &&
           distance(address, first + size) < reach - JUMP_SLACK;
}

/* By the system call itself: a program may have an mmap of its own. Kernels before 4.17 take
 * MAP_FIXED_NOREPLACE for no more than a hint. */
static uint8_t *map_at(uint64_t address, size_t size) {
    const long mapped =
        syscall(SYS_mmap, address, size, (long)(PROT_READ | PROT_WRITE),
                (long)(MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE), -1L, 0L);
    if (mapped == -1)
        return NULL;
    if ((uint64_t)mapped == address)
        return (uint8_t *)mapped;
    syscall(SYS_munmap, mapped, size);
    return NULL;
}

static uint8_t *map_within_reach(uint64_t address, uint64_t away, int above, size_t size) {
    const uint64_t base = address & ~(step - 1);
    const uint64_t at = above ? base + away : base - away;
    if (above ? at > highest - size : away > base || at < lowest)
        return NULL;
    if (!code_memory_reaches(address, (uint8_t *)at, size))
        return NULL;
    return map_at(at, size);
}

/* Half of the reach away at first, where it is least in the way of a heap that grows and of libraries that
 * are loaded next to each other, then nearer, then farther. */
uint8_t *code_memory_near(uint64_t address, size_t size) {
    static uint64_t full_around; /* where the last search was in vain */
    const uint64_t half = reach / 2;

    if (full_around && distance(address, full_around) < step)
        return NULL;
    for (uint64_t i = 0; i < reach / step; i++) {
        const uint64_t away = i * step < half ? half - i * step : i * step;
        for (int above = 0; above < 2; above++) {
            uint8_t *const memory = map_within_reach(address, away, above, size);
            if (memory != NULL)
                return memory;
        }
    }
    full_around = address;
    return NULL;
}

/* With a name, for who looks at the mappings, a profiler for one; kernels may be built without that. */
int code_memory_seal(uint8_t *memory, size_t size) {
    syscall(SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, memory, size, "amx thunks");
    return syscall(SYS_mprotect, memory, size, (long)(PROT_READ | PROT_EXEC)) == 0 ? 0 : -errno;
}

void code_memory_free(uint8_t *memory, size_t size) {
    syscall(SYS_munmap, memory, size);
}
