/* Kernels with one deliberate fault, which the checks must find. */
#include "provoke/faults/faults.h"
#include "provoke/faults/base.h"
#include "provoke/faults/lists.h"
#include "provoke/harness/see.h"

#include <string.h>

static const struct fault *const lists[] = {faults_of_requests,  faults_of_inheritance, faults_of_tiles,
                                            faults_of_altstacks, faults_of_frames,      faults_of_switches};
enum { LISTS = sizeof lists / sizeof *lists };

/* The base with the entries of `put` in the place of its own. The table is nothing but function pointers. */
static const struct kernel *with(const struct kernel *base, const struct kernel *put) {
    static struct kernel faulty;
    enum { ENTRY = sizeof(void (*)(void)), ENTRIES = sizeof faulty / ENTRY };
    static const char none[ENTRY];
    faulty = *base;
    for (size_t i = 0; i < ENTRIES; i++) {
        const char *const entry = (const char *)put + i * ENTRY;
        if (memcmp(entry, none, ENTRY) != 0)
            memcpy((char *)&faulty + i * ENTRY, entry, ENTRY);
    }
    return &faulty;
}

const struct kernel *provoke_faulty_kernel(const struct kernel *base, const char *fault) {
    for (size_t l = 0; l < LISTS; l++)
        for (const struct fault *f = lists[l]; f->name; f++)
            if (!strcmp(f->name, fault)) {
                fault_base = base;
                return with(base, &f->put);
            }
    return NULL;
}

void provoke_list_faults(void) {
    for (size_t l = 0; l < LISTS; l++)
        for (const struct fault *f = lists[l]; f->name; f++)
            see_fault(f->name, f->what);
}
