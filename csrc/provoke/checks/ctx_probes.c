/* CTX-03: what may happen to a thread with live tiles, one probe each, which says whether it happened. */
#define _GNU_SOURCE
#include "provoke/checks/ctx_probes.h"
#include "provoke/harness/registers.h"
#include "provoke/harness/schedule.h"
#include "provoke/harness/see.h"
#include "provoke/harness/system.h"
#include "provoke/harness/tiles.h"
#include "provoke/harness/tools.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static int probe_getppid(const struct kernel *k) {
    (void)k;
    return system_call(SYS_getppid, 0, 0, 0, 0, 0, 0) >= 0;
}
static int probe_yield(const struct kernel *k) {
    return k->sched_yield() == 0;
}
static int probe_sleep_1ms(const struct kernel *k) {
    (void)k;
    sleep_ms(1);
    return 1;
}
static int probe_sleep_300ms(const struct kernel *k) {
    (void)k;
    sleep_ms(300);
    return 1;
}

/* To every other CPU that this thread may use, and back to all of them. */
static int probe_migration(const struct kernel *k) {
    cpu_set_t allowed, one;
    int moved = 0;
    (void)k;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2)
        return 0;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE && moved < 8; cpu++) {
        if (!CPU_ISSET(cpu, &allowed))
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        moved += sched_setaffinity(0, sizeof one, &one) == 0;
    }
    sched_setaffinity(0, sizeof allowed, &allowed);
    return moved >= 2;
}

static int probe_blocking_read(const struct kernel *k) {
    int ends[2];
    char byte = 0;
    if (pipe(ends) != 0)
        return 0;
    const pid_t pid = tool_fork(k);
    if (pid == 0) {
        sleep_ms(20);
        system_exit_group(write(ends[1], "x", 1) != 1);
    }
    close(ends[1]);
    const int happened = pid > 0 && read(ends[0], &byte, 1) == 1;
    close(ends[0]);
    if (pid > 0)
        tool_wait(pid);
    return happened;
}

static int probe_fork_wait(const struct kernel *k) {
    const pid_t pid = tool_fork(k);
    if (pid == 0)
        system_exit_group(0);
    return pid > 0 && tool_wait(pid) == 0;
}

static int nothing(void *unused) {
    (void)unused;
    return 0;
}

static int probe_vfork(const struct kernel *k) {
    const pid_t pid = k->vfork_run(nothing, NULL);
    return pid > 0 && tool_wait(pid) == 0;
}

/* For systems without /proc. */
static const char *own_path(void) {
    return (const char *)getauxval(AT_EXECFN);
}

static int probe_exec(const struct kernel *k) {
    char *const arguments[] = {(char[]){"amx-provoke"}, (char[]){"list"}, NULL};
    char *const environment[] = {NULL};
    const pid_t pid = tool_fork(k);
    if (pid == 0) {
        const int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        k->execve("/proc/self/exe", arguments, environment);
        k->execve(own_path(), arguments, environment);
        system_exit_group(1);
    }
    return pid > 0 && tool_wait(pid) == 0;
}

static int probe_page_faults(const struct kernel *k) {
    const size_t size = 64 * 1024 * 1024;
    uint8_t *const pages = tool_map(size);
    (void)k;
    for (size_t at = 0; at < size; at += 4096)
        pages[at] = 1;
    munmap(pages, size);
    return 1;
}

static int probe_zapped_pages(const struct kernel *k) {
    volatile uint8_t *const pages = tool_map(64 * 4096);
    (void)k;
    pages[0] = 1;
    madvise((void *)(uintptr_t)pages, 64 * 4096, MADV_DONTNEED);
    return pages[0] == 0;
}

static int probe_mprotect(const struct kernel *k) {
    void *const page = tool_map(4096);
    (void)k;
    return mprotect(page, 4096, PROT_READ) == 0 && munmap(page, 4096) == 0;
}

static int probe_getrandom(const struct kernel *k) {
    uint8_t bytes[64];
    (void)k;
    return getrandom(bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes;
}

static int probe_file_read(const struct kernel *k) {
    char bytes[4096];
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    (void)k;
    if (file < 0)
        file = open(own_path(), O_RDONLY | O_CLOEXEC);
    const int happened = file >= 0 && read(file, bytes, sizeof bytes) > 0;
    if (file >= 0)
        close(file);
    return happened;
}

static int probe_procfs_read(const struct kernel *k) {
    char bytes[1024];
    const int file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    (void)k;
    const int happened = file >= 0 && read(file, bytes, sizeof bytes) > 0;
    if (file >= 0)
        close(file);
    return happened;
}

static void *thread_nothing(void *unused) {
    return unused;
}

static int probe_thread(const struct kernel *k) {
    return k->thread_join(tool_thread(k, thread_nothing, NULL)) == 0;
}

static int probe_futex(const struct kernel *k) {
    const struct timespec timeout = {0, 2 * 1000 * 1000};
    uint32_t word = 1;
    (void)k;
    return system_call(SYS_futex, (long)&word, FUTEX_WAIT_PRIVATE, 1, (long)&timeout, 0, 0) < 0;
}

static int probe_poll(const struct kernel *k) {
    (void)k;
    return poll(NULL, 0, 2) == 0;
}

static int probe_ignored_signal(const struct kernel *k) {
    (void)k;
    signal(SIGUSR1, SIG_IGN);
    tool_raise(SIGUSR1);
    return 1;
}

/* Long enough for the timer tick to preempt. */
static int probe_busy_50ms(const struct kernel *k) {
    struct timespec from, now;
    (void)k;
    clock_gettime(CLOCK_MONOTONIC, &from);
    do {
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000 < 50);
    return 1;
}

static int probe_vector_registers(const struct kernel *k) {
    static uint8_t data[REGISTERS_MAX];
    if (!registers_present(k, 2))
        return 0;
    registers_make(k, 2, 1, data);
    registers_load(2, data);
    if (registers_present(k, 7)) {
        registers_make(k, 7, 1, data);
        registers_load(7, data);
    }
    __asm__ volatile("vzeroupper"); /* SSE's halves stay */
    return 1;
}

void ctx_probes(const struct kernel *k) {
    static const struct {
        const char *name;
        int (*run)(const struct kernel *k);
    } probes[] = {{"getppid", probe_getppid},
                  {"sched_yield", probe_yield},
                  {"nanosleep of 1 ms", probe_sleep_1ms},
                  {"nanosleep of 300 ms", probe_sleep_300ms},
                  {"migration to other CPUs", probe_migration},
                  {"blocking read", probe_blocking_read},
                  {"fork and wait", probe_fork_wait},
                  {"vfork and wait", probe_vfork},
                  {"fork and exec", probe_exec},
                  {"64 MiB of page faults", probe_page_faults},
                  {"pages given back and faulted again", probe_zapped_pages},
                  {"mprotect and munmap", probe_mprotect},
                  {"getrandom", probe_getrandom},
                  {"file read", probe_file_read},
                  {"procfs read", probe_procfs_read},
                  {"thread created and joined", probe_thread},
                  {"futex wait", probe_futex},
                  {"poll", probe_poll},
                  {"ignored signal", probe_ignored_signal},
                  {"50 ms of computing", probe_busy_50ms},
                  {"AVX and VZEROUPPER", probe_vector_registers}};
    struct tiles tiles;
    tool_request(k);
    see_int("probes", sizeof probes / sizeof *probes);
    /* What some of them need. */
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof allowed, &allowed);
    see_int("cpus", CPU_COUNT(&allowed));
    see_int("avx", registers_present(k, 2));
    see_int("procfs", access("/proc/self/stat", R_OK) == 0);
    tiles_make(&tiles, 16, 64, 3);
    tiles_load(k, &tiles);
    for (size_t i = 0; i < sizeof probes / sizeof *probes; i++) {
        see_text(probes[i].run(k) ? "happened" : "left_out", probes[i].name);
        if (tiles_lost(k, &tiles) == 0)
            continue;
        see_text("lost", probes[i].name);
        tiles_load(k, &tiles);
    }
    k->tilerelease();
}
