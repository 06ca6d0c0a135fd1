/* Tile contents that reach the corners of the arithmetic. */
#ifndef DIFFERENTIAL_DATA_H
#define DIFFERENTIAL_DATA_H

#include "instruction.h"

#include <stddef.h>

void fill_data(struct random *r, enum family family, uint8_t *bytes, size_t size); /* size: multiple of 4 */

#endif
