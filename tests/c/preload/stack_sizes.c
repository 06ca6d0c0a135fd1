/* A program that asks how large its alternate signal stack must be, in the way that its argument names, sets
 * one of that size, requests permission, and sets it once more. It prints the size and what it got. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MINSIGSTKSZ_TYPE = 51, SC_MINSIGSTKSZ = 249, SC_SIGSTKSZ = 250 };
enum { ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };

static long look_through(const Elf64_auxv_t *entry) {
    while (entry->a_type != AT_NULL && entry->a_type != MINSIGSTKSZ_TYPE)
        entry++;
    return entry->a_type == AT_NULL ? 0 : (long)entry->a_un.a_val;
}

static long by_initial_stack(char **environment) {
    while (*environment)
        environment++;
    return look_through((const Elf64_auxv_t *)(environment + 1));
}

static long by_proc(void) {
    static Elf64_auxv_t entries[64];
    const int file = open("/proc/self/auxv", O_RDONLY);
    if (file < 0 || read(file, entries, sizeof entries - sizeof *entries) < 0)
        return -1;
    close(file);
    return look_through(entries);
}

static int set(long size) {
    const stack_t stack = {.ss_sp = malloc((size_t)size), .ss_size = (size_t)size};
    return sigaltstack(&stack, NULL) == 0 ? 0 : errno;
}

int main(int argc, char **argv, char **environment) {
    const char *const way = argc > 1 ? argv[1] : "";
    const long size = strcmp(way, "getauxval") == 0 ? (long)getauxval(MINSIGSTKSZ_TYPE)
                      : strcmp(way, "sysconf") == 0 ? sysconf(SC_MINSIGSTKSZ)
                      : strcmp(way, "larger") == 0  ? sysconf(SC_SIGSTKSZ)
                      : strcmp(way, "stack") == 0   ? by_initial_stack(environment)
                                                    : by_proc();
    if (size <= 0) {
        puts("not told");
        return 0;
    }
    const int before = set(size);
    const int granted = syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0 ? 0 : errno;
    printf("%ld %d %d %d\n", size, before, granted, set(size));
    return 0;
}
