/* A program that generates code, executes it and writes over a byte amid an instruction of it: `protections
 * HOW`. It prints the first byte that each execution stored. */
#define _GNU_SOURCE /* mremap */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SIZE = 4096, ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
static const uint8_t code[] = {
    0xC4, 0xE2, 0x78, 0x49, 0x07,       /* ldtilecfg (%rdi) */
    0xC4, 0xE2, 0x7B, 0x4B, 0x04, 0x16, /* tileloadd (%rsi,%rdx), %tmm0 */
    0xC4, 0xE2, 0x7A, 0x4B, 0x04, 0x11, /* tilestored %tmm0, (%rcx,%rdx) */
    0xC3,
};
enum { LOAD_MODRM = 9, TO_TMM1 = 0x0C, TO_TMM0 = 0x04 };

static void execute(const uint8_t *at) {
    static const uint8_t config[64] = {[0] = 1, [16] = 64, [18] = 64, [48] = 16, [49] = 16};
    static uint8_t rows[1024] = {42}, stored[1024];
    memset(stored, 0xFF, sizeof stored);
    ((void (*)(const uint8_t *, const uint8_t *, long, uint8_t *))(uintptr_t)at)(config, rows, 64, stored);
    printf("%d ", stored[0]);
}

int main(int argc, char **argv) {
    const char *const how = argc > 1 ? argv[1] : "";
    const int always = strcmp(how, "always") == 0 ? PROT_EXEC : 0; /* executable while it is writable */
    uint8_t *at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE | always, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED || syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) != 0)
        return 1;
    memcpy(at, code, sizeof code);
    for (int i = 0; i < 4; i++) {
        at[LOAD_MODRM] = i % 2 ? TO_TMM1 : TO_TMM0; /* then tmm0 is zeros */
        if (!always && mprotect(at, SIZE, PROT_READ | PROT_EXEC) != 0)
            return 1;
        execute(at);
        execute(at);
        if (strcmp(how, "moves") == 0) {
            void *const there = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            at = mremap(at, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, there);
            if (at == MAP_FAILED)
                return 1;
            execute(at);
        }
        if (!always && mprotect(at, SIZE, PROT_READ | PROT_WRITE) != 0)
            return 1;
    }
    puts("");
    return 0;
}
