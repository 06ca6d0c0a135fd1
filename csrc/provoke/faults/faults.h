/* Deliberate faults: entries of the table that falsify what the kernel behind them says or does. */
#ifndef AMX_PROVOKE_FAULTS_H
#define AMX_PROVOKE_FAULTS_H

#include "provoke/kernel.h"

struct fault {
    const char *name, *what;
    struct kernel put; /* the entries that it replaces; the others are NULL */
};
/* Each ended by {0}; faults.c lists them. */
extern const struct fault faults_of_requests[], faults_of_inheritance[], faults_of_tiles[],
    faults_of_altstacks[], faults_of_frames[], faults_of_switches[];

/* What the faulty kernel stands before, for the replaced entries to call. */
extern const struct kernel *fault_base;

int fault_permitted(void); /* tile data, as the base says */
/* SIGILL as the instruction at this address would raise it; comes back when a handler returns. */
void fault_raise(int code, uintptr_t address);

#endif
