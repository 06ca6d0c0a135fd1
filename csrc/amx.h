/* The C surface of _native, one declaration for each line of amx/_native.cdef.txt.
 *
 * Every int result is 0 or -errno unless said otherwise. Nothing here prints or decides; Python explains.
 */
#ifndef AMX_H
#define AMX_H

#include "bench/bench.h"
#include "emulator/binding.h"
#include "emulator/emulator.h"
#include "emulator/features.h"
#include "gemm/products.h"
#include "layer/layer.h"
#include "machine/machine.h"
#include "tile/tiles.h"
#include "trap/emulation.h"
#include "trap/ptrace/run.h"

#endif
