#define _GNU_SOURCE
#include "trap/preload/interpose.h"

#include <dlfcn.h>

static void look_up(const struct interposed *list) {
    for (; list->name != NULL; list++)
        *list->real = dlsym(RTLD_NEXT, list->name);
}

void interpose_start(void) {
    look_up(interposed_features);
    look_up(interposed_signals);
    look_up(interposed_processes);
    look_up(interposed_threads);
}
