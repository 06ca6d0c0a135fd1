/* syscall() and arch_prctl() of libc, for the operations that the model answers: where a filter is not
 * allowed.
 */
#define _GNU_SOURCE
#include "trap/answers/answers.h"
#include "trap/emulation.h"
#include "trap/preload/interpose.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ARCH_GET_XCOMP_SUPP = 0x1021, ARCH_REQ_XCOMP_GUEST_PERM = 0x1025 };

static int answering;

void interpose_arch_prctl(void) {
    answering = 1;
}

/* 0 or the kernel's -errno. */
static long system_call(long number, const long a[6]) {
    register long a3 __asm__("r10") = a[3], a4 __asm__("r8") = a[4], a5 __asm__("r9") = a[5];
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(a3), "r"(a4), "r"(a5)
                     : "rcx", "r11", "memory");
    return result;
}

static long returned(long result) {
    enum { MAX_ERRNO = 4095 };
    if (result >= 0 || result < -MAX_ERRNO)
        return result;
    errno = (int)-result;
    return -1;
}

static long call(long number, const long arguments[6]) {
    const int op = (int)arguments[0];
    if (!answering || number != SYS_arch_prctl || op < ARCH_GET_XCOMP_SUPP || op > ARCH_REQ_XCOMP_GUEST_PERM)
        return returned(system_call(number, arguments));
    trap_answers.arch_prctl++;
    return returned(amx_trap_arch_prctl(op, (uint64_t)arguments[1]));
}

INTERPOSED long syscall(long number, ...) {
    long arguments[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        arguments[i] = va_arg(list, long);
    va_end(list);
    return call(number, arguments);
}

INTERPOSED int arch_prctl(int op, unsigned long address);
int arch_prctl(int op, unsigned long address) {
    const long arguments[6] = {op, (long)address};
    return (int)call(SYS_arch_prctl, arguments);
}
