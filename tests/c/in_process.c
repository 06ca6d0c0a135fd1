/* A program that emulates AMX for itself: `in_process CASE PATCH`. It prints what it saw. */
#define _GNU_SOURCE /* siginfo_t's names */
#include "amx.h"
#include "insn.h"
#include "product.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18, PAGE = 4096, ROUNDS = 20 };

static const uint8_t config[64] = {1, [16] = 64, [18] = 64, [20] = 64, [48] = 16, [49] = 16, [50] = 16};

static int product(unsigned seed) {
    int wrong = 0;
    for (int round = 0; round < ROUNDS; round++)
        wrong += wrong_elements(config, seed);
    return wrong;
}

static void *product_in_thread(void *seed) {
    return (void *)(uintptr_t)product((unsigned)(uintptr_t)seed);
}

static int products(void) {
    pthread_t threads[4];
    int status, wrong = product(0);
    for (uintptr_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, product_in_thread, (void *)(i + 1));
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(threads[i], &result);
        wrong += (int)(uintptr_t)result;
    }
    if (fork() == 0)
        _exit(product(9) != 0);
    wait(&status);
    struct amx_trap_counts counts;
    amx_trap_count(&counts);
    printf("wrong %d, child %d, instructions %d\n", wrong, status, (int)counts.instructions);
    return 0;
}

static uint8_t *pages;
static siginfo_t seen;

static void open_page(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    seen = *info;
    mprotect(pages + PAGE, PAGE, PROT_READ | PROT_WRITE);
    memset(pages + PAGE, 2, PAGE);
}

static int page_fault(void) {
    uint8_t out[16][64];
    pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(pages, 1, PAGE);
    mprotect(pages + PAGE, PAGE, PROT_NONE);
    AMX_LDTILECFG(config);
    AMX_TILELOADD(0, pages + PAGE - 5 * 64 - 10, 64); /* the sixth row ends in the closed page */
    AMX_TILESTORED(0, out, 64);
    printf("code %d, address %td, rows %d %d %d %d\n", seen.si_code, (uint8_t *)seen.si_addr - pages,
           out[4][63], out[5][9], out[5][10], out[15][63]);
    return 0;
}

static int undefined(void) {
    __asm__ volatile("ud2");
    return 0;
}

static const struct {
    const char *name;
    int (*run)(void);
} cases[] = {{"products", products}, {"page-fault", page_fault}, {"ud2", undefined}};

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    const struct amx_trap_options options = {.cpu = "spr", .patch = atoi(argv[2]), .hybrid = -1};
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = open_page;
    if (strcmp(argv[1], "page-fault") == 0)
        sigaction(SIGSEGV, &action, NULL); /* before the start, which chains it */
    if (amx_trap_start(&options) != 0 || amx_trap_arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) != 0)
        return 3;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (strcmp(argv[1], cases[i].name) == 0)
            return cases[i].run();
    return 2;
}
