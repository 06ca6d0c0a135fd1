/* What the emulated CPU and its kernel answer. */
#ifndef TRAP_ANSWERS_H
#define TRAP_ANSWERS_H

#include "kernel_model/kernel_model.h"

#include <stdatomic.h>
#include <stdint.h>
#include <ucontext.h>

/* A new session: the machine that is answered for, valid until the next. host_xcr0: 0 without XSAVE. */
const struct kernel_model_machine *answers_start(uint64_t host_xcr0, int whole_program);

/* As amx_trap_xgetbv(), of the calling code; or of what a signal interrupted, whose state its frame has. */
int trap_xgetbv(uint32_t index, const ucontext_t *context, uint64_t *value);

/* Answered in the CPU's or the kernel's place so far. */
struct trap_answers {
    _Atomic uint64_t cpuid, xgetbv, arch_prctl;
};
extern struct trap_answers trap_answers;

#endif
