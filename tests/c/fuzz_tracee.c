/* A hostile traced program: `fuzz_tracee AMX ACTIONS`. ACTIONS are bytes in hexadecimal, two for each of at
 * most MOST actions. With AMX 0 the instructions of AMX are left out, and all else is the same, so that a run
 * without a tracer says what should come out. A wrong product is status 99; code in a shared file that has
 * changed is 98. Works in the current directory, which is its own; $AMX_FUZZ_TRACES is where its tracer
 * writes. */
#define _GNU_SOURCE
#include "insn.h"
#include "product.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, MOST = 10, WRONG = 99, CHANGED = 98 };
enum { ARCH_GET_XCOMP_SUPP = 0x1021, ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };

static const uint8_t config[64] = {1, [16] = 64, [18] = 64, [20] = 64, [48] = 16, 16, 16};
/* cpuid; xgetbv; tilerelease; ret, with the registers of cpuid kept. */
static const uint8_t code[] = {0x53, 0x31, 0xc0, 0x31, 0xc9, 0x0f, 0xa2, 0x31, 0xc9, 0x0f,
                               0x01, 0xd0, 0xc4, 0xe2, 0x78, 0x49, 0xc0, 0x5b, 0xc3};
static int amx;
static char *self, *words;
static sigjmp_buf back;
static uint8_t *volatile nowhere = (uint8_t *)64;

/* By itself, since it needs more of the stack than a small alternate one has. */
static __attribute__((noinline)) void multiply(unsigned seed) {
    if (wrong_elements(config, seed))
        _exit(WRONG);
}

static void product(unsigned seed) {
    if (!amx)
        return;
    if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) != 0)
        return; /* an alternate stack is too small */
    multiply(seed);
}

static void execute(const uint8_t *at) {
    if (amx)
        ((void (*)(void))(uintptr_t)at)();
}

static void jump(int number) {
    (void)number;
    siglongjmp(back, 1);
}

static void count(int number) {
    product((unsigned)number);
}

static void handle(int number, void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigaction(number, &action, NULL);
}

static void *thread(void *seed) {
    product((unsigned)(uintptr_t)seed);
    return NULL;
}

static void *ending_thread(void *status) {
    product(3);
    syscall(SYS_exit_group, (int)(uintptr_t)status);
    return NULL;
}

static int cloned(void *seed) {
    product((unsigned)(uintptr_t)seed);
    return 0;
}

static void again(int rest) {
    char *const argv[] = {self, amx ? "1" : "0", words + rest, NULL};
    execve(self, argv, environ);
    printf("exec: %d\n", errno);
}

static void generated(unsigned how) {
    uint8_t *const page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE | (how & 1 ? PROT_EXEC : 0),
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *const at = page + (how & 2 ? PAGE - 7 : 0);
    for (int i = 0; i < 3; i++) {
        mprotect(page, 2 * PAGE, PROT_READ | PROT_WRITE);
        memcpy(at, code, sizeof code);
        mprotect(page, 2 * PAGE, PROT_READ | PROT_EXEC | (how & 4 ? PROT_WRITE : 0));
        execute(at);
    }
    munmap(page + (how & 8 ? PAGE : 0), PAGE);
}

/* Code in a file: executed through a mapping, and read through the file. */
static void in_file(unsigned how) {
    uint8_t found[sizeof code];
    const int file = open("code", O_RDWR | O_CREAT | O_TRUNC, 0700);
    if (file < 0 || pwrite(file, code, sizeof code, 64) != sizeof code || ftruncate(file, 2 * PAGE) != 0)
        _exit(97);
    const int protection = PROT_READ | PROT_EXEC | (how & 1 ? PROT_WRITE : 0);
    uint8_t *const page = mmap(NULL, 2 * PAGE, protection, how & 2 ? MAP_SHARED : MAP_PRIVATE, file, 0);
    execute(page + 64);
    execute(page + 64);
    if (pread(file, found, sizeof found, 64) != sizeof found || memcmp(found, code, sizeof code) != 0)
        _exit(CHANGED);
    if (how & 4 && ftruncate(file, how & 8 ? 0 : PAGE) == 0)
        munmap(page, PAGE);
    if (how & 16)
        unlink("code");
    if (how & 32)
        mkfifo("code", 0600);
    close(file);
}

/* An ELF file with as many headers as there can be, most of them beyond its blocks. */
static void sparse(unsigned how) {
    uint8_t header[64] = {0x7f,     'E',       'L',      'F',       2,         1,        1,
                          [16] = 3, [18] = 62, [20] = 1, [32] = 64, [52] = 64, [54] = 56};
    header[56] = header[57] = 0xff;
    if (how & 1)
        header[41] = 0x40, header[58] = 64, header[60] = header[61] = 0xff;
    const int file = open("sparse", O_RDWR | O_CREAT | O_TRUNC, 0700);
    if (file < 0 || write(file, header, sizeof header) != sizeof header)
        _exit(97);
    for (unsigned i = 0; i < 64; i++) {
        const uint32_t segment[14] = {1, 5,    0, 0,    0, i, 0, i, how & 2 ? 0xf0000000 : PAGE,
                                      0, PAGE, 0, PAGE, 0};
        if (write(file, segment, sizeof segment) != sizeof segment)
            _exit(97);
    }
    if (ftruncate(file, how & 4 ? (off_t)8 << 30 : 16 << 20) != 0)
        _exit(97);
    mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0);
    close(file);
}

/* What its tracer writes is in a directory that it knows. */
static void at_the_traces(unsigned how) {
    const char *const directory = getenv("AMX_FUZZ_TRACES");
    char name[512];
    if (directory == NULL || !amx)
        return;
    snprintf(name, sizeof name, "%s/%d.trace", directory, (int)getpid());
    product(how);
    if (how & 1 && truncate(name, how & 2 ? 100 : 0) != 0)
        return;
    if (how & 4)
        unlink(name);
    if (how & 8)
        mkfifo(name, 0600);
    if (how & 16)
        rmdir(directory);
    product(how);
}

static void fault(int number, unsigned how) {
    handle(number, jump, how & 1 ? SA_NODEFER : 0);
    if (sigsetjmp(back, 1))
        return;
    if (number == SIGILL)
        __asm__ volatile("ud2");
    else if (number == SIGTRAP)
        __asm__ volatile("int3");
    else if (amx && how & 2)
        AMX_LDTILECFG(nowhere);
    else
        *nowhere = 1;
}

static void child(unsigned how) {
    int status;
    const pid_t pid = how & 1 ? (pid_t)syscall(SYS_fork) : fork();
    if (pid == 0) {
        product(how);
        if (how & 2)
            raise(SIGKILL);
        if (how & 4)
            abort();
        _exit(how & 31);
    }
    product(how + 1);
    waitpid(pid, &status, 0);
    printf("child %d\n", status);
}

/* Until there is no stack. */
static int recurse(volatile char *above) {
    volatile char here[PAGE];
    here[0] = *above;
    return *above == 77 ? 0 : recurse(here) + here[1];
}

static void end(unsigned how) {
    pthread_t other;
    switch (how % 6) {
    case 0:
        if (pthread_create(&other, NULL, ending_thread, (void *)(uintptr_t)(how & 31)) == 0)
            for (;;)
                pause();
        break;
    case 1:
        if (pthread_create(&other, NULL, ending_thread, (void *)(uintptr_t)(how & 31)) == 0)
            syscall(SYS_exit, 0);
        break;
    case 2:
        recurse((volatile char *)&other);
        break;
    case 3: /* a frame that is none */
        __asm__ volatile("mov %0, %%rsp; mov $15, %%eax; syscall" : : "r"(words) : "memory");
        break;
    case 4:
        signal(SIGSEGV, SIG_DFL);
        *nowhere = 1;
        break;
    default:
        raise((int)(how >> 3) % 2 ? SIGKILL : SIGUSR2);
    }
}

static void act(unsigned what, unsigned how, int rest) {
    static char stack[1 << 16];
    pthread_t other;
    int status;
    switch (what % 22) {
    case 0:
        product(how);
        break;
    case 1:
        generated(how);
        break;
    case 2:
        in_file(how);
        break;
    case 3:
        sparse(how);
        break;
    case 4:
        at_the_traces(how);
        break;
    case 5:
        fault(how & 4 ? SIGILL : how & 8 ? SIGTRAP : SIGSEGV, how);
        break;
    case 6:
        child(how);
        break;
    case 7:
        again(rest);
        break;
    case 8:
        if (pthread_create(&other, NULL, thread, (void *)(uintptr_t)how) == 0)
            pthread_join(other, NULL);
        break;
    case 9:
        handle(SIGUSR1, count, how & 1 ? SA_ONSTACK : 0);
        raise(SIGUSR1);
        break;
    case 10:
        sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = (size_t)how << 7, .ss_flags = how & 3}, NULL);
        break;
    case 11:
        syscall(SYS_arch_prctl, ARCH_GET_XCOMP_SUPP + (how & 7), how & 8 ? (long)stack : (long)how);
        break;
    case 12:
        if (clone(cloned, stack + sizeof stack, CLONE_VM | CLONE_FILES | SIGCHLD, (void *)(uintptr_t)how) > 0)
            wait(&status);
        break;
    case 13:
        setpgid(0, 0);
        break;
    case 14:
        setrlimit(how & 1 ? RLIMIT_NOFILE : RLIMIT_FSIZE, &(struct rlimit){how & 2 ? 0 : 64, 64});
        break;
    case 15:
        unlink(self);
        if (how & 1)
            mkfifo(self, 0700);
        break;
    case 16:
        if (vfork() == 0) {
            execl(how & 1 ? "/nonexistent" : self, self, "0", "", NULL);
            _exit(3);
        }
        wait(&status);
        printf("vfork %d\n", status);
        break;
    case 17:
        handle(SIGALRM, count, SA_RESTART);
        setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 1 + 100 * (int)how}}, NULL);
        for (int i = 0; i < 20; i++)
            product((unsigned)i);
        setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
        break;
    case 18:
        if (amx && how & 1)
            ptrace(PTRACE_TRACEME, 0, 0, 0);
        if (how & 2)
            mprotect((void *)((uintptr_t)act & -(uintptr_t)PAGE), PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
        break;
    case 19:
        prctl(PR_SET_NAME, how & 1 ? "a\n) R 1 (" : "\x1b[31m");
        close((int)how % 3 + 3);
        break;
    case 20:
        signal(SIGILL, how & 1 ? SIG_IGN : SIG_DFL);
        signal(SIGSEGV, how & 2 ? SIG_IGN : SIG_DFL);
        signal(SIGTRAP, how & 4 ? SIG_IGN : SIG_DFL);
        break;
    default:
        if (how & 1)
            end(how >> 1);
    }
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    self = argv[0];
    amx = argc > 2 && argv[1][0] == '1';
    words = argc > 2 ? argv[2] : "";
    for (int i = 0; i < MOST; i++) {
        unsigned what, how;
        if (strlen(words + 4 * i) < 4 || sscanf(words + 4 * i, "%2x%2x", &what, &how) != 2)
            break;
        printf("%u\n", what % 22);
        act(what, how, 4 * (i + 1));
    }
    product(5);
    return 7;
}
