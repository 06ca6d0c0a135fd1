/* Who answers in the CPU's and the kernel's place while AMX is emulated in this process. The emulation fills
 * the table when it begins; what lies lower asks it instead of the emulation. */
#ifndef AMX_MACHINE_STAND_IN_H
#define AMX_MACHINE_STAND_IN_H

#include <signal.h>
#include <stdint.h>
#include <ucontext.h>

struct machine_stand_in {
    int (*xgetbv)(uint32_t index, uint64_t *value); /* as amx_xgetbv() */
    int (*arch_prctl)(int op, uint64_t argument);   /* as amx_arch_prctl() */
    /* The disposition of a signal that the emulation may have taken: 0 or -errno. */
    int (*sigaction)(int signal, const struct sigaction *new_action, struct sigaction *old_action);
    /* Whether a signal was the emulation's own: 1, and the program goes on at the context. Else *info and the
     * context are those of a fault of the program's. For a handler that stands before the emulation's. */
    int (*handle)(int signal, siginfo_t *info, ucontext_t *context);
};

/* NULL: nobody, CPU and kernel answer themselves. Async-signal-safe. */
const struct machine_stand_in *machine_stand_in(void);
void machine_set_stand_in(const struct machine_stand_in *stand_in);

#endif
