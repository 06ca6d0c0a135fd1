/* A program that asks how large its alternate signal stack must be, in each way that there is, sets one of
 * that size, requests permission, and sets it once more. It prints the size and what it got. */
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
#include <sys/wait.h>
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

static void ask(const char *way, long size) {
    if (size <= 0) {
        printf("%s not told\n", way);
        return;
    }
    const int before = set(size);
    const int granted = syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0 ? 0 : errno;
    printf("%s %ld %d %d %d\n", way, size, before, granted, set(size));
}

/* Each in a process of its own, since permission stays. */
int main(int argc, char **argv, char **environment) {
    enum { WAYS = 5 };
    (void)argc, (void)argv;
    for (int way = 0; way < WAYS; way++) {
        fflush(stdout);
        if (fork() != 0) {
            wait(NULL);
            continue;
        }
        if (way == 0)
            ask("getauxval", (long)getauxval(MINSIGSTKSZ_TYPE));
        else if (way == 1)
            ask("sysconf", sysconf(SC_MINSIGSTKSZ));
        else if (way == 2)
            ask("larger", sysconf(SC_SIGSTKSZ));
        else if (way == 3)
            ask("stack", by_initial_stack(environment));
        else
            ask("proc", by_proc());
        return 0;
    }
    return 0;
}
