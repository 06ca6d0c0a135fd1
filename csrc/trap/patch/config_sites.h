/* Where the tile configuration instructions are that belong to some code: those of its ELF object, or, of
 * code that a program has generated, those around it in its mapping. */
#ifndef TRAP_CONFIG_SITES_H
#define TRAP_CONFIG_SITES_H

#include "trap/code/scan.h"
#include "trap/code/mapping.h"

struct config_sites {
    struct code_image image;
    struct mapping generated;
    int is_generated;
};

/* What `address` is in: 0 or -errno. Asks the dynamic linker, so no lock may be held. */
int config_sites_locate(uint64_t address, struct config_sites *sites);

/* Reports each as code_scan() does. Returns how many places may be such an instruction and may be none. */
size_t config_sites_find(const struct config_sites *sites, const struct code_sink *sink);

#endif
