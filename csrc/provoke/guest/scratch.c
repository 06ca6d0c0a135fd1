/* See scratch.h. */
#define _GNU_SOURCE /* nftw */
#include "provoke/guest/scratch.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

static const char *parent(void) {
    static const char *const names[] = {"AMX_PROVOKE_TMPDIR", "TMPDIR"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *const named = getenv(names[i]);
        if (named && *named)
            return named;
    }
    return "/tmp";
}

void scratch_make(char path[SCRATCH_PATH]) {
    const int length = snprintf(path, SCRATCH_PATH, "%s/amx-provoke-XXXXXX", parent());
    if (length >= SCRATCH_PATH || !mkdtemp(path))
        path[0] = '\0';
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where) {
    (void)status, (void)kind, (void)where;
    (void)remove(path);
    return 0;
}

void scratch_remove(const char *path) {
    enum { DESCRIPTORS = 16 };
    if (*path)
        nftw(path, remove_one, DESCRIPTORS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}
