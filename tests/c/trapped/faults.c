/* What a program's own handler sees of an emulated instruction's fault, and what follows when it repairs the
 * cause. */
#define _GNU_SOURCE
#include "trapped.h"

#include "insn.h"
#include "trap/signals/signals.h"
#include "trap/thread/thread.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

/* One site each, so that it can be named, and patched before it faults. */
#define SITE(name, bytes)                                                                                    \
    void name(const volatile void *operand);                                                                 \
    extern const char name##_site[];                                                                         \
    __asm__(".pushsection .text\n" #name ":\n\tmov $64, %ecx\n" #name "_site:\n\t.byte " bytes               \
            "\n\tret\n.popsection")
SITE(load, "0xc4, 0xe2, 0x7b, 0x4b, 0x1c, 0x0f");  /* tileloadd (%rdi,%rcx,1), %tmm3 */
SITE(store, "0xc4, 0xe2, 0x7a, 0x4b, 0x1c, 0x0f"); /* tilestored %tmm3, (%rdi,%rcx,1) */
SITE(configure, "0xc4, 0xe2, 0x78, 0x49, 0x07");   /* ldtilecfg (%rdi) */
SITE(zero, "0xc4, 0xe2, 0x7b, 0x49, 0xd8");        /* tilezero %tmm3 */
/* tileloadd 0(%rbp,%rcx,1), %tmm3 */
void load_by_rbp(const volatile void *operand);
extern const char load_by_rbp_site[];
__asm__(
    ".pushsection .text\nload_by_rbp:\n\tpush %rbp\n\tmov %rdi, %rbp\n\tmov $64, %ecx\nload_by_rbp_site:\n\t"
    ".byte 0xc4, 0xe2, 0x7b, 0x4b, 0x5c, 0x0d, 0x00\n\tpop %rbp\n\tret\n.popsection");

static const struct {
    const char *name, *at;
    int length;
} sites[] = {
    {"load", load_site, 6},
    {"store", store_site, 6},
    {"configure", configure_site, 5},
    {"zero", zero_site, 5},
    {"load_by_rbp", load_by_rbp_site, 7},
};
enum { SITES = sizeof sites / sizeof *sites };

static int site_at(greg_t rip) {
    for (int i = 0; i < SITES; i++)
        if (sites[i].at == (const char *)rip)
            return i;
    printf("unknown rip\n");
    _exit(5);
}

static struct {
    void (*repair)(ucontext_t *context);
    uint8_t *pages; /* two */
    int file, count;
} now;

/* A tile whose row 5 crosses into the second page, with 24 bytes in the first. */
static uint8_t *crossing(void) {
    return now.pages + PAGE - 5 * 64 - 24;
}

static void on_fault(int signal, siginfo_t *info, void *opaque) {
    ucontext_t *const context = opaque;
    const greg_t *const gregs = context->uc_mcontext.gregs;
    printf("signal %d\ncode %d\n", signal, info->si_code);
    if ((uint8_t *)info->si_addr >= now.pages && (uint8_t *)info->si_addr < now.pages + 2 * PAGE)
        printf("offset %td\n", (uint8_t *)info->si_addr - now.pages);
    else
        printf("address %s\n", info->si_addr == (void *)gregs[REG_RIP] ? "rip" : info->si_addr ? "?" : "0");
    printf("site %s\n", sites[site_at(gregs[REG_RIP])].name);
    if (signal != SIGILL)
        printf("trapno %lld\nerr %lld\n", gregs[REG_TRAPNO], gregs[REG_ERR]);
    if (info->si_addr != NULL && signal != SIGILL)
        printf("cr2 %s\n", gregs[REG_CR2] == (greg_t)info->si_addr ? "same" : "other");
    check("tiles in the handler", kernel_model_xinuse(&trap_thread()->task) == 0);
    if (++now.count > 3)
        _exit(3);
    if (info->si_addr == now.pages + PAGE)
        *crossing() ^= 0xFF;
    now.repair(context);
}

static void make_accessible(ucontext_t *context) {
    (void)context;
    mprotect(now.pages, 2 * PAGE, PROT_READ | PROT_WRITE);
}

static void map_second(ucontext_t *context) {
    (void)context;
    mmap(now.pages + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static void extend_file(ucontext_t *context) {
    (void)context;
    if (ftruncate(now.file, 2 * PAGE) != 0)
        _exit(4);
}

static void skip(ucontext_t *context) {
    greg_t *const rip = &context->uc_mcontext.gregs[REG_RIP];
    *rip += sites[site_at(*rip)].length;
}

static void start(void (*repair)(ucontext_t *context)) {
    static const int signals[] = {SIGILL, SIGSEGV, SIGBUS};
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    for (int i = 0; i < 3; i++)
        sigaction(signals[i], &action, NULL);
    begin();
    load_full_configuration();
    now.repair = repair;
    now.pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fill(now.pages, 2 * PAGE, 1);
    uint8_t config[64];
    AMX_STTILECFG(config);
    for (int i = 0; i < 2; i++) { /* sites are patched when they have trapped */
        configure(config);
        zero(NULL);
        load(now.pages);
        load_by_rbp(now.pages);
        store(now.pages);
    }
}

/* The handler changed the first row, which is not loaded again. */
static void load_crossing(uint8_t *rows) {
    uint8_t stored[TILE];
    fill(now.pages, PAGE, 7);
    const uint8_t first = rows[0];
    load(rows);
    store(stored);
    check("first row", stored[0] == first && rows[0] != first);
    check("tile", memcmp(stored + 1, rows + 1, TILE - 1) == 0);
    check("start_row afterwards", trap_thread()->task.tiles.start_row == 0);
}

static void load_protected(void) {
    start(make_accessible);
    mprotect(now.pages + PAGE, PAGE, PROT_NONE);
    load_crossing(crossing());
}

static void load_unmapped(void) {
    start(map_second);
    munmap(now.pages + PAGE, PAGE);
    load_crossing(crossing());
}

static void load_beyond_file(void) {
    start(extend_file);
    FILE *const file = tmpfile();
    if (file == NULL)
        exit(4);
    now.file = fileno(file);
    if (ftruncate(now.file, PAGE) != 0 ||
        mmap(now.pages, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, now.file, 0) == MAP_FAILED)
        exit(4);
    load_crossing(crossing());
}

/* The row that faults must not have been written in part. */
static uint8_t before[24];
static void compare_and_make_accessible(ucontext_t *context) {
    check("first part of the row", memcmp(now.pages + PAGE - 24, before, 24) == 0);
    make_accessible(context);
}

static void store_read_only(void) {
    uint8_t rows[TILE];
    start(compare_and_make_accessible);
    fill(rows, TILE, 2);
    load(rows);
    memcpy(before, now.pages + PAGE - 24, 24);
    mprotect(now.pages + PAGE, PAGE, PROT_READ);
    store(crossing());
    check("start_row afterwards", trap_thread()->task.tiles.start_row == 0);
    check("first row", *crossing() != rows[0]); /* as the handler left it */
    check("memory", memcmp(crossing() + 1, rows + 1, TILE - 1) == 0);
}

static void configuration_protected(void) {
    uint8_t config[64];
    start(make_accessible);
    AMX_STTILECFG(config);
    memcpy(now.pages + PAGE - 10, config, 64);
    AMX_TILERELEASE();
    mprotect(now.pages + PAGE, PAGE, PROT_NONE);
    configure(now.pages + PAGE - 10);
    AMX_STTILECFG(config);
    check("configuration", memcmp(config, now.pages + PAGE - 10, 64) == 0);
}

static void bad_configuration(void) {
    uint8_t config[64] = {1, [17] = 1, [48] = 16};
    start(skip);
    configure(config);
}

static void noncanonical(void) {
    start(skip);
    load((const void *)(UINT64_C(1) << 62));
}

static void noncanonical_stack(void) {
    start(skip);
    load_by_rbp((const void *)(UINT64_C(1) << 62));
}

static siginfo_t beyond;
static int beyond_length; /* of the instruction */

static void skip_beyond(int signal, siginfo_t *info, void *opaque) {
    (void)signal;
    beyond = *info;
    ((ucontext_t *)opaque)->uc_mcontext.gregs[REG_RIP] += beyond_length;
}

static void tell_beyond(const char *what) {
    printf("%s %d %d %p\n", what, beyond.si_signo, beyond.si_code, beyond.si_addr);
    beyond = (siginfo_t){.si_code = 0};
}

/* The first address that has 48 bits without their sign: the CPU says whether it is canonical. */
static void beyond_47_bits(void) {
    const struct sigaction action = {.sa_sigaction = skip_beyond, .sa_flags = SA_SIGINFO};
    uint8_t *const address = (uint8_t *)(UINT64_C(1) << 47);
    start(skip);
    trap_sigaction(SIGSEGV, &action, NULL);
    trap_sigaction(SIGBUS, &action, NULL);
    beyond_length = 6;
    __asm__ volatile("movb (%0), %%al\n\t.skip 4, 0x90" : : "D"(address) : "rax", "memory");
    tell_beyond("cpu");
    load(address);
    tell_beyond("emulation");
    beyond_length = 7;
    __asm__ volatile(
        "mov %%rbp, %%rdx\n\tmov %0, %%rbp\n\tmovb (%%rbp), %%al\n\t.skip 4, 0x90\n\tmov %%rdx, %%rbp"
        :
        : "D"(address)
        : "rax", "rdx", "memory");
    tell_beyond("cpu");
    load_by_rbp(address);
    tell_beyond("emulation");
}

static void unconfigured(void) {
    start(skip);
    AMX_TILERELEASE();
    zero(NULL);
}

static void unpermitted(void) {
    start(skip);
    trap_process()->permission &= ~(UINT64_C(1) << 18);
    zero(NULL);
}

/* Nobody has a handler. */
static void killed(void) {
    begin();
    load_full_configuration();
    load((const void *)16);
}

/* What the CPU faults on while the signal is blocked or ignored kills. */
static void block_sigsegv(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

static void killed_though_blocked(void) {
    start(make_accessible);
    block_sigsegv();
    mprotect(now.pages, PAGE, PROT_NONE);
    load(now.pages);
}

static void killed_by_address_though_blocked(void) {
    start(skip);
    block_sigsegv();
    load((const void *)(UINT64_C(1) << 62));
}

static void killed_though_ignored(void) {
    signal(SIGSEGV, SIG_IGN);
    begin();
    load_full_configuration();
    load((const void *)16);
}

const struct scenario fault_scenarios[] = {
    {"load-protected", load_protected},
    {"load-unmapped", load_unmapped},
    {"load-beyond-file", load_beyond_file},
    {"store-read-only", store_read_only},
    {"configuration-protected", configuration_protected},
    {"bad-configuration", bad_configuration},
    {"noncanonical", noncanonical},
    {"noncanonical-stack", noncanonical_stack},
    {"beyond-47-bits", beyond_47_bits},
    {"unconfigured", unconfigured},
    {"unpermitted", unpermitted},
    {"killed", killed},
    {"killed-though-blocked", killed_though_blocked},
    {"killed-by-address-though-blocked", killed_by_address_though_blocked},
    {"killed-though-ignored", killed_though_ignored},
    {NULL, NULL},
};
