/* What the entries of a faulty kernel call. */
#include "provoke/faults/base.h"
#include "provoke/harness/system.h"

#include <string.h>

const struct kernel *fault_base;

pid_t fault_thread(void) {
    return (pid_t)system_call(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

int fault_permitted(void) {
    uint64_t permission = 0;
    fault_base->arch_prctl(ARCH_GET_XCOMP_PERM, (uintptr_t)&permission);
    return (permission & XFEATURE_MASK_XTILEDATA) != 0;
}

void fault_raise(int code, uintptr_t address) {
    const long process = system_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_signo = SIGILL;
    info.si_code = code;
    info.si_addr = (void *)address;
    system_call(SYS_rt_tgsigqueueinfo, process, fault_thread(), SIGILL, (long)&info, 0, 0);
}
