/* This machine's kernel, for signal frames, ptrace, core files, KVM and the buffers of dynamic state. */
#define _GNU_SOURCE
#include "provoke/kernels/real_frames.h"
#include "provoke/harness/system.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The kernel needs no help; a deliberate fault changes the frame here, as the last before the handler
 * returns. */
void real_sigreturn(void *ucontext) {
    (void)ucontext;
}

long real_ptrace(long request, pid_t pid, void *address, void *data) {
    return system_call(SYS_ptrace, request, pid, (long)address, (long)data, 0, 0);
}

long real_sched_yield(void) {
    return system_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

long real_ioctl(int fd, unsigned long request, void *argument) {
    return system_call(SYS_ioctl, fd, (long)request, (long)argument, 0, 0, 0);
}

long real_read_core(const char *path, uint8_t *buffer, size_t size) {
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    if (file < 0)
        return -errno;
    while (used < size) {
        const ssize_t got = read(file, buffer + used, size - used);
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    close(file);
    return (long)used;
}

/* fpstate_realloc() and what the compiler may have inlined it into, as /proc/vmallocinfo names the caller. */
static int allocates_xstate(const char *line) {
    return strstr(line, "xfd_enable_feature") || strstr(line, "fpstate_realloc") ||
           strstr(line, "handle_xfd_event") || strstr(line, "exc_device_not_available");
}

int real_xstate_buffers(void) {
    char line[512];
    int count = 0;
    FILE *file = fopen("/proc/vmallocinfo", "re");
    if (!file)
        return -errno;
    while (fgets(line, sizeof line, file))
        count += allocates_xstate(line);
    fclose(file);
    return count;
}

void real_xsave(enum xsave how, uint8_t *area, uint64_t features) {
    const uint32_t low = (uint32_t)features, high = (uint32_t)(features >> 32);
    /* SDM vol. 2; area is 64-byte aligned and of AREA_MAX bytes. */
    if (how == XSAVE_PLAIN)
        __asm__ volatile("xsave64 (%0)" : : "r"(area), "a"(low), "d"(high) : "memory");
    else if (how == XSAVE_OPT)
        __asm__ volatile("xsaveopt64 (%0)" : : "r"(area), "a"(low), "d"(high) : "memory");
    else
        __asm__ volatile("xsavec64 (%0)" : : "r"(area), "a"(low), "d"(high) : "memory");
}
