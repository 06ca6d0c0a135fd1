/* What of AMX there is: instructions, their families, how well each is known, and which CPUs have them. */
#ifndef AMXEMU_FEATURES_H
#define AMXEMU_FEATURES_H

#include "emulator.h"

enum amxemu_status {
    AMXEMU_STATUS_VERIFIED,  /* compared with silicon bit for bit (docs/numerics.md says how) */
    AMXEMU_STATUS_SPECIFIED, /* written from Intel's documents; no such silicon was at hand */
    AMXEMU_STATUS_WITHDRAWN, /* by Intel: recognised and named, #UD */
};

/* As CPUID announces them. */
enum amxemu_family {
    AMXEMU_FAMILY_TILE,
    AMXEMU_FAMILY_INT8,
    AMXEMU_FAMILY_BF16,
    AMXEMU_FAMILY_FP16,
    AMXEMU_FAMILY_COMPLEX,
    AMXEMU_FAMILY_FP8,
    AMXEMU_FAMILY_AVX512,
    AMXEMU_FAMILY_MOVRS,
    AMXEMU_FAMILY_APX, /* EVEX encodings of other families' instructions, with r16-r31 */
    AMXEMU_FAMILY_TF32,
    AMXEMU_FAMILY_TRANSPOSE,
    AMXEMU_FAMILIES,
};
const char *amxemu_family_name(enum amxemu_family family); /* the kernel's flag; NULL for an unknown one */
enum amxemu_status amxemu_family_status(enum amxemu_family family);
/* Whether an instruction, or for AMXEMU_FAMILY_APX one of its encodings, belongs to a family. */
int amxemu_in_family(enum amxemu_op op, enum amxemu_family family);

/* A CPU that can be emulated. */
struct amxemu_cpu {
    const char *name;  /* as compilers' -march abbreviated: spr, gnr, gnr-d, dmr */
    const char *title; /* Intel's name */
    uint32_t families; /* bit f: enum amxemu_family f */
};
const struct amxemu_cpu *amxemu_cpu_model(unsigned i); /* NULL from the number of models on */
/* Whether the CPU knows the instruction in this encoding; one that it does not know is #UD. */
int amxemu_cpu_has(const struct amxemu_cpu *cpu, const struct amxemu_insn *insn);

#endif
