/* Which mapping of this process an address lies in. Async-signal-safe. */
#ifndef TRAP_MAPPING_H
#define TRAP_MAPPING_H

#include <stdint.h>

struct mapping {
    uint64_t start, end;
    int protection; /* as mprotect() takes it */
    int shared;     /* writing to it would be seen elsewhere, or change a file */
};

/* 0; -EFAULT where there is none; -errno where /proc does not tell. */
int mapping_at(uint64_t address, struct mapping *mapping);

#endif
