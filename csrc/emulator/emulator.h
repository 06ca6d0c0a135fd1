/* The software tile machine: what the AMX instructions do to the tile state, memory, ZMM registers, and
 * nothing else.
 *
 * Pure: no system call, no signal, no allocation, no global state but the choice of the arithmetic path.
 * Sources: Intel SDM vol. 2 (instruction pages) and vol. 1 chapter 18; where silicon was compared with it,
 * docs/numerics.md says so.
 */
#ifndef AMX_EMULATOR_H
#define AMX_EMULATOR_H

#include <stddef.h>
#include <stdint.h>

enum { AMXEMU_TILES = 8, AMXEMU_ROWS = 16, AMXEMU_COLSB = 64, AMXEMU_CONFIG_BYTES = 64 };

/* The tile registers of one logical processor. All zero is the INIT state. */
struct amxemu_state {
    _Alignas(64) uint8_t tile[AMXEMU_TILES][AMXEMU_ROWS][AMXEMU_COLSB];
    uint16_t colsb[AMXEMU_TILES];
    uint8_t rows[AMXEMU_TILES];
    uint8_t palette;
    uint8_t start_row;
};

/* What an instruction ended in. Everything but AMXEMU_OK leaves the state as the hardware would. */
enum amxemu_outcome {
    AMXEMU_OK = 0,
    AMXEMU_UD, /* invalid opcode or tile configuration */
    AMXEMU_GP, /* general protection: bad LDTILECFG image, non-canonical address */
    AMXEMU_SS, /* stack fault: non-canonical address formed with RSP or RBP as base */
    AMXEMU_PF, /* the memory callback refused; the address is in amxemu_fault */
};

struct amxemu_fault {
    uint64_t address; /* first byte that could not be accessed, for AMXEMU_PF */
};

/* Memory as the instructions see it. Each returns how many of `size` bytes, from `address` up, are
 * accessible: `size` when all were read or written; less means a fault at address + result, and for write
 * that nothing was written. */
struct amxemu_memory {
    size_t (*read)(void *context, uint64_t address, void *to, size_t size);
    size_t (*write)(void *context, uint64_t address, const void *from, size_t size);
    void *context;
};
/* This process's own memory, without any check: an access that faults, faults for real. */
extern const struct amxemu_memory amxemu_direct_memory;

enum amxemu_op {
    AMXEMU_LDTILECFG,
    AMXEMU_STTILECFG,
    AMXEMU_TILERELEASE,
    AMXEMU_TILEZERO,
    AMXEMU_TILELOADD,
    AMXEMU_TILELOADDT1,
    AMXEMU_TILESTORED,
    AMXEMU_TDPBSSD,
    AMXEMU_TDPBSUD,
    AMXEMU_TDPBUSD,
    AMXEMU_TDPBUUD,
    AMXEMU_TDPBF16PS,
    AMXEMU_TDPFP16PS,
    AMXEMU_TCMMRLFP16PS,
    AMXEMU_TCMMIMFP16PS,
    AMXEMU_TDPBF8PS,
    AMXEMU_TDPBHF8PS,
    AMXEMU_TDPHBF8PS,
    AMXEMU_TDPHF8PS, /* products end here, as csrc/trap/trace/record.c knows */
    AMXEMU_TILELOADDRS,
    AMXEMU_TILELOADDRST1,
    AMXEMU_TILEMOVROW,
    AMXEMU_TCVTROWD2PS,
    AMXEMU_TCVTROWPS2BF16H,
    AMXEMU_TCVTROWPS2BF16L,
    AMXEMU_TCVTROWPS2PHH,
    AMXEMU_TCVTROWPS2PHL,
    AMXEMU_OPS, /* Intel withdrew what follows: it has a name, and executes as #UD */
    AMXEMU_TMMULTF32PS = AMXEMU_OPS,
    AMXEMU_TTMMULTF32PS,
    AMXEMU_TTDPBF16PS,
    AMXEMU_TTDPFP16PS,
    AMXEMU_TTCMMRLFP16PS,
    AMXEMU_TTCMMIMFP16PS,
    AMXEMU_TCONJTCMMIMFP16PS,
    AMXEMU_TCONJTFP16,
    AMXEMU_TTRANSPOSED,
    AMXEMU_T2RPNTLVWZ0,
    AMXEMU_T2RPNTLVWZ0T1,
    AMXEMU_T2RPNTLVWZ1,
    AMXEMU_T2RPNTLVWZ1T1,
    AMXEMU_T2RPNTLVWZ0RS,
    AMXEMU_T2RPNTLVWZ0RST1,
    AMXEMU_T2RPNTLVWZ1RS,
    AMXEMU_T2RPNTLVWZ1RST1,
    AMXEMU_NAMED_OPS,
};
const char *amxemu_mnemonic(enum amxemu_op op); /* lower case, NULL for an unknown op */

/* Single instructions with their operands resolved. Tile numbers must be below AMXEMU_TILES. */
enum amxemu_outcome amxemu_ldtilecfg(struct amxemu_state *s, const uint8_t image[AMXEMU_CONFIG_BYTES]);
void amxemu_sttilecfg(const struct amxemu_state *s, uint8_t image[AMXEMU_CONFIG_BYTES]);
void amxemu_tilerelease(struct amxemu_state *s);
enum amxemu_outcome amxemu_tilezero(struct amxemu_state *s, unsigned t);
/* Row r is at base + r * stride (both wrap modulo 2^64). `fault` may be NULL. Canonical checks
 * are step()'s. */
enum amxemu_outcome amxemu_tileloadd(struct amxemu_state *s, unsigned t, uint64_t base, int64_t stride,
                                     const struct amxemu_memory *memory, struct amxemu_fault *fault);
enum amxemu_outcome amxemu_tilestored(struct amxemu_state *s, unsigned t, uint64_t base, int64_t stride,
                                      const struct amxemu_memory *memory, struct amxemu_fault *fault);
/* op: a product; d, a, b as in the SDM: d += a * b. */
enum amxemu_outcome amxemu_tdp(struct amxemu_state *s, enum amxemu_op op, unsigned d, unsigned a, unsigned b);
/* op from AMXEMU_TILEMOVROW on: a row of t, converted as op says; all of zmm is written. */
enum amxemu_outcome amxemu_tilerow(struct amxemu_state *s, enum amxemu_op op, unsigned t, uint32_t row,
                                   uint8_t zmm[AMXEMU_COLSB]);

/* Decode and step over machine code. */
enum { AMXEMU_RIP = 32 };
struct amxemu_insn {
    enum amxemu_op op;
    uint8_t length;  /* bytes, prefixes included */
    uint8_t d, a, b; /* tiles: d is modrm.reg (also of loads, stores, zero), a is modrm.rm, b is vvvv;
                        where a row goes to a ZMM register, d is that one, 0-31, and a the tile */
    uint8_t has_memory;
    int8_t base, index; /* register numbers 0-31, -1 none, base AMXEMU_RIP: of the next instruction */
    int8_t segment;     /* 4 FS, 5 GS, -1 none */
    uint8_t scale;      /* shift: 0-3 */
    uint8_t address32;  /* prefix 67 */
    int32_t displacement;
    int8_t row_register; /* 0-31, holds the row's number; -1: it is `row` */
    uint8_t row;
    uint8_t apx; /* only CPUs with APX know this encoding */
};
enum amxemu_verdict {
    AMXEMU_NOT_AMX,   /* some other instruction, or too few bytes to tell */
    AMXEMU_VALID,     /* decoded into *insn */
    AMXEMU_INVALID,   /* an encoding in AMX's opcode space that raises #UD whatever the state is */
    AMXEMU_WITHDRAWN, /* well formed, of an instruction that Intel withdrew; decoded into *insn, #UD */
};
enum amxemu_verdict amxemu_decode(const uint8_t *code, size_t size, struct amxemu_insn *insn);

struct amxemu_registers {
    uint64_t gpr[16]; /* rax rcx rdx rbx rsp rbp rsi rdi r8-r15 */
    uint64_t rip;     /* of the instruction; step() advances it on AMXEMU_OK */
    uint64_t fs_base, gs_base;
    const uint64_t *egpr;         /* r16-r31; NULL: what needs APX is #UD, as on CPUs without */
    uint8_t (*zmm)[AMXEMU_COLSB]; /* zmm0-zmm31; NULL: what writes them is #UD, as without AVX-512 */
    int la57;                     /* CR4.LA57: a canonical address has 57 bits, else 48 */
};
enum amxemu_outcome amxemu_step(struct amxemu_state *s, struct amxemu_registers *r,
                                const struct amxemu_insn *insn, const struct amxemu_memory *memory,
                                struct amxemu_fault *fault);

/* The arithmetic path of amxemu_tdp: scalar is the reference; each of the others takes what is not its own
 * from the one before. avx2 needs AVX2, FMA and F16C; avx512 F, BW, DQ and VL. */
enum amxemu_path { AMXEMU_SCALAR, AMXEMU_AVX2, AMXEMU_AVX512, AMXEMU_AVX512_VNNI };
enum amxemu_path amxemu_best_path(void);       /* what this CPU and OS allow, by CPUID and XCR0 */
int amxemu_select_path(enum amxemu_path path); /* for the whole process; 0, or -ENOTSUP */
enum amxemu_path amxemu_selected_path(void);

#endif
