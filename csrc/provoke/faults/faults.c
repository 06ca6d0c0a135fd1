/* Kernels with one deliberate fault, which the checks must find. */
#include "provoke/faults/faults.h"
#include "provoke/harness/see_list.h"
#include "provoke/harness/system.h"

#include <string.h>

static const struct fault *const lists[] = {faults_of_requests,  faults_of_inheritance, faults_of_tiles,
                                            faults_of_altstacks, faults_of_frames,      faults_of_switches};
enum { LISTS = sizeof lists / sizeof *lists };

const struct kernel *fault_base;

/* The base with the entries of `put` in the place of its own. The table is nothing but function pointers. */
static const struct kernel *with(const struct kernel *base, const struct kernel *put) {
    static struct kernel faulty;
    enum { ENTRY = sizeof(void (*)(void)), ENTRIES = sizeof faulty / ENTRY };
    static const char none[ENTRY];
    faulty = *base;
    for (size_t i = 0; i < ENTRIES; i++) {
        const char *const entry = (const char *)put + i * ENTRY;
        if (memcmp(entry, none, ENTRY) != 0)
            memcpy((char *)&faulty + i * ENTRY, entry, ENTRY);
    }
    return &faulty;
}

const struct kernel *provoke_faulty_kernel(const struct kernel *base, const char *fault) {
    for (size_t l = 0; l < LISTS; l++)
        for (const struct fault *f = lists[l]; f->name; f++)
            if (!strcmp(f->name, fault)) {
                fault_base = base;
                return with(base, &f->put);
            }
    return NULL;
}

void provoke_list_faults(void) {
    for (size_t l = 0; l < LISTS; l++)
        for (const struct fault *f = lists[l]; f->name; f++)
            see_fault(f->name, f->what);
}

int fault_permitted(void) {
    uint64_t permission = 0;
    fault_base->arch_prctl(ARCH_GET_XCOMP_PERM, (uintptr_t)&permission);
    return (permission & XFEATURE_MASK_XTILEDATA) != 0;
}

void fault_raise(int code, uintptr_t address) {
    const long process = system_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
    const long thread = system_call(SYS_gettid, 0, 0, 0, 0, 0, 0);
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_signo = SIGILL;
    info.si_code = code;
    info.si_addr = (void *)address;
    system_call(SYS_rt_tgsigqueueinfo, process, thread, SIGILL, (long)&info, 0, 0);
}
