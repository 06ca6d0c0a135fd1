/* The CPU's own tile state, read and written whole, beyond the configured shapes too. */
#ifndef DIFFERENTIAL_NATIVE_H
#define DIFFERENTIAL_NATIVE_H

#include "emulator/emulator.h"

int native_os_has_tiles(void); /* XCR0 */
int native_request(void);      /* 0 when tiles may be used, else -errno; asks the kernel */
void native_set(const struct amxemu_state *state);
void native_get(struct amxemu_state *state);

#endif
