#define _GNU_SOURCE
#include "trap/trace/map.h"

#include "trap/trace/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Static_assert(offsetof(struct trace_layout, threads) % 64 == 0, "no entry shares a cache line by accident");

/* ---- texts ---- */

char *trap_trace_text(char *at, const char *text) {
    const size_t length = strlen(text);
    memcpy(at, text, length);
    return at + length;
}

char *trap_trace_number(char *at, unsigned number) {
    if (number >= 10)
        at = trap_trace_number(at, number / 10);
    *at = (char)('0' + number % 10);
    return at + 1;
}

static int is_self(int pid) {
    return pid == (int)syscall(SYS_getpid);
}

void trap_trace_proc(char path[TRACE_PROC_PATH], int pid, const char *name) {
    char *at = trap_trace_text(path, "/proc/");
    at = is_self(pid) ? trap_trace_text(at, "self") : trap_trace_number(at, (unsigned)pid);
    *at++ = '/';
    *trap_trace_text(at, name) = '\0';
}

/* ---- the file ---- */

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
static int create(const char *directory, int pid) {
    enum { MAX_DIRECTORY = 1024, MAX_PROGRAMS = 10000 };
    char path[MAX_DIRECTORY + 64];
    if (strlen(directory) >= MAX_DIRECTORY)
        return -ENAMETOOLONG;
    for (unsigned i = 0; i < MAX_PROGRAMS; i++) {
        char *at = trap_trace_text(path, directory);
        *at++ = '/';
        at = trap_trace_number(at, (unsigned)pid);
        if (i > 0) {
            *at++ = '.';
            at = trap_trace_number(at, i);
        }
        *trap_trace_text(at, ".trace") = '\0';
        const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
                                    S_IRUSR | S_IWUSR);
        if (fd >= 0)
            return fd;
        if (errno != EEXIST)
            return -errno;
    }
    return -EEXIST;
}

struct trace_header *trap_trace_map(const char *directory, int pid, int parent, struct trace_header *where) {
    const int fd = create(directory, pid);
    if (fd < 0) {
        errno = -fd;
        return NULL;
    }
    struct trace_header *trace = MAP_FAILED;
    if (syscall(SYS_ftruncate, fd, sizeof(struct trace_layout)) == 0)
        trace = mmap(where, sizeof(struct trace_layout), PROT_READ | PROT_WRITE,
                     MAP_SHARED | (where ? MAP_FIXED : 0), fd, 0);
    const int error = errno;
    syscall(SYS_close, fd);
    if (trace == MAP_FAILED) {
        errno = error;
        return NULL;
    }
    write_header(trace, pid, parent);
    return trace;
}

void trap_trace_unmap(struct trace_header *trace) {
    munmap(trace, sizeof(struct trace_layout));
}
