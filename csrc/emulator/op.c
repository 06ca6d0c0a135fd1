/* What the instructions are called. */
#include "emulator.h"

const char *amxemu_mnemonic(enum amxemu_op op) {
    static const char *const mnemonics[AMXEMU_OPS] = {
        [AMXEMU_LDTILECFG] = "ldtilecfg",     [AMXEMU_STTILECFG] = "sttilecfg",
        [AMXEMU_TILERELEASE] = "tilerelease", [AMXEMU_TILEZERO] = "tilezero",
        [AMXEMU_TILELOADD] = "tileloadd",     [AMXEMU_TILELOADDT1] = "tileloaddt1",
        [AMXEMU_TILESTORED] = "tilestored",   [AMXEMU_TDPBSSD] = "tdpbssd",
        [AMXEMU_TDPBSUD] = "tdpbsud",         [AMXEMU_TDPBUSD] = "tdpbusd",
        [AMXEMU_TDPBUUD] = "tdpbuud",         [AMXEMU_TDPBF16PS] = "tdpbf16ps",
        [AMXEMU_TDPFP16PS] = "tdpfp16ps",
    };
    return (unsigned)op < AMXEMU_OPS ? mnemonics[op] : (const char *)0;
}
