/* Blocks for the pages of a trace file. */
#define _GNU_SOURCE
#include "trap/trace/room.h"

#include "trap/files/own_directory.h"
#include "trap/files/own_file.h"
#include "trap/trace/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

enum { PAGES = (sizeof(struct trace_layout) + TRACE_PAGE - 1) / TRACE_PAGE };
enum { FIRST_PAGES = (offsetof(struct trace_layout, configs) + TRACE_PAGE - 1) / TRACE_PAGE };

static const char *own_place;
static char own_name[TRACE_FILE_NAME];
static struct stat own;

void trap_trace_room_in(const char *directory, const char *name, int fd) {
    own_place = directory;
    strcpy(own_name, name);
    if (fstat(fd, &own) != 0)
        own.st_ino = 0;
}

static int write_zeros(int fd) {
    static const char zeros[TRACE_PAGE];
    for (off_t at = 0; at < PAGES * TRACE_PAGE;) {
        const ssize_t size = syscall(SYS_pwrite64, fd, zeros, sizeof zeros, at);
        if (size < 0 && errno != EINTR)
            return -errno;
        at += size < 0 ? 0 : size;
    }
    return 0;
}

int trap_trace_room(int fd, uint64_t pages[TRACE_PAGE_WORDS]) {
    int count = FIRST_PAGES;
    int error = own_file_reserve(fd, 0, (size_t)count * TRACE_PAGE);
    if (error == -EOPNOTSUPP) {
        count = PAGES;
        error = write_zeros(fd);
    }
    memset(pages, 0, TRACE_PAGE_WORDS * sizeof *pages);
    for (int page = 0; error == 0 && page < count; page++)
        pages[page / 64] |= UINT64_C(1) << page % 64;
    return error;
}

/* By its name, since a program does not expect that a descriptor stays open. */
static int reserve_by_name(size_t page) {
    struct stat found;
    const int place = own_directory_open(own_place);
    if (place < 0)
        return place;
    const int fd = own_directory_file(place, own_name, O_RDWR);
    syscall(SYS_close, place);
    if (fd < 0)
        return fd;
    int error = fstat(fd, &found) == 0 ? 0 : -errno;
    if (error == 0 && (found.st_ino != own.st_ino || found.st_dev != own.st_dev))
        error = -ENOENT; /* the process has another root directory now */
    if (error == 0)
        error = own_file_reserve(fd, (off_t)page * TRACE_PAGE, TRACE_PAGE);
    syscall(SYS_close, fd);
    return error;
}

/* The page itself is the shortest way, and the only one for a process that has become another user. */
static int reserve(struct trace_header *trace, size_t page) {
    if (madvise((char *)trace + page * TRACE_PAGE, TRACE_PAGE, MADV_POPULATE_WRITE) == 0)
        return 0;
    const int is_unknown = errno == EINVAL;
    const int error = reserve_by_name(page);
    return error != 0 || is_unknown ? error : -EIO; /* EFAULT does not tell why; and it cannot be touched */
}

int trap_trace_grow(struct trace_header *trace, size_t page) {
    if (atomic_load_explicit(&trace->error, memory_order_relaxed) != 0)
        return 0;
    const int saved = errno; /* a thunk's caller may be about to look at it */
    const int error = reserve(trace, page);
    errno = saved;
    int32_t none = 0;
    if (error != 0)
        atomic_compare_exchange_strong(&trace->error, &none, -error);
    else
        atomic_fetch_or(&trace->pages[page / 64], UINT64_C(1) << page % 64);
    return error == 0;
}
