/* A program for -fsanitize=address that uses a tile: `sanitized`, with an argument in a way that is reported.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };

int main(int argc, char **argv) {
    static const uint8_t config[64] = {[0] = 1, [16] = 64, [48] = 16};
    const char *const wrong = argc > 1 ? argv[1] : "";
    volatile char *volatile bytes = malloc(100);
    if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) != 0)
        return 2;
    __asm__ volatile(".byte 0xc4, 0xe2, 0x78, 0x49, 0x07\n" /* ldtilecfg (%rdi) */
                     ".byte 0xc4, 0xe2, 0x7b, 0x49, 0xc0\n" /* tilezero %tmm0 */
                     ".byte 0xc4, 0xe2, 0x78, 0x49, 0xc0\n" /* tilerelease */
                     :
                     : "D"(config)
                     : "memory");
    puts("used");
    fflush(stdout);
    if (strcmp(wrong, "overflow") == 0)
        bytes[99 + argc] = 1;
    if (strcmp(wrong, "null") == 0)
        *(volatile int *)NULL = 1;
    if (strcmp(wrong, "leak") == 0)
        bytes = NULL;
    free((void *)bytes);
    return 0;
}
