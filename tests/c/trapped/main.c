#include "trapped.h"

#include "amx.h"
#include "insn.h"
#include "trap/trap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int patching;
static int failed;

void check(const char *what, int holds) {
    if (!holds) {
        printf("wrong %s\n", what);
        failed = 1;
    }
}

static void begin_as(int whole_program) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    const struct amx_trap_options options = {.cpu = "dmr", .patch = patching, .hybrid = -1};
    const int error = trap_start(&options, whole_program);
    if (error != 0 || amx_trap_arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) != 0) {
        printf("could not start: %d\n", error);
        exit(99);
    }
}

void begin(void) {
    begin_as(0);
}

void begin_program(void) {
    begin_as(1);
}

void load_full_configuration(void) {
    uint8_t config[64] = {1};
    for (int t = 0; t < 8; t++) {
        config[16 + 2 * t] = 64;
        config[48 + t] = 16;
    }
    AMX_LDTILECFG(config);
}

void fill(void *bytes, size_t size, unsigned seed) {
    uint8_t *const at = bytes;
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
}

void product(const int8_t *a, const int8_t *b, int32_t *c) {
    AMX_TILELOADD(0, c, 64);
    AMX_TILELOADD(1, a, 64);
    AMX_TILELOADD(2, b, 64);
    AMX_TDPBSSD(0, 1, 2);
    AMX_TILESTORED(0, c, 64);
}

void expected_product(const int8_t *a, const int8_t *b, int32_t *c) {
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++)
            for (int k = 0; k < 64; k++)
                c[m * 16 + n] = (int32_t)((uint32_t)c[m * 16 + n] +
                                          (uint32_t)(a[m * 64 + k] * b[k / 4 * 64 + n * 4 + k % 4]));
}

static int run(const struct scenario *scenarios, const char *name) {
    for (; scenarios->name != NULL; scenarios++)
        if (strcmp(scenarios->name, name) == 0) {
            scenarios->run();
            return 1;
        }
    return 0;
}

/* trapped [--patch] SCENARIO */
int main(int argc, char **argv) {
    patching = argc > 2 && strcmp(argv[1], "--patch") == 0;
    const char *const name = argv[argc - 1];
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!run(fault_scenarios, name) && !run(signal_scenarios, name) && !run(thread_scenarios, name))
        return 2;
    return failed;
}
