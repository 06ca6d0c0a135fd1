/* Counters of the processor's performance monitoring unit, as the kernel hands them out. */
#define _GNU_SOURCE
#include "machine/machine.h"

#include <errno.h>

#if AMX_STUBS

int amx_perf_open(uint32_t type, uint64_t config, int thread) {
    (void)type, (void)config, (void)thread;
    return -ENOSYS;
}

#else

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

/* In user mode only, which is what perf_event_paranoid 2 leaves to everybody. What the thread creates
 * inherits the counter, and is counted into it. */
int amx_perf_open(uint32_t type, uint64_t config, int thread) {
    const struct perf_event_attr attributes = {
        .type = type,
        .size = sizeof attributes,
        .config = config,
        .read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING,
        .inherit = 1,
        .exclude_kernel = 1,
        .exclude_hv = 1,
    };
    const int any_cpu = -1, no_group = -1;
    const long fd =
        syscall(SYS_perf_event_open, &attributes, thread, any_cpu, no_group, PERF_FLAG_FD_CLOEXEC);
    return fd < 0 ? -errno : (int)fd;
}

#endif
