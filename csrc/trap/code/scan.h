/* Where in an ELF object certain instructions are.
 *
 * Their bytes also occur in data and inside other instructions, so a place counts only if decoding the
 * function around it, from where its unwind table says that it begins, arrives there. Pure but for reading
 * the object; no allocation, a few hundred bytes of stack.
 */
#ifndef AMX_CODE_SCAN_H
#define AMX_CODE_SCAN_H

#include "trap/code/object.h"

#include <stddef.h>
#include <stdint.h>

enum code_kind {
    CODE_CPUID = 1,
    CODE_XGETBV = 2,
    CODE_AMX_CONFIG = 4, /* LDTILECFG, STTILECFG, TILERELEASE: what works without permission */
};

struct code_sink {
    void (*site)(void *context, enum code_kind kind, const uint8_t *at, unsigned length);
    void *context;
};

/* What one scan may take, in instructions decoded and records of tables looked at: nine times what the 146
 * MiB of a Rust compiler take. */
enum { CODE_WORK_MOST = 1 << 25 };

/* Reports every site of `kinds` (bits of enum code_kind), ascending within each segment. Returns how many
 * places have the bytes of such an instruction and could be neither confirmed nor ruled out; all that lies
 * behind CODE_WORK_MOST is one of them. */
size_t code_scan(const struct code_image *image, unsigned kinds, const struct code_sink *sink);

#endif
