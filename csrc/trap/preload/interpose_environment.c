/* What children need in their environments to be emulated too: LD_PRELOAD with this library, and the
 * variables of preload/preload.c as this process got them. A child that has them with other values keeps
 * those. */
#define _GNU_SOURCE
#include "trap/preload/interpose.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { KEPT = 8, PREFIX_LENGTH = sizeof "AMX_EMULATE_" - 1 };
static const char prefix[] = "AMX_EMULATE_", preload[] = "LD_PRELOAD=";

static char library[PATH_MAX];
static char *kept[KEPT]; /* NAME=value */
static size_t kept_count;

static size_t name_length(const char *variable) {
    return strcspn(variable, "=");
}

/* As LD_PRELOAD can have it; a link may have been made because the path cannot be. */
static void find_library(void) {
    static const char special[] = " :\t\n\v\f\r";
    Dl_info info;
    library[0] = 0;
    if (dladdr(kept, &info) == 0)
        return;
    if (realpath(info.dli_fname, library) != NULL && strpbrk(library, special) == NULL)
        return;
    const char *const name = info.dli_fname;
    const int fits = name[0] == '/' && strpbrk(name, special) == NULL && strlen(name) < sizeof library;
    strcpy(library, fits ? name : "");
}

void interpose_keep(char **environment) {
    find_library();
    for (char **e = environment; *e != NULL && kept_count < KEPT; e++)
        if (strncmp(*e, prefix, PREFIX_LENGTH) == 0 && (kept[kept_count] = strdup(*e)) != NULL)
            kept_count++;
}

/* The value without what would be replaced; NULL where there is none. */
static const char *find(char *const environment[], const char *name, size_t length) {
    for (; environment != NULL && *environment != NULL; environment++)
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
            return *environment + length + 1;
    return NULL;
}

static const char *preloaded(char *const environment[]) {
    return find(environment, preload, sizeof preload - 2);
}

struct interpose_room interpose_room(char *const environment[]) {
    const char *const before = preloaded(environment);
    size_t count = 0;
    while (environment != NULL && environment[count] != NULL)
        count++;
    return (struct interpose_room){count + KEPT + 2,
                                   sizeof preload + sizeof library + (before ? strlen(before) : 0) + 1};
}

char **interpose_complete(char *const environment[], char **copy, char *text) {
    const char *const before = preloaded(environment);
    size_t count = 0;
    for (; environment != NULL && *environment != NULL; environment++)
        copy[count++] = *environment;
    copy[count] = NULL;
    if (kept_count == 0 || library[0] == 0)
        return copy;
    for (size_t i = 0; i < kept_count; i++)
        if (find(copy, kept[i], name_length(kept[i])) == NULL) {
            copy[count++] = kept[i];
            copy[count] = NULL;
        }
    if (before != NULL && strstr(before, strrchr(library, '/')) != NULL)
        return copy; /* this library or another copy of it */
    strcat(strcpy(text, preload), library);
    if (before != NULL && *before)
        strcat(strcat(text, ":"), before);
    for (size_t i = 0; i < count; i++)
        if (strncmp(copy[i], preload, sizeof preload - 1) == 0) {
            copy[i] = text;
            return copy;
        }
    copy[count++] = text;
    copy[count] = NULL;
    return copy;
}
