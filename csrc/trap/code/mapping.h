/* Which mapping of a process an address lies in. Async-signal-safe.
 *
 * Here as elsewhere /proc is asked for the calling thread: /proc/self is the leader, which has no memory once
 * it has ended, though other threads go on (fs/proc/task_mmu.c, proc_maps_open()). */
#ifndef TRAP_MAPPING_H
#define TRAP_MAPPING_H

#include <stddef.h>
#include <stdint.h>

struct mapping {
    uint64_t start, end;
    int protection; /* as mprotect() takes it */
    int shared;     /* writing to it would be seen elsewhere, or change a file */
    int anonymous;  /* no file is behind it: what is code there was generated */
};

/* 0; -EFAULT where there is none; -errno where /proc does not tell. */
int mapping_at(uint64_t address, struct mapping *mapping);
/* The same of another process, by its file /proc/PID/maps. */
int mapping_in(const char *maps, uint64_t address, struct mapping *mapping);

/* Whether `size` bytes of code at `address` may be replaced. Not in shared memory, whoever may write there:
 * others would execute the change, and a file would keep it. All who write code ask this. */
int mapping_is_ours_to_write(const struct mapping *mapping, uint64_t address, size_t size);

#endif
