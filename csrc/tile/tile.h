/* What the matrix kernels need to know of this thread's tiles. */
#ifndef AMX_TILE_H
#define AMX_TILE_H

/* Nonzero while a TileContext of this thread holds the CPU's tile registers: borrowers must give the data
 * back too. */
int amx_tile_native_is_owned(void);

#endif
