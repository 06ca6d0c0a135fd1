#define _GNU_SOURCE
#include "trap/trace/map.h"

#include "trap/files/own_directory.h"
#include "trap/files/own_file.h"
#include "trap/trace/layout.h"
#include "trap/trace/room.h"
#include "trap/trace/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Static_assert(offsetof(struct trace_layout, threads) % 64 == 0, "no entry shares a cache line by accident");

static void read_process(struct trace_header *trace, int pid) {
    char path[TRACE_PROC_PATH];
    trap_trace_proc(path, pid, "exe");
    syscall(SYS_readlinkat, AT_FDCWD, path, trace->executable, sizeof trace->executable - 1);
    trap_trace_proc(path, pid, "cmdline");
    const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    syscall(SYS_read, fd, trace->command, sizeof trace->command - 1);
    syscall(SYS_close, fd);
}

static struct trace_table table(size_t offset, uint32_t entries, size_t entry_bytes) {
    return (struct trace_table){(uint32_t)offset, entries, (uint32_t)entry_bytes, 0};
}

static void write_header(struct trace_header *trace, int pid, int parent) {
    struct timespec now = {0};
    enum { NANOSECONDS = 1000000000 };
    clock_gettime(CLOCK_REALTIME, &now);
    trace->version = TRACE_VERSION;
    trace->pid = pid;
    trace->parent = parent;
    trace->started = (int64_t)now.tv_sec * NANOSECONDS + now.tv_nsec;
    trace->threads =
        table(offsetof(struct trace_layout, threads), TRACE_THREADS, sizeof(struct trace_thread));
    trace->configs =
        table(offsetof(struct trace_layout, configs), TRACE_CONFIGS, sizeof(struct trace_config));
    trace->modules =
        table(offsetof(struct trace_layout, modules), TRACE_MODULES, sizeof(struct trace_module));
    trace->sites = table(offsetof(struct trace_layout, sites), TRACE_SITES, sizeof(struct trace_site));
    read_process(trace, pid);
    memcpy(trace->magic, TRACE_MAGIC, sizeof trace->magic);
}

/* A name that there is not yet: PID.trace, then PID.1.trace and so on, for what the process executes. */
static int create(int place, int pid, char name[TRACE_FILE_NAME]) {
    enum { MAX_PROGRAMS = 10000 };
    for (unsigned i = 0; i < MAX_PROGRAMS; i++) {
        char *at = trap_trace_number(name, (unsigned)pid);
        if (i > 0) {
            *at++ = '.';
            at = trap_trace_number(at, i);
        }
        *trap_trace_text(at, ".trace") = '\0';
        const int fd = own_directory_file(place, name, O_RDWR | O_CREAT | O_EXCL);
        if (fd != -EEXIST)
            return fd;
    }
    return -EEXIST;
}

/* Of its full length, and empty. */
static int create_long(int place, int pid, char name[TRACE_FILE_NAME]) {
    if (!own_file_allows(sizeof(struct trace_layout)))
        return -EFBIG;
    const int fd = create(place, pid, name);
    if (fd < 0 || syscall(SYS_ftruncate, fd, sizeof(struct trace_layout)) == 0)
        return fd;
    const int error = -errno;
    syscall(SYS_unlinkat, place, name, 0);
    syscall(SYS_close, fd);
    return error;
}

static int map_file(int fd, struct trace_header *where, uint64_t pages[TRACE_PAGE_WORDS]) {
    const int error = trap_trace_room(fd, pages);
    if (error != 0)
        return error;
    const void *const at =
        mmap(where, sizeof(struct trace_layout), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    return at == MAP_FAILED ? -errno : 0;
}

static int map_in(const char *directory, int place, int pid, int parent, struct trace_header *where) {
    char name[TRACE_FILE_NAME];
    uint64_t pages[TRACE_PAGE_WORDS];
    const int fd = create_long(place, pid, name);
    if (fd < 0)
        return fd;
    const int error = map_file(fd, where, pages);
    if (error == 0) {
        own_mapping_guard(OWN_TRACE, where, sizeof(struct trace_layout));
        trap_trace_room_in(directory, name, fd);
        memcpy((void *)where->pages, pages, sizeof pages);
        write_header(where, pid, parent);
    } else {
        syscall(SYS_unlinkat, place, name, 0);
    }
    syscall(SYS_close, fd);
    return error;
}

int trap_trace_map(const char *directory, int pid, int parent, struct trace_header *where) {
    const int place = own_directory_open(directory);
    if (place < 0)
        return place;
    const int error = map_in(directory, place, pid, parent, where);
    syscall(SYS_close, place);
    return error;
}

/* ---- in memory ---- */

struct trace_header *trap_trace_new(int pid, int parent) {
    struct trace_header *const trace = mmap(NULL, sizeof(struct trace_layout), PROT_READ | PROT_WRITE,
                                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (trace == MAP_FAILED)
        return NULL;
    memset((void *)trace->pages, UINT8_MAX, sizeof trace->pages);
    write_header(trace, pid, parent);
    return trace;
}

static int write_pages(int fd, const struct trace_header *trace) {
    static const char zeros[TRACE_PAGE];
    const char *const bytes = (const char *)trace;
    for (size_t at = 0; at < sizeof(struct trace_layout);) {
        const size_t rest = sizeof(struct trace_layout) - at, size = rest < TRACE_PAGE ? rest : TRACE_PAGE;
        ssize_t written = (ssize_t)size;
        if (memcmp(bytes + at, zeros, size) != 0)
            written = syscall(SYS_pwrite64, fd, bytes + at, size, at);
        if (written < 0 && errno != EINTR)
            return -errno;
        at += written < 0 ? 0 : (size_t)written;
    }
    return 0;
}

static int save_in(int place, const struct trace_header *trace) {
    char name[TRACE_FILE_NAME];
    const int fd = create_long(place, trace->pid, name);
    if (fd < 0)
        return fd;
    const int error = write_pages(fd, trace);
    if (error != 0)
        syscall(SYS_unlinkat, place, name, 0);
    syscall(SYS_close, fd);
    return error;
}

int trap_trace_save(const char *directory, const struct trace_header *trace) {
    const int place = own_directory_open(directory);
    if (place < 0)
        return place;
    const int error = save_in(place, trace);
    syscall(SYS_close, place);
    return error;
}

void trap_trace_free(struct trace_header *trace) {
    munmap(trace, sizeof(struct trace_layout));
}
