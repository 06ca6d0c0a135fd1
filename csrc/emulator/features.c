#include "features.h"

#include <stddef.h>

static const struct {
    const char *mnemonic;
    uint8_t family, has_apx_form;
} instructions[AMXEMU_NAMED_OPS] = {
    [AMXEMU_LDTILECFG] = {"ldtilecfg", AMXEMU_FAMILY_TILE, 1},
    [AMXEMU_STTILECFG] = {"sttilecfg", AMXEMU_FAMILY_TILE, 1},
    [AMXEMU_TILERELEASE] = {"tilerelease", AMXEMU_FAMILY_TILE, 0},
    [AMXEMU_TILEZERO] = {"tilezero", AMXEMU_FAMILY_TILE, 0},
    [AMXEMU_TILELOADD] = {"tileloadd", AMXEMU_FAMILY_TILE, 1},
    [AMXEMU_TILELOADDT1] = {"tileloaddt1", AMXEMU_FAMILY_TILE, 1},
    [AMXEMU_TILESTORED] = {"tilestored", AMXEMU_FAMILY_TILE, 1},
    [AMXEMU_TDPBSSD] = {"tdpbssd", AMXEMU_FAMILY_INT8, 0},
    [AMXEMU_TDPBSUD] = {"tdpbsud", AMXEMU_FAMILY_INT8, 0},
    [AMXEMU_TDPBUSD] = {"tdpbusd", AMXEMU_FAMILY_INT8, 0},
    [AMXEMU_TDPBUUD] = {"tdpbuud", AMXEMU_FAMILY_INT8, 0},
    [AMXEMU_TDPBF16PS] = {"tdpbf16ps", AMXEMU_FAMILY_BF16, 0},
    [AMXEMU_TDPFP16PS] = {"tdpfp16ps", AMXEMU_FAMILY_FP16, 0},
    [AMXEMU_TCMMRLFP16PS] = {"tcmmrlfp16ps", AMXEMU_FAMILY_COMPLEX, 0},
    [AMXEMU_TCMMIMFP16PS] = {"tcmmimfp16ps", AMXEMU_FAMILY_COMPLEX, 0},
    [AMXEMU_TDPBF8PS] = {"tdpbf8ps", AMXEMU_FAMILY_FP8, 0},
    [AMXEMU_TDPBHF8PS] = {"tdpbhf8ps", AMXEMU_FAMILY_FP8, 0},
    [AMXEMU_TDPHBF8PS] = {"tdphbf8ps", AMXEMU_FAMILY_FP8, 0},
    [AMXEMU_TDPHF8PS] = {"tdphf8ps", AMXEMU_FAMILY_FP8, 0},
    [AMXEMU_TILELOADDRS] = {"tileloaddrs", AMXEMU_FAMILY_MOVRS, 1},
    [AMXEMU_TILELOADDRST1] = {"tileloaddrst1", AMXEMU_FAMILY_MOVRS, 1},
    [AMXEMU_TILEMOVROW] = {"tilemovrow", AMXEMU_FAMILY_AVX512, 1},
    [AMXEMU_TCVTROWD2PS] = {"tcvtrowd2ps", AMXEMU_FAMILY_AVX512, 1},
    [AMXEMU_TCVTROWPS2BF16H] = {"tcvtrowps2bf16h", AMXEMU_FAMILY_AVX512, 1},
    [AMXEMU_TCVTROWPS2BF16L] = {"tcvtrowps2bf16l", AMXEMU_FAMILY_AVX512, 1},
    [AMXEMU_TCVTROWPS2PHH] = {"tcvtrowps2phh", AMXEMU_FAMILY_AVX512, 1},
    [AMXEMU_TCVTROWPS2PHL] = {"tcvtrowps2phl", AMXEMU_FAMILY_AVX512, 1},
    [AMXEMU_TMMULTF32PS] = {"tmmultf32ps", AMXEMU_FAMILY_TF32, 0},
    [AMXEMU_TTMMULTF32PS] = {"ttmmultf32ps", AMXEMU_FAMILY_TRANSPOSE, 0},
    [AMXEMU_TTDPBF16PS] = {"ttdpbf16ps", AMXEMU_FAMILY_TRANSPOSE, 0},
    [AMXEMU_TTDPFP16PS] = {"ttdpfp16ps", AMXEMU_FAMILY_TRANSPOSE, 0},
    [AMXEMU_TTCMMRLFP16PS] = {"ttcmmrlfp16ps", AMXEMU_FAMILY_TRANSPOSE, 0},
    [AMXEMU_TTCMMIMFP16PS] = {"ttcmmimfp16ps", AMXEMU_FAMILY_TRANSPOSE, 0},
    [AMXEMU_TCONJTCMMIMFP16PS] = {"tconjtcmmimfp16ps", AMXEMU_FAMILY_TRANSPOSE, 0},
    [AMXEMU_TCONJTFP16] = {"tconjtfp16", AMXEMU_FAMILY_TRANSPOSE, 0},
    [AMXEMU_TTRANSPOSED] = {"ttransposed", AMXEMU_FAMILY_TRANSPOSE, 0},
    [AMXEMU_T2RPNTLVWZ0] = {"t2rpntlvwz0", AMXEMU_FAMILY_TRANSPOSE, 0},
    [AMXEMU_T2RPNTLVWZ0T1] = {"t2rpntlvwz0t1", AMXEMU_FAMILY_TRANSPOSE, 0},
    [AMXEMU_T2RPNTLVWZ1] = {"t2rpntlvwz1", AMXEMU_FAMILY_TRANSPOSE, 0},
    [AMXEMU_T2RPNTLVWZ1T1] = {"t2rpntlvwz1t1", AMXEMU_FAMILY_TRANSPOSE, 0},
    [AMXEMU_T2RPNTLVWZ0RS] = {"t2rpntlvwz0rs", AMXEMU_FAMILY_TRANSPOSE, 0},
    [AMXEMU_T2RPNTLVWZ0RST1] = {"t2rpntlvwz0rst1", AMXEMU_FAMILY_TRANSPOSE, 0},
    [AMXEMU_T2RPNTLVWZ1RS] = {"t2rpntlvwz1rs", AMXEMU_FAMILY_TRANSPOSE, 0},
    [AMXEMU_T2RPNTLVWZ1RST1] = {"t2rpntlvwz1rst1", AMXEMU_FAMILY_TRANSPOSE, 0},
};

static const struct {
    const char *name;
    enum amxemu_status status;
} families[AMXEMU_FAMILIES] = {
    [AMXEMU_FAMILY_TILE] = {"amx_tile", AMXEMU_STATUS_VERIFIED},
    [AMXEMU_FAMILY_INT8] = {"amx_int8", AMXEMU_STATUS_VERIFIED},
    [AMXEMU_FAMILY_BF16] = {"amx_bf16", AMXEMU_STATUS_VERIFIED},
    [AMXEMU_FAMILY_FP16] = {"amx_fp16", AMXEMU_STATUS_VERIFIED},
    [AMXEMU_FAMILY_COMPLEX] = {"amx_complex", AMXEMU_STATUS_SPECIFIED},
    [AMXEMU_FAMILY_FP8] = {"amx_fp8", AMXEMU_STATUS_SPECIFIED},
    [AMXEMU_FAMILY_AVX512] = {"amx_avx512", AMXEMU_STATUS_SPECIFIED},
    [AMXEMU_FAMILY_MOVRS] = {"amx_movrs", AMXEMU_STATUS_SPECIFIED},
    [AMXEMU_FAMILY_APX] = {"apx", AMXEMU_STATUS_SPECIFIED},
    [AMXEMU_FAMILY_TF32] = {"amx_tf32", AMXEMU_STATUS_WITHDRAWN},
    [AMXEMU_FAMILY_TRANSPOSE] = {"amx_transpose", AMXEMU_STATUS_WITHDRAWN},
};

enum {
    SPR = 1 << AMXEMU_FAMILY_TILE | 1 << AMXEMU_FAMILY_INT8 | 1 << AMXEMU_FAMILY_BF16,
    GNR = SPR | 1 << AMXEMU_FAMILY_FP16,
    GNR_D = GNR | 1 << AMXEMU_FAMILY_COMPLEX,
    DMR = GNR_D | 1 << AMXEMU_FAMILY_FP8 | 1 << AMXEMU_FAMILY_AVX512 | 1 << AMXEMU_FAMILY_MOVRS |
        1 << AMXEMU_FAMILY_APX,
};
/* Families of each: XED's tables of the chips, and the compilers' -march, which agree. */
static const struct amxemu_cpu cpus[] = {
    {"spr", "Sapphire Rapids", SPR},
    {"gnr", "Granite Rapids", GNR},
    {"gnr-d", "Granite Rapids D", GNR_D},
    {"dmr", "Diamond Rapids", DMR},
};

const char *amxemu_mnemonic(enum amxemu_op op) {
    return (unsigned)op < AMXEMU_NAMED_OPS ? instructions[op].mnemonic : NULL;
}

const char *amxemu_family_name(enum amxemu_family family) {
    return (unsigned)family < AMXEMU_FAMILIES ? families[family].name : NULL;
}

enum amxemu_status amxemu_family_status(enum amxemu_family family) {
    return families[family].status;
}

int amxemu_in_family(enum amxemu_op op, enum amxemu_family family) {
    if (family == AMXEMU_FAMILY_APX)
        return instructions[op].has_apx_form;
    return instructions[op].family == family;
}

const struct amxemu_cpu *amxemu_cpu_model(unsigned i) {
    return i < sizeof cpus / sizeof cpus[0] ? &cpus[i] : NULL;
}

int amxemu_cpu_has(const struct amxemu_cpu *cpu, const struct amxemu_insn *insn) {
    const uint32_t needed =
        UINT32_C(1) << instructions[insn->op].family | (insn->apx ? UINT32_C(1) << AMXEMU_FAMILY_APX : 0);
    return (cpu->families & needed) == needed;
}
