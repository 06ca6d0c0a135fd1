/* Micro-kernels for bfloat16; the contract is in micro.inc.h. */
#include "gemm/gemm.h"
#include "insn.h"

#define MICRO_INSN TDPBF16PS
#include "gemm/micro.inc.h"
