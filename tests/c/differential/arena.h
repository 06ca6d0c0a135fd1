/* The memory the instructions work on: a few pages at a fixed address between inaccessible ones.
 *
 * The address is below 4 GiB so that prefix 67 reaches it, and fixed so that results do not depend on the
 * run.
 */
#ifndef DIFFERENTIAL_ARENA_H
#define DIFFERENTIAL_ARENA_H

#include "emulator/emulator.h"

#define ARENA_RESERVED      UINT64_C(0x10000000) /* inaccessible but for what follows */
#define ARENA_RESERVED_SIZE UINT64_C(0x02000000)
#define ARENA               UINT64_C(0x11000000)
enum { PAGE = 4096, ARENA_PAGES = 4, ARENA_SIZE = ARENA_PAGES * PAGE, ARENA_READ_ONLY_PAGE = 2 };
#define ARENA_CODE UINT64_C(0x11100000) /* one executable page, in reach of RIP-relative operands */

/* A copy of the arena's contents, for the models of the instruction. */
struct shadow {
    uint8_t bytes[ARENA_SIZE];
};

int arena_map(void);                           /* 0 or -errno */
void arena_set(const struct shadow *contents); /* the memory itself, read-only page included */
int arena_equals(const struct shadow *contents);

/* What the CPU finds at an address, as far as this process can know. */
enum place {
    PLACE_BYTES,        /* the arena */
    PLACE_UNMAPPED,     /* page fault */
    PLACE_NONCANONICAL, /* with 48 and with 57 address bits */
    PLACE_UNKNOWN,      /* something of this process may be there: not to be touched */
};
enum place place_of(uint64_t address, size_t size);
size_t shadow_accessible(uint64_t address, size_t size, int writing); /* bytes from address up */

#endif
