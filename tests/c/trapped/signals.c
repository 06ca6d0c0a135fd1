/* Signals that are not AMX's, state that a trap must leave alone, and signals amid emulated products. */
#define _GNU_SOURCE
#include "trapped.h"

#include "insn.h"
#include "trap/thread/altstack.h"
#include "trap/signals/signals.h"
#include "trap/thread/thread.h"
#include "trap/trap.h"

#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static uint8_t *page; /* what handlers make accessible */

static void print_mask(const char *name) {
    sigset_t set;
    sigprocmask(SIG_BLOCK, NULL, &set);
    printf("%s", name);
    for (int i = 1; i < 32; i++)
        if (sigismember(&set, i))
            printf(" %d", i);
    printf("\n");
}

static void on_ud2(int signal, siginfo_t *info, void *opaque) {
    ucontext_t *const context = opaque;
    printf("signal %d\ncode %d\n", signal, info->si_code);
    check("si_addr", info->si_addr == (void *)context->uc_mcontext.gregs[REG_RIP]);
    print_mask("mask");
    context->uc_mcontext.gregs[REG_RIP] += 2;
}

static void install(int flags, int also_masked) {
    struct sigaction action = {.sa_sigaction = on_ud2, .sa_flags = SA_SIGINFO | flags};
    sigaddset(&action.sa_mask, also_masked);
    sigaction(SIGILL, &action, NULL);
}

static void ud2(void) {
    __asm__ volatile("ud2");
}

static void own_handler(void) {
    install(0, SIGUSR1);
    begin();
    load_full_configuration();
    ud2();
    AMX_TILEZERO(0);
    ud2();
    print_mask("mask_afterwards");
}

static void own_handler_nodefer(void) {
    install(SA_NODEFER, SIGUSR1);
    begin();
    ud2();
}

static void own_handler_resethand(void) {
    install(SA_RESETHAND, SIGUSR1);
    begin();
    ud2();
    ud2();
}

static sigjmp_buf back;
static void jump(int signal) {
    (void)signal;
    siglongjmp(back, 1);
}

/* Which loses the configuration, with the frame. */
static void own_handler_jumps(void) {
    signal(SIGILL, jump);
    begin();
    for (int i = 0; i < 3; i++) {
        load_full_configuration();
        AMX_TILEZERO(0);
        if (sigsetjmp(back, 1) == 0)
            ud2();
        else
            check("INIT", kernel_model_xinuse(&trap_thread()->task) == 0);
    }
    print_mask("mask_afterwards");
}

/* As the interposed sigaction() does it. */
static void handler_set_later(void) {
    struct sigaction found, action = {.sa_sigaction = on_ud2, .sa_flags = SA_SIGINFO};
    begin();
    load_full_configuration();
    check("set", trap_sigaction(SIGILL, &action, NULL) == 0);
    check("read", trap_sigaction(SIGILL, NULL, &found) == 0 && found.sa_sigaction == on_ud2);
    AMX_TILEZERO(0);
    ud2();
    amx_trap_stop();
    sigaction(SIGILL, NULL, &found);
    check("given back", found.sa_sigaction == on_ud2);
    ud2();
}

static void count_signal(int signal) {
    printf("sent %d\n", signal);
}

/* Not faults: they go to the handler, and nowhere where ignored. */
static void sent_by_somebody(void) {
    signal(SIGILL, count_signal);
    signal(SIGSEGV, SIG_IGN);
    begin();
    raise(SIGILL);
    raise(SIGSEGV);
    printf("alive 1\n");
}

/* While the emulation holds its lock. */
static void sent_amid_our_work(void) {
    signal(SIGSEGV, count_signal);
    begin();
    const uint64_t lock = trap_lock();
    raise(SIGSEGV);
    trap_unlock(lock);
    printf("alive 1\n");
}

static void killed_by_ud2(void) {
    begin();
    ud2();
}

static void killed_by_segfault(void) {
    begin();
    int *volatile nowhere = (int *)16;
    *nowhere = 1;
}

static void killed_by_breakpoint(void) {
    begin();
    __asm__ volatile("int3");
}

static void blocked_sigill(void) {
    sigset_t set;
    begin();
    sigfillset(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    load_full_configuration();
    printf("alive 1\n");
}

/* ---- what a trap leaves alone ---- */

enum { AREA = 16384, COMPONENTS = 0xe7 };
static _Alignas(64) uint8_t wanted[AREA], found_area[AREA], ours[AREA];

/* Without XSAVE those of FXSAVE: x87 and SSE. */
static uint64_t user_components(int xsave) {
    uint32_t eax, edx;
    if (!xsave)
        return 3;
    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return eax & COMPONENTS;
}

/* Random, but for what XRSTOR refuses (MXCSR, the header) and FXRSTOR's control words. */
static void make_area(uint8_t *area, uint64_t components) {
    const uint32_t mxcsr = 0x9fc0; /* flush to zero, round to nearest, all masked, denormals are zeros */
    fill(area, AREA, 3);
    memset(area, 0, 32);
    area[0] = 0x7f, area[1] = 0x03; /* x87 control word: everything masked */
    memcpy(area + 24, &mxcsr, sizeof mxcsr);
    memset(area + 512, 0, 64);
    memcpy(area + 512, &components, sizeof components);
}

static int same_components(uint64_t components) {
    if (memcmp(wanted + 24, found_area + 24, 4) != 0 || memcmp(wanted + 160, found_area + 160, 256) != 0)
        return 0;
    for (unsigned i = 2; i < 8; i++) {
        uint32_t size, at, ecx, edx;
        if (!(components >> i & 1))
            continue;
        __cpuid_count(0xD, i, size, at, ecx, edx);
        if (memcmp(wanted + at, found_area + at, size) != 0)
            return 0;
    }
    return 1;
}

/* XSAVE or XRSTOR, else what was there before them. */
#define STATE(what, area)                                                                                    \
    "test %[xsave], %[xsave]\n\t"                                                                            \
    "jz 1f\n\t"                                                                                              \
    "x" what "64 (%[" area "])\n\t"                                                                          \
    "jmp 2f\n"                                                                                               \
    "1: fx" what "64 (%[" area "])\n"                                                                        \
    "2:\n\t"

static void preserved(void) {
    enum { FLAGS = 0xcd5, INTERRUPTS = 0x202 }; /* CF PF AF ZF SF DF OF */
    uint32_t eax, ebx, ecx, edx;
    begin();
    load_full_configuration();
    const int xsave = __get_cpuid(1, &eax, &ebx, &ecx, &edx) && ecx & bit_OSXSAVE;
    const uint64_t components = user_components(xsave);
    make_area(wanted, components);
    for (int round = 0; round < 3; round++) {
        register uint64_t near __asm__("r12") = UINT64_C(0x1122334455667788) + (unsigned)round;
        register uint64_t far __asm__("r13") = UINT64_C(0x99aabbccddeeff00) + (unsigned)round;
        register uint64_t flags __asm__("r14") = FLAGS | INTERRUPTS;
        memset(found_area, 0, AREA);
        errno = 1234;
        __asm__ volatile(
            STATE("save", "ours") STATE("rstor", "wanted") /**/
            "lea -128(%%rsp), %%rsp\n\t"                   /* the compiler's own red zone */
            "push %[flags]\n\t"
            "popf\n\t"
            "mov %[near], -8(%%rsp)\n\t"
            "mov %[far], -128(%%rsp)\n\t"
            ".byte 0xc4, 0xe2, 0x7b, 0x49, 0xc0\n\t" /* tilezero %tmm0 */
            "mov -8(%%rsp), %[near]\n\t"
            "mov -128(%%rsp), %[far]\n\t"
            "pushf\n\t"
            "pop %[flags]\n\t"
            "cld\n\t"
            "lea 128(%%rsp), %%rsp\n\t" STATE("save", "found") STATE("rstor", "ours")
            : [near] "+r"(near), [far] "+r"(far), [flags] "+r"(flags)
            : [ours] "r"(ours), [wanted] "r"(wanted), [found] "r"(found_area), [xsave] "r"(xsave),
              "a"((uint32_t)components), "d"(0)
            : "memory", "cc");
        check("vector registers", same_components(components));
        check("errno", errno == 1234);
        check("flags", (flags & FLAGS) == FLAGS);
        check("red zone", near == UINT64_C(0x1122334455667788) + (unsigned)round &&
                              far == UINT64_C(0x99aabbccddeeff00) + (unsigned)round);
    }
    printf("components %#lx %s\n", (unsigned long)components, xsave ? "by XSAVE" : "by FXSAVE");
}

/* ---- signals amid products ---- */

static volatile sig_atomic_t ticks;
static void on_tick(int signal) {
    (void)signal;
    ticks++;
}

static long now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Products until a signal has come among them, a thousand times, each time after another while, up to what
 * two products take. The next is asked for between products only, so that there are some however long a
 * signal takes. */
static void amid_signals(void) {
    enum { SIGNALS = 1000 };
    static int8_t a[TILE], b[TILE];
    static int32_t c[256], expected[256];
    struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
    long longest = 1;
    int wrong = 0;
    fill(a, TILE, 4);
    fill(b, TILE, 5);
    begin();
    load_full_configuration();
    sigaction(SIGALRM, &action, NULL);
    for (int i = 0; i < SIGNALS && !wrong; i++) {
        const struct itimerval once = {{0, 0}, {0, 1 + 7 * i % longest}};
        setitimer(ITIMER_REAL, &once, NULL);
        do {
            const long before = now_us();
            product(a, b, c);
            longest = 1 + (2 * (now_us() - before)) % 100000;
            expected_product(a, b, expected);
            wrong = memcmp(c, expected, sizeof c) != 0;
        } while (ticks == i && !wrong);
    }
    check("product", !wrong);
    printf("signals %d\n", (int)ticks);
}

/* ---- the tiles around a handler ---- */

static void use_tiles_in_handler(int signal) {
    uint8_t config[64], zero[64] = {0}, rows[TILE];
    (void)signal;
    AMX_STTILECFG(config);
    check("configuration in the handler", memcmp(config, zero, 64) == 0);
    load_full_configuration();
    fill(rows, TILE, 8);
    AMX_TILELOADD(3, rows, 64);
    if (++ticks == 1)
        raise(SIGUSR2); /* a handler amid a handler */
}

static void handle(int signal, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler};
    sigfillset(&action.sa_mask);
    trap_sigaction(signal, &action, NULL);
}

/* Handlers start with the INIT state, may use AMX, and what they interrupted comes back. */
static void handlers_with_tiles(void) {
    uint8_t config[64], config_after[64], rows[TILE], stored[TILE];
    struct sigaction found;
    begin();
    handle(SIGUSR1, use_tiles_in_handler);
    handle(SIGUSR2, use_tiles_in_handler);
    raise(SIGUSR1);
    AMX_STTILECFG(config);
    check("INIT afterwards", config[0] == 0);
    load_full_configuration();
    AMX_STTILECFG(config);
    raise(SIGUSR1);
    check("XINUSE without data", kernel_model_xinuse(&trap_thread()->task) == UINT64_C(1) << 17);
    fill(rows, TILE, 9);
    AMX_TILELOADD(3, rows, 64);
    ticks = 0;
    raise(SIGUSR1);
    AMX_STTILECFG(config_after);
    AMX_TILESTORED(3, stored, 64);
    check("configuration", memcmp(config, config_after, 64) == 0);
    check("data", memcmp(rows, stored, TILE) == 0);
    check("XINUSE", kernel_model_xinuse(&trap_thread()->task) == UINT64_C(3) << 17);
    for (const struct trap_interrupted *each = trap_thread()->interrupted; each != NULL; each = each->next)
        check("room for the next", each->context == 0);
    trap_sigaction(SIGUSR1, NULL, &found);
    check("action read back", found.sa_handler == use_tiles_in_handler && found.sa_flags == 0 &&
                                  sigismember(&found.sa_mask, SIGILL));
    handle(SIGUSR1, SIG_IGN);
    raise(SIGUSR1);
    sigaction(SIGUSR1, NULL, &found);
    check("ignored", found.sa_handler == SIG_IGN);
    printf("handlers %d\n", (int)ticks);
}

static void handler_that_jumps(int signal) {
    use_tiles_in_handler(signal);
    siglongjmp(back, 1);
}

/* What a handler leaves by a jump stays as it is: the frame with the interrupted state is gone. */
static void handlers_that_jump(void) {
    uint8_t config[64], rows[TILE], stored[TILE];
    begin();
    handle(SIGUSR1, handler_that_jumps);
    for (int i = 0; i < 3; i++) {
        ticks = 1;
        load_full_configuration();
        fill(rows, TILE, 9);
        AMX_TILELOADD(3, rows, 64);
        if (sigsetjmp(back, 1) == 0)
            raise(SIGUSR1);
        AMX_STTILECFG(config);
        AMX_TILESTORED(3, stored, 64);
        fill(rows, TILE, 8);
        check("the handler's data", config[0] == 1 && memcmp(rows, stored, TILE) == 0);
    }
    handle(SIGUSR1, use_tiles_in_handler);
    raise(SIGUSR1);
    AMX_TILESTORED(3, stored, 64);
    check("data", memcmp(rows, stored, TILE) == 0);
    printf("jumped 3\n");
}

static void vforked_child_sets_handlers(void) {
    struct sigaction found;
    begin();
    handle(SIGUSR1, use_tiles_in_handler);
    handle(SIGSEGV, use_tiles_in_handler);
    if (vfork() == 0) {
        handle(SIGUSR1, SIG_DFL);
        handle(SIGSEGV, SIG_DFL);
        _exit(0);
    }
    for (int i = 0; i < 2; i++) {
        trap_sigaction(i ? SIGUSR1 : SIGSEGV, NULL, &found);
        check("the parent's handler", found.sa_handler == use_tiles_in_handler);
    }
    ticks = 1;
    raise(SIGUSR1);
    raise(SIGSEGV);
    printf("handlers %d\n", (int)ticks);
}

/* ---- small stacks ---- */

static void make_accessible(int signal) {
    (void)signal;
    mprotect(page, PAGE, PROT_READ | PROT_WRITE);
}

/* Every kind of instruction, and one that faults, while there is data; twice. */
static void *use_tiles(void *unused) {
    for (int i = 0; i < 2; i++) {
        load_full_configuration();
        AMX_TILEZERO(0);
        mprotect(page, PAGE, PROT_NONE);
        AMX_TILELOADD(1, page, 64);
        AMX_TILELOADD(2, page, 64);
        AMX_TDPBSSD(0, 1, 2);
        AMX_TDPBF16PS(0, 1, 2);
        AMX_TDPFP16PS(0, 1, 2);
        AMX_TILESTORED(0, page, 64);
        AMX_TILERELEASE();
    }
    return unused;
}

static void handle_on(int flags) {
    struct sigaction action = {.sa_handler = make_accessible, .sa_flags = flags};
    page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sigaction(SIGILL, &action, NULL);
    sigaction(SIGSEGV, &action, NULL);
}

/* The smallest with which permission is granted, an inaccessible page below it. */
static void smallest_alternate_stack(void) {
    enum { SMALLEST = 11952 };
    uint8_t *const pages = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const stack_t stack = {.ss_sp = pages + PAGE, .ss_size = SMALLEST};
    mprotect(pages, PAGE, PROT_NONE);
    if (sigaltstack(&stack, NULL) != 0)
        exit(4);
    handle_on(SA_ONSTACK);
    begin_program();
    use_tiles(NULL);
    printf("alive 1\n");
}

/* ---- a stack for the real frames alone ---- */

static const int *volatile nowhere = (int *)16;

static void segfault_and_jump(int signal) {
    (void)signal;
    if (++ticks % 2) {
        load_full_configuration();
        AMX_TILEZERO(0);
        ticks += *nowhere; /* a handler amid a handler, while there are tiles */
    }
    siglongjmp(back, 1);
}

/* Of the program's own handlers, some jump out again and again. An inaccessible page is below it. */
static void own_alternate_stack(void) {
    enum { MINSIGSTKSZ_TYPE = 51, FOR_HANDLERS = 4096 };
    const size_t size = 2 * getauxval(MINSIGSTKSZ_TYPE) + FOR_HANDLERS; /* of two */
    uint8_t *const pages = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const stack_t stack = {.ss_sp = pages + PAGE, .ss_size = size};
    struct sigaction action = {.sa_handler = segfault_and_jump, .sa_flags = SA_ONSTACK | SA_NODEFER};
    uint8_t rows[TILE], stored[TILE];
    mprotect(pages, PAGE, PROT_NONE);
    if (size > 7 * PAGE || sigaltstack(&stack, NULL) != 0)
        exit(4);
    handle_on(SA_ONSTACK);
    begin();
    use_tiles(NULL);
    trap_sigaction(SIGSEGV, &action, NULL);
    fill(rows, TILE, 7);
    for (volatile int i = 0; i < 100; i++) {
        load_full_configuration();
        AMX_TILELOADD(0, rows, 64);
        if (sigsetjmp(back, 1) == 0)
            ticks += *nowhere;
    }
    trap_sigaction(SIGSEGV, &(struct sigaction){.sa_handler = make_accessible, .sa_flags = SA_ONSTACK}, NULL);
    load_full_configuration();
    AMX_TILELOADD(0, rows, 64);
    mprotect(page, PAGE, PROT_NONE);
    ticks += *(volatile uint8_t *)page;
    AMX_TILESTORED(0, stored, 64);
    check("data", memcmp(rows, stored, TILE) == 0);
    printf("alive 1\n");
}

static void smallest_thread_stack(void) {
    pthread_t thread;
    pthread_attr_t attributes;
    handle_on(0);
    begin();
    pthread_attr_init(&attributes);
    if (pthread_attr_setstacksize(&attributes, (size_t)sysconf(_SC_THREAD_STACK_MIN)) != 0 ||
        pthread_create(&thread, &attributes, use_tiles, NULL) != 0)
        exit(4);
    pthread_join(thread, NULL);
    printf("alive 1\n");
}

/* A program whose own handlers stay off its alternate stack may have one that is too small for a frame. */
static void unused_alternate_stack(void) {
    static uint8_t bytes[2048];
    const stack_t stack = {.ss_sp = bytes, .ss_size = sizeof bytes};
    handle_on(0);
    begin();
    if (sigaltstack(&stack, NULL) != 0)
        exit(4);
    load_full_configuration();
    AMX_TILERELEASE();
    printf("alive 1\n");
}

/* What the kernel answers a request, and then sigaltstack(). */
static void permission_and_alternate_stacks(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    static uint8_t bytes[16384];
    const struct amx_trap_options options = {.cpu = "spr", .patch = patching, .hybrid = -1};
    stack_t stack = {.ss_sp = bytes, .ss_size = 8192}, old;
    trap_start(&options, 1);
    sigaltstack(&stack, NULL); /* past the emulation: it looks */
    printf("request %d\n", amx_trap_arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA));
    stack.ss_size = 11952;
    printf("set %d\n", trap_sigaltstack(&stack, NULL));
    printf("request %d\n", amx_trap_arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA));
    stack.ss_size = 11836;
    printf("set %d\n", trap_sigaltstack(&stack, &old));
    printf("get %d", trap_sigaltstack(NULL, &old));
    printf(" %zu\n", old.ss_size);
    stack.ss_flags = SS_DISABLE;
    printf("set %d\n", trap_sigaltstack(&stack, NULL));
}

const struct scenario signal_scenarios[] = {
    {"own-handler", own_handler},
    {"own-handler-nodefer", own_handler_nodefer},
    {"own-handler-resethand", own_handler_resethand},
    {"own-handler-jumps", own_handler_jumps},
    {"handler-set-later", handler_set_later},
    {"sent-by-somebody", sent_by_somebody},
    {"sent-amid-our-work", sent_amid_our_work},
    {"killed-by-ud2", killed_by_ud2},
    {"killed-by-segfault", killed_by_segfault},
    {"killed-by-breakpoint", killed_by_breakpoint},
    {"blocked-sigill", blocked_sigill},
    {"preserved", preserved},
    {"amid-signals", amid_signals},
    {"handlers-with-tiles", handlers_with_tiles},
    {"handlers-that-jump", handlers_that_jump},
    {"vforked-child-sets-handlers", vforked_child_sets_handlers},
    {"smallest-alternate-stack", smallest_alternate_stack},
    {"own-alternate-stack", own_alternate_stack},
    {"smallest-thread-stack", smallest_thread_stack},
    {"unused-alternate-stack", unused_alternate_stack},
    {"permission-and-alternate-stacks", permission_and_alternate_stacks},
    {NULL, NULL},
};
