/* Between a signal frame and the registers that an instruction works on. */
#ifndef TRAP_FRAME_H
#define TRAP_FRAME_H

#include "emulator/emulator.h"

#include <ucontext.h>

/* Asks CPUID, once, where the frame keeps what: in a handler that costs a VM exit, or faults in its turn. */
void trap_frame_prepare(void);

/* Registers that need memory of their own. */
struct trap_vectors {
    uint64_t egpr[16];
    uint8_t (*zmm)[AMXEMU_COLSB]; /* 32 */
};
/* rip is the frame's. egpr and zmm stay NULL where the program has no such registers. */
struct amxemu_registers trap_frame_registers(const ucontext_t *context, const struct amxemu_insn *insn,
                                             struct trap_vectors *vectors);
/* After the instruction completed: rip, and the ZMM register it wrote. */
void trap_frame_complete(ucontext_t *context, const struct amxemu_insn *insn,
                         const struct amxemu_registers *r);
/* XINUSE of the interrupted code; `otherwise` of a frame without XSAVE. */
uint64_t trap_frame_xinuse(const ucontext_t *context, uint64_t otherwise);
/* The CPU's own TILECFG, which is in the INIT state after the handler; 0 where it was so before, or the CPU
 * has none. */
int trap_frame_take_config(ucontext_t *context, uint8_t config[AMXEMU_CONFIG_BYTES]);

#endif
