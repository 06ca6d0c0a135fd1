#define _GNU_SOURCE
#include "trap/preload/interpose.h"

#include <dlfcn.h>

/* Where the section begins and ends, as linkers name it. */
__attribute__((visibility("hidden"))) extern struct interposed __start_interposed[], __stop_interposed[];

void interpose_start(void) {
    for (const struct interposed *each = __start_interposed; each != __stop_interposed; each++)
        *each->real = dlsym(RTLD_NEXT, each->name);
}
