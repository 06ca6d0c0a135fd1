/* How long an x86-64 instruction is.
 *
 * Pure. Knows which opcodes have a ModRM byte and an immediate, not which are defined: what a CPU would
 * refuse may have a length. Sources: SDM vol. 2, chapter 2 and appendix A; the APX architecture
 * specification (REX2, EVEX map 4); AMD's manual, vol. 6 (XOP) and vol. 3 (3DNow!, SSE4a).
 */
#ifndef AMX_INSN_LENGTH_H
#define AMX_INSN_LENGTH_H

#include <stddef.h>
#include <stdint.h>

enum { INSN_MAX_LENGTH = 15 };

/* Bytes, 1 to 15. 0: no instruction of 64-bit mode, it does not end within `size`, or CPUs disagree about it
 * (near branches with prefix 66). */
unsigned insn_length(const uint8_t *code, size_t size);

int insn_is_prefix(uint8_t byte); /* REX included */

#endif
