/* DIRECTORY/unrecorded: how many processes of a program could not write what they were to, and why. It is
 * made by who starts the program, with its blocks, since it is needed when there are none left;
 * amx/emulation/unrecorded.py reads it. Without it nothing is counted.
 */
#ifndef TRAP_UNRECORDED_H
#define TRAP_UNRECORDED_H

#include "trap/files/own_file.h"

/* Two of these, of OWN_TRACE and OWN_REPORT. */
struct unrecorded {
    _Atomic uint32_t processes;
    _Atomic int32_t error; /* of the first; an errno */
};

/* Forked children inherit the mapping, wherever they may go. */
void unrecorded_open(const char *directory);
/* This process, of which `which` was not recorded, or not to its end. error: -errno. */
void unrecorded_add(enum own_mapping which, int error);
/* One that was added for a program which was not executed after all. */
void unrecorded_take_back(enum own_mapping which);

#endif
