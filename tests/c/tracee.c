/* What the traced programs of tests/emulate/test_ptrace*.py do: `tracee CASE`. Each prints what it saw; a
 * product that is not what it should be ends the program with status 99. */
#define _GNU_SOURCE /* gettid and more */
#include "insn.h"
#include "product.h"

#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { GET_PERM = 0x1022, REQ_PERM = 0x1023, XTILEDATA = 18, PAGE = 4096, MINSIGSTKSZ_TYPE = 51 };

static const char *self;
static const uint8_t all_tiles[64] = {[0] = 1,   [16] = 64, [18] = 64, [20] = 64, [22] = 64, [24] = 64,
                                      [26] = 64, [28] = 64, [30] = 64, [48] = 16, [49] = 16, [50] = 16,
                                      [51] = 16, [52] = 16, [53] = 16, [54] = 16, [55] = 16};

static long request(void) {
    return syscall(SYS_arch_prctl, REQ_PERM, XTILEDATA) == 0 ? 0 : -errno;
}

static unsigned long permission(void) {
    unsigned long mask = 0;
    syscall(SYS_arch_prctl, GET_PERM, &mask);
    return mask;
}

static void product(unsigned seed) {
    if (wrong_elements(all_tiles, seed) != 0)
        _exit(99);
}

static void permitted_product(void) {
    if (request() != 0)
        _exit(98);
    product(1);
}

static int say_product(void) {
    permitted_product();
    puts("right");
    return 7;
}

enum { ALL_FEATURES = 0xd }; /* CPUID.7.0:EDX[22, 24, 25] */

static unsigned cpu_features(void) {
    unsigned a, b, c, d;
    __cpuid_count(7, 0, a, b, c, d);
    const unsigned features = d >> 22 & ALL_FEATURES;
    __asm__ volatile(".byte 0x48, 0x0f, 0xa2" /* with a prefix */
                     : "=a"(a), "=b"(b), "=c"(c), "=d"(d)
                     : "0"(7), "2"(0));
    return (d >> 22 & ALL_FEATURES) == features ? features : 95;
}

static int say_cpu(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    printf("features %x, tiles in XCR0 %x, AT_MINSIGSTKSZ %lu\n", cpu_features(), low >> 17 & 3,
           getauxval(MINSIGSTKSZ_TYPE));
    printf("permission %lx", permission());
    printf(", request %ld", request());
    printf(", permission %lx\n", permission());
    return 0;
}

/* ---- threads and processes ---- */

static pthread_barrier_t permitted;

static void *products(void *seed) {
    pthread_barrier_wait(&permitted);
    for (unsigned i = 0; i < 20; i++)
        product((unsigned)(uintptr_t)seed + i);
    return NULL;
}

/* Permission is the process's, whoever asks, and also that of threads that are there already. */
static int threads(void) {
    enum { THREADS = 8 };
    pthread_t thread[THREADS];
    pthread_barrier_init(&permitted, NULL, THREADS + 1);
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, products, (void *)(1000 * i));
    if (request() != 0)
        return 98;
    pthread_barrier_wait(&permitted);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    puts("right");
    return 0;
}

static void print_tiles(const char *who) {
    uint8_t config[64], rows[16][64];
    int any = 0;
    AMX_STTILECFG(config);
    AMX_TILESTORED(3, rows, 64);
    for (int i = 0; i < 16 * 64; i++)
        any |= rows[i / 64][i % 64];
    printf("%s: configuration %s, data %s\n", who, memcmp(config, all_tiles, 64) ? "other" : "same",
           any ? "live" : "zero");
    fflush(stdout);
}

static void *print_tiles_of_thread(void *unused) {
    print_tiles("thread");
    return unused;
}

static int inherit(void) {
    static const uint8_t rows[16][64] = {{1, 2, 3}};
    pthread_t thread;
    request();
    AMX_LDTILECFG(all_tiles);
    AMX_TILELOADD(3, rows, 64);
    if (fork() == 0) {
        print_tiles("fork");
        _exit(0);
    }
    wait(NULL);
    if (vfork() == 0) { /* in the parent's memory: nothing is buffered */
        print_tiles("vfork");
        _exit(0);
    }
    pthread_create(&thread, NULL, print_tiles_of_thread, NULL);
    pthread_join(thread, NULL);
    print_tiles("itself");
    return 0;
}

static int execute(void) {
    printf("before %lx\n", (request(), permission()));
    fflush(stdout);
    execl("/proc/self/exe", self, "cpu", NULL);
    return 1;
}

static void *execute_in_thread(void *unused) {
    execute();
    return unused;
}

static int execute_by_thread(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, execute_in_thread, NULL);
    pause();
    return 1;
}

static pid_t leader;

static int leader_has_ended(void) {
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)leader);
    FILE *const stat = fopen(path, "re");
    if (!stat || !fgets(text, sizeof text, stat))
        _exit(95);
    fclose(stat);
    const char *const name_end = strrchr(text, ')');
    return name_end && name_end[1] == ' ' && name_end[2] == 'Z';
}

static void *outlive_leader(void *unused) {
    (void)unused;
    while (!leader_has_ended())
        sched_yield();
    exit(say_product());
}

static int leader_ends(void) {
    pthread_t thread;
    leader = getpid();
    pthread_create(&thread, NULL, outlive_leader, NULL);
    pthread_exit(NULL);
}

static int forks(void) {
    int failed = 0, status;
    request();
    for (unsigned i = 0; i < 50; i++)
        if (fork() == 0) {
            product(i);
            _exit(cpu_features() == ALL_FEATURES ? 0 : 96);
        }
    while (wait(&status) > 0)
        failed += status != 0;
    printf("%d failed\n", failed);
    return 0;
}

/* Processes that are killed while they make others; those that came to be live on. */
static int killed_creators(void) {
    request();
    for (unsigned i = 0; i < 100; i++) {
        const pid_t creator = fork();
        if (creator == 0)
            for (;;)
                if (fork() == 0) {
                    product(i);
                    _exit(0);
                }
        if (creator < 0) /* which kill() would take for everybody */
            return perror("fork"), 1;
        usleep(37 * i);
        kill(creator, SIGKILL);
        waitpid(creator, NULL, 0);
    }
    puts("all killed");
    return 0;
}

/* Its child's child multiplies when both are gone. */
static int orphan(void) {
    int ends[2];
    char byte;
    request();
    if (pipe(ends) == 0 && fork() == 0) {
        if (fork() == 0) {
            close(ends[1]);
            if (read(ends[0], &byte, 1) == 0) /* the last writer has ended */
                product(3);
            puts("right");
            fflush(stdout);
        }
        _exit(0);
    }
    wait(NULL);
    return 5;
}

/* ---- signals ---- */

static siginfo_t seen;
static sigjmp_buf back;

static void note(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    seen = *info;
    siglongjmp(back, 1);
}

static void note_and_request(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    seen = *info;
    request();
}

static void handle(int number, void (*handler)(int, siginfo_t *, void *)) {
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = handler;
    sigaction(number, &action, NULL);
}

/* Where the second instruction of a function is, whose first is as long as this. */
__attribute__((noinline)) static void tilezero(void) {
    AMX_TILEZERO(0);
}

static int is_at(void *address, void (*function)(void)) {
    return (char *)address >= (char *)function && (char *)address < (char *)function + 16;
}

static int without_permission(void) {
    handle(SIGILL, note);
    if (!sigsetjmp(back, 1))
        tilezero();
    printf("unconfigured: code %d, at it %d\n", seen.si_code, is_at(seen.si_addr, tilezero));
    AMX_LDTILECFG(all_tiles);
    if (!sigsetjmp(back, 1))
        tilezero();
    printf("unpermitted: code %d, at it %d\n", seen.si_code, is_at(seen.si_addr, tilezero));
    AMX_LDTILECFG(all_tiles); /* the handler jumped out of its frame, where it was */
    handle(SIGILL, note_and_request);
    tilezero();
    printf("code %d, and permitted by the handler\n", seen.si_code);
    return 0;
}

static int undefined(void) {
    permitted_product();
    __asm__ volatile("ud2");
    return 0;
}

static int undefined_handled(void) {
    permitted_product();
    handle(SIGILL, note);
    if (!sigsetjmp(back, 1))
        __asm__ volatile("ud2");
    printf("code %d\n", seen.si_code);
    return 0;
}

static int null_pointer(void) {
    permitted_product();
    *(volatile int *)NULL = 1;
    return 0;
}

static int unpermitted(void) {
    AMX_LDTILECFG(all_tiles);
    tilezero();
    return 0;
}

static int bad_config(void) {
    static const uint8_t bad[64] = {9};
    AMX_LDTILECFG(bad);
    return 0;
}

static uint8_t *pages;

static void open_page(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    seen = *info;
    mprotect(pages + PAGE, PAGE, PROT_READ | PROT_WRITE);
    memset(pages + PAGE, 2, PAGE);
}

static int page_fault(void) {
    uint8_t out[16][64];
    pages = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(pages, 1, PAGE);
    mprotect(pages + PAGE, PAGE, PROT_NONE);
    munmap(pages + 2 * PAGE, PAGE);
    request();
    AMX_LDTILECFG(all_tiles);
    handle(SIGSEGV, open_page);
    AMX_TILELOADD(0, pages + PAGE - 5 * 64 - 10, 64); /* the sixth row ends in the closed page */
    printf("load: code %d, address %td\n", seen.si_code, (uint8_t *)seen.si_addr - pages);
    AMX_TILESTORED(0, out, 64);
    printf("rows %d %d %d %d\n", out[4][63], out[5][9], out[5][10], out[15][63]);
    handle(SIGSEGV, note);
    if (!sigsetjmp(back, 1))
        AMX_TILESTORED(0, pages + 2 * PAGE - 3 * 64 - 32, 64);
    printf("store: code %d, address %td, bytes before it %d\n", seen.si_code, (uint8_t *)seen.si_addr - pages,
           pages[2 * PAGE - 1]);
    mprotect(pages, PAGE, PROT_READ);
    AMX_LDTILECFG(all_tiles); /* the next store begins with row 0 again */
    if (!sigsetjmp(back, 1))
        AMX_TILESTORED(0, pages + PAGE - 32, 64);
    printf("read-only: code %d, address %td, bytes after it %d\n", seen.si_code,
           (uint8_t *)seen.si_addr - pages, pages[PAGE]);
    return 0;
}

static int fault_with(int how) {
    request();
    AMX_LDTILECFG(all_tiles);
    handle(SIGSEGV, note);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    if (how == SIG_BLOCK)
        sigprocmask(SIG_BLOCK, &set, NULL);
    else
        signal(SIGSEGV, SIG_IGN);
    AMX_TILELOADD(0, (void *)64, 0);
    return 0;
}

static int fault_blocked(void) {
    return fault_with(SIG_BLOCK);
}

static int fault_ignored(void) {
    return fault_with(-1);
}

static int stack_growth(void) {
    uint8_t *const deep = (uint8_t *)__builtin_frame_address(0) - (1 << 20);
    request();
    AMX_LDTILECFG(all_tiles);
    AMX_TILEZERO(0);
    AMX_TILESTORED(0, deep, 64);
    printf("stored %d\n", deep[100]);
    return 0;
}

/* A thread that blocks everything, in a program that handles SIGILL. */
static int blocked(void) {
    sigset_t all;
    sigfillset(&all);
    request();
    handle(SIGILL, note);
    sigprocmask(SIG_BLOCK, &all, NULL);
    product(1);
    product(2);
    sigemptyset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    if (!sigsetjmp(back, 1))
        __asm__ volatile("ud2");
    printf("right, then code %d\n", seen.si_code);
    return 0;
}

/* What a handler finds, and leaves: a configuration of its own. */
static void look_at_tiles(int number) {
    static const uint8_t other[64] = {1, [16] = 4, [48] = 1};
    uint8_t config[64];
    AMX_STTILECFG(config);
    printf("%s %d, ", number == SIGUSR1 ? "handler" : "nested", config[0]);
    if (number == SIGUSR1) {
        AMX_LDTILECFG(other);
        raise(SIGUSR2);
        AMX_STTILECFG(config);
        printf("handler again %d, ", memcmp(config, other, sizeof config));
        AMX_TILEZERO(0);
        if (fork() == 0) /* which returns from this handler too */
            return;
        wait(NULL);
    }
}

static void jump_out(int number) {
    (void)number;
    siglongjmp(back, 1);
}

static int tiles_in_handlers(void) {
    static const uint8_t rows[16][64] = {{1, 2, 3}};
    const pid_t parent = getpid();
    setvbuf(stdout, NULL, _IONBF, 0);
    signal(SIGUSR1, look_at_tiles);
    signal(SIGUSR2, look_at_tiles);
    request();
    raise(SIGUSR1);
    if (getpid() != parent)
        _exit(0);
    uint8_t config[64];
    AMX_STTILECFG(config);
    printf("INIT again %d\n", config[0]);
    AMX_LDTILECFG(all_tiles);
    AMX_TILELOADD(3, rows, 64);
    raise(SIGUSR1);
    print_tiles(getpid() == parent ? "itself" : "child");
    if (getpid() != parent)
        _exit(0);
    signal(SIGUSR1, jump_out);
    if (!sigsetjmp(back, 1))
        raise(SIGUSR1);
    AMX_STTILECFG(config);
    printf("after a jump %d\n", config[0]);
    return 0;
}

static volatile sig_atomic_t alarms;

static void count_alarm(int number) {
    (void)number;
    alarms++;
}

static long now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Products until an alarm has come among them, again and again, each time after another while, up to what two
 * products take. */
static int alarm_storm(void) {
    enum { ALARMS = 100 };
    unsigned products = 0;
    long longest = 1;
    permitted_product();
    signal(SIGALRM, count_alarm);
    for (int i = 0; i < ALARMS; i++) {
        setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 1 + 97 * i % longest}}, NULL);
        do {
            const long before = now_us();
            product(products++);
            longest = 1 + (2 * (now_us() - before)) % 100000;
        } while (alarms == i);
    }
    printf("%d alarms amid %u products\n", (int)alarms, products);
    return 0;
}

static volatile sig_atomic_t terminated;

static void terminate(int number) {
    terminated = number;
}

/* Runs until SIGTERM. */
static int wait_for_term(void) {
    signal(SIGTERM, terminate);
    permitted_product();
    printf("%d\n", (int)getpid());
    fflush(stdout);
    for (unsigned i = 0; !terminated; i++) {
        product(i);
        usleep(1000);
    }
    puts("terminated");
    return 3;
}

static int set_stack(size_t size, int flags) {
    static char memory[16384];
    const stack_t stack = {.ss_sp = memory, .ss_size = size, .ss_flags = flags};
    return sigaltstack(&stack, NULL) == 0 ? 0 : -errno;
}

static int alternate_stacks(void) {
    enum { SMALL = 4096, LARGE = 16384, NO_SUCH_FLAG = 64 };
    printf("%d", set_stack(SMALL, 0));
    printf(" %ld", request());
    printf(" %d", set_stack(LARGE, 0));
    printf(" %d", set_stack(SMALL, NO_SUCH_FLAG)); /* the real kernel refuses it */
    printf(" %ld", request());
    printf(" %d\n", set_stack(SMALL, 0));
    return 0;
}

/* tilemovrow %zmm1 = row 5 of tmm2, with what else is in the register file left as it is. */
__attribute__((target("avx512f"))) static int row_to_zmm(void) {
    uint8_t rows[16][64], out[3][64];
    for (int i = 0; i < 16 * 64; i++)
        rows[i / 64][i % 64] = (uint8_t)(i * 11 + i / 64);
    request();
    AMX_LDTILECFG(all_tiles);
    AMX_TILELOADD(2, rows, 64);
    /* AVX, opmask and ZMM components INIT, so that what is written makes them live. */
    _Alignas(64) static uint8_t area[4096] = {[24] = 0x80, [25] = 0x1f}; /* MXCSR */
    __asm__ volatile("xrstor %0" : : "m"(area), "a"(0xe4), "d"(0) : "memory", "xmm0", "xmm1", "xmm18");
    __asm__ volatile(".byte 0x62, 0xf3, 0x7d, 0x48, 0x07, 0xca, 0x05\n\tvmovdqu64 %%zmm1, %0"
                     : "=m"(out[0])
                     :
                     : "xmm1");
    printf("%d, ", memcmp(out[0], rows[5], 64));
    __asm__ volatile("vmovdqu64 %3, %%zmm0\n\t"
                     "vmovdqu64 %3, %%zmm18\n\t"
                     ".byte 0x62, 0xf3, 0x7d, 0x48, 0x07, 0xca, 0x05\n\t"
                     "vmovdqu64 %%zmm0, %0\n\tvmovdqu64 %%zmm1, %1\n\tvmovdqu64 %%zmm18, %2"
                     : "=m"(out[0]), "=m"(out[1]), "=m"(out[2])
                     : "m"(rows[9])
                     : "xmm0", "xmm1", "xmm18");
    printf("%d %d %d\n", memcmp(out[0], rows[9], 64), memcmp(out[1], rows[5], 64),
           memcmp(out[2], rows[9], 64));
    return 0;
}

/* Undefined where there are no such registers. */
static int row_move(void) {
    if (__builtin_cpu_supports("avx512f"))
        return row_to_zmm();
    puts("no AVX-512");
    fflush(stdout);
    request();
    AMX_LDTILECFG(all_tiles);
    __asm__ volatile(".byte 0x62, 0xf3, 0x7d, 0x48, 0x07, 0xca, 0x05");
    return 0;
}

static const struct {
    const char *name;
    int (*run)(void);
} cases[] = {
    {"product", say_product},
    {"cpu", say_cpu},
    {"threads", threads},
    {"inherit", inherit},
    {"exec", execute},
    {"exec-by-thread", execute_by_thread},
    {"leader-ends", leader_ends},
    {"forks", forks},
    {"killed-creators", killed_creators},
    {"orphan", orphan},
    {"without-permission", without_permission},
    {"ud2", undefined},
    {"ud2-handled", undefined_handled},
    {"null", null_pointer},
    {"unpermitted", unpermitted},
    {"bad-config", bad_config},
    {"page-fault", page_fault},
    {"fault-blocked", fault_blocked},
    {"fault-ignored", fault_ignored},
    {"stack", stack_growth},
    {"blocked", blocked},
    {"handlers", tiles_in_handlers},
    {"alarms", alarm_storm},
    {"term", wait_for_term},
    {"altstack", alternate_stacks},
    {"zmm", row_move},
};

int main(int argc, char **argv) {
    self = argv[0];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (argc > 1 && strcmp(argv[1], cases[i].name) == 0)
            return cases[i].run();
    return 97;
}
