/* The extended registers of a component. */
#ifndef AMX_PROVOKE_REGISTERS_H
#define AMX_PROVOKE_REGISTERS_H

#include "provoke/kernel.h"

enum { REGISTERS_MAX = 1024 };
/* 2 AVX, 5 opmask, 6 ZMM_Hi256, 7 Hi16_ZMM, 19 APX, as XSAVE lays them out. Between load and store only code
 * without VEX instructions may run, which excludes much of libc. */
int registers_present(const struct kernel *k, int component);
void registers_make(const struct kernel *k, int component, unsigned seed, uint8_t data[REGISTERS_MAX]);
void registers_load(int component, const uint8_t *data);
void registers_store(int component, uint8_t *data);

#endif
