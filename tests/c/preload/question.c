/* A program that asks what there is, of CPU and kernel, and says so. */
#define _GNU_SOURCE /* REG_RIP */
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#if __has_include(<sys/platform/x86.h>)
#include <sys/platform/x86.h>
#endif
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

extern const char no_such_register[];

static void on_fault(int number, siginfo_t *info, void *context) {
    const greg_t rip = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    printf("signal %d, code %d, at the instruction: %d\n", number, info->si_code,
           rip == (greg_t)(uintptr_t)no_such_register);
    exit(0);
}

int main(int argc, char **argv) {
    const struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

    uint32_t a, b, c, d, low, high;
    uint64_t value = 0;
    (void)argv;
    if (argc > 1)
        __asm__ volatile(".byte 0x62, 0xf5, 0x7c, 0x48, 0x5d, 0xc0"); /* vminph %zmm0, %zmm0, %zmm0 */
    __cpuid(0, a, b, c, d);
    printf("highest leaf %#x\n", a);
    __cpuid_count(7, 0, a, b, c, d);
    printf("amx %u %u %u\n", d >> 24 & 1, d >> 25 & 1, d >> 22 & 1);
#if __has_include(<sys/platform/x86.h>)
    printf("libc %d\n", CPU_FEATURE_ACTIVE(AMX_TILE) ? 1 : 0);
#else
    puts("libc without a word on it");
#endif
    __cpuid_count(0x1D, 1, a, b, c, d);
    printf("palette %#x %#x %#x %#x\n", a, b, c, d);
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    printf("xcr0 %#x %#x\n", low & 0x60000, high);
    for (int op = 0x1021; op <= 0x1022; op++) {
        const long result = syscall(SYS_arch_prctl, op, &value);
        printf("%#x %ld %#lx\n", op, result, value & 0x60000);
    }
    printf("request %ld\n", syscall(SYS_arch_prctl, 0x1023, 18));
    syscall(SYS_arch_prctl, 0x1022, &value);
    printf("permission %#lx\n", value & 0x60000);
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
    printf("xinuse %#x\n", low & 0x60000);
    sigaction(SIGSEGV, &action, NULL);
    __asm__ volatile("no_such_register: xgetbv" : "=a"(low), "=d"(high) : "c"(7));
    return 0;
}
