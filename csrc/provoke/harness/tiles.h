/* Tiles to recognise again: of this thread, a configuration and TMM0. */
#ifndef AMX_PROVOKE_TILES_H
#define AMX_PROVOKE_TILES_H

#include "provoke/kernel.h"

void tiles_config(uint8_t config[64], int rows, int colsb); /* all eight tiles alike */
void tiles_pattern(uint8_t rows[1024], unsigned seed);      /* never zero */

struct tiles {
    uint8_t config[64], rows[1024]; /* zero where the configuration has no tile */
};
void tiles_make(struct tiles *tiles, int rows, int colsb, unsigned seed);
void tiles_load(const struct kernel *k, const struct tiles *tiles);
/* How many bytes of configuration and TMM0 differ. Never faults: without a configuration the data counts as
 * lost. */
int tiles_lost(const struct kernel *k, const struct tiles *tiles);
/* Whether tiles may be used here at all: the CPU has them, the request is granted, and that can be read. */
int tiles_granted(const struct kernel *k);

#endif
