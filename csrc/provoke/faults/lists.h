/* The deliberate faults, one array a file. */
#ifndef AMX_PROVOKE_LISTS_H
#define AMX_PROVOKE_LISTS_H

#include "provoke/kernel.h"

struct fault {
    const char *name, *what;
    struct kernel put; /* the entries that it replaces; the others are NULL */
};
/* Each ended by {0}; faults.c lists them. */
extern const struct fault faults_of_requests[], faults_of_inheritance[], faults_of_tiles[],
    faults_of_altstacks[], faults_of_frames[], faults_of_switches[];

#endif
