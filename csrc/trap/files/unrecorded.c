#define _GNU_SOURCE
#include "trap/files/unrecorded.h"

#include "trap/files/own_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

enum { PAGE = 4096 };

static struct unrecorded *_Atomic counted; /* never unmapped: a handler may be counting */

static int open_page(const char *directory) {
    struct stat found;
    const int place = own_directory_open(directory);
    if (place < 0)
        return place;
    const int fd = own_directory_file(place, "unrecorded", O_RDWR);
    syscall(SYS_close, place);
    if (fd >= 0 && (fstat(fd, &found) != 0 || found.st_size < PAGE)) {
        syscall(SYS_close, fd);
        return -ENOSPC;
    }
    return fd;
}

static void *map(void *where, int fd) {
    const int flags = (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED) | (where ? MAP_FIXED : 0);
    void *const at = mmap(where, PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
    return at == MAP_FAILED ? NULL : at;
}

void unrecorded_open(const char *directory) {
    const int fd = open_page(directory);
    if (fd < 0)
        return;
    void *const at = map(atomic_load(&counted), fd);
    syscall(SYS_close, fd);
    if (at == NULL)
        return;
    /* The handler of SIGBUS may not be there yet. */
    if (madvise(at, PAGE, MADV_POPULATE_WRITE) != 0 && errno != EINVAL)
        map(at, -1);
    own_mapping_guard(OWN_UNRECORDED, at, PAGE);
    atomic_store(&counted, at);
}

void unrecorded_add(enum own_mapping which, int error) {
    struct unrecorded *const entry = atomic_load(&counted);
    int32_t none = 0;
    if (entry == NULL || which >= OWN_UNRECORDED)
        return;
    atomic_fetch_add(&entry[which].processes, 1);
    atomic_compare_exchange_strong(&entry[which].error, &none, -error);
}

void unrecorded_take_back(enum own_mapping which) {
    struct unrecorded *const entry = atomic_load(&counted);
    if (entry != NULL && which < OWN_UNRECORDED)
        atomic_fetch_sub(&entry[which].processes, 1);
}
