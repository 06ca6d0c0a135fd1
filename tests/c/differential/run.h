/* The three ways an instruction is run: by the CPU, by the functions of the tile machine, and by its decoder.
 */
#ifndef DIFFERENTIAL_RUN_H
#define DIFFERENTIAL_RUN_H

#include "arena.h"
#include "instruction.h"

enum lane {
    LANE_NATIVE,   /* the CPU executes AMX */
    LANE_TRAPPED,  /* the CPU raises #UD, csrc/trap/ executes */
    LANE_PATCHED,  /* a jump to a thunk stands in its place */
    LANE_EMULATED, /* no CPU: what a recording is compared with */
};

#define CODE_INSN (ARENA_CODE + 256) /* where the instruction lies */

enum { ZMM_BYTES = 64 };

struct outcome {
    enum amxemu_outcome kind;
    uint64_t fault; /* for AMXEMU_PF */
};

/* ---- cpu.c ---- */
int cpu_prepare(enum lane lane); /* 0 or -errno; signal handlers, permission; afterwards nothing undoes it */
int cpu_has_usable_tiles(void);
uint64_t cpu_fs_base(void);
void cpu_set(const struct amxemu_state *state);
void cpu_get(struct amxemu_state *state);
/* Thunks need the stack: not what has an operand of its own in RSP. */
int cpu_can_run(const struct insn *insn);
/* The arena is the memory; zmm is insn->zmm before and after, where the instruction writes it. *disturbed:
 * whether any other register, flag or byte next to the stack pointer has changed. */
struct outcome cpu_run(const struct insn *insn, uint8_t zmm[ZMM_BYTES], int *disturbed);
/* A bit for each instruction from TDPBSSD on that is #UD here, by trying: CPUs differ, and CPUID may hide
 * what works. */
uint32_t cpu_missing(void);

/* ---- models.c ---- */
/* By the operands as the generator means them, on the scalar path. */
struct outcome direct_run(struct amxemu_state *state, struct shadow *memory, const struct insn *insn,
                          uint8_t zmm[ZMM_BYTES]);
/* By the bytes and the registers, on the best path. */
struct outcome decoded_run(struct amxemu_state *state, struct shadow *memory, const struct insn *insn,
                           uint64_t fs_base, uint8_t zmm[ZMM_BYTES]);

#endif
