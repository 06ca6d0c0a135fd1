#define _GNU_SOURCE
#include "trap/trace/text.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

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
    at = is_self(pid) ? trap_trace_text(at, "thread-self") : trap_trace_number(at, (unsigned)pid);
    *at++ = '/';
    *trap_trace_text(at, name) = '\0';
}
