/* What the CPU's own tile configuration instructions did, where the CPU has AMX and tile data is withheld:
 * those run without permission and are not seen.
 *
 * Whatever configuration is found in the CPU is taken out of it. So a configuration that is there again was
 * loaded again, and zeroed the tiles, even if it is the same.
 */
#ifndef TRAP_NATIVE_CONFIG_H
#define TRAP_NATIVE_CONFIG_H

#include "trap/thread/thread.h"

#include <ucontext.h>

void trap_native_config_prepare(int has_tiles); /* whether CPU and OS have */
int trap_has_native_config(void);

/* Into the thread's tiles: from a signal frame; from the registers, in a thunk. */
void trap_follow_config_in_frame(struct trap_thread *thread, ucontext_t *context);
void trap_follow_config(struct trap_thread *thread);

/* Whether code is this file's, which must reach the CPU. */
int trap_is_native_config_code(uint64_t rip);

#endif
