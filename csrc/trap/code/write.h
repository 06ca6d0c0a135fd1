/* Replaces instructions that other threads may be executing.
 *
 * First an INT3 over the first byte, then the rest behind it, then the first byte itself, and every CPU sees
 * each step before the next (Intel SDM vol. 3, 10.1.3, cross-modifying code; Linux's text_poke_bp() does the
 * same to the kernel). Who meets an INT3 meanwhile is the SIGTRAP handler's to help.
 *
 * Never written to: what mapping_is_ours_to_write() says.
 */
#ifndef TRAP_CODE_WRITE_H
#define TRAP_CODE_WRITE_H

#include <stddef.h>
#include <stdint.h>

enum { CODE_BYTES_WRITTEN = 5, INT3 = 0xCC, JMP = 0xE9 };

enum code_outcome {
    CODE_UNCHANGED,
    CODE_STOPPED, /* an INT3 stands there, and behind it old or new bytes */
    CODE_WRITTEN,
};
struct code_write {
    uint64_t address;
    uint8_t bytes[CODE_BYTES_WRITTEN]; /* what shall stand there */
    enum code_outcome outcome;
};

/* Tells the kernel that code will be replaced: 0, or -errno where that would not be safe. */
int code_write_prepare(void);
/* All of them in one round. Async-signal-safe; the caller serialises. */
void code_write(struct code_write *writes, size_t count);

#endif
