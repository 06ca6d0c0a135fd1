/* The families of nibbles.h, each in its own file. */
#ifndef AMX_VECTOR_NIBBLE_FAMILIES_H
#define AMX_VECTOR_NIBBLE_FAMILIES_H

#include "vector/nibbles.h"

extern const struct nibbles_family nibbles_avx512_vnni, nibbles_avx_vnni, nibbles_avx2;
extern const struct nibbles_family nibbles_plain; /* any CPU that C knows */

#endif
