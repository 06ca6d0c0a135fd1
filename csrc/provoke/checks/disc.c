/* Discovery, and what the interface does not offer. */
#define _GNU_SOURCE /* sched_setaffinity */
#include "provoke/checks/checks.h"
#include "provoke/harness/see.h"
#include "provoke/harness/stage.h"
#include "provoke/harness/tools.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static void disc_01(const struct kernel *k) {
    uint64_t supported = 0;
    see_int("result", k->arch_prctl(ARCH_GET_XCOMP_SUPP, (uintptr_t)&supported));
    see_bits("supported", supported);
    see_bits("xcr0", k->xcr0());
}

static void disc_02(const struct kernel *k) {
    static const struct {
        const char *name;
        int op;
    } readers[] = {
        {"supp", ARCH_GET_XCOMP_SUPP},
        {"perm", ARCH_GET_XCOMP_PERM},
        {"guest_perm", ARCH_GET_XCOMP_GUEST_PERM},
    };
    enum { READERS = sizeof readers / sizeof *readers };
    char buffer[16];
    for (int i = 0; i < READERS; i++) {
        const int64_t results[] = {
            k->arch_prctl(readers[i].op, 0),
            k->arch_prctl(readers[i].op, 1),
            k->arch_prctl(readers[i].op, 0xffff888000000000),
            k->arch_prctl(readers[i].op, (uintptr_t)buffer + 1),
        };
        see_ints(readers[i].name, results, 4);
    }
}

/* Numbers and arguments of proposals that were not merged: a component mask instead of a pointer. */
static void disc_03(const struct kernel *k) {
    see_bits("before", tool_permission(k));
    see_int("0x1021(7)", k->arch_prctl(0x1021, 7));
    see_int("0x1021(0x60000)", k->arch_prctl(0x1021, 0x60000));
    see_int("0x1022(18)", k->arch_prctl(0x1022, 18));
    see_bits("after", tool_permission(k));
}

static void disc_04(const struct kernel *k) {
    uint64_t buffer[8] = {0};
    see_int("0x1020", k->arch_prctl(0x1020, (uintptr_t)buffer));
    see_int("0x1026", k->arch_prctl(0x1026, (uintptr_t)buffer));
    see_int("0x1027", k->arch_prctl(0x1027, (uintptr_t)buffer));
}

/* What CPU and XCR0 say, in a fixed order. */
static void snapshot(const struct kernel *k, const char *where) {
    static const uint32_t leaves[][2] = {{7, 0},    {0xd, 0},  {0xd, 17}, {0xd, 18},
                                         {0x1d, 0}, {0x1d, 1}, {0x1e, 0}};
    enum { LEAVES = sizeof leaves / sizeof *leaves };
    int64_t values[1 + 4 * LEAVES] = {(int64_t)k->xcr0()};
    for (int i = 0; i < LEAVES; i++) {
        uint32_t registers[4];
        k->cpuid(leaves[i][0], leaves[i][1], registers);
        for (int r = 0; r < 4; r++)
            values[1 + 4 * i + r] = registers[r];
    }
    see_ints(where, values, sizeof values / sizeof *values);
}

struct watcher {
    const struct kernel *k;
    _Atomic int started, requested;
};

static void *watch(void *argument) {
    struct watcher *const watcher = argument;
    snapshot(watcher->k, "old thread, before");
    watcher->started = 1;
    tool_await(&watcher->requested);
    snapshot(watcher->k, "old thread, after");
    return NULL;
}

static void *look_once(void *argument) {
    snapshot(argument, "new thread, after");
    return NULL;
}

static void disc_05(const struct kernel *k) {
    struct watcher watcher = {.k = k};
    cpu_set_t allowed;

    tool_need_tiles(k);
    snapshot(k, "before");
    const uint64_t old = tool_thread(k, watch, &watcher);
    tool_await(&watcher.started);
    tool_request(k);
    watcher.requested = 1;
    snapshot(k, "after");
    k->thread_join(old);
    k->thread_join(tool_thread(k, look_once, (void *)k));

    if (sched_getaffinity(0, sizeof allowed, &allowed))
        return; /* the judge then finds no CPU */
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (CPU_ISSET(cpu, &allowed) && !sched_setaffinity(0, sizeof one, &one))
            snapshot(k, "on a CPU");
    }
}

static void see_leaf(const struct kernel *k, const char *key, uint32_t leaf, uint32_t subleaf) {
    uint32_t registers[4];
    k->cpuid(leaf, subleaf, registers);
    see_ints(key, (int64_t[]){registers[0], registers[1], registers[2], registers[3]}, 4);
}

static void disc_06(const struct kernel *k) {
    tool_need_tiles(k);
    tool_need_xsave(k);
    see_leaf(k, "d0", 0xd, 0);
    see_leaf(k, "d17", 0xd, XFEATURE_XTILECFG);
    see_leaf(k, "d18", 0xd, XFEATURE_XTILEDATA);
    see_leaf(k, "1d0", 0x1d, 0);
    see_leaf(k, "1d1", 0x1d, 1);
    see_leaf(k, "1e0", 0x1e, 0);
}

static int cpuinfo_has(const char *flag) {
    char line[8192];
    FILE *const cpuinfo = fopen("/proc/cpuinfo", "re");
    if (!cpuinfo)
        provoke_cannot("/proc/cpuinfo: %s", strerror(errno));
    int found = 0;
    while (!found && fgets(line, sizeof line, cpuinfo))
        if (!strncmp(line, "flags", 5))
            for (char *word = strtok(line, " \t\n"); word && !found; word = strtok(NULL, " \t\n"))
                found = !strcmp(word, flag);
    fclose(cpuinfo);
    return found;
}

static void disc_07(const struct kernel *k) {
    enum { AMX_TILE = 1 << 24, XFD = 1 << 4 };
    uint32_t leaf7[4], leafd1[4];
    uint64_t supported = 0;
    k->cpuid(7, 0, leaf7);
    k->cpuid(0xd, 1, leafd1);
    see_int("cpuid", (leaf7[3] & AMX_TILE) != 0);
    see_int("xfd", (leafd1[0] & XFD) != 0);
    see_int("cpuinfo", cpuinfo_has("amx_tile"));
    see_bits("xcr0", k->xcr0());
    see_int("result", k->arch_prctl(ARCH_GET_XCOMP_SUPP, (uintptr_t)&supported));
    see_bits("supported", supported);
}

static void disc_08(const struct kernel *k) {
    uint32_t xsave[4];
    if (stage_name) {
        see_int("after exec", (int64_t)tool_minsigstksz(k));
        return;
    }
    k->cpuid(0xd, 0, xsave);
    see_int("before", (int64_t)tool_minsigstksz(k));
    see_int("xsave", xsave[1]); /* D.0:EBX, the largest state that XCR0 allows */
    see_int("request", k->arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA));
    see_int("after", (int64_t)tool_minsigstksz(k));
    provoke_broken("exec: %ld", stage_exec(k, "exec"));
}

/* arch_prctl is 384 of the i386 table, the same function (entry/syscalls/syscall_32.tbl). */
static long int80(uint32_t op, uint32_t argument) {
    long result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(384L), "b"((uint64_t)op), "c"((uint64_t)argument)
                     : "r8", "r9", "r10", "r11", "memory");
    return (int)result;
}

static void try_int80(const struct kernel *k) {
    (void)k;
    if (int80(ARCH_GET_XCOMP_SUPP, 0) == -ENOSYS)
        provoke_cannot("the kernel has no 32-bit system calls");
}

static void disc_09(const struct kernel *k) {
    siginfo_t info;
    uint64_t supported = 0;
    /* A pointer of 32 bits. */
    uint64_t *const low =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (low == MAP_FAILED)
        provoke_cannot("no memory below 4 GiB can be had here: %s", strerror(errno));
    if (tool_catch(try_int80, k, &info))
        provoke_cannot("int $0x80 raises signal %d: the kernel has no 32-bit system calls", info.si_signo);
    see_int("supp 64", k->arch_prctl(ARCH_GET_XCOMP_SUPP, (uintptr_t)&supported));
    see_bits("supported 64", supported);
    see_int("supp 32", int80(ARCH_GET_XCOMP_SUPP, (uint32_t)(uintptr_t)low));
    see_bits("supported 32", *low);
    see_int("request 32", int80(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA));
    see_int("perm 32", int80(ARCH_GET_XCOMP_PERM, (uint32_t)(uintptr_t)low));
    see_bits("permission 32", *low);
    see_bits("permission 64", tool_permission(k));
}

const struct provocation provoke_disc[] = {
    {"DISC-01", "ARCH_GET_XCOMP_SUPP beside XCR0", disc_01, 0},
    {"DISC-02", "reading operations with bad and unaligned pointers", disc_02, 0},
    {"DISC-03", "arguments of the proposals that had these numbers before", disc_03, 0},
    {"DISC-04", "the numbers next to the five operations", disc_04, 0},
    {"DISC-05", "XCR0 and CPUID before and after the request, in old and new threads, on each CPU", disc_05,
     0},
    {"DISC-06", "geometry in CPUID leaves D, 1D and 1E", disc_06, 0},
    {"DISC-07", "CPUID, /proc/cpuinfo and ARCH_GET_XCOMP_SUPP beside each other", disc_07, 1},
    {"DISC-08", "AT_MINSIGSTKSZ before and after the request and exec", disc_08, 0},
    {"DISC-09", "the same operations through int $0x80", disc_09, 1},
    {0},
};
