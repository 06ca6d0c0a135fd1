#define _GNU_SOURCE
#include "trap/files/own_file.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int own_file_allows(uint64_t size) {
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || size <= limit.rlim_cur;
}

int own_file_reserve(int fd, off_t offset, size_t size) {
    enum { KEEP_SIZE = 1 };
    while (syscall(SYS_fallocate, fd, KEEP_SIZE, offset, (off_t)size) != 0)
        if (errno != EINTR)
            return errno == ENOSYS ? -EOPNOTSUPP : -errno;
    return 0;
}

static struct {
    _Atomic uintptr_t start;
    _Atomic size_t size;
} mappings[OWN_MAPPINGS];

void own_mapping_guard(enum own_mapping which, void *at, size_t size) {
    atomic_store(&mappings[which].size, 0);
    atomic_store(&mappings[which].start, (uintptr_t)at);
    atomic_store(&mappings[which].size, size);
}

int own_mapping_fault(int signal, const siginfo_t *info, enum own_mapping *which) {
    const uintptr_t address = (uintptr_t)info->si_addr;
    if (signal != SIGBUS || info->si_code != BUS_ADRERR)
        return 0;
    for (int i = 0; i < OWN_MAPPINGS; i++) {
        const uintptr_t start = atomic_load(&mappings[i].start);
        const size_t size = atomic_load(&mappings[i].size);
        if (address < start || address - start >= size)
            continue;
        if (mmap((void *)start, size, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
            return 0;
        *which = (enum own_mapping)i;
        return 1;
    }
    return 0;
}
