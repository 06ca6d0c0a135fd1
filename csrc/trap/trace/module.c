/* Modules, read from /proc/PID/maps (Documentation/filesystems/proc.rst) a character at a time: a handler's
 * stack may be small. */
#include "trap/trace/module.h"

#include "trap/trace/layout.h"
#include "trap/trace/room.h"
#include "trap/trace/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct text {
    int fd;
    size_t at, size;
    char bytes[256];
};

/* All of a line but permissions and path. */
struct line {
    uint64_t start, end, offset, inode;
    uint32_t device_major, device_minor;
};

/* The next character, '\0' at the end. */
static char next(struct text *text) {
    if (text->at == text->size) {
        const ssize_t size = syscall(SYS_read, text->fd, text->bytes, sizeof text->bytes);
        if (size <= 0)
            return '\0';
        text->at = 0;
        text->size = (size_t)size;
    }
    return text->bytes[text->at++];
}

static int digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

/* A number, and the character behind it, which is lost. */
static uint64_t number(struct text *text, unsigned base) {
    uint64_t value = 0;
    for (unsigned d; (d = (unsigned)digit(next(text))) < base;)
        value = value * base + d;
    return value;
}

/* Up to the path; 0 at the end. */
static int read_line(struct text *text, struct line *line) {
    line->start = number(text, 16);
    line->end = number(text, 16);
    while (line->end != 0 && next(text) > ' ') /* permissions */
        ;
    line->offset = number(text, 16);
    line->device_major = (uint32_t)number(text, 16);
    line->device_minor = (uint32_t)number(text, 16);
    line->inode = number(text, 10);
    return line->end != 0;
}

/* The rest of the line, as much as there is room for; NULL: to nowhere. */
static void read_path(struct text *text, char *path) {
    size_t length = 0;
    for (char c; (c = next(text)) != '\0' && c != '\n';)
        if (path != NULL && (length > 0 || c != ' ') && length < TRACE_PATH - 1)
            path[length++] = c;
}

static struct trace_module *claim(struct trace_header *trace) {
    for (unsigned i = 0; i < TRACE_MODULES; i++) {
        struct trace_module *const module = &trace_modules(trace)[i];
        if (!trace_has(trace, module, sizeof *module))
            break;
        uint32_t expected = TRACE_FREE;
        if (atomic_compare_exchange_strong(&module->state, &expected, TRACE_USED_PARTLY))
            return module;
    }
    return NULL;
}

static uint32_t read_module(struct trace_header *trace, uint64_t address, int fd) {
    struct text text = {.fd = fd};
    struct line line;
    while (read_line(&text, &line)) {
        if (address < line.start || address >= line.end) {
            read_path(&text, NULL);
            continue;
        }
        struct trace_module *const module = claim(trace);
        if (module == NULL)
            break;
        module->start = line.start;
        module->end = line.end;
        module->offset = line.offset;
        module->device_major = line.device_major;
        module->device_minor = line.device_minor;
        module->inode = line.inode;
        read_path(&text, module->path);
        atomic_store_explicit(&module->state, TRACE_USED, memory_order_release);
        return (uint32_t)(module - trace_modules(trace)) + 1;
    }
    return 0;
}

uint32_t trap_trace_module(struct trace_header *trace, int thread, uint64_t address) {
    for (uint32_t i = 0; i < TRACE_MODULES; i++) {
        const struct trace_module *const module = &trace_modules(trace)[i];
        if (!trace_has(trace, module, sizeof *module))
            break;
        const uint32_t state = atomic_load_explicit(&module->state, memory_order_acquire);
        if (state == TRACE_FREE)
            break;
        if (state == TRACE_USED && address >= module->start && address < module->end)
            return i + 1;
    }
    const int saved = errno; /* a thunk's caller may be about to look at it */
    char path[TRACE_PROC_PATH];
    const int is_tracees = thread > 0 && trace->pid != (int)syscall(SYS_getpid);
    trap_trace_proc(path, is_tracees ? thread : trace->pid, "maps");
    const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    const uint32_t found = fd < 0 ? 0 : read_module(trace, address, fd);
    if (fd >= 0)
        syscall(SYS_close, fd);
    if (found == 0)
        atomic_fetch_add_explicit(&trace->lost_modules, 1, memory_order_relaxed);
    errno = saved;
    return found;
}
