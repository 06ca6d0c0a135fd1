/* Runs this process's own AMX instructions on the software tile machine, on a CPU that does not know them.
 *
 * For child processes of the tests only: it takes over SIGILL and stays. Each thread has tile registers of
 * its own, in the INIT state at first; a forked child keeps the configuration and loses the data, as with the
 * kernel. Not modelled: a new thread's copy of the configuration, and signal handlers starting in the INIT
 * state.
 */
#ifndef AMX_TEST_TRAP_H
#define AMX_TEST_TRAP_H

#include "emulator/emulator.h"

/* 0 or -errno; -EEXIST where the OS has enabled tiles, so that AMX instructions do not trap.
 * What is not AMX, or is an AMX #UD, goes to the SIGILL handler that was installed before. */
int trap_install(void);
struct amxemu_state *trap_state(void); /* this thread's tile registers; NULL without memory */
unsigned long trap_count(void);        /* instructions executed so far, all threads */
int trap_os_has_tiles(void);           /* 1 where XCR0 has them: AMX instructions do not trap there */

#endif
