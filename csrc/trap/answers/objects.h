/* The ELF objects of this process: those that are there, and each that dlopen() brings, before its
 * constructors run.
 *
 * The dynamic linker calls an empty function when it has mapped objects, for debuggers to put a breakpoint on
 * (r_brk of struct r_debug, <link.h>); here it is ours.
 */
#ifndef TRAP_OBJECTS_H
#define TRAP_OBJECTS_H

#include "trap/code/scan.h"

#include <ucontext.h>

/* Calls `loaded` now for every object but this one and the kernel's, from now on for new ones, one at a time,
 * maybe in a signal handler. Once, before other threads. 0; -ENOTSUP where the dynamic linker cannot be
 * listened to, so that only those of now are reported. */
int objects_start(void (*loaded)(const struct code_image *image));
/* Objects whose program headers were not found, or whose files end too early; all that come later, where
 * nobody listens, count as one. */
unsigned objects_missed(void);

/* Whether an INT3 was the dynamic linker's; then the program goes on at the context. */
int objects_handle(ucontext_t *context);

#endif
