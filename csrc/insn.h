/* Every AMX instruction of the base set and FP16 as asm of our own, with its full operands.
 *
 * Not <immintrin.h>: up to gcc 12 it declares 8 of the 64 bytes that LDTILECFG reads and STTILECFG writes,
 * and gives the tile loads no memory clobber, so that the compiler may delete or move the stores they depend
 * on. Bytes instead of mnemonics: no assembler or -m option is needed, and nothing but these macros makes the
 * compiler emit AMX. Encodings: SDM vol. 2.
 *
 * Tile numbers are literal digits 0-7. The address registers are fixed (rax base, rcx stride) because the
 * bytes name them. All are volatile, so they stay in program order among themselves; the compiler knows
 * nothing of tile registers.
 */
#ifndef AMX_INSN_H
#define AMX_INSN_H

#include <stdint.h>

/* ldtilecfg (%rax): reads 64 bytes; #GP for an image the palette does not allow; zeroes all tiles. */
#define AMX_LDTILECFG(config)                                                                                \
    __asm__ volatile(".byte 0xc4, 0xe2, 0x78, 0x49, 0x00"                                                    \
                     :                                                                                       \
                     : "a"(config), "m"(*(const uint8_t (*)[64])(config)))

/* sttilecfg (%rax): writes 64 bytes, all zero in the INIT state. */
#define AMX_STTILECFG(config)                                                                                \
    __asm__ volatile(".byte 0xc4, 0xe2, 0x79, 0x49, 0x00" : "=m"(*(uint8_t (*)[64])(config)) : "a"(config))

/* tilerelease: configuration and data to INIT, so that the kernel has nothing to save and the core may sleep
 * deeply. */
#define AMX_TILERELEASE() __asm__ volatile(".byte 0xc4, 0xe2, 0x78, 0x49, 0xc0")

/* tilezero %tmm */
#define AMX_TILEZERO(t) __asm__ volatile(".byte 0xc4, 0xe2, 0x7b, 0x49, 0xc0 | (" #t " << 3)")

/* tileloadd (%rax,%rcx,1), %tmm and its relatives: row r is at base + r * stride. Which bytes they touch
 * depends on the configuration, so memory as a whole is the operand. */
#define AMX_TILE_MEMORY_(prefix, t, pointer, stride)                                                         \
    __asm__ volatile(".byte 0xc4, 0xe2, " prefix ", 0x4b, 0x04 | (" #t " << 3), 0x08"                        \
                     :                                                                                       \
                     : "a"(pointer), "c"((int64_t)(stride))                                                  \
                     : "memory")
#define AMX_TILELOADD(t, pointer, stride)   AMX_TILE_MEMORY_("0x7b", t, pointer, stride)
#define AMX_TILELOADDT1(t, pointer, stride) AMX_TILE_MEMORY_("0x79", t, pointer, stride)
#define AMX_TILESTORED(t, pointer, stride)  AMX_TILE_MEMORY_("0x7a", t, pointer, stride)

/* d += a * b; d is modrm.reg, a modrm.rm, b vvvv (stored inverted). Prefix field: 0 none, 1 66, 2 F3,
 * 3 F2. */
#define AMX_TDP_(pp, opcode, d, a, b)                                                                        \
    __asm__ volatile(".byte 0xc4, 0xe2, 0x78 - 8 * " #b " + " #pp ", " #opcode ", 0xc0 | (" #d " << 3) "     \
                     "| " #a)
#define AMX_TDPBSSD(d, a, b)   AMX_TDP_(3, 0x5e, d, a, b)
#define AMX_TDPBSUD(d, a, b)   AMX_TDP_(2, 0x5e, d, a, b)
#define AMX_TDPBUSD(d, a, b)   AMX_TDP_(1, 0x5e, d, a, b)
#define AMX_TDPBUUD(d, a, b)   AMX_TDP_(0, 0x5e, d, a, b)
#define AMX_TDPBF16PS(d, a, b) AMX_TDP_(2, 0x5c, d, a, b)
#define AMX_TDPFP16PS(d, a, b) AMX_TDP_(3, 0x5c, d, a, b)

#endif
