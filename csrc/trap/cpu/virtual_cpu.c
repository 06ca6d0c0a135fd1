#include "trap/cpu/virtual_cpu.h"

enum { EAX, EBX, ECX, EDX };
enum {
    LEAF_FEATURES = 0x7,
    LEAF_XSTATE = 0xD,
    LEAF_TILE = 0x1D,
    LEAF_TMUL = 0x1E, /* the last of AMX */
};
enum { XFEATURE_X87_SSE = 3, XFEATURE_XTILECFG = 17, XFEATURE_XTILEDATA = 18 };
#define XFEATURE_MASK_XTILE    (UINT64_C(3) << XFEATURE_XTILECFG)
#define XFEATURE_MASK_XTILECFG (UINT64_C(1) << XFEATURE_XTILECFG)
/* SSE, AVX, opmask and both parts of the ZMM registers. */
#define XFEATURE_MASK_ZMM UINT64_C(0xE6)

enum { CPUID_1_ECX_XSAVE = 1 << 26, CPUID_1_ECX_OSXSAVE = 1 << 27, CPUID_D_1_EAX_XFD = 1 << 4 };
enum { CPUID_D_N_ECX_ALIGN64 = 1 << 1, CPUID_D_N_ECX_XFD = 1 << 2 };
enum {
    CONFIG_SIZE = AMXEMU_CONFIG_BYTES,
    TILE_SIZE = AMXEMU_ROWS * AMXEMU_COLSB,
    DATA_SIZE = AMXEMU_TILES * TILE_SIZE,
};

/* Where a family is announced: a bit of leaf 7, and one of 1E.1 EAX, which on CPUs that have it repeats the
 * former; -1: not there. APX is general registers, hence the host's. */
static const struct {
    uint8_t subleaf, name;
    int8_t bit, mirror;
} places[AMXEMU_FAMILIES] = {
    [AMXEMU_FAMILY_TILE] = {0, EDX, 24, -1},   [AMXEMU_FAMILY_INT8] = {0, EDX, 25, 0},
    [AMXEMU_FAMILY_BF16] = {0, EDX, 22, 1},    [AMXEMU_FAMILY_COMPLEX] = {1, EDX, 8, 2},
    [AMXEMU_FAMILY_FP16] = {1, EAX, 21, 3},    [AMXEMU_FAMILY_FP8] = {0, 0, -1, 4},
    [AMXEMU_FAMILY_TRANSPOSE] = {0, 0, -1, 5}, [AMXEMU_FAMILY_TF32] = {0, 0, -1, 6},
    [AMXEMU_FAMILY_AVX512] = {0, 0, -1, 7},    [AMXEMU_FAMILY_MOVRS] = {0, 0, -1, 8},
    [AMXEMU_FAMILY_APX] = {0, 0, -1, -1},
};

static int has(const struct amxemu_cpu *cpu, unsigned family) {
    return cpu->families >> family & 1;
}

/* Diamond Rapids is the first with 1E.1, where the newer families are announced alone. */
static uint32_t mirror(const struct amxemu_cpu *cpu) {
    uint32_t bits = 0;
    int needed = 0;
    for (unsigned family = 0; family < AMXEMU_FAMILIES; family++) {
        if (!has(cpu, family) || places[family].mirror < 0)
            continue;
        bits |= UINT32_C(1) << places[family].mirror;
        needed |= places[family].bit < 0;
    }
    return needed ? bits : 0;
}

static uint32_t at_least(uint32_t value, uint32_t least) {
    return value < least ? least : value;
}

static void features(const struct amxemu_cpu *cpu, uint32_t subleaf, uint32_t registers[4]) {
    for (unsigned family = 0; family < AMXEMU_FAMILIES; family++) {
        if (places[family].bit < 0)
            continue;
        if (places[family].subleaf == subleaf) {
            registers[places[family].name] &= ~(UINT32_C(1) << places[family].bit);
            registers[places[family].name] |= (uint32_t)has(cpu, family) << places[family].bit;
        }
        if (subleaf == 0 && has(cpu, family))
            registers[EAX] = at_least(registers[EAX], places[family].subleaf);
    }
}

static void set(uint32_t registers[4], uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx) {
    registers[EAX] = eax;
    registers[EBX] = ebx;
    registers[ECX] = ecx;
    registers[EDX] = edx;
}

static void xstate(uint32_t subleaf, int has_xsave, uint32_t registers[4]) {
    enum { ALIGN = 64 };
    switch (subleaf) {
    case 0:
        registers[EAX] |= XFEATURE_X87_SSE | (uint32_t)XFEATURE_MASK_XTILE;
        /* Who is told a size saves by XSAVE, as glibc's dynamic linker does, and else by FXSAVE. */
        registers[EBX] = has_xsave ? at_least(registers[EBX], VIRTUAL_XSAVE_SIZE) : 0;
        registers[ECX] = at_least(registers[ECX], VIRTUAL_XSAVE_SIZE);
        break;
    case 1:
        /* The compacted size, where there is that format, and where it is without tiles as yet: a host that
         * has them needs no less than their size. */
        if (registers[EBX] && registers[EBX] < CONFIG_SIZE + DATA_SIZE)
            registers[EBX] = (registers[EBX] + ALIGN - 1) / ALIGN * ALIGN + CONFIG_SIZE + DATA_SIZE;
        registers[EAX] |= CPUID_D_1_EAX_XFD;
        break;
    case XFEATURE_XTILECFG:
        set(registers, CONFIG_SIZE, VIRTUAL_CONFIG_OFFSET, CPUID_D_N_ECX_ALIGN64, 0);
        break;
    case XFEATURE_XTILEDATA:
        set(registers, DATA_SIZE, VIRTUAL_DATA_OFFSET, CPUID_D_N_ECX_ALIGN64 | CPUID_D_N_ECX_XFD, 0);
        break;
    default:
        break;
    }
}

static void tile(uint32_t subleaf, uint32_t registers[4]) {
    if (subleaf == 0)
        set(registers, 1, 0, 0, 0); /* the highest palette */
    else if (subleaf == 1)
        set(registers, TILE_SIZE << 16 | DATA_SIZE, AMXEMU_TILES << 16 | AMXEMU_COLSB, AMXEMU_ROWS, 0);
    else
        set(registers, 0, 0, 0, 0);
}

static void tmul(const struct amxemu_cpu *cpu, uint32_t subleaf, uint32_t registers[4]) {
    const uint32_t mirrored = mirror(cpu);
    if (subleaf == 0)
        set(registers, mirrored != 0, AMXEMU_COLSB << 8 | AMXEMU_ROWS, 0, 0); /* N in bytes, K in groups */
    else
        set(registers, subleaf == 1 ? mirrored : 0, 0, 0, 0);
}

void virtual_cpuid(const struct amxemu_cpu *cpu, uint32_t leaf, uint32_t subleaf, const uint32_t host[4],
                   uint32_t host_max_leaf, uint64_t host_xcr0, uint32_t registers[4]) {
    const int missing = leaf > host_max_leaf && leaf <= LEAF_TMUL;
    for (int i = EAX; i <= EDX; i++)
        registers[i] = missing ? 0 : host[i];
    switch (leaf) {
    case 0:
        registers[EAX] = at_least(registers[EAX], LEAF_TMUL);
        break;
    case 1:
        registers[ECX] |= CPUID_1_ECX_XSAVE | CPUID_1_ECX_OSXSAVE;
        break;
    case LEAF_FEATURES:
        features(cpu, subleaf, registers);
        break;
    case LEAF_XSTATE:
        xstate(subleaf, host_xcr0 != 0, registers);
        break;
    case LEAF_TILE:
        tile(subleaf, registers);
        break;
    case LEAF_TMUL:
        tmul(cpu, subleaf, registers);
        break;
    default:
        break;
    }
}

uint64_t virtual_xcr0(uint64_t host) {
    return host | XFEATURE_X87_SSE | XFEATURE_MASK_XTILE;
}

uint64_t virtual_xinuse(uint64_t host, uint64_t tiles) {
    if (host & XFEATURE_MASK_XTILECFG) /* LDTILECFG, which zeroes the tiles */
        tiles = XFEATURE_MASK_XTILECFG;
    return (host & ~XFEATURE_MASK_XTILE) | (tiles & XFEATURE_MASK_XTILE);
}

struct amxemu_cpu virtual_cpu(const struct amxemu_cpu *model, uint64_t host_xcr0) {
    struct amxemu_cpu cpu = *model;
    if ((host_xcr0 & XFEATURE_MASK_ZMM) != XFEATURE_MASK_ZMM)
        cpu.families &= ~(UINT32_C(1) << AMXEMU_FAMILY_AVX512);
    return cpu;
}

struct kernel_model_machine virtual_machine(uint64_t host_xcr0, int la57,
                                            int (*put_user)(uint64_t address, uint64_t value)) {
    return (struct kernel_model_machine){
        .features = virtual_xcr0(host_xcr0),
        .feature_count = VIRTUAL_XFEATURE_MAX,
        .config_offset = VIRTUAL_CONFIG_OFFSET,
        .data_offset = VIRTUAL_DATA_OFFSET,
        .size = VIRTUAL_XSAVE_SIZE,
        .minsigstksz = VIRTUAL_MINSIGSTKSZ,
        .altstack_floor = VIRTUAL_ALTSTACK_FLOOR,
        .la57 = la57,
        .put_user = put_user,
    };
}
