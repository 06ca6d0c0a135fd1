/* System calls without libc's errno, which a CLONE_VM child shares with its parent. */
#ifndef AMX_PROVOKE_SYSTEM_H
#define AMX_PROVOKE_SYSTEM_H

#include <sys/syscall.h>

/* 0 or more, or -errno. */
static inline long system_call(long number, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* This process is killed when the thread that made it ends, however that ends; at once where it has ended
 * already. `parent` is the process of that thread. exec keeps this, a change of user or group does not. */
static inline void system_die_with(long parent) {
    enum { SET_PDEATHSIG = 1, KILL = 9 }; /* uapi/linux/prctl.h, asm-generic/signal.h */
    system_call(SYS_prctl, SET_PDEATHSIG, KILL, 0, 0, 0, 0);
    const long now = system_call(SYS_getppid, 0, 0, 0, 0, 0, 0);
    if (now > 0 && now != parent) /* a filter may keep it from us, and another PID namespace, which is 0 */
        system_call(SYS_kill, system_call(SYS_getpid, 0, 0, 0, 0, 0, 0), KILL, 0, 0, 0, 0);
}

static inline _Noreturn void system_exit_group(int status) {
    for (;;)
        system_call(SYS_exit_group, status, 0, 0, 0, 0, 0);
}

#endif
